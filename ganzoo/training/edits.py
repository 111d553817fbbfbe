"""What a user changed in a run's `config.toml` since it was last saved, and what of it a resumed run takes over."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ganzoo.config import RunConfig
from ganzoo.errors import UsageError
from ganzoo.runs.run import Run, to_repeat

PLAYER = r"variant\.(generator|discriminator)_optimizer"
WEIGHING = rf"({PLAYER}\.lr|variant\.terms\.\d+\.(weight|every))(\..*)?|data\.(batch_size|memory)"
CADENCES = r"train\.(\w+_every|(sample|evaluate)_epochs|evaluate_seconds|target_fid|on_divergence|steps|epochs|minutes)"
PLACES = r"data\.(source|data_dir)"  # of the same images: their hash is compared
ADVICE = (
    "learning rates, weights and `every` of terms, the batch size (unless the budget is in epochs), cadences, the "
    "budget and the place of the data may be changed; anything else needs a new run"
)


def take_edits(run: Run, saved: RunConfig) -> tuple[RunConfig, list[str]]:
    """Return the configuration to go on with, and a line for each edit that ends exactness or is not taken.

    `saved` is that of the newest checkpoint. Raises UsageError for a change that a run cannot take, FileError for a
    file that cannot be read; the file is left as it is.
    """
    edited = run.config.resolve()
    before, after = (dict(leaves(config.model_dump(mode="json"))) for config in (saved.resolve(), edited))
    changed = [key for key in sorted(before.keys() | after.keys()) if before.get(key) != after.get(key)]
    taken = [key for key in changed if re.fullmatch(f"{WEIGHING}|{CADENCES}|{PLACES}", key)]
    if edited.train.epochs is not None and "data.batch_size" in taken:  # what an epoch is would change
        taken.remove("data.batch_size")
    if open_ended := [path for path, schedule in edited.schedules().items() if schedule.over is None]:
        raise UsageError(
            f"{run.path / 'config.toml'}: the schedule of {open_ended[0]} has no horizon: give over = STEPS with it"
        )
    records = [key for key in changed if key.partition(".")[0] in ("run", "facts", "compute")]
    if refused := [key for key in changed if key not in taken and key not in records]:
        first, more = refused[0], f" (and {len(refused) - 1} more)" if refused[1:] else ""
        raise UsageError(
            f"{run.path / 'config.toml'} changes {first}: {before.get(first)} -> {after.get(first)}{more}, which a run "
            f"keeps from its start: put it back; {ADVICE}: {to_repeat(run.path, edited.data.source)}"
        )
    lines = [
        f"note: {key} = {after.get(key)} in config.toml is not taken: it records what the run found out or chose"
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
