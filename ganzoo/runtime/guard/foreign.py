"""Inputs and images of a generator that ganzoo did not export, read from its graph. No torch.

It has one float32 input [N, D] or [N, D, 1, 1], optionally one of integer labels [N], and one output of images: float32
[N, C, H, W], assumed to be in [-1, 1], or uint8 [N, C, H, W] or [N, H, W, C]. The names do not matter. Anything else
raises `Refused`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnx import TensorProto

from ganzoo.errors import shown
from ganzoo.runtime.guard.onnxgraph import Refused, type_name
from ganzoo.runtime.guard.onnxsizes import Shape, Value

_INTEGERS = {TensorProto.INT64: "int64", TensorProto.INT32: "int32"}
CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
_PASSES_ON = {"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The inputs and the output of a file's graph: their names, and the shape and type that the inputs need."""

    input: str = "z"  # latents, or the images of an encoder
    input_shape: Shape  # of one latent or image: (D,) or (D, 1, 1), or (C, H, W)
    labels: str | None
    label_type: str = "int64"
    output: str = "images"


def signature(graph: Any) -> tuple[Signature, dict[str, tuple[int, Shape]]]:
    """Return the inputs and the output; and for each input the element type, and its shape for one image.

    Weights that the graph lists among its inputs, as older exporters do, are removed from that list. Raises Refused.
    """
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    kinds = [value.type.tensor_type.elem_type for value in inputs]
    latents = [value for value, kind in zip(inputs, kinds, strict=True) if kind == TensorProto.FLOAT]
    labels = [value for value, kind in zip(inputs, kinds, strict=True) if kind in _INTEGERS]
    if len(latents) != 1 or len(labels) > 1 or len(inputs) > 2 or len(latents) + len(labels) != len(inputs):
        given = ", ".join(f"{shown(value.name)} {type_name(kind)}" for value, kind in zip(inputs, kinds, strict=True))
        raise Refused(f"its inputs are {shown(given) or 'none'}: expected float32 latents and optional integer labels")
    if len(graph.output) != 1:
        raise Refused(f"it has {len(graph.output)} outputs: expected one, the images")
    shape = _latent_shape(latents[0])
    types: dict[str, tuple[int, Shape]] = {latents[0].name: (TensorProto.FLOAT, shape)}
    if labels:
        _check_labels(labels[0])
        types[labels[0].name] = (labels[0].type.tensor_type.elem_type, ())
    found = Signature(
        input=latents[0].name,
        input_shape=shape,
        labels=labels[0].name if labels else None,
        label_type=_INTEGERS[labels[0].type.tensor_type.elem_type] if labels else "int64",
        output=graph.output[0].name,
    )
    return found, types


def images(value: Value) -> tuple[str, tuple[int, int, int]]:
    """Return the layout of the images, and their shape (C, H, W). Raises Refused."""
    if len(value.shape) == 4 and 0 not in value.shape:
        _, a, b, c = value.shape
        if a in CHANNELS and value.kind == TensorProto.FLOAT:
            return "float", (a, b, c)
        if value.kind == TensorProto.UINT8 and (a in (1, 3) or (a == 4 and c not in CHANNELS)):
            return "uint8-nchw", (a, b, c)  # four rows of grey or colour are likelier than transparency
        if value.kind == TensorProto.UINT8 and c in CHANNELS:
            return "uint8", (c, a, b)
    raise Refused(
        f"it outputs {type_name(value.kind)} {list(value.shape)}: expected images of 1, 3 or 4 channels, "
        "float32 [N, C, H, W], uint8 [N, C, H, W] or uint8 [N, H, W, C]"
    )


def classes(graph: Any, labels: str, values: Mapping[str, Value]) -> int | None:
    """Return the number of classes in the weights: the rows of the smallest table that the labels index, or None.

    A table is an embedding, or the columns of a one-hot code.
    """
    names, rows = {labels}, []
    for node in graph.node:
        if node.op_type in _PASSES_ON and node.input and node.input[0] in names:
            names.update(node.output)
        elif node.op_type == "Gather" and node.input[1] in names and not any(part.i for part in node.attribute):
            rows.append(values[node.input[0]].shape[0])
        elif node.op_type == "OneHot" and node.input[0] in names and not any(part.i + 1 for part in node.attribute):
            rows.append(values[node.output[0]].shape[-1])
    return min(rows, default=None)


def known_classes(graph: Any, labels: str, values: Mapping[str, Value]) -> int:
    """Return the number of classes in the weights, as `classes` does. Raises Refused if it is not known."""
    found = classes(graph, labels, values)
    if not found:
        raise Refused(
            f"the number of classes of '{shown(labels)}' is unknown, as it has no embedding or one-hot code; "
            "export it with one, or without labels"
        )
    return found


def sizes(value: Any) -> list[int | None]:
    """Return the shape of an input or output; a free size is None."""
    return [size.dim_value if size.HasField("dim_value") else None for size in value.type.tensor_type.shape.dim]


def _latent_shape(value: Any) -> Shape:
    batch, *rest = sizes(value) or [None]
    _check_batch(value, batch)
    if len(rest) not in (1, 3) or not rest[0] or rest[0] < 1 or rest[1:] not in ([], [1, 1]):
        raise Refused(f"its input '{shown(value.name)}' has the shape {_text(value)}: expected [N, D] or [N, D, 1, 1]")
    return tuple(size for size in rest if size is not None)


def _check_labels(value: Any) -> None:
    if len(sizes(value)) != 1:
        raise Refused(f"its labels '{shown(value.name)}' have the shape {_text(value)}: expected [N]")
    _check_batch(value, sizes(value)[0])


def _check_batch(value: Any, batch: int | None) -> None:
    if batch is not None:
        raise Refused(
            f"its input '{shown(value.name)}' has a frozen batch of {batch}: export it with a free (dynamic) batch size"
        )


def _text(value: Any) -> str:
    return shown("[" + ", ".join("N" if size is None else str(size) for size in sizes(value)) + "]")
