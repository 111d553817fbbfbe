"""LSGAN (Mao et al. 2017, arXiv:1611.04076, eq. 9): least squares instead of the cross-entropy.

The networks of `dcgan`. R1 in every 16th update, which the paper does not have, and a quarter of the learning rate of
`dcgan`, with the same schedule, stabilise the discriminator: its squared error is unbounded, and with 0.002 short runs
oscillate between good and bad digits.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("lsgan")
def lsgan() -> Variant:
    rate = Schedule(0.0005, 0.00005, shape="constant-then-linear", over=10_000)
    return Variant(
        family="game",
        latent_dim=24,
        generator=Spec("dcgan", convolutions=1),
        discriminator=Spec("dcgan", convolutions=1),
        loss=Spec("least-squares"),
        terms=(Spec("gradient", at="real", weight=0.5, every=16),),
        generator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
    )
