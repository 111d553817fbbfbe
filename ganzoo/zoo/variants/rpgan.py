"""RpGAN (Jolicoeur-Martineau 2018, arXiv:1807.00734, section 4.1): each generated image compared with a real one.

The networks and settings of `dcgan`. R1 in every 16th update, which the paper does not have, stabilises the
discriminator: without it, short runs oscillate. The pairs of images follow their order in the batch.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("rpgan", aliases=("rgan",))
def rpgan() -> Variant:
    rate = Schedule(0.002, 0.0002, shape="constant-then-linear", over=10_000)
    return Variant(
        family="game",
        latent_dim=24,
        generator=Spec("dcgan", convolutions=1),
        discriminator=Spec("dcgan", convolutions=1),
        loss=Spec("relativistic-pairing"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
    )
