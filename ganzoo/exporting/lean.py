"""An ONNX graph with nothing to spare that draws the same images: what torch's exporter leaves is rewritten here.

    batch norm after a reshape or a shuffle     is moved before it and folded, as torch's exporter folds the others
    copies of every pixel, then a convolution   are one transposed convolution, of fewer operations
    a transposed convolution                    is a convolution whose channels are shuffled into pixels, where the
                                                shuffle can be left to the end, when it moves little (or everywhere)
    a reshape to [-1, ...]                      keeps its input's batch, so that an empty one can be drawn too

Every rewrite is exact but for rounding.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxscript import ir
from onnxscript.ir.passes.common import RemoveUnusedNodesPass
from onnxscript.rewriter import rewrite
from onnxscript.rewriter.rules.common import (
    fuse_batchnorm_into_conv_rule,
    fuse_batchnorm_into_conv_transpose_rule,
    fuse_batchnorm_into_gemm_rule,
)

LANES = 16  # channels that onnxruntime's convolutions compute together: fewer take as long
NARROW = 32  # channels into a transposed convolution that onnxruntime computes slower than the packed one
POINTWISE = ("Relu", "LeakyRelu", "Tanh", "Sigmoid", "Clip", "Elu", "Selu", "Softplus")
NORMS = (fuse_batchnorm_into_conv_rule, fuse_batchnorm_into_conv_transpose_rule, fuse_batchnorm_into_gemm_rule)

Array = NDArray[Any]
Rule = Callable[[ir.Node], "list[ir.Node] | None"]  # the nodes that stand for one, the last giving its output; or None


def lean(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph as small and as fast as it gets."""
    return _rewritten(model, [_norm_earlier, _upsampled, _packed_at_the_end, _shuffled_later, _any_batch])


def packed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph without transposed convolutions: onnxruntime has none of 8 bits."""
    return _rewritten(model, [_packed, _shuffled_later])


def _rewritten(model: onnx.ModelProto, rules: Sequence[Rule]) -> onnx.ModelProto:
    graph = (model_ir := ir.from_proto(model)).graph
    for rule in rules:
        for node in tuple(graph):  # in order: what a rule has made of one node is seen by the next
            nodes = rule(node)
            if nodes is not None:
                ir.convenience.replace_nodes_and_values(graph, node, [node], nodes, node.outputs, nodes[-1].outputs)
        RemoveUnusedNodesPass()(model_ir)
    return ir.to_proto(rewrite(model_ir, NORMS))


def _norm_earlier(node: ir.Node) -> list[ir.Node] | None:
    """norm(rearrange(x)) -> rearrange(norm(x)), with the norm's numbers of each channel repeated as the values were."""
    before = _sole_producer(node, 0)
    if node.op_type != "BatchNormalization" or node.attributes.get_int("training_mode") or before is None:
        return None
    if not _all_constant(node.inputs[1:]):
        return None
    channels = len(_array(node.inputs[1]))
    if before.op_type == "DepthToSpace":
        times, inner = (
            before.attributes["blocksize"].as_int() ** 2,
            before.attributes.get_string("mode", "DCR") == "CRD",
        )
    elif before.op_type == "Reshape" and (features := _static(before.inputs[0])) and len(features) == 1:
        times, inner, sizes = features[0] // channels, True, _static(node.inputs[0])
        if sizes is None or sizes[0] != channels or math.prod(sizes) != features[0]:
            return None
    else:
        return None
    numbers = [
        _constant(node, name, np.repeat(value, times) if inner else np.tile(value, times))
        for name, value in zip(("scale", "shift", "mean", "variance"), map(_array, node.inputs[1:]), strict=True)
    ]
    norm = ir.Node("", node.op_type, [before.inputs[0], *numbers], attributes=node.attributes.values())
    return [norm, _again(before, norm.outputs[0])]


def _upsampled(node: ir.Node) -> list[ir.Node] | None:
    """conv(nearest neighbours times s) -> one transposed convolution, its kernel summed over every s x s pixels."""
    before = _sole_producer(node, 0)
    if before is None or before.op_type != "Resize" or not _plain_conv(node):
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
    """By how much a Resize enlarges height and width, where it copies every pixel that often."""
    if len(node.inputs) < 3 or node.inputs[2] is None or not _all_constant([node.inputs[2]]):
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


