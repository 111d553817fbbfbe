"""`ganzoo evaluate`"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganzoo.training.options import READING_OPTIONS

from .app import chosen_run, command, print_json, say, write
from .flags import given, with_options

if TYPE_CHECKING:
    from ganzoo.evaluation.evaluator import Evaluation


@command("evaluate", loads="ganzoo.evaluation.evaluator")
@with_options(READING_OPTIONS, after=6)
def evaluate(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|FILE|IMAGES",
            show_default="the newest run under runs/",
            help="A run, an exported file, mnist, which is bundled with ganzoo, an .npz or a folder of images.",
        ),
    ] = None,
    n: Annotated[
        int, typer.Option(metavar="N", help="How many images; at most as many as the training images.")
    ] = 10_000,
    seeds: Annotated[int, typer.Option(metavar="N", help="How many draws; of N given images there is only one.")] = 3,
    figures: Annotated[
        str | None, typer.Option(metavar="KEY,KEY,...", show_default="all", help="Which figures, such as fid,cas.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", show_default="what it was trained on, else auto", help="The real images to compare with."
        ),
    ] = None,
    data_dir: Annotated[
        str | None, typer.Option(metavar="DIR", show_default="GANZOO_DATA_DIR, else a cache", help="Where MNIST lies.")
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="Of a run, its best checkpoint, not its newest.")] = False,
    fit_judge: Annotated[
        bool, typer.Option("--fit-judge", help="Train the data set's judge first, and keep it in the cache.")
    ] = False,
    judge: Annotated[
        str | None, typer.Option(metavar="FILE", help="A judge's file, or where --fit-judge puts it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
    **options: Any,
) -> None:
    """Judge a generator: every figure beside its floor, what real images score, and a verdict in words.

    A run keeps the outcome as evaluation.json. With --fit-judge and --dataset alone, only the judge is trained. Options
    from --image-size to --folders say how the images of --dataset are read.
    """
    from ganzoo.evaluation.evaluator import evaluate, train_judge
    from ganzoo.evaluation.metrics import FIGURES
    from ganzoo.evaluation.reference import load_splits

    if fit_judge and dataset is not None and source is None:
        train_judge(load_splits(dataset, data_dir=data_dir, **given(options)), say, judge)
        return
    outcome = evaluate(
        chosen_run(None, "evaluate") if source is None else source,
        dataset=dataset,
        data_dir=data_dir,
        n=n,
        seeds=seeds,
        figures=tuple(FIGURES) if figures is None else figures.split(","),
        best=best,
        fit_judge=fit_judge,
        judge=judge,
        say=say,
        **given(options),
    )
    if as_json:
        print_json(outcome.to_json())
    else:
        _show(outcome)


def _show(outcome: "Evaluation") -> None:
    """A table on stdout, the verdict under it."""
    from rich.console import Console
    from rich.table import Table

    from ganzoo.errors import printable
    from ganzoo.evaluation.metrics import FIGURES, title_of

    judge = outcome.judge
    table = Table(title=None, box=None, pad_edge=False)
    for heading, side in (
        ("figure", "left"),
        ("generated", "right"),
        ("", "left"),
        ("real", "right"),
        ("better", "left"),
    ):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    for key in outcome.values:
        figure = FIGURES[key]
        spread = f"± {figure.show(outcome.deviation(key))}" if len(outcome.seeds) > 1 else ""
        floor = figure.show(outcome.floors[key])
        table.add_row(
            printable(title_of(key, judge.name)), figure.show(outcome.mean(key)), spread, floor, figure.direction
        )
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    console.print(table)
    for key, reason in outcome.unavailable.items():
        write(f"{FIGURES[key].title}: not available, {reason}")
    if outcome.codes:
        drawn = ", ".join(f"{row['value']} {row['class']} ({100 * row['share']:.0f} %)" for row in outcome.codes)
        write(f"each value of the code '{outcome.subject.code}' mostly draws: {drawn}")
    source = outcome.splits.train.source
    write(f"{len(outcome.seeds)} x {outcome.n} images against {len(outcome.splits.test)} test images of {source}")
    write(f"judge: {judge.name}, {100 * judge.accuracy:.2f} % right, SHA-256 {judge.sha256[:16]}")
    for note in outcome.notes:
        write(note)
    write(f"verdict: {outcome.verdict.sentence}")
