"""The data set (images as one uint8 tensor, and labels), and its conversion to a size and number of channels."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganzoo.data.mapped import ImageFile, Mapped
from ganzoo.data.memory import MB
from ganzoo.errors import UsageError, shown

MAX_CLASSES = 1_000_000  # a greater label is a mistake, and networks would get a row of weights for every class
UNLABELLED = -1  # the label of an image whose label is missing or hidden
_CHUNK_PIXELS = 16_000_000  # resized at once: a float copy of a whole set would need several times its memory
CROPPED, PADDED, STRETCHED = "cropped to the middle", "padded with the background", "stretched"
TO_GREY, TO_RGB, TO_RGBA = "colours converted to grey", "grey repeated to RGB", "alpha channel added to opaque images"
LAID = "transparent pixels blended with the background"
CHANNELS = (1, 3, 4)  # grey, RGB, and RGBA, whose alpha is not premultiplied
_SIZE = re.compile(r"0*[1-9]\d{0,8}")  # pixels
_LUMA = (19595, 38470, 7471)  # ITU-R 601: 0.299 R + 0.587 G + 0.114 B, in 1/65536


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Images uint8 [N, C, H, W] with C 1, 3 or 4 (RGBA), and labels int64 [N] in [0, num_classes), or None for both.

    An image without a label has the label -1.

    `source` is the name by which it can be loaded again, `note` one line for the user, and `notes` are short remarks on
    what loading changed or ignored. If `mapped` is not None, the images are a view of a file, and only indexed images
    are read. Raises UsageError.
    """

    images: Tensor
    mapped: Mapped | None = None
    labels: Tensor | None = None
    num_classes: int | None = None
    class_names: tuple[str, ...] | None = None
    source: str
    note: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_images(self.images)
        if self.mapped is not None and self.images.shape != self.mapped.file.shape:
            raise UsageError(
                f"images are {describe(self.images)}, not those of the file: use mapped=None for other images"
            )
        if (self.labels is None) != (self.num_classes is None):
            raise UsageError("a data set has labels and num_classes, or neither")
        if self.labels is not None and self.num_classes is not None:
            _check_labels(self.labels, len(self.images), self.num_classes)
        if self.class_names is not None and len(self.class_names) != self.num_classes:
            raise UsageError(f"{len(self.class_names)} class names for num_classes={self.num_classes}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Return the shape of an image, (C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @cached_property
    def class_counts(self) -> tuple[int, ...] | None:
        """Return the number of images of each class; None without labels."""
        if self.labels is None or self.num_classes is None:
            return None
        return tuple(self.labels[self.labels >= 0].bincount(minlength=self.num_classes).tolist())

    @cached_property
    def unlabelled(self) -> int:
        """Return the number of images without a label; 0 if no image has one."""
        return 0 if self.labels is None else int((self.labels < 0).sum())

    @cached_property
    def labelled(self) -> "Dataset":
        """Return the images with a label, as a data set in memory; the same object if all or none have one."""
        if self.labels is None or not self.unlabelled:
            return self
        rows = (self.labels >= 0).nonzero().squeeze(1)
        return replace(self, images=self.images[rows].contiguous(), labels=self.labels[rows], mapped=None)

    def with_names(self, names: Sequence[str]) -> "Dataset":
        """Return the data set with the class names `names`; unchanged if they do not cover all classes.

        Labels without class names keep their numbers; labels with class names are renumbered in the order of `names`.
        """
        given = tuple(map(str, names))
        if self.num_classes is None or self.labels is None or len(given) < self.num_classes:
            return self
        if self.class_names is None:
            return replace(self, num_classes=len(given), class_names=given)
        if not set(self.class_names) <= set(given):
            return self
        numbers = torch.tensor([given.index(name) for name in self.class_names])
        labels = torch.where(self.labels >= 0, numbers[self.labels.clamp(min=0)], UNLABELLED)
        return replace(self, labels=labels, num_classes=len(given), class_names=given)

    @cached_property
    def sha256(self) -> str:
        """Return the hexadecimal SHA-256 of the images' shape and bytes and the labels' bytes."""
        if self.mapped is not None:
            return self.mapped.sha256
        digest = hashlib.sha256(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.cpu().contiguous().numpy().data)
        digest.update(_label_bytes(self.labels))
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Request:
    """The argument of a source function, which returns a Dataset or raises a GanzooError.

        @datasets.register("digits")
        def digits(request: Request) -> Dataset: ...

    `argument` is the text after the colon in `NAME:ARGUMENT`, `data_dir` the folder for fetched files, `split` "train"
    or "test", `download` whether the network may be used, and `memory` the memory budget for images in MB (None: half
    of the free memory). `load` converts the result to `image_size` and `channels`, so a source may ignore them. `bits`,
    `value_range`, `channels_first` and `folders` are for sources that read a user's files.
    """

    name: str
    data_dir: Path
    argument: str | None = None
    image_size: int | str | None = None
    channels: int | None = None
    fit: str = "crop"
    background: str = "white"
    skip_broken: bool = False
    bits: int | None = None
    value_range: str | None = None
    channels_first: bool = False
    folders: str = "auto"
    split: str = "train"
    download: bool = True
    memory: int | None = None


def from_file(
    file: ImageFile,
    memory: int,
    *,
    labels: Tensor | None,
    num_classes: int | None,
    class_names: tuple[str, ...] | None = None,
    source: str,
) -> Dataset:
    """Return a data set with images from a file; they stay there if they exceed `memory` MB. Labels are in memory.

    A file whose images stay there is read completely the first time, for its hash. Raises UsageError for labels that do
    not fit the images, FileError for a damaged file.
    """
    dataset = Dataset(
        images=file.images(), labels=labels, num_classes=num_classes, class_names=class_names, source=source
    )
    size = file.image_bytes * len(dataset) / MB
    if size <= memory:
        return replace(dataset, images=dataset.images.clone(memory_format=torch.contiguous_format))
    return replace(
        dataset,
        mapped=Mapped(file=file, memory=memory, sha256=file.sha256(_label_bytes(labels))),
        note=f"{size:,.0f} MB of images exceed the memory budget of {memory:,} MB (data.memory): they stay on disk",
    )


def fit(
    dataset: Dataset,
    image_size: int | str | None = None,
    channels: int | None = None,
    *,
    mode: str = "crop",
    background: str = "white",
) -> Dataset:
    """Return the data set with images of another size and number of channels.

    Args:
        dataset: the images; the same object is returned if nothing changes, otherwise the result is in memory.
        image_size: the side of squares in pixels, or width and height such as "80x60"; None keeps the size. Resizing is
            bicubic, with antialiasing.
        channels: 1 converts RGB to grey (ITU-R 601), 3 repeats grey, and both blend transparent pixels with the
            background; 4 adds an opaque alpha channel. None keeps the channels.
        mode: how images of another aspect ratio are fitted: "crop" to the middle, "pad" with the background, "stretch".
        background: a colour, as a name or #rrggbb.

    Raises: UsageError.
    """
    check_size(image_size, channels)
    images, notes = dataset.images, list(dataset.notes)
    if channels in (1, 3) and images.shape[1] == 4:
        colour = torch.tensor(read_colour(background)).view(1, 3, 1, 1)
        images = _in_chunks(images, lambda chunk: _blend(chunk, colour), (3, *images.shape[2:]))
        notes.append(LAID)
    if channels == 1 and images.shape[1] == 3:
        images = _in_chunks(images, _to_grey, (1, *images.shape[2:]))
        notes.append(TO_GREY)
    size = read_size(image_size)
    if size is not None and tuple(images.shape[2:]) != size:
        images, done = _fit_to_size(images, size, mode, background)
        notes += done
    if channels in (3, 4) and images.shape[1] == 1:
        images = images.repeat(1, 3, 1, 1)
        notes.append(TO_RGB)
    if channels == 4 and images.shape[1] == 3:
        images = torch.cat([images, torch.full_like(images[:, :1], 255)], 1)
        notes.append(TO_RGBA)
    return dataset if images is dataset.images else replace(dataset, images=images, mapped=None, notes=tuple(notes))


def _fit_to_size(images: Tensor, size: tuple[int, int], mode: str, background: str) -> tuple[Tensor, list[str]]:
    """Return images of a size (H, W), and notes on what was changed."""
    given = (int(images.shape[2]), int(images.shape[3]))
    inner, action = inner_size(given, size, mode)
    notes = [action] if action else []
    if action and mode == "crop":
        height, width = cut = crop_of(given, size)
        top, left = (given[0] - height) // 2, (given[1] - width) // 2
        images, given = images[:, :, top : top + height, left : left + width], cut
    if given != inner:
        notes.append(f"resized from {given[1]} x {given[0]} to {inner[1]} x {inner[0]}")
    images = _resize(images, inner)
    if inner == size:
        return images, notes
    colour = read_colour(background)
    values = {1: [colour_to_grey(colour)], 3: list(colour), 4: [*colour, 0]}[images.shape[1]]
    padded = torch.tensor(values, dtype=torch.uint8).view(1, -1, 1, 1).repeat(len(images), 1, *size)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    padded[:, :, top : top + inner[0], left : left + inner[1]] = images
    return padded, notes


def inner_size(given: tuple[int, int], size: tuple[int, int], mode: str) -> tuple[tuple[int, int], str | None]:
    """Return the (H, W) that an image is resized to within `size`, and a note on cropping, padding or stretching."""
    if given[0] * size[1] == given[1] * size[0]:
        return size, None
    if mode == "crop":
        return size, CROPPED
    if mode == "stretch":
        return size, STRETCHED
    scale = min(size[0] / given[0], size[1] / given[1])
    return (max(1, round(given[0] * scale)), max(1, round(given[1] * scale))), PADDED


def crop_of(given: tuple[int, int], size: tuple[int, int]) -> tuple[int, int]:
    """Return the largest (H, W) within an image that has the aspect ratio of `size`."""
    scale = min(given[0] / size[0], given[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def read_size(image_size: int | str | None) -> tuple[int, int] | None:
    """Return (H, W) of `64` or of `80x60`, which is 80 wide. Raises UsageError."""
    if image_size is None:
        return None
    words = str(image_size).split("x")
    if not all(_SIZE.fullmatch(word) for word in words) or len(words) > 2:
        raise UsageError(
            f"data.image_size is {shown(image_size)}: expected a number of pixels, 1 or more, or width and height as "
            "in 80x60"
        )
    return int(words[-1]), int(words[0])


def read_colour(name: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of a colour name or #rrggbb. Raises UsageError."""
    from PIL import ImageColor

    try:
        red, green, blue, *_ = ImageColor.getrgb(name)
    except ValueError:
        raise UsageError(f"data.background is '{name}': expected a colour such as white, black or #30a0ff") from None
    return red, green, blue


def colour_to_grey(colour: tuple[int, int, int]) -> int:
    """Return the grey value of a colour, with the weights of ITU-R 601."""
    return (sum(value * weight for value, weight in zip(colour, _LUMA, strict=True)) + 0x8000) >> 16


def check_size(image_size: int | str | None, channels: int | None) -> None:
    """Raise UsageError unless `image_size` is a size or None, and `channels` 1, 3, 4 or None."""
    read_size(image_size)
    if channels not in (None, *CHANNELS):
        raise UsageError(f"data.channels is {channels}: expected 1 (grey), 3 (RGB) or 4 (RGBA)")


def _check_images(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise UsageError(f"images are {describe(images)}: expected uint8 [N, C, H, W]")
    if images.shape[1] not in CHANNELS:
        raise UsageError(f"images are {describe(images)}: expected 1, 3 or 4 channels in [N, C, H, W]")
    if 0 in images.shape:
        raise UsageError(f"images are {describe(images)}: expected at least one image of at least one pixel")


def _check_labels(labels: Tensor, count: int, num_classes: int) -> None:
    if labels.dtype != torch.int64 or labels.shape != (count,):
        raise UsageError(f"labels are {describe(labels)}: expected int64 [{count}], one for each image")
    low, high = int(labels.min()), int(labels.max())
    if low < UNLABELLED or high >= num_classes:
        raise UsageError(
            f"labels are in [{low}, {high}]: expected [0, {num_classes - 1}], and {UNLABELLED} for an image without one"
        )
    if num_classes > MAX_CLASSES:
        raise UsageError(f"{num_classes} classes: expected at most {MAX_CLASSES}; number the classes from 0")


def describe(array: Any) -> str:
    """Return an array's type and shape for messages, such as `float32 [10, 28, 28]`."""
    return f"{str(array.dtype).removeprefix('torch.')} {list(array.shape)}"


def _label_bytes(labels: Tensor | None) -> bytes:
    return b"" if labels is None else labels.cpu().contiguous().numpy().astype("<i8", copy=False).tobytes()


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images [N, C, H, W] to [N, C, *size]."""
    if tuple(images.shape[2:]) == size:
        return images.contiguous()

    def resize(chunk: Tensor) -> Tensor:
        floats = chunk.float()
        if chunk.shape[1] == 4:  # colours of transparent pixels must not bleed into visible ones
            floats[:, :3] *= floats[:, 3:] / 255
        floats = torch.nn.functional.interpolate(floats, size, mode="bicubic", antialias=True)
        if chunk.shape[1] == 4:
            floats[:, :3] *= 255 / floats[:, 3:].clamp(min=1)
        return floats.round_().clamp_(0, 255)  # bicubic overshoots at edges

    return _in_chunks(images, resize, (images.shape[1], *size))


def _blend(images: Tensor, colour: Tensor) -> Tensor:
    """Blend images [n, 4, H, W] with a colour [1, 3, 1, 1] to [n, 3, H, W], rounded."""
    alpha = images[:, 3:].int()
    return (images[:, :3].int() * alpha + colour * (255 - alpha) + 127) // 255


def _to_grey(images: Tensor) -> Tensor:
    """Convert images [n, 3, H, W] to [n, 1, H, W], rounded like Pillow."""
    red, green, blue = (images[:, [c]].int() * weight for c, weight in enumerate(_LUMA))
    return (red + green + blue + 0x8000) >> 16


def _in_chunks(images: Tensor, function: Any, shape: Sequence[int]) -> Tensor:
    """Apply `function` to images, a chunk at a time; return uint8 [N, *shape]."""
    result = torch.empty((len(images), *shape), dtype=torch.uint8)
    pixels = max(images[0].numel(), result[0].numel())
    count = max(1, _CHUNK_PIXELS // pixels)
    for start in range(0, len(images), count):
        result[start : start + count] = function(images[start : start + count])
    return result
