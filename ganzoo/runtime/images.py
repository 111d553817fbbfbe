"""Images, uint8 [N, H, W, C] with 1, 3 or 4 channels, as a grid, a PNG, an .npz or a directory of PNGs. No torch."""

import base64
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganzoo.errors import UsageError
from ganzoo.files import StrPath, atomic_directory, atomic_write, writing

LABELS_FILE = "labels.csv"
WIDEST, MOST_PIXELS = 1000, 64_000_000  # of a picture in a notebook
_OUR_FILE = re.compile(r"[0-9]{5,}\.png|labels\.csv")


def grid(images: NDArray[np.uint8], columns: int | None = None, padding: int = 2) -> NDArray[np.uint8]:
    """Return the images in rows, uint8 [H', W', C], with `padding` pixels between them; near-square without `columns`.

    The padding is black, or transparent with 4 channels.
    """
    _check(images, "NHWC")
    n, height, width, channels = images.shape
    if not n:
        raise UsageError("a grid needs at least one image")
    columns = math.ceil(math.sqrt(n)) if columns is None else columns
    if columns < 1 or padding < 0:
        raise UsageError(f"columns = {columns} and padding = {padding}: expected at least 1 column and 0 pixels")
    columns = min(columns, n)
    rows = math.ceil(n / columns)
    cells = np.zeros((rows * columns, height + padding, width + padding, channels), np.uint8)
    cells[:n, :height, :width] = images
    # [rows, columns, H, W, C] -> [rows, H, columns, W, C] -> one image, without the padding at its end
    table = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    image = table.reshape(rows * (height + padding), columns * (width + padding), channels)
    return np.ascontiguousarray(image[: image.shape[0] - padding, : image.shape[1] - padding])


def save_png(path: StrPath, image: NDArray[np.uint8]) -> None:
    """Write `image`, uint8 [H, W, C], as a PNG."""
    atomic_write(path, encode_png(image))


def save_npz(path: StrPath, images: NDArray[np.uint8], labels: NDArray[np.integer[Any]] | None = None) -> None:
    """Write `images` as uint8 [N, H, W] for grey and [N, H, W, C] for colour, and `labels` as int64 [N] if given."""
    _check(images, "NHWC")
    arrays: dict[str, NDArray[Any]] = {"images": images[..., 0] if images.shape[-1] == 1 else images}
    if labels is not None:
        arrays["labels"] = _check_labels(labels, len(images))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    atomic_write(path, buffer.getvalue())


def save_directory(path: StrPath, images: NDArray[np.uint8], labels: NDArray[np.integer[Any]] | None = None) -> None:
    """Write the images as 00000.png, 00001.png, ..., and `labels.csv` (`file,label`) if labels are given.

    A directory that an earlier call wrote is replaced. Raises UsageError if it contains anything else.
    """
    _check(images, "NHWC")
    y = None if labels is None else _check_labels(labels, len(images))
    with writing(path):
        _refuse_others(Path(path))
    digits = max(5, len(str(len(images) - 1)))
    names = [f"{index:0{digits}d}.png" for index in range(len(images))]
    with atomic_directory(path) as directory, writing(path):
        for name, image in zip(names, images, strict=True):
            (directory / name).write_bytes(encode_png(image))
        if y is not None:
            rows = [f"{name},{label}\n" for name, label in zip(names, y, strict=True)]
            (directory / LABELS_FILE).write_text("".join(["file,label\n", *rows]), encoding="utf-8", newline="\n")


def _refuse_others(path: Path) -> None:
    """Raise UsageError if something is at `path` that `save_directory` did not write."""
    if not path.is_dir():
        if path.exists():
            raise UsageError(f"{path} is not a directory: choose another path or remove it")
        return
    for entry in path.iterdir():
        if entry.is_symlink() or not entry.is_file() or not _OUR_FILE.fullmatch(entry.name):
            raise UsageError(f"{path} contains '{entry.name}', which would be lost: choose a new or an empty directory")


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Return `image`, uint8 [H, W, C], as the bytes of a PNG."""
    _check(image, "HWC")
    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, "PNG")
    return buffer.getvalue()


def png_to_html(png: bytes) -> str:
    """Return an HTML element with the picture of a PNG, at most 1,000 pixels wide.

    Small pictures are enlarged. Raises ValueError if the bytes are not a PNG of at most 64 million pixels.
    """
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"the image has more than {MOST_PIXELS:,} pixels")
            image.thumbnail((WIDEST, WIDEST))
            buffer = io.BytesIO()
            image.save(buffer, "PNG")
            width = image.width * (2 if 2 * image.width <= WIDEST else 1)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"not a PNG: {error}") from None
    source = f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return f'<img width="{width}" style="max-width:100%;image-rendering:pixelated" alt="images" src="{source}">'


def _check(images: NDArray[np.uint8], axes: str) -> None:
    fits = images.ndim == len(axes) and images.shape[-1] in (1, 3, 4) and 0 not in images.shape[-3:]
    if images.dtype != np.uint8 or not fits:
        expected = f"expected uint8 [{', '.join(axes)}] with 1, 3 or 4 channels"
        raise UsageError(f"images are {images.dtype} {list(images.shape)}: {expected}")


def _check_labels(labels: NDArray[np.integer[Any]], n: int) -> NDArray[np.int64]:
    if labels.dtype.kind not in "iu" or labels.shape != (n,):
        raise UsageError(f"labels are {labels.dtype} {list(labels.shape)}: expected integers [{n}], one per image")
    return labels.astype(np.int64)
