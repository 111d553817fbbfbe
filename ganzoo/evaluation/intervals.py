"""Confidence intervals of means: how far a few seeds allow to conclude."""

import math
from collections.abc import Sequence
from functools import cache
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


def interval(values: Sequence[float] | NDArray[Any]) -> tuple[float, float | None]:
    """The mean, and half of its 95 % interval by Student's t; None for the half where there is one value."""
    found = [float(value) for value in values]
    if len(found) < 2:
        return fmean(found), None
    return fmean(found), student(len(found) - 1) * stdev(found) / math.sqrt(len(found))


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
