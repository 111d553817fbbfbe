"""Hidden labels: which images of a labelled set show their labels, if only few of each class are to be learnt from."""

import torch
from torch import Tensor

from ganzoo.data.dataset import Dataset
from ganzoo.errors import UsageError
from ganzoo.seeds import derive


def choose_labelled(dataset: Dataset, per_class: int, seed: int) -> Tensor:
    """Return the numbers of `per_class` images of each class, int64 [n], ascending: a function of labels and seed.

    With the same seed, fewer images are some of more. Raises UsageError if there are no labels, or fewer images of a
    class.
    """
    labels = dataset.labels
    if labels is None:
        raise UsageError(
            f"data.labels_per_class hides labels, and {dataset.source} has none: use a folder per class, `labels` in "
            "an .npz file, or leave out --labels-per-class"
        )
    counts = labels[labels >= 0].bincount()
    fewest, rarest = min((count, label) for label, count in enumerate(counts.tolist()) if count)
    if fewest < per_class:
        name = dataset.class_names[rarest] if dataset.class_names else rarest
        images = "1 image" if fewest == 1 else f"{fewest} images"
        raise UsageError(
            f"data.labels_per_class is {per_class}: expected 1 to {fewest}, as {dataset.source} has {images} of the "
            f"class '{name}'"
        )
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(derive(seed, "labels")))
    order = order[labels[order] >= 0]
    order = order[labels[order].argsort(stable=True)]  # by class, in each at random
    places = torch.arange(len(order)) - (counts.cumsum(0) - counts)[labels[order]]  # of an image within its class
    return order[places < per_class].sort().values
