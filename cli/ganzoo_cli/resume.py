"""`ganzoo resume`"""

from typing import Annotated

import typer

from .app import RunArgument, chosen_run, command, print_json, say


@command("resume", loads="ganzoo.training.trainer")
def resume(
    run: Annotated[str | None, RunArgument] = None,
    epochs: Annotated[float | None, typer.Option(metavar="N", help="New total number of epochs.")] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", help="New total number of steps.")] = None,
    minutes: Annotated[float | None, typer.Option(metavar="M", help="Additional minutes of training.")] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            show_default="as before",
            help="CPU threads. With another number than before, results are no longer bit-exact.",
        ),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            show_default="the recorded ones",
            help="Loggers to add to the recorded ones. A plug-in's logger is only used if it is named here.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Continue a run in place, from its newest checkpoint.

    Training lasts for the rest of the run's budget, or for a new budget.
    """
    from ganzoo.compute.distributed import joined
    from ganzoo.training.trainer import resume

    with joined() as world:
        (chosen, *_) = world.gather(chosen_run(run, "resume") if world.leads else None)
        assert chosen is not None
        resumed = resume(chosen, epochs=epochs, steps=steps, minutes=minutes, threads=threads, log=log, world=world)
    if not world.leads:
        return
    if as_json:
        print_json({"run": resumed.path, "step": resumed.latest_checkpoint().step})
    else:
        say(f"done: {resumed.path}/samples/final.png")
