"""Data sets of one's own, how they are made to fit, and the loader."""

import importlib.util
import os
import pickle
import struct
import subprocess
import sys
import zlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from ganzoo import data
from ganzoo.data import dataset as dataset_module
from ganzoo.data import scanning
from ganzoo.data.labels import choose_labelled
from ganzoo.errors import FileError, UsageError
from ganzoo.files import IMAGE_SUFFIXES
from ganzoo.registry import datasets

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 8, 8), dtype=np.uint8)
RGB = RNG.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


@pytest.mark.slow
def test_importing_is_light_and_a_failed_import_of_torchvision_is_healed() -> None:
    script = """
import sys
import ganzoo.data
assert not {"torchvision", "PIL", "mlxtend"} & set(sys.modules)
try:
    import torchvision
    clean = True
except RuntimeError:
    clean = False
from ganzoo.data import torchvision_compat
torchvision = torchvision_compat.load_torchvision()
assert torchvision is torchvision_compat.load_torchvision() is sys.modules["torchvision"]
assert (torchvision_compat._library is None) == clean
import torchvision.datasets, torchvision.transforms.v2, torchvision.utils
"""
    subprocess.run(
        [sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )


# from_arrays and Dataset


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (GREY, (1, 8, 8)),
        (GREY[..., None], (1, 8, 8)),
        (RGB, (3, 8, 8)),
        (RGB[::-1, :, ::2], (3, 8, 4)),
        (torch.from_numpy(GREY), (1, 8, 8)),
        (torch.from_numpy(RGB).permute(0, 3, 1, 2), (3, 8, 8)),
    ],
)
def test_arrays_become_channel_first(images: Any, shape: tuple[int, int, int]) -> None:
    made = data.from_arrays(images, source="mine")
    assert (made.image_shape, len(made), made.source) == (shape, 6, "mine")
    assert made.images.is_contiguous()
    given = images.numpy() if isinstance(images, torch.Tensor) else images
    if given.ndim == 4 and not isinstance(images, torch.Tensor):
        given = given.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(made.images.numpy().reshape(given.shape), given)


def test_arrays_are_copied() -> None:
    images, labels = GREY.copy(), np.arange(6)
    made = data.from_arrays(images, labels)
    before = made.sha256
    kept = data.from_arrays(images, copy=False)
    images[:], labels[:] = 0, 0
    assert data.Dataset(images=made.images, labels=made.labels, num_classes=6, source="x").sha256 == before
    assert kept.images.eq(0).all()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (GREY / 255.0, r"float64 with values from 0 to 1: floats have .*--range 0\.\.1 \(value_range='0\.\.1'\)"),
        (torch.zeros(6, 1, 8, 8) - 0.5, r"float32.*--range -1\.\.1"),
        (GREY.astype(np.float32), r"float32.*--range 0\.\.255"),
        (GREY * 1000.0, "float64 with values from .* as uint8"),
        (GREY + np.array([np.inf]), "not finite"),
        (GREY.astype(np.int64) - 1, "int64 with values from -1"),
        (GREY.astype(np.int64) * 1000, "int64 with values from 0"),
        (GREY.astype(str), "expected numbers"),
        (GREY[0], r"\[8, 8\].*images\[None\]"),
        (RGB.transpose(0, 3, 1, 2), r"\[N, H, W, C\].*images.transpose\(0, 2, 3, 1\)"),
        (torch.from_numpy(RGB), r"\[N, C, H, W\].*images.permute\(0, 3, 1, 2\)"),
        (np.zeros((6, 8, 8, 2), np.uint8), "C 1, 3 or 4"),
        (GREY[:0], "at least one image"),
        (GREY.tolist(), "type list.*numpy or torch"),
    ],
)
def test_arrays_of_another_kind_are_refused(images: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        data.from_arrays(images)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.arange(5), r"int64 \[5\].*\[6\], one for each image"),
        (np.array([], np.int64), r"int64 \[0\]"),
        (np.arange(6.0) / 2, "float64.*integers"),
        (np.arange(6) > 2, "bool.*integers"),
        (np.arange(6) - 2, r"\[-2, 3\]: expected \[0, 3\], and -1 for an image without one"),
        (np.zeros((6, 2), int), r"\[6, 2\]"),
        (np.array([0, 0, 0, 0, 0, 2**63], np.uint64), "largest label is 9223372036854775808"),
    ],
)
def test_labels_of_another_kind_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        data.from_arrays(GREY, labels)


