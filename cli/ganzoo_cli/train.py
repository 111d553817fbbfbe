"""`ganzoo train`"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import command, print_json, say

if TYPE_CHECKING:
    from ganzoo.config import RunConfig


@command("train")
def train(
    variant: Annotated[str | None, typer.Option(metavar="NAME", help="See: ganzoo list variants.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            show_default="auto",
            help="auto, mnist, mnist-5k, npz:FILE or folder:PATH. auto: mnist if here or fetched, else mnist-5k.",
        ),
    ] = None,
    data_dir: Annotated[
        str | None,
        typer.Option(metavar="DIR", show_default="GANZOO_DATA_DIR, else a cache", help="Where MNIST lies or is put."),
    ] = None,
    epochs: Annotated[float | None, typer.Option(metavar="N", help="Budget: passes of the real images.")] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="Budget: generator updates.")] = None,
    minutes: Annotated[float | None, typer.Option(metavar="M", show_default="5", help="Budget: time.")] = None,
    batch_size: Annotated[int | None, typer.Option(metavar="N", show_default="64", help="Images a batch.")] = None,
    image_size: Annotated[
        int | None, typer.Option(metavar="N", help="Resize the images to N x N, with antialiasing.")
    ] = None,
    channels: Annotated[int | None, typer.Option(metavar="1|3", help="Make the images grey or RGB.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", show_default="0", help="All randomness.")] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", show_default="auto", help="auto, cpu, cuda, mps.")
    ] = None,
    sample_epochs: Annotated[
        str | None,
        typer.Option(metavar="N,N,...", show_default="an even cadence", help="Epochs after which a picture is drawn."),
    ] = None,
    evaluate_every: Annotated[
        int | None,
        typer.Option(metavar="N", show_default="never", help="Steps between evaluations; the best checkpoint is kept."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default="auto", help="auto, fp32 (layer by layer, nothing measured), bf16."),
    ] = None,
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="fp32, and deterministic algorithms only; nothing is measured.")
    ] = False,
    config: Annotated[
        str | None, typer.Option(metavar="FILE", help="TOML over the variant's values, such as a run's config.toml.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="One setting, such as loss=hinge or generator.width=32; repeatable."
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="DIR", show_default="runs/<variant>-<dataset>-<time>", help="The run's new directory."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Train a variant into a new run directory.

    Precedence: variant < --config < --set < the other flags.
    """
    from ganzoo.compute.distributed import joined
    from ganzoo.training.prepare import configure
    from ganzoo.training.trainer import start

    with joined() as world:
        configured = configure(
            variant,
            dataset,
            data_dir=data_dir,
            epochs=epochs,
            steps=steps,
            minutes=minutes,
            batch_size=batch_size,
            image_size=image_size,
            channels=channels,
            seed=seed,
            device=device,
            sample_epochs=whole_numbers(sample_epochs, "--sample-epochs"),
            evaluate_every=evaluate_every,
            precision=precision,
            deterministic=deterministic or None,
            config=config,
            settings=settings or (),
        )
        if dry_run:
            if world.leads:
                _show(configured, as_json)
            return
        run = start(configured, out=out, world=world)
    if not world.leads:
        return
    if as_json:
        checkpoint = run.latest_checkpoint()
        print_json({"run": run.path, "step": checkpoint.step, "metrics": run.metrics()[-1:]})
    else:
        say(f"done: {run.path}/samples/final.png\nnext: ganzoo sample {run.path}, ganzoo export {run.path} --onnx")


def whole_numbers(text: str | None, flag: str) -> list[int] | None:
    """10,50,100 -> [10, 50, 100]"""
    from ganzoo.errors import UsageError

    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{flag} {text}: expected whole numbers with commas between, as in 10,50,100") from None


def _show(config: "RunConfig", as_json: bool) -> None:
    """The configuration on stdout, what follows from it on stderr; no run is made."""
    from ganzoo.training.prepare import prepare
    from ganzoo.training.tuning import PROVISIONAL
    from ganzoo.zoo.build import build_objective

    training = prepare(config)
    objective = build_objective(training.config.with_horizon(training.total_steps or PROVISIONAL))
    # "auto" stays: float32 where there is no other would be read as float32 wished for, which is the plain path.
    resolved: Any = training.config.with_train(precision=config.train.precision)
    print(resolved.to_json() if as_json else resolved.to_toml())
    parameters = {
        role: sum(value.numel() for value in network.parameters()) for role, network in objective.networks.items()
    }
    say(", ".join(f"{name}: {count:,} parameters" for name, count in parameters.items()))
    say(f"{training.loader.batches_per_epoch} batches an epoch; dry run: no run was made")
