"""The manifest of a synthetic data set, as in `manifest.json`. It works without pydantic, like `ganzoo sample`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

SCHEMA = 1
KIND = "ganzoo sample"  # identifies a manifest of ganzoo


@dataclass(frozen=True, kw_only=True)
class TrainedOn:
    """The data that the model was trained on; only the last part of a path."""

    source: str
    sha256: str | None


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """The model that drew the images."""

    name: str  # of the file or the run's directory
    sha256: str
    variant: str
    step: int | None
    trained_on: TrainedOn


@dataclass(frozen=True, kw_only=True)
class Filter:
    """The condition for keeping an image."""

    min_confidence: float


@dataclass(frozen=True, kw_only=True)
class Part:
    """The images of one part."""

    kept: int
    drawn: int
    latents: tuple[int, int]  # the first index, and the one after the last
    class_counts: Sequence[int] | None
    images_sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of a data set and how it was made; shares that were not measured are None."""

    kind: str = KIND
    schema: int = SCHEMA
    ganzoo: str
    format: str
    contents: Sequence[str]
    model: ModelRecord
    seed: int
    image_shape: Sequence[int]  # (C, H, W)
    class_names: Sequence[str] | None
    folders: Sequence[str] | None
    labels: str | None  # their origin: "generator" or "judge"
    balance: str | None
    filter: Filter | None
    kept: int
    drawn: int
    judge: dict[str, Any] | None  # a `JudgeRecord` as JSON
    label_accuracy: float | None
    label_accuracy_by_class: Sequence[float | None] | None
    label_accuracy_before_filter: float | None
    mean_confidence: float | None
    unavailable: dict[str, str]
    parts: dict[str, Part]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document."""
        document = asdict(self)
        for part in document["parts"].values():
            part["latents"] = list(part["latents"])
        return document
