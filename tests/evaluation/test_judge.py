"""The judge: pinned, sealed, bound to its data set; and what real images score, kept without being trusted blindly."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest
import safetensors.torch
import torch
from conftest import make_images

from ganzoo import data
from ganzoo.data import Dataset, from_arrays
from ganzoo.errors import FileError, UsageError
from ganzoo.evaluation import judge as judges
from ganzoo.evaluation.evaluator import CLASSIFIED, floors
from ganzoo.evaluation.judge import (
    MNIST_SHA256,
    PINNED,
    Judge,
    fit_judge,
    judge_path,
    load_judge,
    read_judge,
    to_tensor,
    turn,
)
from ganzoo.evaluation.reference import HELD_OUT, Reference, Splits, hold_out, load_splits


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, somewhere else."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("GANZOO_DATA_DIR", raising=False)
    return Path(platformdirs.user_cache_dir("ganzoo")) / "references"


def source_at(folder: Path, seed: int = 0) -> str:
    images, labels = make_images(16, 150)
    noise = np.random.default_rng(seed).integers(0, 6, images.shape, dtype=np.uint8)
    np.savez(folder / "halves.npz", images=images + noise, labels=labels)
    return f"npz:{folder / 'halves.npz'}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of its own with its judge beside it."""
    folder = tmp_path_factory.mktemp("place")
    splits = load_splits(source_at(folder))
    fit_judge("halves", splits.train, splits.test, folder / "halves.npz.judge.safetensors", epochs=3)
    return folder


@pytest.fixture
def source(place: Path, tmp_path: Path) -> str:
    """A copy of both that may be damaged."""
    shutil.copytree(place, tmp_path / "copy")
    return f"npz:{tmp_path / 'copy' / 'halves.npz'}"


def beside(source: str) -> Path:
    """Where a former version put the judge of a source."""
    return Path(f"{source.partition(':')[2]}.judge.safetensors")


# MNIST's


def test_the_judge_that_ships_is_the_one_that_is_pinned() -> None:
    judge = load_judge("mnist")
    assert judge is load_judge("mnist-5k")  # one for both: their figures are of one unit
    assert judge.sha256 == MNIST_SHA256
    assert (judge.name, judge.image_shape, judge.class_names) == ("MNIST", (1, 28, 28), tuple("0123456789"))
    assert judge.accuracy > 0.995
    assert judge.describe().to_json() == {"name": "MNIST", "sha256": MNIST_SHA256, "accuracy": judge.accuracy}


def test_the_judges_that_ship_are_those_that_are_pinned() -> None:
    for source, (name, sha256) in PINNED.items():
        judge = load_judge(source)
        if source == "stacked-mnist":  # a judge of three channels, made of one of a single channel
            assert judge.name == "Stacked-MNIST"
        else:
            assert (judge.name.lower(), judge.sha256) == (name, sha256)
    fashion = load_judge("fashion-mnist")
    assert (fashion.accuracy, fashion.class_names[-1]) == (0.9228, "ankle boot")


def test_it_reads_digits() -> None:
    test = data.load("mnist-5k", split="test")
    assert test.labels is not None
    judge = load_judge("mnist-5k")
    reading = judge.read(test.images[::4])
    assert (reading.labels == test.labels[::4]).double().mean() > 0.98
    assert reading.features.shape == (250, 64)
    torch.testing.assert_close(reading.probabilities.sum(1), torch.ones(250))
    large = data.fit(Dataset(images=test.images[::4], source="large"), 56, 3).images  # made to fit again
    assert (judge.read(large).labels == reading.labels).double().mean() > 0.98


@pytest.mark.slow
def test_stacked_digits_are_read_channel_by_channel() -> None:
    digits = data.load("mnist-5k", split="test")
    assert digits.labels is not None
    rows = torch.randint(len(digits), (200, 3), generator=torch.Generator().manual_seed(0))
    stacked, single = load_judge("stacked-mnist"), load_judge("mnist")
    assert (stacked.name, stacked.num_classes) == ("Stacked-MNIST", 1000)
    reading = stacked.read(digits.images[rows].squeeze(2))
    channels = [single.read(digits.images[rows[:, channel]]) for channel in range(3)]
    assert reading.labels.eq(digits.labels[rows] @ torch.tensor([100, 10, 1])).double().mean() > 0.95
    assert torch.allclose(reading.features, torch.cat([one.features for one in channels], 1), atol=1e-5)
    first, second, third = (one.probabilities for one in channels)
    expected = (first[:, :, None, None] * second[:, None, :, None] * third[:, None, None, :]).flatten(1)
    assert torch.allclose(reading.probabilities, expected, atol=1e-5)


