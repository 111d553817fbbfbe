"""`ganzoo export`"""

import dataclasses
import json
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganzoo.registry import formats
from ganzoo.runtime.forms import LAYOUTS, NOISES, OPSETS, PRECISIONS, Form

from .app import RunArgument, chosen_run, command, print_json, say

if TYPE_CHECKING:
    from ganzoo.runs.format import Exported, ExportedEncoder


@command("export", loads="ganzoo.exporting.exporter")
def export(
    run: Annotated[str | None, RunArgument] = None,
    format_: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="The format: see ganzoo list formats.")
    ] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Short for --format onnx: a verified .onnx file.")] = False,
    web: Annotated[
        str | None,
        typer.Option(
            "--web",
            metavar="DIR",
            help="Short for --format web -o DIR: a page that draws images in the browser, offline.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--out",
            metavar="PATH",
            show_default="RUN/<variant>.onnx or .pt2, by the format",
            help="The file or directory to write.",
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default=Form().precision,
            help=f"Precision of the file: {', '.join(PRECISIONS)}.",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=Form().layout, help=f"Layout of its images: {', '.join(LAYOUTS)}."),
    ] = None,
    opset: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default=", ".join(
                f"{row.opset} in {name}" if row.opset != Form().opset else str(row.opset)
                for name, row in PRECISIONS.items()
                if name == Form().precision or row.opset != Form().opset
            ),
            help=f"Version of the ONNX operators, {OPSETS.start} to {OPSETS.stop - 1}.",
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(NOISES),
            show_default="refuse",
            help="How to export a generator that draws noise itself: with one draw for all images, or with the mean.",
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option(metavar="ema|raw", help="The averaged weights (ema) or the last ones (raw).")
    ] = "ema",
    best: Annotated[bool, typer.Option("--best", help="Use the best evaluated checkpoint, not the newest.")] = False,
    license_: Annotated[
        str | None,
        typer.Option("--license", metavar="TEXT", help="License of the weights, for the metadata, such as CC-BY-4.0."),
    ] = None,
    ort_web: Annotated[
        str | None,
        typer.Option(
            metavar="TGZ", help="Needed the first time that --web is used: the file from npm pack onnxruntime-web."
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Title of the web page; by default the name of the variant.")
    ] = None,
    description: Annotated[
        str | None, typer.Option(metavar="TEXT", help="A line below the web page's title; by default the data set.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Export a run's generator in one of the formats that ganzoo list formats shows, and verify it against torch.

    --onnx and --web DIR can be combined. If the run has an encoder, it is exported to a second .onnx file,
    <FILE>-encoder.onnx.
    """
    form: dict[str, Any] = {"precision": precision, "layout": layout, "opset": opset}
    given: dict[str, Any] = {
        name: value
        for name, value in {
            **form,
            "noise": noise,
            "ort_web": ort_web,
            "title": title,
            "description": description,
        }.items()
        if value is not None
    }
    Form(**{name: value for name, value in given.items() if name in form})  # raises UsageError for an unknown name
    jobs = _jobs(format_, onnx, web, out, given)
    chosen = chosen_run(run, "export")
    from ganzoo.exporting import exporter

    shared: dict[str, Any] = {"weights": weights, "best": best, "license": license_}
    files: dict[str, Exported | ExportedEncoder] = {}
    for name, path, options in jobs:
        file = exporter.export(chosen, path, format=name, **options, **shared)
        encoder = formats[name]().write_encoder(chosen, file.path, **options, **shared)
        files |= {name: file} if encoder is None else {name: file, "encoder": encoder}
    if as_json:
        outcomes = {name: dataclasses.asdict(file) for name, file in files.items()}
        first = outcomes.pop("onnx" if onnx else format_ or "", {})
        print_json({**first, **outcomes})
        return
    for written in files.values():
        _report(written)


def _jobs(
    name: str | None, onnx: bool, web: str | None, out: str | None, given: dict[str, Any]
) -> list[tuple[str, str | None, dict[str, Any]]]:
    """Return the requested formats, each with its path and options. Raises UsageError if options do not fit."""
    from ganzoo.errors import UsageError

    shorthand = onnx or web is not None
    if name is None and not shorthand:
        raise UsageError("name the format: ganzoo export RUN --onnx, --web DIR, or --format NAME (ganzoo list formats)")
    if name is not None and shorthand:
        raise UsageError(
            f"--format {name} and its shorthands --onnx and --web exclude each other: name the format once"
        )
    if name is not None:
        from ganzoo.runs.format import check_options

        check_options(name, formats[name](), given)
        return [(name, out, given)]
    if out is not None and not onnx:
        raise UsageError(f"-o {out} is the path of an .onnx file: add --onnx")
    for option in ("ort_web", "title", "description"):
        if option in given and web is None:
            flag = option.replace("_", "-")
            raise UsageError(f"--{flag} {shlex.quote(given[option])} applies only to a web page: add --web DIR")
    if given.get("layout", Form().layout) != Form().layout and not onnx:
        raise UsageError(f"--layout {given['layout']} is for an .onnx file: add --onnx (a web page has its own layout)")
    asked = [("onnx", out)] * onnx + [("web", web)] * (web is not None)
    return [
        (name, path, {option: value for option, value in given.items() if option in formats[name]().options})
        for name, path in asked
    ]


def _report(file: "Exported | ExportedEncoder") -> None:
    """Print what was written, and the next command to type."""
    from ganzoo.runs.format import Exported

    if isinstance(file, Exported):
        say(_describe(file))
        say(f"next: {formats[file.format]().next.format(path=shlex.quote(str(file.path)))}")
    else:
        say(_describe_encoder(file))
        call = f"import ganzoo; print(ganzoo.load_encoder({json.dumps(str(file.path), ensure_ascii=False)}))"
        say(f"next: python -c {shlex.quote(call)}")


def _describe(exported: "Exported") -> str:
    """Return a line about the written file and its difference from torch."""
    opset = "" if exported.opset is None else f", opset {exported.opset}"
    text = (
        f"{exported.path}: {exported.precision}, {exported.layout}, {exported.size / 1024:,.0f} KiB, "
        f"{exported.nodes} nodes{opset}, differs from torch by at most {exported.difference:.1e} "
        f"({exported.grey_levels} grey levels of 255, {exported.mean_grey_levels:.2g} on average)"
    )
    figure = exported.figure
    return text if figure is None else f"{text}; {figure['name']} {figure['torch']:.2f} -> {figure['file']:.2f}"


def _describe_encoder(exported: "ExportedEncoder") -> str:
    return (
        f"{exported.path}: encoder, fp32, {exported.size / 1024:,.0f} KiB, {exported.nodes} nodes, opset "
        f"{exported.opset}, latents differ from torch by at most {exported.difference:.1e}"
    )
