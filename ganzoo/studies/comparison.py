"""Compare variants: train those that are not trained yet, and evaluate all runs in the same way.

DIR/
  plan.json               what is compared; another plan needs another directory
  runs/<variant>-seed<k>/ the runs
  results.json            one row per run, one row per variant, the floors

The same call continues where it was stopped: finished runs are kept, others are resumed, failed ones are tried again.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeVar, Unpack

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from ganzoo import data, registry, runtime
from ganzoo.config import DEFAULT_MINUTES, RunConfig, flag_of, list_settings
from ganzoo.data import ReadOptions
from ganzoo.errors import FileError, GanzooError, UsageError, first_line
from ganzoo.evaluation.evaluator import evaluate
from ganzoo.evaluation.judge import load_judge
from ganzoo.evaluation.metrics import FIGURES
from ganzoo.exporting.exporter import export
from ganzoo.files import check_name, locked, refuse_links, write_json
from ganzoo.report.records import (
    COSTS,
    FIGURE_KEYS,
    LATENCY,
    RESULTS,
    SCHEMA,
    ComparisonPlan,
    ComparisonResults,
    ComparisonRow,
    Spread,
    VariantSummary,
    curve_point,
)
from ganzoo.report.sources import Story
from ganzoo.runs.checkpoint import restore
from ganzoo.runs.run import Run, file_name
from ganzoo.studies.executors import EXECUTORS, Job, Say, check_executor
from ganzoo.studies.stopwatch import turn
from ganzoo.training.prepare import configure, recipe
from ganzoo.training.trainer import resume, start

SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8)  # of a budget of minutes: when runs are evaluated, besides its end
LATENCY_BATCHES = (1, 64)
LATENCY_SECONDS = 0.3  # per batch size


class Plan(ComparisonPlan):
    """A plan as a caller passes it: an unknown field is an error."""

    model_config = ConfigDict(extra="forbid")


class CompareOptions(ReadOptions, total=False):
    """The options of a comparison: the fields of `Plan`, and how the images are read. Each may be omitted or None."""

    seeds: int | None
    first_seed: int | None
    dataset: str | None
    data_dir: str | Path | None
    minutes: float | None
    epochs: float | None
    steps: int | None
    points: Sequence[float] | None
    sample_epochs: Sequence[int] | None
    settings: Sequence[str] | Mapping[str, Any] | None
    n: int | None
    figures: Sequence[str] | None


def compare(
    runs: Iterable[str | Path] = (),
    *,
    out: str | Path = "comparison",
    variants: Sequence[str] = (),
    jobs: int | None = None,
    executor: str = "local",
    say: Say = lambda text: None,
    **settings: Unpack[CompareOptions],
) -> dict[str, Any]:
    """Train `variants`, evaluate them and `runs`, and return the content of `results.json`.

    Args:
        runs: run directories that were trained elsewhere.
        out: the comparison's directory; a comparison with the same plan is continued.
        variants: registered names; each is trained with `seeds` seeds: `first_seed`, `first_seed` + 1, ...
        jobs: the number of runs that are trained at the same time; several share the cores, which slows each of them.
            None is 1, or with Ray as many as fit.
        executor: "local" for this machine; "ray" for the Ray cluster at RAY_ADDRESS or, if that is not set, one on this
            machine. A comparison may be continued with another executor.
        say: a function that is called with each line of progress.
        settings: `CompareOptions`, such as `seeds`, `dataset`, `minutes` | `epochs` | `steps`, `points` and `n`.

    Raises: UsageError for an invalid plan, one that differs from the directory's, or runs with different judges;
    MachineError if Ray is requested and cannot be used. A run that fails is a row with its error.
    """
    check_executor(executor, jobs)
    plan = _plan(tuple(str(Path(run)) for run in runs), tuple(variants), settings)
    directory = Path(out)
    claim(directory, plan, "comparison")
    with locked(directory, "is being worked on"):
        todo = _jobs(plan, directory)
        errors = dict(EXECUTORS[executor](partial(perform, plan), todo, jobs, directory, say))
        results = _collect(plan, directory, todo, errors).to_json()
        write_json(directory / RESULTS, results)
    return results


def _plan(runs: tuple[str, ...], variants: tuple[str, ...], settings: Mapping[str, Any]) -> Plan:
    if not runs and not variants:
        raise UsageError("nothing to compare: name runs, or variants to train (--variants gan,dcgan)")
    variants = tuple(map(registry.variants.match, variants))
    given = {key: value for key, value in settings.items() if value is not None}
    given["settings"] = list_settings(given.get("settings"))
    if variants and not {"minutes", "epochs", "steps"} & set(given):
        given["minutes"] = DEFAULT_MINUTES
    if "data_dir" in given:
        given["data_dir"] = os.path.abspath(given["data_dir"])  # noqa: PTH100  # a string; workers may run elsewhere
    plan = parse(Plan, with_reading({**given, "runs": runs, "variants": variants}))
    if unknown := set(_figures(plan)) - set(FIGURES):
        raise UsageError(f"no metric '{min(unknown)}': expected some of {', '.join(FIGURES)}")
    if len(set(variants)) < len(variants) or len(set(runs)) < len(runs):
        raise UsageError("a variant or run is named twice: name each once")
    for variant in variants:  # a wrong name or setting fails here, before hours of training
        _configure(plan, variant, 0, None)
    if not variants:
        return plan
    reading = _configure(plan, variants[0], 0, None).data.reading
    found = data.load(plan.dataset, data_dir=plan.data_dir, **reading)
    load_judge(found.source, plan.data_dir, sha256=found.sha256, reading=reading)
    # The plan stores what `auto` stands for, so that it cannot change later.
    return plan.model_copy(update={"dataset": found.source, "points": plan.points or _points(plan)})


def with_reading(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan's fields with those of `ReadOptions` as settings of every run, which override `--set`.

    Raises UsageError if the plan trains no run.
    """
    fields = {name: value for name, value in given.items() if name not in ReadOptions.__annotations__}
    reading = {name: given[name] for name in ReadOptions.__annotations__ if given.get(name)}
    if not reading:
        return fields
    if not fields.get("variants"):
        flag = flag_of(min(reading))
        raise UsageError(f"{flag} sets how training images are read: name variants to train with --variants")
    words = tuple(f"data.{name}={json.dumps(value)}" for name, value in reading.items())
    return {**fields, "settings": (*fields.get("settings", ()), *words)}


