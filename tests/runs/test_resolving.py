"""What a path or word is taken for, and how it is refused where something else is expected."""

import os
import sys
import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
from handmade import CLASSES, sealed

from ganzoo.errors import FileError, ModelError
from ganzoo.runs import resolving
from ganzoo.runs.resolving import FILES, MODELS, RUNS, Kind, resolve, zip_names
from ganzoo.runs.run import Run
from ganzoo.runtime import bundled

EVERY: tuple[Kind, ...] = ("run", "file", "images", "bundled")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with one of each kind."""
    monkeypatch.chdir(tmp_path)
    for name in ("run", "deep/deeper", "nothing", "page"):
        Path(name).mkdir(parents=True)
    Path("run/config.toml").touch()
    Path("deep/deeper/one.PNG").touch()
    for name in ("made.onnx", "made", "page/generator.onnx"):
        Path(name).write_bytes(sealed(CLASSES))
    Path("page/info.json").write_text("{}")
    Path("by-suffix.pt2").touch()
    Path("by-suffix.npz").touch()
    Path("notes").write_text("text")
    np.savez(Path("arrays.npz"), images=np.zeros((2, 3, 3)))
    Path("arrays.npz").rename("arrays")
    with zipfile.ZipFile("mixed", "w") as archive:
        archive.writestr("a.npy", b"")
        archive.writestr("a.txt", b"")
    with zipfile.ZipFile("empty", "w"):
        pass
    return tmp_path


@pytest.mark.parametrize(
    ("given", "kind", "form", "images"),
    [
        ("run", "run", None, None),
        ("made.onnx", "file", "onnx", None),
        ("made", "file", "onnx", None),
        ("by-suffix.pt2", "file", "pt2", None),
        ("page", "file", "web", None),
        ("deep", "images", None, "folder:deep"),
        ("arrays", "images", None, "npz:arrays"),
        ("by-suffix.npz", "images", None, "npz:by-suffix.npz"),
        ("npz:missing.npz", "images", None, "npz:missing.npz"),
        ("folder:deep", "images", None, "folder:deep"),
    ],
)
def test_each_kind_is_recognised(given: str, kind: Kind, form: str | None, images: str | None, here: Path) -> None:
    found = resolve(given, EVERY, "a test")
    assert (found.kind, found.format, found.images, found.given) == (kind, form, images, given)
    assert found.path == Path(given.partition(":")[2] or given)
    if form:
        assert found.file_format.recognises(found.path)
    if images != given:  # npz:FILE is a word, not a path
        as_path = resolve(Path(given), EVERY, "a test")
        assert (as_path.kind, as_path.given) == (kind, given)
    assert resolve(given, (kind,), "a test").kind == kind


def test_a_path_with_a_colon_is_a_path(here: Path) -> None:
    Path("npz:odd").mkdir()
    Path("npz:odd/config.toml").touch()
    assert resolve(Path("npz:odd"), EVERY, "a test").kind == "run"
    assert resolve("npz:odd", EVERY, "a test").kind == "images"
    Path("csv:odd").mkdir()
    Path("csv:odd/config.toml").touch()
    assert resolve("csv:odd", EVERY, "a test").kind == "run"


def test_an_open_run_is_itself(here: Path) -> None:
    found = resolve(Run(Path("run")), RUNS, "a test")
    assert (found.kind, found.given, found.path) == ("run", "run", Path("run"))
    with pytest.raises(FileError, match=r"^run is a run; a test takes an exported file or the name of a bundled"):
        resolve(Run(Path("run")), FILES, "a test")


def test_a_word_is_the_bundled_generator_where_those_are_taken(here: Path) -> None:
    found = resolve("mnist", MODELS, "a test")
    assert (found.kind, found.format, found.path) == ("bundled", "onnx", bundled.DIRECTORY / "mnist.onnx")
    Path("mnist").mkdir()
    Path("mnist/config.toml").touch()
    assert resolve("mnist", MODELS, "a test").kind == "bundled"
    assert resolve("./mnist", MODELS, "a test").kind == "run"
    assert resolve(Path("mnist"), MODELS, "a test").kind == "run"
    assert resolve("mnist", RUNS, "a test").kind == "run"


RUN = "a run (a directory that 'ganzoo train' created)"
IMAGES = "images (an .npz file, a folder of images, npz:FILE or folder:PATH)"
BUNDLED = "the name of a bundled generator"


@pytest.mark.parametrize(
    ("given", "takes", "message"),
    [
        ("run", FILES, f"is a run; x takes an exported file or {BUNDLED}: export it first (ganzoo export run --onnx)"),
        ("made", RUNS, f"is an exported file of the format 'onnx'; x takes {RUN}: draw with it (ganzoo sample"),
        ("arrays", MODELS, f"holds images; x takes {RUN}, an exported file or {BUNDLED}: judge them with ganzoo"),
        ("deep", RUNS, f"holds images, but is not a run (it has no config.toml); x takes {RUN}: judge them"),
        ("mnist", RUNS, f"is {BUNDLED}; x takes {RUN}: draw with it (ganzoo sample mnist), or write ./mnist for a"),
        ("made", ("images",), f"is an exported file of the format 'onnx'; x takes {IMAGES}: draw"),
        ("missing", RUNS, f"does not exist; x takes {RUN}: check the path"),
        ("missing.npz", MODELS, f"does not exist; x takes {RUN}, an exported file or {BUNDLED}: check the path"),
        ("./mnist", FILES, f"does not exist; x takes an exported file or {BUNDLED}: check the path"),
        ("nist", FILES, "does not exist, and is not a bundled generator"),
        ("notes", RUNS, "is a file that is not recognised: it is neither in a format of exported files nor an .npz"),
        ("mixed", RUNS, "is a file that is not recognised"),
        ("empty", RUNS, "is a file that is not recognised"),
        ("nothing", RUNS, "is not a run (it has no config.toml), nor an exported page or a folder of images; x takes"),
    ],
)
def test_each_refusal_says_what_it_is_and_what_is_taken(
    given: str, takes: Collection[Kind], message: str, here: Path
) -> None:
    with pytest.raises(FileError) as caught:
        resolve(given, takes, "x")
    assert str(caught.value).startswith(f"{given} {message}")
    assert isinstance(caught.value, ModelError) == ("file" in takes)


def test_what_is_not_recognised_has_advice(here: Path) -> None:
    for given, advice in (("notes", "export it again with ganzoo export"), ("nothing", "name the directory of a run")):
        with pytest.raises(FileError, match=advice):
            resolve(given, MODELS, "x")


def test_only_the_formats_that_are_named_are_taken(here: Path) -> None:
    assert resolve("made", FILES, "x", ("onnx",)).format == "onnx"
    assert resolve("run", MODELS, "x", ("onnx",)).kind == "run"
    for given in ("by-suffix.pt2", "page"):
        with pytest.raises(ModelError, match=r"; x takes .*an exported file \(onnx, other\) or the name"):
            resolve(given, MODELS, "x", ("onnx", "other"))


@pytest.mark.skipif(sys.platform == "win32", reason="has no pipes in directories")
def test_a_pipe_is_not_opened(here: Path) -> None:
    os.mkfifo("pipe.onnx")
    with pytest.raises(ModelError, match=r"pipe\.onnx is a file that is not recognised"):
        resolve("pipe.onnx", MODELS, "x")


def test_a_directory_is_searched_up_to_a_limit(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("nothing/a/b").mkdir(parents=True)
    Path("nothing/a/b/one.jpg").touch()
    Path("nothing/text").touch()
    monkeypatch.setattr(resolving, "LOOKED_AT", 3)  # the two directories and the text
    assert resolve("nothing", EVERY, "x").kind == "images"
    monkeypatch.setattr(resolving, "LOOKED_AT", 2)
    with pytest.raises(FileError, match="is not a run"):
        resolve("nothing", EVERY, "x")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), os.urandom(200)])
def test_what_is_no_archive_has_no_names(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    assert zip_names(tmp_path / "a") == []
    assert zip_names(tmp_path / "missing") == []
    assert zip_names(tmp_path) == []


@pytest.mark.parametrize("given", ["a\0b", "x" * 5000, "\ud800", "a\nb"])
def test_odd_paths_do_not_exist(given: str, here: Path) -> None:
    for path in (given, Path(given)):
        with pytest.raises(FileError, match="does not exist") as caught:
            resolve(path, EVERY, "x")
        assert str(caught.value).startswith(f"{given} does".replace("\n", "?"))
