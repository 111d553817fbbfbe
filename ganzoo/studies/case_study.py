"""The MNIST case study in one call: data, classifier, variants, comparison, synthetic data, and a report.

DIR/
  plan.json            what is studied; another plan needs another directory
  data.json            the data set
  classifier.json      the feed-forward classifier by epoch, and its confusion matrix
  comparison/          the variants (see comparison.py)
  synthetic_data.json  a classifier on few real images, with and without generated ones (see synthetic_data.py)
  index.html, report.md, figures/

The same call continues where it was stopped: finished parts are kept.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator

from ganzoo import registry
from ganzoo.compute.device import float32_by_default
from ganzoo.config import list_settings
from ganzoo.data import ReadOptions
from ganzoo.errors import Interrupted, UsageError
from ganzoo.evaluation.classifier import Epoch, MLPClassifier, evaluate_classifier, fit, logits_of
from ganzoo.evaluation.evaluator import N
from ganzoo.evaluation.judge import load_judge
from ganzoo.evaluation.reference import Splits, load_splits
from ganzoo.files import write_json
from ganzoo.report import write_report
from ganzoo.report.records import ClassifierEpoch, ClassifierRecord, synthetic_data_in
from ganzoo.report.study import facts_of
from ganzoo.seeds import derive
from ganzoo.studies.comparison import claim, compare, parse, with_reading
from ganzoo.studies.synthetic_data import study_synthetic_data
from ganzoo.training.prepare import configure
from ganzoo.training.trainer import train

SCHEMA = 1
VARIANTS = ("gan", "dcgan", "wgan-gp", "cgan")
EPOCHS = (10, 50, 100, 400)
CLASSIFIER_EPOCHS = 20
FRAMES, POINTS = 36, 10  # of animations, of curves: approximate numbers, denser in the beginning
TRIAL_SECONDS = 4.0  # of training per variant, to estimate its time

Say = Callable[[str], None]


class StudyPlan(BaseModel):
    """What a study consists of; one of `epochs` and `minutes` (per variant) is set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA
    dataset: str = "auto"
    data_dir: str | None = None
    variants: tuple[str, ...] = VARIANTS
    epochs: tuple[int, ...] | None = EPOCHS
    minutes: float | None = None
    seeds: PositiveInt = 1
    settings: tuple[str, ...] = ()
    n: int = N
    figures: tuple[str, ...] | None = None  # None: all
    synthetic_data_sizes: tuple[int, ...] = (10, 50, 100, 500)  # real images per class; empty: skip this part
    synthetic_data_seeds: int = 5

    @model_validator(mode="before")
    @classmethod
    def _read_former_names(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {key.replace("augmentation_", "synthetic_data_"): value for key, value in values.items()}


class StudyOptions(ReadOptions, total=False):
    """The options of a study: the fields of `StudyPlan`, and how the images are read. Each may be omitted or None."""

    dataset: str | None
    data_dir: str | Path | None
    variants: Sequence[str] | None
    epochs: Sequence[int] | None
    minutes: float | None
    seeds: int | None
    settings: Sequence[str] | Mapping[str, Any] | None
    n: int | None
    figures: Sequence[str] | None
    synthetic_data_sizes: Sequence[int] | None
    synthetic_data_seeds: int | None


def study(
    out: str | Path = "study",
    *,
    jobs: int = 1,
    say: Say = lambda text: None,
    **settings: Unpack[StudyOptions],
) -> Path:
    """Run the study in the directory `out`, or continue it, and return the path of its report.

    Args:
        jobs: the number of runs that are trained at the same time.
        say: a function that is called with each line of progress.
        settings: `StudyOptions`, such as `dataset`, `variants`, `epochs` | `minutes` and `seeds`.

    Raises: UsageError for an invalid plan, or one that differs from the directory's; the errors of `train`.
    """
    if jobs < 1:
        raise UsageError(f"jobs is {jobs}: expected the number of runs to train at the same time, 1 or more")
    directory = Path(out)
    splits, plan = _plan(settings)
    claim(directory, plan, "study")
    for line in (splits.train.note, splits.note):
        if line:
            say(line)
    left = [variant for variant in plan.variants if not _is_trained(plan, directory, variant)]
    if left:
        say(estimate(plan, splits, left))
    write_json(directory / "data.json", facts_of(splits).to_json())
    if not (directory / "classifier.json").exists():
        say("classifier: a feed-forward network")
        write_json(directory / "classifier.json", _fit_classifier(splits, say).to_json())
    _compare(plan, directory / "comparison", jobs, say)
    if plan.synthetic_data_sizes:
        say("synthetic data: a classifier on few real images, with and without generated ones")
        sizes, seeds = plan.synthetic_data_sizes, plan.synthetic_data_seeds
        study_synthetic_data(splits, directory / synthetic_data_in(directory), sizes=sizes, seeds=seeds, say=say)
    runs = [directory / "comparison" / "runs" / f"{variant}-seed0" for variant in plan.variants]
    trained = [run for run in runs if (run / "evaluation.json").exists()]
    return write_report(directory, trained, comparison=directory / "comparison", study=directory, title=_title(plan))


def _is_trained(plan: StudyPlan, directory: Path, variant: str) -> bool:
    runs = [directory / "comparison" / "runs" / f"{variant}-seed{seed}" for seed in range(plan.seeds)]
    return all((run / "evaluation.json").exists() for run in runs)


def estimate(plan: StudyPlan, splits: Splits, variants: Sequence[str]) -> str:
    """Return one line: the time to train these variants here, estimated from a few seconds each, and other work."""
    if plan.epochs is None:
        seconds = dict.fromkeys(variants, 60 * (plan.minutes or 0) * plan.seeds)
    else:
        images = max(plan.epochs) * (len(splits.train) + (len(splits.test) if splits.note else 0)) * plan.seeds
        seconds = {variant: images / _trial(plan, splits, variant) for variant in variants}
    parts = ", ".join(f"{variant} {_duration(value)}" for variant, value in seconds.items())
    generators = len(plan.synthetic_data_sizes) * plan.synthetic_data_seeds
    after = f", and {generators} small generators and their classifiers for the synthetic data" if generators else ""
    total = _duration(sum(seconds.values()))
    return f"estimate: {total} of training ({parts}); in addition one or two minutes of evaluation per run{after}"


def _trial(plan: StudyPlan, splits: Splits, variant: str) -> float:
    """Return the images per second of a short training, whose run is deleted."""
    minutes, settings = TRIAL_SECONDS / 60, plan.settings
    with tempfile.TemporaryDirectory() as place:
        try:
            run = train(
                variant, splits.train, minutes=minutes, out=Path(place) / "run", settings=settings, progress=False
            )
        except Interrupted as error:
            raise Interrupted("interrupted before anything was trained", error.exit_code - 128) from None
        state, config = run.latest_checkpoint().state(), run.config
        return float(state["step"] * config.variant.critic_steps * config.data.batch_size / state["seconds"])


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _plan(settings: Mapping[str, Any]) -> tuple[Splits, StudyPlan]:
    """Return the data, and the plan with the name of its data set."""
    given = {key: value for key, value in settings.items() if value is not None}
    given["settings"] = list_settings(given.get("settings"))
    if "data_dir" in given:
        given["data_dir"] = str(given["data_dir"])
    if given.get("minutes") is not None:
        if given.get("epochs") is not None:
            raise UsageError("two budgets at once: give --epochs or --minutes")
        given["epochs"] = None
    plan = parse(StudyPlan, with_reading({"variants": VARIANTS, **given}))
    plan = plan.model_copy(update={"variants": tuple(map(registry.variants.match, plan.variants))})
    if len(set(plan.variants)) < len(plan.variants) or not plan.variants:
        raise UsageError("variants: expected one or more names, each once")
    if plan.epochs is not None and (not plan.epochs or min(plan.epochs) < 1):
        raise UsageError("epochs: expected numbers of 1 or more, such as 10,50,100,400")
    for variant in plan.variants:  # fail on a wrong name or a missing judge now, before hours of training
        reading = configure(variant, settings=plan.settings).data.reading
    splits = load_splits(plan.dataset, data_dir=plan.data_dir, **reading)
    source = splits.train.source
    load_judge(source, plan.data_dir, sha256=splits.sha256, reading=reading)
    return splits, plan.model_copy(update={"dataset": source})


@float32_by_default()
def _fit_classifier(splits: Splits, say: Say) -> ClassifierRecord:
    """Train the case study's simple feed-forward classifier and return its record."""
    train, test = splits.train, splits.test
    assert train.labels is not None
    assert test.labels is not None
    classes = train.num_classes or 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(0, "classifier"))
        network = MLPClassifier(train.image_shape, classes)

        def report(epoch: Epoch) -> None:
            say(f"epoch {epoch.epoch}  train {epoch.train_accuracy:.2%}  test {epoch.test_accuracy:.2%}")

        history = fit(
            network,
            train.images,
            train.labels,
            epochs=CLASSIFIER_EPOCHS,
            seed=0,
            test=(test.images, test.labels),
            lr=0.002,
            on_epoch=report,
        )
    predicted = logits_of(network, test.images).argmax(1)
    confusion = torch.bincount(test.labels * classes + predicted, minlength=classes**2).view(classes, classes)
    return ClassifierRecord(
        name="mlp",
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        layers=tuple(
            (
                type(layer).__name__,
                f"{layer.in_features} -> {layer.out_features}",
                sum(p.numel() for p in layer.parameters()),
            )
            for layer in network.modules()
            if isinstance(layer, torch.nn.Linear)
        ),
        history=tuple(ClassifierEpoch(**asdict(epoch)) for epoch in history),
        test_accuracy=evaluate_classifier(network, test.images, test.labels)[1],
        confusion=tuple(map(tuple, confusion.tolist())),
        class_names=facts_of(splits).class_names,
    )


def _compare(plan: StudyPlan, directory: Path, jobs: int, say: Say) -> None:
    epochs = plan.epochs
    compare(
        out=directory,
        variants=plan.variants,
        jobs=jobs,
        say=say,
        seeds=plan.seeds,
        dataset=plan.dataset,
        data_dir=plan.data_dir,
        minutes=plan.minutes,
        epochs=None if epochs is None else max(epochs),
        points=None if epochs is None else _spread(epochs, POINTS),
        sample_epochs=None if epochs is None else _spread(epochs, FRAMES),
        settings=plan.settings,
        n=plan.n,
        figures=plan.figures,
    )


def _spread(epochs: Sequence[int], count: int) -> tuple[int, ...]:
    """Return the given epochs, and about `count` others from 1 to the last in geometric progression."""
    between = np.geomspace(1, max(epochs), count).round().astype(int).tolist()
    return tuple(sorted({*epochs, *between}))


def _title(plan: StudyPlan) -> str:
    return f"GANs on {plan.dataset}: the case study"
