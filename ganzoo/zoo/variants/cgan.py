"""Conditional GAN (Mirza & Osindero 2014, arXiv:1411.1784): both networks are given the label.

Chosen by measuring: `gan`'s networks and settings, the label concatenated in both.
"""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("cgan")
def cgan() -> Variant:
    return Variant(
        family="conditional",
        conditional=True,
        generator=Spec("mlp"),
        discriminator=Spec("mlp"),
        loss=Spec("non-saturating"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=0.001, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.001, betas=(0.0, 0.99)),
    )
