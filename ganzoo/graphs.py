"""CUDA graphs: an update's kernels recorded once and launched together, as their launches cost more than they do."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from ganzoo.batch import Batch
from ganzoo.objective import Terms

WARM_UP = 3  # eager calls before an update is captured: libraries choose algorithms, the optimiser makes its state

T = TypeVar("T")


@dataclass
class _Graph:
    """One captured update: it reads `batch`, and leaves its terms in `terms`."""

    batch: Batch
    calls: int = 0
    graph: "torch.cuda.CUDAGraph | None" = None
    terms: Terms | None = None


class Graphs:
    """The updates of a run, each captured under its own key after a few eager calls.

    A key stands for all that is not in the batch's tensors: the player, the penalties that are due. A batch that the
    generator's update shares with the discriminator's is read from the same tensors, so its graph belongs to one key of
    the discriminator's. Every graph keeps its memory to itself: a later one reads what an earlier one has left there.
    """

    def __init__(self) -> None:
        self._graphs: dict[Hashable, _Graph] = {}

    def run(self, key: Hashable, update: Callable[[Batch], Terms], batch: Batch) -> Terms:
        """The update of this batch, captured or not; its terms are overwritten by the next one of the same key."""
        if key not in self._graphs:
            self._graphs[key] = _Graph(cloned(batch))
        recorded = self._graphs[key]
        copy_into(recorded.batch, batch)
        recorded.calls += 1
        if recorded.calls <= WARM_UP:
            return self._beside(update, recorded.batch)
        if recorded.graph is None or recorded.terms is None:
            recorded.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(recorded.graph):
                recorded.terms = update(recorded.batch)
        recorded.graph.replay()  # capturing computes nothing
        return recorded.terms

    @staticmethod
    def _beside(update: Callable[[Batch], Terms], batch: Batch) -> Terms:
        """On another stream, as capturing asks of warm-up."""
        stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            terms = update(batch)
        torch.cuda.current_stream().wait_stream(stream)
        return terms


def cloned(batch: T) -> T:
    """A batch with tensors of its own."""
    return _mapped(batch, lambda tensor: tensor.clone())


def copy_into(target: object, source: object) -> None:
    """Every tensor of one batch into the other's, which stay where they are."""
    for field in fields(target):  # type: ignore[arg-type]  # both are the same dataclass
        own, new = getattr(target, field.name), getattr(source, field.name)
        if isinstance(own, Tensor):
            own.copy_(new, non_blocking=True)
        elif is_dataclass(own):
            copy_into(own, new)


def _mapped(value: T, function: Callable[[Tensor], Tensor]) -> T:
    changed: dict[str, object] = {}
    for field in fields(value):  # type: ignore[arg-type]
        item = getattr(value, field.name)
        if isinstance(item, Tensor):
            changed[field.name] = function(item)
        elif is_dataclass(item):
            changed[field.name] = _mapped(item, function)
    return replace(value, **changed)  # type: ignore[type-var]
