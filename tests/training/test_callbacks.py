"""Callbacks and loggers: when they are called, what their errors do, and what the built-in loggers write."""

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import bits_of, images_file, invoke, train_tiny
from PIL import Image

import ganzoo
from ganzoo.errors import MachineError, UsageError
from ganzoo.registry import loggers
from ganzoo.runs.checkpoint import Checkpoint
from ganzoo.runs.records import EvaluationLine, LogLine
from ganzoo.runs.run import Run
from ganzoo.training.callbacks import Callback

EVERY = ["train.log_every=2", "train.checkpoint_every=2", "train.sample_epochs=[1]"]


class Recorder(Callback):
    """Remembers each event; raises `error` at the first one called `fails`."""

    def __init__(self, fails: str = "", error: Exception | None = None) -> None:
        self.events: list[tuple[str, Any]] = []
        self.fails, self.error = fails, error or RuntimeError("boom")

    def add(self, event: str, value: Any) -> None:
        self.events.append((event, value))
        if event == self.fails:
            raise self.error

    def on_log(self, run: Run, line: LogLine) -> None:
        self.add("on_log", line.step)

    def on_picture(self, run: Run, path: Path) -> None:
        assert path.is_file()
        self.add("on_picture", path.name)

    def on_evaluation(self, run: Run, line: EvaluationLine) -> None:
        assert run.read_evaluations()[-1] == line
        self.add("on_evaluation", line.step)

    def on_checkpoint(self, run: Run, checkpoint: Checkpoint) -> None:
        assert checkpoint.state()["step"] == checkpoint.step
        self.add("on_checkpoint", checkpoint.step)

    def on_end(self, run: Run) -> None:
        self.add("on_end", None)


def train(place: Path, name: str, callbacks: list[Callback], steps: int = 5, **options: Any) -> Run:
    """Train on digits, which have a judge; the first epoch ends at step 4."""
    source = images_file(place / "images.npz")
    return train_tiny("gan", source, place / name, steps=steps, settings=EVERY, callbacks=callbacks, **options)


def test_callbacks_are_called_in_the_order_of_events(tmp_path: Path) -> None:
    recorder = Recorder()
    train(tmp_path, "run", [recorder])
    epoch = [event for event in recorder.events if event == ("on_picture", "epoch-0001.png")]
    assert len(epoch) == 1
    assert [event for event in recorder.events if event not in epoch] == [
        ("on_log", 2), ("on_checkpoint", 2), ("on_log", 4), ("on_checkpoint", 4),
        ("on_checkpoint", 5), ("on_picture", "final.png"), ("on_checkpoint", 5), ("on_end", None),
    ]  # fmt: skip


@pytest.mark.slow
def test_evaluations_are_passed_on(tmp_path: Path) -> None:
    recorder = Recorder()
    small = ["generator.width=8", "discriminator.width=8", "train.threads=1"]
    ganzoo.train(
        "gan", "mnist-5k", out=tmp_path / "run", steps=4, evaluate_every=2, settings=small, callbacks=[recorder],
        progress=False,
    )  # fmt: skip
    assert [value for event, value in recorder.events if event == "on_evaluation"] == [2, 4]


@pytest.mark.parametrize("event", ["on_log", "on_picture", "on_checkpoint"])
def test_a_callback_that_fails_saves_the_run_and_stops_it(event: str, tmp_path: Path) -> None:
    whole = train(tmp_path, "whole", [])
    failing, other = Recorder(event, KeyError("mine")), Recorder()
    with pytest.raises(KeyError, match="mine") as caught:
        train(tmp_path, "run", [failing, other])
    (note,) = caught.value.__notes__
    run = Run.open(tmp_path / "run")
    assert note == f"Recorder stopped training at step {run.latest_checkpoint().step}; {run.path} is saved"
    assert [name for name, _ in failing.events].count(event) == 1
    assert failing.events[-1][0] == other.events[-1][0] == "on_end"
    ganzoo.resume(run, progress=False)
    assert bits_of(run) == bits_of(whole)


