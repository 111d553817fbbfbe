"""Synthetic images as training data: a classifier on few real images, with and without generated ones.

For each seed and number of real images per class, a generator is trained on only these images. A classifier is then
trained in two phases: first on the real images or on generated ones, then, in either case, on the real images. The
network, its initial weights, the steps, the batch size and the learning rates are the same. It is tested on all real
test images.

With so few images, a generator can do little but repeat them. So it is trained on copies of them that are slightly
rotated, scaled and shifted ("moved"), and draws such images. The classifier can be trained on moved images directly:
a third one is trained on the real images alone, moved differently at each step. Its gain over the first is due to the
moving; only a gain of the second over the third would be due to the generator.

No judge filters the generated images: it was trained on tens of thousands of labelled ones, which would be cheating.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganzoo.compute.device import float32_by_default
from ganzoo.config import RunConfig
from ganzoo.data import Dataset, normalize
from ganzoo.errors import DivergedError, Interrupted, UsageError
from ganzoo.evaluation.classifier import CLASSIFIERS, evaluate_classifier, fit, moved_slightly
from ganzoo.evaluation.intervals import interval, outcome
from ganzoo.evaluation.reference import Splits
from ganzoo.files import write_json
from ganzoo.records import read_record
from ganzoo.report.records import (
    ARMS,
    SCHEMA,
    Difference,
    Spread,
    SyntheticDataRecord,
    SyntheticDataRow,
    SyntheticDataSummary,
)
from ganzoo.runs.opening import load
from ganzoo.seeds import derive
from ganzoo.training.prepare import configure
from ganzoo.training.trainer import start

VARIANT = "cgan"
SETTINGS = (  # everything that the results depend on, so that later defaults of the variant do not change them
    "conditional=true",
    "latent_dim=64",
    "generator={name='mlp', width=128, depth=3}",
    "discriminator={name='mlp', width=256, depth=2}",
    "loss=non-saturating",
    "terms=[{name='gradient', at='real', weight=0.1, every=16}]",
    "generator_optimizer={lr=0.002, betas=[0.0, 0.99]}",
    "discriminator_optimizer={lr=0.002, betas=[0.0, 0.99]}",
    "data.batch_size=64",
    "train.steps=2000",
    "train.ema=0.995",
)
COPIES = 20_000  # moved copies of the real images, in total, that a generator is trained on
CHUNK = 1000  # images that are moved at a time
GENERATED = 200  # images per class, at least; twice as many as real ones if that is more
BATCH_SIZE = 32  # of a classifier
EPOCHS = 2  # of each phase; real images are repeated to the number of the generated ones
LRS = (0.002, 0.001)  # the highest learning rates of the two phases

Say = Callable[[str], None]


def study_synthetic_data(
    splits: Splits,
    path: Path,
    *,
    sizes: Sequence[int] = (10, 50, 100, 500),
    seeds: int = 5,
    variant: str = VARIANT,
    settings: Sequence[str] = SETTINGS,
    classifier: str = "cnn",
    move: bool = True,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Run the study, or continue it, and return what it writes to `path`: a row per seed and size, and a summary.

    Args:
        splits: labelled images; training images are drawn from `train`, and accuracies are measured on `test`.
        sizes: numbers of real images per class; sizes larger than the smallest class are skipped.
        seeds: the number of repetitions, with other real images each; those of a smaller size are among a larger one's.
        variant, settings: the generator's, with its budget; it must be conditional.
        classifier: "cnn" or "mlp".
        move: whether the generator is trained on moved copies of the images, and a third classifier too.
        say: a function that is called with each line of progress.

    Rows in `path` are kept if all settings are the same. Raises: UsageError for images without labels or invalid
    settings; FileError for a damaged `path`; Interrupted.
    """
    settings = ("train.augment=none", *settings)  # one recipe for all sizes
    config = configure(variant, splits.train, settings=settings)
    sizes = _choose_sizes(splits, config, sizes, classifier, say)
    head = SyntheticDataRecord(
        schema_version=SCHEMA,
        variant=variant,
        settings=_describe(config, splits, move=move),
        recipe=config.variant.model_dump(mode="json"),
        classifier=classifier,
        data_sha256=splits.sha256,
        seeds=seeds,
        rows=(),
    )
    rows = _read_rows(path, head)
    plan = [(size, seed) for seed in range(seeds) for size in sizes]  # so that a stopped study has fewer seeds
    try:
        for number, (size, seed) in enumerate(plan, 1):
            if (size, seed) not in rows:
                rows[size, seed] = _measure(splits, config, size, seed, classifier, move=move)
                _write(path, head, [rows[key] for key in plan if key in rows])
                say(f"{_sentence(rows[size, seed])} ({number} of {len(plan)})")
    except Interrupted as stopped:  # the trainer's message advises to resume a run that no longer exists
        message = f"interrupted; finished rows are in {path}, and the same call continues after them"
        raise Interrupted(message, stopped.exit_code - 128) from None
    return _write(path, head, [rows[key] for key in plan])


