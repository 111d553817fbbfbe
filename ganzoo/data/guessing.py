"""Which source a bare path is: `photos/` is folder:photos/, `digits.npz` is npz:digits.npz, and so on."""

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
FOREIGN = {  # what people have as well, and what to do with it
    **dict.fromkeys((".pt", ".pth", ".pkl", ".pickle", ".joblib"), "a pickle, which could run any code: never opened"),
    **dict.fromkeys((".h5", ".hdf5", ".mat"), "HDF5 or MATLAB's format, which is not read"),
    **dict.fromkeys((".rar", ".7z"), "an archive of a kind that is not read: unpack it, or pack it as zip"),
}
IDX = b"\0\0"  # how an IDX file begins


def name_source(source: str) -> str:
    """Return a source by the name of its kind, if it is a bare path; anything else as it is.

    A bare path has a separator or a suffix in it, or something lies there; any other word is the name of a source, and
    that of a source always is. Raises FileError for a path where nothing lies, or something that cannot be trained on,
    which is named.
    """
    name, colon, _ = source.partition(":")
    if name in datasets or (colon and len(name) > 1):  # a single letter is a drive of Windows
        return source
    path = Path(os.path.expanduser(source))  # noqa: PTH111 - Path's refuses the name of a user that does not exist
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
        raise FileError(f"{path} is a single image: give the folder that holds the images")
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
    raise FileError(f"{path} is not recognised as images: expected a folder, or a file of the kinds {kinds} or idx")
