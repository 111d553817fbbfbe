"""The shapes of schedules: the change of a number from `start` to `end` as `t` goes from 0 to 1. Needs no torch."""

import math

from ganzoo.errors import UsageError
from ganzoo.registry import schedules


@schedules.register("linear")
def linear(start: float, end: float, t: float) -> float:
    """The same change at every step."""
    return start + (end - start) * t


@schedules.register("cosine")
def cosine(start: float, end: float, t: float) -> float:
    """Half a cosine wave: slow at both ends (Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5)."""
    return end + (start - end) * (1 + math.cos(math.pi * t)) / 2


@schedules.register("exponential")
def exponential(start: float, end: float, t: float) -> float:
    """The same factor at every step; both ends must be greater than 0."""
    if start <= 0 or end <= 0:
        raise UsageError(f"exponential schedule from {start:g} to {end:g}: both values must be greater than 0")
    return start * math.pow(end / start, t)


@schedules.register("constant-then-linear")
def constant_then_linear(start: float, end: float, t: float) -> float:
    """The start value for the first half, then the same change at every step."""
    return start + (end - start) * max(0.0, 2 * t - 1)
