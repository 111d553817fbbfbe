"""All that a third party imports to add a variant, a network, a loss, a penalty or a data source.

    from ganzoo.plugin import Spec, Variant, variants

    @variants.register("my-gan")
    def my_gan() -> Variant:
        return Variant(generator=Spec("dcgan", width=48), discriminator=Spec("dcgan"), loss=Spec("hinge"))

and, in the distribution's pyproject.toml:

    [project.entry-points."ganzoo.plugins"]
    my_gans = "my_gans"
"""

from typing import TYPE_CHECKING

from ganzoo.errors import without_package
from ganzoo.lazy import lazy
from ganzoo.registry import datasets, discriminators, generators, losses, penalties, variants

try:
    from ganzoo.config import SGD, Adam, Spec, Variant
except ModuleNotFoundError as error:
    raise without_package("ganzoo.plugin", error) from None

if TYPE_CHECKING:
    from ganzoo.data import Dataset as Dataset
    from ganzoo.data import Request as Request
    from ganzoo.data import from_arrays as from_arrays
    from ganzoo.zoo.networks.common import Output as Output

_WITH_TORCH = {  # loaded when first used: a variant needs none of them
    "Dataset": "ganzoo.data",
    "Request": "ganzoo.data",
    "from_arrays": "ganzoo.data",
    "Output": "ganzoo.zoo.networks.common",
}
__all__ = [
    *_WITH_TORCH,
    "SGD",
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

__getattr__ = lazy(__name__, _WITH_TORCH)
