"""Your own images: `npz:FILE` and `folder:PATH`.

A folder holds images, or a folder of images for each class (below it, folders nest as you like). Everything in a
file is taken for hostile: nothing is unpickled, only common formats are decoded and only up to MAX_PIXELS, and no
link is followed that leads out of the folder.
"""

import hashlib
import math
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from ganzoo.data.dataset import Dataset, Request, check_numpy, fit, from_arrays, from_file, read_labels
from ganzoo.data.mapped import DecodedImages, ImageFile, Shape, read_npy_header, stamp_of
from ganzoo.data.memory import MB, allowed_memory
from ganzoo.errors import FileError, GanzooError, MachineError, UsageError
from ganzoo.files import IMAGE_SUFFIXES
from ganzoo.registry import datasets

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # Pillow's names for them
MAX_PIXELS = 64_000_000  # of one image, checked before it is decoded
MAX_FILES = 1_000_000

_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # "I" is what Pillow makes of 16-bit PGM, and once of PNG
_GREY = ("1", "L", "LA", *_GREY_16)
_AT_ONCE = 64  # decoded images that wait to be copied
_UNPACKED_BYTES = 16_000_000  # of images that are unpacked and made to fit at a time

T = TypeVar("T")


@dataclass(frozen=True)
class _Broken:
    reason: str


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
    path = _path_of(request, "npz:FILE")
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
        return from_file(file, memory, labels=numbers, num_classes=num_classes, source=source)
    except UsageError as error:
        raise FileError(f"{path}: {error}") from error


@datasets.register("folder")
def folder(request: Request) -> Dataset:
    """`folder:PATH`, its images flat or in a folder a class, labelled in the order of the folders' sorted names.

    Grey if every image is grey (1, 8 or 16 bits), else RGB, or what `channels` says. Transparent pixels are laid on
    white, EXIF orientation is applied, of an animation the first picture counts. With `image_size` each is cropped
    to its central square and resized with antialiasing, otherwise all must be of one size. What does not fit into
    memory is decoded into the cache. Raises FileError or UsageError; MachineError for a cache without room.
    """
    root = _path_of(request, "folder:PATH")
    paths, numbers, names = _classes(root)
    source, memory = f"folder:{root}", allowed_memory(request.memory)
    labels = None if numbers is None else torch.tensor(numbers)
    num_classes, class_names = (None, None) if labels is None else (len(names), names)

    def in_file(file: ImageFile) -> Dataset:
        return from_file(file, memory, labels=labels, num_classes=num_classes, class_names=class_names, source=source)

    cache = DecodedImages((source, request.image_size, request.channels), _state(root, paths))
    if (found := cache.find()) is not None:
        return in_file(found)
    channels = request.channels or (1 if all(_each(root, paths, _is_grey)) else 3)
    decoded = _decoded(root, paths, channels, request.image_size)
    first = next(decoded)
    shape = (len(paths), channels, *first.shape[1:])
    if math.prod(shape) > memory * MB:
        _say_decoding(source, shape, cache)
        return in_file(cache.make(shape, chain([first], decoded)))
    images = _room_for(shape)
    for index, pixels in enumerate(chain([first], decoded)):
        images[index] = pixels
    return Dataset(
        images=torch.from_numpy(images), labels=labels, num_classes=num_classes, class_names=class_names, source=source
    )


def _path_of(request: Request, form: str) -> Path:
    """The absolute path, without links, of the request's argument."""
    if not request.argument:
        raise UsageError(f"{request.name} needs a path: {form}")
    if request.split != "train":
        raise UsageError(f"{request.name} has no split '{request.split}': all its images are 'train'")
    try:
        return Path(request.argument).expanduser().resolve(strict=True)
    except FileNotFoundError:
        raise FileError(f"{request.argument} does not exist: expected {form}") from None
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a user that does not exist, a null byte
        raise FileError(f"{request.argument} cannot be opened ({error}): expected {form}") from error


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
    _say_decoding(source, shape, cache)
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


