"""Evaluate a generator, or images: each metric over several draws, beside its floor, and a verdict in words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath
from statistics import fmean
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor

from ganzoo import data
from ganzoo.compute.device import float32_by_default
from ganzoo.compute.rule import free_threads
from ganzoo.config import RunConfig, flag_of, reading_of
from ganzoo.data import Dataset, ReadOptions
from ganzoo.errors import FileError, UsageError
from ganzoo.evaluation import judge as judges
from ganzoo.evaluation import metrics
from ganzoo.evaluation.classifier import ClassHead, CNNClassifier, evaluate_classifier, fit
from ganzoo.evaluation.intervals import mean_and_deviation
from ganzoo.evaluation.judge import CLASSES, PINNED, Judge, Reading, judge_path, load_judge, to_tensor
from ganzoo.evaluation.metrics import FIGURES
from ganzoo.evaluation.reference import Reference, Splits, hold_out, load_splits
from ganzoo.evaluation.verdict import Verdict, verdict
from ganzoo.registry import objectives
from ganzoo.runs.records import SCHEMA, CodeRecord, EvaluatedData, EvaluationRecord, FigureRecord, VerdictRecord
from ganzoo.runs.resolving import Source, resolve
from ganzoo.runtime.generator import Generator
from ganzoo.seeds import derive
from ganzoo.zoo.build import build_terms
from ganzoo.zoo.objectives.base import head_names

if TYPE_CHECKING:
    from ganzoo.runs.run import Run

N, SEEDS = 10_000, 3
QUICK = ("fid", "entropy", "classes", "confidence", "diversity", "sharpness", "label_accuracy")  # during training
LABELLED = ("label_accuracy", "cas")  # metrics that compare images with their requested labels
MARGIN = 0.3  # least accuracy of a fitted judge, as a share of the way from guessing to 1
REPEAT = "repeat the command with --fit-judge (fit_judge=True)"  # advice
OF_CLASSES = (
    "entropy",
    "classes",
    "modes",
    "mode_kl",
    "confidence",
    "label_accuracy",
    "cas",
)  # metrics that need a judge of classes
CLASSIFIED = "classifier_accuracy"  # the metric of the discriminator, not of images
NEIGHBOURHOODS = ("precision", "recall", "density", "coverage")
CAS_STEPS, CAS_BATCH = 500, 64  # of the classification accuracy score's classifier


@dataclass(frozen=True, eq=False)
class Samples:
    """Images uint8 [N, C, H, W] of the reference's shape, their requested labels, and the judge's reading of them."""

    images: Tensor
    labels: Tensor | None
    reading: Reading


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A source of images to evaluate, which draws other images for each seed."""

    name: str
    draw: Callable[[int, int], tuple[Tensor, Tensor | None]]  # (seed, n) -> uint8 [n, C, H, W], int64 [n] or None
    conditional: bool  # whether the images have labels, which are classes of the data
    code: str | None = None  # the latent code that labels select, if they are not classes
    available: int | None = None  # number of images, if they are given and not generated
    variant: str | None = None
    step: int | None = None
    run: "Run | None" = None
    classifier: ClassHead | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of `ganzoo evaluate`, which a run stores as `evaluation.json`."""

    subject: Subject
    judge: Judge
    splits: Splits
    n: int
    asked: int  # requested number of images; n is smaller if fewer are available
    seeds: Sequence[int]
    values: dict[str, list[float]]  # per metric, by seed
    floors: dict[str, float]
    unavailable: dict[str, str]
    notes: Sequence[str]
    codes: Sequence[dict[str, Any]] = ()  # per value of the code: its most frequent class, and its share

    def mean(self, key: str) -> float:
        return mean_and_deviation(self.values[key])[0]

    def deviation(self, key: str) -> float:
        """Return the sample standard deviation over the seeds; 0 for one seed."""
        return mean_and_deviation(self.values[key])[1]

    @cached_property
    def verdict(self) -> Verdict:
        return verdict({key: self.mean(key) for key in self.values}, self.floors)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document that a run stores."""
        return self.record().to_json()

    def record(self) -> EvaluationRecord:
        """Return the record that a run stores."""
        train, test = self.splits.train, self.splits.test
        record = EvaluationRecord(
            schema_version=SCHEMA,
            source=self.subject.name,
            variant=self.subject.variant,
            step=self.subject.step,
            judge=self.judge.describe(),
            data=EvaluatedData(source=train.source, train_sha256=train.sha256, test_sha256=test.sha256),
            n=self.n,
            asked=self.asked,
            seeds=tuple(self.seeds),
            figures={
                key: FigureRecord(
                    values=tuple(values), mean=self.mean(key), deviation=self.deviation(key), floor=self.floors[key]
                )
                for key, values in self.values.items()
            },
            unavailable=self.unavailable,
            notes=tuple(self.notes),
            verdict=VerdictRecord(word=self.verdict.word, sentence=self.verdict.sentence),
        )
        codes = tuple(CodeRecord.model_validate(code) for code in self.codes)
        return record.model_copy(update={"codes": codes}) if codes else record


