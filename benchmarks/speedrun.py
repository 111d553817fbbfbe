"""Measure how long a recipe takes to reach the target of a track, by the rules of docs/speedrun.md.

    python benchmarks/speedrun.py RECIPE.toml --track mnist-3x-2cores [--seeds 5] [--runs DIR]

Needs MNIST (GANZOO_DATA_DIR) and an otherwise idle machine. RECIPE.toml is a file for `ganzoo train --config` with the
times of its evaluations and the maximum number of minutes. Each seed is a separate process, which ends at the target.
An interrupted race starts again from the beginning; finished races are kept in DIR, by commit. The record is written to
benchmarks/results/speedrun.json and replaces the previous record of the same track and recipe.
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

SEEDS = 5  # minimum for a record
RIGHT = 0.98  # minimum label accuracy on conditional tracks
DIGITS = 1  # decimals of seconds

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Track:
    """The target of a track, its data and its hardware."""

    multiple: float  # target: at most this multiple of the FID of real images
    data: str = "mnist"
    cores: int | None = None  # CPU cores; None for a GPU
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
    """Return the target FID of a track."""
    reference = Reference(load_judge(track.data), load_splits(track.data))
    return track.multiple * floors(reference, min(N, len(reference.splits.train)), [0], ["fid"])["fid"]


def take_machine(track: Track) -> str:
    """Restrict this process to a track's processors; return its device. Raises MachineError if there are too few."""
    if track.cores is None:
        if not torch.cuda.is_available():
            raise MachineError("this track needs a CUDA GPU, but none is available")
        return "cuda"
    if available() < track.cores:
        raise MachineError(f"this track needs {track.cores} processors, but {available()} are available")
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
    """Return the result of one seed. Raises UsageError if the race failed, missed the target or broke a rule."""
    if not is_finished(place):
        if place.exists():  # interrupted: its times are not valid
            place.rename(place.with_name(f"{place.name}-stopped-{time.time_ns()}"))
        given = {"train.target_fid": target, "train.seed": seed, "train.device": device}
        settings = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
        command = [sys.executable, "-m", "ganzoo_cli", "train", "--config", str(recipe), "--dataset", track.data]
        if code := subprocess.run([*command, *settings, "--out", str(place)], check=False).returncode:
            raise UsageError(f"seed {seed}: training ended with exit code {code}")
    run = Run.open(place)
    if not track.conditional and uses_labels(run.config):
        raise UsageError(f"{recipe} uses labels, which this track does not allow: use a conditional track")
    line = run.read_evaluations()[-1]
    if line.confirmed_fid is None or max(line.confirmed_fid, line.figures["fid"]) > target:
        raise UsageError(f"seed {seed} has FID {line.figures['fid']:.2f} at the end, but the target is {target:.2f}")
    accuracy = line.figures.get("label_accuracy")
    if track.conditional and (accuracy is None or accuracy < RIGHT):
        raise UsageError(f"seed {seed} has a label accuracy of {accuracy or 0:.1%}: expected at least {RIGHT:.0%}")
    if line.elapsed is None:
        raise UsageError(f"{place} was resumed, but a race must not be interrupted: delete it")
    found = {"seed": seed, "seconds": round(line.elapsed, DIGITS), "step": line.step, "fid": line.figures["fid"]}
    return {**found, "confirmed_fid": line.confirmed_fid, "label_accuracy": accuracy, "evaluated_at": line.seconds}


def measure(record: Record, arguments: argparse.Namespace, device: str) -> None:
    """Race all seeds, and write the record."""
    if arguments.seeds < SEEDS and not record.trial:
        raise UsageError(f"a record needs at least {SEEDS} seeds: write fewer to another file with --trial FILE")
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
    recorded = (read_json(record.path) if record.path.is_file() else None) or {}
    others = [
        row for row in recorded.get("records", ()) if (row["track"], row["recipe"]) != (entry["track"], entry["recipe"])
    ]
    ordered = sorted([*others, entry], key=lambda row: (list(TRACKS).index(row["track"]), row["seconds"]["mean"]))
    write_json(record.path, {"judge": load_judge(track.data).describe().to_json(), "records": ordered})
    print(f"{arguments.track}: {mean:.1f} s, standard deviation {deviation:.1f} s over {len(races)} seeds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="a TOML file, as for ganzoo train --config")
    parser.add_argument("--track", required=True, choices=TRACKS)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="number of seeds, starting from 0 (default: 5)")
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
