"""A stream that only reports may close, fill up or be slow: the work goes on, and its outcome is the same."""

import fcntl
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from bench import Command, begin, short_and_long, tallied
from conftest import environment, images_file, narrow, wait_until

from ganzoo.runs.run import Run
from ganzoo.streams import Reports

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has other pipes")
F_SETPIPE_SZ = 1031  # of Linux
COMMAND = [sys.executable, "-m", "ganzoo_cli"]
STEPS = 400  # log lines, of more bytes than the smallest pipe holds


def training(source: str, out: Path) -> list[str]:
    settings = [*narrow("gan"), "train.threads=1", "train.log_every=1"]
    small = ["--batch-size", "8", "--augment", "none", *(word for setting in settings for word in ("--set", setting))]
    budget = ["--steps", str(STEPS), "--out", str(out)]
    return [*COMMAND, "train", "--variant", "gan", "--dataset", source, *budget, *small]


def read_one_line(process: subprocess.Popen[str], run: Path) -> None:
    assert process.stderr is not None
    process.stderr.readline()
    process.stderr.close()


def read_slowly(process: subprocess.Popen[str], run: Path) -> None:
    assert process.stderr is not None
    fcntl.fcntl(process.stderr, F_SETPIPE_SZ, 4096)
    wait_until((run / "metrics.jsonl").exists, process)
    time.sleep(3)
    assert process.poll() is None  # it waits, as the pipe is full
    process.stderr.read()
    process.stderr.close()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other pipes have other sizes")
@pytest.mark.parametrize("read", [read_one_line, read_slowly])
def test_a_run_goes_on_whatever_becomes_of_its_reader(
    read: Callable[[subprocess.Popen[str], Path], None], tmp_path: Path
) -> None:
    command = training(images_file(tmp_path / "images.npz"), tmp_path / "run")
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
    read(process, tmp_path / "run")
    assert process.wait(timeout=120) == 0
    assert Run.open(tmp_path / "run").latest_checkpoint().final


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full", ">&- 2>&-"])
def test_a_run_goes_on_without_a_stream(redirection: str, tmp_path: Path) -> None:
    if "full" in redirection and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    command = training(images_file(tmp_path / "images.npz"), tmp_path / "run")
    done = subprocess.run(["sh", "-c", f'exec "$@" {redirection}', "sh", *command], env=environment(), check=False)
    assert done.returncode == 0
    run = Run.open(tmp_path / "run")
    assert (run.latest_checkpoint().step, run.latest_checkpoint().final) == (STEPS, True)
    assert len(run.metrics()) == STEPS


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_what_cannot_be_reported_is_dropped() -> None:
    with Path("/dev/full").open("w") as full:
        stream = Reports(full)
        for _ in range(1000):
            assert stream.write("x" * 100) == 100
            stream.flush()
        assert not stream.isatty()
        with pytest.raises(OSError, match="No space"):
            full.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())


def test_a_stream_that_is_closed_or_not_there_takes_everything(tmp_path: Path) -> None:
    closed = (tmp_path / "log").open("w")
    closed.close()
    for stream in (Reports(closed), Reports(None)):
        assert stream.write("lost") == 4
        stream.flush()
        assert not stream.isatty()


def test_what_can_be_reported_is(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        print("a line", file=Reports(log), flush=True)
    assert (tmp_path / "log").read_text() == "a line\n"


STREAMS = {"stdout": 1, "stderr": 2}
FATES = ("closed", "slow", "full", "not there")
SOME_STEPS = 120


def write_to(place: str | None, number: int) -> None:
    """Let a stream of this process go to a file, a device or a pipe, or nowhere."""
    if place is None:
        os.close(number)
    else:
        os.dup2(os.open(place, os.O_WRONLY), number)


def follow(command: Command, pipe: Path, fate: str, moment: float) -> None:
    """Read a pipe until a moment, and then no more, or after a while."""
    with pipe.open("rb", buffering=0) as reader:
        fcntl.fcntl(reader, F_SETPIPE_SZ, 4096)
        os.set_blocking(reader.fileno(), False)
        ends = time.monotonic() + moment
        while command.running and time.monotonic() < ends:
            reader.read(64)
            time.sleep(0.01)
        if fate == "slow":
            time.sleep(0.5)
            os.set_blocking(reader.fileno(), True)
            while reader.read(4096):
                pass


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other pipes have other sizes")
@short_and_long(4, 120)
def test_a_run_goes_on_whatever_becomes_of_a_stream(
    count: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    source, chance = images_file(tmp_path / "images.npz"), random.Random(4)
    with tallied("stdout or stderr closed, full, slow or not there, at random moments", record_property) as row:
        for index in range(count):
            fate, run = FATES[index % len(FATES)], tmp_path / f"run-{index}"
            stream, moment = chance.choice([*STREAMS]), chance.uniform(0, 1.5)
            pipe = tmp_path / f"pipe-{index}"
            os.mkfifo(pipe)
            places = {"closed": str(pipe), "slow": str(pipe), "full": "/dev/full", "not there": None}
            with row.case(f"{stream} {fate} after {moment:.2f} s"):
                arguments = training(source, run)[len(COMMAND) :]
                arguments[arguments.index(str(STEPS))] = str(SOME_STEPS)
                prepare = partial(write_to, places[fate], STREAMS[stream])
                command = begin(tmp_path, *arguments, "--json", prepare=prepare)
                if fate in ("closed", "slow"):
                    follow(command, pipe, fate, moment)
                written = (stream, fate) != ("stdout", "full")  # the outcome, as JSON, once the run is saved
                assert command.wait(120) == (0 if written else 4), command.err
                assert "Traceback" not in command.err
                found = Run.open(run)
                assert (found.latest_checkpoint().step, found.latest_checkpoint().final) == (SOME_STEPS, True)
                assert len(found.metrics()) == SOME_STEPS
            shutil.rmtree(run, ignore_errors=True)
