"""Packed folders of images: `zip:FILE` and `tar:FILE`, unpacked once into the cache and then read as folders are.

Everything in an archive is taken for hostile: only regular files with an image's suffix are unpacked, under names that
stay within, up to MAX_BYTES each and in all what the disk has room for.
"""

import errno
import gzip
import hashlib
import lzma
import shutil
import stat
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

import filelock

from ganzoo.data.dataset import Dataset, Request
from ganzoo.data.files import requested_path
from ganzoo.data.folder import read_folder
from ganzoo.data.mapped import cache_folder, cache_key, stamp_of
from ganzoo.data.memory import MB
from ganzoo.data.scanning import MAX_FILES
from ganzoo.errors import FileError, GanzooError, MachineError, first_line
from ganzoo.files import (
    HEIC_SUFFIXES,
    IMAGE_SUFFIXES,
    TEMPORARY_PATTERN,
    atomic_directory,
    read_json,
    writing,
)
from ganzoo.registry import datasets
from ganzoo.sealing import read_sealed, write_sealed

MAX_BYTES = 1_000_000_000  # of one image file, unpacked
MARGIN = 100_000_000  # bytes that are left free
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile),
    *(EOFError, ValueError, NotImplementedError, IndexError, struct.error),
)  # what a broken archive makes of its readers
NOTES = "notes.json"  # beside the folder of images


@datasets.register("zip", aliases=("tar",))
def archive(request: Request) -> Dataset:
    """`zip:FILE` or `tar:FILE` (also packed by gzip, bzip2 or xz), read as the folder that it holds.

    Folders that hold nothing but one other folder are left out at the top. Raises FileError; MachineError for a disk
    without room.
    """
    path = requested_path(request, f"{request.name}:FILE", splits=True)
    place, notes = unpack(path)
    return read_folder(place, request, f"{request.name}:{path}", notes)


