"""The terms, against closed forms: clipped weights, heads that are perfect or know nothing, an equilibrium by hand."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ganzoo.errors import UsageError
from ganzoo.registry import augmentations, losses, terms
from ganzoo.zoo.augment import Augmentation
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
    known = {name: heads.get(name) for name in ("classes", "codes", "features")}
    others = {name: value for name, value in heads.items() if name not in ("logits", *known)}
    return Output(logits=heads.get("logits", torch.zeros(N)), **known, others=others)


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


# Terms of later papers


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_an_image_without_a_label_counts_in_no_classification() -> None:
    seen = turn(classes=torch.zeros(N, CLASSES), real_classes=random(N, CLASSES))
    some = replace(seen, batch=replace(seen.batch, labels=torch.where(torch.arange(N) < 4, seen.labels, -1)))
    expected = nn.functional.cross_entropy(some.real_output["classes"][:4], some.labels[:4]).item() + math.log(10)
    assert value_of(term("classification"), some) == pytest.approx(expected, rel=1e-5)
    none = replace(seen, batch=replace(seen.batch, labels=torch.full((N,), -1)))
    assert value_of(term("classification"), none) == pytest.approx(math.log(10))


def test_feature_matching_is_the_squared_distance_of_mean_features() -> None:
    fake, real = random(N, 4), random(N, 4, seed=1) + 1
    seen = replace(turn("generator", features=fake), real=output({"features": real}))
    expected = 3 * ((real.numpy().mean(0) - fake.numpy().mean(0)) ** 2).mean()
    assert value_of(term("feature-matching", weight=3.0), seen) == pytest.approx(float(expected), rel=1e-5)


def test_images_of_one_direction_are_pulled_away_and_orthogonal_ones_are_not() -> None:
    made = term("pulling-away", weight=2.0)
    alike = torch.linspace(1, 2, N)[:, None] * torch.tensor([[1.0, -2.0, 0.5]])
    assert value_of(made, turn("generator", features=alike)) == pytest.approx(2.0, rel=1e-5)
    assert value_of(made, turn("generator", features=torch.eye(N))) == 0
    features = random(N, 3).double()
    rows = features / features.norm(dim=1, keepdim=True)
    pairs = [float(rows[i] @ rows[j]) ** 2 for i in range(N) for j in range(N) if i != j]
    found = value_of(made, turn("generator", features=features))
    assert found == pytest.approx(2 * sum(pairs) / len(pairs), rel=1e-5)


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_contrastive_classification_is_its_equation_image_by_image(player: PlayerName) -> None:
    made = terms["contrastive-classification"](weight=0.7, temperature=0.4, margin=0.9, embedding=3)
    torch.manual_seed(0)
    made.attach({}, CLASSES)
    fake, real = random(N, 3), random(N, 3, seed=1)
    seen = turn(player, embedding=fake, real_embedding=real)
    images = real if player == "discriminator" else fake
    labels = seen.labels if player == "discriminator" else seen.fake_labels
    proxies = made.proxies.detach()

    def cosine(a: Tensor, b: Tensor) -> float:
        return float(a @ b / a.norm() / b.norm())

    losses_of = []
    for i in range(N):
        positive = math.exp(min(0.0, cosine(images[i], proxies[labels[i]]) - 0.9) / 0.4)
        others = [j for j in range(N) if labels[j] != labels[i]]
        negative = sum(math.exp(max(0.0, cosine(images[i], images[j]) - 0.1) / 0.4) for j in others)
        losses_of.append(-math.log(positive / (positive + negative)))
    assert value_of(made, seen) == pytest.approx(0.7 * sum(losses_of) / N, rel=1e-4)
    assert made.trained_by == ("discriminator",)


@pytest.mark.parametrize(("player", "weight"), [("discriminator", 2.0), ("generator", 0.5)])
def test_rotation_asks_for_the_quarter_turns_of_each_image(player: PlayerName, weight: float) -> None:
    """A discriminator that sees where the one bright corner of an image has gone is right, and costs nothing."""
    made, quarter_turns = term("rotation", weight=2.0, generator_weight=0.5), torch.arange(N) % 4
    images = torch.zeros(N, 1, 4, 4)
    images[:, :, 0, 0] = 1
    corners = ((0, 0), (3, 0), (3, 3), (0, 3))  # of quarter turns against the clock

    def judge(x: Tensor, labels: Tensor | None) -> Output:
        assert x.shape == images.shape
        sure = torch.stack([100 * x[:, 0, row, column] for row, column in corners], dim=1)
        return Output(logits=torch.zeros(N), others={"rotation": sure if perfect_judge else torch.zeros(N, 4)})

    seen = turn(player)
    seen = replace(
        seen,
        batch=replace(seen.batch, real=images, noise=Noise(rotation=quarter_turns)),
        drawn={"fake": images},
        discriminator=judge,
    )
    perfect_judge = True
    assert value_of(made, seen) == pytest.approx(0, abs=1e-6)
    perfect_judge = False
    assert value_of(made, seen) == pytest.approx(weight * math.log(4))


def test_consistency_is_the_squared_change_of_logits_by_an_augmentation() -> None:
    """Noise of instance on D(x) = the sum of pixels: the logits change by the sum of the noise."""
    made = term("consistency", weight=10.0, fake_weight=3.0, augmentation="instance-noise")
    real, fake = random(N, 1, 2, 2), random(N, 1, 2, 2, seed=1)
    noise = {f"consistency {half} noise": random(N, 1, 2, 2, seed=i) for i, half in enumerate(("real", "fake"), 2)}
    assert set(made.noise) == set(noise)

    def judge(x: Tensor, labels: Tensor | None = None) -> Tensor:
        return x.flatten(1).sum(1)

    seen = turn(logits=judge(fake), real_logits=judge(real))
    batch = replace(seen.batch, real=real, noise=Noise(noise))
    seen = replace(seen, batch=batch, drawn={"fake": fake}, discriminator=judge)
    changes = [(0.1 * judge(value)).square().mean().item() for value in noise.values()]
    assert value_of(made, seen) == pytest.approx(10 * changes[0] + 3 * changes[1], rel=1e-4)
    assert not term("consistency").judges_others  # generated images are left out by default


def test_consistency_of_classes_is_the_squared_change_of_their_probabilities() -> None:
    """Instance noise on logits of classes that are an image's own pixels, so that they change by the noise itself."""
    made = term("consistency", weight=0.0, class_weight=5.0, augmentation="instance-noise")
    assert made.heads == ("classes",)
    assert term("consistency").heads == ()
    real, noise = random(N, 1, 2, 2), random(N, 1, 2, 2, seed=1)

    def judge(x: Tensor, labels: Tensor | None = None) -> Output:
        return Output(logits=torch.zeros(N), classes=x.flatten(1))

    seen = turn(real_classes=real.flatten(1))
    changed = Noise({"consistency real noise": noise})
    seen = replace(seen, batch=replace(seen.batch, real=real, noise=changed), discriminator=judge)
    before, after = (x / x.sum(1, keepdim=True) for x in (real.flatten(1).exp(), (real + 0.1 * noise).flatten(1).exp()))
    assert value_of(made, seen) == pytest.approx(5 * (before - after).square().sum(1).mean().item(), rel=1e-4)


