"""Losses and penalties composed: which terms, of which passes, with which gradients."""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from conftest import terms_of
from torch import Tensor, nn

from ganzoo.config import Spec, Variant, assemble
from ganzoo.errors import UsageError
from ganzoo.registry import augmentations, discriminators, encoders, generators, losses, penalties, terms
from ganzoo.training.state import Player
from ganzoo.zoo.batch import Batch, Draw, Noise
from ganzoo.zoo.build import build_objective, scheduled_parts
from ganzoo.zoo.losses import Loss
from ganzoo.zoo.networks.common import Output
from ganzoo.zoo.objectives.adversarial import Adversarial
from ganzoo.zoo.objectives.base import Objective, Parts
from ganzoo.zoo.objectives.bidirectional import Bidirectional
from ganzoo.zoo.objectives.clustering import Clustering
from ganzoo.zoo.terms.base import Penalty, Term, Turn, as_term

SHAPE = (1, 8, 8)
CLASSES = 3
LATENT_DIM = 4


def batch(n: int = 6) -> Batch:
    draw = torch.Generator().manual_seed(0)
    return Batch(
        update=0,
        real=torch.rand(n, *SHAPE, generator=draw) * 2 - 1,
        labels=torch.arange(n) % CLASSES,
        z=torch.randn(n, LATENT_DIM, generator=draw),
        fake_labels=(torch.arange(n) + 1) % CLASSES,
        noise=Noise(mix=torch.rand(n, 1, 1, 1, generator=draw)),
    )


def unconditional() -> Batch:
    return replace(batch(), labels=None, fake_labels=None)


def objective(
    loss: str = "non-saturating",
    terms: Sequence[Penalty] = (),
    num_classes: int | None = CLASSES,
    discriminator: nn.Module | None = None,
    **settings: Any,
) -> Objective:
    torch.manual_seed(0)
    game: Loss = losses[loss]()
    network = generators["dcgan"](SHAPE, LATENT_DIM, num_classes, width=4)
    return Adversarial(
        Parts(
            generator=network,
            discriminator=discriminator or discriminators["dcgan"](SHAPE, num_classes, width=4, **settings),
            loss=game,
            terms=[as_term(term) for term in terms],
            conditional=num_classes is not None,
        )
    )


def r1(at: str = "real", **settings: Any) -> Penalty:
    made: Penalty = penalties["gradient"](at=at, **settings)
    return made


