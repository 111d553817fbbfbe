"""BEGAN (Berthelot et al. 2017, arXiv:1703.10717): an autoencoding discriminator, and two errors in equilibrium."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("began")
def began() -> Variant:
    return Variant(
        generator=Spec("mlp"),
        discriminator=Spec("autoencoder"),
        loss=Spec("wasserstein"),
        terms=(Spec("equilibrium", balance=0.75, rate=0.01),),
        generator_optimizer=Adam(lr=0.0005, betas=(0.5, 0.999)),
        discriminator_optimizer=Adam(lr=0.0005, betas=(0.5, 0.999)),
    )
