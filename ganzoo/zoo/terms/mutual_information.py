"""InfoGAN's bound on the mutual information of codes and images (Chen et al. 2016, arXiv:1606.03657, eq. 5)."""

import math
from dataclasses import dataclass

from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import cross_entropy

from ganzoo.registry import terms
from ganzoo.zoo.terms.base import Term, Turn


@terms.register("mutual-information")
@dataclass(frozen=True, kw_only=True)
class MutualInformation(Term):
    """Minus the bound L_I = H(c) + E[log Q(c|x)], in nats, over the categorical and the uniform codes.

    For a categorical code, Q is the softmax of the code head. For a uniform code, Q is a normal distribution with the
    head's value as mean and a fixed standard deviation of 1, as in the authors' code, which results in a squared error.
    The bound of a perfect head for a code with ten values is ln 10.
    """

    weight: NonNegativeFloat = 1.0  # of the categorical code
    uniform_weight: NonNegativeFloat = 1.0  # of the uniform codes
    every: PositiveInt = 1

    term = "mutual_information"
    players = ("discriminator", "generator")
    heads = ("codes",)
    shares_heads = True
    equation = r"L_{D,G} \mathrel{-}= w \, (H(c) + E[\log Q(c | G(z, c))])"

    def __call__(self, turn: Turn) -> Tensor:
        head, uniform = turn.fake["codes"], turn.uniform_codes
        bound = head.new_zeros(())
        if turn.batch.fake_labels is not None:
            logits = head[:, : head.shape[1] - uniform]
            bound = bound + self.weight * (math.log(logits.shape[1]) - cross_entropy(logits, turn.batch.fake_labels))
        if uniform:
            errors = (head[:, -uniform:] - turn.batch.z[:, -uniform:]).square().sum(1).mean()
            entropy = uniform * (math.log(2) - math.log(2 * math.pi) / 2)  # of the codes, and Q's constant
            bound = bound + self.uniform_weight * (entropy - errors / 2)
        return -bound
