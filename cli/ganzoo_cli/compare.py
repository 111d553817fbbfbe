"""`ganzoo compare`"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganzoo.training.options import READING_OPTIONS

from .app import chosen_run, command, print_json, say, write
from .flags import given, with_options
from .train import whole_numbers

if TYPE_CHECKING:
    from ganzoo.report.records import ComparisonResults, VariantSummary

MIN_WIDTH = 120  # of the table, in characters


@command("compare", loads="ganzoo.studies.comparison")
@with_options(READING_OPTIONS, after=5)
def compare(
    runs: Annotated[list[str] | None, typer.Argument(metavar="RUN...", help="Runs that are already trained.")] = None,
    variants: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Variants to train, each with the same budget and data.")
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Runs of each variant, with the seeds 0, 1, ...")] = 3,
    dataset: Annotated[
        str, typer.Option(metavar="SOURCE", help="Training data for all variants: see ganzoo list datasets.")
    ] = "auto",
    data_dir: Annotated[
        str | None,
        typer.Option(metavar="DIR", show_default="GANZOO_DATA_DIR, else a cache", help="Directory of the MNIST files."),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="M", show_default="5", help="Budget of each run: minutes of training.")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(metavar="N", help="Budget of each run: passes over the real images.")
    ] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Budget of each run: generator updates.")] = None,
    points: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            show_default="eight, spread over the budget",
            help="When each run is evaluated: in seconds of training with --minutes, else in epochs.",
        ),
    ] = None,
    n: Annotated[int, typer.Option(metavar="N", help="Number of images to evaluate per run.")] = 10_000,
    figures: Annotated[
        str | None, typer.Option(metavar="KEY,KEY,...", show_default="all", help="Metrics to measure, such as fid,cas.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting for every run; repeatable.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default="1; with Ray as many as the cluster can run",
            help="Number of runs trained at the same time; they share the cores.",
        ),
    ] = None,
    executor: Annotated[
        str,
        typer.Option(
            metavar="local|ray",
            help="Train on this machine (local), or with Ray: on the cluster at RAY_ADDRESS, or without RAY_ADDRESS on "
            "this machine. On a cluster, --out must be a directory that all its machines share.",
        ),
    ] = "local",
    out: Annotated[
        str, typer.Option(metavar="DIR", help="A new directory, or the directory of a comparison to continue.")
    ] = "comparison",
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    **options: Any,
) -> None:
    """Train variants, evaluate them and existing runs in the same way, and compare the results.

    An interrupted comparison continues from where it stopped. A failed run is listed with its error. DIR/index.html
    shows the table and the curves. The options from --image-size to --folders control how the images of --dataset are
    read.
    """
    from ganzoo.report import write_comparison
    from ganzoo.report.records import read_results
    from ganzoo.studies.comparison import compare

    results = compare(
        [chosen_run(run, "compare").path for run in runs or ()],
        out=out,
        variants=() if variants is None else variants.split(","),
        jobs=jobs,
        executor=executor,
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
        **given(options),
    )
    page = write_comparison(out)
    if as_json:
        print_json(results)
        return
    _show(read_results(Path(out)))
    say(f"done: {page}")


def _show(results: "ComparisonResults") -> None:
    """Print a table with one row per variant on stdout, and the failed runs."""
    from rich.console import Console
    from rich.table import Table

    from ganzoo.errors import printable
    from ganzoo.evaluation.metrics import FIGURES, title_of

    if results.judge is not None:
        shown = [key for key in ("fid", "label_accuracy", "cas", "classifier_accuracy") if key in results.floors]
        heads = {"fid": printable(title_of("fid", results.judge.name)), "label_accuracy": "label accuracy"}
        heads |= {"cas": "CAS", "classifier_accuracy": "classifier"}
        table = Table(box=None, pad_edge=False)
        table.add_column("variant", no_wrap=True)
        for heading in [*(heads[key] for key in shown), "images/s", "parameters", "ONNX", "ms for 1", "for 64"]:
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_row("real images", *(FIGURES[key].show(results.floors[key]) for key in shown))
        for row in results.table:
            table.add_row(
                printable(f"{row.variant} ({row.failed} failed)" if row.failed else row.variant), *_cells(row, shown)
            )
        console = Console(highlight=False, markup=False, emoji=False)
        console.width = max(console.width, MIN_WIDTH)  # a narrower terminal wraps the lines, but cuts off nothing
        console.print(table)
    for run in results.rows:
        if not run.done:
            write(f"{run.name}: failed: {run.error}")


def _cells(row: "VariantSummary", keys: Sequence[str]) -> list[str]:
    """Return a variant's metrics and costs as text; an empty list if all its runs failed."""
    if not row.runs:
        return []
    means = {key: spread.mean for key, spread in row.spreads.items()}
    return [
        *(_quality(row, key) for key in keys),
        f"{means['images_per_s']:,.0f}",
        f"{means['generator_parameters']:,.0f}",
        f"{means['onnx_bytes'] / 1024:,.0f} KiB",
        *(f"{means[f'latency_ms_{batch}']:.2f}" for batch in (1, 64)),
    ]


def _quality(row: "VariantSummary", key: str) -> str:
    """Return a metric's mean, with its standard deviation if there are several runs."""
    from ganzoo.evaluation.metrics import FIGURES

    if key not in row.spreads:
        return ""
    figure, spread = FIGURES[key], row.spreads[key]
    mean = figure.show(spread.mean)
    return f"{mean} ± {figure.show(spread.deviation)}" if row.runs > 1 else mean
