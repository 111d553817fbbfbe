"""The table of formats: what each row takes and recognises, what the run records, and what a plug-in adds."""

import hashlib
import io
import json
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import environment, invoke, make_images, train_tiny
from handmade import sealed

import ganzoo
from ganzoo.errors import MachineError, UsageError
from ganzoo.plugin import Exported, Format, Opened, formats
from ganzoo.runs.run import Run
from ganzoo.runtime.forms import PRECISIONS, Form


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_tiny("cgan", make_images(), tmp_path_factory.mktemp("formats") / "run", steps=2)


# The table


def test_importing_and_recognising_is_light(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(sealed())
    script = """
import sys
from ganzoo.runs.resolving import MODELS, resolve
assert resolve("model", MODELS, "a test").format == "onnx"
assert not {"torch", "onnx", "onnxruntime", "pydantic"} & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", list(formats))
def test_an_option_that_a_format_does_not_take_is_refused_by_its_name(name: str, run: Run, tmp_path: Path) -> None:
    given: dict[str, Any] = {"precision": "fp32", "layout": "float", "opset": 18, "ort_web": "x.tgz"}
    given |= {"title": "Digits", "description": "Some digits"}
    for option in given.keys() - set(formats[name]().options):
        with pytest.raises(UsageError, match=f"--{option.replace('_', '-')} is not an option of the format '{name}'"):
            ganzoo.export(run, tmp_path / "out", format=name, **{option: given[option]})
    assert not (tmp_path / "out").exists()


def test_an_unknown_format_is_refused_with_the_nearest(run: Run) -> None:
    with pytest.raises(UsageError, match=r"no format 'onx'; did you mean 'onnx'\? \(ganzoo list formats\)"):
        ganzoo.export(run, format="onx")
    code, _, err = invoke("export", str(run.path), "--format", "onnx", "--web", "page")
    assert (code, "exclude each other" in err) == (2, True)


@pytest.mark.slow
def test_the_format_is_the_shorthand(run: Run, tmp_path: Path) -> None:
    for name, arguments in {"long": ["--format", "onnx"], "short": ["--onnx"]}.items():
        assert invoke("export", str(run.path), *arguments, "-o", str(tmp_path / name))[0] == 0
    assert (tmp_path / "long").read_bytes() == (tmp_path / "short").read_bytes()


def test_formats_are_listed_with_their_options() -> None:
    code, out, _ = invoke("list", "formats", "--json")
    assert code == 0
    listed = {entry["name"]: set(entry["settings"]) for entry in json.loads(out)["formats"]}
    assert {name: set(formats[name]().options) for name in formats} == listed


def test_the_opset_is_the_precisions_own_unless_it_is_given() -> None:
    (entry,) = [
        entry for entry in json.loads(invoke("list", "formats", "--json")[1])["formats"] if entry["name"] == "onnx"
    ]
    assert entry["settings"]["opset"] is None  # it depends on the precision
    opsets = {"fp32": 18, "fp16": 18, "fp16-weights": 18, "int8": 21}
    assert {name: Form(precision=name).opset for name in PRECISIONS} == opsets
    assert Form(precision="int8", opset=18).opset == 18
    assert Form(opset=18) == Form() != Form(precision="int8")
    with pytest.raises(FrozenInstanceError):
        Form().opset = 19  # type: ignore[misc]


def test_a_run_records_what_was_exported(run: Run, tmp_path: Path) -> None:
    exported = ganzoo.export(run, tmp_path / "any.onnx", layout="uint8")
    sha256 = hashlib.sha256(exported.path.read_bytes()).hexdigest()
    record = run.find_export(sha256)
    assert record is not None
    assert record.to_json() == json.loads(json.dumps(exported.record()))
    assert exported.record()["path"] == "any.onnx"
    assert run.find_export("0" * 64) is None


@pytest.mark.slow
def test_a_run_that_cannot_be_written_to_is_exported_all_the_same(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Run, record: object) -> None:
        raise MachineError("the file system is read-only")

    monkeypatch.setattr(Run, "record_export", refuse)
    assert ganzoo.export(run, tmp_path / "any.onnx").path.exists()
    monkeypatch.setattr(formats["onnx"], "vouched", True)  # of a format whose files nobody could open
    with pytest.raises(MachineError):
        ganzoo.export(run, tmp_path / "any.onnx")


# A format of a plug-in


class Numbers(Format):
    """The first image of the seed 0, as an array."""

    suffix = ".numbers"
    options = ("layout",)

    def write(self, run: Run, path: Path | None, **options: Any) -> Exported:
        image = ganzoo.load(run).sample(1)
        target = path or run.path / "image.numbers"
        np.save(target.with_suffix(".npy"), image)
        data = target.with_suffix(".npy").rename(target).read_bytes()
        sha256 = hashlib.sha256(data).hexdigest()
        return Exported(
            path=target, size=len(data), sha256=sha256, nodes=0, precision="fp32", layout="uint8", opset=None,
            weights="ema", step=2, difference=0.0, grey_levels=0, mean_grey_levels=0.0,
        )  # fmt: skip

    def recognises(self, path: Path) -> bool:
        return path.suffix == self.suffix

    def load(self, path: Path, run: Run | None = None) -> Opened:
        generator = ganzoo.load("mnist")
        return Opened(model=generator, sha256="", document={"sha256": ""}, trained_on={"source": "mnist"})


@pytest.mark.usefixtures("registries")
def test_a_plug_in_adds_a_format_to_every_command(run: Run, tmp_path: Path) -> None:
    formats.register("numbers")(Numbers)
    path = tmp_path / "image.numbers"
    code, _, err = invoke("export", str(run.path), "--format", "numbers", "-o", str(path))
    assert code == 0, err
    assert np.array_equal(np.load(io.BytesIO(path.read_bytes())), ganzoo.load(run).sample(1))
    assert run.find_export(hashlib.sha256(path.read_bytes()).hexdigest()) is not None
    assert invoke("export", str(run.path), "--format", "numbers", "--opset", "18")[0] == 2
    assert invoke("sample", str(path), "--out", str(tmp_path / "out.png"))[0] == 0
    assert "numbers" in invoke("info", str(path))[1]
    assert ganzoo.load(path).info == ganzoo.load("mnist").info
    assert "numbers" in invoke("list", "formats")[1]
