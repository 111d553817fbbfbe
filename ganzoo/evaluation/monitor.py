"""Evaluation on the way: while a run trains, a line in its `evaluations.jsonl` whenever one is due."""

from collections.abc import Sequence
from typing import Any

from ganzoo.config import RunConfig
from ganzoo.data import Dataset
from ganzoo.evaluation.evaluator import QUICK, N, as_subject, floors, measure, read
from ganzoo.evaluation.judge import Reading, load_judge
from ganzoo.evaluation.metrics import FIGURES, class_shares, classes_lost, title_of
from ganzoo.evaluation.reference import Reference, with_test
from ganzoo.evaluation.verdict import DIVERSITY
from ganzoo.runtime.generator import Generator


class Monitor:
    """Judges a generator in training, on the same latents each time."""

    def __init__(self, dataset: Dataset, config: RunConfig) -> None:
        """Raises UsageError where the data have no judge."""
        settings = config.data
        judge = load_judge(dataset.source, settings.data_dir)
        splits = with_test(
            dataset, data_dir=settings.data_dir, image_size=settings.image_size, channels=settings.channels
        )
        self.reference = Reference(judge, splits)
        self.n = min(N, len(splits.train))
        self.keys = [key for key in QUICK if key != "label_accuracy" or config.variant.conditional]
        self.floors = floors(self.reference, self.n, [0], self.keys)

    def evaluate(self, generator: Generator) -> dict[str, Any]:
        """The figures, their floors, and the classes that the generator no longer draws, by name."""
        samples = read(as_subject(generator, "").draw(0, self.n), self.reference)
        return {
            "n": self.n,
            "judge": self.reference.judge.describe(),
            "figures": measure(samples, self.reference, self.keys),
            "floors": self.floors,
            "classes_lost": self._classes_lost(samples.reading),
        }

    def _classes_lost(self, reading: Reading) -> list[str]:
        judge = self.reference.judge
        shares = class_shares(reading.labels, judge.num_classes)
        return [judge.class_names[label] for label in classes_lost(shares, self.reference.real_shares)]


def describe(line: dict[str, Any]) -> str:
    """An evaluation as a line for people."""
    shown = ("fid", "classes", "label_accuracy")
    parts = [
        f"{title_of(key, line['judge']['name'])} {FIGURES[key].show(line['figures'][key])}"
        f" (real {FIGURES[key].show(line['floors'][key])})"
        for key in shown
        if key in line["figures"]
    ]
    return f"step {line['step']}  {', '.join(parts)}"


def warning(line: dict[str, Any], former: Sequence[dict[str, Any]]) -> str | None:
    """What to say of a collapse, unless it was there at the evaluation before."""
    before = former[-1] if former else {"classes_lost": [], "figures": {}, "floors": {}}
    if set(line["classes_lost"]) - set(before["classes_lost"]):
        what = f"the generator draws next to nothing of class {', '.join(line['classes_lost'])}"
    elif _alike(line) and not _alike(before):
        what = "the images of a class are nearly all alike"
    else:
        return None
    return f"warning: collapse at step {line['step']}: {what}"


def _alike(line: dict[str, Any]) -> bool:
    figures, floors = line["figures"], line["floors"]
    return "diversity" in figures and figures["diversity"] < DIVERSITY * floors["diversity"]
