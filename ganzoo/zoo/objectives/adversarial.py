"""The game of a generator and a discriminator of images (Goodfellow et al. 2014, arXiv:1406.2661, eq. 1)."""

from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from ganzoo.registry import objectives
from ganzoo.zoo.batch import Batch
from ganzoo.zoo.networks.common import Output
from ganzoo.zoo.objectives.base import Objective, Parts, Terms
from ganzoo.zoo.terms.base import Drawn, PlayerName

Share = Annotated[float, Field(gt=0, le=1)]


@objectives.register("adversarial")
class Adversarial(Objective):
    """The loss's `d` for the discriminator, its `g` for the generator, and the terms of each.

    `generator_weight` is the weight of `g`; with 0 the generator learns only from its terms. `top_k` is the share of
    each batch's generated images that the generator learns from: those with the largest logits (Sinha et al. 2020,
    arXiv:2002.06224, section 3; in the paper the share falls from 1 to 0.5).
    """

    def __init__(
        self,
        parts: Parts,
        *,
        generator_weight: NonNegativeFloat = 1.0,
        top_k: Share = 1.0,
    ) -> None:
        super().__init__(parts)
        self.generator_weight = generator_weight
        self.top_k = top_k

    @property
    def mixing(self) -> list[str]:
        """What makes a sample's terms depend on the other samples of its batch: with `top_k`, also their ranking."""
        return super().mixing + (["top-k"] if self.top_k < 1 else [])

    def terms(self, player: PlayerName, batch: Batch, drawn: Drawn, due: tuple[str, ...]) -> Terms:
        if player == "discriminator":
            real, fake = self.judged_both(batch, drawn["fake"])
            values = {"adversarial": self.loss.d(real.logits, fake.logits)}
        else:
            real = None
            readers = [self.added[name] for name in due if self.added[name].needs_real]
            if self.loss.g_needs_real or readers:
                # No parameter of the generator's player affects the real logits, except those of a shared head.
                with torch.set_grad_enabled(any(term.shares_heads for term in readers)):
                    real = self.judged(batch.real, batch.labels, batch, "real")
            fake = self.judged(drawn["fake"], batch.fake_labels, batch, "fake")
            values = {"adversarial": self._generator_loss(real, fake)}
        return self.add_terms(values, due, player, batch, drawn, real, fake)

    def _generator_loss(self, real: Output | None, fake: Output) -> Tensor:
        """Return the weighted `g` of the generated images that `top_k` selects."""
        theirs = real.logits if self.loss.g_needs_real and real else None
        ours = fake.logits
        if self.top_k < 1:
            best = ours.topk(max(1, round(self.top_k * len(ours)))).indices
            ours, theirs = ours[best], None if theirs is None else theirs[best]
        value = self.loss.g(theirs, ours)
        return value if self.generator_weight == 1 else self.generator_weight * value
