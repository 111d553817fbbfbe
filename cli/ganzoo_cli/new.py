"""`ganzoo new`"""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from .app import command, say


@command("new")
def new(
    kind: Annotated[str, typer.Argument(metavar="variant", help="What to make: variant.")],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the variant and of its package, such as my-gan.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", show_default="NAME", help="New directory for the package.")
    ] = None,
) -> None:
    """Create a Python package with a new variant.

    It is ready to install and test, and contains a recipe, a loss, and the tests that every built-in variant passes.
    """
    from ganzoo.errors import UsageError
    from ganzoo.testing.scaffold import write_package

    if kind != "variant":
        raise UsageError(f"ganzoo new {kind}: expected ganzoo new variant NAME")
    directory = write_package(name, out)
    place = shlex.quote(str(directory))
    say(f"done: {directory}\nnext: cd {place}, pip install -e '.[dev]', pytest, ganzoo train --variant {name}")
