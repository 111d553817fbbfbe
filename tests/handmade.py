"""Small .onnx generators made by hand, and what a hostile one may hold."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ganzoo.runtime import onnxfile
from ganzoo.runtime.generator import GeneratorInfo

LATENT_DIM, SHAPE, CLASSES = 5, (1, 3, 4), 3


def weights() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    generator = np.random.default_rng(0)
    return generator.standard_normal((LATENT_DIM, 12), np.float32), generator.standard_normal((CLASSES, 12), np.float32)


def info(num_classes: int | None = None) -> GeneratorInfo:
    return GeneratorInfo(variant="toy", latent_dim=LATENT_DIM, image_shape=SHAPE, num_classes=num_classes)


def model(num_classes: int | None = None, document: str | None = None) -> Any:
    """images = tanh(z W + E[labels]), with the metadata but not sealed."""
    matrix, table = weights()
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", LATENT_DIM])
    labels = helper.make_tensor_value_info("labels", TensorProto.INT64, ["batch"])
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", *SHAPE])
    conditional = num_classes is not None
    embed = [helper.make_node("Gather", ["E", "labels"], ["e"]), helper.make_node("Gemm", ["z", "W", "e"], ["h"])]
    nodes = [
        *(embed if conditional else [helper.make_node("Gemm", ["z", "W"], ["h"])]),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("Reshape", ["t", "shape"], ["images"]),
    ]
    tensors = {"W": matrix, "shape": np.array([-1, *SHAPE]), **({"E": table} if conditional else {})}
    initialisers = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "toy", [z, labels] if conditional else [z], [images], initialisers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(made, {onnxfile.METADATA_KEY: document or onnxfile.metadata(info(num_classes))})
    return made


def sealed(num_classes: int | None = None) -> bytes:
    return onnxfile.seal(model(num_classes).SerializeToString())


def saved(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "generator.onnx"
    path.write_bytes(data)
    return path


# What a graph may hold


def lie_outside(tensor: Any) -> None:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")


def outside_tensor() -> Any:
    tensor = helper.make_tensor("outside", TensorProto.FLOAT, [0], [])
    lie_outside(tensor)
    return tensor


def outside_sparse() -> Any:
    return helper.make_sparse_tensor(outside_tensor(), helper.make_tensor("i", TensorProto.INT64, [0], []), [3])


def inner_graph(*nodes: Any) -> Any:
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    return helper.make_graph(list(nodes), "inner", [], [out])


def add_node(made: Any, op: str, domain: str = "", **attributes: Any) -> None:
    made.graph.node.append(helper.make_node(op, [], ["unused"], domain=domain, **attributes))


def add_function(made: Any) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    made.functions.append(helper.make_function("", "Twice", ["x"], ["y"], [node], [helper.make_opsetid("", 20)]))


HOSTILE: dict[str, tuple[Callable[[Any], object], str]] = {
    "initialiser": (lambda m: lie_outside(m.graph.initializer[0]), "'W' is stored in another file"),
    "location unsaid": (lambda m: m.graph.initializer[0].external_data.add(key="location", value="x"), "another file"),
    "sparse initialiser": (lambda m: m.graph.sparse_initializer.append(outside_sparse()), "another file"),
    "attribute": (lambda m: add_node(m, "Constant", value=outside_tensor()), "another file"),
    "attribute list": (lambda m: add_node(m, "Constant", values=[outside_tensor()]), "another file"),
    "sparse attribute": (lambda m: add_node(m, "Constant", sparse_value=outside_sparse()), "another file"),
    "branch": (lambda m: add_node(m, "If", then_branch=inner_graph()), "graph within the graph"),
    "branches": (lambda m: add_node(m, "If", branches=[inner_graph(), inner_graph()]), "graph within the graph"),
    "loop": (lambda m: add_node(m, "Loop", body=inner_graph(helper.make_node("X", [], []))), "graph within the graph"),
    "domain of a node": (lambda m: add_node(m, "Evil", "com.example"), r"not standard \('com.example'\)"),
    "domain of onnxruntime": (lambda m: add_node(m, "FusedGemm", "com.microsoft"), "not standard"),
    "domain imported": (lambda m: m.opset_import.append(helper.make_opsetid("com.example", 1)), "not standard"),
    "function": (add_function, "defines a function"),
    "training": (lambda m: m.training_info.add(), "training information"),
    "compiled code": (lambda m: add_node(m, "EPContext"), "compiled code"),
    "no input": (
        lambda m: m.graph.ClearField("input"),
        r"inputs are none, but its metadata declares z float \[N, 5\]",
    ),
    "input's name": (lambda m: setattr(m.graph.input[0], "name", "noise"), "inputs are noise float"),
    "input's type": (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 11), "z double"),
    "input of no type": (lambda m: m.graph.input[0].ClearField("type"), "z undefined"),
    "input's size": (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 6), r"\[N, 6\]"),
    "fixed batch": (lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[0], "dim_value", 1), r"\[1, 5\]"),
    "input too many": (lambda m: m.graph.input.append(m.graph.input[0]), "inputs are z float .*, z float"),
    "no output": (lambda m: m.graph.ClearField("output"), "outputs are none"),
    "output's name": (lambda m: setattr(m.graph.output[0], "name", "t"), "outputs are t float"),
    "output's size": (lambda m: m.graph.output[0].type.tensor_type.shape.dim.pop(), r"images float \[N, 1, 3\]"),
    "output too many": (lambda m: m.graph.output.append(m.graph.output[0]), "outputs are"),
}
