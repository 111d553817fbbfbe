"""Your own images in numpy files: `npz:FILE` and `npy:FILE`. Nothing in a file is unpickled."""

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from ganzoo.data.arrays import check_shape, from_arrays, needed_bits, read_labels
from ganzoo.data.dataset import Dataset, Request, fit, from_file, read_size
from ganzoo.data.files import announce_decoding, requested_path
from ganzoo.data.mapped import DecodedImages, ImageFile, Shape, read_npy_header, stamp_of
from ganzoo.data.memory import MB, allowed_memory
from ganzoo.errors import FileError, GanzooError, NoSplitError, UsageError, first_line
from ganzoo.registry import datasets

NAMES = {  # of a split's images and labels in a .npz; the first pair found is used
    "train": (("images", "labels"), ("x_train", "y_train"), ("train_images", "train_labels"), ("x", "y"), ("X", "y")),
    "test": (("x_test", "y_test"), ("test_images", "test_labels"), ("x_val", "y_val"), ("val_images", "val_labels")),
}
EXPECTED = (
    "expected a .npz with `images` uint8 [N, H, W] or [N, H, W, C] and, optionally, `labels` integers [N], or with "
    "x_train and y_train"
)
_UNPACKED_BYTES = 16_000_000  # of images that are unpacked and fitted at once


@dataclass(frozen=True, kw_only=True)
class _Member:
    """An array of images in a .npz, of which only the header was read."""

    info: zipfile.ZipInfo
    given: tuple[int, ...]  # [N, H, W], [N, H, W, C] or [N, C, H, W]
    shape: Shape  # (N, C, H, W)
    header: bytes  # the bytes before the images in the member


@dataclass(frozen=True, kw_only=True)
class _Names:
    """The names of a split's arrays, and of the other arrays."""

    images: str
    labels: str | None
    others: tuple[str, ...]
    trained: str | None  # for a test split, the name of the training images


@datasets.register("npz")
def npz(request: Request) -> Dataset:
    """`npz:FILE` with the arrays `images` and, optionally, `labels`, or with other usual names: see NAMES.

    Images that do not fit into memory are mapped in this file if it is uncompressed (`numpy.savez`) and they need no
    fitting; otherwise they are decoded into the cache. Raises FileError; MachineError if the cache has no room.
    """
    path = requested_path(request, "npz:FILE", splits=True)
    source, memory = f"npz:{path}", allowed_memory(request.memory)
    stamp = stamp_of(path.stat())  # before reading, to detect changes meanwhile
    with _npz(path) as arrays:
        names = choose_names(arrays.files, request.split, path)
        try:
            labels = arrays[names.labels] if names.labels else None
            notes = (f"arrays ignored: {', '.join(names.others)}",) if names.others else ()
            member = _large_member(arrays, names.images, request, memory)
            if member is None:
                bits = request.bits
                if bits is None and names.trained is not None:  # read test images like training images
                    bits = needed_bits(arrays[names.trained])
                dataset = _from_arrays(arrays[names.images], labels, source, replace(request, bits=bits))
            else:
                file, done = _locate(path, stamp, arrays, member, request)
                numbers, num_classes, class_names, more = read_labels(labels)
                about = {"labels": numbers, "num_classes": num_classes, "class_names": class_names}
                dataset = replace(from_file(file, memory, **about, source=source), notes=(*more, *done))  # type: ignore[arg-type]
        except UsageError as error:
            raise FileError(f"{path}: {error}") from error
    return replace(dataset, notes=(*notes, *dataset.notes))


