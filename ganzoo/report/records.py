"""The records of a comparison and of a case study, which `ganzoo.studies` writes and reports read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from ganzoo.errors import FileError
from ganzoo.evaluation.evaluator import SEEDS, N
from ganzoo.evaluation.intervals import mean_and_deviation
from ganzoo.evaluation.metrics import FIGURES
from ganzoo.files import refuse_links
from ganzoo.records import FlatRecord, Record, read_record
from ganzoo.runs.records import EvaluatedData, EvaluationLine, JudgeRecord, VerdictRecord

SCHEMA: Literal[1] = 1
RESULTS = "results.json"
# All metrics in the plans of earlier versions, which listed them if none were given: a directory with such a plan can
# be continued. Later metrics are not added.
FIGURE_KEYS = (
    "fid", "kid", "label_accuracy", "cas", "precision", "recall", "density", "coverage", "classes", "entropy",
    "confidence", "diversity", "sharpness", "memorised",
)  # fmt: skip
COSTS = ("images_per_s", "generator_parameters", "onnx_bytes")  # of a run, besides its latencies
LATENCY = "latency_ms_"  # and a batch size
ARMS = ("real_only", "with_generated", "moved_only")  # training data of a classifier in the study of synthetic data


class Spread(Record):
    """The mean of some values, and their sample standard deviation."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of at least one value."""
        mean, deviation = mean_and_deviation(values)
        return cls(mean=mean, deviation=deviation)


# A comparison


class ComparisonPlan(Record):
    """What a comparison consists of."""

    schema_version: int = SCHEMA
    variants: tuple[str, ...] = ()
    seeds: PositiveInt = SEEDS  # how many
    first_seed: NonNegativeInt = 0
    dataset: str = "auto"
    data_dir: str | None = None
    minutes: float | None = None
    epochs: float | None = None
    steps: int | None = None
    points: tuple[float, ...] = ()  # when runs are evaluated: seconds of training if the budget is minutes, else epochs
    sample_epochs: tuple[int, ...] | None = None
    settings: tuple[str, ...] = ()
    n: int = Field(default=N, ge=2)
    figures: tuple[str, ...] | None = None  # None: all
    runs: tuple[str, ...] = ()  # trained elsewhere


class CurvePoint(FlatRecord):
    """The metrics of a run at a point of its training."""

    FLAT: ClassVar[str] = "figures"

    step: int
    epoch: float
    seconds: float
    figures: dict[str, float] = Field(default_factory=dict)

    @classmethod
    def is_item(cls, key: str, value: Any) -> bool:
        return key in FIGURES


def curve_point(line: EvaluationLine) -> CurvePoint:
    """Return an evaluation during training as a point of a curve."""
    return CurvePoint(step=line.step, epoch=line.epoch, seconds=line.seconds, figures=line.figures)


class ComparisonRow(Record):
    """A run of a comparison. A failed run has an error, and none of the fields below it."""

    name: str
    run: str  # its directory, relative to that of the comparison
    variant: str | None  # None for a run that could not be read
    seed: int | None
    status: Literal["done", "failed"]
    error: str | None = None
    judge: JudgeRecord | None = None
    data: EvaluatedData | None = None
    n: int | None = None  # images of an evaluation
    figures: dict[str, float] = Field(default_factory=dict)
    floors: dict[str, float] = Field(default_factory=dict)
    verdict: VerdictRecord | None = None
    steps: int | None = None
    seconds: float | None = None
    epochs: float | None = None
    images_per_s: float | None = None
    generator_parameters: int | None = None
    discriminator_parameters: int | None = None
    onnx_bytes: int | None = None
    latency_ms: dict[str, float] = Field(default_factory=dict)  # by batch size
    curve: tuple[CurvePoint, ...] = ()
    curve_floors: dict[str, float] = Field(default_factory=dict)  # for the number of images evaluated during training

    @property
    def done(self) -> bool:
        return self.status == "done"


class VariantSummary(FlatRecord):
    """A variant of a comparison: the spread of each number over its runs."""

    FLAT: ClassVar[str] = "spreads"

    variant: str
    runs: int  # finished ones
    failed: int
    spreads: dict[str, Spread] = Field(default_factory=dict)

    @classmethod
    def is_item(cls, key: str, value: Any) -> bool:
        return key in FIGURES or key in COSTS or key.startswith(LATENCY)


