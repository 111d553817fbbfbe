"""Images as floats in [-1, 1] and as bytes. numpy only."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganzoo.errors import UsageError


def to_uint8(images: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Convert images in [-1, 1], float [N, C, H, W], to uint8 [N, H, W, C]: rint(127.5 x + 127.5), clamped.

    Raises UsageError for NaN or infinity, and for other types and shapes.
    """
    if images.ndim != 4 or not np.issubdtype(images.dtype, np.floating):
        raise UsageError(f"images are {images.dtype} {list(images.shape)}: expected floats [N, C, H, W]")
    if not np.isfinite(images).all():
        raise UsageError("images contain NaN or infinity, which are not colours: expected values in [-1, 1]")
    scaled = np.rint(np.clip(images, -1, 1).astype(np.float32, copy=False) * 127.5 + 127.5)
    return np.ascontiguousarray(scaled.astype(np.uint8).transpose(0, 2, 3, 1))


def to_float(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Convert uint8 [N, H, W, C] to float32 [N, C, H, W] in [-1, 1]; `to_uint8` restores the same bytes."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / np.float32(127.5) - np.float32(1)
