"""The games, against closed forms on logits made by hand."""

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ganzoo.registry import losses
from ganzoo.zoo.losses import DIVERGENCES, Loss

Values = NDArray[np.float64]


def softplus(x: Values) -> Values:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def log_sigmoid(x: Values) -> Values:
    return -softplus(-x)


def relu(x: Values) -> Values:
    return np.maximum(x, 0)


def log_partition(r: Values, f: Values) -> Values:
    both = np.concatenate([r, f])
    return np.asarray(both.max() + np.log(np.exp(both - both.max()).sum()))


def relativistic_average(a: Values, b: Values) -> Values:
    return np.asarray(-np.mean(log_sigmoid(a - b.mean())) - np.mean(log_sigmoid(a.mean() - b)))


# name -> (d(real, fake), g(real, fake)): a number for each sample before the mean, or one for the batch
FORMS: dict[str, tuple[Callable[[Values, Values], Values], Callable[[Values, Values], Values]]] = {
    "non-saturating": (lambda r, f: -log_sigmoid(r) - log_sigmoid(-f), lambda r, f: -log_sigmoid(f)),
    "minimax": (lambda r, f: -log_sigmoid(r) - log_sigmoid(-f), lambda r, f: log_sigmoid(-f)),
    "least-squares": (lambda r, f: ((r - 1) ** 2 + f**2) / 2, lambda r, f: (f - 1) ** 2 / 2),
    "hinge": (lambda r, f: relu(1 - r) + relu(1 + f), lambda r, f: -f),
    "wasserstein": (lambda r, f: f - r, lambda r, f: -f),
    "margin": (lambda r, f: relu(1 + f) - r, lambda r, f: -f),
    "boundary-seeking": (
        lambda r, f: -log_sigmoid(r) - log_sigmoid(-f),
        lambda r, f: (log_sigmoid(f) - log_sigmoid(-f)) ** 2 / 2,
    ),
    "relativistic-average": (relativistic_average, lambda r, f: relativistic_average(f, r)),
    "softmax": (
        lambda r, f: log_partition(r, f) - r.mean(),
        lambda r, f: log_partition(r, f) - np.concatenate([r, f]).mean(),
    ),
    "f-divergence": (  # Jensen and Shannon's: the first game, less 2 log 2
        lambda r, f: -log_sigmoid(r) - log_sigmoid(-f) - 2 * np.log(2),
        lambda r, f: -log_sigmoid(f) - np.log(2),
    ),
    "relativistic-pairing": (lambda r, f: -log_sigmoid(r - f), lambda r, f: -log_sigmoid(f - r)),
}
BUILT_IN = [name for name in losses if losses.owner(name).startswith("ganzoo.")]
LOGITS = st.integers(1, 9).flatmap(
    lambda n: st.tuples(*[st.lists(st.floats(-30, 30, width=32), min_size=n, max_size=n) for _ in range(2)])
)
by_name = pytest.mark.parametrize("name", BUILT_IN)
# Games in which the two kinds have no mirrored roles, and those in which a logit is not pulled one way only.
ONE_SIDED = ("margin", "softmax")
EITHER_WAY = ("softmax", "boundary-seeking")


def made(name: str) -> Loss:
    loss: Loss = losses[name]()
    return loss


def tensors(*values: Any, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    return [torch.tensor(value, dtype=dtype, requires_grad=True) for value in values]


def test_every_game_has_its_closed_form_here() -> None:
    assert set(FORMS) == set(BUILT_IN)


@by_name
@given(logits=LOGITS)
@settings(max_examples=50)
def test_a_game_is_its_closed_form(name: str, logits: tuple[list[float], list[float]]) -> None:
    real, fake = tensors(*logits)
    d, g = FORMS[name]
    arrays = [np.array(values) for values in logits]
    loss = made(name)
    torch.testing.assert_close(loss.d(real, fake).item(), float(d(*arrays).mean()), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(loss.g(real, fake).item(), float(g(*arrays).mean()), rtol=1e-9, atol=1e-9)


def test_known_values() -> None:
    """Of the papers: at D(x) = 1/2 everywhere the first game is 2 log 2, and so on."""
    zero = torch.zeros(4)
    one = torch.ones(4)
    log2 = float(np.log(2))
    assert made("non-saturating").d(zero, zero).item() == pytest.approx(2 * log2)
    assert made("minimax").g(None, zero).item() == pytest.approx(-log2)
    assert made("least-squares").d(one, zero).item() == 0
    assert made("least-squares").g(None, one).item() == 0
    assert made("hinge").d(one, -one).item() == 0
    assert made("hinge").d(zero, zero).item() == 2
    assert made("wasserstein").d(2 * one, -one).item() == -3
    assert made("relativistic-pairing").d(one, one).item() == pytest.approx(log2)


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name not in ONE_SIDED])
@given(logits=LOGITS)
@settings(max_examples=25)
def test_the_discriminators_game_is_symmetric(name: str, logits: tuple[list[float], list[float]]) -> None:
    """Real and fake change places where their logits are mirrored: at 0, of least squares at 1/2."""
    real, fake = tensors(*logits)
    twice_middle = 1 if name == "least-squares" else 0
    mirrored = made(name).d(twice_middle - fake, twice_middle - real)
    torch.testing.assert_close(made(name).d(real, fake), mirrored)


@by_name
def test_the_order_of_a_batch_does_not_matter(name: str) -> None:
    real, fake = tensors([0.3, -1.0, 2.0], [1.5, 0.2, -0.7])
    order = torch.tensor([2, 0, 1])
    for player in (made(name).d, made(name).g):
        torch.testing.assert_close(player(real, fake), player(real[order], fake[order]))


