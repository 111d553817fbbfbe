"""WGAN-LP (Petzka et al. 2018, arXiv:1709.08894, eq. 7): only gradients steeper than 1 are penalised."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("wgan-lp")
def wgan_lp() -> Variant:
    return Variant(
        family="game",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan"),
        loss=Spec("wasserstein"),
        terms=(Spec("gradient", at="interpolates", target=1.0, one_sided=True, weight=10.0),),
        critic_steps=2,
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.9)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.9)),
    )
