"""A run's generator as a file, in a format of the table; and as verified .onnx files, with its encoder.

An .onnx file has a layout and a precision of `ganzoo.runtime.forms`.
Its inputs are `z` float32 [batch, latent_dim] and, where conditional, `labels` int64 [batch]; its output is `images`.
Before the file gets its name it is checked by onnx, loaded as anybody would load it, compared with torch on the trained
weights, and sealed with its own SHA-256. The same run gives the same bytes.
"""

import contextlib
import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from ganzoo import runtime
from ganzoo.compute.device import float32_by_default
from ganzoo.config import READING, RunConfig
from ganzoo.errors import FileError, GanzooError, MachineError, ModelError, UsageError, VerificationError, first_line
from ganzoo.exporting import conversion, trial
from ganzoo.exporting.lean import lean
from ganzoo.exporting.parity import (
    Difference,
    compare_encoders,
    draws_nothing,
    precision_of,
    probe,
    probe_encoder,
    proof_size,
    prove,
)
from ganzoo.exporting.preparing import fix_noise, fold
from ganzoo.exporting.tracing import forget
from ganzoo.exporting.web import write as write_page
from ganzoo.files import atomic_write
from ganzoo.registry import formats
from ganzoo.runs.format import Exported as Exported
from ganzoo.runs.format import ExportedEncoder as ExportedEncoder
from ganzoo.runs.format import check_options
from ganzoo.runs.opening import WEIGHTS, as_encoder, as_generator, generator_info, load_network
from ganzoo.runs.records import ExportRecord
from ganzoo.runs.run import Run, file_name
from ganzoo.runs.vouching import sign
from ganzoo.runtime.encoder import Encoder
from ganzoo.runtime.forms import LAYOUTS, PRECISIONS, Form
from ganzoo.runtime.generator import Generator, GeneratorInfo, chunk_size
from ganzoo.runtime.guard.onnxgraph import Refused
from ganzoo.runtime.onnxfile import METADATA_KEY, metadata, seal
from ganzoo.seeds import derive
from ganzoo.zoo.build import image_shape
from ganzoo.zoo.networks.fused import fuse

OPSET = Form().opset
CALIBRATION_LATENTS = 1024
FIGURE_IMAGES = 5000
GROUPED = re.compile(r"target=torch\.ops\.aten\._?conv.*, %\w+\), kwargs")  # whose last argument, groups, is computed


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """The bytes of a verified file, and what is told of them."""

    data: bytes
    nodes: int
    step: int
    weights: str
    parity: Difference
    figure: dict[str, Any] | None  # the Fréchet distances of torch's images and the file's, where both were judged


def export(
    run: str | Path | Run,
    path: str | Path | None = None,
    *,
    format: str = "onnx",  # noqa: A002  # as the command calls it
    precision: str | None = None,
    layout: str | None = None,
    opset: int | None = None,
    noise: str | None = None,
    weights: str = "ema",
    best: bool = False,
    license: str | None = None,  # noqa: A002  # as the metadata call it
    ort_web: str | Path | None = None,
) -> Exported:
    """Export the newest (or `best`, see `Run.best_checkpoint`) checkpoint of a run; `path` is by default in the run.

    The run keeps a record of it (`Run.record_export`). None is a format's default; what it does not take is refused.

    Args:
        run: a run or its directory.
        path: the file or directory; an older one is replaced.
        format: a name of `ganzoo list formats`.
        precision: what the file computes with, one of `ganzoo.runtime.forms.PRECISIONS`.
        layout: what its images are, one of `ganzoo.runtime.forms.LAYOUTS`.
        opset: the version of the standard operators, by default 18, and 21 in int8.
        noise: what becomes of noise that the generator draws in its forward: `constant`, one draw of it for all images,
            or `none`, its mean. Such a generator is refused without it; for others it changes nothing.
        weights: `ema`, the averaged ones, or `raw`, the last ones.
        best: the best evaluated checkpoint instead of the newest.
        license: under which the weights are given to others, for the metadata.
        ort_web: for a web page, the .tgz that `npm pack` makes of onnxruntime-web, which is needed the first time.

    Raises FileError for a run that cannot be read, VerificationError for a file that does not draw what the run draws
    (nothing is written then), UsageError for an unknown format or form, MachineError for a path that cannot be written.
    """
    row = formats[format]()
    given = {"precision": precision, "layout": layout, "opset": opset, "noise": noise, "ort_web": ort_web}
    options = {name: value for name, value in given.items() if value is not None}
    check_options(format, row, options)
    run = run if isinstance(run, Run) else Run.open(run)
    target = None if path is None else Path(path)
    written: Exported = row.write(run, target, weights=weights, best=best, license=license, **options)
    exported = dataclasses.replace(written, format=format)
    with contextlib.nullcontext() if row.vouched else contextlib.suppress(MachineError):  # a run may be read-only
        signature = {"signature": sign(exported.sha256)} if row.vouched else {}
        run.record_export(ExportRecord.model_validate({**exported.record(), **signature}))
    return exported


