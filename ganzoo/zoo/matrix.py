"""Which parts go with which, found by building each pair as training does, in the registered recipes."""

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

ROWS = ("objectives", "losses", "terms", "augmentations")
COLUMNS = ("discriminators", "losses")
Part = tuple[str, str]  # kind and name
FACTS = {"image_shape": (1, 8, 8), "num_classes": 3}  # of the images that they are built for


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A part in a row and a part in a column."""

    row: Part
    column: Part
    reason: str | None  # why the two do not go together; None if they do


def build_pairs() -> list[Pair]:
    """Return each pair of two registered parts of the kinds in `ROWS` and `COLUMNS`; of one kind there is none."""
    recipes = [assemble(name, settings=narrow(name)).with_facts(**FACTS) for name in registry.variants]
    parts = {kind: [(kind, name) for name in registry.REGISTRIES[kind]] for kind in (*ROWS, *COLUMNS)}
    pairs = [pair for i, j in product(ROWS, COLUMNS) if i != j for pair in product(parts[i], parts[j])]
    with torch.random.fork_rng([]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parts that go together badly
        return [Pair(row=row, column=column, reason=_refusal(recipes, row, column)) for row, column in pairs]


def _refusal(recipes: list[RunConfig], row: Part, column: Part) -> str | None:
    """Return why two parts can be built together in none of the recipes: rather a reason that names the column."""
    reasons = []
    for recipe, conditional in product(_different(recipes, row, column), (False, True)):
        try:
            build_objective(_together(recipe, conditional, row, column))
            return None
        except UsageError as error:
            reasons.append(str(error))
        except Exception as error:  # whatever a third party's part raises
            reasons.append(f"{type(error).__name__}: {first_line(error)}")
    return next((reason for reason in reasons if f"'{column[1]}'" in reason), reasons[0])


def _different(recipes: list[RunConfig], row: Part, column: Part) -> Iterable[RunConfig]:
    """Return the recipes that differ in what the pair does not replace, the first that uses the row's part first."""
    found: dict[tuple[object, ...], RunConfig] = {}
    for recipe in sorted(recipes, key=lambda recipe: not places_of_part(recipe.variant, *row)):
        variant = recipe.variant
        key = (variant.objective.name, bool(variant.codes), column[0] == "losses" and variant.discriminator.name)
        found.setdefault(key, recipe)
    return found.values()


def _together(base: RunConfig, conditional: bool, row: Part, column: Part) -> RunConfig:
    """Return a recipe with both parts alone, and with the loss that a term needs if any may stand there."""
    empty: dict[Place, Any] = {("terms",): [], ("augmentations",): [], ("conditional",): conditional}
    config = with_values(base, empty | dict([part_alone(*row), part_alone(*column)]))
    needed = {term.needs_loss for term in build_terms(config)} - {None}
    return with_values(config, {("loss",): {"name": needed.pop()}}) if needed and column[0] != "losses" else config
