"""Measure the overheads of training: start-up, memory, and the time for progress, logs, averages and checkpoints.

    python benchmarks/overheads.py [--seconds 60]

Needs MNIST (GANZOO_DATA_DIR) and an otherwise idle machine. Writes benchmarks/results/overheads.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from provenance import add_trial, begin

from ganzoo.training import trainer
from ganzoo.training.prepare import configure
from ganzoo.training.trainer import Session

TRAIN = ["-m", "ganzoo_cli", "train", "--dataset", "mnist"]


def seconds_of(command: list[str], repeats: int = 5) -> float:
    """Return the median time of a Python process, in seconds."""
    times = []
    for _ in range(repeats):
        began = time.monotonic()
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        times.append(time.monotonic() - began)
    return median(times)


def first_step(variant: str, repeats: int = 5) -> float:
    """Return the seconds from the start of `ganzoo train` to its first log line, with a budget of five minutes."""
    times = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as scratch:
            command = [sys.executable, *TRAIN, "--variant", variant, "--minutes", "5", "--out", f"{scratch}/run"]
            began = time.monotonic()
            process = subprocess.Popen(
                [*command, "--set", "train.log_every=1"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
            )
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("step 1 "):
                    times.append(time.monotonic() - began)
                    break
            process.kill()
            process.communicate()
    return median(times)


def shares(variant: str, seconds: float) -> dict[str, Any]:
    """Return each part's share of the time of a run, measured with a timer around the part."""
    spent: dict[str, float] = {}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*arguments, **keywords)
            finally:
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - began

        return call

    class Watched(Session):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.state.ema.update = timed("average", self.state.ema.update)  # type: ignore[method-assign]
            self.progress.advance = timed("progress", self.progress.advance)  # type: ignore[method-assign]
            self.state.logs.add = timed("logs", self.state.logs.add)  # type: ignore[method-assign]
            self._log = timed("logs", self._log)  # type: ignore[method-assign]
            self.save = timed("checkpoints", self.save)  # type: ignore[method-assign]
            self.picture = timed("pictures", self.picture)  # type: ignore[method-assign]

    with tempfile.TemporaryDirectory() as scratch:
        trainer.Session = Watched  # type: ignore[misc, assignment]
        try:
            run = trainer.start(configure(variant, "mnist", minutes=seconds / 60), out=Path(scratch) / "run")
        finally:
            trainer.Session = Session  # type: ignore[misc]
        checkpoint = run.latest_checkpoint()
        total, steps = checkpoint.state()["seconds"], checkpoint.step
    return {
        "variant": variant,
        "steps": steps,
        "ms_a_step": 1000 * total / steps,
        **{name: value / total for name, value in spent.items()},
        "all": sum(spent.values()) / total,
    }


def memory(variant: str) -> float:
    """Return the peak resident memory of half a minute of training, in MiB."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, *TRAIN, "--variant", variant, "--minutes", "0.5", "--out", f"{scratch}/run"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="of training, per variant, to measure the shares (default: 60)"
    )
    add_trial(parser)
    arguments = parser.parse_args()
    record = begin("overheads", arguments.trial)
    import_torch = seconds_of(["-c", "import torch"])
    found = {
        "start": {
            "help": seconds_of(["-m", "ganzoo_cli", "--help"]),
            "train_help": seconds_of(["-m", "ganzoo_cli", "train", "--help"]),
            "import_torch": import_torch,
            "first_step": {variant: first_step(variant) for variant in ("gan", "dcgan")},
        },
        "memory_mb": {
            "import_torch": _import_memory(),
            "data": 60_000 * 28 * 28 / 2**20,
            **{variant: memory(variant) for variant in ("gan", "dcgan")},
        },
        "shares": [shares(variant, arguments.seconds) for variant in ("gan", "dcgan", "wgan-gp", "cgan")],
    }
    record.write(found)
    print(json.dumps(found, indent=1))


def _import_memory() -> float:
    code = "import torch, resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(answer.stdout) / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    main()
