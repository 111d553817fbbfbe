"""The gradient penalty, against closed forms in which the samples have gradients of different norms."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import terms_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ganzoo.config import settings_of
from ganzoo.registry import penalties
from ganzoo.zoo.batch import Batch, Noise
from ganzoo.zoo.losses import Wasserstein
from ganzoo.zoo.networks.common import Output
from ganzoo.zoo.objectives.adversarial import Adversarial
from ganzoo.zoo.objectives.base import Parts
from ganzoo.zoo.terms.base import as_term
from ganzoo.zoo.terms.gradient import GradientPenalty

SHAPE = (2, 3, 4)
PLACES = ("real", "fake", "interpolates", "perturbed")
A = torch.linspace(0.1, 2.0, 24).view(SHAPE)  # a weight a pixel
by_place = pytest.mark.parametrize("at", PLACES)


def draws(n: int = 5, seed: int = 0) -> tuple[Batch, Tensor]:
    """A batch whose samples differ in scale, and its fakes."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.arange(1.0, n + 1).view(n, 1, 1, 1)
    batch = Batch(
        update=0,
        real=scale * torch.randn(n, *SHAPE, generator=generator),
        labels=torch.arange(n) % 3,
        z=torch.zeros(n, 2),
        fake_labels=(torch.arange(n) + 1) % 3,
        noise=Noise(
            mix=torch.rand(n, 1, 1, 1, generator=generator), pixels=torch.randn(n, *SHAPE, generator=generator)
        ),
    )
    return batch, scale * torch.randn(n, *SHAPE, generator=generator)


def points(at: str, batch: Batch, fake: Tensor) -> Tensor:
    """Where each kind takes the gradient, as the papers have it."""
    assert batch.noise.mix is not None
    assert batch.noise.pixels is not None
    return {
        "real": batch.real,
        "fake": fake,
        "interpolates": batch.noise.mix * batch.real + (1 - batch.noise.mix) * fake,
        "perturbed": batch.real + 0.5 * batch.real.std() * batch.noise.pixels,
    }[at]


def linear(x: Tensor, labels: Tensor | None = None) -> Tensor:
    """w . x, whose gradient is w at every x."""
    return (A * x).flatten(1).sum(1)


def quadratic(x: Tensor, labels: Tensor | None = None) -> Tensor:
    """a . x^2 / 2, whose gradient is a x: another one for each sample."""
    return 0.5 * (A * x**2).flatten(1).sum(1)


def norms_of_quadratic(x: Tensor) -> Tensor:
    return (A * x).flatten(1).square().sum(1).sqrt()


def penalty(at: str, **settings: Any) -> GradientPenalty:
    made: GradientPenalty = penalties["gradient"](at=at, **settings)
    return made


@by_place
@given(gamma=st.floats(0, 100, width=32), target=st.floats(0.25, 4, width=32))
@settings(max_examples=20)
def test_of_a_linear_critic_it_is_a_function_of_the_weights_norm(at: str, gamma: float, target: float) -> None:
    batch, fake = draws()
    norm = A.norm().item()
    towards_zero = penalty(at, weight=gamma / 2)(linear, batch, fake)
    assert towards_zero.item() == pytest.approx(gamma / 2 * norm**2, rel=1e-5, abs=1e-9)  # R1: gamma/2 |w|^2
    towards_target = penalty(at, weight=gamma, target=target)(linear, batch, fake)
    assert towards_target.item() == pytest.approx(gamma * (norm - target) ** 2, rel=1e-4, abs=1e-6)


@by_place
@pytest.mark.parametrize("target", [0.0, 1.0, 2.5])
def test_each_sample_has_a_norm_of_its_own(at: str, target: float) -> None:
    batch, fake = draws()
    norms = norms_of_quadratic(points(at, batch, fake))
    assert norms.max() > 2 * norms.min()  # a norm of the whole batch, or of a mean gradient, is another number
    expected = 3 * (norms - target).square().mean()
    torch.testing.assert_close(penalty(at, weight=3.0, target=target)(quadratic, batch, fake), expected)


@pytest.mark.parametrize("at", ["real", "fake", "interpolates"])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_batchs_penalty_is_the_mean_of_its_single_samples(at: str, target: float) -> None:
    batch, fake = draws()
    assert batch.labels is not None
    assert batch.fake_labels is not None
    assert batch.noise.mix is not None
    term = penalty(at, target=target)
    singles = [
        term(
            quadratic,
            replace(
                batch,
                real=batch.real[i : i + 1],
                labels=batch.labels[i : i + 1],
                fake_labels=batch.fake_labels[i : i + 1],
                noise=Noise(mix=batch.noise.mix[i : i + 1]),
            ),
            fake[i : i + 1],
        )
        for i in range(len(fake))
    ]
    assert max(singles) > 2 * min(singles)
    torch.testing.assert_close(term(quadratic, batch, fake), torch.stack(singles).mean())


def test_interpolates_lie_between_a_real_and_a_fake_by_hand() -> None:
    """1/4 of real 4 and 3/4 of fake 0 is 1; 3/4 of real 8 and 1/4 of fake -4 is 5; of D = x^2/2 the gradient is x."""
    batch, _ = draws(2)
    batch = replace(
        batch,
        real=torch.tensor([4.0, 8.0]).view(2, 1, 1, 1),
        noise=Noise(mix=torch.tensor([0.25, 0.75]).view(2, 1, 1, 1)),
    )
    fake = torch.tensor([0.0, -4.0]).view(2, 1, 1, 1)
    value = penalty("interpolates", target=1.0, weight=10.0)(
        lambda x, y: 0.5 * x.square().flatten(1).sum(1), batch, fake
    )
    assert value.item() == pytest.approx(10 * ((1 - 1) ** 2 + (5 - 1) ** 2) / 2)


