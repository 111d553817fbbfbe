"""The speedrun: how long a recipe takes to a track's target of quality, by the rules of docs/speedrun.md.

    python benchmarks/speedrun.py RECIPE.toml --track mnist-3x-2cores [--seeds 5] [--runs DIR]

Needs MNIST (GANZOO_DATA_DIR) and a machine with nothing else to do. RECIPE.toml is what `ganzoo train --config` takes,
with the times of its evaluations and the greatest number of minutes. Each seed is a process of its own, which ends at
the target. A race that was interrupted is run again from its start; what is finished stays in DIR, by commit. The
record goes to benchmarks/results/speedrun.json, in the place of a former one of the same track and recipe.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import torch
from provenance import ROOT, Record, add_trial, begin, leave

from ganzoo.compute.processors import available
from ganzoo.config import RunConfig
from ganzoo.errors import GanzooError, MachineError, UsageError
from ganzoo.evaluation.evaluator import N, floors
from ganzoo.evaluation.intervals import mean_and_deviation
from ganzoo.evaluation.judge import load_judge
from ganzoo.evaluation.reference import Reference, load_splits
from ganzoo.files import read_json, write_json
from ganzoo.runs.run import Run
from ganzoo.zoo.build import build_terms

SEEDS = 5  # of a record, at least
RIGHT = 0.98  # of the labels, on conditional tracks
DIGITS = 1  # after the point, of seconds

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Track:
    """What is to be reached, and on what."""

    multiple: float  # of the FID of real images, at most
    data: str = "mnist"
    cores: int | None = None  # of the processor; None for a GPU
    conditional: bool = False


TRACKS = {
    "mnist-3x-2cores": Track(multiple=3, cores=2),
    "mnist-2x-2cores": Track(multiple=2, cores=2),
    "mnist-3x-2cores-conditional": Track(multiple=3, cores=2, conditional=True),
    "mnist-2x-2cores-conditional": Track(multiple=2, cores=2, conditional=True),
    "mnist-3x-gpu": Track(multiple=3),
    "mnist-3x-gpu-conditional": Track(multiple=3, conditional=True),
}


def target_of(track: Track) -> float:
    """Return the FID of a track."""
    reference = Reference(load_judge(track.data), load_splits(track.data))
    return track.multiple * floors(reference, min(N, len(reference.splits.train)), [0], ["fid"])["fid"]


def take_machine(track: Track) -> str:
    """Keep to a track's processors, and return the name of its device. Raises: MachineError if they are not there."""
    if track.cores is None:
        if not torch.cuda.is_available():
            raise MachineError("this track needs a CUDA GPU, and there is none")
        return "cuda"
    if available() < track.cores:
        raise MachineError(f"this track needs {track.cores} processors, and {available()} are there")
    if available() > track.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: track.cores])
    return "cpu"


def is_finished(place: Path) -> bool:
    """Return whether a race ended at its target or its budget."""
    run = Run.open(place) if (place / "config.toml").exists() else None
    return run is not None and bool(run.checkpoints()) and run.latest_checkpoint().final


def uses_labels(config: RunConfig) -> bool:
    """Return whether training reads the labels of the data."""
    return config.variant.conditional or any(term.needs_labels or term.needs_labelled for term in build_terms(config))


def race(recipe: Path, track: Track, target: float, device: str, seed: int, place: Path) -> Json:
    """Return what one seed took. Raises: UsageError for a race that failed, missed the target or broke a rule."""
    if not is_finished(place):
        if place.exists():  # interrupted: its clock cannot be trusted
            place.rename(place.with_name(f"{place.name}-stopped-{time.time_ns()}"))
        given = {"train.target_fid": target, "train.seed": seed, "train.device": device}
        settings = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
        command = [sys.executable, "-m", "ganzoo_cli", "train", "--config", str(recipe), "--dataset", track.data]
        if code := subprocess.run([*command, *settings, "--out", str(place)], check=False).returncode:
            raise UsageError(f"seed {seed}: training ended with exit code {code}")
    run = Run.open(place)
    if not track.conditional and uses_labels(run.config):
        raise UsageError(f"{recipe} uses labels, and this track leaves them unused: take a conditional track")
    line = run.read_evaluations()[-1]
    if line.confirmed_fid is None or max(line.confirmed_fid, line.figures["fid"]) > target:
        raise UsageError(f"seed {seed} has FID {line.figures['fid']:.2f} at its end, and the target is {target:.2f}")
    accuracy = line.figures.get("label_accuracy")
    if track.conditional and (accuracy is None or accuracy < RIGHT):
        raise UsageError(f"seed {seed} draws {accuracy or 0:.1%} of its labels right: expected at least {RIGHT:.0%}")
    if line.elapsed is None:
        raise UsageError(f"{place} was resumed, and a race is run in one go: delete it")
    found = {"seed": seed, "seconds": round(line.elapsed, DIGITS), "step": line.step, "fid": line.figures["fid"]}
    return {**found, "confirmed_fid": line.confirmed_fid, "label_accuracy": accuracy, "evaluated_at": line.seconds}


def measure(record: Record, arguments: argparse.Namespace, device: str) -> None:
    """Race all seeds, and keep the record."""
    if arguments.seeds < SEEDS and not record.trial:
        raise UsageError(f"a record is over at least {SEEDS} seeds: fewer go elsewhere, with --trial FILE")
    track = TRACKS[arguments.track]
    target = target_of(track)
    folder = arguments.runs / record.facts["commit"] / f"{arguments.track}-{arguments.recipe.stem}"
    races = []
    for seed in range(arguments.seeds):
        races.append(race(arguments.recipe, track, target, device, seed, folder / f"seed{seed}"))
        print(f"seed {seed}: {races[-1]['seconds']:.1f} s, step {races[-1]['step']}, FID {races[-1]['fid']:.2f}")
    mean, deviation = mean_and_deviation([one["seconds"] for one in races])
    entry = {
        "track": arguments.track,
        "recipe": arguments.recipe.name,
        "target": round(target, 4),
        "seconds": {"mean": round(mean, DIGITS), "deviation": round(deviation, DIGITS)},
        "date": datetime.now(UTC).date().isoformat(),
        **record.facts,
        "races": races,
    }
    former = (read_json(record.path) if record.path.is_file() else None) or {}
    others = [
        row for row in former.get("records", ()) if (row["track"], row["recipe"]) != (entry["track"], entry["recipe"])
    ]
    ordered = sorted([*others, entry], key=lambda row: (list(TRACKS).index(row["track"]), row["seconds"]["mean"]))
    write_json(record.path, {"judge": load_judge(track.data).describe().to_json(), "records": ordered})
    print(f"{arguments.track}: {mean:.1f} s, deviation {deviation:.1f} s over {len(races)} seeds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="a TOML file, as for ganzoo train --config")
    parser.add_argument("--track", required=True, choices=TRACKS)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="from 0 on")
    parser.add_argument("--runs", type=Path, default=ROOT / "build" / "speedrun", metavar="DIR")
    add_trial(parser)
    arguments = parser.parse_args()
    try:
        device = take_machine(TRACKS[arguments.track])
        measure(begin("speedrun", arguments.trial, device=device), arguments, device)
    except (GanzooError, KeyboardInterrupt) as error:
        leave(error)


if __name__ == "__main__":
    main()
