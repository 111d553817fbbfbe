"""Measuring a few steps when a run starts: which way to compute is the fastest (`--tune`), how many steps fit a budget.

What is measured takes place on a state that is thrown away, and what it chooses is written down: a resumed run keeps to
it.
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

STEPS = 500  # a shorter run is over before its measuring would pay
MINUTES = 0.2
COMPILE_MINUTES = 20.0  # compiling takes about one
WARM_UP = 2  # steps
SECONDS = 0.25  # that a choice is measured for, and
REPEATS = 3  # steps at least
LEAST_SECONDS, SHARE = 3.0, 0.05  # what measuring may take: seconds, or a share of the budget if that is more
SLOW = 1.5  # times as slow as the best: not worth another step
GAIN = 0.95  # a choice must take this share of the time, or less, to displace the rule's


def tune(training: Training) -> tuple[RunConfig, str]:
    """Return the configuration with the fastest choices where it leaves them open, and a line that reports them.

    It begins with what the rule chose. Nothing is measured if nothing is open, the budget is too small for it, or
    several processes would have to agree; and no more than a small share of the budget is spent. Raises CaptureError,
    after which a process cannot train.
    """
    config = training.config
    if not any(_candidates(config, math.inf)):
        return config, f"nothing is left to measure: {rule.describe(config)}"
    if _is_short(training):
        return config, f"too short to measure: {rule.describe(config)}"
    if training.world.size > 1:
        return config, f"several processes cannot measure: {rule.describe(config)}"
    began = time.monotonic()
    try:
        fastest = _seconds(training, config, math.inf)
    except CaptureError:
        raise
    except Exception:  # whatever is wrong with the run, training itself reports it better
        return config, rule.describe(config)
    minutes = config.train.minutes or (training.total_steps or 0) * fastest / 60
    tried, slower = [], set[str]()
    for key, value in _candidates(config, minutes):
        if time.monotonic() - began > max(LEAST_SECONDS, SHARE * 60 * minutes):
            tried.append("no time for more")
            break
        if key in slower:  # half of the threads were slower: so is a quarter
            continue
        changed, name = config.with_compute(**{key: value}), _describe(key, value)
        try:
            seconds = _seconds(training, changed, fastest)
        except CaptureError:
            raise
        except Exception as error:  # a compiler that is missing, a network that cannot be compiled or captured
            tried.append(f"{name} failed: {first_line(error)[:80]}")
            continue
        tried.append(f"{name} {1000 * seconds:.3g}")
        if seconds <= GAIN * fastest:
            config, fastest = changed, seconds
        else:
            slower.add(key)
    return config, f"measured: {rule.describe(config)}; {1000 * fastest:.3g} ms per step ({'; '.join(tried)})"


def _candidates(config: RunConfig, minutes: float) -> Iterator[tuple[str, Any]]:
    """Yield what may be faster than the rule's choice, each to be tried over the best of those before it."""
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
    # Perceptrons gain nothing from being compiled on a CPU: their matrix products are the same (docs/performance.md).
    if asked.compiled is None and minutes >= COMPILE_MINUTES and (convolutions or chosen.device == "cuda"):
        yield "compiled", True


def _is_short(training: Training) -> bool:
    total, minutes = training.total_steps, training.config.train.minutes
    return (total is not None and total < STEPS) or (minutes is not None and minutes < MINUTES)


def with_horizon(training: Training) -> tuple[RunConfig, str | None]:
    """Return the configuration with every schedule's horizon in steps, and a line that reports it.

    For a budget of minutes the rate is measured on a few steps. Of several processes all take the first one's figure.
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
    """The least time that a step takes, of a few on a state that is thrown away; of two where they are slow."""
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
    """`threads=1` -> "1 thread", `channels_last=False` -> "not channels_last", `precision=float32` -> "float32"."""
    if isinstance(value, bool):
        return key if value else f"not {key}"
    return f"{value} thread{'s' if value != 1 else ''}" if key == "threads" else str(value)
