"""Minimax GAN (Goodfellow et al. 2014, arXiv:1406.2661, eq. 1): the game as it is analysed, and rarely trained."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("minimax-gan")
def minimax_gan() -> Variant:
    return Variant(
        family="game",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan"),
        loss=Spec("minimax"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
    )
