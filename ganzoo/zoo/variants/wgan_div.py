"""WGAN-div (Wu et al. 2018, arXiv:1712.01026, eq. 9): the Wasserstein divergence, with a power of the gradient.

The networks of `dcgan` without the additional convolution, the paper's power of 6 and weight of 2, and a learning rate
of 0.002 that falls to a tenth between steps 5,000 and 10,000. Two critic steps instead of four, because the critic is
as good with two in the same time.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("wgan-div")
def wgan_div() -> Variant:
    rate = Schedule(0.002, 0.0002, shape="constant-then-linear", over=10_000)
    return Variant(
        family="game",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan"),
        loss=Spec("wasserstein"),
        terms=(Spec("gradient", at="interpolates", target=0.0, power=6.0, weight=2.0),),
        critic_steps=2,
        generator_optimizer=Adam(lr=rate, betas=(0.0, 0.9)),
        discriminator_optimizer=Adam(lr=rate, betas=(0.0, 0.9)),
    )
