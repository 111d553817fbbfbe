"""Checks that each setting has an effect: changed alone, it changes the result of a few training steps.

A setting may matter only with certain other settings: the way of conditioning in a conditional variant, a target at
some of several places. It counts as dead if it changes nothing in any variant that can use its part, with any other
value of its part's settings.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, islice
from typing import Any

from ganzoo import registry
from ganzoo.config import RunConfig, Schedule, Spec, settings_of
from ganzoo.errors import UsageError
from ganzoo.testing.errors import ConformanceError
from ganzoo.testing.trials import Trials
from ganzoo.zoo.slots import SLOTS, Place, part_alone, places_of, places_of_part, value_at, values_of, with_values

STEPS = 3
MORE_STEPS = 12  # for a setting that changes nothing in a few
CONTEXTS = 20  # variants at most in which a part is tried
LONGER = 4  # of these, variants in which a setting is tried for longer
VALUES = 3  # of a setting that are tried in each variant
Context = tuple[RunConfig, Place]  # a configuration, and the place of the part in it


def check_part(kind: str, name: str, *, image_size: int = 8, settings: Sequence[str] = ()) -> None:
    """Check that a registered part trains in some registered variant, and that each of its settings has an effect.

    Args:
        kind: one of `ganzoo list` whose parts have settings, such as `discriminators` or `terms`.
        name: the registered name.
        image_size: height and width of the generated test images.
        settings: `KEY=VALUE`, as after `--set`, of each variant that the part is tried in.

    Raises ConformanceError with the settings that change nothing, or if no variant can use the part; UsageError for an
    unknown kind or name.
    """
    if kind not in SLOTS:
        raise UsageError(f"no kind '{kind}' of parts with settings: expected one of {', '.join(SLOTS)}")
    parts = registry.REGISTRIES[kind]
    name = parts.canonical(name)
    trials = Trials(image_size)
    contexts = _contexts(trials, kind, name, settings)
    first = next(contexts, None)
    if first is None:
        raise ConformanceError(
            f"the {parts.kind} '{name}' trains in no registered variant: expected one that can use it. Register a "
            f"variant that uses it, or set what it needs, as in check_part('{kind}', '{name}', "
            "settings=['conditional=true'])"
        )
    whose = f"{parts.kind} '{name}'"
    if dead := _dead(trials, whose, chain([first], contexts), list(settings_of(parts[name]).model_fields)):
        raise ConformanceError(explain(whose, dead))


def dead_settings(trials: Trials, config: RunConfig) -> list[str]:
    """Return a line for each part of a variant, and for the variant itself, that has settings without effect."""
    lines = []
    plain = [key for key, value in config.variant if isinstance(value, int | float)]
    if dead := _dead(trials, "variant", _with_labels(config, ()), plain):
        lines.append(explain("variant", dead))
    for kind, slots in SLOTS.items():
        parts = registry.REGISTRIES[kind]
        for place in (place for slot in slots for place in places_of(config.variant, slot)):
            name = value_at(config.variant, place).name
            contexts = chain(_with_labels(config, place), _contexts(trials, kind, name, ()))
            whose = f"{parts.kind} '{name}'"
            if dead := _dead(trials, whose, contexts, list(settings_of(parts[name]).model_fields)):
                lines.append(explain(whose, dead))
    return lines


def explain(whose: str, dead: Sequence[str]) -> str:
    """Return a message about settings that have no effect, with what to do."""
    return (
        f"the {whose} has settings that change nothing: {', '.join(dead)}. Expected: each, changed alone, changes the "
        "weights after a few steps in some variant. Use it, remove it, or register a variant in which it matters"
    )


def _dead(trials: Trials, whose: str, contexts: Iterable[Context], keys: Sequence[str]) -> list[str]:
    """Return the settings of the part in these contexts that have other legal values, none of which has an effect.

    Warns about settings without any other known value.
    """
    left, known, legal, seen = list(keys), set[str](), set[str](), []
    for config, place in islice(contexts, CONTEXTS):
        left = [key for key in left if _values(config, (*place, key)) != [value_at(config.variant, (*place, key))]]
        if not left:
            break
        seen.append((config, place))
        known |= {key for key in left if _others(config, (*place, key))}
        outcomes = {key: _matters(trials, config, (*place, key), STEPS) for key in left}
        legal |= {key for key, outcome in outcomes.items() if outcome is not None}
        left = [key for key in left if not outcomes[key]]
    if unknown := [key for key in left if key not in known]:
        warnings.warn(
            f"the {whose} has settings that are not checked, as no other value is known: {', '.join(unknown)}. "
            "Annotate each with a Literal of its values to have it checked",
            stacklevel=3,
        )
    return [key for key in left if key in legal and not _matters_elsewhere(trials, seen, key)]


def _matters(trials: Trials, config: RunConfig, path: Place, steps: int) -> bool | None:
    """Return whether another value of a setting changes a bit; None if no other value is legal here."""
    before = trials.digest(config, steps)
    if before is None:
        return None
    found = (trials.digest(other, steps) for other in _variations(config, path))
    outcomes = (digest != before for digest in islice(filter(None, found), VALUES))
    for outcome in outcomes:
        return outcome or any(outcomes)
    return None


def _matters_elsewhere(trials: Trials, contexts: Sequence[Context], key: str) -> bool:
    """Return whether a setting matters on larger images, after more steps, or with another setting changed."""
    paths = [(config, (*place, key)) for config, place in contexts[:LONGER]]
    return (
        any(_matters(trials.larger, config, path, STEPS) for config, path in paths)
        or any(_matters(trials, config, path, MORE_STEPS) for config, path in paths)
        or any(_matters(trials, other, path, STEPS) for config, path in paths for other in _siblings(config, path))
    )


def _siblings(config: RunConfig, path: Place) -> Iterator[RunConfig]:
    """Yield the configuration with another value of each other setting of a setting's part."""
    *place, key = path
    for name in getattr(value_at(config.variant, tuple(place)), "settings", {}):
        if name != key:
            yield from islice(_variations(config, (*place, name)), 2)


