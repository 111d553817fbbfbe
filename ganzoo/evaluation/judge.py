"""The judge: the pinned classifier of a data set, in whose features all metrics of generators are measured.

The judges of MNIST (for `mnist` and `mnist-5k`) and Fashion-MNIST ship with the package; their SHA-256 are below. For
any other data set, `ganzoo evaluate --fit-judge` trains a judge and stores it in the cache, bound to the images by
their hash; without labels, it learns to recognise rotations. A data set that is read at two sizes has two judges.
Metrics of different judges have different units and are not comparable.
"""

import hashlib
import json
import math
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any

import platformdirs
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from safetensors import SafetensorError
from torch import Tensor, nn

from ganzoo import data
from ganzoo.compute.device import float32_by_default
from ganzoo.config import reading_flags
from ganzoo.data import Dataset, normalize
from ganzoo.errors import FileError, UsageError
from ganzoo.evaluation.classifier import CLASSIFIERS, Classifier, CNNClassifier, Epoch, evaluate_classifier, fit
from ganzoo.files import atomic_write, read_limited
from ganzoo.records import Record
from ganzoo.runs.records import JudgeRecord
from ganzoo.sealing import BLANK, is_sealed, seal

MNIST_SHA256 = "dc7a0e9fdd2faeab2a4ef805aecfb76e8982b9eddf5e77a1d9efb9bc70528861"
FASHION_MNIST_SHA256 = "af893ebc58d5b71084e93aa7dfcdf5210593b432bd417349d442373223f186a0"
PINNED = {  # by source: the name of the shipped file, and its hash
    "mnist": ("mnist", MNIST_SHA256),
    "mnist-5k": ("mnist", MNIST_SHA256),
    "stacked-mnist": ("mnist", MNIST_SHA256),  # the judge reads each channel separately
    "fashion-mnist": ("fashion-mnist", FASHION_MNIST_SHA256),
}
SCHEMA = 1
EPOCHS = 20  # of a judge's training
LEAST_UPDATES = 600  # training steps of a judge, at least: 20 epochs of a single batch are too few
TURNED_IMAGES = 60_000  # that a judge without labels learns from, at most
CLASSES, TURNS = "classes", "turns"  # what a judge recognises
SUFFIX = ".judge.safetensors"
_CHUNK = 100  # images per forward pass: fixed, because matrix products of other sizes round differently


@dataclass(frozen=True)
class Reading:
    """The judge's output for N images: `features` float32 [N, D], `probabilities` float32 [N, num_classes]."""

    features: Tensor
    probabilities: Tensor

    @property
    def labels(self) -> Tensor:
        """The likeliest classes, int64 [N]."""
        return self.probabilities.argmax(1)


