"""What is reported of a data set: what was left aside, what was done to its images, and its classes."""

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ganzoo import data
from ganzoo.data.mapped import cache_folder
from ganzoo.data.summary import summarise
from ganzoo.errors import FileError, NoSplitError, UsageError

GREY = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)


def save(path: Path, image: Any, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)


def load(path: Path, **options: Any) -> data.Dataset:
    return data.load(f"folder:{path}", **options)


# What is left aside


def test_a_clean_folder_has_no_notes(tmp_path: Path) -> None:
    for index in range(3):
        save(tmp_path / f"{index}.png", GREY[index])
    assert load(tmp_path).notes == ()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="symbolic links and pipes")
def test_what_is_not_read_is_counted_by_kind(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    save(tmp_path / "out.png", GREY[1])
    save(inside / "a" / "0.png", GREY[0])
    for name in ("a/1.txt", "a/2.TXT", "README", "a/.hidden.png", "c/notes.md", ".git/x.png"):
        (inside / name).parent.mkdir(exist_ok=True)
        (inside / name).touch()
    (inside / "empty").mkdir()
    (inside / "a" / "out.png").symlink_to(tmp_path / "out.png")
    (inside / "a" / "gone.png").symlink_to("absent.png")
    (inside / "again").symlink_to(inside)
    os.mkfifo(inside / "a" / "pipe.png")
    aside, empty = load(inside).notes
    assert set(aside.removeprefix("not read: ").split(", ")) == {
        "2 .txt", "1 .md", "1 files without a suffix", "1 hidden files", "1 hidden folders", "1 linked folders",
        "1 links out of the folder", "2 pipes or broken links",
    }  # fmt: skip
    assert empty == "folders without images: c, empty"


# Splits and the order of classes


def split(root: Path, *names: str, classes: tuple[str, ...] = ("b", "a")) -> Path:
    """A folder of splits, whose images are as bright as the number of their split says, times 10, plus their class."""
    for number, name in enumerate(names):
        for label, kind in enumerate(sorted(classes)):
            save(root / name / kind / "0.png", np.full((4, 4), 10 * number + label, np.uint8))
    return root


@pytest.mark.parametrize(
    ("names", "train", "test"),
    [(("train", "test"), 0, 1), (("Training", "valid"), 0, 1), (("test", "train", "val"), 1, 0)],
)
def test_a_folder_of_splits_is_trained_on_the_one_and_judged_on_the_other(
    tmp_path: Path, names: tuple[str, ...], train: int, test: int
) -> None:
    split(tmp_path, *names)
    for part, number in (("train", train), ("test", test)):
        made = load(tmp_path, split=part)
        assert made.images[:, 0, 0, 0].tolist() == [10 * number, 10 * number + 1]
        assert made.labels is not None
        assert made.labels.tolist() == [0, 1]
        assert made.class_names == ("a", "b")
        assert f"{names[train]}/ is used for training, {names[test]}/ has the test images" in made.notes
    assert ("ignored: val/" in load(tmp_path).notes) == (len(names) == 3)


def test_each_folder_is_a_class_if_that_is_asked_for(tmp_path: Path) -> None:
    made = load(split(tmp_path, "train", "test"), folders="classes")
    assert made.class_names == ("test", "train")
    with pytest.raises(UsageError, match="no split 'test'"):
        load(tmp_path, folders="classes", split="test")


def test_what_is_no_split_is_classes(tmp_path: Path) -> None:
    assert load(split(tmp_path / "one", "train", "bus")).class_names == ("bus", "train")
    assert load(split(tmp_path / "two", "train")).class_names == ("train",)


def test_a_split_without_classes(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "test")):
        save(tmp_path / name / "0.png", GREY[number])
    made = load(tmp_path, split="test")
    assert made.labels is None
    np.testing.assert_array_equal(made.images[0, 0], GREY[1])


def test_test_images_have_the_labels_of_training_and_no_other_classes(tmp_path: Path) -> None:
    split(tmp_path, "train", classes=("a", "b", "c"))
    split(tmp_path, "test", classes=("c",))
    made = load(tmp_path, split="test")
    assert made.labels is not None
    assert (made.labels.tolist(), made.num_classes) == ([2], 3)
    split(tmp_path, "test", classes=("strange",))
    with pytest.raises(
        FileError, match=r"test has the classes strange, .* training images have a, b, c: expected the same"
    ):
        load(tmp_path, split="test")


