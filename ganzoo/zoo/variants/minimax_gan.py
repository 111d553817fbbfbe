"""Minimax GAN (Goodfellow et al. 2014, arXiv:1406.2661, eq. 1): the loss that is analysed, and rarely trained with.

The networks and settings of `dcgan`. R1 in every 16th update, which the paper does not have, prevents a discriminator
so certain that the generator has no gradient with this loss.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("minimax-gan")
def minimax_gan() -> Variant:
    rate = Schedule(0.002, 0.0002, shape="constant-then-linear", over=10_000)
    return Variant(
        family="game",
        latent_dim=24,
        generator=Spec("dcgan", convolutions=1),
        discriminator=Spec("dcgan", convolutions=1),
        loss=Spec("minimax"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
    )