@pytest.mark.parametrize(
    "labels", [[0, 3, 1, 0, 0, 2], np.array([0, 3, 1, 0, 0, 2], np.uint8), torch.tensor([0, 3, 1, 0, 0, 2])]
)
def test_any_integers_are_labels(labels: Any) -> None:
    made = data.from_arrays(GREY, labels)
    assert made.labels is not None
    assert (made.labels.dtype, made.labels.tolist(), made.num_classes) == (torch.int64, [0, 3, 1, 0, 0, 2], 4)


def test_the_hash_covers_shape_pixels_and_labels() -> None:
    other = GREY.copy()
    other[3, 4, 5] ^= 1
    made = [
        data.from_arrays(GREY),
        data.from_arrays(GREY.reshape(6, 4, 16)),
        data.from_arrays(other),
        data.from_arrays(GREY, np.arange(6)),
        data.from_arrays(GREY, np.arange(6)[::-1].copy()),
    ]
    assert len({dataset.sha256 for dataset in made}) == len(made)
    assert data.from_arrays(GREY, source="elsewhere").sha256 == made[0].sha256


def test_a_data_set_checks_its_parts() -> None:
    images = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(UsageError, match="or neither"):
        data.Dataset(images=images, num_classes=2, source="x")
    with pytest.raises(UsageError, match="1 class names for num_classes=2"):
        data.Dataset(images=images, labels=torch.tensor([0, 1]), num_classes=2, class_names=("a",), source="x")
    with pytest.raises(UsageError, match=r"\[0, 1\]"):
        data.Dataset(images=images, labels=torch.tensor([0, 2]), num_classes=2, source="x")
    with pytest.raises(UsageError, match="float32"):
        data.Dataset(images=images.float(), source="x")


# fit


def test_what_fits_is_returned_as_it_is() -> None:
    made = data.from_arrays(GREY)
    assert data.fit(made, None, None) is made
    assert data.fit(made, 8, 1) is made


def test_resizing_is_pillows_within_rounding() -> None:
    made = data.fit(data.from_arrays(RGB, np.arange(6)), 5, None)
    assert (made.image_shape, made.num_classes) == ((3, 5, 5), 6)
    for ours, image in zip(made.images.permute(0, 2, 3, 1).numpy(), RGB, strict=True):
        theirs = np.asarray(Image.fromarray(image).resize((5, 5), Image.Resampling.BICUBIC))
        assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_resizing_keeps_black_and_white() -> None:
    made = data.fit(data.from_arrays(np.repeat(np.array([0, 255], np.uint8), 784).reshape(2, 28, 28)), 32, 3)
    assert made.image_shape == (3, 32, 32)
    assert made.images[0].eq(0).all()
    assert made.images[1].eq(255).all()


def test_resizing_in_parts_is_resizing_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = data.fit(data.from_arrays(RGB), 12, 1)
    monkeypatch.setattr(dataset_module, "_CHUNK_PIXELS", 500)
    assert data.fit(data.from_arrays(RGB), 12, 1).sha256 == at_once.sha256


def test_the_centre_is_kept() -> None:
    wide = data.fit(data.from_arrays(GREY[:, 1:5]), 4, None)
    np.testing.assert_array_equal(wide.images[:, 0], GREY[:, 1:5, 2:6])
    high = data.fit(data.from_arrays(GREY[:, :, 1:5]), 4, None)
    np.testing.assert_array_equal(high.images[:, 0], GREY[:, 2:6, 1:5])


