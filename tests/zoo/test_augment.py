"""The augmentations: what each does to an image by itself, that gradients pass, and that strength 0 changes nothing."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ganzoo.registry import augmentations
from ganzoo.zoo.augment import Augmentation
from ganzoo.zoo.batch import Draw

SHAPES = [(1, 28, 28), (3, 7, 10)]
by_name = pytest.mark.parametrize("name", augmentations.names())
by_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
NOTHING: dict[str, dict[str, Any]] = {
    "translation": {"reach": 0.0},
    "cut-out": {"size": 0.0},
    "colour": {"strength": 0.0},
    "instance-noise": {"strength": 0.0},
}


def augmentation(name: str, **changes: Any) -> Augmentation:
    made: Augmentation = augmentations[name](**changes)
    return made


def drawn(noise: Mapping[str, Draw], n: int, shape: tuple[int, int, int] = (1, 28, 28)) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(n, *(shape if isinstance(draw.shape, str) else draw.shape), generator=generator)
        for name, draw in noise.items()
    }


def images(shape: tuple[int, int, int], n: int = 6) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@by_name
@by_shape
def test_each_image_is_changed_by_its_own_draws_and_gradients_pass(name: str, shape: tuple[int, int, int]) -> None:
    made = augmentation(name)
    x, noise = images(shape).requires_grad_(), drawn(made.noise, 6, shape)
    y = made(x, noise)
    assert y.shape == x.shape
    assert y.isfinite().all()
    for i in range(6):
        alone = made(x[i : i + 1], {key: value[i : i + 1] for key, value in noise.items()})
        torch.testing.assert_close(alone, y[i : i + 1])
    y.square().sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.abs().sum() > 0
    torch.testing.assert_close(made(x, noise), y, rtol=0, atol=0)  # it draws nothing itself


@by_name
@by_shape
def test_what_is_asked_for_nothing_changes_nothing(name: str, shape: tuple[int, int, int]) -> None:
    made = augmentation(name, **NOTHING[name])
    torch.testing.assert_close(made(images(shape), drawn(made.noise, 6, shape)), images(shape), rtol=0, atol=1e-6)


@given(down=st.floats(0, 1, exclude_max=True, width=32), right=st.floats(0, 1, exclude_max=True, width=32))
@settings(max_examples=50)
def test_a_translation_moves_by_whole_pixels_and_fills_with_black(down: float, right: float) -> None:
    made = augmentation("translation", reach=0.25)
    x = images((1, 8, 12), 1) + 3  # no pixel is black
    y = made(x, {"move": torch.tensor([[down, right]])})
    rows, columns = int(down * 5) - 2, int(right * 7) - 3  # 0.25 * 8 and 0.25 * 12 pixels at most
    for row in range(8):
        for column in range(12):
            source = row - rows, column - columns
            inside = 0 <= source[0] < 8 and 0 <= source[1] < 12
            assert y[0, 0, row, column] == (x[0, 0, source[0], source[1]] if inside else -1)


def test_every_move_is_equally_likely() -> None:
    made = augmentation("translation", reach=0.125)
    n = 7000
    x = torch.full((n, 1, 24, 24), -1.0)
    x[:, 0, 12, 12] = 1
    y = made(x, drawn(made.noise, n))
    counts = y[:, 0].gt(0).any(2).float().argmax(1).bincount(minlength=24)
    assert set(counts.nonzero().flatten().tolist()) == set(range(9, 16))
    assert counts[9:16].min() > 0.85 * n / 7


@pytest.mark.parametrize("size", [0.25, 0.5, 1.0])
def test_a_cut_out_is_a_black_rectangle_of_its_size_where_it_fits(size: float) -> None:
    made = augmentation("cut-out", size=size)
    y = made(torch.ones(1, 3, 16, 8), {"place": torch.tensor([[0.5, 0.5]])})
    black = y.eq(-1)
    assert black.sum() == 3 * int(size * 16) * int(size * 8)
    assert (black | y.eq(1)).all()
    corner = made(torch.ones(1, 3, 16, 8), {"place": torch.tensor([[0.0, 0.0]])})
    assert 0 < corner.eq(-1).sum() < black.sum()


def test_colour_is_brightness_saturation_and_contrast() -> None:
    made, x = augmentation("colour", strength=2.0), images((3, 4, 4), 1)
    only = {"brightness": 0, "saturation": 1, "contrast": 2}
    changed = {}
    for name, index in only.items():
        change = torch.full((1, 3, 1, 1, 1), 0.5)
        change[0, index] = 0.75  # by half a unit, of a strength of 2
        changed[name] = made(x, {"change": change})
    grey, mean = x.mean(1, keepdim=True), x.mean()
    torch.testing.assert_close(changed["brightness"], x + 0.5)
    torch.testing.assert_close(changed["saturation"], grey + 2 * (x - grey))
    torch.testing.assert_close(changed["contrast"], mean + 1.5 * (x - mean))
