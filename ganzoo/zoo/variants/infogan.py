"""InfoGAN (Chen et al. 2016, arXiv:1606.03657): codes that must be recognisable in the images.

The codes of section 7.1 for MNIST: a categorical code with ten values, which is used as a label, and two uniform codes.
Chosen by measurement: the networks and settings of `gan`, and weights of 0.1 and 0.02; with 1 the generator ignores its
other latents.
"""

from ganzoo.plugin import Adam, Code, Spec, Variant, variants


@variants.register("infogan")
def infogan() -> Variant:
    return Variant(
        family="structured",
        latent_dim=62,
        codes=(Code(name="digit", kind="categorical", size=10), Code(name="style", kind="uniform", size=2)),
        generator=Spec("mlp"),
        discriminator=Spec("mlp"),
        loss=Spec("non-saturating"),
        terms=(
            Spec("mutual-information", weight=0.1, uniform_weight=0.02),
            Spec("gradient", at="real", weight=0.1, every=16),
        ),
        generator_optimizer=Adam(lr=0.001, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.001, betas=(0.0, 0.99)),
    )
