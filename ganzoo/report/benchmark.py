"""The record of a benchmark of the runtime by `ganzoo benchmark`, as frozen values and as JSON. Does not import torch.

A key that does not apply is left out of the JSON, such as the size of a file for torch.
"""

from typing import Any, Literal

from ganzoo.records import Record


class Spread(Record):
    """Several measurements of one quantity."""

    mean: float
    least: float
    greatest: float


class Latency(Record):
    """The calls of one contestant at one batch size."""

    calls: int
    p50_ms: float
    p95_ms: float
    images_per_s: float  # of the median call
    medians_ms: tuple[float, ...]  # of each turn


class BatchResult(Latency):
    """One contestant at one batch size."""

    batch: int
    way: str  # how torch computed, or ""
    ready_s: float  # until the first batch was drawn
    times_faster_than: dict[str, Spread]  # by reference; ratios of the same turn


class Start(Record):
    """Seconds of a fresh process to its first image."""

    from_start: float  # of the process
    from_import: float  # of the first module


class FileFacts(Record):
    """What is known of an exported file: its form, and, if it could be written, its size and difference from torch."""

    precision: str | None = None
    layout: str | None = None
    opset: int | None = None
    bytes: int | None = None
    nodes: int | None = None
    difference: float | None = None  # the greatest, of images in [-1, 1]; None if the file does not record it


class ContestantResult(FileFacts):
    """A contestant, in torch (without facts of a file) or in onnxruntime."""

    name: str
    kind: Literal["file", "torch"]
    start: dict[str, Start] | None  # by kind, see `ganzoo.studies.stopwatch.first_image`
    error: str | None  # why it failed, in one line
    batches: tuple[BatchResult, ...]  # until it failed


class ModelResult(Record):
    """A run, or all files together: the contestants that were compared with each other."""

    model: str
    variant: str
    references: tuple[str, ...]  # the contestants that others are compared with
    contestants: tuple[ContestantResult, ...]


class ConditionsRecord(Record):
    """The conditions of all contestants."""

    threads: int
    cores: int
    busy: float | None  # the share of the machine that other programs used; None if unknown
    batches: tuple[int, ...]
    seconds: float  # per turn
    repeats: int
    waiting: str
    python: str
    versions: dict[str, str]


class BenchmarkRecord(Record):
    """All that a benchmark of the runtime measured."""

    conditions: ConditionsRecord
    models: tuple[ModelResult, ...]

    def __getitem__(self, key: str) -> Any:
        """Return a key's value of the JSON document, which earlier versions returned."""
        return self.to_json()[key]
