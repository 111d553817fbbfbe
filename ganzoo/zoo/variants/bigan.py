"""BiGAN (Donahue et al. 2017, arXiv:1605.09782): an encoder learns to undo the generator.

Chosen by measurement: the networks of `gan`, with a discriminator twice as wide. Weights are averaged over fewer steps
than in other variants: the average of an encoder that still changes is poor, because latents of different signs cancel
out.
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
