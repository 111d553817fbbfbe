"""Images in Python objects: lists of pictures, and data sets of torch, torchvision and Hugging Face."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganzoo.data.arrays import from_arrays, read_labels
from ganzoo.data.dataset import Dataset, Request
from ganzoo.data.decoding import Decoding, Pictures
from ganzoo.errors import UsageError

IMAGES, LABELS = ("image", "img", "images", "pixel_values"), ("label", "labels", "fine_label", "target", "y")
EXPECTED = (
    "expected an array, a pair (images, labels), a list of Pillow images or arrays, or an object with __len__ and "
    "__getitem__ whose items are images, pairs or dictionaries with 'image' and 'label'"
)


def from_object(given: Any, **options: Any) -> Dataset:
    """Convert an object that contains images to a data set in memory.

    Args:
        given: arrays as in `from_arrays`, alone or in a pair with labels; a list of Pillow images or arrays; a
            torch `Dataset` or `DataLoader`; anything with `__len__` and `__getitem__` whose items are images, pairs of
            an image and a label, or dictionaries.
        options: the options for reading images (see `ganzoo.data.ReadOptions`).

    Raises: UsageError for anything else, with what is expected.
    """
    if isinstance(given, Dataset):
        return given
    if isinstance(given, tuple) and len(given) == 2 and not _is_picture(given[0]):  # not a pair of pictures
        return _convert_items(given[0], given[1], options)
    return _convert_items(given, None, options)


def _convert_items(images: Any, labels: Any, options: Mapping[str, Any]) -> Dataset:
    if isinstance(images, np.ndarray | Tensor):
        return _convert_arrays(images, labels, options)
    held = getattr(images, "dataset", None) if type(images).__name__ == "DataLoader" else images
    if not (hasattr(held, "__len__") and hasattr(held, "__getitem__")) or isinstance(held, str | bytes | os.PathLike):
        raise UsageError(f"images are of type {type(images).__name__}: {EXPECTED}")
    assert held is not None, "it has a length"
    if isinstance(held, Mapping):
        raise UsageError(f"images are a dictionary with {', '.join(map(str, list(held)[:9]))}: give one of these")
    if not len(held):
        raise UsageError(f"images are an empty {type(held).__name__}: expected at least one image")
    try:
        items = [held[number] for number in range(len(held))]
    except (KeyError, IndexError, TypeError) as error:
        raise UsageError(f"{type(held).__name__} does not return items by number ({error!r}): {EXPECTED}") from None
    pairs = [_split(item, number) for number, item in enumerate(items)]
    if labels is None and any(label is not None for _, label in pairs):
        labels = [_plain_label(label, number) for number, (_, label) in enumerate(pairs)]
    pictures = [picture for picture, _ in pairs]
    if all(_is_picture(picture) for picture in pictures):
        dataset = _convert_pictures(pictures, labels, options)
    else:
        dataset = _convert_arrays(_stack(pictures), labels, options)
    names = _class_names(held)
    return dataset if names is None else dataset.with_names(names)


def _split(item: Any, number: int) -> tuple[Any, Any]:
    """Return an item's image and its label, or None as the label. Raises UsageError if there is no image."""
    if isinstance(item, Mapping):
        image = next((item[key] for key in IMAGES if key in item), None)
        label = next((item[key] for key in LABELS if key in item), None)
    elif isinstance(item, tuple | list) and item and _is_image(item[0]):
        image, label = item[0], item[1] if len(item) > 1 else None
    else:
        image, label = item, None
    if not _is_image(image):
        raise UsageError(f"item {number} is of type {type(item).__name__} and contains no image: {EXPECTED}")
    return image, label


def _plain_label(label: Any, number: int) -> Any:
    """Return a label as a plain Python value. Raises UsageError if it is an array of several values."""
    if isinstance(label, Tensor | np.ndarray | np.generic):
        if math.prod(label.shape) != 1:
            raise UsageError(
                f"the label of item {number} has the shape {list(np.shape(label))}: expected one number or name"
            )
        return label.item()
    return label


def _is_picture(value: Any) -> bool:
    return type(value).__module__.split(".")[0] == "PIL" and hasattr(value, "getbands")


def _is_image(value: Any) -> bool:
    """Return whether a value is a picture, or an array with two or three dimensions."""
    return _is_picture(value) or (isinstance(value, np.ndarray | Tensor) and value.ndim in (2, 3))


def _stack(images: Sequence[Any]) -> Any:
    shapes = {tuple(np.shape(image)) for image in images}
    if len(shapes) > 1:
        first, second, *_ = sorted(map(list, shapes))
        raise UsageError(
            f"images differ in shape, such as {first} and {second}: resize them to one shape, or use Pillow images"
        )
    if all(isinstance(image, Tensor) for image in images):
        return torch.stack(list(images))
    return np.stack([np.asarray(image) for image in images])


def _convert_arrays(images: Any, labels: Any, options: Mapping[str, Any]) -> Dataset:
    return from_arrays(
        images,
        labels,
        value_range=options.get("value_range"),
        channels_first=options.get("channels_first") or None,
        bits=options.get("bits"),
    )


def _convert_pictures(pictures: Sequence[Any], labels: Any, options: Mapping[str, Any]) -> Dataset:
    chosen: dict[str, Any] = {key: options.get(key) for key in ("image_size", "channels", "bits")}
    chosen |= {key: options[key] for key in ("fit", "background") if key in options}
    request = Request(name="array", data_dir=Path(), **chosen)
    names = [f"image {number}" for number in range(len(pictures))]
    work = Decoding(Pictures("the list", list(pictures), names), request)
    images = torch.from_numpy(work.collect())
    numbers, num_classes, class_names, notes = read_labels(labels)
    return Dataset(
        images=images,
        labels=numbers,
        num_classes=num_classes,
        class_names=class_names,
        source="array",
        notes=(*notes, *work.describe()),
    )


def _class_names(held: Any) -> Sequence[str] | None:
    """Return the class names of a torchvision or Hugging Face data set."""
    names = getattr(held, "classes", None)
    features = getattr(held, "features", None)
    if names is None and isinstance(features, Mapping):
        names = next((getattr(features[key], "names", None) for key in LABELS if key in features), None)
    return names if isinstance(names, Sequence) and not isinstance(names, str) and names else None
