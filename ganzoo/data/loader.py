"""The loader: the whole set as one uint8 tensor on the training device, and a permutation per epoch.

A set that does not fit into memory is read in windows and shuffled in two levels (`windows.py`). In both cases a batch
depends only on `(seed, update)`, so a resumed run needs no loader state. Labelled batches are drawn separately, for
terms that learn from labels when few images have one.
"""

import torch
from torch import Tensor

from ganzoo.data.dataset import UNLABELLED, Dataset
from ganzoo.data.windows import Windows
from ganzoo.errors import UsageError
from ganzoo.seeds import derive

ALL = slice(None)


def normalize(images: Tensor) -> Tensor:
    """Convert images from uint8 [0, 255] to float32 [-1, 1]."""
    return images.float().div_(127.5).sub_(1)


class Loader:
    """Batches of a data set for the updates 0, 1, 2, ...; the last partial batch of an epoch is dropped.

    Only the rows `share` of each batch are returned, the part for one of several processes. `labelled` are the numbers
    int64 [n] of the images that show their labels, None for all; the others have the label -1. Raises UsageError if
    `batch_size` is below 1 or above the number of images.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        device: torch.device | str,
        seed: int,
        share: slice = ALL,
        labelled: Tensor | None = None,
    ) -> None:
        if not 1 <= batch_size <= len(dataset):
            raise UsageError(
                f"data.batch_size is {batch_size}: expected 1 to {len(dataset)}, the number of images in "
                f"{dataset.source}"
            )
        self.batch_size = batch_size
        self.share = share
        self.batches_per_epoch = len(dataset) // batch_size
        self.device = torch.device(device)
        self._count = len(dataset)
        self._images = Windows(dataset.mapped, seed) if dataset.mapped else dataset.images.to(device)
        labels = dataset.labels
        if labels is not None and labelled is not None:
            labels = torch.full_like(labels, UNLABELLED).index_copy(0, labelled, labels[labelled])
        self._labels = None if labels is None else labels.to(device)
        self.labelled = labelled
        self._seed = seed
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def batch(self, update: int) -> tuple[Tensor, Tensor | None]:
        """Return this share's images float32 [B, C, H, W] in [-1, 1] and labels int64 [B] (or None) of an update."""
        epoch, position = divmod(update, self.batches_per_epoch)
        start = position * self.batch_size
        images, rows = self._take(epoch, start + (self.share.start or 0), start + (self.share.stop or self.batch_size))
        return normalize(images), None if self._labels is None else self._labels[rows]

    def labelled_batch(self, update: int) -> tuple[Tensor, Tensor]:
        """Return a batch of the same size, drawn with replacement from the images that show their labels."""
        assert self._labels is not None, "only data with labels have labelled batches"
        # Drawn on the CPU: the same rows whatever the training device.
        generator = torch.Generator().manual_seed(derive(self._seed, "labelled batch", update))
        count = self._count if self.labelled is None else len(self.labelled)
        drawn = torch.randint(count, (self.batch_size,), generator=generator)[self.share]
        numbers = drawn if self.labelled is None else self.labelled[drawn]
        rows = numbers.to(self.device)
        if isinstance(self._images, Windows):
            return normalize(self._images.read(numbers).to(self.device)), self._labels[rows]
        return normalize(self._images[rows]), self._labels[rows]

    def settle(self) -> None:
        """Wait until nothing is being read ahead, before a measurement."""
        if isinstance(self._images, Windows):
            self._images.settle()

    def _take(self, epoch: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Return the images uint8 [B, C, H, W] at positions of an epoch, and their numbers int64 [B]."""
        if isinstance(self._images, Windows):
            images, rows = self._images.take(epoch, start, stop)
            return images.to(self.device), rows.to(self.device)
        rows = self._permutation(epoch)[start:stop]
        return self._images[rows], rows

    def _permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            # Drawn on the CPU: the same order whatever the training device.
            generator = torch.Generator().manual_seed(derive(self._seed, "permutation", epoch))
            self._order = torch.randperm(self._count, generator=generator).to(self.device)
            self._epoch = epoch
        return self._order
