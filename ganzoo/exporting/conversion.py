"""Conversion of a lean fp32 graph to the precisions and layouts of `ganzoo.runtime.forms`. No torch.

`as_it_is`, `half`, `half_weights` and `eight_bits` take a model and inputs to calibrate with, and return the model in
that precision; the exporter measures the cost. `lay_out` makes a model output its images in a layout.
"""

import contextlib
import io
import logging
import math
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from ganzoo.errors import VerificationError, first_line
from ganzoo.runtime.forms import ImageShape, Layout

Feeds: TypeAlias = Iterable[dict[str, NDArray[Any]]]  # a session's inputs, batch by batch

PRODUCTS = ("Gemm", "MatMul", "Conv", "ConvTranspose")
NORMS = ("LayerNormalization", "InstanceNormalization", "GroupNormalization")  # not in 8 bits: they have few scales
FEW = 16  # fewer values stay float32: half the size saves nothing, and some define shapes, as in Resize
LEVELS = 127  # of a weight with a sign and 7 bits


def as_it_is(model: onnx.ModelProto, feeds: Feeds) -> onnx.ModelProto:
    """Return the model unchanged, in float32."""
    return model


def half(model: onnx.ModelProto, feeds: Feeds) -> onnx.ModelProto:
    """Return the model with weights and arithmetic in float16; latents and images stay float32."""
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16
    from onnxscript import ir
    from onnxscript.ir.passes.common import TopologicalSortPass

    del model.graph.value_info[:]  # outdated after the rewrite; types are inferred again
    # onnxruntime crashes on x86 at some float16 transpositions (onnxruntime#28392). They have no weights.
    blocked = [*DEFAULT_OP_BLOCK_LIST, "Transpose"]
    with quiet():
        halved = convert_float_to_float16(model, keep_io_types=True, op_block_list=blocked)  # type: ignore[no-untyped-call]
    return ir.to_proto(TopologicalSortPass()(ir.from_proto(halved)).model)  # the converter put the casts of z last


def half_weights(model: onnx.ModelProto, feeds: Feeds) -> onnx.ModelProto:
    """Return the model with float16 weights, which runtimes cast when they open the file, and float32 arithmetic."""
    graph = model.graph
    for tensor in reversed(list(graph.initializer)):
        if tensor.data_type != onnx.TensorProto.FLOAT or math.prod(tensor.dims) < FEW:
            continue
        name = f"{tensor.name}_half"
        graph.node.insert(0, helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), name))
    return model


def eight_bits(model: onnx.ModelProto, feeds: Feeds) -> onnx.ModelProto:
    """Return the model with 8-bit weights and activations, their ranges calibrated on `feeds`.

    Layers that take the latents have only their weights in 8 bits: 8-bit latents would be other latents, with other
    images. Products of activations leave a bit free (`reduce_range`), because processors without VNNI add two of them
    in 16 bits, and would overflow.
    """
    from onnxruntime.quantization.calibrate import CalibrationDataReader
    from onnxruntime.quantization.quant_utils import QuantType
    from onnxruntime.quantization.quantize import quantize_static

    from ganzoo.exporting.lean import pack

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(feeds)

        def get_next(self) -> dict[str, NDArray[Any]]:
            return next(self.batches, None)  # type: ignore[arg-type]  # None ends the calibration

    model = pack(model)
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{index}"  # nodes are excluded by name
    before = list(_up_to_the_first_products(model.graph))
    norms = [node for node in model.graph.node if node.op_type in NORMS]
    with tempfile.TemporaryDirectory() as directory, quiet():
        path = Path(directory) / "int8.onnx"
        try:
            quantize_static(
                model,
                path,
                Reader(),
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
                nodes_to_exclude=[node.name for node in before + norms],
            )
        except Exception as error:  # of any class, such as ValueError for an unsupported operator
            raise VerificationError(
                f"onnxruntime cannot compute this graph in 8 bits ({first_line(error)}): use --precision fp32 or fp16"
            ) from error
        quantized = onnx.load(path)
    names = {node.name for node in before if node.op_type in PRODUCTS}
    _quantize_weights(quantized.graph, [node for node in quantized.graph.node if node.name in names])
    return quantized


def lay_out(model: onnx.ModelProto, layout: Layout, image: ImageShape) -> None:
    """Change a graph with the output `images` float32 [N, C, H, W] in [-1, 1] to output them in `layout`."""
    if layout.floats:
        return
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["images.floats" if name == "images" else name for name in node.output]
    for name, number in (("images.half", 127.5), ("images.black", 0.0), ("images.white", 255.0)):
        graph.initializer.append(numpy_helper.from_array(np.array(number, np.float32), name))
    nodes = [
        helper.make_node("Mul", ["images.floats", "images.half"], ["images.scaled"]),
        helper.make_node("Add", ["images.scaled", "images.half"], ["images.levels"]),
        helper.make_node("Clip", ["images.levels", "images.black", "images.white"], ["images.clipped"]),
        helper.make_node("Round", ["images.clipped"], ["images.rounded"]),  # rounds halves to even, as numpy does
        helper.make_node("Cast", ["images.rounded"], ["images.pixels"], to=onnx.TensorProto.UINT8),
    ]
    if layout.rgb and image[0] == 1:
        nodes.append(helper.make_node("Concat", ["images.pixels"] * 3, ["images"], axis=1))
    if layout.axes == "NHWC":
        nodes.append(helper.make_node("Transpose", ["images.pixels"], ["images"], perm=[0, 2, 3, 1]))
    nodes[-1].output[0] = "images"
    graph.node.extend(nodes)
    batch = graph.output[0].type.tensor_type.shape.dim[0].dim_param
    graph.output[0].CopyFrom(
        helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, [batch, *layout.shape(image)])
    )


def _up_to_the_first_products(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes between the inputs and their first products with weights, including these products."""
    reached = {value.name for value in graph.input}
    for node in graph.node:
        if reached.intersection(node.input):
            yield node
            if node.op_type not in PRODUCTS:
                reached.update(node.output)


def _quantize_weights(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Store these nodes' weights in 8 bits, with one scale per output; they are converted to float32 before use."""
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    for node in nodes:
        tensor = initializers.get(node.input[1])
        shared = sum(list(other.input).count(node.input[1]) for other in graph.node) > 1
        if node.op_type not in ("Gemm", "MatMul") or tensor is None or len(tensor.dims) != 2 or shared:
            continue
        weights = numpy_helper.to_array(tensor)
        axis = 0 if any(a.name == "transB" and a.i for a in node.attribute) else 1  # of the outputs
        scale = np.maximum(np.abs(weights).max(1 - axis), np.finfo(np.float32).tiny).astype(np.float32) / LEVELS
        levels = np.rint(weights / np.expand_dims(scale, 1 - axis)).astype(np.int8)
        names = [f"{tensor.name}_{part}" for part in ("levels", "scale", "zero")]
        for name, array in zip(names, (levels, scale, np.zeros(scale.shape, np.int8)), strict=True):
            graph.initializer.append(numpy_helper.from_array(array, name))
        dequantized = helper.make_node("DequantizeLinear", names, [f"{tensor.name}_floats"], axis=axis)
        graph.node.insert(list(graph.node).index(node), dequantized)
        node.input[1] = dequantized.output[0]
        graph.initializer.remove(tensor)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what exporters and quantisers print: what matters is checked on the file.

    They log, print their traces, and recommend steps that are not needed here.
    """
    previous = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            contextlib.redirect_stdout(nothing := io.StringIO()),
            contextlib.redirect_stderr(nothing),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(previous)