def _packed(node: ir.Node) -> list[ir.Node] | None:
    """A transposed convolution of stride s -> a convolution of s x s times the channels, shuffled into pixels."""
    if node.op_type != "ConvTranspose" or not _all_constant(node.inputs[1:]) or _array(node.inputs[1]).ndim != 4:
        return None
    get = node.attributes.get_ints
    kernel = _array(node.inputs[1])  # [in, out, k, k]
    stride, pads, size = get("strides", [1, 1])[0], get("pads", [0] * 4), kernel.shape[2]
    square = kernel.shape[3] == size and list(get("strides", [1, 1])) == [stride] * 2 and len(set(pads)) == 1
    plain = node.attributes.get_int("group", 1) == 1 and set(get("dilations", [1])) == {1} and stride > 1
    extra = any(get("output_padding", [0])) or node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET"
    if not (square and plain) or extra or "output_shape" in node.attributes or size - 2 * pads[0] != stride:
        return None  # the output is not exactly `stride` times the input
    weights, pad = _packed_transposed_kernel(kernel, stride, pads[0])
    inputs = [node.inputs[0], _constant(node, "weight", weights)]
    inputs += [_constant(node, "bias", np.tile(_array(value), stride**2)) for value in node.inputs[2:]]
    convolution = ir.node("Conv", inputs, {"kernel_shape": [2 * pad + 1] * 2, "pads": [pad] * 4})
    return [convolution, ir.node("DepthToSpace", convolution.outputs, {"blocksize": stride})]


def _packed_at_the_end(node: ir.Node) -> list[ir.Node] | None:
    """As `_packed`, where it is faster: of few channels, and with a shuffle that can be left to the image's own."""
    if node.op_type != "ConvTranspose" or not _all_constant(node.inputs[1:]):
        return None
    narrow = _array(node.inputs[1]).shape[0] <= NARROW
    return _packed(node) if narrow and _ends_in_few_channels(node) else None


def _ends_in_few_channels(node: ir.Node) -> bool:
    factor = node.attributes.get_ints("strides", [1, 1])[0] ** 2
    channels = (_static(node.outputs[0]) or (LANES,))[0]
    while (after := _sole_consumer(node)) is not None:
        if after.op_type == "Conv" and _can_be_packed(after):
            channels = _array(after.inputs[1]).shape[0]
        elif after.op_type not in POINTWISE:
            break
        node = after
    return factor * channels <= LANES


def _shuffled_later(node: ir.Node) -> list[ir.Node] | None:
    """f(shuffle(x)) -> shuffle(f(x)), for what is computed a value at a time and for convolutions to few channels."""
    before = _sole_producer(node, 0)
    if before is None or before.op_type != "DepthToSpace" or before.attributes.get_string("mode", "DCR") != "DCR":
        return None
    block = before.attributes["blocksize"].as_int()
    if node.op_type in POINTWISE:
        moved = _again(node, before.inputs[0])
    elif node.op_type == "Conv" and _can_be_packed(node) and block**2 * _array(node.inputs[1]).shape[0] <= LANES:
        weights, pad = _packed_kernel(_array(node.inputs[1]), block)
        inputs = [before.inputs[0], _constant(node, "weight", weights)]
        inputs += [_constant(node, "bias", np.tile(_array(value), block**2)) for value in node.inputs[2:]]
        moved = ir.node("Conv", inputs, {"kernel_shape": [2 * pad + 1] * 2, "pads": [pad] * 4})
    else:
        return None
    return [moved, _again(before, moved.outputs[0])]


def _any_batch(node: ir.Node) -> list[ir.Node] | None:
    """[-1, a, b] says no batch size for 0 images; [0, a, b], that of the input, does."""
    if node.op_type != "Reshape" or not _all_constant([node.inputs[1]]):
        return None
    shape, given = [int(size) for size in _array(node.inputs[1])], _static(node.inputs[0])
    if given is None or shape[0] != -1 or math.prod(given) != math.prod(shape[1:]):
        return None
    return [ir.node("Reshape", [node.inputs[0], _constant(node, "shape", np.array([0, *shape[1:]]))])]


# Kernels


