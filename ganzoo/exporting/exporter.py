"""Export of a run's generator in any registered format, and of generators and encoders as verified .onnx files.

An .onnx file has a layout and a precision of `ganzoo.runtime.forms`.
Its inputs are `z` float32 [batch, latent_dim] and, if conditional, `labels` int64 [batch]; its output is `images`.
Before the file is written under its name, it is checked by onnx, loaded by `ganzoo.runtime`, compared with torch on the
trained weights, and sealed with its own SHA-256. The same run gives the same bytes.
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
GROUPED = re.compile(r"target=torch\.ops\.aten\._?conv.*, %\w+\), kwargs")  # the last argument, groups, is computed


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """The bytes of a verified file, and facts about them."""

    data: bytes
    nodes: int
    step: int
    weights: str
    parity: Difference
    figure: dict[str, Any] | None  # Fréchet distances of torch's and the file's images; None if not measured


def export(
    run: str | Path | Run,
    path: str | Path | None = None,
    *,
    format: str = "onnx",  # noqa: A002  # named as the option of the command
    precision: str | None = None,
    layout: str | None = None,
    opset: int | None = None,
    noise: str | None = None,
    weights: str = "ema",
    best: bool = False,
    license: str | None = None,  # noqa: A002  # named as in the metadata
    ort_web: str | Path | None = None,
    title: str | None = None,
    description: str | None = None,
) -> Exported:
    """Export the newest (or `best`, see `Run.best_checkpoint`) checkpoint of a run; by default `path` is in the run.

    The run records the export (`Run.record_export`). None means the format's default; an option that the format does
    not have raises UsageError.

    Args:
        run: a run or its directory.
        path: the file or directory to write; an existing one is replaced.
        format: a name of `ganzoo list formats`.
        precision: the arithmetic of the file, one of `ganzoo.runtime.forms.PRECISIONS`.
        layout: data type and axis order of its images, one of `ganzoo.runtime.forms.LAYOUTS`.
        opset: the version of the standard operators, by default 18, and 21 for int8.
        noise: how to fix noise that the generator draws in its forward: `constant` uses one draw for all images,
            `none` uses the mean. Required for such a generator, without effect on others.
        weights: `ema` for the averaged weights, `raw` for the last ones.
        best: export the best evaluated checkpoint instead of the newest.
        license: the license of the weights, for the metadata.
        ort_web: for a web page, the .tgz that `npm pack` makes of onnxruntime-web; needed the first time.
        title, description: for a web page, the texts at its top and in previews of its address; plain text.

    Raises FileError if the run cannot be read, VerificationError if the file does not draw what the run draws (nothing
    is written then), UsageError for an unknown format or form, MachineError if the path cannot be written.
    """
    row = formats[format]()
    given = {"precision": precision, "layout": layout, "opset": opset, "noise": noise, "ort_web": ort_web}
    given |= {"title": title, "description": description}
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
    title: str | None = None,
    description: str | None = None,
) -> Exported:
    """Export a run as a web page that draws offline: `export` with the format `web`. Errors are those of `export`."""
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
        title=title,
        description=description,
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
    """Write one .onnx file; `options` are the arguments of `Form`."""
    form = Form(**options)
    target = path or run.path / f"{file_name(run.config)}{form.suffix}.onnx"
    rendered = render(run, form, noise=noise, weights=weights, best=best, license=license)
    atomic_write(target, rendered.data)
    return _describe_export(rendered, form, target)


def write_web(
    run: Run,
    directory: Path,
    *,
    noise: str | None = None,
    weights: str = "ema",
    best: bool = False,
    license: str | None = None,  # noqa: A002
    ort_web: str | Path | None = None,
    title: str | None = None,
    description: str | None = None,
    **options: Any,
) -> Exported:
    """Write a page that draws in the browser; see `ganzoo.exporting.web.write`."""
    form = Form(layout="uint8", **options)
    rendered = render(run, form, noise=noise, weights=weights, best=best, license=license)
    page = write_page(directory, rendered.data, ort_web=ort_web, title=title, description=description)
    return _describe_export(rendered, form, page)


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
    """Export a run's encoder to one verified .onnx file with input `images` float32 [batch, C, H, W] and output `z`.

    `path` is by default `<variant>-encoder.onnx` in the run; other arguments and errors are those of `export`.
    `ganzoo.load_encoder` opens the file, with or without torch.
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
    model = _translate_network(network, inputs, "z", opset, whose)
    about = {**describe(run, config, step, weights, license, noise), "part": "encoder"}
    data = _complete(model, Form(opset=opset), info, about)
    _try_out(model, data)
    with _convert_errors("encoder"):
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


