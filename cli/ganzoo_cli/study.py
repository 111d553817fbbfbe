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
        str,
        typer.Option(metavar="SOURCE", help="auto, mnist, mnist-5k, or another labelled data set that has a judge."),
    ] = "auto",
    data_dir: Annotated[
        str | None,
        typer.Option(metavar="DIR", show_default="GANZOO_DATA_DIR, else a cache", help="Directory of the MNIST files."),
    ] = None,
    variants: Annotated[
        str, typer.Option(metavar="NAME,...", help="Variants to train and compare.")
    ] = "gan,dcgan,wgan-gp,cgan",
    epochs: Annotated[
        str | None,
        typer.Option(
            metavar="N,...",
            show_default="10,50,100,400",
            help="Epochs whose images the report shows; the last one ends the training.",
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="M", help="Minutes of training per run, instead of --epochs.")
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Number of runs per variant.")] = 1,
    synthetic_data: Annotated[
        bool,
        typer.Option("--synthetic-data/--no-synthetic-data", help="Whether to test generated images as training data."),
    ] = True,
    previous: Annotated[bool | None, typer.Option("--augmentation/--no-augmentation", hidden=True)] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting for every run; repeatable.")
    ] = None,
    jobs: Annotated[int, typer.Option(metavar="N", help="Number of runs trained at the same time.")] = 1,
    out: Annotated[
        str, typer.Option(metavar="DIR", help="A new directory, or the directory of a study to continue.")
    ] = "study",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    **options: Any,
) -> None:
    """Run the classic MNIST case study: data, classifier, variants, comparison and synthetic data, in one report.

    It first reports how long the training will take. An interrupted study continues from where it stopped. The report
    is DIR/index.html. The options from --image-size to --folders control how the images of --dataset are read.
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
        synthetic_data_sizes=None if (synthetic_data if previous is None else previous) else (),
        settings=tuple(settings or ()),
        **given(options),
    )
    if as_json:
        print_json({"report": report, "comparison": report.parent / "comparison" / "results.json"})
    else:
        say(f"done: {report}")
