"""LSGAN (Mao et al. 2017, arXiv:1611.04076, eq. 9): least squares in place of the cross-entropy."""

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
