"""Conditional DCGAN (Radford et al. 2016, arXiv:1511.06434): the label is an input of both networks, as in `cgan`.

The settings of `dcgan`, but half the learning rate for the generator, and networks without the additional convolution
at 7 pixels: otherwise the generator, which knows the labels, becomes too strong for the discriminator. In the
discriminator the label is an additional plane of the image, in the generator a vector appended to the latents.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("cdcgan")
def cdcgan() -> Variant:
    return Variant(
        family="conditional",
        conditional=True,
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan", conditioning="concat"),
        loss=Spec("non-saturating"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(
            lr=Schedule(0.001, 0.0001, shape="constant-then-linear", over=10_000), betas=(0.0, 0.99)
        ),
        discriminator_optimizer=Adam(
            lr=Schedule(0.002, 0.0002, shape="constant-then-linear", over=10_000), betas=(0.0, 0.99)
        ),
    )
