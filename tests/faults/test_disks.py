"""Disks that are full or read-only, limits on files, directories that are gone: the run stays, the path is named."""

import contextlib
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from bench import Command, Points, begin, short_and_long, tallied
from conftest import bits_of, images_file, train_tiny

import ganzoo
from ganzoo.errors import MachineError
from ganzoo.files import TEMPORARY_PATTERN
from ganzoo.runs.run import Run
from ganzoo.training.trainer import Session

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="has other limits"), pytest.mark.slow]
STEPS = 6  # of a run that has done 2 when something happens to its disk
SETTINGS = ["train.checkpoint_every=2", "train.log_every=1", "train.sample_epochs=[1]"]
STDERR = 4096  # bytes that the messages take, as no file may be larger
Property = Callable[[str, object], None]


def size_of(path: Path) -> int:
    return path.stat().st_size


def room(place: Path, kilobytes: int) -> bool:
    """Mount a disk of so many kilobytes, where that is allowed."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(place)]
    return (
        shutil.which("mount") is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


class Places:
    """A run of two steps, and the copies of it that things happen to."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.source = folder, images_file(folder / "images.npz")
        self.begun = train_tiny("gan", self.source, folder / "begun", steps=2, settings=SETTINGS)
        self.whole = Run(Path(shutil.copytree(self.begun.path, folder / "whole")))
        ganzoo.resume(self.whole, steps=STEPS, progress=False)
        self.before = bits_of(self.begun)
        self.after = bits_of(self.whole)

    def resume(self, run: Path, prepare: Callable[[], object] | None = None) -> Command:
        return begin(self.folder, "resume", str(run), "--steps", str(STEPS), prepare=prepare)

    def check(self, command: Command, run: Path) -> None:
        """Refused with the path; what there was is whole, and the run goes on to the same end once it can."""
        assert command.wait(60) == 4, f"{command.process.exitcode}: {command.err}"
        assert "Traceback" not in command.err, command.err
        assert str(run) in command.err.splitlines()[-1], command.err
        found = Run.open(run)
        assert found.latest_checkpoint().state()["step"] in (2, 4, STEPS)

    def check_again(self, run: Path) -> None:
        assert self.resume(run).wait() == 0
        assert bits_of(Run.open(run)) == self.after
        assert not [*run.rglob(TEMPORARY_PATTERN)]


@short_and_long(4, 60)
def test_a_limit_on_the_size_of_files(count: int, tmp_path: Path, record_property: Property) -> None:
    places = Places(tmp_path)
    largest = max(size_of(path) for path in places.whole.path.rglob("*") if path.is_file())
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    with tallied("no file may be larger than some offset", record_property) as row:
        for index in range(count):
            limit, run = STDERR + index * (largest - STDERR) // count, tmp_path / f"run-{index}"
            with row.case(f"{limit} bytes"):
                shutil.copytree(places.begun.path, run)
                limited = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, hard))
                places.check(places.resume(run, limited), run)
                places.check_again(run)
            shutil.rmtree(run)


@contextmanager
def disk(place: Path, kilobytes: int) -> Iterator[Path]:
    assert room(place, kilobytes)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def may_mount(tmp_path: Path) -> None:
    if not room(tmp_path / "trial", 4):
        pytest.skip("this user may not mount a small disk")
    subprocess.run(["umount", str(tmp_path / "trial")], check=True)


