"""The first GAN (Goodfellow et al. 2014, arXiv:1406.2661): two multilayer perceptrons, the non-saturating loss.

Chosen by measurement: narrow networks, R1 in every 16th update as the only regularisation of the discriminator, and a
learning rate of 0.001.
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