def _describe_export(rendered: Rendered, form: Form, path: Path) -> Exported:
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
    """Return the bytes that `export` writes, and facts about them. Arguments and errors are those of `export`.

    Args:
        judged: whether a judge measures the cost of a lower precision.
        rewrite: whether the graph is rewritten (`ganzoo.exporting.lean`). The benchmark compares it with a graph that
            is not rewritten, and is verified in the same way.
    """
    network, config, step = load_network(run, best=best, weights=weights)
    channels = image_shape(config)[0]
    if LAYOUTS[form.layout].rgb and channels > 3:
        raise UsageError(
            f"layout '{form.layout}' is for grey and RGB images, but these have {channels} channels: export another "
            "layout, such as uint8"
        )
    network = fix_noise(network, config, "generator", noise, _name(config))
    fuse(network, False)  # layers as they are defined: the graph's rewrites decide what is fused
    original = as_generator(network, config, torch.device("cpu"))
    exact = translate(network, config, form.opset)
    exact = lean(exact) if rewrite else exact
    model = onnx.ModelProto()
    model.CopyFrom(exact)
    model = getattr(conversion, PRECISIONS[form.precision].convert)(model, _calibration(original.info))
    conversion.lay_out(model, LAYOUTS[form.layout], original.info.image_shape)
    plain, about = Form(opset=form.opset), describe(run, config, step, weights, license, noise)
    file, empty = _open_file(exact, _complete(exact, plain, original.info, about))
    parity = prove(file, original, PRECISIONS["fp32"], config.train.seed)
    if form != plain:  # the translation is verified; now verify what it was converted to
        file, empty = _open_file(model, _complete(model, form, original.info, about))
        parity = prove(file, original, PRECISIONS[form.precision], config.train.seed)
    count, batches = proof_size(original.info)
    figure = _compare_distances(config, original, file) if judged and form.precision != "fp32" else None
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
    """Return a generator as an ONNX model with a free batch size."""
    info = generator_info(config)
    inputs = {"z": torch.from_numpy(info.latents(0, 0, 2))}  # 2: torch would treat a size of 1 as a constant
    if info.num_classes is not None:
        inputs["labels"] = torch.arange(2) % info.num_classes
    return _translate_network(network, inputs, "images", opset, _name(config))


def _name(config: RunConfig) -> str:
    return f"generator '{config.variant.generator.name}'"


def _translate_network(
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
                f"{whose} cannot be translated: it has a convolution with one group per image, and ONNX needs a fixed "
                "number of groups; scale the activations instead of the weights, conv(x * style, weight) * "
                "demodulation, which draws the same, or use --format pt2"
            ) from error
        raise VerificationError(
            f"{whose} cannot be translated: {reason}; its forward must use only torch operations, and the same "
            "ones for all values and batch sizes"
        ) from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    forget(program.exported_program)
    if any(value.type.tensor_type.shape.dim[0].HasField("dim_value") for value in model.graph.input):
        raise VerificationError(
            f"{whose} cannot be translated: its forward makes the batch size a constant, as len(x) and "
            "int(x.shape[0]) do; write x.shape[0], or -1 in a view"
        )
    _drop_allowzero(model.graph)
    return model


def _drop_allowzero(graph: onnx.GraphProto) -> None:
    """Remove an attribute of Reshape if it has no effect, as no size is 0: onnx2torch reads no graph that has it."""
    shapes = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer if len(tensor.dims) == 1}
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in shapes and shapes[node.input[1]].all():
            del node.attribute[:]


def _complete(model: onnx.ModelProto, form: Form, info: GeneratorInfo, about: dict[str, Any]) -> bytes:
    """Return the bytes of a checked model with its metadata, sealed with their SHA-256."""
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
    """Remove all but the graph: nodes contain stack traces with absolute paths of the machine that exported them."""
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        item.doc_string = ""
        del item.metadata_props[:]
    del graph.value_info[:]  # shapes that inference computes again
    graph.name, model.producer_name, model.producer_version = part, "ganzoo", version("torch-ganzoo")


def _calibration(info: GeneratorInfo) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the generator's latents, with every label in turn, but not those that it is then verified on."""
    seed = derive(0, "calibration")
    size = chunk_size(info.image_shape)
    for start in range(0, min(CALIBRATION_LATENTS, proof_size(info)[0] + size), size):
        z = info.latents(seed, start, start + size)
        labels = {} if info.num_classes is None else {"labels": np.arange(start, start + size) % info.num_classes}
        yield {"z": z, **labels}


# The metadata


