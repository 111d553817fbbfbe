"""Decoding of image files. No file is trusted: only common formats are decoded, and only up to MAX_PIXELS."""

import io
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar, Union

import numpy as np
from numpy.typing import NDArray

from ganzoo.data.arrays import check_bits
from ganzoo.data.dataset import (
    LAID,
    TO_GREY,
    TO_RGB,
    TO_RGBA,
    Request,
    colour_to_grey,
    crop_of,
    inner_size,
    read_colour,
    read_size,
)
from ganzoo.data.mapped import Shape
from ganzoo.errors import FileError, MachineError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # as named by Pillow
HEIC = "HEIF"  # likewise; needs the extra `heic`
MAX_PIXELS = 64_000_000  # per image, checked before it is decoded

_GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # "I" is Pillow's mode for 16-bit PGM, and formerly PNG
_GREY = ("1", "L", "LA", *_GREY_16)
_AT_ONCE = 64  # decoded images that wait to be copied

_OPAQUE = {"1": "L", "L": "L", "LA": "L"}  # modes without the alpha of opaque grey images
_ORIENTATION = 0x0112  # the EXIF tag

T = TypeVar("T")
Item: TypeAlias = Union[Path, bytes, "Image"]


@dataclass(frozen=True)
class _Broken:
    reason: str


@dataclass(frozen=True)
class Pictures:
    """Pictures to decode: files, their bytes, or open Pillow images; `names` are for messages."""

    where: str  # such as a folder's path
    items: Sequence[Item]
    names: Sequence[str]
    advice: str = ""  # at the end of the message on broken pictures

    def attempts(self, function: Callable[[Item], T], numbers: Sequence[int] | None = None) -> "Iterator[T | _Broken]":
        """Yield `function` of each picture (or of `numbers`) in order, computed in threads; `_Broken` if it fails."""

        def attempt(number: int) -> T | _Broken:
            try:
                return function(self.items[number])
            except Exception as error:  # a broken or hostile file can make a decoder raise anything
                return _Broken(f"{self.names[number]} ({error})")

        chosen = range(len(self.items)) if numbers is None else numbers
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for start in range(0, len(chosen), _AT_ONCE):
                yield from pool.map(attempt, chosen[start : start + _AT_ONCE])

    def each(self, function: Callable[[Item], T], numbers: Sequence[int] | None = None) -> Iterator[T]:
        """Yield like `attempts`; raise FileError at the end if `function` failed for any picture."""
        broken: list[str] = []
        for result in self.attempts(function, numbers):
            if isinstance(result, _Broken):
                broken.append(result.reason)
            elif not broken:
                yield result
        if broken:
            more = ", ..." if len(broken) > 3 else ""
            raise FileError(
                f"{len(broken)} of {len(self.items)} images in {self.where} cannot be read: "
                f"{', '.join(broken[:3])}{more}{self.advice}"
            )


def target_of(request: Request, channels: int) -> "Target":
    """Return the form that a request asks to convert pictures to."""
    return Target(channels, read_size(request.image_size), request.fit, read_colour(request.background))


def leave_broken_aside(pictures: Pictures, request: Request) -> tuple[list[int], tuple[str, ...]]:
    """Return the numbers of decodable pictures, and a note on the others. Raises FileError if there are none."""
    function = partial(decode, target_of(request, 3))
    sound, broken = [], []
    for number, reason in enumerate(pictures.attempts(function)):
        if isinstance(reason, _Broken):
            broken.append(pictures.names[number])
        else:
            sound.append(number)
    if not sound:
        raise FileError(f"none of the {len(pictures.items)} images in {pictures.where} can be read")
    shown = ", ".join(broken[:3]) + (", ..." if len(broken) > 3 else "")
    return sound, ((f"{len(broken):,} broken images skipped: {shown}",) if broken else ())