def test_channels() -> None:
    grey = data.fit(data.from_arrays(RGB), None, 1)
    for ours, image in zip(grey.images[:, 0], RGB, strict=True):
        np.testing.assert_array_equal(ours, np.asarray(Image.fromarray(image).convert("L")))
    rgb = data.fit(data.from_arrays(GREY), None, 3)
    for channel in range(3):
        np.testing.assert_array_equal(rgb.images[:, channel], GREY)
    assert data.fit(rgb, None, 1).sha256 == data.from_arrays(GREY).sha256


@pytest.mark.parametrize(("size", "channels", "name"), [(0, None, "image_size"), (None, 2, "channels")])
def test_impossible_sizes_are_refused(size: int | None, channels: int | None, name: str) -> None:
    with pytest.raises(UsageError, match=f"data.{name}"):
        data.fit(data.from_arrays(GREY), size, channels)


# load


def test_names_and_splits_are_checked(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'folder'"):
        data.load("foldr:x")
    with pytest.raises(UsageError, match="no split 'valid'"):
        data.load("npz:x", split="valid")
    with pytest.raises(UsageError, match=r"data\.channels"):
        data.load("npz:x", channels=2)
    for name in ("npz:FILE", "folder:PATH"):
        for source in (name.partition(":")[0], name.partition(":")[0] + ":"):
            with pytest.raises(UsageError, match=name):
                data.load(source)
        with pytest.raises(FileError, match=r"absent\.x does not exist"):
            data.load(f"{name.partition(':')[0]}:{tmp_path / 'absent.x'}")
        with pytest.raises(FileError, match="cannot be opened"):
            data.load(f"{name.partition(':')[0]}:~nobody-of-this-name/x")


def test_a_source_of_ones_own_is_made_to_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "mnist" in datasets.names()
    monkeypatch.setattr(datasets, "_entries", dict(datasets._entries))
    seen: list[data.Request] = []

    @datasets.register("mine")
    def mine(request: data.Request) -> data.Dataset:
        seen.append(request)
        return data.from_arrays(GREY, source="mine")

    assert data.load("mine:a:b", image_size=4, channels=3, split="test", data_dir="~").image_shape == (3, 4, 4)
    assert seen == [
        data.Request(name="mine", argument="a:b", data_dir=Path.home(), image_size=4, channels=3, split="test")
    ]


# npz


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("images", [GREY, RGB])
def test_npz_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Any, compressed: bool) -> None:
    (np.savez_compressed if compressed else np.savez)(tmp_path / "a.npz", images=images, labels=np.arange(6) % 3)
    monkeypatch.chdir(tmp_path)
    made = data.load("npz:a.npz")
    assert made.sha256 == data.from_arrays(images, np.arange(6) % 3).sha256
    assert (made.num_classes, made.source) == (3, f"npz:{Path('a.npz').resolve()}")
    assert data.load(made.source, image_size=4, channels=1).image_shape == (1, 4, 4)


