"""The base class of objectives: the networks, the parameters of each player, and what each player minimises."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganzoo.errors import UsageError
from ganzoo.zoo.augment import Augmentation
from ganzoo.zoo.batch import Batch, Draw, draws_of
from ganzoo.zoo.losses import Loss
from ganzoo.zoo.networks.common import Output, as_output
from ganzoo.zoo.terms.base import Discriminator, Drawn, PlayerName, Term, Turn, state_of

Terms = dict[str, Tensor]  # scalars by name; a player minimises their sum


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts of an objective."""

    generator: nn.Module
    discriminator: nn.Module
    loss: Loss
    encoder: nn.Module | None = None
    terms: Sequence[Term] = ()
    augmentations: Sequence[Augmentation] = ()
    conditional: bool = False
    num_classes: int | None = None  # of the data, even if the networks are not conditional
    uniform_codes: int = 0


def mixes_samples(network: nn.Module) -> bool:
    """Return whether one sample's output depends on the other samples of its batch.

    Batch norm is detected; a network that mixes samples in another way must set `mixes_samples = True`.
    """
    return any(
        isinstance(module, _BatchNorm) or getattr(module, "mixes_samples", False) for module in network.modules()
    )


class Objective(nn.Module):
    """A variant's game. Subclass it, register it with `@objectives.register(name)`, and define `draw` and `terms`.

    The signature is `__init__(self, parts, *, settings)`. State must be in buffers, which are moved, saved, resumed and
    averaged like weights. No method may wait for the device, so that an update can be captured in a CUDA graph.
    """

    # The player whose optimiser trains each network, by role. All networks but the discriminator have averaged weights.
    players: ClassVar[Mapping[str, PlayerName]] = {
        "generator": "generator",
        "discriminator": "discriminator",
        "encoder": "generator",
    }
    encodes: ClassVar[bool] = False  # whether it needs an encoder
    encodes_code: bool = False  # whether the encoder's last columns are the logits of the categorical code's values
    sees_pairs: ClassVar[bool] = False  # whether the discriminator is called with (images, labels, z)
    class_logits: ClassVar[bool] = False  # whether the logit is computed from a softmax over the classes and "fake"

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.generator = parts.generator
        self.discriminator = parts.discriminator
        if parts.encoder is not None:
            self.encoder = parts.encoder
        self.loss = parts.loss
        self.conditional = parts.conditional
        self.uniform_codes = parts.uniform_codes
        self.added = _name_terms(parts.terms)
        for term in parts.terms:
            term.attach(self.networks, parts.num_classes)
        self.augmentations = _number_augmentations(parts.augmentations)
        parts_added: dict[str, Term | Augmentation] = {**self.added, **self.augmentations}
        states = {name: state_of(part) for name, part in parts_added.items()}
        self.stateful = nn.ModuleDict({name: state for name, state in states.items() if state is not None})
        plain = (Term.after_step, Augmentation.after_step)
        self._followed_up = [part for part in parts_added.values() if type(part).after_step not in plain]
        self._observers = [
            part for part in self.augmentations.values() if type(part).observe is not Augmentation.observe
        ]
        self._one_pass = not mixes_samples(self.discriminator)
        self._draws = self._collect_draws()
        self.frozen: frozenset[str] = frozenset()  # prefixes of the names of parameters that are not trained
        if not self._one_pass and any(term.per_sample for term in parts.terms):
            warnings.warn(
                "the gradient penalty is computed per sample, but with batch norm or minibatch standard deviation a "
                "sample's logit depends on the whole batch: remove it with discriminator.norm=none or "
                "discriminator.minibatch_std=false",
                stacklevel=2,
            )

    # Methods that an objective defines

    def draw(self, batch: Batch) -> Drawn:
        """Return the outputs of the generator's networks for a batch, such as `fake`, its images [N, C, H, W]."""
        fake: Tensor = self.generator(batch.z, batch.fake_labels)
        return {"fake": fake.float()}

    def terms(self, player: PlayerName, batch: Batch, drawn: Drawn, due: tuple[str, ...]) -> Terms:
        """Return the scalars whose sum a player minimises; `due` are the names of the terms of this update."""
        raise NotImplementedError

    # Methods that the trainer calls

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks by role."""
        return {role: self.get_submodule(role) for role in self.players if hasattr(self, role)}

    @property
    def averaged(self) -> dict[str, nn.Module]:
        """The networks that have averaged weights, by role."""
        return {role: network for role, network in self.networks.items() if role != "discriminator"}

    def owned_by(self, player: PlayerName) -> dict[str, nn.Parameter]:
        """Return the parameters that a player's optimiser trains, by name. Both players may own the same head."""
        owned = [role for role in self.networks if self.players[role] == player]
        for name, term in self.added.items():
            if player in term.trained_by and name in self.stateful:
                owned.append(f"stateful.{name}")
            if term.shares_heads:
                owned += [f"discriminator.heads.{head}" for head in head_names(term)]
        return {
            name: parameter
            for name, parameter in self.named_parameters()
            if any(name.startswith(f"{place}.") for place in owned) and not name.startswith(tuple(self.frozen))
        }

    @property
    def noise(self) -> dict[str, Draw]:
        """The random numbers that the parts request from the batches."""
        return self._draws

    @property
    def needs_labels(self) -> bool:
        """True if a term reads the real images' labels."""
        return any(term.needs_labels for term in self.added.values())

    @property
    def needs_labelled(self) -> bool:
        """True if a term reads a batch of labelled images."""
        return any(term.needs_labelled for term in self.added.values())

    @property
    def mixing(self) -> list[str]:
        """What makes a sample's terms depend on the other samples of its batch: networks, the loss, terms by name."""
        mixing = [role for role, network in self.networks.items() if mixes_samples(network)]
        mixing += ["the loss"] if getattr(self.loss, "mixes_samples", False) else []
        return mixing + [name for name, term in self.added.items() if term.mixes_samples]

    def due(self, player: PlayerName, update: int) -> tuple[str, ...]:
        """Return the names of the terms to compute in this update of the player, counted from 0."""
        return tuple(name for name, term in self.added.items() if player in term.players and update % term.every == 0)

    def after_step(self, player: PlayerName) -> None:
        """Call `after_step` of the player's terms and augmentations, after the player's optimiser step."""
        for part in self._followed_up:
            if player in part.players:
                part.after_step(player, self.networks)

    # Helpers for objectives

    def judged(self, images: Tensor, labels: Tensor | None, batch: Batch, half: str, *pair: Tensor) -> Output:
        """Return the discriminator's output on augmented images; `half` is `real` or `fake`."""
        return as_output(
            self.discriminator(self.augmented(images, batch, half), labels if self.conditional else None, *pair)
        )

    def judged_both(self, batch: Batch, fake: Tensor, *pairs: Tensor) -> tuple[Output, Output]:
        """Return the outputs on real and fake images: in one pass, or in two if batch norm would mix them.

        `pairs` are the latents of the real and of the fake images, for a discriminator of pairs.
        """
        if not self._one_pass:
            real_pair, fake_pair = pairs[:1], pairs[1:]
            return (
                self.judged(batch.real, batch.labels, batch, "real", *real_pair),
                self.judged(fake, batch.fake_labels, batch, "fake", *fake_pair),
            )
        images = torch.cat([self.augmented(batch.real, batch, "real"), self.augmented(fake, batch, "fake")])
        labels = None
        if self.conditional and batch.labels is not None and batch.fake_labels is not None:
            labels = torch.cat([batch.labels, batch.fake_labels])
        both = self.discriminator(images, labels, *([torch.cat(pairs)] if pairs else []))
        return as_output(both).split(len(batch.real))

    def augmented(self, images: Tensor, batch: Batch, half: str) -> Tensor:
        """Return the augmented images. If there are more images than in a batch, the random draws are reused."""
        for name, augmentation in self.augmentations.items():
            draws = {key: _rows(batch.noise[f"{name} {half} {key}"], len(images)) for key in augmentation.noise}
            images = augmentation(images, draws)
        return images

    def add_terms(
        self,
        values: Terms,
        due: tuple[str, ...],
        player: PlayerName,
        batch: Batch,
        drawn: Drawn,
        real: Output | None,
        fake: Output,
        *pair: Tensor,
    ) -> Terms:
        """Return the values together with those of the terms in `due`, computed in float32.

        `real` and `fake` are the discriminator's outputs; `pair` are the latents of the real images, for a
        discriminator of pairs. Raises UsageError if a term has the name of one of the values.
        """
        if not due and not self._observers:
            return values
        turn = Turn(
            player=player,
            batch=batch,
            drawn=drawn,
            real=real,
            fake=fake,
            discriminator=self._judge(batch, *pair),
            uniform_codes=self.uniform_codes,
            networks=self.networks,
        )
        with torch.autocast(fake.logits.device.type, enabled=False):
            for name in due:
                term = self.added[name]
                value = term(turn)
                if name in values:
                    raise UsageError(f"the term '{name}' has the same name as a term of the objective: rename it")
                if value is not None:
                    values[name] = term.every * value
            for augmentation in self._observers:
                if player in augmentation.players:
                    augmentation.observe(turn)
        return values

    def _judge(self, batch: Batch, *pair: Tensor) -> Discriminator:
        """Return the discriminator as terms call it: with the augmentations of the real images."""
        unlabelled = batch.labels is None and batch.fake_labels is None and batch.labelled is None
        if not self.augmentations and not pair and (self.conditional or unlabelled):
            return self.discriminator

        def judge(images: Tensor, labels: Tensor | None = None) -> Tensor | Output:
            augmented = self.augmented(images, batch, "real")
            answer: Tensor | Output = self.discriminator(augmented, labels if self.conditional else None, *pair)
            return answer

        return judge

    def _collect_draws(self) -> dict[str, Draw]:
        draws: dict[str, Draw] = {}
        for name, term in self.added.items():
            for key, draw in draws_of(term, f"the term '{name}'").items():
                if draws.setdefault(key, draw) != draw:
                    raise UsageError(
                        f"the noise '{key}' is requested in two ways, as {draws[key]} and as {draw} (the term "
                        f"'{name}'): rename one of them"
                    )
        for name, augmentation in self.augmentations.items():
            for key, draw in draws_of(augmentation, f"the augmentation '{name}'").items():
                draws |= {f"{name} {half} {key}": draw for half in ("real", "fake")}
        return draws


def head_names(term: Term) -> list[str]:
    """Return the names of the heads that a term reads."""
    return [head if isinstance(head, str) else head[0] for head in term.heads]


def _name_terms(terms: Sequence[Term]) -> dict[str, Term]:
    """Return the terms by name; if a name occurs again, a number is appended. Raises UsageError for the name 'loss'."""
    named: dict[str, Term] = {}
    for term in terms:
        if term.term == "loss":
            raise UsageError("a term cannot be called 'loss': in the metrics this is the sum of all terms")
        names = chain([term.term], (f"{term.term}_{number}" for number in count(2)))
        named[next(name for name in names if name not in named)] = term
    return named


def _rows(draws: Tensor, n: int) -> Tensor:
    """Return draws for `n` images, repeated if there are fewer."""
    if len(draws) == n:
        return draws
    return draws.repeat(-(-n // len(draws)), *[1] * (draws.ndim - 1))[:n]


def _number_augmentations(augmentations: Sequence[Augmentation]) -> dict[str, Augmentation]:
    return {f"augmentation_{i}": augmentation for i, augmentation in enumerate(augmentations)}