def _figures(plan: Plan) -> tuple[str, ...]:
    return tuple(FIGURES) if plan.figures is None else plan.figures


def _points(plan: Plan) -> tuple[float, ...]:
    """Return when runs are evaluated by default: more often in the beginning."""
    if plan.minutes is not None:
        return tuple(round(60 * plan.minutes * share, 3) for share in SHARES)
    if plan.epochs is not None and plan.epochs >= 1:
        return tuple(sorted(set(np.geomspace(1, int(plan.epochs), len(SHARES) + 1).round().tolist())))
    return ()


P = TypeVar("P", bound=BaseModel)
_ALL = (FIGURE_KEYS, None)  # all metrics, in plans of earlier versions and in plans of this one


def parse(model: type[P], given: Mapping[str, Any]) -> P:
    """Return a plan from its fields. Raises UsageError for an invalid field."""
    try:
        return model(**given)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            names = [*model.model_fields, *ReadOptions.__annotations__]
            raise UsageError(f"no option '{path}'{registry.nearest(path, names)}") from None
        raise UsageError(f"{path}: {first['msg']}") from None


def claim(directory: Path, plan: BaseModel, what: str) -> None:
    """Create a directory for a plan, or check that it contains the same plan. Raises UsageError, FileError."""
    check_name(directory)
    path = directory / "plan.json"
    if path.exists():
        refuse_links(directory)
        try:
            former = type(plan).model_validate_json(path.read_bytes())
        except ValidationError:
            raise FileError(f"{path} is damaged or of another version: use another --out") from None
        pairs = {key: (getattr(former, key), value) for key, value in plan}
        changed = [key for key, pair in pairs.items() if pair[0] != pair[1] and pair != _ALL]
        if changed:
            raise UsageError(
                f"{directory} contains another {what} ({', '.join(changed)} differ): repeat the same arguments to "
                "continue it, or use another --out"
            )
    elif directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} is not empty and contains no {what}: use another --out")
    write_json(path, plan.model_dump(mode="json"))


