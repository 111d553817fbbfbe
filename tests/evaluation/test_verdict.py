"""The verdict on figures made by hand; `benchmarks/verdicts.py` measures it on planted failures."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganzoo.evaluation import verdict as rules
from ganzoo.evaluation.verdict import find_failure, verdict

FLOORS = {
    **{"fid": 1.3, "classes": 10.0, "entropy": 2.301, "diversity": 17.5, "sharpness": 1.44, "memorised": 0.001},
    **{"outliers": 0.0, "precision": 0.93, "recall": 0.94, "density": 0.93, "coverage": 0.95, "label_accuracy": 0.999},
}
SOUND = {
    **{"fid": 20.7, "classes": 10.0, "entropy": 2.28, "diversity": 15.4, "sharpness": 1.8, "memorised": 0.0},
    **{"outliers": 0.001, "precision": 0.95, "recall": 0.7, "density": 0.7, "coverage": 0.8, "label_accuracy": 0.97},
}
# what is wrong with it -> the figures that differ from a sound generator's, the word, the figure that says so
FAILURES: dict[str, tuple[dict[str, float], str, str]] = {
    "one image": ({"classes": 1, "diversity": 0, "precision": 0, "coverage": 0.01}, "collapsed", "diversity"),
    "one image a class": ({"diversity": 0, "coverage": 0.03}, "collapsed", "diversity"),
    "one class": ({"classes": 1, "coverage": 0.1}, "collapsed", "classes"),
    "nine of ten classes in one of three draws": ({"classes": 9 + 2 / 3}, "collapsed", "classes"),
    "few images": ({"coverage": 0.15}, "collapsed", "coverage"),
    "few images near many real ones": ({"recall": 0.05}, "collapsed", "recall"),
    "classes of 3 to 25 %": ({"entropy": 2.11}, "unbalanced", "entropy"),
    "noise among the images": ({"outliers": 0.1, "precision": 0.84}, "noisy", "outliers"),
    "blanks among labelled images": ({"outliers": 0.42, "label_accuracy": 0.6}, "noisy", "outliers"),
    "blanks": ({"outliers": 0.42, "sharpness": 0.8, "precision": 0.5}, "noisy", "outliers"),
    "far too blurred": ({"outliers": 0.3, "sharpness": 0.3, "precision": 0.1}, "blurred", "sharpness"),
    "pixel noise": ({"sharpness": 2.1}, "noisy", "sharpness"),
    "shuffled labels": ({"label_accuracy": 0.1}, "label-blind", "label_accuracy"),
    "copies": ({"memorised": 1.0}, "memorising", "memorised"),
    "some copies": ({"memorised": 0.06}, "memorising", "memorised"),
    "blurred": ({"sharpness": 1.0}, "blurred", "sharpness"),
    "blurred past recognition": ({"sharpness": 0.3, "precision": 0.15, "classes": 2}, "blurred", "sharpness"),
    "noise": ({"precision": 0.0, "classes": 1, "sharpness": 4.5, "coverage": 0.0}, "noisy", "sharpness"),
    "like nothing": ({"precision": 0.3, "classes": 9}, "malformed", "precision"),
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


@pytest.mark.parametrize(
    ("figures", "word", "key", "sentence"),
    [
        ({"fid": 1.3, "coverage": 0.95, "density": 0.93}, "excellent", "fid", "FID 1.30, real images 1.30"),
        ({"fid": 3.8, "coverage": 0.87, "density": 0.75}, "excellent", "fid", "FID 3.80, real images 1.30"),
        ({"fid": 4.0, "coverage": 0.9, "density": 0.9}, "good", "fid", "FID 4.00, real images 1.30"),
        ({"fid": 2.0, "coverage": 0.8, "density": 0.9}, "good", "coverage", "coverage 0.800, real images 0.950"),
        ({"fid": 2.0, "coverage": 0.9, "density": 0.6}, "good", "density", "density 0.600, real images 0.930"),
        ({"fid": 20.0, "coverage": 0.9, "density": 0.9}, "far from real", "fid", "FID 20.00, real images 1.30"),
        ({"fid": 2.0, "coverage": 0.6, "density": 0.9}, "far from real", "coverage", "coverage 0.600"),
        ({"fid": 2.0, "coverage": 0.9, "density": 0.4}, "far from real", "density", "density 0.400"),
        ({"density": 0.4}, "far from real", "density", "density 0.400"),
    ],
)
def test_a_generator_without_a_failure_is_graded(figures: dict[str, float], word: str, key: str, sentence: str) -> None:
    found = verdict((SOUND if len(figures) == 3 else {}) | figures, FLOORS)
    assert (found.word, found.key) == (word, key)
    assert found.sentence.startswith(f"{word}: no failure was found, ")
    assert sentence in found.sentence


@given(
    fid=st.floats(0, 1000),
    coverage=st.floats(0.29, 1),
    density=st.floats(0, 2),
    better=st.sampled_from(["fid", "coverage", "density"]),
)
def test_no_figure_that_is_better_makes_a_grade_worse(fid: float, coverage: float, density: float, better: str) -> None:
    figures = {"fid": fid, "coverage": coverage, "density": density}
    order = ["far from real", "good", "excellent"]
    before = order.index(verdict(figures, FLOORS).word)
    figures[better] = figures[better] / 2 if better == "fid" else figures[better] * 1.5
    assert order.index(verdict(figures, FLOORS).word) >= before


@given(keys=st.sets(st.sampled_from(sorted(SOUND))))
def test_figures_that_were_not_measured_say_nothing(keys: set[str]) -> None:
    """Neither do their floors have to be there."""
    measured, floors = ({key: values[key] for key in keys} for values in (SOUND, FLOORS))
    graded = keys & {"fid", "coverage", "density"}
    assert find_failure(measured, floors) is None
    assert (verdict(measured, floors).word == "ungraded") == (not graded)
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
    "recall": rules.RECALL,
    "entropy": rules.ENTROPY,
}


@pytest.mark.parametrize("key", SHARES)
@given(floor=st.floats(0.01, 1), gap=st.floats(0.001, 0.1))
def test_thresholds_are_shares_of_what_real_images_score(key: str, floor: float, gap: float) -> None:
    """Not fixed numbers: another data set, or a judge that is often wrong, has other floors."""

    def fails(share: float, floors: Mapping[str, float]) -> bool:
        return find_failure({key: share * floors[key]}, floors) is not None

    assert fails(SHARES[key] * (1 - gap), {key: floor})
    assert not fails(SHARES[key] * (1 + gap), {key: floor})


def test_copies_are_counted_above_those_among_test_images() -> None:
    floors = FLOORS | {"memorised": 0.3}  # a set with near duplicates
    assert find_failure(SOUND | {"memorised": 0.34}, floors) is None
    assert verdict(SOUND | {"memorised": 0.36}, floors).word == "memorising"
