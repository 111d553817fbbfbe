"""What does not fit together is refused before training, in one line that names what is missing and who has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganzoo.config import Code, RunConfig, Spec, Variant, assemble
from ganzoo.errors import UsageError
from ganzoo.registry import discriminators, encoders, objectives, terms, variants
from ganzoo.zoo.batch import Draw
from ganzoo.zoo.build import build_discriminator, build_objective
from ganzoo.zoo.networks.common import Output, as_output
from ganzoo.zoo.objectives.base import Objective
from ganzoo.zoo.terms.base import Term, Turn

SHAPE, CLASSES = (1, 8, 8), 3
pytestmark = pytest.mark.usefixtures("registries")


def config(variant: str | Variant = "gan", settings: Sequence[str] = (), **data: Any) -> RunConfig:
    facts = {"image_shape": SHAPE, "num_classes": CLASSES, "source": "array", **data}
    return assemble(variant, settings=["train.steps=5", *settings]).with_data(**facts)


def refused(message: str, *arguments: Any, **data: Any) -> None:
    with pytest.raises(UsageError, match=message) as told:
        build_objective(config(*arguments, **data))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", variants.names())
def test_every_network_owns_its_parameters_and_shared_heads_have_two_owners(name: str) -> None:
    objective = build_objective(config(name))
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
    those = "take dcgan, mlp, resize-conv"
    settings = ["discriminator=plain"]
    refused(
        f"term 'classification' needs the head 'classes', which .* 'plain' does not build: {those}", "acgan", settings
    )
    refused(f"term 'mutual_information' needs the head 'codes', which .* 'plain'.*{those}", "infogan", settings)
    refused(
        "term 'equilibrium' needs the head 'reconstruction', .*'mlp'.*: take autoencoder$",
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
    refused("head 'turned' is asked for in two sizes: 4 and 5", "gan", ['terms=["turned", {name="turned", size=5}]'])


def test_what_is_not_asked_for_is_not_built() -> None:
    for name in ("mlp", "dcgan", "resize-conv"):
        network = build_discriminator(config("gan", [f"discriminator={name}"]))
        assert not any(key.startswith(("heads.", "pair.")) for key in network.state_dict())
        assert isinstance(network(torch.zeros(2, *SHAPE)), Tensor)


def test_features_are_what_the_logits_are_computed_from() -> None:
    @terms.register("reads-features")
    class ReadsFeatures(Term):
        """A term that reads features."""

        term = "reads_features"
        heads = ("features",)

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
        "'boasting' says that it builds the head 'classes', and its output has none",
        "acgan",
        ["discriminator=boasting"],
    )


def test_heads_of_codes_and_classes_need_codes_and_classes() -> None:
    refused("needs the head 'codes', and there are no codes", "gan", ['terms=["mutual-information"]'])
    refused("'classification' reads labels, and array has none", "gan", ['terms=["classification"]'], num_classes=None)
    refused(
        "'classification' reads the labels that the generator is asked for.*conditional=true",
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
        "term 'odd' asks for the noise 'mixx', which nobody draws: name one of mix, pixels", "gan", ['terms=["odd"]']
    )


def test_one_name_stands_for_one_noise() -> None:
    @terms.register("mixes-otherwise")
    class MixesOtherwise(Term):
        """A term whose `mix` is another."""

        term = "mixes_otherwise"

        def __init__(self, *, size: int = 2) -> None:
            self.noise = {"mix": Draw("normal", (size,))}

    both = ['terms=["mixes-otherwise", {name="gradient", at="interpolates"}]']
    refused("the noise 'mix' is asked for in two ways", "gan", both)
    assert build_objective(config("gan", ['terms=["mixes-otherwise"]'])).noise == {"mix": Draw("normal", (2,))}


def test_an_objective_that_encodes_needs_an_encoder_and_others_refuse_one() -> None:
    refused(
        "objective 'bidirectional' needs an encoder: give one with --set encoder=NAME .*mlp", "bigan", ["encoder=none"]
    )
    refused("encoder 'mlp' has no part in the objective 'adversarial': take bidirectional", "gan", ["encoder=mlp"])


def test_an_objective_of_pairs_needs_a_discriminator_that_sees_them() -> None:
    discriminators.register("plain")(Plain)
    refused(
        "needs a discriminator of pairs, and 'plain' sees images alone: take dcgan, mlp",
        "bigan",
        ["discriminator=plain"],
    )
    refused("term 'gradient_fake' .*sees pairs", "bigan", ['terms=[{name="gradient", at="fake"}]'])


def test_an_encoder_of_the_wrong_shape_is_named() -> None:
    @encoders.register("flat")
    class Flat(nn.Module):
        """Encodes to nothing of use."""

        def __init__(self, image_shape: Any, latent_dim: int, num_classes: int | None) -> None:
            super().__init__()

        def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
            return images.flatten(1)

    refused(
        r"encoder 'flat' answered \[2, 64\] for 2 images; expected latents \[2, 5\]",
        "bigan",
        ["encoder=flat", "latent_dim=5"],
    )


def test_a_schedule_without_a_horizon_is_refused_with_its_path() -> None:
    scheduled = ["generator_optimizer.lr={from=0.1, to=0.01}"]
    refused(
        r"generator_optimizer\.lr: the schedule from 0\.1 to 0\.01 \(linear\) has no horizon: give over = STEPS",
        "gan",
        scheduled,
    )
    build_objective(config("gan", scheduled).with_horizon(7))


def test_codes_that_cannot_be_asked_for_are_refused() -> None:
    two = (Code(name="a", kind="categorical", size=2), Code(name="b", kind="categorical", size=3))
    parts: dict[str, Any] = {"generator": Spec("mlp"), "discriminator": Spec("mlp")}
    with pytest.raises(UsageError, match="a and b are both categorical"):
        assemble(Variant(codes=two, **parts))
    with pytest.raises(UsageError, match="'a' would be asked for as labels, and so are the classes"):
        assemble(Variant(codes=two[:1], conditional=True, **parts))
    with pytest.raises(UsageError, match="a, a: each needs a name of its own"):
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
