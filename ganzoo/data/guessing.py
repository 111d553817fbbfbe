"""Sources of bare paths: `photos/` is folder:photos/, `digits.npz` is npz:digits.npz, and so on."""

import os
import tarfile
import zipfile
from pathlib import Path

from ganzoo.errors import FileError
from ganzoo.files import HEIC_SUFFIXES, IMAGE_SUFFIXES
from ganzoo.registry import datasets

SUFFIXES = {
    **dict.fromkeys((".zip",), "zip"),
    **dict.fromkeys((".tar", ".tgz", ".tbz2", ".txz"), "tar"),
    **{f".{name}": name for name in ("npz", "npy", "csv", "parquet")},
}
FOREIGN = {  # other common files, and how a message describes them
    **dict.fromkeys(
        (".pt", ".pth", ".pkl", ".pickle", ".joblib"), "a pickle, which could run any code and is never opened"
    ),
    **dict.fromkeys((".h5", ".hdf5", ".mat"), "an HDF5 or MATLAB file, which is not supported"),
    **dict.fromkeys((".rar", ".7z"), "an archive in an unsupported format: unpack it, or pack it as zip"),
}
IDX = b"\0\0"  # the first bytes of an IDX file


def name_source(source: str) -> str:
    """Return the source that a bare path stands for; anything else is returned unchanged.

    A bare path contains a separator or a suffix, or exists. Any other word is the name of a source, and so is each name
    of a registered source. Raises FileError if the path does not exist or is not a file or folder of images.
    """
    name, colon, _ = source.partition(":")
    if name in datasets or (colon and len(name) > 1):  # a single letter is a drive of Windows
        return source
    path = Path(os.path.expanduser(source))  # noqa: PTH111 - Path's raises for an unknown user
    if not path.exists():
        if not (path.suffix or os.sep in source or "/" in source):
            return source
        raise FileError(f"{source} does not exist: expected a folder or file of images, or the name of a source")
    return f"{_kind(path)}:{source}"


def _kind(path: Path) -> str:
    if path.is_dir():
        packed = next(path.glob("*.parquet"), None) or next(path.glob("data/*.parquet"), None)
        return "parquet" if packed else "folder"
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    if suffix in FOREIGN:
        raise FileError(
            f"{path} is {FOREIGN[suffix]}; save images and labels as arrays: numpy.savez(FILE, images=, labels=)"
        )
    if suffix in IMAGE_SUFFIXES + HEIC_SUFFIXES:
        raise FileError(f"{path} is a single image: give the folder that contains the images")
    if path.is_file():
        with path.open("rb") as file:
            head = file.read(4)
        if head[:2] == IDX or "idx" in path.name:
            return "idx"
        if zipfile.is_zipfile(path):
            return "zip"
        if tarfile.is_tarfile(path):
            return "tar"
    kinds = ", ".join(sorted(set(SUFFIXES.values())))
    raise FileError(f"{path} is not recognised as images: expected a folder, or a file of the formats {kinds} or idx")
