"""Means of a few values, their standard deviations and confidence intervals."""

import math
from collections.abc import Sequence
from functools import cache
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


def mean_and_deviation(values: Sequence[float] | NDArray[Any]) -> tuple[float, float]:
    """Return the mean and the sample standard deviation, which is 0 for a single value."""
    found = [float(value) for value in values]
    return fmean(found), stdev(found) if len(found) > 1 else 0.0


def interval(values: Sequence[float] | NDArray[Any]) -> tuple[float, float | None]:
    """Return the mean and half of its 95 % interval by Student's t; the half is None for a single value."""
    mean, deviation = mean_and_deviation(values)
    if len(values) < 2:
        return mean, None
    return mean, student(len(values) - 1) * deviation / math.sqrt(len(values))


def outcome(mean: float, half: float | None) -> str:
    """Return "helps" or "hurts" if the 95 % interval of a gain excludes 0, else "no difference".

    `half` is half of the interval; with None, for a single value, the outcome is "no difference".
    """
    if half is None or abs(mean) <= half:
        return "no difference"
    return "helps" if mean > 0 else "hurts"


@cache
def student(freedom: int) -> float:
    """Return the two-sided 95 % quantile of Student's t.

    With t = sqrt(freedom) tan(angle), its density is proportional to cos(angle)^(freedom - 1).
    """
    angles = np.linspace(0, np.pi / 2, 200_001)
    middles = (angles[:-1] + angles[1:]) / 2
    area = np.cumsum(np.cos(middles) ** (freedom - 1))
    angle = np.interp(CONFIDENCE * area[-1], area, angles[1:])
    return math.sqrt(freedom) * math.tan(angle)