def _packed_transposed_kernel(kernel: Array, stride: int, pad: int) -> tuple[Array, int]:
    """[in, out, k, k] of a transposed convolution -> [s * s * out, in, K, K] of a convolution, and its padding.

    Pixel `s * i + a` of the output is the sum over `d` of x[i + d] times the kernel at `a + pad - s * d`.
    """
    fan_in, fan_out, size, _ = kernel.shape
    reach = max((size - 1 - pad) // stride, (pad + stride - 1) // stride)
    around = range(-reach, reach + 1)
    packed_kernel = np.zeros((stride, stride, fan_out, fan_in, len(around), len(around)), kernel.dtype)
    for a, b in np.ndindex(stride, stride):
        for d in around:
            for e in around:
                row, column = a + pad - stride * d, b + pad - stride * e
                if 0 <= row < size and 0 <= column < size:
                    packed_kernel[a, b, :, :, d + reach, e + reach] = kernel[:, :, row, column].T
    return packed_kernel.reshape(stride**2 * fan_out, fan_in, len(around), len(around)), reach


def _packed_kernel(kernel: Array, block: int) -> tuple[Array, int]:
    """[out, in, k, k] of a convolution after a shuffle -> [b * b * out, b * b * in, K, K] of one before it.

    Pixel `b * i + a` of its input is in cell `i`; a kernel's row `t` reaches the cell `(a + t - pad) // b` further.
    """
    fan_out, fan_in, size, _ = kernel.shape
    pad = size // 2
    reach = -(-pad // block)
    cells = 2 * reach + 1
    packed_kernel = np.zeros((block, block, fan_out, block, block, fan_in, cells, cells), kernel.dtype)
    for a, b, t, u in np.ndindex(block, block, size, size):
        d, row = divmod(a + t - pad, block)
        e, column = divmod(b + u - pad, block)
        packed_kernel[a, b, :, row, column, :, d + reach, e + reach] = kernel[:, :, t, u]
    return packed_kernel.reshape(block**2 * fan_out, block**2 * fan_in, cells, cells), reach


# What a node is


def _plain_conv(node: ir.Node) -> bool:
    """A convolution of stride 1 with constant weights, neither grouped nor dilated nor padded by itself."""
    get = node.attributes.get_ints
    return (
        node.op_type == "Conv"
        and _all_constant(node.inputs[1:])
        and _array(node.inputs[1]).ndim == 4
        and set(get("strides", [1])) == set(get("dilations", [1])) == {1}
        and node.attributes.get_int("group", 1) == 1
        and node.attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
    )


def _can_be_packed(node: ir.Node) -> bool:
    """Such a one with an odd square kernel that leaves height and width as they are."""
    if not _plain_conv(node):
        return False
    rows, columns = _array(node.inputs[1]).shape[2:]
    return rows == columns and rows % 2 == 1 and set(node.attributes.get_ints("pads", [0])) == {rows // 2}


def _sole_producer(node: ir.Node, index: int) -> ir.Node | None:
    """The node that makes an input of this one and of no other."""
    value = node.inputs[index] if node.inputs else None
    return None if value is None or len(value.uses()) != 1 or value.is_graph_output() else value.producer()


def _sole_consumer(node: ir.Node) -> ir.Node | None:
    uses = list(node.outputs[0].uses())
    return uses[0].node if len(uses) == 1 and not node.outputs[0].is_graph_output() else None


def _static(value: ir.Value | None) -> tuple[int, ...] | None:
    """The sizes of one sample; None where they are not known."""
    if value is None or value.shape is None:
        return None
    sizes = tuple(size for size in value.shape[1:] if isinstance(size, int))
    return sizes if len(sizes) == len(value.shape) - 1 else None


def _all_constant(values: Sequence[ir.Value | None]) -> bool:
    return all(value is not None and value.is_initializer() and value.const_value is not None for value in values)


def _array(value: ir.Value | None) -> Array:
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy()


def _constant(node: ir.Node, name: str, array: Array) -> ir.Value:
    """A new constant of the graph, named for the output of the node that it replaces a part of."""
    graph, name = node.graph, f"{node.outputs[0].name}.{name}"
    assert graph is not None
    while name in graph.initializers:
        name += "'"
    tensor = ir.tensor(np.ascontiguousarray(array), name=name)
    value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
    graph.register_initializer(value)
    return value


def _again(node: ir.Node, x: ir.Value | None) -> ir.Node:
    """The same node of another first input."""
    return ir.Node("", node.op_type, [x, *node.inputs[1:]], attributes=node.attributes.values())
