"""The augmentations: what each does to an image by itself, that gradients pass, and that strength 0 changes nothing."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ganzoo.registry import augmentations
from ganzoo.zoo.augment import Augmentation, resample
from ganzoo.zoo.batch import Draw
from ganzoo.zoo.networks.common import Output

SHAPES = [(1, 28, 28), (3, 7, 10)]
by_name = pytest.mark.parametrize("name", augmentations.names())
by_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
NOTHING: dict[str, dict[str, Any]] = {
    "translation": {"reach": 0.0},
    "cut-out": {"size": 0.0},
    "colour": {"strength": 0.0},
    "instance-noise": {"strength": 0.0},
    "adaptive": {"start": 0.0},
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


# The adaptive one


def turned(**amounts: Any) -> Tensor:
    """What the adaptive augmentation makes of images if exactly these of its changes are made, with these amounts."""
    made = augmentation("adaptive", start=0.5, flips=True)
    noise = {"chosen": torch.ones(6, 9), "amount": torch.zeros(6, 9)}
    for place, amount in amounts.items():
        noise["chosen"][:, int(place[1:])], noise["amount"][:, int(place[1:])] = 0.0, amount
    return made(images((1, 28, 28)), noise)


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ({}, lambda x: x),
        ({"_5": 1.0}, lambda x: x.flip(3)),
        ({"_5": -1.0}, lambda x: x),
        ({"_2": 6.0}, lambda x: x.rot90(1, (2, 3))),  # 6 times 15 degrees
        ({"_2": 12.0}, lambda x: x.flip(2, 3)),
        ({"_6": 1.5}, lambda x: x + 0.3),
        ({"_7": 2.0}, lambda x: 2 * x),
    ],
)
def test_each_adaptive_change_is_what_it_is_called(amounts: dict[str, float], expected: Any) -> None:
    torch.testing.assert_close(turned(**amounts), expected(images((1, 28, 28))), rtol=0, atol=1e-4)


def test_pixels_from_beyond_the_border_are_mirrored() -> None:
    x = images((1, 28, 28))
    moved = turned(_3=1.0)  # an eighth of the image: 3.5 pixels
    torch.testing.assert_close(moved[..., :-4], (x[..., 3:-1] + x[..., 4:])[..., : 28 - 4] / 2, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        moved[..., -1], (x[..., 23] + x[..., 24]) / 2, rtol=0, atol=1e-5
    )  # 30.5 is 23.5 mirrored


def test_saturation_is_of_colours_alone() -> None:
    made = augmentation("adaptive", start=0.5)
    noise = {"chosen": torch.ones(6, 9), "amount": torch.ones(6, 9)}
    noise["chosen"][:, 8] = 0.0
    for channels in (1, 3):
        x = images((channels, 5, 4))
        grey = x.mean(1, keepdim=True)
        torch.testing.assert_close(made(x, noise), 2 * (x - grey) + grey, rtol=0, atol=1e-5)


def test_resampling_is_that_of_torch_within_the_image_and_can_be_differentiated_twice() -> None:
    x = torch.nn.functional.pad(images((3, 6, 9)), (3, 3, 3, 3))
    placement = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0)) * 0.1 + torch.eye(2, 3)
    grid = torch.nn.functional.affine_grid(placement, list(x.shape), align_corners=False)
    theirs = torch.nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)
    inside = (slice(None), slice(None), slice(3, -3), slice(3, -3))
    near = (grid.abs() < 0.9).all(-1).unsqueeze(1)[inside[0], :, 3:-3, 3:-3].expand(-1, 3, -1, -1)
    torch.testing.assert_close(resample(x, placement)[inside][near], theirs[inside][near], rtol=0, atol=1e-5)
    small = images((2, 3, 4), 2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda y: resample(y, placement[:2].double()), (small,))
    assert torch.autograd.gradgradcheck(lambda y: resample(y, placement[:2].double()).square(), (small,))


def test_the_strength_follows_the_signs_of_real_logits() -> None:
    """Karras et al. 2020, section 3.1: up or down by the images seen, over those that it takes from 0 to 1."""
    made: Any = augmentation("adaptive", start=0.0, target=0.6, images=64, most=0.4)

    def see(logits: Tensor) -> float:
        made.observe(SimpleNamespace(real_output=Output(logits=logits)))
        made.after_step("discriminator", {})
        return float(made.strength)

    for value, strength in ((1.0, 0.25), (1.0, 0.4), (-1.0, 0.15), (-1.0, 0.0), (1.0, 0.25)):
        assert see(torch.full((16,), value)) == pytest.approx(strength)
    for share, rises in ((0.55, False), (0.75, False), (0.85, True)):  # of real images that are taken for real
        made = augmentation("adaptive", images=1000, start=0.2, target=0.6)
        logits = torch.where(torch.arange(100) < 100 * share, 1.0, -1.0)
        assert see(logits) == pytest.approx(0.3 if rises else 0.1)


def test_as_many_images_are_changed_as_the_strength_says() -> None:
    made = augmentation("adaptive", start=0.3, colour=False)
    x = images((1, 8, 8)).repeat(500, 1, 1, 1)
    noise = {"chosen": torch.rand(3000, 9), "amount": torch.randn(3000, 9)}
    same = (made(x, noise) - x).abs().amax((1, 2, 3)) < 1e-4
    assert same.double().mean().item() == pytest.approx(0.7**5, abs=0.03)  # five changes of place


def test_numbers_of_the_adaptive_one_may_follow_schedules() -> None:
    made: Any = augmentation(
        "adaptive", start=torch.tensor(0.2), target=torch.tensor(0.6), images=10, most=torch.tensor(0.5)
    )
    made.observe(SimpleNamespace(real_output=Output(logits=torch.ones(4))))
    made.after_step("discriminator", {})
    assert made.strength.item() == pytest.approx(0.5)
