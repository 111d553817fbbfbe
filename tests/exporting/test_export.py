"""Every registered variant as one .onnx file: what is in it, what is not, and that it draws what the run draws."""

import dataclasses
import gc
import importlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from conftest import generator_kind, narrow, one_of_each
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn
from torch.fx.experimental.symbolic_shapes import ShapeEnv

import ganzoo
from ganzoo import runtime, seeds
from ganzoo.config import RunConfig, Spec, Variant
from ganzoo.data.torchvision_compat import load_torchvision
from ganzoo.errors import FileError, MachineError, ModelError, UsageError, VerificationError
from ganzoo.exporting import exporter
from ganzoo.exporting.exporter import Exported, export, prove_again
from ganzoo.exporting.parity import Difference, check_probe
from ganzoo.registry import generators
from ganzoo.runs.opening import generator_info, load_network
from ganzoo.runs.run import Run
from ganzoo.runtime.forms import LAYOUTS, PRECISIONS
from ganzoo.zoo.build import build_generator

ort: Any = importlib.import_module("onnxruntime")  # without types, as in ganzoo.runtime
COUNT = 32
BATCHES = (1, 2, 7, 64)


def images(size: int = 28, channels: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Labelled noise, of ten classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, size, size, channels), dtype=np.uint8)
    return pixels, np.arange(COUNT) % 10


@dataclass(frozen=True, kw_only=True)
class Case:
    """A variant on some images, with settings."""

    variant: str
    settings: tuple[str, ...] = ()
    size: int = 28
    channels: int = 1

    def train(self, out: Path, steps: int = 2) -> Run:
        return ganzoo.train(
            self.variant,
            images(self.size, self.channels),
            out=out,
            steps=steps,
            batch_size=8,
            settings=[*narrow(self.variant), *self.settings],
            progress=False,
        )


CASES = {
    **{name: Case(variant=name) for name in one_of_each(generator_kind)},
    "cgan on dcgan": Case(variant="cgan", settings=("generator.name=dcgan", "discriminator.name=dcgan")),
    "RGB 32": Case(variant="dcgan", size=32, channels=3),
    "RGB 32 conditional": Case(variant="gan", settings=("conditional=true",), size=32, channels=3),
    "odd size": Case(variant="dcgan", size=21),
    "resize-conv": Case(variant="dcgan", settings=("generator={name='resize-conv', width=4}",)),
    "no norm": Case(variant="dcgan", settings=("generator.norm=none",)),
}


# Batch norm behind a sum has no convolution to be folded into, resampling beside a block is a node of its own.
NEEDED = {"resnet": {"BatchNormalization", "Resize"}, "r3gan": {"Resize", "Unsqueeze"}}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A trained and exported case."""

    run: Run
    exported: Exported
    model: Any = field(repr=False)

    @property
    def config(self) -> RunConfig:
        return self.run.config

    @property
    def classes(self) -> int | None:
        """The number of labels that the generator takes."""
        code = self.config.variant.categorical_code
        return code.size if code else self.config.facts.num_classes if self.config.variant.conditional else None


def outcome(run: Run) -> Outcome:
    exported = export(run)
    return Outcome(run=run, exported=exported, model=onnx.load(exported.path))


@pytest.fixture(
    scope="module", params=[name if name == "cgan" else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    chosen: Case = CASES[request.param]
    return outcome(chosen.train(tmp_path_factory.mktemp("case") / "run"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An unconditional run whose averaged weights are not its last ones."""
    return Case(variant="gan", settings=("generator_optimizer.lr=0.02",)).train(tmp_path_factory.mktemp("run") / "run")


# The file


def test_the_file_is_valid_and_alone_at_its_default_path(case: Outcome) -> None:
    path = case.run.path / f"{case.config.run.variant}.onnx"
    assert case.exported.path == path
    assert case.exported.size == path.stat().st_size
    onnx.checker.check_model(onnx.load(path), full_check=True)
    files = {"README.md", "checkpoints", "config.toml", "env.json", "exports", "samples", path.name}
    assert {entry.name for entry in case.run.path.iterdir()} - {"metrics.jsonl"} == files
    assert not any(tensor.external_data for tensor in case.model.graph.initializer)


