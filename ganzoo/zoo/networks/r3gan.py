"""R3GAN's networks without normalisation layers (Huang et al. 2024, arXiv:2501.05441, section 4 and appendix).

Each resolution has residual blocks, inverted bottlenecks with a grouped convolution. Between resolutions, images are
resampled bilinearly. The initialisation keeps the scale of the activations (Zhang et al. 2019, arXiv:1901.09321).
Intended for the relativistic loss with gradient penalties at real and generated images.
"""

import math
from typing import Literal, TypeVar

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from ganzoo.registry import discriminators, generators
from ganzoo.zoo.networks.common import (
    LABEL_DIM,
    ImageShape,
    LinearHeads,
    Output,
    channels_at,
    label_embedding,
    label_plane,
    pyramid,
    with_labels,
    with_plane,
)
from ganzoo.zoo.networks.fused import PoolConv2d

SLOPE = 0.2  # of the leaky ReLUs

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, PoolConv2d)


def _initialise(layer: Layer, gain: float = 1.0) -> Layer:
    """Initialise a layer so that its outputs have `gain` times the scale of its inputs, and return it."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _upsample(fan_in: int, fan_out: int) -> list[nn.Module]:
    """Return layers that double the resolution; the 1 x 1 convolution comes first, where there are fewer pixels."""
    if fan_in == fan_out:
        return [nn.Upsample(scale_factor=2, mode="bilinear")]
    return [_initialise(nn.Conv2d(fan_in, fan_out, 1, bias=False)), nn.Upsample(scale_factor=2, mode="bilinear")]


def _downsample(fan_in: int, fan_out: int) -> nn.Module:
    """Return a layer that halves the resolution, rounded up, by averages of 2 x 2 pixels."""
    if fan_in == fan_out:
        return nn.AvgPool2d(2, ceil_mode=True)
    return _initialise(PoolConv2d(fan_in, fan_out, bias=False))


class Block(nn.Module):
    """[N, C, H, W] -> [N, C, H, W]: a residual block of a wider grouped convolution between two 1 x 1 convolutions.

    The last convolution is initialised with 0, the others with the scale that preserves the scale of their input times
    `blocks` ** (-1/4), with the network's number of blocks, as in Fixup for branches of three layers.
    """

    def __init__(self, channels: int, *, expansion: int, group_size: int, blocks: int) -> None:
        super().__init__()
        hidden = expansion * channels
        groups = hidden // math.gcd(hidden, group_size)
        gain = math.sqrt(2 / (1 + SLOPE**2)) * blocks**-0.25
        self.widen = _initialise(nn.Conv2d(channels, hidden, 1), gain)
        self.mix = _initialise(nn.Conv2d(hidden, hidden, 3, padding=1, groups=groups), gain)
        self.narrow = _initialise(nn.Conv2d(hidden, channels, 1, bias=False), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        hidden = leaky_relu(self.mix(leaky_relu(self.widen(x), SLOPE)), SLOPE)
        changed: Tensor = self.narrow(hidden)
        return x + changed


class Basis(nn.Module):
    """z [N, D] -> [N, C, H, W]: learned images of the lowest resolution, each scaled by a linear function of z."""

    def __init__(self, inputs: int, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.images = nn.Parameter(torch.randn(channels, *size))
        self.strengths = _initialise(nn.Linear(inputs, channels, bias=False))

    def forward(self, z: Tensor) -> Tensor:
        strengths: Tensor = self.strengths(z)
        return self.images * strengths[:, :, None, None]


@generators.register("r3gan")
class R3GANGenerator(nn.Module):
    """z [N, latent_dim] (and labels [N]) -> images [N, C, H, W] in [-1, 1], by residual blocks without norm.

    In training mode values may leave [-1, 1], because without normalisation a tanh would soon saturate.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int,
        num_classes: int | None,
        *,
        width: PositiveInt = 16,
        blocks: PositiveInt = 1,
        expansion: PositiveInt = 2,
        group_size: PositiveInt = 16,
        conditioning: Literal["concat"] = "concat",
    ) -> None:
        super().__init__()
        self.size = image_shape[1:]
        self.labels = label_embedding(num_classes, LABEL_DIM)
        sizes = pyramid(*self.size)
        channels = [channels_at(width, stage) for stage in range(len(sizes))]
        shape = {"expansion": expansion, "group_size": group_size, "blocks": blocks * len(sizes)}
        layers: list[nn.Module] = [Basis(latent_dim + (LABEL_DIM if self.labels else 0), channels[-1], sizes[-1])]
        for stage in reversed(range(len(sizes))):
            layers += [Block(channels[stage], **shape) for _ in range(blocks)]
            if stage > 0:
                layers += _upsample(channels[stage], channels[stage - 1])
        self.body = nn.Sequential(*layers, _initialise(nn.Conv2d(width, image_shape[0], 1)))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        height, width = self.size
        images: Tensor = self.body(with_labels(z, self.labels, labels))[:, :, :height, :width]  # odd sizes: rounded up
        return images if self.training else images.clamp(-1, 1)


@discriminators.register("r3gan")
class R3GANDiscriminator(LinearHeads):
    """images [N, C, H, W] (and labels [N]) -> logits [N]: the mirrored generator, down to at most 4 pixels.

    Each channel of the last resolution becomes a feature, a weighted sum of its pixels. With `spectral_norm`, the last
    convolutions of blocks are initialised at random, because a weight of zeros cannot be divided by its singular value.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int | None,
        *,
        width: PositiveInt = 16,
        blocks: PositiveInt = 1,
        expansion: PositiveInt = 2,
        group_size: PositiveInt = 16,
        spectral_norm: bool = False,
        minibatch_std: bool = False,
        conditioning: Literal["concat", "projection"] | None = "projection",
    ) -> None:
        super().__init__(spectral_norm=spectral_norm, minibatch_std=minibatch_std)
        sizes = pyramid(*image_shape[1:], smallest=4)
        self.concat = label_plane(image_shape, num_classes, conditioning)
        channels = [channels_at(width, stage) for stage in range(len(sizes))]
        shape = {"expansion": expansion, "group_size": group_size, "blocks": blocks * len(sizes)}
        layers: list[nn.Module] = [_initialise(nn.Conv2d(image_shape[0] + (self.concat is not None), width, 1))]
        for stage in range(len(sizes)):
            if stage > 0:
                layers.append(_downsample(channels[stage - 1], channels[stage]))
            layers += [Block(channels[stage], **shape) for _ in range(blocks)]
        features = channels[-1]
        last = _initialise(nn.Conv2d(features, features, sizes[-1], groups=features, bias=False))
        self.body = nn.Sequential(*layers, last, nn.Flatten())
        if spectral_norm:
            for block in self.body.modules():
                if isinstance(block, Block):
                    _initialise(block.narrow)
        self.build_logits(features, num_classes if conditioning == "projection" else None)

    def forward(self, images: Tensor, labels: Tensor | None = None, z: Tensor | None = None) -> Tensor | Output:
        features = self.body(with_plane(images, self.concat, labels))
        return self.answer(features, labels, z, self.projection)