def export_web(
    run: str | Path | Run,
    directory: str | Path,
    *,
    precision: str | None = None,
    opset: int | None = None,
    noise: str | None = None,
    weights: str = "ema",
    best: bool = False,
    license: str | None = None,  # noqa: A002
    ort_web: str | Path | None = None,
) -> Exported:
    """Export a run as a page that draws in the browser, offline: `export` in the format `web`, with its errors."""
    return export(
        run,
        directory,
        format="web",
        precision=precision,
        opset=opset,
        noise=noise,
        weights=weights,
        best=best,
        license=license,
        ort_web=ort_web,
    )


def write_onnx(
    run: Run,
    path: Path | None,
    *,
    noise: str | None = None,
    weights: str = "ema",
    best: bool = False,
    license: str | None = None,  # noqa: A002
    **options: Any,
) -> Exported:
    """Write one .onnx file; `options` are those of a `Form`."""
    form = Form(**options)
    target = path or run.path / f"{file_name(run.config)}{form.suffix}.onnx"
    rendered = render(run, form, noise=noise, weights=weights, best=best, license=license)
    atomic_write(target, rendered.data)
    return _exported(rendered, form, target)


def write_web(
    run: Run,
    directory: Path,
    *,
    noise: str | None = None,
    weights: str = "ema",
    best: bool = False,
    license: str | None = None,  # noqa: A002
    ort_web: str | Path | None = None,
    **options: Any,
) -> Exported:
    """Write a page that draws in the browser; see `ganzoo.exporting.web.write`."""
    form = Form(layout="uint8", **options)
    rendered = render(run, form, noise=noise, weights=weights, best=best, license=license)
    return _exported(rendered, form, write_page(directory, rendered.data, ort_web=ort_web))


