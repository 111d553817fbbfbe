"""Checks of what the graph of an .onnx file contains. No torch.

A file is not trusted, so each step is done only after it is known to be harmless: the parts are counted in the bytes
before protobuf makes objects of them; the nodes are checked before onnx infers the sizes of their values; and the sizes
are known (`onnxsizes`) before onnxruntime allocates anything. A refusal raises `Refused` with the reason.
"""

import math
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import onnx

from ganzoo.errors import shown

MAX_BYTES = 2**27  # 128 MiB of weights; a larger file is not a small generator, and is copied several times in memory
MAX_FIELDS = 2**18  # parts of the file: two bytes can make protobuf allocate a hundred
MAX_PACKED = 2**22  # integers stored in few bytes, each of which takes eight in memory
MAX_NODES = 5_000
MAX_LIST = 4_096  # values in an attribute
MAX_RANK = 16
MAX_COUNT = 2**16  # of kernel sizes, groups, strides and other attributes of at least 1

SMALL = 64  # values of a constant that sizes may depend on: axes, shapes, scales
_DOMAINS = ("", "ai.onnx")
_RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
_AT_LEAST_1 = {"blocksize", "dilations", "group", "hidden_size", "kernel_shape", "num_groups", "num_outputs", "strides"}
_TERM = re.compile(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*")  # of an equation for Einsum
_BITS = {"FLOAT": 32, "DOUBLE": 64, "FLOAT16": 16, "BFLOAT16": 16, "BOOL": 8, "INT4": 4, "UINT4": 4}
_BITS |= {f"{sign}INT{bits}": bits for sign in ("", "U") for bits in (8, 16, 32, 64)}
TYPES: dict[int, tuple[str, int]] = {
    onnx.TensorProto.DataType.Value(name): (name, bits) for name, bits in _BITS.items()
}
_STORES = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


class Refused(Exception):
    """The reason why a file is refused, for a message that names the file."""


class Damaged(Refused):
    """Bytes that are not an ONNX model."""


def type_name(kind: int) -> str:
    """Return the name of an element type in messages."""
    names: dict[int, str] = {number: name for name, number in onnx.TensorProto.DataType.items()}
    return names.get(kind, str(kind)).lower()


def parse(data: bytes) -> Any:
    """Return the model in the bytes of a file, after counting its parts. Raises Refused."""
    _count_parts(data)
    try:
        return onnx.ModelProto.FromString(data)
    except Exception as error:  # protobuf raises several classes
        raise Damaged from error


def check_harmless(model: Any) -> None:
    """Raise Refused for a model that reads other files, runs foreign code, loops, draws noise or has false sizes."""
    if model.functions:
        raise Refused(f"it defines a function ('{shown(model.functions[0].name)}')")
    if model.training_info:
        raise Refused("it contains training information")
    if len(model.graph.node) > MAX_NODES:
        raise Refused(f"it has {len(model.graph.node)} nodes; the limit is {MAX_NODES}")
    for opset in model.opset_import:
        _check_domain(opset.domain)
    for message in _messages(model.graph):
        if isinstance(message, onnx.TensorProto):
            _check_tensor(message)
        elif isinstance(message, onnx.SparseTensorProto):
            _check_sparse(message)
        elif isinstance(message, onnx.NodeProto):
            _check_node(message)
        elif isinstance(message, onnx.GraphProto) and message is not model.graph:
            raise Refused("it contains a graph within the graph (a loop or a branch)")


def check_order(graph: Any) -> None:
    """Raise Refused unless each name is defined once and before it is used: no node is missing, there is no cycle."""
    known: set[str] = set()
    for name in [*(value.name for value in graph.input), *(tensor.name for tensor in graph.initializer)]:
        if not name or name in known:
            raise Refused(f"two inputs or tensors have the name '{shown(name)}', or one has none")
        known.add(name)
    for node in graph.node:
        if not node.output or not node.output[0]:
            raise Refused(f"{describe(node)} has no output")
        for name in node.input:
            if name and name not in known:
                raise Refused(
                    f"{describe(node)} uses '{shown(name)}', which no node before it outputs: a node is missing, or "
                    "the graph has a cycle"
                )
        for name in filter(None, node.output):
            if name in known:
                raise Refused(f"{describe(node)} outputs '{shown(name)}', which is already defined")
            known.add(name)
    for value in graph.output:
        if value.name not in known:
            raise Refused(f"no node computes its output '{shown(value.name)}'")


# The bytes, before they are parsed


def _count_parts(data: bytes) -> None:
    """Walk over the fields of the bytes, and raise Refused if protobuf would need far more memory than that."""
    waiting = [(onnx.ModelProto.DESCRIPTOR, 0, len(data))]
    parts = packed = 0
    while waiting:
        descriptor, at, end = waiting.pop()
        fields = _fields(descriptor)
        while at < end:
            key, at = _varint(data, at, end)
            parts += 1
            if parts > MAX_FIELDS:
                raise Refused(f"it has more than {MAX_FIELDS:,} parts, the limit")
            start, at = _skip(data, key & 7, at, end)
            field = fields.get(key >> 3)
            if key & 7 != _LENGTH or field is None:
                continue
            if isinstance(field, str):
                packed += at - start
            else:
                waiting.append((field, start, at))
    if packed > MAX_PACKED:
        raise Refused(f"it contains {packed:,} packed integers; the limit is {MAX_PACKED:,}: store them as raw data")


_LENGTH = 2  # the wire type of a field that starts with its length
_FIXED = {1: 8, 5: 4}


def _skip(data: bytes, kind: int, at: int, end: int) -> tuple[int, int]:
    """Return where a field's content starts and where it ends."""
    if kind == 0:
        start, at = at, _varint(data, at, end)[1]
    elif kind == _LENGTH:
        size, start = _varint(data, at, end)
        at = start + size
    elif kind in _FIXED:
        start, at = at, at + _FIXED[kind]
    else:
        raise Damaged  # ONNX has no groups
    if at > end:
        raise Damaged
    return start, at


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return an integer of seven bits per byte, and where the next field starts."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise Damaged


@cache
def _fields(descriptor: Any) -> dict[int, Any]:
    """Return by number the descriptor of each field that is a message, and "packed" for integers that may be packed."""
    integers = (descriptor.fields[0].TYPE_INT32, descriptor.fields[0].TYPE_INT64, descriptor.fields[0].TYPE_UINT64)
    fields: dict[int, Any] = {}
    for field in descriptor.fields:
        if field.message_type is not None:
            fields[field.number] = field.message_type
        elif field.type in integers:
            fields[field.number] = "packed"
    return fields


# The content


def _messages(message: Any) -> Iterator[Any]:
    """Yield `message` and every message inside it, in any field."""
    yield message
    if isinstance(message, onnx.TensorProto):  # values and strings only: do not copy the weights to look
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(item)


def _check_domain(domain: str) -> None:
    if domain not in _DOMAINS:
        raise Refused(f"it uses operators that are not standard ('{shown(domain)}')")


def _check_tensor(tensor: Any) -> None:
    """Raise Refused unless the values are in the file, and their number matches the shape."""
    name = shown(tensor.name)
    if tensor.data_location != onnx.TensorProto.DEFAULT or tensor.external_data:
        raise Refused(f"the tensor '{name}' is stored in another file")
    if tensor.data_type not in TYPES or tensor.HasField("segment"):
        raise Refused(f"the tensor '{name}' is of the type {type_name(tensor.data_type)}, which is not supported")
    if len(tensor.dims) > MAX_RANK or any(not 0 <= size <= 8 * MAX_BYTES for size in tensor.dims):
        raise Refused(f"the tensor '{name}' has the shape {shown(list(tensor.dims))}, which is not valid")
    expected, bits = math.prod(tensor.dims), TYPES[tensor.data_type][1]
    stored = max(len(getattr(tensor, store)) for store in _STORES)
    per_item = 2 if bits == 4 else 1
    fits = stored in (expected, -(-expected // per_item))
    if tensor.HasField("raw_data"):
        fits = not stored and len(tensor.raw_data) == -(-expected * bits // 8)
    if not fits:
        raise Refused(f"the tensor '{name}' does not contain the values of its shape {shown(list(tensor.dims))}")


def _check_sparse(tensor: Any) -> None:
    for part in (tensor.values, tensor.indices):
        _check_tensor(part)
    raise Refused("it contains a sparse tensor, which onnxruntime would fill with zeros")


def _check_node(node: Any) -> None:
    _check_domain(node.domain)
    if node.op_type == "EPContext":
        raise Refused("it contains compiled code (EPContext)")
    if node.op_type in _RANDOM:
        raise Refused(f"it draws random noise ({node.op_type}), so a seed would not determine its images")
    for attribute in node.attribute:
        _check_attribute(attribute, node)


def _check_attribute(attribute: Any, node: Any) -> None:
    where = f"the attribute '{shown(attribute.name)}' of {describe(node)}"
    lengths = [len(getattr(attribute, kind)) for kind in ("s", "floats", "ints", "strings", "tensors")]
    if max(lengths) > MAX_LIST:
        raise Refused(f"{where} has {max(lengths)} values; the limit is {MAX_LIST}")
    if node.op_type != "Constant" and attribute.HasField("t") and math.prod(attribute.t.dims) > SMALL:
        raise Refused(f"{where} contains a tensor of more than {SMALL} values")
    integers = [attribute.i] if attribute.type == onnx.AttributeProto.INT else attribute.ints
    if attribute.name in _AT_LEAST_1 and not all(1 <= value <= MAX_COUNT for value in integers):
        raise Refused(f"{where} is {shown(list(integers))}: expected from 1 to {MAX_COUNT}")
    if attribute.name == "num_outputs" and attribute.i != len(node.output):
        raise Refused(f"{where} is {attribute.i}, but the node has {len(node.output)} outputs")
    # onnx and onnxruntime hang on an equation with more than three dots.
    if node.op_type == "Einsum":
        terms = re.split(",|->", attribute.s.decode("ascii", "replace").replace(" ", ""))
        if not all(map(_TERM.fullmatch, terms)):
            raise Refused(f"{where} is not an equation")


def describe(node: Any) -> str:
    """Return the name of a node in messages."""
    return f"the node '{shown(node.name)}' ({shown(node.op_type)})" if node.name else f"a node {shown(node.op_type)}"
