"""All names that a plug-in imports to add a variant, a network, a loss, a term, an objective or any other part.

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
from ganzoo.registry import (
    augmentations,
    datasets,
    discriminators,
    encoders,
    formats,
    generators,
    loggers,
    losses,
    objectives,
    optimizers,
    penalties,
    schedules,
    terms,
    variants,
)

try:
    from ganzoo.config import SGD, Adam, AdamW, Code, RMSprop, Schedule, Spec, Variant
except ModuleNotFoundError as error:
    raise without_package("ganzoo.plugin", error) from None

if TYPE_CHECKING:
    from ganzoo.data import Dataset as Dataset
    from ganzoo.data import Request as Request
    from ganzoo.data import from_arrays as from_arrays
    from ganzoo.exporting.parity import prove as prove
    from ganzoo.runs.format import Exported as Exported
    from ganzoo.runs.format import Format as Format
    from ganzoo.runs.format import Opened as Opened
    from ganzoo.runs.opening import as_generator as as_generator
    from ganzoo.runs.opening import load_network as load_network
    from ganzoo.runs.run import Run as Run
    from ganzoo.runs.vouching import read_vouched as read_vouched
    from ganzoo.training.callbacks import Callback as Callback
    from ganzoo.zoo.augment import Augmentation as Augmentation
    from ganzoo.zoo.batch import Batch as Batch
    from ganzoo.zoo.batch import Draw as Draw
    from ganzoo.zoo.batch import Noise as Noise
    from ganzoo.zoo.losses import Loss as Loss
    from ganzoo.zoo.networks.common import ImageShape as ImageShape
    from ganzoo.zoo.networks.common import LinearHeads as LinearHeads
    from ganzoo.zoo.networks.common import Output as Output
    from ganzoo.zoo.networks.common import as_output as as_output
    from ganzoo.zoo.objectives.base import Objective as Objective
    from ganzoo.zoo.objectives.base import Parts as Parts
    from ganzoo.zoo.objectives.base import Terms as Terms
    from ganzoo.zoo.terms.base import Discriminator as Discriminator
    from ganzoo.zoo.terms.base import Drawn as Drawn
    from ganzoo.zoo.terms.base import Penalty as Penalty
    from ganzoo.zoo.terms.base import PlayerName as PlayerName
    from ganzoo.zoo.terms.base import Term as Term
    from ganzoo.zoo.terms.base import Turn as Turn

_WITH_TORCH = {  # loaded on first use, as a variant needs none of them
    "Callback": "ganzoo.training.callbacks",
    **dict.fromkeys(("Dataset", "Request", "from_arrays"), "ganzoo.data"),
    **dict.fromkeys(("Exported", "Format", "Opened"), "ganzoo.runs.format"),
    **dict.fromkeys(("as_generator", "load_network"), "ganzoo.runs.opening"),
    "Run": "ganzoo.runs.run",
    "prove": "ganzoo.exporting.parity",
    "read_vouched": "ganzoo.runs.vouching",
    "Augmentation": "ganzoo.zoo.augment",
    **dict.fromkeys(("Batch", "Draw", "Noise"), "ganzoo.zoo.batch"),
    "Loss": "ganzoo.zoo.losses",
    **dict.fromkeys(("ImageShape", "LinearHeads", "Output", "as_output"), "ganzoo.zoo.networks.common"),
    **dict.fromkeys(("Objective", "Parts", "Terms"), "ganzoo.zoo.objectives.base"),
    **dict.fromkeys(("Discriminator", "Drawn", "Penalty", "PlayerName", "Term", "Turn"), "ganzoo.zoo.terms.base"),
}
__all__ = [
    *_WITH_TORCH,
    "SGD",
    "Adam",
    "AdamW",
    "Code",
    "RMSprop",
    "Schedule",
    "Spec",
    "Variant",
    "augmentations",
    "datasets",
    "discriminators",
    "encoders",
    "formats",
    "generators",
    "loggers",
    "losses",
    "objectives",
    "optimizers",
    "penalties",
    "schedules",
    "terms",
    "variants",
]
__getattr__ = lazy(__name__, _WITH_TORCH)
