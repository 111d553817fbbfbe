"""Which images a folder holds, and of which classes and splits.

A folder holds images, or a folder of images for each class (below it, folders nest as you like), or `train/` and
`test/`, `val/` or `valid/` that do. No link is followed that leads out of the folder.
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
SHOWN = 5  # names in a note
TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")  # the first that is there has the test images


@dataclass(frozen=True, kw_only=True)
class Scan:
    """The images of one split, and what was left aside."""

    paths: list[Path]  # sorted
    labels: list[int] | None  # None if the images lie in no folders for classes
    names: tuple[str, ...]  # of the classes
    notes: tuple[str, ...]
    others: list[Path] = field(default_factory=list)  # the images of the other split, if there is one


@dataclass
class _Walk:
    """What is met on the way through a folder."""

    root: Path
    images: list[Path] = field(default_factory=list)
    folders: set[Path] = field(default_factory=set)  # the direct ones
    aside: Counter[str] = field(default_factory=Counter)  # files that are not read, by kind

    def describe(self) -> Iterator[str]:
        """Yield what was left aside."""
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
        split: whether folders named train, test, val and the like are splits, and classes with numbers for names are
            ordered as numbers. Otherwise each folder is a class, in the order of the sorted names.

    Raises: NoSplitError; FileError for a folder of another form; MachineError for one that may
    not be read.
    """
    if not root.is_dir():
        raise FileError(f"{root} is a file: folder:PATH expects a folder of images, or of one folder for each class")
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
        notes.append(f"{train.name}/ is trained on, {test.name}/ has the test images")
        notes += [f"left aside: {', '.join(f'{name}/' for name in others[:SHOWN])}"] if others else []
        other = _walk(train if part == "test" else test)
        if part == "test":
            labels, names = _as_in_training(walk, names, labels, _classes(other, split)[1])
        return Scan(paths=walk.images, labels=labels, names=names, notes=tuple(notes), others=other.images)
    return Scan(paths=walk.images, labels=labels, names=names, notes=tuple(notes))


def _folders(root: Path) -> list[Path]:
    """Return the folders directly in a folder, hidden ones and links left out."""
    try:
        return [path for path in root.iterdir() if path.is_dir() and not path.is_symlink() and path.name[0] != "."]
    except OSError as error:
        raise MachineError(f"{root} cannot be read: {error.strerror}") from error


def _splits(root: Path) -> dict[str, Path]:
    """Return the folders of the splits "train" and "test"; none if there are other folders, or images beside them."""
    folders = {path.name.lower(): path for path in _folders(root)}
    train = next((folders[name] for name in TRAIN if name in folders), None)
    test = next((folders[name] for name in TEST if name in folders), None)
    if train is None or test is None or not set(folders) <= {*TRAIN, *TEST}:
        return {}
    if any(path.suffix.lower() in image_suffixes() and path.is_file() for path in root.iterdir()):
        return {}
    return {"train": train, "test": test}


def _walk(root: Path) -> _Walk:
    """Go through a folder, into no linked one; hidden folders are left aside."""
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
            kind = _kind_aside(path, root)
            if kind is not None:
                found.aside[kind] += 1
                continue
            found.images.append(path)
            if len(found.images) > MAX_FILES:
                raise FileError(f"{root} has more than {MAX_FILES:,} images: expected no more")
    found.images.sort()
    return found


def _kind_aside(path: Path, root: Path) -> str | None:
    """Return what kind of file is left aside, None for an image."""
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
    """Return the label of each image and the classes' names; None and none for a flat folder."""
    first_parts = [path.relative_to(walk.root).parts for path in walk.images]
    flat = sum(len(parts) == 1 for parts in first_parts)
    if flat == len(walk.images):
        return None, ()
    if flat:
        raise FileError(
            f"{walk.root} has {flat} images of its own and {len(walk.images) - flat} in folders: expected all in one "
            "folder, or all in a folder for each class"
        )
    found = {parts[0] for parts in first_parts}
    names = sort_names(found) if numbers else sorted(found)
    index = {name: label for label, name in enumerate(names)}
    return [index[parts[0]] for parts in first_parts], tuple(names)


def _as_in_training(
    walk: _Walk, names: tuple[str, ...], labels: list[int] | None, trained: tuple[str, ...]
) -> tuple[list[int] | None, tuple[str, ...]]:
    """Return the test images' labels by the classes that are trained on."""
    if trained and not names:
        raise NoSplitError(f"{walk.root} has images in no folders for classes, which the images to train on have")
    if strange := [name for name in names if name not in trained]:
        raise FileError(
            f"{walk.root} has the classes {', '.join(strange[:SHOWN])}, and the images to train on have "
            f"{', '.join(trained[:SHOWN]) or 'none'}: expected the same folders in both"
        )
    return labels and [trained.index(names[label]) for label in labels], trained
