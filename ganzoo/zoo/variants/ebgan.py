"""EBGAN (Zhao et al. 2017, arXiv:1609.03126, eqs. 1-4): an autoencoder's error as energy, and a pulling-away term.

The perceptrons of `began` with batch norm, without which the generator collapses, and the paper's weight of 0.1 for the
pulling-away term. The margin is 0.1, because errors are means over pixels in [-1, 1]: with 0.3 the generator collapses
after three minutes.
"""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("ebgan")
def ebgan() -> Variant:
    return Variant(
        family="game",
        generator=Spec("mlp"),
        discriminator=Spec("autoencoder"),
        loss=Spec("margin", margin=0.1),
        terms=(Spec("pulling-away", weight=0.1),),
        generator_optimizer=Adam(lr=0.0005, betas=(0.5, 0.999)),
        discriminator_optimizer=Adam(lr=0.0005, betas=(0.5, 0.999)),
    )
