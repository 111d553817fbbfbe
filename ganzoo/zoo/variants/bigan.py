"""BiGAN (Donahue et al. 2017, arXiv:1605.09782): an encoder learns to undo the generator.

Chosen by measuring: `gan`'s networks, the discriminator twice as wide. The average is shorter than elsewhere: that of
an encoder which still moves is a poor encoder, as latents of different signs cancel out in it.
"""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("bigan")
def bigan() -> Variant:
    return Variant(
        family="structured",
        objective=Spec("bidirectional"),
        generator=Spec("mlp"),
        discriminator=Spec("mlp", width=512),
        encoder=Spec("mlp"),
        loss=Spec("non-saturating"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=0.0005, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.0005, betas=(0.0, 0.99)),
        defaults={"train.ema": 0.998},
    )
