"""Boundary-seeking GAN (Hjelm et al. 2018, arXiv:1702.08431): the generator aims at where D is undecided."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("boundary-seeking-gan")
def boundary_seeking_gan() -> Variant:
    return Variant(
        family="game",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan"),
        loss=Spec("boundary-seeking"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
    )
