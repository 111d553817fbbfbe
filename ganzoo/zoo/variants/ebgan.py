"""EBGAN (Zhao et al. 2017, arXiv:1609.03126, eqs. 1-4): an autoencoder's error is an energy; images pull away."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("ebgan")
def ebgan() -> Variant:
    return Variant(
        family="game",
        generator=Spec("mlp"),
        discriminator=Spec("autoencoder"),
        loss=Spec("margin", margin=0.3),
        terms=(Spec("pulling-away", weight=0.1),),
        generator_optimizer=Adam(lr=0.0005, betas=(0.5, 0.999)),
        discriminator_optimizer=Adam(lr=0.0005, betas=(0.5, 0.999)),
    )