def test_npz_without_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=GREY, other=np.array([None]))  # what is not asked for is not looked at
    made = data.load(f"npz:{tmp_path / 'a.npz'}")
    assert (made.labels, made.num_classes) == (None, None)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": GREY}, r"none of the arrays `images`, `x_train`.*, only \['pictures'\]"),
        ({"images": GREY.astype(np.float32)}, "float32"),
        ({"images": GREY[0]}, r"\[8, 8\]"),
        ({"images": np.array([None, 1])}, "[Oo]bject"),
        ({"images": GREY, "labels": np.arange(5)}, "one for each image"),
        ({"images": GREY, "labels": np.array([None] * 6)}, "[Oo]bject"),
    ],
)
def test_npz_of_another_content_is_refused(tmp_path: Path, arrays: Any, message: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    with pytest.raises(FileError, match=message) as caught:
        data.load(f"npz:{path}")
    assert str(path) in str(caught.value)


def test_broken_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=GREY, labels=np.arange(6))
    whole = path.read_bytes()
    for size in (0, 1, 3, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(FileError, match=r"a\.npz"):
            data.load(f"npz:{path}")
    path.write_bytes(whole[:150] + bytes([whole[150] ^ 4]) + whole[151:])
    with pytest.raises(FileError, match=r"a\.npz cannot be read"):
        data.load(f"npz:{path}")


class Hostile:
    """A pickle of it runs a command when it is loaded."""

    def __reduce__(self) -> Any:
        return (os.system, ("touch executed",))


def test_what_is_no_npz_is_refused_and_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.npz").write_bytes(pickle.dumps(Hostile()))
    np.save("b.npy", GREY)
    Path("c.npz").mkdir()
    for name in ("a.npz", "b.npy", "c.npz"):
        with pytest.raises(FileError, match=name):
            data.load(f"npz:{name}")
    assert not Path("executed").exists()


# folder


def save(path: Path, pixels: Any, mode: str | None = None, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)


def load_folder(path: Path, **options: Any) -> data.Dataset:
    return data.load(f"folder:{path}", **options)


def test_a_flat_folder(tmp_path: Path) -> None:
    for index, image in enumerate(GREY):
        save(tmp_path / f"{index}.png", image)
    save(tmp_path / ".hidden.png", GREY[0])
    save(tmp_path / ".thumbnails" / "a.png", GREY[0])
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "empty").mkdir()
    made = load_folder(tmp_path)
    assert made.sha256 == data.from_arrays(GREY).sha256
    assert (made.source, made.labels, made.class_names) == (f"folder:{tmp_path.resolve()}", None, None)


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    for index, image in enumerate(RGB):
        save(tmp_path / ("b/deeper" if index < 2 else "a") / f"{index}.PNG", image)
    made = load_folder(tmp_path)
    order = [2, 3, 4, 5, 0, 1]
    assert made.sha256 == data.from_arrays(RGB[order], [0, 0, 0, 0, 1, 1]).sha256
    assert (made.num_classes, made.class_names) == (2, ("a", "b"))


def test_the_source_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "in" / "a.png", GREY[0])
    monkeypatch.chdir(tmp_path)
    assert data.load("folder:in").source == f"folder:{Path('in').resolve()}"


@pytest.mark.parametrize("suffix", [suffix for suffix in IMAGE_SUFFIXES if suffix not in (".ppm", ".pbm", ".webp")])
def test_formats(tmp_path: Path, suffix: str) -> None:
    save(tmp_path / f"a{suffix}", np.full((8, 8), 200, np.uint8))
    made = load_folder(tmp_path, channels=1)
    assert abs(int(made.images.float().mean()) - 200) <= 1


@pytest.mark.skipif(not features.check("webp"), reason="this Pillow has no WebP")
def test_webp(tmp_path: Path) -> None:
    save(tmp_path / "a.webp", RGB[0], lossless=True)
    assert load_folder(tmp_path).sha256 == data.from_arrays(RGB[:1]).sha256


def test_heic_is_read_by_an_extra_and_named_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heif = pytest.importorskip("pillow_heif")
    picture = np.kron(np.array([[[200, 30, 30], [30, 30, 200]]], np.uint8), np.ones((64, 32, 1), np.uint8))
    heif.from_pillow(Image.fromarray(picture)).save(tmp_path / "a.HEIC", quality=-1)
    made = load_folder(tmp_path)
    assert made.image_shape == (3, 64, 64)
    assert np.abs(made.images[0].permute(1, 2, 0).numpy().astype(int) - picture).mean() < 4
    save(tmp_path / "b.png", np.zeros((64, 64, 3), np.uint8))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pillow_heif" else find(name))
    without = load_folder(tmp_path)
    assert len(without) == 1
    assert 'not read: 1 .heic (pip install "torch-ganzoo[heic]" reads them)' in without.notes


def test_one_colour_image_makes_all_rgb_unless_asked(tmp_path: Path) -> None:
    save(tmp_path / "a.png", GREY[0])
    save(tmp_path / "b.png", RGB[0])
    assert load_folder(tmp_path).image_shape == (3, 8, 8)
    made = load_folder(tmp_path, channels=1)
    assert made.image_shape == (1, 8, 8)
    np.testing.assert_array_equal(made.images[0, 0], GREY[0])


