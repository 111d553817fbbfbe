"""Edits of a run's `config.toml` since its last checkpoint, and which of them a resumed run accepts."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ganzoo.config import RunConfig
from ganzoo.errors import UsageError
from ganzoo.runs.run import Run, to_repeat

PLAYER = r"variant\.(generator|discriminator)_optimizer"
WEIGHING = rf"({PLAYER}\.lr|variant\.terms\.\d+\.(weight|every))(\..*)?|data\.(batch_size|memory)"
CADENCES = (
    r"train\.(\w+_every|(sample|evaluate)_epochs|evaluate_seconds|target_fid|on_divergence|log|steps|epochs|minutes)"
)
PLACES = r"data\.(source|data_dir)"  # the images must be the same: their hash is compared
ADVICE = (
    "you can change learning rates, weights and `every` of terms, the batch size (unless the budget is in epochs), "
    "intervals, the budget and the location of the data; anything else needs a new run"
)


def take_edits(run: Run, saved: RunConfig) -> tuple[RunConfig, list[str]]:
    """Return the configuration to continue with, and a line for each edit that ends exactness or is ignored.

    `saved` is the configuration of the newest checkpoint. Raises UsageError for an edit that a run cannot accept,
    FileError for a file that cannot be read; the file is not changed.
    """
    edited = run.config.resolve()
    before, after = (dict(leaves(config.model_dump(mode="json"))) for config in (saved.resolve(), edited))
    changed = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    taken = [key for key in changed if re.fullmatch(f"{WEIGHING}|{CADENCES}|{PLACES}", key)]
    if edited.train.epochs is not None and "data.batch_size" in taken:  # it would change the meaning of an epoch
        taken.remove("data.batch_size")
    if open_ended := [path for path, schedule in edited.schedules().items() if schedule.over is None]:
        raise UsageError(
            f"{run.path / 'config.toml'}: the schedule of {open_ended[0]} has no horizon: set its over = STEPS"
        )
    records = [key for key in changed if key.partition(".")[0] in ("run", "facts", "compute")]
    if refused := [key for key in changed if key not in taken and key not in records]:
        first, more = refused[0], f" (and {len(refused) - 1} more)" if refused[1:] else ""
        raise UsageError(
            f"{run.path / 'config.toml'} changes {first}: {before.get(first)} -> {after.get(first)}{more}, which is "
            f"fixed when a run starts: undo the change; {ADVICE}: {to_repeat(run.path, edited.data.source)}"
        )
    lines = [
        f"note: {key} = {after.get(key)} in config.toml is ignored: it records a fact or a choice of the run"
        for key in records
        if before.get(key) is not None
    ]
    lines += [f"exactness is lost: {key} was changed in config.toml" for key in taken if re.fullmatch(WEIGHING, key)]
    tables = {"variant": edited.variant, "data": edited.data, "train": edited.train} if taken else {}
    return saved.model_copy(update=tables), lines


def leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of nested tables with its path, such as `variant.terms.0.weight`."""
    for key, value in table.items():
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            value = {str(number): item for number, item in enumerate(value)}
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
