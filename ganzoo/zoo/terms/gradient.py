"""The gradient penalty: R1, R2, WGAN-GP, WGAN-LP, WGAN-div and DRAGAN, which differ in points, target and power."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import leaky_relu, relu
from torch.overrides import TorchFunctionMode

from ganzoo.registry import terms
from ganzoo.zoo.batch import Batch
from ganzoo.zoo.networks.common import logits_of
from ganzoo.zoo.terms.base import Discriminator


class FlatCurvature(TorchFunctionMode):
    """Mode in which a double backward pass skips the second derivative of (leaky) ReLUs, which is zero.

    torch propagates these zeros back through all earlier layers; with a slope that is a constant for autograd it does
    not. The gradients are the same, and those of the perceptrons' penalty take half the time.
    """

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is relu or function is leaky_relu:
            names = ("input", "inplace") if function is relu else ("input", "negative_slope", "inplace")
            given = {**dict(zip(names, args, strict=False)), **kwargs}  # torch uses keywords, its compiler none
            if not given.get("inplace"):  # an overwritten input may be needed again
                x = given["input"]
                slope = given.get("negative_slope", 0.01) if function is leaky_relu else 0.0
                return x * torch.where(x.detach() > 0, 1.0, slope).to(x.dtype)
        return function(*args, **kwargs)


def _gradients(function: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """Return the gradient of each sample's logit at its point, [N, C, H, W], differentiable by the parameters."""

    def total(x: Tensor) -> Tensor:
        with FlatCurvature():
            return function(x).sum()

    if torch.compiler.is_compiling():  # the compiler does not support a leaf that is created in compiled code
        compiled: Tensor = torch.func.grad(total)(points)
        return compiled
    points = points.requires_grad_()
    (gradients,) = torch.autograd.grad(total(points), points, create_graph=True)
    return gradients


@terms.register("gradient")
@dataclass(frozen=True, kw_only=True)
class GradientPenalty:
    """`weight * E[| |grad D(x)| - target |^power]`, one norm per sample, at points x of four kinds:

    - `real`: R1 (Mescheder et al. 2018, arXiv:1801.04406, eq. 9), with target 0 and weight gamma/2;
    - `fake`: R2 (the same, eq. 10);
    - `interpolates`: WGAN-GP (Gulrajani et al. 2017, arXiv:1704.00028, eq. 3), with target 1 and weight 10;
    - `perturbed`: DRAGAN (Kodali et al. 2017, arXiv:1705.07215, algorithm 1), real images plus `0.5 * std` of noise.

    With `one_sided`, norms below the target are not penalised (WGAN-LP: Petzka et al. 2018, arXiv:1709.08894, eq. 7).
    WGAN-div (Wu et al. 2018, arXiv:1712.01026, eq. 9) has target 0, power 6 and weight 2. `every` above 1 is lazy
    regularisation (Karras et al. 2020, arXiv:1912.04958, section 3.1).
    """

    at: Literal["real", "fake", "interpolates", "perturbed"]
    target: NonNegativeFloat = 0.0
    power: Annotated[float, Field(ge=1)] = 2.0
    one_sided: bool = False
    weight: NonNegativeFloat = 1.0
    every: PositiveInt = 1

    per_sample: ClassVar[bool] = True
    equation: ClassVar[str] = r"L_D \mathrel{+}= w \, E[| \|\nabla_x D(x)\| - t |^p]"

    @property
    def term(self) -> str:
        return f"gradient_{self.at}"

    @property
    def judges_others(self) -> bool:
        return self.at in ("fake", "interpolates")

    @property
    def noise(self) -> frozenset[str]:
        return frozenset({"interpolates": ["mix"], "perturbed": ["pixels"]}.get(self.at, []))

    @property
    def mixes_samples(self) -> bool:
        return self.at == "perturbed"  # reads the standard deviation of the whole batch

    def __call__(self, discriminator: Discriminator, batch: Batch, fake: Tensor) -> Tensor:
        points, labels = self._points(batch, fake)
        gradients = _gradients(lambda x: logits_of(discriminator(x, labels)), points.detach())
        squared = gradients.flatten(1).square().sum(1)  # [N, C, H, W] -> [N]: one norm per sample
        # A setting that follows a schedule is a tensor.
        constant = not isinstance(self.target, Tensor) and not isinstance(self.power, Tensor)
        if constant and self.target == 0 and self.power >= 2:  # without a root, whose gradient at 0 is not finite
            return self.weight * (squared if self.power == 2 else squared.pow(self.power / 2)).mean()
        beyond = (squared + 1e-12).sqrt() - self.target
        beyond = relu(beyond) if self.one_sided else beyond.abs()
        return self.weight * beyond.pow(self.power).mean()

    def _points(self, batch: Batch, fake: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the points at which the gradient is computed, and the label of each point."""
        if self.at == "fake":
            return fake, batch.fake_labels
        if self.at == "interpolates":
            assert batch.noise.mix is not None
            return torch.lerp(fake, batch.real, batch.noise.mix), batch.labels
        if self.at == "perturbed":
            assert batch.noise.pixels is not None
            return batch.real + 0.5 * batch.real.std() * batch.noise.pixels, batch.labels
        return batch.real, batch.labels
