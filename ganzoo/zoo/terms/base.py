"""What a term is, and what it is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

from ganzoo.zoo.batch import Batch, Draw
from ganzoo.zoo.networks.common import Output

PlayerName = Literal["discriminator", "generator"]
Discriminator = Callable[[Tensor, Tensor | None], Tensor | Output]
Drawn = dict[str, Tensor]  # what an objective has drawn for an update: `fake`, the generator's images, and the like


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One player's update, as a term sees it. The outputs are float32 and there already: nothing is run again."""

    player: PlayerName
    batch: Batch
    drawn: Drawn  # detached in the discriminator's turn
    real: Output | None  # the discriminator's outputs on real images; None in the generator's turn unless needed
    fake: Output
    discriminator: Discriminator  # (images, labels), behind the augmentations, for terms that have to run it again
    uniform_codes: int = 0  # the last columns of batch.z

    @property
    def real_output(self) -> Output:
        """The outputs on real images; in the generator's turn they are there for a term with `needs_real = True`."""
        assert self.real is not None, "a term of the generator that reads real outputs declares needs_real = True"
        return self.real

    @property
    def labels(self) -> Tensor:
        """The real images' labels, int64 [N], for a term with `needs_labels = True`."""
        assert self.batch.labels is not None, "a term that reads the real images' labels declares needs_labels = True"
        return self.batch.labels

    @property
    def fake_labels(self) -> Tensor:
        """The labels that the generator was asked for, int64 [N], for a term with `needs_fake_labels = True`."""
        assert self.batch.fake_labels is not None, "a term that reads them declares needs_fake_labels = True"
        return self.batch.fake_labels


class Term:
    """A summand of what a player minimises; subclass it and register it with `@terms.register(name)`.

    Keyword-only arguments are its settings, best as a frozen dataclass. A term with state is an `nn.Module` too, and
    keeps the state in buffers: they are moved, saved, resumed and averaged over processes like weights. Its own
    parameters are trained by its players.
    """

    term: str  # its name in the metrics: d_<term>, g_<term>
    players: ClassVar[tuple[PlayerName, ...]] = ("discriminator",)
    every: int = 1  # it is due at each `every`-th update of its player, `every` times as strong
    noise: Mapping[str, Draw] = MappingProxyType({})  # what the batches draw for it: turn.batch.noise[name]
    # The discriminator's heads that it reads: `classes` and `codes` have the size of the data's classes and of the
    # variant's codes, `features` and `reconstruction` that of the network; a pair (name, size) is a head of its own.
    heads: tuple[str | tuple[str, int], ...] = ()
    shares_heads: ClassVar[bool] = False  # whether both players train those heads
    needs_real: ClassVar[bool] = False  # whether it reads the outputs on real images in the generator's turn
    needs_labels: ClassVar[bool] = False  # whether it reads the real images' labels, batch.labels
    needs_fake_labels: ClassVar[bool] = False  # whether it reads the labels that the generator was asked for
    per_sample: ClassVar[bool] = False  # whether it reads a logit as a function of one image alone
    mixes_samples: ClassVar[bool] = False  # whether it is no mean over samples

    def __call__(self, turn: Turn) -> Tensor | None:
        """Return the value, a float32 scalar; None from a term that only has an `after_step`."""
        return None

    def after_step(self, player: PlayerName, networks: Mapping[str, nn.Module]) -> None:
        """Change what has to change after the player's optimiser step, without waiting for the device."""


class Penalty(Protocol):
    """The simple form of a term for the discriminator alone, called with `(D, batch, fake)`.

    It needs no base class: `term`, `every`, `noise` (names, or draws by name) and `per_sample` are read where given.
    """

    @property
    def term(self) -> str: ...

    def __call__(self, discriminator: Discriminator, batch: Batch, fake: Tensor) -> Tensor: ...


class PenaltyTerm(Term):
    """A `Penalty` as a `Term`."""

    def __init__(self, penalty: Any) -> None:
        self.penalty = penalty
        self.term = penalty.term
        self.every = getattr(penalty, "every", 1)
        self.noise = getattr(penalty, "noise", {})
        self.per_sample = getattr(penalty, "per_sample", False)  # type: ignore[misc]  # its own, not the class's
        self.mixes_samples = getattr(penalty, "mixes_samples", False)  # type: ignore[misc]

    def __call__(self, turn: Turn) -> Tensor:
        value: Tensor = self.penalty(turn.discriminator, turn.batch, turn.drawn["fake"])
        return value


def as_term(part: Any) -> Term:
    """Return a registered part as a `Term`: itself, or a penalty wrapped."""
    return part if isinstance(part, Term) else PenaltyTerm(part)
