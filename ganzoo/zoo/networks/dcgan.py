"""DCGAN's convolutional networks (Radford et al. 2016, arXiv:1511.06434), at the images' original size.

Each stage doubles or halves the resolution, between the images' size and at most 7 pixels (28 -> 14 -> 7, without
padding to 32); the discriminator continues to 4. A stage has twice the channels of the next larger one, up to 512.
"""

import math
from itertools import pairwise
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from ganzoo.registry import discriminators, encoders, generators
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
from ganzoo.zoo.networks.fused import ImageConv2d


@generators.register("dcgan")
class DCGANGenerator(nn.Module):
    """z [N, latent_dim] (and labels [N]) -> images [N, C, H, W] in [-1, 1], by transposed convolutions.

    An additional 3 x 3 convolution at the same resolution precedes each of the first `convolutions` of them: at low
    resolutions, depth is cheap and determines the content of the image.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int,
        num_classes: int | None,
        *,
        width: PositiveInt = 16,
        convolutions: NonNegativeInt = 0,
        norm: Literal["batch"] | None = "batch",
        conditioning: Literal["concat"] = "concat",
    ) -> None:
        super().__init__()
        self.size = image_shape[1:]
        self.labels = label_embedding(num_classes, LABEL_DIM)
        sizes = pyramid(*self.size)
        top = len(sizes) - 1
        stem = (channels_at(width, top), *sizes[-1])
        inputs = latent_dim + (LABEL_DIM if self.labels else 0)
        bias = norm is None

        def activated(channels: int, batch_norm: type[nn.Module]) -> list[nn.Module]:
            return [*([] if bias else [batch_norm(channels)]), nn.ReLU()]

        layers: list[nn.Module] = [
            nn.Linear(inputs, math.prod(stem), bias=bias),
            *activated(math.prod(stem), nn.BatchNorm1d),
            nn.Unflatten(1, stem),
        ]
        # Kernel 4, stride 2: the kernel is a multiple of the stride, which avoids checkerboard artefacts.
        for stage in range(top, 0, -1):
            fan_in, fan_out = channels_at(width, stage), channels_at(width, stage - 1)
            if top - stage < convolutions:
                layers += [nn.Conv2d(fan_in, fan_in, 3, padding=1, bias=bias), *activated(fan_in, nn.BatchNorm2d)]
            layers += [
                nn.ConvTranspose2d(fan_in, fan_out, 4, stride=2, padding=1, bias=bias),
                *activated(fan_out, nn.BatchNorm2d),
            ]
        self.body = nn.Sequential(*layers, ImageConv2d(width, image_shape[0]), nn.Tanh())

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        height, width = self.size
        images: Tensor = self.body(with_labels(z, self.labels, labels))
        return images[:, :, :height, :width]  # odd sizes were rounded up


@discriminators.register("dcgan")
class DCGANDiscriminator(LinearHeads):
    """images [N, C, H, W] (and labels [N]) -> logits [N], by strided convolutions down to at most `smallest` pixels.

    An additional 3 x 3 convolution at the same resolution precedes each of the last `convolutions` of them.
    """

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int | None,
        *,
        width: PositiveInt = 16,
        smallest: PositiveInt = 4,
        norm: Literal["batch"] | None = None,
        spectral_norm: bool = False,
        minibatch_std: bool = False,
        convolutions: NonNegativeInt = 0,
        conditioning: Literal["concat", "projection"] | None = "projection",
    ) -> None:
        super().__init__(spectral_norm=spectral_norm, minibatch_std=minibatch_std)
        size = image_shape[1:]
        halved = pyramid(*size, smallest=smallest)[:-1]
        self.concat = label_plane(image_shape, num_classes, conditioning)
        channels = [
            image_shape[0] + (self.concat is not None),
            *(channels_at(width, stage + 1) for stage in range(len(halved))),
        ]
        layers: list[nn.Module] = []
        for stage, (fan_in, fan_out) in enumerate(pairwise(channels)):
            normed = norm is not None and stage > 0  # not in the first layer, as in the paper
            if stage > 0 and len(halved) - stage <= convolutions:
                layers.append(nn.Conv2d(fan_in, fan_in, 3, padding=1, bias=not normed))
                layers += [nn.BatchNorm2d(fan_in)] if normed else []
                layers.append(nn.LeakyReLU(0.2))
            kernel = 4 if max(halved[stage]) > 7 else 3  # 3 rounds odd sizes up, but 4 would drop the last pixel
            layers.append(nn.Conv2d(fan_in, fan_out, kernel, stride=2, padding=1, bias=not normed))
            size = ((size[0] + 4 - kernel) // 2, (size[1] + 4 - kernel) // 2)
            if normed:
                layers.append(nn.BatchNorm2d(fan_out))
            layers.append(nn.LeakyReLU(0.2))
        self.body = nn.Sequential(*layers, nn.Flatten())
        features = channels[-1] * math.prod(size)
        self.build_logits(features, num_classes if conditioning == "projection" else None)

    def forward(self, images: Tensor, labels: Tensor | None = None, z: Tensor | None = None) -> Tensor | Output:
        features = self.body(with_plane(images, self.concat, labels))
        return self.answer(features, labels, z, self.projection)


@encoders.register("dcgan")
class DCGANEncoder(nn.Module):
    """images [N, C, H, W] (and labels [N]) -> latents z [N, latent_dim], by strided convolutions."""

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int,
        num_classes: int | None,
        *,
        width: PositiveInt = 16,
        norm: Literal["batch"] | None = "batch",
    ) -> None:
        super().__init__()
        size = image_shape[1:]
        stages = len(pyramid(*size)) - 1
        self.labels = label_embedding(num_classes, LABEL_DIM)
        channels = [image_shape[0], *(channels_at(width, stage + 1) for stage in range(stages))]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(channels):
            layers.append(nn.Conv2d(fan_in, fan_out, 4, stride=2, padding=1, bias=norm is None))
            if norm is not None:
                layers.append(nn.BatchNorm2d(fan_out))
            layers.append(nn.LeakyReLU(0.2))
        self.body = nn.Sequential(*layers, nn.Flatten())
        features = channels[-1] * math.prod(n // 2**stages for n in size)
        self.head = nn.Linear(features + (LABEL_DIM if self.labels else 0), latent_dim)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        z: Tensor = self.head(with_labels(self.body(images), self.labels, labels))
        return z
