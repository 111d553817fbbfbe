"""Hostile and broken .onnx files, over 200 of them: each a clear error, soon, in little memory, nothing else read.

What is wrong with a file comes after its seal: whoever makes one can seal it. A process loads many files, one by one,
and tells of each; a file that crashes or hangs it is the one that it told of last.
"""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PATIENCE, environment
from handmade import CLASSES, HOSTILE, LATENT_DIM, SHAPE, info, lie_outside, model, sealed
from onnx import TensorProto, helper, numpy_helper

from ganzoo import runtime
from ganzoo.errors import ModelError
from ganzoo.runtime import bundled, onnxfile
from ganzoo.runtime.guard.onnxgraph import MAX_BYTES, MAX_FIELDS, MAX_LIST, MAX_NODES, MAX_PACKED

SECONDS = 2.0
MEGABYTES = 500
LONG_AGO = 946_684_800  # seconds since 1970: an access time that no test has
Change = Callable[[Any], object]

LOADS = """
import json, sys, time
from ganzoo import runtime
from ganzoo.errors import ModelError

names, good, foreign = json.loads(sys.stdin.read()), sys.argv[1], sys.argv[2] == "foreign"
runtime.load(good, foreign=foreign).sample(1)  # from here on nothing is left to be imported, but for a message
opened = []
sys.addaudithook(lambda event, args: event == "open" and isinstance(args[0], str) and opened.append(args[0]))
for name in names:
    print(json.dumps({"name": name}), flush=True)
    started = time.monotonic()
    try:
        runtime.load(name, foreign=foreign).sample(1)
        error = None
    except ModelError as found:
        error = str(found)
    print(json.dumps({"error": error, "seconds": time.monotonic() - started}), flush=True)
before = list(opened)
with open("/proc/self/status") as file:
    peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
print(json.dumps({"opened": before, "megabytes": peak / 1024}))
"""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a process told of each file (an error or None, and the seconds), what it opened, and its greatest size."""

    errors: dict[str, str | None]
    seconds: dict[str, float]
    opened: list[str]
    megabytes: float


def load_all(directory: Path, names: list[str], *, foreign: bool = False) -> Outcome:
    (directory / "good.onnx").write_bytes(sealed())
    done = subprocess.run(
        [sys.executable, "-c", LOADS, "./good.onnx", "foreign" if foreign else "ours"],
        input=json.dumps(names),
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    assert done.stderr == ""
    *told, end = [json.loads(line) for line in done.stdout.splitlines()]
    errors = {name["name"]: outcome["error"] for name, outcome in zip(told[::2], told[1::2], strict=True)}
    seconds = {name["name"]: outcome["seconds"] for name, outcome in zip(told[::2], told[1::2], strict=True)}
    return Outcome(errors=errors, seconds=seconds, opened=end["opened"], megabytes=end["megabytes"])


def assert_refused(outcome: Outcome, names: list[str]) -> None:
    """Each in one line that names the file and a reason, soon, in little memory; no other file was opened."""
    assert list(outcome.errors) == names
    for name, error in outcome.errors.items():
        assert error is not None, name
        assert Path(name).name in error, error
        assert error.isprintable(), error
        assert len(error) < 800, error
        assert outcome.seconds[name] < SECONDS, name
    code = (".py", ".pyc", ".so", ".pyd", ".dll", ".dylib")
    system = ("/proc/self/cgroup", "/sys/fs/cgroup/")  # how many processors the process may use
    opened = {path for path in outcome.opened if not path.endswith(code) and not path.startswith(system)}
    assert opened <= {str(Path(name)) for name in names}
    assert outcome.megabytes < MEGABYTES


# The files


def encoded(change: Change, num_classes: int | None = None, document: str | None = None) -> bytes:
    """A model that was changed and then sealed."""
    made = model(num_classes, document)
    change(made)
    return onnxfile.seal(made.SerializeToString())


def wide() -> Any:
    """The model with 64 KiB of weights, to cut and to alter."""
    made = model()
    made.graph.initializer.append(numpy_helper.from_array(np.random.default_rng(0).random(2**14, np.float32), "more"))
    return made


def cut() -> Iterator[tuple[str, bytes]]:
    data = onnxfile.seal(wide().SerializeToString())
    for length in range(0, len(data), 1024):
        yield f"cut-{length}", data[:length]


def flipped() -> Iterator[tuple[str, bytes]]:
    data = onnxfile.seal(wide().SerializeToString())
    for position in range(0, len(data), len(data) // 40):
        yield f"flipped-{position}", data[:position] + bytes([data[position] ^ 0xFF]) + data[position + 1 :]


def grown(*nodes: Any, **constants: Any) -> Change:
    """A change that adds nodes, on constants of these values, before all others."""

    def change(made: Any) -> None:
        for name, value in constants.items():
            made.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        for node in reversed(nodes):
            made.graph.node.insert(0, node)

    return change


def chain(op: str, length: int, *others: str, **attributes: Any) -> list[Any]:
    """Nodes each of which takes what the one before makes."""
    names = ["z", *(f"chain{index}" for index in range(length))]
    return [helper.make_node(op, [a, *others], [b], **attributes) for a, b in pairwise(names)]


def sizes(*values: int) -> Any:
    return np.array(values, np.int64)


def scales(*values: float) -> Any:
    return np.array(values, np.float32)


def node(op: str, *inputs: str, out: str = "huge", **attributes: Any) -> Any:
    return helper.make_node(op, list(inputs), [out], **attributes)


def declare(made: Any, *dims: int) -> None:
    del made.graph.initializer[0].dims[:]
    made.graph.initializer[0].dims.extend(dims)


IMAGE = node("Reshape", "z", "four", out="image")  # [N, 1, 1, LATENT_DIM]
FOUR = sizes(-1, 1, 1, LATENT_DIM)
HUGE: dict[str, Change] = {
    "tensor": lambda m: declare(m, 2**40, 2**40),
    "tensor, negative": lambda m: declare(m, -1, -60),
    "tensor, many": lambda m: declare(m, *[2] * 64),
    "tensor, more than its data": lambda m: declare(m, LATENT_DIM, 13),
    "fill": grown(node("ConstantOfShape", "s"), s=sizes(2**20, 2**20)),
    "fill, overflow": grown(node("ConstantOfShape", "s"), s=sizes(2**62, 4, 1)),
    "fill, computed": grown(node("Mul", "s", "s", out="t"), node("ConstantOfShape", "t"), s=sizes(2**17, 2**5)),
    "fill, of a batch": grown(
        node("Shape", "z", out="b"), *(node("Mul", x, x, out=y) for x, y in ("bc", "cd", "de")),
        node("ConstantOfShape", "e"),
    ),
    "expand": grown(node("Expand", "z", "s"), s=sizes(2**30, 1, 1)),
    "tile": grown(node("Tile", "z", "s"), s=sizes(1, 2**30)),
    "tiles": grown(*chain("Tile", 40, "two"), two=sizes(1, 2)),
    "concatenations": grown(*[node("Concat", x, x, x, x, out=f"{x}{x}"[:1] + str(i), axis=1) for i, x in
                              [(0, "z")] + [(i, f"z{i - 1}") for i in range(1, 20)]]),
    "pad": grown(node("Pad", "z", "s"), s=sizes(0, 0, 0, 2**33)),
    "range": grown(node("Range", "a", "b", "c"), a=np.int64(0), b=np.int64(2**40), c=np.int64(1)),
    "range of floats": grown(node("Range", "a", "b", "c"), a=np.float32(0), b=np.float32(1), c=np.float32(1e-12)),
    "one-hot": grown(node("OneHot", "s", "d", "v"), s=sizes(1, 2), d=np.int64(2**40), v=np.zeros(2, np.float32)),
    "resize, scales": grown(IMAGE, node("Resize", "image", "", "r"), four=FOUR, r=scales(1, 1, 1e5, 1e5)),
    "resize, not finite": grown(IMAGE, node("Resize", "image", "", "r"), four=FOUR, r=scales(1, 1, np.inf, np.nan)),
    "resize, sizes": grown(IMAGE, node("Resize", "image", "", "", "s"), four=FOUR, s=sizes(1, 1, 2**20, 2**20)),
    "transposed, strides": grown(
        node("ConstantOfShape", "s", out="i"), node("ConvTranspose", "i", "k", strides=[2**14, 2**14]),
        s=sizes(1, 1, 8, 8), k=np.ones((1, 1, 2, 2), np.float32),
    ),
    "transposed, columns": grown(
        node("ConstantOfShape", "s", out="i"),
        node("ConvTranspose", "i", "k", pads=[2040] * 4),
        s=sizes(1, 1, 4096, 4096), k=np.ones((1, 1, 64, 64), np.float32),
    ),
    "columns": grown(
        node("ConstantOfShape", "s", out="i"), node("Conv", "i", "k"),
        s=sizes(1, 1, 4096, 4096), k=np.ones((1, 1, 32, 32), np.float32),
    ),
    "strides of none": grown(
        IMAGE, node("Conv", "image", "k", strides=[0, 0]), four=FOUR, k=np.ones((1, 1, 1, 1), np.float32)
    ),
    "groups of none": grown(IMAGE, node("Conv", "image", "k", group=0), four=FOUR, k=np.ones((1, 1, 1, 1), np.float32)),
    "product": grown(
        node("Reshape", "w", "column", out="c"), node("Reshape", "w", "row", out="r"), node("MatMul", "c", "r"),
        w=np.zeros(2**14, np.float32), column=sizes(-1, 1), row=sizes(1, -1),
    ),
    "products": grown(
        node("Reshape", "w", "column", out="c"), node("Reshape", "w", "row", out="r"),
        *(node("MatMul", "c", "r", out=f"p{i}") for i in range(80)),
        w=np.zeros(4096, np.float32), column=sizes(-1, 1), row=sizes(1, -1),
    ),
    "broadcast": grown(node("Add", "c", "r"), c=np.zeros((2**13, 1), np.int8), r=np.zeros((1, 2**13), np.int8)),
    "outer": grown(node("Einsum", "w", "w", "w", equation="i,j,k->ijk"), w=np.zeros(1000, np.float32)),
    "equation without end": grown(node("Einsum", "z", equation="....->i")),
    "outputs": grown(node("Split", "z", axis=1, num_outputs=2**40)),
    "outputs, a billion": grown(node("Split", "z", axis=1, num_outputs=2**30)),
    "rank": grown(node("Unsqueeze", "z", "s"), s=np.arange(2, 60)),
    "text": grown(node("Cast", "z", to=TensorProto.STRING), *chain("StringConcat", 2, "z")),
    "sequence": grown(node("SequenceEmpty")),
    "places": grown(node("NonZero", "z")),
    "of unknown size": grown(node("Cast", "z", out="t", to=TensorProto.INT64), node("Reshape", "z", "t")),
    "unknown operator": grown(node("NoSuchOperator", "z")),
    "noise": grown(node("RandomNormal", shape=[2**16, 2**16])),
    "noise, like": grown(node("RandomNormalLike", "z")),
    "attribute": grown(node("Constant", value_ints=list(range(MAX_LIST + 1)))),
    "attribute, tensor": grown(node("ConstantOfShape", "s", value=numpy_helper.from_array(np.zeros(100))), s=sizes(1)),
    "nodes": grown(*chain("Neg", MAX_NODES)),
    "parts": lambda m: m.graph.node.extend([helper.make_node("Neg", [], [])] * MAX_FIELDS),
    "sparse": lambda m: m.graph.sparse_initializer.append(
        helper.make_sparse_tensor(
            numpy_helper.from_array(np.ones(1, np.float32), "v"), numpy_helper.from_array(sizes(5), "i"), [2**40]
        )
    ),
    "packed": lambda m: m.graph.initializer.append(
        helper.make_tensor("p", TensorProto.INT64, [MAX_PACKED + 1], np.zeros(MAX_PACKED + 1, np.int64))
    ),
}  # fmt: skip


def circle(made: Any) -> None:
    made.graph.node[0].input[1] = "t"  # which the next one makes of what this one makes


def rename(made: Any, old: str, new: str) -> None:
    """Another name of the same length in the bytes, where protobuf would check it."""
    made.ParseFromString(made.SerializeToString().replace(old.encode(), new.encode()))


BROKEN: dict[str, Change] = {
    "circle": circle,
    "circle of one": lambda m: m.graph.node[1].input.__setitem__(0, "t"),
    "order": lambda m: m.graph.node.reverse(),
    "no nodes": lambda m: m.graph.ClearField("node"),
    "no first node": lambda m: m.graph.node.pop(0),
    "no last node": lambda m: m.graph.node.pop(),
    "no weights": lambda m: m.graph.ClearField("initializer"),
    "no shape": lambda m: m.graph.initializer.pop(),
    "twice made": lambda m: m.graph.node.append(m.graph.node[0]),
    "twice there": lambda m: m.graph.initializer.append(m.graph.initializer[0]),
    "tensor without a name": lambda m: m.graph.initializer[0].ClearField("name"),
    "no inputs": lambda m: m.graph.node[0].ClearField("input"),
    "no outputs": lambda m: m.graph.node[1].ClearField("output"),
    "no operator": lambda m: m.graph.node[1].ClearField("op_type"),
    "no graph": lambda m: m.ClearField("graph"),
    "other operator": lambda m: setattr(m.graph.node[1], "op_type", "Conv"),
    "other shape": lambda m: m.graph.initializer[1].CopyFrom(numpy_helper.from_array(sizes(-1, 1, 3, 5), "shape")),
    "other type": lambda m: m.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros((5, 12)), "W")),
    "type of none": lambda m: setattr(m.graph.initializer[0], "data_type", 0),
    "type unknown": lambda m: setattr(m.graph.initializer[0], "data_type", 99),
    "text for weights": lambda m: m.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array(["x"]), "W")),
    "weights and more": lambda m: m.graph.initializer[0].float_data.extend([1.0] * 60),
    "segment": lambda m: m.graph.initializer[0].segment.SetInParent(),
    "opset of the future": lambda m: setattr(m.opset_import[0], "version", 999),
    "opset below all": lambda m: setattr(m.opset_import[0], "version", -1),
    "no opset": lambda m: m.ClearField("opset_import"),
    "version of the future": lambda m: setattr(m, "ir_version", 999),
    "drawn shape": lambda m: m.graph.initializer[1].CopyFrom(numpy_helper.from_array(sizes(-1, 1, 4, 3), "shape")),
    "batch of one": lambda m: m.graph.initializer[1].CopyFrom(numpy_helper.from_array(sizes(1, -1, 3, 4), "shape")),
}  # fmt: skip


def external(place: str, location: str) -> Change:
    """Weights that lie in another file, wherever a model may say so."""

    def change(made: Any) -> None:
        tensor = made.graph.initializer[0]
        if place == "attribute":
            tensor = helper.make_tensor("W", TensorProto.FLOAT, [LATENT_DIM, 12], [0.0] * 60)
            lie_outside(tensor)
            made.graph.initializer.pop(0)
            made.graph.node.insert(0, helper.make_node("Constant", [], ["W"], value=tensor))
            tensor = made.graph.node[0].attribute[0].t
        tensor.ClearField("raw_data")
        tensor.ClearField("float_data")
        tensor.ClearField("external_data")
        if place != "unsaid":
            tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        if place == "parts":
            tensor.external_data.add(key="offset", value="0")
            tensor.external_data.add(key="length", value="240")

    return change


LOCATIONS = [
    "../secret",
    "/secret",
    "symlink",
    "hardlink",
    "pipe",
    "beside",
    "../../../../etc/passwd",
    "file:///secret",
    "",
]
EXTERNAL = {
    f"{place}, {location.replace('/', '-')}": (place, location)
    for place in ("initialiser", "unsaid", "parts", "attribute")
    for location in LOCATIONS
}


def outside(directory: Path) -> list[Path]:
    """What external data may point at: all look like weights; a pipe would never end."""
    secret = directory.parent / "secret"
    secret.write_bytes(np.ones(60, np.float32).tobytes())
    (directory / "symlink").symlink_to(secret)
    os.link(secret, directory / "hardlink")
    (directory / "beside").write_bytes(secret.read_bytes())
    os.mkfifo(directory / "pipe")
    return [secret, directory / "beside"]


def lies() -> Iterator[tuple[str, bytes]]:
    """Metadata that are not the file's."""
    fields: list[dict[str, Any]] = [
        {"latent_dim": 6}, {"latent_dim": 2**40}, {"latent_dim": -5}, {"latent_dim": "5"}, {"latent_dim": None},
        {"image_shape": [1, 4, 3]}, {"image_shape": [2**20, 2**20, 3]}, {"image_shape": []}, {"image_shape": None},
        {"num_classes": None}, {"num_classes": CLASSES + 1}, {"num_classes": 2**60}, {"num_classes": 0},
        {"variant": "\x1b[2J\n"}, {"variant": "x" * 10_000}, {"variant": ["cgan"]}, {"class_names": ["a"] * 9},
        {"surprise": 1},
    ]  # fmt: skip
    for index, change in enumerate(fields):
        document = json.loads(onnxfile.metadata(info(CLASSES)))
        document["generator"].update(change)
        yield f"lie-{index}", encoded(lambda m: None, CLASSES, json.dumps(document))
    tops: list[dict[str, Any]] = [
        {"layout": "uint8"}, {"layout": "rgb"}, {"layout": "unheard of"}, {"layout": 3}, {"layout": {}},
        {"schema": 99}, {"schema": "2"}, {"schema": None}, {"generator": None}, {"generator": []},
    ]  # fmt: skip
    for index, top in enumerate(tops):
        document = {**json.loads(onnxfile.metadata(info(CLASSES))), **top}
        yield f"lie-top-{index}", encoded(lambda m: None, CLASSES, json.dumps(document))
    yield "lie-nested", encoded(lambda m: None, None, onnxfile.metadata(info()) + " " + "[" * 10_000)
    yield "lie-long", encoded(lambda m: None, None, onnxfile.metadata(info(), {"note": "x" * 2**21}))


