"""The records of a run: its log lines, the evaluations during training, and the full evaluation."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt

from ganzoo.records import FlatRecord, Record

SCHEMA: Literal[1] = 1  # of an evaluation record


class JudgeRecord(Record):
    """The judge that computed metrics."""

    name: str
    sha256: str
    accuracy: float  # on real test images, from 0 to 1


class VerdictRecord(Record):
    """A verdict as one word, and as a sentence that begins with it."""

    word: str
    sentence: str


class LogSums(Record):
    """The sums of the loss terms since the last log line, and the number of updates in each."""

    sums: dict[Annotated[str, Field(pattern="^[dg]_")], float]
    counts: dict[Literal["d", "g"], NonNegativeInt]


class Vouched(Record):
    """The size and hash of a file of lines when a checkpoint was saved."""

    bytes: NonNegativeInt
    sha256: str


class CheckpointState(Record):
    """Everything in a checkpoint except the tensors; `ganzoo.config` parses `config`."""

    step: int = Field(ge=0)
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)  # of training
    processes: int = Field(default=1, ge=1)
    final: bool = False  # whether it was saved at the end of a budget, after the final image and evaluation
    fid: float | None = None  # if it was evaluated at this step
    logs: LogSums | None = None
    lines: dict[str, Vouched] = Field(default_factory=dict)  # of `metrics.jsonl` and `evaluations.jsonl`
    config: dict[str, Any] = Field(default_factory=dict)


class LogLine(FlatRecord):
    """A line of `metrics.jsonl`: the means of the loss terms since the previous line."""

    FLAT: ClassVar[str] = "losses"

    step: int
    epoch: float
    seconds: float  # of training
    images_per_s: float
    losses: dict[str, float] = Field(
        default_factory=dict
    )  # `d_loss`, `g_loss`, and `d_<term>` and `g_<term>` of each term

    @classmethod
    def is_item(cls, key: str, value: Any) -> bool:
        return key.startswith(("d_", "g_"))


class EvaluationLine(Record):
    """A line of `evaluations.jsonl`: the metrics of the generator during training."""

    step: int
    epoch: float
    seconds: float  # of training
    elapsed: float | None = None  # seconds since loading of the data began, without evaluations; None after resuming
    n: int | None = None  # images
    judge: JudgeRecord
    figures: dict[str, float]
    floors: dict[str, float] = Field(default_factory=dict)
    classes_lost: tuple[str, ...] = ()
    confirmed_fid: float | None = None  # on other latents, if the FID was at most the run's target


class Rollback(Record):
    """A line of `rollbacks.jsonl`: a run diverged, and continued from a checkpoint with half the learning rates."""

    step: int  # the number of steps before the rollback
    reason: str
    to: int  # the step of the checkpoint that it continued from; 0 for its start
    learning_rates: dict[
        Literal["generator", "discriminator"], float | dict[str, Any]
    ]  # after the rollback; a number or a schedule's table


class ExportRecord(Record):
    """The run's record of a file that was exported from it."""

    format: str
    path: str  # the file's name, without the directory
    sha256: str  # of the written bytes
    step: int
    weights: str
    difference: float  # maximum, from torch's images in [-1, 1]
    signature: str | None = None  # of the SHA-256 by the user's key, if opening files of the format requires it


class EnvironmentRecord(Record):
    """A run's `env.json`: the environment in which it was started."""

    python: str | None = None
    device: str | None = None
    packages: dict[str, str | None] = Field(default_factory=dict)  # versions by name
    git_revision: str | None = None
    started: str | None = None


class EvaluatedData(Record):
    """The real images of an evaluation."""

    source: str
    train_sha256: str
    test_sha256: str


class FigureRecord(Record):
    """A metric: its value in each draw, their mean and deviation, and the value of real images."""

    values: tuple[float, ...]
    mean: float
    deviation: float
    floor: float


class CodeRecord(Record):
    """The most frequent class for a value of a latent code, and its share of the images."""

    value: int
    class_name: str = Field(alias="class")
    share: float


class EvaluationRecord(Record):
    """The result of `ganzoo evaluate`, which is stored in a run as `evaluation.json`."""

    schema_version: Literal[1] = Field(SCHEMA, alias="schema")
    source: str | None = None
    variant: str | None = None
    step: int | None
    judge: JudgeRecord
    data: EvaluatedData
    n: int  # images per draw
    asked: int
    seeds: tuple[int, ...]
    figures: dict[str, FigureRecord]
    unavailable: dict[str, str]
    codes: tuple[CodeRecord, ...] = ()
    notes: tuple[str, ...] = ()
    verdict: VerdictRecord
