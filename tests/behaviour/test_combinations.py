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
from ganzoo.testing.trials import HORIZON, Trials
from ganzoo.zoo.build import build_objective
from ganzoo.zoo.slots import SLOTS, part_alone, values_of, with_values

TRIALS = Trials()
USABLE = {
    "width": (4, 8, 16),  # wide and deep, a file would be too large to be opened
    "lr": (1e-4, 1e-3, 0.01),  # two steps of 0.5 make weights whose products no two libraries round alike
}
MOST = {"terms": 3, "augmentations": 2}  # parts in a list
SCHEDULED = ("terms", "augmentations", "optimizers")  # kinds of parts whose numbers may follow a schedule
SIMPLE = {  # fields of the variant that are no parts
    "conditional": st.booleans(),
    "critic_steps": st.integers(1, 2),
    "codes": st.sets(
        st.sampled_from([("style", "uniform", 2), ("tilt", "uniform", 1), ("group", "categorical", 3)])
    ).map(lambda codes: [dict(zip(("name", "kind", "size"), code, strict=True)) for code in sorted(codes)]),
}
DATA = {"batch_size": 7, "labels_per_class": 2}  # which the trials leave as they are
Draw = Callable[[st.SearchStrategy[Any]], Any]


def draw_part(draw: Draw, kind: str) -> Any:
    """A part's table with some settings that are not its defaults, which may be out of range."""
    name = draw(st.sampled_from(REGISTRIES[kind].names()))
    table = part_alone(kind, name)[1]
    table = table[0] if isinstance(table, list) else table
    for key, field in settings_of(REGISTRIES[kind][name]).model_fields.items():
        values = values_of(field.annotation, None if field.is_required() else field.default)
        if key in USABLE:
            table[key] = draw(st.sampled_from(USABLE[key]))
        elif values and draw(st.integers(0, 2)) == 0:
            table[key] = draw(st.sampled_from(values))
        if kind in SCHEDULED and isinstance(field.default, float) and draw(st.integers(0, 7)) == 0:
            ends = {end: draw(st.sampled_from([field.default, *values])) for end in ("from", "to")}
            table[key] = {**ends, "shape": draw(st.sampled_from(REGISTRIES["schedules"].names())), "over": HORIZON}
    return table


def draw_changes(draw: Draw, encodes: bool) -> dict[Any, Any]:
    """One to three changes at once: another part, another list of parts, labels given or not, codes, critic steps."""
    changes: dict[Any, Any] = {}
    kinds = (SLOTS.keys() if encodes else SLOTS.keys() - {"encoders"}) | SIMPLE.keys()
    for kind in draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=3)):
        if kind in SIMPLE:
            changes[(kind,)] = draw(SIMPLE[kind])
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
        others = {key: value for key, value in DATA.items() if draw(st.integers(0, 7)) == 0}
        try:
            changed = with_values(config.with_data(**others), draw_changes(draw, config.variant.encoder is not None))
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
@pytest.mark.filterwarnings("ignore:the gradient penalty is computed per sample")
@settings(EXAMPLES, max_examples=20)
@given(combinations())
def test_a_combination_trains_resumes_and_is_exported(config: RunConfig) -> None:
    check(config)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:the gradient penalty is computed per sample")
@settings(EXAMPLES, max_examples=300)
@given(combinations())
def test_many_combinations_train_resume_and_are_exported(config: RunConfig) -> None:
    check(config)


@pytest.mark.filterwarnings("ignore:the gradient penalty is computed per sample")
@settings(EXAMPLES, max_examples=60)
@given(combinations())
def test_a_combination_is_built_or_refused_with_what_to_take_instead(config: RunConfig) -> None:
    assert builds(config)
