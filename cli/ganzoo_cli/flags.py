"""Command-line flags for the options of `ganzoo.train`."""

import inspect
from collections.abc import Callable, Iterable
from typing import Annotated, Any, get_args

import typer

from ganzoo.training.options import Option, notes

Command = Callable[..., None]


def with_options(names: Iterable[str] | None = None, after: int = 2) -> Callable[[Command], Command]:
    """Return a decorator that adds flags for options of `ganzoo.train` to a command, as keyword arguments.

    `names` are the options, or None for all. The flags follow the first `after` parameters of the command.
    """

    def extend(function: Command) -> Command:
        own = [
            value for value in inspect.signature(function).parameters.values() if value.kind is not value.VAR_KEYWORD
        ]
        known = notes()
        flags = [_flag(name, *known[name]) for name in (known if names is None else names)]
        parameters = [
            value.replace(kind=inspect.Parameter.KEYWORD_ONLY) for value in (*own[:after], *flags, *own[after:])
        ]
        function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads both
        function.__annotations__ = {value.name: value.annotation for value in parameters}
        return function

    return extend


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were set on the command line."""
    return {name: value for name, value in options.items() if value is not None and value is not False}


def _flag(name: str, kind: Any, note: Option) -> inspect.Parameter:
    """Return an option as a parameter for typer, reduced to a type that a command line can express."""
    flag = note.flag or f"--{name.replace('_', '-')}"
    if note.metavar is None:
        given, default = Annotated[bool, typer.Option(flag, help=note.help)], False
    else:
        plain = next((part for part in get_args(kind) if part in (int, float) and str not in get_args(kind)), str)
        shown = typer.Option(flag, metavar=note.metavar, show_default=note.default or False, help=note.help)
        given, default = Annotated[(list[plain] if note.repeatable else plain) | None, shown], None  # type: ignore[valid-type]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=given)
