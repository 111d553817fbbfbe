"""The generators that are bundled with ganzoo, by name. No torch."""

import os
from pathlib import Path
from typing import TypeGuard

from ganzoo.errors import ModelError
from ganzoo.files import StrPath

DIRECTORY = Path(__file__).parent / "models"


def names() -> list[str]:
    """Return the names of all bundled generators, sorted."""
    return sorted(path.stem for path in DIRECTORY.glob("*.onnx"))


def find(source: StrPath) -> StrPath:
    """Return the file that `source` names: that of a bundled generator, or `source` itself if it is a path.

    Raises ModelError for a word that is neither.
    """
    if is_name(source):
        return DIRECTORY / f"{source}.onnx"
    if is_word(source) and not os.path.lexists(source) and not source.endswith(".onnx"):
        raise ModelError(
            f"{source} does not exist, and is not a bundled generator{nearest_name(source)}; name the path of an .onnx "
            "file"
        )
    return source


def is_name(source: StrPath) -> bool:
    """Return True for the name of a bundled generator, even if a file or directory of that name exists."""
    return is_word(source) and source in names()


def is_word(source: StrPath) -> TypeGuard[str]:
    """Return True for `"mnist"`, and False for `"./mnist"` and `Path("mnist")`."""
    return isinstance(source, str) and not any(mark and mark in source for mark in ("/", os.sep, os.altsep))


def nearest_name(word: str) -> str:
    """Return the end of a message about an unknown name: the most similar name, and all names."""
    from ganzoo.registry import nearest  # imported only for an error: it takes longer than loading a small generator

    return f"{nearest(word, names())} (bundled: {', '.join(names())})"
