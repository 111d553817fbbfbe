"""Two players, one discriminator of images (Goodfellow et al. 2014, arXiv:1406.2661, eq. 1)."""

import torch

from ganzoo.registry import objectives
from ganzoo.zoo.batch import Batch
from ganzoo.zoo.objectives.base import Objective, Terms
from ganzoo.zoo.terms.base import Drawn, PlayerName


@objectives.register("adversarial")
class Adversarial(Objective):
    """The loss's `d` for the discriminator, its `g` for the generator, and the terms of each."""

    def terms(self, player: PlayerName, batch: Batch, drawn: Drawn, due: tuple[str, ...]) -> Terms:
        if player == "discriminator":
            real, fake = self.judged_both(batch, drawn["fake"])
            values = {"adversarial": self.loss.d(real.logits, fake.logits)}
        else:
            real = None
            readers = [self.added[name] for name in due if self.added[name].needs_real]
            if self.loss.g_needs_real or readers:
                # The real side depends on nothing that the generator's player owns, but on a head that it shares.
                with torch.set_grad_enabled(any(term.shares_heads for term in readers)):
                    real = self.judged(batch.real, batch.labels, batch, "real")
            fake = self.judged(drawn["fake"], batch.fake_labels, batch, "fake")
            values = {"adversarial": self.loss.g(real.logits if self.loss.g_needs_real and real else None, fake.logits)}
        return self.add_terms(values, due, player, batch, drawn, real, fake)
