"""`ganzoo benchmark`"""

from typing import Annotated, Any

import typer

from .app import chosen_run, command, print_json, say
from .train import whole_numbers

KINDS = ("runtime",)
WIDTH = 10_000  # characters, of the tables at most: a terminal wraps their lines, but nothing is lost


@command("benchmark")
def benchmark(
    what: Annotated[str, typer.Argument(metavar="|".join(KINDS), help="What is measured: how fast images are drawn.")],
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            show_default="the newest run under runs/",
            help="A run's directory, to set every form beside torch; or .onnx files or mnist, to set beside the first.",
        ),
    ] = None,
    forms: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            show_default="every precision, and every layout in fp32",
            help="Forms to export a run in, such as fp32,int8,uint8,int8-uint8.",
        ),
    ] = None,
    batches: Annotated[str, typer.Option(metavar="N,...", help="Images drawn by one call.")] = "1,8,64,512",
    threads: Annotated[
        int | None, typer.Option(metavar="N", show_default="all cores", help="Threads of torch and of onnxruntime.")
    ] = None,
    seconds: Annotated[float, typer.Option(metavar="S", help="How long a turn is.")] = 0.5,
    repeats: Annotated[
        int, typer.Option(metavar="N", help="Turns at each batch size, and fresh processes for the cold start.")
    ] = 5,
    compile_: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Whether torch.compile takes part: it needs a C++ compiler.")
    ] = True,
    start: Annotated[
        bool, typer.Option("--start/--no-start", help="Whether the time to the first image is taken.")
    ] = True,
    plot: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw images/s by batch size into this PNG file.")
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE", help="Write the JSON into this file too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Measure latency, images/s, size and cold start of every form of a generator, beside torch on the same weights.

    One process, the same latents and threads, taking turns; a form that fails is a row.
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
        print_json(found)
    else:
        _show(found)
    if out is not None:
        write_json(out, found)
    if plot is not None:
        from ganzoo.report.speed import plot as draw

        atomic_write(plot, draw(found))


def _show(found: dict[str, Any]) -> None:
    """Two tables a model, on stdout: what its contestants are, and how fast."""
    from rich.console import Console

    console = Console(highlight=False, width=WIDTH)
    conditions = found["conditions"]
    versions = ", ".join(f"{name} {version}" for name, version in conditions["versions"].items())
    print(
        f"threads: {conditions['threads']} on {conditions['cores']} cores; {conditions['repeats']} turns of "
        f"{conditions['seconds']:g} s; {versions}\n"
        "/ NAME: how many times faster than NAME, the mean of the turns (the least to the greatest)"
    )
    for model in found["models"]:
        print(f"\n{model['model']} ({model['variant']})")
        console.print(_contestants(model))
        console.print(_speeds(model))
        for one in model["contestants"]:
            if one["error"] is not None:
                print(f"{one['name']}: failed: {one['error']}")


def _contestants(model: dict[str, Any]) -> Any:
    table = _table("", "KiB", "nodes", "differs from torch", "first image, s", "by onnxruntime alone, s")
    for one in model["contestants"]:
        start = one["start"] or {}
        first = start.get("file") or start.get("torch")
        table.add_row(
            one["name"],
            f"{one['bytes'] / 1024:,.0f}" if "bytes" in one else "",
            str(one.get("nodes", "")),
            f"{one['difference']:.1e}" if one.get("difference") is not None else "",
            f"{first['from_start']:.2f}" if first else "",
            f"{start['floor']['from_start']:.2f}" if "floor" in start else "",
        )
    return table


def _speeds(model: dict[str, Any]) -> Any:
    """Ratios are means, with the least and the greatest of all repeats."""
    table = _table("", "batch", "p50, ms", "p95, ms", "images/s", *(f"/ {name}" for name in model["references"]))
    for one in model["contestants"]:
        for row in one["batches"]:
            ratios = row["times_faster_than"]
            table.add_row(
                one["name"],
                str(row["batch"]),
                f"{row['p50_ms']:.3f}",
                f"{row['p95_ms']:.3f}",
                f"{row['images_per_s']:,.0f}",
                *(_ratio(ratios[name]) if name in ratios else "" for name in model["references"]),
            )
    return table


def _ratio(value: dict[str, float]) -> str:
    return f"{value['mean']:.2f} ({value['least']:.2f} to {value['greatest']:.2f})"


def _table(*heads: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for index, head in enumerate(heads):
        table.add_column(head, justify="right" if index else "left", no_wrap=True)
    return table
