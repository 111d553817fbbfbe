"""Conversion of labels, numbers or names of classes, to the numbers that a generator takes. numpy only."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ganzoo.errors import UsageError
from ganzoo.registry import nearest

Label: TypeAlias = int | np.integer[Any] | str
Labels: TypeAlias = Label | Sequence[Label] | NDArray[Any]

SHOWN = 12  # names of classes in a message at most


def checked_labels(
    variant: str, classes: int | None, names: Sequence[str] | None, n: int, labels: Labels
) -> NDArray[np.int64]:
    """Return the numbers of labels, int64 [n].

    Args:
        variant: the name of the generator, for messages.
        classes: how many classes it has; None if it takes no labels.
        names: the classes' names, if they have any.
        n: the number of images.
        labels: one label for all images or a sequence of n, each a number from 0 to classes - 1 or a name.

    Raises UsageError for anything else; its message lists the classes if a label is not one of them.
    """
    if classes is None:
        raise UsageError(f"'{variant}' is unconditional and takes no labels: leave them out")
    given = _integers(labels, classes, names)
    outside = given[(given < 0) | (given >= classes)]
    if outside.size:
        raise UsageError(f"label {outside[0]} is out of range: expected classes {describe_classes(classes, names)}")
    if not isinstance(labels, str) and not is_integer(labels) and given.shape != (n,):
        raise UsageError(f"labels have the shape {list(given.shape)}: expected [{n}], one per image")
    return np.array(np.broadcast_to(given, n), np.int64)


def label_number(name: str, classes: int, names: Sequence[str] | None) -> int:
    """Return the number of the class with a name. Raises UsageError, with all names, if there is none."""
    if names is None:
        raise UsageError(f"no class '{name}': these classes have no names, only numbers from 0 to {classes - 1}")
    if name not in names:
        raise UsageError(
            f"no class '{name}'{nearest(name, list(names))}; expected classes {describe_classes(classes, names)}"
        )
    return list(names).index(name)


def describe_classes(classes: int, names: Sequence[str] | None) -> str:
    """Return `from 0 to 2`, with the names if they are not the numbers: `from 0 to 2 (0 cat, 1 dog, 2 emu)`."""
    if names is None or list(names) == [str(number) for number in range(classes)]:
        return f"from 0 to {classes - 1}"
    shown = [f"{number} {name}" for number, name in enumerate(names[:SHOWN])]
    return f"from 0 to {classes - 1} ({', '.join([*shown, *(['...'] if classes > SHOWN else [])])})"


def is_integer(value: object) -> bool:
    """Return whether a value is an integer of Python or numpy, and not a bool."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _integers(labels: object, classes: int, names: Sequence[str] | None) -> NDArray[Any]:
    """Return labels as an array of integers: [1] for a single one, otherwise in the shape that they have."""
    if is_integer(labels):
        return np.array([labels], object)  # object: an integer beyond 64 bits is then out of range, not an overflow
    if isinstance(labels, str):
        return np.array([label_number(labels, classes, names)])
    if isinstance(labels, np.ndarray) and labels.dtype.kind != "U":
        if labels.dtype.kind not in "iu":
            raise UsageError(f"labels are {labels.dtype}: expected integers; use labels.astype(np.int64)")
        return labels
    expected = "expected a class's number or name, or a list or array of them"
    if isinstance(labels, np.ndarray) and labels.ndim == 1:
        labels = labels.tolist()
    if not isinstance(labels, Sequence) or not all(isinstance(label, str) or is_integer(label) for label in labels):
        text = repr(labels)
        raise UsageError(f"labels are {text if len(text) <= 60 else f'{text[:57]}...'}: {expected}")
    numbers = [label_number(label, classes, names) if isinstance(label, str) else label for label in labels]
    return np.array(numbers, object)
