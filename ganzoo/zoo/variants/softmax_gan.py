"""Softmax GAN (Lin 2017, arXiv:1704.06191, section 3): a softmax over the images of a batch.

The networks and settings of `dcgan`. R1 in every 16th update, which the paper does not have, stabilises the
discriminator: without it, short runs oscillate.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("softmax-gan")
def softmax_gan() -> Variant:
    rate = Schedule(0.002, 0.0002, shape="constant-then-linear", over=10_000)
    return Variant(
        family="game",
        latent_dim=24,
        generator=Spec("dcgan", convolutions=1),
        discriminator=Spec("dcgan", convolutions=1),
        loss=Spec("softmax"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
    )
