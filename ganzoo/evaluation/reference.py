"""What figures are measured against: a data set's real images as its judge reads them, and the floors.

A floor is what real images themselves score: as many of the training images as were generated, against the test images.
Readings and floors are kept in the user's cache, under a key made of the judge's and the data set's hashes.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

import platformdirs
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from ganzoo import data
from ganzoo.data import Dataset, ReadOptions
from ganzoo.errors import FileError, MachineError, NoSplitError, UsageError
from ganzoo.evaluation.judge import PINNED, Judge, Reading, fitting, load_judge
from ganzoo.evaluation.metrics import Limits
from ganzoo.files import atomic_write
from ganzoo.registry import datasets
from ganzoo.sealing import BLANK, is_sealed, seal
from ganzoo.seeds import derive

SCHEMA = 2  # 1: KID's floor was a mean over subsets, and the classifier's batches were of 128
SAMPLE_BYTES = 500_000_000  # of images without a test split: of a larger set, a sample is looked at
HELD_OUT = 5  # of a data set without a test split, one image in so many is held out as its test images


@dataclass(frozen=True, kw_only=True)
class Splits:
    """A data set's training and test images, and one line where it has no test images of its own."""

    train: Dataset
    test: Dataset
    sha256: str  # of all the images that generators are trained on
    note: str | None = None

    @property
    def seen(self) -> Tensor:
        """The images that generators are trained on: also those that are held out of a set without test images."""
        return self.train.images if self.note is None else torch.cat([self.train.images, self.test.images])


def load_splits(
    source: str,
    *,
    data_dir: str | Path | None = None,
    memory: int | None = None,
    **reading: Unpack[ReadOptions],
) -> Splits:
    """Both splits of a source; a fixed fifth of one that has only training images counts as its test images."""
    train = data.load(source, data_dir=data_dir, memory=memory, **reading)
    return with_test(train, data_dir=data_dir, **reading)


def with_test(train: Dataset, *, data_dir: str | Path | None = None, **reading: Unpack[ReadOptions]) -> Splits:
    """A loaded training set beside its test images."""
    try:
        test = data.load(train.source, data_dir=data_dir, split="test", **reading)
    except NoSplitError:
        return hold_out(train)
    except UsageError:
        if datasets.owner(train.source.partition(":")[0]).startswith("ganzoo."):
            raise
        return hold_out(train)  # a plug-in's way to say that it has no such split
    return Splits(train=train, test=_as_trained(test, train), sha256=train.sha256)


def _as_trained(test: Dataset, train: Dataset) -> Dataset:
    """Return test images whose classes have the numbers that the training images' have.

    Raises FileError for classes that are not among those.
    """
    if test.labels is None or train.num_classes is None or test.num_classes is None:
        return test
    if train.class_names is not None and test.class_names is not None:
        if strange := sorted(set(test.class_names) - set(train.class_names)):
            raise FileError(f"the test images of {train.source} have classes that are not trained on: {strange[:5]}")
        return test.with_names(train.class_names)
    if test.num_classes > train.num_classes:
        raise FileError(
            f"the test images of {train.source} have {test.num_classes} classes, and {train.num_classes} are trained on"
        )
    return replace(test, num_classes=train.num_classes, class_names=train.class_names)


