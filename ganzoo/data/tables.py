"""Images in tables: `csv:FILE`, one pixel per column, and `parquet:PATH`, image files as in Hugging Face data sets."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganzoo.data.arrays import from_arrays, read_labels
from ganzoo.data.dataset import Dataset, Request
from ganzoo.data.decoding import Decoding, Pictures
from ganzoo.data.files import requested_path
from ganzoo.errors import FileError, MachineError, NoSplitError, UsageError
from ganzoo.registry import datasets

LABELS = ("label", "labels", "class", "target", "y", "fine_label")  # columns of labels; the first that exists is used
PICTURES = ("image", "img", "picture", "pixel_values")
MAX_COLUMNS = 100_000
TEST = re.compile(r"^(test|val|valid|validation)(?![a-z])", re.IGNORECASE)  # a folder or file of test images


@datasets.register("csv")
def csv(request: Request) -> Dataset:
    """`csv:FILE`, one line per square grey image: its pixels row by row and, optionally, its label.

    The column of labels is called `label`, or is the first one. The first line may contain names. Values are converted
    like those of arrays. Raises FileError.
    """
    path = requested_path(request, "csv:FILE")
    expected = "expected one line per image: a label, and as many numbers as a square has pixels"
    try:
        with path.open(encoding="utf-8") as file:
            first = file.readline(20 * MAX_COLUMNS).rstrip("\r\n").split(",")
        if len(first) > MAX_COLUMNS:
            raise FileError(f"{path} has more than {MAX_COLUMNS:,} columns: {expected}")
        headed = not all(_is_number(word) for word in first[1:] or first)
        column = _label_column([word.strip().strip('"') for word in first], headed)
        pixels = [number for number in range(len(first)) if number != column]
        side = math.isqrt(len(pixels))
        if side * side != len(pixels) or not side:
            raise FileError(f"{path} has {len(pixels)} columns beside labels, which is not a square number: {expected}")
        options: dict[str, Any] = {"delimiter": ",", "skiprows": int(headed), "ndmin": 2}
        values = np.loadtxt(path, np.float32, usecols=pixels, **options)
        labels = None if column is None else np.loadtxt(path, str, usecols=[column], **options)[:, 0]
    except (OSError, ValueError, MemoryError) as error:
        raise FileError(f"{path} cannot be read ({error}): {expected}") from error
    if (values == np.rint(values)).all() and values.size and request.value_range is None:
        values = values.astype(np.int32)
    if labels is not None:
        labels = np.array([label.strip('"') for label in labels.tolist()])
        labels = labels.astype(np.float64) if all(map(_is_number, labels.tolist())) else labels
    named = "" if column is None else f"labels are in the column {first[column] if headed else column + 1}"
    try:
        dataset = from_arrays(
            values.reshape(len(values), side, side),
            labels,
            source=f"csv:{path}",
            copy=False,
            value_range=request.value_range,
            bits=request.bits,
        )
    except UsageError as error:
        raise FileError(f"{path}: {error}") from error
    return replace(dataset, notes=(named, *dataset.notes)) if named else dataset


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _label_column(first: Sequence[str], headed: bool) -> int | None:
    """Return the number of the column of labels: by its name, else 0 if the number of columns is not a square."""
    names = [word.lower() for word in first] if headed else []
    named = next((names.index(name) for name in LABELS if name in names), None)
    if named is not None:
        return named
    return 0 if math.isqrt(len(first)) ** 2 != len(first) else None


@datasets.register("parquet")
def parquet(request: Request) -> Dataset:
    """`parquet:PATH`, a file or a folder of files, with a column `image` and, optionally, `label`.

    An image is the bytes of an image file, or a record with them in `bytes`, as written by Hugging Face's `datasets`,
    whose class names are read too. In a folder, a file has test images if its name, or that of a folder, begins with
    the word `test` or `val`. Raises FileError; MachineError without the package pyarrow.
    """
    path = requested_path(request, "parquet:PATH", splits=True)
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise MachineError(
            'parquet: needs a package that is not installed: pip install "torch-ganzoo[parquet]"'
        ) from error
    files = _choose_files(path, request.split)
    items: list[bytes] = []
    labels: list[Any] = []
    names: tuple[str, ...] | None = None
    try:
        for file in files:
            table = pyarrow.parquet.read_table(file)
            column, labelled = _choose_columns(table.column_names, file)
            for value in table.column(column).to_pylist():
                data = value.get("bytes") if isinstance(value, dict) else value
                if not isinstance(data, bytes):
                    raise FileError(f"{file}: an image in '{column}' has no bytes: expected the bytes of image files")
                items.append(data)
            if labelled is not None:
                labels += table.column(labelled).to_pylist()
                names = names or _class_names(table.schema.metadata, labelled)
    except (OSError, ValueError, MemoryError, pyarrow.ArrowException) as error:
        raise FileError(f"{path} cannot be read ({error}): expected a parquet file with a column of images") from error
    if not items:
        raise FileError(f"{path} has no images")
    return _decode(items, labels, names, path, request)


def _decode(
    items: list[bytes], labels: list[Any], names: tuple[str, ...] | None, path: Path, request: Request
) -> Dataset:
    work = Decoding(Pictures(str(path), items, [f"image {number}" for number in range(len(items))]), request)
    images = work.collect()
    if labels and len(labels) != len(items):
        raise FileError(f"{path} has {len(labels)} labels for {len(items)} images: expected one for each")
    try:
        numbers, num_classes, found, notes = read_labels(labels or None)
    except UsageError as error:
        raise FileError(f"{path}: {error}") from error
    dataset = Dataset(
        images=torch.from_numpy(images),
        labels=numbers,
        num_classes=num_classes,
        class_names=found,
        source=f"parquet:{path}",
        notes=(*notes, *work.describe()),
    )
    return dataset if names is None else dataset.with_names(names)


def _choose_files(path: Path, split: str) -> list[Path]:
    """Return the files of a split. Raises NoSplitError, or FileError if there are no files."""
    if path.is_file():
        if split != "train":
            raise NoSplitError(f"{path} has no split '{split}': all its images are 'train'")
        return [path]
    files = sorted(path.rglob("*.parquet"))
    test = [file for file in files if any(map(TEST.match, file.relative_to(path).parts))]
    chosen = test if split != "train" else [file for file in files if file not in test]
    if not chosen and split != "train":
        raise NoSplitError(f"{path} has no split '{split}': there is no file or folder called test or val")
    if not chosen:
        raise FileError(f"no .parquet files in {path} to train on")
    return chosen


def _choose_columns(there: Sequence[str], file: Path) -> tuple[str, str | None]:
    """Return the names of the columns of images and of labels (None without labels). Raises FileError."""
    image = next((name for name in PICTURES if name in there), None)
    if image is None:
        raise FileError(f"{file} has the columns {', '.join(there[:9])}: expected images in {', '.join(PICTURES)}")
    return image, next((name for name in LABELS if name in there), None)


def _class_names(metadata: dict[bytes, bytes] | None, column: str) -> tuple[str, ...] | None:
    """Return the class names that Hugging Face's `datasets` stores in a file's metadata, if there are any."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        names = features[column]["names"]
    except (KeyError, ValueError, TypeError, RecursionError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) and names else None
