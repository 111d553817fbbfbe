"""The one loader: the whole set as one uint8 tensor on the training device, and a permutation for each epoch.

A set that does not fit into memory is read in windows, shuffled in two levels (`windows.py`). Either way a batch is a
function of `(seed, update)` alone, so that a resumed run needs no state of the loader's. Labelled batches are drawn
beside these, for what learns from labels where few images have one.
"""

import torch
from torch import Tensor

from ganzoo.data.dataset import UNLABELLED, Dataset
from ganzoo.data.windows import Windows
from ganzoo.errors import UsageError
from ganzoo.seeds import derive

ALL = slice(None)


def normalize(images: Tensor) -> Tensor:
    """uint8 [0, 255] -> float32 [-1, 1], of the same shape."""
    return images.float().div_(127.5).sub_(1)


class Loader:
    """Batches of a data set for update 0, 1, 2, ...; an epoch's last partial batch is dropped.

    Only the rows of `share` are made of each batch: what one of several processes takes. `labelled` are the
    numbers int64 [n] of the images whose labels are shown, None for all; the others have the label -1. Raises
    UsageError where `batch_size` is below 1 or above the number of images.
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
                f"data.batch_size is {batch_size}: expected 1 to {len(dataset)}, as {dataset.source} has images"
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
        """The images float32 [B, C, H, W] in [-1, 1] and the labels int64 [B], or None, of an update's share."""
        epoch, position = divmod(update, self.batches_per_epoch)
        start = position * self.batch_size
        images, rows = self._take(epoch, start + (self.share.start or 0), start + (self.share.stop or self.batch_size))
        return normalize(images), None if self._labels is None else self._labels[rows]

    def labelled_batch(self, update: int) -> tuple[Tensor, Tensor]:
        """As `batch`, of images that show their labels: as many of these, drawn with replacement."""
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
        """Wait until nothing is being read ahead of training, for whoever measures."""
        if isinstance(self._images, Windows):
            self._images.settle()

    def _take(self, epoch: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """The images uint8 [B, C, H, W] at positions of an epoch, and their numbers int64 [B]."""
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
