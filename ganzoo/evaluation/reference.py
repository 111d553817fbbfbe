"""The reference of all metrics: a data set's real images as its judge reads them, and the floors.

A floor is what real images score: as many training images as were generated, compared with the test images. Readings
and floors are stored in the user's cache, under a key made from the hashes of the judge and the data set.
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

SCHEMA = 2  # 1: KID's floor was a mean over subsets, and the classifier's batch size was 128
SAMPLE_BYTES = 500_000_000  # of a data set without a test split: of a larger one, a sample is used
HELD_OUT = 5  # of a data set without a test split, one in this many images is a test image


@dataclass(frozen=True, kw_only=True)
class Splits:
    """A data set's training and test images, and a note if it has no test split."""

    train: Dataset
    test: Dataset
    sha256: str  # of all images that generators are trained on
    note: str | None = None

    @property
    def seen(self) -> Tensor:
        """The images that generators are trained on, which include held-out images."""
        return self.train.images if self.note is None else torch.cat([self.train.images, self.test.images])


def load_splits(
    source: str,
    *,
    data_dir: str | Path | None = None,
    memory: int | None = None,
    **reading: Unpack[ReadOptions],
) -> Splits:
    """Return both splits of a source; if it has only training images, a fixed fifth of them is held out."""
    train = data.load(source, data_dir=data_dir, memory=memory, **reading)
    return with_test(train, data_dir=data_dir, **reading)


def with_test(train: Dataset, *, data_dir: str | Path | None = None, **reading: Unpack[ReadOptions]) -> Splits:
    """Return a loaded training set with its test images."""
    try:
        test = data.load(train.source, data_dir=data_dir, split="test", **reading)
    except NoSplitError:
        return hold_out(train)
    except UsageError:
        if datasets.owner(train.source.partition(":")[0]).startswith("ganzoo."):
            raise
        return hold_out(train)  # plug-ins report a missing split with this error
    return Splits(train=train, test=_match_classes(test, train), sha256=train.sha256)


def _match_classes(test: Dataset, train: Dataset) -> Dataset:
    """Return the test images with their classes numbered as in the training images.

    Raises FileError for classes that the training images do not have.
    """
    if test.labels is None or train.num_classes is None or test.num_classes is None:
        return test
    if train.class_names is not None and test.class_names is not None:
        if strange := sorted(set(test.class_names) - set(train.class_names)):
            raise FileError(
                f"the test images of {train.source} have classes that the training images lack: {strange[:5]}"
            )
        return test.with_names(train.class_names)
    if test.num_classes > train.num_classes:
        raise FileError(
            f"the test images of {train.source} have {test.num_classes} classes, the training images "
            f"{train.num_classes}"
        )
    return replace(test, num_classes=train.num_classes, class_names=train.class_names)


def hold_out(dataset: Dataset) -> Splits:
    """Return the images of a data set without test images, with a fixed fifth of them as test images.

    If a data set is larger than SAMPLE_BYTES, a fixed sample of its images is used, whether it is in memory or not:
    floors and judges must not depend on the machine. Raises UsageError for fewer than 10 images.
    """
    if len(dataset) < 2 * HELD_OUT:
        raise UsageError(f"{dataset.source} has {len(dataset)} images: expected at least {2 * HELD_OUT} to evaluate")
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(derive(0, "held-out")))
    note = (
        f"{dataset.source} has no test images: a fixed fifth of its images is used as test images, "
        "although generators are trained on them too"
    )
    if len(dataset) * dataset.images[0].numel() > SAMPLE_BYTES:
        order = order[: max(2 * HELD_OUT, SAMPLE_BYTES // dataset.images[0].numel())]
        note += f"; of its {len(dataset):,} images a fixed sample of {len(order):,} is used"
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
    """Raise FileError if a judge, unless it ships with ganzoo, was trained on other images of the size of `train`."""
    same_size = judge.image_shape == train.image_shape
    pinned = train.source in PINNED and judge.sha256 == load_judge(train.source).sha256
    if not pinned and same_size and judge.dataset_sha256 != train.sha256:
        raise FileError(
            f"the judge of {train.source} was trained on other images, or on the same images read with other options; "
            f"to train it again, {advice or fitting(train.source)}"
        )


class Reference:
    """Real images as their judge reads them, and the floors that were measured with them.

    Raises FileError, with `advice` on how to train another judge, if the judge was trained on other images.
    """

    def __init__(self, judge: Judge, splits: Splits, *, advice: str | None = None) -> None:
        _check_match(judge, splits.train, advice)
        self.judge = judge
        self.splits = splits
        self.floors: dict[str, float] = {}  # by their names in the cache
        if not self._load():
            self.train, self.test = judge.read(splits.train.images), judge.read(splits.test.images)
            self._store_readings()

    @property
    def real_shares(self) -> Tensor:
        """The share of each class in the labelled training images, float64 [K]."""
        labels = self.splits.train.labels
        assert labels is not None, "only labelled data have classes"
        labels = labels[labels >= 0]
        return torch.bincount(labels, minlength=self.judge.num_classes).double() / len(labels)

    @cached_property
    def limits(self) -> Limits:
        """The limits of the test images, which outliers exceed."""
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
        """Load readings and floors from the cache; return False if they are missing or were changed."""
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
        with suppress(MachineError):  # if the cache cannot be written, nothing is stored
            atomic_write(self._path, content)
            self._store_floors()

    def _store_floors(self) -> None:
        """Write the floors with the hash of the readings' file, sealed, so that changes of either are detected."""
        record = {"sha256": BLANK, "readings": self._sha256, "floors": self.floors}
        with suppress(MachineError):
            atomic_write(self._path.with_suffix(".json"), seal(json.dumps(record, indent=1).encode()))
