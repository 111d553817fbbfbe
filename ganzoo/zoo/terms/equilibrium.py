"""BEGAN's equilibrium (Berthelot et al. 2017, arXiv:1703.10717, section 3.4)."""

from collections.abc import Mapping

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from ganzoo.config import Fraction
from ganzoo.registry import terms
from ganzoo.zoo.terms.base import PlayerName, Term, Turn


@terms.register("equilibrium")
class Equilibrium(Term, nn.Module):
    """Change of the loss `wasserstein` to L(x) - k L(G(z)) for the discriminator; L is the reconstruction error.

    The loss is L(x) - L(G(z)); the term adds (1 - k) L(G(z)). After each step of the discriminator,
    k += rate * (balance * L(x) - L(G(z))), clipped to [0, 1]. The balance, gamma in the paper, is the target ratio of
    the two errors, L(G(z)) / L(x): a smaller ratio results in less variety.
    """

    term = "equilibrium"
    heads = ("reconstruction",)
    needs_loss = "wasserstein"
    equation = r"L_D = L(x) - k_t L(G(z)), \quad L_G = L(G(z)), \quad k_{t+1} = k_t + \lambda (\gamma L(x) - L(G(z)))"

    k: Tensor
    real_error: Tensor
    fake_error: Tensor

    def __init__(self, *, balance: PositiveFloat = 0.5, rate: NonNegativeFloat = 0.001, k: Fraction = 0.0) -> None:
        nn.Module.__init__(self)
        self.balance = balance
        self.rate = rate
        self.register_buffer("k", torch.tensor(k))
        self.register_buffer("real_error", torch.zeros(()))
        self.register_buffer("fake_error", torch.zeros(()))

    def __call__(self, turn: Turn) -> Tensor:
        fake_error = -turn.fake.logits.mean()
        self.real_error.copy_(-turn.real_output.logits.detach().mean())
        self.fake_error.copy_(fake_error.detach())
        return (1 - self.k) * fake_error

    @torch.no_grad()
    def after_step(self, player: PlayerName, networks: Mapping[str, nn.Module]) -> None:
        self.k.add_(self.rate * (self.balance * self.real_error - self.fake_error)).clamp_(0, 1)
