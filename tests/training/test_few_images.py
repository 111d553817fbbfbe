"""Few images are augmented by default: which variants, by what, where it is reported, and what switches it off."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Images, bits_of, make_images, narrow, train_tiny

from ganzoo import resume, train
from ganzoo.config import RunConfig, Schedule, Spec
from ganzoo.errors import UsageError
from ganzoo.registry import variants
from ganzoo.runs.run import Run
from ganzoo.training.options import FEW_IMAGES
from ganzoo.training.prepare import Training, configure, prepare
from ganzoo.zoo.augment import FEW_R1
from ganzoo.zoo.build import build_objective

FIXED = ["translation", "cut-out"]


def prepared(variant: str | None, images: Any, *settings: str, **options: Any) -> Training:
    small = [*narrow(variant or "dcgan"), "train.device=cpu", *settings]
    return prepare(configure(variant, images, settings=small, **{"batch_size": 8, "steps": 1, **options}), images)


def names(config: RunConfig) -> list[str]:
    return [spec.name for spec in config.variant.augmentations]


def weight_of_r1(terms: tuple[Spec, ...]) -> Any:
    """Return the weight of the gradient penalty at real images; None without one."""
    return next((term.settings["weight"] for term in terms if term.settings.get("at") == "real"), None)


def started(out: Path, images: Any, **options: Any) -> Run:
    given = {"steps": 2, "batch_size": 8, "threads": 1, **options}
    return train(given.pop("variant", "gan"), images, out=out, **given)


@pytest.mark.parametrize("name", variants.names())
def test_a_variant_is_augmented_as_suits_it_and_can_be_built(name: str, tiny_images: Images) -> None:
    recipe, training = variants[name](), prepared(name, tiny_images)
    config = training.config
    if recipe.augmentations or any("augmentation" in term.settings for term in recipe.terms):
        assert names(config) == [spec.name for spec in recipe.augmentations]
        assert not training.remarks
        return
    remark, *others = training.remarks
    assert f"fewer than {FEW_IMAGES:,} images: {', '.join(names(config))}" in remark
    assert names(config) in (["adaptive"], FIXED)
    assert not any(spec.settings.get("flips") for spec in config.variant.augmentations)
    assert len(build_objective(config.with_horizon(1)).augmentations) == len(names(config))
    before, after = (weight_of_r1(terms) for terms in (recipe.terms, config.variant.terms))
    light = isinstance(before, float) and before < FEW_R1
    assert after == (FEW_R1 if light else before)
    assert [after == FEW_R1, "R1 of weight 1.0" in " ".join(others)] == [light, light]


@pytest.mark.parametrize(
    ("variant", "settings", "expected"),
    [
        ("gan", [], ["adaptive"]),
        ("gan", ["loss=hinge"], ["adaptive"]),
        ("gan", ["loss=wasserstein"], FIXED),
        ("gan", ["loss=least-squares"], FIXED),
        ("gan", ["loss=relativistic-pairing"], FIXED),
        ("gan", ["discriminator=autoencoder"], FIXED),  # its logits are never positive
        ("gan", ["terms=[{name='consistency'}]"], []),  # a term that augments by itself
    ],
)
def test_strength_adapts_where_the_signs_of_logits_mean_something(
    variant: str, settings: list[str], expected: list[str], tiny_images: Images
) -> None:
    assert names(configured := prepared(variant, tiny_images, *settings).config) == expected
    assert configured.train.augment == "auto"


@pytest.mark.parametrize(
    ("settings", "weight"),
    [
        (["terms.0.weight=0.2"], 0.2),
        (["terms.0.weight=5"], 5.0),
        (["terms=[{name='gradient', at='real', weight=0.1}, {name='weight-clipping'}]"], 0.1),
        (["terms.0.weight={from=0.1, to=0.2, over=9}"], Schedule(0.1, 0.2, over=9).model_dump(by_alias=True)),
        (["terms.0.every=8"], FEW_R1),
    ],
)
def test_a_weight_that_is_asked_for_stays(settings: list[str], weight: Any, tiny_images: Images) -> None:
    training = prepared("gan", tiny_images, *settings)
    assert weight_of_r1(training.config.variant.terms) == weight
    assert any("R1 of weight" in remark for remark in training.remarks) == (weight == FEW_R1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("variant", ["dcgan", "wgan-gp"])
def test_colours_change_only_where_there_are_some(variant: str, channels: int) -> None:
    chosen = prepared(variant, make_images(channels=channels)).config.variant.augmentations
    coloured = any(spec.name == "colour" or spec.settings.get("colour") for spec in chosen)
    assert coloured == (channels == 3)


@pytest.mark.parametrize("count", [FEW_IMAGES - 1, FEW_IMAGES])
def test_only_fewer_images_than_that_are_augmented(count: int) -> None:
    training = prepared("gan", np.zeros((count, 4, 4), np.uint8))
    assert bool(names(training.config)) == bool(training.remarks) == (count < FEW_IMAGES)


@pytest.mark.parametrize(
    ("options", "settings", "expected"),
    [
        ({"augment": "none"}, [], []),
        ({"augment": []}, [], []),
        ({"augment": "translation,colour"}, [], ["translation", "colour"]),
        ({"augment": ["cut-out"]}, [], ["cut-out"]),
        ({}, ["augmentations=[]"], []),
        ({}, ["augmentations=['translation']"], ["translation"]),
        ({}, ["train.augment=none"], []),
        ({"augment": "auto"}, ["augmentations=[]"], ["adaptive"]),
    ],
)
def test_what_is_asked_for_is_done(
    options: dict[str, Any], settings: list[str], expected: list[str], tiny_images: Images
) -> None:
    training = prepared("gan", tiny_images, *settings, **options)
    assert names(training.config) == expected
    assert bool(training.remarks) == (expected in ([], ["adaptive"]))
    assert weight_of_r1(training.config.variant.terms) == (FEW_R1 if expected == ["adaptive"] else 0.1)
    if not expected:
        assert "no augmentation, as the settings list none" in training.remarks[0]


def test_a_variants_own_augmentation_stays_unless_none_is_asked_for(tiny_images: Images) -> None:
    own = [Spec("translation").name]
    assert names(prepared("sgan", tiny_images).config) == own
    assert names(prepared("sgan", tiny_images, augment="auto").config) == own
    assert names(prepared("sgan", tiny_images, "train.augment=none").config) == own
    assert names(prepared("sgan", tiny_images, augment="none").config) == []


def test_the_choice_is_reported_recorded_and_kept_when_resumed(
    tiny_images: Images, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = started(tmp_path / "whole", tiny_images, steps=4)
    assert "augmented before the discriminator, as there are fewer than 2,000 images: adaptive" in (
        capsys.readouterr().err
    )
    written = RunConfig.from_toml((whole.path / "config.toml").read_text())
    assert (names(written), written.train.augment) == (["adaptive"], "auto")
    halves = started(tmp_path / "halves", tiny_images, steps=2)
    capsys.readouterr()
    resume(halves, steps=4, dataset=tiny_images)
    assert "augment" not in capsys.readouterr().err
    ours, theirs = bits_of(whole), bits_of(halves)
    assert {key for key in ours if ours[key] != theirs.get(key)} <= {"config"}  # their budgets differ on the way
    assert any("augmentation" in key for key in whole.latest_checkpoint().tensors("objective"))
    again = started(tmp_path / "again", tiny_images, variant=None, config=whole.path / "config.toml", steps=4)
    assert bits_of(again)["metrics"] == ours["metrics"]


def test_a_run_without_augmentation_stays_so_when_resumed_and_as_a_configuration(
    tiny_images: Images, tmp_path: Path
) -> None:
    run = train_tiny("gan", tiny_images, tmp_path / "former", steps=1)
    path = run.path / "config.toml"
    path.write_text(path.read_text().replace('augment = "none"\n', ""))  # as it was before there was the setting
    resume(run, steps=2, dataset=tiny_images, progress=False)
    assert not names(run.config)
    training = prepared(None, tiny_images, config=path)
    assert not names(training.config)
    assert "as the settings list none (--augment auto" in training.remarks[0]
    assert names(prepared(None, tiny_images, config=path, augment="auto").config) == ["adaptive"]
    short = tmp_path / "short.toml"  # written by hand, it says nothing of augmentations
    short.write_text("[variant]\nloss = 'wasserstein'\n")
    assert names(prepared("gan", tiny_images, config=short).config) == FIXED


def test_what_is_asked_for_goes_over_the_configuration_of_a_run(tiny_images: Images, tmp_path: Path) -> None:
    path = started(tmp_path / "run", tiny_images).path / "config.toml"
    assert names(prepared(None, tiny_images, config=path).config) == ["adaptive"]
    assert not names(prepared(None, tiny_images, config=path, augment="none").config)
    assert not names(prepared(None, tiny_images, "augmentations=[]", config=path).config)
    assert not names(prepared(None, tiny_images, config=path, augmentations=[]).config)
    assert names(prepared(None, tiny_images, config=path, augment="translation, cut-out").config) == FIXED
    empty = tmp_path / "many.toml"  # of a run on so many images that none were chosen
    empty.write_text(re.sub(r"(?ms)^\[\[variant\.augmentations\]\].*?(?=^\[)", "", path.read_text()))
    assert not names(prepared(None, tiny_images, config=empty, augment="none").config)
    assert names(prepared(None, tiny_images, config=empty).config) == ["adaptive"]
    with pytest.raises(UsageError, match="use augment or augmentations, not both"):
        configure("gan", tiny_images, augment="none", augmentations=["colour"])


def test_what_was_chosen_for_few_images_is_chosen_again_for_others(tiny_images: Images, tmp_path: Path) -> None:
    images, labels = tiny_images
    times = -(-FEW_IMAGES // len(images))
    many = np.tile(images, (times, 1, 1)), np.tile(labels, times)
    few = started(tmp_path / "few", tiny_images)
    assert names(few.config) == ["adaptive"]
    assert not names(prepared(None, many, start_from=few.path).config)
    own = started(tmp_path / "own", tiny_images, variant="sgan")
    assert names(prepared(None, many, start_from=own.path).config) == names(own.config) != []


def test_few_images_that_a_run_goes_over_to_are_augmented(tiny_images: Images, tmp_path: Path) -> None:
    bare = train_tiny("gan", tiny_images, tmp_path / "bare", steps=0)
    assert names(prepared(None, tiny_images, start_from=bare.path).config) == ["adaptive"]
    listed = train_tiny("gan", tiny_images, tmp_path / "listed", steps=0, settings=["augmentations=['colour']"])
    assert names(prepared(None, tiny_images, start_from=listed.path).config) == ["colour"]
