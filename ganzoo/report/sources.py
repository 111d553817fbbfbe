"""The sources of a report: the files of runs, comparisons and studies, and the data sets that they name."""

import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ganzoo.config import DataConfig, RunConfig
from ganzoo.errors import FileError, GanzooError, UsageError
from ganzoo.evaluation.judge import load_judge
from ganzoo.evaluation.reference import Reference, Splits, load_splits
from ganzoo.report.records import ComparisonResults, ComparisonRow, curve_point
from ganzoo.runs.records import EvaluationLine, EvaluationRecord, FigureRecord, JudgeRecord, LogLine
from ganzoo.runs.run import Run
from ganzoo.training.prepare import recipe
from ganzoo.zoo.build import build_networks


@dataclass(frozen=True)
class Story:
    """A run in a report."""

    run: Run
    label: str  # its variant, with its own name if other runs have the same variant

    @cached_property
    def config(self) -> RunConfig:
        return self.run.config

    @property
    def variant(self) -> str:
        return self.config.run.variant

    @cached_property
    def networks(self) -> dict[str, nn.Module]:
        """The networks by role, untrained. Raises UsageError if one of their parts is not installed."""
        with torch.random.fork_rng(devices=[]):
            networks = build_networks(self.config)
        return {name: network.eval() for name, network in networks.items()}

    def parameters(self, player: str) -> int | None:
        """Return the number of weights of a network, None if it cannot be built."""
        try:
            return sum(parameter.numel() for parameter in self.networks[player].parameters())
        except UsageError:
            return None

    @cached_property
    def metrics(self) -> list[LogLine]:
        return self.run.read_metrics()

    @cached_property
    def points(self) -> list[EvaluationLine]:
        """Evaluations during training, oldest first."""
        return self.run.read_evaluations()

    @cached_property
    def evaluation(self) -> EvaluationRecord | None:
        """The newest full evaluation."""
        return self.run.read_evaluation()

    @property
    def judges(self) -> list[JudgeRecord]:
        """The judges of all its evaluations."""
        on_the_way = [point.judge for point in self.points]
        return on_the_way if self.evaluation is None else [*on_the_way, self.evaluation.judge]

    @cached_property
    def step(self) -> int:
        """The newest known step."""
        checkpoints = [checkpoint.step for checkpoint in self.run.checkpoints()]
        return max([*checkpoints, *(line.step for line in self.metrics[-1:])], default=0)

    def epoch(self, step: int) -> float:
        """Return the number of passes over the real images in `step` generator updates."""
        batches = max(1, (self.config.facts.images or 0) // self.config.data.batch_size)
        return step * self.config.variant.critic_steps / batches

    def pictures(self) -> list[tuple[int, Path]]:
        """Return the grids drawn during training, by epoch."""
        found = [(path.stem.removeprefix("epoch-"), path) for path in self.run.samples.glob("epoch-*.png")]
        return sorted((int(epoch), path) for epoch, path in found if epoch.isdecimal())

    @property
    def figures(self) -> dict[str, FigureRecord]:
        """The metrics of the newest full evaluation."""
        return {} if self.evaluation is None else self.evaluation.figures

    @property
    def floors(self) -> dict[str, float]:
        """What real images score, by metric."""
        on_the_way = self.points[-1].floors if self.points else {}
        return on_the_way | {key: figure.floor for key, figure in self.figures.items()}


def stories(runs: Sequence[Path]) -> list[Story]:
    """Return runs, labelled by variant, and by name if several share it. Raises FileError for other paths."""
    opened = [Run.open(path) for path in runs]
    variants = Counter(run.config.run.variant for run in opened)
    places = Counter(run.path.resolve().name for run in opened)
    told = []
    for run in opened:
        variant, place = run.config.run.variant, run.path.resolve().name
        own = place if places[place] == 1 else str(run.path)
        told.append(Story(run, variant if variants[variant] == 1 else f"{variant} ({own})"))
    return told


def results_of(told: Sequence[Story]) -> ComparisonResults:
    """Return runs in the form of a comparison's results: those that differ only in the seed are one variant."""
    recipes: dict[str, set[str]] = {}
    for story in told:
        recipes.setdefault(story.variant, set()).add(recipe(story.config))
    return ComparisonResults(
        judge=next((judge for story in told for judge in story.judges), None),
        floors={key: floor for story in told for key, floor in story.floors.items()},
        rows=tuple(_row(story, story.variant if len(recipes[story.variant]) == 1 else story.label) for story in told),
    )


def _row(story: Story, variant: str) -> ComparisonRow:
    speeds = [line.images_per_s for line in story.metrics]
    return ComparisonRow(
        name=story.label,
        run=str(story.run.path.resolve()),
        variant=variant,
        seed=story.config.train.seed,
        status="done",
        figures={key: figure.mean for key, figure in story.figures.items()},
        verdict=None if story.evaluation is None else story.evaluation.verdict,
        images_per_s=statistics.median(speeds) if speeds else None,
        generator_parameters=story.parameters("generator"),
        discriminator_parameters=story.parameters("discriminator"),
        curve=tuple(curve_point(line) for line in story.points),
    )


class Material:
    """Data sets and their judges' readings, each loaded once for a whole report."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], Any] = {}

    def splits(self, data: DataConfig, sha256: str | None) -> Splits:
        """Return a run's images. Raises a GanzooError if they cannot be loaded, or have changed since its training."""
        splits: Splits = self._once("splits", data, lambda: _load(data))
        if sha256 not in (None, splits.sha256):
            raise FileError(f"{data.source} is no longer what the run was trained on (another SHA-256)")
        return splits

    def nearest(self, images: Tensor, config: RunConfig, count: int) -> tuple[Tensor, str]:
        """Return the training images [N, count, C, H, W] nearest to `images` uint8 [N, C, H, W], and the measure."""
        data = config.data
        splits = self.splits(data, config.facts.sha256)
        parts = ("train",) if splits.note is None else ("train", "test")  # held-out images were trained on too
        real = torch.cat([getattr(splits, part).images for part in parts])
        reference: Reference | None = self._once("reference", data, lambda: _reference(data, splits))
        if reference is None:
            ours, theirs, measure = images.flatten(1).float(), real.flatten(1), "pixels"
        else:
            theirs = torch.cat([getattr(reference, part).features for part in parts])
            ours, measure = reference.judge.read(images).features, f"the features of the judge {reference.judge.name}"
        distances = torch.cat([torch.cdist(ours, chunk.float()) for chunk in torch.split(theirs, 5000)], 1)
        return real[distances.topk(min(count, len(real)), largest=False).indices], measure

    def _once(self, what: str, data: DataConfig, make: Callable[[], Any]) -> Any:
        key = (what, data.model_dump_json(exclude={"batch_size", "labels_per_class"}))
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]


def _load(data: DataConfig) -> Splits:
    return load_splits(data.source, data_dir=data.data_dir, memory=data.memory, **data.reading)


def _reference(data: DataConfig, splits: Splits) -> Reference | None:
    try:
        return Reference(load_judge(data.source, data.data_dir, sha256=splits.sha256), splits)
    except GanzooError:  # no judge was fitted for these images
        return None
