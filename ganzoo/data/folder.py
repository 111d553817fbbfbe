"""Your own images as files: `folder:PATH`.

A folder holds images, or a folder of images for each class (below it, folders nest as you like). Everything in it is
taken for hostile: no link is followed that leads out of the folder, and files are decoded as `decoding.py` says.
"""

import hashlib
import math
import os
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ganzoo.data.dataset import Dataset, Request, from_file
from ganzoo.data.decoding import decode, each, is_grey
from ganzoo.data.files import announce_decoding, requested_path
from ganzoo.data.mapped import DecodedImages, ImageFile, Shape, stamp_of
from ganzoo.data.memory import MB, allowed_memory
from ganzoo.errors import FileError, MachineError, UsageError
from ganzoo.files import IMAGE_SUFFIXES
from ganzoo.registry import datasets

MAX_FILES = 1_000_000


@datasets.register("folder")
def folder(request: Request) -> Dataset:
    """`folder:PATH`, its images flat or in a folder a class, labelled in the order of the folders' sorted names.

    Grey if every image is grey (1, 8 or 16 bits), else RGB, or what `channels` says. Transparent pixels are laid on
    white, EXIF orientation is applied, of an animation the first picture counts. With `image_size` each is cropped
    to its central square and resized with antialiasing, otherwise all must be of one size. What does not fit into
    memory is decoded into the cache. Raises FileError or UsageError; MachineError for a cache without room.
    """
    root = requested_path(request, "folder:PATH")
    paths, numbers, names = _classes(root)
    source, memory = f"folder:{root}", allowed_memory(request.memory)
    labels = None if numbers is None else torch.tensor(numbers)
    num_classes, class_names = (None, None) if labels is None else (len(names), names)

    def in_file(file: ImageFile) -> Dataset:
        return from_file(file, memory, labels=labels, num_classes=num_classes, class_names=class_names, source=source)

    cache = DecodedImages((source, request.image_size, request.channels), _state(root, paths))
    if (found := cache.find()) is not None:
        return in_file(found)
    channels = request.channels or (1 if all(each(root, paths, is_grey)) else 3)
    decoded = _decoded(root, paths, channels, request.image_size)
    first = next(decoded)
    shape = (len(paths), channels, *first.shape[1:])
    if math.prod(shape) > memory * MB:
        announce_decoding(source, shape, cache)
        return in_file(cache.make(shape, chain([first], decoded)))
    images = _room_for(shape)
    for index, pixels in enumerate(chain([first], decoded)):
        images[index] = pixels
    return Dataset(
        images=torch.from_numpy(images), labels=labels, num_classes=num_classes, class_names=class_names, source=source
    )


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
    for index, pixels in enumerate(each(root, paths, partial(decode, channels, image_size))):
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
