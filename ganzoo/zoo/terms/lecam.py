"""LeCam regularisation, for few images (Tseng et al. 2021, arXiv:2104.03310, eqs. 3-4)."""

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from ganzoo.config import Fraction
from ganzoo.registry import terms
from ganzoo.zoo.terms.base import Term, Turn


@terms.register("lecam")
class LeCam(Term, nn.Module):
    """Logits of real images stay near the moving average of the generated ones', and the other way round.

    The averages a_R and a_F follow the batches' means with the `decay`, before the term is computed.
    """

    term = "lecam"
    equation = r"L_D \mathrel{+}= w \, E[(D(x) - a_F)^2] + w \, E[(D(G(z)) - a_R)^2]"

    real: Tensor
    fake: Tensor

    def __init__(self, *, weight: NonNegativeFloat = 0.3, decay: Fraction = 0.99, every: PositiveInt = 1) -> None:
        nn.Module.__init__(self)
        self.weight, self.decay, self.every = weight, decay, every
        self.register_buffer("real", torch.zeros(()))
        self.register_buffer("fake", torch.zeros(()))

    def __call__(self, turn: Turn) -> Tensor:
        real, fake = turn.real_output.logits, turn.fake.logits
        self.real.lerp_(real.detach().mean(), 1 - self.decay)
        self.fake.lerp_(fake.detach().mean(), 1 - self.decay)
        return self.weight * ((real - self.fake).square().mean() + (fake - self.real).square().mean())
