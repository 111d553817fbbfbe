"""With numpy, onnxruntime, onnx, pillow, typer and rich alone, generators are run, and nothing is trained."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from handmade import CLASSES, sealed
from packaging.requirements import Requirement
from PIL import Image

PACKAGES = ("numpy", "onnxruntime", "onnx", "pillow", "typer", "rich")  # as docs/runtime.md has them
SOURCES = ("ganzoo", "cli", "pyproject.toml", "README.md", "LICENSE")


@dataclass(frozen=True)
class Environment:
    """A virtual environment without torch, and a directory to work in."""

    python: Path
    work: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        command = [str(self.python), *arguments]
        return subprocess.run(command, cwd=self.work, env=env, capture_output=True, text=True, check=False)

    def ganzoo(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "ganzoo_cli", *arguments)


def closure(names: tuple[str, ...]) -> set[str]:
    """These distributions and all that they require here."""
    found: set[str] = set()
    waiting = [re.sub(r"[-_.]+", "-", name).lower() for name in names]
    while waiting:
        if (name := waiting.pop()) in found:
            continue
        found.add(name)
        for requirement in map(Requirement, importlib.metadata.requires(name) or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(re.sub(r"[-_.]+", "-", requirement.name).lower())
    return found


def link(name: str, site: Path) -> None:
    """Put a distribution of this environment into another, by links to its modules and its metadata."""
    distribution = importlib.metadata.distribution(name)
    tops = {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        if not (site / top).exists():
            (site / top).symlink_to(Path(str(distribution.locate_file(top))).resolve())


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Made offline: its packages are links, and ganzoo is installed from a copy, as building writes beside it."""
    root = tmp_path_factory.mktemp("plain")
    venv.create(root / "venv", symlinks=os.name != "nt")
    paths = sysconfig.get_paths("venv", vars={"base": str(root / "venv")})
    site = Path(paths["purelib"])
    for name in closure(PACKAGES):
        link(name, site)
    (root / "source").mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / "source" / name)
    install = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", *install, "--target", str(site), str(root / "source")]
    subprocess.run(command, check=True, capture_output=True)
    (root / "work").mkdir()
    (root / "work" / "toy.onnx").write_bytes(sealed(CLASSES))
    python = Path(paths["scripts"]) / ("python.exe" if os.name == "nt" else "python")
    return Environment(python=python, work=root / "work")


def test_it_is_as_empty_as_it_is_meant_to_be(environment: Environment) -> None:
    absent = ["torch", "torchvision", "safetensors", "filelock", "matplotlib", "onnxscript", "platformdirs", "tomli_w"]
    script = f"import importlib.util as util; print([name for name in {absent} if util.find_spec(name)])"
    assert environment.run("-c", script).stdout == "[]\n"


def succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_bundled_generator_draws_digits(environment: Environment) -> None:
    done = environment.ganzoo("sample", "mnist", "--out", "digits.png")
    succeeded(done)
    assert done.stderr == "64 images: digits.png\n"
    with Image.open(environment.work / "digits.png") as picture:
        assert picture.size == (10 * 30 - 2, 7 * 30 - 2)


def test_a_file_is_sampled_and_told_of(environment: Environment) -> None:
    succeeded(environment.ganzoo("sample", "toy.onnx", "-n", "6", "--out", "toy.npz"))
    succeeded(environment.ganzoo("sample", "toy.onnx", "-n", "6", "--out", "pictures/"))
    with np.load(environment.work / "toy.npz") as arrays:
        assert arrays["images"].shape == (6, 3, 4)
    assert "variant 'toy'" in succeeded(environment.ganzoo("info", "toy.onnx"))
    for file in ("toy.onnx", "mnist"):
        assert json.loads(succeeded(environment.ganzoo("info", file, "--json")))["file"]["path"] == file
    script = "import ganzoo; print(ganzoo.load('toy.onnx').sample(3).shape, ganzoo.load('mnist').sample(2).shape)"
    assert succeeded(environment.run("-c", script)) == "(3, 3, 4, 1) (2, 28, 28, 1)\n"


def test_the_bundled_generator_is_proved_again(environment: Environment) -> None:
    done = environment.ganzoo("verify", "mnist")
    succeeded(done)
    assert "unaltered" in done.stderr


def test_a_labelled_data_set_is_drawn_and_its_labels_left_unverified(environment: Environment) -> None:
    done = environment.ganzoo("sample", "mnist", "-n", "20", "--format", "npz", "--out", "set")
    succeeded(done)
    assert re.search(r"labels not verified: the judge needs the package '\w+', which is not installed", done.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--variant", "gan"], ["sample"], ["evaluate", "toy.onnx"], ["export", "run", "--onnx"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_needs_more_says_in_one_line_what_to_install(environment: Environment, arguments: list[str]) -> None:
    done = environment.ganzoo(*arguments)
    assert (done.returncode, done.stdout) == (4, "")
    assert re.fullmatch(r"ganzoo: the package '\w+' is not installed: pip install torch-ganzoo\n", done.stderr)


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("from ganzoo import train", "ganzoo.train"),
        ("import ganzoo; ganzoo.export", "ganzoo.export"),
        ("from ganzoo.plugin import Dataset", "ganzoo.plugin"),
    ],
)
def test_a_training_name_says_so_too_and_nothing_else(environment: Environment, statement: str, name: str) -> None:
    done = environment.run("-c", statement)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1  # no chain
    last = done.stderr.splitlines()[-1]
    expected = rf"ModuleNotFoundError: {name}[.\w]* needs the package '\w+', which is not installed: "
    assert re.fullmatch(expected + "pip install torch-ganzoo", last), last
