"""Generators that ganzoo did not export: those whose graph makes sense are drawn from, the others told why not."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from handmade import CLASSES, LATENT_DIM, SHAPE, model, sealed, weights
from onnx import TensorProto, helper, numpy_helper

from ganzoo import runtime, seeds
from ganzoo.errors import ModelError

VALUES = int(np.prod(SHAPE))
Sizes = Sequence[int | str]


def plain(
    latent: Sizes = ("n", LATENT_DIM),
    image: Sizes = SHAPE,
    *,
    labels: Sizes | None = None,
    label_type: int = TensorProto.INT32,
    uint8: bool = False,
    float_type: int = TensorProto.FLOAT,
) -> Any:
    """out = tanh(noise W + E[kind]), under names that another exporter would choose."""
    matrix, table = weights()
    constants: dict[str, Any] = {"W": matrix, "flat": np.array([-1, LATENT_DIM]), "shape": np.array([-1, *image])}
    inputs = [helper.make_tensor_value_info("noise", float_type, latent)]
    nodes = [
        helper.make_node("Reshape", ["noise", "flat"], ["z"]),
        helper.make_node("MatMul", ["z", "W"], ["h0"]),
    ]
    if labels is not None:
        inputs.append(helper.make_tensor_value_info("kind", label_type, labels))
        constants["E"] = table
        nodes += [helper.make_node("Gather", ["E", "kind"], ["e"]), helper.make_node("Add", ["h0", "e"], ["h"])]
    nodes += [
        helper.make_node("Tanh", ["h0" if labels is None else "h"], ["t"]),
        helper.make_node("Reshape", ["t", "shape"], ["floats" if uint8 else "out"]),
    ]
    if uint8:
        nodes += [
            helper.make_node("Mul", ["floats", "half"], ["scaled"]),
            helper.make_node("Add", ["scaled", "half"], ["moved"]),
            helper.make_node("Round", ["moved"], ["rounded"]),
            helper.make_node("Cast", ["rounded"], ["out"], to=TensorProto.UINT8),
        ]
        constants["half"] = np.array(127.5, np.float32)
    out = helper.make_tensor_value_info("out", TensorProto.UINT8 if uint8 else TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "main_graph", inputs, [out], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def load(made: Any) -> Any:
    return runtime.load(made.SerializeToString(), foreign=True)


@pytest.mark.parametrize("latent", [("n", LATENT_DIM), ("n", LATENT_DIM, 1, 1)])
def test_its_names_and_the_shape_of_its_latents_may_be_its_own(latent: Sizes) -> None:
    generator = load(plain(latent))
    assert (generator.info.latent_dim, generator.info.image_shape) == (LATENT_DIM, SHAPE)
    assert generator.info.num_classes is None
    np.testing.assert_array_equal(generator.sample(70), runtime.load(sealed()).sample(70))


@pytest.mark.parametrize("kind", [TensorProto.INT32, TensorProto.INT64])
def test_its_classes_are_the_rows_of_the_table_that_they_choose_from(kind: int) -> None:
    generator = load(plain(labels=["n"], label_type=kind))
    assert generator.info.num_classes == CLASSES
    z = seeds.latents(0, LATENT_DIM, 0, 4)
    expected = np.tanh(z @ weights()[0] + weights()[1][[2, 0, 1, 2]]).reshape(4, *SHAPE)
    np.testing.assert_allclose(generator.generate(z, [2, 0, 1, 2]), expected, atol=1e-6)


def test_classes_are_found_behind_a_cast_and_in_a_one_hot_code() -> None:
    made = plain(labels=["n"])
    made.graph.node[2].input[1] = "wide"
    made.graph.node.insert(0, helper.make_node("Cast", ["kind"], ["wide"], to=TensorProto.INT64))
    assert load(made).info.num_classes == CLASSES
    made = plain(labels=["n"], label_type=TensorProto.INT64)
    made.graph.node[2].CopyFrom(helper.make_node("MatMul", ["code", "E"], ["e"]))
    made.graph.node.insert(0, helper.make_node("OneHot", ["kind", "depth", "off_on"], ["code"]))
    for name, value in (("depth", np.int64(CLASSES)), ("off_on", np.array([0, 1], np.float32))):
        made.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    assert load(made).info.num_classes == CLASSES
    np.testing.assert_array_equal(load(made).sample(9), load(plain(labels=["n"])).sample(9))


@pytest.mark.parametrize(("image", "shape"), [((1, 3, 4), (1, 3, 4)), ((4, 3, 1), (1, 4, 3)), ((2, 2, 3), (3, 2, 2))])
def test_bytes_have_their_channels_first_or_last(image: Sizes, shape: tuple[int, int, int]) -> None:
    generator = load(plain(image=image, uint8=True))
    assert generator.info.image_shape == shape
    assert generator.sample(5).shape == (5, shape[1], shape[2], shape[0])
    images = generator.generate(seeds.latents(0, LATENT_DIM, 0, 3))
    assert (images.dtype, images.shape) == (np.float32, (3, *shape))
    assert np.abs(images).max() <= 1


def test_group_normalization_keeps_its_shape_though_onnx_does_not_say_so() -> None:
    made = plain()
    made.opset_import[0].version, made.ir_version = 21, 10
    norm = helper.make_node("GroupNormalization", ["images", "one", "zero"], ["out"], num_groups=1)
    made.graph.node[-1].output[0] = "images"
    made.graph.node.append(norm)
    for name, value in (("one", 1), ("zero", 0)):
        made.graph.initializer.append(numpy_helper.from_array(np.full(1, value, np.float32), name))
    images = load(made).generate(seeds.latents(0, LATENT_DIM, 0, 3))
    np.testing.assert_allclose(images.mean((1, 2, 3)), 0, atol=1e-5)


def test_a_file_gives_it_its_name(tmp_path: Path) -> None:
    (tmp_path / "faces.onnx").write_bytes(plain().SerializeToString())
    assert runtime.load(tmp_path / "faces.onnx", foreign=True).info.variant == "faces"


def test_weights_may_be_listed_among_the_inputs() -> None:
    made = plain()
    made.graph.input.append(helper.make_tensor_value_info("W", TensorProto.FLOAT, [LATENT_DIM, VALUES]))
    np.testing.assert_array_equal(load(made).sample(5), load(plain()).sample(5))


def test_it_must_be_asked_for() -> None:
    with pytest.raises(ModelError, match=r"was not exported by ganzoo.*\(--foreign, foreign=True\)"):
        runtime.load(plain().SerializeToString())


def test_a_file_of_ganzoos_is_taken_as_any_other() -> None:
    generator = runtime.load(sealed(CLASSES), foreign=True)
    np.testing.assert_array_equal(generator.sample(9), runtime.load(sealed(CLASSES)).sample(9))
    runtime.load(model().SerializeToString(), foreign=True)  # there is no seal to be checked


def two_outputs() -> Any:
    made = plain()
    made.graph.output.append(helper.make_tensor_value_info("t", TensorProto.FLOAT, None))
    return made


def no_table() -> Any:
    made = plain(labels=["n"])
    made.graph.node[2].CopyFrom(helper.make_node("Cast", ["kind"], ["raw"], to=TensorProto.FLOAT))
    made.graph.node.insert(3, helper.make_node("Unsqueeze", ["raw", "last"], ["e"]))
    made.graph.initializer.append(numpy_helper.from_array(np.array([1]), "last"))
    return made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (plain((1, LATENT_DIM)), r"'noise' has a frozen batch of 1: export it with a free \(dynamic\) batch size"),
        (plain(labels=[8]), "'kind' has a frozen batch of 8"),
        (plain(("n", "d")), r"'noise' has the shape \[N, N\]: expected \[N, D\] or \[N, D, 1, 1\]"),
        (plain(("n", 1, LATENT_DIM, 1)), r"the shape \[N, 1, 5, 1\]"),
        (plain(("n",)), r"the shape \[N\]"),
        (plain(labels=["n", 1]), r"labels 'kind' have the shape \[N, 1\]: expected \[N\]"),
        (plain(float_type=TensorProto.DOUBLE), "its inputs are noise double: expected float32 latents"),
        (plain(labels=["n"], label_type=TensorProto.BOOL), "noise float, kind bool"),
        (plain(image=(2, 2, 3)), r"it outputs float \[64, 2, 2, 3\]: expected images of 1, 3 or 4 channels"),
        (plain(image=(VALUES,)), r"float \[64, 12\]"),
        (two_outputs(), "it has 2 outputs: expected one, the images"),
        (no_table(), "the number of classes of 'kind' is unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_inputs_and_outputs_that_make_no_sense_are_told_why(made: Any, message: str) -> None:
    with pytest.raises(ModelError, match=f"the model in memory is refused: .*{message}") as caught:
        load(made)
    assert str(caught.value).isprintable()
