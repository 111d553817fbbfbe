"""The verdict: what ails a generator, in one word, with the figure that says so.

The thresholds were set by measuring planted failures and sound generators (`benchmarks/verdicts.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ganzoo.evaluation.metrics import FIGURES

Word = Literal["collapsed", "label-blind", "memorising", "blurred", "malformed", "healthy"]

# Shares of what real images score, below which a figure tells of a failure.
DIVERSITY = 0.65  # every class is drawn alike; two images a class, over and over, have half
PRECISION = 0.6  # most images are like no real one, so that their classes mean nothing
ALIKE = 0.7  # of precision: from here on what is drawn is real enough, and where it covers little, it is too few
COVERAGE = 0.3  # little of what is real is drawn
LABEL_ACCURACY = 0.8
SHARPNESS = 0.8
MEMORISED = 0.05  # so many more copies than among real test images
LOST_CLASSES = 0.3  # so many classes fewer than real images cover, in the mean over the draws


@dataclass(frozen=True)
class Verdict:
    """A word, the figure that it rests on, and a sentence."""

    word: Word
    key: str
    sentence: str


def verdict(figures: Mapping[str, float], floors: Mapping[str, float]) -> Verdict:
    """The first failure that shows, from the plainest on, else healthy.

    Rules whose figure was not measured are passed over.
    """

    def below(key: str, share: float) -> bool:
        return key in figures and figures[key] < share * floors[key]

    unreal, blurred, sparse = below("precision", PRECISION), below("sharpness", SHARPNESS), below("coverage", COVERAGE)
    fewer_classes = "classes" in figures and figures["classes"] < floors["classes"] - LOST_CLASSES
    copies = figures.get("memorised", 0.0) > floors.get("memorised", 0.0) + MEMORISED
    rules: tuple[tuple[bool, Word, str, str], ...] = (
        (below("diversity", DIVERSITY), "collapsed", "diversity", "the images of a class are nearly all alike"),
        (unreal and blurred, "blurred", "sharpness", "its images are less sharp than real ones"),
        (unreal, "malformed", "precision", "most of its images are like no real one"),
        (fewer_classes, "collapsed", "classes", "it has lost classes"),
        (
            sparse and not below("precision", ALIKE),
            "collapsed",
            "coverage",
            "it draws little of what real images show",
        ),
        (
            below("label_accuracy", LABEL_ACCURACY),
            "label-blind",
            "label_accuracy",
            "it often draws another class than it was asked for",
        ),
        (copies, "memorising", "memorised", "it repeats training images"),
        (blurred, "blurred", "sharpness", "its images are less sharp than real ones"),
        (sparse, "malformed", "coverage", "many of its images are like no real one"),
    )
    for holds, word, key, what in rules:
        if holds:
            shown, floor = FIGURES[key].show(figures[key]), FIGURES[key].show(floors[key])
            return Verdict(word, key, f"{word}: {what} ({FIGURES[key].title} {shown}, real images {floor})")
    found = next((key for key in ("fid", *figures) if key in figures), "")
    return Verdict("healthy", found, "healthy: no failure shows in the figures measured")