@by_place
def test_the_noise_that_it_asks_for_is_the_noise_that_it_reads(at: str) -> None:
    batch, fake = draws()
    asked = penalty(at).noise
    assert asked == {"interpolates": {"mix"}, "perturbed": {"pixels"}}.get(at, set())
    given_only = Noise(**{name: getattr(batch.noise, name) for name in asked})
    value = penalty(at)(quadratic, replace(batch, noise=given_only), fake)
    torch.testing.assert_close(value, penalty(at)(quadratic, batch, fake))


@by_place
def test_labels_go_along_with_the_points(at: str) -> None:
    batch, fake = draws()
    seen: list[Tensor] = []

    def discriminator(x: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        seen.append(labels)
        return linear(x) * (1.0 + labels)

    value = penalty(at)(discriminator, batch, fake)
    expected = batch.fake_labels if at == "fake" else batch.labels
    assert expected is not None
    torch.testing.assert_close(seen, [expected])
    torch.testing.assert_close(value, A.square().sum() * (1.0 + expected).square().mean())


def test_it_reads_the_logits_of_a_discriminator_with_heads() -> None:
    batch, fake = draws()
    value = penalty("real")(lambda x, y: Output(logits=quadratic(x), features=x.flatten(1)), batch, fake)
    torch.testing.assert_close(value, penalty("real")(quadratic, batch, fake))


@by_place
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_where_the_gradient_is_zero_the_weights_gradient_is_finite(at: str, target: float) -> None:
    """The root of a squared norm has no finite slope at 0, where a critic may well start."""
    batch, fake = draws()
    weight = torch.zeros(SHAPE, requires_grad=True)
    value = penalty(at, target=target)(lambda x, y: (weight * x).flatten(1).sum(1), batch, fake)
    assert value.item() == pytest.approx(target**2, abs=1e-5)
    (gradient,) = torch.autograd.grad(value, weight)
    assert gradient.isfinite().all()


@by_place
def test_its_gradient_reaches_the_weights_and_nothing_else(at: str) -> None:
    """Of R1 for w . x: d/dw gamma/2 |w|^2 = gamma w. Neither the images nor the generator are moved by it."""
    batch, fake = draws()
    weight = A.clone().requires_grad_()
    fake.requires_grad_()
    value = penalty(at, weight=1.5)(lambda x, y: (weight * x).flatten(1).sum(1), batch, fake)
    of_weight, of_fake = torch.autograd.grad(value, [weight, fake], allow_unused=True)
    torch.testing.assert_close(of_weight, 3.0 * A)
    assert of_fake is None
    assert not batch.real.requires_grad


class Critic(torch.nn.Module):
    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return quadratic(x)


@pytest.mark.parametrize("every", [1, 4])
def test_a_lazy_penalty_is_due_at_each_nth_update_and_n_times_as_strong(every: int) -> None:
    batch, fake = draws()
    term = as_term(penalty("real", weight=2.0, every=every))
    objective = Adversarial(
        Parts(generator=torch.nn.Identity(), discriminator=Critic(), loss=Wasserstein(), terms=[term])
    )
    full = penalty("real", weight=2.0)(quadratic, batch, fake)
    for update in range(2 * every + 1):
        terms = terms_of(objective, "discriminator", replace(batch, update=update), {"fake": fake})
        assert ("gradient_real" in terms) == (update % every == 0)
        if "gradient_real" in terms:
            torch.testing.assert_close(terms["gradient_real"], every * full)


def test_its_settings_and_their_defaults() -> None:
    settings = settings_of(penalties["gradient"]).model_fields
    assert settings.keys() == {"at", "target", "power", "one_sided", "weight", "every"}
    assert settings["at"].is_required()
    assert {at: penalty(at).term for at in PLACES} == {at: f"gradient_{at}" for at in PLACES}
    assert penalty("real").per_sample


@by_place
@pytest.mark.parametrize("power", [1.0, 2.0, 3.0, 6.0])
@pytest.mark.parametrize("target", [0.0, 20.0])
@pytest.mark.parametrize("one_sided", [False, True])
def test_a_power_of_the_norms_distance_of_one_or_both_sides(
    at: str, power: float, target: float, one_sided: bool
) -> None:
    """WGAN-div is the sixth power of the norm; WGAN-LP leaves norms below the target alone."""
    batch, fake = draws()
    norms = norms_of_quadratic(points(at, batch, fake))
    assert (norms < 20).any()
    assert (norms > 20).any()
    beyond = (norms - target).clamp(min=0) if one_sided else (norms - target).abs()
    made = penalty(at, weight=2.0, target=target, power=power, one_sided=one_sided)
    torch.testing.assert_close(made(quadratic, batch, fake), 2 * beyond.pow(power).mean(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("power", [1.0, 2.0, 6.0])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_a_flat_discriminator_has_finite_gradients_whatever_the_power(power: float, target: float) -> None:
    batch, fake = draws()
    scale = torch.zeros((), requires_grad=True)
    penalty("real", power=power, target=target)(lambda x, y: scale * linear(x), batch, fake).backward()  # type: ignore[no-untyped-call]
    assert scale.grad is not None
    assert scale.grad.isfinite()
