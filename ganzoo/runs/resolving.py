"""Recognition of a command's argument: a run, an exported file, images, or the name of a bundled generator. No torch.

Each command lists the kinds that it takes, and all error messages have one form: the argument, what it was recognised
as, what the command takes, and what to do.
"""

import os
import shlex
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ganzoo.errors import FileError, ModelError
from ganzoo.files import StrPath, image_suffixes
from ganzoo.runtime import bundled

if TYPE_CHECKING:
    from ganzoo.runs.format import Format
    from ganzoo.runs.run import Run

Kind: TypeAlias = Literal["run", "file", "images", "bundled"]
RUNS: tuple[Kind, ...] = ("run",)
MODELS: tuple[Kind, ...] = ("run", "file", "bundled")
FILES: tuple[Kind, ...] = ("file", "bundled")
IMAGE_SOURCES = ("npz", "folder")  # the data sources of a user's images
LOOKED_AT = 10_000  # maximal number of directory entries that are searched for an image

_TAKEN: dict[Kind, str] = {
    "run": "a run (a directory that 'ganzoo train' created)",
    "file": "an exported file",
    "images": "images (an .npz file, a folder of images, npz:FILE or folder:PATH)",
    "bundled": "the name of a bundled generator",
}
_RECOGNISED: dict[Kind, str] = {
    "run": "is a run",
    "file": "is an exported file of the format '{format}'",
    "images": "holds images",
    "bundled": "is the name of a bundled generator",
}
_ADVICE: dict[Kind, str] = {
    "run": "export it first (ganzoo export {given} --onnx)",
    "file": "draw with it (ganzoo sample {given}), judge it (ganzoo evaluate {given}), or name the run that it was "
    "exported from",
    "images": "judge them with ganzoo evaluate {given} --dataset SOURCE, or train on them (ganzoo train --variant NAME "
    "--dataset {images})",
    "bundled": "draw with it (ganzoo sample {given}), or write ./{given} for a path",
}

_NO_RUN = "is not a run (it has no config.toml)"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A recognised string or path."""

    kind: Kind
    given: str
    path: Path
    format: str | None = None  # of an exported file: the registered name of its format
    row: "Format | None" = None  # of an exported file: its format
    images: str | None = None  # of images: the data source, such as `npz:digits.npz`

    @property
    def file_format(self) -> "Format":
        """The format of an exported or bundled file."""
        assert self.row is not None, "only of a file"
        return self.row


def resolve(given: "StrPath | Run", takes: Collection[Kind], who: str, formats: Sequence[str] = ()) -> Source:
    """Return the recognised argument if it is of a kind that the command or function `who` takes.

    A bare word such as `mnist` is a bundled generator if those are in `takes`, even if a file has that name; `./mnist`
    is a path.

    Args:
        given: a path, `npz:FILE`, `folder:PATH`, the name of a bundled generator, or an open run.
        takes: the accepted kinds.
        who: the name of the caller in the message, such as `ganzoo sample`.
        formats: the accepted formats of exported files; empty for all.

    Raises FileError (ModelError if exported files are in `takes`) for anything else.
    """
    if not isinstance(given, str | os.PathLike):
        source: Source | None = Source(kind="run", given=str(given.path), path=given.path)
    else:
        source = _recognise(given, takes)
    if source is None:
        assert isinstance(given, str | os.PathLike)
        raise _refusal(given, _describe_unknown(given, takes), takes, who, formats, _advise_unknown(given))
    unread = source.kind in FILES and formats and source.format not in formats
    if source.kind not in takes or unread:
        what = _RECOGNISED[source.kind].format(**vars(source))
        words = {"given": shlex.quote(source.given), "images": shlex.quote(source.images or "")}
        advice = _ADVICE[source.kind].format(**words)
        if source.kind == "images" and source.path.is_dir():
            what += f", but {_NO_RUN}"
        raise _refusal(source.given, what, takes, who, formats, advice)
    return source


def _recognise(given: StrPath, takes: Collection[Kind]) -> Source | None:
    text, path = os.fspath(given), Path(given)
    name, colon, argument = text.partition(":")
    if isinstance(given, str) and colon and name in IMAGE_SOURCES:
        return Source(kind="images", given=text, path=Path(argument), images=text)
    if bundled.is_name(given) and ("bundled" in takes or not os.path.lexists(text)):
        return _file("bundled", text, bundled.DIRECTORY / f"{text}.onnx")
    if os.path.isfile(path / "config.toml"):  # noqa: PTH113  # unlike Path.is_file, it never raises
        return Source(kind="run", given=text, path=path)
    if not (os.path.isfile(path) or os.path.isdir(path)):  # noqa: PTH112, PTH113  # reading a pipe may never end
        return None
    return _file("file", text, path) or _images(text, path)


def _file(kind: Kind, given: str, path: Path) -> Source | None:
    """Return the source if a format recognises the file or directory, else None."""
    from ganzoo.registry import formats  # imported here because most error messages do not need it

    found = formats.find(lambda row: row().recognises(path))
    return None if found is None else Source(kind=kind, given=given, path=path, format=found[0], row=found[1]())


def _images(given: str, path: Path) -> Source | None:
    """Return the source if it is an .npz file, by suffix or content, or a directory tree with an image, else None."""
    kind = "folder" if path.is_dir() else "npz"
    found = _holds_images(path) if kind == "folder" else path.suffix == ".npz" or _holds_arrays(path)
    return Source(kind="images", given=given, path=path, images=f"{kind}:{given}") if found else None


def _holds_images(directory: Path) -> bool:
    entries = 0
    for _, folders, names in os.walk(directory):
        if any(name.lower().endswith(image_suffixes()) for name in names):
            return True
        entries += len(folders) + len(names)
        if entries > LOOKED_AT:
            return False
    return False


def _holds_arrays(path: Path) -> bool:
    names = zip_names(path)
    return bool(names) and all(name.endswith(".npy") for name in names)


def zip_names(path: Path) -> list[str]:
    """Return the names in a zip archive; an empty list if it is not one or cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return []


def _describe_unknown(given: StrPath, takes: Collection[Kind]) -> str:
    if not os.path.lexists(given):
        if "bundled" not in takes or not bundled.is_word(given) or Path(given).suffix:
            return "does not exist"
        return f"does not exist, and is not a bundled generator{bundled.nearest_name(given)}"
    if os.path.isdir(given):  # noqa: PTH112
        return f"{_NO_RUN}, nor an exported page or a folder of images"
    return "is a file that is not recognised: it is neither in a format of exported files nor an .npz file of images"


def _advise_unknown(given: StrPath) -> str:
    if not os.path.lexists(given):
        return "check the path"
    if os.path.isdir(given):  # noqa: PTH112
        return "name the directory of a run, or the file in it"
    return "check that it is the right file, or export it again with ganzoo export RUN --onnx"


def _refusal(
    given: Any, what: str, takes: Collection[Kind], who: str, formats: Sequence[str], advice: str
) -> FileError:
    names = {**_TAKEN, "file": _TAKEN["file"] + f" ({', '.join(formats)})" * bool(formats)}
    kinds = [names[kind] for kind in names if kind in takes]
    taken = " or ".join([", ".join(kinds[:-1]), kinds[-1]] if len(kinds) > 1 else kinds)
    error = ModelError if "file" in takes else FileError
    message = f"{os.fspath(given)} {what}; {who} takes {taken}: {advice}"
    return error(message.replace("\n", "?"))  # a name may contain newlines, but a message is one line
