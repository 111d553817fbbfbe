"""Random numbers as a function of `(seed, index)`: no state to save, the same numbers in any order of calls.

Uses only numpy, so that the torch-free runtime draws the same latents as training.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

BLOCK = 256  # latents per random stream


def derive(seed: int, stream: str, *index: int) -> int:
    """Return a 63-bit seed for one purpose (`stream`) and position, independent of all others."""
    return int(_sequence(seed, stream, *index).generate_state(1, np.uint64)[0] >> 1)


def latents(seed: int, latent_dim: int, start: int, stop: int, uniform: int = 0) -> NDArray[np.float32]:
    """Return the latents with the indices `start` to `stop`, float32 [stop - start, latent_dim].

    The columns are N(0, 1), except the last `uniform` ones, which are uniform in [-1, 1). A latent depends only on
    `seed` and its own index: `latents(s, d, 0, 100)[:10]` equals `latents(s, d, 0, 10)`.
    """
    first, last = start // BLOCK, -(-stop // BLOCK)
    blocks = [_block(seed, latent_dim - uniform, uniform, block) for block in range(first, last)]
    if not blocks:
        return np.empty((0, latent_dim), np.float32)
    return np.concatenate(blocks)[start - first * BLOCK : stop - first * BLOCK]


def _block(seed: int, normal: int, uniform: int, block: int) -> NDArray[np.float32]:
    generator = np.random.Generator(np.random.Philox(_sequence(seed, "latents", block)))
    z = generator.standard_normal((BLOCK, normal), dtype=np.float32)
    if not uniform:
        return z
    generator = np.random.Generator(np.random.Philox(_sequence(seed, "codes", block)))
    return np.concatenate([z, 2 * generator.random((BLOCK, uniform), dtype=np.float32) - 1], axis=1)


def _sequence(seed: int, stream: str, *index: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, zlib.crc32(stream.encode()), *index])
