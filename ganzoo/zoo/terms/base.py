"""What a term is, and what it is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol

from torch import Tensor, nn

from ganzoo.errors import UsageError
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
    uniform_codes: int  # the number of the last columns of batch.z that are uniform
    networks: Mapping[str, nn.Module] = field(default_factory=dict)  # by role, for terms that have to run another one

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
    def labelled(self) -> tuple[Tensor, Tensor]:
        """As many real images as the batch has, all of them labelled, for a term with `needs_labelled = True`.

        float32 [N, C, H, W] in [-1, 1] and int64 [N]; nothing has been run on them yet.
        """
        assert self.batch.labelled is not None, "a term that reads labelled images declares needs_labelled = True"
        return self.batch.labelled

    @property
    def fake_labels(self) -> Tensor:
        """The labels that the generator was asked for, int64 [N], for a term with `needs_fake_labels = True`."""
        assert self.batch.fake_labels is not None, "a term that reads them declares needs_fake_labels = True"
        return self.batch.fake_labels


class Term:
    """A summand of what a player minimises; subclass it and register it with `@terms.register(name)`.

    Keyword-only arguments are its settings, best as a frozen dataclass. A term with state is an `nn.Module` too
    (`class MyTerm(Term, nn.Module)`), and keeps the state in buffers, which it changes in place: they are moved, saved,
    resumed and averaged over processes like weights. Its own parameters are trained by its players.
    """

    term: str  # its name in the metrics: d_<term>, g_<term>
    players: ClassVar[tuple[PlayerName, ...]] = ("discriminator",)
    every: int = 1  # it is due at each `every`-th update of its player, `every` times as strong
    noise: Mapping[str, Draw] = MappingProxyType({})  # what the batches draw for it: turn.batch.noise[name]
    # The discriminator's heads that it reads: `classes` and `codes` have the size of the data's classes and of the
    # variant's codes, `features` and `reconstruction` that of the network; a pair (name, size) is a head of its own.
    heads: tuple[str | tuple[str, int], ...] = ()
    untrained_heads: tuple[str, ...] = ()  # those of them that mean nothing unless another term trains them
    shares_heads: bool = False  # whether both players train those heads
    needs_real: bool = False  # whether it reads the outputs on real images in the generator's turn
    needs_labels: bool = False  # whether it reads the real images' labels; a hidden one is -1
    needs_labelled: bool = False  # whether it reads a batch of labelled images, beside the real ones
    needs_fake_labels: bool = False  # whether it reads the labels that the generator was asked for
    needs_loss: str | None = None  # the one loss that it makes sense with
    needs_square: bool = False  # whether images have to be as high as wide
    finds_classes: bool = False  # whether it asks the discriminator for the class, which it must not be given then
    judges_others: bool = False  # whether it has the discriminator judge other images than the real ones
    per_sample: bool = False  # whether it reads a logit as a function of one image alone
    mixes_samples: bool = False  # whether its value is not a mean over samples
    equation: str = ""  # for the documentation, in the mathematics of Markdown

    @property
    def trained_by(self) -> tuple[PlayerName, ...]:
        """The players whose steps train the term's own parameters."""
        return self.players

    def attach(self, networks: Mapping[str, nn.Module], num_classes: int | None) -> None:
        """Make the state that depends on the networks or the number of classes, when the objective is built."""

    def __call__(self, turn: Turn) -> Tensor | None:
        """Return the value, a float32 scalar; None from a term that only has an `after_step`."""
        return None

    def after_step(self, player: PlayerName, networks: Mapping[str, nn.Module]) -> None:
        """Change what has to change after the player's optimiser step, without waiting for the device."""


class Penalty(Protocol):
    """The simple form of a term for the discriminator alone, called with `(D, batch, fake)`.

    It needs no base class: `term`, `every`, `noise` (names, or draws by name), `per_sample`, `mixes_samples`,
    `judges_others` and `equation` mean what they mean of a `Term`, and may be left out but for the first.
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
        self.per_sample = getattr(penalty, "per_sample", False)
        self.mixes_samples = getattr(penalty, "mixes_samples", False)
        self.judges_others = getattr(penalty, "judges_others", False)
        self.equation = getattr(penalty, "equation", "")

    def __call__(self, turn: Turn) -> Tensor:
        value: Tensor = self.penalty(turn.discriminator, turn.batch, turn.drawn["fake"])
        return value


def as_term(part: Any) -> Term:
    """Return a part as a `Term`: itself, or a penalty wrapped. Raises UsageError if it is neither, or does nothing."""
    if not isinstance(part, Term):
        if not callable(part) or not hasattr(part, "term"):
            raise UsageError(
                f"a {type(part).__name__} is not a term: subclass Term, or give what is called with (discriminator, "
                "batch, fake) its name as an attribute, term"
            )
        return PenaltyTerm(part)
    kind = type(part)
    if kind.__call__ is Term.__call__ and kind.after_step is Term.after_step:
        raise UsageError(
            f"the term '{part.term}' defines neither __call__(turn) nor after_step(player, networks), and would do "
            "nothing"
        )
    return part


def state_of(part: object) -> nn.Module | None:
    """Return what holds a part's state, if it has any: the part itself, or the penalty that it wraps."""
    inner = part.penalty if isinstance(part, PenaltyTerm) else part
    return inner if isinstance(inner, nn.Module) else None
