"""Feature matching (Salimans et al. 2016, arXiv:1606.03498, section 3.1)."""

from dataclasses import dataclass

from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from ganzoo.registry import terms
from ganzoo.zoo.terms.base import Term, Turn


@terms.register("feature-matching")
@dataclass(frozen=True, kw_only=True)
class FeatureMatching(Term):
    """Squared distance between the mean features of generated and of real images, averaged over the features.

    The features are the inputs of the discriminator's last layer. The distances are averaged, not summed as in the
    paper, so that the weight does not depend on the width of the network.
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
