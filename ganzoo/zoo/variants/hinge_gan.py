"""Hinge GAN (Lim & Ye 2017, arXiv:1705.02894): logits beyond a margin of 1 have no gradient for the discriminator.

The networks and settings of `dcgan`. R1 in every 16th update stabilises the discriminator, for which the paper has no
penalty: without it, short runs oscillate.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("hinge-gan")
def hinge_gan() -> Variant:
    rate = Schedule(0.002, 0.0002, shape="constant-then-linear", over=10_000)
    return Variant(
        family="game",
        latent_dim=24,
        generator=Spec("dcgan", convolutions=1),
        discriminator=Spec("dcgan", convolutions=1),
        loss=Spec("hinge"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
    )
