"""`ganzoo report`"""

from typing import Annotated

import typer

from .app import chosen_run, command, print_json, say


@command("report", loads="ganzoo.report")
def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN...", show_default="the newest run under runs/", help="Directories of runs."),
    ] = None,
    out: Annotated[
        str, typer.Option(metavar="DIR", help="Directory for the pages; an existing report there is replaced.")
    ] = "report",
    title: Annotated[str, typer.Option(metavar="TEXT", help="Heading of the page.")] = "ganzoo report",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write a report on runs as one self-contained HTML page, and as Markdown.

    It shows networks, losses, image grids, metrics and nearest real images, and compares the runs if there are several.
    """
    from pathlib import Path

    chosen = [chosen_run(run, "report") for run in runs or (None,)]
    from ganzoo.report import write_report

    page = write_report(Path(out), [run.path for run in chosen], title=title)
    if as_json:
        print_json({"page": page, "markdown": page.with_name("report.md"), "runs": [run.path for run in chosen]})
    else:
        say(f"report: {page}")
