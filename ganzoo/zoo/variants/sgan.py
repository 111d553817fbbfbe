"""SGAN (Salimans et al. 2016, arXiv:1606.03498, section 5): K + 1 classes, learnt from a few labels and all images.

The generator of `gan` and the discriminator of `dcgan`. The adversarial loss is added to the paper's feature matching,
with which alone the generator collapsed; the matching has a weight of 0.1, because with 1 there was less variety.
Translated images, and class probabilities that must not change with a translation (Laine & Aila 2017,
arXiv:1610.02242), replace the noise in each layer: in a few minutes the paper's perceptron does not learn enough.
`--labels-per-class` hides labels; without it all labels are used.
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