def test_an_error_at_the_end_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = train(tmp_path, "run", [Recorder("on_end")], progress=True)
    assert run.latest_checkpoint().final
    assert "Recorder.on_end failed: RuntimeError: boom" in capfd.readouterr().err


@pytest.mark.parametrize("event", ["on_log", "on_picture", "on_checkpoint"])
def test_a_logger_that_fails_is_reported_once_and_dropped(
    event: str, registries: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = []

    @loggers.register("broken")
    def broken() -> Recorder:
        """Fails."""
        made.append(Recorder(event))
        return made[-1]

    whole = train(tmp_path, "whole", [])
    recorder = Recorder()
    run = train(tmp_path, "run", [recorder], log=["broken"], progress=True)
    assert {**bits_of(run), "config": None} == {**bits_of(whole), "config": None}
    said = "the logger 'broken' failed and is not used any more: RuntimeError: boom"
    assert capfd.readouterr().err.count(said) == 1
    assert [name for name, _ in made[0].events].count(event) == 1
    assert [name for name, _ in recorder.events].count("on_log") == 2


def test_a_resumed_run_keeps_its_loggers_and_takes_callbacks(tmp_path: Path) -> None:
    run = train(tmp_path, "run", [], steps=3, log="csv")
    assert run.config.train.log == ("csv",)
    recorder = Recorder()
    ganzoo.resume(run, steps=6, progress=False, callbacks=[recorder])
    assert [value for event, value in recorder.events if event == "on_log"] == [4, 6]
    assert len((run.path / "metrics.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("log", ["cvs", ["csv", "tensorbord"]])
def test_an_unknown_logger_is_refused_before_the_run(log: Any, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no logger '\w+'; did you mean '(csv|tensorboard)'\? \(ganzoo list loggers\)"
    ):
        train(tmp_path, "run", [], log=log)
    assert not (tmp_path / "run").exists()


def test_a_missing_package_is_named_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MachineError, match=r"needs the package 'tensorboard': pip install torch-ganzoo\[tensorboard\]"):
        train(tmp_path, "run", [], log="tensorboard")
    assert not (tmp_path / "run").exists()


def read_csv(run: Run) -> list[dict[str, float]]:
    with (run.path / "metrics.csv").open(newline="") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def test_the_csv_has_the_log_lines_also_after_a_kill(tmp_path: Path) -> None:
    run = train(tmp_path, "run", [], log="csv")
    expected = [{key: float(value) for key, value in line.items()} for line in run.metrics()]
    assert read_csv(run) == expected
    with (run.path / "metrics.csv").open("a") as file:
        file.write("7,lines of a process that was killed")
    ganzoo.resume(run, steps=8, progress=False)
    assert [row["step"] for row in read_csv(run)] == [2, 4, 6, 8]


def scalars(run: Run) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.mark.slow
def test_tensorboard_reads_what_is_logged(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(tmp_path, "run", [], log=["tensorboard"])
    ganzoo.resume(run, steps=8, progress=False)
    lines = run.metrics()
    for name, values in scalars(run).items():
        assert [step for step, _ in values] == [line["step"] for line in lines], name
        assert [value for _, value in values] == pytest.approx([line[name] for line in lines]), name
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    image = events.Images("samples")[-1]
    assert (image.height, image.width) == np.asarray(Image.open(run.samples / "final.png")).shape[:2]


def test_the_command_takes_loggers(tmp_path: Path) -> None:
    source, out = images_file(tmp_path / "images.npz"), tmp_path / "run"
    command = ["train", "--variant", "gan", "--dataset", source, "--steps", "2", "--batch-size", "8", "--out", str(out)]
    code, _, err = invoke(*command, "--log", "CSV", "--set", "train.log_every=1")
    assert code == 0, err
    assert [row["step"] for row in read_csv(Run.open(out))] == [1, 2]
