"""ReACGAN (Kang et al. 2021, arXiv:2111.01118, eq. 8): AC-GAN's classes on a sphere, image against image."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("reacgan")
def reacgan() -> Variant:
    return Variant(
        family="conditional",
        conditional=True,
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan", conditioning=None),
        loss=Spec("hinge"),
        terms=(Spec("contrastive-classification", weight=0.5), Spec("gradient", at="real", weight=0.1, every=16)),
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
    )
