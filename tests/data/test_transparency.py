"""Images with an alpha channel: laid on a colour, or kept from the file to the drawn PNG."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import ganzoo
from ganzoo import data, runtime
from ganzoo.data.dataset import LAID, TO_RGB, TO_RGBA
from ganzoo.errors import UsageError
from ganzoo.evaluation import evaluator
from ganzoo.runtime.images import encode_png, grid
from ganzoo.zoo.augment import Adaptive, Augmentation, Colour, Translation

SPRITES = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 4), dtype=np.uint8)


COLOURS_ALONE = torch.tensor([[1.0] * 6 + [0.0] * 3]).repeat(5, 1)  # what is less than the strength is chosen


def write_sprites(folder: Path) -> Path:
    folder.mkdir()
    for number, sprite in enumerate(SPRITES):
        Image.fromarray(sprite).save(folder / f"{number:02d}.png")
    return folder


def test_four_channels_keep_the_transparency_of_files(tmp_path: Path) -> None:
    folder = write_sprites(tmp_path / "sprites")
    kept = data.load(f"folder:{folder}", channels=4)
    assert np.array_equal(kept.images.permute(0, 2, 3, 1).numpy(), SPRITES)
    assert not kept.notes
    assert data.load(f"folder:{folder}").images.shape[1] == 3


def test_files_without_transparency_become_opaque(tmp_path: Path) -> None:
    Image.fromarray(SPRITES[0, ..., :3]).save(tmp_path / "a.png")
    Image.fromarray(SPRITES[0, ..., 0]).save(tmp_path / "b.png")
    Image.fromarray(SPRITES[0]).save(tmp_path / "c.png")
    made = data.load(f"folder:{tmp_path}", channels=4)
    assert made.images[:2, 3].eq(255).all()
    assert not made.images[2, 3].eq(255).all()
    assert {f"{TO_RGBA} (2 images)", f"{TO_RGB} (1 image)"} <= set(made.notes)


def test_arrays_keep_their_four_channels_unless_others_are_asked_for() -> None:
    sprites = data.from_arrays(SPRITES)
    assert sprites.image_shape == (4, 16, 16)
    laid = data.fit(sprites, channels=3, background="#1020f0")
    share = SPRITES[..., 3:].astype(float) / 255
    expected = SPRITES[..., :3] * share + np.array([0x10, 0x20, 0xF0]) * (1 - share)
    assert np.abs(laid.images.permute(0, 2, 3, 1).numpy() - expected).max() <= 0.5 + 1e-9
    assert laid.notes == (LAID,)
    opaque = data.fit(data.from_arrays(SPRITES[..., :3]), channels=4)
    assert opaque.images[:, 3].eq(255).all()


@pytest.mark.parametrize("reader", ["array", "file"])
def test_resizing_does_not_show_the_colour_of_what_was_transparent(reader: str, tmp_path: Path) -> None:
    picture = np.zeros((1, 16, 16, 4), np.uint8)
    picture[:, :, :7] = (200, 0, 0, 255)
    picture[:, :, 7:] = (0, 255, 0, 0)  # a green that cannot be seen
    if reader == "array":
        small = data.fit(data.from_arrays(picture), 8).images
    else:
        Image.fromarray(picture[0]).save(tmp_path / "a.png")
        small = data.load(f"folder:{tmp_path}", channels=4, image_size=8).images
    red, green, _, alpha = small[0].int()
    seen = alpha > 8
    assert 0 < seen.sum() < seen.numel()
    assert green[seen].max() <= 8
    assert (red[seen] - 200).abs().max() <= 16


@pytest.mark.parametrize("reader", ["array", "file"])
def test_padding_is_transparent(reader: str, tmp_path: Path) -> None:
    picture = np.full((1, 8, 16, 4), 255, np.uint8)
    if reader == "array":
        padded = data.fit(data.from_arrays(picture), 16, mode="pad").images
    else:
        Image.fromarray(picture[0]).save(tmp_path / "a.png")
        padded = data.load(f"folder:{tmp_path}", channels=4, image_size=16, fit="pad").images
    assert padded[0, 3].sum(1).eq(0).sum() == 8


def test_a_run_draws_transparency_and_its_file_and_png_keep_it(tmp_path: Path) -> None:
    run = ganzoo.train("dcgan", data.from_arrays(SPRITES), steps=4, batch_size=4, out=tmp_path / "run")
    assert run.config.facts.image_shape == (4, 16, 16)
    with Image.open(run.samples / "final.png") as picture:
        assert picture.mode == "RGBA"
    for layout in ("float", "uint8", "uint8-nchw"):
        exported = ganzoo.export(run, tmp_path / f"{layout}.onnx", layout=layout)
        images = runtime.load(exported.path).sample(5, seed=1)
        assert images.shape == (5, 16, 16, 4)
        with Image.open(io.BytesIO(encode_png(grid(images)))) as png:
            assert png.mode == "RGBA"
            assert np.array_equal(np.asarray(png)[:16, :16], images[0])
            assert np.asarray(png)[16:18, :, 3].max() == 0  # between images nothing covers the page
    with pytest.raises(UsageError, match=r"layout 'rgb' is for grey and RGB images.*4 channels"):
        ganzoo.export(run, tmp_path / "rgb.onnx", layout="rgb")


def test_drawn_images_are_judged_with_their_transparency(tmp_path: Path) -> None:
    folder = write_sprites(tmp_path / "drawn")
    subject, _ = evaluator._open_images("drawn", f"folder:{folder}", data.from_arrays(SPRITES), None, {})
    images, _ = subject.draw(0, len(SPRITES))
    assert sorted(map(bytes, images.permute(0, 2, 3, 1).numpy())) == sorted(map(bytes, SPRITES))


def test_translation_brings_in_transparent_pixels() -> None:
    images = torch.ones(3, 4, 8, 8)
    moved = Translation(reach=0.5)(images, {"move": torch.full((3, 2), 0.999)})
    assert moved[:, :, :4].eq(-1).all()


@pytest.mark.parametrize(
    ("augmentation", "noise"),
    [
        (Colour(), {"change": torch.rand(5, 3, 1, 1, 1)}),
        (Adaptive(start=0.8), {"chosen": COLOURS_ALONE, "amount": torch.ones(5, 9)}),
    ],
    ids=["colour", "adaptive"],
)
def test_a_change_of_colour_leaves_transparency_alone(augmentation: Augmentation, noise: dict[str, Tensor]) -> None:
    alpha = torch.linspace(-1, 1, 5).view(5, 1, 1, 1).expand(5, 1, 8, 8)
    images = torch.cat([torch.full((5, 3, 8, 8), 0.5), alpha], 1)
    changed = augmentation(images, noise)
    assert torch.allclose(changed[:, 3:], alpha, atol=1e-6)
    assert (changed[:, :3] - images[:, :3]).abs().amax((1, 2, 3)).min() > 0.01