class Counting(nn.Module):
    """A discriminator that notes how many images each of its passes had."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.passes: list[int] = []

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        self.passes.append(len(x))
        logits: Tensor = self.network(x, labels)
        return logits


@pytest.mark.parametrize("conditioning", ["concat", "projection"])
@pytest.mark.parametrize("loss", losses.names())
def test_one_pass_over_real_and_fake_gives_what_two_give(loss: str, conditioning: str) -> None:
    made = objective(loss, conditioning=conditioning)
    given = batch()
    fake = made.draw(given)["fake"].detach()
    made.discriminator = Counting(made.discriminator)
    (value,) = terms_of(made, "discriminator", given, {"fake": fake}).values()
    assert made.discriminator.passes == [12]
    network = made.discriminator.network
    expected = made.loss.d(network(given.real, given.labels), network(fake, given.fake_labels))
    torch.testing.assert_close(value, expected)


def test_one_pass_without_labels() -> None:
    made = objective(num_classes=None)
    given = unconditional()
    fake = made.draw(given)["fake"].detach()
    expected = made.loss.d(made.discriminator(given.real), made.discriminator(fake))
    torch.testing.assert_close(terms_of(made, "discriminator", given, {"fake": fake})["adversarial"], expected)


def test_batch_norm_keeps_real_and_fake_apart() -> None:
    """Statistics over both would tell the discriminator of each sample what the others are."""
    network = discriminators["mlp"](SHAPE, CLASSES, width=8)
    network.body.insert(1, nn.BatchNorm1d(8))
    counting = Counting(network)
    made = objective(discriminator=counting)
    given = batch()
    fake = made.draw(given)["fake"].detach() * 0.1 + 0.5
    value = terms_of(made, "discriminator", given, {"fake": fake})["adversarial"]
    assert counting.passes == [6, 6]
    expected = made.loss.d(network(given.real, given.labels), network(fake, given.fake_labels))
    torch.testing.assert_close(value, expected)
    images, labels = torch.cat([given.real, fake]), torch.cat([torch.arange(6) % 3, (torch.arange(6) + 1) % 3])
    mixed = made.loss.d(*network(images, labels).split(6))
    assert (value - mixed).abs() > 1e-3


def test_a_penalty_a_sample_and_batch_norm_do_not_go_together() -> None:
    with pytest.warns(UserWarning, match=r"computed per sample.*batch norm.*discriminator\.norm=none"):
        objective(terms=[r1()], discriminator=nn.Sequential(nn.BatchNorm2d(1)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        objective(terms=[r1()])
        objective(discriminator=nn.Sequential(nn.BatchNorm2d(1)))


class WithHeads(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Output:
        return Output(logits=self.network(x, labels), features=x.flatten(1))


@pytest.mark.parametrize("loss", ["hinge", "relativistic-pairing"])
def test_a_discriminator_with_heads_plays_the_same_game(loss: str) -> None:
    plain = objective(loss, [r1(), r1("interpolates", target=1.0)])
    heads = objective(loss, [r1(), r1("interpolates", target=1.0)], discriminator=WithHeads(plain.discriminator))
    given = batch()
    torch.testing.assert_close(terms_of(heads, "discriminator", given), terms_of(plain, "discriminator", given))
    torch.testing.assert_close(terms_of(heads, "generator", given), terms_of(plain, "generator", given))


@pytest.mark.parametrize("loss", losses.names())
def test_the_generators_loss_moves_the_generator_only(loss: str) -> None:
    made = objective(loss)
    given = batch()
    player = Player("generator", made, Spec("adam", lr=0.1))
    with player.alone():
        (value,) = terms_of(made, "generator", given).values()
        value.backward()  # type: ignore[no-untyped-call]
    assert {name for name, value in made.discriminator.named_parameters() if value.grad is not None} == set()
    gradients = [value.grad for value in made.generator.parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
    assert all(value.requires_grad for value in made.discriminator.parameters())  # thawed again


@pytest.mark.parametrize("loss", losses.names())
def test_the_discriminators_loss_moves_the_discriminator_only(loss: str) -> None:
    made = objective(loss, [r1()])
    given = batch()
    torch.stack(list(terms_of(made, "discriminator", given).values())).sum().backward()  # type: ignore[no-untyped-call]
    assert all(value.grad is None for value in made.generator.parameters())
    assert all(value.grad is not None for value in made.discriminator.parameters())


@pytest.mark.parametrize("loss", losses.names())
def test_the_generators_loss_is_the_games(loss: str) -> None:
    made = objective(loss)
    given = batch()
    fake = made.draw(given)["fake"]
    real_logits = made.discriminator(given.real, given.labels)
    expected = made.loss.g(real_logits, made.discriminator(fake, given.fake_labels))
    torch.testing.assert_close(terms_of(made, "generator", given, {"fake": fake}), {"adversarial": expected})


def test_terms_are_named_and_a_second_of_a_name_is_numbered() -> None:
    made = objective(terms=[r1(), r1("fake"), r1(weight=3.0), r1(weight=5.0)])
    given = batch()
    terms = terms_of(made, "discriminator", given)
    assert list(terms) == ["adversarial", "gradient_real", "gradient_fake", "gradient_real_2", "gradient_real_3"]
    torch.testing.assert_close(terms["gradient_real_3"], 5 * terms["gradient_real"])
    assert all(value.shape == () for value in terms.values())


def test_the_noise_asked_for_is_that_of_all_penalties() -> None:
    assert objective().noise == {}
    asked = objective(terms=[r1(), r1("interpolates"), r1("perturbed")]).noise
    assert asked == {"mix": Draw("uniform", (1, 1, 1)), "pixels": Draw("normal", "image")}


@pytest.mark.parametrize("loss", losses.names())
def test_half_precision_passes_end_in_float32_losses_and_penalties(loss: str) -> None:
    made = objective(loss, [r1()], num_classes=None)  # a label's embedding would make the logits float32 again
    seen: list[torch.dtype] = []
    head = made.discriminator.get_submodule("head")
    head.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    given = unconditional()
    with torch.autocast("cpu", torch.bfloat16):
        drawn = made.draw(given)
        terms = {**terms_of(made, "discriminator", given, drawn), **terms_of(made, "generator", given, drawn)}
    # The game, the penalty, and the generator's game, of which some have two passes.
    assert seen == [torch.bfloat16, torch.float32, *[torch.bfloat16] * (1 + made.loss.g_needs_real)]
    assert {value.dtype for value in terms.values()} == {drawn["fake"].dtype} == {torch.float32}


# networks that break their signatures


def custom(generator: str = "mlp", discriminator: str = "mlp", *, conditional: bool = False) -> Any:
    variant = Variant(generator=Spec(generator), discriminator=Spec(discriminator), conditional=conditional)
    return assemble(variant).with_facts(image_shape=SHAPE, num_classes=CLASSES)


@pytest.mark.usefixtures("registries")
def test_a_network_of_the_wrong_shape_is_named() -> None:
    @generators.register("throw-away")
    class FlatGenerator(nn.Module):
        def __init__(self, image_shape: Any, latent_dim: int, num_classes: int | None) -> None:
            super().__init__()

        def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
            return torch.zeros(len(z), 64)

    @discriminators.register("throw-away")
    class ColumnDiscriminator(nn.Module):
        def __init__(self, image_shape: Any, num_classes: int | None, *, heads: bool = False) -> None:
            super().__init__()
            self.heads = heads

        def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor | Output:
            logits = torch.zeros(len(x), 1)
            return Output(logits=logits) if self.heads else logits

    build_objective(custom())
    with pytest.raises(UsageError, match=r"generator 'throw-away' drew images of shape \[2, 64\].*\[2, 1, 8, 8\]"):
        build_objective(custom(generator="throw-away"))
    for settings in ({}, {"heads": True}):
        config = custom()
        changed = config.variant.model_copy(update={"discriminator": Spec("throw-away", **settings)})
        with pytest.raises(UsageError, match=r"discriminator 'throw-away' returned logits of shape \[2, 1\].*\[2\]"):
            build_objective(config.model_copy(update={"variant": changed}))


@pytest.mark.parametrize("conditional", [False, True])
def test_building_checks_in_eval_mode_and_leaves_training_mode(conditional: bool) -> None:
    made = build_objective(custom(conditional=conditional))
    assert made.training
    assert made.generator.training
    statistics = [value for name, value in made.named_buffers() if name.endswith("num_batches_tracked")]
    assert statistics
    assert not any(statistics)


def test_networks_need_to_know_their_data() -> None:
    with pytest.raises(UsageError, match=r"the images' shape is not known"):
        build_objective(assemble("gan"))


# augmentations, pairs


class Noting(nn.Module):
    """A discriminator that keeps the images that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        self.seen.append(x.detach())
        return self.weight * x.flatten(1).square().mean(1)