@pytest.mark.slow
def test_what_it_sees_in_an_image_does_not_depend_on_the_others() -> None:
    images = data.load("mnist-5k", split="test").images[:600]
    judge = load_judge("mnist-5k")
    whole, first = judge.read(images), judge.read(images[:500])
    assert torch.equal(whole.features[:500], first.features)
    assert torch.equal(whole.probabilities[:500], first.probabilities)


def test_another_file_in_its_place_is_refused(tmp_path: Path) -> None:
    shipped = Path(str(files("ganzoo.evaluation") / "mnist.judge.safetensors")).read_bytes()
    other = tmp_path / "mnist.judge.safetensors"
    other.write_bytes(shipped[:-1] + bytes([shipped[-1] ^ 1]))
    with pytest.raises(FileError, match="is not the judge of this version of ganzoo: install ganzoo again"):
        read_judge(other, MNIST_SHA256)


# others


def test_a_judge_beside_its_data_set_is_found_where_a_former_version_put_it(place: Path) -> None:
    judge = load_judge(f"npz:{place / 'halves.npz'}")
    assert (place / "halves.npz.judge.safetensors").is_file()
    assert (judge.name, judge.image_shape, judge.class_names) == ("halves", (1, 16, 16), ("0", "1", "2"))
    assert judge.accuracy > 0.9
    assert not judge.network.training
    assert not any(weight.requires_grad for weight in judge.network.parameters())


@pytest.mark.slow
def test_it_is_trained_as_a_function_of_its_seed(source: str, tmp_path: Path) -> None:
    splits = load_splits(source)
    before = torch.get_rng_state()
    paths = [tmp_path / name for name in ("one", "two", "three")]
    trained = [
        fit_judge("halves", splits.train, splits.test, path, epochs=1, seed=seed)
        for path, seed in zip(paths, (0, 0, 1), strict=True)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    weights = [judge.network.state_dict()["head.weight"] for judge in trained]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_where_there_is_no_judge_it_says_what_makes_one(tmp_path: Path) -> None:
    source = source_at(tmp_path)
    with pytest.raises(
        UsageError,
        match=rf"no judge for {source} yet; to train one, type: ganzoo evaluate --fit-judge --dataset {source}",
    ):
        load_judge(source)


@pytest.mark.slow
def test_a_judge_of_images_without_labels_tells_how_they_are_turned(tmp_path: Path) -> None:
    images = make_images(16, 90)[0]
    images[:, :4, :4] = 255  # an upright that can be seen
    splits = hold_out(from_arrays(images))
    judge = fit_judge("plain", splits.train, splits.test, tmp_path / "judge", epochs=12, margin=0.3)
    assert (judge.task, judge.num_classes) == ("turns", 4)
    wide = turn(from_arrays(images[:, :8]))
    assert (wide.num_classes, len(wide)) == (2, 180)
    turned = turn(from_arrays(images[:2]))
    assert turned.labels is not None
    assert turned.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    np.testing.assert_array_equal(turned.images[2:4, 0], np.rot90(images[:2], axes=(1, 2)))


@pytest.mark.slow
def test_a_judge_that_is_too_weak_is_refused_and_not_written(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 16, 16), dtype=np.uint8)
    splits = hold_out(from_arrays(noise, np.arange(60) % 3))
    with pytest.raises(UsageError, match=r"is too weak: its test accuracy is .*%, that of guessing .*%"):
        fit_judge("noise", splits.train, splits.test, tmp_path / "judge", epochs=1, margin=0.9)
    assert not list(tmp_path.glob("judge*"))


def test_few_images_are_learnt_from_for_as_many_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(judges, "fit", lambda *_, epochs, **__: asked.append(epochs))
    for count in (60, 13_000):
        splits = hold_out(from_arrays(np.zeros((count, 16, 16), np.uint8), np.arange(count) % 2))
        fit_judge("few", splits.train, splits.test, tmp_path / "judge")
    assert asked == [judges.LEAST_UPDATES, judges.EPOCHS]


