"""A process whose tensors are float64 by default draws, exports and judges the same, and keeps its default."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Images, make_images, train_tiny
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode

import ganzoo
from ganzoo import Run
from ganzoo.compute import device
from ganzoo.data import from_arrays
from ganzoo.evaluation import judge
from ganzoo.exporting.exporter import export, prove_again
from ganzoo.runtime import load, read_metadata
from ganzoo.studies import synthetic_data


@pytest.fixture
def double() -> Iterator[None]:
    """Tensors of 64 bits by default, and no judge that was read before."""
    judge._pinned_judge.cache_clear()
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
        judge._pinned_judge.cache_clear()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_tiny("cdcgan", make_images(16), tmp_path_factory.mktemp("run") / "run", steps=2)


class Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers the types of what matrix products and convolutions are given."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.convolution):
            self.dtypes |= {value.dtype for value in args if isinstance(value, torch.Tensor)}
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (device._onednn_is_float32, {torch.float32, torch.float64}),  # the latter is what it compares with
        (lambda: device._bfloat16_is_right(torch.device("cpu")), {torch.float32, torch.bfloat16}),
    ],
)
def test_the_self_tests_compute_with_what_they_test(test: Callable[[], bool], expected: set[torch.dtype]) -> None:
    with Products() as seen:
        test()
    assert seen.dtypes == expected


def test_the_choices_are_the_same(tiny_images: Images, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    chosen = train_tiny("cdcgan", tiny_images, tmp_path / "plain", steps=0).config.chosen
    request.getfixturevalue("double")
    assert train_tiny("cdcgan", tiny_images, tmp_path / "double", steps=0).config.chosen == chosen


def test_an_export_is_the_same(run: Run, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    plain = export(run, tmp_path / "plain.onnx").path
    request.getfixturevalue("double")
    other = export(run, tmp_path / "double.onnx").path
    assert other.read_bytes() == plain.read_bytes()
    prove_again(load(other), read_metadata(other), run)
    np.testing.assert_array_equal(ganzoo.load(run).sample(5), ganzoo.load(other).sample(5))


def test_an_encoder_is_exported(tiny_images: Images, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    run = train_tiny("bigan", tiny_images, tmp_path / "run", steps=1)
    plain = ganzoo.export_encoder(run, tmp_path / "plain.onnx").path
    request.getfixturevalue("double")
    other = ganzoo.export_encoder(run, tmp_path / "double.onnx").path
    assert other.read_bytes() == plain.read_bytes()


def test_the_figures_are_the_same(run: Run, request: pytest.FixtureRequest) -> None:
    def figures() -> Any:
        return ganzoo.evaluate("mnist", dataset="mnist-5k", n=200, seeds=1).to_json()["figures"]

    expected = figures()
    request.getfixturevalue("double")
    assert figures() == expected


def test_a_judge_is_the_same(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    images, labels = make_images(16, 96)
    dataset = from_arrays(images, labels)
    judge.fit_judge("tiny", dataset, dataset, tmp_path / "plain", epochs=1)
    request.getfixturevalue("double")
    judge.fit_judge("tiny", dataset, dataset, tmp_path / "double", epochs=1)
    plain, other = (load_file(tmp_path / name) for name in ("plain", "double"))
    assert plain.keys() == other.keys()
    for name, weights in plain.items():
        assert weights.dtype == other[name].dtype
        assert torch.equal(weights, other[name])


def test_a_classifier_learns_the_same(request: pytest.FixtureRequest) -> None:
    images, labels = make_images(16, 96)
    dataset = from_arrays(images, labels)

    def accuracy() -> float:
        return synthetic_data._accuracy([dataset, dataset], dataset, "cnn", 0, augment=False)

    expected = accuracy()
    request.getfixturevalue("double")
    assert accuracy() == expected
