"""Rewrites of exported graphs to graphs of the same images that onnxruntime computes faster.

`_merge_upsampling` is for the network `resize-conv`: copies of pixels and a convolution become one transposed
convolution with fewer operations.

`_pack_at_the_end` and `_shuffle_later` are for `dcgan` with a width up to 16, which the variants `dcgan` and `wgan-gp`
use, and for `resize-conv` with a width up to 16: the last transposed convolution becomes a convolution whose channels
are shuffled into pixels, and the shuffle is moved to the end.

`_pack`, with `_shuffle_later`, is for both networks in int8, with any width: every transposed convolution is packed,
because onnxruntime has no 8-bit transposed convolution.

The shuffle is DepthToSpace in the mode CRD, like torch's pixel_shuffle: ncnn and onnx2torch read no other mode.

Every rewrite is exact except for rounding, and applies to the networks of plug-ins too. If no rule applies to a graph,
such as a perceptron's, it stays unchanged. A rewritten file may be larger, but it is faster, as
`ganzoo benchmark runtime RUN --forms fp32,fp32-plain` measures.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxscript import ir
from onnxscript.ir.passes.common import RemoveUnusedNodesPass

LANES = 16  # channels that onnxruntime's convolutions compute together: fewer channels take as long
NARROW = 32  # input channels up to which onnxruntime's transposed convolution is slower than the packed one
POINTWISE = ("Relu", "LeakyRelu", "Tanh", "Sigmoid", "Clip", "Elu", "Selu", "Softplus")

Array = NDArray[Any]
Rule = Callable[[ir.Node], "list[ir.Node] | None"]  # the nodes that replace one, the last with its output; or None


def lean(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph that draws the same in less time, or `model` itself if no rule applies to it."""
    return _rewrite(model, [_merge_upsampling, _pack_at_the_end, _shuffle_later])


