"""What an earlier ganzoo wrote stays: runs, checkpoints and .onnx files of former schemas resume, load and verify.

`tests/golden/` was written by ganzoo at 257c156 (schema 1), `tests/golden-2/` at ef2e2d4 (schema 2), `tests/golden-3/`
at aca2942 (schema 3), `tests/golden-4/` at f0c6700 and `tests/golden-5/` at 55f589a, of the tiny images of
`conftest.make_images`, 12 steps each, with checkpoints at steps 6 and 12.
Other processors round otherwise, so that weights are compared with a tolerance.
"""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, Images, make_images, tensors_of

import ganzoo
from ganzoo import runtime
from ganzoo.config import SCHEMA, Compute, Spec, assemble, read_toml
from ganzoo.exporting import parity
from ganzoo.exporting.exporter import prove_again
from ganzoo.runs.run import Run

GOLDEN = {1: ROOT / "tests/golden", **{schema: ROOT / f"tests/golden-{schema}" for schema in range(2, SCHEMA + 1)}}
SIZES = {
    1: 8,
    2: 8,
    3: 14,
    4: 14,
    5: 14,
}  # of the images, in pixels: of 14 a discriminator of schema 3 is one layer less deep
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
RUNS = sorted(path for folder in GOLDEN.values() for path in folder.iterdir())
by_run = pytest.mark.parametrize("original", RUNS, ids=lambda path: f"{path.parent.name}/{path.name}")


@pytest.fixture
def golden(original: Path, tmp_path: Path) -> Run:
    return Run.open(shutil.copytree(original, tmp_path / original.name))


def schema_of(original: Path) -> int:
    return next(schema for schema, folder in GOLDEN.items() if folder == original.parent)


@pytest.fixture
def images(original: Path) -> Images:
    return make_images(SIZES[schema_of(original)])


def same_weights(run: Run, original: Path) -> None:
    """The run's weights at step 12 are the golden ones, but for rounding.

    An averaged generator had the statistics of other weights then.
    """
    expected, found = tensors_of(Run(original).checkpoint_at(12)), tensors_of(run.checkpoint_at(12))
    for part in ("objective", "ema"):
        ours, theirs = (
            {
                key: value
                for key, value in tensors.items()
                if key.startswith(f"{part}/") and not (part == "ema" and key.endswith(STATISTICS))
            }
            for tensors in (found, expected)
        )
        assert ours.keys() == theirs.keys()
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_there_is_one_of_each_first_variant() -> None:
    assert sorted(path.name for path in GOLDEN[1].iterdir()) == ["cgan", "dcgan", "gan", "wgan-gp"]


@by_run
def test_a_former_configuration_is_read(golden: Run, original: Path) -> None:
    schema = schema_of(original)
    written = json.loads((golden.latest_checkpoint().path / "state.json").read_text())["config"]
    assert written["run"]["schema_version"] == schema
    config = golden.config
    assert config.run.schema_version == SCHEMA
    assert config.resolve() == golden.latest_checkpoint().config()  # with the defaults of settings that came later
    for term in config.variant.terms:
        assert isinstance(term, Spec)
    assert config.variant.penalties == config.variant.terms
    assert len(config.variant.terms) == len(written["variant"]["penalties" if schema == 1 else "terms"])
    assert assemble(file=read_toml(golden.path / "config.toml")).variant == config.resolve().variant


@by_run
def test_facts_and_choices_are_found_where_they_were(golden: Run, original: Path) -> None:
    schema, written = schema_of(original), read_toml(original / "config.toml")
    data, train = ("data", "train") if schema < 3 else ("facts", "compute")
    facts, compute = golden.config.facts, golden.config.chosen
    shape = (1, SIZES[schema], SIZES[schema])
    assert (facts.images, facts.image_shape, facts.sha256) == (43, shape, written[data]["sha256"])
    recorded = {key: written[train][key] for key in Compute.model_fields if key != "processors"}
    assert compute.model_dump(exclude={"processors"}) == recorded


@by_run
def test_a_former_checkpoint_resumes(golden: Run, original: Path, images: Images) -> None:
    shutil.rmtree(golden.checkpoint_at(12).path)
    lines = golden.metrics()
    run = ganzoo.resume(golden, dataset=images, progress=False)
    same_weights(run, original)
    for ours, theirs in zip(run.metrics(), lines, strict=True):
        assert ours.keys() == theirs.keys()
        assert ours["d_loss"] == pytest.approx(theirs["d_loss"], rel=1e-3, abs=1e-4)
    assert run.config.run.schema_version == SCHEMA
    ganzoo.resume(run, dataset=images, steps=14, progress=False)  # and what this ganzoo has saved goes on too


@by_run
def test_its_configuration_trains_the_same_weights_from_the_start(
    original: Path, images: Images, tmp_path: Path
) -> None:
    config = original / "config.toml"
    run = ganzoo.train(None, images, config=config, out=tmp_path / "anew", progress=False)
    same_weights(run, original)


@by_run
def test_a_file_exported_by_it_loads_draws_and_verifies(golden: Run, original: Path) -> None:
    path = golden.path / f"{original.name}.onnx"
    file, document = runtime.load(path), runtime.read_metadata(path)
    assert document["schema"] == (3 if golden.config.variant.codes else 2)
    parity.check_probe(file, document)
    prove_again(file, document, golden)
    ours, theirs = file.sample(10).astype(np.int16), ganzoo.load(golden).sample(10).astype(np.int16)
    assert np.abs(ours - theirs).max() <= 1


def test_a_run_that_recorded_no_choices_is_drawn_from(tmp_path: Path) -> None:
    """As the first versions did, which chose less."""
    run = Run.open(shutil.copytree(GOLDEN[1] / "dcgan", tmp_path / "early"))
    state = run.checkpoint_at(12).path / "state.json"
    document = json.loads(state.read_text())
    for key in ("fused", "compiled", "graphs"):
        del document["config"]["train"][key]
    state.write_text(json.dumps(document))
    manifest = json.loads((state.parent / "manifest.json").read_text())
    manifest["sha256"]["state.json"] = hashlib.sha256(state.read_bytes()).hexdigest()
    (state.parent / "manifest.json").write_text(json.dumps(manifest))
    assert run.checkpoint_at(12).config().compute is None
    assert ganzoo.load(run).sample(2).shape == (2, 8, 8, 1)
