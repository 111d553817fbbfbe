"""The study of generated images as training data: fair, resumable, a function of the seed, plain about its outcome."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_images
from hypothesis import given
from hypothesis import strategies as st

from ganzoo.data import Dataset, from_arrays
from ganzoo.errors import FileError, Interrupted, UsageError
from ganzoo.evaluation.intervals import interval, outcome
from ganzoo.evaluation.reference import Splits
from ganzoo.report.records import ARMS
from ganzoo.studies import synthetic_data
from ganzoo.studies.synthetic_data import study_synthetic_data, subset

SIZE = 16  # pixels, the least that the convolutional classifier takes
TINY = ["conditional=true", "generator.width=8", "discriminator.width=8", "data.batch_size=8", "train.threads=1"]


def make_splits(count: int = 60) -> Splits:
    images, labels = make_images(SIZE, count)
    train = from_arrays(images, labels)
    return Splits(train=train, test=from_arrays(images[:30], labels[:30]), sha256=train.sha256)


def without_labels(splits: Splits) -> Splits:
    return replace(splits, train=Dataset(images=splits.train.images, source="array"))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few images, so that a study takes a moment."""
    monkeypatch.setattr(synthetic_data, "COPIES", 24)
    monkeypatch.setattr(synthetic_data, "GENERATED", 16)


def study(path: Path, splits: Splits | None = None, **options: Any) -> dict[str, Any]:
    options = {"sizes": (2, 6), "seeds": 2, "settings": [*TINY, "train.steps=3"], "classifier": "mlp", **options}
    return study_synthetic_data(splits or make_splits(), path, **options)


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    rows = [{key: value for key, value in row.items() if key != "seconds"} for row in document["rows"]]
    return {**document, "rows": rows}


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_every_seed_and_size_has_a_row_and_every_size_a_summary(tmp_path: Path) -> None:
    said: list[str] = []
    document = study(tmp_path / "new" / "synthetic_data.json", say=said.append)
    assert json.loads((tmp_path / "new" / "synthetic_data.json").read_text()) == document
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["synthetic_data.json"]  # no runs are left behind
    assert [(row["seed"], row["per_class"]) for row in document["rows"]] == [(0, 2), (0, 6), (1, 2), (1, 6)]
    assert len(said) == 4
    for row in document["rows"]:
        assert {"real_only", "with_generated", "moved_only"} <= row.keys()
        assert all(0 <= row[arm] <= 1 for arm in ARMS)
        assert (row["generated"], row["steps"]) == (48, 4)  # twice 2 epochs of 48 images, 32 at a time
    for found in document["summary"]:
        rows = [row for row in document["rows"] if row["per_class"] == found["per_class"]]
        differences = [row["with_generated"] - row["real_only"] for row in rows]
        mean, half = interval(differences)
        assert found["difference"]["mean"] == pytest.approx(mean)
        assert found["difference"]["interval"] == pytest.approx(half)
        assert found["real_only"]["mean"] == pytest.approx(np.mean([row["real_only"] for row in rows]))
        assert found["moved_only"]["deviation"] == pytest.approx(np.std([row["moved_only"] for row in rows], ddof=1))
        assert found["outcome"] == found["difference"]["outcome"] == outcome(mean, half)
        to_moved = np.mean([row["with_generated"] - row["moved_only"] for row in rows])
        assert found["difference_to_moved"]["mean"] == pytest.approx(to_moved)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_a_stopped_study_goes_on_and_ends_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop_at_second(text: str) -> None:
        if "(2 of 4)" in text:
            raise Stop

    whole = study(tmp_path / "whole.json")
    path = tmp_path / "stopped.json"
    with pytest.raises(Stop):
        study(path, say=stop_at_second)
    begun = json.loads(path.read_text())
    assert len(begun["rows"]) == 2
    said: list[str] = []
    resumed = study(path, say=said.append)
    assert len(said) == 2
    assert resumed["rows"][:2] == begun["rows"]  # not made anew: even its seconds are the same
    assert timeless(resumed) == timeless(whole)
    torch.manual_seed(123)
    assert study(path, say=said.append) == resumed
    assert len(said) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "other",
    [
        {"settings": [*TINY, "train.steps=4"]},
        {"settings": [*TINY, "train.steps=3", "latent_dim=3"]},
        {"move": False},
        {"classifier": "cnn"},
        {"splits": make_splits(57)},
    ],
)
def test_other_settings_start_afresh(tmp_path: Path, other: dict[str, Any]) -> None:
    path = tmp_path / "synthetic_data.json"
    study(path, sizes=(2,), seeds=1)
    said: list[str] = []
    study(path, **{"sizes": (2,), "seeds": 1, "say": said.append, **other})
    assert len(said) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_more_seeds_keep_the_rows_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "synthetic_data.json"
    first = study(path, sizes=(2,), seeds=1)
    assert first["summary"][0]["difference"]["interval"] is None
    assert first["summary"][0]["outcome"] == "no difference"  # one seed allows no conclusion
    assert study(path, sizes=(2,), seeds=2)["rows"][0] == first["rows"][0]


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_unmoved_images_need_no_third_classifier(tmp_path: Path) -> None:
    document = study(tmp_path / "synthetic_data.json", sizes=(2,), seeds=1, move=False)
    assert document["rows"][0]["moved_only"] is None
    assert "moved_only" not in document["summary"][0]


