"""The self-supervision of SS-GAN (Chen et al. 2019, arXiv:1811.11212, eqs. 5-6)."""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import cross_entropy

from ganzoo.registry import terms
from ganzoo.zoo.batch import Draw
from ganzoo.zoo.networks.common import as_output
from ganzoo.zoo.terms.base import Term, Turn


@terms.register("rotation")
@dataclass(frozen=True, kw_only=True)
class Rotation(Term):
    """Cross-entropy of the rotation head, which predicts by how many quarter turns an image was rotated.

    Real images for the discriminator, and generated ones for the generator. Each image is rotated once, by a random
    number of quarter turns; the paper rotates a quarter of the batch in all four ways.
    """

    weight: NonNegativeFloat = 1.0
    generator_weight: NonNegativeFloat = 0.2
    every: PositiveInt = 1

    term = "rotation"
    players = ("discriminator", "generator")
    noise = MappingProxyType({"rotation": Draw("integers", (), 4)})
    heads = (("rotation", 4),)
    needs_square = True
    judges_others = True
    equation = r"L_D \mathrel{-}= w \, E[\log Q_D(r | x^r)], \quad L_G \mathrel{-}= w_G \, E[\log Q_D(r | G(z)^r)]"

    def __call__(self, turn: Turn) -> Tensor:
        discriminating = turn.player == "discriminator"
        images = turn.batch.real if discriminating else turn.drawn["fake"]
        turns = turn.batch.noise["rotation"]
        ways = torch.stack([images.rot90(k, (2, 3)) for k in range(4)])  # [4, N, C, H, W]
        rotated = ways[turns, torch.arange(len(turns), device=turns.device)]
        answer = as_output(turn.discriminator(rotated, turn.batch.labels if discriminating else turn.batch.fake_labels))
        return (self.weight if discriminating else self.generator_weight) * cross_entropy(answer["rotation"], turns)