def _variations(config: RunConfig, path: Place) -> Iterator[RunConfig]:
    """Yield the configuration with each other legal value of a setting."""
    yield from filter(None, (_change(config, path, value) for value in _others(config, path)))


# Variants in which a part can be tried


def _contexts(trials: Trials, kind: str, name: str, settings: Sequence[str]) -> Iterator[Context]:
    """Yield the registered variants that train with the part: first those that use it, then the others."""
    recipes = [trials.configure(variant, settings) for variant in registry.variants]
    uses = [(config, place) for config in recipes for place in places_of_part(config.variant, kind, name)[:1]]
    slot, alone = part_alone(kind, name)
    place = (*slot, 0) if isinstance(alone, list) else slot
    changed = (_change(config, slot, alone) for config in recipes if not places_of_part(config.variant, kind, name))
    for config, place in chain(uses, ((other, place) for other in changed if other)):
        yield from (context for context in _with_labels(config, place) if trials.digest(context[0], STEPS))


def _change(config: RunConfig, path: Place, value: Any) -> RunConfig | None:
    """Return the configuration with another value at a place; None if that is not legal."""
    with suppress(UsageError):
        return with_values(config, {path: value})
    return None


def _with_labels(config: RunConfig, place: Place) -> Iterator[Context]:
    """Yield a configuration as it is, and with `conditional` switched."""
    yield config, place
    other = _change(config, ("conditional",), not config.variant.conditional)
    if other is not None:
        yield other, place


# Other values


def _others(config: RunConfig, path: Place) -> list[Any]:
    """Return other values of a setting's type, those likely to matter first; some may be out of range."""
    value = value_at(config.variant, path)
    value = value["from"] if Schedule.is_table(value) else value
    return [other for other in _values(config, path) if (type(other), other) != (type(value), value)]


def _values(config: RunConfig, path: Place) -> list[Any]:
    """Return values of a setting's type, maybe with the current one; none for types such as free text."""
    *place, key = path
    part = value_at(config.variant, tuple(place))
    fields = type(part).model_fields
    if isinstance(part, Spec):
        kind = next(kind for kind, slots in SLOTS.items() if place[0] in slots)
        fields = settings_of(registry.REGISTRIES[kind][part.name]).model_fields
    value = value_at(config.variant, path)
    return values_of(fields[str(key)].annotation, value["from"] if Schedule.is_table(value) else value)
