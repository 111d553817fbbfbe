"""SS-GAN (Chen et al. 2019, arXiv:1811.11212, eqs. 5-6): the discriminator also predicts the rotation of images.

The networks and settings of `dcgan`, and the paper's weights of 1 and 0.2. Each image is rotated once; the paper
rotates a quarter of the batch in all four ways.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("ssgan")
def ssgan() -> Variant:
    rate = Schedule(0.002, 0.0002, shape="constant-then-linear", over=10_000)
    return Variant(
        family="structured",
        needs=("square images",),
        latent_dim=24,
        generator=Spec("dcgan", convolutions=1),
        discriminator=Spec("dcgan", convolutions=1),
        loss=Spec("hinge"),
        terms=(Spec("rotation", weight=1.0, generator_weight=0.2), Spec("gradient", at="real", weight=0.1, every=16)),
        generator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
    )
