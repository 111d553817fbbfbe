"""Image files as pixels. Each is taken for hostile: only common formats are decoded, and only up to MAX_PIXELS."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from ganzoo.data.dataset import CROPPED, TO_GREY, TO_RGB
from ganzoo.errors import FileError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # Pillow's names for them
MAX_PIXELS = 64_000_000  # of one image, checked before it is decoded

_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # "I" is what Pillow makes of 16-bit PGM, and once of PNG
_GREY = ("1", "L", "LA", *_GREY_16)
_AT_ONCE = 64  # decoded images that wait to be copied

_OPAQUE = {"1": "L", "L": "L", "LA": "L"}  # what is left of a grey image whose pixels all cover what is behind
_ORIENTATION = 0x0112  # the EXIF tag

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


@dataclass(frozen=True)
class Kind:
    """What the header of an image file says of its pixels."""

    grey: bool
    deep: bool  # 16 bits of grey


def read_kind(path: Path) -> Kind:
    """Return what a file's header says, without decoding its pixels."""
    with _open(path) as image:
        return Kind(grey=image.mode in _GREY, deep=image.mode in _GREY_16)


def read_greatest(path: Path) -> int:
    """Return the greatest value of a 16-bit grey image."""
    with _open(path) as image:
        return int(_deep_values(image).max())


@dataclass(frozen=True)
class Decoded:
    """One image, uint8 [C, H, W], and what was done to make it so."""

    pixels: NDArray[np.uint8]
    done: tuple[str, ...]


def decode(channels: int, image_size: int | None, bits: int, path: Path) -> Decoded:
    """Return one image; 16-bit grey has values of so many `bits`, and greater ones are cut off."""
    from PIL import Image, ImageOps

    with _open(path) as image:
        done, grey = list(_describe(image)), image.mode in _GREY
        plain = _plain(ImageOps.exif_transpose(image), bits, done)
    if grey != (channels == 1):
        done.append(TO_RGB if grey else TO_GREY)
    plain = plain.convert("L" if channels == 1 else "RGB")
    if image_size is not None and plain.size != (image_size, image_size):
        side = min(plain.size)
        done += [CROPPED] if plain.width != plain.height else []
        if side != image_size:
            done.append(f"{'enlarged' if side < image_size else 'reduced'} to {image_size} x {image_size}")
        plain = ImageOps.fit(plain, (image_size, image_size), method=Image.Resampling.BICUBIC)
    pixels = np.asarray(plain)
    return Decoded(pixels[None] if channels == 1 else pixels.transpose(2, 0, 1), tuple(done))


def _describe(image: "Image") -> Iterator[str]:
    """Yield what will be lost or changed of a file that only its header has been read of."""
    if image.mode in ("P", "PA"):
        yield "palettes replaced by their colours"
    if image.mode not in (*_GREY, "P", "PA", "RGB", "RGBA", "RGBX", "F"):
        yield f"{image.mode} converted to RGB"
    if image.mode not in _GREY_16 and ";16" in str(
        getattr(image, "tile", "")
    ):  # Pillow keeps the upper half of each value
        yield "16-bit colours reduced to their upper 8 bits"
    if image.getexif().get(_ORIENTATION, 1) != 1:
        yield "turned as their EXIF orientation says"
    if getattr(image, "is_animated", False):
        yield "pictures after the first left aside"


def _plain(image: "Image", bits: int, done: list[str]) -> "Image":
    """Return the image with 8 bits a channel and without transparency, and add what was done to `done`."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("32-bit pixels: expected 8 or 16 bits a channel")
    if image.mode in _GREY_16:  # convert() would clip them
        done += ["transparency left aside"] if "transparency" in image.info else []
        greatest = 2**bits - 1
        values = _deep_values(image).clip(0, greatest).astype(np.uint32)
        return Image.fromarray(((values * 255 + greatest // 2) // greatest).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        if with_alpha.getchannel("A").getextrema()[0] == 255:
            return image.convert(_OPAQUE[image.mode]) if image.mode in _OPAQUE else with_alpha.convert("RGB")
        done.append("transparency laid on white")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), with_alpha)
    return image


def _deep_values(image: "Image") -> NDArray[np.int64]:
    """Return the values of a 16-bit grey image, from 0 to 65,535."""
    return np.asarray(image).astype(np.int64).clip(0, 65535)
