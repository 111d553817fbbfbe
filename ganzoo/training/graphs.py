"""CUDA graphs: an update's kernels are recorded once and launched together, because launches cost more than kernels."""

import copy
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields, is_dataclass

import torch
from torch import Tensor

from ganzoo.errors import MachineError, first_line
from ganzoo.zoo.batch import Batch
from ganzoo.zoo.objectives.base import Terms

WARM_UP = 3  # eager calls before capture, in which libraries choose algorithms and the optimiser creates its state


@dataclass
class _Graph:
    """One captured update: it reads `batch` and writes its terms to `terms`."""

    batch: Batch
    calls: int = 0
    graph: "torch.cuda.CUDAGraph | None" = None
    terms: Terms | None = None


class CaptureError(MachineError):
    """A failed capture of an update, after which CUDA cannot compute anything in this process."""


class Graphs:
    """The updates of a run, each captured under its own key after a few eager calls.

    A key identifies everything that is not in the batch's tensors: the player, and the due terms of both players. The
    generator's update backpropagates through the images from the discriminator's update. So both have the same keys
    and are captured at the same step, and each graph has its own memory pool, in which later graphs find the tensors
    of earlier ones.
    """

    def __init__(self) -> None:
        self._graphs: dict[Hashable, _Graph] = {}
        self._stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def run(self, key: Hashable, update: Callable[[Batch], Terms], batch: Batch) -> Terms:
        """Run the update on this batch; its terms are overwritten by the next update of the same key.

        Raises CaptureError, or before capture RuntimeError if the update waits for the device.
        """
        if key not in self._graphs:
            self._graphs[key] = _Graph(copy.deepcopy(batch))
        recorded = self._graphs[key]
        copy_into(recorded.batch, batch)
        recorded.calls += 1
        if recorded.calls <= WARM_UP:
            return self._warm_up(update, recorded.batch, last=recorded.calls == WARM_UP)
        if recorded.graph is None or recorded.terms is None:
            recorded.graph, recorded.terms = self._capture(update, recorded.batch)
        recorded.graph.replay()  # capturing computes nothing
        return recorded.terms

    def _warm_up(self, update: Callable[[Batch], Terms], batch: Batch, *, last: bool) -> Terms:
        """Run an update eagerly on the capture stream; in the last warm-up, waiting for the device is an error."""
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

    def _capture(self, update: Callable[[Batch], Terms], batch: Batch) -> "tuple[torch.cuda.CUDAGraph, Terms]":
        graph, former = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                terms = update(batch)
        except RuntimeError as error:
            torch.cuda.set_stream(former)
            raise CaptureError(
                f"an update cannot be captured in a CUDA graph ({first_line(error)}): use --set train.graphs=false"
            ) from error
        return graph, terms


def copy_into(target: object, source: object) -> None:
    """Copy every tensor of the batch `source` into the tensors of `target`, whose addresses stay the same."""
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
