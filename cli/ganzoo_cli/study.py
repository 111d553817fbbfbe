"""`ganzoo study`"""

from typing import Annotated, Any

import typer

from ganzoo.training.options import READING_OPTIONS

from .app import command, print_json, say
from .flags import given, with_options
from .train import whole_numbers


@command("study", loads="ganzoo.studies.case_study")
@with_options(READING_OPTIONS)
def study(
    dataset: Annotated[
        str, typer.Option(metavar="SOURCE", help="auto, mnist, mnist-5k, or another labelled set that has a judge.")
    ] = "auto",
    data_dir: Annotated[
        str | None, typer.Option(metavar="DIR", show_default="GANZOO_DATA_DIR, else a cache", help="Where MNIST lies.")
    ] = None,
    variants: Annotated[str, typer.Option(metavar="NAME,...", help="Which variants.")] = "gan,dcgan,wgan-gp,cgan",
    epochs: Annotated[
        str | None,
        typer.Option(metavar="N,...", show_default="10,50,100,400", help="The epochs to show; trained to the last."),
    ] = None,
    minutes: Annotated[float | None, typer.Option(metavar="M", help="Instead: so long for each variant.")] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Runs of each variant.")] = 1,
    synthetic_data: Annotated[
        bool,
        typer.Option(
            "--synthetic-data/--no-synthetic-data", help="Whether generated images are tried as training data."
        ),
    ] = True,
    former: Annotated[bool | None, typer.Option("--augmentation/--no-augmentation", hidden=True)] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting of every run; repeatable.")
    ] = None,
    jobs: Annotated[int, typer.Option(metavar="N", help="Runs trained at a time.")] = 1,
    out: Annotated[
        str, typer.Option(metavar="DIR", help="A new directory, or that of a study to go on with.")
    ] = "study",
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
    **options: Any,
) -> None:
    """The classic MNIST case study: data, classifier, variants, comparison, synthetic data, in one report.

    It says first how long the training will take, and goes on where it was stopped. The report is DIR/index.html.
    Options from --image-size to --folders say how the images of --dataset are read.
    """
    from ganzoo.studies.case_study import study

    report = study(
        out,
        jobs=jobs,
        say=say,
        dataset=dataset,
        data_dir=data_dir,
        variants=tuple(variants.split(",")),
        epochs=None if epochs is None else tuple(whole_numbers(epochs, "--epochs") or ()),
        minutes=minutes,
        seeds=seeds,
        **({} if (synthetic_data if former is None else former) else {"synthetic_data_sizes": ()}),
        settings=tuple(settings or ()),
        **given(options),
    )
    if as_json:
        print_json({"report": report, "comparison": report.parent / "comparison" / "results.json"})
    else:
        say(f"done: {report}")
