"""LSGAN (Mao et al. 2017, arXiv:1611.04076, eq. 9): least squares in place of the cross-entropy.

`dcgan`'s networks and settings; R1 at every 16th update, which the paper does not have, holds the discriminator:
without it short runs swing.
"""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("lsgan")
def lsgan() -> Variant:
    return Variant(
        family="game",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan"),
        loss=Spec("least-squares"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
    )
