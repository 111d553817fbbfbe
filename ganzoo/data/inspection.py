"""Inspection of a data set before training: duplicates, constant images, and likely mistakes."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from ganzoo.data.dataset import Dataset

FAR = 10  # a last label this far above the one before looks like a value for "ignore"
SHEET_ROWS, SHEET_COLUMNS = 20, 10  # of a contact sheet, at most
SHEET_PIXELS = 128  # of an image on it, at most
_AT_ONCE = 1024  # images that are inspected at once


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Results of an inspection: numbers of images, counted from 0, and a warning for each likely mistake."""

    duplicates: tuple[tuple[int, int], ...]  # an image and the first identical one
    contradictions: int  # how many of them have another label than the first one
    constant: tuple[int, ...]  # images of one value everywhere
    warnings: tuple[str, ...]


def inspect(dataset: Dataset) -> Inspection:
    """Inspect every image and label of a data set."""
    first: dict[bytes, int] = {}
    duplicates: list[tuple[int, int]] = []
    constant: list[int] = []
    greatest = 0
    for start in range(0, len(dataset), _AT_ONCE):
        images = dataset.images[start : start + _AT_ONCE].contiguous().flatten(1).numpy()
        greatest = max(greatest, int(images.max()))
        constant += (np.flatnonzero(images.min(1) == images.max(1)) + start).tolist()
        for number, image in enumerate(images, start):
            same = first.setdefault(hashlib.blake2b(image.data, digest_size=16).digest(), number)
            if same != number:
                duplicates.append((number, same))
    labels = dataset.labels
    contradictions = 0 if labels is None else sum(int(labels[a]) != int(labels[b]) for a, b in duplicates)
    return Inspection(
        duplicates=tuple(duplicates),
        contradictions=contradictions,
        constant=tuple(constant),
        warnings=(*_warn_of_values(greatest), *_warn_of_labels(dataset.class_counts)),
    )


def _warn_of_values(greatest: int) -> Iterator[str]:
    if greatest == 0:
        yield "every pixel is 0"
    elif greatest == 1:
        yield "no value is above 1: images in [0, 1], and masks, must be multiplied by 255"
    elif greatest < 128:
        yield f"no value is above {greatest}: the images use less than half of the range from 0 to 255"


def _warn_of_labels(counts: tuple[int, ...] | None) -> Iterator[str]:
    if counts is None:
        return
    there = [label for label, count in enumerate(counts) if count]
    if there[0] > 0:
        yield f"labels begin at {there[0]}, not 0: networks will also have classes for smaller labels, without images"
    if len(there) > 1 and there[-1] - there[-2] >= max(FAR, len(there)):
        yield (
            f"label {there[-1]} is far from the others, which end at {there[-2]}: if it means 'ignore', remove its "
            f"{counts[there[-1]]:,} images"
        )
    if len(there) > 1 and sum(counts) == len(there):
        yield "each class has a single image: the folders or labels may identify images, not classes"


def contact_sheet(dataset: Dataset) -> tuple[NDArray[np.uint8], str]:
    """Return images for a contact sheet, uint8 [n, H, W, C] in rows of SHEET_COLUMNS, and a caption.

    With labels, there is one row per class for the first SHEET_ROWS classes, filled up with black images; without
    labels, images at equal distances are chosen. Images wider or higher than SHEET_PIXELS are shrunk.
    """
    if dataset.labels is None:
        count = min(len(dataset), SHEET_ROWS * SHEET_COLUMNS)
        rows = np.linspace(0, len(dataset) - 1, count).round().astype(np.int64)
        return _pixels(dataset, rows), f"{count} of {len(dataset):,} images"
    labels = dataset.labels.numpy()
    there = [label for label, number in enumerate(dataset.class_counts or ()) if number][:SHEET_ROWS]
    numbers = np.full((len(there), SHEET_COLUMNS), -1)
    for row, label in enumerate(there):
        of_class = np.flatnonzero(labels == label)
        count = min(len(of_class), SHEET_COLUMNS)
        numbers[row, :count] = of_class[np.linspace(0, len(of_class) - 1, count).round().astype(np.int64)]
    pixels = _pixels(dataset, numbers.reshape(-1).clip(0))
    pixels[numbers.reshape(-1) < 0] = 0
    names = [str(label) if dataset.class_names is None else dataset.class_names[label] for label in there]
    return pixels, f"one row per class: {', '.join(names)}"


def _pixels(dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the images with the numbers `rows`, uint8 [n, H, W, C], shrunk to at most SHEET_PIXELS."""
    _, height, width = dataset.image_shape
    scale = SHEET_PIXELS / max(height, width)
    if scale >= 1:
        return dataset.images[rows.tolist()].permute(0, 2, 3, 1).contiguous().numpy()
    size = (max(1, round(scale * height)), max(1, round(scale * width)))
    shrunk = [interpolate(dataset.images[[row]].float(), size, mode="area") for row in rows.tolist()]  # one at a time
    return torch.cat(shrunk).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
