"""The terms, against closed forms: clipped weights, heads that are perfect or know nothing, an equilibrium by hand."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ganzoo.registry import losses, terms
from ganzoo.zoo.batch import Batch, Noise
from ganzoo.zoo.networks.common import Output
from ganzoo.zoo.terms.base import PlayerName, Term, Turn, as_term
from ganzoo.zoo.terms.equilibrium import Equilibrium

N, CLASSES = 30, 10


def turn(player: PlayerName = "discriminator", *, uniform_codes: int = 0, **outputs: Tensor) -> Turn:
    """A turn in which the discriminator gave these outputs, of fake images; of real ones as `real_<head>`."""
    fake = {name: value for name, value in outputs.items() if not name.startswith("real_")}
    real = {name.removeprefix("real_"): value for name, value in outputs.items() if name.startswith("real_")}
    images = torch.zeros(N, 1, 2, 2)
    return Turn(
        player=player,
        batch=Batch(
            update=0,
            real=images,
            labels=torch.arange(N) % CLASSES,
            z=torch.linspace(-1, 1, N * 5).view(N, 5),
            fake_labels=(torch.arange(N) + 3) % CLASSES,
            noise=Noise(),
        ),
        drawn={"fake": images},
        real=output(real) if player == "discriminator" else None,
        fake=output(fake),
        discriminator=lambda images, labels: torch.zeros(N),
        uniform_codes=uniform_codes,
    )


def output(heads: dict[str, Tensor]) -> Output:
    return Output(logits=heads.get("logits", torch.zeros(N)), classes=heads.get("classes"), codes=heads.get("codes"))


def term(name: str, **settings: Any) -> Term:
    return as_term(terms[name](**settings))


def perfect(labels: Tensor) -> Tensor:
    """Logits of a head that is sure and right."""
    return 100.0 * nn.functional.one_hot(labels, CLASSES)


def value_of(made: Term, seen: Turn) -> float:
    value = made(seen)
    assert value is not None
    assert value.shape == ()
    return value.item()


@given(weights=st.lists(st.floats(-5, 5, width=32), min_size=1), bound=st.floats(2**-10, 2, width=32))
def test_clipping_brings_weights_into_their_bounds_and_leaves_others(weights: list[float], bound: float) -> None:
    critic, generator = nn.Linear(len(weights), 1), nn.Linear(2, 1)
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([weights]))
    before = [value.clone() for value in generator.parameters()]
    made = term("weight-clipping", bound=bound)
    assert made(turn()) is None
    made.after_step("discriminator", {"discriminator": critic, "generator": generator})
    torch.testing.assert_close(critic.weight.detach(), torch.tensor([weights]).clamp(-bound, bound))
    assert all(value.abs().max() <= bound for value in critic.parameters())
    assert all(map(torch.equal, before, generator.parameters()))


def test_a_class_head_that_is_right_costs_nothing_and_one_that_knows_nothing_ln_10() -> None:
    seen = turn()
    right, left = perfect(seen.labels), perfect(seen.fake_labels)
    made = term("classification")
    assert value_of(made, turn(classes=left, real_classes=right)) == pytest.approx(0, abs=1e-6)
    nothing = torch.zeros(N, CLASSES)
    both = value_of(made, turn(classes=nothing, real_classes=nothing))
    assert both == pytest.approx(2 * math.log(10))  # real and fake
    assert value_of(made, turn("generator", classes=nothing)) == pytest.approx(math.log(10))
    assert value_of(term("classification", weight=0.5), turn("generator", classes=nothing)) == pytest.approx(
        math.log(10) / 2
    )


def test_the_bound_of_a_perfect_head_is_ln_10_and_of_one_that_knows_nothing_0() -> None:
    made, labels = term("mutual-information"), turn().fake_labels
    for player in ("discriminator", "generator"):
        seen = turn(player, codes=perfect(labels))
        assert value_of(made, seen) == pytest.approx(-math.log(10), abs=1e-6)
        seen = turn(player, codes=torch.zeros(N, CLASSES))
        assert value_of(made, seen) == pytest.approx(0, abs=1e-6)


def test_a_term_that_reads_what_it_has_not_declared_is_shown_what_to_declare() -> None:
    seen = turn("generator")
    seen = replace(seen, batch=replace(seen.batch, labels=None, fake_labels=None))
    for name in ("labels", "labelled", "fake_labels"):
        with pytest.raises(AssertionError, match=f"declares needs_{name} = True"):
            getattr(seen, name)


@pytest.mark.parametrize("off", [0.0, 0.3, 1.0])
def test_the_bound_of_uniform_codes_falls_with_the_squared_error(off: float) -> None:
    """H(c) = ln 2 for each code in [-1, 1]; -ln Q = (c - mu)^2 / 2 + ln sqrt(2 pi)."""
    z = turn().batch.z
    codes = torch.cat([perfect(turn().fake_labels), z[:, -2:] + off], dim=1)
    expected = math.log(10) + 3 * 2 * (math.log(2) - math.log(2 * math.pi) / 2 - off**2 / 2)
    seen = turn(uniform_codes=2, codes=codes)
    assert value_of(term("mutual-information", uniform_weight=3.0), seen) == pytest.approx(-expected, rel=1e-5)


def test_uniform_codes_alone_need_no_labels() -> None:
    seen = turn(uniform_codes=1, codes=torch.zeros(N, 1))
    seen = replace(seen, batch=replace(seen.batch, fake_labels=None))
    assert math.isfinite(value_of(term("mutual-information"), seen))


@pytest.mark.parametrize("k", [0.0, 0.25, 0.999])
def test_began_weighs_the_fake_error_by_k_and_moves_k_by_the_balance(k: float) -> None:
    made = terms["equilibrium"](balance=0.5, rate=0.1, k=k)
    assert isinstance(made, Equilibrium)
    seen = turn(logits=torch.full((N,), -0.2), real_logits=torch.full((N,), -0.8))  # errors of reconstruction
    loss = losses["wasserstein"]().d(seen.real_output.logits, seen.fake.logits).item()
    assert loss + value_of(made, seen) == pytest.approx(0.8 - k * 0.2)  # L(x) - k L(G(z)), eq. of section 3.4
    made.after_step("discriminator", {})
    assert made.k.item() == pytest.approx(min(1.0, k + 0.1 * (0.5 * 0.8 - 0.2)))
    assert value_of(made, seen) == pytest.approx((1 - made.k.item()) * 0.2)


def test_k_stays_between_0_and_1() -> None:
    for real, expected in ((0.0, 0.0), (1e9, 1.0)):
        made = terms["equilibrium"](rate=1.0, k=0.5)
        made(turn(logits=torch.full((N,), -3.0), real_logits=torch.full((N,), -real)))
        made.after_step("discriminator", {})
        assert made.k.item() == expected