augment = study_synthetic_data  # its previous name


def _choose_sizes(splits: Splits, config: RunConfig, sizes: Sequence[int], classifier: str, say: Say) -> list[int]:
    """Return the sizes with enough images in each class. Raises UsageError if nothing can be studied."""
    labels = splits.train.labels
    if labels is None or splits.test.labels is None:
        raise UsageError(f"{splits.train.source} has no labels: a classifier needs them; use a labelled data set")
    if not config.variant.conditional:
        raise UsageError(
            f"'{config.run.variant}' is unconditional: its images have no labels to learn from; add the "
            "setting conditional=true"
        )
    if classifier not in CLASSIFIERS:
        raise UsageError(f"no classifier '{classifier}': expected one of {', '.join(CLASSIFIERS)}")
    fewest = int(torch.bincount(labels, minlength=splits.train.num_classes or 0).min())
    possible = [size for size in dict.fromkeys(sizes) if 1 <= size <= fewest]
    if not possible:
        raise UsageError(
            f"no size fits: expected 1 to {fewest}, the number of training images in the smallest class of "
            f"{splits.train.source}"
        )
    left = [size for size in sizes if size not in possible]
    if left:
        say(f"skipped, because a class has only {fewest} training images: {', '.join(map(str, left))} per class")
    return possible


def _describe(config: RunConfig, splits: Splits, *, move: bool) -> dict[str, Any]:
    """Return the settings that a report shows besides the generator's recipe."""
    described = {
        "generator_steps": config.train.steps,
        "generator_epochs": config.train.epochs,
        "generator_minutes": config.train.minutes,
        "generator_batch_size": config.data.batch_size,
        "generator_average": config.train.ema,
        "moved_copies": COPIES if move else 0,
        "generated_per_class": GENERATED,
        "classifier_epochs": EPOCHS,
        "classifier_batch_size": BATCH_SIZE,
        "classifier_lr": list(LRS),
        "test_images": len(splits.test),
    }
    return {key: value for key, value in described.items() if value is not None}


def _read_rows(path: Path, head: SyntheticDataRecord) -> dict[tuple[int, int], SyntheticDataRow]:
    """Return the rows that `path` already contains, if they were made with the same settings."""
    former = read_record(SyntheticDataRecord, path)
    same = ("variant", "settings", "recipe", "classifier", "data_sha256")
    if former is None or any(getattr(former, key) != getattr(head, key) for key in same):
        return {}
    return {(row.per_class, row.seed): row for row in former.rows}


