"""RpGAN (Jolicoeur-Martineau 2018, arXiv:1807.00734, section 4.1): each generated image against a real one."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("rpgan", aliases=("rgan",))
def rpgan() -> Variant:
    return Variant(
        family="game",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan"),
        loss=Spec("relativistic-pairing"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
    )
