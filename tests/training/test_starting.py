"""Starting from another run's weights: what fits is taken, what does not is named, and frozen layers stay."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_images, train_tiny

from ganzoo import export, resume, train
from ganzoo.errors import GanzooError, UsageError
from ganzoo.runs.run import Run
from ganzoo.training.prepare import configure


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_tiny("cgan", make_images(), tmp_path_factory.mktemp("source") / "run", steps=2)


def tensors(run: Run, part: str = "objective") -> dict[str, torch.Tensor]:
    return run.latest_checkpoint().tensors(part)


def begin(source: Run, out: Path, images: Any, **options: Any) -> Run:
    """A run that starts from the source, takes no step and augments nothing."""
    given: dict[str, Any] = {"steps": 0, "batch_size": 8, "threads": 1, "augment": "none", **options}
    return train(dataset=images, out=out, start_from=source.path, **given)


def test_a_run_starts_with_the_weights_and_the_variant_of_another(
    source: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin(source, tmp_path / "run", make_images())
    assert run.config.run.variant == "cgan"
    assert run.config.variant == source.config.variant
    for part in ("objective", "ema"):
        taken, given = tensors(run, part), tensors(source, part)
        measured = {name for name in given if part == "ema" and "running_" in name}  # over more latents than of 2 steps
        assert all(torch.equal(given[name], taken[name]) for name in given.keys() - measured)
    assert f"starting from step 2 of {source.path}: {len(tensors(source))} tensors loaded" in capsys.readouterr().err
    assert run.latest_checkpoint().config().train.start_from == str(source.path)


def test_what_does_not_fit_is_new_and_named(source: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, labels = make_images()
    run = begin(source, tmp_path / "run", (images, labels + 1))  # a class more
    ours, theirs = tensors(run), tensors(source)
    new = {name for name in ours if ours[name].shape != theirs[name].shape}
    assert new == {"generator.labels.weight", "discriminator.concat.weight"}
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items() if name not in new)
    said = capsys.readouterr().err
    assert "new, because they are missing there or have another shape: " in said
    assert all(name in said for name in new)


def test_other_images_are_made_to_fit(source: Run, tmp_path: Path) -> None:
    large = torch.from_numpy(make_images()[0]).repeat_interleave(2, 1).repeat_interleave(2, 2)
    run = begin(source, tmp_path / "run", (large, make_images()[1]))
    assert run.config.facts.image_shape == source.config.facts.image_shape


def test_another_variant_takes_what_fits_and_nothing_is_an_error(source: Run, tmp_path: Path) -> None:
    run = begin(source, tmp_path / "run", make_images(), variant="gan", settings=["generator.width=8"])
    assert run.config.run.variant == "gan"
    with pytest.raises(UsageError, match=r"no weights of .* fit these networks: leave out --variant"):
        begin(source, tmp_path / "other", make_images(), variant="dcgan", settings=["latent_dim=3"])
    assert not (tmp_path / "other").exists()


def test_frozen_layers_are_trained_by_nobody_also_after_resuming(
    source: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begin(source, tmp_path / "run", make_images(), freeze_discriminator=2)
    assert "; frozen: concat, body.0" in capsys.readouterr().err
    for total in (2, 4):
        before = tensors(run)
        resume(run, dataset=make_images(), steps=total)
        same = {name for name, value in tensors(run).items() if torch.equal(value, before[name])}
        assert same == {f"discriminator.{name}" for name in ("concat.weight", "body.0.weight", "body.0.bias")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"freeze_discriminator": 9}, r"freeze_discriminator is 9: expected less than \d, as .* layers \(.*body\.0"),
        ({"start_from": None, "freeze_discriminator": 1}, "freezes weights of another run: name that run with --from"),
        ({"start_from": "nowhere"}, "nowhere does not exist; ganzoo train --from takes a run"),
    ],
)
def test_what_cannot_be_started_is_refused(source: Run, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    variant = "gan" if "start_from" in options else None
    given = {"start_from": source.path, "variant": variant, **options}
    with pytest.raises(GanzooError, match=message):
        train(dataset=make_images(), out=tmp_path / "run", steps=1, batch_size=8, **given)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_exported_file_is_refused_with_the_reason(source: Run, tmp_path: Path) -> None:
    file = tmp_path / "digits.onnx"
    export(source.path, file)
    with pytest.raises(GanzooError, match="its weights are folded and it has no discriminator"):
        configure(start_from=file, steps=1)


@pytest.mark.slow
def test_a_file_records_no_path_of_the_run_that_it_came_from(source: Run, tmp_path: Path) -> None:
    run = begin(source, tmp_path / "run", make_images())
    export(run.path, tmp_path / "digits.onnx")
    assert str(source.path.parent).encode() not in (tmp_path / "digits.onnx").read_bytes()
