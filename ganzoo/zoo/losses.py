"""The adversarial losses: each a pair of pure functions from logits [N] to a scalar.

The discriminator minimises `d(real, fake)` and the generator `g(real, fake)`. `g_needs_real`: whether `g` reads the
logits of the real images (otherwise they are None). `mixes_samples`: whether a loss is not a mean over samples.
`signed`: whether a positive logit means that the discriminator classifies the image as real. `equation` is for the
documentation: x are real logits, y fake logits, and s is the softplus.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol, cast

import torch
from pydantic import PositiveFloat
from torch import Tensor
from torch.nn.functional import relu, softplus

from ganzoo.config import Fraction
from ganzoo.registry import losses


class Loss(Protocol):
    """The interface of a registered loss."""

    g_needs_real: ClassVar[bool]

    def d(self, real: Tensor, fake: Tensor) -> Tensor: ...

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class _Logistic:
    """The discriminator's loss of Goodfellow et al. 2014: the cross-entropy of real and fake.

    `smoothing` is one-sided label smoothing (Salimans et al. 2016, arXiv:1606.03498, section 3.4): the target
    probability of real images is 1 - smoothing.
    """

    of_probabilities: ClassVar[bool] = True  # the sigmoid of a logit is a probability
    signed: ClassVar[bool] = True
    smoothing: Fraction = 0.0

    g_needs_real: ClassVar[bool] = False

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        value = softplus(-real).mean() + softplus(fake).mean()  # -log sigmoid(x) = softplus(-x)
        if self.smoothing:
            value = value + self.smoothing * real.mean()  # softplus(x) - softplus(-x) = x
        return value


@losses.register("non-saturating")
@dataclass(frozen=True, kw_only=True)
class NonSaturating(_Logistic):
    """The loss that Goodfellow et al. 2014 (arXiv:1406.2661, section 3) train with: G maximises log D(G(z))."""

    equation: ClassVar[str] = r"L_D = E[s(-x)] + E[s(y)], \quad L_G = E[s(-y)]"

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return softplus(-fake).mean()


@losses.register("minimax")
@dataclass(frozen=True, kw_only=True)
class Minimax(_Logistic):
    """The loss that Goodfellow et al. 2014 (arXiv:1406.2661, eq. 1) analyse: G minimises log(1 - D(G(z)))."""

    equation: ClassVar[str] = r"L_D = E[s(-x)] + E[s(y)], \quad L_G = -E[s(y)]"

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -softplus(fake).mean()


@losses.register("boundary-seeking")
@dataclass(frozen=True, kw_only=True)
class BoundarySeeking(_Logistic):
    """BGAN (Hjelm et al. 2018, arXiv:1702.08431, for continuous data): G moves its images to D's decision boundary.

    log D - log(1 - D) is the logit, so the generator minimises half the logit's square.
    """

    equation: ClassVar[str] = r"L_D = E[s(-x)] + E[s(y)], \quad L_G = \frac{1}{2} E[y^2]"

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return fake.square().mean() / 2


@losses.register("least-squares")
@dataclass(frozen=True, kw_only=True)
class LeastSquares:
    """LSGAN (Mao et al. 2017, arXiv:1611.04076, eq. 2): D's targets are b for real and a for fake logits, G's is c.

    The defaults are those of the paper's eq. 9: a = 0, b = c = 1; eq. 8 has a = -1, b = 1, c = 0.
    """

    a: float = 0.0
    b: float = 1.0
    c: float = 1.0

    g_needs_real: ClassVar[bool] = False
    equation: ClassVar[str] = (
        r"L_D = \frac{1}{2} E[(x - b)^2] + \frac{1}{2} E[(y - a)^2], \quad L_G = \frac{1}{2} E[(y - c)^2]"
    )

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return ((real - self.b).square().mean() + (fake - self.a).square().mean()) / 2

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return (fake - self.c).square().mean() / 2


@losses.register("hinge")
@dataclass(frozen=True, kw_only=True)
class Hinge:
    """The hinge loss (Lim & Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, eqs. 16-17)."""

    signed: ClassVar[bool] = True
    g_needs_real: ClassVar[bool] = False
    equation: ClassVar[str] = r"L_D = E[\max(0, 1 - x)] + E[\max(0, 1 + y)], \quad L_G = -E[y]"

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return relu(1 - real).mean() + relu(1 + fake).mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -fake.mean()


@losses.register("wasserstein")
@dataclass(frozen=True, kw_only=True)
class Wasserstein:
    """WGAN (Arjovsky et al. 2017, arXiv:1701.07875, eqs. 2-3): a critic's scores, not probabilities.

    It is meaningful only for a Lipschitz critic: add a gradient penalty or weight clipping.
    """

    g_needs_real: ClassVar[bool] = False
    equation: ClassVar[str] = r"L_D = E[y] - E[x], \quad L_G = -E[y]"

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.mean() - real.mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -fake.mean()


@losses.register("margin")
@dataclass(frozen=True, kw_only=True)
class Margin:
    """EBGAN (Zhao et al. 2017, arXiv:1609.03126, eqs. 1-2): energies, which are minus the logits, with a margin.

    The discriminator assigns a low energy to real images and at least `margin` to generated ones. The energy of an
    autoencoder is its error, which is never negative; other discriminators have energies of both signs.
    """

    margin: PositiveFloat = 1.0

    g_needs_real: ClassVar[bool] = False
    equation: ClassVar[str] = r"L_D = E[-x] + E[\max(0, m + y)], \quad L_G = E[-y]"

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return relu(self.margin + fake).mean() - real.mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -fake.mean()


@losses.register("relativistic-pairing")
@dataclass(frozen=True, kw_only=True)
class RelativisticPairing:
    """RpGAN (Jolicoeur-Martineau 2018, arXiv:1807.00734; R3GAN, arXiv:2501.05441, eq. 2): pairs of fake and real."""

    g_needs_real: ClassVar[bool] = True
    equation: ClassVar[str] = r"L_D = E[s(y - x)], \quad L_G = E[s(x - y)]"

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake - real).mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return softplus(cast(Tensor, real) - fake).mean()


@losses.register("relativistic-average")
@dataclass(frozen=True, kw_only=True)
class RelativisticAverage:
    """RaGAN (Jolicoeur-Martineau 2018, arXiv:1807.00734, section 4.3): each logit minus the other kind's mean."""

    g_needs_real: ClassVar[bool] = True
    mixes_samples: ClassVar[bool] = True
    equation: ClassVar[str] = r"L_D = E[s(E[y] - x)] + E[s(y - E[x])], \quad L_G = E[s(E[x] - y)] + E[s(x - E[y])]"

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return self.d(fake, cast(Tensor, real))


