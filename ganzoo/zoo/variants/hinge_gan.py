"""Hinge GAN (Lim & Ye 2017, arXiv:1705.02894): logits beyond a margin of 1 teach the discriminator nothing more."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("hinge-gan")
def hinge_gan() -> Variant:
    return Variant(
        family="game",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan"),
        loss=Spec("hinge"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
    )
