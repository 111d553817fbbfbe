"""The sections that only a study has: the data, the classifier, and synthetic images as training data."""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ganzoo.evaluation.intervals import interval, outcome
from ganzoo.evaluation.reference import Splits
from ganzoo.report.document import Block, Items, Picture, Section, Table, Text, integer, percent
from ganzoo.report.figures import (
    COLOURS,
    DENSITY,
    Panel,
    Series,
    Style,
    bars,
    confusion,
    enlarged,
    labelled_grid,
    panels,
)
from ganzoo.report.records import (
    ClassifierEpoch,
    ClassifierRecord,
    StudiedData,
    SyntheticDataRecord,
    SyntheticDataRow,
)
from ganzoo.runtime.images import grid

SHOWN = 6  # real images of each class, and rows of images without classes
MAX_CLASSES = 12  # that are shown by name, at most
MOVED = ", and on the same few real images alone, slightly rotated, scaled and shifted, differently at each step"
MIXED = "with_generated"
LEARNT_FROM = {  # training data of a classifier
    "real_only": "real images only",
    MIXED: "real and generated images",
    "moved_only": "real images only, moved",  # slightly rotated, scaled and shifted
}


def facts_of(splits: Splits) -> StudiedData:
    """Return a data set's facts, as a study stores them."""
    train, test = splits.train, splits.test
    classes = train.num_classes or 0
    return StudiedData(
        source=train.source,
        note=train.note or splits.note,
        train_images=len(train),
        test_images=len(test),
        image_shape=train.image_shape,
        class_names=tuple(train.class_names or map(str, range(classes))),
        train_counts=_counts(train.labels, classes),
        test_counts=_counts(test.labels, classes),
        train_sha256=train.sha256,
        test_sha256=test.sha256,
    )


def _counts(labels: torch.Tensor | None, classes: int) -> tuple[int, ...]:
    return () if labels is None else tuple(torch.bincount(labels[labels >= 0], minlength=classes).tolist())


def data_section(facts: StudiedData, splits: Splits | None) -> Section:
    """Return the section with real images, their labels, and the number of images per class."""
    shape = " x ".join(map(str, facts.image_shape))
    blocks: list[Block] = [
        Text(
            f"{facts.source}: {integer(facts.train_images)} training and {integer(facts.test_images)} test "
            f"images of {shape} (channels x height x width). SHA-256 of the training images "
            f"{facts.train_sha256}, of the test images {facts.test_sha256}."
        )
    ]
    if splits is None:
        blocks.append(Text("The images are no longer available, so none are shown."))
    else:
        blocks += [*([Text(facts.note)] if facts.note else []), _real(splits, facts)]
    names, counts = facts.class_names, {"train": facts.train_counts, "test": facts.test_counts}
    if 0 < len(names) <= 4 * MAX_CLASSES:
        alt = "Number of training and test images of each class"
        blocks.append(Picture(name="data-counts", data=bars(counts, names), alt=alt, density=DENSITY))
    if 0 < len(names) <= MAX_CLASSES:
        rows = [[split, *map(integer, values), integer(sum(values))] for split, values in counts.items()]
        blocks.append(Table(header=["Images", *names, "Total"], rows=rows))
    return Section("The data", blocks)


def _real(splits: Splits, facts: StudiedData) -> Picture:
    train, names = splits.train, facts.class_names[:MAX_CLASSES]
    images = train.images.permute(0, 2, 3, 1).numpy()
    if train.labels is None:
        data = enlarged(grid(images[: SHOWN * 10], columns=10), width=640)
        return Picture(name="data-images", data=data, alt="Real images", caption="The first real images.")
    columns = []
    for label in range(len(names)):
        found = images[(train.labels == label).numpy().nonzero()[0][:SHOWN]]
        columns.append(np.concatenate([found, np.zeros((SHOWN - len(found), *images.shape[1:]), np.uint8)]))
    shown = np.stack(columns, 1).reshape(-1, *images.shape[1:])  # [SHOWN, classes, H, W, C] -> row by row
    data = labelled_grid(shown, len(names), names)
    which = "each class" if len(names) == len(facts.class_names) else "some classes"
    caption = f"The first {SHOWN} training images of {which}."
    return Picture(
        name="data-images", data=data, alt="Real images under their labels", caption=caption, density=DENSITY
    )


def classifier_section(record: ClassifierRecord) -> Section:
    """Return the section on the feed-forward classifier: its layers, its training, its confusion matrix."""
    history, matrix, names = record.history, np.array(record.confusion), record.class_names
    last = history[-1]
    layers = [[name, shape, integer(parameters)] for name, shape, parameters in record.layers]
    right, total = int(np.trace(matrix)), int(matrix.sum())
    test_error = f"{total - right} of {integer(total)} test images wrong"
    return Section(
        "The classifier",
        [
            Text(
                f"A classifier of real images, {record.name}, with {integer(record.parameters)} parameters. "
                f"After {last.epoch} epochs: accuracy {percent(last.train_accuracy)} on the training images, "
                f"{percent(last.test_accuracy)} on the test images."
            ),
            Table(header=["Layer", "Shape", "Parameters"], rows=layers),
            Picture(
                name="classifier-history",
                data=panels([_history(history, "loss"), _history(history, "accuracy")]),
                alt="Loss and accuracy of the classifier by epoch, on training and test images",
                density=DENSITY,
            ),
            Picture(
                name="classifier-confusion",
                data=confusion(matrix, names),
                alt="Confusion matrix of the classifier on the test images",
                caption=f"Confusion matrix: one row per true class, one column per predicted class; {test_error}.",
                density=DENSITY,
            ),
        ],
    )