def test_consistency_takes_no_augmentation_with_state() -> None:
    class Adaptive(Augmentation, nn.Module):
        def __init__(self) -> None:
            nn.Module.__init__(self)

    name = "adaptive-for-consistency"
    augmentations.register(name)(Adaptive)
    try:
        with pytest.raises(UsageError, match="needs an augmentation without state"):
            assert term("consistency", augmentation=name).noise
    finally:
        del augmentations._entries[name]


def test_lecam_keeps_logits_near_the_averages_of_the_other_kind() -> None:
    made = terms["lecam"](weight=2.0, decay=0.9)
    average: dict[str, float] = {}
    for step in range(3):
        real, fake = random(N, seed=step) + 1, random(N, seed=step + 10) - 1
        for name, mean in (("real", real.mean().item()), ("fake", fake.mean().item())):
            average[name] = 0.9 * average.get(name, mean) + 0.1 * mean  # they begin at the first batch's
        expected = (real - average["fake"]).square().mean() + (fake - average["real"]).square().mean()
        assert value_of(made, turn(logits=fake, real_logits=real)) == pytest.approx(2 * expected.item(), rel=1e-5)
    assert set(made.state_dict()) == {"real", "fake", "begun"}


def test_historical_averaging_is_the_distance_from_the_mean_of_all_former_weights() -> None:
    made = terms["historical-average"](weight=0.5)
    networks = {"discriminator": nn.Linear(3, 2), "generator": nn.Linear(2, 2), "encoder": nn.Linear(1, 1)}
    made.attach(networks, None)
    weights = {role: [network.weight.detach().clone()] for role, network in networks.items()}
    for _ in range(3):
        for role, network in networks.items():
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.add_(1.0)
            weights[role].append(network.weight.detach().clone())
        for player in made.players:
            made.after_step(player, networks)
    # After values w, w + 1, w + 2, w + 3 the mean is w + 1.5; every weight is 1.5 away.
    players: list[tuple[PlayerName, int]] = [("discriminator", 8), ("generator", 6 + 2)]
    for player, count in players:
        seen = replace(turn(player), networks=networks)
        assert value_of(made, seen) == pytest.approx(0.5 * count * 1.5**2, rel=1e-5)


def test_mode_seeking_is_the_inverse_ratio_of_distances() -> None:
    """G(z) = 3 z spreads latents by 3, whatever they are; uniform codes are not changed."""
    made = term("mode-seeking", weight=6.0)
    generator = nn.Linear(5, 5, bias=False)
    with torch.no_grad():
        generator.weight.copy_(3 * torch.eye(5))

    class Labelled(nn.Module):
        def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
            images: Tensor = generator(z)
            return images

    seen = turn("generator", uniform_codes=2)
    z = seen.batch.z
    batch = replace(seen.batch, noise=Noise({"second z": random(N, 3)}))
    seen = replace(seen, batch=batch, drawn={"fake": generator(z)}, networks={"generator": Labelled()})
    assert value_of(made, seen) == pytest.approx(6 / 3, rel=1e-4)