def test_the_opset_is_pinned_and_standard(case: Outcome) -> None:
    assert [(opset.domain, opset.version) for opset in case.model.opset_import] == [("", exporter.OPSET)]
    assert case.exported.opset == exporter.OPSET == 18
    assert not case.model.functions
    assert {node.domain for node in case.model.graph.node} == {""}


def test_inputs_and_output_have_their_names_types_and_a_free_batch(case: Outcome) -> None:
    def described(value: Any) -> tuple[str, int, list[int | str]]:
        tensor = value.type.tensor_type
        return value.name, tensor.elem_type, [size.dim_param or size.dim_value for size in tensor.shape.dim]

    variant, facts = case.config.variant, case.config.facts
    labels = [("labels", onnx.TensorProto.INT64, ["batch"])] if case.classes else []
    expected = [("z", onnx.TensorProto.FLOAT, ["batch", variant.z_dim]), *labels]
    assert [described(value) for value in case.model.graph.input] == expected
    output = ("images", onnx.TensorProto.FLOAT, ["batch", *(facts.image_shape or ())])
    assert [described(value) for value in case.model.graph.output] == [output]


def test_the_graph_has_nothing_to_spare(case: Outcome) -> None:
    operators = {node.op_type for node in case.model.graph.node}
    assert operators & {"Gemm", "MatMul"}
    spare = {"BatchNormalization", "Resize", "Identity", "Shape", "Cast", "Expand", "Unsqueeze"}
    spare -= NEEDED.get(case.config.variant.generator.name, set())
    assert not operators & spare


def test_no_reshape_has_an_attribute_that_onnx2torch_does_not_read(case: Outcome) -> None:
    reshapes = [node for node in case.model.graph.node if node.op_type == "Reshape"]
    assert not any(node.attribute for node in reshapes)


def test_every_batch_size_runs_in_plain_onnxruntime(case: Outcome) -> None:
    session: Any = ort.InferenceSession(case.exported.path, providers=["CPUExecutionProvider"])
    for size in BATCHES:
        inputs: dict[str, Any] = {"z": generator_info(case.config).latents(3, 0, size)}
        if case.classes:
            inputs["labels"] = np.arange(size) % case.classes
        (drawn,) = session.run(["images"], inputs)
        assert drawn.shape == (size, *(case.config.facts.image_shape or ()))
        assert drawn.dtype == np.float32
        assert np.abs(drawn).max() <= 1


def test_the_metadata_tells_of_the_run(case: Outcome) -> None:
    assert [entry.key for entry in case.model.metadata_props] == ["ganzoo"]
    document = json.loads(case.model.metadata_props[0].value)
    assert document == runtime.read_metadata(case.exported.path)
    codes = case.config.variant.codes
    assert (document["schema"], document["step"], document["weights"]) == (3 if codes else 2, 2, "ema")
    assert (document["precision"], document["layout"], document["opset"]) == ("fp32", "float", exporter.OPSET)
    told = document["latents"]
    assert told["dtype"] == "float32"
    if codes:
        normal, uniform = case.config.variant.latent_dim, case.config.variant.uniform_codes
        assert told["distribution"] == ["standard normal"] * normal + ["uniform in [-1, 1)"] * uniform
        assert told["codes"] == [code.model_dump() for code in codes]
    else:
        assert told == {"distribution": "standard normal", "dtype": "float32"}
    assert document["versions"].keys() == {"ganzoo", "torch", "onnx"}
    assert (document["license"], document["evaluation"], document["figure"]) == (None, None, None)
    assert RunConfig.from_json(json.dumps(document["run"])) == case.config
    facts = case.config.facts
    assert document["generator"] == {
        "variant": case.config.run.variant,
        "latent_dim": case.config.variant.z_dim,
        "image_shape": list(facts.image_shape or ()),
        "num_classes": case.classes,
        "class_names": None,
        **({"code": codes[0].name, "uniform_codes": case.config.variant.uniform_codes} if codes else {}),
    }
    about = {"source": "array", "sha256": facts.sha256, "images": COUNT, "folders": "auto"}
    assert document["data"] == about
    assert (document["parity"]["batches"], document["parity"]["latents"]) == (list(BATCHES), 1000)
    assert document["parity"]["difference"] == case.exported.difference
    assert document["parity"]["grey_levels"] == case.exported.grey_levels <= 1
    assert 0 <= case.exported.difference <= PRECISIONS["fp32"].difference
    assert case.exported.nodes == len(case.model.graph.node)


