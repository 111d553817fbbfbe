"""Conditional DCGAN (Radford et al. 2016, arXiv:1511.06434): its networks are given the label, as in `cgan`.

`dcgan`'s settings, but half the learning rate for the generator, and its networks without the convolution more at 7
pixels: with labels the generator leaves the discriminator behind otherwise. The label is a plane beside the image in
the discriminator and a vector beside the latents in the generator.
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
