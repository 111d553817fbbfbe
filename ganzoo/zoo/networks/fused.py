"""Layers that fuse a convolution and a resampling into one equivalent, faster convolution.

The weights are those of the plain convolution. `fuse(network, False)` makes every such layer of a network compute its
definition step by step.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d, interpolate


class FusedConv2d(nn.Conv2d):
    """A convolution that keeps the resolution, 3 x 3 by default, computed fused or step by step."""

    fused = True
    size = 3

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, self.size, padding=self.size // 2, bias=bias)


class UpsampleConv2d(FusedConv2d):
    """[N, in, H, W] -> [N, out, 2H, 2W]: nearest neighbour times 2, then the convolution.

    Fused, it is one transposed convolution, 4 x 4 with stride 2, with 2.25 times fewer operations: only 4 of a pixel's
    9 neighbours in the enlarged image differ.
    """

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight  # read once: a parametrisation, such as spectral norm, recomputes it on each access
        if not self.fused:
            return conv2d(interpolate(x, scale_factor=2), weight, self.bias, padding=1)
        return conv_transpose2d(x, _transpose_kernel(_widen_kernel(weight), weight), self.bias, stride=2, padding=1)


class ConvPool2d(FusedConv2d):
    """[N, in, H, W] -> [N, out, ceil(H / 2), ceil(W / 2)]: the convolution, then 2 x 2 average pooling.

    Fused, it is one convolution, 4 x 4 with stride 2, with 2.25 times fewer operations. Odd sizes are not fused,
    because their last averages contain fewer pixels.
    """

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if not self.fused or x.shape[2] % 2 or x.shape[3] % 2:
            return avg_pool2d(conv2d(x, weight, self.bias, padding=1), 2, ceil_mode=True)
        return conv2d(x, _match_memory_format(_widen_kernel(weight) / 4, weight), self.bias, stride=2, padding=1)


class PoolConv2d(FusedConv2d):
    """[N, in, H, W] -> [N, out, ceil(H / 2), ceil(W / 2)]: 2 x 2 average pooling, then a 1 x 1 convolution.

    Fused, it is one convolution, 2 x 2 with stride 2, which reads the pixels once. Odd sizes are not fused.
    """

    size = 1

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if not self.fused or x.shape[2] % 2 or x.shape[3] % 2:
            return conv2d(avg_pool2d(x, 2, ceil_mode=True), weight, self.bias)
        return conv2d(x, _match_memory_format(weight.expand(-1, -1, 2, 2) / 4, weight), self.bias, stride=2)


class ImageConv2d(FusedConv2d):
    """[N, in, H, W] -> [N, out, H, W]: a generator's last convolution, to the few channels of an image.

    Fused, it is the equivalent transposed convolution with the flipped kernel: with few channels, its gradient takes
    half the time on a CPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.fused:
            return super().forward(x)
        weight = self.weight
        return conv_transpose2d(x, _transpose_kernel(weight, weight), self.bias, padding=1)


def _widen_kernel(kernel: Tensor) -> Tensor:
    """Return the sum of a kernel [out, in, 3, 3] and its copies shifted by a pixel along each axis: [out, in, 4, 4]."""
    for _ in range(2):
        first, second, third = kernel.unbind(-1)
        kernel = torch.stack((first, first + second, second + third, third), -1).transpose(2, 3)
    return kernel


def _transpose_kernel(kernel: Tensor, weight: Tensor) -> Tensor:
    """Return the kernel with which a transposed convolution equals the convolution with `kernel`."""
    return _match_memory_format(kernel.flip(2, 3).transpose(0, 1), weight)


def _match_memory_format(kernel: Tensor, weight: Tensor) -> Tensor:
    """Return the kernel in the weight's memory format, which is also the format of the convolution's output."""
    return kernel.contiguous(memory_format=torch.contiguous_format if weight.is_contiguous() else torch.channels_last)


def fuse(network: nn.Module, fused: bool) -> None:
    """Make every `FusedConv2d` of `network` compute its steps fused, or one after the other."""
    for module in network.modules():
        if isinstance(module, FusedConv2d):
            module.fused = fused
