"""The records of a run: its log lines, its evaluations on the way, and the full evaluation."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeInt

from ganzoo.records import FlatRecord, Record

SCHEMA: Literal[1] = 1  # of an evaluation


class JudgeRecord(Record):
    """Which judge figures are by."""

    name: str
    sha256: str
    accuracy: float  # on real test images, a share


class VerdictRecord(Record):
    """A verdict in one word, and in a sentence that begins with it."""

    word: str
    sentence: str


class LogSums(Record):
    """The sums of the loss terms since the last log line, and how many steps are in each."""

    sums: dict[Annotated[str, Field(pattern="^[dg]_")], float]
    counts: dict[Literal["d", "g"], NonNegativeInt]


class Vouched(Record):
    """What a file of lines began with when a checkpoint was saved."""

    bytes: NonNegativeInt
    sha256: str


class CheckpointState(Record):
    """All of a checkpoint that is not tensors; `config` is read by `ganzoo.config`."""

    step: int = Field(ge=0)
    seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)  # of training
    processes: int = Field(default=1, ge=1)
    final: bool = False  # whether it was saved at the end of a budget, after all that belongs there
    fid: float | None = None  # if it was evaluated at this step
    logs: LogSums | None = None
    lines: dict[str, Vouched] = Field(default_factory=dict)  # of `metrics.jsonl` and `evaluations.jsonl`
    config: dict[str, Any] = Field(default_factory=dict)


class LogLine(FlatRecord):
    """A line of `metrics.jsonl`: the means of the loss terms since the line before."""

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
    """A line of `evaluations.jsonl`: the figures of the generator while it is trained."""

    step: int
    epoch: float
    seconds: float  # of training
    elapsed: float | None = None  # seconds since the data were first touched, without evaluations; None once resumed
    n: int | None = None  # images
    judge: JudgeRecord
    figures: dict[str, float]
    floors: dict[str, float] = Field(default_factory=dict)
    classes_lost: tuple[str, ...] = ()
    confirmed_fid: float | None = None  # on other latents, if the FID was at most the run's target


class Rollback(Record):
    """A line of `rollbacks.jsonl`: a run diverged, and went back to train on with half the learning rates."""

    step: int  # how many steps had been taken
    reason: str
    to: int  # the step of the checkpoint that it went on from; 0 for its start
    learning_rates: dict[
        Literal["generator", "discriminator"], float | dict[str, Any]
    ]  # from there on; a schedule's table


class ExportRecord(Record):
    """What a run keeps of a file that was exported from it."""

    format: str
    path: str  # the file's name, without the directory
    sha256: str  # of what was written
    step: int
    weights: str
    difference: float  # from torch's images in [-1, 1], at most
    signature: str | None = None  # of the SHA-256, by the user's key, if the format's files are opened only with it


class EnvironmentRecord(Record):
    """A run's `env.json`: what it was started with."""

    python: str | None = None
    device: str | None = None
    packages: dict[str, str | None] = Field(default_factory=dict)  # their versions
    git_revision: str | None = None
    started: str | None = None


class EvaluatedData(Record):
    """The real images of an evaluation."""

    source: str
    train_sha256: str
    test_sha256: str


class FigureRecord(Record):
    """A figure: its value in each draw, their mean and deviation, and what real images score."""

    values: tuple[float, ...]
    mean: float
    deviation: float
    floor: float


class CodeRecord(Record):
    """The class that a value of a latent code mostly draws, and the share of its images that are of it."""

    value: int
    class_name: str = Field(alias="class")
    share: float


class EvaluationRecord(Record):
    """The outcome of `ganzoo evaluate`, which a run keeps as `evaluation.json`."""

    schema_version: Literal[1] = Field(SCHEMA, alias="schema")
    source: str | None = None
    variant: str | None = None
    step: int | None
    judge: JudgeRecord
    data: EvaluatedData
    n: int  # images of a draw
    asked: int
    seeds: tuple[int, ...]
    figures: dict[str, FigureRecord]
    unavailable: dict[str, str]
    codes: tuple[CodeRecord, ...] = ()
    notes: tuple[str, ...] = ()
    verdict: VerdictRecord
