"""Your own images as files: `folder:PATH`.

`scanning.py` finds the images and their classes, `decoding.py` makes pixels of a file.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ganzoo.data.dataset import Dataset, Request, from_file
from ganzoo.data.decoding import decode, each, read_greatest, read_kind
from ganzoo.data.files import announce_decoding, requested_path
from ganzoo.data.mapped import DecodedImages, ImageFile, Shape, stamp_of
from ganzoo.data.memory import MB, allowed_memory
from ganzoo.data.scanning import scan
from ganzoo.errors import FileError, MachineError, UsageError
from ganzoo.registry import datasets


@datasets.register("folder")
def folder(request: Request) -> Dataset:
    """`folder:PATH`, its images flat or in a folder for each class, or a split of such: see `scanning.scan`.

    Grey if every image is grey (1, 8 or 16 bits), else RGB, or what `channels` says. Transparent pixels are laid on
    white, EXIF orientation is applied, of an animation the first picture counts. 16-bit grey has `bits` bits; if that
    is not given, 16, or if its values fill less than half of that range, as many as hold the greatest one. With
    `image_size` each image is cropped to its central square and resized with antialiasing, otherwise all must be of one
    size. What does not fit into memory is decoded into the cache. `notes` reports all of that which was done. Raises
    FileError or UsageError; MachineError for a cache without room.
    """
    root = requested_path(request, "folder:PATH", splits=True)
    found = scan(root, request.split, split=request.folders == "auto")
    dataset = partial(
        _dataset,
        labels=None if found.labels is None else torch.tensor(found.labels),
        num_classes=None if found.labels is None else len(found.names),
        class_names=None if found.labels is None else found.names,
        source=f"folder:{root}",
        memory=allowed_memory(request.memory),
        notes=found.notes,
    )
    parts = (f"folder:{root}", request.split, request.image_size, request.channels, request.bits, request.folders)
    cache = DecodedImages(parts, _state(root, found.paths))
    if (kept := cache.find()) is not None:
        return dataset(kept, done=cache.notes())
    work = _Decoding(root, found.paths, request)
    first = next(work.images)
    shape = (len(found.paths), work.channels, *first.shape[1:])
    if math.prod(shape) > allowed_memory(request.memory) * MB:
        announce_decoding(f"folder:{root}", shape, cache)
        kept = cache.make(shape, chain([first], work.images), work.describe)
        return dataset(kept, done=cache.notes())
    images = _room_for(shape)
    for index, pixels in enumerate(chain([first], work.images)):
        images[index] = pixels
    return dataset(torch.from_numpy(images), done=work.describe())


def _dataset(
    images: ImageFile | torch.Tensor, *, memory: int, notes: tuple[str, ...], done: tuple[str, ...], **about: Any
) -> Dataset:
    """Return the data set of images in memory or in a file."""
    dataset = (
        Dataset(images=images, **about) if isinstance(images, torch.Tensor) else from_file(images, memory, **about)
    )
    return replace(dataset, notes=(*notes, *done))


class _Decoding:
    """The decoding of a folder's images, one after the other, and what was done to them."""

    def __init__(self, root: Path, paths: list[Path], request: Request) -> None:
        self._root, self._paths, self._image_size = root, paths, request.image_size
        self._done: Counter[str] = Counter()
        self._notes: list[str] = []
        grey, deep = True, []
        for path, kind in zip(paths, each(root, paths, read_kind), strict=True):
            grey = grey and kind.grey
            deep += [path] if kind.deep else []
        self.channels = request.channels or (1 if grey else 3)
        self._bits = self._choose_bits(deep, request.bits)
        self.images = self._decode()  # uint8 [C, H, W] each; raises UsageError if they differ in size

    def _choose_bits(self, deep: list[Path], asked: int | None) -> int:
        """Return how many bits the values of 16-bit grey images have."""
        if not deep:
            return 16
        note = f"16-bit grey reduced to 8 bits ({_share(len(deep), len(self._paths))})"
        if asked is not None:
            self._notes.append(f"{note}, as {asked}-bit values")
            return asked
        greatest = max(each(self._root, deep, read_greatest))
        bits = 16 if greatest > 32767 else max(1, greatest.bit_length())
        if bits < 16:
            note += f", as {bits}-bit values, for the greatest is {greatest:,} (--bits 16: as they are)"
        self._notes.append(note)
        return bits

    def _decode(self) -> Iterator[NDArray[np.uint8]]:
        shape: tuple[int, ...] | None = None
        function = partial(decode, self.channels, self._image_size, self._bits)
        for index, decoded in enumerate(each(self._root, self._paths, function)):
            pixels = decoded.pixels
            shape = shape or pixels.shape
            if pixels.shape != shape:
                first, other = (f"{width} x {height}" for _, height, width in (shape, pixels.shape))
                raise UsageError(
                    f"the images in {self._root} differ in size: {self._paths[0].relative_to(self._root)} is {first}, "
                    f"{self._paths[index].relative_to(self._root)} is {other}; bring them to one size, as with "
                    "--image-size 64"
                )
            self._done.update(decoded.done)
            yield pixels

    def describe(self) -> tuple[str, ...]:
        """Return what was done to the images that were decoded so far."""
        done = (f"{what} ({_share(count, len(self._paths))})" for what, count in self._done.items())
        return (*self._notes, *done)


def _share(count: int, of: int) -> str:
    """Return how many of the images, in words."""
    return "all images" if count == of else f"{count:,} image{'s' if count != 1 else ''}"


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


def _room_for(shape: Shape) -> NDArray[np.uint8]:
    try:
        return np.empty(shape, np.uint8)
    except MemoryError as error:
        raise MachineError(
            f"no memory for {shape[0]} images of {list(shape[1:])}: --image-size makes them smaller, and with "
            "--set data.memory=N, in MB, they stay on disk"
        ) from error
