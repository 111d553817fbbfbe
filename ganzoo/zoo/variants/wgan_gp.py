"""WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028): the Wasserstein loss, with a critic kept 1-Lipschitz by a penalty.

The paper's penalty weight and betas. Chosen by measurement: the networks of `dcgan`, a learning rate of 0.002 that
falls to a tenth between steps 5,000 and 10,000, one critic step instead of five, and the penalty in every fourth step
with four times the weight, because in five minutes the number of steps matters more.
"""

from ganzoo.plugin import Adam, Schedule, Spec, Variant, variants


@variants.register("wgan-gp")
def wgan_gp() -> Variant:
    rate = Schedule(0.002, 0.0002, shape="constant-then-linear", over=10_000)
    return Variant(
        family="game",
        latent_dim=24,
        generator=Spec("dcgan", convolutions=1),
        discriminator=Spec("dcgan", convolutions=1),  # without batch norm: the penalty is per sample
        loss=Spec("wasserstein"),
        terms=(Spec("gradient", at="interpolates", target=1.0, weight=10.0, every=4),),
        generator_optimizer=Adam(lr=rate, betas=(0.0, 0.9)),
        discriminator_optimizer=Adam(lr=rate, betas=(0.0, 0.9)),
    )
