"""All that a third party imports to add a variant, a network, a loss, a penalty or a data source.

    from ganzoo.plugin import Spec, Variant, variants

    @variants.register("my-gan")
    def my_gan() -> Variant:
        return Variant(generator=Spec("dcgan", width=48), discriminator=Spec("dcgan"), loss=Spec("hinge"))

and, in the distribution's pyproject.toml:

    [project.entry-points."ganzoo.plugins"]
    my_gans = "my_gans"
"""

from ganzoo.config import Adam, Spec, Variant
from ganzoo.registry import datasets, discriminators, generators, losses, penalties, variants

__all__ = [
    "Adam",
    "Spec",
    "Variant",
    "datasets",
    "discriminators",
    "generators",
    "losses",
    "penalties",
    "variants",
]
