"""The torch-free runtime, on small files made by hand: what it draws, and everything that it refuses."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from conftest import ROOT
from handmade import CLASSES, HOSTILE, LATENT_DIM, SHAPE, info, model, saved, sealed, weights
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import ganzoo
from ganzoo import runtime, seeds
from ganzoo.errors import ModelError, UsageError
from ganzoo.evaluation.judge import load_judge, to_tensor
from ganzoo.runtime import bundled, onnxfile
from ganzoo.runtime.forms import LAYOUTS
from ganzoo.runtime.generator import GeneratorInfo


def test_a_file_draws_what_its_weights_say(tmp_path: Path) -> None:
    generator = runtime.load(saved(tmp_path, sealed()))
    assert generator.info == info()
    assert "CPUExecutionProvider" in generator.description
    z = seeds.latents(1, LATENT_DIM, 0, 7)
    images = generator.generate(z)
    assert images.dtype == np.float32
    np.testing.assert_allclose(images, np.tanh(z @ weights()[0]).reshape(7, *SHAPE), atol=1e-6)
    assert generator.sample(7).shape == (7, 3, 4, 1)


def test_a_conditional_file_draws_the_classes_asked_for(tmp_path: Path) -> None:
    generator = runtime.load(saved(tmp_path, sealed(CLASSES)), threads=1)
    z, y = seeds.latents(1, LATENT_DIM, 0, 6), np.array([2, 0, 1, 1, 0, 2])
    expected = np.tanh(z @ weights()[0] + weights()[1][y]).reshape(6, *SHAPE)
    np.testing.assert_allclose(generator.generate(z, y), expected, atol=1e-6)
    np.testing.assert_array_equal(generator.sample(6), generator.sample(6, [0, 1, 2, 0, 1, 2]))
    with pytest.raises(UsageError, match="out of range"):
        generator.sample(6, CLASSES)


def test_the_bytes_of_a_file_load_as_the_file_does(tmp_path: Path) -> None:
    data = sealed(CLASSES)
    np.testing.assert_array_equal(runtime.load(data).sample(5), runtime.load(saved(tmp_path, data)).sample(5))
    with pytest.raises(ModelError, match="the model in memory was altered"):
        runtime.load(data.replace(b"Tanh", b"Relu"))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return runtime.load(saved(tmp_path_factory.mktemp("loaded"), sealed(CLASSES)))


@given(n=st.integers(0, 200), fewer=st.integers(0, 200), seed=st.integers(0, 2**64))
@settings(deadline=None)
def test_a_smaller_sample_is_the_beginning_of_a_larger_one(loaded: Any, n: int, fewer: int, seed: int) -> None:
    fewer = min(n, fewer)
    np.testing.assert_array_equal(loaded.sample(n, seed=seed)[:fewer], loaded.sample(fewer, seed=seed))


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (np.full((2, LATENT_DIM), np.nan, np.float32), "NaN"),
        (np.full((2, LATENT_DIM), np.inf, np.float32), "infinity"),
        (np.zeros((2, LATENT_DIM)), "float64"),
        (np.zeros((2, LATENT_DIM + 1), np.float32), "the shape"),
    ],
)
def test_bad_latents_do_not_reach_onnxruntime(loaded: Any, z: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        loaded.generate(z, 0)


def test_an_empty_batch_is_empty(loaded: Any) -> None:
    assert loaded.generate(np.zeros((0, LATENT_DIM), np.float32), []).shape == (0, *SHAPE)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_threads_are_a_positive_integer(tmp_path: Path, threads: Any) -> None:
    with pytest.raises(UsageError, match="threads is"):
        runtime.load(saved(tmp_path, sealed()), threads=threads)


def test_the_metadata_reads_back_with_what_the_exporter_added(tmp_path: Path) -> None:
    document = onnxfile.metadata(info(CLASSES), {"parity": {"float": 1e-6}, "data": {"sha256": "f" * 64}})
    path = saved(tmp_path, onnxfile.seal(model(CLASSES, document).SerializeToString()))
    read = runtime.read_metadata(path)
    assert read["schema"] == 2  # as an older ganzoo reads it: it has neither codes nor an encoder
    assert read["generator"]["image_shape"] == list(SHAPE)
    assert read["parity"] == {"float": 1e-6}
    assert onnxfile.read(path).info == info(CLASSES)


def test_class_names_read_back(tmp_path: Path) -> None:
    named = GeneratorInfo(
        variant="toy", latent_dim=LATENT_DIM, image_shape=SHAPE, num_classes=CLASSES, class_names=("cat", "dog", "eel")
    )
    data = onnxfile.seal(model(CLASSES, onnxfile.metadata(named)).SerializeToString())
    assert runtime.load(saved(tmp_path, data)).info == named


def test_what_the_exporter_adds_takes_no_key_of_ours() -> None:
    with pytest.raises(UsageError, match="'sha256' is reserved for ganzoo"):
        onnxfile.metadata(info(), {"sha256": "f" * 64})


def test_a_model_without_room_for_the_digest_is_not_sealed() -> None:
    for data in (model(document="{}").SerializeToString(), sealed(), 2 * model().SerializeToString()):
        with pytest.raises(UsageError, match="no place for the digest"):
            onnxfile.seal(data)


# Layouts, providers, threads and memory


@pytest.mark.parametrize("schema", [1, 2, 3])
def test_every_schema_is_read(schema: int) -> None:
    runtime.load(with_document(lambda document: document.update(schema=schema))).sample(1)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_draws_the_same_images(layout: str) -> None:
    plain, other = runtime.load(sealed(CLASSES)), runtime.load(in_layout(layout))
    z, y = seeds.latents(1, LATENT_DIM, 0, 6), [2, 0, 1, 1, 0, 2]
    np.testing.assert_array_equal(other.sample(70, seed=3), plain.sample(70, seed=3))
    images = other.generate(z, y)
    assert images.dtype == np.float32
    assert images.shape == (6, *SHAPE)
    np.testing.assert_allclose(images, plain.generate(z, y), atol=1e-6 if layout == "float" else 1 / 127)
    np.testing.assert_array_equal(other.interpolate(0, 1, 3), plain.interpolate(0, 1, 3))


ATTRIBUTES: dict[str, dict[str, Any]] = {
    "Cast": {"to": TensorProto.UINT8},
    "Transpose": {"perm": [0, 2, 3, 1]},
    "Concat": {"axis": 1},
}


def in_layout(layout: str) -> bytes:
    """The conditional model with another tail."""
    document = onnxfile.metadata(info(CLASSES), {"layout": layout, "precision": "fp32"})
    made = model(CLASSES, document)
    form = LAYOUTS[layout]
    if layout != "float":
        made.graph.node[-1].output[0] = "floats"
        tail = [("Mul", ["floats", "half"]), ("Add", ["", "half"]), ("Round", [""]), ("Clip", ["", "low", "high"])]
        tail += [("Cast", [""])] + ([("Transpose", [""])] if layout == "uint8" else [])
        tail += [("Concat", ["", "", ""])] if layout == "rgb" else []
        before = "floats"
        for index, (op, inputs) in enumerate(tail):
            out = "images" if index == len(tail) - 1 else f"tail{index}"
            attributes = ATTRIBUTES.get(op, {})
            made.graph.node.append(helper.make_node(op, [name or before for name in inputs], [out], **attributes))
            before = out
        for name, value in (("half", 127.5), ("low", 0), ("high", 255)):
            made.graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    kind = TensorProto.FLOAT if form.dtype == "float32" else TensorProto.UINT8
    made.graph.output[0].CopyFrom(helper.make_tensor_value_info("images", kind, ["batch", *form.shape(SHAPE)]))
    return onnxfile.seal(made.SerializeToString())


@pytest.mark.parametrize("layout", ["unheard of", 3, None, ["float"]])
def test_an_unknown_layout_is_of_a_newer_version_or_a_lie(layout: Any) -> None:
    with pytest.raises(ModelError, match=r"which this ganzoo does not know \(float, uint8, uint8-nchw, rgb\): upgrade"):
        onnxfile.verify(with_document(lambda document: document.update(layout=layout)), "x.onnx")


def test_a_layout_that_the_file_does_not_have_is_a_lie() -> None:
    with pytest.raises(
        ModelError, match=r"images float \[N, 1, 3, 4\], but its metadata declares images uint8 \[N, 3, 4, 1\]"
    ):
        onnxfile.verify(with_document(lambda document: document.update(layout="uint8")), "x.onnx")


def test_more_classes_than_the_weights_know_are_a_lie() -> None:
    with pytest.raises(ModelError, match="declares 4 classes, but its weights have 3"):
        onnxfile.verify(with_document(lambda document: document["generator"].update(num_classes=4)), "x.onnx")


def test_providers_are_those_that_onnxruntime_has() -> None:
    data = sealed()
    plain = runtime.load(data).sample(3)
    for providers in (["CPUExecutionProvider"], ("CPUExecutionProvider",), "CPUExecutionProvider"):
        np.testing.assert_array_equal(runtime.load(data, providers).sample(3), plain)
    for wrong in (["NoSuchProvider"], [], ["CPUExecutionProvider", "NoSuchProvider"], [3]):
        with pytest.raises(UsageError, match=r"providers are .*: expected some of .*CPUExecutionProvider"):
            runtime.load(data, wrong)  # type: ignore[arg-type]


def test_eight_threads_draw_what_one_draws(loaded: Any) -> None:
    generators = [loaded, runtime.load("mnist")]
    jobs = [(generator, seed) for generator in generators for seed in range(12)] * 2

    def draw(job: Any) -> Any:
        generator, seed = job
        return generator.sample(100, seed=seed)

    with ThreadPoolExecutor(8) as pool:
        for together, alone in zip(pool.map(draw, jobs), map(draw, jobs), strict=True):
            np.testing.assert_array_equal(together, alone)


STREAMS = """
import sys
from ganzoo.runtime.session import load

