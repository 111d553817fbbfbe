"""Going back where training diverged: `--on-divergence rollback`."""

from typing import Any

from ganzoo.config import RunConfig, Schedule
from ganzoo.errors import DivergedError
from ganzoo.runs.records import Rollback
from ganzoo.runs.run import Run

MOST = 3  # times that a run goes back
PLAYERS = ("generator", "discriminator")


def roll_back(run: Run, config: RunConfig, step: int, error: DivergedError) -> tuple[RunConfig, Rollback]:
    """Return the configuration with half the learning rates, and a record of it, which the run keeps.

    The run goes on from its newest checkpoint, or from its start if it has none. Raises the error, with what can be
    done about it, if the run was not to go back or did so `MOST` times.
    """
    if config.train.on_divergence == "stop":
        raise DivergedError(
            f"{error}; lower the learning rates, or set train.on_divergence to rollback (--on-divergence rollback)"
        ) from error
    if len(run.read_rollbacks()) >= MOST:
        raise DivergedError(
            f"{error}; the run went back {MOST} times, each time with half the learning rates: change its settings"
        ) from error
    checkpoints = run.checkpoints()
    halved = with_half_the_rates(config)
    rates = {
        player: getattr(halved.variant, f"{player}_optimizer").settings.get("lr") for player in PLAYERS
    }  # numbers, or tables of schedules
    back = Rollback(step=step, reason=str(error), to=checkpoints[-1].step if checkpoints else 0, learning_rates=rates)
    run.append_rollback(back)
    return halved, back


def with_half_the_rates(config: RunConfig) -> RunConfig:
    """Return the same with half of both players' learning rates; of a schedule, half of both ends."""
    changed = {}
    for player in PLAYERS:
        spec = getattr(config.variant, f"{player}_optimizer")
        changed[f"{player}_optimizer"] = type(spec).model_validate(
            {"name": spec.name, **spec.settings, "lr": _half(spec.settings["lr"])}
        )
    return config.model_copy(update={"variant": config.variant.model_copy(update=changed)}).resolve()


def _half(rate: Any) -> Any:
    return {**rate, "from": rate["from"] / 2, "to": rate["to"] / 2} if Schedule.is_table(rate) else rate / 2
