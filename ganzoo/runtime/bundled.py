"""The generators that ship with ganzoo, found by name. No torch."""

import os
from pathlib import Path
from typing import Any, TypeGuard

from ganzoo.errors import ModelError
from ganzoo.files import StrPath

DIRECTORY = Path(__file__).parent / "models"


def names() -> list[str]:
    """The names of all of them, sorted."""
    return sorted(path.stem for path in DIRECTORY.glob("*.onnx"))


def find(source: StrPath) -> StrPath:
    """The file that `source` names: a bundled generator's, else `source` itself, which is a path.

    Raises ModelError for a word that is neither.
    """
    if not _is_word(source):
        return source
    if source in names():
        return DIRECTORY / f"{source}.onnx"
    if not os.path.lexists(source) and not source.endswith(".onnx"):
        raise ModelError(
            f"{source} does not exist, and is no bundled generator{_nearest(source)} (bundled: {', '.join(names())}); "
            "give the path of a run or of an .onnx file"
        )
    return source


def is_model(source: Any) -> bool:
    """Whether `source` names an .onnx file, one that is bundled or any file at all, and so no run."""
    if not isinstance(source, str | Path):
        return False
    return str(source).endswith(".onnx") or Path(source).is_file() or (_is_word(source) and source in names())


def _nearest(word: str) -> str:
    from ganzoo.registry import nearest  # its imports take longer than loading a small generator

    return nearest(word, names())


def _is_word(source: StrPath) -> TypeGuard[str]:
    """`"mnist"`, and not `"./mnist"` or `Path("mnist")`."""
    return isinstance(source, str) and not any(mark and mark in source for mark in ("/", os.sep, os.altsep))
