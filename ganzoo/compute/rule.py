"""The rule for how a run computes, which depends on its networks, the machine and the free processors, not on timing.

    precision      bfloat16 if the processor supports it and computes a convolution correctly, and torch has all
                   operators of the networks in bfloat16, else float32
    channels_last  if there are convolutions
    fused          always: two layers that are equal to one convolution are computed as one
    threads        a power of two, by the work of a step, limited by the free processors and by the threads that torch
                   may use (OMP_NUM_THREADS, torch.set_num_threads)
    compiled       never, and no CUDA graphs

Two runs with the same seed, steps and free processors compute the same bits on one machine's CPU. Settings of the
configuration override the rule. `benchmarks/ways.py` compares the speed of the rule with `--tune`.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode

from ganzoo.compute.device import NO_KERNEL, autocast, choose_matmul, choose_precision
from ganzoo.compute.processors import available, free
from ganzoo.config import Compute, RunConfig
from ganzoo.zoo.build import build_objective, example_inputs
from ganzoo.zoo.networks.common import logits_of
from ganzoo.zoo.objectives.base import Objective

EXAMPLES = 2  # images in a test call of the networks: batch norm needs two
# Floating-point operations of the networks' forward passes for one batch: a second thread pays off from twice this on.
WORK_PER_THREAD = 12e6


@torch.inference_mode(False)  # the networks are differentiated, even if the caller is in inference mode
def choose(config: RunConfig, device: torch.device, processors: int | None, share: int = 1) -> Compute:
    """Return how a run computes.

    Args:
        config: the settings, and the facts about the data. Its networks are built and called once.
        device: the device of the run.
        processors: the number of free processors on this machine; None if the configuration sets the threads.
        share: the number of processes of this run that share these processors.
    """
    train = config.train
    plain = train.plain
    with torch.random.fork_rng(devices=[]):
        objective = build_objective(config)
    on_cpu = device.type == "cpu"  # otherwise threads only prepare work, and networks may need the device
    work = work_of(config, objective) if on_cpu and train.threads is None else math.inf
    threads = train.threads or choose_threads(work, (processors or 1) // share)
    precision = "float32" if plain else choose_precision(train.precision, device)
    if on_cpu and train.precision == "auto" and precision == "bfloat16" and not computes_in_bfloat16(config, objective):
        precision = "float32"
    return Compute(
        device=device.type,
        precision=precision,
        matmul="highest" if plain and train.matmul == "auto" else choose_matmul(train.matmul, device),
        channels_last=_first(train.channels_last, not plain and has_convolutions(objective)),
        fused=_first(train.fused, not plain),
        compiled=bool(train.compiled),
        graphs=bool(train.graphs),
        threads=threads,
        processors=processors,
    )


def choose_threads(work: float, processors: int) -> int:
    """Return the number of threads for a batch's `work` (floating-point operations) and this many free processors."""
    return round_threads(int(min(processors, torch.get_num_threads(), work / WORK_PER_THREAD)))


def round_threads(number: int) -> int:
    """Return the greatest power of two up to a number, at least 1.

    So a small change in the number of free processors does not change the rounding of sums.
    """
    return 1 << max(0, number.bit_length() - 1)


@contextmanager
def free_threads() -> Iterator[None]:
    """Limit torch's threads to the number of free processors during the block; restore their number afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(min(threads, round_threads(max(1, free()))))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def has_convolutions(objective: Objective) -> bool:
    """Return whether there is a two-dimensional convolution."""
    return any(parameter.ndim == 4 for parameter in objective.parameters())


def work_of(config: RunConfig, objective: Objective) -> float:
    """Return the floating-point operations of the forward passes of all networks for one batch."""
    with torch.random.fork_rng(devices=[]), torch.no_grad(), FlopCounterMode(display=False) as counter:
        for role, network in objective.eval().networks.items():
            network(*example_inputs(config, role, EXAMPLES))
    return float(counter.get_total_flops()) * config.data.batch_size / EXAMPLES


def computes_in_bfloat16(config: RunConfig, objective: Objective) -> bool:
    """Return whether torch can compute the forward and backward passes of the networks in bfloat16 on a CPU."""
    cpu = torch.device("cpu")
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            for role, network in objective.train().networks.items():
                with autocast(cpu, "bfloat16"):
                    answer = network(*example_inputs(config, role, EXAMPLES))
                values = answer if isinstance(answer, tuple) else [logits_of(answer)]
                torch.autograd.backward([value.float().sum() for value in values])
    except Exception as error:  # training will report any other error
        return NO_KERNEL not in str(error)
    return True


def describe(config: RunConfig, *, repeated: bool = False) -> str:
    """Return one line that reports how a run computes, and the reason for its number of threads.

    A `repeated` choice is that of an earlier run, so the free processors are not reported.
    """
    compute = config.chosen
    ways = [key for key in ("channels_last", "compiled", "graphs") if getattr(compute, key)]
    line = f"computing in {', '.join([compute.precision, *ways])} with {count_threads(compute.threads)}"
    if repeated:
        return f"{line}, as in the run of the configuration file"
    if compute.processors is None:
        return line
    if config.train.processors is not None:
        return f"{line}: the number of free processors is set to {compute.processors}"
    there = available()
    busy = "" if compute.processors >= there else "; other programs use the rest"
    return f"{line}: {compute.processors} of {there} processors are free{busy}"


def count_threads(number: int) -> str:
    """Return `1 thread`, `2 threads`."""
    return f"{number} thread{'s' if number != 1 else ''}"


def _first(asked: bool | None, rule: bool) -> bool:
    return rule if asked is None else asked
