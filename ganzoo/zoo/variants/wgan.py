"""WGAN (Arjovsky et al. 2017, arXiv:1701.07875, algorithm 1): a critic held Lipschitz by clipping its weights.

Chosen by measuring: perceptrons, a bound of 0.1 and three critic steps, where the paper has 0.01 and five. After the
same time on one core the paper's bound had a distance of 233, this one of 188 (docs/results.md). Clipping is slow: use
`wgan-gp` for pictures.
"""

from ganzoo.plugin import RMSprop, Spec, Variant, variants


@variants.register("wgan")
def wgan() -> Variant:
    return Variant(
        family="game",
        generator=Spec("mlp"),
        discriminator=Spec("mlp"),
        loss=Spec("wasserstein"),
        terms=(Spec("weight-clipping", bound=0.1),),
        critic_steps=3,
        generator_optimizer=RMSprop(lr=0.0005),
        discriminator_optimizer=RMSprop(lr=0.0005),
    )
