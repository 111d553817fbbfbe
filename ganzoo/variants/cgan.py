"""Conditional GAN (Mirza & Osindero 2014, arXiv:1411.1784): both networks are given the label."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("cgan")
def cgan() -> Variant:
    return Variant(
        conditional=True,
        generator=Spec("mlp"),
        discriminator=Spec("mlp"),
        loss=Spec("non-saturating"),
        penalties=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=0.001, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.001, betas=(0.0, 0.99)),
    )
