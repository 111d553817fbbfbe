"""BiGAN (Donahue et al. 2017, arXiv:1605.09782): an encoder learns to undo the generator."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("bigan")
def bigan() -> Variant:
    return Variant(
        objective=Spec("bidirectional"),
        generator=Spec("mlp"),
        discriminator=Spec("mlp", width=512),
        encoder=Spec("mlp"),
        loss=Spec("non-saturating"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=0.001, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.001, betas=(0.0, 0.99)),
    )