def test_the_runs_configuration_is_in_the_file_but_nothing_of_this_machine(tmp_path: Path) -> None:
    pixels, labels = images()
    source = tmp_path / "private place" / "digits.npz"
    source.parent.mkdir()
    np.savez(source, images=pixels[..., 0], labels=labels)
    run = ganzoo.train(
        "cgan",
        f"npz:{source}",
        out=tmp_path / "run",
        steps=1,
        batch_size=8,
        data_dir=source.parent,
        settings=narrow("cgan"),
        progress=False,
    )
    export(run)
    content = (run.path / "cgan.onnx").read_bytes()
    told = runtime.read_metadata(run.path / "cgan.onnx")["run"]
    assert (told["data"]["source"], told["data"]["data_dir"]) == ("npz:digits.npz", None)
    assert told["facts"]["sha256"] == run.config.facts.sha256
    packages = Path(torch.__file__).parents[1]
    for place in (Path.cwd(), Path.home(), packages, Path(ganzoo.__path__[0]), tmp_path, source.parent):
        if place != Path(place.anchor):
            assert str(place).encode() not in content, place
    for word in (b"private place", b"site-packages", b"Traceback", b".py"):
        assert word not in content
    for part in (case_model := onnx.load(run.path / "cgan.onnx")).graph.node:
        assert not part.doc_string
        assert not part.metadata_props
    assert not case_model.doc_string


# What it draws


def test_torch_and_the_file_draw_the_same_images(case: Outcome) -> None:
    run, path = case.run.path, case.exported.path
    drawn = [load(place).sample(70, seed=5) for load, place in [(ganzoo.load, run), (ganzoo.load, path)]]
    ours, theirs = (images.astype(np.int16) for images in drawn)
    assert ours.std() > 0
    assert np.abs(ours - theirs).max() <= 1
    np.testing.assert_array_equal(drawn[1], runtime.load(path).sample(70, seed=5))


def test_labels_reach_the_file(case: Outcome) -> None:
    generator = runtime.load(case.exported.path)
    if case.classes is None:
        assert generator.info.num_classes is None
        return
    ours, theirs = (ganzoo.load(case.run).sample(20, labels=y, seed=1).astype(np.int16) for y in (3, 4))
    assert np.abs(ours - theirs).max() > 1
    assert np.abs(generator.sample(20, labels=3, seed=1) - ours).max() <= 1
    assert np.abs(generator.sample(20, labels=4, seed=1) - theirs).max() <= 1


def test_the_averaged_weights_are_the_ones_exported(trained: Run) -> None:
    checkpoint = trained.latest_checkpoint()
    raw, averaged = build_generator(trained.config), build_generator(trained.config)
    tensors = checkpoint.tensors("objective")
    raw.load_state_dict({k.removeprefix("generator."): v for k, v in tensors.items() if k.startswith("generator.")})
    averaged.load_state_dict(checkpoint.tensors("ema"))
    z = seeds.latents(0, trained.config.variant.latent_dim, 0, 16)
    with torch.no_grad():
        last, mean = (network.eval()(torch.from_numpy(z)).numpy() for network in (raw, averaged))
    exported = runtime.load(export(trained).path).generate(z)
    assert np.abs(exported - mean).max() <= PRECISIONS["fp32"].difference
    assert np.abs(exported - last).max() > 100 * PRECISIONS["fp32"].difference


@pytest.mark.slow
def test_the_newest_checkpoint_is_the_one_exported(trained: Run, tmp_path: Path) -> None:
    run = Case(variant="gan", settings=("train.checkpoint_every=1",)).train(tmp_path / "run")
    before = runtime.read_metadata(export(run, tmp_path / "before.onnx").path)
    ganzoo.resume(run, steps=3, dataset=images(), progress=False)
    after = runtime.read_metadata(export(run, tmp_path / "after.onnx").path)
    assert (before["step"], after["step"]) == (2, 3)


# A generator that the file cannot stand for


class Network(nn.Module):
    """One linear layer; what it does with the images is for the subclasses."""

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, num_classes: int | None) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(latent_dim, 784), nn.Tanh(), nn.Unflatten(1, image_shape))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.body(z)
        return self.changed(images)

    def changed(self, images: Tensor) -> Tensor:
        return images


