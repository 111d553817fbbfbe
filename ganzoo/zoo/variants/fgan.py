"""f-GAN (Nowozin et al. 2016, arXiv:1606.00709, eq. 6): any f-divergence of real and generated images.

The networks and settings of `dcgan`, and the Jensen-Shannon divergence, because its conjugate does not grow
exponentially; `loss.divergence` selects another one. R1 in every 16th update, which the paper does not have, stabilises
the discriminator: without it, short runs oscillate.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("fgan")
def fgan() -> Variant:
    rate = Schedule(0.002, 0.0002, shape="constant-then-linear", over=10_000)
    return Variant(
        family="game",
        latent_dim=24,
        generator=Spec("dcgan", convolutions=1),
        discriminator=Spec("dcgan", convolutions=1),
        loss=Spec("f-divergence", divergence="jensen-shannon"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
    )