@pytest.mark.usefixtures("small")
def test_a_generator_that_diverges_leaves_a_row_without_figures(tmp_path: Path) -> None:
    settings = [*TINY, "train.steps=30", "generator_optimizer.lr=1e38", "discriminator_optimizer.lr=1e38"]
    document = study(tmp_path / "synthetic_data.json", sizes=(2,), seeds=1, settings=settings)
    (row,) = document["rows"]
    assert row["with_generated"] is None
    assert "not finite" in row["error"] or "is nan" in row["error"] or "is inf" in row["error"]
    assert document["summary"] == [{"per_class": 2, "seeds": 0, "outcome": "no result"}]


@pytest.mark.usefixtures("small")
def test_both_classifiers_learn_alike_where_generated_images_are_real_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a perfect copyist for a generator the two arms are the same training, and so the same accuracy."""
    monkeypatch.setattr(synthetic_data, "_generate", lambda config, images, count, seed: _turns(images, count))
    row = study(tmp_path / "synthetic_data.json", sizes=(2,), seeds=1, move=False)["rows"][0]
    assert row["with_generated"] == row["real_only"]


def _turns(images: Dataset, count: int) -> Dataset:
    rows = torch.arange(count) % len(images)
    assert images.labels is not None
    return from_arrays(images.images[rows], images.labels[rows])


@pytest.mark.slow
def test_generators_see_nothing_but_the_subset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Dataset] = []

    def spy(config: Any, images: Dataset, count: int, seed: int) -> Dataset:
        shown.append(images)
        return _turns(images, count)

    monkeypatch.setattr(synthetic_data, "_generate", spy)
    splits = make_splits()
    study(tmp_path / "synthetic_data.json", splits, sizes=(3,), seeds=1, move=False)
    own = subset(splits.train, 3, 0)
    assert torch.equal(shown[0].images, own.images)
    study(tmp_path / "moved.json", splits, sizes=(3,), seeds=1)
    assert len(shown[1]) == synthetic_data.COPIES
    assert torch.equal(shown[1].labels[: len(own)], own.labels)  # type: ignore[index, arg-type]
    assert not torch.equal(shown[1].images[: len(own)], own.images)


@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 20))
def test_a_subset_has_so_many_of_each_class_and_lies_in_a_larger_one(seed: int, size: int, other: int) -> None:
    images, labels = np.arange(60, dtype=np.uint8).reshape(60, 1, 1), np.arange(60) % 3
    dataset = from_arrays(images, labels)
    small, large = (subset(dataset, n, seed) for n in sorted((size, other)))
    numbers = [set(found.images.flatten().tolist()) for found in (small, large)]
    assert numbers[0] <= numbers[1]
    assert len(numbers[0]) == len(small) == 3 * min(size, other)
    assert torch.bincount(small.labels).tolist() == 3 * [min(size, other)]  # type: ignore[arg-type]
    assert torch.equal(small.images.flatten().long() % 3, small.labels)  # type: ignore[arg-type]
    assert torch.equal(subset(dataset, size, seed).images, (small if size <= other else large).images)


def test_subsets_of_two_seeds_differ() -> None:
    train = make_splits().train
    assert not torch.equal(subset(train, 5, 0).images, subset(train, 5, 1).images)


@pytest.mark.parametrize(
    ("mean", "half", "word"),
    [
        (0.03, 0.01, "helps"),
        (-0.03, 0.01, "hurts"),
        (0.01, 0.03, "no difference"),
        (-0.01, 0.01, "no difference"),
        (0.5, None, "no difference"),
    ],
)
def test_the_outcome_is_what_the_interval_allows(mean: float, half: float | None, word: str) -> None:
    assert outcome(mean, half) == word


@pytest.mark.usefixtures("small")
def test_a_signal_leaves_word_of_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any) -> Dataset:
        raise Interrupted("to go on: ganzoo resume /a/run/that/is/removed", signal.SIGTERM)

    monkeypatch.setattr(synthetic_data, "_generate", interrupted)
    with pytest.raises(Interrupted, match=r"synthetic_data\.json, and the same call continues") as caught:
        study(tmp_path / "synthetic_data.json")
    assert caught.value.exit_code == 143


@pytest.mark.usefixtures("small")
def test_sizes_beyond_the_images_are_left_out(tmp_path: Path) -> None:
    said: list[str] = []
    document = study(tmp_path / "synthetic_data.json", sizes=(2, 500), seeds=1, say=said.append)
    assert {row["per_class"] for row in document["rows"]} == {2}
    assert said[0] == "skipped, because a class has only 20 training images: 500 per class"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sizes": (21,)}, "no size fits"),
        ({"variant": "gan", "settings": ["train.steps=1"]}, "conditional=true"),
        ({"classifier": "tree"}, "expected one of mlp, cnn"),
        ({"splits": without_labels(make_splits())}, "has no labels"),
    ],
)
def test_what_cannot_be_studied_is_refused_at_once(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        study(tmp_path / "synthetic_data.json", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "synthetic_data.json"
    path.write_text('{"schema": 1, "rows": [')
    with pytest.raises(FileError, match="damaged"):
        study(path)
    assert path.read_text() == '{"schema": 1, "rows": ['


def test_the_generators_settings_do_not_hang_on_the_variants_defaults() -> None:
    """Whatever `cgan` becomes, the study's recipe stays the one that its figures were measured with."""
    from ganzoo.config import assemble

    other = assemble("wgan-gp", settings=synthetic_data.SETTINGS).variant
    assert other == assemble("cgan", settings=synthetic_data.SETTINGS).variant.model_copy(
        update={"critic_steps": other.critic_steps}
    )
