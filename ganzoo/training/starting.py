"""Training from another run's weights: `ganzoo train --from RUN`, on the same or on other data.

With few images it helps to freeze the first layers of the discriminator (Mo et al. 2020, arXiv:2002.10964):
`--freeze-discriminator N`.
"""

import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ganzoo.config import READING, without_horizons
from ganzoo.errors import FileError, UsageError
from ganzoo.files import StrPath
from ganzoo.runs.checkpoint import Checkpoint, average_part
from ganzoo.runs.resolving import RUNS, resolve
from ganzoo.runs.run import Run
from ganzoo.training.state import TrainingState

SHOWN = 5  # maximal number of names in a line


def open_start(given: StrPath) -> Checkpoint:
    """Return the newest checkpoint of the run to start from. Raises FileError, with a reason for an exported file."""
    try:
        return Run.open(resolve(given, RUNS, "ganzoo train --from").path).latest_checkpoint()
    except FileError as error:
        if "is an exported file" not in str(error):
            raise
        raise FileError(
            f"{error}; an exported file cannot be trained on: its weights are folded and it has no discriminator"
        ) from None


def recipe_of(checkpoint: Checkpoint, *, same_data: bool) -> dict[str, Any]:
    """Return the settings that a run inherits by default from the checkpoint it starts from, as a file's tables.

    They are the variant with its settings, the decay of the average and the image shape; with `same_data` also the
    data source.
    """
    config = checkpoint.config()
    tables = json.loads(config.to_json())
    data = {key: tables["data"][key] for key in (*READING, "source", "data_dir")} if same_data else {}
    if not same_data and config.facts.image_shape is not None:
        channels, height, width = config.facts.image_shape
        data = {"channels": channels, "image_size": f"{width}x{height}"}
    if not same_data and (config.train.augment == "auto" or not tables["variant"]["augmentations"]):
        del tables["variant"]["augmentations"]  # chosen for the other images, or empty: the recipe's own apply
    table: dict[str, Any] = {
        "run": tables["run"],
        "variant": tables["variant"],
        "train": {"ema": tables["train"]["ema"]},
        "data": data,
    }
    return without_horizons(table)  # type: ignore[no-any-return]


def load_start(state: TrainingState, checkpoint: Checkpoint) -> str:
    """Load the tensors of a checkpoint that fit a new state; return a line that reports which were loaded.

    A tensor fits if the state has one of the same name and shape. Raises UsageError if no matrix or kernel fits,
    FileError for a damaged file.
    """
    taken, left = _load_fitting(state.objective, checkpoint.tensors("objective"))
    if not any(tensor.ndim > 1 for tensor in taken.values()):
        raise UsageError(
            f"no weights of {checkpoint.path} fit these networks: leave out --variant and all settings of networks, to "
            "build the networks of that run"
        )
    for role, average in state.averages.items():
        average.network.load_state_dict(state.objective.networks[role].state_dict())
        if (checkpoint.path / f"{average_part(role)}.safetensors").exists():
            _load_fitting(average.network, checkpoint.tensors(average_part(role)))
    line = f"starting from step {checkpoint.step} of {checkpoint.path.parent.parent}: {len(taken)} tensors loaded"
    if left:
        line += f"; new, because they are missing there or have another shape: {', '.join(left[:SHOWN])}"
        line += f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
    return line


def _load_fitting(module: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Load the tensors that fit; return them, and the names of the module's other tensors."""
    own = module.state_dict()
    fitting = {name: tensors[name] for name in own if name in tensors and tensors[name].shape == own[name].shape}
    module.load_state_dict(fitting, strict=False)
    return fitting, [name for name in own if name not in fitting]
