"""The first GAN (Goodfellow et al. 2014, arXiv:1406.2661): two multilayer perceptrons, the non-saturating game.

Chosen by measuring: narrow networks, R1 at every 16th update in place of anything else that holds the discriminator,
and a learning rate of 0.001.
"""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("gan")
def gan() -> Variant:
    return Variant(
        family="game",
        generator=Spec("mlp"),
        discriminator=Spec("mlp"),
        loss=Spec("non-saturating"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=0.001, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.001, betas=(0.0, 0.99)),
    )
