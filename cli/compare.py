"""`ganzoo compare`"""

from typing import Annotated, Any

import typer

from .app import command, print_json, say
from .train import whole_numbers


@command("compare")
def compare(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="Runs that are trained already.")] = None,
    variants: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Variants to train, with the same budget and data.")
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Runs of each variant, with the seeds 0, 1, ...")] = 3,
    dataset: Annotated[
        str, typer.Option(metavar="SOURCE", help="What they are trained on: see ganzoo list datasets.")
    ] = "auto",
    data_dir: Annotated[
        str | None, typer.Option(metavar="DIR", show_default="GANZOO_DATA_DIR, else a cache", help="Where MNIST lies.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(metavar="M", show_default="5", help="Budget of a run: time.")] = None,
    epochs: Annotated[float | None, typer.Option(metavar="N", help="Budget: passes of the real images.")] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Budget: generator updates.")] = None,
    points: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            show_default="eight, spread over the budget",
            help="When runs are judged: seconds of training for --minutes, else epochs.",
        ),
    ] = None,
    n: Annotated[int, typer.Option(metavar="N", help="How many images are judged.")] = 10_000,
    figures: Annotated[
        str | None, typer.Option(metavar="KEY,KEY,...", show_default="all", help="Which figures, such as fid,cas.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting of every run; repeatable.")
    ] = None,
    jobs: Annotated[int, typer.Option(metavar="N", help="Runs trained at a time; they share the cores.")] = 1,
    out: Annotated[
        str, typer.Option(metavar="DIR", help="A new directory, or that of a comparison to go on with.")
    ] = "comparison",
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Train variants, judge them and given runs in one way, and set them side by side.

    It goes on where it was stopped; a run that fails is a row. DIR/index.html shows the table and the curves.
    """
    from ganzoo.comparison import compare
    from ganzoo.report import write_comparison

    results = compare(
        runs or (),
        out=out,
        variants=() if variants is None else variants.split(","),
        jobs=jobs,
        say=say,
        seeds=seeds,
        dataset=dataset,
        data_dir=data_dir,
        minutes=minutes,
        epochs=epochs,
        steps=steps,
        points=whole_numbers(points, "--points"),
        n=n,
        figures=None if figures is None else tuple(figures.split(",")),
        settings=tuple(settings or ()),
    )
    page = write_comparison(out)
    if as_json:
        print_json(results)
        return
    _show(results)
    say(f"done: {page}")


def _show(results: dict[str, Any]) -> None:
    """A row a variant, on stdout."""
    from rich.console import Console
    from rich.table import Table

    from ganzoo.evaluation.metrics import FIGURES, title_of

    if results["judge"] is None:
        for row in results["rows"]:
            print(f"{row['name']}: failed: {row['error']}")
        return
    shown = [key for key in ("fid", "label_accuracy", "cas") if key in results["floors"]]
    table = Table(box=None, pad_edge=False)
    table.add_column("variant")
    for heading in [
        *(title_of(key, results["judge"]["name"]) for key in shown),
        "images/s",
        "parameters",
        "ONNX",
        "latency (1, 64)",
    ]:
        table.add_column(heading, justify="right")
    table.add_row("real images", *(FIGURES[key].show(results["floors"][key]) for key in shown), *[""] * 4)
    for row in results["table"]:
        failed = f" ({row['failed']} failed)" if row["failed"] else ""
        if not row["runs"]:
            table.add_row(f"{row['variant']}{failed}")
            continue
        quality = [
            f"{FIGURES[key].show(row[key]['mean'])} ± {FIGURES[key].show(row[key]['deviation'])}" if key in row else ""
            for key in shown
        ]
        latency = ", ".join(f"{row[f'latency_ms_{batch}']['mean']:.2f} ms" for batch in (1, 64))
        table.add_row(
            f"{row['variant']}{failed}",
            *quality,
            f"{row['images_per_s']['mean']:,.0f}",
            f"{row['generator_parameters']['mean']:,.0f}",
            f"{row['onnx_bytes']['mean'] / 1024:,.0f} KiB",
            latency,
        )
    Console(soft_wrap=True, highlight=False).print(table)
    for row in results["rows"]:
        if row["status"] == "failed":
            print(f"{row['name']}: failed: {row['error']}")