def test_classes_with_numbers_for_names_are_ordered_as_numbers(tmp_path: Path) -> None:
    for name in ("10", "9", "2"):
        save(tmp_path / name / "0.png", np.full((4, 4), int(name), np.uint8))
    made = load(tmp_path)
    assert made.class_names == ("2", "9", "10")
    assert made.labels is not None
    assert made.labels[made.images[:, 0, 0, 0].argsort()].tolist() == [0, 1, 2]
    assert load(tmp_path, folders="classes").class_names == ("10", "2", "9")


# What is done to images


def test_what_is_done_to_images_is_reported(tmp_path: Path) -> None:
    half = np.stack([GREY[0], GREY[0], GREY[0], np.full((8, 8), 128, np.uint8)], -1)
    exif = Image.Exif()
    exif[0x0112] = 3
    frames = [Image.fromarray(GREY[index]) for index in range(2)]
    cases: dict[str, tuple[Any, dict[str, Any], str]] = {
        "rgba.png": (half, {}, "transparent pixels blended with the background"),
        "palette.png": (Image.new("P", (8, 8), 3), {}, "palettes replaced by their colours"),
        "cmyk.jpg": (Image.new("CMYK", (8, 8)), {}, "CMYK converted to RGB"),
        "turned.png": (GREY[0], {"exif": exif}, "EXIF orientation applied"),
        "moving.gif": (frames[0], {"save_all": True, "append_images": frames[1:]}, "animation frames after the first"),
    }
    for name, (image, options, note) in cases.items():
        place = tmp_path / name.partition(".")[0]
        save(place / name, image, **options)
        (found,) = (text for text in load(place).notes if note in text)
        assert found.endswith("(all images)")
    opaque = np.stack([GREY[0]] * 3 + [np.full((8, 8), 255, np.uint8)], -1)
    save(tmp_path / "opaque" / "a.png", opaque)
    assert load(tmp_path / "opaque").notes == ()


def test_sixteen_bit_colours_are_reported(tmp_path: Path) -> None:
    row = b"\0" + struct.pack(">HHH", 256, 512, 65535) * 2
    chunks = [b"IHDR" + struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0), b"IDAT" + zlib.compress(row * 2), b"IEND"]
    packed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    made = load(tmp_path)
    assert made.images[0, :, 0, 0].tolist() == [1, 2, 255]
    assert made.notes == ("16-bit colours reduced to their upper 8 bits (all images)",)


def test_sizes_and_channels_are_reported(tmp_path: Path) -> None:
    save(tmp_path / "a.png", GREY[0])
    save(tmp_path / "b.png", GREY[1][:4])
    save(tmp_path / "c.png", np.stack([GREY[2][:4, :4]] * 3, -1))
    assert set(load(tmp_path, image_size=4, channels=1).notes) == {
        "resized to 4 x 4 (1 image)", "cropped to the middle (1 image)", "colours converted to grey (1 image)",
    }  # fmt: skip
    assert "resized to 16 x 16 (all images)" in load(tmp_path, image_size=16).notes
    assert "resized to fit into 16 x 16 (all images)" in load(tmp_path, image_size=16, fit="pad").notes  # not each size
    assert "grey repeated to RGB (2 images)" in load(tmp_path, image_size=4).notes
    arrays = data.fit(data.from_arrays(GREY[:, :4]), 2, 3)
    assert arrays.notes == ("cropped to the middle", "resized from 4 x 4 to 2 x 2", "grey repeated to RGB")


@pytest.mark.parametrize(
    ("fit", "expected", "note"),
    [
        ("crop", [[200, 200], [200, 200]], "cropped to the middle"),
        ("stretch", [[100, 200], [100, 200]], "stretched"),
        ("pad", [[255, 255], [150, 150]], "padded with the background"),
    ],
)
def test_images_of_another_shape_are_fitted_as_asked(
    tmp_path: Path, fit: str, expected: list[list[int]], note: str
) -> None:
    wide = np.full((8, 16), 200, np.uint8)
    if fit == "stretch":
        wide[:, :8] = 100
    if fit == "pad":
        wide[:] = 150
    save(tmp_path / "a.png", wide)
    size = 8 if fit != "pad" else "4x4"
    for made in (load(tmp_path, image_size=size, fit=fit), data.fit(data.from_arrays(wide[None]), size, mode=fit)):
        image = made.images[0, 0]
        corners = [[int(image[y, x]) for x in (0, -1)] for y in ((0, 2) if fit == "pad" else (0, -1))]
        np.testing.assert_allclose(corners, expected, atol=1)
        assert any(note in text for text in made.notes)


