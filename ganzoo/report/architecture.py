"""The layers of a network, found by running it: the output and the weights of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer, in the order of the forward pass; `shape` is the shape of its output, without the batch."""

    name: str
    shape: tuple[int, ...] | None
    parameters: int


@torch.no_grad()
def layers_of(network: nn.Module, *inputs: Tensor | None) -> list[Layer]:
    """Return the layers that a forward pass of `inputs` uses, and an entry for weights outside of layers."""
    met: dict[nn.Module, Layer] = {}

    def note(layer: nn.Module, _: Any, output: Any) -> None:
        shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else None
        if layer not in met:
            met[layer] = Layer(name=type(layer).__name__, shape=shape, parameters=_count([layer]))

    hooks = [layer.register_forward_hook(note) for layer in network.modules() if not any(layer.children())]
    try:
        network(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    outside = _count([network]) - _count(list(met))
    return [*met.values(), *([Layer(name="outside of layers", shape=None, parameters=outside)] if outside else [])]


def _count(modules: Sequence[nn.Module]) -> int:
    """Return the number of weights, each counted once."""
    parameters = {parameter for module in modules for parameter in module.parameters()}
    return sum(parameter.numel() for parameter in parameters)
