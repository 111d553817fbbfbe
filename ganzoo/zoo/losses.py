"""The adversarial games: each a frozen pair of pure functions, logits [N] in, scalar out.

`d(real, fake)` is what the discriminator minimises and `g(real, fake)` the generator; `g_needs_real` says whether `g`
reads the logits of the real images (it is given None for them otherwise).
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, cast

from torch import Tensor
from torch.nn.functional import relu, softplus

from ganzoo.registry import losses


class Loss(Protocol):
    """What a registered loss offers."""

    g_needs_real: ClassVar[bool]

    def d(self, real: Tensor, fake: Tensor) -> Tensor: ...

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor: ...


@losses.register("non-saturating")
@dataclass(frozen=True, kw_only=True)
class NonSaturating:
    """The game that Goodfellow et al. 2014 (arXiv:1406.2661, section 3) train with: G maximises log D(G(z))."""

    g_needs_real: ClassVar[bool] = False

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real).mean() + softplus(fake).mean()  # -log s(x) = softplus(-x)

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return softplus(-fake).mean()


@losses.register("minimax")
@dataclass(frozen=True, kw_only=True)
class Minimax:
    """The game that Goodfellow et al. 2014 (arXiv:1406.2661, eq. 1) analyse: G minimises log(1 - D(G(z)))."""

    g_needs_real: ClassVar[bool] = False

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real).mean() + softplus(fake).mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -softplus(fake).mean()


@losses.register("least-squares")
@dataclass(frozen=True, kw_only=True)
class LeastSquares:
    """LSGAN (Mao et al. 2017, arXiv:1611.04076, eq. 9): logits drawn to 1 for real and 0 for fake."""

    g_needs_real: ClassVar[bool] = False

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return ((real - 1).square().mean() + fake.square().mean()) / 2

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return (fake - 1).square().mean() / 2


@losses.register("hinge")
@dataclass(frozen=True, kw_only=True)
class Hinge:
    """The hinge game (Lim & Ye 2017, arXiv:1705.02894; Miyato et al. 2018, arXiv:1802.05957, eqs. 16-17)."""

    g_needs_real: ClassVar[bool] = False

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return relu(1 - real).mean() + relu(1 + fake).mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -fake.mean()


@losses.register("wasserstein")
@dataclass(frozen=True, kw_only=True)
class Wasserstein:
    """WGAN (Arjovsky et al. 2017, arXiv:1701.07875, eqs. 2-3): a critic's scores, not probabilities.

    It means something only for a Lipschitz critic: give it a penalty.
    """

    g_needs_real: ClassVar[bool] = False

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.mean() - real.mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -fake.mean()


@losses.register("relativistic-pairing")
@dataclass(frozen=True, kw_only=True)
class RelativisticPairing:
    """RpGAN (Jolicoeur-Martineau 2018, arXiv:1807.00734; R3GAN, arXiv:2501.05441, eq. 2): a fake against a real."""

    g_needs_real: ClassVar[bool] = True

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake - real).mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return softplus(cast(Tensor, real) - fake).mean()
