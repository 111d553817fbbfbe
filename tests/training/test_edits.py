"""What a user changes in a run's `config.toml`: taken over by `resume`, or refused by name; never lost silently."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import train_tiny

from ganzoo import resume
from ganzoo.errors import FileError, UsageError
from ganzoo.runs.run import Run


@pytest.fixture
def run(tmp_path: Path, tiny_images: Any) -> Run:
    rates = [f"{player}_optimizer.lr=0.001" for player in ("generator", "discriminator")]
    return train_tiny("gan", tiny_images, tmp_path / "run", steps=3, settings=rates)


def change(run: Run, former: str, new: str, count: int = 1) -> str:
    """Change the run's file as a user does, and return its text."""
    file = run.path / "config.toml"
    text = file.read_text()
    assert text.count(former) >= count, (former, text)
    file.write_text(text.replace(former, new, count))
    return file.read_text()


def weights(run: Run) -> dict[str, torch.Tensor]:
    return run.latest_checkpoint().tensors("objective")


def test_nothing_is_said_of_a_file_that_was_not_changed(
    run: Run, tiny_images: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    resume(run, dataset=tiny_images, steps=5)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith(("changed", "exactness", "note"))] == [
        "changed: train.steps: 3 -> 5"
    ]


def test_a_changed_learning_rate_is_taken_and_ends_exactness(
    run: Run, tiny_images: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before = weights(run)
    change(run, "lr = 0.001", "lr = 1e-30", 2)  # of both players: so small that no weight moves
    resume(run, dataset=tiny_images, steps=5)
    said = capsys.readouterr().err
    for player in ("generator", "discriminator"):
        assert f"changed: variant.{player}_optimizer.lr: 0.001 -> 1e-30" in said
        assert f"exactness is lost: variant.{player}_optimizer.lr was changed in config.toml" in said
    assert all(
        torch.equal(value, before[name]) for name, value in weights(run).items() if name.endswith(("weight", "bias"))
    )
    assert Run.open(run.path).config.variant.generator_optimizer.settings["lr"] == 1e-30
    assert run.latest_checkpoint().config().variant.generator_optimizer.settings["lr"] == 1e-30


@pytest.mark.parametrize(
    ("former", "new", "path", "inexact"),
    [
        ("batch_size = 8", "batch_size = 4", "data.batch_size", True),
        ("weight = 0.1", "weight = 0.2", "variant.terms.0.weight", True),
        ("every = 16", "every = 2", "variant.terms.0.every", True),
        ("log_every = 100", "log_every = 1", "train.log_every", False),
        ("checkpoint_every = 1000", "checkpoint_every = 1", "train.checkpoint_every", False),
        ("steps = 3", "steps = 4", "train.steps", False),
    ],
)
def test_what_may_be_changed_is_taken(
    run: Run, tiny_images: Any, former: str, new: str, path: str, inexact: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    change(run, former, new)
    resumed = resume(run, dataset=tiny_images, steps=5 if path != "train.steps" else None)
    said = capsys.readouterr().err
    assert f"changed: {path}: {former.rpartition(' ')[2]} -> {new.rpartition(' ')[2]}" in said
    assert (f"exactness is lost: {path} " in said) == inexact
    assert new in (run.path / "config.toml").read_text()
    assert resumed.latest_checkpoint().step == (4 if path == "train.steps" else 5)


@pytest.mark.parametrize(
    ("former", "new", "path"),
    [
        ("seed = 0", "seed = 1", "train.seed: 0 -> 1"),
        ("latent_dim = 64", "latent_dim = 32", "variant.latent_dim: 64 -> 32"),
        ("smoothing = 0.0", "smoothing = 0.1", "variant.loss.smoothing: 0.0 -> 0.1"),
        ("target = 0.0", "target = 1.0", "variant.terms.0.target: 0.0 -> 1.0"),
    ],
)
def test_what_a_run_keeps_is_refused_by_name_and_the_file_left(
    run: Run, tiny_images: Any, former: str, new: str, path: str
) -> None:
    text = change(run, former, new)
    with pytest.raises(UsageError, match=rf"config\.toml changes {path}.*undo the change; you can change "):
        resume(run, dataset=tiny_images, steps=5)
    assert (run.path / "config.toml").read_text() == text
    assert run.latest_checkpoint().step == 3


def test_a_batch_size_is_refused_while_the_budget_is_in_epochs(tmp_path: Path, tiny_images: Any) -> None:
    run = train_tiny("gan", tiny_images, tmp_path / "other", epochs=1.0)
    change(run, "batch_size = 8", "batch_size = 4")
    with pytest.raises(UsageError, match=r"changes data\.batch_size: 8 -> 4.*unless the budget is in epochs"):
        resume(run, dataset=tiny_images, epochs=2)


def test_a_schedule_without_a_horizon_is_refused(run: Run, tiny_images: Any) -> None:
    change(run, "lr = 0.001", "lr = { from = 0.001, to = 0.0001 }")
    with pytest.raises(UsageError, match=r"the schedule of generator_optimizer\.lr has no horizon: set its over"):
        resume(run, dataset=tiny_images, steps=5)


def test_records_are_not_taken_from_the_file(run: Run, tiny_images: Any, capsys: pytest.CaptureFixture[str]) -> None:
    change(run, "images = ", "images = 1")
    resume(run, dataset=tiny_images, steps=4)
    assert "in config.toml is ignored: it records" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_refused_and_left(run: Run, tiny_images: Any) -> None:
    text = change(run, "[train]", "[train")
    with pytest.raises(FileError, match=r"config\.toml is not a readable TOML file"):
        resume(run, dataset=tiny_images, steps=4)
    assert (run.path / "config.toml").read_text() == text