def raw() -> Iterator[tuple[str, bytes]]:
    """Bytes that are no model, or one that protobuf would make much of."""
    yield "empty", b""
    yield "picture", b"\x89PNG\r\n\x1a\n" + bytes(100)
    yield "text", b"weights: [1, 2, 3]\n" * 100
    yield "zeros", bytes(10_000)
    yield "archive", b"PK\x03\x04" + bytes(1000)
    yield "ort", struct.pack("<I", 24) + b"ORTM" + bytes(1000)
    yield "groups", b"\x0b" * 10_000
    yield "endless varint", b"\x08" + b"\xff" * 10_000
    yield "nodes of nothing", nested(7, b"\x0a\x00" * 4_000_000)
    yield "tensors of nothing", nested(7, b"\x2a\x00" * 4_000_000)
    yield "names of nothing", nested(7, nested(1, b"\x0a\x00" * 4_000_000))
    yield "types in types", nested(7, nested(11, nested(2, types(200))))
    yield "not utf-8", onnxfile.seal(model().SerializeToString().replace(b"Tanh", b"T\xff\xfeh"))
    yield "name not utf-8", onnxfile.seal(model().SerializeToString().replace(b"\x01W", b"\x01\xff"))
    yield "two graphs", sealed() + nested(7, nested(1, b"\x22\x03Neg"))


