"""AC-GAN (Odena et al. 2017, arXiv:1610.09585): the discriminator predicts the class, which is not its input.

Chosen by measurement: the networks and settings of `gan`, and a weight of 0.1 for the classification. With the paper's
weight of 1 the generator ignores its latents and draws one image per class.
"""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("acgan")
def acgan() -> Variant:
    return Variant(
        family="conditional",
        conditional=True,
        generator=Spec("mlp"),
        discriminator=Spec("mlp", conditioning=None),
        loss=Spec("non-saturating"),
        terms=(Spec("classification", weight=0.1), Spec("gradient", at="real", weight=0.1, every=16)),
        generator_optimizer=Adam(lr=0.001, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.001, betas=(0.0, 0.99)),
    )
