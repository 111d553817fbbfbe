"""How a run computes, chosen by measuring a few steps when it starts, and written down: a resumed run keeps to it."""

import time
from collections.abc import Iterator
from typing import Any

import torch

from ganzoo.batch import Batches
from ganzoo.config import RunConfig, TrainConfig
from ganzoo.device import torch_settings
from ganzoo.prepare import Training
from ganzoo.state import TrainingState
from ganzoo.updates import Updates

STEPS = 500  # a shorter run is over before its measuring would pay
MINUTES = 0.2
COMPILE_MINUTES = 20.0  # compiling takes about one
WARM_UP = 2  # steps
SECONDS = 0.25  # that a choice is measured for, and
REPEATS = 3  # steps at least
GAIN = 0.95  # a choice must take this share of the time, or less, to displace a simpler one


def complete(training: Training) -> RunConfig:
    """The configuration with every choice made that can be made without measuring."""
    train = training.config.train
    defaults = {"channels_last": False, "fused": True, "compiled": False, "graphs": False}
    chosen: dict[str, Any] = {key: value for key, value in defaults.items() if getattr(train, key) is None}
    return training.config.with_train(threads=train.threads or torch.get_num_threads(), **chosen)


def measured(training: Training, asked: TrainConfig) -> tuple[RunConfig, str | None]:
    """The configuration with the fastest choices where `asked` leaves them open, and a line that says which.

    Nothing is measured where nothing is open, the budget is too small for it, or several processes would have to agree.
    """
    config = complete(training)
    if _is_short(training) or training.world.size > 1:
        return config, None
    candidates = list(_candidates(config, asked, _minutes(training, 0.0)))
    if not candidates:
        return config, None
    try:
        fastest = _seconds(training, config)
    except Exception:  # whatever is wrong with the run, training itself says it better
        return config, None
    if _minutes(training, fastest) >= COMPILE_MINUTES:
        candidates = list(_candidates(config, asked, _minutes(training, fastest)))
    tried = []
    for candidate in candidates:
        changed = config.with_train(**candidate)
        name = _describe(candidate)
        try:
            seconds = _seconds(training, changed)
        except Exception as error:  # a compiler that is missing, a network that cannot be compiled or captured
            tried.append(f"{name} failed: {str(error).strip().partition(chr(10))[0][:80] or type(error).__name__}")
            continue
        tried.append(f"{name} {1000 * seconds:.3g}")
        if seconds <= GAIN * fastest:
            config, fastest = changed, seconds
    train = config.train
    chosen = [train.precision, f"{train.threads} thread{'s' if train.threads != 1 else ''}"]
    chosen += [key for key in ("channels_last", "compiled", "graphs") if getattr(train, key)]
    return config, f"chosen by measuring: {', '.join(chosen)}, {1000 * fastest:.3g} ms a step ({'; '.join(tried)})"


def _candidates(config: RunConfig, asked: TrainConfig, minutes: float) -> Iterator[dict[str, Any]]:
    """What may be faster, each tried over the best of those before it."""
    train = config.train
    if asked.plain:
        return
    convolutions = _has_convolutions(config)
    if asked.graphs is None and train.device == "cuda":
        yield {"graphs": True}
    if asked.channels_last is None and convolutions:
        yield {"channels_last": True}
    if asked.precision == "auto" and train.precision == "bfloat16":
        yield {"precision": "float32"}
    if asked.threads is None and train.device == "cpu":
        threads = train.threads or 1
        while threads > 1:
            threads //= 2
            yield {"threads": threads}
    # Perceptrons gain nothing from being compiled on a CPU: their matrix products are the same (docs/performance.md).
    if asked.compiled is None and minutes >= COMPILE_MINUTES and (convolutions or train.device == "cuda"):
        yield {"compiled": True}


def _has_convolutions(config: RunConfig) -> bool:
    with torch_settings(config.train):
        state = TrainingState(config, torch.device("cpu"))
    return any(parameter.ndim == 4 for parameter in state.objective.parameters())


def _is_short(training: Training) -> bool:
    total, minutes = training.total_steps, training.config.train.minutes
    return (total is not None and total < STEPS) or (minutes is not None and minutes < MINUTES)


def _minutes(training: Training, step: float) -> float:
    """The budget in minutes, of steps that take this many seconds."""
    return training.config.train.minutes or (training.total_steps or 0) * step / 60


def _seconds(training: Training, config: RunConfig) -> float:
    """The least time that a step takes, of a few on a state that is thrown away."""
    with torch_settings(config.train):
        state = TrainingState(config, training.device)
        updates = Updates(state, config)
        batches = Batches(
            training.loader,
            latent_dim=config.variant.latent_dim,
            conditional=config.variant.conditional,
            noise=state.objective.noise,
            seed=config.train.seed,
        )
        times: list[float] = []
        while len(times) < WARM_UP + REPEATS or sum(times[WARM_UP:]) < SECONDS:
            began = time.perf_counter()
            first = state.step * config.variant.critic_steps
            for update in range(first, first + config.variant.critic_steps):
                batch = batches.at(update)
                updates.discriminator(batch)
            updates.generator(batch)
            state.step += 1
            if training.device.type == "cuda":
                torch.cuda.synchronize(training.device)
            times.append(time.perf_counter() - began)
    return min(times[WARM_UP:])


def _describe(candidate: dict[str, Any]) -> str:
    """`threads=1` -> "1 threads", `channels_last=True` -> "channels_last", `precision=float32` -> "float32"."""
    ((key, value),) = candidate.items()
    return f"{value} thread{'s' if value != 1 else ''}" if key == "threads" else key if value is True else str(value)
