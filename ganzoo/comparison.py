"""Compare variants: train what is not yet trained, judge everything in one way, and set it side by side.

DIR/
  plan.json               what is compared; another plan needs another directory
  runs/<variant>-seed<k>/ the runs
  results.json            a row a run, a row a variant, the floors

The same call goes on where it was stopped: finished runs stay, begun ones are resumed, failed ones are tried again.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from ganzoo import runtime
from ganzoo.errors import FileError, GanzooError, UsageError
from ganzoo.evaluation.evaluator import SEEDS, N, evaluate
from ganzoo.exporter import export
from ganzoo.files import write_json
from ganzoo.prepare import configure
from ganzoo.run import Run
from ganzoo.seeds import latents
from ganzoo.trainer import resume, start

SCHEMA = 1
FIGURES = (
    "fid", "kid", "label_accuracy", "cas", "precision", "recall", "density", "coverage", "classes", "entropy",
    "confidence", "diversity", "sharpness", "memorised",
)  # fmt: skip
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8)  # of a budget of minutes: when runs are judged, besides its end
LATENCY_BATCHES = (1, 64)
LATENCY_SECONDS = 0.3  # a batch size

Say = Callable[[str], None]


class Plan(BaseModel):
    """What a comparison consists of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA
    variants: tuple[str, ...] = ()
    seeds: int = SEEDS
    dataset: str = "auto"
    data_dir: str | None = None
    minutes: float | None = None
    epochs: float | None = None
    steps: int | None = None
    points: tuple[float, ...] = ()  # seconds of training where the budget is minutes, else epochs: when runs are judged
    sample_epochs: tuple[int, ...] | None = None
    settings: tuple[str, ...] = ()
    n: int = N
    figures: tuple[str, ...] = FIGURES
    runs: tuple[str, ...] = ()  # trained elsewhere


class Job(BaseModel):
    """A run to train and judge."""

    model_config = ConfigDict(frozen=True)

    name: str
    path: Path
    variant: str | None = None  # None for a run that was trained elsewhere
    seed: int = 0
    threads: int | None = None
    progress: bool = True


def compare(
    runs: Iterable[str | Path] = (),
    *,
    out: str | Path = "comparison",
    variants: Sequence[str] = (),
    jobs: int = 1,
    say: Say = lambda text: None,
    **settings: Any,
) -> dict[str, Any]:
    """Train `variants`, judge them and `runs`, and return what it writes as `results.json`.

    Args:
        runs: run directories that were trained elsewhere.
        out: the comparison's directory; one with the same plan is gone on with.
        variants: registered names; each is trained with the seeds 0, 1, ..., `seeds` - 1.
        jobs: how many runs are trained at a time; more than one share the cores, which slows each.
        say: what takes the lines about progress.
        settings: the other fields of `Plan`: `seeds`, `dataset`, `minutes` | `epochs` | `steps`, `points`, `n`, ...

    Raises: UsageError for a plan that makes no sense or differs from the directory's, or where the runs have different
    judges. A run that fails is a row.
    """
    plan = _plan(tuple(str(Path(run)) for run in runs), tuple(variants), settings)
    directory = Path(out)
    _claim(directory, plan)
    todo = _jobs(plan, directory, jobs)
    errors = dict(_perform(plan, todo, jobs, say))
    results = _results(plan, directory, todo, errors)
    write_json(directory / "results.json", results)
    return results


def _plan(runs: tuple[str, ...], variants: tuple[str, ...], settings: Mapping[str, Any]) -> Plan:
    if not runs and not variants:
        raise UsageError("nothing to compare: name runs, or variants to train (--variants gan,dcgan)")
    given = {key: value for key, value in settings.items() if value is not None}
    if variants and not {"minutes", "epochs", "steps"} & set(given):
        given["minutes"] = 5.0
    try:
        plan = Plan(runs=runs, variants=variants, **given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if unknown := set(plan.figures) - set(FIGURES):
        raise UsageError(f"no figure '{min(unknown)}': expected some of {', '.join(FIGURES)}")
    if len(set(variants)) < len(variants) or plan.seeds < 1:
        raise UsageError("variants must differ, and seeds be at least 1")
    if plan.minutes is not None and not plan.points:
        plan = plan.model_copy(update={"points": tuple(round(60 * plan.minutes * share, 3) for share in SHARES)})
    for variant in variants:  # a wrong name or setting fails here, before hours of training
        _configure(plan, variant, 0, None)
    return plan


def _claim(directory: Path, plan: Plan) -> None:
    """Make the directory, or see that it holds this very plan."""
    path = directory / "plan.json"
    if path.exists():
        try:
            former = Plan.model_validate_json(path.read_bytes())
        except ValidationError:
            raise FileError(f"{path} is damaged or of another version: take another --out") from None
        changed = [key for key, value in plan if value != getattr(former, key)]
        if changed:
            raise UsageError(
                f"{directory} holds another comparison ({', '.join(changed)} differ): give the same arguments to go on "
                "with it, or another --out"
            )
    elif directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} is not empty and holds no comparison: take another --out")
    write_json(path, plan.model_dump(mode="json"))


