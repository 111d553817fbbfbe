"""Checkpoints whose content was changed and whose hashes were made to fit again, as only intent does it."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from conftest import Images, train_tiny

import ganzoo
from ganzoo.errors import FileError
from ganzoo.runs.run import Run


@pytest.fixture(scope="module")
def trained(tiny_images: Images, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_tiny("gan", tiny_images, tmp_path_factory.mktemp("refitted") / "run", steps=2)


def refit(run: Run, name: str, data: bytes) -> None:
    place = run.latest_checkpoint().path
    (place / name).write_bytes(data)
    manifest = json.loads((place / "manifest.json").read_bytes())
    manifest["sha256"][name] = hashlib.sha256(data).hexdigest()
    (place / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "change",
    [
        {"step": None},
        {"step": "2"},
        {"step": -1},
        {"seconds": None},
        {"seconds": -5.0},
        {"logs": []},
        {"logs": {"sums": {"d_x": "much"}, "counts": {}}},
        {"logs": {"sums": {}}},
        {"logs": {"sums": {"x_loss": 1.0}, "counts": {"d": 1, "g": 1}}},
        {"logs": {"sums": {}, "counts": {"d": -1, "g": 1}}},
        {"config": 5},
        {"config": {}},
        {"processes": 0},
        {"lines": {"metrics.jsonl": {"bytes": -1, "sha256": ""}}},
        {"final": "yes"},
        {"fid": "small"},
        [],
        "[" * 100_000,
    ],
)
def test_a_state_of_other_fields_is_refused_by_its_path(
    change: Any, trained: Run, tiny_images: Images, tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(trained.path, tmp_path / "run")))
    state = run.latest_checkpoint().state()
    content = change if isinstance(change, str) else json.dumps({**state, **change} if change else change)
    refit(run, "state.json", content.encode())
    with pytest.raises(FileError, match="step-00000002"):
        ganzoo.resume(run, steps=3, dataset=tiny_images, progress=False)


@pytest.mark.parametrize("key", ["step", "config"])
def test_a_state_without_what_it_needs_is_refused(key: str, trained: Run, tiny_images: Images, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(trained.path, tmp_path / "run")))
    state = {name: value for name, value in run.latest_checkpoint().state().items() if name != key}
    refit(run, "state.json", json.dumps(state).encode())
    with pytest.raises(FileError, match="step-00000002"):
        ganzoo.resume(run, steps=3, dataset=tiny_images, progress=False)


@pytest.mark.parametrize("part", ["generator_optimizer", "discriminator_optimizer"])
@pytest.mark.parametrize("change", ["name", "shape", "scalar", "missing"])
def test_moments_of_other_names_or_shapes_are_refused(
    part: str, change: str, trained: Run, tiny_images: Images, tmp_path: Path
) -> None:
    run = Run(Path(shutil.copytree(trained.path, tmp_path / "run")))
    tensors = run.latest_checkpoint().tensors(part)
    name = next(key for key, value in tensors.items() if value.ndim > 1 and key.endswith("exp_avg"))
    value = tensors.pop(name)
    others = {
        "name": ("stranger|exp_avg", value),
        "shape": (name, torch.zeros(3, 5)),
        "scalar": (name, torch.zeros(())),
    }
    tensors |= dict([others[change]]) if change in others else {}
    refit(run, f"{part}.safetensors", safetensors.torch.save(tensors))
    with pytest.raises(FileError, match="does not fit"):
        ganzoo.resume(run, steps=3, dataset=tiny_images, progress=False)
