"""Each rule finds what breaks it, and says so; what is sound passes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from ganzoo.errors import UsageError
from ganzoo.plugin import (
    ImageShape,
    LinearHeads,
    Output,
    Spec,
    Term,
    Turn,
    Variant,
    discriminators,
    generators,
    losses,
    terms,
    variants,
)
from ganzoo.testing import RULES, ConformanceError, check_part, check_variant
from ganzoo.zoo.losses import Hinge

pytestmark = pytest.mark.usefixtures("registries")


def add_variant(doc: str = "Mine (own, 2026).", family: str = "game", **parts: Any) -> None:
    """Register the variant `mine` of a few parts."""

    def mine() -> Variant:
        given = {"generator": Spec("mlp"), "discriminator": Spec("mlp"), **parts}
        return Variant(family=family, **given)

    mine.__doc__ = doc
    variants.register("mine")(mine)


def broken(rule: str, name: str = "mine") -> str:
    """Return the message by which a rule, and it alone, refuses a variant."""
    with pytest.raises(ConformanceError) as caught:
        check_variant(name, rules=[rule])
    message = str(caught.value)
    assert message.startswith(f"the variant '{name}' breaks the rule '{rule}': ")
    assert "\nExpected: " in message
    return message


class Linear(nn.Module):
    """A generator of one layer."""

    def __init__(self, image_shape: ImageShape, latent_dim: int, num_classes: int | None) -> None:
        super().__init__()
        self.shape = image_shape
        self.labels = None if num_classes is None else nn.Embedding(num_classes, latent_dim)
        self.body = nn.Linear(latent_dim, math.prod(image_shape))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        z = z if self.labels is None else z + self.labels(labels)
        images: Tensor = self.body(z).tanh().view(-1, *self.shape)
        return images


class OneLayer(LinearHeads):
    """A discriminator of one layer, which sees no labels."""

    def __init__(self, image_shape: ImageShape, num_classes: int | None) -> None:
        super().__init__()
        self.head = nn.Linear(math.prod(image_shape), 1)

    def forward(self, images: Tensor, labels: Tensor | None = None, z: Tensor | None = None) -> Tensor | Output:
        return self.answer(images.flatten(1), labels, z)


@pytest.mark.slow
def test_what_is_sound_keeps_every_rule() -> None:
    generators.register("linear")(Linear)
    discriminators.register("one-layer")(OneLayer)
    add_variant(generator=Spec("linear"), discriminator=Spec("one-layer"), latent_dim=5)
    check_variant("mine")


@pytest.mark.parametrize(
    ("doc", "family", "message"),
    [
        ("My own variant.", "game", "cites no paper: 'My own variant.'"),
        ("Mine (Somebody et al. 2020): cited, but not which paper.", "game", "cites no paper"),
        ("Mine (own, 2026): cited.", "", "names no family"),
    ],
)
def test_documentation(doc: str, family: str, message: str) -> None:
    add_variant(doc, family)
    assert message in broken("documentation")


@pytest.mark.parametrize("term", ["supervision", "rotation"])
def test_needs_are_those_of_the_terms(term: str) -> None:
    needs = {"supervision": ("labels",), "rotation": ("square images",)}[term]
    add_variant(terms=(Spec(term),))
    assert f"set Variant(needs={needs!r})" in broken("documentation")
    del variants._entries["mine"]
    add_variant(terms=(Spec(term),), needs=needs)
    check_variant("mine", rules=["documentation"])


def test_documentation_may_cite_a_paper() -> None:
    add_variant("Mine (Somebody et al. 2020, arXiv:2001.00001): new.")
    check_variant("mine", rules=["documentation"])


def test_a_setting_that_toml_does_not_keep() -> None:
    @losses.register("moody")
    @dataclass(frozen=True, kw_only=True)
    class Moody(Hinge):
        """A game with a word that TOML has another use for."""

        mood: str = "none"

    add_variant(loss=Spec("moody"))
    assert "read from TOML" in broken("configuration")


def test_images_beyond_one_and_logits_of_two_dimensions() -> None:
    @generators.register("bright")
    class Bright(Linear):
        """Draws beyond white."""

        def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
            return 1.5 + super().forward(z)

    @discriminators.register("column")
    class Column(OneLayer):
        """Answers a column."""

        def forward(self, images: Tensor, labels: Tensor | None = None, z: Tensor | None = None) -> Tensor | Output:
            logits: Tensor = self.head(images.flatten(1))
            return logits

    add_variant(generator=Spec("bright"))
    assert "end the generator with a tanh" in broken("shapes")
    variants._entries.pop("mine")
    add_variant(discriminator=Spec("column"))
    assert "returned logits of shape [2, 1] for 2 images; expected [2]" in broken("shapes")


def test_a_network_that_crashes_on_colour() -> None:
    @generators.register("grey")
    class Grey(Linear):
        """Thinks that images are grey."""

        def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
            return super().forward(z, labels).view(len(z), 1, *self.shape[1:])

    add_variant(generator=Spec("grey"))
    assert "RuntimeError" in broken("shapes")


def test_a_weight_that_no_player_changes() -> None:
    @discriminators.register("idle")
    class Idle(OneLayer):
        """Has a layer that it does not use."""

        def __init__(self, image_shape: ImageShape, num_classes: int | None) -> None:
            super().__init__(image_shape, num_classes)
            self.spare = nn.Linear(2, 3)

    add_variant(discriminator=Spec("idle"))
    assert "do not change 'discriminator.spare.weight'" in broken("training")


def test_a_loss_that_is_not_finite() -> None:
    @losses.register("nothing")
    @dataclass(frozen=True, kw_only=True)
    class Nothing:
        """Not a number."""

        g_needs_real: ClassVar[bool] = False

        def d(self, real: Tensor, fake: Tensor) -> Tensor:
            return (real - real).mean() / 0

        def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
            return fake.mean()

    add_variant(loss=Spec("nothing"))
    assert "DivergedError: step 1, discriminator: the term 'adversarial' is nan" in broken("training")


@terms.register("forgetful")
@dataclass(frozen=True, kw_only=True)
class Forgetful(Term):
    """Grows from call to call, and a resumed run begins again."""

    term = "forgetful"

    def __post_init__(self) -> None:
        object.__setattr__(self, "calls", [])

    def __call__(self, turn: Turn) -> Tensor:
        self.calls.append(1)  # type: ignore[attr-defined]
        return len(self.calls) * turn.fake.logits.square().mean()  # type: ignore[attr-defined]


del terms._entries["forgetful"]  # for other tests


def test_state_that_no_checkpoint_holds() -> None:
    terms.register("forgetful")(Forgetful)
    add_variant(terms=(Spec("forgetful"),))
    assert "of the run's values have different bits" in (message := broken("resume"))
    assert "register_buffer" in message


@pytest.mark.slow
def test_a_generator_that_draws_random_numbers() -> None:
    @generators.register("noisy")
    class Noisy(Linear):
        """Adds noise of its own."""

        def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
            return super().forward(z + torch.randn_like(z))

    add_variant(generator=Spec("noisy"))
    assert "draw no random numbers" in broken("export")


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """A game with settings: one that matters, one that matters in one mode, one that never does."""

    g_needs_real: ClassVar[bool] = False

    scale: float = 1.0
    squared: bool = False
    power: float = 2.0
    colour: float = 0.5

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        margin = self.scale * (fake - real)
        return margin.abs().pow(self.power).mean() if self.squared else margin.mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -self.scale * fake.mean()


@pytest.mark.full
def test_a_setting_that_changes_nothing() -> None:
    losses.register("scaled")(Scaled)
    with pytest.raises(
        ConformanceError, match=r"the loss 'scaled' has settings that change nothing: colour\. Expected"
    ):
        check_part("losses", "scaled")
    add_variant(loss=Spec("scaled"))
    assert "the loss 'scaled' has settings that change nothing: colour." in broken("settings")


def test_a_part_that_no_variant_can_take() -> None:
    @terms.register("picky")
    class Picky(Term):
        """Wants a loss that nobody has."""

        term = "picky"
        needs_loss = "scaled"

        def __call__(self, turn: Turn) -> Tensor:
            return turn.fake.logits.mean()

    with pytest.raises(ConformanceError, match=r"the term 'picky' trains in no registered variant: .*check_part"):
        check_part("terms", "picky")
    losses.register("scaled")(Scaled)
    check_part("terms", "picky", settings=["loss=scaled"])


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_variant("gam"), "no variant 'gam'; did you mean 'gan'"),
        (lambda: check_variant("gan", rules=["speed"]), "no rule 'speed': expected some of documentation, "),
        (lambda: check_variant("gan", settings=["generator.widht=4"]), "no setting 'generator.widht'"),
        (lambda: check_part("losses", "hing"), "no loss 'hing'; did you mean 'hinge'"),
        (lambda: check_part("datasets", "mnist"), "no kind 'datasets' of parts with settings: expected one of gen"),
    ],
)
def test_a_wrong_question_is_refused(check: Callable[[], None], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check()


def test_the_settings_of_a_check_reach_the_variant() -> None:
    add_variant()
    check_variant(
        "mine", rules=["configuration", "shapes"], settings=["generator.width=3", "latent_dim=4"], image_size=5
    )


def test_every_rule_says_what_it_expects() -> None:
    assert all(rule.__doc__ and len(rule.__doc__) > 80 for rule in RULES.values())
