"""Evaluation during training: each adds a line to the run's `evaluations.jsonl`."""

from collections.abc import Sequence

from ganzoo.config import RunConfig
from ganzoo.data import Dataset
from ganzoo.evaluation.evaluator import OF_CLASSES, QUICK, N, as_subject, floors, measure, read
from ganzoo.evaluation.judge import CLASSES, Reading, fitting, load_judge
from ganzoo.evaluation.metrics import FIGURES, class_shares, classes_lost, title_of
from ganzoo.evaluation.reference import Reference, with_test
from ganzoo.evaluation.verdict import DIVERSITY
from ganzoo.runs.records import EvaluationLine
from ganzoo.runtime.generator import Generator

SHOWN = 5  # classes that a warning lists, at most


class Monitor:
    """The evaluation of a generator in training, on the same latents each time."""

    def __init__(self, dataset: Dataset, config: RunConfig) -> None:
        """Load the judge and measure the floors. Raises UsageError if the data set has no judge."""
        settings = config.data
        judge = load_judge(dataset.source, settings.data_dir, sha256=dataset.sha256, reading=settings.reading)
        splits = with_test(dataset, data_dir=settings.data_dir, **settings.reading)
        advice = fitting(dataset.source, settings.data_dir, settings.reading)
        self.reference = Reference(judge, splits, advice=advice)
        self.n = min(N, len(splits.train))
        left_out = OF_CLASSES if judge.task != CLASSES else () if config.variant.conditional else ("label_accuracy",)
        self.keys = [key for key in QUICK if key not in left_out]
        self.floors = floors(self.reference, self.n, [0], self.keys)

    def evaluate(
        self, generator: Generator, *, step: int, epoch: float, seconds: float, elapsed: float | None
    ) -> EvaluationLine:
        """Return the metrics, their floors, and the names of the classes that the generator no longer draws."""
        samples = read(as_subject(generator, "").draw(0, self.n), self.reference)
        return EvaluationLine(
            step=step,
            epoch=epoch,
            seconds=seconds,
            elapsed=elapsed,
            n=self.n,
            judge=self.reference.judge.describe(),
            figures=measure(samples, self.reference, self.keys),
            floors=self.floors,
            classes_lost=self._classes_lost(samples.reading),
        )

    def confirm(self, generator: Generator, draw: int) -> float:
        """Return the FID on other latents, those of the draw number `draw`, 1 or more."""
        samples = read(as_subject(generator, "").draw(draw, self.n), self.reference)
        return measure(samples, self.reference, ["fid"])["fid"]

    def _classes_lost(self, reading: Reading) -> tuple[str, ...]:
        judge = self.reference.judge
        if judge.task != CLASSES:
            return ()
        shares = class_shares(reading.labels, judge.num_classes)
        return tuple(judge.class_names[label] for label in classes_lost(shares, self.reference.real_shares))


def describe(line: EvaluationLine) -> str:
    """Return an evaluation as one line of text."""
    parts = [
        f"{title_of(key, line.judge.name)} {FIGURES[key].show(line.figures[key])}"
        f" (real {FIGURES[key].show(line.floors[key])})"
        for key in ("fid", "classes", "label_accuracy")
        if key in line.figures
    ]
    if line.confirmed_fid is not None:
        parts.append(f"on other latents {FIGURES['fid'].show(line.confirmed_fid)}")
    return f"step {line.step}  {', '.join(parts)}"


def warning(line: EvaluationLine, former: Sequence[EvaluationLine]) -> str | None:
    """Return a warning of a collapse that the previous evaluation did not have, or None."""
    before = former[-1:]
    if set(line.classes_lost) - {name for other in before for name in other.classes_lost}:
        more = f" and {len(line.classes_lost) - SHOWN} others" if len(line.classes_lost) > SHOWN else ""
        what = f"the generator draws almost no images of class {', '.join(line.classes_lost[:SHOWN])}{more}"
    elif _is_alike(line) and not any(map(_is_alike, before)):
        what = "the images of a class are nearly all alike"
    else:
        return None
    return f"warning: collapse at step {line.step}: {what}"


def _is_alike(line: EvaluationLine) -> bool:
    diversity, floor = line.figures.get("diversity"), line.floors.get("diversity")
    return diversity is not None and floor is not None and diversity < DIVERSITY * floor
