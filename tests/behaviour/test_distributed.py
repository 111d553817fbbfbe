"""One run on several processes: the run of one process at the same batch, and one end for all, whatever ends it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import (
    SUPERVISED,
    Images,
    distribution,
    ended,
    images_file,
    narrow,
    start_process,
    tensors_of,
    train_tiny,
    wait_until,
)
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # documented, but torch does not export it to mypy

import ganzoo
from ganzoo.compute.distributed import World, joined
from ganzoo.errors import UsageError
from ganzoo.runs.run import Run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torch has no gloo for several processes there")

SIZE = 2
SGD = [f"{player}_optimizer={{name='sgd', lr=0.05, momentum=0.5}}" for player in ("generator", "discriminator")]
ALL = ["train.precision=float32", "train.log_every=2", "train.checkpoint_every=4"]
PLAIN = [*ALL, "generator.norm=none"]  # batch norm takes its statistics over each process's share
EVERY = 'penalties=[{name="gradient", at="real", weight=0.1}]'
CASES: dict[str, tuple[str, list[str]]] = {
    "sgd": ("gan", [*PLAIN, *SGD, EVERY]),
    "adam": ("gan", PLAIN),
    "penalty": ("wgan-gp", [*PLAIN, *SGD, "critic_steps=2"]),
    "conditional": ("cgan", [*PLAIN, *SGD]),
    "shared-head": ("infogan", [*PLAIN, *SGD]),
    "labelled": ("gan", [*PLAIN, *SGD, 'terms=["supervised"]', "data.labels_per_class=3"]),
    "state": ("began", [*PLAIN, *SGD, "discriminator.norm=none"]),
    "batch-norm": ("gan", [*ALL, *SGD]),
}
STEPS = 6

# A term that is nothing, but at one update for one of the processes: there a NaN, or a signal, or it moves a weight.
BOOM = """
import os
import signal
from dataclasses import dataclass
from typing import ClassVar

from ganzoo.plugin import penalties


@penalties.register("boom")
@dataclass(frozen=True, kw_only=True)
class Boom:
    how: str

    per_sample: ClassVar[bool] = False
    term: ClassVar[str] = "boom"
    every: ClassVar[int] = 1
    noise: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, discriminator, batch, fake):
        how = self.how if batch.update == 4 and os.environ["RANK"] == "1" else ""
        if how == "signal":
            signal.raise_signal(signal.SIGTERM)
        if how == "drift":
            next(discriminator.parameters()).data[0] += 1e-6
        return 0 * fake.sum() * (float("nan") if how == "nan" else 1)
"""

# A command that trains and resumes many runs, each process the same ones; the errors of the last are the command's own.
DRIVER = """
import atexit
import json
import sys
from pathlib import Path

import ganzoo
import torch
from ganzoo.compute.distributed import joined
from ganzoo.evaluation.metrics import frechet_distance
from ganzoo.errors import DivergedError, Interrupted, MachineError, UsageError
from ganzoo_cli.app import app, command


@atexit.register
def threads():
    names = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]  # none but on Linux
    print("threads", *(name for name in names if "gloo" in name), file=sys.stderr)


@command("drive")
def drive(todo: str) -> None:
    with joined() as world:
        threads()
        if world.leads:  # as it evaluates, alone
            frechet_distance(torch.randn(8, 2), torch.randn(8, 2))
        *many, last = json.loads(todo)
        for options in many:
            path = options.pop("path")
            try:
                if "variant" in options:
                    run = ganzoo.train(out=path, world=world, **options)
                else:
                    run = ganzoo.resume(path, world=world, **options)
                print("trained", run.path, file=sys.stderr)
            except (DivergedError, Interrupted, MachineError, UsageError) as error:
                print(type(error).__name__, error.exit_code, error, file=sys.stderr)
        ganzoo.train(out=last.pop("path"), world=world, **last)


