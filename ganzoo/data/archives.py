"""Packed folders of images: `zip:FILE` and `tar:FILE`, unpacked once into the cache and then read like folders.

No archive is trusted: only regular files with the suffix of an image are unpacked, under names that stay inside the
folder, up to MAX_BYTES each and in total no more than the disk has room for.
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

MAX_BYTES = 1_000_000_000  # of one unpacked image file
MARGIN = 100_000_000  # bytes of the disk to leave free
DAMAGE = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile),
    *(EOFError, ValueError, NotImplementedError, IndexError, struct.error),
)  # what the readers raise for a damaged archive
NOTES = "notes.json"  # beside the folder of images


@datasets.register("zip", aliases=("tar",))
def archive(request: Request) -> Dataset:
    """`zip:FILE` or `tar:FILE` (also compressed with gzip, bzip2 or xz), read like the folder in it.

    Top folders that contain only one other folder are skipped. Raises FileError; MachineError if the disk has no room.
    """
    path = requested_path(request, f"{request.name}:FILE", splits=True)
    place, notes = unpack(path)
    return read_folder(place, request, f"{request.name}:{path}", notes)


def unpack(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the folder of an archive's images, and notes to report; unpack the archive if that was not done before.

    Files from an earlier version of the archive are deleted, even while another process reads them. Raises FileError
    for a damaged archive, MachineError if the disk has no room.
    """
    name = cache_key((str(path.resolve()),))
    place = cache_folder("archives") / f"{name}-{cache_key(stamp_of(path.stat()))}"
    with writing(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(place.parent / ".lock"):
        if (kept := _read_kept(place)) is None:
            earlier = {*place.parent.glob(TEMPORARY_PATTERN), *place.parent.glob(f"{name}-*")} - {place}
            with atomic_directory(place) as made:
                kept = {"notes": _unpack(path, made)}
                write_sealed(made / NOTES, {**kept, "files": _state(made / "images")})
            for stale in earlier:  # unfinished ones, and those of earlier versions of the archive
                shutil.rmtree(stale, ignore_errors=True)
    return _top((place / "images").resolve()), tuple(map(str, kept["notes"]))


def _read_kept(place: Path) -> dict[str, Any] | None:
    """Return the record of unpacked images; None if there is none, or (with a warning) if the images were changed."""
    try:
        if "sha256" not in (read_json(place / NOTES) or {}):  # nothing there, or written by a version without seals
            return None
        kept = read_sealed(place / NOTES, ("notes", "files"))
        whole = kept is not None and kept["files"] == _state(place / "images")
    except (FileError, OSError):
        whole = False
    if not whole:
        warnings.warn(f"{place} is damaged or was changed: unpacking the archive again", stacklevel=4)
        return None
    return kept


def _state(images: Path) -> str:
    """Return a digest of the names, types, sizes and modification times of everything in a folder."""
    digest = hashlib.sha256()
    for path in sorted(images.rglob("*")):
        status = path.lstat()
        stamp = () if stat.S_ISDIR(status.st_mode) else stamp_of(status)
        name = path.relative_to(images).as_posix()
        digest.update(f"{name}\0{stat.S_IFMT(status.st_mode)}\0{stamp}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _unpack(path: Path, made: Path) -> list[str]:
    """Write the images in an archive, and return notes to report. Raises FileError for a damaged archive."""
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
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # not damage
            raise
        raise FileError(f"{path} cannot be read ({first_line(error)}): expected a zip or tar of images") from error
    except RuntimeError as error:  # zipfile raises it for an encrypted archive
        raise FileError(f"{path} cannot be unpacked ({error})") from error
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in aside.items())
    return [*([f"not unpacked: {kinds}"] if kinds else []), *notes]


def _members(path: Path, aside: Counter[str], notes: list[str]) -> Iterator[tuple[PurePosixPath, int, IO[bytes]]]:
    """Yield the name, size and content of each image in an archive; count skipped members in `aside` by kind."""
    count = 0
    packed = _zip_members(path) if zipfile.is_zipfile(path) else _tar_members(path, notes)
    for name, size, regular, file in packed:
        inner = PurePosixPath(name.replace("\\", "/"))
        kind = _skipped_kind(inner, regular)
        if kind is not None:
            aside[kind] += 1
            continue
        if size > MAX_BYTES:
            raise FileError(f"{path}: {name} has {size / MB:,.0f} MB: expected at most {MAX_BYTES / MB:,.0f}")
        count += 1
        if count > MAX_FILES:
            raise FileError(f"{path} has more than {MAX_FILES:,} images: expected at most that many")
        yield inner, size, file


def _skipped_kind(name: PurePosixPath, regular: bool) -> str | None:
    """Return the kind of a member that is skipped, None for an image."""
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
                regular = (info.external_attr >> 28) in (0, 8)  # the file type of Unix: none, or a regular file
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
        if opened.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # which tarfile does not check
            notes.append(f"{path.name} has no end-of-archive mark: it may be damaged or truncated")


def _write(file: IO[bytes], size: int, place: Path, path: Path) -> None:
    """Write an unpacked member. Raises FileError unless it has the size that the archive states."""
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
            f"{path} must be unpacked into {place.parent}, which has only {free / MB:,.0f} MB free: free some space"
        )


def _top(place: Path) -> Path:
    """Return the first folder, from the top, that contains anything but one other folder."""
    while True:
        entries = list(place.iterdir())
        if len(entries) != 1 or not entries[0].is_dir():
            return place
        place = entries[0]