def _state(root: Path, paths: list[Path]) -> tuple[Any, ...]:
    """What changes where any of the files does: their names, sizes and times of change."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            stamp = stamp_of(path.stat())
        except OSError as error:
            raise FileError(f"{path} cannot be read: {error.strerror}") from None
        digest.update(f"{path.relative_to(root)}\0{stamp}\0".encode(errors="surrogateescape"))
    return (digest.hexdigest(),)


def _say_decoding(source: str, shape: Shape, cache: DecodedImages) -> None:
    """It can take long."""
    size = math.prod(shape) / MB
    warnings.warn(
        f"{source} does not fit into memory: {size:,.0f} MB are decoded once, into {cache.path}", stacklevel=3
    )


def _classes(root: Path) -> tuple[list[Path], list[int] | None, tuple[str, ...]]:
    """The images' sorted paths, their labels and the classes' names; no labels where the folder is flat."""
    if not root.is_dir():
        raise FileError(f"{root} is a file: folder:PATH expects a folder of images, or of one folder for each class")
    found = sorted(_image_files(root))
    if not found:
        raise FileError(f"no images in {root}: looked for {', '.join(IMAGE_SUFFIXES)}, there and in its folders")
    first_parts = [path.relative_to(root).parts for path in found]
    flat = sum(len(parts) == 1 for parts in first_parts)
    if flat == len(found):
        return found, None, ()
    if flat:
        raise FileError(
            f"{root} has {flat} images of its own and {len(found) - flat} in folders: expected all in one folder, "
            "or all in a folder for each class"
        )
    names = tuple(sorted({parts[0] for parts in first_parts}))
    index = {name: label for label, name in enumerate(names)}
    return found, [index[parts[0]] for parts in first_parts], names


def _image_files(root: Path) -> Iterator[Path]:
    """Files with an image's suffix, hidden ones left out, and linked ones unless they lie in the folder themselves."""
    count = 0
    for directory, folders, names in os.walk(root, onerror=_refuse_folder):  # goes into no linked folder
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(directory, name) for name in names if not name.startswith(".")):
            # Only regular files: reading a pipe would never end.
            if path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                continue
            count += 1
            if count > MAX_FILES:
                raise FileError(f"{root} has more than {MAX_FILES:,} images: expected no more")
            yield path


def _refuse_folder(error: OSError) -> None:
    raise MachineError(f"{error.filename} cannot be read: {error.strerror}") from error


def _decoded(root: Path, paths: list[Path], channels: int, image_size: int | None) -> Iterator[NDArray[np.uint8]]:
    """Each image, uint8 [C, H, W]; raises UsageError where they differ in size."""
    shape: tuple[int, ...] | None = None
    for index, pixels in enumerate(_each(root, paths, partial(_pixels, channels, image_size))):
        shape = shape or pixels.shape
        if pixels.shape != shape:
            first, other = (f"{width} x {height}" for _, height, width in (shape, pixels.shape))
            raise UsageError(
                f"the images in {root} differ in size: {paths[0].relative_to(root)} is {first}, "
                f"{paths[index].relative_to(root)} is {other}; bring them to one size, as with --image-size 64"
            )
        yield pixels


def _room_for(shape: Shape) -> NDArray[np.uint8]:
    try:
        return np.empty(shape, np.uint8)
    except MemoryError as error:
        raise MachineError(
            f"no memory for {shape[0]} images of {list(shape[1:])}: --image-size makes them smaller, and with "
            "--set data.memory=N, in MB, they stay on disk"
        ) from error


def _each(root: Path, paths: list[Path], function: Callable[[Path], T]) -> Iterator[T]:
    """`function` of each path, in order, from threads; at the end FileError where it failed for any."""

    def attempt(path: Path) -> T | _Broken:
        try:
            return function(path)
        except Exception as error:  # whatever a decoder makes of a broken or hostile file
            return _Broken(f"{path.relative_to(root)} ({error})")

    broken: list[str] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), _AT_ONCE):
            for result in pool.map(attempt, paths[start : start + _AT_ONCE]):
                if isinstance(result, _Broken):
                    broken.append(result.reason)
                elif not broken:
                    yield result
    if broken:
        more = ", ..." if len(broken) > 3 else ""
        raise FileError(f"{len(broken)} of {len(paths)} images in {root} cannot be read: {', '.join(broken[:3])}{more}")


def _open(path: Path) -> "Image":
    """The image, of which only the header is read so far."""
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"none of {', '.join(FORMATS)}") from None
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise ValueError(f"{image.width} x {image.height}: more than {MAX_PIXELS:,} pixels")
    return image


def _is_grey(path: Path) -> bool:
    with _open(path) as image:
        return image.mode in _GREY


def _pixels(channels: int, image_size: int | None, path: Path) -> NDArray[np.uint8]:
    """One image, uint8 [C, H, W]."""
    from PIL import Image, ImageOps

    with _open(path) as image:
        plain = _plain(ImageOps.exif_transpose(image)).convert("L" if channels == 1 else "RGB")
    if image_size is not None:
        plain = ImageOps.fit(plain, (image_size, image_size), method=Image.Resampling.BICUBIC)
    pixels = np.asarray(plain)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _plain(image: "Image") -> "Image":
    """The image with 8 bits a channel and without transparency."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("32-bit pixels: expected 8 or 16 bits a channel")
    if image.mode in _GREY_16:  # convert() would clip them
        values = np.asarray(image).clip(0, 65535).astype(np.uint32)
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image
