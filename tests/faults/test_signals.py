"""A signal at any moment ends the command with 128 plus its number, without a traceback; what there is, is saved."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ended, environment, images_file, start_process, start_training, train_tiny, wait_until

import ganzoo
from ganzoo.files import TEMPORARY_PATTERN
from ganzoo.runs.run import Run

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="has other signals"), pytest.mark.slow]
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
COMMAND = [sys.executable, "-m", "ganzoo_cli"]


def begin(*arguments: str) -> subprocess.Popen[str]:
    """Start a command."""
    return start_process([*COMMAND, *arguments])


def outcome(process: subprocess.Popen[str], number: int) -> None:
    process.send_signal(number)
    stderr = ended(process)
    assert process.returncode == 128 + number, stderr
    assert "Traceback" not in stderr


def entered(process: subprocess.Popen[str]) -> bool:
    """Return whether the process handles SIGTERM already, which Python by itself does not."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", NUMBERS)
def test_from_its_first_instruction_on_a_signal_ends_the_process(number: int, tmp_path: Path) -> None:
    source, chance = images_file(tmp_path / "images.npz"), random.Random(number)
    for delay in (0.0, *(chance.uniform(0, 2) for _ in range(3))):
        process = start_training(tmp_path / "run", source, [])
        wait_until(lambda process=process: entered(process), process)  # type: ignore[misc]
        time.sleep(delay)
        outcome(process, number)
        if (tmp_path / "run").exists():
            run = Run.open(tmp_path / "run")
            assert all(one.state() for one in run.checkpoints())
            shutil.rmtree(run.path)


def test_a_closed_terminal_saves(tmp_path: Path) -> None:
    source = images_file(tmp_path / "images.npz")
    process = start_training(tmp_path / "run", source, ["train.log_every=1"])
    wait_until(lambda: (tmp_path / "run" / "metrics.jsonl").exists(), process)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.005)
    outcome(process, signal.SIGHUP)  # a shell and the system send one each
    run = Run.open(tmp_path / "run")
    assert run.latest_checkpoint().step > 0
    resumed = ganzoo.resume(run, steps=run.latest_checkpoint().step + 1, progress=False)
    assert resumed.latest_checkpoint().final


def test_nohup_keeps_a_run_alive(tmp_path: Path) -> None:
    source = images_file(tmp_path / "images.npz")
    command = [*COMMAND, "train", "--variant", "gan", "--dataset", source, "--out", str(tmp_path / "run")]
    command += ["--steps", "3000", "--batch-size", "8", "--set", "train.threads=1", "--set", "train.log_every=1"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    wait_until(lambda: (tmp_path / "run" / "metrics.jsonl").exists(), process)
    process.send_signal(signal.SIGHUP)
    assert process.poll() is None
    ended(process)
    assert process.returncode == 0
    assert Run.open(tmp_path / "run").latest_checkpoint().final


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_leaves_nothing_of_what_is_being_written(number: int, tmp_path: Path) -> None:
    run = train_tiny("cgan", ganzoo.data.load(images_file(tmp_path / "images.npz")), tmp_path / "run", steps=2)
    out = tmp_path / "drawn"
    process = begin("sample", str(run.path), "--format", "png", "-n", "200000", "--out", str(out))
    wait_until(lambda: any(tmp_path.glob(TEMPORARY_PATTERN)), process)
    outcome(process, number)
    assert not [*tmp_path.glob(TEMPORARY_PATTERN), *tmp_path.glob("drawn*")]


def test_two_signals_at_once_end_the_process(tmp_path: Path) -> None:
    source = images_file(tmp_path / "images.npz")
    process = start_training(tmp_path / "run", source, ["train.log_every=1"])
    wait_until(lambda: (tmp_path / "run" / "metrics.jsonl").exists(), process)
    os.kill(process.pid, signal.SIGTERM)
    os.kill(process.pid, signal.SIGINT)
    stderr = ended(process)
    assert process.returncode in (130, 143), stderr
    assert "Traceback" not in stderr
