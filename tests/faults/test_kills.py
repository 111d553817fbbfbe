"""A run that was killed at any moment goes on to the very bits of one that was not."""

import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench import Command, begin, short_and_long, tallied
from conftest import BATCH_SIZE, bits_of, images_file, narrow

from ganzoo.files import TEMPORARY_PATTERN
from ganzoo.runs.checkpoint import name_of
from ganzoo.runs.run import Run

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL"), pytest.mark.slow]
VARIANTS = ("gan", "dcgan", "wgan-gp", "cgan", "bigan", "began")
MOMENTS = ("any", "save", "start", "save", "end", "save")  # half of the kills are aimed at saves
STEPS, EVERY = 12, 2  # of a run, and between its checkpoints
TWICE = 0.3  # of the runs are killed again when they are resumed


def train(place: Path, variant: str, name: str) -> Command:
    """Begin a run on the images in `place`."""
    settings = ["train.threads=1", "train.precision=float32", "train.log_every=1", f"train.checkpoint_every={EVERY}"]
    command = ["train", "--variant", variant, "--dataset", "npz:images.npz", "--augment", "none"]
    command += ["--out", name, "--steps", str(STEPS), "--batch-size", str(BATCH_SIZE)]
    for setting in [*narrow(variant), *settings]:
        command += ["--set", setting]
    return begin(place, *command)


@dataclass
class Whole:
    """A run that nothing happened to, and the seconds that it took."""

    run: Run
    seconds: float


def undisturbed(place: Path, variant: str) -> Whole:
    began = time.monotonic()
    command = train(place, variant, f"whole-{variant}")
    assert command.wait() == 0, command.err
    return Whole(Run.open(place / f"whole-{variant}"), time.monotonic() - began)


def kill(command: Command, run: Path, moment: str, seconds: float, chance: random.Random) -> bool:
    """Send SIGKILL at a moment of a run that takes so many seconds; return whether it had not ended before."""
    checkpoints = run / "checkpoints"
    if moment == "save":
        for _ in range(chance.randrange(1, STEPS // EVERY)):
            command.wait_for(lambda: any(checkpoints.glob(TEMPORARY_PATTERN)))
            if not command.wait_for(lambda: not any(checkpoints.glob(TEMPORARY_PATTERN))):
                break
        command.wait_for(lambda: any(checkpoints.glob(TEMPORARY_PATTERN)))
        time.sleep(chance.uniform(0, 0.02))
    elif moment == "end":
        command.wait_for(lambda: (checkpoints / name_of(STEPS)).exists())
        time.sleep(chance.uniform(0, 0.2))
    else:
        time.sleep(chance.uniform(0, seconds * (0.3 if moment == "start" else 1)))
    command.send(signal.SIGKILL)
    code = command.wait()
    assert code in (0, -signal.SIGKILL), command.err
    return code != 0


def go_on(place: Path, run: Path, variant: str) -> Command:
    """Resume a killed run from its newest checkpoint, or begin it anew if it has none."""
    steps = [int(path.name.removeprefix("step-")) for path in run.glob("checkpoints/step-*")]
    if not (run / "config.toml").exists():
        shutil.rmtree(run, ignore_errors=True)
        return train(place, variant, run.name)
    command = begin(place, "resume", run.name)
    if not steps and not any(run.glob(f"checkpoints/{TEMPORARY_PATTERN}")):
        assert command.wait() == 3, command.err
        assert "has no checkpoint yet" in command.err
        shutil.rmtree(run)
        return train(place, variant, run.name)
    said = re.compile(r"from step (\d+)")
    command.wait_for(lambda: said.search(command.err) is not None)
    if found := said.search(command.err):
        assert int(found[1]) >= max(steps, default=0), command.err
    return command


def reach_the_end(place: Path, run: Path, variant: str, seconds: float, chance: random.Random) -> None:
    command = go_on(place, run, variant)
    if chance.random() < TWICE:
        time.sleep(chance.uniform(0, seconds))
        command.send(signal.SIGKILL)
        command.wait()
        command = go_on(place, run, variant)
    code = command.wait()
    over = code == 2 and f"has done {STEPS} steps" in command.err  # it was killed after its end
    assert code == 0 or over, command.err


@short_and_long(4, 240)
def test_a_killed_run_goes_on_bit_by_bit(
    count: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    images_file(tmp_path / "images.npz")
    wholes: dict[str, Whole] = {}
    chance, killed = random.Random(0), 0
    with tallied("SIGKILL at random moments, half of them aimed at saves", record_property) as row:
        for index in range(count):
            variant, moment = VARIANTS[(index + index // 6) % len(VARIANTS)], MOMENTS[index % len(MOMENTS)]
            if variant not in wholes:
                wholes[variant] = undisturbed(tmp_path, variant)
            whole, run = wholes[variant], tmp_path / f"run-{index}"
            with row.case(f"{variant}, {moment}, {index}"):
                killed += kill(train(tmp_path, variant, run.name), run, moment, whole.seconds, chance)
                reach_the_end(tmp_path, run, variant, whole.seconds, chance)
                assert bits_of(Run.open(run)) == bits_of(whole.run)
                assert not [*run.rglob(TEMPORARY_PATTERN)]
            shutil.rmtree(run, ignore_errors=True)
        assert killed >= count // 2  # the moments are those of the run
