"""Measurements of the time of a call, and of a fresh process to its first image. Does not import torch."""

import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median

import numpy as np

from ganzoo.compute import processors
from ganzoo.errors import MachineError
from ganzoo.report.benchmark import Latency, Spread, Start

FEW = 3  # calls per turn, at least
WINDOW = 5  # calls whose median is compared with that of the next WINDOW calls
STEADY = 0.1  # largest relative difference of these medians
PAUSE = 0.01  # seconds, after which the threads of the previous contestant have stopped spinning

FIRST_IMAGE = {  # arguments: file or run, threads; prints the seconds since its first import
    "file": """
import sys, time
began = time.perf_counter()
from ganzoo import runtime, seeds
generator = runtime.load(sys.argv[1], threads=int(sys.argv[2]))
generator.generate(generator.info.latents(0, 0, 1), generator.labels_for(1))
print(time.perf_counter() - began, flush=True)
""",
    "floor": """
import sys, time
began = time.perf_counter()
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(sys.argv[2])
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
feeds = {"z": numpy.zeros((1, session.get_inputs()[0].shape[1]), numpy.float32)}
if len(session.get_inputs()) == 2:
    feeds["labels"] = numpy.zeros(1, numpy.int64)
session.run(None, feeds)
print(time.perf_counter() - began, flush=True)
""",
    "torch": """
import sys, time
began = time.perf_counter()
import ganzoo, torch
from ganzoo import seeds
torch.set_num_threads(int(sys.argv[2]))
generator = ganzoo.load(sys.argv[1])
generator.generate(generator.info.latents(0, 0, 1), generator.labels_for(1))
print(time.perf_counter() - began, flush=True)
""",
}


def busy() -> float | None:
    """Return the share of the processors' time that other programs use now; None if the system keeps no counters."""
    before = processors.read()
    time.sleep(processors.SECONDS)
    after = processors.read()
    if before.used is None or after.used is None:
        return None
    others = after.used - before.used - (after.own - before.own)
    return min(1.0, max(0.0, others / (after.time - before.time) / processors.available()))


def warm_up(call: Callable[[], object], seconds: float) -> None:
    """Call until the times of calls are steady, or for `seconds`, at least `FEW` times."""
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < FEW or time.perf_counter() - began < seconds:
        times.append(_seconds(call))
        before, now = times[-2 * WINDOW : -WINDOW], times[-WINDOW:]
        if len(before) == WINDOW and abs(median(now) / median(before) - 1) < STEADY:
            return


def turn(call: Callable[[], object], seconds: float) -> list[float]:
    """Return the seconds of each call, for about `seconds`, after a pause and a few calls that are not timed.

    At least `FEW` calls are timed.
    """
    time.sleep(PAUSE)
    for _ in range(FEW):
        call()
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < FEW or time.perf_counter() - began < seconds:
        times.append(_seconds(call))
    return times


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def first_image(kind: str, path: Path, threads: int) -> Start:
    """Return the seconds of a fresh interpreter to its first image.

    `kind` is `file` (`ganzoo.runtime`), `floor` (onnxruntime alone) or `torch` (`ganzoo.load` of a run). Raises
    MachineError if the process fails.
    """
    command = [sys.executable, "-c", FIRST_IMAGE[kind], str(path), str(threads)]
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:  # not a pipe, which would fill up while nobody reads it
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            taken = time.perf_counter() - began
        errors.seek(0)
        output = errors.read()
    if process.returncode != 0:
        raise MachineError(f"a fresh process drew no image: {(output.strip().splitlines() or ['no error output'])[-1]}")
    return Start(from_start=taken, from_import=float(line))


def summarize(turns: Sequence[Sequence[float]], batch: int) -> Latency:
    """Return a contestant's latency over all calls at one batch size, its rate, and each turn's median."""
    calls = np.concatenate([np.asarray(times) for times in turns])
    p50, p95 = np.percentile(calls, (50, 95))
    return Latency(
        calls=len(calls),
        p50_ms=1000 * float(p50),
        p95_ms=1000 * float(p95),
        images_per_s=batch / float(p50),
        medians_ms=tuple(1000 * median(times) for times in turns),
    )


def spread(values: Sequence[float]) -> Spread:
    """Return the mean, the least and the greatest value."""
    return Spread(mean=fmean(values), least=min(values), greatest=max(values))


def times_faster(own: Sequence[float], others: Mapping[str, Sequence[float]]) -> dict[str, Spread]:
    """Return how many times faster than each of the others, turn by turn: medians of the same repeat are divided."""
    return {
        name: spread([other / mine for mine, other in zip(own, medians, strict=True)])
        for name, medians in others.items()
        if all(math.isfinite(value) and value > 0 for value in (*own, *medians))
    }
