"""Each command is given each kind of thing: it works, or one line says what the command takes."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import invoke, make_images, train_tiny
from handmade import CLASSES, sealed

import ganzoo
from ganzoo.runtime.images import save_directory, save_npz

COMMANDS: dict[str, tuple[set[str], list[str]]] = {  # what each takes, and its arguments; GIVEN is what it is given
    "sample": ({"run", "file", "bundled"}, ["GIVEN", "-n", "4", "--out", "out.png"]),
    "sample --format": ({"run", "file", "bundled"}, ["GIVEN", "-n", "10", "--format", "npz", "--out", "set"]),
    "evaluate": (
        {"run", "file", "bundled", "images"},
        ["GIVEN", "--dataset", "mnist-5k", "--n", "8", "--seeds", "1", "--figures", "classes"],
    ),
    "export": ({"run"}, ["GIVEN", "--onnx", "-o", "out.onnx"]),
    "info": ({"file", "bundled"}, ["GIVEN"]),
    "verify": ({"file", "bundled"}, ["GIVEN"]),
    "verify --run": ({"run"}, ["exported.onnx", "--run", "GIVEN"]),
    "benchmark": (
        {"run", "file", "bundled"},
        [
            "runtime",
            "GIVEN",
            "--batches",
            "1",
            "--seconds",
            "0",
            "--repeats",
            "1",
            "--no-start",
            "--no-compile",
            "--forms",
            "fp32",
        ],
    ),
    "report": ({"run"}, ["GIVEN", "--out", "pages"]),
    "compare": ({"run"}, ["GIVEN", "--out", "set-beside", "--n", "8", "--figures", "classes"]),
    "resume": ({"run"}, ["GIVEN", "--steps", "3"]),
}
GIVEN = {
    "trained": "run",
    "made.onnx": "file",
    "made": "file",
    "made.bin": "file",
    "mnist": "bundled",
    "images.npz": "images",
    "pictures": "images",
    "npz:images.npz": "images",
    "folder:pictures": "images",
    "nothing": "unknown",
    "notes": "unknown",
    "garbage": "unknown",
    "garbage.onnx": "broken",  # its suffix is that of a file, and so the message is the format's
    "missing": "unknown",
    "missing.onnx": "unknown",
    "./mnist": "unknown",
    "made.onnx/below": "unknown",
}
CASES = [(command, given) for command in COMMANDS for given in GIVEN]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with one of each kind."""
    path = tmp_path_factory.mktemp("sources")
    images, labels = make_images()
    save_npz(path / "images.npz", images[..., None], labels)
    save_directory(path / "pictures", images[:9, ..., None], None)
    run = train_tiny("gan", f"npz:{path / 'images.npz'}", path / "trained", steps=2)
    ganzoo.export(run, path / "exported.onnx")
    for name in ("made.onnx", "made", "made.bin"):
        (path / name).write_bytes(sealed(CLASSES))
    for name in ("nothing", "notes"):
        (path / name).mkdir()
    (path / "notes" / "notes.txt").write_text("no image")
    for name in ("garbage", "garbage.onnx"):
        (path / name).write_bytes(np.random.default_rng(0).bytes(1000))
    return path


@pytest.fixture
def here(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the place as the working directory."""
    shutil.copytree(place, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("command", "given"), CASES, ids=[f"{command} {given}" for command, given in CASES])
def test_each_command_takes_what_it_can_use_and_says_what_else_it_cannot(command: str, given: str) -> None:
    takes, arguments = COMMANDS[command]
    kind, name = GIVEN[given], command.partition(" ")[0]
    code, _, err = invoke(name, *(given if word == "GIVEN" else word for word in arguments))
    if kind in takes:
        assert code == 0, err
        return
    assert code in (2, 3)
    assert "Traceback" not in err
    assert err.startswith(f"ganzoo: {given} ")
    assert err.count("\n") == 1
    if kind == "broken" and "file" in takes:
        assert "is not an ONNX file" in err
    else:
        assert f"; ganzoo {command.replace(' --format', '')} takes " in err


def test_the_word_is_the_bundled_generator_and_the_path_is_what_lies_here(here: Path) -> None:
    (here / "mnist").write_bytes(sealed(CLASSES))
    assert invoke("sample", "mnist", "-n", "4", "--out", "word.npz")[0] == 0
    assert invoke("sample", "./mnist", "-n", "4", "--out", "path.npz")[0] == 0
    shapes = []
    for name in ("word", "path"):
        with np.load(here / f"{name}.npz") as arrays:
            shapes.append(arrays["images"].shape)
    assert shapes == [(4, 28, 28), (4, 3, 4)]


def test_a_run_called_mnist_is_taken_where_only_runs_are(here: Path) -> None:
    (here / "trained").rename(here / "mnist")
    assert invoke("export", "mnist", "--onnx", "-o", "out.onnx")[0] == 0
    assert os.path.isfile("out.onnx")  # noqa: PTH113


def test_a_page_is_drawn_from_as_its_generator_is(here: Path) -> None:
    (here / "page").mkdir()
    shutil.copy(here / "made.onnx", here / "page" / "generator.onnx")
    (here / "page" / "info.json").write_text("{}")
    for arguments in (["sample", "page", "-n", "4", "--out", "out.png"], ["info", "page"], ["verify", "page"]):
        assert invoke(*arguments)[0] == 0