def nested(number: int, content: bytes) -> bytes:
    """A field of protobuf that holds a message."""
    size, length = len(content), b""
    while size > 0x7F:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def types(depth: int) -> bytes:
    """A sequence of sequences of sequences."""
    return b"" if not depth else nested(4, nested(1, types(depth - 1)))


def ours() -> dict[str, bytes]:
    """Files that pass for ganzoo's, by name."""
    files = {**dict(cut()), **dict(flipped()), **dict(lies()), **dict(raw())}
    changes: dict[str, Change] = {name: change for name, (change, _) in HOSTILE.items()}
    groups: dict[str, dict[str, Change]] = {"graph": changes, "huge": HUGE, "broken": BROKEN}
    for kind, group in groups.items():
        files |= {f"{kind}, {name}": encoded(change) for name, change in group.items()}
    files |= {f"external, {name}": encoded(external(*where)) for name, where in EXTERNAL.items()}
    return files


def foreigners() -> dict[str, bytes]:
    """Files that pass for another exporter's: nothing is sealed."""
    fine = ("drawn shape", "output's size")  # the graph alone says what it draws, whatever it declares
    changes: dict[str, Change] = {name: change for name, (change, _) in HOSTILE.items()} | HUGE | BROKEN
    changes |= {name: external(*where) for name, where in EXTERNAL.items()}
    files = dict(cut())
    for name, change in changes.items():
        if name not in fine:
            made = model()
            del made.metadata_props[:]
            change(made)
            files[f"foreign, {name}"] = made.SerializeToString()
    return files


