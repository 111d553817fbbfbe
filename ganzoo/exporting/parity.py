"""Comparison of an exported file with torch, and with itself on another machine. No torch.

`compare` compares a file with the generator that it was made from. `probe` records some pixels in the file's metadata,
and `check_probe` compares them again on any machine.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganzoo.errors import FileError, ModelError, VerificationError
from ganzoo.runs.format import Difference as Difference
from ganzoo.runtime.encoder import Encoder
from ganzoo.runtime.forms import PRECISIONS, Precision
from ganzoo.runtime.generator import SMALL, Generator, GeneratorInfo, chunk_size
from ganzoo.runtime.pixels import to_uint8
from ganzoo.seeds import derive

BATCHES = (1, 2, 7, 64)  # the first batches, of small images; then the last size is repeated, and a rest
LATENTS = 1000  # include each label
PROOF_PIXELS = LATENTS * SMALL  # of all images that a proof draws: fewer large images
ENCODER_DIFFERENCE = 1e-4  # of latents, relative to the largest value or to 1
PROBES = 16  # latents, and pixels of each image


def compare(file: Generator, original: Generator, seed: int) -> Difference:
    """Return how far the file's images differ from the original's, over all labels and several batch sizes.

    Raises FileError if the file cannot draw.
    """
    batches = list(_batches(original.info, seed))
    rows = [_compare_batch(file, original, *batch) for batch in batches]
    greatest = max(rows, key=lambda row: row.difference)
    return Difference(
        difference=greatest.difference,
        grey_levels=max(row.grey_levels for row in rows),
        mean_grey_levels=float(
            np.average([row.mean_grey_levels for row in rows], weights=[len(z) for _, z, _ in batches])
        ),
        where=greatest.where,
    )


def prove(file: Generator, original: Generator, precision: Precision = PRECISIONS["fp32"], seed: int = 0) -> Difference:
    """Return how far the file's images differ from the run's. Raises VerificationError if they differ too much."""
    try:
        found = compare(file, original, seed)
    except FileError as error:
        raise VerificationError(f"the exported generator cannot be used: {error}") from error
    check(found, precision, floats=file.layout.floats)
    return found


def check(found: Difference, precision: Precision, *, floats: bool = True) -> None:
    """Raise VerificationError if the difference is larger than allowed; without `floats`, only bytes are compared."""
    near = found.grey_levels <= precision.greatest and found.mean_grey_levels <= precision.mean
    finer = [name for name, other in PRECISIONS.items() if other.greatest < precision.greatest]
    if not (near and (found.difference <= precision.difference or not floats)):  # also if it is NaN
        raise VerificationError(
            f"the exported generator differs from the run's by {found.difference:.1e} (at most "
            f"{precision.difference:.0e} expected), {found.grey_levels} grey levels (at most {precision.greatest}) and "
            f"{found.mean_grey_levels:.2f} on average (at most {precision.mean:g}), most at {found.where}"
            + (f": use --precision {' or '.join(reversed(finer))}" if finer else "")
        )


def compare_encoders(file: Encoder, original: Encoder, seed: int) -> float:
    """Return the greatest difference of the file's latents from the original's, over several batch sizes.

    The images are noise of every brightness, with all labels. Raises VerificationError if the difference is larger than
    `ENCODER_DIFFERENCE` times the largest value or 1.
    """
    info, greatest, start = file.info, 0.0, 0
    stop, first = proof_size(info)
    sizes = iter(first)
    generator = np.random.default_rng(derive(seed, "parity"))
    while start < stop:
        size = min(next(sizes, first[-1]), stop - start)
        images = generator.uniform(-1, 1, (size, *info.image_shape)).astype(np.float32)
        images *= generator.uniform(0, 1, (size, 1, 1, 1)).astype(np.float32)
        labels = np.arange(start, start + size) % (info.num_classes or 1) if info.has_classes else None
        ours, theirs = file.forward(images, labels), original.forward(images, labels)
        apart = float(np.abs(ours - theirs).max())
        allowed = ENCODER_DIFFERENCE * max(1.0, float(np.abs(theirs).max()))
        if not apart <= allowed:
            raise VerificationError(
                f"the exported encoder's latents differ from the run's by {apart:.1e} (at most {allowed:.0e} expected)"
            )
        greatest, start = max(greatest, apart), start + size
    return greatest


def draws_nothing(file: Generator) -> bool:
    """Return True if the graph itself draws an empty batch: some cannot, and `Generator` never passes one to it."""
    info = file.info
    labels = np.empty(0, np.int64) if info.conditional else None
    try:
        drawn = file.forward(np.empty((0, info.latent_dim), np.float32), labels)
    except FileError:
        return False
    return drawn.shape == (0, *file.layout.shape(info.image_shape))


def probe(file: Generator) -> dict[str, Any]:
    """Return some values of some images in [-1, 1], for the metadata."""
    values = _draw_probe(file)
    return {"seed": 0, "pixels": _pixels(values.shape[1]).tolist(), "values": _rows(values).tolist()}


def probe_encoder(file: Encoder) -> dict[str, Any]:
    """Return some values of the latents of some images of noise, for the metadata."""
    values = _encode_probe(file)
    return {"seed": 0, "columns": _pixels(values.shape[1]).tolist(), "values": _rows(values).tolist()}


def check_encoder_probe(file: Encoder, document: Mapping[str, Any]) -> float:
    """Return by how much the latents differ from those recorded in the file's metadata.

    Raises VerificationError for more than `ENCODER_DIFFERENCE` times the largest value or 1, ModelError if none are
    recorded.
    """
    try:
        expected = np.array(document["probe"]["values"], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError("the file's metadata record no latents that can be compared: export it again") from error
    found = _rows(_encode_probe(file))
    difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
    allowed = ENCODER_DIFFERENCE * max(1.0, float(np.abs(found).max()))
    if not difference <= allowed:
        raise VerificationError(
            f"the file encodes to other latents here than where it was exported: values differ by {difference:.1e} (at "
            f"most {allowed:.0e} expected)"
        )
    return difference


def _encode_probe(file: Encoder) -> NDArray[np.float32]:
    images = np.random.default_rng(0).uniform(-1, 1, (PROBES, *file.info.image_shape)).astype(np.float32)
    labels = np.arange(PROBES) % (file.info.num_classes or 1) if file.info.has_classes else None
    return file.encode(images, labels)


def check_probe(file: Generator, document: Mapping[str, Any]) -> float | None:
    """Return by how much the images differ from those recorded in the file's metadata; None if none are recorded.

    Raises VerificationError for more than is allowed, ModelError for an invalid record.
    """
    if document.get("probe") is None:
        return None
    precision = precision_of(document)
    try:
        expected = np.array(document["probe"]["values"], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError("the file's metadata record no pixels that can be compared: export it again") from error
    found = _rows(_draw_probe(file))
    difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else float("inf")
    allowed = precision.repeat + (0 if file.layout.floats else 1 / 127.5)
    if not difference <= allowed:
        raise VerificationError(
            f"the file draws other images here than where it was exported: values differ by {difference:.1e} (at most "
            f"{allowed:.0e} expected)"
        )
    return difference


def precision_of(document: Mapping[str, Any]) -> Precision:
    """Return the precision that a file's metadata name. Raises ModelError if it does not exist."""
    name = document.get("precision", "fp32")
    if not isinstance(name, str) or name not in PRECISIONS:
        raise ModelError(f"the file's metadata do not name a precision ({', '.join(PRECISIONS)}): export it again")
    return PRECISIONS[name]


