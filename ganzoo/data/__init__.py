"""Data sets: `load` finds a source by its name, `from_arrays` converts your own arrays, `Loader` makes batches.

dataset = load("mnist")
dataset = load("folder:photos", image_size=64)
images, labels = Loader(dataset, batch_size=64, device="cpu", seed=0).batch(update=0)
"""

import os
from pathlib import Path
from typing import TypedDict, Unpack

import platformdirs

from ganzoo.data import (  # noqa: F401 - importing them registers their sources
    archives,
    celeba,
    cifar,
    faces,
    folder,
    idx,
    mnist,
    npz,
    tables,
)
from ganzoo.data.arrays import from_arrays
from ganzoo.data.dataset import Dataset, Request, check_size, fit
from ganzoo.data.guessing import name_source
from ganzoo.data.loader import Loader, normalize
from ganzoo.data.objects import from_object
from ganzoo.errors import UsageError
from ganzoo.files import check_name
from ganzoo.registry import datasets

__all__ = [
    "Dataset",
    "Loader",
    "ReadOptions",
    "Request",
    "data_folder",
    "fit",
    "from_arrays",
    "from_object",
    "load",
    "normalize",
]

SPLITS = ("train", "test")


class ReadOptions(TypedDict, total=False):
    """Options for reading images, named as in [data]. An option that is missing or None changes nothing."""

    image_size: int | str | None  # the side of squares in pixels, or "80x60": see `fit`
    channels: int | None  # 1 for grey, 3 for RGB, 4 for RGBA: see `fit`
    fit: str  # "crop", "pad" or "stretch", the `mode` of `fit`
    background: str  # a colour: see `fit`
    skip_broken: bool  # whether to skip image files that cannot be read
    bits: int | None  # of 16-bit grey values, 1 to 16; None: as many as the greatest value needs
    value_range: str | None  # for arrays of floats: "0..1", "-1..1" or "0..255"
    channels_first: bool  # whether arrays in files are [N, C, H, W] instead of [N, H, W, C]
    folders: str  # "auto" (the default), or "classes": each folder is a class, train/ and test/ too


def load(
    source: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    split: str = "train",
    download: bool = True,
    memory: int | None = None,
    **reading: Unpack[ReadOptions],
) -> Dataset:
    """Load the data set that `source` names: `NAME` or `NAME:ARGUMENT` (`ganzoo list datasets`).

    `data_dir` is the folder for fetched sets (see `data_folder`), `download` allows fetching. Images from a file or a
    folder that need more than `memory` MB (None: half of the free memory) stay on disk (docs/data.md). `reading` are
    the options for reading images. Raises a GanzooError.
    """
    image_size, channels = reading.get("image_size"), reading.get("channels")
    if split not in SPLITS:
        raise UsageError(f"no split '{split}': expected 'train' or 'test'")
    check_size(image_size, channels)
    check_name(source)
    name, colon, argument = name_source(source).partition(":")
    request = Request(
        name=name,
        argument=argument if colon else None,
        data_dir=data_folder(data_dir),
        **reading,
        split=split,
        download=download,
        memory=memory,
    )
    dataset: Dataset = datasets[name](request)
    mode, background = reading.get("fit", "crop"), reading.get("background", "white")
    return fit(dataset, image_size, channels, mode=mode, background=background)


def data_folder(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder for fetched data sets: `data_dir`, else $GANZOO_DATA_DIR, else the user's cache."""
    place = data_dir or os.environ.get("GANZOO_DATA_DIR") or platformdirs.user_cache_dir("ganzoo")
    return Path(os.path.expanduser(place))  # noqa: PTH111 - Path's raises for an unknown user
