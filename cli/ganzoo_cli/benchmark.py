"""`ganzoo benchmark`"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import chosen_run, command, print_json, say
from .train import whole_numbers

if TYPE_CHECKING:
    from ganzoo.report.benchmark import BenchmarkRecord, ModelResult, Spread

KINDS = ("runtime",)
WIDTH = 10_000  # maximum width of the tables, in characters: a terminal wraps the lines, but cuts off nothing


@command("benchmark", loads="ganzoo.studies.benchmark")
def benchmark(
    what: Annotated[
        str, typer.Argument(metavar="|".join(KINDS), help="What to measure: runtime is the speed of drawing images.")
    ],
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            show_default="the newest run under runs/",
            help="Directory of a run: compare its forms with torch. Or .onnx files or mnist: compare with the first.",
        ),
    ] = None,
    forms: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            show_default="every precision, every layout in fp32, and fp32-plain",
            help="Forms to export a run in (precision, or precision-layout), such as fp32,int8,int8-uint8; fp32-plain "
            "is fp32 without the rewriting of the graph.",
        ),
    ] = None,
    batches: Annotated[
        str, typer.Option(metavar="N,...", help="Batch sizes: number of images per call.")
    ] = "1,8,64,512",
    threads: Annotated[
        int | None, typer.Option(metavar="N", show_default="all cores", help="Threads of torch and onnxruntime.")
    ] = None,
    seconds: Annotated[float, typer.Option(metavar="S", help="Duration of a turn in seconds.")] = 0.5,
    repeats: Annotated[
        int, typer.Option(metavar="N", help="Number of turns per batch size, and of fresh processes per cold start.")
    ] = 5,
    compile_: Annotated[
        bool,
        typer.Option("--compile/--no-compile", help="Whether to include torch.compile, which needs a C++ compiler."),
    ] = True,
    start: Annotated[
        bool, typer.Option("--start/--no-start", help="Whether to measure the time to the first image.")
    ] = True,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE", help="Plot images/s by batch size and save it as this PNG file.")
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Also write the JSON to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure latency, images/s, size and cold start of each form of a generator, and of torch with the same weights.

    All forms run in one process, in turns, with the same latents and threads. A form that fails is listed with its
    error.
    """
    from ganzoo.errors import UsageError
    from ganzoo.files import atomic_write, write_json
    from ganzoo.registry import nearest

    if what not in KINDS:
        raise UsageError(f"no benchmark '{what}'{nearest(what, list(KINDS))} (one of {', '.join(KINDS)})")
    names = None if forms is None else forms.split(",")
    sizes = whole_numbers(batches, "--batches") or ()
    from ganzoo.studies.benchmark import benchmark_runtime

    found = benchmark_runtime(
        models or [str(chosen_run(None, "benchmark").path)],
        forms=names,
        batches=sizes,
        threads=threads,
        seconds=seconds,
        repeats=repeats,
        compiled=compile_,
        starts=start,
        say=say,
    )
    if as_json:
        print_json(found.to_json())
    else:
        _show(found)
    if out is not None:
        write_json(out, found.to_json())
    if plot is not None:
        from ganzoo.report.speed import plot as draw

        atomic_write(plot, draw(found))


def _show(found: "BenchmarkRecord") -> None:
    """Print two tables per model: the facts about its contestants, and their speed."""
    from rich.console import Console

    console = Console(highlight=False, width=WIDTH)
    conditions = found.conditions
    versions = ", ".join(f"{name} {version}" for name, version in conditions.versions.items())
    print(
        f"threads: {conditions.threads} on {conditions.cores} cores; {conditions.repeats} turns of "
        f"{conditions.seconds:g} s; {versions}\n"
        "/ NAME: how many times faster than NAME, the mean of all turns (minimum to maximum)"
    )
    for model in found.models:
        print(f"\n{model.model} ({model.variant})")
        console.print(_tabulate_contestants(model))
        console.print(_tabulate_speeds(model))
        for one in model.contestants:
            if one.error is not None:
                print(f"{one.name}: failed: {one.error}")


def _tabulate_contestants(model: "ModelResult") -> Any:
    table = _make_table("", "KiB", "nodes", "differs from torch", "first image, s", "with onnxruntime only, s")
    for one in model.contestants:
        start = one.start or {}
        first, floor = start.get("file") or start.get("torch"), start.get("floor")
        table.add_row(
            one.name,
            "" if one.bytes is None else f"{one.bytes / 1024:,.0f}",
            "" if one.nodes is None else str(one.nodes),
            "" if one.difference is None else f"{one.difference:.1e}",
            f"{first.from_start:.2f}" if first else "",
            f"{floor.from_start:.2f}" if floor else "",
        )
    return table


def _tabulate_speeds(model: "ModelResult") -> Any:
    """Return a table of latencies. Ratios are means over all repeats, with the minimum and the maximum."""
    table = _make_table("", "batch", "p50, ms", "p95, ms", "images/s", *(f"/ {name}" for name in model.references))
    for one in model.contestants:
        for row in one.batches:
            table.add_row(
                one.name,
                str(row.batch),
                f"{row.p50_ms:.3f}",
                f"{row.p95_ms:.3f}",
                f"{row.images_per_s:,.0f}",
                *(_format_ratio(row.times_faster_than.get(name)) for name in model.references),
            )
    return table


def _format_ratio(value: "Spread | None") -> str:
    return "" if value is None else f"{value.mean:.2f} ({value.least:.2f} to {value.greatest:.2f})"


def _make_table(*heads: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for index, head in enumerate(heads):
        table.add_column(head, justify="right" if index else "left", no_wrap=True)
    return table