def pack(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a graph without transposed convolutions, as far as they can be packed, for int8."""
    return _rewrite(model, [_pack, _shuffle_later])


def _rewrite(model: onnx.ModelProto, rules: Sequence[Rule]) -> onnx.ModelProto:
    graph = (model_ir := ir.from_proto(model)).graph
    rewritten = False
    for rule in rules:
        for node in tuple(graph):  # in order, so that the next node sees what a rule made of this one
            nodes = rule(node)
            if nodes is not None:
                ir.convenience.replace_nodes_and_values(graph, node, [node], nodes, node.outputs, nodes[-1].outputs)
                rewritten = True
    if not rewritten:
        return model
    RemoveUnusedNodesPass()(model_ir)
    return ir.to_proto(model_ir)


def _merge_upsampling(node: ir.Node) -> list[ir.Node] | None:
    """Turn conv(nearest neighbours times s) into one transposed convolution, its kernel summed over s x s pixels."""
    before = _sole_producer(node)
    if before is None or before.op_type != "Resize" or not _is_plain_conv(node):
        return None
    scale, (top, left, bottom, right) = _nearest_scale(before), node.attributes.get_ints("pads", [0] * 4)
    kernel = _array(node.inputs[1])  # [out, in, k, k]
    size = kernel.shape[2]
    if scale is None or kernel.shape[3] != size or max(top, left, bottom, right) >= size:
        return None
    summed = np.zeros((*kernel.shape[:2], size + scale - 1, size + scale - 1), kernel.dtype)
    for row, column in np.ndindex(scale, scale):
        summed[:, :, row : row + size, column : column + size] += kernel
    weights = _constant(node, "weight", np.flip(summed, (2, 3)).swapaxes(0, 1))
    pads = [size - 1 - pad for pad in (top, left, bottom, right)]
    attributes = {"kernel_shape": list(summed.shape[2:]), "strides": [scale, scale], "pads": pads}
    return [ir.node("ConvTranspose", [before.inputs[0], weights, *node.inputs[2:]], attributes)]


def _nearest_scale(node: ir.Node) -> int | None:
    """Return the factor by which a Resize enlarges height and width if it only copies pixels, otherwise None."""
    if len(node.inputs) < 3 or node.inputs[2] is None or not _are_constant([node.inputs[2]]):
        return None
    if node.attributes.get_string("mode", "nearest") != "nearest" or node.attributes.get_int("antialias") == 1:
        return None
    ways = (
        node.attributes.get_string("coordinate_transformation_mode", "half_pixel"),
        node.attributes.get_string("nearest_mode", "round_prefer_floor"),
    )
    scales = [float(scale) for scale in _array(node.inputs[2])]
    whole = len(scales) == 4 and scales[:2] == [1, 1] and scales[2] == scales[3] and scales[2] in range(2, 17)
    return int(scales[2]) if whole and ways == ("asymmetric", "floor") else None


def _pack(node: ir.Node) -> list[ir.Node] | None:
    """Turn a transposed convolution of stride s into a convolution to s x s times the channels and a shuffle."""
    if node.op_type != "ConvTranspose" or not _are_constant(node.inputs[1:]) or _array(node.inputs[1]).ndim != 4:
        return None
    get = node.attributes.get_ints
    kernel = _array(node.inputs[1])  # [in, out, k, k]
    stride, pads, size = get("strides", [1, 1])[0], get("pads", [0] * 4), kernel.shape[2]
    square = kernel.shape[3] == size and list(get("strides", [1, 1])) == [stride] * 2 and len(set(pads)) == 1
    plain = node.attributes.get_int("group", 1) == 1 and set(get("dilations", [1])) == {1} and stride > 1
    extra = any(get("output_padding", [0])) or node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET"
    if not (square and plain) or extra or "output_shape" in node.attributes or size - 2 * pads[0] != stride:
        return None  # the output is not exactly `stride` times the input
    weights, pad = _pack_transposed_kernel(kernel, stride, pads[0])
    inputs = [node.inputs[0], _constant(node, "weight", weights)]
    inputs += [_constant(node, "bias", np.repeat(_array(value), stride**2)) for value in node.inputs[2:]]
    convolution = ir.node("Conv", inputs, {"kernel_shape": [2 * pad + 1] * 2, "pads": [pad] * 4})
    return [convolution, ir.node("DepthToSpace", convolution.outputs, {"blocksize": stride, "mode": "CRD"})]


def _pack_at_the_end(node: ir.Node) -> list[ir.Node] | None:
    """Apply `_pack` if that is faster: with few channels, and a shuffle that can be moved to the end.

    onnxruntime computes transposed convolutions image by image, and narrow ones at a third of a convolution's speed.
    """
    if node.op_type != "ConvTranspose" or not _are_constant(node.inputs[1:]):
        return None
    narrow = _array(node.inputs[1]).shape[0] <= NARROW
    return _pack(node) if narrow and _ends_in_few_channels(node) else None


def _ends_in_few_channels(node: ir.Node) -> bool:
    factor = node.attributes.get_ints("strides", [1, 1])[0] ** 2
    channels: int = _array(node.inputs[1]).shape[1]
    while (after := _sole_consumer(node)) is not None:
        if after.op_type == "Conv" and _can_be_packed(after):
            channels = _array(after.inputs[1]).shape[0]
        elif after.op_type not in POINTWISE:
            break
        node = after
    return factor * channels <= LANES


def _shuffle_later(node: ir.Node) -> list[ir.Node] | None:
    """Turn f(shuffle(x)) into shuffle(f(x)), for pointwise operators and for convolutions to few channels."""
    before = _sole_producer(node)
    if before is None or before.op_type != "DepthToSpace" or before.attributes.get_string("mode", "DCR") != "CRD":
        return None
    block = before.attributes["blocksize"].as_int()
    if node.op_type in POINTWISE:
        moved = _copy_onto(before.inputs[0], node)
    elif node.op_type == "Conv" and _can_be_packed(node) and block**2 * _array(node.inputs[1]).shape[0] <= LANES:
        weights, pad = _pack_kernel(_array(node.inputs[1]), block)
        inputs = [before.inputs[0], _constant(node, "weight", weights)]
        inputs += [_constant(node, "bias", np.repeat(_array(value), block**2)) for value in node.inputs[2:]]
        moved = ir.node("Conv", inputs, {"kernel_shape": [2 * pad + 1] * 2, "pads": [pad] * 4})
    else:
        return None
    return [moved, _copy_onto(moved.outputs[0], before)]


# Kernels


def _pack_transposed_kernel(kernel: Array, stride: int, pad: int) -> tuple[Array, int]:
    """Turn [in, out, k, k] of a transposed convolution into a convolution's [out * s * s, in, K, K] and its padding.

    Pixel `s * i + a` of the output is the sum over `d` of x[i + d] times the kernel at `a + pad - s * d`.
    """
    fan_in, fan_out, size, _ = kernel.shape
    reach = max((size - 1 - pad) // stride, (pad + stride - 1) // stride)
    around = range(-reach, reach + 1)
    packed_kernel = np.zeros((fan_out, stride, stride, fan_in, len(around), len(around)), kernel.dtype)
    for a, b in np.ndindex(stride, stride):
        for d in around:
            for e in around:
                row, column = a + pad - stride * d, b + pad - stride * e
                if 0 <= row < size and 0 <= column < size:
                    packed_kernel[:, a, b, :, d + reach, e + reach] = kernel[:, :, row, column].T
    return packed_kernel.reshape(stride**2 * fan_out, fan_in, len(around), len(around)), reach


def _pack_kernel(kernel: Array, block: int) -> tuple[Array, int]:
    """Turn [out, in, k, k] of a convolution after a shuffle into [out * b * b, in * b * b, K, K] of one before it.

    Pixel `b * i + a` of its input is in cell `i`; a kernel's row `t` reads the cell `i + (a + t - pad) // b`.
    """
    fan_out, fan_in, size, _ = kernel.shape
    pad = size // 2
    reach = -(-pad // block)
    cells = 2 * reach + 1
    packed_kernel = np.zeros((fan_out, block, block, fan_in, block, block, cells, cells), kernel.dtype)
    for a, b, t, u in np.ndindex(block, block, size, size):
        d, row = divmod(a + t - pad, block)
        e, column = divmod(b + u - pad, block)
        packed_kernel[:, a, b, :, row, column, d + reach, e + reach] = kernel[:, :, t, u]
    return packed_kernel.reshape(block**2 * fan_out, block**2 * fan_in, cells, cells), reach


# Properties of nodes


def _is_plain_conv(node: ir.Node) -> bool:
    """Return True for a convolution of stride 1 with constant weights and no groups, dilation or automatic padding."""
    get = node.attributes.get_ints
    return (
        node.op_type == "Conv"
        and _are_constant(node.inputs[1:])
        and _array(node.inputs[1]).ndim == 4
        and set(get("strides", [1])) == set(get("dilations", [1])) == {1}
        and node.attributes.get_int("group", 1) == 1
        and node.attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
    )


def _can_be_packed(node: ir.Node) -> bool:
    """Return whether it is a plain convolution with an odd square kernel that keeps height and width."""
    if not _is_plain_conv(node):
        return False
    rows, columns = _array(node.inputs[1]).shape[2:]
    return rows == columns and rows % 2 == 1 and set(node.attributes.get_ints("pads", [0])) == {rows // 2}


def _sole_producer(node: ir.Node) -> ir.Node | None:
    """Return the node whose output is the first input of this node, and is used nowhere else."""
    value = node.inputs[0] if node.inputs else None
    return None if value is None or len(value.uses()) != 1 or value.is_graph_output() else value.producer()


def _sole_consumer(node: ir.Node) -> ir.Node | None:
    uses = list(node.outputs[0].uses())
    return uses[0].node if len(uses) == 1 and not node.outputs[0].is_graph_output() else None


def _are_constant(values: Sequence[ir.Value | None]) -> bool:
    return all(value is not None and value.is_initializer() and value.const_value is not None for value in values)


def _array(value: ir.Value | None) -> Array:
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy()


def _constant(node: ir.Node, name: str, array: Array) -> ir.Value:
    """Add a constant to the graph, named after the output of `node`, of which it replaces a part."""
    graph, name = node.graph, f"{node.outputs[0].name}.{name}"
    assert graph is not None
    while name in graph.initializers:
        name += "'"
    tensor = ir.tensor(np.ascontiguousarray(array), name=name)
    value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
    graph.register_initializer(value)
    return value


def _copy_onto(x: ir.Value | None, node: ir.Node) -> ir.Node:
    """Return a copy of a node with another first input."""
    return ir.Node("", node.op_type, [x, *node.inputs[1:]], attributes=node.attributes.values())
