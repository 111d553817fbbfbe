"""BEGAN (Berthelot et al. 2017, arXiv:1703.10717): an autoencoder as discriminator, and two errors in equilibrium.

Chosen by measurement: a perceptron with batch norm as the autoencoder, because without batch norm the generator
collapses, and a balance that adapts ten times as fast as in the paper, because runs are shorter here.
"""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("began")
def began() -> Variant:
    return Variant(
        family="game",
        generator=Spec("mlp"),
        discriminator=Spec("autoencoder"),
        loss=Spec("wasserstein"),
        terms=(Spec("equilibrium", balance=0.75, rate=0.01),),
        generator_optimizer=Adam(lr=0.0005, betas=(0.5, 0.999)),
        discriminator_optimizer=Adam(lr=0.0005, betas=(0.5, 0.999)),
    )
