"""What each player minimises: the loss of the game plus the penalties that are due."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganzoo.zoo.batch import Batch
from ganzoo.zoo.losses import Loss
from ganzoo.zoo.networks.common import logits_of
from ganzoo.zoo.terms.gradient import Penalty

Terms = dict[str, Tensor]  # scalars by name; their sum is what is minimised


def mixes_samples(network: nn.Module) -> bool:
    """Whether one sample's output depends on the other samples of its batch.

    Batch norm is seen by itself; a network that mixes samples otherwise says so by an attribute `mixes_samples = True`.
    """
    return any(
        isinstance(module, _BatchNorm) or getattr(module, "mixes_samples", False) for module in network.modules()
    )


def _named(penalties: Sequence[Penalty]) -> dict[str, Penalty]:
    """Penalties by the name of their term; the second of a name gets a number."""
    named: dict[str, Penalty] = {}
    for penalty in penalties:
        same = sum(penalty.term == other.term for other in named.values())
        named[penalty.term + (f"_{same + 1}" if same else "")] = penalty
    return named


class Objective(nn.Module):
    """A variant's two losses. Its own state, where it has any, is buffers: moved, saved and resumed like weights."""

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, loss: Loss, penalties: Sequence[Penalty] = ()
    ) -> None:
        super().__init__()
        self.generator = generator
        self.discriminator = discriminator
        self.loss = loss
        self.penalties = _named(penalties)
        self._one_pass = not mixes_samples(discriminator)
        if not self._one_pass and any(penalty.per_sample for penalty in penalties):
            warnings.warn(
                "the gradient penalty is one norm a sample, but batch norm makes a sample's logit depend on its whole "
                "batch: drop it with discriminator.norm=none",
                stacklevel=2,
            )

    @property
    def mixing(self) -> list[str]:
        """What makes one sample's terms depend on the other samples of its batch: networks, and penalties by name."""
        networks = {"generator": self.generator, "discriminator": self.discriminator}
        mixing = [name for name, network in networks.items() if mixes_samples(network)]
        return mixing + [name for name, penalty in self.penalties.items() if getattr(penalty, "mixes_samples", False)]

    @property
    def noise(self) -> frozenset[str]:
        """The random numbers that the penalties ask the batches for."""
        return frozenset[str]().union(*(penalty.noise for penalty in self.penalties.values()))

    def generator_parameters(self) -> dict[str, nn.Parameter]:
        """What the generator's optimiser steps, by name."""
        return dict(self.generator.named_parameters())

    def discriminator_parameters(self) -> dict[str, nn.Parameter]:
        """What the discriminator's optimiser steps, by name."""
        return dict(self.discriminator.named_parameters())

    def draw(self, batch: Batch) -> Tensor:
        """The generator's images [N, C, H, W] for this batch's latents and labels."""
        fake: Tensor = self.generator(batch.z, batch.fake_labels)
        return fake.float()

    def due(self, update: int) -> tuple[str, ...]:
        """The terms of the penalties that this update's turn has come for."""
        return tuple(name for name, penalty in self.penalties.items() if update % penalty.every == 0)

    def d_loss(self, batch: Batch, fake: Tensor) -> Terms:
        """The discriminator's terms; `fake` are the generator's images, detached."""
        return self.d_terms(batch, fake, self.due(batch.update))

    def d_terms(self, batch: Batch, fake: Tensor, due: tuple[str, ...]) -> Terms:
        """The same with the penalties that are due given: all else is a function of tensors."""
        real_logits, fake_logits = self._both_logits(batch, fake)
        terms = {"adversarial": self.loss.d(real_logits, fake_logits)}
        with torch.autocast(fake.device.type, enabled=False):  # penalties in float32
            for name in due:
                penalty = self.penalties[name]
                terms[name] = penalty.every * penalty(self.discriminator, batch, fake)
        return terms

    def g_loss(self, batch: Batch, fake: Tensor) -> Terms:
        """The generator's terms; the gradient flows back through `fake`."""
        real_logits = None
        if self.loss.g_needs_real:
            with torch.no_grad():  # the real side does not depend on the generator
                real_logits = logits_of(self.discriminator(batch.real, batch.labels))
        return {"adversarial": self.loss.g(real_logits, logits_of(self.discriminator(fake, batch.fake_labels)))}

    def _both_logits(self, batch: Batch, fake: Tensor) -> tuple[Tensor, Tensor]:
        """D(real) and D(fake): in one pass where that changes nothing, apart where batch norm would mix the two."""
        if not self._one_pass:
            real_logits = logits_of(self.discriminator(batch.real, batch.labels))
            return real_logits, logits_of(self.discriminator(fake, batch.fake_labels))
        labels = None
        if batch.labels is not None and batch.fake_labels is not None:
            labels = torch.cat([batch.labels, batch.fake_labels])
        logits = logits_of(self.discriminator(torch.cat([batch.real, fake]), labels))
        return logits[: len(batch.real)], logits[len(batch.real) :]
