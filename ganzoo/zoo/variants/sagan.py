"""SAGAN (Zhang et al. 2019, arXiv:1805.08318, section 3): self-attention, and spectral norm in both networks.

The networks of `sngan` with attention at 14 pixels. One discriminator step, as in the paper, and learning rates of
0.0005 and 0.001 instead of 0.0001 and 0.0004, because a run of a few minutes has few steps.
"""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("sagan")
def sagan() -> Variant:
    return Variant(
        family="network",
        generator=Spec("resnet", attention=True, spectral_norm=True),
        discriminator=Spec("resnet", width=16, attention=True, spectral_norm=True),
        loss=Spec("hinge"),
        generator_optimizer=Adam(lr=0.0005, betas=(0.5, 0.99)),
        discriminator_optimizer=Adam(lr=0.001, betas=(0.5, 0.99)),
    )
