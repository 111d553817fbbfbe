"""SNGAN (Miyato et al. 2018, arXiv:1802.05957, eqs. 8-9): residual networks, spectral norm, the hinge game."""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("sngan")
def sngan() -> Variant:
    return Variant(
        family="network",
        generator=Spec("resnet"),
        discriminator=Spec("resnet", spectral_norm=True),
        loss=Spec("hinge"),
        generator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.002, betas=(0.0, 0.99)),
    )