@float32_by_default()
def export_encoder(
    run: str | Path | Run,
    path: str | Path | None = None,
    *,
    opset: int = OPSET,
    noise: str | None = None,
    weights: str = "ema",
    best: bool = False,
    license: str | None = None,  # noqa: A002
) -> ExportedEncoder:
    """Export a run's encoder as one verified .onnx file: `images` float32 [batch, C, H, W] in, `z` out.

    `path` is by default `<variant>-encoder.onnx` in the run; other arguments and errors are those of `export`.
    `ganzoo.load_encoder` opens it, with torch and without.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    network, config, step = load_network(run, best=best, weights=weights, role="encoder")
    whose = f"the encoder of '{config.run.variant}'"
    network = fix_noise(network, config, "encoder", noise, whose)
    original = as_encoder(network, config, torch.device("cpu"))
    info = original.info
    inputs = {"images": torch.zeros(2, *info.image_shape)}
    if info.has_classes:
        inputs["labels"] = torch.arange(2) % (info.num_classes or 1)
    model = _translated(network, inputs, "z", opset, whose)
    about = {**describe(run, config, step, weights, license, noise), "part": "encoder"}
    data = _complete(model, Form(opset=opset), info, about)
    _tried_out(model, data)
    with _refused("encoder"):
        file = runtime.load_encoder(data)
    difference = compare_encoders(file, original, config.train.seed)
    count, batches = proof_size(info)
    parity = {"batches": list(batches), "images": count, "difference": difference}
    proof = {"parity": parity, "probe": probe_encoder(file)}
    data = _complete(model, Form(opset=opset), info, {**about, **proof})
    target = Path(path) if path is not None else run.path / f"{file_name(config)}-encoder.onnx"
    atomic_write(target, data)
    return ExportedEncoder(
        path=target,
        size=len(data),
        nodes=len(model.graph.node),
        opset=opset,
        weights=weights,
        step=step,
        difference=difference,
    )


def _exported(rendered: Rendered, form: Form, path: Path) -> Exported:
    parity = rendered.parity
    return Exported(
        path=path,
        size=len(rendered.data),
        sha256=hashlib.sha256(rendered.data).hexdigest(),
        nodes=rendered.nodes,
        **dataclasses.asdict(form),
        weights=rendered.weights,
        step=rendered.step,
        difference=parity.difference,
        grey_levels=parity.grey_levels,
        mean_grey_levels=parity.mean_grey_levels,
        figure=rendered.figure,
    )


@float32_by_default()
def render(
    run: Run,
    form: Form,
    *,
    noise: str | None = None,
    weights: str = "ema",
    best: bool = False,
    license: str | None = None,  # noqa: A002
    judged: bool = True,
    rewrite: bool = True,
) -> Rendered:
    """Return the bytes that `export` writes, with what is known of them. Arguments and errors are those of `export`.

    Args:
        judged: whether a judge is asked what fewer bits cost.
        rewrite: whether the graph is rewritten (`ganzoo.exporting.lean`). The benchmark compares it with one that is
            not, which is verified alike.
    """
    network, config, step = load_network(run, best=best, weights=weights)
    channels = image_shape(config)[0]
    if LAYOUTS[form.layout].rgb and channels > 3:
        raise UsageError(
            f"layout '{form.layout}' is for grey and RGB images, and these have {channels} channels: export another "
            "layout, such as uint8"
        )
    network = fix_noise(network, config, "generator", noise, _name(config))
    fuse(network, False)  # layers as they are defined: what is computed as one is decided in the graph
    original = as_generator(network, config, torch.device("cpu"))
    exact = translate(network, config, form.opset)
    exact = lean(exact) if rewrite else exact
    model = onnx.ModelProto()
    model.CopyFrom(exact)
    model = getattr(conversion, PRECISIONS[form.precision].convert)(model, _calibration(original.info))
    conversion.lay_out(model, LAYOUTS[form.layout], original.info.image_shape)
    plain, about = Form(opset=form.opset), describe(run, config, step, weights, license, noise)
    file, empty = _opened(exact, _complete(exact, plain, original.info, about))
    parity = prove(file, original, PRECISIONS["fp32"], config.train.seed)
    if form != plain:  # what was translated is right; now what was made of it
        file, empty = _opened(model, _complete(model, form, original.info, about))
        parity = prove(file, original, PRECISIONS[form.precision], config.train.seed)
    count, batches = proof_size(original.info)
    figure = _figure(config, original, file) if judged and form.precision != "fp32" else None
    proof = {
        "parity": {"batches": list(batches), "latents": count, "empty": empty, **dataclasses.asdict(parity)},
        "probe": probe(file),
    }
    return Rendered(
        data=_complete(model, form, original.info, {**about, **proof, "figure": figure}),
        nodes=len(model.graph.node),
        step=step,
        weights=weights,
        parity=parity,
        figure=figure,
    )


# The graph


def translate(network: nn.Module, config: RunConfig, opset: int) -> onnx.ModelProto:
    """Return a generator as an ONNX model, with a batch of any size."""
    info = generator_info(config)
    inputs = {"z": torch.from_numpy(info.latents(0, 0, 2))}  # 2: a size of 1 would be taken for a constant
    if info.num_classes is not None:
        inputs["labels"] = torch.arange(2) % info.num_classes
    return _translated(network, inputs, "images", opset, _name(config))


def _name(config: RunConfig) -> str:
    return f"generator '{config.variant.generator.name}'"


def _translated(
    network: nn.Module, inputs: dict[str, torch.Tensor], output: str, opset: int, whose: str
) -> onnx.ModelProto:
    batch = torch.export.Dim("batch", min=1)
    try:
        with conversion.quiet():
            program = torch.onnx.export(
                fold(network),
                tuple(inputs.values()),
                dynamo=True,
                opset_version=opset,
                input_names=list(inputs),
                output_names=[output],
                dynamic_shapes=tuple({0: batch} for _ in inputs),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = first_line(error.__cause__ or error)
        if GROUPED.search(reason):
            raise VerificationError(
                f"{whose} cannot be translated: it has a convolution in as many groups as there are images, and in "
                "ONNX that number is fixed; scale the activations in place of the weights, conv(x * style, weight) * "
                "demodulation, which draws the same, or take --format pt2"
            ) from error
        raise VerificationError(
            f"{whose} cannot be translated: {reason}; its forward must be torch operations alone, the same ones "
            "whatever the values and the batch size"
        ) from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    forget(program.exported_program)
    if any(value.type.tensor_type.shape.dim[0].HasField("dim_value") for value in model.graph.input):
        raise VerificationError(
            f"{whose} cannot be translated: its forward takes the batch size for a constant, as len(x) and "
            "int(x.shape[0]) do; write x.shape[0], or -1 in a view"
        )
    _drop_allowzero(model.graph)
    return model


def _drop_allowzero(graph: onnx.GraphProto) -> None:
    """Remove an attribute of Reshape where it means nothing, as no size is 0: onnx2torch reads no graph that has it."""
    shapes = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if len(tensor.dims) == 1}
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in shapes and shapes[node.input[1]].all():
            del node.attribute[:]


def _complete(model: onnx.ModelProto, form: Form, info: GeneratorInfo, about: dict[str, Any]) -> bytes:
    """The bytes of a checked model with its metadata, sealed with their SHA-256."""
    complete = onnx.ModelProto()
    complete.CopyFrom(model)
    strip(complete, about.get("part", "generator"))
    onnx.helper.set_model_props(complete, {METADATA_KEY: metadata(info, {**dataclasses.asdict(form), **about})})
    try:
        onnx.checker.check_model(complete, full_check=True)
    except onnx.checker.ValidationError as error:
        raise VerificationError(f"the exported {complete.graph.name} is not valid ONNX: {first_line(error)}") from error
    return seal(complete.SerializeToString(deterministic=True))


def strip(model: onnx.ModelProto, part: str = "generator") -> None:
    """Nodes carry stack traces with absolute paths of the machine that exported them: leave nothing but the graph."""
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]
    del graph.value_info[:]  # shapes that inference finds again
    graph.name, model.producer_name, model.producer_version = part, "ganzoo", version("torch-ganzoo")


def _calibration(info: GeneratorInfo) -> Iterator[dict[str, NDArray[Any]]]:
    """Latents of the generator's own, with every label in turn, but not those that it is then judged on."""
    seed = derive(0, "calibration")
    size = chunk_size(info.image_shape)
    for start in range(0, min(CALIBRATION_LATENTS, proof_size(info)[0] + size), size):
        z = info.latents(seed, start, start + size)
        labels = {} if info.num_classes is None else {"labels": np.arange(start, start + size) % info.num_classes}
        yield {"z": z, **labels}


