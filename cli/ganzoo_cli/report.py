"""`ganzoo report`"""

from typing import Annotated

import typer

from .app import chosen_run, command, print_json, say


@command("report", loads="ganzoo.report")
def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN...", show_default="the newest under runs/", help="The directories of runs."),
    ] = None,
    out: Annotated[
        str, typer.Option(metavar="DIR", help="Where the pages go; an earlier report there is replaced.")
    ] = "report",
    title: Annotated[str, typer.Option(metavar="TEXT", help="The heading of the page.")] = "ganzoo report",
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Show runs on one self-contained page, and as Markdown.

    Networks, losses, grids, figures, nearest real images; several runs are compared.
    """
    from pathlib import Path

    chosen = [chosen_run(run, "report") for run in runs or (None,)]
    from ganzoo.report import write_report

    page = write_report(Path(out), [run.path for run in chosen], title=title)
    if as_json:
        print_json({"page": page, "markdown": page.with_name("report.md"), "runs": [run.path for run in chosen]})
    else:
        say(f"report: {page}")
