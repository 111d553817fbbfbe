"""RaGAN (Jolicoeur-Martineau 2018, arXiv:1807.00734, section 4.3): real against the mean of the generated."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("ragan")
def ragan() -> Variant:
    return Variant(
        family="game",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan"),
        loss=Spec("relativistic-average"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
    )
