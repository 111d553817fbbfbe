"""Your own image files: `folder:PATH`.

`scanning.py` finds the images and their classes, `decoding.py` decodes a file to pixels.
"""

import hashlib
import math
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from ganzoo.data.dataset import Dataset, Request, from_file
from ganzoo.data.decoding import Decoding, Pictures, leave_broken_aside
from ganzoo.data.files import announce_decoding, requested_path
from ganzoo.data.mapped import DecodedImages, stamp_of
from ganzoo.data.memory import MB, allowed_memory
from ganzoo.data.scanning import Scan, scan
from ganzoo.errors import FileError
from ganzoo.registry import datasets


@datasets.register("folder")
def folder(request: Request) -> Dataset:
    """`folder:PATH`, its images flat or in one folder per class, or a split of these: see `scanning.scan`.

    Images are grey if all of them are (1, 8 or 16 bits), otherwise RGB; `channels` overrides this. Transparent pixels
    are blended with `background` unless `channels` is 4. EXIF orientation is applied, and only the first frame of an
    animation is used. 16-bit grey has `bits` bits; by default 16, or, if the values fill less than half of that range,
    as many as the greatest value needs. With `image_size`, images are resized as `fit` defines, with antialiasing;
    without it, all must have one size. `skip_broken` skips files that cannot be read. Images that do not fit into
    memory are decoded into the cache. `notes` reports what was done. Raises FileError or UsageError; MachineError if
    the cache has no room.
    """
    root = requested_path(request, "folder:PATH", splits=True)
    return read_folder(root, request, f"folder:{root}")


def read_folder(
    root: Path, request: Request, source: str, notes: tuple[str, ...] = (), found: Scan | None = None
) -> Dataset:
    """Return the images in a folder, or those that were `found`, as the data set `source`, read as in `folder`."""
    found = found or scan(root, request.split, split=request.folders == "auto")
    pictures = _pictures(root, found.paths)
    labels, notes = found.labels, (*notes, *found.notes)
    if request.skip_broken:
        sound, broken = leave_broken_aside(pictures, request)
        pictures = _pictures(root, [found.paths[number] for number in sound])
        labels, notes = labels and [labels[number] for number in sound], (*notes, *broken)
    memory = allowed_memory(request.memory)
    about: dict[str, Any] = {"source": source, "labels": None, "num_classes": None, "class_names": None}
    if labels is not None:
        about |= {"labels": torch.tensor(labels), "num_classes": len(found.names), "class_names": found.names}
    how = (request.image_size, request.channels, request.fit, request.background, request.bits, request.skip_broken)
    cache = DecodedImages((source, request.split, request.folders, *how), _state(root, [*found.paths, *found.others]))
    kept = cache.find()
    if kept is None:
        others = None if request.skip_broken or not found.others else _pictures(root, found.others)
        work = Decoding(pictures, request, others)
        first = next(work.images)
        shape = (len(pictures.items), work.channels, *first.shape[1:])
        if math.prod(shape) <= memory * MB:
            images = torch.from_numpy(work.collect(first))
            return Dataset(images=images, notes=(*notes, *work.describe()), **about)
        announce_decoding(source, shape, cache)
        kept = cache.make(shape, chain([first], work.images), work.describe)
    return replace(from_file(kept, memory, **about), notes=(*notes, *cache.notes()))


def _pictures(root: Path, paths: list[Path]) -> Pictures:
    """Return files as pictures, named by their paths in the folder."""
    names = [str(path.relative_to(root)) for path in paths]
    return Pictures(str(root), paths, names, " (--skip-broken skips them)")


def _state(root: Path, paths: list[Path]) -> tuple[Any, ...]:
    """Return a digest of the names, sizes and modification times of files. Raises FileError."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            stamp = stamp_of(path.stat())
        except OSError as error:
            raise FileError(f"{path} cannot be read: {error.strerror}") from None
        digest.update(f"{path.relative_to(root)}\0{stamp}\0".encode(errors="surrogateescape"))
    return (digest.hexdigest(),)
