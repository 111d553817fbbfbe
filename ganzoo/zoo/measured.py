"""Measured quality, speed and size of the built-in variants, which ship with the package. Needs no torch."""

from collections.abc import Mapping
from pathlib import Path

from ganzoo.records import Record, read_record

FILE = Path(__file__).with_name("measured.json")  # benchmarks/variants.py writes it


class MeasuredVariant(Record):
    """One variant after the minutes of training that `About` states."""

    fid: float  # FID-MNIST
    coverage: float  # share of the real images with a generated image nearby, 0 to 1
    label_accuracy: float | None  # share of generated images that show their label, 0 to 1; None without labels
    images_per_s: float  # real images that pass the discriminator in training
    generator_parameters: int
    discriminator_parameters: int
    minutes_to_good: float | None  # until FID-MNIST was good; None if it never was
    verdict: str
    revision: str  # the commits that were measured


class About(Record):
    """How all variants were measured."""

    machine: str
    minutes: float
    good: float  # largest FID-MNIST that counts as good


class Measured(Record):
    """The whole file."""

    about: About
    variants: Mapping[str, MeasuredVariant]


def read_measured() -> Measured | None:
    """Return the measurements, or None if the file is missing. Raises FileError if it is damaged."""
    return read_record(Measured, FILE)
