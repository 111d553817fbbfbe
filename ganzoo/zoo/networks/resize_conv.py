"""Resize-convolution networks (Odena et al. 2016, distill.pub/2016/deconv-checkerboard): no checkerboard artefacts.

The generator doubles the resolution by nearest-neighbour upsampling followed by a 3 x 3 convolution; the discriminator
halves it by strided convolutions, or by convolutions with average pooling.
"""

import math
from itertools import pairwise
from typing import Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from ganzoo.config import Fraction
from ganzoo.registry import discriminators, generators
from ganzoo.zoo.networks.common import (
    LABEL_DIM,
    ImageShape,
    LinearHeads,
    Output,
    label_embedding,
    label_plane,
    with_labels,
    with_plane,
)
from ganzoo.zoo.networks.fused import ConvPool2d, ImageConv2d, UpsampleConv2d


def _halve(size: tuple[int, int], times: int) -> tuple[int, int]:
    """Return height and width after this number of halvings, rounded up."""
    return math.ceil(size[0] / 2**times), math.ceil(size[1] / 2**times)


@generators.register("resize-conv")
class ResizeConvGenerator(nn.Module):
    """z [N, latent_dim] (and labels [N]) -> images [N, C, H, W] in [-1, 1], by `stages` doublings."""

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int,
        num_classes: int | None,
        *,
        width: PositiveInt = 64,
        stages: PositiveInt = 2,
        norm: Literal["batch"] | None = "batch",
        conditioning: Literal["concat"] = "concat",
    ) -> None:
        super().__init__()
        self.size = image_shape[1:]
        self.labels = label_embedding(num_classes, LABEL_DIM)
        bias = norm is None
        channels = [2 * width] * stages + [width]
        stem = (channels[0], *_halve(self.size, stages))
        layers: list[nn.Module] = [
            nn.Linear(latent_dim + (LABEL_DIM if self.labels else 0), math.prod(stem), bias=bias),
            *([] if bias else [nn.BatchNorm1d(math.prod(stem))]),
            nn.Unflatten(1, stem),
        ]
        for fan_in, fan_out in pairwise(channels):
            layers.append(UpsampleConv2d(fan_in, fan_out, bias=bias))
            if not bias:
                layers.append(nn.BatchNorm2d(fan_out))
            layers.append(nn.LeakyReLU(0.2))
        self.body = nn.Sequential(*layers, ImageConv2d(width, image_shape[0]), nn.Tanh())

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        height, width = self.size
        images: Tensor = self.body(with_labels(z, self.labels, labels))
        return images[:, :, :height, :width]  # odd sizes were rounded up


@discriminators.register("resize-conv")
class ResizeConvDiscriminator(LinearHeads):
    """images [N, C, H, W] (and labels [N]) -> logits [N], by `stages` halvings, each with twice the channels.

    Small images are halved only until a side is one pixel. (In torch 2.13, bfloat16 gradients of a convolution of
    single pixels read uninitialised memory.)
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int | None,
        *,
        width: PositiveInt = 16,
        stages: PositiveInt = 4,
        downsampling: Literal["stride", "pool"] = "stride",
        norm: Literal["batch"] | None = None,
        dropout: Fraction = 0.0,
        spectral_norm: bool = False,
        minibatch_std: bool = False,
        conditioning: Literal["concat", "projection"] | None = "projection",
    ) -> None:
        super().__init__(spectral_norm=spectral_norm, minibatch_std=minibatch_std)
        size = image_shape[1:]
        stages = min(stages, (min(size) - 1).bit_length())
        self.concat = label_plane(image_shape, num_classes, conditioning)
        channels = [image_shape[0] + (self.concat is not None), *(width << stage for stage in range(stages))]
        layers: list[nn.Module] = []
        for stage, (fan_in, fan_out) in enumerate(pairwise(channels)):
            if downsampling == "pool":
                layers.append(ConvPool2d(fan_in, fan_out))
            else:
                layers.append(nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1))
            layers.append(nn.LeakyReLU(0.2))
            if dropout:
                layers.append(nn.Dropout2d(dropout))
            if norm is not None and stage > 0:  # not in the first layer
                layers.append(nn.BatchNorm2d(fan_out))
        self.body = nn.Sequential(*layers, nn.Flatten())
        features = channels[-1] * math.prod(_halve(size, stages))
        self.build_logits(features, num_classes if conditioning == "projection" else None)

    def forward(self, images: Tensor, labels: Tensor | None = None, z: Tensor | None = None) -> Tensor | Output:
        features = self.body(with_plane(images, self.concat, labels))
        return self.answer(features, labels, z, self.projection)