class Decoding:
    """Decoder of pictures to one shape, one after another, with notes on what was changed.

    Attributes:
        channels: the requested number (4 keeps transparency), or 1 if every picture is grey, else 3.
        images: yields each picture, uint8 [C, H, W]; raises UsageError if sizes differ, FileError for broken pictures.
    """

    def __init__(self, pictures: Pictures, request: Request, others: Pictures | None = None) -> None:
        """Read the headers of all pictures, and of `others` (the other split), to decode both alike."""
        self._pictures, together = pictures, [pictures, *([others] if others else [])]
        self._done: Counter[str] = Counter()
        self._notes: list[str] = []
        kinds = [list(part.each(read_kind)) for part in together]
        self.channels = request.channels or (1 if all(kind.grey for part in kinds for kind in part) else 3)
        deep = [[number for number, kind in enumerate(part) if kind.deep] for part in kinds]
        bits = request.bits or 16
        if any(deep):
            greatest = max(
                value
                for part, numbers in zip(together, deep, strict=True)
                for value in part.each(read_greatest, numbers)
            )
            bits = self._choose_bits(len(deep[0]), greatest, request.bits)
        self._target = replace(target_of(request, self.channels), bits=bits)
        self.images = self._decode()

    def _choose_bits(self, count: int, greatest: int, asked: int | None) -> int:
        """Return how many bits the values of 16-bit grey images have; add a note if `count` is not 0."""
        note = f"16-bit grey reduced to 8 bits ({_share(count, len(self._pictures.items))})"
        bits = asked or (16 if greatest > 32767 else max(1, greatest.bit_length()))
        check_bits(bits, greatest)
        if asked is not None:
            note += f", as {asked}-bit values"
        elif bits < 16:
            note += f", as {bits}-bit values, because the greatest is {greatest:,} "
            note += "(use --bits 16 for the full 16-bit range)"
        self._notes += [note] if count else []
        return bits

    def _decode(self) -> Iterator[NDArray[np.uint8]]:
        shape: tuple[int, ...] | None = None
        names = self._pictures.names
        function = partial(decode, self._target)
        for number, decoded in enumerate(self._pictures.each(function)):
            pixels = decoded.pixels
            shape = shape or pixels.shape
            if pixels.shape != shape:
                first, other = (f"{width} x {height}" for _, height, width in (shape, pixels.shape))
                raise UsageError(
                    f"the images in {self._pictures.where} differ in size: {names[0]} is {first}, {names[number]} is "
                    f"{other}; resize them, for example with --image-size 64"
                )
            self._done.update(decoded.done)
            yield pixels

    def collect(self, *first: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return all pictures in memory, uint8 [N, C, H, W]; `first` are those already taken from `images`."""
        result: NDArray[np.uint8] | None = None
        for number, pixels in enumerate(chain(first, self.images)):
            if result is None:
                channels, height, width = pixels.shape
                result = _allocate((len(self._pictures.items), channels, height, width))
            result[number] = pixels
        assert result is not None, "there is a picture"
        return result

    def describe(self) -> tuple[str, ...]:
        """Return notes on what was changed in the pictures decoded so far."""
        done = (f"{what} ({_share(count, len(self._pictures.items))})" for what, count in self._done.items())
        return (*self._notes, *done)


def _share(count: int, of: int) -> str:
    """Return a number of images in words."""
    return "all images" if count == of else f"{count:,} image{'s' if count != 1 else ''}"


def _allocate(shape: Shape) -> NDArray[np.uint8]:
    """Return an empty array. Raises MachineError if there is not enough memory."""
    try:
        return np.empty(shape, np.uint8)
    except MemoryError as error:
        raise MachineError(
            f"not enough memory for {shape[0]} images of {list(shape[1:])}: make them smaller with --image-size, or "
            "keep them on disk with --set data.memory=N, in MB"
        ) from error


@cache
def read_formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that can be decoded."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return FORMATS
    register_heif_opener(thumbnails=False)
    return (*FORMATS, HEIC)


@contextmanager
def _open(item: Item) -> "Iterator[Image]":
    """Open a picture, of which at first only the header is read."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(item, Image.Image):
        yield item  # the caller closes it
        return
    formats = read_formats()
    try:
        image = Image.open(item if isinstance(item, Path) else io.BytesIO(item), formats=formats)
    except UnidentifiedImageError:
        raise ValueError(f"none of {', '.join(formats)}") from None
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height}: more than {MAX_PIXELS:,} pixels")
        yield image


@dataclass(frozen=True)
class Kind:
    """Properties of an image file's pixels, from its header."""

    grey: bool
    deep: bool  # 16-bit grey


def read_kind(item: Item) -> Kind:
    """Return the properties in a picture's header, without decoding its pixels."""
    with _open(item) as image:
        return Kind(grey=image.mode in _GREY, deep=image.mode in _GREY_16)


def read_greatest(item: Item) -> int:
    """Return the greatest value of a 16-bit grey image."""
    with _open(item) as image:
        return int(_deep_values(image).max())