def test_augmentations_stand_in_front_of_the_discriminator_wherever_it_is_called() -> None:
    made = Adversarial(
        Parts(
            generator=generators["dcgan"](SHAPE, LATENT_DIM, None, width=4),
            discriminator=Noting(),
            loss=losses["relativistic-pairing"](),
            terms=[as_term(r1(weight=0.1))],
            augmentations=[augmentations["translation"](reach=0.25), augmentations["cut-out"]()],
        )
    )
    assert {key.split(" ", 1)[1] for key in made.noise} == {
        "real move",
        "fake move",
        "real place",
        "fake place",
    }
    draw = torch.Generator().manual_seed(1)
    noise = Noise({name: torch.rand(6, *value.shape, generator=draw) for name, value in made.noise.items()})
    given = replace(unconditional(), noise=noise)
    drawn = {"fake": made.draw(given)["fake"].detach()}
    real, fake = made.augmented(given.real, given, "real"), made.augmented(drawn["fake"], given, "fake")
    assert not torch.equal(real, given.real)
    assert not torch.equal(made.augmented(given.real, given, "fake"), real)  # each kind has draws of its own
    discriminator = made.discriminator
    assert isinstance(discriminator, Noting)
    terms_of(made, "discriminator", given, drawn)
    game, penalty = discriminator.seen
    assert torch.equal(game, torch.cat([real, fake]))
    assert torch.equal(penalty, real)
    discriminator.seen.clear()
    terms_of(made, "generator", given, drawn)
    assert all(map(torch.equal, discriminator.seen, [real, fake]))


def test_the_generator_learns_through_the_augmentations() -> None:
    config = custom().model_copy()
    recipe = config.variant.model_copy(update={"augmentations": (Spec("translation"), Spec("colour", strength=0.5))})
    made = build_objective(config.model_copy(update={"variant": recipe}).resolve())
    draw = torch.Generator().manual_seed(1)
    noise = Noise({name: torch.rand(6, *value.shape, generator=draw) for name, value in made.noise.items()})
    given = replace(unconditional(), noise=noise, z=torch.randn(6, 64))
    (value,) = terms_of(made, "generator", given).values()
    value.backward()  # type: ignore[no-untyped-call]
    assert all(value.grad is not None and value.grad.isfinite().all() for value in made.generator.parameters())


