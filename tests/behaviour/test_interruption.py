"""Ctrl-C and SIGTERM: the step is finished, the run saved, and it goes on later as if nothing had been."""

import importlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import (
    Images,
    bits_of,
    distribution,
    ended,
    images_file,
    start_training,
    train_tiny,
    wait_until,
)

import ganzoo
from ganzoo.errors import Interrupted
from ganzoo.runs.run import Run

# A term that is nothing; at one update it says that it is there, and waits, or sends its process a signal.
GATE = """
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ganzoo.plugin import penalties


@penalties.register("gate")
@dataclass(frozen=True, kw_only=True)
class Gate:
    folder: str
    update: int

    per_sample: ClassVar[bool] = False
    term: ClassVar[str] = "gate"
    every: ClassVar[int] = 1
    noise: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, discriminator, batch, fake):
        folder = Path(self.folder)
        if batch.update == self.update:
            if (folder / "signal").exists():
                signal.raise_signal(int((folder / "signal").read_text()))
            (folder / "here").touch()
            for _ in range(60_000):
                if (folder / "go").exists():
                    break
                time.sleep(0.01)
                if "interruption" not in getattr(signal.getsignal(signal.SIGINT), "__qualname__", ""):
                    (folder / "noted").touch()
        return 0 * fake.sum()
"""
UPDATE = 4
STOPPED = UPDATE + 1  # steps are counted from 1
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="has other signals")


def settings(folder: Path) -> list[str]:
    gate = f'penalties=[{{name="gate", folder="{folder}", update={UPDATE}}}]'
    events = ["train.log_every=3", f"train.checkpoint_every={STOPPED}", "train.sample_epochs=[1]"]
    return [gate, *events, "train.precision=float32"]  # with which nothing is measured: the gate is met in the loop


@dataclass(frozen=True)
class Started:
    """A training process that is going to wait in the middle of a step."""

    folder: Path
    source: str
    process: subprocess.Popen[str]

    @property
    def out(self) -> Path:
        return self.folder / "run"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Started]]:
    """Three, begun together: importing torch takes most of their time."""
    all_of_them = []
    for name in ("first", "second", "third"):
        folder = tmp_path_factory.mktemp(name)
        distribution(folder, "gate-dist", {"gate": "gate_gans"}, {"gate_gans": GATE})
        source = images_file(folder / "images.npz")
        process = start_training(folder / "run", source, settings(folder), folder)
        all_of_them.append(Started(folder, source, process))
    yield all_of_them
    for one in all_of_them:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


@pytest.fixture
def gate(registries: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same term in this process."""
    place = tmp_path / "plugin"
    distribution(place, "gate-dist", {}, {"gate_gans": GATE})
    monkeypatch.syspath_prepend(place)
    importlib.import_module("gate_gans")
    yield
    del sys.modules["gate_gans"]


@pytest.mark.usefixtures("gate")
@pytest.mark.parametrize(("which", "number"), [(0, signal.SIGINT), (1, signal.SIGTERM)])
def test_the_first_signal_finishes_the_step_saves_and_says_how_to_go_on(
    which: int, number: signal.Signals, started: list[Started], tmp_path: Path
) -> None:
    one = started[which]
    wait_until((one.folder / "here").exists, one.process)
    one.process.send_signal(number)
    wait_until((one.folder / "noted").exists, one.process)
    (one.folder / "go").touch()
    stderr = ended(one.process)
    assert one.process.returncode == 128 + number, stderr
    last = stderr.strip().splitlines()[-1]
    assert last == f"ganzoo: interrupted at step {STOPPED}, saved; to continue: ganzoo resume {one.out}"
    assert "Traceback" not in stderr
    run = Run.open(one.out)
    assert (run.latest_checkpoint().step, run.latest_checkpoint().final) == (STOPPED, False)
    assert f"Interrupted at step {STOPPED}" in (one.out / "README.md").read_text()

    ganzoo.resume(run, steps=8, progress=False)
    whole = train_tiny("gan", one.source, tmp_path / "whole", steps=8, settings=settings(one.folder))
    assert bits_of(run) == bits_of(whole)
    assert "Interrupted" not in (one.out / "README.md").read_text()


def test_a_second_signal_quits_at_once(started: list[Started]) -> None:
    one = started[2]
    wait_until((one.folder / "here").exists, one.process)
    one.process.send_signal(signal.SIGINT)
    wait_until((one.folder / "noted").exists, one.process)  # the step goes on, for nobody opens the gate
    one.process.send_signal(signal.SIGINT)
    stderr = ended(one.process)
    assert one.process.returncode == 130, stderr
    assert stderr.strip().splitlines()[-1] == "ganzoo: interrupted"
    assert Run.open(one.out).checkpoints() == []


@pytest.mark.usefixtures("gate")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_library_raises_a_keyboard_interrupt_that_says_the_same(
    number: signal.Signals, tiny_images: Images, tmp_path: Path
) -> None:
    (tmp_path / "signal").write_text(str(int(number)))
    (tmp_path / "go").touch()
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    out = tmp_path / "run"
    message = rf"interrupted at step {STOPPED}, saved; to continue: ganzoo.resume\('{out}', dataset=IMAGES\)"
    with pytest.raises(KeyboardInterrupt, match=message) as caught:
        train_tiny("gan", tiny_images, out, steps=8, settings=settings(tmp_path))
    assert isinstance(caught.value, Interrupted)
    assert caught.value.exit_code == 128 + number
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    (tmp_path / "signal").unlink()
    run = ganzoo.resume(out, dataset=tiny_images, progress=False)  # what is left of its own budget
    whole: Any = train_tiny("gan", tiny_images, tmp_path / "whole", steps=8, settings=settings(tmp_path))
    assert bits_of(run) == bits_of(whole)