@dataclass(frozen=True)
class Decoded:
    """One decoded image, uint8 [C, H, W], and notes on what was changed."""

    pixels: NDArray[np.uint8]
    done: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """The form that every picture is converted to."""

    channels: int  # 1, 3, or 4 to keep transparency
    size: tuple[int, int] | None  # (H, W)
    mode: str  # "crop", "pad" or "stretch"
    background: tuple[int, int, int]
    bits: int = 16  # of 16-bit grey; greater values are clipped


def decode(target: Target, item: Item) -> Decoded:
    """Decode one picture and convert it to the target."""
    from PIL import ImageOps

    with _open(item) as image:
        done, grey = list(_describe(image)), image.mode in _GREY
        plain = _to_8_bits(ImageOps.exif_transpose(image), target, done)
    if grey != (target.channels == 1):
        done.append(TO_RGB if grey else TO_GREY)
    if target.channels == 4 and plain.mode != "RGBA":
        done.append(TO_RGBA)
    plain = plain.convert({1: "L", 3: "RGB", 4: "RGBA"}[target.channels])
    if target.size is not None and plain.size != target.size[::-1]:
        plain = _fit_to_size(plain, target.size, target, done)
    pixels = np.asarray(plain)
    return Decoded(pixels[None] if target.channels == 1 else pixels.transpose(2, 0, 1), tuple(done))


def _fit_to_size(image: "Image", size: tuple[int, int], target: Target, done: list[str]) -> "Image":
    """Return a picture of a size (H, W), and add notes to `done`."""
    from PIL import Image, ImageOps

    given = (image.height, image.width)
    inner, action = inner_size(given, size, target.mode)
    done += [action] if action else []
    kept = crop_of(given, size) if action and target.mode == "crop" else given
    if kept != inner:
        done.append(f"resized to {'fit into ' if target.mode == 'pad' else ''}{size[1]} x {size[0]}")
    if target.mode == "crop":
        return ImageOps.fit(image, size[::-1], method=Image.Resampling.BICUBIC)
    resized = image.resize(inner[::-1], Image.Resampling.BICUBIC)
    if inner == size:
        return resized
    colour = (*target.background, 0)[: target.channels]  # padding is transparent
    padded = Image.new(image.mode, size[::-1], colour_to_grey(target.background) if target.channels == 1 else colour)
    padded.paste(resized, ((size[1] - inner[1]) // 2, (size[0] - inner[0]) // 2))
    return padded


def _describe(image: "Image") -> Iterator[str]:
    """Yield notes on what decoding will change in an image whose header has been read."""
    if image.mode in ("P", "PA"):
        yield "palettes replaced by their colours"
    if image.mode not in (*_GREY, "P", "PA", "RGB", "RGBA", "RGBX", "F"):
        yield f"{image.mode} converted to RGB"
    if image.mode not in _GREY_16 and ";16" in str(
        getattr(image, "tile", "")
    ):  # Pillow keeps the upper half of each value
        yield "16-bit colours reduced to their upper 8 bits"
    if image.getexif().get(_ORIENTATION, 1) != 1:
        yield "EXIF orientation applied"
    if getattr(image, "is_animated", False):
        yield "animation frames after the first ignored"


def _to_8_bits(image: "Image", target: Target, done: list[str]) -> "Image":
    """Return the image with 8 bits per channel, and with alpha only if the target keeps it; add notes to `done`."""
    from PIL import Image

    if image.mode == "F":
        raise ValueError("32-bit pixels: expected 8 or 16 bits per channel")
    if image.mode in _GREY_16:  # convert() would clip them
        done += ["transparency ignored"] if "transparency" in image.info else []
        greatest = 2**target.bits - 1
        values = _deep_values(image).clip(0, greatest).astype(np.uint32)
        return Image.fromarray(((values * 255 + greatest // 2) // greatest).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        if target.channels == 4:
            return with_alpha
        if with_alpha.getchannel("A").getextrema()[0] == 255:
            return image.convert(_OPAQUE[image.mode]) if image.mode in _OPAQUE else with_alpha.convert("RGB")
        done.append(LAID)
        return Image.alpha_composite(Image.new("RGBA", image.size, (*target.background, 255)), with_alpha)
    return image


def _deep_values(image: "Image") -> NDArray[np.int64]:
    """Return the values of a 16-bit grey image, from 0 to 65,535."""
    return np.asarray(image).astype(np.int64).clip(0, 65535)