class Pairs(nn.Module):
    """A discriminator of pairs that keeps what it sees; its logit is a product of sums."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, labels: Tensor | None, z: Tensor) -> Tensor:
        self.seen.append((x.detach(), z.detach()))
        return self.weight * x.flatten(1).mean(1) * z.sum(1)


@pytest.mark.parametrize("loss", ["non-saturating", "wasserstein", "least-squares"])
def test_bigan_judges_pairs_of_image_and_latent(loss: str) -> None:
    """Real pairs are (x, E(x)) and generated ones (G(z), z); the generator's loss exchanges the two."""
    encoder = encoders["mlp"](SHAPE, LATENT_DIM, None, width=8)
    parts = Parts(
        generator=generators["mlp"](SHAPE, LATENT_DIM, None, width=8),
        discriminator=Pairs(),
        encoder=encoder,
        loss=losses[loss](),
    )
    made, given = Bidirectional(parts), unconditional()
    made.eval()
    drawn = made.draw(given)
    images, encoded = made.generator(given.z), encoder(given.real)
    torch.testing.assert_close(drawn, {"fake": images, "encoded": encoded})
    real = given.real.flatten(1).mean(1) * encoded.sum(1)
    fake = images.flatten(1).mean(1) * given.z.sum(1)
    (value,) = terms_of(made, "discriminator", given, drawn).values()
    torch.testing.assert_close(value, made.loss.d(real, fake))
    (value,) = terms_of(made, "generator", given, drawn).values()
    torch.testing.assert_close(value, made.loss.d(fake, real))
    discriminator = made.discriminator
    assert isinstance(discriminator, Pairs)
    for x, z in discriminator.seen:
        torch.testing.assert_close(x, torch.cat([given.real, images]))
        torch.testing.assert_close(z, torch.cat([encoded, given.z]))
    value.backward()  # type: ignore[no-untyped-call]
    owned = made.owned_by("generator")
    assert {name.split(".")[0] for name in owned} == {"generator", "encoder"}
    assert all(parameter.grad is not None for parameter in owned.values())
    assert made.networks.keys() == {"generator", "discriminator", "encoder"}
    assert made.averaged.keys() == {"generator", "encoder"}


def test_a_term_of_the_generator_is_due_by_the_generators_updates() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Lazy(Term):
        every: int = 3
        term = "lazy"
        players = ("generator",)

        def __call__(self, turn: Turn) -> Tensor:
            return turn.fake.logits.mean()

    made = objective(terms=[])
    made.added["lazy"] = Lazy()
    assert [made.due("generator", update) for update in range(4)] == [("lazy",), (), (), ("lazy",)]
    assert made.due("discriminator", 0) == ()
    given = batch()
    value = terms_of(made, "generator", given)["lazy"]
    fake = made.discriminator(made.draw(given)["fake"], given.fake_labels)
    torch.testing.assert_close(value, 3 * fake.mean())


def test_the_generator_learns_from_the_share_of_its_images_that_look_most_real() -> None:
    """The loss is of the better three of 6 images, each with the real one at its place."""
    for name in ("non-saturating", "relativistic-pairing"):
        whole = objective(name, num_classes=None)
        half = Adversarial(
            Parts(generator=whole.generator, discriminator=whole.discriminator, loss=whole.loss), top_k=0.5
        )
        given = unconditional()
        drawn = whole.draw(given)
        fake, real = (whole.discriminator(images) for images in (drawn["fake"], given.real))
        best = fake.argsort(descending=True)[:3]
        expected = whole.loss.g(real[best], fake[best])
        torch.testing.assert_close(terms_of(half, "generator", given, drawn)["adversarial"], expected)


def test_a_generator_weight_of_0_leaves_it_to_its_terms() -> None:
    made = objective(num_classes=None)
    parts = Parts(generator=made.generator, discriminator=made.discriminator, loss=made.loss)
    given, values = unconditional(), {}
    for weight in (0.0, 0.5, 1.0):
        values[weight] = terms_of(Adversarial(parts, generator_weight=weight), "generator", given)["adversarial"]
    assert values[0.0] == 0
    torch.testing.assert_close(2 * values[0.5], values[1.0])