# What the file tells


def describe(
    run: Run,
    config: RunConfig,
    step: int,
    weights: str,
    license: str | None,  # noqa: A002
    noise: str | None,
) -> dict[str, Any]:
    """Return what the metadata record, except what running the file finds out; of a path only the last part."""
    source, colon, argument = config.data.source.partition(":")
    public = config.with_data(source=source + colon + PurePath(argument).name, data_dir=None).with_facts(
        note=None, notes=()
    )
    if config.train.start_from is not None:
        public = public.with_train(start_from=PurePath(config.train.start_from).name)
    return {
        "latents": _latents(config),
        "weights": weights,
        "step": step,
        "license": license,
        **({} if noise is None else {"noise": noise}),
        "data": {
            "source": public.data.source,
            "sha256": public.facts.sha256,
            "images": public.facts.images,
            "folders": public.data.folders,  # which former versions did not record, as they read all in one way
            **public.data.model_dump(include={*READING} - {"image_size", "channels"}, exclude_defaults=True),
        },
        "versions": {"ganzoo": version("torch-ganzoo"), "torch": torch.__version__, "onnx": onnx.__version__},
        "evaluation": _evaluation(run, step, weights),
        "run": public.model_dump(mode="json"),
    }


def _latents(config: RunConfig) -> dict[str, Any]:
    """How z is distributed: each column of its own where codes are among them."""
    variant = config.variant
    told = {"distribution": "standard normal", "dtype": "float32"}
    if not variant.codes:
        return told
    columns = ["standard normal"] * variant.latent_dim
    for code in variant.codes:
        columns += ["uniform in [-1, 1)"] * (code.size if code.kind == "uniform" else 0)
    return {**told, "distribution": columns, "codes": [code.model_dump(mode="json") for code in variant.codes]}