class ChannelClassifier(nn.Module):
    """A classifier of grey images, applied to each of three channels; K classes become K ** 3, numbered in base K."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def features(self, images: Tensor) -> Tensor:
        """Return the channels' features, concatenated: [N, 3, H, W] -> [N, 3 * D]."""
        features: Tensor = self.network.features(images.flatten(0, 1).unsqueeze(1))
        return features.view(len(images), -1)

    def head(self, features: Tensor) -> Tensor:
        """Return logits, the sums of the channels' log-probabilities: [N, 3 * D] -> [N, K ** 3]."""
        first, second, third = self.network.head(features.view(len(features), 3, -1)).log_softmax(2).unbind(1)
        logits: Tensor = first[:, :, None, None] + second[:, None, :, None] + third[:, None, None, :]
        return logits.flatten(1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """A trained `cnn` classifier, the SHA-256 of its weights' file, and what it was trained on."""

    name: str  # part of the metrics' titles: FID-MNIST
    network: Classifier | ChannelClassifier
    sha256: str
    accuracy: float  # on the test images, in [0, 1]
    image_shape: tuple[int, int, int]  # (C, H, W)
    class_names: tuple[str, ...]
    dataset_sha256: str
    task: str = CLASSES  # TURNS if it was fitted without labels

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @torch.no_grad()
    def read(self, images: Tensor) -> Reading:
        """Return the reading of images uint8 [N, C, H, W]; other sizes and numbers of channels are converted."""
        channels, height, width = self.image_shape
        fitted = data.fit(Dataset(images=images, source="images"), f"{width}x{height}", channels).images
        features, probabilities = [], []
        for chunk in torch.split(fitted, _CHUNK):
            features.append(self.network.features(normalize(chunk)))
            probabilities.append(self.network.head(features[-1]).softmax(1))
        return Reading(torch.cat(features), torch.cat(probabilities))

    def describe(self) -> JudgeRecord:
        """Return the record of the judge that results contain."""
        return JudgeRecord(name=self.name, sha256=self.sha256, accuracy=round(self.accuracy, 5))


def to_tensor(images: NDArray[Any]) -> Tensor:
    """Return a generator's images uint8 [N, H, W, C] in the layout of a judge: uint8 [N, C, H, W]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def load_judge(
    source: str,
    data_dir: str | Path | None = None,
    place: str | Path | None = None,
    *,
    sha256: str | None = None,
    reading: Mapping[str, Any] | None = None,
    advice: str | None = None,
) -> Judge:
    """Return the judge of a data set's source, such as `mnist` or `npz:FILE`, or the one in the file `place`.

    `sha256` is the hash of all images of the data set, as they are read. If no judge was trained on these images, a
    judge that an earlier version stored for the source is returned.

    Raises UsageError, with `advice` on how to train a judge, if there is none, and FileError if it is damaged. The
    default advice is the command that trains a judge on images read with the options `reading`.
    """
    advice = advice or fitting(source, data_dir, reading)
    if place is not None:
        return read_judge(Path(place), advice=advice)
    if source in PINNED:
        judge = _pinned_judge(*PINNED[source])
        return _by_channel(judge) if source == "stacked-mnist" else judge
    for path in (*([judge_path(sha256)] if sha256 else []), *_former_paths(source, data_dir)):
        if path.is_file():
            return read_judge(path, advice=advice)
    raise UsageError(f"there is no judge for {source} yet; to train one, {advice}")


def fitting(source: str, data_dir: str | Path | None = None, reading: Mapping[str, Any] | None = None) -> str:
    """Return the advice to type the command that trains a source's judge on images read with the options `reading`."""
    place = "" if data_dir is None else f" --data-dir {shlex.quote(str(data_dir))}"
    flags = place + reading_flags(reading or {})
    return f"type: ganzoo evaluate --fit-judge --dataset {shlex.quote(source)}{flags}"


def _by_channel(judge: Judge) -> Judge:
    """Return a judge of three-channel images that applies `judge` to each channel."""
    assert not isinstance(judge.network, ChannelClassifier), "it reads grey images"
    return replace(
        judge,
        name=f"Stacked-{judge.name}",
        sha256=hashlib.sha256(f"by channel: {judge.sha256}".encode()).hexdigest(),
        network=ChannelClassifier(judge.network),
        accuracy=judge.accuracy**3,
        image_shape=(3, *judge.image_shape[1:]),
        class_names=tuple(map("".join, product(judge.class_names, repeat=3))),
    )


def judge_path(sha256: str) -> Path:
    """Return the cache's path for the judge of images with the hash `sha256`, as they are read."""
    return Path(platformdirs.user_cache_dir("ganzoo")) / "judges" / f"{sha256[:32]}{SUFFIX}"


def _former_paths(source: str, data_dir: str | Path | None) -> list[Path]:
    """Return where earlier versions stored the judge of a source: next to the data, or in the cache."""
    name, _, argument = source.partition(":")
    key = f"{name}-{hashlib.sha256(source.encode()).hexdigest()[:12]}{SUFFIX}"
    beside = data.data_folder(data_dir) / key
    if argument and Path(argument).exists():
        place = Path(argument).absolute()
        beside = place.with_name(place.name + SUFFIX)
    return [beside, Path(platformdirs.user_cache_dir("ganzoo")) / "judges" / key]


@float32_by_default()
def fit_judge(
    name: str,
    train: Dataset,
    test: Dataset,
    path: str | Path,
    *,
    epochs: int | None = None,
    margin: float | None = None,
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Judge:
    """Train a judge on a data set, write it to `path` and return it.

    It learns to recognise the classes or, without labels, rotations of images (see `turn`).

    Args:
        name: part of its metrics' titles, as in FID-MNIST.
        train, test: the images that it is trained on, and those that its accuracy is measured on.
        path: the file to write.
        epochs: passes over the images; None for EPOCHS, or for few images as many as LEAST_UPDATES steps need.
        margin: its least accuracy, as a share of the way from guessing to 1; None for no limit.
        seed: the random seed of its weights and batches.
        on_epoch: a function that is called about EPOCHS times, the last time after the last epoch.

    Raises: UsageError if it is too weak; nothing is written then.
    """
    labelled = train.labels is not None and test.labels is not None
    learnt, tested = (part.labelled if labelled else turn(part) for part in (train, test))
    assert learnt.num_classes is not None, "training images have classes or rotations"
    assert tested.labels is not None, "test images have labels"
    if epochs is None:
        epochs = max(EPOCHS, math.ceil(LEAST_UPDATES / (len(learnt) // _batch_size(learnt))))
    network = _train(learnt, tested, epochs, seed, on_epoch)
    _, accuracy = evaluate_classifier(network, tested.images, tested.labels)
    if margin is not None:
        _check_accuracy(accuracy, tested, margin)
    record = {
        "schema": SCHEMA,
        "classifier": "cnn",
        "name": name,
        "accuracy": round(accuracy, 5),
        "image_shape": train.image_shape,
        "class_names": learnt.class_names or [str(label) for label in range(learnt.num_classes)],
        "dataset": train.source,
        "dataset_sha256": train.sha256,
        "epochs": epochs,
        "seed": seed,
        "torch": torch.__version__,
        **({} if labelled else {"task": TURNS}),
    }
    tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
    atomic_write(path, seal(safetensors.torch.save(tensors, {"judge": json.dumps(record), "sha256": BLANK})))
    return read_judge(Path(path))


def _batch_size(learnt: Dataset) -> int:
    return min(128, len(learnt))


def _train(
    learnt: Dataset, tested: Dataset, epochs: int, seed: int, on_epoch: Callable[[Epoch], None]
) -> CNNClassifier:
    """Train a classifier, and report about EPOCHS of its epochs and the last one."""
    assert learnt.labels is not None, "training images have labels"
    assert tested.labels is not None, "test images have labels"
    assert learnt.num_classes is not None, "training images have classes"
    batch_size, spacing = _batch_size(learnt), math.ceil(epochs / EPOCHS)

    def report(epoch: Epoch) -> None:
        if epoch.epoch % spacing == 0 or epoch.epoch == epochs:
            on_epoch(epoch)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CNNClassifier(learnt.image_shape, learnt.num_classes)
        fit(
            network,
            learnt.images,
            learnt.labels,
            epochs=epochs,
            seed=seed,
            test=(tested.images, tested.labels),
            batch_size=batch_size,
            augment=True,
            average=0.999 if len(learnt) // batch_size * epochs > 3000 else None,
            on_epoch=report,
        )
    return network


def _check_accuracy(accuracy: float, tested: Dataset, margin: float) -> None:
    """Raise UsageError if the accuracy is hardly better than always answering the most frequent class."""
    chance = max(tested.class_counts or (0,)) / len(tested)
    expected = chance + margin * (1 - chance)
    if accuracy < expected:
        raise UsageError(
            f"the judge of {tested.source} is too weak: its test accuracy is {accuracy:.1%}, that of guessing "
            f"{chance:.1%}; expected at least {expected:.1%}: use more images, or labels that the images show"
        )


def turn(dataset: Dataset) -> Dataset:
    """Return rotations of each image, labelled by the angle (Gidaris et al. 2018, arXiv:1803.07728).

    The angles are 0, 90, 180 and 270 degrees for square images, else 0 and 180. A network that recognises them has
    learnt what the images show, without labels.
    """
    quarters = (0, 1, 2, 3) if dataset.image_shape[1] == dataset.image_shape[2] else (0, 2)
    most = max(1, TURNED_IMAGES // len(quarters))
    images = dataset.images[:: -(-len(dataset) // most)]
    return Dataset(
        images=torch.cat([images.rot90(quarter, (2, 3)) for quarter in quarters]),
        labels=torch.arange(len(quarters)).repeat_interleave(len(images)),
        num_classes=len(quarters),
        class_names=tuple(f"turned by {90 * quarter} degrees" for quarter in quarters),
        source=dataset.source,
    )


MOST_BYTES = 1_000_000_000  # of a judge's file


@float32_by_default()
def read_judge(path: Path, pinned: str | None = None, *, advice: str | None = None) -> Judge:
    """Return the judge in the file at `path`, whose SHA-256 must be `pinned`, or the one that the file contains.

    Raises FileError if it is damaged, with `advice` on how to train it again, and if it is of a newer version.
    """
    advice = advice or f"type: ganzoo evaluate --fit-judge --dataset SOURCE --judge {shlex.quote(str(path))}"
    try:
        return _judge(read_limited(path, MOST_BYTES), path, pinned, advice)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from None


@cache
def _pinned_judge(name: str, sha256: str) -> Judge:
    return read_judge(Path(str(files("ganzoo.evaluation") / f"{name}{SUFFIX}")), sha256)


class _Written(Record):
    """The record in a judge's file."""

    name: str
    classifier: str
    accuracy: float = Field(ge=0, le=1, allow_inf_nan=False)
    image_shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    class_names: tuple[str, ...] = Field(min_length=1)
    dataset_sha256: str
    task: str = CLASSES


def _judge(content: bytes, path: Path, pinned: str | None, advice: str) -> Judge:
    sha256 = hashlib.sha256(content).hexdigest()
    damaged = FileError(
        f"{path} is not the judge of this version of ganzoo: install ganzoo again"
        if pinned
        else f"{path} is damaged; to train the judge again, {advice}"
    )
    try:
        tensors, metadata = safetensors.torch.load(content), _metadata(content)
        schema = json.loads(metadata["judge"])["schema"]
        if schema > SCHEMA:
            raise FileError(f"{path} has judge schema {schema}, this ganzoo reads up to {SCHEMA}: upgrade it")
        if sha256 != pinned if pinned else not is_sealed(content, metadata["sha256"]):
            raise damaged
        record = _Written.model_validate_json(metadata["judge"], strict=True)
        network = _network(record, tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, FileError):
            raise
        raise damaged from None
    return Judge(
        name=record.name,
        network=network.eval().requires_grad_(False),
        sha256=sha256,
        accuracy=record.accuracy,
        image_shape=record.image_shape,
        class_names=record.class_names,
        dataset_sha256=record.dataset_sha256,
        task=record.task,
    )


def _network(record: _Written, tensors: Mapping[str, Tensor]) -> Classifier:
    """Return the network of a judge's file. Raises ValueError for tensors of other shapes, before using memory."""

    def make() -> Classifier:
        return CLASSIFIERS[record.classifier](record.image_shape, len(record.class_names))

    with torch.device("meta"):
        shapes = {name: value.shape for name, value in make().state_dict().items()}
    if shapes != {name: value.shape for name, value in tensors.items()}:
        raise ValueError("its tensors do not fit its network")
    with torch.random.fork_rng(devices=[]):  # the initial weights are replaced below
        network = make()
    network.load_state_dict(tensors)
    return network


def _metadata(content: bytes) -> dict[str, str]:
    """Return the metadata in a safetensors file's header: eight bytes of length, then JSON."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return metadata
