"""LeCam regularisation, for few images (Tseng et al. 2021, arXiv:2104.03310, eqs. 3-4)."""

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from ganzoo.config import Fraction
from ganzoo.registry import terms
from ganzoo.zoo.terms.base import Term, Turn


@terms.register("lecam")
class LeCam(Term, nn.Module):
    """Squared distance of real logits from the moving average of generated logits, and vice versa.

    The averages a_R and a_F start at the means of the first batch, and are updated with `decay` before the term is
    computed.
    """

    term = "lecam"
    mixes_samples = True
    equation = r"L_D \mathrel{+}= w \, E[(D(x) - a_F)^2] + w \, E[(D(G(z)) - a_R)^2]"

    real: Tensor
    fake: Tensor
    begun: Tensor

    def __init__(self, *, weight: NonNegativeFloat = 0.3, decay: Fraction = 0.99, every: PositiveInt = 1) -> None:
        nn.Module.__init__(self)
        self.weight, self.decay, self.every = weight, decay, every
        self.register_buffer("real", torch.zeros(()))
        self.register_buffer("fake", torch.zeros(()))
        self.register_buffer("begun", torch.zeros(()))  # 1 after the first batch

    def __call__(self, turn: Turn) -> Tensor:
        real, fake = turn.real_output.logits, turn.fake.logits
        share = torch.where(self.begun > 0, 1 - self.decay, 1.0)
        self.real.lerp_(real.detach().mean(), share)
        self.fake.lerp_(fake.detach().mean(), share)
        self.begun.fill_(1)
        return self.weight * ((real - self.fake).square().mean() + (fake - self.real).square().mean())
