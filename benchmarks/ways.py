"""What each way of computing is worth: milliseconds a step with and without it, taking turns in one process.

    python benchmarks/ways.py [--variants gan,dcgan,wgan-gp,cgan] [--device cuda] [--compiled]

Needs MNIST (GANZOO_DATA_DIR) and a machine with nothing else to do. The work is that of benchmarks/same_work/*.toml.
The first way is what `ganzoo train` would choose; every other changes one setting of it, or, as `plain`, all of them.
On CUDA: eager, compiled, captured in graphs, and both. Writes benchmarks/results/ways.json, or ways-cuda.json.
"""

import argparse
import time
from statistics import median
from typing import Any

from provenance import add_trial, begin
from training_speed import Steps, same_work

from ganzoo.compute.device import torch_settings
from ganzoo.config import RunConfig
from ganzoo.errors import first_line
from ganzoo.training import tuning
from ganzoo.training.prepare import configure, prepare

TURNS, TURN_SECONDS = 10, 0.6
PLAIN = {"precision": "float32", "matmul": "highest", "channels_last": False, "fused": False, "compiled": False}


def ways(chosen: RunConfig, device: str, *, compiled: bool) -> dict[str, dict[str, Any]]:
    """The changes to what was chosen, by their names."""
    if device == "cuda":
        eager = {"compiled": False, "graphs": False}
        return {
            "eager": eager,
            "compiled": {**eager, "compiled": True},
            "graphs": {**eager, "graphs": True},
            "compiled and graphs": {"compiled": True, "graphs": True},
            "plain": {**PLAIN, "graphs": False},
        }
    train = chosen.train
    found: dict[str, dict[str, Any]] = {"chosen": {}}
    found["other precision"] = {"precision": "float32" if train.precision == "bfloat16" else "bfloat16"}
    found["other memory format"] = {"channels_last": not train.channels_last}
    found["not fused"] = {"fused": False}
    found["float32 products by MKL"] = {"precision": "float32", "matmul": "highest"}
    found["one thread"] = {"threads": 1}
    if compiled:
        found["compiled"] = {"compiled": True}
    found["plain"] = PLAIN
    return found


def measured(name: str, device: str, *, compiled: bool) -> list[dict[str, Any]]:
    """A row a way: the median of its steps; one that fails says why."""
    training = prepare(configure(config=same_work(name), steps=100_000, device=device))
    chosen, _ = tuning.measured(training, training.config.train.model_copy(update={"compiled": False}))
    images = chosen.variant.critic_steps * chosen.data.batch_size
    rows: dict[str, dict[str, Any]] = {}
    contestants: dict[str, tuple[RunConfig, Steps]] = {}
    for way, change in ways(chosen, device, compiled=compiled).items():
        config = chosen.with_train(**change)
        rows[way] = {"variant": name, "way": way, "settings": change, "times": []}
        began = time.monotonic()
        try:
            with torch_settings(config.train):
                steps = Steps(training, config)
                for _ in range(5):  # graphs are captured at the fourth
                    steps.one()
        except Exception as error:
            rows[way]["error"] = f"{type(error).__name__}: {first_line(error)}"
            continue
        rows[way]["first_steps_seconds"] = time.monotonic() - began
        contestants[way] = config, steps
    for _ in range(TURNS):
        for way, (config, steps) in contestants.items():
            with torch_settings(config.train):
                steps.one()
                began = time.monotonic()
                while time.monotonic() - began < TURN_SECONDS:
                    call = time.perf_counter()
                    steps.one()
                    rows[way]["times"].append(time.perf_counter() - call)
    for row in rows.values():
        if times := row.pop("times"):
            row |= {"step_ms": 1000 * median(times), "images_per_s": images / median(times)}
    return list(rows.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", default="gan,dcgan,wgan-gp,cgan")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--compiled", action="store_true", help="on a CPU too, where compiling takes up to a minute each"
    )
    add_trial(parser)
    arguments = parser.parse_args()
    name = "ways-cuda" if arguments.device == "cuda" else "ways"
    record = begin(name, arguments.trial, device=arguments.device)
    rows = []
    for variant in arguments.variants.split(","):
        for row in measured(variant, arguments.device, compiled=arguments.compiled):
            print(row, flush=True)
            rows.append(row)
    record.write({"rows": rows})


if __name__ == "__main__":
    main()
