"""Sizes of all values in a graph, inferred and bounded before anything runs it. No torch.

onnx infers them on a skeleton, the graph without its weights, for a batch of one image and for one of `BATCHES[-1]`.
If a size depends on a shape that onnx cannot compute, `onnxfold` computes it. A value whose size is still unknown is
refused, because it could have any size when the graph runs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import onnx

from ganzoo.errors import first_line, shown
from ganzoo.runtime.guard.onnxfold import known_values
from ganzoo.runtime.guard.onnxgraph import MAX_RANK, SMALL, TYPES, Refused, describe, type_name

MAX_VALUES = 2**24  # numbers in one value of the graph, per image: 64 MiB as floats
MAX_TOTAL = 2**28  # numbers in all values of the graph together, per image
BATCHES = (1, 64)  # one image, and the number of small images that `sample` draws at a time
ROUNDS = 8  # of inference and folding, as computed sizes can depend on other computed sizes

Shape: TypeAlias = tuple[int, ...]

# Operators that take no longer than reading inputs and writing outputs: they may run while a file is loaded.
_CHEAP = {"Abs", "Add", "Cast", "Concat", "Constant", "ConstantOfShape", "Cos", "DequantizeLinear", "Div", "Equal"}
_CHEAP |= {
    "Exp",
    "Expand",
    "Flatten",
    "Gather",
    "Identity",
    "Mul",
    "Neg",
    "Pow",
    "QuantizeLinear",
    "Range",
    "Reciprocal",
}
_CHEAP |= {"ReduceSum", "Reshape", "Shape", "Sin", "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Tile"}
_CHEAP |= {"Transpose", "Unsqueeze", "Where"}

_KEEPS_SHAPE = {"GroupNormalization"}  # onnx infers nothing for these


@dataclass(frozen=True)
class Value:
    """The element type and the shape of a value in the graph, at the greatest of `BATCHES`."""

    kind: int
    shape: Shape


def values(model: Any, inputs: Mapping[str, tuple[int, Shape]]) -> dict[str, Value]:
    """Return every value in the graph, given its inputs (type, and shape for one image); all are within the limits.

    The graph must have passed `check_harmless` and `check_order`. Raises Refused.
    """
    found: dict[str, Value] = {}
    for batch in BATCHES:
        found = _infer_all(_skeleton(model, {name: (kind, (batch, *shape)) for name, (kind, shape) in inputs.items()}))
        for node in model.graph.node:
            for name in filter(None, node.output):
                _check(name, node, found.get(name), batch)
            _check_workspace(node, found, batch)
        total = sum(math.prod(value.shape) for value in found.values())
        if total > batch * MAX_TOTAL:
            raise Refused(
                f"its values have {total:,} numbers for {_images(batch)}; the limit is {MAX_TOTAL:,} per image"
            )
    return found


def is_cheap_to_fold(graph: Any, found: Mapping[str, Value]) -> bool:
    """Return whether onnxruntime may compute constants when it loads the graph: they take little time and memory."""
    constant = {tensor.name for tensor in graph.initializer} | {""}
    size = 0
    for node in graph.node:
        if node.op_type not in ("Shape", "Size") and not constant.issuperset(node.input):
            continue
        if node.op_type not in _CHEAP:
            return False
        constant.update(node.output)
        size += sum(math.prod(found[name].shape) for name in node.output if name)
    return size <= MAX_VALUES


def _skeleton(model: Any, inputs: Mapping[str, tuple[int, Shape]]) -> Any:
    """Return the same graph with only the shapes of the weights, which is small and lets onnx infer all sizes."""
    skeleton = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = skeleton.graph
    graph.name = "skeleton"
    for name, (kind, shape) in inputs.items():
        _declare(graph, name, kind, shape)
    for tensor in model.graph.initializer:
        _add_tensor(graph, tensor, tensor.name)
    for node in model.graph.node:
        tensors = [attribute.t for attribute in node.attribute if attribute.HasField("t")]
        if node.op_type == "Constant" and len(tensors) == len(node.attribute) == len(node.output) == 1:
            _add_tensor(graph, tensors[0], node.output[0])
        elif node.op_type in _KEEPS_SHAPE and node.input:
            graph.node.add(op_type="Identity", input=node.input[:1], output=node.output)
        else:
            graph.node.append(node)
    for value in model.graph.output:
        graph.output.add(name=value.name)
    return skeleton


def _add_tensor(graph: Any, tensor: Any, name: str) -> None:
    if math.prod(tensor.dims) > SMALL:
        _declare(graph, name, tensor.data_type, tuple(tensor.dims))
    else:
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = name


def _declare(graph: Any, name: str, kind: int, shape: Shape) -> None:
    tensor = graph.input.add(name=name).type.tensor_type
    tensor.elem_type = kind
    tensor.shape.SetInParent()  # of a scalar too
    for size in shape:
        tensor.shape.dim.add(dim_value=size)


def _infer_all(skeleton: Any) -> dict[str, Value]:
    """Return the value of every name whose type and shape can be inferred; the sizes are not checked."""
    found = _infer(skeleton)
    for _ in range(ROUNDS):
        made = {name for node in skeleton.graph.node for name in node.output if name}
        if made <= found.keys() or not _fold(skeleton.graph, found):
            break
        found = _infer(skeleton)
    return found


def _infer(skeleton: Any) -> dict[str, Value]:
    from onnx import shape_inference  # imported here to make `import ganzoo.runtime` faster

    try:
        whole = shape_inference.infer_shapes(skeleton, check_type=True, strict_mode=True, data_prop=True)
    except Exception as error:  # RuntimeError, ValueError, MemoryError and onnx's own classes
        raise Refused(f"onnx cannot infer the sizes in its graph ({shown(first_line(error))})") from error
    found = {tensor.name: Value(tensor.data_type, tuple(tensor.dims)) for tensor in whole.graph.initializer}
    for value in (*whole.graph.input, *whole.graph.value_info, *whole.graph.output):
        tensor = value.type.tensor_type
        sizes = tuple(size.dim_value if size.HasField("dim_value") else -1 for size in tensor.shape.dim)
        if value.type.HasField("tensor_type") and tensor.HasField("shape") and -1 not in sizes:
            found[value.name] = Value(tensor.elem_type, sizes)
    return found


def _fold(graph: Any, found: Mapping[str, Value]) -> bool:
    """Replace nodes by the small constants that they compute; return whether there were any."""
    from onnx import numpy_helper

    shapes = {name: value.shape for name, value in found.items()}
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    folded = known_values(graph.node, shapes, constants)
    for node in [node for node in graph.node if folded.keys() >= set(node.output)]:
        graph.node.remove(node)
    for name, value in folded.items():
        graph.initializer.append(numpy_helper.from_array(value, name))
    return bool(folded)


def _check(name: str, node: Any, value: Value | None, batch: int) -> None:
    if value is None:
        raise Refused(f"the size of '{shown(name)}', which {describe(node)} outputs, is unknown before it runs")
    if value.kind not in TYPES:
        raise Refused(f"{describe(node)} outputs values of the type {type_name(value.kind)}, which is not supported")
    if len(value.shape) > MAX_RANK or min(value.shape, default=0) < 0:
        raise Refused(f"{describe(node)} outputs the shape {_text(value.shape)}, which is not valid")
    size = math.prod(value.shape)
    if size > batch * MAX_VALUES:
        raise Refused(
            f"{describe(node)} outputs {size:,} values for {_images(batch)}; the limit is {MAX_VALUES:,} per image"
        )


def _check_workspace(node: Any, found: Mapping[str, Value], batch: int) -> None:
    """Raise Refused if an operator needs too much memory besides its output, as for unfolded kernels or all scores."""
    shapes = [found[name].shape if name else () for name in node.input]
    room, limit = 0, MAX_TOTAL
    if node.op_type == "ConvTranspose":
        room, limit = math.prod(shapes[1][1:]) * math.prod(shapes[0][2:]), MAX_VALUES
    elif node.op_type in ("Conv", "ConvInteger", "QLinearConv"):
        kernels = shapes[3 if node.op_type == "QLinearConv" else 1]
        room = math.prod(kernels[1:]) * math.prod(found[node.output[0]].shape[2:])
    elif node.op_type == "Attention":
        heads = [attribute.i for attribute in node.attribute if attribute.name == "q_num_heads" and len(shapes[0]) == 3]
        room, limit = math.prod([*shapes[0][:-1], shapes[1][-2], *heads]), batch * MAX_VALUES
    if room > limit:
        raise Refused(f"{describe(node)} needs memory for {room:,} values; the limit is {limit:,}")


def _images(batch: int) -> str:
    return "one image" if batch == 1 else f"{batch} images"


def _text(shape: Sequence[int]) -> str:
    return shown(list(shape))
