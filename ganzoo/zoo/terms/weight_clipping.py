"""WGAN's weight clipping (Arjovsky et al. 2017, arXiv:1701.07875, algorithm 1, line 7)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pydantic import PositiveFloat
from torch import nn

from ganzoo.registry import terms
from ganzoo.zoo.terms.base import PlayerName, Term


@terms.register("weight-clipping")
@dataclass(frozen=True, kw_only=True)
class WeightClipping(Term):
    """Clipping of the discriminator's weights to [-bound, bound] after each of its steps."""

    bound: PositiveFloat = 0.01

    term = "weight_clipping"
    equation = r"\theta_D \leftarrow \mathrm{clip}(\theta_D, -b, b)"

    @torch.no_grad()
    def after_step(self, player: PlayerName, networks: Mapping[str, nn.Module]) -> None:
        for parameter in networks["discriminator"].parameters():
            parameter.clamp_(-self.bound, self.bound)
