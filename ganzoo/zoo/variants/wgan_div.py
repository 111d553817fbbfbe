"""WGAN-div (Wu et al. 2018, arXiv:1712.01026, eq. 9): the Wasserstein divergence, with a power of the gradient."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("wgan-div")
def wgan_div() -> Variant:
    return Variant(
        family="game",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan"),
        loss=Spec("wasserstein"),
        terms=(Spec("gradient", at="interpolates", target=0.0, power=6.0, weight=2.0),),
        critic_steps=2,
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.9)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.9)),
    )
