"""WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028): the Wasserstein game, its critic held 1-Lipschitz by a penalty.

The paper's five critic steps, penalty weight and betas; chosen by measuring: width 8, a learning rate of 0.002. On
two CPU cores, full MNIST: FID-MNIST 66.4 after 5 minutes, where real images score 1.3 (docs/results.md).
"""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("wgan-gp")
def wgan_gp() -> Variant:
    return Variant(
        family="game",
        generator=Spec("dcgan", width=8),
        discriminator=Spec("dcgan", width=8, norm=None),  # the penalty is per sample: no batch norm in the critic
        loss=Spec("wasserstein"),
        terms=(Spec("gradient", at="interpolates", target=1.0, weight=10.0),),
        critic_steps=5,
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.9)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.9)),
    )
