"""What an earlier ganzoo wrote stays: runs, checkpoints and .onnx files of schema 1 resume, load and verify.

`tests/golden/` was written by ganzoo at 257c156, of the tiny images of `conftest.make_images`, 12 steps each, with
checkpoints at steps 6 and 12. Other processors round otherwise, so that weights are compared with a tolerance.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, Images, tensors_of

import ganzoo
from ganzoo import runtime
from ganzoo.config import SCHEMA, Spec, assemble, read_toml
from ganzoo.exporting import parity
from ganzoo.exporting.exporter import prove_again
from ganzoo.runs.run import Run

GOLDEN = ROOT / "tests" / "golden"
NAMES = sorted(path.name for path in GOLDEN.iterdir())
by_variant = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def golden(name: str, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(GOLDEN / name, tmp_path / name))


def same_weights(run: Run, name: str) -> None:
    """The run's weights at step 12 are the golden ones, but for rounding."""
    expected, found = tensors_of(Run(GOLDEN / name).checkpoint_at(12)), tensors_of(run.checkpoint_at(12))
    for part in ("objective", "ema"):
        ours, theirs = (
            {key: value for key, value in tensors.items() if key.startswith(f"{part}/")}
            for tensors in (found, expected)
        )
        assert ours.keys() == theirs.keys()
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_there_is_one_of_each_first_variant() -> None:
    assert NAMES == ["cgan", "dcgan", "gan", "wgan-gp"]


@by_variant
def test_a_configuration_of_schema_1_is_read(golden: Run) -> None:
    assert (
        json.loads((golden.latest_checkpoint().path / "state.json").read_text())["config"]["run"]["schema_version"] == 1
    )
    config = golden.config
    assert config.run.schema_version == SCHEMA
    (term,) = config.variant.terms
    assert isinstance(term, Spec)
    assert config.variant.penalties == (term,)
    assert config.variant.objective == Spec("adversarial")
    assert assemble(file=read_toml(golden.path / "config.toml")).variant == config.variant


@by_variant
def test_a_checkpoint_of_schema_1_resumes(golden: Run, name: str, tiny_images: Images) -> None:
    shutil.rmtree(golden.checkpoint_at(12).path)
    lines = golden.metrics()
    run = ganzoo.resume(golden, dataset=tiny_images, progress=False)
    same_weights(run, name)
    for ours, theirs in zip(run.metrics(), lines, strict=True):
        assert ours.keys() == theirs.keys()
        assert ours["d_loss"] == pytest.approx(theirs["d_loss"], rel=1e-3, abs=1e-4)
    assert run.config.run.schema_version == SCHEMA
    ganzoo.resume(run, dataset=tiny_images, steps=14, progress=False)  # and what this ganzoo has saved goes on too


@by_variant
def test_its_configuration_trains_the_same_weights_from_the_start(
    name: str, tiny_images: Images, tmp_path: Path
) -> None:
    config = GOLDEN / name / "config.toml"
    run = ganzoo.train(None, tiny_images, config=config, out=tmp_path / "anew", progress=False)
    same_weights(run, name)


@by_variant
def test_a_file_exported_by_it_loads_draws_and_verifies(golden: Run, name: str) -> None:
    path = golden.path / f"{name}.onnx"
    file, document = runtime.load(path), runtime.read_metadata(path)
    assert document["schema"] == 2
    parity.check_probe(file, document)
    prove_again(file, document, golden)
    ours, theirs = file.sample(10).astype(np.int16), ganzoo.load(golden).sample(10).astype(np.int16)
    assert np.abs(ours - theirs).max() <= 1
