"""SAGAN (Zhang et al. 2019, arXiv:1805.08318, section 3): self-attention, and spectral norm in both networks."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("sagan")
def sagan() -> Variant:
    return Variant(
        family="network",
        generator=Spec("resnet", attention=True, spectral_norm=True),
        discriminator=Spec("resnet", attention=True, spectral_norm=True),
        loss=Spec("hinge"),
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
    )
