"""Which parts can be combined, with their default settings: each pair is built within the recipes, as in training."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch

from ganzoo import registry
from ganzoo.config import RunConfig, assemble
from ganzoo.errors import UsageError, first_line
from ganzoo.zoo.build import build_objective, build_terms
from ganzoo.zoo.slots import Place, narrow, part_alone, places_of_part, with_values

TABLES = {  # kind of a table's columns: kinds of its rows
    "discriminators": ("objectives", "losses", "terms", "augmentations"),
    "losses": ("objectives", "terms", "augmentations"),
    "objectives": ("terms", "augmentations"),
}
Part = tuple[str, str]  # kind and name
FACTS = {"image_shape": (1, 8, 8), "num_classes": 3}  # facts of the images that the parts are built for


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A part in a row and a part in a column."""

    row: Part
    column: Part
    reason: str | None  # why the two cannot be combined; None if they can


def build_pairs() -> list[Pair]:
    """Return each pair of a row and a column of `TABLES`."""
    assembled = [assemble(name, settings=narrow(name)) for name in registry.variants]
    recipes = [recipe.with_facts(**FACTS).with_horizon(1) for recipe in assembled]
    kinds = [(row, column) for column, rows in TABLES.items() for row in rows]
    names = {kind: list(registry.REGISTRIES[kind]) for pair in kinds for kind in pair}
    parts = [((i, row), (j, column)) for i, j in kinds for row, column in product(names[i], names[j])]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # faster for networks this small
    try:
        with torch.random.fork_rng([]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about unsuitable combinations
            return [Pair(row=row, column=column, reason=_reason(recipes, row, column)) for row, column in parts]
    finally:
        torch.set_num_threads(threads)


def _reason(recipes: list[RunConfig], row: Part, column: Part) -> str | None:
    """Return None if a recipe can be built with both parts, else the reason: an error, preferably one naming both."""
    found: dict[str, int] = {}
    for base, conditional in product(_select_recipes(recipes, row, column), (False, True)):
        try:
            build_objective(_combine(recipes, base, row, column, conditional))
            return None
        except UsageError as error:
            reason = str(error)
            found.setdefault(reason, sum(f"'{name}'" in reason.replace("_", "-") for _, name in (row, column)))
        except Exception as error:  # whatever a third party's part raises
            found.setdefault(f"{type(error).__name__}: {first_line(error)}", 2)
    return max(found, key=found.__getitem__)


def _select_recipes(recipes: list[RunConfig], row: Part, column: Part) -> Iterable[RunConfig]:
    """Return recipes that differ in parts that the pair does not replace, first those that use a part of the pair."""
    found: dict[tuple[object, ...], RunConfig] = {}
    for recipe in sorted(
        recipes, key=lambda recipe: not any(places_of_part(recipe.variant, *p) for p in (row, column))
    ):
        variant = recipe.variant
        key = (
            variant.objective.name,
            bool(variant.codes),
            column[0] != "discriminators" and variant.discriminator.name,
        )
        found.setdefault(key, recipe)
    return found.values()


def _combine(recipes: list[RunConfig], base: RunConfig, row: Part, column: Part, conditional: bool) -> RunConfig:
    """Return a recipe with both parts and what they need: terms, encoder and codes of an objective, loss of a term.

    The needs of an objective are taken from the recipe that uses it with the fewest terms. The recipe's own
    discriminator keeps its settings.
    """
    slots: dict[Place, Any] = dict([part_alone(*row), part_alone(*column)])
    if column == ("discriminators", base.variant.discriminator.name):
        slots["discriminator",] = base.variant.discriminator.model_dump()  # with its settings, such as no conditioning
    config = with_values(base, {("terms",): [], ("augmentations",): [], ("conditional",): conditional})
    objective = slots.get(("objective",), {"name": base.variant.objective.name})["name"]
    users = [recipe for recipe in recipes if recipe.variant.objective.name == objective] or [config]
    user = min(users, key=lambda recipe: len(recipe.variant.terms)).model_dump(mode="json")["variant"]
    added = slots.get(("terms",), [])
    terms = [term for term in user["terms"] if term["name"] not in {term["name"] for term in added}] + added
    slots |= {("terms",): terms, ("encoder",): user["encoder"]}
    config = with_values(config, slots if base.variant.codes else {**slots, ("codes",): user["codes"]})
    needed = [term.needs_loss for term in build_terms(config) if term.needs_loss is not None]
    return with_values(config, {("loss",): {"name": needed[0]}}) if needed and column[0] != "losses" else config
