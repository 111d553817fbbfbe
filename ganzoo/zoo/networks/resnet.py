"""SNGAN's residual networks (Miyato et al. 2018, arXiv:1802.05957, appendix B.4), optionally with SAGAN's attention.

Each residual block doubles or halves the resolution: in the generator from at most 7 pixels up to the images' size, in
the discriminator from there down to at most 4, with a last block that keeps it. `attention` adds self-attention at one
middle resolution (Zhang et al. 2019, arXiv:1805.08318, section 3).
"""

import math
from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from ganzoo.errors import UsageError
from ganzoo.registry import discriminators, generators
from ganzoo.zoo.networks.common import (
    LABEL_DIM,
    ImageShape,
    LinearHeads,
    Output,
    channels_at,
    embed,
    label_embedding,
    label_plane,
    normalise_spectrally,
    pyramid,
    with_labels,
    with_plane,
)
from ganzoo.zoo.networks.fused import ConvPool2d, ImageConv2d, PoolConv2d, UpsampleConv2d

ATTENDED = 16  # largest side, in pixels, of a resolution with attention: its cost grows with the fourth power


class SelfAttention(nn.Module):
    """[N, C, H, W] -> [N, C, H, W]: self-attention over all positions, added to x (Zhang et al. 2019, eq. 1 to 3).

    `gamma` is initialised with 0, so that the network starts as if it had no attention.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8)
        self.query, self.key, self.value = (nn.Conv2d(channels, inner, 1, bias=False) for _ in range(3))
        self.out = nn.Conv2d(inner, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))  # [N, C / 8, H * W]
        shares = torch.matmul(query.transpose(1, 2), key).softmax(2)  # attention weights, [N, H * W, H * W]
        found = torch.matmul(shares, value.transpose(1, 2)).transpose(1, 2)  # in this order the gradient needs no copy
        seen: Tensor = self.out(found.reshape(-1, found.shape[1], *x.shape[2:]))
        return self.gamma * seen + x


class Norm(nn.Module):
    """[N, C, H, W] -> [N, C, H, W]: batch norm, or the identity if `norm` is None.

    With classes, each class has its own scale and shift (de Vries et al. 2017, arXiv:1707.00683, section 3.1),
    initialised near 1 and 0.
    """

    def __init__(self, channels: int, norm: str | None, num_classes: int | None = None) -> None:
        super().__init__()
        self.norm = None if norm is None else nn.BatchNorm2d(channels, affine=num_classes is None)
        self.scales, self.shifts = (label_embedding(num_classes, channels) for _ in range(2))
        for embedding, mean in ((self.scales, 1.0), (self.shifts, 0.0)):
            if embedding is not None:
                nn.init.normal_(embedding.weight, mean, 0.02)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        if self.norm is not None:
            x = self.norm(x)
        if self.scales is None or self.shifts is None:
            return x
        scale, shift = (embed(embedding, labels)[:, :, None, None] for embedding in (self.scales, self.shifts))
        return x * scale + shift


class UpBlock(nn.Module):
    """[N, in, H, W] -> [N, out, 2H, 2W]: two convolutions, with nearest-neighbour upsampling as the skip connection."""

    def __init__(self, fan_in: int, fan_out: int, norm: str | None, num_classes: int | None) -> None:
        super().__init__()
        bias = norm is None
        self.first, self.second = Norm(fan_in, norm, num_classes), Norm(fan_out, norm, num_classes)
        self.up = UpsampleConv2d(fan_in, fan_out, bias=bias)
        self.conv = nn.Conv2d(fan_out, fan_out, 3, padding=1, bias=bias)
        self.skip = nn.Conv2d(fan_in, fan_out, 1, bias=False)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        skip = interpolate(self.skip(x), scale_factor=2)  # equal to a 1 x 1 convolution after upsampling
        x = self.up(relu(self.first(x, labels)))
        changed: Tensor = self.conv(relu(self.second(x, labels)))
        return changed + skip


class DownBlock(nn.Module):
    """[N, in, H, W] -> [N, out, ceil(H / 2), ceil(W / 2)]: two convolutions, and average pooling as skip connection.

    The `first` block has no ReLU before its input, the images. Without `halve`, a block keeps the resolution.
    """

    def __init__(self, fan_in: int, fan_out: int, *, first: bool = False, halve: bool = True) -> None:
        super().__init__()
        hidden = fan_out if first else fan_in
        self.is_first = first
        self.conv = nn.Conv2d(fan_in, hidden, 3, padding=1)
        self.down = ConvPool2d(hidden, fan_out) if halve else nn.Conv2d(hidden, fan_out, 3, padding=1)
        self.skip = PoolConv2d(fan_in, fan_out, bias=False) if halve else nn.Conv2d(fan_in, fan_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.down(relu(self.conv(x if self.is_first else relu(x))))
        skip: Tensor = self.skip(x)
        return changed + skip


def _attention_stage(sizes: list[tuple[int, int]]) -> int:
    """Return the stage of attention: the largest resolution of at most 16 pixels, except the images'."""
    return next((i for i, size in enumerate(sizes) if i and max(size) <= ATTENDED), len(sizes) - 1)