def _jobs(plan: Plan, directory: Path) -> list[Job]:
    seeds = range(plan.first_seed, plan.first_seed + plan.seeds)
    trained = [
        Job(
            name=f"{variant}-seed{seed}",
            path=directory / "runs" / f"{variant}-seed{seed}",
            variant=variant,
            seed=seed,
            device=asked.device,
            threads=asked.threads,
        )
        for seed in seeds  # one seed of all variants before the next: a stopped comparison has fewer seeds
        for variant in plan.variants
        for asked in [_configure(plan, variant, seed, None).train]
    ]
    return [*trained, *(Job(name=Path(run).name, path=Path(run)) for run in plan.runs)]


def perform(plan: Plan, job: Job) -> str | None:
    """Train a job's run to its end, evaluate and export it; return an error as one line, else None."""
    if job.threads is not None:  # in a separate process, beside others
        torch.set_num_threads(job.threads)
    try:
        run = Run.open(job.path) if job.variant is None else _train_run(plan, job)
        if not _is_judged(run, plan):
            evaluate(run, n=plan.n, seeds=1, figures=_figures(plan))
        if not _is_exported(run):
            export(run, _onnx(run))
    except GanzooError as error:
        return str(error)
    except Exception as error:  # an error in one variant's code must not stop the others
        return f"{type(error).__name__}: {first_line(error)}"
    return None


def _train_run(plan: Plan, job: Job) -> Run:
    assert job.variant is not None
    if not (job.path / "config.toml").exists():
        return start(_configure(plan, job.variant, job.seed, job.threads), out=job.path, progress=job.progress)
    run = Run.open(job.path)
    restore(run.checkpoints_directory)
    if not run.checkpoints():  # stopped before its first checkpoint: start again
        job.path.rename(job.path.with_name(f"{job.path.name}-stopped-{time.time_ns()}"))
        return _train_run(plan, job)
    if run.latest_checkpoint().final:
        return run
    return resume(run, progress=job.progress)


def _configure(plan: Plan, variant: str, seed: int, threads: int | None) -> RunConfig:
    settings = [*plan.settings, _cadence(plan)]
    return configure(
        variant,
        plan.dataset,
        data_dir=plan.data_dir,
        minutes=plan.minutes,
        epochs=plan.epochs,
        steps=plan.steps,
        seed=seed,
        sample_epochs=plan.sample_epochs,
        settings=[*settings, *([f"train.threads={threads}"] if threads else [])],
    )


def _cadence(plan: Plan) -> str:
    """Return the setting that evaluates a run at the plan's points; at its end it is always evaluated."""
    if plan.minutes is not None:
        return f"train.evaluate_seconds={list(plan.points)}"
    if plan.points:
        return f"train.evaluate_epochs={[round(point) for point in plan.points]}"
    return f"train.evaluate_every={max(1, (plan.steps or 0) // (len(SHARES) + 1)) if plan.steps else sys.maxsize}"


def _is_judged(run: Run, plan: Plan) -> bool:
    """Return whether evaluation.json has the plan's metrics of the newest checkpoint, by the data set's judge."""
    found = run.read_evaluation()
    if found is None or found.step != run.latest_checkpoint().step:
        return False
    complete = set(_figures(plan)) <= {*found.figures, *found.unavailable}
    config = run.config.data
    same = config.source == "array" or found.data.source == config.source
    known = None
    if config.source != "array":
        known = load_judge(config.source, config.data_dir, sha256=run.config.facts.sha256).sha256
    return complete and same and found.asked == plan.n and known in (None, found.judge.sha256)


def _is_exported(run: Run) -> bool:
    """Return whether the run's newest checkpoint was exported already."""
    try:
        return bool(runtime.read_metadata(_onnx(run)).get("step") == run.latest_checkpoint().step)
    except FileError:
        return False


def _onnx(run: Run) -> Path:
    return run.path / f"{file_name(run.config)}.onnx"


def _collect(plan: Plan, directory: Path, todo: Sequence[Job], errors: Mapping[Path, str]) -> ComparisonResults:
    rows = _name_recipes([_row(job, directory, errors.get(job.path)) for job in todo], directory)
    done = [row for row in rows if row.done]
    _check_comparable(done)
    return ComparisonResults(
        schema_version=SCHEMA,
        plan=ComparisonPlan(**plan.model_dump()),
        judge=done[0].judge if done else None,
        data=done[0].data if done else None,
        floors=_means([row.floors for row in done]),
        curve_floors=_means([row.curve_floors for row in done]),
        rows=tuple(rows),
        table=tuple(_summary(variant, rows) for variant in dict.fromkeys(row.variant for row in rows if row.variant)),
    )


