"""The rewrites of a graph: each draws what the network draws, for every batch size, and leaves what it promises."""

import importlib
from collections import Counter
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, pixel_shuffle

from ganzoo.exporting import lean as passes
from ganzoo.exporting.conversion import eight_bits, lay_out
from ganzoo.exporting.lean import lean, pack
from ganzoo.registry import generators
from ganzoo.runtime.forms import LAYOUTS
from ganzoo.zoo.networks.fused import fuse

ort: Any = importlib.import_module("onnxruntime")  # without types, as in ganzoo.runtime

pytestmark = pytest.mark.slow


def translated(network: nn.Module, shape: tuple[int, ...]) -> onnx.ModelProto:
    batch = torch.export.Dim("batch", min=1)
    program = torch.onnx.export(
        network,
        (torch.randn(2, *shape),),
        dynamo=True,
        opset_version=18,
        input_names=["x"],
        output_names=["images"],
        dynamic_shapes=({0: batch},),
        external_data=False,
        verbose=False,
    )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


def operators(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def assert_same(model: onnx.ModelProto, network: nn.Module, shape: tuple[int, ...]) -> None:
    onnx.checker.check_model(model, full_check=True)
    shuffles = [node for node in model.graph.node if node.op_type == "DepthToSpace"]
    modes = {attribute.s for node in shuffles for attribute in node.attribute if attribute.name == "mode"}
    assert modes == ({b"CRD"} if shuffles else set())  # ncnn and onnx2torch read no other
    session: Any = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for size in (0, 1, 5):
        x = torch.randn(size, *shape)
        with torch.no_grad():
            expected = network(x).numpy() if size else None
        (drawn,) = session.run(None, {"x": x.numpy()})
        if expected is None:
            assert len(drawn) == 0
        else:
            assert expected.std() > 0.01
            np.testing.assert_allclose(drawn, expected, atol=2e-5)


def up(*layers: nn.Module, scale: int = 2) -> nn.Module:
    return nn.Sequential(nn.Upsample(scale_factor=scale), *layers)


UPSAMPLED: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "3 x 3": (lambda: up(nn.Conv2d(4, 40, 3, padding=1)), 1),
    "5 x 5 of three": (lambda: up(nn.Conv2d(4, 40, 5, padding=2), scale=3), 1),
    "padded by less, no bias": (lambda: up(nn.Conv2d(4, 40, 3, bias=False)), 1),
    "in groups": (lambda: up(nn.Conv2d(4, 40, 3, padding=1, groups=2)), 0),
    "stride": (lambda: up(nn.Conv2d(4, 40, 3, padding=1, stride=2)), 0),
    "dilated": (lambda: up(nn.Conv2d(4, 40, 3, padding=2, dilation=2)), 0),
    "bilinear": (
        lambda: nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(4, 40, 3, padding=1)),
        0,
    ),
    "padded by more": (lambda: up(nn.Conv2d(4, 40, 3, padding=3)), 0),
}


@pytest.mark.parametrize("name", UPSAMPLED)
def test_copies_and_a_convolution_are_one_transposed_convolution(name: str) -> None:
    make, expected = UPSAMPLED[name]
    network = make().eval()
    model = lean(translated(network, (4, 5, 5)))
    assert operators(model)["ConvTranspose"] == expected
    assert operators(model)["Resize"] == 1 - expected
    assert_same(model, network, (4, 5, 5))