@losses.register("softmax")
@dataclass(frozen=True, kw_only=True)
class Softmax:
    """Softmax GAN (Lin 2017, arXiv:1704.06191, section 3): a softmax over the batch, with each image as a class.

    The discriminator's target distribution is uniform over the real images of the batch, the generator's over real and
    generated images. The paper's potential is minus the logit.
    """

    g_needs_real: ClassVar[bool] = True
    mixes_samples: ClassVar[bool] = True
    equation: ClassVar[str] = (
        r"L_D = \log Z - E[x], \quad L_G = \log Z - \frac{1}{2} (E[x] + E[y]), \quad Z = \sum e^x + \sum e^y"
    )

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return torch.cat([real, fake]).logsumexp(0) - real.mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        both = torch.cat([cast(Tensor, real), fake])
        return both.logsumexp(0) - both.mean()


class Divergence(NamedTuple):
    """A row of tables 2 and 6 of the f-GAN paper, as functions of the logit v."""

    activation: Callable[[Tensor], Tensor]  # g_f(v)
    conjugate: Callable[[Tensor], Tensor]  # f*(g_f(v))


DIVERGENCES = {
    "kl": Divergence(lambda v: v, lambda v: torch.exp(v - 1)),
    "reverse-kl": Divergence(lambda v: -torch.exp(-v), lambda v: v - 1),
    "pearson": Divergence(lambda v: v, lambda v: v.square() / 4 + v),
    "squared-hellinger": Divergence(lambda v: 1 - torch.exp(-v), lambda v: torch.exp(v) - 1),
    "jensen-shannon": Divergence(lambda v: math.log(2) - softplus(-v), lambda v: softplus(v) - math.log(2)),
}


@losses.register("f-divergence")
@dataclass(frozen=True, kw_only=True)
class FDivergence:
    """f-GAN (Nowozin et al. 2016, arXiv:1606.00709, eq. 6): the bound on an f-divergence of real and fake.

    The activations g_f and conjugates f* are those of tables 2 and 6. The generator maximises E[g_f(y)], which does not
    saturate (section 3.2).
    """

    divergence: Literal["kl", "reverse-kl", "jensen-shannon", "pearson", "squared-hellinger"] = "jensen-shannon"

    g_needs_real: ClassVar[bool] = False
    equation: ClassVar[str] = r"L_D = E[f^*(g_f(y))] - E[g_f(x)], \quad L_G = -E[g_f(y)]"

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        row = DIVERGENCES[self.divergence]
        return row.conjugate(fake).mean() - row.activation(real).mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -DIVERGENCES[self.divergence].activation(fake).mean()
