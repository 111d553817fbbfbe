"""ReACGAN (Kang et al. 2021, arXiv:2111.01118, eq. 8): AC-GAN with a contrastive classification on a hypersphere.

The networks and settings of `dcgan` without the additional convolution; the paper has BigGAN's networks, and spectral
norm instead of R1. The weight of the cross-entropy is 0.5.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("reacgan")
def reacgan() -> Variant:
    rate = Schedule(0.002, 0.0002, shape="constant-then-linear", over=10_000)
    return Variant(
        family="conditional",
        conditional=True,
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan", conditioning=None),
        loss=Spec("hinge"),
        terms=(Spec("contrastive-classification", weight=0.5), Spec("gradient", at="real", weight=0.1, every=16)),
        generator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
    )