def test_modes_that_are_grey(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 128, 129], [65535, 65534, 32768, 300]], np.uint16)
    save(tmp_path / "16.png", deep)
    save(tmp_path / "1.png", np.array([[0, 255, 0, 255]] * 2, np.uint8), "1")
    alpha = np.stack([np.full((2, 4), 100, np.uint8), np.array([[0, 255, 0, 255]] * 2, np.uint8)], -1)
    save(tmp_path / "la.png", Image.fromarray(alpha))
    one_bit, deep_made, grey_alpha = load_folder(tmp_path).images
    assert one_bit.tolist() == [[[0, 255, 0, 255]] * 2]
    assert deep_made.tolist() == [[[0, 1, 0, 1], [255, 255, 128, 1]]]
    assert grey_alpha.tolist() == [[[255, 100, 255, 100]] * 2]  # laid on white


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[:4] = (255, 0, 0, 255)
    rgba[4:, :4] = (0, 0, 0, 128)
    save(tmp_path / "a.png", rgba)
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 255, 0, 255, 0])
    palette.paste(1, (0, 0, 8, 4))
    save(tmp_path / "b.png", palette, transparency=0)
    first, second = load_folder(tmp_path).images
    assert [first[:, y, x].tolist() for y, x in ((0, 0), (7, 0), (7, 7))] == [[255, 0, 0], [127] * 3, [255] * 3]
    assert [second[:, y, 0].tolist() for y in (0, 7)] == [[0, 255, 0], [255] * 3]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    save(tmp_path / "a.png", GREY[0][:4], exif=exif)
    np.testing.assert_array_equal(load_folder(tmp_path).images[0, 0], np.rot90(GREY[0][:4], -1))


def test_sizes_must_agree_unless_one_is_asked_for(tmp_path: Path) -> None:
    save(tmp_path / "a.png", GREY[0])
    save(tmp_path / "b.png", GREY[0][:4])
    with pytest.raises(UsageError, match=r"a\.png is 8 x 8, b\.png is 8 x 4.*--image-size 64"):
        load_folder(tmp_path)
    made = load_folder(tmp_path, image_size=4)
    assert made.image_shape == (1, 4, 4)
    np.testing.assert_array_equal(made.images[1, 0], GREY[0][:4, 2:6])


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [header, b"IDAT" + zlib.compress(b""), b"IEND"]
    packed = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


@pytest.mark.parametrize("channels", [None, 3])
@pytest.mark.parametrize("side", [8001, 100_000])
def test_huge_images_are_refused_before_they_are_decoded(tmp_path: Path, side: int, channels: int | None) -> None:
    (tmp_path / "a.png").write_bytes(png(side, side))
    with pytest.raises(FileError, match=r"1 of 1 images.*a\.png \(.*pixels"):
        load_folder(tmp_path, channels=channels)


def test_broken_images_are_named_and_counted(tmp_path: Path) -> None:
    save(tmp_path / "0" / "good.png", GREY[0])
    whole = (tmp_path / "0" / "good.png").read_bytes()
    for index in range(5):
        (tmp_path / "0" / f"{index}.png").write_bytes(whole[:60])
    with pytest.raises(FileError, match=r"5 of 6 images.*0/0\.png.*0/2\.png.*\.\.\. \(--skip-broken"):
        load_folder(tmp_path)
    (tmp_path / "0" / "0.png").write_text("%!PS-Adobe-3.0 EPSF-3.0")  # a format that runs a program
    with pytest.raises(FileError, match=r"0\.png \(none of PNG, JPEG"):
        load_folder(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="symbolic links and pipes")
def test_nothing_outside_is_read_and_no_pipe(tmp_path: Path) -> None:
    save(tmp_path / "outside" / "secret.png", GREY[0])
    inside = tmp_path / "in"
    save(inside / "a.png", GREY[1])
    (inside / "link.png").symlink_to(inside / "a.png")
    (inside / "out.png").symlink_to(tmp_path / "outside" / "secret.png")
    (inside / "away").symlink_to(tmp_path / "outside")
    (inside / "loop.png").symlink_to("loop.png")
    (inside / "again").symlink_to(inside)
    (inside / "nothing.png").symlink_to("absent.png")
    os.mkfifo(inside / "pipe.png")
    (tmp_path / "alias").symlink_to(inside)
    for name in ("in", "alias"):
        assert load_folder(tmp_path / name).sha256 == data.from_arrays(GREY[[1, 1]]).sha256


