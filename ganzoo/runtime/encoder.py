"""A trained encoder from images to latents, independent of what runs it. numpy only."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganzoo.errors import ModelError, UsageError
from ganzoo.runtime.generator import Forward, GeneratorInfo, chunk_size
from ganzoo.runtime.labels import Labels, checked_labels
from ganzoo.runtime.pixels import to_float


class Encoder:
    """An encoder ready to use; `forward` maps images [N, C, H, W] and labels [N] (or None) to latents [N, latent_dim].

    `info` is that of the generator that it was trained with, so `generator.generate(encoder.encode(images))`
    reconstructs the images as well as the two have learnt to.
    """

    def __init__(self, info: GeneratorInfo, forward: Forward, description: str = "") -> None:
        self.info = info
        self.forward = forward
        self.description = description

    def __repr__(self) -> str:
        channels, height, width = self.info.image_shape
        runner = f", {self.description}" if self.description else ""
        return f"<Encoder {self.info.variant}: {channels}x{height}x{width} -> {self.info.latent_dim}{runner}>"

    def encode(self, images: NDArray[Any], labels: Labels | None = None) -> NDArray[np.float32]:
        """Return the latents of the images, float32 [N, latent_dim].

        `images` are uint8 [N, H, W, C] (or [N, H, W] for grey), as `sample` returns them, or float32 [N, C, H, W]
        in [-1, 1]. `labels` are one class or N classes, for an encoder that was trained with classes. Images are
        encoded `chunk_size` at a time, so that a latent does not depend on the number of images. Raises UsageError for
        invalid images or labels.
        """
        x = self._check_images(images)
        y = self._labels(len(x), labels)
        z = np.empty((len(x), self.info.latent_dim), np.float32)
        size = chunk_size(self.info.image_shape)
        for start in range(0, len(x), size):
            part = x[start : start + size]
            padding = size - len(part)
            whole = np.pad(part, ((0, padding), (0, 0), (0, 0), (0, 0)), mode="edge")
            given = None if y is None else np.pad(y[start : start + size], (0, padding))
            z[start : start + size] = self._forward(whole, given)[: len(part)]
        return z

    def _forward(self, x: NDArray[np.float32], y: NDArray[np.int64] | None) -> NDArray[Any]:
        z = self.forward(x, y)
        if z.shape != (len(x), self.info.latent_dim) or not np.isfinite(z).all():
            raise ModelError(f"'{self.info.variant}' encoded to {z.dtype} {list(z.shape)} or to NaN: export it again")
        return z

    def _check_images(self, images: object) -> NDArray[np.float32]:
        channels, height, width = self.info.image_shape
        expected = f"expected uint8 [N, {height}, {width}, {channels}] or float32 [N, {channels}, {height}, {width}]"
        if not isinstance(images, np.ndarray):
            raise UsageError(f"images are of the type {type(images).__name__}: {expected}")
        if images.dtype == np.uint8 and images.ndim == 3 and channels == 1:
            images = images[..., None]
        shape = (height, width, channels) if images.dtype == np.uint8 else (channels, height, width)
        if images.dtype not in (np.uint8, np.float32) or images.shape[1:] != shape or images.ndim != 4:
            raise UsageError(f"images are {images.dtype} {list(images.shape)}: {expected}")
        x = to_float(images) if images.dtype == np.uint8 else np.array(images, order="C")
        if not (np.abs(x) <= 1).all():
            raise UsageError("images contain values outside [-1, 1]: expected floats in [-1, 1], or uint8")
        return x

    def _labels(self, n: int, labels: Labels | None) -> NDArray[np.int64] | None:
        classes = self.info.num_classes if self.info.has_classes else None
        if labels is None and classes is not None:
            raise UsageError(f"'{self.info.variant}' was trained with classes: pass labels, one for all or {n} of them")
        if labels is None:
            return None
        return checked_labels(self.info.variant, classes, self.info.class_names, n, labels)
