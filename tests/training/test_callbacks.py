"""Callbacks and loggers: when they are called, what their errors do, and what the built-in loggers write."""

import csv
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from conftest import bits_of, images_file, invoke, tensors_of, train_tiny
from PIL import Image
from torch import Tensor
from torch.nn.functional import softplus

import ganzoo
from ganzoo.errors import DivergedError, MachineError, UsageError
from ganzoo.registry import loggers, losses
from ganzoo.runs.checkpoint import Checkpoint
from ganzoo.runs.records import EvaluationLine, LogLine
from ganzoo.runs.run import Run
from ganzoo.training.callbacks import Callback

EVERY = ["train.log_every=2", "train.checkpoint_every=2", "train.sample_epochs=[1]"]
AT_ONCE = ["train.log_every=5", "train.checkpoint_every=2", "train.sample_epochs=[1]"]  # an epoch ends at step 5


class Recorder(Callback):
    """Remembers each event; raises `error` at the first one called `fails`."""

    def __init__(self, fails: str = "", error: BaseException | None = None) -> None:
        self.events: list[tuple[str, Any]] = []
        self.fails, self.error = fails, error or RuntimeError("boom")

    def add(self, event: str, value: Any) -> None:
        self.events.append((event, value))
        if event == self.fails:
            raise self.error

    def on_log(self, run: Run, line: LogLine) -> None:
        self.add("on_log", line.step)

    def on_picture(self, run: Run, path: Path, step: int) -> None:
        assert path.is_file()
        assert step >= 4
        self.add("on_picture", path.name)

    def on_evaluation(self, run: Run, line: EvaluationLine) -> None:
        assert run.read_evaluations()[-1] == line
        self.add("on_evaluation", line.step)

    def on_checkpoint(self, run: Run, checkpoint: Checkpoint) -> None:
        assert checkpoint.state()["step"] == checkpoint.step
        self.add("on_checkpoint", checkpoint.step)

    def on_end(self, run: Run) -> None:
        self.add("on_end", None)


def train(
    place: Path, name: str, callbacks: list[Callback], steps: int = 6, settings: list[str] = EVERY, **options: Any
) -> Run:
    """Train on the tiny images."""
    source = images_file(place / "images.npz")
    return train_tiny("gan", source, place / name, steps=steps, settings=settings, callbacks=callbacks, **options)