def written(directory: Path, files: dict[str, bytes]) -> list[str]:
    """The names under which they lie there; each begins with ./, and so is a path and no word."""
    names = [f"./{name}.onnx" for name in files]
    for name, data in zip(names, files.values(), strict=True):
        (directory / name).write_bytes(data)
    return names


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "files"
    path.mkdir()
    return path


linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it measures memory as Linux tells it")


@linux
@pytest.mark.parametrize(("made", "foreign"), [(ours, False), (foreigners, True)], ids=["ours", "foreign"])
def test_each_is_refused_soon_in_little_memory_and_nothing_else_is_read(
    place: Path, made: Callable[[], dict[str, bytes]], foreign: bool
) -> None:
    files = made()
    assert len(files) >= 150
    names = written(place, files)
    secrets = outside(place)
    for path in secrets:
        os.utime(path, (LONG_AGO, LONG_AGO))
    assert_refused(load_all(place, names, foreign=foreign), names)
    assert [path.stat().st_atime for path in secrets] == [LONG_AGO] * len(secrets)


def test_there_are_200_of_them() -> None:
    assert len(ours()) >= 200


@linux
def test_the_largest_files_are_refused_in_little_memory_too(place: Path) -> None:
    weights = np.zeros(MAX_BYTES // 4 - 2**14, np.float32)
    whole = model()
    whole.graph.initializer.append(numpy_helper.from_array(weights, "more"))
    whole.graph.node[1].op_type = "NoSuchOperator"
    names = written(place, {"whole": onnxfile.seal(whole.SerializeToString()), "names": nested(7, b"\x0a\x00" * 2**25)})
    del whole, weights
    with (place / "beyond.onnx").open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: it takes no room on the disk
    os.mkfifo(place / "pipe.onnx")
    names += ["./beyond.onnx", "./pipe.onnx"]
    assert_refused(load_all(place, names), names)


@pytest.mark.parametrize("name", bundled.names())
def test_a_bundled_file_cut_at_any_kilobyte_is_refused(name: str) -> None:
    data = Path(bundled.find(name)).read_bytes()
    for length in range(0, len(data), 1024):
        with pytest.raises(ModelError):
            runtime.load(data[:length])


@linux
def test_a_byte_that_was_flipped_before_sealing_does_no_harm(place: Path) -> None:
    """Some of them load: a weight may be any number. What matters is that none crashes, hangs or takes much memory."""
    data = model(CLASSES).SerializeToString()
    at = data.index(b"ganzoo")  # the graph comes first, then the metadata
    flips = {}
    for position in range(0, at - 2, 4):
        changed = data[:position] + bytes([data[position] ^ (1 << position // 4 % 8)]) + data[position + 1 :]
        flips[f"flip-{position}"] = onnxfile.seal(changed)
    names = written(place, flips)
    outcome = load_all(place, names)
    assert sum(error is None for error in outcome.errors.values()) < len(names)
    assert max(outcome.seconds.values()) < SECONDS
    assert outcome.megabytes < MEGABYTES


@pytest.mark.parametrize("command", ["sample", "info"])
def test_the_command_line_ends_with_one_line(place: Path, command: str) -> None:
    files = {"cut": sealed()[:500], "huge": encoded(HUGE["fill"]), "outside": encoded(external("parts", "../secret"))}
    for name, data in files.items():
        (place / f"{name}.onnx").write_bytes(data)
        arguments = [sys.executable, "-m", "ganzoo_cli", command, f"{name}.onnx"]
        done = subprocess.run(arguments, cwd=place, env=environment(), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (3, "")
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith(f"ganzoo: {name}.onnx is ")


def test_the_same_files_load_without_what_is_wrong_with_them() -> None:
    """So that what is refused above is refused for that."""
    plain = model()
    del plain.metadata_props[:]
    assert runtime.load(encoded(lambda m: None)).sample(1).shape == (1, *SHAPE[1:], 1)
    assert runtime.load(onnxfile.seal(wide().SerializeToString())).sample(1).shape == (1, *SHAPE[1:], 1)
    assert runtime.load(plain.SerializeToString(), foreign=True).sample(1).shape == (1, *SHAPE[1:], 1)
    beside = grown(node("ConstantOfShape", "s"), s=sizes(2**10, 2**10))
    assert runtime.load(encoded(beside)).sample(1).shape == (1, *SHAPE[1:], 1)
