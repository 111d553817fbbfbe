"""A signal at any moment ends the command with 128 plus its number, without a traceback; what there is, is saved."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bench
import pytest
from bench import Command, short_and_long, tallied
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


def entered(pid: int | None) -> bool:
    """Return whether the process handles SIGTERM already, which Python by itself does not."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt")), 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", NUMBERS)
def test_from_its_first_instruction_on_a_signal_ends_the_process(number: int, tmp_path: Path) -> None:
    source, chance = images_file(tmp_path / "images.npz"), random.Random(number)
    for delay in (0.0, *(chance.uniform(0, 2) for _ in range(3))):
        process = start_training(tmp_path / "run", source, [])
        wait_until(lambda process=process: entered(process.pid), process)  # type: ignore[misc]
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


SMALL = ["--set", "generator.width=8", "--set", "discriminator.width=8", "--set", "train.threads=1"]
TRAIN = ["train", "--variant", "cgan", "--batch-size", "16", "--augment", "none", "--set", "train.precision=float32"]
EVERYTHING = {  # what a command does, and at most so many seconds until the signal
    "training": ([*TRAIN, "--dataset", "npz:images.npz", "--steps", "60", "--out", "OUT", *SMALL], 2.0),
    "pictures and evaluation": (
        [*TRAIN, "--dataset", "mnist-5k", "--steps", "8", "--evaluate-every", "2", "--out", "OUT", *SMALL],
        8.0,
    ),
    "resume": (["resume", "OUT", "--steps", "60"], 1.5),
    "evaluate": (["evaluate", "digits", "--n", "200", "--seeds", "1"], 6.0),
    "export": (["export", "run", "--onnx", "-o", "OUT.onnx"], 6.0),
    "sample": (["sample", "run", "-n", "20000", "--format", "png", "--out", "OUT"], 4.0),
    "study": (["study", "--dataset", "mnist-5k", "--variants", "gan", "--epochs", "1", "--out", "OUT", *SMALL], 15.0),
    "download": ([*TRAIN, "--dataset", "mnist", "--data-dir", "OUT", "--steps", "1", "--out", "OUT-run"], 2.0),
}


@pytest.fixture
def silent_proxy() -> Iterator[dict[str, str]]:
    """The variables of a process whose downloads begin and never come."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        yield {**dict.fromkeys(("http_proxy", "https_proxy"), address), "no_proxy": ""}


def send_and_look(command: Command, number: int, seconds: float, again: float | None) -> bool:
    """Send a signal, or two, and look at the end; return whether the first one ended the command's work."""
    command.wait_for(lambda: entered(command.process.pid))
    command.process.join(seconds)
    command.send(number)
    if again is not None:
        time.sleep(again)
        command.send(number)
    code = command.wait(60)
    assert code in (0, 128 + number), f"{code}: {command.err}"
    assert "Traceback" not in command.err, command.err
    return code != 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@short_and_long(8, 240)
def test_a_signal_anywhere(
    count: int, silent_proxy: dict[str, str], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    images = ganzoo.data.load(images_file(tmp_path / "images.npz"))
    train_tiny("cgan", images, tmp_path / "run", steps=2)
    train_tiny("cgan", "mnist-5k", tmp_path / "digits", steps=2)
    chance, ended_by_it = random.Random(1), 0
    with tallied("SIGINT, SIGTERM or SIGHUP at random moments, a third of them twice", record_property) as row:
        for index in range(count):
            what = [*EVERYTHING][index % len(EVERYTHING)]
            (arguments, longest), out = EVERYTHING[what], tmp_path / f"out-{index}"
            if what == "resume":
                shutil.copytree(tmp_path / "run", out)
            again = chance.uniform(0, 0.1) if chance.random() < 1 / 3 else None
            number, seconds = chance.choice(NUMBERS), chance.uniform(0, longest)
            with row.case(f"{what}, {index}: {signal.Signals(number).name} after {seconds:.2f} s, again {again}"):
                words = [word.replace("OUT", str(out)) for word in arguments]
                command = bench.begin(tmp_path, *words, variables=silent_proxy)
                ended_by_it += send_and_look(command, number, seconds, again)
                if again is None:
                    assert not [*tmp_path.rglob(TEMPORARY_PATTERN)]
                if (out / "config.toml").exists():
                    assert all(one.state() for one in Run.open(out).checkpoints())
            for path in (*tmp_path.glob("out-*"), *tmp_path.rglob(TEMPORARY_PATTERN)):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert ended_by_it > count // 2  # the moments are those of the work
