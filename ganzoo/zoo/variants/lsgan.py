"""LSGAN (Mao et al. 2017, arXiv:1611.04076, eq. 9): least squares in place of the cross-entropy.

`dcgan`'s networks. R1 at every 16th update, which the paper does not have, and a quarter of `dcgan`'s learning rate
hold the discriminator: its squared error has no bound, and at 0.002 short runs swing between good digits and bad ones.
"""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("lsgan")
def lsgan() -> Variant:
    return Variant(
        family="game",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan"),
        loss=Spec("least-squares"),
        terms=(Spec("gradient", at="real", weight=0.5, every=16),),
        generator_optimizer=Adam(lr=0.0005, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.0005, betas=(0.0, 0.99)),
    )
