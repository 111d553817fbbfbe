"""What an augmentation gives where images are few: `dcgan` on a hundred and on five hundred images, and on faces.

    python benchmarks/few_images.py [--seeds 3] [--only WORD] [--way WAY] [--runs DIR]

Needs MNIST and Fashion-MNIST (GANZOO_DATA_DIR) and scikit-image for the faces. Each seed has other images of its data
set, and is trained on them in each way of its case: without an augmentation, as few images are by default, and for a
fifth of the steps from a run on many images of another kind. A run has STEPS steps, which take two minutes on one
thread of a processor with bfloat16 units; as steps are counted, slower machines and other work only take longer. There
is a run for each processor at a time. 10,000 drawn images are judged against all test images, the faces' against the
faces themselves, and looked for among the few that the generator was trained on. Each run is recorded with its commit
and machine; what is recorded is not measured again at the same commit, and what is not asked for stays.
"""

import argparse
import shutil
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias

import torch
from provenance import ROOT, Record, add_trial, begin, leave

import ganzoo
from ganzoo import data
from ganzoo.compute import processors
from ganzoo.data import Dataset
from ganzoo.errors import GanzooError, MachineError
from ganzoo.evaluation import metrics
from ganzoo.evaluation.evaluator import as_subject, measure, read, train_judge
from ganzoo.evaluation.judge import PINNED, load_judge, read_judge
from ganzoo.evaluation.reference import Reference, Splits, load_splits
from ganzoo.files import read_json
from ganzoo.runs.opening import load
from ganzoo.runs.run import Run
from ganzoo.seeds import derive

IMAGES = 10_000  # that each generator is judged by
FIGURES = ("fid", "coverage", "density")
WAYS = {"none": "none", "default": "auto"}  # as `--augment`
START = "from another run"  # of START_SOURCE, for a fifth of the steps
START_SOURCE, START_STEPS = "fashion-mnist", 6_000
STEPS = 2_500

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """So many images of a data set; None for all."""

    source: str
    count: int | None
    ways: tuple[str, ...] = tuple(WAYS)

    @property
    def name(self) -> str:
        return self.source if self.count is None else f"{self.count} images of {self.source}"


CASES = (
    Case("mnist", 100),
    Case("mnist", 500),
    Case("fashion-mnist", 100),
    Case("fashion-mnist", 500),
    Case("faces-lfw", None),
    Case("mnist", 240, ("default", START)),
)


def choose(dataset: Dataset, count: int | None, seed: int) -> Dataset:
    """Return a seed's few images, of all classes alike."""
    if count is None:
        return dataset
    assert dataset.labels is not None
    assert dataset.num_classes is not None
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(derive(seed, "few images")))
    each = count // dataset.num_classes
    rows = torch.cat([order[dataset.labels[order] == label][:each] for label in range(dataset.num_classes)])
    return data.from_arrays(dataset.images[rows], dataset.labels[rows], source=f"{dataset.source}-{count}")


@cache
def reference_of(source: str, runs: Path) -> Reference:
    """Return the real images that the drawn ones are judged against."""
    splits = load_splits(source)
    if splits.note is not None:  # without test images the few are all that is known
        splits = Splits(train=data.load(source), test=data.load(source), sha256=splits.sha256)
    file = runs / f"{source}.judge.safetensors"
    if source in PINNED:
        judge = load_judge(source)
    else:
        judge = read_judge(file) if file.is_file() else train_judge(splits, print, file)
    return Reference(judge, splits)


def train(dataset: Any, place: Path, **options: Any) -> Run:
    return ganzoo.train("dcgan", dataset, device="cpu", threads=1, out=place, progress=False, **options)


def train_start(folder: Path) -> None:
    """Train the run that others start from, unless it is there and finished."""
    place = folder / START_SOURCE
    if not (place.exists() and Run.open(place).latest_checkpoint().final):
        shutil.rmtree(place, ignore_errors=True)
        train(START_SOURCE, place, steps=START_STEPS)


