"""The verdict on figures made by hand; `benchmarks/verdicts.py` measures it on planted failures."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganzoo.evaluation import verdict as rules
from ganzoo.evaluation.verdict import verdict

FLOORS = {
    **{"fid": 1.3, "classes": 10.0, "diversity": 17.5, "sharpness": 1.44, "memorised": 0.001, "precision": 0.93},
    **{"coverage": 0.95, "label_accuracy": 0.999},
}
SOUND = {
    **{"fid": 20.7, "classes": 10.0, "diversity": 15.4, "sharpness": 1.8, "memorised": 0.0, "precision": 0.95},
    **{"coverage": 0.8, "label_accuracy": 0.97},
}
# what is wrong with it -> the figures that differ from a sound generator's, the word, the figure that says so
FAILURES: dict[str, tuple[dict[str, float], str, str]] = {
    "one image": ({"classes": 1, "diversity": 0, "precision": 0, "coverage": 0.01}, "collapsed", "diversity"),
    "one image a class": ({"diversity": 0, "coverage": 0.03}, "collapsed", "diversity"),
    "one class": ({"classes": 1, "coverage": 0.1}, "collapsed", "classes"),
    "nine of ten classes in one of three draws": ({"classes": 9 + 2 / 3}, "collapsed", "classes"),
    "few images": ({"coverage": 0.15}, "collapsed", "coverage"),
    "shuffled labels": ({"label_accuracy": 0.1}, "label-blind", "label_accuracy"),
    "copies": ({"memorised": 1.0}, "memorising", "memorised"),
    "some copies": ({"memorised": 0.06}, "memorising", "memorised"),
    "blurred": ({"sharpness": 1.0}, "blurred", "sharpness"),
    "blurred past recognition": ({"sharpness": 0.3, "precision": 0.15, "classes": 2}, "blurred", "sharpness"),
    "noise": ({"precision": 0.0, "classes": 1, "sharpness": 4.5, "coverage": 0.0}, "malformed", "precision"),
    "hardly trained": ({"precision": 0.6, "coverage": 0.12}, "malformed", "coverage"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_a_failure_is_called_by_its_name(failure: str) -> None:
    figures, word, key = FAILURES[failure]
    found = verdict(SOUND | figures, FLOORS)
    assert (found.word, found.key) == (word, key)
    assert found.sentence.startswith(f"{word}: ")


def test_the_sentence_has_the_figure_and_its_floor() -> None:
    assert verdict(SOUND | {"classes": 9.0}, FLOORS).sentence == (
        "collapsed: it has lost classes (classes covered 9.0, real images 10.0)"
    )
    assert verdict(SOUND | {"memorised": 0.5}, FLOORS).sentence.endswith("(memorised 50.00 %, real images 0.10 %)")


def test_a_sound_generator_and_real_images_are_healthy() -> None:
    for figures in (SOUND, FLOORS):
        found = verdict(figures, FLOORS)
        assert (found.word, found.key) == ("healthy", "fid")
        assert found.sentence == "healthy: no failure shows in the figures measured"


@given(keys=st.sets(st.sampled_from(sorted(SOUND))))
def test_figures_that_were_not_measured_say_nothing(keys: set[str]) -> None:
    """Neither do their floors have to be there."""
    measured, floors = ({key: values[key] for key in keys} for values in (SOUND, FLOORS))
    assert verdict(measured, floors).word == "healthy"
    for figures, word, key in FAILURES.values():
        if figures.keys() <= keys and len(figures) == 1:
            found = verdict(measured | figures, floors)
            assert (found.word, found.key) == (word, key)


SHARES = {
    "diversity": rules.DIVERSITY,
    "precision": rules.PRECISION,
    "label_accuracy": rules.LABEL_ACCURACY,
    "sharpness": rules.SHARPNESS,
    "coverage": rules.COVERAGE,
}


@pytest.mark.parametrize("key", SHARES)
@given(floor=st.floats(0.01, 1), gap=st.floats(0.001, 0.1))
def test_thresholds_are_shares_of_what_real_images_score(key: str, floor: float, gap: float) -> None:
    """Not fixed numbers: another data set, or a judge that is often wrong, has other floors."""

    def word(share: float, floors: Mapping[str, float]) -> str:
        return verdict({key: share * floors[key]}, floors).word

    assert word(SHARES[key] * (1 - gap), {key: floor}) != "healthy"
    assert word(SHARES[key] * (1 + gap), {key: floor}) == "healthy"


def test_copies_are_counted_above_those_among_test_images() -> None:
    floors = FLOORS | {"memorised": 0.3}  # a set with near duplicates
    assert verdict(SOUND | {"memorised": 0.34}, floors).word == "healthy"
    assert verdict(SOUND | {"memorised": 0.36}, floors).word == "memorising"
