"""Hidden labels: the choice of images that keep their labels when training uses few labels per class."""

import torch
from torch import Tensor

from ganzoo.data.dataset import Dataset
from ganzoo.errors import UsageError
from ganzoo.seeds import derive


def choose_labelled(dataset: Dataset, per_class: int, seed: int) -> Tensor:
    """Choose `per_class` images of each class from labels and seed; return their numbers int64 [n], ascending.

    With the same seed, a smaller choice is part of a larger one. Raises UsageError if there are no labels, or if a
    class has fewer images.
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
    order = order[labels[order].argsort(stable=True)]  # by class, in random order within each
    places = torch.arange(len(order)) - (counts.cumsum(0) - counts)[labels[order]]  # within the class
    return order[places < per_class].sort().values