def measure_one(case: Case, way: str, seed: int, folder: Path) -> Json:
    """Train on the few images of a seed, and judge; on one thread."""
    torch.set_num_threads(1)
    reference = reference_of(case.source, folder)
    few = choose(reference.splits.train, case.count, seed)
    place = folder / f"{case.name}, {way}, {seed}".replace(", ", "-").replace(" ", "-")
    shutil.rmtree(place, ignore_errors=True)  # of a measurement that was interrupted
    if way == START:
        run = train(few, place, seed=seed, steps=STEPS // 5, start_from=folder / START_SOURCE)
    else:
        run = train(few, place, seed=seed, steps=STEPS, augment=WAYS[way])
    samples = read(as_subject(load(run), case.name).draw(0, IMAGES), reference)
    figures = measure(samples, reference, FIGURES)
    return {
        "data": case.name,
        "way": way,
        "augmentations": [spec.name for spec in run.config.variant.augmentations],
        "seed": seed,
        "step": run.latest_checkpoint().step,
        **figures,
        "memorised": metrics.memorised(samples.images, few.images),
    }


def measure_all(record: Record, arguments: argparse.Namespace) -> None:
    """Measure what this commit has not recorded yet, a seed of all before the next, and last what has another start."""
    former = (read_json(record.path) if record.path.is_file() else None) or {}
    rows = {(row["data"], row["way"], row["seed"]): row for row in former.get("rows", ())}
    cases = {case.name: case for case in CASES if arguments.only in case.name}
    folder = arguments.runs / record.facts["commit"]
    for source in {case.source for case in cases.values()}:  # fits what judges are missing, before two processes would
        reference_of(source, folder)
    every = [
        (name, way, seed)
        for seed in range(arguments.seeds)
        for name, case in cases.items()
        for way in case.ways
        if arguments.way in (None, way)
    ]
    missing = [key for key in every if key not in rows or rows[key].get("commit") != record.facts["commit"]]
    pool = ProcessPoolExecutor(processors.available(), get_context("spawn"))

    def submit(key: tuple[str, str, int]) -> Future[Json]:
        name, way, seed = key
        return pool.submit(measure_one, cases[name], way, seed, folder)

    try:
        start = pool.submit(train_start, folder) if any(way == START for _, way, _ in missing) else None
        waiting = [submit(key) for key in missing if key[1] != START]
        for future in as_completed(waiting):
            add(record, rows, future.result())
        if start is not None:
            start.result()
        for future in as_completed([submit(key) for key in missing if key[1] == START]):
            add(record, rows, future.result())
    finally:
        pool.shutdown(cancel_futures=True)
    for name, way in dict.fromkeys((name, way) for name, way, _ in every):
        found = [row["fid"] for row in rows.values() if (row["data"], row["way"]) == (name, way)]
        print(f"{name}, {way}: FID {fmean(found):.1f} over {len(found)} seeds")


def add(record: Record, rows: dict[tuple[str, str, int], Json], row: Json) -> None:
    """Add a row to those that are recorded, in the order of the cases whichever is done first."""
    origin = {key: value for key, value in record.facts.items() if key != "command"}
    rows[row["data"], row["way"], row["seed"]] = {**row, **origin}
    print(row, flush=True)
    order = [(case.name, way) for case in CASES for way in case.ways]
    ordered = sorted(rows, key=lambda key: (key[2], order.index(key[:2]) if key[:2] in order else len(order)))
    record.write({"images": IMAGES, "rows": [rows[key] for key in ordered]})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", metavar="WORD", help="the data with this in their name")
    parser.add_argument("--way", choices=[*WAYS, START], help="the only way to measure")
    parser.add_argument("--runs", type=Path, default=ROOT / "build" / "few-images", metavar="DIR")
    add_trial(parser)
    arguments = parser.parse_args()
    record = begin("few_images", arguments.trial)
    try:
        measure_all(record, arguments)
    except BrokenProcessPool:
        leave(MachineError("a process of the benchmark was killed: start it again, what is recorded stays"))
    except (GanzooError, KeyboardInterrupt) as error:
        leave(error)


if __name__ == "__main__":
    main()
