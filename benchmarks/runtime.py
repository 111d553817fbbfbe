"""Measure the runtime: its speed beside torch, the time from import to first image, and the memory for many images.

    python benchmarks/runtime.py [--variants dcgan,cgan] [--steps 300] [--parts speed,import,memory] [--no-compile]

Trains each variant's default networks for `--steps` on images of MNIST's shape. The part `speed` runs
`ganzoo benchmark runtime` on these runs, with its options. The part `import` compares the time from the first import to
the first image of `ganzoo.runtime` with that of onnxruntime alone, each in new processes that take turns. The part
`memory` is the peak resident memory of a process that draws `--images` images with `iter_batches`. Needs an otherwise
idle machine. Writes benchmarks/results/runtime.json and docs/images/runtime.png; parts that were not requested keep
their recorded values.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from provenance import add_trial, begin

import ganzoo
from ganzoo.exporting.exporter import export
from ganzoo.files import read_json, write_json
from ganzoo.report.benchmark import BenchmarkRecord
from ganzoo.report.speed import plot
from ganzoo.studies.benchmark import BATCHES, benchmark_runtime
from ganzoo.studies.stopwatch import busy, first_image, spread

PARTS = ("speed", "import", "memory")
STREAM = """
import re, resource, sys, time
from pathlib import Path
from ganzoo import runtime
path, images, batch_size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
generator, began, drawn = runtime.load(path), time.monotonic(), 0
for batch in generator.iter_batches(images, batch_size=batch_size):
    drawn += len(batch)
assert drawn == images
seconds = time.monotonic() - began
if sys.platform == "linux":  # ru_maxrss would be the parent's if that was greater
    greatest = 1024 * int(re.search("VmHWM: *(\\d+)", Path("/proc/self/status").read_text().replace("\\t", " "))[1])
else:
    greatest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(seconds, greatest)
"""
BATCH_SIZE = 64  # of `iter_batches`


def train(arguments: argparse.Namespace, place: Path) -> list[Path]:
    """Train a run of each variant."""
    runs = []
    for variant in arguments.variants.split(","):
        runs.append(place / variant)
        ganzoo.train(variant, arguments.dataset, out=runs[-1], steps=arguments.steps, progress=False)
    return runs


def measure_speed(runs: list[Path], arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the results of `ganzoo benchmark runtime` for the runs, with only the last part of their paths."""
    found = benchmark_runtime(
        runs,
        forms=None if arguments.forms is None else arguments.forms.split(","),
        batches=[int(size) for size in arguments.batches.split(",")],
        seconds=arguments.seconds,
        repeats=arguments.repeats,
        compiled=not arguments.no_compile,
        say=lambda text: print(text, file=sys.stderr),
    )
    models = tuple(model.model_copy(update={"model": Path(model.model).name}) for model in found.models)
    return BenchmarkRecord(conditions=found.conditions, models=models).to_json()


def measure_imports(file: Path, repeats: int) -> dict[str, Any]:
    """Return the seconds from first import to first image, and their ratios, with one thread and with all."""
    rows = []
    for threads in dict.fromkeys((1, os.cpu_count() or 1)):
        pairs: list[tuple[float, float]] = []
        for repeat in range(repeats + 1):
            kinds = ("file", "floor") if repeat % 2 else ("floor", "file")
            taken = {kind: first_image(kind, file, threads).from_import for kind in kinds}
            pairs.append((taken["file"], taken["floor"]))
        ours, floor = zip(*pairs[1:], strict=True)  # the first pair reads the packages from disk
        rows.append(
            {
                "threads": threads,
                "runtime_s": median(ours),
                "onnxruntime_s": median(floor),
                "ratio": spread([mine / alone for mine, alone in pairs[1:]]).model_dump(),
            }
        )
    return {"repeats": repeats, "rows": rows}


def measure_memory(file: Path, images: int) -> dict[str, Any]:
    """Return the peak resident memory and the speed of a process that only draws `images` images."""
    command = [sys.executable, "-c", STREAM, str(file), str(images), str(BATCH_SIZE)]
    seconds, greatest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return {
        "images": images,
        "batch_size": BATCH_SIZE,
        "resident_mb": int(greatest) / 1e6,
        "images_per_s": images / float(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", default="dcgan,cgan")
    parser.add_argument("--dataset", default="auto")
    parser.add_argument(
        "--steps",
        type=int,
        default=300,
        help="of training, per variant (default: 300); speed does not depend on the weights",
    )
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--forms")
    parser.add_argument("--batches", default=",".join(map(str, BATCHES)))
    parser.add_argument("--seconds", type=float, default=0.5, help="per turn (default: 0.5)")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--images", type=int, default=1_000_000, help="to draw in the part memory (default: 1000000)")
    add_trial(parser)
    arguments = parser.parse_args()
    record = begin("runtime", arguments.trial)
    found = (record.path.is_file() and read_json(record.path)) or {}
    with tempfile.TemporaryDirectory() as place:
        runs = train(arguments, Path(place))
        file = export(runs[0], Path(place) / "first.onnx").path
        measures = {
            "speed": lambda: measure_speed(runs, arguments),
            "import": lambda: measure_imports(file, 3 * arguments.repeats),
            "memory": lambda: measure_memory(file, arguments.images),
        }
        for part in arguments.parts.split(","):
            found[part] = {**record.facts, "busy": busy(), **measures[part]()}
            write_json(record.path, found)
    if "speed" in arguments.parts.split(","):
        record.publish("docs/images/runtime.png", plot(BenchmarkRecord.model_validate(found["speed"])))


if __name__ == "__main__":
    main()
