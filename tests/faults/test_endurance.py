"""Train, evaluate, export and sample again and again in one process: memory and open files stay as they are."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bench import tallied
from conftest import environment

MEGABYTES = 20.0  # an hour in the long form, in all in the short one: what an allocator's order may differ by
ROUNDS = """
import gc, json, os, shutil, sys, time
from pathlib import Path

import ganzoo
from ganzoo.runtime import images

folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
began, rounds = time.monotonic(), 0
while rounds < 6 or time.monotonic() - began < seconds:
    small = ["generator.width=8", "discriminator.width=8", "train.threads=1", "train.log_every=2"]
    shutil.rmtree(folder / "run", ignore_errors=True)
    run = ganzoo.train("cgan", "mnist-5k", out=folder / "run", steps=8, seed=rounds, settings=small, progress=False)
    ganzoo.evaluate(run, n=100, seeds=1, figures=("fid", "coverage"))
    exported = ganzoo.export(run, folder / "model.onnx").path
    for place in (run, exported):
        images.save_png(folder / "images.png", images.grid(ganzoo.load(place).sample(64, seed=rounds)))
    exported.unlink()
    rounds += 1
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    hours = (time.monotonic() - began) / 3600
    megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
    print(json.dumps([hours, megabytes, len(os.listdir("/proc/self/fd"))]), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("seconds", [1, pytest.param(7200, marks=pytest.mark.faults)])
def test_memory_and_open_files_stay_flat(
    seconds: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    command = [sys.executable, "-c", ROUNDS, str(tmp_path), str(seconds)]
    with (tmp_path / "errors").open("w") as errors:
        done = subprocess.run(command, env=environment(), stdout=subprocess.PIPE, stderr=errors, text=True, check=False)
    assert done.returncode == 0, (tmp_path / "errors").read_text()
    hours, megabytes, files = np.array([json.loads(line) for line in done.stdout.splitlines()]).T
    later = slice(len(hours) // 3, None)  # what is imported and compiled at first is kept
    slope = np.polyfit(hours[later], megabytes[later], 1)[0]
    grown = slope * (hours[-1] - hours[later][0])
    with tallied(
        f"{len(hours)} rounds in {hours[-1]:.1f} hours: train, evaluate, export, sample", record_property
    ) as row:
        with row.case("memory"):
            assert (slope if seconds > 60 else grown) < MEGABYTES, f"{slope:.1f} MB an hour, {grown:.1f} MB in all"
        with row.case("open files"):
            assert len(set(files[later])) == 1, sorted(set(files))
    record_property("figures", f"{slope:+.1f} MB an hour after {megabytes[later][0]:.0f} MB")
