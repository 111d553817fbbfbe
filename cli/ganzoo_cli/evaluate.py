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
            help="A run, an exported file, mnist (the generator bundled with ganzoo), or an .npz file or folder of "
            "images.",
        ),
    ] = None,
    n: Annotated[
        int, typer.Option(metavar="N", help="Number of images per draw, at most the number of training images.")
    ] = 10_000,
    seeds: Annotated[
        int, typer.Option(metavar="N", help="Number of draws. A file or folder of images allows only one.")
    ] = 3,
    figures: Annotated[
        str | None, typer.Option(metavar="KEY,KEY,...", show_default="all", help="Metrics to measure, such as fid,cas.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", show_default="the training data, else auto", help="The real images to compare with."
        ),
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option(metavar="DIR", show_default="GANZOO_DATA_DIR, else a cache", help="Directory of the MNIST files."),
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Use the run's best evaluated checkpoint, not the newest.")
    ] = False,
    fit_judge: Annotated[
        bool, typer.Option("--fit-judge", help="First train the data set's judge, and save it in the cache.")
    ] = False,
    judge: Annotated[
        str | None, typer.Option(metavar="FILE", help="File of the judge, or the file that --fit-judge writes.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    **options: Any,
) -> None:
    """Evaluate a generator: print each metric beside the value that real images score, and a verdict in words.

    The result of a run is saved in its evaluation.json. With --fit-judge and --dataset, but without a generator or
    images, only the judge is trained. The options from --image-size to --folders control how the images of --dataset
    are read.
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
    """Print the metrics as a table on stdout, and the verdict below it."""
    from rich.console import Console
    from rich.table import Table

    from ganzoo.errors import printable
    from ganzoo.evaluation.metrics import FIGURES, title_of

    judge = outcome.judge
    table = Table(title=None, box=None, pad_edge=False)
    for heading, side in (
        ("metric", "left"),
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
    write(f"{len(outcome.seeds)} x {outcome.n} images compared with {len(outcome.splits.test)} test images of {source}")
    write(f"judge: {judge.name}, test accuracy {100 * judge.accuracy:.2f} %, SHA-256 {judge.sha256[:16]}")
    for note in outcome.notes:
        write(note)
    write(f"verdict: {outcome.verdict.sentence}")