def _measure(
    splits: Splits, config: RunConfig, size: int, seed: int, classifier: str, *, move: bool
) -> SyntheticDataRow:
    began = time.monotonic()
    few = subset(splits.train, size, seed)
    count = max(GENERATED * (few.num_classes or 0), 2 * len(few))
    real = _repeat(few, count)

    def accuracy(first: Dataset, *, augment: bool = False) -> float:
        return _accuracy((first, real), splits.test, classifier, seed, augment=augment)

    accuracies: dict[str, Any] = {
        "real_only": accuracy(real),
        "moved_only": accuracy(real, augment=True) if move else None,
    }
    try:
        shown = _move(few, seed) if move else few
        accuracies["with_generated"] = accuracy(_generate(config, shown, count, seed))
    except DivergedError as error:
        accuracies |= {"with_generated": None, "error": str(error)}
    return SyntheticDataRow(
        per_class=size,
        seed=seed,
        steps=len(LRS) * EPOCHS * (count // BATCH_SIZE),
        generated=count,
        **accuracies,
        seconds=round(time.monotonic() - began, 1),
    )


def subset(dataset: Dataset, size: int, seed: int) -> Dataset:
    """Return `size` images per class, chosen by the seed: those of a smaller size are among those of a larger one."""
    generator = torch.Generator().manual_seed(derive(seed, "subset"))
    order = torch.randperm(len(dataset), generator=generator)
    labels = _labels(dataset)[order]
    rows = torch.cat([order[labels == label][:size] for label in range(dataset.num_classes or 0)])
    return _rows(dataset, rows)


def _rows(dataset: Dataset, rows: Tensor) -> Dataset:
    images, labels = dataset.images[rows], _labels(dataset)[rows]
    return replace(dataset, images=images, mapped=None, labels=labels, source="array", note=None)


def _repeat(dataset: Dataset, count: int) -> Dataset:
    """Return the images, repeated until there are `count`."""
    return _rows(dataset, torch.arange(count) % len(dataset))


def _move(real: Dataset, seed: int) -> Dataset:
    """Return `COPIES` copies of the images, each slightly rotated, scaled and shifted."""
    copies = _repeat(real, max(COPIES, len(real)))
    generator = torch.Generator().manual_seed(derive(seed, "moved"))
    images = torch.cat([moved_slightly(normalize(chunk), generator) for chunk in torch.split(copies.images, CHUNK)])
    return replace(copies, images=images.mul(127.5).add(127.5).round().clamp(0, 255).to(torch.uint8))


def _labels(dataset: Dataset) -> Tensor:
    assert dataset.labels is not None, "checked at the start"
    return dataset.labels


def _generate(config: RunConfig, images: Dataset, count: int, seed: int) -> Dataset:
    """Return `count` images, the classes in turn, of a generator that was trained only on `images`."""
    batch_size = min(config.data.batch_size, len(images))
    config = config.with_train(seed=seed).with_data(batch_size=batch_size)
    with tempfile.TemporaryDirectory() as place:
        generator = load(start(config, images, out=Path(place) / "run", progress=False))
    drawn = generator.sample(count, seed=derive(seed, "generated"))
    labels = generator.labels_for(count)
    return replace(
        images,
        images=torch.from_numpy(drawn).permute(0, 3, 1, 2).contiguous(),
        labels=torch.from_numpy(labels),
    )


@float32_by_default()
def _accuracy(phases: Sequence[Dataset], test: Dataset, classifier: str, seed: int, *, augment: bool) -> float:
    """Return the accuracy on `test` of a classifier trained in phases; the seed sets its initial weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "classifier"))
        network = CLASSIFIERS[classifier](test.image_shape, test.num_classes or 0)
    for number, (phase, lr) in enumerate(zip(phases, LRS, strict=True)):
        fit(
            network,
            phase.images,
            _labels(phase),
            epochs=EPOCHS,
            seed=derive(seed, "phase", number),
            batch_size=BATCH_SIZE,
            lr=lr,
            augment=augment,
        )
    return evaluate_classifier(network, test.images, _labels(test))[1]


def _write(path: Path, head: SyntheticDataRecord, rows: Sequence[SyntheticDataRow]) -> dict[str, Any]:
    sizes = sorted({row.per_class for row in rows})
    summary = tuple(_summarise(size, [row for row in rows if row.per_class == size]) for size in sizes)
    document = head.model_copy(update={"rows": tuple(rows), "summary": summary}).to_json()
    write_json(path, document)
    return document


def _summarise(size: int, rows: Sequence[SyntheticDataRow]) -> SyntheticDataSummary:
    """Return a size's accuracies over the seeds, without those whose generator diverged."""
    done = [row for row in rows if row.with_generated is not None]
    accuracies = {arm: [value for row in done if (value := row.accuracy(arm)) is not None] for arm in ARMS}
    spreads = {arm: Spread.of(values) for arm, values in accuracies.items() if values}
    differences = {
        name: _compare(accuracies["with_generated"], accuracies[arm])
        for arm, name in (("real_only", "difference"), ("moved_only", "difference_to_moved"))
        if accuracies[arm]
    }
    word = differences["difference"].outcome if done else "no result"
    found: dict[str, Any] = {**spreads, **differences}
    return SyntheticDataSummary(per_class=size, seeds=len(done), **found, outcome=word)


def _compare(ours: Sequence[float], others: Sequence[float]) -> Difference:
    """Return the difference of values paired by seed; `interval` is half of the 95 % interval of its mean."""
    values = [one - other for one, other in zip(ours, others, strict=True)]
    mean, half = interval(values)
    return Difference(**dict(Spread.of(values)), interval=half, outcome=outcome(mean, half))


def _sentence(row: SyntheticDataRow) -> str:
    """Return a row as a line of progress."""
    shares = {arm: value for arm in ARMS if (value := row.accuracy(arm)) is not None}
    parts = ", ".join(f"{arm.replace('_', ' ')} {share:.2%}" for arm, share in shares.items())
    error = f"; {row.error}" if row.error else ""
    return f"{row.per_class} per class, seed {row.seed}: {parts}{error}"
