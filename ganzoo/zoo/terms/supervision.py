"""Supervision by the images that have labels (Salimans et al. 2016, arXiv:1606.03498, section 5)."""

from dataclasses import dataclass

from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import cross_entropy

from ganzoo.registry import terms
from ganzoo.zoo.networks.common import as_output
from ganzoo.zoo.terms.base import Term, Turn


@terms.register("supervision")
@dataclass(frozen=True, kw_only=True)
class Supervision(Term):
    """Cross-entropy of the discriminator's class head on a batch of labelled images."""

    weight: NonNegativeFloat = 1.0
    every: PositiveInt = 1

    term = "supervision"
    heads = ("classes",)
    needs_labelled = True
    judges_others = True
    equation = r"L_D \mathrel{-}= w \, E_{x, c \sim \mathrm{labelled}}[\log p(c | x, \mathrm{real})]"

    def __call__(self, turn: Turn) -> Tensor:
        images, labels = turn.labelled
        return self.weight * cross_entropy(as_output(turn.discriminator(images, labels))["classes"], labels)