def _check_comparable(done: Sequence[ComparisonRow]) -> None:
    """Raise UsageError if runs differ in their judge, their test images, or their number of images."""
    for what, values in {
        "by different judges": {f"{row.judge.name} {row.judge.sha256[:8]}" for row in done if row.judge},
        "on different data": {f"{row.data.source} {row.data.test_sha256[:8]}" for row in done if row.data},
        "with different numbers of images": {str(row.n) for row in done},
    }.items():
        if len(values) > 1:
            raise UsageError(
                f"the runs were evaluated {what} ({', '.join(sorted(values))}): their metrics are not comparable"
            )


def _name_recipes(rows: Sequence[ComparisonRow], directory: Path) -> list[ComparisonRow]:
    """Return the rows; runs of a variant that differ in more than the seed get their own names as variants."""
    recipes: dict[str | None, set[str]] = {}
    for row in rows:
        if row.done:
            recipes.setdefault(row.variant, set()).add(recipe(Run.open(directory / row.run).config))
    return [
        row.model_copy(update={"variant": row.name}) if row.done and len(recipes[row.variant]) > 1 else row
        for row in rows
    ]


def _row(job: Job, directory: Path, error: str | None) -> ComparisonRow:
    place = os.path.relpath(job.path, directory)
    if error is not None:
        return ComparisonRow(name=job.name, run=place, variant=job.variant, seed=job.seed, status="failed", error=error)
    run = Run.open(job.path)
    config, found, curve = run.config, run.read_evaluation(), run.read_evaluations()
    assert found is not None
    return ComparisonRow(
        name=job.name,
        run=place,
        variant=config.run.variant,
        seed=config.train.seed,
        status="done",
        error=None,
        judge=found.judge,
        data=found.data,
        n=found.n,
        figures={key: figure.mean for key, figure in found.figures.items()},
        floors={key: figure.floor for key, figure in found.figures.items()},
        verdict=found.verdict,
        **_size_and_speed(run),
        curve=tuple(curve_point(line) for line in curve),
        curve_floors=curve[-1].floors if curve else {},
    )


def _size_and_speed(run: Run) -> dict[str, Any]:
    checkpoint, story = run.latest_checkpoint(), Story(run, run.path.name)
    config = story.config
    step, seconds = checkpoint.step, checkpoint.state()["seconds"]
    images = step * config.variant.critic_steps * config.data.batch_size
    return {
        "steps": step,
        "seconds": seconds,
        "epochs": round(
            images / config.data.batch_size / max(1, (config.facts.images or 0) // config.data.batch_size), 3
        ),
        "images_per_s": round(images / max(seconds, 1e-9), 1),
        "generator_parameters": story.parameters("generator"),
        "discriminator_parameters": story.parameters("discriminator"),
        "onnx_bytes": _onnx(run).stat().st_size,
        "latency_ms": latency(_onnx(run)),
    }


def latency(path: Path) -> dict[str, float]:
    """Return the median milliseconds per call of the exported generator, for batches of 1 and 64."""
    generator = runtime.load(path)
    found = {}
    for batch in LATENCY_BATCHES:
        call = partial(generator.generate, generator.info.latents(0, 0, batch), generator.labels_for(batch))
        found[str(batch)] = round(1000 * median(turn(call, LATENCY_SECONDS)), 3)
    return found


def _summary(variant: str, rows: Sequence[ComparisonRow]) -> VariantSummary:
    """Return a variant's row: mean and deviation over its runs."""
    own = [row for row in rows if row.variant == variant]
    done = [row for row in own if row.done]
    numbers = [_numbers(row) for row in done]
    return VariantSummary(
        variant=variant,
        runs=len(done),
        failed=len(own) - len(done),
        spreads={key: Spread.of([values[key] for values in numbers if key in values]) for key in _keys(numbers)},
    )


def _numbers(row: ComparisonRow) -> dict[str, float]:
    """Return all numbers of a run whose means are in its variant's row."""
    costs = {key: getattr(row, key) for key in COSTS}
    return {**row.figures, **costs, **{f"{LATENCY}{batch}": ms for batch, ms in row.latency_ms.items()}}


def _means(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {key: fmean(table[key] for table in tables if key in table) for key in _keys(tables)}


def _keys(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for table in tables for key in table))
