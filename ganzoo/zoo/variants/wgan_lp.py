"""WGAN-LP (Petzka et al. 2018, arXiv:1709.08894, eq. 7): only gradients steeper than 1 are penalised.

The networks of `dcgan` without the additional convolution, the paper's weight of 10, and a learning rate of 0.002 that
falls to a tenth between steps 5,000 and 10,000. Two critic steps instead of five, because the critic is as good with
two in the same time.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("wgan-lp")
def wgan_lp() -> Variant:
    rate = Schedule(0.002, 0.0002, shape="constant-then-linear", over=10_000)
    return Variant(
        family="game",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan"),
        loss=Spec("wasserstein"),
        terms=(Spec("gradient", at="interpolates", target=1.0, one_sided=True, weight=10.0),),
        critic_steps=2,
        generator_optimizer=Adam(lr=rate, betas=(0.0, 0.9)),
        discriminator_optimizer=Adam(lr=rate, betas=(0.0, 0.9)),
    )
