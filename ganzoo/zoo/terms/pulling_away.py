"""EBGAN's pulling-away term (Zhao et al. 2017, arXiv:1609.03126, eq. 4)."""

from dataclasses import dataclass

from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import normalize

from ganzoo.registry import terms
from ganzoo.zoo.terms.base import Term, Turn


@terms.register("pulling-away")
@dataclass(frozen=True, kw_only=True)
class PullingAway(Term):
    """Mean squared cosine between the features of two generated images of a batch, which the generator minimises."""

    weight: NonNegativeFloat = 0.1
    every: PositiveInt = 1

    term = "pulling_away"
    players = ("generator",)
    heads = ("features",)
    mixes_samples = True
    equation = (
        r"L_G \mathrel{+}= \frac{w}{N (N - 1)} \sum_{i \neq j} \left(\frac{f_i^\top f_j}{\|f_i\| \|f_j\|}\right)^2"
    )

    def __call__(self, turn: Turn) -> Tensor:
        features = normalize(turn.fake["features"], dim=1)
        n = len(features)
        cosines = (features @ features.T).square()
        return self.weight * (cosines.sum() - cosines.diagonal().sum()) / max(1, n * (n - 1))
