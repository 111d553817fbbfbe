"""What belongs to the end of a budget is done by `resume` if the process was killed before it was done."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Images, bits_of, train_tiny

import ganzoo
from ganzoo.errors import UsageError
from ganzoo.runs import checkpoint
from ganzoo.runs.records import EvaluationLine
from ganzoo.runs.run import Run
from ganzoo.training import trainer
from ganzoo.training.trainer import Session

STEPS = 4


class Killed(BaseException):
    """What a test raises in place of SIGKILL: nothing handles it."""


def whole(images: Any, out: Path, **options: Any) -> Run:
    return train_tiny("gan", images, out, steps=STEPS, settings=["train.checkpoint_every=3"], **options)


@pytest.mark.parametrize("duty", ["picture", "evaluate_at_the_end", "describe", "save"])
def test_a_run_that_was_killed_at_its_end_is_finished_by_resume(
    duty: str, tiny_images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = whole(tiny_images, tmp_path / "whole")
    real = getattr(Session, duty)

    def kill(self: Session, *given: Any, **named: Any) -> Any:
        if self.finished and (duty != "save" or named["final"]):
            raise Killed
        return real(self, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Session, duty, kill)
        with pytest.raises(Killed):
            whole(tiny_images, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert (run.latest_checkpoint().step, run.latest_checkpoint().final) == (STEPS, False)
    ganzoo.resume(run, dataset=tiny_images, progress=False)
    assert (run.latest_checkpoint().step, run.latest_checkpoint().final) == (STEPS, True)
    assert bits_of(run) == bits_of(expected)
    assert (run.samples / "final.png").read_bytes() == (expected.samples / "final.png").read_bytes()
    assert "Trained to the end of its budget." in (run.path / "README.md").read_text()
    with pytest.raises(UsageError, match=f"has done {STEPS} steps"):
        ganzoo.resume(run, dataset=tiny_images, progress=False)


def test_a_budget_that_is_spent_is_refused_before_the_end_too(tiny_images: Images, tmp_path: Path) -> None:
    run = whole(tiny_images, tmp_path / "run")
    shutil.rmtree(run.latest_checkpoint().path)  # the one before is not final
    with pytest.raises(UsageError, match="has done 3 steps"):
        ganzoo.resume(run, steps=2, dataset=tiny_images, progress=False)
    assert not run.latest_checkpoint().final
    ganzoo.resume(run, steps=3, dataset=tiny_images, progress=False)  # as the same command again, after a kill
    assert (run.latest_checkpoint().step, run.latest_checkpoint().final) == (3, True)


@pytest.mark.parametrize("confirmed", [None, 12.0, 13.0])
def test_an_evaluation_that_was_done_is_not_done_again(
    confirmed: float | None, tiny_images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(self: Session, note: str) -> None:
        if self.finished:
            raise Killed

    monkeypatch.setattr(trainer, "_monitor", lambda training: object())  # a judge that is not asked
    with monkeypatch.context() as patch:
        patch.setattr(Session, "describe", kill)
        patch.setattr(Session, "evaluate", lambda self, *_: False)
        with pytest.raises(Killed):
            whole(tiny_images, tmp_path / "run", target_fid=12.2, evaluate_every=100)
    run = Run.open(tmp_path / "run")
    judge = {"name": "MNIST", "sha256": "0" * 64, "accuracy": 0.99}
    line = {"step": STEPS, "epoch": 1.0, "seconds": 1.0, "figures": {"fid": 12.5}, "confirmed_fid": confirmed}
    run.append_evaluation(EvaluationLine.model_validate({**line, "judge": judge}))
    monkeypatch.setattr(Session, "evaluate", lambda self, *_: pytest.fail("evaluated again"))
    ganzoo.resume(run, dataset=tiny_images, progress=False)
    assert (run.latest_checkpoint().final, run.latest_checkpoint().distance) == (True, 12.5)
    reached = confirmed == 12.0
    assert ("Trained to its target." in (run.path / "README.md").read_text()) == reached


@pytest.mark.parametrize("steps", [STEPS, 2])
def test_a_checkpoint_that_was_being_replaced_is_put_back(steps: int, tiny_images: Images, tmp_path: Path) -> None:
    run = train_tiny("gan", tiny_images, tmp_path / "run", steps=steps, settings=["train.checkpoint_every=3"])
    expected = bits_of(run)
    latest = run.latest_checkpoint()
    latest.path.rename(latest.path.with_name(".ganzoo-0123456789abcdef.tmp"))  # killed between two renames
    shutil.copytree(
        run.checkpoints_directory / ".ganzoo-0123456789abcdef.tmp", run.checkpoints_directory / ".ganzoo-1.tmp"
    )
    (run.checkpoints_directory / ".ganzoo-1.tmp" / "state.json").write_text("{}")  # not whole
    with pytest.raises(UsageError, match=f"has done {steps} steps"):
        ganzoo.resume(run, dataset=tiny_images, progress=False)
    assert bits_of(run) == expected


def test_a_checkpoint_that_was_renamed_is_refused_by_its_name(tiny_images: Images, tmp_path: Path) -> None:
    run = whole(tiny_images, tmp_path / "run")
    latest = run.latest_checkpoint()
    latest.path.rename(latest.path.with_name(checkpoint.name_of(90)))
    with pytest.raises(ganzoo.errors.FileError, match=f"contains step {STEPS}.*rename it to step-0000000{STEPS}"):
        ganzoo.resume(run, steps=100, dataset=tiny_images, progress=False)
    run.latest_checkpoint().path.rename(latest.path)
    assert ganzoo.resume(run, steps=STEPS + 1, dataset=tiny_images, progress=False).latest_checkpoint().final
