"""CUDA graphs: an update's kernels recorded once and launched together, as their launches cost more than they do."""

import copy
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields, is_dataclass

import torch
from torch import Tensor

from ganzoo.errors import MachineError, first_line
from ganzoo.zoo.batch import Batch
from ganzoo.zoo.objectives.base import Terms

WARM_UP = 3  # eager calls before an update is captured: libraries choose algorithms, the optimiser makes its state


@dataclass
class _Graph:
    """One captured update: it reads `batch`, and leaves its terms in `terms`."""

    batch: Batch
    calls: int = 0
    graph: "torch.cuda.CUDAGraph | None" = None
    terms: Terms | None = None


class CaptureError(MachineError):
    """An update that could not be captured has left CUDA in a state in which nothing more can be computed."""


class Graphs:
    """The updates of a run, each captured under its own key after a few eager calls.

    A key stands for all that is not in the batch's tensors: the player, and the terms of both that are due. The
    generator's update goes back through the images that the discriminator's has drawn: so the two have the same keys,
    are captured at the same step, and every graph keeps its memory to itself, where a later one finds what an earlier
    one has left.
    """

    def __init__(self) -> None:
        self._graphs: dict[Hashable, _Graph] = {}
        self._stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def run(self, key: Hashable, update: Callable[[Batch], Terms], batch: Batch) -> Terms:
        """The update of this batch, captured or not; its terms are overwritten by the next one of the same key.

        Raises RuntimeError for an update that waits for the device, before it is captured, and CaptureError.
        """
        if key not in self._graphs:
            self._graphs[key] = _Graph(copy.deepcopy(batch))
        recorded = self._graphs[key]
        copy_into(recorded.batch, batch)
        recorded.calls += 1
        if recorded.calls <= WARM_UP:
            return self._warmed_up(update, recorded.batch, last=recorded.calls == WARM_UP)
        if recorded.graph is None or recorded.terms is None:
            recorded.graph, recorded.terms = self._captured(update, recorded.batch)
        recorded.graph.replay()  # capturing computes nothing
        return recorded.terms

    def _warmed_up(self, update: Callable[[Batch], Terms], batch: Batch, *, last: bool) -> Terms:
        """Eager, on the stream that is captured later; the last time anything that waits for the device is an error."""
        former = torch.cuda.get_sync_debug_mode()
        self._stream.wait_stream(torch.cuda.current_stream())
        torch.cuda.set_sync_debug_mode("error" if last else former)
        try:
            with torch.cuda.stream(self._stream):
                terms = update(batch)
        finally:
            torch.cuda.set_sync_debug_mode(former)
        torch.cuda.current_stream().wait_stream(self._stream)
        return terms

    def _captured(self, update: Callable[[Batch], Terms], batch: Batch) -> "tuple[torch.cuda.CUDAGraph, Terms]":
        graph, former = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                terms = update(batch)
        except RuntimeError as error:
            torch.cuda.set_stream(former)
            raise CaptureError(
                f"an update cannot be captured in a CUDA graph ({first_line(error)}): --set train.graphs=false does "
                "without"
            ) from error
        return graph, terms


def copy_into(target: object, source: object) -> None:
    """Copy every tensor of one batch into the other's, which stay where they are."""
    if isinstance(target, dict) and isinstance(source, dict):
        pairs = [(own, source[key]) for key, own in target.items()]
    elif isinstance(target, tuple) and isinstance(source, tuple):
        pairs = list(zip(target, source, strict=True))
    else:
        names = [field.name for field in fields(target)]  # type: ignore[arg-type]  # both are the same dataclass
        pairs = [(getattr(target, name), getattr(source, name)) for name in names]
    for own, new in pairs:
        if isinstance(own, Tensor):
            own.copy_(new, non_blocking=True)
        elif is_dataclass(own) or isinstance(own, dict | tuple):
            copy_into(own, new)
