"""Parts of a variant as Python objects instead of names: `ganzoo.train("dcgan", generator=MyGenerator)`.

A configuration records the name that `ganzoo.registry.hand_over` assigns to such an object. A run directory contains no
code, and ganzoo imports nothing that it names: another process must pass the object again. Needs no torch and no
pydantic.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from ganzoo.errors import UsageError
from ganzoo.registry import HANDED_OVER, hand_over, nearest

if TYPE_CHECKING:
    from ganzoo.config import Spec, Variant
    from ganzoo.zoo.losses import Loss

# A registered name, with or without settings; a class or function that creates the part, like a registered one; or the
# part itself, such as an `nn.Module`.
Part: TypeAlias = "str | Spec | Callable[..., Any] | Loss"


class VariantParts(TypedDict, total=False):
    """The parts of a variant, by role. Each may be omitted, or None."""

    generator: "Part | None"
    discriminator: "Part | None"
    encoder: "Part | None"
    objective: "Part | None"
    loss: "Part | None"
    terms: "Sequence[Part] | None"
    augmentations: "Sequence[Part] | None"
    generator_optimizer: "Part | None"
    discriminator_optimizer: "Part | None"


LISTS = ("terms", "augmentations")
PARTS = tuple(VariantParts.__annotations__)


def read_parts(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts among a run's options as the table `[variant]` of a configuration.

    Raises UsageError for a value that is not a part.
    """
    given = {role: options[role] for role in PARTS if options.get(role) is not None}
    return {
        role: [_read(role, part) for part in _as_list(role, value)] if role in LISTS else _read(role, value)
        for role, value in given.items()
    }


def take_again(variant: "Variant", parts: Mapping[str, Any]) -> None:
    """Register the objects that a run needs again, under the names that the run uses for them.

    The objects of a list, such as `terms`, are in the order of the run's list, each once, without the registered parts.
    Raises UsageError for a part that the run does not need.
    """
    needed = find_needs(variant)
    for role, value in parts.items():
        if role not in PARTS:
            raise UsageError(f"no part '{role}'{nearest(role, list(PARTS))} (one of {', '.join(PARTS)})")
        if value is None:
            continue
        objects, names = _as_list(role, value), needed.get(role, [])
        if len(objects) != len(names):
            raise UsageError(
                f"{role}: {len(objects)} given, and the run needs {len(names)} again{_enumerate(names)}: leave out "
                "parts that have a registered name"
            )
        for name, part in zip(names, objects, strict=True):
            _hand_over(role, part, name)


def find_needs(variant: "Variant") -> dict[str, list[str]]:
    """Return the names of the parts that were passed as objects, by role."""
    specs = {role: getattr(variant, role) for role in PARTS}
    names = {
        role: [spec.name for spec in (value if role in LISTS else [value]) if spec] for role, value in specs.items()
    }
    needed = {role: [name for name in dict.fromkeys(names[role]) if name.startswith(HANDED_OVER)] for role in PARTS}
    return {role: found for role, found in needed.items() if found}


def describe_needs(variant: "Variant") -> str | None:
    """Return a line about the objects that are needed to load or resume a run; None if none are needed."""
    needed = find_needs(variant)
    if not needed:
        return None
    named = ", ".join(f"{role} '{name}'" for role, names in needed.items() for name in names)
    keywords = ", ".join(f"{role}={'[...]' if role in LISTS else '...'}" for role in needed)
    return (
        f"in another process this run needs these objects again: {named}; "
        f"call ganzoo.load and ganzoo.resume with {keywords}"
    )


def _read(role: str, part: Any) -> dict[str, Any]:
    from ganzoo.config import Spec

    if isinstance(part, Spec):
        return part.model_dump(mode="json")
    return {"name": part if isinstance(part, str) else _hand_over(role, part)}


def _hand_over(role: str, part: object, name: str | None = None) -> str:
    try:
        return hand_over(part, name)
    except UsageError as error:
        raise UsageError(f"{role}: {error}") from None


def _as_list(role: str, value: Any) -> Sequence[Any]:
    if role not in LISTS:
        return [value]
    if not isinstance(value, list | tuple):
        raise UsageError(f"{role}: expected a list, as in {role}=[MyPart]")
    return value


def _enumerate(names: Sequence[str]) -> str:
    return f" ({', '.join(names)})" if names else ""