def megabytes():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM:")) / 1024

generator, n = load(sys.argv[1], threads=1), int(sys.argv[2])
drawn = sum(len(batch) for batch in generator.iter_batches(2_000, batch_size=500))
before = megabytes()
drawn = sum(len(batch) for batch in generator.iter_batches(n, batch_size=500))
assert drawn == n
print(megabytes() - before, megabytes())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="it measures memory as Linux tells it")
def test_streaming_takes_no_more_memory_for_more_images(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", STREAMS, str(saved(tmp_path, sealed(CLASSES))), "200000"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, env=env, capture_output=True, text=True, check=True)
    growth, peak = map(float, done.stdout.split())
    assert growth < 2  # megabytes; all the images would be 2.4, their floats 9.6, their latents 4
    assert peak < 500


@pytest.mark.parametrize("name", ["mnist", "mnist-v1"])
def test_a_bundled_generator_draws_digits(name: str) -> None:
    generator = runtime.load(name)
    assert generator.info.image_shape == (1, 28, 28)
    assert generator.info.num_classes == 10
    images = generator.sample(100)
    np.testing.assert_array_equal(images[:10], generator.sample(10))
    np.testing.assert_array_equal(images, runtime.load(name).sample(100, batch_size=7))
    np.testing.assert_array_equal(images, ganzoo.load(name).sample(100))
    document = runtime.read_metadata(name)
    assert document["generator"]["num_classes"] == 10
    reading = load_judge("mnist").read(to_tensor(images))
    assert (reading.labels.numpy() == generator.labels_for(100)).mean() >= 0.97
    assert Path(bundled.find(name)).stat().st_size <= 1_000_000


def test_a_bundled_name_goes_before_what_lies_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").write_bytes(sealed())
    assert runtime.load("mnist").info.image_shape == (1, 28, 28)  # the name is ganzoo's, whatever lies here
    for path in ("./mnist", Path("mnist")):
        assert runtime.load(path).info.image_shape == SHAPE


@pytest.mark.parametrize("load", [runtime.load, ganzoo.load])
def test_a_word_that_names_nothing_is_told_what_does(load: Any) -> None:
    with pytest.raises(ModelError, match=r"mnst does not exist.*did you mean 'mnist'\? \(bundled: mnist, mnist-v1\)"):
        load("mnst")


# Sizes that depend on computed shapes


def test_a_shape_that_the_graph_computes_is_followed() -> None:
    """As older exporters write `x.view(len(x), 1, 3, 4)`, and as repeat and chunk are written."""
    made = model()
    shape = [
        helper.make_node("Shape", ["t"], ["all"]),
        helper.make_node("Slice", ["all", "zero", "one"], ["first"]),
        helper.make_node("Expand", ["first", "one"], ["n"]),
        helper.make_node("Concat", ["n", "rest"], ["computed"], axis=0),
        helper.make_node("Tile", ["line", "repeats"], ["unused"]),
        helper.make_node("Concat", ["n", "one"], ["repeats"], axis=0),
    ]
    made.graph.node.extend([*shape[:4], shape[5], shape[4], made.graph.node.pop()])
    made.graph.node[-1].input[1] = "computed"
    constants = {"zero": [0], "one": [1], "rest": [1, 3, 4], "line": [[1, 2, 3]]}
    for name, value in constants.items():
        made.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    generator = runtime.load(onnxfile.seal(made.SerializeToString()))
    np.testing.assert_array_equal(generator.sample(5), runtime.load(sealed()).sample(5))


def test_what_is_costly_is_not_computed_while_a_file_is_loaded() -> None:
    made = model()
    made.graph.initializer.append(numpy_helper.from_array(np.eye(12, dtype=np.float32), "eye"))
    between(made, "W", helper.make_node("MatMul", ["W", "eye"], ["same"]))
    made.graph.node[1].input[1] = "same"
    data = onnxfile.seal(made.SerializeToString())
    assert onnxfile.verify(sealed(), "x.onnx").cheap
    assert not onnxfile.verify(data, "x.onnx").cheap
    np.testing.assert_array_equal(runtime.load(data).sample(5), runtime.load(sealed()).sample(5))


# What is missing, cut or altered


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no file .*nothing\.onnx: check the path, or make it with ganzoo export"):
        runtime.load(tmp_path / "nothing.onnx")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a directory"):
        runtime.load(str(tmp_path))


def test_a_path_under_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read"):
        runtime.load(saved(tmp_path, sealed()) / "below.onnx")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with names")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ModelError, match="is not a file"):
        runtime.load(tmp_path / "pipe.onnx")


def test_a_file_beyond_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "generator.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)  # sparse: it takes no room on the disk
    with pytest.raises(ModelError, match=r"has 2,147,483,648 bytes; the limit is 134,217,728 \(128 MiB\)"):
        runtime.load(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n not a model", "is not an ONNX file"),
        (b"\0" * 100, "is not an ONNX file"),
        (helper.make_model(model().graph).SerializeToString(), "was not exported by ganzoo"),
        (model().SerializeToString(), "has no digest: its export was not completed"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(ModelError, match=rf"generator\.onnx {message}"):
        runtime.load(saved(tmp_path, data))


@pytest.mark.parametrize("num_classes", [None, CLASSES])
def test_every_flipped_byte_is_noticed(num_classes: int | None) -> None:
    data = bytearray(sealed(num_classes))
    for position in range(len(data)):
        for mask in (0x01, 0x20, 0xFF):  # 0x20: a digit of the digest in the other case
            data[position] ^= mask
            with pytest.raises(ModelError):
                onnxfile.verify(bytes(data), "x.onnx")
            data[position] ^= mask
    onnxfile.verify(bytes(data), "x.onnx")


@given(st.data())
@settings(deadline=None)
def test_bytes_put_in_or_taken_out_are_noticed(data: st.DataObject) -> None:
    whole = sealed()
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    other = whole[:start] + data.draw(st.binary(max_size=20)) + whole[stop:]
    if other != whole:
        with pytest.raises(ModelError):
            onnxfile.verify(other, "x.onnx")


def test_every_truncation_is_noticed() -> None:
    data = sealed(CLASSES)
    for length in range(len(data)):
        with pytest.raises(ModelError):
            onnxfile.verify(data[:length], "x.onnx")


def test_an_altered_file_is_not_loaded(tmp_path: Path) -> None:
    data = bytearray(sealed())
    data[data.index(weights()[0].tobytes())] ^= 1  # a weight's last bit
    with pytest.raises(ModelError, match="was altered or damaged: its digest does not match"):
        runtime.load(saved(tmp_path, bytes(data)))


# What the metadata may say


def with_document(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(onnxfile.metadata(info(CLASSES)))
    change(document)
    return onnxfile.seal(model(CLASSES, json.dumps(document)).SerializeToString())


def test_a_newer_schema_asks_for_an_upgrade(tmp_path: Path) -> None:
    path = saved(tmp_path, with_document(lambda document: document.update(schema=onnxfile.SCHEMA + 1)))
    for read in (runtime.load, runtime.read_metadata):
        with pytest.raises(ModelError, match=r"newer ganzoo \(schema 4; this one reads up to 3\): upgrade ganzoo"):
            read(path)


@pytest.mark.parametrize("schema", [0, -1, "1", None, True, 1.0])
def test_a_schema_is_a_positive_integer(schema: Any) -> None:
    with pytest.raises(ModelError, match="names no schema"):
        onnxfile.verify(with_document(lambda document: document.update(schema=schema)), "x.onnx")


@pytest.mark.parametrize(
    "fields",
    [
        {"latent_dim": "5"},
        {"latent_dim": 0},
        {"latent_dim": 5.0},
        {"image_shape": [3, 4]},
        {"image_shape": "134"},
        {"image_shape": [1, 3, [4]]},
        {"num_classes": -3},
        {"class_names": ["only one"]},
        {"class_names": {"0": "cat"}},
        {"variant": None},
        {"unknown": 1},
    ],
)
def test_metadata_that_describes_no_generator_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="does not describe its generator"):
        onnxfile.verify(with_document(lambda document: document["generator"].update(fields)), "x.onnx")


@pytest.mark.parametrize("change", [lambda d: d.pop("generator"), lambda d: d.update(generator=[1])])
def test_metadata_without_a_generator_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(ModelError, match="does not describe its generator"):
        onnxfile.verify(with_document(change), "x.onnx")


@pytest.mark.parametrize("document", ["no JSON", "[" * 100_000, "[1]", "null", "1" * 5_000])
def test_metadata_that_is_no_document_is_refused(document: str) -> None:
    with pytest.raises(ModelError, match="is damaged"):
        onnxfile.verify(model(document=document).SerializeToString(), "x.onnx")


def test_two_documents_are_refused() -> None:
    made = model()
    made.metadata_props.add(key="ganzoo", value="{}")
    with pytest.raises(ModelError, match="was not exported by ganzoo"):
        onnxfile.verify(made.SerializeToString(), "x.onnx")


# What a graph may hold


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_graph_is_refused_though_it_is_sealed(tmp_path: Path, name: str) -> None:
    change, message = HOSTILE[name]
    made = model()
    change(made)
    path = saved(tmp_path, onnxfile.seal(made.SerializeToString()))
    with pytest.raises(ModelError, match=f"is refused: .*{message}"):
        runtime.load(path)


@pytest.mark.parametrize(("graph_classes", "info_classes"), [(None, CLASSES), (CLASSES, None)])
def test_labels_are_an_input_just_where_the_metadata_says_so(
    graph_classes: int | None, info_classes: int | None
) -> None:
    made = model(graph_classes, onnxfile.metadata(info(info_classes)))
    with pytest.raises(ModelError, match="its inputs are"):
        onnxfile.verify(onnxfile.seal(made.SerializeToString()), "x.onnx")


@pytest.mark.parametrize("changes", [{"latent_dim": 2**16 + 1}, {"image_shape": [3, 2**12, 2**12]}])
def test_sizes_have_limits(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="beyond the limits"):
        onnxfile.verify(with_document(lambda document: document["generator"].update(changes)), "x.onnx")


def test_a_file_cannot_pass_for_onnxruntimes_own_format(tmp_path: Path) -> None:
    made = model()
    made.producer_name = "ORTM or so"
    data = onnxfile.seal(made.SerializeToString())
    assert data[4:8] == b"ORTM"  # how onnxruntime tells its own format, which nothing here has checked
    assert runtime.load(saved(tmp_path, data)).sample(1).shape == (1, 3, 4, 1)


def test_what_onnxruntime_cannot_load_is_one_clear_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = model()
    between(made, "h", helper.make_node("Cast", ["h"], ["h16"], to=TensorProto.BFLOAT16))
    between(made, "h16", helper.make_node("Tanh", ["h16"], ["t16"]))  # standard, but not for this type on a CPU
    between(made, "t16", helper.make_node("Cast", ["t16"], ["f"], to=TensorProto.FLOAT))
    with pytest.raises(ModelError, match=r"onnxruntime cannot load .*generator\.onnx: .*Tanh") as caught:
        runtime.load(saved(tmp_path, onnxfile.seal(made.SerializeToString())))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_what_onnxruntime_cannot_run_is_one_clear_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = model()
    made.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "three"))
    between(made, "h", helper.make_node("Cast", ["h"], ["i"], to=TensorProto.INT64))
    between(made, "i", helper.make_node("Gather", ["three", "i"], ["g"]))  # there are only three
    generator = runtime.load(saved(tmp_path, onnxfile.seal(made.SerializeToString())))
    with pytest.raises(ModelError, match=r"onnxruntime failed on .*generator\.onnx, batch 2: .*Gather") as caught:
        generator.generate(np.full((2, LATENT_DIM), 9, np.float32))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def between(made: Any, name: str, node: Any) -> None:
    """Put `node`, which takes the value `name`, between it and what took it so far."""
    position = next(index for index, other in enumerate(made.graph.node) if name in other.input)
    taker = made.graph.node[position].input
    taker[list(taker).index(name)] = node.output[0]
    made.graph.node.insert(position, node)


def test_broken_weights_are_noticed(tmp_path: Path) -> None:
    made = model()
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full_like(weights()[0], np.nan), "W"))
    with pytest.raises(ModelError, match="drew NaN or infinity"):
        runtime.load(saved(tmp_path, onnxfile.seal(made.SerializeToString()))).sample(1)


# Without torch

LOADS = """
import sys
if sys.argv[2] == "blocked":
    sys.modules["torch"] = None  # importing it raises
import ganzoo.runtime, ganzoo.runtime.images
assert ganzoo.runtime.load(sys.argv[1]).sample(3).shape == (3, 3, 4, 1)
assert sys.modules.get("torch") is None
"""


@pytest.mark.parametrize("torch", ["blocked", "unused"])
def test_the_runtime_needs_no_torch_and_prints_nothing(tmp_path: Path, torch: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADS, saved(tmp_path, sealed(CLASSES)), torch],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_files_made_here_are_valid_onnx() -> None:
    for num_classes in (None, CLASSES):
        onnx.checker.check_model(onnx.load_model_from_string(sealed(num_classes)), full_check=True)


def test_a_file_does_not_say_where_on_this_machine_to_look() -> None:
    def pointing(document: dict[str, Any]) -> None:
        document["run"] = {"data": {"source": "npz:/somewhere/private.npz", "images": 3}}

    contents = onnxfile.verify(with_document(pointing), "x.onnx")
    assert contents.trained_on == {"source": "npz:private.npz", "images": 3}
