"""Random order of training images that stay in a file and are read in blocks.

A permutation of all images would need one disk read per image. So the set is divided into blocks of consecutive images.
In every epoch the blocks are shuffled and read into memory one window at a time, in the order of the file, and the
images of a window are shuffled together. While training uses one window, a thread reads the next.

A window contains at least 64 blocks from all over the file, unless single images are too large for that: so even if a
set is sorted by class, each window has all classes in about their shares. The cost is that images of one block are
close to one another in every epoch.
"""

import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganzoo.data.mapped import Mapped
from ganzoo.data.memory import MB
from ganzoo.seeds import derive

BLOCK_BYTES = 256_000  # at most, unless one image is larger
WINDOW_BLOCKS = 64  # at least
WINDOWS = 4  # per memory budget; two are in memory at a time


@dataclass(frozen=True)
class _Window:
    """Images [n, *stored_shape] in the order of the file, their numbers int64 [n], and their order in training."""

    images: Tensor
    rows: Tensor
    order: Tensor


class Windows:
    """The images of every epoch in an order that depends only on seed, epoch and memory budget.

    The memory budget determines the size of a window.
    """

    def __init__(self, mapped: Mapped, seed: int) -> None:
        self._file = mapped.file
        self._seed = seed
        window_bytes = mapped.memory * MB // WINDOWS
        block_bytes = min(BLOCK_BYTES, window_bytes // WINDOW_BLOCKS)
        self._block = max(1, block_bytes // self._file.image_bytes)  # images
        self._blocks = -(-self._file.shape[0] // self._block)
        self._window = max(1, window_bytes // (self._block * self._file.image_bytes))  # blocks
        self._windows = -(-self._blocks // self._window)
        self._epoch = -1
        self._starts = np.empty(0, np.int64)  # positions in the epoch of each window's first image, and of the end
        self._reads: dict[tuple[int, int], Future[_Window]] = {}  # by epoch and number
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="ganzoo-images")
        self._opened = self._file.open()
        weakref.finalize(self, self._opened.close)

    def take(self, epoch: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return the images uint8 [n, C, H, W] at positions `start` to `stop` of an epoch, and their numbers int64 [n].

        Raises FileError if the file has changed.
        """
        if epoch != self._epoch:
            self._starts, self._epoch = self._window_starts(epoch), epoch
        first, last = np.searchsorted(self._starts, [start, stop - 1], side="right") - 1
        images, rows = [], []
        for number in range(int(first), int(last) + 1):
            window = self._get(epoch, number)
            begin = int(self._starts[number])
            chosen = window.order[max(start - begin, 0) : stop - begin]
            images.append(window.images[chosen])
            rows.append(window.rows[chosen])
        return self._file.arranged(torch.cat(images)), torch.cat(rows)

    def read(self, numbers: Tensor) -> Tensor:
        """Return the images uint8 [n, C, H, W] with the numbers `numbers`, int64 [n].

        Raises FileError if the file has changed.
        """
        images = np.empty((len(numbers), *self._file.stored_shape), np.uint8)
        with self._file.open() as file:  # `_opened` may be in use by the thread that reads windows
            for place, number in enumerate(numbers.tolist()):
                self._file.fill(file, images[place : place + 1], number)
        return self._file.arranged(torch.from_numpy(images))

    def settle(self) -> None:
        """Wait until all windows that are being read ahead have been read."""
        for read in self._reads.values():
            read.result()

    def _get(self, epoch: int, number: int) -> _Window:
        """Return a window, start to read the next one, and drop all others."""
        following = (epoch, number + 1) if number + 1 < self._windows else (epoch + 1, 0)
        self._reads = {key: read for key, read in self._reads.items() if key in ((epoch, number), following)}
        for key in ((epoch, number), following):
            if key not in self._reads:
                self._reads[key] = self._reader.submit(self._read, *key)
        return self._reads[epoch, number].result()

    def _read(self, epoch: int, number: int) -> _Window:
        blocks = self._shuffled_blocks(epoch)[number * self._window :][: self._window]
        starts = np.sort(blocks) * self._block
        sizes = np.minimum(self._block, self._file.shape[0] - starts)
        images = np.empty((int(sizes.sum()), *self._file.stored_shape), np.uint8)
        self._file.check(self._opened)
        position = 0
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            self._file.fill(self._opened, images[position : position + size], start)
            position += size
        rows = np.concatenate([np.arange(start, start + size) for start, size in zip(starts, sizes, strict=True)])
        order = _permutation(len(rows), derive(self._seed, "window", epoch, number))
        return _Window(torch.from_numpy(images), torch.from_numpy(rows), torch.from_numpy(order))

    def _window_starts(self, epoch: int) -> NDArray[np.int64]:
        sizes = np.full(self._blocks, self._block)
        sizes[-1] = self._file.shape[0] - (self._blocks - 1) * self._block
        windows = np.add.reduceat(sizes[self._shuffled_blocks(epoch)], np.arange(0, self._blocks, self._window))
        return np.concatenate([[0], np.cumsum(windows)])

    def _shuffled_blocks(self, epoch: int) -> NDArray[np.int64]:
        return _permutation(self._blocks, derive(self._seed, "blocks", epoch))


def _permutation(count: int, seed: int) -> NDArray[np.int64]:
    """Return a random permutation, without torch, whose extra threads for the reader would slow down training's."""
    return np.random.Generator(np.random.Philox(seed)).permutation(count)
