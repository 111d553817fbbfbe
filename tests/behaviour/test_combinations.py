"""Whatever is put together trains, resumes and is exported, or is refused with what to take instead."""

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from ganzoo.config import RunConfig, settings_of
from ganzoo.errors import UsageError
from ganzoo.registry import REGISTRIES, variants
from ganzoo.testing.conformance import RULES, Subject
from ganzoo.testing.trials import Trials
from ganzoo.zoo.build import build_objective
from ganzoo.zoo.slots import SLOTS, part_alone, values_of, with_values

TRIALS = Trials()
MOST = {"terms": 3, "augmentations": 2}  # parts in a list
Draw = Callable[[st.SearchStrategy[Any]], Any]


def draw_part(draw: Draw, kind: str) -> Any:
    """A part's table with some settings that are not its defaults, which may be out of range."""
    name = draw(st.sampled_from(REGISTRIES[kind].names()))
    table = part_alone(kind, name)[1]
    table = table[0] if isinstance(table, list) else table
    for key, field in settings_of(REGISTRIES[kind][name]).model_fields.items():
        values = values_of(field.annotation, None if field.is_required() else field.default)
        if values and draw(st.integers(0, 2)) == 0:
            table[key] = draw(st.sampled_from(values))
    return table


def draw_changes(draw: Draw, encodes: bool) -> dict[Any, Any]:
    """One to three changes at once: another part, another list of parts, labels given or not."""
    changes: dict[Any, Any] = {}
    kinds = [*SLOTS, "conditional"] if encodes else [*(SLOTS.keys() - {"encoders"}), "conditional"]
    for kind in draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=3)):
        if kind == "conditional":
            changes[("conditional",)] = draw(st.booleans())
            continue
        slot = draw(st.sampled_from(SLOTS[kind]))
        number = draw(st.integers(1, MOST.get(kind, 1)))
        parts = [draw_part(draw, kind) for _ in range(number)]
        changes[(slot,)] = parts if kind in MOST else parts[0]
        if kind == "objectives":
            needs_one = getattr(REGISTRIES[kind][parts[0]["name"]], "encodes", False)
            changes[("encoder",)] = draw_part(draw, "encoders") if needs_one else None
    return changes


@st.composite
def combinations(draw: Draw) -> RunConfig:
    """A registered variant after a few changes, each kept if it is legal; what is refused says what to take."""
    config = TRIALS.configure(draw(st.sampled_from(variants.names())))
    for _ in range(draw(st.integers(2, 6))):
        try:
            changed = with_values(config, draw_changes(draw, config.variant.encoder is not None))
        except UsageError:  # a value out of range
            continue
        if builds(changed):
            config = changed
    return config


def builds(config: RunConfig) -> bool:
    """Return whether it is legal; what is refused says whose needs are not met, and names something to take instead."""
    refused = ""
    try:
        build_objective(TRIALS.prepare(config, 1).config)
    except UsageError as error:
        refused = str(error)
    if not refused:
        return True
    assert "\n" not in refused
    reason, _, advice = refused.rpartition(": ")
    assert re.search(r"'[\w-]+'", reason), refused
    known = {name for registry in REGISTRIES.values() for name in registry}
    named = known & set(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", advice))
    assert named or " --" in f" {advice}" or "none is registered" in advice, refused
    return False


def check(config: RunConfig) -> None:
    """Two steps are finite; a run of it resumes exactly, and its file draws the same."""
    note(config.to_toml())
    state = TRIALS.train(config, 2)
    assert all(value.isfinite().all() for part in state.parts().values() for value in part.values())
    with tempfile.TemporaryDirectory() as directory:
        subject = Subject("custom", TRIALS, config, Path(directory))
        for rule in ("resume", "export"):
            RULES[rule](subject)


EXAMPLES = settings(
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],  # each takes seconds: too slow to shrink
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the gradient penalty is one norm")
@settings(EXAMPLES, max_examples=20)
@given(combinations())
def test_a_combination_trains_resumes_and_is_exported(config: RunConfig) -> None:
    check(config)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:the gradient penalty is one norm")
@settings(EXAMPLES, max_examples=300)
@given(combinations())
def test_many_combinations_train_resume_and_are_exported(config: RunConfig) -> None:
    check(config)


@pytest.mark.filterwarnings("ignore:the gradient penalty is one norm")
@settings(EXAMPLES, max_examples=60)
@given(combinations())
def test_a_combination_is_built_or_refused_with_what_to_take_instead(config: RunConfig) -> None:
    assert builds(config)
