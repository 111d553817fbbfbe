"""From a resolved configuration to its networks and objective."""

import torch
from torch import nn

from ganzoo import registry
from ganzoo.config import RunConfig
from ganzoo.errors import UsageError
from ganzoo.zoo.networks.common import ImageShape, Output, logits_of
from ganzoo.zoo.objectives.adversarial import Objective, mixes_samples


def build_generator(config: RunConfig) -> nn.Module:
    """The generator, with weights from torch's current seed."""
    spec, variant = config.variant.generator, config.variant
    network: nn.Module = registry.generators[spec.name](
        image_shape(config), variant.latent_dim, num_classes(config), **spec.settings
    )
    return network


def build_discriminator(config: RunConfig) -> nn.Module:
    """The discriminator, likewise."""
    spec = config.variant.discriminator
    network: nn.Module = registry.discriminators[spec.name](image_shape(config), num_classes(config), **spec.settings)
    return network


def build_objective(config: RunConfig) -> Objective:
    """Both networks, the loss and the penalties. Raises UsageError for networks that break their signatures."""
    variant = config.variant
    objective = Objective(
        build_generator(config),
        build_discriminator(config),
        registry.losses[variant.loss.name](**variant.loss.settings),
        [registry.penalties[spec.name](**spec.settings) for spec in variant.penalties],
    )
    _check_shapes(objective, config)
    if config.data.batch_size == 1 and mixes_samples(objective):
        raise UsageError("data.batch_size = 1: batch norm needs at least 2 images; drop it with generator.norm=none")
    return objective


def image_shape(config: RunConfig) -> ImageShape:
    """(C, H, W) of the run's images, known once its data are loaded."""
    if config.data.image_shape is None:
        raise UsageError("data.image_shape is not known: the configuration was not completed by its data")
    return config.data.image_shape


def num_classes(config: RunConfig) -> int | None:
    """How many classes the networks are told apart; None where the variant is unconditional."""
    return config.data.num_classes if config.variant.conditional else None


@torch.no_grad()
def _check_shapes(objective: Objective, config: RunConfig) -> None:
    """Tell the author of a network at once when its output has not the shape that everything else counts on."""
    objective.eval()
    labels = torch.zeros(2, dtype=torch.int64) if config.variant.conditional else None
    images = objective.generator(torch.zeros(2, config.variant.latent_dim), labels)
    expected = (2, *image_shape(config))
    if tuple(images.shape) != expected:
        raise UsageError(
            f"generator '{config.variant.generator.name}' drew images of shape {list(images.shape)} for 2 latents; "
            f"expected {list(expected)}"
        )
    answer: torch.Tensor | Output = objective.discriminator(images, labels)
    if tuple(logits_of(answer).shape) != (2,):
        raise UsageError(
            f"discriminator '{config.variant.discriminator.name}' answered logits of shape "
            f"{list(logits_of(answer).shape)} for 2 images; expected [2]: one number an image, without a dimension more"
        )
    objective.train()
