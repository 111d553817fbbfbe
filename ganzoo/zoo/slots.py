"""The places of the parts in a variant, and variants with another part or setting in one place. Needs no torch."""

import json
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ganzoo import registry
from ganzoo.config import RunConfig, Spec, Variant, assemble, settings_of

WIDTH = 8  # the `width` of small networks
SLOTS = {  # the fields of a variant that contain the parts of each kind
    "generators": ("generator",),
    "discriminators": ("discriminator",),
    "encoders": ("encoder",),
    "objectives": ("objective",),
    "losses": ("loss",),
    "terms": ("terms",),
    "augmentations": ("augmentations",),
    "optimizers": ("discriminator_optimizer", "generator_optimizer"),
}
Place = tuple[str | int, ...]  # path of a part in a variant, such as ("terms", 0); () is the variant itself


def narrow(variant: str | Variant) -> list[str]:
    """Return the settings that make those networks of a variant small that have a `width`."""
    recipe = assemble(variant).variant
    networks = {role: getattr(recipe, role) for role in ("generator", "discriminator", "encoder")}
    return [f"{role}.width={WIDTH}" for role, spec in networks.items() if spec and "width" in spec.settings]


def places_of(variant: Variant, slot: str) -> list[Place]:
    """Return the places of the parts in a slot: one per part of a list, none if the variant has no such part."""
    value = getattr(variant, slot)
    if isinstance(value, tuple):
        return [(slot, i) for i in range(len(value))]
    return [] if value is None else [(slot,)]


def places_of_part(variant: Variant, kind: str, name: str) -> list[Place]:
    """Return the places of the parts with this name in a variant."""
    places = [place for slot in SLOTS[kind] for place in places_of(variant, slot)]
    return [place for place in places if value_at(variant, place).name == name]


def value_at(variant: Variant, path: Place) -> Any:
    """Return the value at a place: a part, a setting of a part, or a field of the variant."""
    value: Any = variant
    for key in path:
        if isinstance(key, str):
            value = value.settings[key] if isinstance(value, Spec) else getattr(value, key)
        else:
            value = value[key]
    return value


def with_values(config: RunConfig, values: Mapping[Place, Any]) -> RunConfig:
    """Return the configuration with other values at places of its variant. Raises UsageError for an invalid value."""
    document = config.model_dump(mode="json")
    for path, value in values.items():
        table: Any = document["variant"]
        for key in path[:-1]:
            table = table[key]
        table[path[-1]] = value
    return RunConfig.from_json(json.dumps(document)).resolve()


def part_alone(kind: str, name: str) -> tuple[Place, Any]:
    """Return the slot of a part, and the value for it: the part's table, or a list with this table only.

    The `width` is small. Settings without a default get the first value of their type.
    """
    fields = settings_of(registry.REGISTRIES[kind][name]).model_fields
    needed = {key: values_of(field.annotation, None)[0] for key, field in fields.items() if field.is_required()}
    table = {"name": name, **({"width": WIDTH} if "width" in fields else {}), **needed}
    slot = SLOTS[kind][0]
    return (slot,), [table] if Variant.model_fields[slot].annotation == tuple[Spec, ...] else table


def values_of(annotation: Any, value: Any) -> list[Any]:
    """Return example values of a type: all literals, numbers near the current or small values, names of other parts.

    For other texts it returns no values.
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return values_of(inner[0], value)
    if origin in (Union, UnionType):
        return [other for kind in inner for other in values_of(kind, value)]
    if origin is Literal:
        return list(inner)
    if origin is tuple and value:
        kinds = inner if len(inner) == len(value) and inner[-1] is not Ellipsis else [inner[0]] * len(value)
        return [
            [*value[:i], other, *value[i + 1 :]]
            for i, kind in enumerate(kinds)
            for other in values_of(kind, value[i])
            if other != value[i]
        ]
    if annotation is str:
        kinds = [registry.REGISTRIES[kind].names() for kind in SLOTS]
        return list(dict.fromkeys(name for names in kinds if value in names for name in names))
    number = value if isinstance(value, int | float) else 1
    if annotation is bool:
        return [True, False]
    if annotation is int:
        return [2 * number, number // 2, number + 1, number - 1, 1, 2, 4]
    if annotation is float:
        return [2.0 * number, number / 2, (1 + number) / 2, 0.1, 1.0, 0.0]
    return [None] if annotation is NoneType else []
