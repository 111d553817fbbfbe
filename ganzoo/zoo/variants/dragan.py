"""DRAGAN (Kodali et al. 2017, arXiv:1705.07215, algorithm 1): gradients of norm 1 around the real images."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("dragan")
def dragan() -> Variant:
    return Variant(
        family="game",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan"),
        loss=Spec("non-saturating"),
        terms=(Spec("gradient", at="perturbed", target=1.0, weight=10.0),),
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
    )
