"""Compare this checkout with another one: whether variants train to the same bits, and how much faster or slower.

    python benchmarks/against.py CHECKOUT [--variants gan,dcgan,...] [--turns 15] [--dataset mnist]

Each checkout runs in a separate process. They take turns in alternating order, so that a temporary slowdown of the
machine affects both. A turn is a short run of `ganzoo.train` on one thread. Its speed is the fastest interval between
two log lines, which excludes start-up, saving and interruptions. The result is the ratio of each pair of turns, and
the 95 % interval of the mean ratio. To compare bits, the other checkout trains with `deterministic=True` on one thread,
and this one trains from the `config.toml` that the other wrote. Writes benchmarks/results/against.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from provenance import ROOT, add_trial, begin

from ganzoo.evaluation.intervals import interval
from ganzoo.studies.stopwatch import busy

VARIANTS = ("gan", "dcgan", "wgan-gp", "cgan")
# Steps per turn, and steps per log interval; each interval contains the same number of lazy penalties.
STEPS = {"gan": (352, 32), "cgan": (352, 32), "dcgan": (80, 16), "wgan-gp": (80, 16)}
BITS_STEPS = 200

WORKER = """
import json, sys
sys.path.insert(0, sys.argv[1])
import ganzoo
assert ganzoo.__path__[0].startswith(sys.argv[1]), ganzoo.__path__
for line in sys.stdin:
    run = ganzoo.train(**json.loads(line), progress=False)
    lines = run.metrics()
    spent = [(b["seconds"] - a["seconds"]) / (b["step"] - a["step"]) for a, b in zip(lines, lines[1:])]
    print(json.dumps({"seconds": min(spent, default=0)}), flush=True)
"""


class Checkout:
    """Process of a checkout that trains variants on request."""

    def __init__(self, root: Path) -> None:
        command = [sys.executable, "-c", WORKER, str(root)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def train(self, **arguments: Any) -> float:
        """Train a run and return the seconds per step."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        return float(json.loads(self.process.stdout.readline())["seconds"])


def speed(ours: Checkout, theirs: Checkout, variant: str, dataset: str, turns: int) -> dict[str, Any]:
    """Measure the ratio of this checkout's speed to the other's, in pairs of turns."""
    steps, log_every = STEPS.get(variant, (100, 10))
    pairs = []
    for turn in range(turns + 1):
        seconds = {}
        for side in (ours, theirs) if turn % 2 else (theirs, ours):
            with tempfile.TemporaryDirectory() as folder:
                settings = [f"train.log_every={log_every}", "train.threads=1"]
                seconds[side] = side.train(
                    variant=variant, dataset=dataset, steps=steps, out=f"{folder}/run", settings=settings
                )
        if turn:  # the first pair warms up
            pairs.append((seconds[ours], seconds[theirs]))
    ratios = [other / own for own, other in pairs]
    mean, half = interval(ratios)
    return {
        "ms_per_step": [round(1000 * sum(side) / len(side), 4) for side in zip(*pairs, strict=True)],
        "ratio": mean,
        "interval": None if half is None else [mean - half, mean + half],
        "ratios": ratios,
    }


def bits(ours: Checkout, theirs: Checkout, variant: str, dataset: str) -> dict[str, int]:
    """Return the number of tensors in the last checkpoint, and of those that differ in any bit."""
    with tempfile.TemporaryDirectory() as folder:
        theirs.train(
            variant=variant,
            dataset=dataset,
            steps=BITS_STEPS,
            deterministic=True,
            settings=["train.threads=1"],
            out=f"{folder}/theirs",
        )
        ours.train(dataset=dataset, config=f"{folder}/theirs/config.toml", out=f"{folder}/ours")
        found, expected = (_tensors(Path(folder) / side) for side in ("ours", "theirs"))
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    return {
        "tensors": len(found),
        "differing": sum(not torch.equal(found[key], expected[key]) for key in found),
    }


def _tensors(run: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a run's only checkpoint; optimisers' have their full path as name, as since schema 2."""
    (checkpoint,) = run.glob("checkpoints/step-*")
    tensors = {}
    for file in checkpoint.glob("*.safetensors"):
        player, _, optimizer = file.stem.partition("_")
        for name, tensor in safetensors.torch.load_file(file).items():
            full = name if not optimizer or name.startswith(f"{player}.") else f"{player}.{name}"
            tensors[f"{file.stem}/{full}"] = tensor
    return tensors


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--dataset", default="mnist")
    add_trial(parser)
    arguments = parser.parse_args(words)
    record = begin("against", arguments.trial)
    other = arguments.checkout.resolve()
    describe = ["git", "-C", str(other), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    revision = subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    ours, theirs = Checkout(ROOT), Checkout(other)
    rows = {}
    for variant in arguments.variants.split(","):
        same = bits(ours, theirs, variant, arguments.dataset)
        rows[variant] = {**speed(ours, theirs, variant, arguments.dataset, arguments.turns), "bits": same}
        ratio, (low, high) = rows[variant]["ratio"], rows[variant]["interval"] or (0, 0)
        print(
            f"{variant}: {ratio:.4f} times as fast ({low:.4f} to {high:.4f}), "
            f"{same['differing']} of {same['tensors']} tensors differ",
            flush=True,
        )
    record.write({"against": revision, "busy": busy(), "dataset": arguments.dataset, "variants": rows})


if __name__ == "__main__":
    main()
