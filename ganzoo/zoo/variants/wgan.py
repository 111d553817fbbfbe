"""WGAN (Arjovsky et al. 2017, arXiv:1701.07875, algorithm 1): a critic kept Lipschitz by clipping its weights.

The networks of `dcgan` without the additional convolution, and with batch norm in the critic, as in the paper. Chosen
by measurement: a bound of 0.05, two critic steps, and learning rates of 0.002 and 0.001; the paper has 0.01, five, and
0.00005. Perceptrons were far worse in the same time. Clipping learns slowly: for good images, use `wgan-gp`.
"""

from ganzoo.plugin import RMSprop, Spec, Variant, variants


@variants.register("wgan")
def wgan() -> Variant:
    return Variant(
        family="game",
        generator=Spec("dcgan"),
        discriminator=Spec("dcgan", norm="batch"),
        loss=Spec("wasserstein"),
        terms=(Spec("weight-clipping", bound=0.05),),
        critic_steps=2,
        generator_optimizer=RMSprop(lr=0.002),
        discriminator_optimizer=RMSprop(lr=0.001),
    )
