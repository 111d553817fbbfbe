"""The verdict: a generator's failure in one word, or how near to real its images are, with the deciding metric.

The limits were set by measuring planted failures and sound generators (`benchmarks/verdicts.py`). Files from before
there were grades contain the word "healthy" for a generator without a failure; it is read, but no longer written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ganzoo.evaluation.metrics import FIGURES

Word = Literal[
    "collapsed", "label-blind", "memorising", "blurred", "noisy", "malformed", "unbalanced",
    "excellent", "good", "far from real", "ungraded",
]  # fmt: skip

# Failures: shares of what real images score; a metric below its share indicates a failure.
DIVERSITY = 0.65  # the images of each class are alike; two images per class, repeated, score half
PRECISION = 0.6  # most images are unlike any real one, so that their classes mean nothing
ALIKE = 0.7  # of precision: from here on images are real enough, and low coverage means too few different ones
COVERAGE = 0.3  # generated images cover little of the real ones
RECALL = 0.15
LABEL_ACCURACY = 0.8
SHARPNESS = 0.8
ENTROPY = 0.95  # some classes are drawn far more often than others
NOISE = 1.3  # of sharpness, above which images are noisy
# Failures: differences from what real images score.
MEMORISED = 0.05  # more copies than among real test images
OUTLIERS = 0.01  # more images that are unlike any real one
LOST_CLASSES = 0.3  # fewer classes than real images cover, mean over the draws


@dataclass(frozen=True)
class Grade:
    """The limits of a grade for a generator without a failure, in multiples of what real images score."""

    word: Word
    meaning: str
    fid: float  # at most
    coverage: float  # at least
    density: float  # at least

    def is_reached(self, key: str, value: float, floor: float) -> bool:
        """Return whether a metric is good enough for this grade."""
        limit: float = getattr(self, key) * floor
        return value <= limit if key == "fid" else value >= limit


GRADES = (
    Grade("excellent", "and the images are nearly like real ones", fid=3, coverage=0.9, density=0.8),
    Grade("good", "and the images are close to real ones", fid=15, coverage=0.75, density=0.6),
)


@dataclass(frozen=True)
class Verdict:
    """A word, the metric that decided it, and a sentence."""

    word: Word
    key: str
    sentence: str


def verdict(figures: Mapping[str, float], floors: Mapping[str, float]) -> Verdict:
    """Return the first failure found, the plainest first, else the grade.

    Rules whose metric was not measured are skipped.
    """
    return find_failure(figures, floors) or grade(figures, floors)


def find_failure(figures: Mapping[str, float], floors: Mapping[str, float]) -> Verdict | None:
    """Return the first failure found; None if there is none."""

    def below(key: str, share: float) -> bool:
        return key in figures and figures[key] < share * floors[key]

    def above(key: str, margin: float) -> bool:
        return key in figures and figures[key] > floors[key] + margin

    unreal, sparse = below("precision", PRECISION), below("coverage", COVERAGE)
    others = 1 - figures.get("outliers", 0.0)  # outliers may be blank images, whose sharpness is 0
    blurred = below("sharpness", SHARPNESS * others)
    real_enough = not below("precision", ALIKE)
    noisy = "sharpness" in figures and figures["sharpness"] > NOISE * floors["sharpness"]
    fewer_classes = "classes" in figures and figures["classes"] < floors["classes"] - LOST_CLASSES
    little, like_none = "it covers little of what real images show", "many of its images are unlike any real one"
    rules: tuple[tuple[bool, Word, str, str], ...] = (
        (below("diversity", DIVERSITY), "collapsed", "diversity", "the images of a class are nearly all alike"),
        (unreal and blurred, "blurred", "sharpness", "its images are less sharp than real ones"),
        (
            above("outliers", OUTLIERS),
            "noisy",
            "outliers",
            "some of its images are noise, blank or unlike any real one",
        ),
        (noisy, "noisy", "sharpness", "its images are rougher than real ones"),
        (unreal, "malformed", "precision", "most of its images are unlike any real one"),
        (fewer_classes, "collapsed", "classes", "it has lost classes"),
        (sparse and real_enough, "collapsed", "coverage", little),
        (below("recall", RECALL) and real_enough, "collapsed", "recall", little),
        (
            below("label_accuracy", LABEL_ACCURACY),
            "label-blind",
            "label_accuracy",
            "it often draws another class than the requested one",
        ),
        (above("memorised", MEMORISED), "memorising", "memorised", "it repeats training images"),
        (blurred, "blurred", "sharpness", "its images are less sharp than real ones"),
        (sparse, "malformed", "coverage", like_none),
        (below("entropy", ENTROPY), "unbalanced", "entropy", "it draws some classes far more often than others"),
    )
    for holds, word, key, what in rules:
        if holds:
            return Verdict(word, key, f"{word}: {what} ({_beside_real(key, figures, floors)})")
    return None


def grade(figures: Mapping[str, float], floors: Mapping[str, float]) -> Verdict:
    """Return the best grade whose limits all metrics meet, with the metric that prevents a better one."""
    measured = [key for key in ("fid", "coverage", "density") if key in figures]
    if not measured:
        return Verdict(
            "ungraded", "", "ungraded: no failure was found, and no metric that decides a grade was measured"
        )
    key = measured[0]
    for step in GRADES:
        missed = [key for key in measured if not step.is_reached(key, figures[key], floors[key])]
        if not missed:
            return _graded(step.word, key, step.meaning, figures, floors)
        key = missed[0]
    return _graded("far from real", key, "but the images as a whole differ much from real ones", figures, floors)


def _graded(word: Word, key: str, what: str, figures: Mapping[str, float], floors: Mapping[str, float]) -> Verdict:
    return Verdict(word, key, f"{word}: no failure was found, {what} ({_beside_real(key, figures, floors)})")


def _beside_real(key: str, figures: Mapping[str, float], floors: Mapping[str, float]) -> str:
    figure = FIGURES[key]
    return f"{figure.title} {figure.show(figures[key])}, real images {figure.show(floors[key])}"
