"""f-GAN (Nowozin et al. 2016, arXiv:1606.00709, eq. 6): any f-divergence of real and generated images."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("fgan")
def fgan() -> Variant:
    return Variant(
        family="game",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan"),
        loss=Spec("f-divergence", divergence="jensen-shannon"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
    )
