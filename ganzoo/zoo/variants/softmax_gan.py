"""Softmax GAN (Lin 2017, arXiv:1704.06191, section 3): a softmax over the images of a batch."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("softmax-gan")
def softmax_gan() -> Variant:
    return Variant(
        family="game",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan"),
        loss=Spec("softmax"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
    )
