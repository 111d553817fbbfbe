"""Your own images as arrays: `npz:FILE`. Nothing in a file is unpickled."""

import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from ganzoo.data.dataset import NO_LABELS, Dataset, Request, check_numpy, fit, from_arrays, from_file, read_labels
from ganzoo.data.files import announce_decoding, requested_path
from ganzoo.data.mapped import DecodedImages, ImageFile, Shape, read_npy_header, stamp_of
from ganzoo.data.memory import MB, allowed_memory
from ganzoo.errors import FileError, GanzooError, UsageError
from ganzoo.registry import datasets

_UNPACKED_BYTES = 16_000_000  # of images that are unpacked and made to fit at a time


@dataclass(frozen=True, kw_only=True)
class _Member:
    """The array `images` of a .npz, of which only the header was read."""

    info: zipfile.ZipInfo
    given: tuple[int, ...]  # [N, H, W] or [N, H, W, C]
    header: bytes  # what comes before the images in the member

    @property
    def shape(self) -> Shape:
        """(N, C, H, W)."""
        count, height, width, *channels = self.given
        return count, channels[0] if channels else 1, height, width


@datasets.register("npz")
def npz(request: Request) -> Dataset:
    """`npz:FILE` with `images` uint8 [N, H, W] or [N, H, W, C], and `labels`, integers [N], where there are any.

    Images that do not fit into memory are mapped where they lie if the file is uncompressed (`numpy.savez`) and they
    need no fitting; else they are decoded into the cache. Raises FileError; MachineError for a cache without room.
    """
    path = requested_path(request, "npz:FILE")
    source, memory = f"npz:{path}", allowed_memory(request.memory)
    stamp = stamp_of(path.stat())  # before it is looked into: one that changes meanwhile is found out
    try:
        with _npz(path) as arrays:
            labels = arrays["labels"] if "labels" in arrays.files else None
            member = _large_member(arrays, request, memory)
            if member is None:
                return from_arrays(arrays["images"], labels, source=source, copy=False)
            file = _placed(path, stamp, arrays, member, request)
        numbers, num_classes = read_labels(labels)
        dataset = from_file(file, memory, labels=numbers, num_classes=num_classes, source=source)
        return replace(dataset, notes=(NO_LABELS,)) if numbers is None and labels is not None else dataset
    except UsageError as error:
        raise FileError(f"{path}: {error}") from error


@contextmanager
def _npz(path: Path) -> Iterator[NpzFile]:
    """The file, which has an array `images`; what goes wrong inside is a FileError."""
    expected = "expected a .npz with `images` uint8 [N, H, W] or [N, H, W, C] and, if you like, `labels` integers [N]"
    try:
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, NpzFile):
                raise FileError(f"{path} is a single array: {expected}")
            if "images" not in arrays.files:
                raise FileError(f"{path} has no array `images`, only {arrays.files[:9]}: {expected}")
            yield arrays
    except GanzooError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, RuntimeError) as error:
        raise FileError(f"{path} cannot be read ({error}): {expected}") from error


def _archive(arrays: NpzFile) -> zipfile.ZipFile:
    assert arrays.zip is not None, "the file is open"
    return arrays.zip


def _large_member(arrays: NpzFile, request: Request, memory: int) -> _Member | None:
    """The images, if they take more than `memory` MB as they are or as they are asked for; None where they fit.

    Raises UsageError or ValueError for large ones that are of another form.
    """
    try:
        info = _archive(arrays).getinfo("images.npy")
    except KeyError:  # no array but bytes
        return None
    with _archive(arrays).open(info) as stream:
        given, fortran_order, dtype = read_npy_header(stream)
        start = stream.tell()
        stream.seek(0)
        header = stream.read(start)
    size = math.prod(given) * dtype.itemsize
    fitted = math.prod(_fitted(given, request)) if len(given) in (3, 4) else 0
    if dtype.hasobject or max(size, fitted) <= memory * MB:
        return None  # read at once, or refused
    check_numpy(np.broadcast_to(np.zeros((), dtype), given))
    if fortran_order:
        raise ValueError("its images are in Fortran's order; numpy.ascontiguousarray(images) brings them into C's")
    if start + size != info.file_size:
        raise ValueError(f"its images should take {start + size} bytes and take {info.file_size}")
    return _Member(info=info, given=given, header=header)


def _fitted(given: tuple[int, ...], request: Request) -> Shape:
    """(N, C, H, W) of the images as they are asked for."""
    count, height, width, *channels = given
    size = request.image_size
    return count, request.channels or (channels[0] if channels else 1), size or height, size or width


def _placed(path: Path, stamp: tuple[int, int], arrays: NpzFile, member: _Member, request: Request) -> ImageFile:
    """The images where they lie, or in the cache where they have to be decompressed or made to fit."""
    shape = _fitted(member.given, request)
    if member.info.compress_type == zipfile.ZIP_STORED and shape == member.shape:
        offset = _member_start(path, member.info) + len(member.header)
        if offset + math.prod(shape) > stamp[0]:
            raise ValueError("it ends before its images do")
        return ImageFile(
            path=path,
            offset=offset,
            shape=shape,
            channels_last=shape[1] > 1,
            stamp=stamp,
            crc=(zlib.crc32(member.header), member.info.CRC),
        )
    source = f"npz:{path}"
    cache = DecodedImages((source, request.image_size, request.channels), stamp)
    if (found := cache.find()) is not None:
        return found
    announce_decoding(source, shape, cache)
    return cache.make(shape, _unpacked(_archive(arrays), member, request))


def _member_start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: after its local header, whose last fields are as long as it says itself."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = struct.unpack("<26xHH", file.read(30))  # zipfile has read it and found it sound
    return info.header_offset + 30 + int(name) + int(extra)


def _unpacked(archive: zipfile.ZipFile, member: _Member, request: Request) -> Iterator[NDArray[np.uint8]]:
    """The images as they are asked for, [n, C, H, W] at a time."""
    image_bytes = math.prod(member.given[1:])
    at_once = max(1, _UNPACKED_BYTES // image_bytes)
    with archive.open(member.info) as stream:
        stream.seek(len(member.header))
        for start in range(0, member.given[0], at_once):
            count = min(at_once, member.given[0] - start)
            try:
                data = stream.read(count * image_bytes)
            except OSError as error:  # not to be taken for one of the cache that is being written
                raise FileError(f"{archive.filename} cannot be read: {error.strerror or error}") from error
            pixels = np.frombuffer(data, np.uint8).reshape(count, *member.given[1:])
            yield fit(from_arrays(pixels), request.image_size, request.channels).images.numpy()
        if stream.read(1):  # at the end of a member its checksum is compared
            raise ValueError("there is more in it than its header says")
