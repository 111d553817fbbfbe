"""`ganzoo train`"""

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import command, print_json, say
from .flags import given, with_options

if TYPE_CHECKING:
    from ganzoo.config import RunConfig


@command("train", loads="ganzoo.training.trainer")
@with_options()
def train(
    variant: Annotated[str | None, typer.Option(metavar="NAME", help="See: ganzoo list variants.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            show_default="auto",
            help="mnist, mnist-5k, or the path of a folder, .npz, .zip or another format (ganzoo list datasets). auto: "
            "mnist if it is on disk or can be downloaded, else mnist-5k.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="DIR", show_default="runs/<variant>-<dataset>-<time>", help="New directory for the run."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration and exit.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    **options: Any,
) -> None:
    """Train a variant and write the results to a new run directory.

    If a setting is given more than once, the later source wins: variant < --config < --set < the other flags.
    """
    from ganzoo.compute.distributed import joined
    from ganzoo.training.callbacks import match_loggers
    from ganzoo.training.prepare import configure
    from ganzoo.training.trainer import start

    options["sample_epochs"] = whole_numbers(options["sample_epochs"], "--sample-epochs")
    with joined() as world:
        configured = configure(variant, dataset, **given(options))
        if dry_run:
            if world.leads:
                _show(configured, as_json)
            return
        run = start(configured, out=out, log=match_loggers(options["log"] or ()), world=world)
    if not world.leads:
        return
    if as_json:
        checkpoint = run.latest_checkpoint()
        print_json({"run": run.path, "step": checkpoint.step, "metrics": run.metrics()[-1:]})
    else:
        place = shlex.quote(str(run.path))
        say(f"done: {run.path}/samples/final.png\nnext: ganzoo sample {place}, ganzoo export {place} --onnx")


def whole_numbers(text: str | None, flag: str) -> list[int] | None:
    """Parse comma-separated integers: "10,50,100" -> [10, 50, 100]. Raises UsageError for other text."""
    from ganzoo.errors import UsageError

    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{flag} {text}: expected integers separated by commas, as in 10,50,100") from None


def _show(config: "RunConfig", as_json: bool) -> None:
    """Print the configuration on stdout and derived numbers on stderr, without creating a run."""
    from ganzoo.training.prepare import PROVISIONAL, prepare
    from ganzoo.zoo.build import build_objective

    training = prepare(config)
    objective = build_objective(training.config.with_horizon(training.total_steps or PROVISIONAL))
    resolved = training.config
    print(resolved.to_json() if as_json else resolved.to_toml())
    parameters = {
        role: sum(value.numel() for value in network.parameters()) for role, network in objective.networks.items()
    }
    say(", ".join(f"{name}: {count:,} parameters" for name, count in parameters.items()))
    say(f"{training.loader.batches_per_epoch} batches per epoch; dry run: no run was created")
