"""The base class of terms, and their input."""

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
Drawn = dict[str, Tensor]  # outputs of the generator's networks in an update, such as `fake`, its images


@dataclass(frozen=True, kw_only=True)
class Turn:
    """The input of a term: one player's update. The outputs are float32 and already computed."""

    player: PlayerName
    batch: Batch
    drawn: Drawn  # detached in the discriminator's turn
    real: Output | None  # the discriminator's outputs on real images; None in the generator's turn unless needed
    fake: Output
    discriminator: Discriminator  # (images, labels), with the augmentations, for terms that must run it again
    uniform_codes: int  # number of uniform columns at the end of batch.z
    networks: Mapping[str, nn.Module] = field(default_factory=dict)  # by role, for terms that must run another network

    @property
    def real_output(self) -> Output:
        """The outputs on real images; in the generator's turn only for a term with `needs_real = True`."""
        assert self.real is not None, "a term of the generator that reads real outputs declares needs_real = True"
        return self.real

    @property
    def labels(self) -> Tensor:
        """The real images' labels, int64 [N], for a term with `needs_labels = True`."""
        assert self.batch.labels is not None, "a term that reads the real images' labels declares needs_labels = True"
        return self.batch.labels

    @property
    def labelled(self) -> tuple[Tensor, Tensor]:
        """N labelled real images and their labels, for a term with `needs_labelled = True`.

        float32 [N, C, H, W] in [-1, 1] and int64 [N]; no network output for them exists yet.
        """
        assert self.batch.labelled is not None, "a term that reads labelled images declares needs_labelled = True"
        return self.batch.labelled

    @property
    def fake_labels(self) -> Tensor:
        """The generator's labels, int64 [N], for a term with `needs_fake_labels = True`."""
        assert self.batch.fake_labels is not None, "a term that reads fake labels declares needs_fake_labels = True"
        return self.batch.fake_labels


class Term:
    """A summand of a player's objective; subclass it and register it with `@terms.register(name)`.

    Keyword-only arguments are its settings, preferably as a frozen dataclass. A term with state must also be an
    `nn.Module` (`class MyTerm(Term, nn.Module)`) and change its state in place in buffers, which are moved, saved,
    resumed and averaged over processes like weights. Its players train its parameters.
    """

    term: str  # its name in the metrics: d_<term>, g_<term>
    players: ClassVar[tuple[PlayerName, ...]] = ("discriminator",)
    every: int = 1  # computed in each `every`-th update of its player, with `every` times the weight
    noise: Mapping[str, Draw] = MappingProxyType({})  # random numbers drawn for it: turn.batch.noise[name]
    # The discriminator heads that it reads: `classes` and `codes` have the size of the data's classes and the variant's
    # codes, `features` and `reconstruction` have the network's size; a pair (name, size) is a head for this term.
    heads: tuple[str | tuple[str, int], ...] = ()
    untrained_heads: tuple[str, ...] = ()  # those heads that another term must train
    shares_heads: bool = False  # whether both players train those heads
    needs_real: bool = False  # whether it reads the outputs on real images in the generator's turn
    needs_labels: bool = False  # whether it reads the real images' labels; a hidden label is -1
    needs_labelled: bool = False  # whether it reads a batch of labelled images, in addition to the real ones
    needs_fake_labels: bool = False  # whether it reads the generator's labels
    needs_loss: str | None = None  # the only loss that it works with
    needs_square: bool = False  # whether images must be square
    finds_classes: bool = False  # whether the discriminator predicts the class, which then must not be its input
    judges_others: bool = False  # whether it runs the discriminator on other images than the real ones
    per_sample: bool = False  # whether it needs logits that depend on one image only
    mixes_samples: bool = False  # whether its value is not a mean over samples
    equation: str = ""  # for the documentation, in Markdown mathematics

    @property
    def trained_by(self) -> tuple[PlayerName, ...]:
        """The players that train the term's parameters."""
        return self.players

    def attach(self, networks: Mapping[str, nn.Module], num_classes: int | None) -> None:
        """Create the state that depends on the networks or the number of classes, when the objective is built."""

    def __call__(self, turn: Turn) -> Tensor | None:
        """Return the value, a float32 scalar, or None if the term only has an `after_step`."""
        return None

    def after_step(self, player: PlayerName, networks: Mapping[str, nn.Module]) -> None:
        """Update state or weights after the player's optimiser step, without waiting for the device."""


class Penalty(Protocol):
    """The simple form of a term for the discriminator only, called with `(D, batch, fake)`.

    It needs no base class. `term`, `every`, `noise` (names, or draws by name), `per_sample`, `mixes_samples`,
    `judges_others` and `equation` are the same as in `Term`, and all except `term` are optional.
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
    """Return a part as a `Term`, with a penalty wrapped. Raises UsageError if it is neither, or if it does nothing."""
    if not isinstance(part, Term):
        if not callable(part) or not hasattr(part, "term"):
            raise UsageError(
                f"a {type(part).__name__} is not a term: subclass Term, or use a callable (discriminator, batch, fake) "
                "with an attribute `term`, its name"
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
    """Return the module with a part's state, the part itself or the wrapped penalty; None if it has no state."""
    inner = part.penalty if isinstance(part, PenaltyTerm) else part
    return inner if isinstance(inner, nn.Module) else None
