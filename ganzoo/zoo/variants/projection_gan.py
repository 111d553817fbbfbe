"""Projection cGAN (Miyato & Koyama 2018, arXiv:1802.05637, eq. 3): a label is a direction in feature space.

The networks and settings of `cdcgan`; the paper has residual networks, and spectral norm instead of R1.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("projection-gan")
def projection_gan() -> Variant:
    return Variant(
        family="conditional",
        conditional=True,
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan", conditioning="projection"),
        loss=Spec("hinge"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(
            lr=Schedule(0.001, 0.0001, shape="constant-then-linear", over=10_000), betas=(0.0, 0.99)
        ),
        discriminator_optimizer=Adam(
            lr=Schedule(0.002, 0.0002, shape="constant-then-linear", over=10_000), betas=(0.0, 0.99)
        ),
    )
