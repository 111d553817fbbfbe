"""The optimisers: functions of the parameters, and of whether a CUDA graph will capture the steps.

Keyword-only arguments are the settings. Fused kernels are used if torch has them: they read `found_inf`, so that the
device skips a step that is not finite.
"""

from collections.abc import Iterable

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import nn

from ganzoo.config import Fraction
from ganzoo.registry import optimizers

Parameters = Iterable[nn.Parameter]


@optimizers.register("adam")
def adam(
    parameters: Parameters,
    capturable: bool,
    *,
    lr: PositiveFloat = 0.002,
    betas: tuple[Fraction, Fraction] = (0.0, 0.99),
    eps: PositiveFloat = 1e-8,
) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015, arXiv:1412.6980): learning rate, decay rates of the two moments, epsilon."""
    optimizer = torch.optim.Adam(parameters, lr=lr, betas=betas, eps=eps, fused=True, capturable=capturable)
    optimizer._warned_capturable_if_run_uncaptured = True  # a few steps run before the capture
    return optimizer


@optimizers.register("adamw")
def adamw(
    parameters: Parameters,
    capturable: bool,
    *,
    lr: PositiveFloat = 0.002,
    betas: tuple[Fraction, Fraction] = (0.0, 0.99),
    eps: PositiveFloat = 1e-8,
    weight_decay: NonNegativeFloat = 0.01,
) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101): Adam whose weight decay does not pass through the moments."""
    optimizer = torch.optim.AdamW(
        parameters, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True, capturable=capturable
    )
    optimizer._warned_capturable_if_run_uncaptured = True
    return optimizer


@optimizers.register("rmsprop")
def rmsprop(
    parameters: Parameters,
    capturable: bool,
    *,
    lr: PositiveFloat = 5e-5,
    alpha: Fraction = 0.99,
    eps: PositiveFloat = 1e-8,
    momentum: Fraction = 0.0,
) -> torch.optim.Optimizer:
    """RMSprop (Tieleman & Hinton 2012): gradients divided by a running root mean square; the default rate is WGAN's."""
    optimizer = torch.optim.RMSprop(
        parameters, lr=lr, alpha=alpha, eps=eps, momentum=momentum, capturable=capturable, foreach=True
    )
    optimizer._warned_capturable_if_run_uncaptured = True
    return optimizer


@optimizers.register("sgd")
def sgd(
    parameters: Parameters,
    capturable: bool,
    *,
    lr: PositiveFloat = 0.01,
    momentum: Fraction = 0.0,
) -> torch.optim.Optimizer:
    """Stochastic gradient descent: learning rate, and the momentum, the weight of the previous gradients."""
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, fused=True)
