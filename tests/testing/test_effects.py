"""Each setting of each registered part has an effect; and which values are tried."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from ganzoo.config import Fraction, Spec, Variant
from ganzoo.registry import REGISTRIES
from ganzoo.testing import ConformanceError, check_part, effects
from ganzoo.zoo.slots import SLOTS, values_of


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in SLOTS for name in REGISTRIES[kind]])
def test_each_setting_of_each_part_has_an_effect(kind: str, name: str) -> None:
    check_part(kind, name)


def test_every_kind_of_part_that_trains_has_its_place() -> None:
    assert REGISTRIES.keys() - SLOTS.keys() == {"variants", "schedules", "datasets", "formats", "loggers"}


@pytest.mark.parametrize(
    ("annotation", "value", "some"),
    [
        (bool, True, [False]),
        (Literal["a", "b"] | None, "a", ["b", None]),
        (int, 16, [32, 8, 17, 15]),
        (int | None, None, [1, 2]),
        (Annotated[int, Field(gt=0)], 1, [2]),
        (float, 0.25, [0.5, 0.125, 0.0]),
        (Fraction, 0.0, [0.5, 0.1]),
        (float, 3, [6.0, 1.5]),
        (tuple[Fraction, Fraction], (0.0, 0.9), [[0.5, 0.9], [0.0, 0.45]]),
        (tuple[int, ...], (4, 8, 16), [[8, 8, 16], [4, 8, 32]]),
        (str, "translation", ["cut-out", "colour"]),
        (str | None, "hinge", ["wasserstein", None]),
    ],
)
def test_other_values_are_of_the_type(annotation: Any, value: Any, some: list[Any]) -> None:
    values = values_of(annotation, value)
    assert all(other in values for other in some)


@pytest.mark.parametrize("annotation", [str, dict[str, float], Any])
def test_of_free_text_and_tables_no_value_is_made_up(annotation: Any) -> None:
    assert values_of(annotation, "a") == []


@dataclass(frozen=True, kw_only=True)
class Drift:
    """The mean of the real images' logits, and settings that it does not read."""

    numbers: tuple[float, ...] = ()  # has other values only where a variant sets it
    change: str = "translation"
    comment: str = "free text"
    way: Literal["only"] = "only"

    term = "drift"

    def __call__(self, discriminator: Any, batch: Any, fake: Any) -> Any:
        return discriminator(batch.real, batch.labels).mean()


@pytest.mark.usefixtures("registries")
def test_settings_are_tried_where_they_have_other_values(monkeypatch: pytest.MonkeyPatch) -> None:
    REGISTRIES["terms"].register("drift")(Drift)

    @REGISTRIES["variants"].register("aaa")
    def recipe() -> Variant:
        return Variant(generator=Spec("mlp"), discriminator=Spec("mlp"), terms=(Spec("drift", numbers=(0.5,)),))

    monkeypatch.setattr(effects, "CONTEXTS", 3)
    with (
        pytest.warns(UserWarning, match=r"term 'drift' has settings that are not checked.* is known: comment\b"),
        pytest.raises(ConformanceError, match="settings that change nothing: numbers, change"),
    ):
        check_part("terms", "drift")