class Moody(Network):
    """Draws something else while it is exported."""

    def changed(self, images: Tensor) -> Tensor:
        return images / 2 if torch.compiler.is_exporting() else images


class Noisy(Network):
    """Draws its own noise, so that no two draws are the same."""

    def changed(self, images: Tensor) -> Tensor:
        return 0.9 * images + 0.1 * torch.rand_like(images)


class Broken(Network):
    """Draws what is not a number while it is exported."""

    def changed(self, images: Tensor) -> Tensor:
        return images.sub(2).log() if torch.compiler.is_exporting() else images


class Counting(Network):
    """Takes the size of the batch for a constant."""

    def changed(self, images: Tensor) -> Tensor:
        return images * torch.ones(int(images.shape[0]), 1, 1, 1)


class Branching(Network):
    """Looks at the values to decide what to do."""

    def changed(self, images: Tensor) -> Tensor:
        return images if images.sum() > 0 else -images


UNFAITHFUL = {
    "moody": (Moody, r"differs from the run's by \d.*grey levels"),
    "noisy": (Noisy, "generator 'noisy' draws random noise in its forward.*--noise constant"),
    "broken": (Broken, "NaN or infinity"),
    "counting": (
        Counting,
        "generator 'counting' cannot be translated: its forward makes the batch size a constant",
    ),
    "branching": (Branching, "generator 'branching' cannot be translated: .*data-dependent"),
}