def unpack(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return where an archive's images are, and what is to be reported; they are unpacked if that was not done before.

    What was unpacked of the archive before it changed is deleted, also while another process reads it. Raises FileError
    for a damaged archive, MachineError for a disk without room.
    """
    name = cache_key((str(path.resolve()),))
    place = cache_folder("archives") / f"{name}-{cache_key(stamp_of(path.stat()))}"
    with writing(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(place.parent / ".lock"):
        if (kept := _kept(place)) is None:
            former = {*place.parent.glob(TEMPORARY_PATTERN), *place.parent.glob(f"{name}-*")} - {place}
            with atomic_directory(place) as made:
                kept = {"notes": _unpack(path, made)}
                write_sealed(made / NOTES, {**kept, "files": _state(made / "images")})
            for stale in former:  # what was not finished, and the archive before it changed
                shutil.rmtree(stale, ignore_errors=True)
    return _top((place / "images").resolve()), tuple(map(str, kept["notes"]))


def _kept(place: Path) -> dict[str, Any] | None:
    """Return what was kept of unpacked images, if they are as they were then; warn of what was changed."""
    try:
        if "sha256" not in (read_json(place / NOTES) or {}):  # nothing there, or of a version that sealed nothing
            return None
        kept = read_sealed(place / NOTES, ("notes", "files"))
        whole = kept is not None and kept["files"] == _state(place / "images")
    except (FileError, OSError):
        whole = False
    if not whole:
        warnings.warn(f"{place} cannot be relied on: the archive is unpacked again", stacklevel=4)
        return None
    return kept


def _state(images: Path) -> str:
    """Return a digest of the names, kinds, sizes and times of change of all that lies in a folder."""
    digest = hashlib.sha256()
    for path in sorted(images.rglob("*")):
        status = path.lstat()
        stamp = () if stat.S_ISDIR(status.st_mode) else stamp_of(status)
        name = path.relative_to(images).as_posix()
        digest.update(f"{name}\0{stat.S_IFMT(status.st_mode)}\0{stamp}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _unpack(path: Path, made: Path) -> list[str]:
    """Write the images in an archive, and return what is to be reported. Raises FileError for a damaged archive."""
    aside: Counter[str] = Counter()
    notes: list[str] = []
    (made / "images").mkdir()
    try:
        for name, size, file in _members(path, aside, notes):
            _check_room(size, made, path)
            _write(file, size, made / "images" / name, path)
    except GanzooError:
        raise
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # no damage, which says either
            raise
        raise FileError(f"{path} cannot be read ({first_line(error)}): expected a zip or tar of images") from error
    except RuntimeError as error:  # of zipfile, for an encrypted one
        raise FileError(f"{path} cannot be unpacked ({error})") from error
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in aside.items())
    return [*([f"not unpacked: {kinds}"] if kinds else []), *notes]


def _members(path: Path, aside: Counter[str], notes: list[str]) -> Iterator[tuple[PurePosixPath, int, IO[bytes]]]:
    """Yield the images in an archive, by their names within; count what is left aside by kind, and add to `notes`."""
    count = 0
    packed = _zip_members(path) if zipfile.is_zipfile(path) else _tar_members(path, notes)
    for name, size, regular, file in packed:
        inner = PurePosixPath(name.replace("\\", "/"))
        kind = _kind_aside(inner, regular)
        if kind is not None:
            aside[kind] += 1
            continue
        if size > MAX_BYTES:
            raise FileError(f"{path}: {name} has {size / MB:,.0f} MB: at most {MAX_BYTES / MB:,.0f}")
        count += 1
        if count > MAX_FILES:
            raise FileError(f"{path} has more than {MAX_FILES:,} images: expected no more")
        yield inner, size, file


def _kind_aside(name: PurePosixPath, regular: bool) -> str | None:
    """Return what kind of member is left aside, None for an image."""
    if not regular:
        return "links or devices"
    if name.is_absolute() or ".." in name.parts:
        return "names that lead out of the archive"
    if any(part.startswith((".", "__MACOSX")) for part in name.parts):
        return "hidden files"
    suffix = name.suffix.lower()
    return None if suffix in IMAGE_SUFFIXES + HEIC_SUFFIXES else suffix or "files without a suffix"


def _zip_members(path: Path) -> Iterator[tuple[str, int, bool, IO[bytes]]]:
    with zipfile.ZipFile(path) as opened:
        for info in opened.infolist():
            if not info.is_dir():
                regular = (info.external_attr >> 28) in (0, 8)  # of Unix: no mode, or that of a regular file
                with opened.open(info) as file:
                    yield info.filename, info.file_size, regular, file


def _tar_members(path: Path, notes: list[str]) -> Iterator[tuple[str, int, bool, IO[bytes]]]:
    with tarfile.open(path) as opened:
        for info in opened:
            if not info.isdir():
                file = opened.extractfile(info) if info.isfile() else None
                yield info.name, info.size, file is not None, file  # type: ignore[misc]  # read only if it is regular
        assert opened.fileobj is not None, "it is open"
        opened.fileobj.seek(opened.offset)
        if opened.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes a cut for the end
            notes.append(f"{path.name} does not end as a tar does: it may be damaged, or cut short")


def _write(file: IO[bytes], size: int, place: Path, path: Path) -> None:
    """Write an unpacked member of the size that the archive states."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("xb") as out:
            left = size + 1
            while left and (chunk := file.read(min(left, 1_000_000))):
                out.write(chunk)
                left -= len(chunk)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EROFS):
            raise
        raise FileError(f"{path}: {place.name} cannot be unpacked under its name ({error.strerror})") from error
    if left != 1:
        raise FileError(f"{path}: {place.name} does not have the {size:,} bytes that the archive states")


def _check_room(size: int, place: Path, path: Path) -> None:
    free = shutil.disk_usage(place).free
    if free < size + MARGIN:
        raise MachineError(
            f"{path} has to be unpacked into {place.parent}, where {free / MB:,.0f} MB are free: free some"
        )


def _top(place: Path) -> Path:
    """Return the first folder from the top that holds more than one other folder."""
    while True:
        entries = list(place.iterdir())
        if len(entries) != 1 or not entries[0].is_dir():
            return place
        place = entries[0]