@pytest.mark.parametrize("size", ["6x4", "4x6", 5])
def test_any_size_is_width_and_height(tmp_path: Path, size: Any) -> None:
    save(tmp_path / "a.png", GREY[0])
    width, height = (5, 5) if size == 5 else (int(size[0]), int(size[2]))
    for fit in ("crop", "pad", "stretch"):
        assert load(tmp_path, image_size=size, fit=fit).image_shape == (1, height, width)
    for wrong in ("6x", "0", "6x0", "9" * 5000, f"6x{'9' * 5000}"):
        with pytest.raises(UsageError, match=r"data\.image_size is .{1,300}: expected .* as in 80x60"):
            load(tmp_path, image_size=wrong)


def test_transparency_is_laid_on_the_colour_that_is_asked_for(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.zeros((4, 4, 4), np.uint8))
    assert load(tmp_path, background="#102030").images[0, :, 0, 0].tolist() == [16, 32, 48]
    assert load(tmp_path, background="black", channels=1).images.max() == 0
    with pytest.raises(UsageError, match=r"data\.background is 'blck': expected a colour"):
        load(tmp_path, background="blck")


def test_broken_files_are_left_aside_if_that_is_asked_for(tmp_path: Path) -> None:
    for label, name in enumerate("ab"):
        for index in range(2):
            save(tmp_path / name / f"{index}.png", np.full((4, 4), 10 * label + index, np.uint8))
    (tmp_path / "a" / "1.png").write_bytes((tmp_path / "a" / "1.png").read_bytes()[:40])
    with pytest.raises(FileError, match=r"1 of 4 images .* cannot be read: a/1\.png .*--skip-broken"):
        load(tmp_path)
    made = load(tmp_path, skip_broken=True)
    assert made.images[:, 0, 0, 0].tolist() == [0, 10, 11]
    assert made.labels is not None
    assert made.labels.tolist() == [0, 1, 1]
    assert made.notes == ("1 broken images skipped: a/1.png",)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"nothing")
    with pytest.raises(FileError, match="none of the 4 images"):
        load(tmp_path, skip_broken=True)


@pytest.mark.parametrize(
    ("greatest", "asked", "bits"),
    [
        (65535, None, 16),
        (32768, None, 16),
        (32767, None, 15),
        (4095, None, 12),
        (300, 12, 12),
        (4095, 16, 16),
        (1, None, 1),
    ],
)
def test_deep_grey_has_as_many_bits_as_its_values_need(
    tmp_path: Path, greatest: int, asked: int | None, bits: int
) -> None:
    values = np.linspace(0, greatest, 64).round().astype(np.uint16).reshape(8, 8)
    save(tmp_path / "a.png", values)
    save(tmp_path / "b.png", np.zeros((8, 8), np.uint16))
    made = load(tmp_path, bits=asked)
    expected = np.floor(values.astype(np.float64) * 255 / (2**bits - 1) + 0.5)
    np.testing.assert_allclose(made.images[0, 0].numpy(), expected, atol=1)
    assert made.images[0].max() == round(greatest * 255 / (2**bits - 1))
    (note,) = made.notes
    assert note.startswith("16-bit grey reduced to 8 bits (all images)")
    assert ("--bits 16" in note) == (asked is None and bits < 16)
    assert (f"as {bits}-bit values" in note) == (asked is not None or bits < 16)


def test_both_splits_are_read_alike(tmp_path: Path) -> None:
    for part, greatest in (("train", 4095), ("test", 2000)):
        save(tmp_path / part / "a.png", np.linspace(0, greatest, 64).round().astype(np.uint16).reshape(8, 8))
    made = [load(tmp_path, split=part).images.max().item() for part in ("train", "test")]
    assert made == [255, round(2000 * 255 / 4095)]
    save(tmp_path / "test" / "b.png", np.zeros((8, 8, 3), np.uint8))
    assert [load(tmp_path, split=part).image_shape[0] for part in ("train", "test")] == [3, 3]
    np.savez(tmp_path / "a.npz", x_train=np.array([[[0, 4095]]]), x_test=np.array([[[0, 2000]]]))
    assert data.load(f"npz:{tmp_path}/a.npz", split="test").images.max() == round(2000 * 255 / 4095)