@pytest.fixture
def unfaithful(request: pytest.FixtureRequest, tmp_path: Path, registries: None) -> Run:
    name: str = request.param
    generators.register(name)(UNFAITHFUL[name][0])
    variant = Variant(generator=Spec(name), discriminator=Spec("mlp", width=8))
    return ganzoo.train(variant, images()[0], out=tmp_path / "run", steps=1, batch_size=8, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("unfaithful", "message"), [(name, message) for name, (_, message) in UNFAITHFUL.items()], indirect=["unfaithful"]
)
def test_a_file_that_does_not_draw_the_same_is_not_written(unfaithful: Run, message: str, tmp_path: Path) -> None:
    former = tmp_path / "former.onnx"
    former.write_bytes(b"what was there before")
    entries = sorted(unfaithful.path.rglob("*"))
    for path in (None, former):
        with pytest.raises(VerificationError, match=message) as caught:
            export(unfaithful, path)
        assert "\n" not in str(caught.value)
    assert sorted(unfaithful.path.rglob("*")) == entries
    assert former.read_bytes() == b"what was there before"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["former.onnx", "run"]


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_difference_above_the_bound_is_refused_and_said_where(
    trained: Run, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = dataclasses.replace(PRECISIONS[precision], difference=-1.0)
    monkeypatch.setitem(PRECISIONS, precision, strict)
    with pytest.raises(VerificationError, match=r"at most -1e.*most at latent \d+, channel 0, row \d+, column \d+"):
        export(trained, trained.path / "refused.onnx", precision=precision)
    assert not (trained.path / "refused.onnx").exists()


# Paths


@pytest.mark.slow
def test_a_run_is_named_by_a_path_or_an_object(trained: Run, tmp_path: Path) -> None:
    exported = export(trained, tmp_path / "new" / "directory" / "x.onnx")
    assert exported.path.read_bytes() == export(str(trained.path), tmp_path / "no suffix").path.read_bytes()


@pytest.mark.slow
def test_an_older_file_is_replaced(trained: Run, tmp_path: Path) -> None:
    path = tmp_path / "old.onnx"
    path.write_bytes(b"old")
    export(trained, str(path))
    assert runtime.load(path).info.variant == "gan"
    assert [entry.name for entry in tmp_path.iterdir()] == ["old.onnx"]


@pytest.mark.slow
def test_a_path_that_cannot_be_written_is_the_machines_fault(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MachineError, match=r"cannot write .*file/x\.onnx: a part of the path is a file"):
        export(trained, tmp_path / "file" / "x.onnx")


def test_what_is_no_run_is_not_exported(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is not a run"):
        export(tmp_path)


@pytest.mark.slow
def test_exporting_leaves_torch_as_it_was(trained: Run, tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    network, _, _ = load_network(trained)
    export(trained, tmp_path / "x.onnx")
    assert torch.equal(torch.rand(3), expected)
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, dtype)
    assert torch.is_grad_enabled()
    assert not network.training


# Forms


Files = Callable[[str, str], Exported]  # of a precision and a layout
FEW_FORMS = [*((precision, "float") for precision in PRECISIONS), *(("fp32", layout) for layout in LAYOUTS)]
ALL_FORMS = [(precision, layout) for precision in PRECISIONS for layout in LAYOUTS]


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A conditional run of convolutions, trained enough that its classes differ."""
    settings = ("generator={name='dcgan', width=8}", "discriminator={name='dcgan', width=8}")
    return Case(variant="cgan", settings=settings).train(tmp_path_factory.mktemp("digits") / "run", steps=20)


@pytest.fixture(scope="module")
def files(digits: Run) -> Files:
    """The forms of that run, each exported once."""
    return cache(lambda precision, layout: export(digits, precision=precision, layout=layout))


def assert_draws_the_same(run: Run, exported: Exported, precision: str, layout: str) -> None:
    """The file's bytes and floats are those of the run, within the precision's bounds, and what the layout says."""
    bounds, row = PRECISIONS[precision], LAYOUTS[layout]
    generator, original = runtime.load(exported.path), ganzoo.load(run)
    ours, theirs = (each.sample(100, seed=9).astype(np.int16) for each in (generator, original))
    assert ours.shape == theirs.shape
    assert theirs.std() > 0
    assert np.abs(ours - theirs).max() <= bounds.greatest
    assert np.abs(ours - theirs).mean() <= bounds.mean
    z = seeds.latents(9, generator.info.latent_dim, 0, 7)
    floats = generator.generate(z, generator.labels_for(7))
    assert floats.dtype == np.float32
    assert floats.shape == (7, *generator.info.image_shape)
    assert np.abs(floats - original.generate(z, generator.labels_for(7))).max() <= bounds.difference + 1 / 255
    session: Any = ort.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    labels = {"labels": generator.labels_for(3)} if generator.info.conditional else {}
    (drawn,) = session.run(None, {"z": z[:3], **labels})
    assert (drawn.dtype, drawn.shape) == (row.dtype, (3, *row.shape(generator.info.image_shape)))
    document = runtime.read_metadata(exported.path)
    assert (document["precision"], document["layout"]) == (precision, layout)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "layout"), FEW_FORMS)
def test_a_form_draws_what_the_run_draws(digits: Run, files: Files, precision: str, layout: str) -> None:
    exported = files(precision, layout)
    unusual = {precision, layout} - {"fp32", "float"}
    assert exported.path.name == "-".join(["cgan", *unusual]) + ".onnx"
    assert_draws_the_same(digits, exported, precision, layout)


@pytest.mark.full
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("variant", one_of_each(generator_kind))
def test_every_kind_of_generator_is_exported_in_every_form(
    variant: str, size: int, channels: int, tmp_path: Path
) -> None:
    run = Case(variant=variant, size=size, channels=channels).train(tmp_path / "run")
    for precision, layout in ALL_FORMS:
        if (variant, precision) == ("r3gan", "int8"):  # near its start it draws sums of wide ranges that nearly cancel
            with pytest.raises(VerificationError, match=r"on average .*: use --precision fp16 or fp32$"):
                export(run, precision=precision, layout=layout)
            continue
        assert_draws_the_same(run, export(run, precision=precision, layout=layout), precision, layout)


@pytest.mark.slow
def test_fewer_bits_take_less_room(files: Files) -> None:
    sizes = [files(precision, "float").size for precision in ("fp32", "fp16", "int8")]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.slow
def test_half_weights_take_half_the_room_and_are_computed_with_in_float32(digits: Run, files: Files) -> None:
    whole, halved = (files(precision, "float") for precision in ("fp32", "fp16-weights"))
    graph = onnx.load(halved.path).graph
    weights = sum(math.prod(tensor.dims) for tensor in graph.initializer)
    assert whole.size - halved.size == pytest.approx(2 * weights, rel=0.1)
    halves = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    casts = [node for node in graph.node if node.input[0] in halves]
    assert {node.op_type for node in casts} == {"Cast"}
    assert {attribute.i for node in casts for attribute in node.attribute} == {onnx.TensorProto.FLOAT}
    images = [runtime.load(file.path).sample(100, seed=1).astype(int) for file in (whole, halved)]
    assert abs(images[0] - images[1]).max() <= 2


@pytest.mark.slow
def test_8_bits_are_used_where_they_pay(files: Files) -> None:
    graph = onnx.load(files("int8", "float").path).graph
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    products = [node for node in graph.node if node.op_type in ("Gemm", "Conv", "ConvTranspose")]
    assert not [node for node in products if node.op_type == "ConvTranspose"]  # onnxruntime has none of 8 bits
    for node in products:
        assert types[made_by[node.input[1]].input[0]] == onnx.TensorProto.INT8
    quantized = [made_by.get(node.input[0]) for node in products]
    assert [node is not None and node.op_type == "DequantizeLinear" for node in quantized] == [False, True, True, True]


@pytest.mark.slow
def test_8_bits_are_of_an_opset_that_onnxs_own_evaluator_runs(digits: Run, files: Files, tmp_path: Path) -> None:
    exported = files("int8", "float")
    z, labels = seeds.latents(9, 64, 0, 3), np.arange(3)
    drawn: Any = ReferenceEvaluator(str(exported.path)).run(None, {"z": z, "labels": labels})
    np.testing.assert_allclose(drawn[0], runtime.load(exported.path).generate(z, labels), atol=1e-4)
    assert exported.opset == onnx.load(exported.path).opset_import[0].version == 21
    assert export(digits, tmp_path / "x.onnx", precision="int8", opset=18).opset == 18  # if it is asked for


@pytest.mark.slow
@pytest.mark.parametrize("opset", [17, 23])
def test_other_opsets_draw_the_same(trained: Run, opset: int, tmp_path: Path) -> None:
    exported = export(trained, tmp_path / "x.onnx", opset=opset)
    assert [(entry.domain, entry.version) for entry in onnx.load(exported.path).opset_import] == [("", opset)]
    assert_draws_the_same(trained, exported, "fp32", "float")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"precision": "int9"},
            r"no precision 'int9'; did you mean 'int8'\? \(one of fp32, fp16, fp16-weights, int8\)",
        ),
        ({"layout": "bgr"}, r"no layout 'bgr'.*one of float, uint8, uint8-nchw, rgb"),
        ({"opset": 7}, "opset 7: expected one from 17 to 23"),
        ({"weights": "best"}, "no weights 'best'"),
    ],
)
def test_a_form_that_there_is_not_is_told(trained: Run, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        export(trained, **options)


@pytest.mark.slow
def test_the_last_weights_are_exported_where_they_are_asked_for(trained: Run, tmp_path: Path) -> None:
    exported = export(trained, tmp_path / "raw.onnx", weights="raw", license="CC-BY-4.0")
    z = seeds.latents(0, trained.config.variant.latent_dim, 0, 16)
    raw, _, _ = load_network(trained, weights="raw")
    with torch.no_grad():
        expected = raw(torch.from_numpy(z)).numpy()
    np.testing.assert_allclose(runtime.load(exported.path).generate(z), expected, atol=1e-4)
    assert np.abs(ganzoo.load(trained).generate(z) - expected).max() > 0.01
    document = runtime.read_metadata(exported.path)
    assert (document["weights"], document["license"]) == ("raw", "CC-BY-4.0")


@pytest.mark.slow
def test_what_the_judge_says_is_told_of_the_weights_that_were_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporter, "FIGURE_IMAGES", 200)
    run = ganzoo.train("gan", "mnist-5k", out=tmp_path / "run", steps=1, settings=narrow("gan"), progress=False)
    ganzoo.evaluate(run, n=200, seeds=1, figures=["fid", "classes"])
    exported = export(run, precision="int8")
    told, figure = (runtime.read_metadata(exported.path)[key] for key in ("evaluation", "figure"))
    assert told["figures"].keys() == {"fid", "classes"}
    assert told["figures"]["fid"].keys() == {"mean", "floor"}
    assert told["judge"]["name"] == "MNIST"
    assert figure == exported.figure
    assert figure["images"] == 200
    assert figure["torch"] > 0
    assert figure["file"] == pytest.approx(figure["torch"], rel=0.2)
    assert runtime.read_metadata(export(run, weights="raw").path)["evaluation"] is None


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes_in_another_process(digits: Run, files: Files, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ganzoo_cli", "export", str(digits.path), "--onnx"]
    subprocess.run(
        [*command, "--precision", "int8", "-o", str(tmp_path / "other.onnx")],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        check=True,
    )
    assert (tmp_path / "other.onnx").read_bytes() == files("int8", "float").path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("conditional", [False, True])
def test_torch_fidelity_reads_our_files(
    trained: Run, digits: Run, files: Files, conditional: bool, tmp_path: Path
) -> None:
    load_torchvision()  # before torch_fidelity, which imports it
    from torch_fidelity.generative_model_onnx import GenerativeModelONNX

    run = digits if conditional else trained
    path = files("fp32", "rgb").path if conditional else export(run, tmp_path / "x.onnx", layout="rgb").path
    info = runtime.load(path).info
    model = GenerativeModelONNX(str(path), info.latent_dim, "normal", info.num_classes or 0)  # type: ignore[no-untyped-call]
    z, labels = torch.from_numpy(seeds.latents(4, info.latent_dim, 0, 5)), torch.arange(5)
    drawn = model(z, labels) if conditional else model(z)
    assert (drawn.dtype, tuple(drawn.shape)) == (torch.uint8, (5, 3, 28, 28))
    expected = ganzoo.load(run).sample(5, labels=list(range(5)) if conditional else None, seed=4)
    assert np.abs(drawn[:, 1].numpy().astype(np.int16) - expected[..., 0]).max() <= 1
    assert torch.equal(drawn[:, 0], drawn[:, 2])


# Proven again


def proven_again(exported: Exported, run: Run) -> Difference:
    return prove_again(runtime.load(exported.path), runtime.read_metadata(exported.path), run)


@pytest.mark.slow
def test_a_file_is_proven_again_beside_its_run(digits: Run, files: Files) -> None:
    exported = files("int8", "float")
    found = proven_again(exported, digits)
    assert (found.difference, found.grey_levels) == (exported.difference, exported.grey_levels)


@pytest.mark.slow
def test_a_file_of_another_run_is_told(trained: Run, digits: Run, tmp_path: Path) -> None:
    exported = export(trained, tmp_path / "x.onnx")
    with pytest.raises(FileError, match="has no checkpoint of step 2"):
        proven_again(exported, digits)
    other = Case(variant="gan", settings=("generator_optimizer.lr=0.01",)).train(tmp_path / "other")
    with pytest.raises(VerificationError, match="differs from the run's"):
        proven_again(exported, other)


@pytest.mark.slow
def test_a_file_knows_what_it_drew(digits: Run, files: Files) -> None:
    for precision, layout in (("fp32", "uint8"), ("int8", "float")):
        path = files(precision, layout).path
        document, generator = runtime.read_metadata(path), runtime.load(path)
        assert check_probe(generator, document) == 0
        document["probe"]["values"][3][5] += 1
        with pytest.raises(VerificationError, match="draws other images here than where it was exported"):
            check_probe(generator, document)
        for broken in ("x", {}, {"values": [[1], [1, 2]]}, {"values": [["a"]]}, [1]):
            with pytest.raises(ModelError, match="record no pixels that can be compared"):
                check_probe(generator, {**document, "probe": broken})
        with pytest.raises(ModelError, match=r"do not name a precision \(fp32, fp16, fp16-weights, int8\)"):
            check_probe(generator, {**document, "precision": [1]})
        for key, useless in (("step", None), ("weights", [])):
            with pytest.raises(ModelError, match="do not record which weights of its run it has"):
                prove_again(generator, {**document, key: useless}, digits)
        del document["probe"]
        assert check_probe(generator, document) is None


def test_an_export_leaves_nothing_of_its_trace(tmp_path: Path) -> None:
    """Else a process that exports again and again grows without end: what torch keeps of a trace holds itself."""
    run = CASES["cgan on dcgan"].train(tmp_path / "run")

    def traces() -> int:
        gc.collect()
        return sum(isinstance(one, ShapeEnv) and bool(vars(one)) for one in gc.get_objects())

    before = traces()
    for number in range(2):
        export(run, tmp_path / f"model-{number}.onnx")
    assert traces() == before
