"""The judge: the one pinned classifier in whose features every figure about a data set's generators is measured.

MNIST's (for `mnist` and `mnist-5k`) and Fashion-MNIST's ship with the package, and their SHA-256 are written below. Any
other labelled data set gets its own by `ganzoo evaluate --fit-judge`, kept in the cache and bound to it by hash; a set
without labels too, which learns how images are turned. A set that is read at two sizes has two judges. Figures of two
judges have different units: they are never comparable.
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
PINNED = {  # by source: the name of the file that ships, and its hash
    "mnist": ("mnist", MNIST_SHA256),
    "mnist-5k": ("mnist", MNIST_SHA256),
    "stacked-mnist": ("mnist", MNIST_SHA256),  # which reads each channel by itself
    "fashion-mnist": ("fashion-mnist", FASHION_MNIST_SHA256),
}
SCHEMA = 1
EPOCHS = 20  # of a judge's training
LEAST_UPDATES = 600  # of it: 20 epochs of a single batch tell nothing apart
TURNED_IMAGES = 60_000  # that a judge without labels learns from, at most
CLASSES, TURNS = "classes", "turns"  # what a judge tells apart
SUFFIX = ".judge.safetensors"
_CHUNK = 100  # images that the network reads at a time: fixed, for a matrix product rounds differently for another size


@dataclass(frozen=True)
class Reading:
    """What the judge sees in N images: `features` float32 [N, D], `probabilities` float32 [N, num_classes]."""

    features: Tensor
    probabilities: Tensor

    @property
    def labels(self) -> Tensor:
        """The likeliest classes, int64 [N]."""
        return self.probabilities.argmax(1)


class ChannelClassifier(nn.Module):
    """Read each of three channels by a classifier of grey images; K classes become K ** 3, as numbers of base K."""

    def __init__(self, network: Classifier) -> None:
        super().__init__()
        self.network = network

    def features(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, 3 * D], those of the channels one after the other."""
        features: Tensor = self.network.features(images.flatten(0, 1).unsqueeze(1))
        return features.view(len(images), -1)

    def head(self, features: Tensor) -> Tensor:
        """[N, 3 * D] -> logits [N, K ** 3], the sum of the channels' log-probabilities."""
        first, second, third = self.network.head(features.view(len(features), 3, -1)).log_softmax(2).unbind(1)
        logits: Tensor = first[:, :, None, None] + second[:, None, :, None] + third[:, None, None, :]
        return logits.flatten(1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """A trained `cnn` classifier, the SHA-256 of its weights' file, and what it was trained on."""

    name: str  # names the figures: FID-MNIST
    network: Classifier | ChannelClassifier
    sha256: str
    accuracy: float  # on the test images, a share
    image_shape: tuple[int, int, int]  # (C, H, W)
    class_names: tuple[str, ...]
    dataset_sha256: str
    task: str = CLASSES  # TURNS if it was fitted without labels, and knows no classes

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @torch.no_grad()
    def read(self, images: Tensor) -> Reading:
        """Look at images uint8 [N, C, H, W]; those of another size or number of channels are made to fit."""
        channels, height, width = self.image_shape
        fitted = data.fit(Dataset(images=images, source="images"), f"{width}x{height}", channels).images
        features, probabilities = [], []
        for chunk in torch.split(fitted, _CHUNK):
            features.append(self.network.features(normalize(chunk)))
            probabilities.append(self.network.head(features[-1]).softmax(1))
        return Reading(torch.cat(features), torch.cat(probabilities))

    def describe(self) -> JudgeRecord:
        """Return what a result records of its judge."""
        return JudgeRecord(name=self.name, sha256=self.sha256, accuracy=round(self.accuracy, 5))


def to_tensor(images: NDArray[Any]) -> Tensor:
    """uint8 [N, H, W, C] as a generator samples them -> uint8 [N, C, H, W] as a judge reads them."""
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
    judge that an earlier version kept for the source is returned.

    Raises UsageError, with `advice` on how to train a judge, if there is none, and FileError for a damaged one. By
    default this is the command that trains one on images read as `reading` says.
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
    """Return the advice to type the command that trains the judge of a source, on images read as `reading` says."""
    place = "" if data_dir is None else f" --data-dir {shlex.quote(str(data_dir))}"
    flags = place + reading_flags(reading or {})
    return f"type: ganzoo evaluate --fit-judge --dataset {shlex.quote(source)}{flags}"


def _by_channel(judge: Judge) -> Judge:
    """Return the judge of images whose three channels are such images as `judge` knows."""
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
    """Return where earlier versions kept the judge of a source: next to the data, or in the cache."""
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

    It tells the classes apart, or if there are no labels how images are turned (see `turn`).

    Args:
        name: what its figures are called by, as in FID-MNIST.
        train, test: what it learns from, and what its accuracy is measured on.
        path: the file that it is written to.
        epochs: passes of the images; None for EPOCHS, or as many as LEAST_UPDATES take, of few images.
        margin: what is expected of its accuracy, as a share of the way from guessing to 1; None for nothing.
        seed: of its weights and batches.
        on_epoch: is called after the last epoch, and on the way about EPOCHS times.

    Raises: UsageError for one that is too weak to judge; nothing is written then.
    """
    labelled = train.labels is not None and test.labels is not None
    learnt, tested = (part.labelled if labelled else turn(part) for part in (train, test))
    assert learnt.num_classes is not None, "it has classes or turns"
    assert tested.labels is not None, "and so has the test"
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
    assert learnt.labels is not None, "there is something to learn"
    assert tested.labels is not None, "and to test"
    assert learnt.num_classes is not None, "of so many classes"
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
    """Raise UsageError for an accuracy that is hardly better than naming the most frequent class."""
    chance = max(tested.class_counts or (0,)) / len(tested)
    expected = chance + margin * (1 - chance)
    if accuracy < expected:
        raise UsageError(
            f"the judge of {tested.source} is too weak: it has {accuracy:.1%} of the test images right, where guessing "
            f"has {chance:.1%}; expected at least {expected:.1%}: it takes more images, or labels that show in them"
        )


def turn(dataset: Dataset) -> Dataset:
    """Return each image as it is and turned, labelled by how (Gidaris et al. 2018, arXiv:1803.07728).

    By 0, 90, 180 and 270 degrees if images are square, else by 0 and 180. Whoever tells these apart has learnt what the
    images show, without a label.
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
    """The judge in the file at `path`, whose SHA-256 is `pinned`, or written into it when it was trained.

    Raises FileError, with `advice` on how to train it again, for one that is damaged; also for one of a newer version.
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
    """What a judge's file says of it."""

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
        f"{path} is not the judge that this version of ganzoo pins: install it again"
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
    """Return the network of a judge's file. Raises ValueError for tensors of other shapes, before it takes memory."""

    def make() -> Classifier:
        return CLASSIFIERS[record.classifier](record.image_shape, len(record.class_names))

    with torch.device("meta"):
        shapes = {name: value.shape for name, value in make().state_dict().items()}
    if shapes != {name: value.shape for name, value in tensors.items()}:
        raise ValueError("its tensors do not fit its network")
    with torch.random.fork_rng(devices=[]):  # the first weights are replaced at once
        network = make()
    network.load_state_dict(tensors)
    return network


def _metadata(content: bytes) -> dict[str, str]:
    """The strings in a safetensors file's header: eight bytes of length, then JSON."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return metadata