def test_callbacks_are_called_in_the_order_of_events(tmp_path: Path) -> None:
    recorder = Recorder()
    train(tmp_path, "run", [recorder], settings=AT_ONCE)
    assert recorder.events == [
        ("on_checkpoint", 2), ("on_checkpoint", 4), ("on_log", 5), ("on_picture", "epoch-0001.png"),
        ("on_checkpoint", 6), ("on_picture", "final.png"), ("on_checkpoint", 6), ("on_end", None),
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
@pytest.mark.parametrize("error", [KeyError("mine"), DivergedError("mine"), SystemExit("mine")], ids=type)
@pytest.mark.parametrize("settings", [EVERY, AT_ONCE])
def test_a_callback_that_fails_completes_the_step_saves_the_run_and_stops_it(
    event: str, error: BaseException, settings: list[str], tmp_path: Path
) -> None:
    rollback = [*settings, "train.on_divergence=rollback"]
    whole = train(tmp_path, "whole", [], settings=rollback)
    failing, other = Recorder(event, error), Recorder()
    with pytest.raises(type(error), match="mine") as caught:
        train(tmp_path, "run", [failing, other], settings=rollback)
    run = Run.open(tmp_path / "run")
    step = run.latest_checkpoint().step
    assert caught.value.__notes__[-1] == f"a callback stopped training at step {step}; {run.path} is saved"
    assert f"Stopped by a callback at step {step} and saved" in (run.path / "README.md").read_text()
    assert [name for name, _ in failing.events].count(event) == 1
    assert failing.events[-1][0] == other.events[-1][0] == "on_end"
    assert run.read_rollbacks() == []
    error.__notes__.clear()
    ganzoo.resume(run, progress=False)
    expected = tensors_of(whole.latest_checkpoint())
    torch.testing.assert_close(tensors_of(run.latest_checkpoint()), expected, rtol=0, atol=0)
    assert [line["d_loss"] for line in run.metrics()] == [line["d_loss"] for line in whole.metrics()]
    assert sorted(path.name for path in run.samples.iterdir()) == sorted(path.name for path in whole.samples.iterdir())


def test_a_callback_that_fails_at_the_very_end_leaves_a_finished_run(tmp_path: Path) -> None:
    class Last(Callback):
        def on_checkpoint(self, run: Run, checkpoint: Checkpoint) -> None:
            if checkpoint.final:
                raise KeyError("mine")

    whole = train(tmp_path, "whole", [])
    with pytest.raises(KeyError, match="mine"):
        train(tmp_path, "run", [Last()])
    run = Run.open(tmp_path / "run")
    assert run.latest_checkpoint().final
    assert bits_of(run) == bits_of(whole)


def test_an_error_at_the_end_is_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = train(tmp_path, "run", [Recorder("on_end")], progress=True)
    assert run.latest_checkpoint().final
    assert "Recorder.on_end failed: RuntimeError: boom" in capfd.readouterr().err


@pytest.mark.parametrize("event", ["on_log", "on_picture", "on_checkpoint"])
@pytest.mark.parametrize("progress", [True, False])
def test_a_logger_that_fails_is_reported_and_dropped(
    event: str, progress: bool, registries: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = []

    @loggers.register("broken")
    def broken() -> Recorder:
        """Fails."""
        made.append(Recorder(event))
        return made[-1]

    whole = train(tmp_path, "whole", [])
    recorder = Recorder()
    said = "the logger 'broken' failed and is not used any more: RuntimeError: boom"
    with nullcontext() if progress else pytest.warns(match=said):
        run = train(tmp_path, "run", [recorder], log=["broken"], asked=["broken"], progress=progress)
    assert {**bits_of(run), "config": None} == {**bits_of(whole), "config": None}
    assert capfd.readouterr().err.count(said) == progress
    assert [name for name, _ in made[0].events].count(event) == 1
    assert [name for name, _ in recorder.events].count("on_log") == 3


def test_a_plug_ins_logger_is_used_only_if_it_is_asked_for(
    registries: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The run may be a stranger's."""
    made: list[Recorder] = []

    @loggers.register("sender")
    def sender() -> Recorder:
        """Sends."""
        made.append(Recorder())
        return made[-1]

    run = train(tmp_path, "run", [], log="sender", progress=True)
    assert run.config.train.log == ("sender",)
    assert made == []
    assert "the logger 'sender' is a plug-in's and is not used: ask for it with --log sender" in capfd.readouterr().err
    ganzoo.resume(run, steps=8, log="sender", progress=False)
    assert ("on_log", 8) in made[0].events
    loggers._entries.pop("sender")
    ganzoo.resume(run, steps=10, progress=True)
    assert "the logger 'sender' cannot be used, and training continues without it" in capfd.readouterr().err


def test_a_logger_that_cannot_be_made_is_refused_before_the_run(registries: None, tmp_path: Path) -> None:
    @loggers.register("broken")
    def broken() -> Recorder:
        """Fails."""
        raise TypeError("no server")

    with pytest.raises(MachineError, match="the logger 'broken' cannot be used: no server"):
        train(tmp_path, "run", [], log="broken", asked=["broken"])
    assert not (tmp_path / "run").exists()


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
        train(tmp_path, "run", [], log="tensorboard", asked=["tensorboard"])
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


class BoomOnce:
    """A loss of the generator that is NaN once, at step 3."""

    g_needs_real = False
    calls: ClassVar[list[int]] = []

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real).mean() + softplus(fake).mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        self.calls.append(0)
        return softplus(-fake).mean() * (float("nan") if len(self.calls) == 4 else 1)


def test_loggers_follow_a_rollback(registries: None, tmp_path: Path) -> None:
    losses.register("boom")(BoomOnce)
    BoomOnce.calls.clear()
    settings = ["loss=boom", "train.log_every=1", "train.checkpoint_every=2", "train.on_divergence=rollback"]
    run = train(tmp_path, "run", [], settings=settings, log=["csv", "tensorboard"])
    assert len(run.read_rollbacks()) == 1
    assert [row["step"] for row in read_csv(run)] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in scalars(run)["g_loss"]] == [1, 2, 3, 4, 5, 6]


def scalars(run: Run) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.mark.slow
def test_tensorboard_reads_what_is_logged(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(tmp_path, "run", [], log=["tensorboard"], settings=[*EVERY, "train.sample_epochs=[1,2,3]"])
    ganzoo.resume(run, steps=17, progress=False)  # whose first event may be a picture
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
    code, _, err = invoke(*command, "--log", "csv", "--set", "train.log_every=1")
    assert code == 0, err
    assert [row["step"] for row in read_csv(Run.open(out))] == [1, 2]