@datasets.register("npy")
def npy(request: Request) -> Dataset:
    """`npy:FILE`, one array of images without labels, as written by numpy.save.

    uint8 images that do not fit into memory are mapped in this file if they need no fitting. Raises FileError.
    """
    path = requested_path(request, "npy:FILE")
    source, memory = f"npy:{path}", allowed_memory(request.memory)
    stamp = stamp_of(path.stat())
    try:
        with path.open("rb") as file:
            given, fortran_order, dtype = read_npy_header(file)
            offset = file.tell()
        if dtype.hasobject:
            raise ValueError("it contains Python objects, which are never unpickled: save numbers")
        if math.prod(given) * dtype.itemsize + offset > stamp[0]:
            raise ValueError("it ends before the end of its images")
        size = math.prod(given) * dtype.itemsize / MB
        if size > memory and dtype == np.uint8 and not fortran_order and len(given) in (3, 4):
            check_shape(np.broadcast_to(np.zeros((), dtype), given), request.channels_first)
            shape = _shape_of(given, request.channels_first)
            if shape == _fit_shape(shape, request):
                last = shape[1] > 1 and not request.channels_first
                whole = ImageFile(path=path, offset=offset, shape=shape, channels_last=last, stamp=stamp)
                return from_file(whole, memory, labels=None, num_classes=None, source=source)
        return _from_arrays(np.load(path, allow_pickle=False), None, source, request)
    except UsageError as error:
        raise FileError(f"{path}: {error}") from error
    except BROKEN as error:
        raise FileError(
            f"{path} cannot be read ({_reason(error)}): expected an array of images, as written by numpy.save"
        ) from error


def _from_arrays(images: NDArray[Any], labels: NDArray[Any] | None, source: str, request: Request) -> Dataset:
    """Convert arrays that were just read to a data set."""
    return from_arrays(
        images,
        labels,
        source=source,
        copy=False,
        value_range=request.value_range,
        channels_first=request.channels_first,
        bits=request.bits,
    )


def choose_names(there: Sequence[str], split: str, path: Path) -> _Names:
    """Return the names of a split's arrays in a .npz. Raises NoSplitError, or FileError if there are no images."""
    test = next((pair for pair in NAMES["test"] if pair[0] in there), None)
    pairs = [("arr_0", "")] if list(there) == ["arr_0"] else NAMES["train"]
    train = next((pair for pair in pairs if pair[0] in there), None)
    if split != "train" and test is None:
        raise NoSplitError(f"{path} has no split '{split}': all its images are 'train'")
    if train is None:
        first = ", ".join(f"`{images}`" for images, _ in NAMES["train"])
        raise FileError(f"{path} has none of the arrays {first}, only {list(there)[:9]}: {EXPECTED}")
    chosen = train if split == "train" or test is None else test
    used = {*train, *(test or ())}
    return _Names(
        images=chosen[0],
        labels=chosen[1] if chosen[1] in there else None,
        others=tuple(name for name in there if name not in used),
        trained=None if split == "train" else train[0],
    )


@contextmanager
def _npz(path: Path) -> Iterator[NpzFile]:
    """Open a .npz; errors while reading it become FileErrors."""
    try:
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, NpzFile):
                raise FileError(f"{path} is a single array: write npy:{path}; {EXPECTED}")
            yield arrays
    except GanzooError:
        raise
    except BROKEN as error:
        raise FileError(f"{path} cannot be read ({_reason(error)}): {EXPECTED}") from error


# What numpy and zipfile raise for damaged files.
BROKEN = (
    OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, RuntimeError, SyntaxError, TypeError,
    tokenize.TokenError,
)  # fmt: skip


def _reason(error: BaseException) -> str:
    """Return an error's message, without numpy's advice to unpickle."""
    text = first_line(error)
    return "it contains Python objects or no numbers, and is never unpickled" if "allow_pickle" in text else text


def _archive(arrays: NpzFile) -> zipfile.ZipFile:
    assert arrays.zip is not None, "the file is open"
    return arrays.zip


