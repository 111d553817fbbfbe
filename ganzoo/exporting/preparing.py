"""Preparation of a network for export: parametrisations are computed, and noise that it draws itself is fixed.

StyleGAN's generator adds noise to its features (Karras et al. 2019, https://arxiv.org/abs/1812.04948), pix2pix's keeps
its dropout (Isola et al. 2017, https://arxiv.org/abs/1611.07004). The images of a file depend only on `z` and `labels`,
so such noise is fixed: `constant` uses one draw of it for all images, `none` uses its mean.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from ganzoo.config import RunConfig
from ganzoo.errors import UsageError, VerificationError
from ganzoo.registry import nearest
from ganzoo.runtime.forms import NOISES
from ganzoo.seeds import derive
from ganzoo.zoo.build import example_inputs

BATCHES = (2, 3)  # batch sizes whose draws are compared: a size that differs is the batch size

Sample = Callable[[Sequence[int], torch.Generator], Tensor]
Fix = Callable[[Sequence[int], Sample, float], Tensor]  # a draw's shape, the function that samples it, and its mean


def fold(network: nn.Module) -> nn.Module:
    """Return `network`, or a copy whose parametrised tensors (`torch.nn.utils.parametrize`) are plain ones."""
    if not any(parametrize.is_parametrized(module) for module in network.modules()):
        return network
    network = copy.deepcopy(network)
    for module in [module for module in network.modules() if parametrize.is_parametrized(module)]:
        values = {name: getattr(module, name).detach().clone() for name in module.parametrizations}  # type: ignore[union-attr]
        # Not by remove_parametrizations: it changes the module's class, which the copy shares with the original.
        module.__class__ = parametrize.type_before_parametrizations(module)
        del module.parametrizations
        for name, value in values.items():
            module.register_parameter(name, nn.Parameter(value, requires_grad=False))
    return network


def fix_noise(network: nn.Module, config: RunConfig, role: str, noise: str | None, whose: str) -> nn.Module:
    """Return `network`, or if it draws noise in its forward, one that computes the same with that noise fixed.

    Raises VerificationError if it draws noise and `noise` is None, or if it draws noise that cannot be fixed;
    UsageError if `noise` is not one of `NOISES`.
    """
    if noise is not None and noise not in NOISES:
        raise UsageError(f"no noise '{noise}'{nearest(noise, list(NOISES))} (one of {', '.join(NOISES)})")
    if not _draws(network, example_inputs(config, role, BATCHES[0])):
        return network
    if noise is None:
        raise VerificationError(
            f"{whose} draws random noise in its forward, so a seed would not determine its images: add --noise "
            "constant (one draw of that noise, the same for all images) or --noise none (its mean)"
        )
    seed = derive(config.train.seed, "noise")
    return FixedNoise(network, [example_inputs(config, role, batch) for batch in BATCHES], noise, seed, whose).eval()


class FixedNoise(nn.Module):
    """A network whose draws are the same every time, and for every image of a batch.

    Args:
        examples: inputs of the batch sizes `BATCHES`, used to find out what the network draws.
        noise: one of `NOISES`.
        seed: the seed of `constant` draws.
        whose: the name of the network in messages.
    """

    def __init__(
        self, network: nn.Module, examples: Sequence[Sequence[Tensor | None]], noise: str, seed: int, whose: str
    ) -> None:
        super().__init__()
        self.network = network
        first, second = (_record_draws(network, inputs, whose) for inputs in examples)
        shapes = [_find_shared_shape(a, b) for (a, *_), (b, *_) in zip(first, second, strict=False)]
        if len(first) != len(second) or None in shapes:
            raise VerificationError(
                f"{whose} draws noise of a size that is neither fixed nor the batch size, which --noise cannot fix"
            )
        self.count = len(shapes)
        generator = torch.Generator().manual_seed(seed)
        for index, ((_, sample, mean), shape) in enumerate(zip(first, shapes, strict=True)):
            assert shape is not None
            value = sample(shape, generator) if noise == "constant" else torch.full([1] * len(shape), mean)
            self.register_buffer(f"noise_{index}", value)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Any:
        values = (self.get_buffer(f"noise_{index}") for index in range(self.count))
        with _Fixed(lambda shape, sample, mean: next(values).expand(*shape)):
            return self.network(x, labels)


class _Fixed(TorchFunctionMode):
    """A mode in which `fix` replaces the results of the random functions in `_DRAWN`."""

    def __init__(self, fix: Fix) -> None:
        super().__init__()
        self.fix = fix

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        drawn = _DRAWN.get(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {})) if drawn is None else drawn(self.fix, *args, **(kwargs or {}))


def _draws(network: nn.Module, inputs: Sequence[Tensor | None]) -> bool:
    """Return True if a forward uses random numbers of torch's generator."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        before = torch.get_rng_state()
        network(*inputs)
        return not torch.equal(before, torch.get_rng_state())


