"""Your own images: `npz:FILE` and `folder:PATH`.

A folder holds images, or a folder of images for each class (below it, folders nest as you like). Everything in a
file is taken for hostile: nothing is unpickled, only common formats are decoded and only up to MAX_PIXELS, and no
link is followed that leads out of the folder.
"""

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ganzoo.data.dataset import Dataset, Request, from_arrays
from ganzoo.errors import FileError, MachineError, UsageError
from ganzoo.registry import datasets

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # Pillow's names for them
MAX_PIXELS = 64_000_000  # of one image, checked before it is decoded
MAX_FILES = 1_000_000

_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # "I" is what Pillow makes of 16-bit PGM, and once of PNG
_GREY = ("1", "L", "LA", *_GREY_16)
_AT_ONCE = 64  # decoded images that wait to be copied

T = TypeVar("T")


@dataclass(frozen=True)
class _Broken:
    reason: str


@datasets.register("npz")
def npz(request: Request) -> Dataset:
    """`npz:FILE` with `images` uint8 [N, H, W] or [N, H, W, C], and `labels`, integers [N], where there are any.

    Raises FileError.
    """
    path = _path_of(request, "npz:FILE")
    arrays = _read_npz(path)
    try:
        return from_arrays(arrays["images"], arrays.get("labels"), source=f"npz:{path}")
    except UsageError as error:
        raise FileError(f"{path}: {error}") from error


@datasets.register("folder")
def folder(request: Request) -> Dataset:
    """`folder:PATH`, its images flat or in a folder a class, labelled in the order of the folders' sorted names.

    Grey if every image is grey (1, 8 or 16 bits), else RGB, or what `channels` says. Transparent pixels are laid on
    white, EXIF orientation is applied, of an animation the first picture counts. With `image_size` each is cropped
    to its central square and resized with antialiasing, otherwise all must be of one size.
    Raises FileError or UsageError.
    """
    root = _path_of(request, "folder:PATH")
    paths, labels, names = _classes(root)
    channels = request.channels or (1 if all(_each(root, paths, _is_grey)) else 3)
    images = _decode_all(root, paths, channels, request.image_size)
    return Dataset(
        images=torch.from_numpy(images),
        labels=None if labels is None else torch.tensor(labels),
        num_classes=None if labels is None else len(names),
        class_names=None if labels is None else names,
        source=f"folder:{root}",
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


def _read_npz(path: Path) -> dict[str, Any]:
    """The arrays `images` and, where it is there, `labels`."""
    expected = "expected a .npz with `images` uint8 [N, H, W] or [N, H, W, C] and, if you like, `labels` integers [N]"
    try:
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise FileError(f"{path} is a single array: {expected}")
            if "images" not in arrays.files:
                raise FileError(f"{path} has no array `images`, only {arrays.files[:9]}: {expected}")
            return {name: arrays[name] for name in ("images", "labels") if name in arrays.files}
    except FileError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError, NotImplementedError) as error:
        raise FileError(f"{path} cannot be read ({error}): {expected}") from error


def _classes(root: Path) -> tuple[list[Path], list[int] | None, tuple[str, ...]]:
    """The images' sorted paths, their labels and the classes' names; no labels where the folder is flat."""
    if not root.is_dir():
        raise FileError(f"{root} is a file: folder:PATH expects a folder of images, or of one folder for each class")
    found = sorted(_image_files(root))
    if not found:
        raise FileError(f"no images in {root}: looked for {', '.join(SUFFIXES)}, there and in its folders")
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
            if path.suffix.lower() not in SUFFIXES or not path.is_file():
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                continue
            count += 1
            if count > MAX_FILES:
                raise FileError(f"{root} has more than {MAX_FILES:,} images: expected no more")
            yield path


def _refuse_folder(error: OSError) -> None:
    raise MachineError(f"{error.filename} cannot be read: {error.strerror}") from error


def _decode_all(root: Path, paths: list[Path], channels: int, image_size: int | None) -> NDArray[np.uint8]:
    """uint8 [N, C, H, W]; raises UsageError where the images differ in size."""
    images: NDArray[np.uint8] | None = None
    for index, pixels in enumerate(_each(root, paths, partial(_pixels, channels, image_size))):
        if images is None:
            images = _room_for(len(paths), pixels.shape)
        if pixels.shape != images.shape[1:]:
            first, other = (f"{width} x {height}" for _, height, width in (images.shape[1:], pixels.shape))
            raise UsageError(
                f"the images in {root} differ in size: {paths[0].relative_to(root)} is {first}, "
                f"{paths[index].relative_to(root)} is {other}; bring them to one size, as with --image-size 64"
            )
        images[index] = pixels
    assert images is not None  # there is at least one path
    return images


def _room_for(count: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    try:
        return np.empty((count, *shape), np.uint8)
    except MemoryError as error:
        raise MachineError(f"no memory for {count} images of {list(shape)}: --image-size makes them smaller") from error


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
