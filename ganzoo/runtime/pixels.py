"""Images as floats in [-1, 1] and as bytes. numpy only."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganzoo.errors import UsageError


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
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / np.float32(127.5) - np.float32(1)
