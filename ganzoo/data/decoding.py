"""Image files as pixels. Each is taken for hostile: only common formats are decoded, and only up to MAX_PIXELS."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from ganzoo.errors import FileError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # Pillow's names for them
MAX_PIXELS = 64_000_000  # of one image, checked before it is decoded

_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # "I" is what Pillow makes of 16-bit PGM, and once of PNG
_GREY = ("1", "L", "LA", *_GREY_16)
_AT_ONCE = 64  # decoded images that wait to be copied

T = TypeVar("T")


@dataclass(frozen=True)
class _Broken:
    reason: str


def each(root: Path, paths: list[Path], function: Callable[[Path], T]) -> Iterator[T]:
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


def is_grey(path: Path) -> bool:
    with _open(path) as image:
        return image.mode in _GREY


def decode(channels: int, image_size: int | None, path: Path) -> NDArray[np.uint8]:
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
