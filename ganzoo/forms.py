"""The forms that a generator is exported in: one table of layouts, one of precisions. No torch.

The command's choices, the checks, the documentation and the benchmark are made from these tables. A further form is one
row and the function that it names.

    layout      what the file's `images` are: floats, or bytes ready to be shown
    precision   what the file computes with, and how far its images may be from those of fp32
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ganzoo.errors import UsageError

ImageShape: TypeAlias = tuple[int, int, int]  # (C, H, W)


def to_uint8(images: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Images in [-1, 1], float [N, C, H, W], as uint8 [N, H, W, C]: rint(127.5 x + 127.5), clamped. NaN is an error."""
    if images.ndim != 4 or not np.issubdtype(images.dtype, np.floating):
        raise UsageError(f"images are {images.dtype} {list(images.shape)}: expected floats [N, C, H, W]")
    if not np.isfinite(images).all():
        raise UsageError("images hold NaN or infinity, which no colour stands for: expected values in [-1, 1]")
    scaled = np.rint(np.clip(images, -1, 1).astype(np.float32, copy=False) * 127.5 + 127.5)
    return np.ascontiguousarray(scaled.astype(np.uint8).transpose(0, 2, 3, 1))


def to_float(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The reverse of `to_uint8`, which gives these bytes back: uint8 [N, H, W, C] -> float32 [N, C, H, W]."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / np.float32(127.5) - 1


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a file's output `images` [N, ...] is, of images (C, H, W)."""

    summary: str
    dtype: str
    shape: Callable[[ImageShape], tuple[int, ...]]  # of one image in the file
    to_bytes: Callable[[NDArray[Any], int], NDArray[np.uint8]]  # and channels -> uint8 [N, H, W, C]

    def to_floats(self, images: NDArray[Any], channels: int) -> NDArray[np.float32]:
        """The images as float32 [N, C, H, W] in [-1, 1]."""
        return images if images.dtype == np.float32 else to_float(self.to_bytes(images, channels))


LAYOUTS = {
    "float": Layout(
        summary="float32 `[B, C, H, W]` in [-1, 1]",
        dtype="float32",
        shape=lambda image: image,
        to_bytes=lambda images, channels: to_uint8(images),
    ),
    "uint8": Layout(
        summary="uint8 `[B, H, W, C]`, ready for an image library",
        dtype="uint8",
        shape=lambda image: (image[1], image[2], image[0]),
        to_bytes=lambda images, channels: images,
    ),
    "uint8-nchw": Layout(
        summary="uint8 `[B, C, H, W]`",
        dtype="uint8",
        shape=lambda image: image,
        to_bytes=lambda images, channels: np.ascontiguousarray(images.transpose(0, 2, 3, 1)),
    ),
    "rgb": Layout(
        summary="uint8 `[B, 3, H, W]`, grey repeated to three channels: what torch-fidelity's `--input1 FILE` takes",
        dtype="uint8",
        shape=lambda image: (3, *image[1:]),
        to_bytes=lambda images, channels: np.ascontiguousarray(images[:, :channels].transpose(0, 2, 3, 1)),
    ),
}