def proof_size(info: GeneratorInfo) -> tuple[int, tuple[int, ...]]:
    """Return the number of latents of a proof, and the sizes of its first batches: smaller for large images."""
    chunk, pixels = chunk_size(info.image_shape), info.image_shape[1] * info.image_shape[2]
    count = min(LATENTS, PROOF_PIXELS // pixels) if pixels > SMALL else LATENTS
    return max(count, info.num_classes or 0, PROBES), tuple(size for size in BATCHES if size <= max(2, chunk))


def _batches(info: GeneratorInfo, seed: int) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.int64] | None]]:
    """Yield the index of the first latent, the latents and the labels of each batch."""
    (stop, first), start = proof_size(info), 0
    sizes = iter(first)
    while start < stop:
        size = min(next(sizes, first[-1]), stop - start)
        labels = np.arange(start, start + size) % info.num_classes if info.num_classes else None
        yield start, info.latents(seed, start, start + size), labels
        start += size


def _compare_batch(
    file: Generator, original: Generator, start: int, z: NDArray[np.float32], labels: NDArray[np.int64] | None
) -> Difference:
    ours, theirs = file.generate(z, labels), original.generate(z, labels)
    apart = np.abs(ours - theirs)
    levels = np.abs(to_uint8(ours).astype(np.int16) - to_uint8(theirs))
    image, channel, row, column = (int(i) for i in np.unravel_index(apart.argmax(), apart.shape))
    label = "" if labels is None else f", label {labels[image]}"
    return Difference(
        difference=float(apart.max()),
        grey_levels=int(levels.max()),
        mean_grey_levels=float(levels.mean()),
        where=f"latent {start + image}{label}, channel {channel}, row {row}, column {column}: "
        f"{ours[image, channel, row, column]:.6f} instead of {theirs[image, channel, row, column]:.6f}",
    )


def _draw_probe(file: Generator) -> NDArray[np.float32]:
    z, labels = file.info.latents(0, 0, PROBES), file.labels_for(PROBES)
    return file.generate(z, labels).reshape(PROBES, -1)


def _pixels(count: int) -> NDArray[np.int64]:
    return np.linspace(0, count - 1, PROBES).astype(np.int64)


def _rows(values: NDArray[np.float32]) -> NDArray[np.float64]:
    return values[:, _pixels(values.shape[1])].astype(np.float64).round(5)