class ComparisonResults(Record):
    """A comparison's `results.json`; also several runs without a common plan, in that form."""

    schema_version: Literal[1] = Field(SCHEMA, alias="schema")
    plan: ComparisonPlan | None = None
    judge: JudgeRecord | None
    data: EvaluatedData | None = None
    floors: dict[str, float]
    curve_floors: dict[str, float] = Field(default_factory=dict)
    rows: tuple[ComparisonRow, ...]
    table: tuple[VariantSummary, ...] = ()


def read_results(directory: Path) -> ComparisonResults:
    """Return the results of the comparison in `directory`.

    Raises FileError if there are none, if they are damaged, or if the directory contains a link.
    """
    refuse_links(directory)
    results = read_record(ComparisonResults, directory / RESULTS)
    if results is None:
        raise FileError(f"{directory} has no {RESULTS}: it is not a comparison (ganzoo compare RUN... makes one)")
    return results


# A case study


class StudyPlan(Record):
    """The part of a study's `plan.json` that its report shows."""

    epochs: tuple[int, ...] | None = None  # after which the grids of its runs are shown


class StudiedData(Record):
    """A study's `data.json`: its data set."""

    source: str
    note: str | None = None
    train_images: int
    test_images: int
    image_shape: tuple[int, ...]  # (C, H, W)
    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]  # of each class
    test_counts: tuple[int, ...]
    train_sha256: str
    test_sha256: str


class ClassifierEpoch(Record):
    """An epoch of a classifier's training."""

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float


class ClassifierRecord(Record):
    """A study's `classifier.json`: the feed-forward classifier."""

    name: str
    parameters: int
    layers: tuple[tuple[str, str, int], ...]  # name, shape, parameters
    history: tuple[ClassifierEpoch, ...] = Field(min_length=1)
    test_accuracy: float | None = None
    confusion: tuple[tuple[int, ...], ...]  # one row per true class, one column per predicted class
    class_names: tuple[str, ...]


class SyntheticDataRow(Record):
    """The accuracies of the classifiers for one number of real images and one seed; None if there is none."""

    per_class: int  # real images
    seed: int
    steps: int | None = None  # of each classifier
    generated: int | None = None  # images
    real_only: float | None
    moved_only: float | None = None
    with_generated: float | None
    error: str | None = None
    seconds: float | None = None

    def accuracy(self, arm: str) -> float | None:
        """Return the accuracy of one of `ARMS`."""
        value: float | None = getattr(self, arm)
        return value


class Difference(Spread):
    """The differences of pairs, one for each seed, and half of the 95 % interval of their mean."""

    interval: float | None  # None for one seed
    outcome: str


class SyntheticDataSummary(Record):
    """The accuracies for one number of real images, over the seeds whose generator did not diverge."""

    per_class: int
    seeds: int
    real_only: Spread | None = None
    with_generated: Spread | None = None
    moved_only: Spread | None = None
    difference: Difference | None = None
    difference_to_moved: Difference | None = None
    outcome: str


def synthetic_data_in(study: Path) -> str:
    """Return the name of a study's `synthetic_data.json`, which is another one in older studies."""
    name, former = "synthetic_data.json", "augmentation.json"
    return former if (study / former).exists() and not (study / name).exists() else name


class SyntheticDataRecord(Record):
    """A study's `synthetic_data.json`."""

    schema_version: Literal[1] = Field(SCHEMA, alias="schema")
    variant: str  # the generator's
    settings: dict[str, Any] = Field(default_factory=dict)  # to be shown besides the recipe
    recipe: dict[str, Any] = Field(default_factory=dict)  # of the generator
    classifier: str
    data_sha256: str | None = None
    seeds: int | None = None
    rows: tuple[SyntheticDataRow, ...]
    summary: tuple[SyntheticDataSummary, ...] = ()


# Their previous names
AugmentationRow, AugmentationSummary, AugmentationRecord = SyntheticDataRow, SyntheticDataSummary, SyntheticDataRecord
