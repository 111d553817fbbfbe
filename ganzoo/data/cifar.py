"""CIFAR-10 (Krizhevsky 2009): `cifar10`, 50,000 + 10,000 small photographs in colour, of ten classes.

Its batches are pickles, which could run any code. A batch is read only if its bytes have the published MD5, and only by
an unpickler that admits dictionaries, lists, numbers, strings and numpy arrays and refuses everything else.
"""

import gzip
import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganzoo.data.dataset import Dataset, Request
from ganzoo.data.published import Published, get_files, refuse_argument
from ganzoo.errors import FileError
from ganzoo.registry import datasets

CIFAR10 = Published(
    source="cifar10",
    title="CIFAR10",
    files={
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
    archive=("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),
    folders=("cifar-10-batches-py",),
)
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@datasets.register("cifar10")
def cifar10(request: Request) -> Dataset:
    """50,000 training or 10,000 test photographs of ten classes (Krizhevsky 2009), 3 x 32 x 32; fetched if absent.

    The six batches are extracted from `cifar-10-python.tar.gz` (170 MB) if that is there or is fetched. Raises
    MachineError like `mnist`.
    """
    refuse_argument(request)
    found = get_files(CIFAR10, request)
    names = [name for name in CIFAR10.files if name.startswith("data") == (request.split == "train")]
    batches = [_read_batch(found[name], CIFAR10.files[name]) for name in names]
    pixels = np.concatenate([np.asarray(batch["data"], np.uint8) for batch in batches])
    return Dataset(
        images=torch.from_numpy(pixels.reshape(-1, 3, 32, 32)),
        labels=torch.tensor([label for batch in batches for label in batch["labels"]]),
        num_classes=len(CLASSES),
        class_names=CLASSES,
        source="cifar10",
    )


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler that admits only arrays and plain Python values."""

    ADMITTED = {  # noqa: RUF012 - named as in the numpy that wrote the batches
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def _read_batch(path: Path, md5: str) -> dict[str, Any]:
    """Return a batch: `data` uint8 [n, 3072], and `labels`. Raises FileError if its bytes have another MD5."""
    content = path.read_bytes()
    if path.suffix == ".gz":
        content = gzip.decompress(content)
    if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:  # of the bytes that are unpickled below
        raise FileError(f"{path} was changed while it was in use: start again")
    try:
        batch: dict[str, Any] = _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise FileError(f"{path} is not read: {error}; expected only arrays, lists and plain values") from error
    return batch
