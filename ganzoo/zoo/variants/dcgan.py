"""DCGAN (Radford et al. 2016, arXiv:1511.06434): the game of `gan` with convolutional networks.

Chosen by measurement: 24 latents, width 16, an additional convolution at 7 pixels in both networks, a discriminator
down to 4 pixels without batch norm but with R1 in every 16th update, and a learning rate of 0.002 that falls to a tenth
between steps 5,000 and 10,000.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("dcgan")
def dcgan() -> Variant:
    rate = Schedule(0.002, 0.0002, shape="constant-then-linear", over=10_000)
    return Variant(
        family="network",
        latent_dim=24,
        generator=Spec("dcgan", convolutions=1),
        discriminator=Spec("dcgan", convolutions=1),
        loss=Spec("non-saturating"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=rate, betas=(0.0, 0.99)),
    )