def _large_member(arrays: NpzFile, name: str, request: Request, memory: int) -> _Member | None:
    """Return the images if they exceed `memory` MB, as stored or as requested; None if they fit.

    Raises UsageError or ValueError for large images that cannot stay on disk.
    """
    try:
        info = _archive(arrays).getinfo(f"{name}.npy")
    except KeyError:  # raw bytes instead of an array
        return None
    with _archive(arrays).open(info) as stream:
        given, fortran_order, dtype = read_npy_header(stream)
        start = stream.tell()
        stream.seek(0)
        header = stream.read(start)
    size = math.prod(given) * dtype.itemsize
    shape = _shape_of(given, request.channels_first) if len(given) in (3, 4) else None
    fitted = math.prod(_fit_shape(shape, request)) if shape else 0
    if dtype.hasobject or max(size, fitted) <= memory * MB:
        return None  # read at once, or refused
    check_shape(np.broadcast_to(np.zeros((), dtype), given), request.channels_first)
    assert shape is not None, "it has three or four dimensions"
    if dtype != np.uint8:
        raise ValueError(f"its images are {dtype} and do not fit into memory: save uint8, which can stay on disk")
    if fortran_order:
        raise ValueError("its images are in Fortran order: save numpy.ascontiguousarray(images) instead")
    if start + size != info.file_size:
        raise ValueError(f"its images should take {start + size} bytes, but take {info.file_size}")
    return _Member(info=info, given=given, shape=shape, header=header)


def _shape_of(given: tuple[int, ...], channels_first: bool) -> Shape:
    """Return (N, C, H, W) of an array's shape."""
    if len(given) == 3:
        return given[0], 1, given[1], given[2]
    count, second, third, fourth = given
    return (count, second, third, fourth) if channels_first else (count, fourth, second, third)


def _fit_shape(shape: Shape, request: Request) -> Shape:
    """Return (N, C, H, W) of the images as requested."""
    count, channels, height, width = shape
    height, width = read_size(request.image_size) or (height, width)
    return count, request.channels or channels, height, width


def _locate(
    path: Path, stamp: tuple[int, int], arrays: NpzFile, member: _Member, request: Request
) -> tuple[ImageFile, tuple[str, ...]]:
    """Return the images in their file, or in the cache if they must be unpacked or fitted, and notes on them."""
    shape = _fit_shape(member.shape, request)
    if member.info.compress_type == zipfile.ZIP_STORED and shape == member.shape:
        offset = _member_start(path, member.info) + len(member.header)
        if offset + math.prod(shape) > stamp[0]:
            raise ValueError("it ends before the end of its images")
        whole = ImageFile(
            path=path,
            offset=offset,
            shape=shape,
            channels_last=shape[1] > 1 and not request.channels_first,
            stamp=stamp,
            crc=(zlib.crc32(member.header), member.info.CRC),
        )
        return whole, ()
    source = f"npz:{path}"
    how = (request.image_size, request.channels, request.fit, request.background, request.channels_first)
    cache = DecodedImages((source, member.info.filename, *how), stamp)
    found = cache.find()
    if found is None:
        announce_decoding(source, shape, cache)
        done: dict[str, None] = {}
        found = cache.make(shape, _unpack(_archive(arrays), member, request, done), lambda: list(done))
    return found, cache.notes()


def _member_start(path: Path, info: zipfile.ZipInfo) -> int:
    """Return where a member's bytes begin: after its local header, which states the lengths of its last fields."""
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = struct.unpack("<26xHH", file.read(30))  # zipfile has read and checked it
    return info.header_offset + 30 + int(name) + int(extra)


def _unpack(
    archive: zipfile.ZipFile, member: _Member, request: Request, done: dict[str, None]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the images as requested, [n, C, H, W] at a time; add notes on them to `done`."""
    image_bytes = math.prod(member.given[1:])
    at_once = max(1, _UNPACKED_BYTES // image_bytes)
    with archive.open(member.info) as stream:
        stream.seek(len(member.header))
        for start in range(0, member.given[0], at_once):
            count = min(at_once, member.given[0] - start)
            try:
                data = stream.read(count * image_bytes)
            except OSError as error:  # else it would look like an error of the cache file
                raise FileError(f"{archive.filename} cannot be read: {error.strerror or error}") from error
            pixels = np.frombuffer(data, np.uint8).reshape(count, *member.given[1:])
            images = from_arrays(pixels, channels_first=request.channels_first)
            options = {"mode": request.fit, "background": request.background}
            fitted = fit(images, request.image_size, request.channels, **options)
            done.update(dict.fromkeys(fitted.notes))
            yield fitted.images.numpy()
        if stream.read(1):  # reading to the end also checks the checksum
            raise ValueError("it contains more than its header states")
