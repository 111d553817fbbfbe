"""Small constants in a graph, such as shapes that its nodes compute from other shapes. numpy only.

Only constants of at most `SMALL` values are computed, so that nothing here takes much time or memory.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ganzoo.runtime.guard.onnxgraph import SMALL, TYPES

Array: TypeAlias = NDArray[Any]
Attributes: TypeAlias = dict[str, Any]


def known_values(
    nodes: Iterable[Any], shapes: Mapping[str, tuple[int, ...]], constants: Mapping[str, Array]
) -> dict[str, Array]:
    """Return the outputs of all nodes that can be computed from `constants`, and from known `shapes`."""
    found: dict[str, Array] = {}
    for node in nodes:
        if len(node.output) != 1:
            continue
        if node.op_type == "Shape" and node.input[0] in shapes:
            inputs = [np.array(shapes[node.input[0]], np.int64)]
        else:
            known = [found.get(name, constants.get(name)) for name in node.input if name]
            inputs = [value for value in known if value is not None]
            if len(inputs) != len(node.input) or node.op_type == "Shape":
                continue
        value = _value(node, inputs)
        if value is not None:
            found[node.output[0]] = value
    return found


def _value(node: Any, inputs: list[Array]) -> Array | None:
    """Return the output of a node for these inputs; None if it cannot be computed here, or is not small."""
    operation = _OPERATIONS.get(node.op_type)
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if operation is None:
        return None
    try:
        with np.errstate(all="ignore"):
            value = np.asarray(operation(inputs, attributes))
    except Exception:  # inputs that do not fit: onnx or onnxruntime will report them
        return None
    return value if value.size <= SMALL else None


def _integer(attributes: Attributes, name: str, default: int) -> int:
    return int(attributes[name].i) if name in attributes else default


def _shape(inputs: list[Array], attributes: Attributes) -> Array:
    end = attributes["end"].i if "end" in attributes else None
    return inputs[0][_integer(attributes, "start", 0) : end]


def _cast(inputs: list[Array], attributes: Attributes) -> Array:
    name = TYPES[attributes["to"].i][0]
    return inputs[0].astype({"FLOAT": "float32", "DOUBLE": "float64"}.get(name, name.lower()))


def _slice(inputs: list[Array], attributes: Attributes) -> Array:
    data, starts, ends, *rest = inputs
    axes = rest[0] if rest else np.arange(len(starts))
    steps = rest[1] if len(rest) > 1 else np.ones_like(starts)
    where = [slice(None)] * data.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # If a negative step goes beyond the first value, Python would count from the end again.
        stop = None if step < 0 and end < -data.shape[axis] else int(end)
        where[axis] = slice(int(start), stop, int(step))
    return data[tuple(where)]


def _divide(inputs: list[Array], attributes: Attributes) -> Array:
    if inputs[0].dtype.kind == "f":
        return inputs[0] / inputs[1]
    _check_positive(*inputs)
    return inputs[0] // inputs[1]


def _modulo(inputs: list[Array], attributes: Attributes) -> Array:
    _check_positive(*inputs)
    return inputs[0] % inputs[1]


def _check_positive(a: Array, b: Array) -> None:
    """Raise ValueError unless a >= 0 and b > 0: numpy rounds other quotients down, ONNX towards zero."""
    if (a < 0).any() or (b <= 0).any():
        _raise_unknown()


def _fill(inputs: list[Array], attributes: Attributes) -> Array:
    from onnx import numpy_helper

    value = numpy_helper.to_array(attributes["value"].t) if "value" in attributes else np.zeros(1, np.float32)
    return np.full(_check_small(inputs[0]), value.reshape(()))


def _expand(inputs: list[Array], attributes: Attributes) -> Array:
    return np.broadcast_to(inputs[0], np.broadcast_shapes(inputs[0].shape, _check_small(inputs[1])))


def _range(inputs: list[Array], attributes: Attributes) -> Array:
    start, stop, step = (value.item() for value in inputs)
    if abs((stop - start) / step) > SMALL:
        _raise_unknown()
    return np.array([start + step * index for index in range(math.ceil((stop - start) / step))], inputs[0].dtype)


def _reshape(inputs: list[Array], attributes: Attributes) -> Array:
    sizes = [inputs[0].shape[axis] if size == 0 else size for axis, size in enumerate(inputs[1].tolist())]
    return inputs[0].reshape(sizes)


def _check_small(shape: Array) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in shape)
    if not 0 <= math.prod(sizes) <= SMALL:
        _raise_unknown()
    return sizes


def _raise_unknown() -> NoReturn:
    raise ValueError


def _axes(inputs: list[Array]) -> tuple[int, ...]:
    return tuple(int(axis) for axis in inputs[1])


_OPERATIONS: dict[str, Callable[[list[Array], Attributes], Any]] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "Cast": _cast,
    "Ceil": lambda inputs, _: np.ceil(inputs[0]),
    "Concat": lambda inputs, attributes: np.concatenate(inputs, _integer(attributes, "axis", 0)),
    "ConstantOfShape": _fill,
    "Div": _divide,
    "Equal": lambda inputs, _: inputs[0] == inputs[1],
    "Expand": _expand,
    "Floor": lambda inputs, _: np.floor(inputs[0]),
    "Gather": lambda inputs, attributes: np.take(inputs[0], inputs[1], _integer(attributes, "axis", 0)),
    "Identity": lambda inputs, _: inputs[0],
    "Max": lambda inputs, _: np.maximum.reduce(inputs),
    "Min": lambda inputs, _: np.minimum.reduce(inputs),
    "Mod": _modulo,
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "Range": _range,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Squeeze": lambda inputs, _: np.squeeze(inputs[0], _axes(inputs)) if len(inputs) > 1 else np.squeeze(inputs[0]),
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
    "Transpose": lambda inputs, attributes: np.transpose(inputs[0], attributes["perm"].ints if attributes else None),
    "Unsqueeze": lambda inputs, _: np.expand_dims(inputs[0], _axes(inputs)),
    "Where": lambda inputs, _: np.where(*inputs),
}
