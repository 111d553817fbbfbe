"""What was measured of the built-in variants, as it ships with the package: how good, how fast, how large. No torch."""

from collections.abc import Mapping
from pathlib import Path

from ganzoo.records import Record, read_record

FILE = Path(__file__).with_name("measured.json")  # benchmarks/variants.py writes it


class MeasuredVariant(Record):
    """One variant after the minutes of training that `About` names."""

    fid: float  # FID-MNIST
    coverage: float  # share of the real images with a generated one near, 0 to 1
    label_accuracy: float | None  # share of the labels that are drawn right; None if none can be asked for
    images_per_s: float  # real images through the discriminator
    generator_parameters: int
    discriminator_parameters: int
    minutes_to_good: float | None  # until FID-MNIST was good; None if it never was
    verdict: str
    revision: str  # the commits that it was measured at


class About(Record):
    """How all variants were measured."""

    machine: str
    minutes: float
    good: float  # FID-MNIST at or under which digits count as good


class Measured(Record):
    """The whole file."""

    about: About
    variants: Mapping[str, MeasuredVariant]


def read_measured() -> Measured | None:
    """Return what was measured; None if no file ships. Raises FileError for a damaged one."""
    return read_record(Measured, FILE)