def test_the_last_transposed_convolution_is_packed_and_its_shuffle_comes_last() -> None:
    network = nn.Sequential(
        nn.ConvTranspose2d(8, 16, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(16, 6, 4, 2, 1),
        nn.ReLU(),
        nn.Conv2d(6, 1, 3, padding=1),
        nn.Tanh(),
    ).eval()
    model = lean(translated(network, (8, 3, 3)))
    assert [node.op_type for node in model.graph.node] == [
        *("ConvTranspose", "LeakyRelu", "Conv", "Relu", "Conv", "Tanh", "DepthToSpace")
    ]
    assert_same(model, network, (8, 3, 3))
    everywhere = pack(model)
    assert operators(everywhere)["ConvTranspose"] == 0
    assert_same(everywhere, network, (8, 3, 3))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transposed_convolution_to_the_image_itself_is_packed(channels: int) -> None:
    network = nn.Sequential(nn.ConvTranspose2d(8, channels, 4, 2, 1), nn.Tanh()).eval()
    model = lean(translated(network, (8, 3, 3)))
    assert [node.op_type for node in model.graph.node] == ["Conv", "Tanh", "DepthToSpace"]
    assert_same(model, network, (8, 3, 3))


WIDE = {
    "wide": nn.Sequential(nn.ConvTranspose2d(2 * passes.NARROW, 1, 4, 2, 1), nn.Tanh()),
    "a size that is no multiple": nn.ConvTranspose2d(4, 1, 3, 2, 1),
    "in groups": nn.ConvTranspose2d(4, 2, 4, 2, 1, groups=2),
    "stride 1": nn.ConvTranspose2d(4, 1, 3, 1, 1),
    "of one dimension": nn.Sequential(nn.Flatten(2), nn.ConvTranspose1d(4, 1, 4, 2, 1)),
}


@pytest.mark.parametrize("name", WIDE)
def test_a_transposed_convolution_stays_where_packing_it_does_not_pay(name: str) -> None:
    network = WIDE[name].eval()
    shape = (2 * passes.NARROW if name == "wide" else 4, 5, 5)
    model = lean(translated(network, shape))
    assert operators(model)["ConvTranspose"] == 1
    assert_same(model, network, shape)
    if name != "wide":
        assert operators(pack(model))["ConvTranspose"] == 1


class Tricky(nn.Module):
    """A batch norm that torch does not fold, weights used twice, and parameters with the names of our own."""

    def __init__(self) -> None:
        super().__init__()
        self.white = nn.Parameter(torch.ones(1))
        self.linear, self.norm = nn.Linear(8, 64), nn.BatchNorm2d(8)
        self.last = nn.Linear(16, 12)

    def forward(self, x: Tensor) -> Tensor:
        features = self.linear(x[:, :8]) + self.linear(x[:, 8:])
        normed = self.norm(features.view(-1, 8, 2, 2)) * self.white
        images: Tensor = self.last(normed.view(-1, 2, 2, 16)[:, :1].flatten(1)[:, :16]).tanh().view(-1, 1, 3, 4)
        return images


def test_a_norm_of_its_own_is_left_and_weights_may_be_shared() -> None:
    torch.manual_seed(0)
    network = Tricky()
    with torch.no_grad():
        for _ in range(5):
            network.train()(3 * torch.randn(8, 16) + 1)
    network.eval()
    model = lean(translated(network, (16,)))
    assert operators(model)["BatchNormalization"] == 1
    assert_same(model, network, (16,))
    feeds = ({"x": np.random.default_rng(i).standard_normal((64, 16), np.float32)} for i in range(4))
    quantized = eight_bits(model, feeds)
    lay_out(quantized, LAYOUTS["rgb"], (1, 3, 4))
    onnx.checker.check_model(quantized, full_check=True)


SETTINGS: dict[str, list[dict[str, Any]]] = {"dcgan": [{}, {"width": 8}], "resize-conv": [{}, {"width": 16}]}
SHAPES = [(1, 28, 28), (3, 32, 32)]


def test_every_registered_network_draws_the_same_and_every_rule_is_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    applied: set[str] = set()
    rules: set[str] = set()
    rewrite = passes._rewrite

    def watched(rule: passes.Rule) -> passes.Rule:
        def apply(node: Any) -> Any:
            nodes = rule(node)
            applied.update([rule.__name__] if nodes else [])
            return nodes

        rules.add(rule.__name__)
        return apply

    monkeypatch.setattr(passes, "_rewrite", lambda model, rules: rewrite(model, [watched(rule) for rule in rules]))
    for shape, name in product(SHAPES, generators.names()):
        for chosen in SETTINGS.get(name, [{}]):
            network = generators[name](shape, 16, None, **chosen).eval()
            fuse(network, False)
            model = lean(translated(network, (16,)))
            assert_same(model, network, (16,))
            assert_same(pack(model), network, (16,))
    assert rules == applied == {"_merge_upsampling", "_pack_at_the_end", "_shuffle_later", "_pack"}


def test_a_graph_that_no_rule_applies_to_stays_as_it_is() -> None:
    model = translated(generators["mlp"]((1, 28, 28), 16, None).eval(), (16,))
    assert lean(model) is model
    assert pack(model) is model


# The kernels, against torch


@given(
    stride=st.integers(2, 4),
    extra=st.integers(0, 3),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    seed=st.integers(0, 99),
)
@settings(max_examples=30)
def test_a_packed_transposed_convolution_is_one(
    stride: int, extra: int, sizes: tuple[int, int, int, int], seed: int
) -> None:
    torch.manual_seed(seed)
    fan_in, fan_out, height, width = sizes
    kernel = torch.randn(fan_in, fan_out, stride + 2 * extra, stride + 2 * extra)
    x = torch.randn(2, fan_in, height, width)
    weights, pad = passes._pack_transposed_kernel(kernel.numpy(), stride, extra)
    apart = conv2d(x, torch.from_numpy(weights), padding=pad)  # [2, out * s * s, H, W]
    expected = conv_transpose2d(x, kernel, stride=stride, padding=extra)
    torch.testing.assert_close(pixel_shuffle(apart, stride), expected, atol=1e-4, rtol=1e-4)


@given(
    block=st.integers(2, 4),
    reach=st.integers(0, 3),
    sizes=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    seed=st.integers(0, 99),
)
@settings(max_examples=30)
def test_a_convolution_before_the_shuffle_is_the_one_after_it(
    block: int, reach: int, sizes: tuple[int, int, int, int], seed: int
) -> None:
    torch.manual_seed(seed)
    fan_in, fan_out, height, width = sizes
    kernel = torch.randn(fan_out, fan_in, 2 * reach + 1, 2 * reach + 1)
    x = torch.randn(2, block**2 * fan_in, height, width)

    weights, pad = passes._pack_kernel(kernel.numpy(), block)
    before = pixel_shuffle(conv2d(x, torch.from_numpy(weights), padding=pad), block)
    after = conv2d(pixel_shuffle(x, block), kernel, padding=reach)
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)
