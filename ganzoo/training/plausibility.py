"""Warnings about likely mistakes in a run's networks, once they have learnt a little.

Only networks of plug-ins are checked: those of ganzoo are tested, so a warning about them could only be a false alarm.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ganzoo import registry
from ganzoo.config import RunConfig, Spec
from ganzoo.registry import Registry
from ganzoo.training.state import TrainingState
from ganzoo.zoo.batch import Batch, Batches
from ganzoo.zoo.networks.common import logits_of

NARROW = 1.0  # half of the image range [-1, 1]


@torch.no_grad()
def find_implausible(state: TrainingState, config: RunConfig, batches: Batches) -> list[str]:
    """Return a line for each likely mistake; nothing that training depends on is changed."""
    objective, variant = state.objective, config.variant
    if _is_built_in(registry.generators, variant.generator) and _is_built_in(
        registry.discriminators, variant.discriminator
    ):
        return []
    batch = batches.at(state.step * variant.critic_steps)
    modes = {module: module.training for module in objective.modules()}
    objective.eval()
    try:
        images = objective.draw(batch)["fake"]
        return [*_look_at_images(images, config), *_look_at_logits(state, config, batch, images)]
    finally:
        for module, mode in modes.items():
            module.training = mode


def _look_at_images(images: Tensor, config: RunConfig) -> Iterator[str]:
    name, (least, most) = config.variant.generator.name, (float(images.min()), float(images.max()))
    if not _is_built_in(registry.generators, config.variant.generator) and most - least <= NARROW:
        yield (
            f"warning: the images of generator '{name}' use no more than half of [-1, 1]: they lie between {least:.2f} "
            f"and {most:.2f}; if it ends in a sigmoid, end it with torch.nn.Tanh()"
        )


def _look_at_logits(state: TrainingState, config: RunConfig, batch: Batch, images: Tensor) -> Iterator[str]:
    name, objective = config.variant.discriminator.name, state.objective
    of_probabilities = getattr(registry.losses[config.variant.loss.name], "of_probabilities", False)
    built_in = _is_built_in(registry.discriminators, config.variant.discriminator)
    if built_in or objective.sees_pairs or not of_probabilities:
        return
    labels = (batch.labels, batch.fake_labels) if config.variant.conditional else (None, None)
    logits = torch.cat(
        [logits_of(objective.discriminator(x, y)) for x, y in zip((batch.real, images), labels, strict=True)]
    )
    if float(logits.min()) >= 0 and float(logits.max()) <= 1:
        yield (
            f"warning: all logits of discriminator '{name}' lie in [0, 1], as probabilities do: the loss "
            f"'{config.variant.loss.name}' needs logits, so remove a sigmoid at its end"
        )


def _is_built_in(networks: Registry[Any], spec: Spec) -> bool:
    return networks.owner(spec.name).startswith("ganzoo.")
