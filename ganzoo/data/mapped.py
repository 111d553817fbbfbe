"""Images that stay in a file: where they lie in it, how they are read, their hash, and the cache of decoded ones.

A set that is larger than the memory allowed is mapped, not loaded: its pages come and go as they are looked at. What
goes through all of it (training, hashing) reads blocks of the file instead, so that memory stays bounded and a file
that changes on the way is an error and no crash.
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
_CHUNK_BYTES = 4_000_000  # read at a time where all is read

Shape = tuple[int, int, int, int]  # (N, C, H, W)


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """N images, uint8, one after the other in a file from `offset` on; raises FileError where the file changed since.

    Each is [C, H, W], or [H, W, C] where `channels_last`. `stamp` is the file's size and time of change, ns. `crc` is
    the CRC-32 of what comes before the images in an archive's member, and that of the whole member.
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
        """Of one image as it lies in the file."""
        channels, height, width = self.shape[1:]
        return (height, width, channels) if self.channels_last else (channels, height, width)

    def arranged(self, images: Tensor) -> Tensor:
        """[n, *stored_shape] -> [n, C, H, W], contiguous."""
        return images.permute(0, 3, 1, 2).contiguous() if self.channels_last else images

    def open(self) -> FileIO:
        """The file, unbuffered, to `fill` from."""
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
        """Raise FileError unless the open file is as it was when it was looked at first."""
        if stamp_of(os.fstat(file.fileno())) != self.stamp:
            raise FileError(f"{self.path} was changed while it was in use: start again")

    def fill(self, file: FileIO, images: NDArray[np.uint8], start: int) -> None:
        """Read into `images`, contiguous [n, *stored_shape], the n images from number `start` on."""
        view = images.data.cast("B")
        file.seek(self.offset + start * self.image_bytes)
        while view:
            count = file.readinto(view)
            if not count:
                raise FileError(f"{self.path} ends too early: it was cut short while it was in use")
            view = view[count:]

    def images(self) -> Tensor:
        """All of them, uint8 [N, C, H, W], mapped and not read: to be indexed, never written to."""
        with self.open() as file:
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        pixels = np.frombuffer(mapping, np.uint8, math.prod(self.shape), self.offset)
        with warnings.catch_warnings(action="ignore"):  # torch warns of memory that cannot be written to
            images = torch.from_numpy(pixels).view(self.shape[0], *self.stored_shape)
        return images.permute(0, 3, 1, 2) if self.channels_last else images

    def sha256(self, labels: bytes) -> str:
        """`Dataset.sha256` of these images with the labels' bytes. All is read once, and the result kept in the cache.

        Raises FileError where the images are not those that the archive's checksum was made of.
        """
        parts = [SCHEMA, str(self.path), self.stamp, self.offset, self.shape, self.channels_last, self.crc]
        key = hashlib.sha256(json.dumps(parts).encode() + hashlib.sha256(labels).digest()).hexdigest()[:32]
        place = cache_folder("hashes") / f"{key}.json"
        with suppress(FileError):
            if (kept := read_sealed(place, ("images",))) is not None:
                return str(kept["images"])
        sha256 = self._hashed(labels)
        with suppress(MachineError):  # a cache that cannot be written is done without
            write_sealed(place, {"path": str(self.path), "images": sha256})
        return sha256

    def checksum(self) -> int:
        """Return the CRC-32 of all images as they lie in the file."""
        crc = 0
        for chunk in self._chunks():
            crc = zlib.crc32(chunk.data, crc)
        return crc

    def _hashed(self, labels: bytes) -> str:
        digest = hashlib.sha256(repr(self.shape).encode())
        crc = self.crc[0] if self.crc else 0
        for chunk in self._chunks():
            if self.crc:
                crc = zlib.crc32(chunk.data, crc)
            digest.update(self.arranged(torch.from_numpy(chunk)).numpy().data)
        if self.crc and crc != self.crc[1]:
            raise FileError(f"{self.path} is damaged: its images do not have the checksum that it states (CRC-32)")
        digest.update(labels)
        return digest.hexdigest()

    def _chunks(self) -> Iterator[NDArray[np.uint8]]:
        """All images in their order, [n, *stored_shape] at a time, in the same memory."""
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
    """What a data set knows of its images where they stay in a file: `memory` is what was allowed for them, in MB."""

    file: ImageFile
    memory: int
    sha256: str


@dataclass(frozen=True)
class DecodedImages:
    """A place in the cache for images that cannot be read where they lie, as a .npy file [N, C, H, W].

    `source` and its settings say which images, `state` which version of them: of a source, one version is kept.
    """

    source: tuple[Any, ...]
    state: tuple[Any, ...]

    @property
    def path(self) -> Path:
        return cache_folder("images") / f"{cache_key(self.source)}-{cache_key(self.state)}.npy"

    def find(self) -> ImageFile | None:
        """Return what was kept, if it is there and whole; warn of what was damaged.

        All of it is read for its checksum: a byte that a disk or a program changed would train on other images.
        """
        found = self._look()
        try:
            whole = found is not None and found.checksum() == self._kept()["crc"]
        except FileError:  # replaced by another process meanwhile
            return None
        if found is not None and not whole:
            warnings.warn(f"{self.path} cannot be relied on: the images are decoded again", stacklevel=2)
        return found if whole else None

    def _look(self) -> ImageFile | None:
        """Return what was kept if it has the right form and size; none of its pixels is read."""
        try:
            kept = self._kept()
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
        """Return what was done to the images that were kept. Raises FileError if that cannot be read."""
        return tuple(map(str, self._kept()["notes"]))

    def _kept(self) -> dict[str, Any]:
        place = self.path.with_suffix(".json")
        kept = read_sealed(place, ("notes", "crc", "shape"))
        if kept is None:
            raise FileError(f"{place} is missing or damaged: delete it, and the images are decoded again")
        return kept

    def make(
        self,
        shape: Shape,
        images: Iterable[NDArray[np.uint8]],
        describe: Callable[[], Sequence[str]] = tuple,
    ) -> ImageFile:
        """Keep `images`, each [C, H, W] or several [n, C, H, W], N in all, unless another process has meanwhile.

        Once all are there, `describe` says what was done to them, for `notes`.

        Raises MachineError where the disk has no room for them, and whatever making them raises: then nothing is kept.
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
                with suppress(OSError):  # where what another process reads cannot be removed it stays
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
        made = self._look()
        if made is None:
            raise MachineError(f"{self.path} is not what was written there: look at the disk, and try again")
        return made


def cache_folder(kind: str) -> Path:
    """Where decoded images ("images") and hashes ("hashes") are kept; all of it may be deleted at any time."""
    return Path(platformdirs.user_cache_dir("ganzoo")) / kind


def stamp_of(status: os.stat_result) -> tuple[int, int]:
    """A file's size in bytes and its time of change in ns: by them it is taken for the same."""
    return status.st_size, status.st_mtime_ns


def read_npy_header(file: Any) -> tuple[Any, bool, "np.dtype[Any]"]:
    """The shape, whether it is in Fortran's order, and the type of the array that begins here. Raises ValueError."""
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
            f"{needed / MB:,.0f} MB of images have to be decoded into {folder}, where {free / MB:,.0f} MB are free: "
            "free some space, make them smaller (--image-size), or allow more memory (--set data.memory=N, in MB)"
        )
