"""DCGAN (Radford et al. 2016, arXiv:1511.06434): the same game between convolutional networks.

Chosen by measuring: width 16, no batch norm in the discriminator but R1 at every 16th update, a learning rate of
0.002. On two CPU cores, full MNIST: FID-MNIST 27.0 after 5 minutes, where real images score 1.3 (docs/results.md).
"""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("dcgan")
def dcgan() -> Variant:
    return Variant(
        family="network",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan"),
        loss=Spec("non-saturating"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
    )
