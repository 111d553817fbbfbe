"""How many images are drawn at a time: fewer of large ones, and the same images however many are asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ganzoo.exporting.parity import BATCHES, LATENTS, PROBES, proof_size
from ganzoo.runtime.generator import CHUNK, LARGE_PIXELS, SMALL, Generator, GeneratorInfo, chunk_size


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_chunks_are_bounded_by_pixels(height: int, width: int) -> None:
    size = chunk_size((3, height, width))
    assert size >= 1
    assert size.bit_count() == 1
    assert size == CHUNK if height * width <= SMALL else size == 1 or size * height * width <= LARGE_PIXELS


def test_one_large_image_costs_one() -> None:
    sizes: list[int] = []

    def forward(z: NDArray[np.float32], labels: NDArray[np.int64] | None) -> NDArray[np.float32]:
        sizes.append(len(z))
        return np.tanh(z[:, :1, None, None] * np.ones((1, 3, 600, 800), np.float32))

    info = GeneratorInfo(variant="toy", latent_dim=4, image_shape=(3, 600, 800), num_classes=None)
    generator = Generator(info, forward)
    (image,) = generator.sample(1, seed=5)
    assert sizes == [1]
    assert np.array_equal(generator.sample(3, seed=5)[0], image)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 128, 128)])
def test_small_images_are_proven_as_before(shape: tuple[int, int, int]) -> None:
    assert proof_size(GeneratorInfo(variant="toy", latent_dim=4, image_shape=shape, num_classes=None)) == (
        LATENTS,
        BATCHES,
    )


def test_a_proof_of_large_images_draws_fewer_but_each_label() -> None:
    info = GeneratorInfo(variant="toy", latent_dim=4, image_shape=(3, 600, 800), num_classes=50)
    assert proof_size(info) == (50, (1, 2))
    count, batches = proof_size(GeneratorInfo(variant="toy", latent_dim=4, image_shape=(3, 600, 800), num_classes=None))
    assert (PROBES <= count < 40, batches) == (True, (1, 2))
