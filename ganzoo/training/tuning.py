"""Measurements of a few steps when a run starts: the fastest way to compute (`--tune`), and the steps of a budget.

They use a temporary state, and the choice is recorded, so that a resumed run keeps it.
"""

import math
import time
from collections.abc import Iterator
from typing import Any

import torch

from ganzoo.compute import rule
from ganzoo.compute.device import torch_settings
from ganzoo.config import RunConfig
from ganzoo.errors import first_line
from ganzoo.training.graphs import CaptureError
from ganzoo.training.prepare import PROVISIONAL, Training
from ganzoo.training.state import TrainingState
from ganzoo.training.updates import Updates

STEPS = 500  # for a shorter run, measuring costs more than it gains
MINUTES = 0.2  # likewise
COMPILE_MINUTES = 20.0  # compiling takes about one minute
WARM_UP = 2  # steps
SECONDS = 0.25  # minimal time for measuring a choice
REPEATS = 3  # minimal steps for measuring a choice
LEAST_SECONDS, SHARE = 3.0, 0.05  # maximal time of measuring: seconds, or a share of the budget if that is more
SLOW = 1.5  # a choice this many times as slow as the best is not measured further
GAIN = 0.95  # a choice replaces the previous best only if it needs at most this share of its time


def tune(training: Training) -> tuple[RunConfig, str]:
    """Return the configuration with the fastest of the open choices, and a line that reports them.

    It starts from the choice of the rule. Nothing is measured if no choice is open, the budget is too small, or there
    are several processes; and only a small share of the budget is spent. Raises CaptureError, after which a process
    cannot train.
    """
    config = training.config
    if not any(_candidates(config, math.inf)):
        return config, f"nothing is left to measure: {rule.describe(config)}"
    if _is_short(training):
        return config, f"too short to measure: {rule.describe(config)}"
    if training.world.size > 1:
        return config, f"nothing is measured with several processes: {rule.describe(config)}"
    began = time.monotonic()
    try:
        fastest = _seconds(training, config, math.inf)
    except CaptureError:
        raise
    except Exception:  # training will report any problem of the run better
        return config, rule.describe(config)
    minutes = config.train.minutes or (training.total_steps or 0) * fastest / 60
    tried, slower = [], set[str]()
    for key, value in _candidates(config, minutes):
        if time.monotonic() - began > max(LEAST_SECONDS, SHARE * 60 * minutes):
            tried.append("no time for more")
            break
        if key in slower:  # if half the threads were slower, a quarter is too
            continue
        changed, name = config.with_compute(**{key: value}), _describe(key, value)
        try:
            seconds = _seconds(training, changed, fastest)
        except CaptureError:
            raise
        except Exception as error:  # e.g. a missing compiler, or a network that cannot be compiled or captured
            tried.append(f"{name} failed: {first_line(error)[:80]}")
            continue
        tried.append(f"{name} {1000 * seconds:.3g}")
        if seconds <= GAIN * fastest:
            config, fastest = changed, seconds
        else:
            slower.add(key)
    return config, f"measured: {rule.describe(config)}; {1000 * fastest:.3g} ms per step ({'; '.join(tried)})"


def _candidates(config: RunConfig, minutes: float) -> Iterator[tuple[str, Any]]:
    """Yield choices that may be faster than the rule's, each to be combined with the best of the previous ones."""
    asked, chosen = config.train, config.chosen
    if asked.plain:
        return
    if asked.graphs is None and chosen.device == "cuda":
        yield "graphs", True
    convolutions = chosen.channels_last
    if asked.channels_last is None and convolutions:
        yield "channels_last", False
    if asked.precision == "auto" and chosen.precision == "bfloat16":
        yield "precision", "float32"
    if asked.threads is None and chosen.device == "cpu":
        threads = chosen.threads
        while threads > 1:
            threads //= 2
            yield "threads", threads
    # Compiling does not make perceptrons faster on a CPU: their matrix products are the same (docs/performance.md).
    if asked.compiled is None and minutes >= COMPILE_MINUTES and (convolutions or chosen.device == "cuda"):
        yield "compiled", True


def _is_short(training: Training) -> bool:
    total, minutes = training.total_steps, training.config.train.minutes
    return (total is not None and total < STEPS) or (minutes is not None and minutes < MINUTES)


def with_horizon(training: Training) -> tuple[RunConfig, str | None]:
    """Return the configuration with every schedule's horizon in steps, and a line that reports it.

    For a budget of minutes the speed is measured on a few steps. All processes use the result of rank 0.
    """
    config = training.config
    if all(schedule.over for schedule in config.schedules().values()):
        return config, None
    steps = training.total_steps
    if steps is None:
        own = round(60 * (config.train.minutes or 0) / _seconds(training, config, math.inf))
        steps = training.world.gather(max(1, own))[0]
    return config.with_horizon(steps), f"schedules end with the budget, taken as {max(1, steps):,} steps"


def _seconds(training: Training, config: RunConfig, fastest: float) -> float:
    """Return the shortest time of a few steps (of two if they are slow), measured on a temporary state."""
    config = config.with_horizon(PROVISIONAL)
    with torch_settings(config):
        state = TrainingState(config, training.device)
        updates, batches = Updates(state, config), training.batches(state.objective)
        batches.at(0)
        training.loader.settle()
        times: list[float] = []
        while len(times) < WARM_UP + REPEATS or sum(times[WARM_UP:]) < SECONDS:
            began = time.perf_counter()
            updates.step(batches)
            if training.device.type == "cuda":
                torch.cuda.synchronize(training.device)
            times.append(time.perf_counter() - began)
            if len(times) > 1 and (sum(times[1:]) > LEAST_SECONDS or min(times[1:]) > SLOW * fastest):
                break
    return min(times[1:])


def _describe(key: str, value: Any) -> str:
    """Return "1 thread" for `threads=1`, "not channels_last" for `channels_last=False`, else the value."""
    if isinstance(value, bool):
        return key if value else f"not {key}"
    return f"{value} thread{'s' if value != 1 else ''}" if key == "threads" else str(value)
