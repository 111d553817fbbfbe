"""SGAN (Salimans et al. 2016, arXiv:1606.03498, section 5): K + 1 classes, learnt from a few labels and all images.

`gan`'s generator and a deeper perceptron with dropout, in place of the paper's with noise and weight norm. The
generator learns by feature matching alone, as in the paper: it draws plain digits, and the classifier is what it is
for. Hide labels with `--labels-per-class`; without it all are used.
"""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("sgan")
def sgan() -> Variant:
    return Variant(
        family="structured",
        needs=("labels",),
        objective=Spec("semi-supervised", generator_weight=0.0),
        generator=Spec("mlp"),
        discriminator=Spec("mlp", width=512, depth=3, dropout=0.3),
        loss=Spec("non-saturating"),
        terms=(Spec("supervision"), Spec("feature-matching")),
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
    )
