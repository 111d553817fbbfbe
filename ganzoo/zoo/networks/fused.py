"""Layers that are computed faster than they are written, and exactly: a convolution and what stands beside it as one.

The weights are those of the plain convolution. `fuse(network, False)` has every such layer of a network compute
what it is by definition.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d, interpolate


class FusedConv2d(nn.Conv2d):
    """A convolution that keeps the size, 3 x 3 unless stated, and that has two ways to be computed."""

    fused = True
    size = 3

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, self.size, padding=self.size // 2, bias=bias)


class UpsampleConv2d(FusedConv2d):
    """[N, in, H, W] -> [N, out, 2H, 2W]: nearest neighbour times 2, then the convolution.

    Fused it is one transposed convolution, 4 x 4 with stride 2, of 2.25 times fewer operations: of every pixel's 9
    neighbours in the enlarged image only 4 differ.
    """

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight  # once: a parametrisation, such as spectral norm, computes it anew each time
        if not self.fused:
            return conv2d(interpolate(x, scale_factor=2), weight, self.bias, padding=1)
        return conv_transpose2d(x, _turned(_widened(weight), weight), self.bias, stride=2, padding=1)


class ConvPool2d(FusedConv2d):
    """[N, in, H, W] -> [N, out, ceil(H / 2), ceil(W / 2)]: the convolution, then the average of every 2 x 2.

    Fused it is one convolution, 4 x 4 with stride 2, of 2.25 times fewer operations. Odd sizes are not fused: their
    last averages are of fewer pixels.
    """

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if not self.fused or x.shape[2] % 2 or x.shape[3] % 2:
            return avg_pool2d(conv2d(x, weight, self.bias, padding=1), 2, ceil_mode=True)
        return conv2d(x, _laid_out(_widened(weight) / 4, weight), self.bias, stride=2, padding=1)


class PoolConv2d(FusedConv2d):
    """[N, in, H, W] -> [N, out, ceil(H / 2), ceil(W / 2)]: the average of every 2 x 2, then a 1 x 1 convolution.

    Fused it is one convolution, 2 x 2 with stride 2, that reads the pixels once. Odd sizes are not fused, likewise.
    """

    size = 1

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if not self.fused or x.shape[2] % 2 or x.shape[3] % 2:
            return conv2d(avg_pool2d(x, 2, ceil_mode=True), weight, self.bias)
        return conv2d(x, _laid_out(weight.expand(-1, -1, 2, 2) / 4, weight), self.bias, stride=2)


class ImageConv2d(FusedConv2d):
    """[N, in, H, W] -> [N, out, H, W]: a generator's last convolution, to an image's few channels.

    Fused it is the transposed convolution with the kernel turned round, which is the same; of so few channels its
    gradient takes a CPU half the time.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.fused:
            return super().forward(x)
        weight = self.weight
        return conv_transpose2d(x, _turned(weight, weight), self.bias, padding=1)


def _widened(kernel: Tensor) -> Tensor:
    """A kernel [out, in, 3, 3] added to itself a pixel further along each axis: [out, in, 4, 4]."""
    for _ in range(2):
        first, second, third = kernel.unbind(-1)
        kernel = torch.stack((first, first + second, second + third, third), -1).transpose(2, 3)
    return kernel


def _turned(kernel: Tensor, weight: Tensor) -> Tensor:
    """The kernel of the transposed convolution that is the convolution with this one."""
    return _laid_out(kernel.flip(2, 3).transpose(0, 1), weight)


def _laid_out(kernel: Tensor, weight: Tensor) -> Tensor:
    """The kernel in the weight's memory format, which the convolution then gives its output."""
    return kernel.contiguous(memory_format=torch.contiguous_format if weight.is_contiguous() else torch.channels_last)


def fuse(network: nn.Module, fused: bool) -> None:
    """Have every such layer of `network` compute its steps as one, or one after the other."""
    for module in network.modules():
        if isinstance(module, FusedConv2d):
            module.fused = fused
