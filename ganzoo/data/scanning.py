"""Scan of a folder for its images, classes and splits.

A folder contains images, or one folder of images per class (with any folders below it), or `train/` and `test/`, `val/`
or `valid/` with either of these. Links that lead out of the folder are not followed.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ganzoo.data.arrays import sort_names
from ganzoo.errors import FileError, MachineError, NoSplitError
from ganzoo.files import HEIC_SUFFIXES, check_name, image_suffixes

MAX_FILES = 1_000_000
SHOWN = 5  # at most, of names in a note
TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")  # the first that exists has the test images


@dataclass(frozen=True, kw_only=True)
class Scan:
    """The images of one split, and notes on what was ignored."""

    paths: list[Path]  # sorted
    labels: list[int] | None  # None if there are no folders for classes
    names: tuple[str, ...]  # of the classes
    notes: tuple[str, ...]
    others: list[Path] = field(default_factory=list)  # the images of the other split, if there is one


@dataclass
class _Walk:
    """The images in a folder, and counts of other files."""

    root: Path
    images: list[Path] = field(default_factory=list)
    folders: set[Path] = field(default_factory=set)  # directly in the root
    aside: Counter[str] = field(default_factory=Counter)  # files that are not read, by kind

    def describe(self) -> Iterator[str]:
        """Yield notes on what was ignored."""
        if self.aside:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.aside.most_common())
            yield f"not read: {kinds}"
        empty = sorted(self.folders - {self.root / path.relative_to(self.root).parts[0] for path in self.images})
        if empty:
            names = [path.name for path in empty[:SHOWN]] + (["..."] if len(empty) > SHOWN else [])
            yield f"folders without images: {', '.join(names)}"


def scan(root: Path, part: str, *, split: bool) -> Scan:
    """Return the images of a folder's `part`, "train" or "test".

    Args:
        root: the folder, without links in its path.
        part: which split.
        split: whether folders named train, test, val and so on are splits, and classes whose names are numbers are
            ordered as numbers. Otherwise each folder is a class, in the order of the sorted names.

    Raises: NoSplitError; FileError for a folder of another structure; MachineError for a folder that cannot be read.
    """
    if not root.is_dir():
        raise FileError(f"{root} is a file: folder:PATH expects a folder of images, or of one folder per class")
    splits = _splits(root) if split else {}
    if part != "train" and part not in splits:
        raise NoSplitError(f"{root} has no split '{part}': all its images are 'train'")
    walk = _walk(splits.get(part, root))
    if not walk.images:
        raise FileError(f"no images in {walk.root}: looked for {', '.join(image_suffixes())}, there and in its folders")
    labels, names = _classes(walk, split)
    notes = list(walk.describe())
    if splits:
        train, test = splits["train"], splits["test"]
        others = sorted(path.name for path in _folders(root) if path not in (train, test))
        notes.append(f"{train.name}/ is used for training, {test.name}/ has the test images")
        notes += [f"ignored: {', '.join(f'{name}/' for name in others[:SHOWN])}"] if others else []
        other = _walk(train if part == "test" else test)
        if part == "test":
            labels, names = _label_as_in_training(walk, names, labels, _classes(other, split)[1])
        return Scan(paths=walk.images, labels=labels, names=names, notes=tuple(notes), others=other.images)
    return Scan(paths=walk.images, labels=labels, names=names, notes=tuple(notes))


def _folders(root: Path) -> list[Path]:
    """Return the folders directly in a folder, without hidden ones and links."""
    try:
        return [path for path in root.iterdir() if path.is_dir() and not path.is_symlink() and path.name[0] != "."]
    except OSError as error:
        raise MachineError(f"{root} cannot be read: {error.strerror}") from error


def _splits(root: Path) -> dict[str, Path]:
    """Return the folders of the splits "train" and "test"; none if there are other folders or images beside them."""
    folders = {path.name.lower(): path for path in _folders(root)}
    train = next((folders[name] for name in TRAIN if name in folders), None)
    test = next((folders[name] for name in TEST if name in folders), None)
    if train is None or test is None or not set(folders) <= {*TRAIN, *TEST}:
        return {}
    if any(path.suffix.lower() in image_suffixes() and path.is_file() for path in root.iterdir()):
        return {}
    return {"train": train, "test": test}


def _walk(root: Path) -> _Walk:
    """Walk through a folder, except for linked and hidden folders."""
    found = _Walk(root)
    for directory, folders, names in os.walk(root, onerror=_refuse_folder):
        hidden = [name for name in folders if name.startswith(".")]
        linked = [name for name in folders if name not in hidden and Path(directory, name).is_symlink()]
        folders[:] = [name for name in folders if name not in hidden]
        if hidden:
            found.aside["hidden folders"] += len(hidden)
        if linked:
            found.aside["linked folders"] += len(linked)
        if Path(directory) == root:
            found.folders = {root / name for name in folders if name not in linked}
            for name in folders:
                check_name(name)
        for path in (Path(directory, name) for name in names):
            kind = _ignored_kind(path, root)
            if kind is not None:
                found.aside[kind] += 1
                continue
            found.images.append(path)
            if len(found.images) > MAX_FILES:
                raise FileError(f"{root} has more than {MAX_FILES:,} images: expected at most that many")
    found.images.sort()
    return found


def _ignored_kind(path: Path, root: Path) -> str | None:
    """Return the kind of a file that is ignored, None for an image."""
    if path.name.startswith("."):
        return "hidden files"
    if not path.is_file():  # reading a pipe would never end
        return "pipes or broken links"
    if (suffix := path.suffix.lower()) not in image_suffixes():
        hint = ' (pip install "torch-ganzoo[heic]" reads them)' if suffix in HEIC_SUFFIXES else ""
        return f"{suffix}{hint}" if suffix else "files without a suffix"
    if path.is_symlink() and not path.resolve().is_relative_to(root):
        return "links out of the folder"
    return None


def _refuse_folder(error: OSError) -> None:
    raise MachineError(f"{error.filename} cannot be read: {error.strerror}") from error


def _classes(walk: _Walk, numbers: bool) -> tuple[list[int] | None, tuple[str, ...]]:
    """Return the label of each image and the class names; None and no names for a flat folder."""
    first_parts = [path.relative_to(walk.root).parts for path in walk.images]
    flat = sum(len(parts) == 1 for parts in first_parts)
    if flat == len(walk.images):
        return None, ()
    if flat:
        raise FileError(
            f"{walk.root} has {flat} images directly in it and {len(walk.images) - flat} in folders: expected all in "
            "one folder, or one folder per class"
        )
    found = {parts[0] for parts in first_parts}
    names = sort_names(found) if numbers else sorted(found)
    index = {name: label for label, name in enumerate(names)}
    return [index[parts[0]] for parts in first_parts], tuple(names)


def _label_as_in_training(
    walk: _Walk, names: tuple[str, ...], labels: list[int] | None, trained: tuple[str, ...]
) -> tuple[list[int] | None, tuple[str, ...]]:
    """Return the test images' labels, numbered like the classes of the training images."""
    if trained and not names:
        raise NoSplitError(f"{walk.root} has no folders for classes, but the training images have them")
    if strange := [name for name in names if name not in trained]:
        raise FileError(
            f"{walk.root} has the classes {', '.join(strange[:SHOWN])}, but the training images have "
            f"{', '.join(trained[:SHOWN]) or 'none'}: expected the same folders in both"
        )
    return labels and [trained.index(names[label]) for label in labels], trained
