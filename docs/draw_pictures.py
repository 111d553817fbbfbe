"""Draw docs/images/digits.png and docs/images/real-and-drawn.png with the generators that ship with the package.

    GANZOO_DATA_DIR=... python docs/draw_pictures.py

The second needs MNIST. It shows three blocks with a row of five images per class: real images, images of the previous
bundled generator `mnist-v1`, and images of `mnist`. No image is selected by hand: the real ones are the first test
images, and the generated ones are those of seed 0.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganzoo import data, runtime
from ganzoo.runtime.images import grid

PLACE = Path(__file__).parent / "images"
CLASSES = 10
EACH = 5  # images per class in a block
BETWEEN = 28  # pixels between two blocks


def draw(name: str, each: int) -> NDArray[np.uint8]:
    """Return `each` images of every class, class by class, [N, 28, 28, 1]."""
    labels = np.repeat(np.arange(CLASSES), each)
    return runtime.load(name).sample(len(labels), labels=labels, seed=0)


def real(each: int) -> NDArray[np.uint8]:
    """Return the first `each` test images of every class, class by class, [N, 28, 28, 1]."""
    dataset = data.load("mnist", split="test")
    assert dataset.labels is not None
    rows = np.concatenate([np.flatnonzero(dataset.labels == label)[:each] for label in range(CLASSES)])
    return dataset.images[rows].permute(0, 2, 3, 1).numpy()


def main() -> None:
    Image.fromarray(grid(draw("mnist", CLASSES), CLASSES)[..., 0]).save(PLACE / "digits.png", optimize=True)
    blocks = [grid(images, EACH) for images in (real(EACH), draw("mnist-v1", EACH), draw("mnist", EACH))]
    gap = np.full((len(blocks[0]), BETWEEN, 1), 255, np.uint8)
    beside = np.concatenate([blocks[0], gap, blocks[1], gap, blocks[2]], axis=1)
    Image.fromarray(beside[..., 0]).save(PLACE / "real-and-drawn.png", optimize=True)


if __name__ == "__main__":
    main()