def test_more_bits_than_are_asked_for_are_refused_and_not_cut_off(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.full((4, 4), 4095, np.uint16))
    with pytest.raises(UsageError, match=r"data\.bits is 8, and the greatest value is 4,095: expected 12 or more"):
        load(tmp_path, bits=8)


def test_test_images_in_no_folders_of_classes_are_no_test_split(tmp_path: Path) -> None:
    split(tmp_path, "train")
    save(tmp_path / "test" / "0.png", GREY[0])
    with pytest.raises(NoSplitError, match="has no folders for classes"):
        load(tmp_path, split="test")
    assert load(tmp_path).class_names == ("a", "b")


def test_notes_are_kept_with_decoded_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for index in range(2):
        save(tmp_path / "in" / f"{index}.png", np.zeros((1000, 1000, 4), np.uint8))
    with pytest.warns(UserWarning, match="decoded once"):
        first = load(tmp_path / "in", memory=1)
    assert first.mapped is not None
    assert "transparent pixels blended with the background (all images)" in first.notes
    assert load(tmp_path / "in", memory=1).notes == first.notes
    (kept,) = cache_folder("images").glob("*.json")
    kept.write_text('{"notes": 1}')
    with pytest.warns(UserWarning, match="decoded once"):  # what was done to them is not known any more
        assert load(tmp_path / "in", memory=1).notes == first.notes


def test_what_is_done_to_arrays_that_stay_on_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.savez(tmp_path / "a.npz", images=np.random.default_rng(0).integers(0, 256, (2000, 40, 32), dtype=np.uint8))
    with pytest.warns(UserWarning, match="decoded once"):
        made = data.load(f"npz:{tmp_path}/a.npz", memory=1, image_size=30)
    assert made.mapped is not None
    expected = ("cropped to the middle", "resized from 32 x 32 to 30 x 30")
    assert made.notes == expected == data.load(f"npz:{tmp_path}/a.npz", image_size=30).notes
    assert data.load(f"npz:{tmp_path}/a.npz", memory=1, image_size=30).notes == expected


# The summary


def test_a_summary_says_how_many_images_of_which_classes(tmp_path: Path) -> None:
    for name, count in (("cat", 3), ("dog", 1)):
        for index in range(count):
            save(tmp_path / name / f"{index}.png", GREY[index][:6])
    (tmp_path / "notes.txt").touch()
    assert summarise(load(tmp_path), "labels are not used") == [
        f"data: folder:{tmp_path}: 4 images, 8 x 6 grey; 2 classes: 0 cat (3), 1 dog (1)",
        "data: not read: 1 .txt; labels are not used",
    ]


def test_a_summary_without_labels_or_notes_is_one_line() -> None:
    assert summarise(data.from_arrays(GREY[:1])) == ["data: array: 1 image, 8 x 8 grey; no labels"]


def test_classes_that_no_image_has_are_named() -> None:
    first, second = summarise(data.from_arrays(GREY, [1, 1, 1, 4, 4, 4]))
    assert first.endswith("5 classes: 0 (0), 1 (3), 2 (0), 3 (0), 4 (3)")
    assert second == "data: classes without images: 0, 2, 3"


def test_many_classes_are_described_by_their_ends() -> None:
    dataset = data.from_arrays(torch.zeros(30, 4, 4, dtype=torch.uint8), [*range(20), *[7] * 10])
    (line,) = summarise(dataset)
    assert line.endswith("20 classes, from 0 (1) to 19 (1); fewest images: 0 (1), most: 7 (11)")


def test_images_without_a_label_are_counted_apart() -> None:
    dataset = data.from_arrays(GREY, [-1, 0, 2, -1, 2, -1])
    (line, _) = summarise(dataset)
    assert line.endswith("3 classes: 0 (1), 1 (0), 2 (2), 3 images without a label (-1)")
    assert (dataset.class_counts, dataset.unlabelled, dataset.num_classes) == ((1, 0, 2), 3, 3)
    np.testing.assert_array_equal(dataset.labelled.images[:, 0], GREY[[1, 2, 4]])
    none = data.from_arrays(GREY, [-1] * 6)
    assert (none.labels, none.notes) == (None, ("labels ignored, because all of them are -1",))
