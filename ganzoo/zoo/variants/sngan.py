"""SNGAN (Miyato et al. 2018, arXiv:1802.05957, eqs. 8-9): residual networks, spectral norm, the hinge loss.

The paper's residual networks, but narrower. One discriminator step instead of five, because a run of a few minutes has
few steps, and therefore a learning rate of the discriminator three times the generator's: with 0.002 for both, nothing
was learnt.
"""

from ganzoo.plugin import Adam, Spec, Variant, variants


@variants.register("sngan")
def sngan() -> Variant:
    return Variant(
        family="network",
        generator=Spec("resnet"),
        discriminator=Spec("resnet", width=16, spectral_norm=True),
        loss=Spec("hinge"),
        generator_optimizer=Adam(lr=0.0003, betas=(0.5, 0.99)),
        discriminator_optimizer=Adam(lr=0.001, betas=(0.5, 0.99)),
    )
