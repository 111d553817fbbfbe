"""`ganzoo export`"""

import dataclasses
from typing import Annotated

import typer

from .app import RunArgument, chosen_run, command, print_json, say


@command("export")
def export(
    run: Annotated[str | None, RunArgument] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="As one verified .onnx file.")] = False,
    out: Annotated[
        str | None, typer.Option("-o", "--out", metavar="FILE", show_default="RUN/<variant>.onnx", help="The file.")
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="The best evaluated checkpoint, not the newest.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Export a run's generator, verified against torch."""
    from ganzoo.errors import UsageError

    if not onnx:
        raise UsageError("name the format: ganzoo export --onnx")
    chosen = chosen_run(run)
    from ganzoo.exporter import export

    exported = export(chosen, out, best=best)
    if as_json:
        print_json(dataclasses.asdict(exported))
        return
    say(
        f"{exported.path}: {exported.size / 1024:,.0f} KiB, opset {exported.opset}, differs from torch by at most "
        f"{exported.difference:.1e} ({exported.grey_levels} grey levels of 255)"
    )
    say(f"next: ganzoo sample {exported.path} --out digits.png")
