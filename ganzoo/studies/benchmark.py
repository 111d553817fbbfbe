"""The speed of generators: each run in every form and in torch, or .onnx files, timed by turns in one process.

A contest compares the contestants of one run, with the same weights, latents and labels, or all given .onnx files. At
each batch size its contestants take turns, in an order that is rotated from repeat to repeat. How many times faster one
is than another is computed from their medians within one repeat: a temporary slowdown of the machine affects both. A
contestant that fails is reported, and the others continue.
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
BUSY = 0.1  # share of the cores that other programs use: more slows torch, whose threads wait for each other
WARM_UP = 2.0  # seconds, at most
THREADS = "waiting threads of onnxruntime spin, those of torch follow the settings of OpenMP; both are the defaults"


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The conditions of all contestants. Raises UsageError for a number that is out of range."""

    batches: tuple[int, ...] = BATCHES
    threads: int
    seconds: float = 0.5  # per turn
    repeats: int = 5  # turns per contestant and batch size, and fresh processes per cold start

    def __post_init__(self) -> None:
        whole = {"threads": self.threads, "repeats": self.repeats, **{f"batch {size}": size for size in self.batches}}
        for name, number in whole.items():
            if number < 1:
                raise UsageError(f"{name}: expected 1 or more")
        if not self.batches or not 0 <= self.seconds < float("inf"):
            raise UsageError(
                f"batches {list(self.batches)}, {self.seconds} seconds: expected at least one batch size, and "
                "0 or more seconds"
            )


@dataclass(kw_only=True)
class Contest:
    """Contestants that are compared with each other, and the generator of each."""

    model: str
    contestants: list[Contestant]
    drawn: dict[str, GeneratorInfo]  # by the contestant's name

    @property
    def references(self) -> list[str]:
        """The contestants that others are compared with: torch's, the first file, and the graph before rewriting."""
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
    """Measure how fast `models` draw. docs/runtime-speed.md describes the JSON document of the result.

    Args:
        models: run directories, each exported in every form and compared with torch, and .onnx files, which are
            compared with the first of them.
        forms: names of forms; by default those that `ganzoo.studies.contestants.choose_forms` chooses.
        batches: batch sizes, the numbers of images per call.
        threads: threads of torch and of each session; by default the cores that this process may use.
        seconds: seconds per turn.
        repeats: turns per contestant and batch size, and fresh processes per cold start.
        compiled: whether to time torch.compile too, which needs a C++ compiler.
        starts: whether to time fresh processes up to their first image.
        say: a function that is called with each line of progress.

    Raises FileError for a run or a file that cannot be read, UsageError for an unknown form or an invalid number.
    """
    conditions = Conditions(
        batches=tuple(batches), threads=cores() if threads is None else threads, seconds=seconds, repeats=repeats
    )
    chosen = choose_forms(forms)
    runs, files = _open_models(models)
    met = _describe(conditions, runs=bool(runs))
    with tempfile.TemporaryDirectory() as scratch, _torch_threads(conditions.threads if runs else None):
        contests = [_gather_files(files, conditions.threads)] if files else []  # first, because a file may be damaged
        if (met.busy or 0) > BUSY:
            say(f"warning: other programs use {met.busy:.0%} of this machine: the results will be unreliable")
        contests += _gather_runs(runs, chosen, compiled, conditions.threads, Path(scratch), say)
        return BenchmarkRecord(
            conditions=met, models=tuple(_hold(contest, conditions, starts, say) for contest in contests)
        )


# The contestants


def _open_models(models: Sequence[StrPath]) -> tuple[dict[str, Run], dict[str, Path]]:
    """Return the runs and the files, by the names that were given."""
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
    """Measure the seconds of fresh processes to their first image: per contestant, the median of several turns."""
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
    """Add each contestant's result at a batch size; contestants that have failed are skipped."""
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
    """Return a contestant's call after a warm-up, with its way of computing and the seconds to its first batch."""
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
    """Set torch's number of threads inside the block; with None, leave it unchanged."""
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
