"""Means of a few values, their deviation and confidence intervals: how far a few seeds allow to conclude."""

import math
from collections.abc import Sequence
from functools import cache
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


def mean_and_deviation(values: Sequence[float] | NDArray[Any]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation, which is 0 of a single value."""
    found = [float(value) for value in values]
    return fmean(found), stdev(found) if len(found) > 1 else 0.0


def interval(values: Sequence[float] | NDArray[Any]) -> tuple[float, float | None]:
    """The mean, and half of its 95 % interval by Student's t; None for the half where there is one value."""
    mean, deviation = mean_and_deviation(values)
    if len(values) < 2:
        return mean, None
    return mean, student(len(values) - 1) * deviation / math.sqrt(len(values))


def outcome(mean: float, half: float | None) -> str:
    """Return what a gain and half of its 95 % interval allow to say: it helps, hurts, or makes no difference.

    With one value (None) that is always no difference.
    """
    if half is None or abs(mean) <= half:
        return "no difference"
    return "helps" if mean > 0 else "hurts"


@cache
def student(freedom: int) -> float:
    """The quantile of Student's t that bounds 95 % of it on both sides.

    With t = sqrt(freedom) tan(angle) its density is proportional to cos(angle)^(freedom - 1).
    """
    angles = np.linspace(0, np.pi / 2, 200_001)
    middles = (angles[:-1] + angles[1:]) / 2
    area = np.cumsum(np.cos(middles) ** (freedom - 1))
    angle = np.interp(CONFIDENCE * area[-1], area, angles[1:])
    return math.sqrt(freedom) * math.tan(angle)
