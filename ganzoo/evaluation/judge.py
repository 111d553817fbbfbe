"""The judge: the one pinned classifier in whose features every figure about a data set's generators is measured.

MNIST's (for `mnist` and `mnist-5k`) ships with the package, and its SHA-256 is written below. Any other labelled data
set gets its own by `ganzoo evaluate --fit-judge`, kept beside the data set and bound to it by hash. Figures of two
judges have different units: they are never comparable.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from ganzoo import data
from ganzoo.data import Dataset, normalize
from ganzoo.errors import FileError, UsageError
from ganzoo.evaluation.classifier import CLASSIFIERS, Classifier, CNNClassifier, Epoch, evaluate_classifier, fit
from ganzoo.files import atomic_write
from ganzoo.runs.records import JudgeRecord
from ganzoo.sealing import BLANK, is_sealed, seal

MNIST_SHA256 = "dc7a0e9fdd2faeab2a4ef805aecfb76e8982b9eddf5e77a1d9efb9bc70528861"
PINNED = {  # by source: the name of the file that ships, and its hash
    "mnist": ("mnist", MNIST_SHA256),
    "mnist-5k": ("mnist", MNIST_SHA256),
}
SCHEMA = 1
EPOCHS = 20  # of a judge's training
SUFFIX = ".judge.safetensors"
_CHUNK = 100  # images that the network reads at a time: fixed, for a matrix product rounds differently for another size


@dataclass(frozen=True)
class Reading:
    """What the judge sees in N images: `features` float32 [N, 64], `probabilities` float32 [N, num_classes]."""

    features: Tensor
    probabilities: Tensor

    @property
    def labels(self) -> Tensor:
        """The likeliest classes, int64 [N]."""
        return self.probabilities.argmax(1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """A trained `cnn` classifier, the SHA-256 of its weights' file, and what it was trained on."""

    name: str  # names the figures: FID-MNIST
    network: Classifier
    sha256: str
    accuracy: float  # on the test images, a share
    image_shape: tuple[int, int, int]  # (C, H, W)
    class_names: tuple[str, ...]
    dataset_sha256: str

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @torch.no_grad()
    def read(self, images: Tensor) -> Reading:
        """Look at images uint8 [N, C, H, W]; those of another size or number of channels are made to fit."""
        fitted = data.fit(Dataset(images=images, source="images"), self._size, self.image_shape[0]).images
        features, probabilities = [], []
        for chunk in torch.split(fitted, _CHUNK):
            features.append(self.network.features(normalize(chunk)))
            probabilities.append(self.network.head(features[-1]).softmax(1))
        return Reading(torch.cat(features), torch.cat(probabilities))

    @property
    def _size(self) -> int | None:
        """The side of square images; others are taken as they are."""
        return self.image_shape[1] if self.image_shape[1] == self.image_shape[2] else None

    def describe(self) -> JudgeRecord:
        """Return what a result records of its judge."""
        return JudgeRecord(name=self.name, sha256=self.sha256, accuracy=round(self.accuracy, 5))


def to_tensor(images: NDArray[Any]) -> Tensor:
    """uint8 [N, H, W, C] as a generator samples them -> uint8 [N, C, H, W] as a judge reads them."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def load_judge(source: str, data_dir: str | Path | None = None) -> Judge:
    """The judge of a data set's source, `mnist` or `npz:FILE`. Raises UsageError where there is none yet."""
    if source in PINNED:
        return _pinned_judge(*PINNED[source])
    path = judge_path(source, data_dir)
    if not path.is_file():
        raise UsageError(
            f"there is no judge for {source} yet: ganzoo evaluate --fit-judge --dataset {source} trains one"
        )
    return read_judge(path)


def judge_path(source: str, data_dir: str | Path | None = None) -> Path:
    """Where the judge of a data set lies: beside a file or folder, else in the folder of fetched data."""
    name, _, argument = source.partition(":")
    if argument and Path(argument).exists():
        place = Path(argument).absolute()
        return place.with_name(place.name + SUFFIX)
    return data.data_folder(data_dir) / f"{name}-{hashlib.sha256(source.encode()).hexdigest()[:12]}{SUFFIX}"


def fit_judge(
    name: str,
    train: Dataset,
    test: Dataset,
    path: str | Path,
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Judge:
    """Train a judge on a labelled data set and write it to `path`. Raises UsageError for one without labels."""
    if train.labels is None or train.num_classes is None or test.labels is None:
        raise UsageError(
            f"{train.source} has no labels, and a judge is a classifier: no figure of its generators is available"
        )
    learnt, tested = train.labelled, test.labelled
    assert learnt.labels is not None, "some images have labels"
    assert tested.labels is not None, "so have those of the test"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CNNClassifier(train.image_shape, train.num_classes)
        batch_size = min(128, len(learnt))
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
            on_epoch=on_epoch,
        )
    _, accuracy = evaluate_classifier(network, tested.images, tested.labels)
    record = {
        "schema": SCHEMA,
        "classifier": "cnn",
        "name": name,
        "accuracy": round(accuracy, 5),
        "image_shape": train.image_shape,
        "class_names": train.class_names or [str(label) for label in range(train.num_classes)],
        "dataset": train.source,
        "dataset_sha256": train.sha256,
        "epochs": epochs,
        "seed": seed,
        "torch": torch.__version__,
    }
    tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
    atomic_write(path, seal(safetensors.torch.save(tensors, {"judge": json.dumps(record), "sha256": BLANK})))
    return read_judge(Path(path))


def read_judge(path: Path, pinned: str | None = None) -> Judge:
    """The judge in the file at `path`, whose SHA-256 is `pinned`, or written into it when it was trained.

    Raises FileError for one that is damaged or of a newer version.
    """
    try:
        return _judge(path.read_bytes(), path, pinned)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror}") from None


@cache
def _pinned_judge(name: str, sha256: str) -> Judge:
    return read_judge(Path(str(files("ganzoo.evaluation") / f"{name}{SUFFIX}")), sha256)


def _judge(content: bytes, path: Path, pinned: str | None) -> Judge:
    sha256 = hashlib.sha256(content).hexdigest()
    damaged = FileError(
        f"{path} is not the judge that this version of ganzoo pins: install it again"
        if pinned
        else f"{path} is damaged; train the judge again (ganzoo evaluate --fit-judge)"
    )
    try:
        tensors, metadata = safetensors.torch.load(content), _metadata(content)
        record = json.loads(metadata["judge"])
        if record["schema"] > SCHEMA:
            raise FileError(f"{path} has judge schema {record['schema']}, this ganzoo reads up to {SCHEMA}: upgrade it")
        if sha256 != pinned if pinned else not is_sealed(content, metadata["sha256"]):
            raise damaged
        shape = tuple(record["image_shape"])
        with torch.random.fork_rng(devices=[]):  # the first weights are replaced at once
            network = CLASSIFIERS[record["classifier"]](shape, len(record["class_names"]))
        network.load_state_dict(tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, FileError):
            raise
        raise damaged from None
    return Judge(
        name=record["name"],
        network=network.eval().requires_grad_(False),
        sha256=sha256,
        accuracy=float(record["accuracy"]),
        image_shape=shape,
        class_names=tuple(record["class_names"]),
        dataset_sha256=record["dataset_sha256"],
    )


def _metadata(content: bytes) -> dict[str, str]:
    """The strings in a safetensors file's header: eight bytes of length, then JSON."""
    length = int.from_bytes(content[:8], "little")
    metadata: dict[str, str] = json.loads(content[8 : 8 + length])["__metadata__"]
    return metadata
