"""`ganzoo list`"""

from collections.abc import Sequence
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
    "loggers",
)
FORMER = {"penalties": "terms"}  # previous names of kinds
NOTHING = "-"  # shown for a value that was not measured


@command("list")
def list_(
    kind: Annotated[str | None, typer.Argument(show_default="all", help=f"One of {', '.join(KINDS)}.")] = None,
    matrix: Annotated[bool, typer.Option("--matrix", help="Print which parts can be combined.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the variants, parts, data sets and formats that are registered.

    The list includes plug-ins. It shows the settings of each part, and for variants the measured metrics.
    """
    from ganzoo.errors import UsageError
    from ganzoo.registry import REGISTRIES, nearest

    if matrix:
        if kind is not None:
            raise UsageError(f"--matrix shows all parts: leave out '{kind}'")
        _print_matrix(as_json)
        return
    kind = FORMER.get(kind or "", kind)
    if kind is not None and kind not in REGISTRIES:
        raise UsageError(f"no kind '{kind}'{nearest(kind, list(KINDS))} (one of {', '.join(KINDS)})")
    kinds = KINDS if kind is None else (kind,)
    listing = {kind: [_entry(kind, name) for name in REGISTRIES[kind]] for kind in kinds}
    if as_json:
        print_json({**listing, **{previous: listing[now] for previous, now in FORMER.items() if now in listing}})
    elif kind == "variants":
        _print_variants(listing["variants"])
    else:
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
        **(_facts(name) if kind == "variants" else {}),
    }


def _facts(name: str) -> dict[str, Any]:
    """Return the facts by which users choose a variant."""
    from ganzoo.registry import variants
    from ganzoo.zoo.measured import read_measured

    recipe, cited, measured = variants[name](), variants.citation(name), read_measured()
    figures = measured and variants.owner(name).startswith("ganzoo.") and measured.variants.get(name)
    needs = {"labels": recipe.conditional, "codes": recipe.codes, "an encoder": recipe.encoder}
    return {
        "family": recipe.family or None,
        "year": cited and cited.year,
        "paper": cited and cited.paper,
        "conditional": recipe.conditional,
        "needs": [*(need for need, needed in needs.items() if needed), *recipe.needs],
        "measured": figures.to_json() if figures else None,
    }


def _print(entry: dict[str, Any]) -> None:
    also = f" Also: {', '.join(entry['aliases'])}." if entry["aliases"] else ""
    print(f"  {entry['name']:<28}{entry['summary']}{also}")
    if entry["settings"]:
        print(f"  {'':<28}  {', '.join(f'{key}={value}' for key, value in entry['settings'].items())}")


def _print_variants(entries: list[dict[str, Any]]) -> None:
    """Print a table of the variants, and how their metrics were measured."""
    from ganzoo.zoo.measured import read_measured

    entries = sorted(entries, key=lambda entry: (entry["family"] or "~", entry["year"] or 0, entry["name"]))
    words = {
        "variant": [" or ".join([entry["name"], *entry["aliases"]]) for entry in entries],
        "family": [entry["family"] or NOTHING for entry in entries],
        "year": [str(entry["year"] or NOTHING) for entry in entries],
        "paper": [entry["paper"] or NOTHING for entry in entries],
        "conditional": ["yes" if entry["conditional"] else "" for entry in entries],
        "needs": [", ".join(entry["needs"]) for entry in entries],
    }
    figures = {
        "parameters of G": _figures(entries, "generator_parameters", ",.0f"),
        "of D": _figures(entries, "discriminator_parameters", ",.0f"),
        "FID-MNIST": _figures(entries, "fid", ".1f"),
        "images/s": _figures(entries, "images_per_s", ",.0f"),
        "minutes to good": _figures(entries, "minutes_to_good", ".1f"),
        "verdict": _figures(entries, "verdict", ""),
    }
    _print_table({**words, **figures}, right=list(figures)[:-1])
    if (found := read_measured()) is not None:
        about = found.about
        minutes = f"{about.minutes:g} minutes of training on {about.machine}"
        print(f"Measured after {minutes}; good: FID-MNIST {about.good:g} or less.")


def _figures(entries: list[dict[str, Any]], key: str, form: str) -> list[str]:
    values = [(entry["measured"] or {}).get(key) for entry in entries]
    return [NOTHING if value is None else format(value, form) for value in values]


def _print_matrix(as_json: bool) -> None:
    """Print a table for each kind of column. Its cells are "yes", or "no" with the number of a reason below."""
    from ganzoo.registry import REGISTRIES
    from ganzoo.zoo.matrix import TABLES, build_pairs

    pairs = build_pairs()
    if as_json:
        print_json([{"row": pair.row, "column": pair.column, "reason": pair.reason} for pair in pairs])
        return
    reasons = {reason: f"no ({i})" for i, reason in enumerate(dict.fromkeys(p.reason for p in pairs if p.reason), 1)}
    words = {(pair.row, pair.column): reasons[pair.reason] if pair.reason else "yes" for pair in pairs}
    for kind in TABLES:
        rows = list(dict.fromkeys(pair.row for pair in pairs if pair.column[0] == kind))
        heads = {f"with {kind}": [f"{REGISTRIES[part].kind} {name}" for part, name in rows]}
        _print_table(heads | {name: [words[row, (kind, name)] for row in rows] for name in REGISTRIES[kind]})
        print()
    for reason, number in reasons.items():
        print(f"{number} {reason}")


def _print_table(columns: dict[str, list[str]], right: Sequence[str] = ()) -> None:
    """Print columns by their headings at full width: a narrower terminal wraps the lines, but cuts off nothing."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in columns:
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=True)
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    console = Console(highlight=False)
    console.width = max(console.width, Measurement.get(console, console.options.update(width=10_000), table).maximum)
    console.print(table)