def _evaluation(run: Run, step: int, weights: str) -> dict[str, Any] | None:
    """What `ganzoo evaluate` found of these very weights, in short."""
    found = run.read_evaluation()
    if found is None or found.step != step or weights != "ema":
        return None
    return {
        "judge": found.judge.to_json(),
        "n": found.n,
        "seeds": found.seeds,
        "figures": {key: {"mean": figure.mean, "floor": figure.floor} for key, figure in found.figures.items()},
        "verdict": found.verdict.word,
    }


# The proof


def _opened(model: onnx.ModelProto, data: bytes) -> tuple[Generator, bool]:
    """Return the file as anybody would open it, and True if its graph draws an empty batch too."""
    empty = _tried_out(model, data)
    with _refused("generator"):
        file = runtime.load(data)
    return file, draws_nothing(file) if empty is None else empty


def _tried_out(model: onnx.ModelProto, data: bytes) -> bool | None:
    """Return what `trial.try_out` finds of a graph that may crash onnxruntime; None if it is not needed."""
    return None if trial.is_harmless(model) else trial.try_out(data)


@contextlib.contextmanager
def _refused(part: str) -> Iterator[None]:
    """Have an error of the runtime be one of the export, without the runtime's advice."""
    try:
        yield
    except FileError as error:
        reason = error.__cause__ if isinstance(error.__cause__, Refused) else error
        raise VerificationError(f"the exported {part} cannot be used: {reason}; nothing was written") from error


@float32_by_default()
def prove_again(file: Generator, document: Mapping[str, Any], run: str | Path | Run) -> Difference:
    """Compare an exported file, opened, with the run that it was made from once more, by what its metadata say.

    Raises ModelError for metadata that do not tell, FileError where the run has no checkpoint of the file's step,
    VerificationError as `export` does.
    """
    network, config = _weights_of(document, run, "generator")
    fuse(network, False)
    original = as_generator(network, config, torch.device("cpu"))
    _check_same(file.info, original.info, run)
    proven = document.get("parity")
    if isinstance(proven, dict) and proven.get("empty") is True and not draws_nothing(file):
        raise VerificationError("the file draws no empty batch here, as its metadata say that it does")
    return prove(file, original, precision_of(document), config.train.seed)


@float32_by_default()
def prove_encoder_again(file: Encoder, document: Mapping[str, Any], run: str | Path | Run) -> float:
    """Return how far an encoder's file is from the run that it was made from. Errors are those of `prove_again`."""
    network, config = _weights_of(document, run, "encoder")
    original = as_encoder(network, config, torch.device("cpu"))
    _check_same(file.info, original.info, run)
    return compare_encoders(file, original, config.train.seed)


def _weights_of(document: Mapping[str, Any], run: str | Path | Run, role: str) -> tuple[nn.Module, RunConfig]:
    """The network of the weights that a file's metadata name."""
    step, weights = document.get("step"), document.get("weights", "ema")
    if not isinstance(step, int) or weights not in WEIGHTS:
        raise ModelError("the file's metadata do not tell which weights of its run it has: export it again")
    run = run if isinstance(run, Run) else Run.open(run)
    network, config, _ = load_network(run, weights=weights, step=step, role=role)
    return fix_noise(network, config, role, document.get("noise"), f"the {role}"), config


def _check_same(file: GeneratorInfo, original: GeneratorInfo, run: str | Path | Run) -> None:
    if original != file:
        where = run.path if isinstance(run, Run) else run
        raise FileError(f"the file was not exported from {where}: they take or draw different things")


def _figure(config: RunConfig, original: Generator, file: Generator) -> dict[str, Any] | None:
    """The Fréchet distance of torch's images and of the file's, where the data and a judge of them are at hand."""
    from ganzoo import data
    from ganzoo.evaluation.evaluator import as_subject
    from ganzoo.evaluation.judge import load_judge
    from ganzoo.evaluation.metrics import frechet_distance

    try:
        source, place = config.data.source, config.data.data_dir
        judge = load_judge(source, place, sha256=config.facts.sha256)
        test = data.load(source, data_dir=place, split="test", download=False, **config.data.reading)
    except GanzooError:
        return None
    if test.image_shape != original.info.image_shape:
        return None
    real = judge.read(test.images).features
    distances = [
        frechet_distance(real, judge.read(as_subject(generator, "").draw(0, FIGURE_IMAGES)[0]).features)
        for generator in (original, file)
    ]
    name = f"Fréchet distance by the judge {judge.name}"
    return {"name": name, "images": FIGURE_IMAGES, "torch": distances[0], "file": distances[1]}
