"""Measure the loss of the rule that chooses how a run computes against `--tune`, and the speed of each way.

    python benchmarks/ways.py [--variants NAME,...] [--turns 12] [--device cuda] [--compiled]

Needs MNIST (GANZOO_DATA_DIR) and an otherwise idle machine. For each registered variant, the ways of computing take
turns in one process on the same images: the rule's choice, the choice of `--tune`, and the rule's choice with one
setting changed (or all of them, `plain`). `loss` is the extra time of a step by the rule over the choice of `--tune`,
and over the fastest of all ways: the median over the turns, with minimum and maximum. Writes
benchmarks/results/ways.json, or ways-cuda.json.
"""

import argparse
import time
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from provenance import add_trial, begin
from training_speed import Steps

from ganzoo import registry
from ganzoo.compute.device import torch_settings
from ganzoo.config import RunConfig
from ganzoo.errors import first_line
from ganzoo.training import tuning
from ganzoo.training.prepare import PROVISIONAL, Training, configure, prepare, with_compute

TURN_SECONDS = 0.4
PLAIN = {"precision": "float32", "matmul": "highest", "channels_last": False, "fused": False, "compiled": False}
RULE, TUNED = "rule", "tuned"


def ways(ruled: RunConfig, tuned: RunConfig, *, compiled: bool) -> dict[str, dict[str, Any]]:
    """Return the settings in which each way differs from the rule's choice, by the way's name."""
    chosen = ruled.chosen
    measured = tuned.chosen.model_dump()
    found: dict[str, dict[str, Any]] = {
        RULE: {},
        TUNED: {key: value for key, value in measured.items() if value != getattr(chosen, key)},
    }
    if chosen.device == "cuda":
        found |= {"graphs": {"graphs": True}, "compiled": {"compiled": True}}
        return {**found, "compiled and graphs": {"graphs": True, "compiled": True}, "plain": PLAIN}
    found["other precision"] = {"precision": "float32" if chosen.precision == "bfloat16" else "bfloat16"}
    if chosen.channels_last:
        found["contiguous"] = {"channels_last": False}
        found["not fused"] = {"fused": False}
    found |= {f"threads={n}": {"threads": n} for n in (1, 2, 4, 8) if n != chosen.threads and n <= _threads()}
    if compiled:
        found["compiled"] = {"compiled": True}
    return {**found, "plain": PLAIN}


def _threads() -> int:
    return torch.get_num_threads()


def measure(name: str, device: str, turns: int, *, compiled: bool) -> dict[str, Any]:
    """Return a variant's row: the median step time of each way, and the loss of the rule."""
    training = with_compute(prepare(configure(name, "mnist", steps=100_000, device=device)))
    training = _with_horizon(training)
    tuned, line = tuning.tune(training)
    settings = ways(training.config, tuned, compiled=compiled)
    rows: dict[str, dict[str, Any]] = {
        way: {"way": way, "settings": change, "medians_ms": []}
        for way, change in settings.items()
        if way == RULE or change  # if --tune chooses the same as the rule, do not measure it twice
    }
    begun = {way: _begin(training, row) for way, row in rows.items()}
    contestants = {way: pair for way, pair in begun.items() if pair is not None}
    for turn in range(turns):
        order = list(contestants)
        for way in order[turn % len(order) :] + order[: turn % len(order)]:
            config, steps = contestants[way]
            with torch_settings(config):
                rows[way]["medians_ms"].append(1000 * steps.many(TURN_SECONDS))
    for row in rows.values():
        if row["medians_ms"]:
            row["step_ms"] = median(row["medians_ms"])
    fastest = min((row for row in rows.values() if "step_ms" in row), key=lambda row: row["step_ms"])
    return {
        "variant": name,
        "rule": training.config.chosen.model_dump(),
        "tuned": line,
        "fastest": fastest["way"],
        "loss_against_tuned": _loss(rows[RULE], rows.get(TUNED, rows[RULE])),
        "loss_against_fastest": _loss(rows[RULE], fastest),
        "ways": list(rows.values()),
    }


def _with_horizon(training: Training) -> Training:
    return replace(training, config=training.config.with_horizon(training.total_steps or PROVISIONAL))


def _begin(training: Training, row: dict[str, Any]) -> tuple[RunConfig, Steps] | None:
    """Return a way's configuration and its steps after a warm-up; None if it fails, with the error in its row."""
    config = training.config.with_compute(**row["settings"])
    began = time.monotonic()
    try:
        with torch_settings(config):
            steps = Steps(training, config)
            for _ in range(5):  # graphs are captured at the fourth step
                steps.one()
    except Exception as error:
        row["error"] = f"{type(error).__name__}: {first_line(error)}"
        return None
    row["first_steps_seconds"] = time.monotonic() - began
    return config, steps


def _loss(rule: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    """Return the relative extra time of a step by the rule, from the ratios per turn."""
    shares = [mine / theirs - 1 for mine, theirs in zip(rule["medians_ms"], other["medians_ms"], strict=True)]
    return {"median": median(shares), "least": min(shares), "greatest": max(shares)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", help="separated by commas (default: all)")
    parser.add_argument("--turns", type=int, default=12, help="turns per way (default: 12)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--compiled",
        action="store_true",
        help="measure torch.compile on a CPU too, which takes up to a minute per variant",
    )
    add_trial(parser)
    arguments = parser.parse_args()
    name = "ways-cuda" if arguments.device == "cuda" else "ways"
    record, rows = begin(name, arguments.trial, device=arguments.device), []
    for variant in arguments.variants.split(",") if arguments.variants else registry.variants:
        row = measure(variant, arguments.device, arguments.turns, compiled=arguments.compiled)
        print(variant, {way["way"]: way.get("step_ms", way.get("error")) for way in row["ways"]}, flush=True)
        print(f"  loss: {row['loss_against_tuned']} {row['loss_against_fastest']}", flush=True)
        rows.append(row)
        record.write({"rows": rows})


if __name__ == "__main__":
    main()
