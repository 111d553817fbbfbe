"""What does not fit together is refused before training, in one line that names what is missing and who has it."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from conftest import terms_of
from torch import Tensor, nn

import ganzoo
from ganzoo import registry
from ganzoo.config import Code, RunConfig, Spec, Variant, assemble
from ganzoo.errors import UsageError
from ganzoo.registry import augmentations, discriminators, encoders, objectives, terms, variants
from ganzoo.zoo.augment import Augmentation
from ganzoo.zoo.batch import Batch, Draw, Noise
from ganzoo.zoo.build import build_discriminator, build_objective
from ganzoo.zoo.networks.common import Output, as_output
from ganzoo.zoo.objectives.base import Objective
from ganzoo.zoo.terms.base import Term, Turn

SHAPE, CLASSES = (1, 8, 8), 3
pytestmark = pytest.mark.usefixtures("registries")


def config(variant: str | Variant = "gan", settings: Sequence[str] = (), **data: Any) -> RunConfig:
    facts = {"image_shape": SHAPE, "num_classes": CLASSES, **data}
    settings = ["train.steps=5", "data.source=array", *settings]
    return assemble(variant, settings=settings).with_facts(**facts)


def refused(message: str, *arguments: Any, **data: Any) -> None:
    with pytest.raises(UsageError, match=message) as told:
        build_objective(config(*arguments, **data))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", variants.names())
def test_every_network_owns_its_parameters_and_shared_heads_have_two_owners(name: str) -> None:
    objective = build_objective(config(name).with_horizon(5))
    everything = dict(objective.named_parameters())
    owned = {player: objective.owned_by(player) for player in ("discriminator", "generator")}
    assert {key: id(value) for player in owned.values() for key, value in player.items()} == {
        key: id(value) for key, value in everything.items()
    }
    both = owned["discriminator"].keys() & owned["generator"].keys()
    shared = {"acgan": "classes", "infogan": "codes"}.get(name)
    assert both == ({f"discriminator.heads.{shared}.{part}" for part in ("weight", "bias")} if shared else set())


# heads


class Plain(nn.Module):
    """A discriminator that builds no heads."""

    def __init__(self, image_shape: Any, num_classes: int | None) -> None:
        super().__init__()
        self.body = nn.Linear(64, 1)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        logits: Tensor = self.body(images.flatten(1)).squeeze(1)
        return logits


@dataclass(frozen=True, kw_only=True)
class Turned(Term):
    """A term with a head of its own."""

    size: int = 4
    term = "turned"

    @property
    def heads(self) -> tuple[tuple[str, int], ...]:  # type: ignore[override]
        return (("turned", self.size),)

    def __call__(self, turn: Turn) -> Tensor:
        return turn.fake["turned"].square().mean()


def test_a_head_that_nobody_builds_is_refused_with_those_who_do() -> None:
    discriminators.register("plain")(Plain)
    those = "use dcgan, mlp, r3gan, resize-conv, resnet"
    settings = ["discriminator=plain"]
    refused(
        f"term 'classification' needs the head 'classes', which .* 'plain' does not build: {those}", "acgan", settings
    )
    refused(f"term 'mutual_information' needs the head 'codes', which .* 'plain'.*{those}", "infogan", settings)
    refused(
        "term 'equilibrium' needs the head 'reconstruction', .*'mlp'.*: use autoencoder$",
        "began",
        ["discriminator=mlp"],
    )
    terms.register("turned")(Turned)
    refused(f"term 'turned' needs the head 'turned', .*{those}", "gan", [*settings, 'terms=["turned"]'])


def test_a_head_of_a_terms_own_is_built_in_the_size_that_it_asks_for() -> None:
    terms.register("turned")(Turned)
    objective = build_objective(config("gan", ['terms=[{name="turned", size=5}]']))
    output = as_output(objective.discriminator(torch.zeros(2, *SHAPE)))
    assert output["turned"].shape == (2, 5)
    with pytest.raises(KeyError, match="no output 'classes'"):
        output["classes"]
    refused("head 'turned' is requested in two sizes: 4 and 5", "gan", ['terms=["turned", {name="turned", size=5}]'])


def test_what_is_not_asked_for_is_not_built() -> None:
    for name in ("mlp", "dcgan", "resize-conv", "resnet", "r3gan"):
        network = build_discriminator(config("gan", [f"discriminator={name}"]))
        assert not any(key.startswith(("heads.", "pair.")) for key in network.state_dict())
        assert isinstance(network(torch.zeros(2, *SHAPE)), Tensor)


def test_features_are_what_the_logits_are_computed_from() -> None:
    @terms.register("reads-features")
    class ReadsFeatures(Term):
        """A term that reads features."""

        term = "reads_features"
        heads = ("features",)

        def __call__(self, turn: Turn) -> Tensor:
            return turn.fake["features"].square().mean()

    network = build_discriminator(config("gan", ['terms=["reads-features"]']))
    output = network(torch.rand(2, *SHAPE))
    head = network.get_submodule("head")
    torch.testing.assert_close(head(output["features"]).squeeze(1), output.logits)


def test_a_discriminator_that_says_it_builds_a_head_has_to() -> None:
    @discriminators.register("boasting")
    class Boasting(Plain):
        """Says that it has classes."""

        offers = frozenset({"classes"})

    refused(
        "'boasting' declares the head 'classes' in `offers`, and its output does not contain it",
        "acgan",
        ["discriminator=boasting"],
    )


def test_heads_of_codes_and_classes_need_codes_and_classes() -> None:
    refused("needs the head 'codes', and there are no codes", "gan", ['terms=["mutual-information"]'])
    refused("'classification' reads labels, and array has none", "gan", ['terms=["classification"]'], num_classes=None)
    refused(
        "'classification' reads the generator's labels, .*conditional=true",
        "gan",
        ['terms=["classification"]'],
    )


# noise, encoders, pairs, schedules


def test_a_noise_that_nobody_draws_is_refused() -> None:
    class Penalty:
        """A penalty of the simple form."""

        term = "odd"
        noise = frozenset({"mixx"})

        def __call__(self, discriminator: Any, batch: Any, fake: Tensor) -> Tensor:
            return fake.mean()

    terms.register("odd")(Penalty)
    refused(
        "term 'odd' requests the noise 'mixx', which is not defined: use one of mix, pixels", "gan", ['terms=["odd"]']
    )


def test_one_name_stands_for_one_noise() -> None:
    @terms.register("mixes-otherwise")
    class MixesOtherwise(Term):
        """A term whose `mix` is another."""

        term = "mixes_otherwise"

        def __init__(self, *, size: int = 2) -> None:
            self.noise = {"mix": Draw("normal", (size,))}

        def __call__(self, turn: Turn) -> Tensor:
            return turn.fake.logits.mean()

    both = ['terms=["mixes-otherwise", {name="gradient", at="interpolates"}]']
    refused("the noise 'mix' is requested in two ways", "gan", both)
    assert build_objective(config("gan", ['terms=["mixes-otherwise"]'])).noise == {"mix": Draw("normal", (2,))}


def test_an_objective_that_encodes_needs_an_encoder_and_others_refuse_one() -> None:
    refused(
        "objective 'bidirectional' needs an encoder: add one with --set encoder=NAME .*mlp", "bigan", ["encoder=none"]
    )
    refused("encoder 'mlp' is not used by the objective 'adversarial': use bidirectional", "gan", ["encoder=mlp"])


def test_an_objective_of_pairs_needs_a_discriminator_that_sees_them() -> None:
    discriminators.register("plain")(Plain)
    refused(
        "needs a discriminator of pairs, and 'plain' sees only images: use dcgan, mlp",
        "bigan",
        ["discriminator=plain"],
    )
    refused("term 'gradient_fake' .*needs pairs", "bigan", ['terms=[{name="gradient", at="fake"}]'])


def test_an_encoder_of_the_wrong_shape_is_named() -> None:
    @encoders.register("flat")
    class Flat(nn.Module):
        """Encodes to nothing of use."""

        def __init__(self, image_shape: Any, latent_dim: int, num_classes: int | None) -> None:
            super().__init__()

        def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
            return images.flatten(1)

    refused(
        r"encoder 'flat' returned \[2, 64\] for 2 images; expected latents \[2, 5\]",
        "bigan",
        ["encoder=flat", "latent_dim=5"],
    )


def test_a_schedule_without_a_horizon_is_refused_with_its_path() -> None:
    scheduled = ["generator_optimizer.lr={from=0.1, to=0.01}"]
    refused(
        r"generator_optimizer\.lr: the schedule from 0\.1 to 0\.01 \(linear\) has no horizon: set over = STEPS",
        "gan",
        scheduled,
    )
    build_objective(config("gan", scheduled).with_horizon(7))


def test_codes_that_cannot_be_asked_for_are_refused() -> None:
    two = (Code(name="a", kind="categorical", size=2), Code(name="b", kind="categorical", size=3))
    parts: dict[str, Any] = {"generator": Spec("mlp"), "discriminator": Spec("mlp")}
    with pytest.raises(UsageError, match="a and b are both categorical"):
        assemble(Variant(codes=two, **parts))
    with pytest.raises(UsageError, match="'a' would be passed as labels, as the classes"):
        assemble(Variant(codes=two[:1], conditional=True, **parts))
    with pytest.raises(UsageError, match="a, a: each needs a different name"):
        assemble(Variant(codes=(two[0], two[0]), **parts))


def test_an_objective_may_come_from_outside() -> None:
    @objectives.register("nothing")
    class Nothing(Objective):
        """Minimises nothing."""

    assert isinstance(build_objective(config("gan", ["objective=nothing"])), Nothing)
    with pytest.raises(UsageError, match="no objective 'nothin'; did you mean 'nothing'"):
        config("gan", ["objective=nothin"])


def test_an_output_is_split_head_by_head() -> None:
    whole = Output(logits=torch.arange(4.0), classes=torch.ones(4, 2), others={"turned": torch.arange(8.0).view(4, 2)})
    first, rest = whole.split(1)
    assert (len(first.logits), len(rest["classes"]), len(rest["turned"])) == (1, 3, 3)
    assert first.codes is None


# terms that would silently go wrong


class Counting(nn.Module):
    """A penalty of the simple form, with state and a weight of its own."""

    term = "counting"
    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, discriminator: Any, batch: Any, fake: Tensor) -> Tensor:
        self.seen += 1
        return self.scale * fake.square().mean()


def test_a_penalty_with_state_keeps_it_in_the_objective() -> None:
    terms.register("counting")(Counting)
    objective = build_objective(config("gan", ['terms=["counting"]']))
    assert "stateful.counting.seen" in objective.state_dict()
    assert "stateful.counting.scale" in objective.owned_by("discriminator")
    assert "stateful.counting.scale" not in objective.owned_by("generator")


def test_a_term_that_would_do_nothing_is_refused() -> None:
    @terms.register("forwards")
    class Forwards(Term, nn.Module):
        """Defines `forward`, which a term is not called by."""

        term = "forwards"

        def __init__(self) -> None:
            nn.Module.__init__(self)

        def forward(self, turn: Turn) -> Tensor:
            return turn.fake.logits.mean()

    refused(r"'forwards' defines neither __call__\(turn\) nor after_step", "gan", ['terms=["forwards"]'])


def test_a_term_may_not_take_the_name_of_the_loss_or_of_the_game() -> None:
    @terms.register("named")
    class Named(Term):
        """A term of any name."""

        def __init__(self, *, called: str) -> None:
            self.term = called

        def __call__(self, turn: Turn) -> Tensor:
            return turn.fake.logits.mean()

    refused("a term cannot be called 'loss'", "gan", ['terms=[{name="named", called="loss"}]'])
    objective = build_objective(config("gan", ['terms=[{name="named", called="adversarial"}]']))
    batch = batch_of(objective)
    with pytest.raises(UsageError, match="'adversarial' has the same name as a term of the objective"):
        terms_of(objective, "discriminator", batch)
    listed = ", ".join(f'{{name="named", called="{name}"}}' for name in ("x_2", "x", "x"))
    settings = [f"terms=[{listed}]"]
    assert list(build_objective(config("gan", settings)).added) == ["x_2", "x", "x_3"]


def batch_of(objective: Objective, n: int = 4) -> Batch:
    draws = {name: torch.rand(n, *draw.shape) for name, draw in objective.noise.items() if draw.shape != "image"}
    return Batch(
        update=0,
        real=torch.rand(n, *SHAPE),
        labels=torch.arange(n) % CLASSES,
        z=torch.randn(n, 64),
        fake_labels=None,
        noise=Noise(draws),
    )


def test_a_penalty_may_judge_any_number_of_images_behind_augmentations() -> None:
    @terms.register("both-kinds")
    class BothKinds:
        """A penalty on real and generated images in one pass."""

        term = "both_kinds"

        def __call__(self, discriminator: Any, batch: Any, fake: Tensor) -> Tensor:
            value: Tensor = discriminator(torch.cat([batch.real, fake, fake[:1]]), None).square().mean()
            return value

    for name in ("translation", "cut-out", "colour"):
        objective = build_objective(config("gan", ['terms=["both-kinds"]', f'augmentations=["{name}"]']))
        assert terms_of(objective, "discriminator", batch_of(objective))["both_kinds"].isfinite()


def test_a_head_that_is_shared_learns_from_real_images_in_the_generators_turn() -> None:
    @terms.register("reads-real")
    class ReadsReal(Term):
        """Reads a head of its own on real images, for both players."""

        term = "reads_real"
        players = ("discriminator", "generator")
        heads = (("mine", 1),)
        shares_heads = True
        needs_real = True

        def __call__(self, turn: Turn) -> Tensor:
            return (turn.real_output["mine"] - 1).square().mean()

    objective = build_objective(config("gan", ['terms=["reads-real"]']))
    terms_of(objective, "generator", batch_of(objective))["reads_real"].backward()  # type: ignore[no-untyped-call]
    heads = objective.discriminator.get_submodule("heads")
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in heads.parameters())


def test_terms_are_refused_where_they_make_no_sense() -> None:
    refused("'equilibrium' works only with the loss 'wasserstein', .*'hinge'", "began", ["loss=hinge"])
    refused("the class, which is already its input: .*conditioning=none", "cgan", ['terms=["classification"]'])


@pytest.mark.usefixtures("supervised")
def test_labelled_batches_need_labels() -> None:
    objective = build_objective(config("gan", ['terms=["supervised"]']))
    assert (objective.needs_labelled, objective.needs_labels) == (True, False)

    @terms.register("reads-labels")
    class ReadsLabels(Term):
        """Reads labels, and no head."""

        term = "reads_labels"

        def __init__(self, *, labelled: bool) -> None:
            self.needs_labelled, self.needs_labels = labelled, not labelled

        def __call__(self, turn: Turn) -> Tensor:
            return turn.fake.logits.mean()

    for labelled in ("true", "false"):
        settings = [f'terms=[{{name="reads-labels", labelled={labelled}}}]']
        refused("'reads_labels' reads labels, and array has none", "gan", settings, num_classes=None)


def test_an_augmentation_may_adapt_to_what_the_discriminator_says() -> None:
    """As Karras et al. 2020 (arXiv:2006.06676, eq. 1) do, by the signs of the logits of real images."""

    @augmentations.register("adapting-here")
    class Adaptive(Augmentation, nn.Module):
        """Turns images round, the more the surer the discriminator is of real ones."""

        noise = MappingProxyType({"turn": Draw("uniform", (1, 1, 1))})
        share: Tensor
        signs: Tensor

        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.register_buffer("share", torch.zeros(()))
            self.register_buffer("signs", torch.zeros(()))

        def __call__(self, images: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
            return torch.where(noise["turn"] < self.share, -images, images)

        def observe(self, turn: Turn) -> None:
            self.signs.copy_(turn.real_output.logits.detach().sign().mean())

        def after_step(self, player: Any, networks: Any) -> None:
            self.share.add_(0.25 * self.signs.sign()).clamp_(0, 1)

    objective = build_objective(config("gan", ['augmentations=["adapting-here"]']))
    head = objective.discriminator.get_submodule("head")
    batch = batch_of(objective)
    for sign, share in ((1.0, 0.25), (1.0, 0.5), (-1.0, 0.25)):
        with torch.no_grad():
            head.bias.fill_(100 * sign)  # type: ignore[operator]
        terms_of(objective, "discriminator", batch)
        objective.after_step("discriminator")
        terms_of(objective, "generator", batch)
        objective.after_step("generator")
        assert objective.state_dict()["stateful.augmentation_0.share"] == share


def test_no_recipe_is_named_outside_the_recipes() -> None:
    """A variant is data: code that asks for one by its name would be a special case.

    Networks may share their name with a recipe, and the studies name the variants that they train by default.
    """
    folder = Path(ganzoo.__path__[0])
    kinds = {kind: set(parts) for kind, parts in registry.REGISTRIES.items()}
    parts = set().union(*(names for kind, names in kinds.items() if kind != "variants"))
    named = []
    for path in [*folder.rglob("*.py"), *(folder.parent / "cli").rglob("*.py")]:
        if folder / "zoo" / "variants" in path.parents or folder / "studies" in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and node.value in kinds["variants"] - parts:
                named.append(f"{path.name}:{node.lineno}: {node.value}")
    assert not named


def test_the_recipes_are_short() -> None:
    recipes = (Path(ganzoo.__path__[0]) / "zoo" / "variants").glob("*.py")
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in recipes) < 1000