@pytest.mark.usefixtures("may_mount")
@short_and_long(2, 60)
def test_a_disk_that_is_full_at_some_offset(count: int, tmp_path: Path, record_property: Property) -> None:
    places = Places(tmp_path)
    pages = [
        sum(-(-size_of(path) // 4096) for path in run.path.rglob("*") if path.is_file())
        for run in (places.begun, places.whole)
    ]
    full = 0
    with tallied("a disk that is full at some offset", record_property) as row:
        for index in range(count):
            kilobytes = 4 * (pages[0] + 4) + 4 * index * pages[1] // count // 2
            with row.case(f"{kilobytes} KiB"), disk(tmp_path / f"disk-{index}", kilobytes) as mounted:
                run = mounted / "run"
                shutil.copytree(places.begun.path, run)
                command = places.resume(run)
                if command.wait() != 0:
                    full += 1
                    places.check(command, run)
                    moved = shutil.copytree(run, tmp_path / f"moved-{index}")
                    places.check_again(moved)
                    shutil.rmtree(moved)
        assert full >= count // 2


@pytest.mark.usefixtures("may_mount")
@short_and_long(2, 30)
def test_a_disk_that_others_fill(count: int, tmp_path: Path, record_property: Property) -> None:
    places, chance = Places(tmp_path), random.Random(2)
    with tallied("a disk that becomes full at a random moment", record_property) as row:
        for index in range(count):
            with row.case(str(index)), disk(tmp_path / f"disk-{index}", 4096) as mounted:
                run = mounted / "run"
                shutil.copytree(places.begun.path, run)
                command = begin(places.folder, "resume", str(run), "--steps", "100000")
                command.wait_for(lambda run=run: len(Run(run).checkpoints()) > 1)  # type: ignore[misc]
                time.sleep(chance.uniform(0, 0.3))
                with contextlib.suppress(OSError), (mounted / "filler").open("wb", buffering=0) as filler:
                    while True:
                        filler.write(bytes(4096))
                assert command.wait(60) == 4, command.err
                assert str(run) in command.err.splitlines()[-1], command.err
                assert Run.open(run).latest_checkpoint().state()["step"] > 2


@pytest.mark.usefixtures("may_mount")
@pytest.mark.parametrize("count", [pytest.param(6, marks=pytest.mark.faults)])
def test_a_read_only_disk(count: int, tmp_path: Path, record_property: Property) -> None:
    places = Places(tmp_path)
    with disk(tmp_path / "disk", 4096) as mounted, tallied("a read-only disk", record_property) as row:
        shutil.copytree(places.begun.path, mounted / "run")
        subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
        commands = (
            ["resume", "disk/run", "--steps", "6"],
            ["train", "--variant", "gan", "--dataset", "npz:images.npz", "--steps", "1", "--out", "disk/new"],
            ["sample", "begun", "--out", "disk/images.png"],
            ["sample", "begun", "-n", "9", "--format", "npz", "--out", "disk/images"],
            ["export", "begun", "--onnx", "-o", "disk/model.onnx"],
            ["report", "begun", "--out", "disk/pages"],
        )
        for arguments in commands[:count]:
            with row.case(arguments[0]):
                command = begin(places.folder, *arguments)
                assert command.wait(60) == 4, command.err
                assert "disk/" in command.err.splitlines()[-1], command.err
                assert "read-only" in command.err.splitlines()[-1], command.err


@short_and_long(2, 30)
def test_a_directory_that_is_removed(count: int, tmp_path: Path, record_property: Property) -> None:
    places, chance = Places(tmp_path), random.Random(3)
    with tallied("a run's directory that is removed at a random moment", record_property) as row:
        for index in range(count):
            with row.case(str(index)):
                run = Path(shutil.copytree(places.begun.path, tmp_path / f"run-{index}"))
                command = begin(places.folder, "resume", str(run), "--steps", "100000")
                command.wait_for(lambda run=run: len(Run(run).checkpoints()) > 1)  # type: ignore[misc]
                time.sleep(chance.uniform(0, 0.3))
                run.rename(tmp_path / f"removed-{index}")
                assert command.wait(60) == 4, command.err
                assert str(run) in command.err.splitlines()[-1], command.err
                assert Run.open(tmp_path / f"removed-{index}").latest_checkpoint().state()["step"] >= 2


def test_nothing_is_begun_anew_where_a_run_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints alone would lie there, and those of before elsewhere."""
    run, real = tmp_path / "run", Session.after_step

    def rename(self: Session) -> None:
        real(self)
        if self.state.step == 3:
            run.rename(tmp_path / "elsewhere")

    source = images_file(tmp_path / "images.npz")
    with monkeypatch.context() as patch:
        patch.setattr(Session, "after_step", rename)
        with pytest.raises(MachineError, match=r"cannot write .*run: the run's directory was removed or renamed"):
            train_tiny("gan", source, run, steps=6, settings=["train.checkpoint_every=2"])
    assert not run.exists()
    resumed = ganzoo.resume(tmp_path / "elsewhere", progress=False)
    assert resumed.latest_checkpoint().step == 6


@short_and_long(8, 10_000)
def test_every_point_of_saving(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Property
) -> None:
    """The disk is full when a file is opened to be written, synced or renamed, or a directory made: each in turn."""
    places, points, run = Places(tmp_path), Points(tmp_path), tmp_path / "run"
    shutil.copytree(places.begun.path, run)
    with points.failing(-1, monkeypatch):
        ganzoo.resume(run, steps=STEPS, progress=False)
    assert bits_of(Run.open(run)) == places.after
    every = range(points.seen)
    with tallied("a failure at each open, fsync, rename and mkdir of a run", record_property) as row:
        for at in every[:: max(1, len(every) // count)]:
            shutil.rmtree(run)
            shutil.copytree(places.begun.path, run)
            with row.case(f"point {at}"):
                message = ""
                try:
                    with points.failing(at, monkeypatch):
                        ganzoo.resume(run, steps=STEPS, progress=False)
                except MachineError as error:
                    message = str(error)
                assert not message or str(run) in message, message
                assert all(one.state() for one in Run.open(run).checkpoints())
                if (latest := Run.open(run).latest_checkpoint()).step < STEPS or not latest.final:
                    ganzoo.resume(run, steps=STEPS, progress=False)
                assert bits_of(Run.open(run)) == places.after
                assert not [*run.rglob(TEMPORARY_PATTERN)]