def _jobs(plan: Plan, directory: Path, jobs: int) -> list[Job]:
    threads = None if jobs == 1 else max(1, (os.cpu_count() or 1) // jobs)
    trained = [
        Job(
            name=f"{variant}-seed{seed}",
            path=directory / "runs" / f"{variant}-seed{seed}",
            variant=variant,
            seed=seed,
            threads=threads,
            progress=jobs == 1,
        )
        for seed in range(plan.seeds)  # a seed of every variant before the next: a stopped comparison is a smaller one
        for variant in plan.variants
    ]
    return [*trained, *(Job(name=Path(run).name, path=Path(run)) for run in plan.runs)]


def _perform(plan: Plan, todo: Sequence[Job], jobs: int, say: Say) -> Iterable[tuple[str, str]]:
    """Do all jobs, and yield the name and the error of those that fail."""
    if jobs == 1:
        for number, job in enumerate(todo, 1):
            say(f"{job.name} ({number} of {len(todo)})")
            error = perform(plan, job)
            if error is not None:
                say(f"{job.name} failed: {error}")
                yield job.name, error
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        pending = {pool.submit(perform, plan, job): job for job in todo}
        for number, future in enumerate(as_completed(pending), 1):
            job = pending[future]
            try:
                error = future.result()
            except BrokenProcessPool:
                error = "its process was killed (out of memory?)"
            say(f"{job.name}: {error or 'done'} ({number} of {len(todo)})")
            if error is not None:
                yield job.name, error


def perform(plan: Plan, job: Job) -> str | None:
    """Train a job's run to its end, judge and export it; what went wrong, as one line."""
    try:
        run = Run.open(job.path) if job.variant is None else _trained(plan, job)
        if not _is_judged(run, plan):
            evaluate(run, n=plan.n, seeds=1, figures=plan.figures)
        if not _is_exported(run):
            export(run, _onnx(run))
    except GanzooError as error:
        return str(error)
    except (MemoryError, OSError, RuntimeError) as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return None


def _trained(plan: Plan, job: Job) -> Run:
    assert job.variant is not None
    if not (job.path / "config.toml").exists():
        return start(_configure(plan, job.variant, job.seed, job.threads), out=job.path, progress=job.progress)
    run = Run.open(job.path)
    if not run.checkpoints():  # stopped before its first checkpoint: nothing is lost by beginning again
        job.path.rename(job.path.with_name(f"{job.path.name}-stopped-{time.time_ns()}"))
        return _trained(plan, job)
    if run.latest_checkpoint().final:
        return run
    return resume(run, progress=job.progress)


def _configure(plan: Plan, variant: str, seed: int, threads: int | None) -> Any:
    cadence = "train.evaluate_seconds" if plan.minutes is not None else "train.evaluate_epochs"
    points = [point if plan.minutes is not None else round(point) for point in plan.points]
    settings = [*plan.settings, f"{cadence}={points}"]
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


def _is_judged(run: Run, plan: Plan) -> bool:
    """Whether the run's evaluation.json is this plan's, of its newest checkpoint."""
    found = run.evaluation()
    if found is None or found["step"] != run.latest_checkpoint().step:
        return False
    complete = set(plan.figures) <= {*found["figures"], *found["unavailable"]}
    return complete and found["seeds"] == [0] and found["asked"] == plan.n


def _is_exported(run: Run) -> bool:
    """Whether the run's newest checkpoint was exported already."""
    try:
        return bool(runtime.read_metadata(_onnx(run)).get("step") == run.latest_checkpoint().step)
    except FileError:
        return False


def _onnx(run: Run) -> Path:
    return run.path / f"{run.config.run.variant}.onnx"


def _results(plan: Plan, directory: Path, todo: Sequence[Job], errors: Mapping[str, str]) -> dict[str, Any]:
    rows = [_row(job, directory, errors.get(job.name)) for job in todo]
    judges = {row["judge"]["sha256"]: row["judge"] for row in rows if row["status"] == "done"}
    if len(judges) > 1:
        names = ", ".join(f"{judge['name']} ({sha256[:8]})" for sha256, judge in judges.items())
        raise UsageError(f"the runs have different judges, {names}: their figures are not comparable")
    floors = [row["floors"] for row in rows if row["status"] == "done"]
    return {
        "schema": SCHEMA,
        "plan": plan.model_dump(mode="json"),
        "judge": next(iter(judges.values()), None),
        "floors": {key: fmean(floor[key] for floor in floors if key in floor) for key in _keys(floors)},
        "rows": rows,
        "table": [_summary(variant, rows) for variant in dict.fromkeys(row["variant"] for row in rows)],
    }


def _row(job: Job, directory: Path, error: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": job.name,
        "run": os.path.relpath(job.path, directory),
        "variant": job.variant,
        "seed": job.seed,
        "status": "done" if error is None else "failed",
        "error": error,
    }
    if error is not None:
        return row
    run = Run.open(job.path)
    config, found = run.config, run.evaluation()
    assert found is not None
    return {
        **row,
        "variant": config.run.variant,
        "seed": config.train.seed,
        "judge": found["judge"],
        "n": found["n"],
        "figures": {key: figure["mean"] for key, figure in found["figures"].items()},
        "floors": {key: figure["floor"] for key, figure in found["figures"].items()},
        "verdict": found["verdict"],
        **_size_and_speed(run),
        "curve": [
            {"step": line["step"], "epoch": line["epoch"], "seconds": line["seconds"], **line["figures"]}
            for line in run.evaluations()
        ],
    }


def _size_and_speed(run: Run) -> dict[str, Any]:
    checkpoint, config = run.latest_checkpoint(), run.config
    step, seconds = checkpoint.step, checkpoint.state()["seconds"]
    images = step * config.variant.critic_steps * config.data.batch_size
    return {
        "steps": step,
        "seconds": seconds,
        "epochs": round(
            images / config.data.batch_size / max(1, (config.data.images or 0) // config.data.batch_size), 3
        ),
        "images_per_s": round(images / max(seconds, 1e-9), 1),
        "generator_parameters": _parameters(checkpoint.tensors("ema")),
        "onnx_bytes": _onnx(run).stat().st_size,
        "latency_ms": latency(_onnx(run)),
    }


def _parameters(tensors: Mapping[str, torch.Tensor]) -> int:
    """Weights in a network's state: batch norm's statistics are none."""
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    return sum(tensor.numel() for name, tensor in tensors.items() if not name.endswith(buffers))


def latency(path: Path) -> dict[str, float]:
    """Milliseconds that the exported generator takes for a batch of 1 and of 64: the median of repeated calls."""
    generator = runtime.load(path)
    found = {}
    for batch in LATENCY_BATCHES:
        z = latents(0, generator.info.latent_dim, 0, batch)
        labels = np.arange(batch) % generator.info.num_classes if generator.info.num_classes else None
        generator.generate(z, labels)  # the first call prepares
        times, began = [], time.monotonic()
        while time.monotonic() - began < LATENCY_SECONDS:
            call = time.perf_counter()
            generator.generate(z, labels)
            times.append(1000 * (time.perf_counter() - call))
        found[str(batch)] = round(median(times), 3)
    return found


def _summary(variant: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A variant's row: mean and deviation over its runs."""
    own = [row for row in rows if row["variant"] == variant]
    done = [row for row in own if row["status"] == "done"]
    flat = [
        {**row["figures"], "images_per_s": row["images_per_s"], "generator_parameters": row["generator_parameters"],
         "onnx_bytes": row["onnx_bytes"], **{f"latency_ms_{batch}": ms for batch, ms in row["latency_ms"].items()}}
        for row in done
    ]  # fmt: skip
    return {
        "variant": variant,
        "runs": len(done),
        "failed": len(own) - len(done),
        **{key: _spread([values[key] for values in flat if key in values]) for key in _keys(flat)},
    }


def _keys(tables: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for table in tables for key in table))


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": fmean(values), "deviation": stdev(values) if len(values) > 1 else 0.0}
