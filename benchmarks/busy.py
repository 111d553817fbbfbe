"""Training beside other programs: how many steps a run takes in a given time, with all processors taken or free.

    python benchmarks/busy.py [--variants dcgan,gan] [--seconds 12] [--repeats 3]

Needs MNIST (GANZOO_DATA_DIR) and a machine with nothing else to do: the benchmark makes its own load, one process for
each processor that multiplies matrices on one thread. Every run is a process of its own, `ganzoo train` for so many
seconds, in four ways: with as many threads as processors (what torch does by itself), the same with
OMP_WAIT_POLICY=passive, with one thread, and by the rule, which counts the free processors first. The ways take turns.
Writes benchmarks/results/busy.json.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from provenance import add_trial, begin

from ganzoo.compute import processors
from ganzoo.runs.run import Run

LOAD = """
import torch
torch.set_num_threads(1)
a = torch.randn(256, 256)
while True:
    a = torch.tanh(a @ a)
"""


@contextmanager
def load(count: int) -> Iterator[None]:
    """Keep so many processors busy meanwhile."""
    others = [subprocess.Popen([sys.executable, "-c", LOAD]) for _ in range(count)]
    try:
        while count and processors.free() > processors.available() - count:  # they have to import torch first
            pass
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def train(variant: str, seconds: float, settings: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Return the steps that a run took in so many seconds of training, and how it computed."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run"
        command = [sys.executable, "-m", "ganzoo_cli", "train", "--variant", variant, "--dataset", "mnist"]
        command += ["--minutes", str(seconds / 60), "--out", str(out)]
        for setting in [*settings, "train.log_every=1000000"]:
            command += ["--set", setting]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | environment)
        run = Run.open(out)
        chosen = run.config.chosen
        return {
            "steps": run.latest_checkpoint().step,
            "threads": chosen.threads,
            "processors": chosen.processors,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", default="dcgan,gan")
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--repeats", type=int, default=3)
    add_trial(parser)
    arguments = parser.parse_args()
    record = begin("busy", arguments.trial)
    there = processors.available()
    every: tuple[list[str], dict[str, str]] = ([f"train.threads={there}"], {})
    ways: dict[str, tuple[list[str], dict[str, str]]] = {
        "all threads": every,
        "all threads, OMP_WAIT_POLICY=passive": (every[0], {"OMP_WAIT_POLICY": "passive"}),
        "one thread": (["train.threads=1"], {}),
        "rule": ([], {}),
    }
    rows: list[dict[str, Any]] = []
    for variant in arguments.variants.split(","):
        for busy in (there, 0):
            taken: dict[str, list[dict[str, Any]]] = {way: [] for way in ways}
            with load(busy):
                for _ in range(arguments.repeats):
                    for way, (settings, environment) in ways.items():
                        taken[way].append(train(variant, arguments.seconds, settings, environment))
            for way, runs in taken.items():
                row = {"variant": variant, "busy": busy, "way": way, "runs": runs}
                row["steps"] = median(run["steps"] for run in runs)
                print({key: row[key] for key in ("variant", "busy", "way", "steps")}, flush=True)
                rows.append(row)
                record.write({"seconds": arguments.seconds, "processors": there, "rows": rows})


if __name__ == "__main__":
    main()