def test_a_folder_of_another_form_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match=r"no images.*\.png, \.jpg"):
        load_folder(tmp_path)
    save(tmp_path / "a.png", GREY[0])
    with pytest.raises(FileError, match="is a file"):
        load_folder(tmp_path / "a.png")
    save(tmp_path / "class" / "b.png", GREY[0])
    with pytest.raises(FileError, match="1 images directly in it and 1 in folders"):
        load_folder(tmp_path)
    monkeypatch.setattr(scanning, "MAX_FILES", 1)
    with pytest.raises(FileError, match="more than 1 images"):
        load_folder(tmp_path)


# Loader


def numbered(count: int) -> data.Dataset:
    """Images that each carry their number, which is also their label."""
    images = np.arange(count, dtype=np.uint8).repeat(4).reshape(count, 2, 2)
    return data.from_arrays(images, np.arange(count))


def numbers(batch: tuple[torch.Tensor, torch.Tensor | None]) -> list[int]:
    images, labels = batch
    assert labels is not None
    assert torch.equal(((images[:, 0, 0, 0] + 1) * 127.5).round().long(), labels)
    return labels.tolist()


sizes = st.integers(1, 40).flatmap(lambda count: st.tuples(st.just(count), st.integers(1, count)))


@settings(deadline=None, max_examples=40)
@given(sizes, st.integers(0, 2**63), st.integers(0, 10**6))
def test_an_epoch_is_a_permutation(size: tuple[int, int], seed: int, epoch: int) -> None:
    count, batch_size = size
    loader = data.Loader(numbered(count), batch_size, "cpu", seed)
    assert loader.batches_per_epoch == count // batch_size
    start = epoch * loader.batches_per_epoch
    seen = [n for update in range(loader.batches_per_epoch) for n in numbers(loader.batch(start + update))]
    assert len(seen) == len(set(seen)) == loader.batches_per_epoch * batch_size


@settings(deadline=None, max_examples=40)
@given(sizes, st.integers(0, 2**63), st.lists(st.integers(0, 200), min_size=1, max_size=8))
def test_a_batch_depends_on_seed_and_update_alone(size: tuple[int, int], seed: int, updates: list[int]) -> None:
    loader = data.Loader(numbered(size[0]), size[1], "cpu", seed)
    for update in updates:
        fresh = data.Loader(numbered(size[0]), size[1], "cpu", seed)
        assert numbers(loader.batch(update)) == numbers(fresh.batch(update))


def test_epochs_and_seeds_differ() -> None:
    loader, other = (data.Loader(numbered(40), 40, "cpu", seed) for seed in (0, 1))
    orders = [tuple(numbers(maker.batch(epoch))) for maker in (loader, other) for epoch in range(3)]
    assert len(set(orders)) == 6


def test_a_batch_is_normalized_and_typed() -> None:
    images, labels = data.Loader(data.from_arrays(RGB), 4, "cpu", 0).batch(0)
    assert (images.dtype, images.shape, labels) == (torch.float32, (4, 3, 8, 8), None)
    assert data.normalize(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal((data.normalize(every) * 127.5 + 127.5).round().to(torch.uint8), every)


def labelled_numbers(loader: data.Loader, update: int) -> list[int]:
    return numbers(loader.labelled_batch(update))


@settings(deadline=None, max_examples=40)
@given(sizes, st.integers(0, 2**63), st.integers(0, 10**6), st.data())
def test_a_labelled_batch_is_drawn_from_the_images_that_show_their_labels(
    size: tuple[int, int], seed: int, update: int, choose: st.DataObject
) -> None:
    count, batch_size = size
    shown = choose.draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True))
    loader = data.Loader(numbered(count), batch_size, "cpu", seed, labelled=torch.tensor(shown))
    drawn = labelled_numbers(loader, update)
    assert len(drawn) == batch_size
    assert set(drawn) <= set(shown)
    seen = data.Loader(numbered(count), batch_size, "cpu", seed).batch(update)[1]
    labels = loader.batch(update)[1]
    assert seen is not None
    assert labels is not None  # of the same images; a hidden one is -1
    assert labels.tolist() == [label if label in shown else -1 for label in seen.tolist()]