def _history(history: Sequence[ClassifierEpoch], what: str) -> Panel:
    series = [
        Series(
            label=split,
            x=[epoch.epoch for epoch in history],
            y=[getattr(epoch, f"{split}_{what}") for epoch in history],
            style=Style(colour=colour),
        )
        for split, colour in zip(("train", "test"), COLOURS, strict=False)
    ]
    title = "Loss (cross-entropy, nats)" if what == "loss" else "Accuracy"
    return Panel(title=title, x="epochs", series=series, percent=what == "accuracy")


def synthetic_data_section(record: SyntheticDataRecord) -> Section:
    """Return the section on accuracy with and without generated images, by number of real images."""
    arms = [arm for arm in LEARNT_FROM if any(row.accuracy(arm) is not None for row in record.rows)]
    sizes = sorted({row.per_class for row in record.rows})
    found = {size: _accuracies(record.rows, size, arms) for size in sizes}
    settings = "; ".join(f"{key.replace('_', ' ')} {value}" for key, value in record.settings.items())
    blocks: list[Block] = [
        Text(
            f"A classifier ({record.classifier}) is trained on a few real images of each class: on these alone, and "
            f"on these and images of a generator ({record.variant}) that was trained on the same few "
            f"images{MOVED if 'moved_only' in arms else ''}. It is tested on the real test images."
        ),
        Picture(
            name="synthetic-data",
            data=panels([_effect_panel(found, arms)], height=4.0),
            alt="Accuracy by number of real images per class, with and without generated images, with error bars",
            caption="Means over the seeds; the bars are 95 % intervals of the mean (Student's t).",
            density=DENSITY,
        ),
        _effect_table(found, arms),
        *([Text(f"Settings: {settings}.")] if settings else []),
    ]
    for arm in arms:
        if arm != MIXED:
            pairs = {size: _pairs(accuracies, arms, arm) for size, accuracies in found.items()}
            blocks.append(Text(f"Generated images compared with {LEARNT_FROM[arm]}:"))
            blocks.append(Items([effect_sentence(size, pair, LEARNT_FROM[arm]) for size, pair in pairs.items()]))
    return Section("Synthetic images as training data", blocks)


augmentation_section = synthetic_data_section  # its previous name


Accuracies: TypeAlias = NDArray[np.float64]  # [seeds, arms]


def _accuracies(rows: Sequence[SyntheticDataRow], size: int, arms: Sequence[str]) -> Accuracies:
    """Return the accuracies of the seeds that have all arms."""
    own = [[row.accuracy(arm) for arm in arms] for row in rows if row.per_class == size]
    return np.array([values for values in own if None not in values], float).reshape(-1, len(arms))


def _pairs(accuracies: Accuracies, arms: Sequence[str], arm: str) -> Accuracies:
    """Return [seeds, 2]: the accuracies of an arm without generated images, and of the one with them."""
    return accuracies[:, [arms.index(arm), arms.index(MIXED)]]


def _effect_panel(found: dict[int, Accuracies], arms: Sequence[str]) -> Panel:
    sizes = [size for size, accuracies in found.items() if len(accuracies)]
    series = []
    for column, arm in enumerate(arms):
        intervals = [interval(found[size][:, column]) for size in sizes]
        series.append(
            Series(
                label=LEARNT_FROM[arm],
                x=[size * (1 + 0.03 * column) for size in sizes],  # shifted a little, so that bars do not overlap
                y=[mean for mean, _ in intervals],
                spread=[half or 0.0 for _, half in intervals],
                style=Style(colour=COLOURS[list(LEARNT_FROM).index(arm)]),
                bars=True,
            )
        )
    return Panel(
        title="Accuracy on real test images", x="real images per class", series=series, log_x=True, percent=True
    )


def _effect_table(found: dict[int, Accuracies], arms: Sequence[str]) -> Table:
    others = [arm for arm in arms if arm != MIXED]
    rows = []
    for size, accuracies in found.items():
        cells = ["—"] * (len(arms) + len(others))
        if len(accuracies):
            gains = [np.subtract(*_pairs(accuracies, arms, arm).T[::-1]) for arm in others]
            cells = [_percent(*interval(column)) for column in accuracies.T]
            cells += [_percent(*interval(gain), signed=True) for gain in gains]
        rows.append([integer(size), *cells, integer(len(accuracies))])
    return Table(
        header=[
            "Real images per class",
            *(LEARNT_FROM[arm] for arm in arms),
            *(f"gain over {LEARNT_FROM[arm]}" for arm in others),
            "Seeds",
        ],
        rows=rows,
        caption="Accuracy, mean ± half of the 95 % interval; gains are in percentage points, paired by seed.",
    )


def effect_sentence(size: int, pairs: Accuracies, others: str = "real images only") -> str:
    """Return a sentence on whether generated images helped, by the 95 % interval of differences paired by seed."""
    start = f"With {integer(size)} real images per class"
    if not len(pairs):
        return f"{start} there is no result."
    without, mixed = pairs.mean(0)
    mean, half = interval(pairs[:, 1] - pairs[:, 0])
    change = f"{percent(mixed)} with them, {percent(without)} on {others}"
    if half is None:
        return f"{start} there is one seed only, which allows no conclusion: {change}."
    bounds = f"{100 * mean:+.2f} points, 95 % interval {100 * (mean - half):+.2f} to {100 * (mean + half):+.2f}"
    verdicts = {"no difference": "made no difference beyond the error bars", "helps": "helped", "hurts": "hurt"}
    return f"{start}, generated images {verdicts[outcome(mean, half)]}: {change} ({bounds})."


def _percent(mean: float, half: float | None, *, signed: bool = False) -> str:
    value = f"{100 * mean:+.2f}" if signed else f"{100 * mean:.2f}"
    return value + ("" if half is None else f" ± {100 * half:.2f}") + ("" if signed else " %")