app()
"""


class Agent:
    """What torchrun is to its processes: the store, which outlives each of them, and their environment."""

    def __init__(self) -> None:
        self.store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, commands: Sequence[Sequence[str]], *places: Path) -> "Agent":
        """One process a command, each with `python` before it."""
        for rank, command in enumerate(commands):
            variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": len(commands), "MASTER_ADDR": "127.0.0.1"}
            variables |= {"MASTER_PORT": self.store.port, "TORCHELASTIC_USE_AGENT_STORE": True, "OMP_NUM_THREADS": 1}
            words = ["env", *(f"{name}={value}" for name, value in variables.items()), sys.executable, *command]
            self.processes.append(start_process(words, *places))
        return self

    def ended(self) -> tuple[list[int | None], list[str]]:
        """Every process's exit code and stderr."""
        said = [ended(process) for process in self.processes]
        return [process.returncode for process in self.processes], said

    def kill(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.communicate()


def command(out: Path, source: str, steps: int, *options: str) -> list[str]:
    """`ganzoo train` of a tiny GAN."""
    words = ["-m", "ganzoo_cli", "train", "--variant", "gan", "--dataset", source, "--out", str(out)]
    words += ["--steps", str(steps), "--batch-size", "8"]
    for setting in [*narrow("gan"), *PLAIN, "train.threads=1", "train.augment=none"]:
        words += ["--set", setting]
    return [*words, *options]


def arguments(name: str, path: Path, source: str, steps: int) -> dict[str, Any]:
    variant, settings = CASES[name]
    settings = [*narrow(variant), "train.threads=1", "train.augment=none", *settings]
    return {
        "path": str(path),
        "variant": variant,
        "dataset": source,
        "steps": steps,
        "settings": settings,
        "batch_size": 8,
    }


def alone(name: str, source: str, out: Path, steps: int = STEPS) -> Run:
    """The same by one process."""
    variant, settings = CASES[name]
    return train_tiny(variant, source, out, steps=steps, settings=settings)


@dataclass(frozen=True)
class Together:
    """What two processes did, and where."""

    place: Path
    source: str
    codes: list[int | None]
    said: list[str]

    def run(self, name: str) -> Run:
        return Run.open(self.place / name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def source(place: Path) -> str:
    return images_file(place / "images.npz")


@pytest.fixture(scope="module")
def together(place: Path, source: str) -> Together:
    """All in one pair of processes: importing torch takes most of their time."""
    plugins = {"boom_gans": BOOM, "supervised_gans": SUPERVISED}
    distribution(place / "plugin", "boom-dist", {name: name for name in plugins}, plugins)
    alone("sgd", source, place / "one-then-two", steps=3)
    todo = [arguments(name, place / name, source, STEPS) for name in CASES]
    todo += [{"path": str(place / "one-then-two"), "steps": STEPS}]
    todo += [
        arguments("sgd", place / "two-then-one", source, 3),
        arguments("batch-norm", place / "one-step", source, 1),
    ]
    todo += [{**arguments("sgd", place / "uneven", source, STEPS), "batch_size": 7}]
    for how in ("signal", "drift", "nan"):
        mishap = arguments("adam", place / how, source, STEPS)
        mishap["settings"] += [f"penalties=[{{name='boom', how='{how}'}}]", "train.checkpoint_every=1"]
        todo.append(mishap)
    last = [arguments("sgd", place / "lost", where, STEPS) for where in (source, f"npz:{place}/nothing.npz")]
    agent = Agent()
    try:
        agent.start([["-c", DRIVER, "drive", json.dumps([*todo, one])] for one in last], place / "plugin")
        codes, said = agent.ended()
    finally:
        agent.kill()
    return Together(place, source, codes, said)


def assert_alike(one: Run, other: Run) -> None:
    """The same logs, pictures' names and tensors, to the rounding of float32 sums."""
    clocks = ("seconds", "images_per_s")
    ours, theirs = (
        [{key: value for key, value in line.items() if key not in clocks} for line in run.metrics()]
        for run in (one, other)
    )
    assert len(ours) == len(theirs) == STEPS // 2
    for line, same in zip(ours, theirs, strict=True):
        assert line == pytest.approx(same, rel=1e-4, abs=1e-6)
    assert [made.step for made in one.checkpoints()] == [made.step for made in other.checkpoints()] == [4, STEPS]
    for made, same_made in zip(one.checkpoints(), other.checkpoints(), strict=True):
        torch.testing.assert_close(tensors_of(made), tensors_of(same_made), rtol=1e-3, atol=1e-5)
    assert {path.name for path in one.samples.iterdir()} == {path.name for path in other.samples.iterdir()}


@pytest.mark.usefixtures("supervised")
@pytest.mark.parametrize("name", [name for name in CASES if name != "batch-norm"])
def test_two_processes_are_one(name: str, together: Together, tmp_path: Path) -> None:
    run = together.run(name)
    assert_alike(run, alone(name, together.source, tmp_path / "alone"))
    assert run.latest_checkpoint().state()["processes"] == SIZE


def test_batch_norm_sees_a_processs_share(together: Together, tmp_path: Path) -> None:
    """The mean of the shares' means is that of the batch; that of their variances is not."""
    runs = together.run("one-step"), alone("batch-norm", together.source, tmp_path / "alone", steps=1)
    ours, theirs = (tensors_of(run.latest_checkpoint()) for run in runs)
    mean, variance = (f"objective/generator.body.1.running_{name}" for name in ("mean", "var"))
    torch.testing.assert_close(ours[mean], theirs[mean], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(ours[variance], theirs[variance], rtol=1e-2)
    assert "note: generator: statistics are computed over 4 images and not 8" in together.said[0]


def test_one_process_speaks(together: Together) -> None:
    lines = together.said[1].splitlines()
    said = ("trained", "UsageError", "Interrupted", "MachineError", "DivergedError", "ganzoo", "threads")
    assert [line for line in lines if not line.startswith(said)] == []
    assert len(lines) == len(CASES) + 10


def test_what_is_not_finite_on_one_process_stops_all_of_them(together: Together) -> None:
    for said in together.said:
        assert "DivergedError 5 step 5, discriminator: the term 'boom' is nan" in said
    assert together.run("nan").latest_checkpoint().step == 4


def test_weights_that_drift_apart_stop_the_run_and_are_not_saved(together: Together) -> None:
    for said in together.said:
        assert re.search("MachineError 4 the weights are no longer the same .* by step 5 .process 1 differs", said)
    assert together.run("drift").latest_checkpoint().step == 4


def test_a_run_goes_on_with_another_number_of_processes(
    together: Together, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = alone("sgd", together.source, tmp_path / "whole")
    one_then_two, two_then_one = (together.run(name) for name in ("one-then-two", "two-then-one"))
    assert "exactness is lost: the number of processes was 1, now it is 2" in together.said[0]
    capfd.readouterr()
    ganzoo.resume(two_then_one, steps=STEPS)
    assert "exactness is lost: the number of processes was 2, now it is 1" in capfd.readouterr().err
    for run in (one_then_two, two_then_one):
        torch.testing.assert_close(
            tensors_of(run.latest_checkpoint()), tensors_of(whole.latest_checkpoint()), rtol=1e-3, atol=1e-5
        )
        assert run.metrics()[-1]["d_loss"] == pytest.approx(whole.metrics()[-1]["d_loss"], rel=1e-4)


# how a run on several processes ends


def test_a_batch_that_has_no_equal_shares_is_refused(together: Together) -> None:
    for said in together.said:
        assert "UsageError 2 data.batch_size is 7: expected a multiple of 2, the number of processes" in said
    assert not (together.place / "uneven").exists()


def test_a_signal_to_one_process_stops_all_after_the_same_step(together: Together) -> None:
    run = together.run("signal")
    message = f"Interrupted 143 interrupted at step 5, saved; to continue: ganzoo resume {run.path}"
    assert [message in said for said in together.said] == [True, True]
    assert (run.latest_checkpoint().step, run.latest_checkpoint().state()["final"]) == (5, False)


def test_an_error_of_one_process_ends_all_and_is_said_once(together: Together) -> None:
    assert together.codes == [3, 3]
    assert "ganzoo: " not in together.said[0]
    assert re.fullmatch(r"ganzoo: .*nothing\.npz.*", together.said[1].splitlines()[-2])
    assert not (together.place / "lost").exists()


def test_no_thread_of_the_group_outlives_it(together: Together) -> None:
    """One that needs Python while the interpreter ends aborts the process: SIGABRT in place of its exit code."""
    assert [said.splitlines()[-1] for said in together.said] == ["threads", "threads"]
    if sys.platform == "linux":
        assert all(said.startswith("threads gloo") for said in together.said)


def worker(torchrun: subprocess.Popen[str], rank: int) -> int:
    """The process id of one of its processes."""
    found = subprocess.run(["pgrep", "-P", str(torchrun.pid)], capture_output=True, text=True, check=True).stdout
    (number,) = [
        int(process)
        for process in found.split()
        if f"RANK={rank}".encode() in Path("/proc", process, "environ").read_bytes().split(b"\0")
    ]
    return number


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the processes in /proc")
def test_a_killed_process_ends_the_run_and_the_last_checkpoint_goes_on(source: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(SIZE)]
    process = start_process([*torchrun, *command(out, source, 10**6)])
    wait_until(lambda: any((out / "checkpoints").glob("step-*")), process)
    os.kill(worker(process, 1), signal.SIGKILL)
    said = ended(process)
    assert process.returncode != 0
    (message,) = [line for line in said.splitlines() if line.startswith("ganzoo: ")]
    assert "another process of this run was killed or cannot be reached: nothing was saved after" in message
    run = Run.open(out)
    saved = run.latest_checkpoint().step
    assert saved % 4 == 0  # a periodic one
    ganzoo.resume(run, steps=saved + 1, progress=False)
    assert run.latest_checkpoint().step == saved + 1


# what a process takes


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_shares_are_equal_and_make_up_the_batch(size: int) -> None:
    rows = list(range(12))
    shares = [rows[World(rank, size).share(12)] for rank in range(size)]
    assert {len(share) for share in shares} == {12 // size}
    assert [row for share in shares for row in share] == rows
    with pytest.raises(UsageError, match="expected a multiple of 5, the number of processes"):
        World(0, 5).share(12)


def test_a_process_alone_is_a_world(tiny_images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")  # other tools set some of these too
    with joined() as world:
        assert world == World()
        run = train_tiny("gan", tiny_images, tmp_path / "run", steps=1, world=world)
    assert run.latest_checkpoint().state()["processes"] == 1


def test_an_environment_that_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RANK": "one",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "x",
        "MASTER_PORT": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(UsageError, match="RANK, WORLD_SIZE, LOCAL_RANK in the environment must be whole numbers"),
        joined(),
    ):
        pass
