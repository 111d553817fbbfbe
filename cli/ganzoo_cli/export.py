"""`ganzoo export`"""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganzoo.runtime.forms import LAYOUTS, OPSETS, PRECISIONS, Form

from .app import RunArgument, chosen_run, command, print_json, say

if TYPE_CHECKING:
    from ganzoo.exporting.exporter import Exported, ExportedEncoder


@command("export")
def export(
    run: Annotated[str | None, RunArgument] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="As one verified .onnx file.")] = False,
    web: Annotated[
        str | None, typer.Option("--web", metavar="DIR", help="As a page that draws in the browser, offline.")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", metavar="FILE", show_default="RUN/<variant>.onnx", help="The .onnx file."),
    ] = None,
    precision: Annotated[
        str, typer.Option(metavar="|".join(PRECISIONS), help="What the file computes with.")
    ] = Form().precision,
    layout: Annotated[
        str, typer.Option(metavar="NAME", help=f"What its images are: {', '.join(LAYOUTS)}.")
    ] = Form().layout,
    opset: Annotated[
        int, typer.Option(metavar="N", help=f"The version of the operators, {OPSETS.start} to {OPSETS.stop - 1}.")
    ] = Form().opset,
    weights: Annotated[str, typer.Option(metavar="ema|raw", help="The averaged weights, or the last ones.")] = "ema",
    best: Annotated[bool, typer.Option("--best", help="The best evaluated checkpoint, not the newest.")] = False,
    license_: Annotated[
        str | None, typer.Option("--license", metavar="TEXT", help="Of the weights, for the metadata: CC-BY-4.0.")
    ] = None,
    ort_web: Annotated[
        str | None,
        typer.Option(metavar="TGZ", help="With --web, the first time: what npm pack made of onnxruntime-web."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Export a run's generator, verified against torch: as an .onnx file, as a web page, or both.

    The encoder of a run that has one becomes a second .onnx file, <FILE>-encoder.onnx.
    """
    from ganzoo.errors import UsageError

    Form(precision=precision, layout=layout, opset=opset)  # an unknown one is told before anything is looked for
    if not onnx and web is None:
        raise UsageError("name the format: ganzoo export --onnx, --web DIR, or both")
    if out is not None and not onnx:
        raise UsageError(f"-o {out} names the .onnx file: add --onnx")
    if ort_web is not None and web is None:
        raise UsageError(f"--ort-web {ort_web} is for a web page: add --web DIR")
    if layout != Form().layout and not onnx:
        raise UsageError(f"--layout {layout} is for the .onnx file: add --onnx (a web page has its own)")
    chosen = chosen_run(run)
    from ganzoo.exporting import exporter

    options: dict[str, Any] = {"precision": precision, "opset": opset, "weights": weights, "best": best}
    options["license"] = license_
    file = exporter.export(chosen, out, layout=layout, **options) if onnx else None
    encoder = None
    if file is not None and chosen.config.variant.encoder is not None:
        path = file.path.with_name(f"{file.path.stem}-encoder{file.path.suffix}")
        shared = {key: value for key, value in options.items() if key != "precision"}  # an encoder's is float32
        encoder = exporter.export_encoder(chosen, path, **shared)
    page = exporter.export_web(chosen, web, ort_web=ort_web, **options) if web is not None else None
    if as_json:
        outcome = {} if file is None else dataclasses.asdict(file)
        parts = {"encoder": encoder, "web": page}
        print_json({**outcome, **{key: dataclasses.asdict(part) for key, part in parts.items() if part is not None}})
        return
    if file is not None:
        say(_describe(file))
        say(f"next: ganzoo sample {file.path} --out digits.png, ganzoo info {file.path}, ganzoo verify {file.path}")
    if encoder is not None:
        say(_describe_encoder(encoder))
        say(f"next: python -c 'import ganzoo; print(ganzoo.load_encoder(\"{encoder.path}\"))'")
    if page is not None:
        say(_describe(page))
        say(f"next: python -m http.server -d {page.path}, and open the address that it prints")


def _describe(exported: "Exported") -> str:
    """What was written, and how near it is to torch."""
    text = (
        f"{exported.path}: {exported.precision}, {exported.layout}, {exported.size / 1024:,.0f} KiB, "
        f"{exported.nodes} nodes, opset {exported.opset}, differs from torch by at most {exported.difference:.1e} "
        f"({exported.grey_levels} grey levels of 255, {exported.mean_grey_levels:.2g} in the mean)"
    )
    figure = exported.figure
    return text if figure is None else f"{text}; {figure['name']} {figure['torch']:.2f} -> {figure['file']:.2f}"


def _describe_encoder(exported: "ExportedEncoder") -> str:
    return (
        f"{exported.path}: the encoder, fp32, {exported.size / 1024:,.0f} KiB, {exported.nodes} nodes, opset "
        f"{exported.opset}, its latents differ from torch's by at most {exported.difference:.1e}"
    )