@pytest.mark.parametrize("name", ["wasserstein", "relativistic-pairing"])
def test_games_of_differences_ignore_a_common_shift(name: str) -> None:
    real, fake = tensors([0.3, -1.0, 2.0], [1.5, 0.2, -0.7])
    torch.testing.assert_close(made(name).d(real, fake), made(name).d(real + 5, fake + 5))


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name not in EITHER_WAY])
@given(logits=st.lists(st.tuples(*[st.floats(0.05, 0.9)] * 2), min_size=1, max_size=5))
@settings(max_examples=25)
def test_each_player_pulls_its_way(name: str, logits: list[tuple[float, float]]) -> None:
    """Of every sample: the discriminator wants real logits up and fake ones down, the generator fake ones up."""
    real, fake = tensors(*map(list, zip(*logits, strict=True)))
    of_real, of_fake = torch.autograd.grad(made(name).d(real, fake), [real, fake])
    assert (of_real < 0).all()
    assert (of_fake > 0).all()
    (of_fake,) = torch.autograd.grad(made(name).g(real, fake), [fake])
    assert (of_fake < 0).all()


@by_name
@given(signs=st.lists(st.tuples(*[st.sampled_from([-1e4, -90.0, 0.0, 90.0, 1e4])] * 2), min_size=1, max_size=4))
@settings(max_examples=25)
def test_extreme_logits_stay_finite(name: str, signs: list[tuple[float, float]]) -> None:
    real, fake = tensors(*map(list, zip(*signs, strict=True)), dtype=torch.float32)
    for value in (made(name).d(real, fake), made(name).g(real, fake)):
        assert value.isfinite()
        gradients = torch.autograd.grad(value, [real, fake], allow_unused=True)
        assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


@by_name
def test_an_answer_is_one_float32_number(name: str) -> None:
    real, fake = tensors([1.0, 2.0], [3.0, 4.0], dtype=torch.float32)
    for value in (made(name).d(real, fake), made(name).g(real, fake)):
        assert (value.shape, value.dtype) == ((), torch.float32)


@by_name
def test_the_generator_is_given_real_logits_exactly_in_relativistic_games(name: str) -> None:
    loss = made(name)
    assert loss.g_needs_real == (name.startswith("relativistic") or name == "softmax")
    real, fake = tensors([1.0, -2.0], [3.0, 4.0])
    if loss.g_needs_real:
        assert loss.g(real, fake) != loss.g(real + 1, fake)
    else:
        assert loss.g(None, fake) == loss.g(real, fake)


@by_name
def test_a_game_is_a_frozen_value(name: str) -> None:
    assert made(name) == made(name)
    with pytest.raises(FrozenInstanceError):
        made(name).g_needs_real = True  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "f"),
    {
        "kl": lambda u: u * np.log(u),
        "reverse-kl": lambda u: -np.log(u),
        "pearson": lambda u: (u - 1) ** 2,
        "squared-hellinger": lambda u: (np.sqrt(u) - 1) ** 2,
        "jensen-shannon": lambda u: -(u + 1) * np.log((1 + u) / 2) + u * np.log(u),
    }.items(),
)
@pytest.mark.parametrize("logit", [-1.5, -0.4, 0.3, 1.2])
def test_a_conjugate_is_the_supremum_that_defines_it(name: str, f: Callable[[Values], Values], logit: float) -> None:
    """f*(t) = sup over u of u t - f(u), by search over u; table 1 of the f-GAN paper has the functions f."""
    u = np.exp(np.linspace(-12, 12, 2_000_001))
    row, v = DIVERGENCES[name], torch.tensor(logit, dtype=torch.float64)
    supremum = float((u * row.activation(v).item() - f(u)).max())
    assert row.conjugate(v).item() == pytest.approx(supremum, abs=1e-6)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@given(logits=LOGITS)
@settings(max_examples=10)
def test_an_f_divergence_of_equals_is_at_most_0(divergence: str, logits: tuple[list[float], list[float]]) -> None:
    """D(P, P) = 0, and what the discriminator reaches is a lower bound of it."""
    (same,) = tensors(np.clip(logits[0], -3, 3))
    assert losses["f-divergence"](divergence=divergence).d(same, same).item() >= -1e-9


def test_the_softmax_game_moves_each_logit_by_how_far_its_share_is_from_its_target() -> None:
    """The gradient of a cross-entropy: p_i - t_i, with t uniform over the real images, or over all."""
    real, fake = tensors([0.3, -1.0, 2.0], [1.5, 0.2, -0.7])
    shares = torch.cat([real, fake]).softmax(0)
    for player, targets in (("d", [1 / 3] * 3 + [0.0] * 3), ("g", [1 / 6] * 6)):
        gradients = torch.autograd.grad(getattr(made("softmax"), player)(real, fake), [real, fake])
        torch.testing.assert_close(torch.cat(gradients), shares - torch.tensor(targets, dtype=torch.float64))


@pytest.mark.parametrize("name", ["non-saturating", "minimax", "boundary-seeking"])
def test_label_smoothing_is_the_cross_entropy_of_softer_targets(name: str) -> None:
    real, fake = tensors([0.3, -1.0, 2.0], [1.5, 0.2, -0.7])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(real, torch.full_like(real, 0.9))
    expected = expected + torch.nn.functional.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    torch.testing.assert_close(losses[name](smoothing=0.1).d(real, fake), expected)


def test_least_squares_has_three_targets() -> None:
    real, fake = tensors([0.3, -1.0], [1.5, 0.2])
    game = losses["least-squares"](a=-1.0, b=1.0, c=0.0)  # the paper's eq. 8
    torch.testing.assert_close(game.d(real, fake), ((real - 1) ** 2).mean() / 2 + ((fake + 1) ** 2).mean() / 2)
    torch.testing.assert_close(game.g(None, fake), (fake**2).mean() / 2)
