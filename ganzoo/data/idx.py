"""Images in IDX, MNIST's own format: `idx:FILE`, compressed with gzip or not, with the labels in a file beside it."""

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganzoo.data.arrays import from_arrays, needed_bits
from ganzoo.data.dataset import Dataset, Request
from ganzoo.data.files import requested_path
from ganzoo.data.memory import MB, allowed_memory
from ganzoo.errors import FileError, MachineError, NoSplitError, UsageError
from ganzoo.registry import datasets

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_BYTES = 16_000_000_000  # of an array, according to its header
TRAIN, TEST = re.compile(r"^train"), ("t10k", "test")


@datasets.register("idx")
def idx(request: Request) -> Dataset:
    """`idx:FILE`, such as `idx:train-images-idx3-ubyte.gz`, with its labels and test images if they are beside it.

    The file of labels has `labels` instead of `images` in its name; that of test images has `t10k` or `test` instead of
    `train`. Each may end with `.gz` or not. Raises FileError.
    """
    path = requested_path(request, "idx:FILE", splits=True)
    place = path
    if request.split != "train":
        names = [TRAIN.sub(word, path.name) for word in TEST] if TRAIN.match(path.name) else []
        found = next((other for name in names if (other := _find_beside(path, name)) is not None), None)
        if found is None:
            raise NoSplitError(f"{path} has no split '{request.split}': there are no t10k or test images beside it")
        place = found
    name = place.name.replace("images", "labels").replace("idx3", "idx1")
    beside = None if name == place.name else _find_beside(place, name)
    try:
        return from_arrays(
            read_idx(place),
            None if beside is None else read_idx(beside),
            source=f"idx:{path}",
            copy=False,
            value_range=request.value_range,
            channels_first=request.channels_first,
            bits=request.bits or (None if place == path else needed_bits(read_idx(path))),
        )
    except UsageError as error:
        raise FileError(f"{place}: {error}") from error


def _find_beside(path: Path, name: str) -> Path | None:
    """Return the file with a name beside `path`, compressed or not; None if there is none."""
    plain = name.removesuffix(".gz")
    return next(
        (
            place
            for place in (path.with_name(name), path.with_name(plain), path.with_name(f"{plain}.gz"))
            if place.is_file()
        ),
        None,
    )


def read_idx(path: Path) -> NDArray[Any]:
    """Return the array in an IDX file. Raises FileError for a damaged file or one of another format."""
    expected = "expected IDX as in MNIST: two zeros, a type, the number of dimensions, their sizes, the values"
    try:
        packed = _is_gzip(path)
        with gzip.open(path) if packed else path.open("rb") as file:
            head = file.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in TYPES or not 1 <= head[3] <= 4:
                raise FileError(f"{path} begins with {head.hex(' ') or 'nothing'}: {expected}")
            shape = np.frombuffer(file.read(4 * head[3]), ">u4").tolist()
            dtype = np.dtype(TYPES[head[2]])
            size = math.prod(shape) * dtype.itemsize
            extent = math.prod(filter(None, shape)) * dtype.itemsize  # numpy limits the sizes of an empty array too
            if len(shape) < head[3] or extent > MAX_BYTES:
                raise FileError(f"{path} states the sizes {shape}: expected at most {MAX_BYTES:,} bytes; {expected}")
            if packed and size > allowed_memory(None) * MB:  # a small file can expand to that much
                raise MachineError(
                    f"{path} states {size / MB:,.0f} MB of values, over half of the free memory: unpack it (gunzip)"
                )
            data = file.read((size if packed else min(size, path.stat().st_size)) + 1)
    except (OSError, EOFError, ValueError, zlib.error, MemoryError) as error:
        raise FileError(f"{path} cannot be read ({error}): {expected}") from error
    if len(data) != size:
        longer = "more" if len(data) > size else f"{len(data):,}"
        raise FileError(f"{path} should have {size:,} bytes of values according to its header, but has {longer}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"
