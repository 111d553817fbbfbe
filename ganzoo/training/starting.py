"""Starting from another run's weights: `ganzoo train --from RUN`, on the same or on other data.

With few images it helps to keep the first layers of the discriminator as they are (Mo et al. 2020, arXiv:2002.10964):
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

SHOWN = 5  # names in a line


def open_start(given: StrPath) -> Checkpoint:
    """Return the newest checkpoint of the run to start from. Raises FileError, with the reason for an exported file."""
    try:
        return Run.open(resolve(given, RUNS, "ganzoo train --from").path).latest_checkpoint()
    except FileError as error:
        if "is an exported file" not in str(error):
            raise
        raise FileError(
            f"{error}; an exported file cannot be trained on: its weights are folded and its discriminator is not in it"
        ) from None


def recipe_of(checkpoint: Checkpoint, *, same_data: bool) -> dict[str, Any]:
    """Return what a run that starts from a checkpoint has from it unless it is asked for otherwise, as a file's tables.

    The variant with its settings, the average's decay, and the form of its images; with `same_data` the images too.
    """
    config = checkpoint.config()
    tables = json.loads(config.to_json())
    data = {key: tables["data"][key] for key in (*READING, "source", "data_dir")} if same_data else {}
    if not same_data and config.facts.image_shape is not None:
        channels, height, width = config.facts.image_shape
        data = {"channels": channels, "image_size": f"{width}x{height}"}
    if not same_data and (config.train.augment == "auto" or not tables["variant"]["augmentations"]):
        del tables["variant"]["augmentations"]  # the choice is of the other images; a recipe's own are taken from it
    table: dict[str, Any] = {
        "run": tables["run"],
        "variant": tables["variant"],
        "train": {"ema": tables["train"]["ema"]},
        "data": data,
    }
    return without_horizons(table)  # type: ignore[no-any-return]


def load_start(state: TrainingState, checkpoint: Checkpoint) -> str:
    """Put the tensors of a checkpoint that fit into a state that was just made; return a line on what was taken.

    A tensor fits if one of its name and shape is there. Raises UsageError if no matrix or kernel fits, FileError for a
    damaged file.
    """
    taken, left = _load_fitting(state.objective, checkpoint.tensors("objective"))
    if not any(tensor.ndim > 1 for tensor in taken.values()):
        raise UsageError(
            f"nothing of {checkpoint.path} fits these networks: leave out --variant and what changes the networks, and "
            "those of the run are built"
        )
    for role, average in state.averages.items():
        average.network.load_state_dict(state.objective.networks[role].state_dict())
        if (checkpoint.path / f"{average_part(role)}.safetensors").exists():
            _load_fitting(average.network, checkpoint.tensors(average_part(role)))
    line = f"starting from step {checkpoint.step} of {checkpoint.path.parent.parent}: {len(taken)} tensors taken"
    if left:
        line += f"; new, as they are not in it or of another shape: {', '.join(left[:SHOWN])}"
        line += f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
    return line


def _load_fitting(module: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Load what fits; return it, and the names of the tensors that stay as they are."""
    own = module.state_dict()
    fitting = {name: tensors[name] for name in own if name in tensors and tensors[name].shape == own[name].shape}
    module.load_state_dict(fitting, strict=False)
    return fitting, [name for name in own if name not in fitting]
