"""SGAN (Salimans et al. 2016, arXiv:1606.03498, section 5): K + 1 classes, learnt from a few labels and all images."""

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
