"""Rollback to the last checkpoint if training diverges: `--on-divergence rollback`."""

from collections.abc import Callable, Mapping
from typing import Any

from ganzoo.config import RunConfig, Schedule
from ganzoo.errors import DivergedError, UsageError
from ganzoo.runs.run import Run

MOST = 3  # rollbacks of a run
PLAYERS = ("generator", "discriminator")


def check_rollback(config: RunConfig, processes: int) -> None:
    """Raise UsageError if a run asks for rollbacks but could not do them."""
    if config.train.on_divergence == "stop":
        return
    if processes > 1:
        raise UsageError('train.on_divergence = "rollback" is for runs of one process: set it to "stop"')
    for player, rate in rates(config).items():
        if rate is None:
            raise UsageError(
                f'train.on_divergence = "rollback" halves learning rates, and {player}_optimizer has no setting lr: '
                'set it to "stop"'
            )


def check_going_back(run: Run, config: RunConfig, reason: str) -> None:
    """Raise DivergedError with advice if rollbacks are off or the run already did `MOST` of them."""
    if config.train.on_divergence == "stop":
        raise DivergedError(
            f"{reason}; lower the learning rates, or let the run go back to its last checkpoint and halve them: "
            '--on-divergence rollback, or on_divergence = "rollback" under [train] in the config.toml of a run'
        )
    if len(run.read_rollbacks()) >= MOST:
        raise DivergedError(
            f"{reason}; the run went back {MOST} times, each time with half the learning rates: change its settings"
        )


def rates(config: RunConfig) -> dict[Any, Any]:
    """Return each player's learning rate: a number, the table of a schedule, or None."""
    return {player: getattr(config.variant, f"{player}_optimizer").settings.get("lr") for player in PLAYERS}


def half_the_rates(config: RunConfig) -> dict[Any, Any]:
    """Return half of each player's learning rate; for a schedule, both ends are halved."""
    return {
        player: {**rate, "from": rate["from"] / 2, "to": rate["to"] / 2} if Schedule.is_table(rate) else rate / 2
        for player, rate in rates(config).items()
    }


def with_rates(config: RunConfig, learning_rates: Mapping[Any, Any]) -> RunConfig:
    """Return the configuration with these learning rates of the players."""
    changed = {}
    for player, rate in learning_rates.items():
        spec = getattr(config.variant, f"{player}_optimizer")
        changed[f"{player}_optimizer"] = type(spec).model_validate({"name": spec.name, **spec.settings, "lr": rate})
    return config.model_copy(update={"variant": config.variant.model_copy(update=changed)}).resolve()


def finish_going_back(run: Run, say: Callable[[str], object], leads: bool = True) -> RunConfig:
    """Complete a rollback that was interrupted, and return the configuration to continue with.

    After an interrupted rollback it has the recorded learning rates. `config.toml` gets them too, unless the user has
    changed them there. Only the process that `leads` writes.
    """
    saved = run.latest_checkpoint().config()
    back = run.unfinished_rollback()
    if back is None:
        return saved
    found, line = run.config.resolve(), f"the run was stopped while it went back to step {back.to}"
    if rates(found) in (rates(saved), back.learning_rates):
        line += ": it continues with half the learning rates"
    if leads and rates(found) == rates(saved):
        run.write_config(with_rates(found, back.learning_rates))
    say(line)
    return with_rates(saved, back.learning_rates)
