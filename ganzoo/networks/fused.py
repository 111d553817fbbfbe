"""Two layers that are computed exactly as one: a resampling and a convolution, rewritten as a strided convolution.

The weights are those of the plain 3 x 3 convolution; the kernel of the one strided convolution is made of their sums.
`fuse(network, False)` has every layer of a network compute the two steps one after the other instead.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d, interpolate


class _Fusable(nn.Conv2d):
    """A 3 x 3 convolution, padded by 1, together with a resampling by 2."""

    fused = True

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, bias=bias)

    def _spread(self, rows: tuple[tuple[float, ...], ...]) -> Tensor:
        """The weights [out, in, 3, 3] as a kernel [out, in, 4, 4]: `rows` [3, 4] along both axes, in float32."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.new_tensor(rows)
            kernel = self.weight.flatten(2) @ torch.kron(matrix, matrix)  # [out, in, 9] @ [9, 16]
            return kernel.view(*kernel.shape[:2], 4, 4)


class UpsampleConv2d(_Fusable):
    """[N, in, H, W] -> [N, out, 2H, 2W]: nearest neighbour times 2, then the convolution.

    Fused it is one transposed convolution, 4 x 4 with stride 2, of 2.25 times fewer operations: of every pixel's 9
    neighbours in the enlarged image only 4 differ.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.fused:
            return conv2d(interpolate(x, scale_factor=2), self.weight, self.bias, padding=1)
        kernel = self._spread(((0, 0, 1, 1), (0, 1, 1, 0), (1, 1, 0, 0)))
        kernel = kernel.transpose(0, 1).contiguous(memory_format=_layout(self.weight))
        return conv_transpose2d(x, kernel, self.bias, stride=2, padding=1)


class ConvPool2d(_Fusable):
    """[N, in, H, W] -> [N, out, ceil(H / 2), ceil(W / 2)]: the convolution, then the average of every 2 x 2.

    Fused it is one convolution, 4 x 4 with stride 2, of 2.25 times fewer operations. Odd sizes are not fused: their
    last averages are of fewer pixels.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.fused or x.shape[2] % 2 or x.shape[3] % 2:
            return avg_pool2d(conv2d(x, self.weight, self.bias, padding=1), 2, ceil_mode=True)
        kernel = self._spread(((0.5, 0.5, 0, 0), (0, 0.5, 0.5, 0), (0, 0, 0.5, 0.5)))
        kernel = kernel.contiguous(memory_format=_layout(self.weight))
        return conv2d(x, kernel, self.bias, stride=2, padding=1)


def _layout(weight: Tensor) -> torch.memory_format:
    return torch.contiguous_format if weight.is_contiguous() else torch.channels_last


def fuse(network: nn.Module, fused: bool) -> None:
    """Have every such layer of `network` compute its two steps as one, or one after the other."""
    for module in network.modules():
        if isinstance(module, _Fusable):
            module.fused = fused