def test_judges_are_kept_in_the_cache_by_the_hash_of_their_images(source: str) -> None:
    splits = load_splits(source)
    path = judge_path(splits.sha256)
    assert path.parent == Path(platformdirs.user_cache_dir("ganzoo")) / "judges"
    former = load_judge(source, sha256=splits.sha256)  # beside the images
    newer = fit_judge("halves", splits.train, splits.test, path, epochs=1, seed=5)
    assert newer.sha256 != former.sha256
    assert load_judge(source, sha256=splits.sha256).sha256 == newer.sha256
    assert load_judge("npz:elsewhere.npz", sha256=splits.sha256).sha256 == newer.sha256
    assert load_judge(source, sha256="0" * 64).sha256 == former.sha256  # another size of them, say


def test_a_judge_that_a_former_version_kept_in_the_cache_is_found(source: str) -> None:
    key = f"digits-{hashlib.sha256(b'digits').hexdigest()[:12]}.judge.safetensors"
    place = Path(platformdirs.user_cache_dir("ganzoo")) / "judges" / key
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(beside(source), place)
    assert load_judge("digits", sha256="0" * 64).sha256 == load_judge(source).sha256


@pytest.mark.parametrize("at", ["length", "key", "accuracy", "first weight", "last weight", "seal"])
def test_a_flipped_bit_is_found(source: str, at: str) -> None:
    path = beside(source)
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    place = {
        "length": 0,
        "key": content.index(b"image_shape"),
        "accuracy": content.index(b"accuracy") + 13,
        "first weight": header,
        "last weight": len(content) - 1,
        "seal": content.index(b'"sha256":"') + 15,
    }[at]
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match="is damaged; to train the judge again, type: ganzoo evaluate"):
        load_judge(source)


def test_what_is_no_judge_at_all(source: str) -> None:
    path = beside(source)
    whole = path.read_bytes()
    tensors: dict[str, Any] = {"w": torch.zeros(2)}
    newer = safetensors.torch.save(tensors, {"judge": json.dumps({"schema": 99})})
    listed = safetensors.torch.save(tensors, {"judge": "[]"})
    for content in (b"", b"\x00" * 40, whole[:-1], whole[:1000], safetensors.torch.save(tensors), listed):
        path.write_bytes(content)
        with pytest.raises(FileError, match="is damaged"):
            load_judge(source)
    path.write_bytes(newer)
    with pytest.raises(FileError, match="has judge schema 99, this ganzoo reads up to 1: upgrade it"):
        load_judge(source)
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match="there is no judge"):
        load_judge(source)


def test_a_judge_of_other_images_does_not_judge_these(source: str, tmp_path: Path) -> None:
    judge = load_judge(source)
    Reference(judge, load_splits(source))
    Reference(judge, load_splits(source, image_size=20))  # the same ones in another size
    other = load_splits(source_at(tmp_path, seed=1))
    with pytest.raises(FileError, match=r"was trained on other images.*; to train it again, type: ganzoo"):
        Reference(judge, other)


def test_samples_and_judges_agree_on_the_layout() -> None:
    images = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    tensor = to_tensor(images)
    assert tensor.shape == (2, 3, 3, 4)
    assert tensor.is_contiguous()
    assert tensor[1, 2, 0, 3] == images[1, 0, 3, 2]


# the real images


def test_a_fixed_fifth_is_held_out_where_there_is_no_test_set(source: str) -> None:
    splits, again = load_splits(source), load_splits(source)
    assert len(splits.test) == (len(splits.train) + len(splits.test)) // HELD_OUT == 30
    assert (splits.train.sha256, splits.test.sha256) == (again.train.sha256, again.test.sha256)
    assert splits.sha256 == data.load(source).sha256
    assert splits.note is not None
    assert "has no test images: a fixed fifth" in splits.note
    everything = {image.numpy().tobytes() for image in torch.cat([splits.train.images, splits.test.images])}
    assert everything == {image.numpy().tobytes() for image in data.load(source).images}
    with pytest.raises(UsageError, match="has 9 images: expected at least 10 to evaluate"):
        hold_out(from_arrays(make_images(16, 9)[0]))


