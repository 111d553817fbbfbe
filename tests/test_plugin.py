"""A plug-in as a third party ships it: installed into an environment of its own, it trains, draws and is exported."""

import importlib.util
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
from PIL import Image

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parent / "plugin_example"
SMALL = ["train.log_every=1", "generator.width=4", "discriminator.width=4"]
SIZES = ["--steps", "3", "--batch-size", "8", *(word for setting in SMALL for word in ("--set", setting))]


@dataclass(frozen=True)
class Environment:
    """A virtual environment that has the example installed, and a directory to work in."""

    python: Path
    work: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.python), *arguments]
        done = subprocess.run(command, cwd=self.work, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def ganzoo(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "ganzoo_cli", *arguments)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Made offline: it sees the packages of this one, and only the example is installed, from a copy."""
    root = tmp_path_factory.mktemp("plugin")
    venv.create(root / "venv", symlinks=os.name != "nt", with_pip=importlib.util.find_spec("pip") is None)
    paths = sysconfig.get_paths("venv", vars={"base": str(root / "venv")})
    ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    # addsitedir, and not a bare path: this way the .pth files in there count too, such as that of an editable install.
    lines = [f"import site; site.addsitedir({path!r})\n" for path in sorted(ours)]
    Path(paths["purelib"], "packages_of_the_tests.pth").write_text("".join(lines), encoding="utf-8")
    example = shutil.copytree(EXAMPLE, root / "example")  # building writes beside the sources
    images = np.random.default_rng(0).integers(0, 256, (32, 28, 28), dtype=np.uint8)
    np.savez(root / "digits.npz", images=images, labels=np.arange(32) % 10)
    made = Environment(Path(paths["scripts"], "python"), root)
    install = ["install", "--no-index", "--no-deps", "--no-build-isolation", str(example)]
    made.run("-m", "pip", "--isolated", "--disable-pip-version-check", *install)
    return made


@pytest.fixture(scope="module")
def trained(environment: Environment) -> Path:
    """A run of the example's variant."""
    environment.ganzoo("train", "--variant", "resize-gan", "--dataset", "npz:digits.npz", "--out", "run", *SIZES)
    return environment.work / "run"


def test_installing_it_is_what_registers_it(environment: Environment) -> None:
    listed = {}
    for python in (sys.executable, str(environment.python)):
        command = [python, "-m", "ganzoo_cli", "list", "--json"]
        listed[python] = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    without, with_example = listed.values()
    ours = {"variants": "resize-gan", "generators": "resize", "terms": "mirrored", "objectives": "two-sided"}
    for kind, name in ours.items():
        assert name not in [entry["name"] for entry in without[kind]]
        (entry,) = [entry for entry in with_example[kind] if entry["name"] == name]
        assert entry["owner"].startswith("ganzoo_resize.")
    assert [entry["settings"] for entry in with_example["generators"] if entry["name"] == "resize"] == [{"width": 32}]
    assert with_example.pop("penalties") == with_example["terms"]  # their former name
    without.pop("penalties")
    assert {kind: len(entries) for kind, entries in with_example.items()} == {
        kind: len(entries) + (kind in ours) for kind, entries in without.items()
    }


def test_it_is_listed_for_people_with_its_paper(environment: Environment) -> None:
    assert re.search(
        r"^resize-gan +network +2016 +doi:10\.23915/distill", environment.ganzoo("list", "variants").stdout, re.M
    )


CONFORMS = """
from ganzoo.testing import check_part, check_variant
for kind, name in (("generators", "resize"), ("terms", "mirrored"), ("objectives", "two-sided")):
    check_part(kind, name)
check_variant("resize-gan")
"""


def test_it_keeps_the_rules(environment: Environment) -> None:
    environment.run("-c", CONFORMS)


def test_it_trains_and_draws(environment: Environment, trained: Path) -> None:
    assert len(list((trained / "checkpoints").iterdir())) == 1
    metrics = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < line["d_mirrored"] < 1 for line in metrics)  # its term, from its head
    assert metrics
    environment.ganzoo("sample", "run", "-n", "5", "--out", "run.npz")
    with np.load(environment.work / "run.npz") as arrays:
        assert arrays["images"].shape == (5, 28, 28)


def test_it_is_exported_and_draws_the_same(environment: Environment, trained: Path) -> None:
    environment.ganzoo("export", "run", "--onnx")
    environment.ganzoo("sample", "run", "-n", "9", "--out", "torch.png")
    environment.ganzoo("sample", "run/resize-gan.onnx", "-n", "9", "--out", "onnx.png")
    with Image.open(environment.work / "torch.png") as torch, Image.open(environment.work / "onnx.png") as onnx:
        ours, theirs = np.asarray(torch, np.int16), np.asarray(onnx, np.int16)
    assert ours.std() > 0
    assert np.abs(ours - theirs).max() <= 1


def test_its_generator_takes_labels_colour_and_other_sizes(environment: Environment) -> None:
    conditional = ["--set", "conditional=true", "--image-size", "32", "--channels", "3", "--out", "colour"]
    environment.ganzoo("train", "--variant", "resize-gan", "--dataset", "npz:digits.npz", *SIZES, *conditional)
    environment.ganzoo("sample", "colour", "--labels", "0-9", "--out", "colour.npz")
    with np.load(environment.work / "colour.npz") as arrays:
        assert arrays["images"].shape == (10, 32, 32, 3)
        assert arrays["labels"].tolist() == list(range(10))
