"""A trained generator from latents and labels to images, independent of what runs it. numpy only.

torch and onnxruntime each pass their own `forward`; everything that a user sees is implemented here, once.
"""

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ganzoo import seeds
from ganzoo.errors import MachineError, ModelError, UsageError, shown
from ganzoo.runtime.forms import LAYOUTS, Layout
from ganzoo.runtime.labels import Labels, checked_labels, is_integer
from ganzoo.runtime.pixels import to_uint8

CHUNK = 64  # images of up to SMALL pixels drawn at a time: bounds memory, and makes images reproducible bit for bit
SMALL = 128 * 128
LARGE_PIXELS = 2**19  # of all larger images that are drawn at a time

Forward: TypeAlias = Callable[[NDArray[np.float32], NDArray[np.int64] | None], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class GeneratorInfo:
    """The inputs and outputs of a generator.

    `image_shape` is (C, H, W). `num_classes` is the number of labels that it takes, None if it takes none: they are
    the classes of its data, or the values of the latent code called `code`. The last `uniform_codes` of the
    `latent_dim` columns of z are uniform in [-1, 1], the others N(0, 1).
    """

    variant: str
    latent_dim: int
    image_shape: tuple[int, int, int]
    num_classes: int | None
    class_names: tuple[str, ...] | None = None
    code: str | None = None
    uniform_codes: int = 0

    def __post_init__(self) -> None:
        if not (isinstance(self.variant, str) and self.variant):
            raise UsageError(f"variant is {self.variant!r}: expected a name")
        _check_positive("latent_dim", self.latent_dim)
        if not (isinstance(self.image_shape, tuple) and len(self.image_shape) == 3):
            raise UsageError(f"image_shape is {self.image_shape!r}: expected (channels, height, width)")
        for size in self.image_shape:
            _check_positive("a size in image_shape", size)
        if self.num_classes is not None:
            _check_positive("num_classes", self.num_classes)
        if self.class_names is not None:
            _check_names(self.class_names, self.num_classes)
        if self.code is not None and not (isinstance(self.code, str) and self.code and self.num_classes):
            raise UsageError(
                f"code is {_shorten(self.code)}: expected the name of a code, and num_classes the number of its values"
            )
        if not is_integer(self.uniform_codes) or not 0 <= self.uniform_codes <= self.latent_dim:
            raise UsageError(f"uniform_codes is {_shorten(self.uniform_codes)}: expected from 0 to latent_dim")

    @property
    def conditional(self) -> bool:
        """Return whether the generator takes labels."""
        return self.num_classes is not None

    @property
    def has_classes(self) -> bool:
        """Return whether its labels are the classes of its data, and not the values of a code."""
        return self.conditional and self.code is None

    def latents(self, seed: int, start: int, stop: int) -> NDArray[np.float32]:
        """Return the latents `start` to `stop` of a seed, float32 [stop - start, latent_dim]."""
        return seeds.latents(seed, self.latent_dim, start, stop, self.uniform_codes)


def chunk_size(image_shape: tuple[int, int, int]) -> int:
    """Return how many images of (C, H, W) are drawn at a time: 64, or if they are large, a smaller power of two."""
    pixels = image_shape[1] * image_shape[2]
    return CHUNK if pixels <= SMALL else 1 << max(1, LARGE_PIXELS // pixels).bit_length() - 1


def generate_images(generator: "Generator", z: NDArray[np.float32], labels: Labels | None) -> NDArray[np.uint8]:
    """Return the images of latents as uint8 [N, H, W, C]; large images are drawn a few at a time."""
    size, y = chunk_size(generator.info.image_shape), generator.labels_for(len(z), labels)
    size = len(z) if size == CHUNK else size
    parts = [
        to_uint8(generator.generate(z[start : start + size], None if y is None else y[start : start + size]))
        for start in range(0, len(z), max(1, size))
    ]
    return np.concatenate(parts)


class Generator:
    """A generator ready to draw; `forward` maps z [N, latent_dim] and labels [N] (or None) to images in `layout`."""

    def __init__(
        self, info: GeneratorInfo, forward: Forward, description: str = "", layout: Layout = LAYOUTS["float"]
    ) -> None:
        self.info = info
        self.description = description
        self.layout = layout
        self.forward = forward
        self._size = chunk_size(info.image_shape)

    def __repr__(self) -> str:
        channels, height, width = self.info.image_shape
        what = "classes" if self.info.has_classes else "values of a code"
        classes = f", {self.info.num_classes} {what}" if self.info.conditional else ""
        runner = f", {self.description}" if self.description else ""
        return (
            f"<Generator {self.info.variant}: {self.info.latent_dim} -> {channels}x{height}x{width}{classes}{runner}>"
        )

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: one line of facts, and 20 images of seed 0, or 4 if they are large."""
        from ganzoo.runtime.images import encode_png, grid, png_to_html

        n = 20 if max(self.info.image_shape) <= 128 else 4
        images = png_to_html(encode_png(grid(self.sample(n), columns=10)))
        return f"<p>{html.escape(shown(repr(self)))}</p>{images}"

    def generate(self, z: NDArray[np.float32], labels: Labels | None = None) -> NDArray[np.float32]:
        """Return the images of the latents `z` float32 [N, latent_dim]: float32 [N, C, H, W] in [-1, 1].

        A conditional generator needs `labels`: one class for all, or N of them, each a number in [0, num_classes) or a
        name in `info.class_names`. Raises UsageError for anything else.
        """
        latents = self._check_latents(z)
        if labels is None and self.info.conditional:
            raise UsageError(
                f"'{self.info.variant}' is conditional: pass labels, one class for all "
                f"or {len(latents)} integers from 0 to {self._last_class}"
            )
        images = self._draw(latents, self.labels_for(len(latents), labels))
        return self.layout.to_floats(images, self.info.image_shape[0])

    def sample(
        self, n: int = 64, labels: Labels | None = None, seed: int | None = None, batch_size: int | None = None
    ) -> NDArray[np.uint8]:
        """Return `n` images, uint8 [n, H, W, C], of the latents 0 to n - 1 of `seed`: `sample(100)[:10] == sample(10)`.

        `labels` is None (balanced if conditional), one class for all, or `n` of them, each a number in
        [0, num_classes) or a name in `info.class_names`. Without a seed, the seed is 0. How many images are computed at
        a time depends only on their size (`chunk_size`), because it can change their last bits; `batch_size` sets how
        many are collected at a time, and changes no image.
        """
        n = _check_natural("n", n)
        images, position = _allocate(n, self.info.image_shape), 0
        for batch in self.iter_batches(n, labels, seed, batch_size):
            images[position : position + len(batch)] = batch
            position += len(batch)
        return images

    def iter_batches(
        self,
        n: int,
        labels: Labels | None = None,
        seed: int | None = None,
        batch_size: int | None = None,
        *,
        start: int = 0,
    ) -> Iterator[NDArray[np.uint8]]:
        """Return an iterator over the images of `sample(n, labels, seed)`, bit for bit, `batch_size` at a time.

        Memory does not grow with `n`. With `start` the latents are `start` to `start + n - 1`, the last `n` of
        `sample(start + n)`.
        """
        n, seed, start = _check_natural("n", n), _check_seed("seed", seed), _check_natural("start", start)
        size = self._size if batch_size is None else _check_natural("batch_size", batch_size)
        if not size:
            raise UsageError("batch_size is 0: expected an integer from 1 up")
        y = None if labels is None else self.labels_for(n, labels)
        return self._batches(self._chunks(start, start + n, y, seed), min(n, size))

    def interpolate(
        self, seed_a: int, seed_b: int, steps: int = 10, labels: Labels | None = None, *, index: int = 0
    ) -> NDArray[np.uint8]:
        """Return `steps` images, uint8 [steps, H, W, C], on the great circle between two latents, both included.

        The ends are latent `index` of `seed_a` and of `seed_b`: image `index` of `sample` with each seed. `labels` is
        one class for all, `steps` of them, or None for the class that `sample` draws with that latent.
        """
        index, steps = _check_natural("index", index), _check_natural("steps", steps)
        if steps < 2:
            raise UsageError(f"steps is {steps}: expected an integer from 2 up, as both ends are drawn")
        classes = self.info.num_classes
        y = self.labels_for(steps, index % classes if labels is None and classes else labels)
        a, b = (
            self.info.latents(_check_seed(name, seed), index, index + 1)[0]
            for name, seed in (("seed_a", seed_a), ("seed_b", seed_b))
        )
        z, images = great_circle(a, b, steps, self.info.uniform_codes), _allocate(steps, self.info.image_shape)
        for first in range(0, steps, self._size):
            part = slice(first, first + self._size)
            images[part] = self._chunk(z[part], None if y is None else y[part])
        return images

    def labels_for(self, n: int, labels: Labels | None = None) -> NDArray[np.int64] | None:
        """Return the labels, int64 [n], that `sample(n, labels)` draws with; None if the generator is unconditional."""
        n = _check_natural("n", n)
        if labels is None:
            return self._in_turn(0, n)
        return checked_labels(self.info.variant, self.info.num_classes, self.info.class_names, n, labels)

    @property
    def _last_class(self) -> int:
        return (self.info.num_classes or 0) - 1

    def _check_latents(self, z: object) -> NDArray[np.float32]:
        expected = f"expected a float32 array [N, {self.info.latent_dim}]"
        if not isinstance(z, np.ndarray):
            raise UsageError(f"z is of the type {type(z).__name__}: {expected}; use np.asarray(z, np.float32)")
        if z.dtype != np.float32:
            raise UsageError(f"z is {z.dtype}: {expected}; use z.astype(np.float32)")
        if z.ndim != 2 or z.shape[1] != self.info.latent_dim:
            raise UsageError(f"z has the shape {list(z.shape)}: {expected}")
        if not np.isfinite(z).all():
            raise UsageError("z contains NaN or infinity: expected finite values, such as draws from N(0, 1)")
        return np.array(z, order="C")  # a copy: torch does not accept read-only or reversed arrays

    def _in_turn(self, start: int, stop: int) -> NDArray[np.int64] | None:
        """Return the classes 0, 1, ..., K - 1, 0, 1, ... of the images `start` to `stop`; None if unconditional."""
        classes = self.info.num_classes
        return None if classes is None else (start % classes + np.arange(stop - start, dtype=np.int64)) % classes

    def _chunks(
        self, start: int, stop: int, labels: NDArray[np.int64] | None, seed: int
    ) -> Iterator[NDArray[np.uint8]]:
        for first in range(start - start % self._size, stop, self._size):
            low, high = max(start, first), min(stop, first + self._size)
            y = self._in_turn(low, high) if labels is None else labels[low - start : high - start]
            z = self.info.latents(seed, first, first + self._size)
            yield self._chunk(z, None if y is None else np.pad(y, (low - first, 0)))[low - first : high - first]

    def _chunk(self, z: NDArray[np.float32], y: NDArray[np.int64] | None) -> NDArray[np.uint8]:
        """Return the images of at most one chunk of latents, uint8 [N, H, W, C]."""
        # Compute a whole chunk even if fewer images are needed: a matrix product rounds differently for another batch
        # size, and then the first images of a large sample would not be bit-equal to a small sample. The padding
        # repeats a latent, because a generator was not trained on zeros.
        whole = np.pad(z, ((0, self._size - len(z)), (0, 0)), mode="edge")
        images = self._draw(whole, None if y is None else np.pad(y, (0, self._size - len(y))))
        return self.layout.to_bytes(images, self.info.image_shape[0])[: len(z)]

    def _batches(self, chunks: Iterator[NDArray[np.uint8]], size: int) -> Iterator[NDArray[np.uint8]]:
        """Yield the images of `chunks`, `size` at a time."""
        batch, filled = _allocate(size, self.info.image_shape), 0
        for chunk in chunks:
            while len(chunk):
                part, chunk = chunk[: size - filled], chunk[size - filled :]
                batch[filled : filled + len(part)] = part
                filled += len(part)
                if filled == size:
                    yield batch
                    batch, filled = np.empty_like(batch), 0
        if filled:
            yield batch[:filled]

    def _draw(self, z: NDArray[np.float32], y: NDArray[np.int64] | None) -> NDArray[Any]:
        """Return the images in the file's layout."""
        shape, dtype = (len(z), *self.layout.shape(self.info.image_shape)), self.layout.dtype
        if not len(z):
            return np.empty(shape, dtype)
        images = self.forward(z, y)
        if images.shape != shape or images.dtype != dtype:
            raise ModelError(
                f"'{self.info.variant}' drew {images.dtype} {list(images.shape)}, not {dtype} {list(shape)}: "
                "export it again"
            )
        if images.dtype == np.float32 and not np.isfinite(images).all():
            raise ModelError(f"'{self.info.variant}' drew NaN or infinity: its weights are broken; use another file")
        return images


def great_circle(
    a: NDArray[np.float32], b: NDArray[np.float32], steps: int, uniform_codes: int = 0
) -> NDArray[np.float32]:
    """Return latents [steps, D] from `a` to `b` at equal angles, with lengths between those of the two.

    Latents of N(0, I) lie near a sphere, which a straight line would leave. If both have the same direction, opposite
    directions or length 0, the great circle is not unique: a line is used. The last `uniform_codes` columns are
    interpolated along a line.
    """
    if uniform_codes:
        line = np.linspace(a[-uniform_codes:], b[-uniform_codes:], steps, dtype=np.float32)
        circle = great_circle(a[:-uniform_codes], b[:-uniform_codes], steps)
        return np.concatenate([circle, line], axis=1)
    t: NDArray[np.float64] = np.linspace(0, 1, steps)[:, None]
    ends = np.stack([a, b]).astype(np.float64)
    lengths = np.linalg.norm(ends, axis=1, keepdims=True)
    first, last = ends / np.maximum(lengths, np.finfo(np.float64).tiny)
    angle = np.arccos(np.clip(first @ last, -1, 1))
    if np.sin(angle) < 1e-6 or not lengths.all():
        z = (1 - t) * ends[0] + t * ends[1]
    else:
        directions = (np.sin((1 - t) * angle) * first + np.sin(t * angle) * last) / np.sin(angle)
        z = directions * ((1 - t) * lengths[0] + t * lengths[1])
    z[0], z[-1] = ends  # exactly
    return np.asarray(z, np.float32)


def _check_natural(name: str, value: object) -> int:
    if not is_integer(value) or value < 0:  # type: ignore[operator]
        raise UsageError(f"{name} is {_shorten(value)}: expected an integer from 0 up")
    return int(value)  # type: ignore[call-overload,no-any-return]


def _check_seed(name: str, value: object) -> int:
    return 0 if value is None else _check_natural(name, value)


def _check_positive(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{name} is {_shorten(value)}: expected an integer from 1 up")


def _check_names(names: object, num_classes: int | None) -> None:
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"class_names are {_shorten(names)}: expected a tuple of strings")
    if len(names) != num_classes:
        raise UsageError(f"{len(names)} class_names were given for num_classes = {num_classes}: expected one per class")


def _allocate(n: int, image_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    channels, height, width = image_shape
    try:
        return np.empty((n, height, width, channels), np.uint8)
    except (MemoryError, ValueError) as error:  # numpy raises ValueError if the size does not fit an address
        raise MachineError(f"{n} images of {channels}x{height}x{width} do not fit in memory: ask for fewer") from error


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
