"""Conditional GAN (Mirza & Osindero 2014, arXiv:1411.1784): the label is an input of both networks.

Chosen by measurement: the networks and settings of `gan`, with the label concatenated to the inputs of both.
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
