"""SGAN (Salimans et al. 2016, arXiv:1606.03498, section 5): K + 1 classes, learnt from a few labels and all images.

`gan`'s generator and `dcgan`'s discriminator. To the paper's feature matching, by which alone the generator collapsed,
the game itself is added, and matching has a weight of 0.1, as with 1 there was less variety. Moved images and classes
that do not change with a move (Laine & Aila 2017, arXiv:1610.02242) take the place of noise in each layer: in minutes
the paper's perceptron has not learnt enough. Hide labels with `--labels-per-class`; without it all are used.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("sgan")
def sgan() -> Variant:
    return Variant(
        family="structured",
        needs=("labels",),
        objective=Spec("semi-supervised"),
        generator=Spec("mlp"),
        discriminator=Spec("dcgan"),
        loss=Spec("non-saturating"),
        terms=(
            Spec("supervision", every=2),
            Spec("feature-matching", weight=0.1),
            Spec("consistency", weight=0.0, class_weight=5.0, every=2),
            Spec("gradient", at="real", weight=0.1, every=16),
        ),
        augmentations=(Spec("translation"),),
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=Schedule(0.002, 0.0001, shape="cosine"), betas=(0.0, 0.99)),
    )