def describe(
    run: Run,
    config: RunConfig,
    step: int,
    weights: str,
    license: str | None,  # noqa: A002
    noise: str | None,
) -> dict[str, Any]:
    """Return the metadata, except what running the file finds out; of a path only the last part is recorded."""
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
            "folders": public.data.folders,  # older versions read all folders in one way, and did not record it
            **public.data.model_dump(include={*READING} - {"image_size", "channels"}, exclude_defaults=True),
        },
        "versions": {"ganzoo": version("torch-ganzoo"), "torch": torch.__version__, "onnx": onnx.__version__},
        "evaluation": _evaluation(run, step, weights),
        "run": public.model_dump(mode="json"),
    }


def _latents(config: RunConfig) -> dict[str, Any]:
    """Return the distribution of z: one for all columns, or if there are codes, one per column."""
    variant = config.variant
    told = {"distribution": "standard normal", "dtype": "float32"}
    if not variant.codes:
        return told
    columns = ["standard normal"] * variant.latent_dim
    for code in variant.codes:
        columns += ["uniform in [-1, 1)"] * (code.size if code.kind == "uniform" else 0)
    return {**told, "distribution": columns, "codes": [code.model_dump(mode="json") for code in variant.codes]}


def _evaluation(run: Run, step: int, weights: str) -> dict[str, Any] | None:
    """Return a summary of what `ganzoo evaluate` measured of these weights; None if it did not."""
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


# The verification


def _open_file(model: onnx.ModelProto, data: bytes) -> tuple[Generator, bool]:
    """Return the file as `ganzoo.runtime` opens it, and True if its graph draws an empty batch too."""
    empty = _try_out(model, data)
    with _convert_errors("generator"):
        file = runtime.load(data)
    return file, draws_nothing(file) if empty is None else empty


def _try_out(model: onnx.ModelProto, data: bytes) -> bool | None:
    """Return the result of `trial.try_out` for a graph that may crash onnxruntime; None if a trial is not needed."""
    return None if trial.is_harmless(model) else trial.try_out(data)


@contextlib.contextmanager
def _convert_errors(part: str) -> Iterator[None]:
    """Turn an error of the runtime into one of the export, without the runtime's advice."""
    try:
        yield
    except FileError as error:
        reason = error.__cause__ if isinstance(error.__cause__, Refused) else error
        raise VerificationError(f"the exported {part} cannot be used: {reason}; nothing was written") from error


@float32_by_default()
def prove_again(file: Generator, document: Mapping[str, Any], run: str | Path | Run) -> Difference:
    """Compare an opened file again with the run that it was exported from; its metadata name the weights.

    Raises ModelError if the metadata do not, FileError if the run has no checkpoint of the file's step,
    VerificationError as `export` does.
    """
    network, config = _weights_of(document, run, "generator")
    fuse(network, False)
    original = as_generator(network, config, torch.device("cpu"))
    _check_same(file.info, original.info, run)
    proven = document.get("parity")
    if isinstance(proven, dict) and proven.get("empty") is True and not draws_nothing(file):
        raise VerificationError("the file draws no empty batch here, but its metadata record that it does")
    return prove(file, original, precision_of(document), config.train.seed)


@float32_by_default()
def prove_encoder_again(file: Encoder, document: Mapping[str, Any], run: str | Path | Run) -> float:
    """Return the greatest difference of an encoder file's latents from its run's. Errors are those of `prove_again`."""
    network, config = _weights_of(document, run, "encoder")
    original = as_encoder(network, config, torch.device("cpu"))
    _check_same(file.info, original.info, run)
    return compare_encoders(file, original, config.train.seed)


def _weights_of(document: Mapping[str, Any], run: str | Path | Run, role: str) -> tuple[nn.Module, RunConfig]:
    """Return the network with the weights that a file's metadata name, and its configuration."""
    step, weights = document.get("step"), document.get("weights", "ema")
    if not isinstance(step, int) or weights not in WEIGHTS:
        raise ModelError("the file's metadata do not record which weights of its run it has: export it again")
    run = run if isinstance(run, Run) else Run.open(run)
    network, config, _ = load_network(run, weights=weights, step=step, role=role)
    return fix_noise(network, config, role, document.get("noise"), f"the {role}"), config


def _check_same(file: GeneratorInfo, original: GeneratorInfo, run: str | Path | Run) -> None:
    if original != file:
        where = run.path if isinstance(run, Run) else run
        raise FileError(f"the file was not exported from {where}: their inputs or images are different")


def _compare_distances(config: RunConfig, original: Generator, file: Generator) -> dict[str, Any] | None:
    """Return the Fréchet distances of torch's and the file's images; None without the data or their judge."""
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
