"""LSGAN (Mao et al. 2017, arXiv:1611.04076, eq. 9): least squares in place of the cross-entropy.

`dcgan`'s networks. R1 at every 16th update, which the paper does not have, and a quarter of `dcgan`'s learning rate,
which falls as `dcgan`'s does, hold the discriminator: its squared error has no bound, and at 0.002 short runs swing
between good digits and bad ones.
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
