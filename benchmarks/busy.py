"""Measure training beside other programs: the steps of a run in a given time, with all processors busy or free.

    python benchmarks/busy.py [--variants dcgan,gan] [--seconds 12] [--repeats 3]

Needs MNIST (GANZOO_DATA_DIR) and an otherwise idle machine: the benchmark creates the load itself, one process per
processor that multiplies matrices on one thread. Each run is a separate process, `ganzoo train` for `--seconds`, in one
of four ways: with as many threads as processors (torch's default), the same with OMP_WAIT_POLICY=passive, with one
thread, and by ganzoo's rule, which counts the free processors first. The ways take turns. Writes
benchmarks/results/busy.json.
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
    """Keep `count` processors busy in the `with` block."""
    others = [subprocess.Popen([sys.executable, "-c", LOAD]) for _ in range(count)]
    try:
        while count and processors.free() > processors.available() - count:  # until the processes have imported torch
            pass
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def train(variant: str, seconds: float, settings: list[str], environment: dict[str, str]) -> dict[str, Any]:
    """Train for `seconds`; return the number of steps, the threads and the free processors."""
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
    parser.add_argument("--variants", default="dcgan,gan", help="separated by commas (default: dcgan,gan)")
    parser.add_argument("--seconds", type=float, default=12, help="of training, per run (default: 12)")
    parser.add_argument("--repeats", type=int, default=3, help="runs per way (default: 3)")
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
