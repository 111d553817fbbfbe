"""How fast generators draw: a run's in every form and in torch, or .onnx files, taking turns in one process.

A contest is between the contestants of one run, on the same weights, latents and labels, or between all .onnx files
that are given. At each batch size its contestants take turns, in an order that is rotated from repeat to repeat. How
many times faster one is than another is computed from their medians within one repeat: what slows the machine down for
a while slows both. One that fails is reported, and the others go on.
"""

import importlib.metadata
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

from ganzoo.errors import UsageError
from ganzoo.files import StrPath
from ganzoo.report.benchmark import (
    BatchResult,
    BenchmarkRecord,
    ConditionsRecord,
    ContestantResult,
    Latency,
    ModelResult,
    Start,
)
from ganzoo.runs.resolving import MODELS, resolve
from ganzoo.runs.run import Run
from ganzoo.runtime.forms import Form
from ganzoo.runtime.generator import Generator, GeneratorInfo
from ganzoo.runtime.session import cores
from ganzoo.studies.contestants import PLAIN, Call, Contestant, Inputs, choose_forms, of_file, of_form, of_torch
from ganzoo.studies.stopwatch import busy, first_image, summarize, times_faster, turn, warm_up

Say: TypeAlias = Callable[[str], None]

BATCHES = (1, 8, 64, 512)
BUSY = 0.1  # of the cores, by others: torch's threads wait for each other at every layer, and so for those
WARM_UP = 2.0  # seconds, at most
THREADS = "onnxruntime's threads spin while they wait and torch's OpenMP does as it is set, both as is the default"


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What all contestants meet. Raises UsageError for a number that is out of range."""

    batches: tuple[int, ...] = BATCHES
    threads: int
    seconds: float = 0.5  # of a turn
    repeats: int = 5  # turns of a contestant at a batch size, and fresh processes for its start

    def __post_init__(self) -> None:
        whole = {"threads": self.threads, "repeats": self.repeats, **{f"batch {size}": size for size in self.batches}}
        for name, number in whole.items():
            if number < 1:
                raise UsageError(f"{name}: expected a number from 1 up")
        if not self.batches or not 0 <= self.seconds < float("inf"):
            raise UsageError(f"batches {list(self.batches)}, {self.seconds} seconds: expected some, and 0 or more")


@dataclass(kw_only=True)
class Contest:
    """Those who are compared with each other, and what each of them draws."""

    model: str
    contestants: list[Contestant]
    drawn: dict[str, GeneratorInfo]  # by the contestant's name

    @property
    def references(self) -> list[str]:
        """The contestants that the others are set beside: torch's, the first file, and the graph as it was."""
        files = [one.name for one in self.contestants if one.kind == "file"]
        torch = [one.name for one in self.contestants if one.kind == "torch"]
        return [*torch, *files[:1], *(name for name in files[1:] if name == PLAIN)]


def benchmark_runtime(
    models: Sequence[StrPath],
    *,
    forms: Sequence[str] | None = None,
    batches: Sequence[int] = BATCHES,
    threads: int | None = None,
    seconds: float = 0.5,
    repeats: int = 5,
    compiled: bool = True,
    starts: bool = True,
    say: Say = lambda text: None,
) -> BenchmarkRecord:
    """Measure how fast `models` draw, runs' directories and .onnx files. `to_json` of it: see docs/runtime-speed.md.

    Args:
        models: each run is exported in every form and set beside torch; all files are set beside the first of them.
        forms: names that `ganzoo.studies.contestants.choose_forms` knows; by default those that it chooses.
        batches: images drawn by one call.
        threads: of torch and of each session; by default the cores that this process may use.
        seconds: of each turn.
        repeats: turns of each contestant at each batch size, and fresh processes that its start is timed in.
        compiled: whether torch.compile takes part, which needs a C++ compiler.
        starts: whether the time of a fresh process to its first image is taken.
        say: takes the lines about progress.

    Raises FileError for a run or a file that cannot be read, UsageError for an unknown form or a wrong number.
    """
    conditions = Conditions(
        batches=tuple(batches), threads=cores() if threads is None else threads, seconds=seconds, repeats=repeats
    )
    chosen = choose_forms(forms)
    runs, files = _opened(models)
    met = _describe(conditions, runs=bool(runs))
    with tempfile.TemporaryDirectory() as scratch, _torch_threads(conditions.threads if runs else None):
        contests = [_gather_files(files, conditions.threads)] if files else []  # first: a file may be broken
        if (met.busy or 0) > BUSY:
            say(f"warning: others use {met.busy:.0%} of this machine: the figures will be worth little")
        contests += _gather_runs(runs, chosen, compiled, conditions.threads, Path(scratch), say)
        return BenchmarkRecord(
            conditions=met, models=tuple(_hold(contest, conditions, starts, say) for contest in contests)
        )


# Who takes part


def _opened(models: Sequence[StrPath]) -> tuple[dict[str, Run], dict[str, Path]]:
    """The runs and the files, by the names that they were given by."""
    sources = [resolve(model, MODELS, "ganzoo benchmark", formats=("onnx",)) for model in dict.fromkeys(models)]
    if not sources:
        raise UsageError("nothing to measure: name a run's directory, or .onnx files")
    runs = {source.given: Run.open(source.path) for source in sources if source.kind == "run"}
    return runs, {source.given: source.path for source in sources if source.kind != "run"}


