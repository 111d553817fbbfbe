"""ClusterGAN (Mukherjee et al. 2019, arXiv:1809.03627, eq. 3): an encoder recovers the latents and the cluster.

The networks and loss of `gan` instead of WGAN-GP. The code is a learned vector, appended to normal latents with
standard deviation 1; in the paper it is a one-hot vector, and the deviation is 0.1. The paper's weights of 10 for
latents and code would therefore dominate the adversarial loss: here they are 1 and 0.1.
"""

from ganzoo.plugin import Adam, Code, Spec, Variant, variants


@variants.register("clustergan")
def clustergan() -> Variant:
    return Variant(
        family="structured",
        latent_dim=30,
        codes=(Code(name="cluster", kind="categorical", size=10),),
        objective=Spec("clustering", latent_weight=1.0, code_weight=0.1),
        generator=Spec("mlp"),
        discriminator=Spec("mlp"),
        encoder=Spec("mlp"),
        loss=Spec("non-saturating"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16),),
        generator_optimizer=Adam(lr=0.001, betas=(0.0, 0.99)),
        discriminator_optimizer=Adam(lr=0.001, betas=(0.0, 0.99)),
    )
