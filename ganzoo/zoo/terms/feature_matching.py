"""Feature matching (Salimans et al. 2016, arXiv:1606.03498, section 3.1)."""

from dataclasses import dataclass

from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from ganzoo.registry import terms
from ganzoo.zoo.terms.base import Term, Turn


@terms.register("feature-matching")
@dataclass(frozen=True, kw_only=True)
class FeatureMatching(Term):
    """The generator's images have the mean features of real ones: the squared distance of the two means, by feature.

    The features are those from which the discriminator computes its logits. The mean over them, in place of the paper's
    sum, keeps the weight's meaning when a network becomes wider.
    """

    weight: NonNegativeFloat = 1.0
    every: PositiveInt = 1

    term = "feature_matching"
    players = ("generator",)
    heads = ("features",)
    needs_real = True
    mixes_samples = True
    equation = r"L_G \mathrel{+}= w \, \mathrm{mean}_j (E[f_j(x)] - E[f_j(G(z))])^2"

    def __call__(self, turn: Turn) -> Tensor:
        apart = turn.real_output["features"].mean(0) - turn.fake["features"].mean(0)
        return self.weight * apart.square().mean()