def _record_draws(
    network: nn.Module, inputs: Sequence[Tensor | None], whose: str
) -> list[tuple[tuple[int, ...], Sample, float]]:
    """Return the draws of a forward, in order. Raises VerificationError for functions that are not in `_DRAWN`."""
    found = []

    def record(shape: Sequence[int], sample: Sample, mean: float) -> Tensor:
        found.append((tuple(shape), sample, mean))
        return torch.full(tuple(shape), mean)

    with _Fixed(record):
        others = _draws(network, inputs)
    if others:
        raise VerificationError(
            f"{whose} draws noise that --noise cannot fix: it can fix torch.randn and torch.rand with their variants, "
            "torch.normal and dropout"
        )
    return found


def _find_shared_shape(first: tuple[int, ...], second: tuple[int, ...]) -> list[int] | None:
    """Return the shape of a draw for all images, with 1 for the batch size; None if other sizes vary."""
    varying = [pair for pair in zip(first, second, strict=False) if pair[0] != pair[1]]
    if len(first) != len(second) or any(pair != BATCHES for pair in varying):
        return None
    return [size if size == other else 1 for size, other in zip(first, second, strict=True)]


# Random functions


def _normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


def _uniform(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator)


def _make_sized(sample: Sample, mean: float) -> Callable[..., Tensor]:
    def draw(fix: Fix, *size: Any, **options: Any) -> Tensor:
        shape = options.get("size", size[0] if size and not isinstance(size[0], int | torch.SymInt) else size)
        return fix(shape, sample, mean).to(options.get("dtype") or torch.get_default_dtype())

    return draw


def _make_like(sample: Sample, mean: float) -> Callable[..., Tensor]:
    def draw(fix: Fix, x: Tensor, **options: Any) -> Tensor:
        return fix(x.shape, sample, mean).to(options.get("dtype") or x.dtype)

    return draw


def _torch_normal(fix: Fix, mean: Any = 0.0, std: Any = 1.0, size: Any = None, **_: Any) -> Tensor:
    shape = (torch.as_tensor(mean) + torch.as_tensor(std)).shape if size is None else size
    drawn: Tensor = mean + std * fix(shape, _normal, 0.0)
    return drawn


def _normal_in_place(fix: Fix, x: Tensor, mean: float = 0.0, std: float = 1.0, **_: Any) -> Tensor:
    return x.copy_(mean + std * fix(x.shape, _normal, 0.0))


def _uniform_in_place(fix: Fix, x: Tensor, start: float = 0.0, end: float = 1.0, **options: Any) -> Tensor:
    start, end = options.get("from", start), options.get("to", end)
    return x.copy_(start + (end - start) * fix(x.shape, _uniform, 0.5))


def _dropout(fix: Fix, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    def kept(shape: Sequence[int], generator: torch.Generator) -> Tensor:
        return (torch.rand(shape, generator=generator) >= p).float() / (1 - p)

    return x * fix(x.shape, kept, 1.0) if training and 0 < p < 1 else torch.dropout(x, p, training)


_DRAWN: dict[str, Callable[..., Tensor]] = {
    "randn": _make_sized(_normal, 0.0),
    "rand": _make_sized(_uniform, 0.5),
    "randn_like": _make_like(_normal, 0.0),
    "rand_like": _make_like(_uniform, 0.5),
    "normal": _torch_normal,
    "normal_": _normal_in_place,
    "uniform_": _uniform_in_place,
    "dropout": _dropout,
}