def hold_out(dataset: Dataset) -> Splits:
    """A fixed fifth of the images as test images: for a set that has none.

    Of a set larger than SAMPLE_BYTES, a fixed sample of its images takes the place of all of them, whether it is in
    memory or not: floors and judges must not depend on the machine.
    """
    if len(dataset) < 2 * HELD_OUT:
        raise UsageError(f"{dataset.source} has {len(dataset)} images: expected at least {2 * HELD_OUT} to evaluate on")
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(derive(0, "held-out")))
    note = (
        f"{dataset.source} has no test images: a fixed fifth of its images counts as such, "
        "though generators were trained on it too"
    )
    if len(dataset) * dataset.images[0].numel() > SAMPLE_BYTES:
        order = order[: max(2 * HELD_OUT, SAMPLE_BYTES // dataset.images[0].numel())]
        note += f"; of its {len(dataset):,} images a fixed sample of {len(order):,} is looked at"
    count = len(order) // HELD_OUT
    return Splits(
        train=_rows(dataset, order[count:].sort().values),
        test=_rows(dataset, order[:count].sort().values),
        sha256=dataset.sha256,
        note=note,
    )


def _rows(dataset: Dataset, rows: Tensor) -> Dataset:
    return Dataset(
        images=dataset.images[rows].contiguous(),
        labels=None if dataset.labels is None else dataset.labels[rows],
        num_classes=dataset.num_classes,
        class_names=dataset.class_names,
        source=dataset.source,
    )


def _check_match(judge: Judge, train: Dataset, advice: str | None) -> None:
    """A judge knows the images that it was trained on by their hash, unless they were brought to another size."""
    same_size = judge.image_shape == train.image_shape
    pinned = train.source in PINNED and judge.sha256 == load_judge(train.source).sha256
    if not pinned and same_size and judge.dataset_sha256 != train.sha256:
        raise FileError(
            f"the judge of {train.source} was trained on other images than are there now, or on these as they are read "
            f"in another way; to train it again, {advice or fitting(train.source)}"
        )


class Reference:
    """Real images as their judge reads them, and the floors that were measured with them.

    Raises FileError, with `advice` on how to train another one, for a judge that was trained on other images.
    """

    def __init__(self, judge: Judge, splits: Splits, *, advice: str | None = None) -> None:
        _check_match(judge, splits.train, advice)
        self.judge = judge
        self.splits = splits
        self.floors: dict[str, float] = {}  # by the names that they were kept under
        if not self._load():
            self.train, self.test = judge.read(splits.train.images), judge.read(splits.test.images)
            self._store_readings()

    @property
    def real_shares(self) -> Tensor:
        """float64 [K]: each class's part of the training images, by their labels."""
        labels = self.splits.train.labels
        assert labels is not None, "classes are looked for in labelled data alone"
        labels = labels[labels >= 0]
        return torch.bincount(labels, minlength=self.judge.num_classes).double() / len(labels)

    @cached_property
    def limits(self) -> Limits:
        """What the test images are like, so that outliers can be told."""
        return Limits.of(self.splits.test.images, self.test.features)

    def keep_floors(self, floors: Mapping[str, float]) -> None:
        """Add to `floors`, here and in the cache."""
        self.floors |= floors
        self._store_floors()

    @property
    def _path(self) -> Path:
        parts = [SCHEMA, self.judge.sha256, self.splits.train.sha256, self.splits.test.sha256]
        key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
        return Path(platformdirs.user_cache_dir("ganzoo")) / "references" / f"{key}.safetensors"

    def _load(self) -> bool:
        """Take what was kept, unless it was altered since."""
        with suppress(OSError, SafetensorError, ValueError, KeyError, TypeError, RecursionError):
            content, sealed = self._path.read_bytes(), self._path.with_suffix(".json").read_bytes()
            record: dict[str, Any] = json.loads(sealed)
            self._sha256 = hashlib.sha256(content).hexdigest()
            if is_sealed(sealed, record["sha256"]) and record["readings"] == self._sha256:
                tensors = safetensors.torch.load(content)
                self.train, self.test = (
                    Reading(tensors[f"{split}.features"], tensors[f"{split}.probabilities"])
                    for split in ("train", "test")
                )
                self.floors = record["floors"]
                return True
        return False

    def _store_readings(self) -> None:
        readings = {"train": self.train, "test": self.test}
        tensors = {f"{split}.features": reading.features for split, reading in readings.items()}
        tensors |= {f"{split}.probabilities": reading.probabilities for split, reading in readings.items()}
        content = safetensors.torch.save(tensors)
        self._sha256 = hashlib.sha256(content).hexdigest()
        with suppress(MachineError):  # a cache that cannot be written is done without
            atomic_write(self._path, content)
            self._store_floors()

    def _store_floors(self) -> None:
        """Write the floors with the hash of the readings' file, sealed, so that neither can be altered unnoticed."""
        record = {"sha256": BLANK, "readings": self._sha256, "floors": self.floors}
        with suppress(MachineError):
            atomic_write(self._path.with_suffix(".json"), seal(json.dumps(record, indent=1).encode()))
