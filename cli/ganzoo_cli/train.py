"""`ganzoo train`"""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from ganzoo.training.options import Option, notes

from .app import command, print_json, say

if TYPE_CHECKING:
    from ganzoo.config import RunConfig


def with_options(function: Callable[..., None]) -> Callable[..., None]:
    """Have a command take a flag for each option of `ganzoo.train`, after its own first two, as keyword arguments."""
    own = [value for value in inspect.signature(function).parameters.values() if value.kind is not value.VAR_KEYWORD]
    flags = [_flag(name, kind, note) for name, (kind, note) in notes().items()]
    parameters = [value.replace(kind=inspect.Parameter.KEYWORD_ONLY) for value in (*own[:2], *flags, *own[2:])]
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it, and
    function.__annotations__ = {value.name: value.annotation for value in parameters}
    return function


def _flag(name: str, kind: Any, note: Option) -> inspect.Parameter:
    """Return an option as a parameter that typer understands: what a command line can give are words and numbers."""
    flag = note.flag or f"--{name.replace('_', '-')}"
    if note.metavar is None:
        given, default = Annotated[bool, typer.Option(flag, help=note.help)], False
    else:
        plain = next((part for part in get_args(kind) if part in (int, float) and str not in get_args(kind)), str)
        shown = typer.Option(flag, metavar=note.metavar, show_default=note.default or False, help=note.help)
        given, default = Annotated[(list[plain] if note.repeatable else plain) | None, shown], None  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=given)


@command("train")
@with_options
def train(
    variant: Annotated[str | None, typer.Option(metavar="NAME", help="See: ganzoo list variants.")] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            show_default="auto",
            help="mnist, mnist-5k, or a path: a folder, .npz, .zip and others (ganzoo list datasets). auto: mnist if "
            "it is here or can be fetched, else mnist-5k.",
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(metavar="DIR", show_default="runs/<variant>-<dataset>-<time>", help="The run's new directory."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
    **options: Any,
) -> None:
    """Train a variant into a new run directory.

    Precedence: variant < --config < --set < the other flags.
    """
    from ganzoo.compute.distributed import joined
    from ganzoo.training.prepare import configure
    from ganzoo.training.trainer import start

    options["sample_epochs"] = whole_numbers(options["sample_epochs"], "--sample-epochs")
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    with joined() as world:
        configured = configure(variant, dataset, **given)
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
    say(f"{training.loader.batches_per_epoch} batches an epoch; dry run: no run was made")
