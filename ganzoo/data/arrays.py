"""Conversion of arrays to uint8 images and integer labels.

    uint8, or any integers from 0 to 255        unchanged
    integers up to 65,535                       reduced to 8 bits, like 16-bit files
    booleans                                    0 and 255
    floats                                      need `value_range`: "0..1", "-1..1" or "0..255"

Images are [N, H, W] or [N, H, W, C], with `channels_first` [N, C, H, W]. Labels are integers, floats that are whole
numbers, or strings, which are the names of classes.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganzoo.data.dataset import CHANNELS, MAX_CLASSES, UNLABELLED, Dataset, describe
from ganzoo.errors import UsageError

RANGES = {"0..1": (0.0, 1.0), "-1..1": (-1.0, 1.0), "0..255": (0.0, 255.0)}
TOLERANCE = 1e-3  # share of a range's width by which floats may exceed it, because of rounding
NO_LABELS = "labels ignored, because all of them are -1"
_CHUNK = 16_000_000  # values that are converted at once

Array = NDArray[Any]


def from_arrays(
    images: Any,
    labels: Any = None,
    *,
    source: str = "array",
    copy: bool = True,
    value_range: str | None = None,
    channels_first: bool | None = None,
    bits: int | None = None,
) -> Dataset:
    """Convert arrays to a data set.

    Args:
        images: numpy [N, H, W] or [N, H, W, C], torch [N, H, W] or [N, C, H, W], with C 1, 3 or 4 (RGBA): uint8, or
            another type that the module's docstring lists.
        labels: numbers [N] from 0 up, -1 for an image without one, or names of classes.
        source: the name of the data set.
        copy: whether to copy images that are already uint8; False for an array that nothing else changes.
        value_range: for floats, "0..1", "-1..1" or "0..255".
        channels_first: whether a numpy array is [N, C, H, W], or a tensor [N, H, W, C] if it is False.
        bits: for integers greater than 255, 1 to 16; None for as many as the greatest one needs.

    Raises: UsageError for anything else, with the code that converts it.
    """
    array, notes = read_images(images, value_range=value_range, channels_first=channels_first, bits=bits)
    tensor = torch.from_numpy(array.copy() if copy and np.shares_memory(array, _to_numpy(images)) else array)
    tensor = tensor.unsqueeze(1) if tensor.ndim == 3 else tensor.permute(0, 3, 1, 2).contiguous()
    numbers, num_classes, names, more = read_labels(labels)
    return Dataset(
        images=tensor.contiguous(),
        labels=numbers,
        num_classes=num_classes,
        class_names=names,
        source=source,
        notes=(*notes, *more),
    )


def read_images(
    images: Any, *, value_range: str | None = None, channels_first: bool | None = None, bits: int | None = None
) -> tuple[NDArray[np.uint8], list[str]]:
    """Return images as uint8 [N, H, W] or [N, H, W, C], and notes on the conversion. Raises UsageError."""
    if not isinstance(images, np.ndarray | Tensor):
        raise UsageError(
            f"images are of type {type(images).__name__}: expected a numpy or torch array (numpy.stack joins a "
            "list of arrays)"
        )
    check_shape(images, channels_first)
    array = _to_numpy(images)
    if array.ndim == 4 and (isinstance(images, Tensor) if channels_first is None else channels_first):
        array = array.transpose(0, 2, 3, 1)
    if array.dtype == np.uint8:
        return array, []
    if array.size == 0:
        return array.astype(np.uint8), []
    convert, note = choose_conversion(array, value_range, bits)
    result = np.empty(array.shape, np.uint8)
    step = max(1, _CHUNK // max(1, array[0].size))
    for start in range(0, len(array), step):
        result[start : start + step] = convert(array[start : start + step])
    return result, [note]


def check_shape(images: Any, channels_first: bool | None = None) -> None:
    """Raise UsageError unless images, of anything with a `shape`, have one of the forms that are read."""
    tensor = isinstance(images, Tensor)
    first = tensor if channels_first is None else channels_first
    layout = "[N, H, W] or [N, C, H, W]" if first else "[N, H, W] or [N, H, W, C]"
    problem = f"images are {describe(images)}: expected {layout}, C 1, 3 or 4"
    if images.ndim not in (3, 4):
        raise UsageError(f"{problem}; for a single image, use images[None]")
    axis = 1 if first else 3
    if images.ndim == 4 and images.shape[axis] not in CHANNELS:
        swap = f"{'permute' if tensor else 'transpose'}({'0, 3, 1, 2' if first else '0, 2, 3, 1'})"
        swapped = images.shape[4 - axis] in CHANNELS
        option = "" if first else " (or --channels-first)"
        raise UsageError(f"{problem}; move the channels with images.{swap}{option}" if swapped else problem)


def choose_conversion(array: Array, value_range: str | None, bits: int | None) -> tuple[Callable[[Array], Array], str]:
    """Return a function that converts an array's values to uint8, and a note on it. Raises UsageError."""
    name, kind = str(array.dtype), array.dtype.kind
    if kind == "b":
        return (lambda part: part.astype(np.uint8) * 255), "booleans converted to 0 and 255"
    if kind not in "iuf":
        raise UsageError(f"images are {describe(array)}: expected numbers")
    low, high = array.min(), array.max()
    if kind == "f":
        return _convert_floats(name, float(low), float(high), value_range)
    if low < 0 or high > 65535:
        raise UsageError(f"images are {name} with values from {low} to {high}: expected 0 to 255, or 0 to 65,535")
    if high <= 255 and bits is None:
        return (lambda part: part.astype(np.uint8)), f"{name} values converted to uint8 unchanged"
    depth = bits or (16 if high > 32767 else int(high).bit_length())
    check_bits(depth, int(high))
    greatest = 2**depth - 1
    note = f"{name} values reduced to 8 bits, as {depth}-bit values"
    if bits is None and depth < 16:
        note += f", because the greatest is {int(high):,} (use --bits 16 for the full 16-bit range)"
    return (
        lambda part: ((part.astype(np.int64).clip(0, greatest) * 255 + greatest // 2) // greatest).astype(np.uint8)
    ), note


def check_bits(bits: int, greatest: int) -> None:
    """Raise UsageError unless the greatest value fits into `bits` bits."""
    if greatest >= 2**bits:
        raise UsageError(
            f"data.bits is {bits}, and the greatest value is {greatest:,}: expected {greatest.bit_length()} or more"
        )


def needed_bits(array: Array) -> int | None:
    """Return the number of bits assumed for integers greater than 255; None for other arrays."""
    if array.dtype.kind not in "iu" or not array.size or (high := int(array.max())) <= 255:
        return None
    return 16 if high > 32767 else high.bit_length()


def _convert_floats(
    name: str, low: float, high: float, value_range: str | None
) -> tuple[Callable[[Array], Array], str]:
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UsageError(f"images are {name} with values that are not finite: expected finite numbers")
    there = f"images are {name} with values from {low:g} to {high:g}"
    if value_range is None:
        fitting = next((key for key, (least, most) in RANGES.items() if least <= low and high <= most), None)
        example = f"state it, for example with --range {fitting} (value_range={fitting!r})"
        advice = example if fitting else "convert them to 0..255 as uint8"
        raise UsageError(f"{there}: floats have no fixed range from black to white; {advice}")
    if value_range not in RANGES:
        raise UsageError(f"value_range is {value_range!r}: expected one of {', '.join(RANGES)}")
    least, most = RANGES[value_range]
    slack = TOLERANCE * (most - least)
    if low < least - slack or high > most + slack:
        raise UsageError(f"{there}: expected values in {value_range}")
    scale = 255 / (most - least)
    return (
        lambda part: np.rint((part.astype(np.float64) - least) * scale).clip(0, 255).astype(np.uint8)
    ), f"{name} values from {value_range} converted to 8 bits"


def read_labels(labels: Any) -> tuple[Tensor | None, int | None, tuple[str, ...] | None, tuple[str, ...]]:
    """Return labels int64 [N], the number of classes, their names if labels are strings, and notes on the conversion.

    Integers and whole floats are class numbers; the number of classes is the greatest one plus 1. Strings are names of
    classes, sorted, and as numbers if all are numbers. The first three are None if there are no labels or all are -1.
    Raises UsageError.
    """
    if labels is None:
        return None, None, None, ()
    if isinstance(labels, list | tuple) and any(label is None for label in labels):
        return _read_some_labels(labels)
    try:
        array = _to_numpy(labels) if isinstance(labels, np.ndarray | Tensor) else np.asarray(labels)
    except ValueError as error:
        raise UsageError(f"labels are not one number or name for each image ({error})") from None
    notes: list[str] = []
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise UsageError(f"labels are {describe(array)}: expected integers [N], one for each image")
    if array.dtype.kind in "US":
        texts = [text.decode(errors="replace") if isinstance(text, bytes) else str(text) for text in array.tolist()]
        names = sort_names(set(texts))
        index = {name: number for number, name in enumerate(names)}
        return torch.tensor([index[text] for text in texts]), len(names), tuple(names), ()
    if array.dtype.kind == "f" and array.size and np.isfinite(array).all() and (array == np.rint(array)).all():
        notes.append(f"{array.dtype} labels converted to integers")
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise UsageError(f"labels are {describe(array)}: expected integers [N]; use labels.astype('int64')")
    if array.size and int(array.max()) >= MAX_CLASSES:
        raise UsageError(
            f"the largest label is {array.max()}: expected at most {MAX_CLASSES - 1}; number the classes from 0"
        )
    numbers = torch.from_numpy(array.astype(np.int64))
    if len(numbers) and int(numbers.max()) == UNLABELLED == int(numbers.min()):
        return None, None, None, (NO_LABELS,)
    return numbers, max(0, int(numbers.max())) + 1 if len(numbers) else 1, None, tuple(notes)


def _read_some_labels(
    labels: Sequence[Any],
) -> tuple[Tensor | None, int | None, tuple[str, ...] | None, tuple[str, ...]]:
    """Return labels as `read_labels` does, with -1 for each None (an image without a label)."""
    known = [number for number, label in enumerate(labels) if label is not None]
    numbers, num_classes, names, notes = read_labels([labels[number] for number in known] or None)
    if numbers is None:
        return None, None, None, notes
    return torch.full((len(labels),), UNLABELLED).index_copy(0, torch.tensor(known), numbers), num_classes, names, notes


def sort_names(names: set[str]) -> list[str]:
    """Return class names in order: numerically if all are numbers, otherwise alphabetically."""
    numbers = all(re.fullmatch(r"[0-9]{1,18}", name) for name in names)
    return sorted(names, key=lambda name: (int(name), name)) if numbers else sorted(names)


def _to_numpy(array: Any) -> Array:
    """Return an array or tensor as a numpy array, without a copy if possible."""
    plain: Array = array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)
    return plain
