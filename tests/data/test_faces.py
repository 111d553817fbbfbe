"""The faces that scikit-image brings."""

import importlib.machinery
import importlib.util
from pathlib import Path

import pytest

from ganzoo import data
from ganzoo.errors import MachineError, UsageError
from ganzoo.evaluation.reference import load_splits

pytest.importorskip("skimage")


def test_a_hundred_grey_faces_without_labels() -> None:
    faces = data.load("faces-lfw")
    assert faces.images.shape == (100, 1, 25, 25)
    assert faces.labels is None
    assert faces.images.float().std() > 30
    assert len(load_splits("faces-lfw").test) == 20  # a fifth is held out


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="takes no argument"):
        data.load("faces-lfw:x")
    found = importlib.machinery.ModuleSpec("skimage", None, is_package=True)
    found.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    with pytest.raises(MachineError, match=r"lfw_subset\.npy cannot be read"):
        data.load("faces-lfw")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "lfw_subset.npy").write_bytes(b"another")
    with pytest.raises(MachineError, match="another version of scikit-image"):
        data.load("faces-lfw")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match=r"torch-ganzoo\[faces\]"):
        data.load("faces-lfw")