def evaluate(
    source: "str | Path | Run",
    *,
    dataset: Any = None,
    data_dir: str | Path | None = None,
    n: int = N,
    seeds: int = SEEDS,
    figures: Sequence[str] = tuple(FIGURES),
    best: bool = False,
    fit_judge: bool = False,
    judge: str | Path | None = None,
    say: Callable[[str], None] = lambda text: None,
    **reading: Unpack[ReadOptions],
) -> Evaluation:
    """Evaluate a run, an exported file, or an .npz file or folder of images against its data set's test images.

    A run stores the result as `evaluation.json`. At most as many threads are used as other programs leave processors
    free.

    Args:
        source: a run or its directory, an exported file, a bundled generator's name, or images: an `.npz` file, a
            folder, `npz:FILE` or `folder:PATH`.
        dataset: the real images, a source or images in memory (see `ganzoo.data.from_object`); None for those that the
            generator was trained on, or, for given images, `mnist` or `mnist-5k`.
        n: the number of images, at most the number of training images, because floors are measured with the same n.
        seeds: the number of draws; if no more than `n` images are given, there is only one.
        figures: the metrics, some of `FIGURES`.
        best: evaluate a run's best checkpoint instead of its newest.
        fit_judge: train the data set's judge first, unless it ships with ganzoo.
        judge: the file of a judge, or the file that `fit_judge` writes; None for the cache.
        say: a function that is called with each line of progress.
        reading: how the images of `dataset` are read; with a generator, their size and channels are always its own.

    Raises: UsageError if the data set has no judge, FileError for files that cannot be read.
    """
    if strange := set(reading) - set(ReadOptions.__annotations__):
        raise TypeError(f"evaluate() got an unexpected keyword argument '{min(strange)}'")
    unknown = set(figures) - set(FIGURES)
    if unknown or n < 2 or seeds < 1:
        raise UsageError(
            f"no metric '{min(unknown)}': expected some of {', '.join(FIGURES)}"
            if unknown
            else f"n is {n} and seeds {seeds}: expected at least 2 images and 1 draw"
        )
    with free_threads():
        if reading and not isinstance(dataset, str):
            flag = flag_of(min(reading))
            raise UsageError(f"{flag} sets how the images of --dataset are read: name them with --dataset")
        subject, splits = _open(source, dataset, data_dir, best, reading)
        if fit_judge:
            chosen = train_judge(splits, say, judge)
        else:
            chosen = load_judge(splits.train.source, data_dir, judge, sha256=splits.sha256, advice=REPEAT)
        reference = Reference(chosen, splits, advice=REPEAT)
        evaluation = evaluate_subject(subject, reference, n=n, seeds=seeds, figures=figures, say=say)
    if subject.run is not None:
        subject.run.write_evaluation(evaluation.record())
    return evaluation


