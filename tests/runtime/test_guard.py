"""The guard's own rules, each at its limit: the parts of the bytes, the nodes, the small constants and the sizes."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from handmade import LATENT_DIM, SHAPE, model
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ganzoo.runtime.guard import foreign, onnxgraph, onnxsizes
from ganzoo.runtime.guard.onnxfold import known_values
from ganzoo.runtime.guard.onnxgraph import (
    MAX_COUNT,
    MAX_FIELDS,
    MAX_LIST,
    MAX_NODES,
    MAX_PACKED,
    MAX_RANK,
    SMALL,
    Damaged,
    Refused,
    check_harmless,
    check_order,
    parse,
)
from ganzoo.runtime.guard.onnxsizes import MAX_TOTAL, MAX_VALUES, Shape, Value

Array = NDArray[Any]
INPUTS = {"z": (TensorProto.FLOAT, (LATENT_DIM,))}


# The bytes


def varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, kind: int, content: bytes) -> bytes:
    return varint(number << 3 | kind) + (varint(len(content)) if kind == 2 else b"") + content


def test_a_model_that_was_written_is_read() -> None:
    assert parse(model().SerializeToString()) == model()


@pytest.mark.parametrize(
    "content",
    [
        field(1, 0, b"\x80" * 10 + b"\x01"),  # an integer of eleven bytes
        field(1, 0, b"\x80"),
        field(2, 2, b"ab")[:-1],
        field(1, 1, bytes(7)),
        field(1, 5, bytes(3)),
        field(1, 3, b""),  # a group
        field(7, 2, field(1, 2, b"abc")[:-1]),  # within the graph
        b"\x80",
    ],
)
def test_bytes_that_end_too_soon_are_damaged(content: bytes) -> None:
    for data in (content, field(20, 2, bytes(200)) + content):
        with pytest.raises(Damaged):
            parse(data)


@pytest.mark.parametrize(
    "content",
    [
        field(1, 0, varint(300)),
        field(1, 0, b"\xff" * 9 + b"\x01"),  # the greatest of all integers
        field(99, 1, bytes(8)),
        field(99, 5, bytes(4)),
        field(99, 2, bytes(300)),
        field(2, 2, b""),
        b"",
    ],
)
def test_bytes_of_unknown_fields_are_read_over(content: bytes) -> None:
    parse(content + model().SerializeToString())
    assert parse(content).graph.name == ""


def test_parts_are_counted_wherever_they_are() -> None:
    part = field(99, 0, b"\x00")
    parse(part * MAX_FIELDS)
    for data in (part * (MAX_FIELDS + 1), field(7, 2, field(1, 2, part * (MAX_FIELDS - 1)))):
        with pytest.raises(Refused, match=f"more than {MAX_FIELDS:,} parts"):
            parse(data)


def test_packed_integers_are_counted_together() -> None:
    def tensor(size: int) -> bytes:
        return field(7, 2, field(5, 2, field(7, 2, bytes(size))))  # a graph, a tensor, its int64_data

    parse(tensor(MAX_PACKED))
    for data in (tensor(MAX_PACKED + 1), tensor(MAX_PACKED // 2) + tensor(MAX_PACKED // 2 + 1)):
        with pytest.raises(Refused, match=f"{MAX_PACKED + 1:,} packed integers"):
            parse(data)


# The nodes and tensors


def changed(change: Callable[[Any], object]) -> Any:
    made = model()
    change(made)
    return made


def add_node(made: Any, *arguments: Any, **attributes: Any) -> None:
    made.graph.node.append(helper.make_node(*arguments, **attributes))


def set_tensor(made: Any, **fields: Any) -> None:
    tensor = made.graph.initializer[0]
    for name, value in fields.items():
        if isinstance(value, list):
            del getattr(tensor, name)[:]
            getattr(tensor, name).extend(value)
        else:
            setattr(tensor, name, value)


def nodes(count: int) -> Any:
    made = model()
    made.graph.node.extend(helper.make_node("Identity", ["z"], [f"i{number}"]) for number in range(count - 3))
    return made


EMPTY = helper.make_graph([], "g", [], [])
FITS: list[Callable[[Any], object]] = [
    lambda made: add_node(made, "Conv", ["z"], ["a"], strides=[1, MAX_COUNT]),
    lambda made: add_node(made, "Split", ["z"], ["a", "b"], num_outputs=2),
    lambda made: add_node(made, "Squeeze", ["z"], ["a"], axes=[0] * MAX_LIST),
    lambda made: add_node(made, "Any", ["z"], ["a"], t=numpy_helper.from_array(np.zeros(SMALL, np.float32))),
    lambda made: add_node(made, "Constant", [], ["a"], value=numpy_helper.from_array(np.zeros(65, np.float32))),
    lambda made: add_node(made, "Einsum", ["z", "z"], ["a"], equation="...ij, jK -> ...iK"),
    lambda made: add_node(made, "Tanh", ["z"], ["a"], domain="ai.onnx"),
    lambda made: made.opset_import.append(helper.make_opsetid("ai.onnx", 1)),
    lambda made: set_tensor(made, dims=[1] * (MAX_RANK - 2) + [5, 12]),
    lambda made: set_tensor(made, raw_data=b"", dims=[0]),
    lambda made: set_tensor(made, data_type=TensorProto.INT4, raw_data=bytes(3), dims=[5]),
    lambda made: set_tensor(made, data_type=TensorProto.FLOAT16, raw_data=bytes(10), dims=[5]),
]
FAILS: dict[str, Callable[[Any], object]] = {
    "defines a function": lambda made: made.functions.add(name="f"),
    "contains training information": lambda made: made.training_info.add(),
    "are not standard": lambda made: made.opset_import.append(helper.make_opsetid("com.microsoft", 1)),
    "not standard": lambda made: add_node(made, "Tanh", ["z"], ["a"], domain="mine"),
    "compiled code": lambda made: add_node(made, "EPContext", ["z"], ["a"]),
    r"random noise \(RandomNormal\)": lambda made: add_node(made, "RandomNormal", [], ["a"], shape=[1]),
    "is .65537.*from 1 to 65536": lambda made: add_node(made, "Conv", ["z"], ["a"], group=MAX_COUNT + 1),
    "is .0.: expected from 1": lambda made: add_node(made, "Conv", ["z"], ["a"], group=0),
    "1, 0.: expected from 1": lambda made: add_node(made, "Conv", ["z"], ["a"], dilations=[1, 0]),
    "num_outputs.* is 3": lambda made: add_node(made, "Split", ["z"], ["a", "b"], num_outputs=3),
    "has 4097 values": lambda made: add_node(made, "Squeeze", ["z"], ["a"], axes=[0] * (MAX_LIST + 1)),
    "'s' of .* has 4097": lambda made: add_node(made, "X", ["z"], ["a"], s="x" * (MAX_LIST + 1)),
    "'f' of .* has 4097": lambda made: add_node(made, "X", ["z"], ["a"], f=[0.5] * (MAX_LIST + 1)),
    "'v' of .* has 4097": lambda made: add_node(made, "X", ["z"], ["a"], v=["x"] * (MAX_LIST + 1)),
    "tensor of more than 64": lambda made: add_node(
        made, "Any", ["z"], ["a"], t=numpy_helper.from_array(np.zeros(SMALL + 1, np.float32))
    ),
    "is not an equation": lambda made: add_node(made, "Einsum", ["z"], ["a"], equation="....->i"),
    "is not an equation ": lambda made: add_node(made, "Einsum", ["z"], ["a"], equation="i1"),
    "graph within the graph": lambda made: add_node(made, "If", ["z"], ["a"], then_branch=EMPTY),
    "stored in another file": lambda made: set_tensor(made, data_location=TensorProto.EXTERNAL),
    "another file": lambda made: made.graph.initializer[0].external_data.add(key="location", value="x"),
    "of the type string": lambda made: set_tensor(made, data_type=TensorProto.STRING),
    "of the type float": lambda made: made.graph.initializer[0].segment.SetInParent(),
    "which is not valid": lambda made: set_tensor(made, dims=[1] * (MAX_RANK - 1) + [5, 12]),
    r"-1\], which is not": lambda made: set_tensor(made, dims=[-1]),
    "does not contain the values": lambda made: set_tensor(made, dims=[5, 13]),
    "contain the values of its shape": lambda made: set_tensor(made, float_data=[0.0]),
    "not contain the values": lambda made: set_tensor(made, data_type=TensorProto.INT4, raw_data=bytes(2), dims=[5]),
    "sparse tensor": lambda made: made.graph.sparse_initializer.add(
        values=numpy_helper.from_array(np.ones(1, np.float32)), indices=numpy_helper.from_array(np.zeros(1, np.int64))
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", FITS)
def test_what_is_at_a_limit_is_taken(change: Callable[[Any], object]) -> None:
    check_harmless(changed(change))


@pytest.mark.parametrize("reason", FAILS)
def test_what_is_beyond_a_limit_is_refused(reason: str) -> None:
    with pytest.raises(Refused, match=reason.strip()):
        check_harmless(changed(FAILS[reason]))


@pytest.mark.parametrize(
    "name",
    ["Bernoulli", "Multinomial", *(f"Random{kind}{like}" for kind in ("Normal", "Uniform") for like in ("", "Like"))],
)
def test_a_node_that_draws_noise_is_refused(name: str) -> None:
    with pytest.raises(Refused, match=rf"it draws random noise \({name}\)"):
        check_harmless(changed(lambda made: add_node(made, name, ["z"], ["a"])))


COUNTS = ("blocksize", "dilations", "group", "hidden_size", "kernel_shape", "num_groups", "num_outputs", "strides")


@pytest.mark.parametrize("name", COUNTS)
def test_what_counts_from_one_is_no_zero(name: str) -> None:
    check_harmless(changed(lambda made: add_node(made, "Any", ["z"], ["a"], **{name: 1})))
    check_harmless(changed(lambda made: add_node(made, "Any", ["z"], ["a"], axis=0)))
    for value in (0, [0], [1, 0, 1], -1):
        made = model()
        add_node(made, "Any", ["z"], ["a"], **{name: value})
        with pytest.raises(Refused, match=f"'{name}' of a node Any is .*: expected from 1 to"):
            check_harmless(made)


KINDS = {"FLOAT": 32, "DOUBLE": 64, "FLOAT16": 16, "BFLOAT16": 16, "BOOL": 8, "INT4": 4, "UINT4": 4}
KINDS |= {f"{sign}INT{bits}": bits for sign in ("", "U") for bits in (8, 16, 32, 64)}


@pytest.mark.parametrize(("name", "bits"), KINDS.items())
def test_a_tensor_of_each_type_has_its_size(name: str, bits: int) -> None:
    def tensor(size: int) -> Callable[[Any], object]:
        kind = TensorProto.DataType.Value(name)
        return lambda made: set_tensor(made, data_type=kind, raw_data=bytes(size), dims=[2, 2])

    check_harmless(changed(tensor(bits // 2)))
    for size in (bits // 2 - 1, bits // 2 + 1):
        with pytest.raises(Refused, match="does not contain the values"):
            check_harmless(changed(tensor(size)))


def test_nodes_are_counted() -> None:
    check_harmless(nodes(MAX_NODES))
    with pytest.raises(Refused, match=f"it has {MAX_NODES + 1} nodes; the limit is {MAX_NODES}"):
        check_harmless(nodes(MAX_NODES + 1))


@pytest.mark.parametrize(("values", "fits"), [(6, True), (5, False), (7, False)])
def test_values_may_lie_in_a_list_of_their_type(values: int, fits: bool) -> None:
    made = changed(lambda made: made.graph.initializer.add(name="i", data_type=TensorProto.INT64, dims=[2, 3]))
    made.graph.initializer[-1].int64_data.extend(range(values))
    if fits:
        check_harmless(made)
    else:
        with pytest.raises(Refused, match="'i' does not contain the values"):
            check_harmless(made)


ORDER: dict[str, Callable[[Any], object]] = {
    "two inputs or tensors have the name 'z'": lambda made: setattr(made.graph.initializer[0], "name", "z"),
    "or one has none": lambda made: setattr(made.graph.initializer[0], "name", ""),
    "has no output": lambda made: add_node(made, "Tanh", ["z"], []),
    "a node Tanh has no output": lambda made: add_node(made, "Tanh", ["z"], [""]),
    "uses 'later', which no node before it outputs": lambda made: made.graph.node.insert(
        0, helper.make_node("Tanh", ["later"], ["a"])
    ),
    r"node 'n' \(Tanh\) outputs 'h', which is already": lambda made: add_node(made, "Tanh", ["z"], ["h"], name="n"),
    "outputs 'z', which is already defined": lambda made: add_node(made, "Tanh", ["h"], ["z"]),
    "outputs 'a', which is already": lambda made: add_node(made, "Split", ["h"], ["a", "a"]),
    "no node computes its output 'none'": lambda made: setattr(made.graph.output[0], "name", "none"),
}


@pytest.mark.parametrize("reason", ORDER)
def test_a_graph_out_of_order_is_refused(reason: str) -> None:
    check_order(model().graph)
    check_order(changed(lambda made: add_node(made, "Clip", ["h", "", "z"], ["a", ""])).graph)
    with pytest.raises(Refused, match=reason):
        check_order(changed(ORDER[reason]).graph)


def test_types_have_names() -> None:
    assert [onnxgraph.type_name(kind) for kind in (1, 7, 99)] == ["float", "int64", "99"]


# Small constants


def integers(*values: int) -> Array:
    return np.array(values, np.int64)


A, B = np.arange(1, 7).reshape(2, 3), np.arange(6, 0, -1).reshape(2, 3)
FLOATS = np.array([[0.5, -1.5, 2.0], [3.25, -0.25, 1.0]], np.float32)
FOLDED: list[tuple[str, list[Array], dict[str, Any]]] = [
    *((name, [A, B], {}) for name in ("Add", "Sub", "Mul", "Div", "Mod", "Equal", "Max", "Min")),
    ("Div", [FLOATS, FLOATS + 7], {}),
    *((name, [FLOATS], {}) for name in ("Ceil", "Floor", "Identity")),
    *(("Cast", [FLOATS], {"to": to}) for to in (TensorProto.INT64, TensorProto.INT32, TensorProto.DOUBLE)),
    ("Cast", [A], {"to": TensorProto.FLOAT}),
    *(("Concat", [A, B], {"axis": axis}) for axis in (0, 1, -1)),
    ("ConstantOfShape", [integers(2, 3)], {}),
    ("ConstantOfShape", [integers(SMALL)], {"value": numpy_helper.from_array(integers(7))}),
    ("ConstantOfShape", [integers(0)], {}),
    ("Expand", [integers(1, 2, 3), integers(2, 1)], {}),
    *(("Gather", [A, integers(1, 0)], {"axis": axis}) for axis in (0, 1)),
    ("Gather", [A, integers(1)], {}),
    *(("Range", list(map(np.array, ends)), {}) for ends in ((0, 7, 2), (7, 0, -3), (0, SMALL, 1), (2, 2, 1))),
    ("Range", [np.array(value, np.float32) for value in (0, 1, 0.25)], {}),
    *(("Reshape", [A, integers(*shape)], {}) for shape in ((3, 2), (-1,), (0, -1), (0, 3, 1))),
    ("Slice", [A, integers(1), integers(2)], {}),
    ("Slice", [A, integers(0), integers(2), integers(1)], {}),
    ("Slice", [A, integers(2), integers(-9), integers(1), integers(-1)], {}),
    ("Slice", [A, integers(-1), integers(0), integers(1), integers(-1)], {}),
    ("Slice", [A, integers(0, 0), integers(2, 9), integers(0, 1), integers(1, 2)], {}),
    ("Slice", [A, integers(0), integers(-3), integers(1), integers(1)], {}),
    ("Slice", [A, integers(2), integers(-3), integers(1), integers(-1)], {}),
    ("Squeeze", [A.reshape(1, 2, 1, 3)], {}),
    ("Squeeze", [A.reshape(1, 2, 1, 3), integers(2)], {}),
    ("Unsqueeze", [A, integers(0, 3)], {}),
    ("Transpose", [A], {}),
    ("Transpose", [A.reshape(1, 2, 3)], {"perm": [2, 0, 1]}),
    ("Where", [A > 3, A, B], {}),
    *(("Shape", [A.reshape(1, 2, 3)], about) for about in ({}, {"start": 1}, {"end": -1}, {"start": -2, "end": 2})),
]


def fold(name: str, inputs: list[Array], about: dict[str, Any], outputs: tuple[str, ...] = ("out",)) -> Array | None:
    names = [f"i{number}" for number in range(len(inputs))]
    node = helper.make_node(name, names, outputs, **about)
    return known_values([node], {"i0": inputs[0].shape}, dict(zip(names, inputs, strict=True))).get("out")


@pytest.mark.parametrize(("name", "inputs", "about"), FOLDED)
def test_a_small_constant_is_what_onnx_makes_of_it(name: str, inputs: list[Array], about: dict[str, Any]) -> None:
    names = [f"i{number}" for number in range(len(inputs))]
    given = [
        helper.make_tensor_value_info(one, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for one, value in zip(names, inputs, strict=True)
    ]
    graph = helper.make_graph(
        [helper.make_node(name, names, ["out"], **about)], "g", given, [onnx.ValueInfoProto(name="out")]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    expected: Any = ReferenceEvaluator(made).run(None, dict(zip(names, inputs, strict=True)))
    (expected,) = expected
    found = fold(name, inputs, about)
    assert found is not None
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
    assert found.shape == np.shape(expected)


@pytest.mark.parametrize(
    ("name", "inputs", "about"),
    [
        ("Tanh", [FLOATS], {}),  # not followed
        ("Div", [-A, B], {}),  # rounds otherwise
        ("Div", [A, B - 1], {}),
        ("Div", [A, -B], {}),
        ("Mod", [-A, B], {}),
        ("Mod", [A, B - 1], {}),
        ("ConstantOfShape", [integers(SMALL + 1)], {}),
        ("ConstantOfShape", [integers(10**6, 10**6, 10**6, 10**6)], {}),
        ("ConstantOfShape", [integers(-1)], {}),
        ("Expand", [integers(1), integers(SMALL + 1)], {}),
        ("Range", [np.array(0), np.array(10**15), np.array(1)], {}),
        ("Range", [np.array(0), np.array(5), np.array(0)], {}),
        ("Concat", [np.zeros(SMALL), np.zeros(1)], {"axis": 0}),
        ("Reshape", [A, integers(4, 2)], {}),
        ("Concat", [A, B], {"axis": 9}),
    ],
)
def test_what_is_large_or_makes_no_sense_is_not_known(name: str, inputs: list[Array], about: dict[str, Any]) -> None:
    assert fold(name, inputs, about) is None


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("Range", [np.array(0), np.array(10**6), np.array(1)]),
        ("ConstantOfShape", [integers(10**6)]),
    ],
)
def test_what_is_large_takes_no_room_to_find_out(name: str, inputs: list[Array]) -> None:
    tracemalloc.start()
    assert fold(name, inputs, {}) is None
    assert tracemalloc.get_traced_memory()[1] < 500_000
    tracemalloc.stop()


def test_constants_are_followed_through_nodes_and_only_of_known_inputs() -> None:
    made = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Shape", ["unknown"], ["u"]),
        helper.make_node("Gather", ["s", "one"], ["g"]),
        helper.make_node("Mul", ["g", "g"], ["m"]),
        helper.make_node("Add", ["m", "unknown"], ["n"]),
        helper.make_node("Split", ["s"], ["p", "q"]),
        helper.make_node("Slice", ["s", "one", "two", "", ""], ["t"]),
    ]
    found = known_values(made, {"x": (4, 5)}, {"one": np.array([1]), "two": np.array([2])})
    assert {name: value.tolist() for name, value in found.items()} == {"s": [4, 5], "g": [5], "m": [25]}


# The sizes


def sized(
    *made: Any, inputs: dict[str, Any] | None = None, tensors: dict[str, Array] | None = None
) -> dict[str, Value]:
    values = [helper.make_tensor_value_info(name, kind, None) for name, (kind, _) in (inputs or INPUTS).items()]
    constants = [numpy_helper.from_array(value, name) for name, value in (tensors or {}).items()]
    graph = helper.make_graph(list(made), "g", values, [onnx.ValueInfoProto(name=made[-1].output[0])], constants)
    whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return onnxsizes.values(whole, inputs or INPUTS)


def test_sizes_are_those_of_the_greatest_batch() -> None:
    found = onnxsizes.values(model(), INPUTS)
    assert found["z"] == Value(TensorProto.FLOAT, (64, LATENT_DIM))
    assert found["images"] == Value(TensorProto.FLOAT, (64, *SHAPE))


def tiled(*counts: int) -> dict[str, Value]:
    """The latents, repeated: 5 numbers for each image become that many times as many."""
    names = [f"t{number}" for number in range(len(counts))]
    made = [helper.make_node("Tile", ["z", f"c{number}"], [name]) for number, name in enumerate(names)]
    return sized(*made, tensors={f"c{number}": integers(1, count) for number, count in enumerate(counts)})


def test_a_value_has_a_limit_for_each_image() -> None:
    most = MAX_VALUES // LATENT_DIM
    assert tiled(most)["t0"].shape == (64, most * LATENT_DIM)
    with pytest.raises(Refused, match=rf"16,777,220 values for one image; the limit is {MAX_VALUES:,} per image"):
        tiled(most + 1)


def test_all_values_together_have_a_limit() -> None:
    most = MAX_VALUES // LATENT_DIM
    count = MAX_TOTAL // MAX_VALUES
    tiled(*[most] * (count - 1))
    with pytest.raises(Refused, match=rf"for one image; the limit is {MAX_TOTAL:,} per image"):
        tiled(*[most] * (count + 1))


def conv(name: str, kernel: int, side: int, **about: Any) -> dict[str, Value]:
    image = {"x": (TensorProto.FLOAT, (1, side, side))}
    weight = helper.make_node("ConstantOfShape", ["k"], ["w"])
    node = helper.make_node(name, ["x", "w"], ["y"], **about)
    return sized(weight, node, inputs=image, tensors={"k": integers(1, 1, kernel, kernel)})


def test_convolutions_have_a_limit_of_room() -> None:
    conv("ConvTranspose", 64, 64, strides=[1, 1])
    with pytest.raises(Refused, match="ConvTranspose needs memory for 17,305,600 values"):
        conv("ConvTranspose", 65, 64, strides=[1, 1])
    conv("Conv", 64, 128)
    with pytest.raises(Refused, match="Conv needs memory for"):
        conv("Conv", 256, 512)


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(Refused, match=r"the size of 'n', which a node NonZero outputs, is unknown before it runs"):
        sized(helper.make_node("NonZero", ["z"], ["n"]))
    with pytest.raises(Refused, match="onnx cannot infer the sizes in its graph"):
        sized(helper.make_node("MatMul", ["z", "z"], ["n"]))
    with pytest.raises(Refused, match="outputs values of the type string, which is not supported"):
        sized(helper.make_node("Cast", ["z"], ["n"], to=TensorProto.STRING))


def folds(*made: Any, values: dict[str, tuple[int, ...]], tensors: tuple[str, ...] = ("w",)) -> bool:
    initial = [numpy_helper.from_array(np.zeros(1, np.float32), name) for name in tensors]
    graph = helper.make_graph(list(made), "g", [], [], initial)
    return onnxsizes.is_cheap_to_fold(graph, {name: Value(1, shape) for name, shape in values.items()})


CHEAP = (
    "Abs Add Cast Concat Constant ConstantOfShape Cos DequantizeLinear Div Equal Exp Expand Flatten Gather Identity "
    "Mul Neg Pow QuantizeLinear Range Reciprocal ReduceSum Reshape Shape Sin Size Slice Split Sqrt Squeeze Sub Tile "
    "Transpose Unsqueeze Where"
)


@pytest.mark.parametrize("name", CHEAP.split())
def test_what_only_reads_and_writes_is_cheap(name: str) -> None:
    assert folds(helper.make_node(name, ["w"], ["a"]), values={"a": (1,)})


def test_the_limits_are_those_that_are_documented() -> None:
    assert (onnxgraph.MAX_BYTES, MAX_FIELDS, MAX_PACKED, MAX_NODES) == (128 * 2**20, 2**18, 2**22, 5_000)
    assert (MAX_LIST, MAX_RANK, MAX_COUNT, SMALL) == (4_096, 16, 2**16, 64)
    assert (MAX_VALUES, MAX_TOTAL, onnxsizes.BATCHES, onnxsizes.ROUNDS) == (2**24, 2**28, (1, 64), 8)


def test_what_is_cheap_may_be_computed_beforehand() -> None:
    cheap, costly = helper.make_node("Mul", ["w", "w"], ["a"]), helper.make_node("MatMul", ["w", "a"], ["b"])
    assert folds(cheap, values={"a": (MAX_VALUES,)})
    assert not folds(cheap, values={"a": (MAX_VALUES + 1,)})
    assert not folds(cheap, costly, values={"a": (1,), "b": (1,)})
    assert folds(helper.make_node("MatMul", ["w", "x"], ["b"]), values={"b": (1,)})  # x is an input
    shape = helper.make_node("Shape", ["x"], ["s"])
    assert not folds(shape, helper.make_node("Tanh", ["s"], ["b"]), values={"s": (1,), "b": (1,)})
    assert not folds(cheap, helper.make_node("Add", ["a", ""], ["c"]), values={"a": (MAX_VALUES,), "c": (1,)})


def test_a_size_that_onnx_does_not_follow_is_folded() -> None:
    most = helper.make_node("Max", ["a", "b"], ["m"])
    found = sized(most, helper.make_node("Tile", ["z", "m"], ["t"]), tensors={"a": integers(1, 2), "b": integers(1, 3)})
    assert found["t"].shape == (64, 3 * LATENT_DIM)


@pytest.mark.parametrize("size", [1, SMALL, SMALL + 1])
def test_constants_have_their_size_as_weights_have(size: int) -> None:
    value = numpy_helper.from_array(np.zeros((size, LATENT_DIM), np.float32))
    made = helper.make_node("Constant", [], ["c"], value=value)
    turned = helper.make_node("Transpose", ["z"], ["t"], perm=[1, 0])
    found = sized(made, turned, helper.make_node("MatMul", ["c", "t"], ["y"]))
    assert found["c"].shape == (size, LATENT_DIM)
    assert found["y"].shape == (size, 64)
    scalar = helper.make_node("Constant", [], ["c"], value_float=1.0)
    assert sized(scalar, helper.make_node("Add", ["z", "c"], ["y"]))["y"].shape == (64, LATENT_DIM)


def test_types_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(Refused, match="onnx cannot infer the sizes"):
        sized(helper.make_node("Add", ["z", "c"], ["y"]), tensors={"c": integers(1)})


def test_a_value_has_a_limit_of_dimensions() -> None:
    for rank, fits in ((MAX_RANK, True), (MAX_RANK + 1, False)):
        made = helper.make_node("Reshape", ["z", "s"], ["y"])
        shape = {"s": integers(-1, *[1] * (rank - 2), LATENT_DIM)}
        if fits:
            assert len(sized(made, tensors=shape)["y"].shape) == rank
        else:
            with pytest.raises(Refused, match=r"Reshape outputs the shape .* which is not valid"):
                sized(made, tensors=shape)


ROOM: list[tuple[str, list[Shape], Shape, int]] = [  # the operator, its inputs and output, and the room that it takes
    ("ConvTranspose", [(1, 3, 64, 64), (3, 16, 16, 16)], (1,), MAX_VALUES),
    ("ConvTranspose", [(1, 3, 64, 64), (3, 16, 16, 17)], (1,), 4096 * 16 * 16 * 17),
    *((name, [(1,), (9, 16, 32, 32)], (1, 9, 128, 128), MAX_TOTAL) for name in ("Conv", "ConvInteger")),
    *((name, [(1,), (9, 16, 32, 32)], (1, 9, 128, 129), 2**14 * 128 * 129) for name in ("Conv", "ConvInteger")),
    ("QLinearConv", [(1,), (1,), (1,), (9, 16, 32, 32)], (1, 9, 128, 128), MAX_TOTAL),
    ("QLinearConv", [(1,), (1,), (1,), (9, 16, 32, 32)], (1, 9, 129, 128), 2**14 * 129 * 128),
    ("Attention", [(2, 4, 1024, 8), (2, 4, 4096, 8)], (1,), 2 * MAX_VALUES),
    ("Attention", [(2, 4, 1024, 8), (2, 4, 4097, 8)], (1,), 2 * 4 * 1024 * 4097),
    ("Attention", [(2, 1024, 8), (2, 4096, 8)], (1,), 2 * MAX_VALUES),
    ("Attention", [(2, 1024, 8), (2, 4097, 8)], (1,), 2 * 4 * 1024 * 4097),
    ("Gemm", [(2**20,), (2**20,)], (1,), 0),
]


@pytest.mark.parametrize(("name", "inputs", "output", "room"), ROOM)
def test_what_an_operator_takes_beside_its_values_has_a_limit(
    name: str, inputs: list[Shape], output: Shape, room: int
) -> None:
    names = [f"i{number}" for number in range(len(inputs))]
    about: dict[str, Any] = {"q_num_heads": 4, "scale": 1.0} if name == "Attention" else {}
    node = helper.make_node(name, [*names, ""], ["y"], **about)
    found = {one: Value(1, shape) for one, shape in zip([*names, "y"], [*inputs, output], strict=True)}
    limit = {"ConvTranspose": MAX_VALUES, "Attention": 2 * MAX_VALUES}.get(name, MAX_TOTAL)
    if room <= limit:
        onnxsizes._check_workspace(node, found, 2)
    else:
        with pytest.raises(Refused, match=f"a node {name} needs memory for {room:,} values; the limit is {limit:,}"):
            onnxsizes._check_workspace(node, found, 2)


# A generator of others


@pytest.mark.parametrize("name", ["Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"])
def test_labels_are_followed_to_their_table(name: str) -> None:
    table = {"E": Value(TensorProto.FLOAT, (7, 3)), "code": Value(TensorProto.FLOAT, (64, 9))}
    passed = helper.make_node(name, ["kind"], ["k"])
    for found, expected in (
        ([helper.make_node("Gather", ["E", "k"], ["e"])], 7),
        ([helper.make_node("OneHot", ["k", "depth", "values"], ["code"])], 9),
        ([helper.make_node("Gather", ["E", "k"], ["e"]), helper.make_node("OneHot", ["k", "d", "v"], ["code"])], 7),
        ([helper.make_node("Gather", ["E", "k"], ["e"], axis=1)], None),
        ([helper.make_node("OneHot", ["k", "d", "v"], ["code"], axis=0)], None),
        ([helper.make_node("Gather", ["k", "E"], ["e"])], None),
    ):
        graph = helper.make_graph([passed, *found], "g", [], [])
        assert foreign.classes(graph, "kind", table) == expected
        assert foreign.classes(graph, "other", table) is None


@pytest.mark.parametrize(
    ("kind", "shape", "layout", "image"),
    [
        (TensorProto.FLOAT, (4, 5, 6), "float", (4, 5, 6)),
        (TensorProto.FLOAT, (1, 5, 3), "float", (1, 5, 3)),
        (TensorProto.UINT8, (4, 5, 6), "uint8-nchw", (4, 5, 6)),
        (TensorProto.UINT8, (3, 5, 4), "uint8-nchw", (3, 5, 4)),
        (TensorProto.UINT8, (1, 5, 1), "uint8-nchw", (1, 5, 1)),
        (TensorProto.UINT8, (4, 5, 3), "uint8", (3, 4, 5)),
        (TensorProto.UINT8, (4, 5, 4), "uint8", (4, 4, 5)),
        (TensorProto.UINT8, (5, 6, 1), "uint8", (1, 5, 6)),
    ],
)
def test_images_are_told_by_their_channels(kind: int, shape: Shape, layout: str, image: Shape) -> None:
    assert foreign.images(Value(kind, (64, *shape))) == (layout, image)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        (TensorProto.FLOAT, (64, 5, 6, 3)),
        (TensorProto.FLOAT, (64, 2, 5, 6)),
        (TensorProto.FLOAT, (64, 1, 0, 6)),
        (TensorProto.FLOAT, (64, 3, 5)),
        (TensorProto.UINT8, (64, 5, 6, 7)),
        (TensorProto.INT64, (64, 1, 5, 6)),
    ],
)
def test_what_is_no_image_is_refused(kind: int, shape: Shape) -> None:
    with pytest.raises(Refused, match=r"it outputs .*: expected images of 1, 3 or 4 channels"):
        foreign.images(Value(kind, shape))