def test_a_labelled_batch_depends_on_seed_and_update_alone_and_is_shared_out() -> None:
    loader, other = (data.Loader(numbered(40), 12, "cpu", seed, labelled=torch.arange(20)) for seed in (0, 1))
    forwards = [labelled_numbers(loader, update) for update in range(50)]
    assert forwards == [labelled_numbers(loader, update) for update in reversed(range(50))][::-1]
    assert len({tuple(drawn) for drawn in [*forwards, labelled_numbers(other, 0)]}) == 51
    assert {number for drawn in forwards for number in drawn} == set(range(20))
    shares = [slice(0, 4), slice(4, 8), slice(8, 12)]
    made = [data.Loader(numbered(40), 12, "cpu", 0, share, torch.arange(20)) for share in shares]
    assert [number for part in made for number in labelled_numbers(part, 7)] == forwards[7]


def test_of_data_whose_labels_are_all_shown_any_image_is_drawn() -> None:
    loader = data.Loader(numbered(40), 10, "cpu", 0)
    assert {number for update in range(60) for number in labelled_numbers(loader, update)} == set(range(40))


# Hidden labels


def with_labels(labels: list[int]) -> data.Dataset:
    return data.from_arrays(np.zeros((len(labels), 2, 2), np.uint8), labels, source="npz:a.npz")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(0, 2**63), st.data())
def test_as_many_images_of_each_class_show_their_labels(labels: list[int], seed: int, choose: st.DataObject) -> None:
    """Also if the classes are of different sizes, or have no images at all."""
    dataset, sizes = with_labels(labels), Counter(labels)
    per_class = choose.draw(st.integers(1, min(sizes.values())))
    shown = choose_labelled(dataset, per_class, seed).tolist()
    assert shown == sorted(set(shown))
    assert Counter(labels[number] for number in shown) == dict.fromkeys(sizes, per_class)
    assert set(choose_labelled(dataset, 1, seed).tolist()) <= set(shown)
    least = min(sizes.values())
    with pytest.raises(UsageError, match=rf"labels_per_class is {least + 1}: expected 1 to {least}, as npz:a\.npz"):
        choose_labelled(dataset, least + 1, seed)


def test_the_seed_chooses_among_all_images_of_a_class() -> None:
    dataset = with_labels([0, 1] * 10)
    chosen = [tuple(choose_labelled(dataset, 2, seed).tolist()) for seed in range(60)]
    assert len(set(chosen)) > 30
    assert {number for numbers in chosen for number in numbers} == set(range(20))


def test_labels_that_are_not_there_cannot_be_hidden() -> None:
    with pytest.raises(UsageError, match="hides labels, and array has none"):
        choose_labelled(data.from_arrays(GREY), 1, 0)
    named = replace(with_labels([0, 1, 1, 0, 1]), class_names=("cat", "dog"))
    with pytest.raises(UsageError, match=r"expected 1 to 2, as npz:a\.npz has 2 images of the class 'cat'"):
        choose_labelled(named, 3, 0)
    with pytest.raises(UsageError, match=r"expected 1 to 1, as npz:a\.npz has 1 image of the class '1'"):
        choose_labelled(with_labels([0, 1, 0]), 2, 0)


@pytest.mark.parametrize("batch_size", [0, 7])
def test_a_batch_larger_than_the_set_is_refused(batch_size: int) -> None:
    with pytest.raises(UsageError, match=r"data\.batch_size.*1 to 6"):
        data.Loader(data.from_arrays(GREY), batch_size, "cpu", 0)