def train_judge(splits: Splits, say: Callable[[str], None], place: str | Path | None = None) -> Judge:
    """Train the judge of a data set and store it in the cache or in `place`; return a shipped judge unchanged.

    Raises UsageError for a judge that is too weak.
    """
    source = splits.train.source
    if source in PINNED and place is None:
        say(f"the judge of {source} ships with ganzoo")
        return load_judge(source)
    path = judge_path(splits.sha256) if place is None else Path(place)
    if splits.train.labels is None:
        say(f"{source} has no labels: its judge learns to recognise rotations of images, not classes")
    say(f"training the judge of {source} on {len(splits.train)} images")
    judge = judges.fit_judge(
        PurePath(source.partition(":")[2] or source).stem,
        splits.train,
        splits.test,
        path,
        margin=MARGIN,
        on_epoch=lambda epoch: say(f"epoch {epoch.epoch}  test accuracy {epoch.test_accuracy:.2%}"),
    )
    say(f"{path}: test accuracy {judge.accuracy:.2%}, SHA-256 {judge.sha256[:16]}")
    return judge


@float32_by_default()
def evaluate_subject(
    subject: Subject,
    reference: Reference,
    *,
    n: int,
    seeds: int,
    figures: Sequence[str],
    say: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Evaluate a subject that is already open, as `evaluate` does."""
    limit = min(len(reference.splits.train), subject.available or n)
    notes = [reference.splits.note] if reference.splits.note else []
    if reference.splits.train.source == "mnist-5k":
        notes.append(
            "mnist-5k is part of MNIST's training images, on which its judge was trained: floors are a little low"
        )
    if reference.judge.task != CLASSES:
        notes.append(
            "the judge was fitted without labels, to recognise rotations: its distances are coarser than a "
            "classifier's, and metrics of classes are not measured"
        )
    if n > limit:
        notes.append(f"n is {limit}, not {n}: only {limit} images are available to compare")
    count = min(n, limit)
    if count < 2:
        raise UsageError(f"{subject.name} has {count} image: expected at least 2")
    draws = range(seeds if subject.available is None or subject.available > count else 1)
    reasons = _reasons(subject, reference)
    unavailable = {key: reasons[key] for key in figures if key in reasons}
    keys = [key for key in figures if key not in unavailable]
    values: dict[str, list[float]] = {key: [] for key in keys}
    codes: list[dict[str, Any]] = []
    for seed in draws:
        say(f"draw {seed + 1} of {len(draws)}: {count} images")
        samples = read(subject.draw(seed, count), reference)
        if subject.code is not None and seed == 0 and reference.judge.task == CLASSES:
            codes = classes_of_codes(samples, reference.judge.class_names)
        measured = measure(samples, reference, [key for key in keys if key != CLASSIFIED], seed)
        for key in measured:
            values[key].append(measured[key])
    if CLASSIFIED in keys:
        assert subject.classifier is not None
        test = reference.splits.test.labelled
        values[CLASSIFIED] = [
            evaluate_classifier(subject.classifier, test.images, _require_labels(test.labels))[1]
        ] * len(draws)
    say(f"floors: {count} real images")
    return Evaluation(
        subject=subject,
        judge=reference.judge,
        splits=reference.splits,
        n=count,
        asked=n,
        seeds=list(draws),
        values=values,
        floors=floors(reference, count, list(draws), keys),
        unavailable=unavailable,
        notes=notes,
        codes=codes,
    )


def _reasons(subject: Subject, reference: Reference) -> dict[str, str]:
    """Return, for each metric that cannot be measured, the reason."""
    reasons = {}
    if not subject.conditional:
        code = subject.code is not None
        why = "labels select a code, not a class" if code else "the images have no labels"
        reasons = dict.fromkeys(LABELLED, why)
    if reference.judge.task != CLASSES:
        reasons |= dict.fromkeys(OF_CLASSES, "the judge was fitted without labels and has no classes")
    elif reference.splits.train.labels is None:
        reasons |= dict.fromkeys(OF_CLASSES, "the real images have no labels")
    if subject.classifier is None:
        reasons[CLASSIFIED] = "only a run whose discriminator has a class head can classify"
    elif not subject.classifier.knows(reference.splits.test):
        reasons[CLASSIFIED] = "the run was trained on other classes, or images of another shape"
    return reasons


def classes_of_codes(samples: Samples, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return, for each value of the code, the class that the judge sees most often in its images, and its share."""
    found = []
    labels = _require_labels(samples.labels)
    for value in sorted(set(labels.tolist())):
        counts = samples.reading.labels[labels == value].bincount(minlength=len(class_names))
        label = int(counts.argmax())
        found.append({"value": value, "class": class_names[label], "share": float(counts[label] / counts.sum())})
    return found


def read(drawn: tuple[Tensor, Tensor | None], reference: Reference) -> Samples:
    """Return drawn images in the shape of the real ones, with the judge's reading of them."""
    images, labels = drawn
    channels, height, width = reference.splits.train.image_shape
    fitted = data.fit(Dataset(images=images, source="images"), f"{width}x{height}", channels).images
    if fitted.shape[1:] != (channels, height, width):
        raise UsageError(f"images are {list(fitted.shape[1:])}: expected {[channels, height, width]}, as real images")
    return Samples(fitted, labels, reference.judge.read(fitted))


def measure(samples: Samples, reference: Reference, keys: Sequence[str], seed: int = 0) -> dict[str, float]:
    """Return the metrics of one draw."""
    reading, test = samples.reading, reference.test
    classes = reference.judge.num_classes
    groups = reading.labels if reference.judge.task == CLASSES else torch.zeros_like(reading.labels)
    shares = metrics.class_shares(reading.labels, classes)
    compute: dict[str, Callable[[], float]] = {
        "fid": lambda: metrics.frechet_distance(test.features, reading.features),
        "kid": lambda: metrics.kernel_distance(test.features, reading.features),
        "entropy": lambda: metrics.class_entropy(shares),
        "classes": lambda: float(classes - len(metrics.classes_lost(shares, reference.real_shares))),
        "modes": lambda: float((shares > 0).sum()),
        "mode_kl": lambda: metrics.mode_divergence(shares, reference.real_shares),
        "confidence": lambda: reading.probabilities.max(1).values.mean().item(),
        "diversity": lambda: metrics.diversity(reading.features, groups),
        "outliers": lambda: metrics.outliers(samples.images, reading.features, reference.limits),
        "sharpness": lambda: metrics.sharpness(samples.images),
        "memorised": lambda: metrics.memorised(samples.images, reference.splits.seen),
        "label_accuracy": lambda: reading.labels.eq(_require_labels(samples.labels)).double().mean().item(),
        "cas": lambda: _classification_accuracy(samples, reference.splits.test, seed),
    }
    values = {key: compute[key]() for key in keys if key in compute}
    if any(key in NEIGHBOURHOODS for key in keys):
        values |= metrics.neighbour_figures(test.features, reading.features)
    return {key: values[key] for key in keys}


def floors(reference: Reference, n: int, seeds: Sequence[int], keys: Sequence[str]) -> dict[str, float]:
    """Return what `n` real training images score against the test images: per metric, the mean over `seeds`."""
    found = [_floors_of_draw(reference, n, seed, keys) for seed in seeds]
    return {key: fmean(draw[key] for draw in found) for key in keys}


def _floors_of_draw(reference: Reference, n: int, seed: int, keys: Sequence[str]) -> dict[str, float]:
    """Return the floors of one seed; floors in the cache are not measured again."""
    names = {key: key if key in ("memorised", CLASSIFIED) else f"{key}/{n}/{seed}" for key in keys}
    missing = [key for key in keys if names[key] not in reference.floors]
    if missing:
        measured = _measure_floors(reference, n, seed, missing)
        reference.keep_floors({names[key]: measured[key] for key in missing})
    return {key: reference.floors[names[key]] for key in keys}


def _measure_floors(reference: Reference, n: int, seed: int, keys: Sequence[str]) -> dict[str, float]:
    splits = reference.splits
    generator = torch.Generator().manual_seed(derive(seed, "floor"))
    rows = torch.randperm(len(splits.train), generator=generator)
    if splits.train.labels is not None and splits.train.unlabelled:
        rows = rows[splits.train.labels[rows] >= 0]
    rows = rows[:n]
    reading = Reading(reference.train.features[rows], reference.train.probabilities[rows])
    labels = None if splits.train.labels is None else splits.train.labels[rows]
    samples = Samples(splits.train.images[rows], labels, reading)
    measured = measure(samples, reference, [key for key in keys if key not in ("memorised", CLASSIFIED)], seed)
    if "memorised" in keys:  # all training images are copies of themselves: use test images
        measured["memorised"] = metrics.memorised(splits.test.images, splits.train.images)
    if CLASSIFIED in keys:  # the judge classifies the same images
        labels = _require_labels(splits.test.labels)
        known = labels >= 0
        measured[CLASSIFIED] = reference.test.labels[known].eq(labels[known]).double().mean().item()
    return measured


def _classification_accuracy(samples: Samples, test: Dataset, seed: int) -> float:
    """Return the accuracy on real test images of a `cnn` classifier that was trained on `samples` alone."""
    test = test.labelled
    assert test.num_classes is not None
    labels = _require_labels(samples.labels)
    batch_size = min(CAS_BATCH, len(samples.images))
    epochs = max(1, round(CAS_STEPS / (len(samples.images) // batch_size)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "cas"))
        network = CNNClassifier(test.image_shape, test.num_classes)
        fit(network, samples.images, labels, epochs=epochs, seed=seed, batch_size=batch_size)
    return evaluate_classifier(network, test.images, _require_labels(test.labels))[1]


def _require_labels(labels: Tensor | None) -> Tensor:
    assert labels is not None, "these metrics are measured only with labels"
    return labels


def as_subject(generator: Generator, name: str, step: int | None = None) -> Subject:
    """Return a generator as a subject of evaluation; a conditional one draws all classes equally often."""

    def draw(seed: int, n: int) -> tuple[Tensor, Tensor | None]:
        labels = generator.labels_for(n)
        return to_tensor(generator.sample(n, seed=derive(seed, "evaluate"))), (
            None if labels is None else torch.from_numpy(labels)
        )

    info = generator.info
    return Subject(name=name, draw=draw, conditional=info.has_classes, code=info.code, variant=info.variant, step=step)


def _open(
    source: "str | Path | Run",
    dataset: Any,
    data_dir: str | Path | None,
    best: bool,
    reading: ReadOptions,
) -> tuple[Subject, Splits]:
    """Return the subject of evaluation, and the real images."""
    from ganzoo.runs.run import Run

    found = resolve(source, ("run", "file", "images", "bundled"), "ganzoo evaluate")
    if dataset is not None and not isinstance(dataset, str):
        settings = Run.open(found.path).config.data.reading if found.kind == "run" else {}
        dataset = data.from_object(dataset, **settings)
    if best and found.kind != "run":
        raise UsageError(f"{found.given} is not a run: only a run has a best checkpoint")
    if found.kind == "run":
        return _open_run(Run.open(found.path), dataset, data_dir, best, reading)
    if found.images is not None:
        return _open_images(found.given, found.images, dataset, data_dir, reading)
    return _open_exported(found, dataset, data_dir, reading)


def _refuse_shape(reading: ReadOptions, name: str) -> None:
    """Raise UsageError if the real images are requested in another shape than the generator draws."""
    for key in ("image_size", "channels"):
        if key in reading:
            raise UsageError(
                f"{flag_of(key)} is not possible with {name}: real images are read in the shape that it draws"
            )


def _open_run(
    run: "Run", dataset: str | Dataset | None, data_dir: str | Path | None, best: bool, reading: ReadOptions
) -> tuple[Subject, Splits]:
    from ganzoo.runs.opening import load

    _refuse_shape(reading, str(run.path))
    checkpoint = run.best_checkpoint() if best else run.latest_checkpoint()
    whole = checkpoint.config()
    config = whole.data
    if isinstance(dataset, Dataset):
        size, channels = config.image_size, config.channels
        splits = hold_out(data.fit(dataset, size, channels, mode=config.fit, background=config.background))
    elif config.source == "array" and dataset is None:
        raise UsageError(f"{run.path} was trained on images in memory: pass them as dataset=images to evaluate")
    else:
        splits = load_splits(
            dataset or config.source,
            data_dir=data_dir or config.data_dir,
            memory=config.memory,
            **{**config.reading, **reading},
        )
    if dataset is None and splits.sha256 != whole.facts.sha256:
        raise FileError(f"{config.source} is not what {run.path} was trained on (another SHA-256)")
    subject = as_subject(load(run, best=best), str(run.path), checkpoint.step)
    return replace(subject, run=run, classifier=_class_head(run, whole, checkpoint.step)), splits


def _class_head(run: "Run", config: RunConfig, step: int) -> ClassHead | None:
    """Return the class head of a run's discriminator; None if it has none, or if it sees pairs of image and latent."""
    from ganzoo.runs.opening import load_network

    try:
        heads = {name for term in build_terms(config) for name in head_names(term)}
        if "classes" not in heads or getattr(objectives[config.variant.objective.name], "sees_pairs", False):
            return None
        discriminator, _, _ = load_network(run, weights="raw", step=step, role="discriminator")
    except UsageError:  # its plug-in is not installed
        return None
    return ClassHead(discriminator, config)


def _open_exported(
    found: Source, dataset: str | Dataset | None, data_dir: str | Path | None, reading: ReadOptions
) -> tuple[Subject, Splits]:
    from ganzoo.runs.opening import generator_of, open_file

    _refuse_shape(reading, found.given)
    opened = open_file(found)
    generator, trained_on = generator_of(opened, found.given), opened.trained_on
    channels, height, width = generator.info.image_shape
    source = dataset or str(trained_on.get("source", "array"))
    place = "" if isinstance(source, Dataset) else source.partition(":")[2]
    if isinstance(source, Dataset):
        splits = hold_out(source)
    elif source == "array" or (dataset is None and place and not Path(place).exists()):
        raise UsageError(
            f"{found.given} was trained on images that were not found ({source}): name them with --dataset"
        )
    else:
        whole = {**reading_of(trained_on), **reading, "image_size": f"{width}x{height}", "channels": channels}
        splits = load_splits(source, data_dir=data_dir, **whole)
    if dataset is None and trained_on.get("sha256", splits.sha256) != splits.sha256:
        raise FileError(f"{source} is not what {found.given} was trained on (another SHA-256)")
    return as_subject(generator, str(found.path), opened.document.get("step")), splits


def _open_images(
    name: str, source: str, dataset: str | Dataset | None, data_dir: str | Path | None, reading: ReadOptions
) -> tuple[Subject, Splits]:
    if isinstance(dataset, Dataset):
        splits = hold_out(dataset)
    else:
        splits = load_splits(dataset or "auto", data_dir=data_dir, **reading)
    images = data.load(source, channels=splits.train.image_shape[0])
    labels = _same_classes(images, splits.train)

    def draw(seed: int, n: int) -> tuple[Tensor, Tensor | None]:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(derive(seed, "evaluate")))[:n]
        return images.images[order], None if labels is None else labels[order]

    return Subject(name=name, draw=draw, conditional=labels is not None, available=len(images)), splits


def _same_classes(images: Dataset, real: Dataset) -> Tensor | None:
    """Return the labels of given images as numbers of the real classes, matched by name if both have names."""
    if images.labels is None or real.num_classes is None:
        return images.labels
    if images.class_names is None:
        if (largest := int(images.labels.max())) >= real.num_classes:
            raise UsageError(
                f"{images.source} has the label {largest}: {real.source} has the classes 0 to {real.num_classes - 1}"
            )
        return images.labels
    names = list(real.class_names or map(str, range(real.num_classes)))
    if not set(images.class_names) <= set(names):
        raise UsageError(
            f"{images.source} has the classes {', '.join(images.class_names[:10])}: expected some of "
            f"{', '.join(names[:10])}, as in {real.source}"
        )
    return torch.tensor([names.index(name) for name in images.class_names])[images.labels]