class Remembering(Term, nn.Module):
    """A term with a parameter of its own, which only the discriminator's steps train."""

    term = "remembering"
    players = ("discriminator", "generator")
    trained_by = ("discriminator",)

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def attach(self, networks: Mapping[str, nn.Module], num_classes: int | None) -> None:
        self.vectors = nn.Parameter(torch.zeros(num_classes or 0, len(networks)))

    def __call__(self, turn: Turn) -> Tensor:
        assert set(turn.networks) == {"generator", "discriminator"}
        return self.vectors.sum()


def test_a_term_makes_its_parameters_from_what_it_is_attached_to_and_names_who_trains_them() -> None:
    made = Adversarial(
        Parts(
            generator=generators["mlp"](SHAPE, LATENT_DIM, None, width=4),
            discriminator=discriminators["mlp"](SHAPE, None, width=4),
            loss=losses["hinge"](),
            terms=[Remembering()],
            num_classes=7,
        )
    )
    assert made.owned_by("discriminator")["stateful.remembering.vectors"].shape == (7, 2)
    assert "stateful.remembering.vectors" not in made.owned_by("generator")
    assert terms_of(made, "generator", unconditional())["remembering"] == 0


def test_a_clustering_encoder_finds_latents_and_code_of_what_was_drawn() -> None:
    class Known(nn.Module):
        """Answers with latents that are off by 1, and a code that knows nothing."""

        def __init__(self) -> None:
            super().__init__()
            self.z = nn.Parameter(batch().z + 1)

        def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
            return torch.cat([self.z, torch.zeros(len(images), CLASSES)], dim=1)

    made = Clustering(
        Parts(
            generator=generators["mlp"](SHAPE, LATENT_DIM, CLASSES, width=4),
            discriminator=discriminators["mlp"](SHAPE, None, width=4),
            loss=losses["hinge"](),
            encoder=Known(),
        ),
        latent_weight=3.0,
        code_weight=2.0,
    )
    given = replace(batch(), labels=None)
    values = terms_of(made, "generator", given)
    assert values["latents"].item() == pytest.approx(3.0)
    assert values["code"].item() == pytest.approx(2 * math.log(CLASSES))
    assert terms_of(made, "discriminator", given).keys() == {"adversarial"}
    assert "encoder.z" in made.owned_by("generator")


def test_balanced_consistency_stands_behind_one_draw_of_the_augmentations() -> None:
    """With T that changes nothing the term is 0, whatever stands in front of the discriminator."""
    made = Adversarial(
        Parts(
            generator=generators["mlp"](SHAPE, LATENT_DIM, None, width=4),
            discriminator=discriminators["mlp"](SHAPE, None, width=4),
            loss=losses["hinge"](),
            terms=[as_term(terms["consistency"](weight=0.0, fake_weight=1.0))],
            augmentations=[augmentations["instance-noise"](strength=1.0)],
        )
    )
    given = unconditional()
    draw = torch.Generator().manual_seed(0)
    noise = {
        name: torch.full((6, 2), 0.5) if "consistency" in name else torch.randn(6, *SHAPE, generator=draw)
        for name in made.noise
    }
    values = terms_of(made, "discriminator", replace(given, noise=Noise(noise)))
    assert values["consistency"].item() == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("ends", [(0.0, 10.0), (10.0, 0.0)])
def test_a_weight_of_consistency_may_follow_a_schedule_from_or_to_0(ends: tuple[float, float]) -> None:
    settings = [f"terms=[{{name='consistency', fake_weight={{from={ends[0]}, to={ends[1]}, over=4}}}}]"]
    config = assemble("gan", settings=["train.steps=5", "data.source=array", *settings])
    config = config.with_facts(image_shape=SHAPE, num_classes=CLASSES)
    made = build_objective(config)
    parts = scheduled_parts(config, made)
    for step in (0, 2, 4):
        for part in parts:
            part.apply(step, torch.device("cpu"))
        noise = Noise({name: torch.rand(6, *draw.shape) for name, draw in made.noise.items() if draw.shape != "image"})
        given = replace(unconditional(), z=torch.randn(6, 64), noise=noise)
        assert terms_of(made, "discriminator", given)["consistency"].isfinite()


def test_the_best_of_a_batch_are_those_of_a_process() -> None:
    made = objective(num_classes=None)
    parts = Parts(generator=made.generator, discriminator=made.discriminator, loss=made.loss)
    assert "top-k" in Adversarial(parts, top_k=0.5).mixing
    assert "top-k" not in Adversarial(parts).mixing
