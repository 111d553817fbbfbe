"""AC-GAN's auxiliary classifier (Odena et al. 2017, arXiv:1610.09585, eq. 3)."""

from dataclasses import dataclass

from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import cross_entropy

from ganzoo.registry import terms
from ganzoo.zoo.terms.base import Term, Turn


@terms.register("classification")
@dataclass(frozen=True, kw_only=True)
class Classification(Term):
    """Cross-entropy of the class head: real and generated images for the discriminator, generated for the generator.

    The discriminator predicts the class, so the label must not be its input: set its `conditioning=None`.
    """

    weight: NonNegativeFloat = 1.0
    every: PositiveInt = 1

    term = "classification"
    players = ("discriminator", "generator")
    heads = ("classes",)
    shares_heads = True
    finds_classes = True
    needs_labels = True
    needs_fake_labels = True
    equation = r"L_{D,G} \mathrel{-}= w \, E[\log C(c | x)] + w \, E[\log C(c | G(z, c))]"

    def __call__(self, turn: Turn) -> Tensor:
        value = cross_entropy(turn.fake["classes"], turn.fake_labels)
        if turn.player == "discriminator":
            known = (turn.labels >= 0).sum().clamp(min=1)  # -1 is the label of an image without one
            losses = cross_entropy(turn.real_output["classes"], turn.labels, ignore_index=-1, reduction="sum")
            value = value + losses / known
        return self.weight * value
