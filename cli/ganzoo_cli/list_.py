"""`ganzoo list`"""

from typing import Annotated, Any

import typer

from .app import command, print_json

KINDS = (
    "variants",
    "generators",
    "discriminators",
    "encoders",
    "objectives",
    "losses",
    "terms",
    "augmentations",
    "schedules",
    "optimizers",
    "datasets",
    "formats",
)
FORMER = {"penalties": "terms"}  # names that kinds had before


@command("list")
def list_(
    kind: Annotated[str | None, typer.Argument(show_default="all", help=f"One of {', '.join(KINDS)}.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List what is registered.

    By ganzoo and by plug-ins, with the settings that each takes.
    """
    from ganzoo.errors import UsageError
    from ganzoo.registry import REGISTRIES, nearest

    kind = FORMER.get(kind or "", kind)
    if kind is not None and kind not in REGISTRIES:
        raise UsageError(f"no kind '{kind}'{nearest(kind, list(KINDS))} (one of {', '.join(KINDS)})")
    kinds = KINDS if kind is None else (kind,)
    listing = {kind: [_entry(kind, name) for name in REGISTRIES[kind]] for kind in kinds}
    if as_json:
        print_json({**listing, **{former: listing[now] for former, now in FORMER.items() if now in listing}})
        return
    for kind, entries in listing.items():
        print(f"{kind}:" if len(kinds) > 1 else "", end="\n" if len(kinds) > 1 else "")
        for entry in entries:
            _print(entry)


def _entry(kind: str, name: str) -> dict[str, Any]:
    from pydantic_core import PydanticUndefined

    from ganzoo.config import settings_of
    from ganzoo.registry import REGISTRIES
    from ganzoo.runs.format import OPTIONS

    registry = REGISTRIES[kind]
    if kind == "formats":
        settings = {option: OPTIONS[option] for option in registry[name]().options}
    else:
        fields = {} if kind in ("variants", "datasets") else settings_of(registry[name]).model_fields
        settings = {
            key: "(required)" if field.default is PydanticUndefined else field.default for key, field in fields.items()
        }
    return {
        "name": name,
        "aliases": registry.aliases(name),
        "summary": registry.summary(name),
        "owner": registry.owner(name),
        "settings": settings,
    }


def _print(entry: dict[str, Any]) -> None:
    also = f" Also: {', '.join(entry['aliases'])}." if entry["aliases"] else ""
    print(f"  {entry['name']:<22}{entry['summary']}{also}")
    if entry["settings"]:
        print(f"  {'':<22}  {', '.join(f'{key}={value}' for key, value in entry['settings'].items())}")
