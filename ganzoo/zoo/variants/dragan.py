"""DRAGAN (Kodali et al. 2017, arXiv:1705.07215, algorithm 1): gradients of norm 1 around the real images.

The networks and settings of `dcgan`, and the paper's weight of 10, at real images perturbed by noise of half their
standard deviation.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("dragan")
def dragan() -> Variant:
    rate = Schedule(0.002, 0.0002, shape="constant-then-linear", over=10_000)
    return Variant(
        family="game",
        latent_dim=24,
        generator=Spec("dcgan", convolutions=1),
        discriminator=Spec("dcgan", convolutions=1),
        loss=Spec("non-saturating"),
        terms=(Spec("gradient", at="perturbed", target=1.0, weight=10.0),),
        generator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
    )