@pytest.mark.slow
def test_images_without_a_label_are_left_out_where_labels_count(splits: Splits, tmp_path: Path) -> None:
    def hide(dataset: Dataset) -> Dataset:
        assert dataset.labels is not None
        return replace(dataset, labels=torch.where(torch.arange(len(dataset)) % 2 == 0, dataset.labels, -1))

    some = replace(splits, train=hide(splits.train), test=hide(splits.test))
    judge = fit_judge("some", some.train, some.test, tmp_path / "judge.safetensors", epochs=1, seed=0)
    reference = Reference(judge, some)
    assert splits.train.labels is not None
    shown = splits.train.labels[::2].bincount(minlength=judge.num_classes).double()
    torch.testing.assert_close(reference.real_shares, shown / shown.sum())
    found = floors(reference, 40, [0], ["cas", CLASSIFIED])
    assert all(0 <= value <= 1 for value in found.values())


def test_a_set_with_test_images_keeps_them() -> None:
    splits = load_splits("mnist-5k")
    assert (len(splits.train), len(splits.test), splits.note) == (4000, 1000, None)


# the cache


class Counting(Judge):
    """A judge that counts how often it has to read."""

    reads: int = 0

    def read(self, images: torch.Tensor) -> judges.Reading:
        type(self).reads += 1
        return super().read(images)


@pytest.fixture
def counting(source: str) -> Iterator[Judge]:
    yield Counting(**vars(load_judge(source)))
    Counting.reads = 0


@pytest.fixture
def splits(source: str) -> Splits:
    return load_splits(source)


KEYS = ("fid", "classes", "precision", "memorised")


def test_readings_and_floors_are_kept(counting: Judge, splits: Splits, cache: Path) -> None:
    first = floors(Reference(counting, splits), 60, [0, 1], KEYS)
    assert Counting.reads == 2
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".safetensors"]
    kept = Reference(counting, splits)
    assert Counting.reads == 2
    assert set(kept.floors) == {f"{key}/60/{seed}" for key in KEYS[:-1] for seed in (0, 1)} | {"memorised"}
    assert floors(kept, 60, [0, 1], KEYS) == first
    assert kept.train.features.shape == (120, 64)
    torch.testing.assert_close(kept.test.probabilities, counting.read(splits.test.images).probabilities)
    mean = (kept.floors["fid/60/0"] + kept.floors["fid/60/1"]) / 2
    assert first["fid"] == pytest.approx(mean)


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    digit = content.rindex(b".") + 1 if path.suffix == ".json" else len(content) // 2
    path.write_bytes(
        {
            "garbage": b"\xff\x00garbage",
            "empty": b"",
            "cut": content[:-5],
            "a list": b"[]",
            "another value": content[:digit] + bytes([content[digit] ^ 1]) + content[digit + 1 :],
        }[how]
    )


@pytest.mark.slow
@pytest.mark.parametrize("how", ["garbage", "empty", "cut", "a list", "another value"])
@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_what_was_altered_is_measured_again(
    how: str, suffix: str, counting: Judge, splits: Splits, cache: Path
) -> None:
    expected = floors(Reference(counting, splits), 60, [0], KEYS)
    (path,) = cache.glob(f"*{suffix}")
    damage(path, how)
    assert floors(Reference(counting, splits), 60, [0], KEYS) == expected
    assert Counting.reads == 4
    floors(Reference(counting, splits), 60, [0], KEYS)
    assert Counting.reads == 4  # and kept again


def test_a_cache_that_cannot_be_written_is_done_without(counting: Judge, splits: Splits, cache: Path) -> None:
    cache.parent.parent.mkdir(exist_ok=True)
    cache.parent.write_text("a file where a directory is due")
    found = [floors(Reference(counting, splits), 60, [0], KEYS) for _ in range(2)]
    assert found[0] == found[1]
    assert Counting.reads == 4


@pytest.mark.slow
def test_another_judge_or_other_images_have_a_cache_of_their_own(
    counting: Judge, splits: Splits, cache: Path, source: str
) -> None:
    Reference(counting, splits)
    Reference(counting, load_splits(source, image_size=20))
    fit_judge("halves", splits.train, splits.test, beside(source), epochs=1, seed=5)
    Reference(load_judge(source), splits)
    assert len(list(cache.glob("*.safetensors"))) == 3