def _gather_files(paths: dict[str, Path], threads: int) -> Contest:
    opened = {name: of_file(path, name, threads) for name, path in paths.items()}
    return Contest(
        model="files",
        contestants=[contestant for contestant, _ in opened.values()],
        drawn={name: info for name, (_, info) in opened.items()},
    )


def _gather_runs(
    runs: dict[str, Run],
    forms: dict[str, Form],
    compiled: bool,
    threads: int,
    scratch: Path,
    say: Say,
) -> Iterator[Contest]:
    from ganzoo.runs.opening import generator_info

    for number, (name, run) in enumerate(runs.items()):
        contestants = list(of_torch(run, compiled=compiled))  # raises for a run that cannot be read
        for form_name, form in forms.items():
            say(f"{name}: exporting {form_name}")
            contestants.append(of_form(run, form_name, form, scratch / f"{number}-{form_name}.onnx", threads))
        info = generator_info(run.latest_checkpoint().config())
        yield Contest(model=name, contestants=contestants, drawn={one.name: info for one in contestants})


# The contest


def _hold(contest: Contest, conditions: Conditions, starts: bool, say: Say) -> ModelResult:
    """Time all contestants and return the result."""
    if starts:
        say(f"{contest.model}: cold starts")
        _time_starts(contest, conditions)
    for batch in conditions.batches:
        say(f"{contest.model}: batch {batch}")
        _time_batch(contest, batch, conditions)
    return ModelResult(
        model=contest.model,
        variant=", ".join(dict.fromkeys(info.variant for info in contest.drawn.values())),
        references=tuple(contest.references),
        contestants=tuple(_result_of(one) for one in contest.contestants),
    )


def _result_of(one: Contestant) -> ContestantResult:
    return ContestantResult(
        name=one.name,
        kind=one.kind,
        **one.facts.model_dump(exclude_unset=True),
        start=one.start or None,
        error=one.error,
        batches=tuple(one.batches),
    )


def _time_starts(contest: Contest, conditions: Conditions) -> None:
    """Take each contestant's seconds to the first image of a fresh process: the median of several, in turns."""
    asked = [(one, kind) for one in contest.contestants for kind in one.starts]
    taken: list[list[Start]] = [[] for _ in asked]
    for repeat in range(conditions.repeats):
        for index in _rotate(range(len(asked)), repeat):
            one, kind = asked[index]
            with one.trying("cold start: "):
                taken[index].append(first_image(kind, one.path, conditions.threads))
    for (one, kind), times in zip(asked, taken, strict=True):
        if times:
            one.start[kind] = Start(
                from_start=median(time.from_start for time in times),
                from_import=median(time.from_import for time in times),
            )


def _time_batch(contest: Contest, batch: int, conditions: Conditions) -> None:
    """Add each contestant's result at a batch size; one that has failed takes no further part."""
    ready: list[tuple[Contestant, Call, dict[str, Any]]] = []
    for one in contest.contestants:
        if one.error is None:
            with one.trying(f"batch {batch}: "):
                ready.append((one, *_prepare(one, _make_inputs(contest.drawn[one.name], batch))))
    turns: dict[str, list[list[float]]] = {one.name: [] for one, _, _ in ready}
    for repeat in range(conditions.repeats):
        for one, call, _ in _rotate([entry for entry in ready if entry[0].error is None], repeat):
            with one.trying(f"batch {batch}: "):
                turns[one.name].append(turn(call, conditions.seconds))
    found = {one.name: summarize(turns[one.name], batch) for one, _, _ in ready if one.error is None}
    for one, _, about in ready:
        if one.error is None:
            ratios = times_faster(found[one.name].medians_ms, _others(found, contest.references, one.name))
            latency = found[one.name].model_dump()
            one.batches.append(BatchResult(batch=batch, **about, **latency, times_faster_than=ratios))


def _others(found: dict[str, Latency], references: Sequence[str], own: str) -> dict[str, tuple[float, ...]]:
    return {name: found[name].medians_ms for name in references if name in found and name != own}


def _prepare(one: Contestant, inputs: Inputs) -> tuple[Call, dict[str, Any]]:
    """Return its call, warm, with the way that it took and the seconds to its first batch."""
    began = time.perf_counter()
    call, way = one.prepare(inputs)
    call()
    about = {"way": way, "ready_s": time.perf_counter() - began}
    warm_up(call, WARM_UP)
    return call, about


def _make_inputs(info: GeneratorInfo, batch: int) -> Inputs:
    labels = Generator(info, lambda z, y: z).labels_for(batch)
    return info.latents(0, 0, batch), labels


def _rotate(values: Sequence[Any], by: int) -> list[Any]:
    by %= max(1, len(values))
    return [*values[by:], *values[:by]]


# The conditions


def _describe(conditions: Conditions, *, runs: bool) -> ConditionsRecord:
    packages = ["onnxruntime", *(["torch"] if runs else [])]
    return ConditionsRecord(
        threads=conditions.threads,
        cores=cores(),
        busy=busy(),
        batches=conditions.batches,
        seconds=conditions.seconds,
        repeats=conditions.repeats,
        waiting=THREADS,
        python=sys.version.split()[0],
        versions={name: importlib.metadata.version(name) for name in packages},
    )


@contextmanager
def _torch_threads(threads: int | None) -> Iterator[None]:
    """Have torch use so many threads meanwhile; with None it is left alone."""
    if threads is None:
        yield
        return
    import torch

    former = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(former)