@generators.register("resnet")
class ResNetGenerator(nn.Module):
    """z [N, latent_dim] (and labels [N]) -> images [N, C, H, W] in [-1, 1], by residual blocks."""

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int,
        num_classes: int | None,
        *,
        width: PositiveInt = 16,
        norm: Literal["batch"] | None = "batch",
        attention: bool = False,
        spectral_norm: bool = False,
        conditioning: Literal["concat", "batch-norm"] = "concat",
    ) -> None:
        super().__init__()
        by_norm = num_classes is not None and conditioning == "batch-norm"
        if by_norm and norm is None:
            raise UsageError(
                "generator.conditioning=batch-norm needs generator.norm=batch: without batch norm, use "
                "generator.conditioning=concat"
            )
        self.size = image_shape[1:]
        sizes = pyramid(*self.size)
        top = len(sizes) - 1
        stem = (channels_at(width, top), *sizes[-1])
        self.labels = None if by_norm else label_embedding(num_classes, LABEL_DIM)
        inputs = latent_dim + (LABEL_DIM if self.labels else 0)
        self.stem = nn.Sequential(nn.Linear(inputs, math.prod(stem), bias=norm is None), nn.Unflatten(1, stem))
        classes = num_classes if by_norm else None
        self.blocks = nn.ModuleList(
            UpBlock(channels_at(width, stage), channels_at(width, stage - 1), norm, classes)
            for stage in range(top, 0, -1)
        )
        if attention:
            attended = _attention_stage(sizes)
            self.blocks.insert(top - attended, SelfAttention(channels_at(width, attended)))
        self.norm = Norm(width, norm, classes)
        self.image = ImageConv2d(width, image_shape[0])
        if spectral_norm:
            normalise_spectrally(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.stem(with_labels(z, self.labels, labels))
        for block in self.blocks:
            x = block(x, labels)
        height, width = self.size
        images: Tensor = self.image(relu(self.norm(x, labels))).tanh()
        return images[:, :, :height, :width]  # odd sizes were rounded up


@discriminators.register("resnet")
class ResNetDiscriminator(LinearHeads):
    """images [N, C, H, W] (and labels [N]) -> logits [N], by residual blocks and a sum over the last resolution."""

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int | None,
        *,
        width: PositiveInt = 24,
        attention: bool = False,
        spectral_norm: bool = False,
        minibatch_std: bool = False,
        conditioning: Literal["concat", "projection"] | None = "projection",
    ) -> None:
        super().__init__(spectral_norm=spectral_norm, minibatch_std=minibatch_std)
        sizes = pyramid(*image_shape[1:], smallest=4)
        self.concat = label_plane(image_shape, num_classes, conditioning)
        channels = [
            image_shape[0] + (self.concat is not None),
            *(channels_at(width, stage) for stage in range(len(sizes))),
        ]
        layers: list[nn.Module] = [
            DownBlock(channels[i], channels[i + 1], first=i == 0, halve=i + 1 < len(sizes)) for i in range(len(sizes))
        ]
        if attention:
            layers.insert(_attention_stage(sizes), SelfAttention(channels[_attention_stage(sizes)]))
        self.body = nn.Sequential(*layers)
        self.build_logits(channels[-1], num_classes if conditioning == "projection" else None)

    def forward(self, images: Tensor, labels: Tensor | None = None, z: Tensor | None = None) -> Tensor | Output:
        features = relu(self.body(with_plane(images, self.concat, labels))).sum((2, 3))
        return self.answer(features, labels, z, self.projection)
