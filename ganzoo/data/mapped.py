"""Images that stay in a file: their position, how they are read, their hash, and the cache of decoded images.

A set that exceeds the memory budget is mapped, not loaded: the system loads its pages when they are accessed. Training
and hashing, which need all images, read blocks of the file instead. So memory stays bounded, and a file that changes
meanwhile causes an error, not a crash.
"""

import hashlib
import json
import math
import mmap
import os
import shutil
import tokenize
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import platformdirs
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganzoo.data.memory import MB
from ganzoo.errors import FileError, MachineError, first_line
from ganzoo.files import TEMPORARY_PATTERN, atomic_file, writing
from ganzoo.sealing import read_sealed, write_sealed

SCHEMA = 1
_CHUNK_BYTES = 4_000_000  # read at once when all images are read

Shape = tuple[int, int, int, int]  # (N, C, H, W)


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """N uint8 images in a file, one after another from `offset` on; raises FileError if the file has changed.

    Each is [C, H, W], or [H, W, C] if `channels_last`. `stamp` is the file's size and modification time in ns. `crc` is
    the CRC-32 of the part of an archive's member before the images, and that of the whole member.
    """

    path: Path
    offset: int
    shape: Shape
    channels_last: bool = False
    stamp: tuple[int, int]
    crc: tuple[int, int] | None = None

    @property
    def image_bytes(self) -> int:
        return math.prod(self.shape[1:])

    @property
    def stored_shape(self) -> tuple[int, int, int]:
        """Return the shape of one image in the file."""
        channels, height, width = self.shape[1:]
        return (height, width, channels) if self.channels_last else (channels, height, width)

    def arranged(self, images: Tensor) -> Tensor:
        """Convert images [n, *stored_shape] to [n, C, H, W], contiguous."""
        return images.permute(0, 3, 1, 2).contiguous() if self.channels_last else images

    def open(self) -> FileIO:
        """Open the file, unbuffered, for `fill`."""
        try:
            file = FileIO(self.path)
        except OSError as error:
            raise FileError(f"{self.path} cannot be read any more: {error.strerror}") from None
        try:
            self.check(file)
        except FileError:
            file.close()
            raise
        return file

    def check(self, file: FileIO) -> None:
        """Raise FileError if the open file has changed since it was first read."""
        if stamp_of(os.fstat(file.fileno())) != self.stamp:
            raise FileError(f"{self.path} was changed while it was in use: start again")

    def fill(self, file: FileIO, images: NDArray[np.uint8], start: int) -> None:
        """Read n images, from number `start` on, into `images`, contiguous [n, *stored_shape]."""
        view = images.data.cast("B")
        file.seek(self.offset + start * self.image_bytes)
        while view:
            count = file.readinto(view)
            if not count:
                raise FileError(f"{self.path} ends too early: it was truncated while it was in use")
            view = view[count:]

    def images(self) -> Tensor:
        """Return all images, uint8 [N, C, H, W], mapped, not read: index them, but never write to them."""
        with self.open() as file:
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        pixels = np.frombuffer(mapping, np.uint8, math.prod(self.shape), self.offset)
        with warnings.catch_warnings(action="ignore"):  # torch warns of memory that cannot be written to
            images = torch.from_numpy(pixels).view(self.shape[0], *self.stored_shape)
        return images.permute(0, 3, 1, 2) if self.channels_last else images

    def sha256(self, labels: bytes) -> str:
        """Return `Dataset.sha256` of these images with the labels' bytes, computed once and then kept in the cache.

        Raises FileError if the images do not match the archive's checksum.
        """
        parts = [SCHEMA, str(self.path), self.stamp, self.offset, self.shape, self.channels_last, self.crc]
        key = hashlib.sha256(json.dumps(parts).encode() + hashlib.sha256(labels).digest()).hexdigest()[:32]
        place = cache_folder("hashes") / f"{key}.json"
        with suppress(FileError):
            if (kept := read_sealed(place, ("images",))) is not None:
                return str(kept["images"])
        sha256 = self._hash_images(labels)
        with suppress(MachineError):  # if the cache cannot be written, the hash is not kept
            write_sealed(place, {"path": str(self.path), "images": sha256})
        return sha256

    def checksum(self) -> int:
        """Return the CRC-32 of all images as stored in the file."""
        crc = 0
        for chunk in self._chunks():
            crc = zlib.crc32(chunk.data, crc)
        return crc

    def _hash_images(self, labels: bytes) -> str:
        digest = hashlib.sha256(repr(self.shape).encode())
        crc = self.crc[0] if self.crc else 0
        for chunk in self._chunks():
            if self.crc:
                crc = zlib.crc32(chunk.data, crc)
            digest.update(self.arranged(torch.from_numpy(chunk)).numpy().data)
        if self.crc and crc != self.crc[1]:
            raise FileError(f"{self.path} is damaged: its images do not match its checksum (CRC-32)")
        digest.update(labels)
        return digest.hexdigest()

    def _chunks(self) -> Iterator[NDArray[np.uint8]]:
        """Yield all images in order, [n, *stored_shape] at a time, each time in the same memory."""
        count = self.shape[0]
        room = np.empty((min(count, max(1, _CHUNK_BYTES // self.image_bytes)), *self.stored_shape), np.uint8)
        with self.open() as file:
            for start in range(0, count, len(room)):
                chunk = room[: count - start]
                self.fill(file, chunk, start)
                yield chunk
            self.check(file)


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """The file of a data set's images that stay on disk, their memory budget `memory` in MB, and their hash."""

    file: ImageFile
    memory: int
    sha256: str


@dataclass(frozen=True)
class DecodedImages:
    """A .npy file [N, C, H, W] in the cache, for images that cannot be mapped in their own file.

    `source` identifies the images with their settings, `state` their version. Only one version of a source is kept.
    """

    source: tuple[Any, ...]
    state: tuple[Any, ...]

    @property
    def path(self) -> Path:
        return cache_folder("images") / f"{cache_key(self.source)}-{cache_key(self.state)}.npy"

    def find(self) -> ImageFile | None:
        """Return the images in the cache if they are there and undamaged; warn if they are damaged.

        All of them are read for their checksum: if a disk or a program had changed a byte, training would use it.
        """
        found = self._open_kept()
        try:
            whole = found is not None and found.checksum() == self._read_record()["crc"]
        except FileError:  # replaced by another process meanwhile
            return None
        if found is not None and not whole:
            warnings.warn(f"{self.path} is damaged: decoding the images again", stacklevel=2)
        return found if whole else None

    def _open_kept(self) -> ImageFile | None:
        """Return the images in the cache if their type, shape and file size are right, without reading them."""
        try:
            kept = self._read_record()
            with self.path.open("rb") as file:
                shape, fortran_order, dtype = read_npy_header(file)
                found = ImageFile(
                    path=self.path, offset=file.tell(), shape=shape, stamp=stamp_of(os.fstat(file.fileno()))
                )
        except (OSError, ValueError, FileError):
            return None
        whole = found.offset + math.prod(shape) == found.stamp[0]
        whole = whole and kept["shape"] == list(shape)
        return found if len(shape) == 4 and dtype == np.uint8 and not fortran_order and whole else None

    def notes(self) -> tuple[str, ...]:
        """Return the notes on the images in the cache. Raises FileError if the record cannot be read."""
        return tuple(map(str, self._read_record()["notes"]))

    def _read_record(self) -> dict[str, Any]:
        place = self.path.with_suffix(".json")
        kept = read_sealed(place, ("notes", "crc", "shape"))
        if kept is None:
            raise FileError(f"{place} is missing or damaged: delete it to decode the images again")
        return kept

    def make(
        self,
        shape: Shape,
        images: Iterable[NDArray[np.uint8]],
        describe: Callable[[], Sequence[str]] = tuple,
    ) -> ImageFile:
        """Write N `images`, each [C, H, W] or several [n, C, H, W], unless another process has already done so.

        After the last image, `describe` returns the notes on them, for `notes`.

        Raises MachineError if the disk has no room. If iterating over `images` raises, nothing is kept.
        """
        folder = self.path.parent
        lock = filelock.FileLock(folder / ".lock")
        with writing(lock.lock_file):
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        try:
            if (found := self.find()) is not None:
                return found
            for stale in [*folder.glob(TEMPORARY_PATTERN), *folder.glob(f"{cache_key(self.source)}-*")]:
                with suppress(OSError):  # a file that another process reads may not be removable
                    stale.unlink()
            _check_room(folder, math.prod(shape))
            with atomic_file(self.path) as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                crc = 0
                for part in images:
                    pixels = np.ascontiguousarray(part).data
                    crc = zlib.crc32(pixels, crc)
                    file.write(pixels)
                record = {"notes": list(describe()), "crc": crc, "shape": shape}
                write_sealed(self.path.with_suffix(".json"), record)
        finally:
            lock.release()
        made = self._open_kept()
        if made is None:
            raise MachineError(f"{self.path} is not what was written there: check the disk, and try again")
        return made


def cache_folder(kind: str) -> Path:
    """Return the cache folder for decoded images ("images") or hashes ("hashes"); it may be deleted at any time."""
    return Path(platformdirs.user_cache_dir("ganzoo")) / kind


def stamp_of(status: os.stat_result) -> tuple[int, int]:
    """Return a file's size in bytes and its modification time in ns; a file with the same stamp counts as unchanged."""
    return status.st_size, status.st_mtime_ns


def read_npy_header(file: Any) -> tuple[Any, bool, "np.dtype[Any]"]:
    """Return shape, whether the order is Fortran's, and type of the array that begins here. Raises ValueError."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of the .npy format")
    try:
        return readers[version](file)
    except (tokenize.TokenError, SyntaxError, RecursionError, MemoryError, TypeError) as error:
        raise ValueError(f"its header is damaged: {first_line(error)}") from None


def cache_key(parts: tuple[Any, ...]) -> str:
    return hashlib.sha256(json.dumps([SCHEMA, *parts]).encode()).hexdigest()[:16]


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise MachineError(
            f"{needed / MB:,.0f} MB of images must be decoded into {folder}, which has only {free / MB:,.0f} MB free: "
            "free some space, make them smaller (--image-size), or allow more memory (--set data.memory=N, in MB)"
        )
