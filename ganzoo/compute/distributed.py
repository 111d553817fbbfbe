"""One run on several processes, as torchrun starts them: each computes a share of every batch, all take equal steps.

    with joined() as world:
        run = ganzoo.train("dcgan", out="run", world=world)

The initial weights are the same on every process because the seed is. They stay the same because every optimiser gets
the same mean of the gradients. Only rank 0 writes files and logs.
"""

import importlib
import json
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from ganzoo.errors import EndedByAnother, Interrupted, MachineError, UsageError

# How long processes wait for one that is busy, such as with an evaluation; the end of a process is noticed at once.
PATIENCE = timedelta(minutes=30)
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The place of this process among the processes of a run; `World()` is a single process."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # rank among the processes on this machine
    local_size: int = 1  # number of processes on this machine

    @property
    def leads(self) -> bool:
        """Return whether this process writes files and logs."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """Return the rows of a batch for this process. Raises UsageError if the shares cannot be equal."""
        if batch_size % self.size:
            raise UsageError(
                f"data.batch_size is {batch_size}: expected a multiple of {self.size}, the number of processes, which "
                "share each batch"
            )
        count = batch_size // self.size
        return slice(self.rank * count, (self.rank + 1) * count)

    def device(self, device: torch.device) -> torch.device:
        """Return the device of this process: on CUDA the GPU of its local rank. Raises UsageError, MachineError."""
        if self.size == 1 or device.type == "cpu":
            return device
        if device.type != "cuda":
            raise UsageError(f"several processes cannot train on '{device.type}': use --device cpu or cuda")
        if self.local_rank >= torch.cuda.device_count():
            raise MachineError(
                f"process {self.rank} has no GPU: this machine has {torch.cuda.device_count()}; start that many "
                "processes (--nproc-per-node), or train on the CPU (--device cpu)"
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    @torch.no_grad()
    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor (float32, all on one device) by its mean over the processes, in one all-reduce."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _together():
            dist.all_reduce(flat)
        parts = torch.split(flat.div_(self.size), [tensor.numel() for tensor in tensors])
        torch._foreach_copy_(
            list(tensors), [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
        )

    def greatest(self, *values: float) -> tuple[float, ...]:
        """Return each value's maximum over all processes."""
        if self.size == 1:
            return values
        numbers = torch.tensor(values, dtype=torch.float64)
        with _together():
            dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return tuple(numbers.tolist())

    def gather(self, value: T) -> list[T]:
        """Return the values of all processes in the order of ranks, which also waits for all of them."""
        found = [value] * self.size
        if self.size > 1:
            with _together():
                dist.all_gather_object(found, value)
        return found


ALONE = World()


@contextmanager
def joined() -> Iterator[World]:
    """Join the process group of torchrun during the block, and yield this process's place; `World()` without torchrun.

    An error that leaves the block on one process ends all of them: that process raises it, the others raise
    `EndedByAnother` at their next collective operation. Raises UsageError, MachineError.
    """
    world = _from_environment()
    if world.size == 1:
        yield world
        return
    store = _begin(world)
    former = _on_sigterm(_stop)
    try:
        with warnings.catch_warnings():
            if not world.leads:
                warnings.simplefilter("ignore")  # rank 0 prints the same warnings
            yield world
    except (Exception, KeyboardInterrupt) as error:
        _on_sigterm(signal.SIG_IGN)  # this process is ending, and must be able to report why
        exit_code = getattr(error, "exit_code", 130 if isinstance(error, KeyboardInterrupt) else 1)
        rank, exit_code, message = _first_error(store, world.rank, exit_code, str(error))
        if rank != world.rank:
            raise EndedByAnother(f"process {rank} ended the run: {message}", exit_code) from error
        raise
    finally:
        dist.destroy_process_group()  # after an error this closes the connections, which the other processes notice
        _on_sigterm(former)


def _from_environment() -> World:
    if not all(os.environ.get(name) for name in VARIABLES):
        return ALONE
    try:
        rank, size, local_rank = (int(os.environ[name]) for name in VARIABLES[:3])
        local_size = int(os.environ.get("LOCAL_WORLD_SIZE") or size)
    except ValueError:
        raise UsageError(
            f"{', '.join(VARIABLES[:3])} in the environment must be whole numbers: torchrun sets them"
        ) from None
    return World(rank, size, local_rank, local_size)


def _begin(world: World) -> Store:
    """Open the process group (NCCL between GPUs, gloo between CPUs), and return a store for messages outside of it."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    # Import this module before the group is open. A later import, as in compiling, would keep the group in default
    # arguments, so its threads would not end with it, and a thread that needs Python at exit aborts the process.
    importlib.import_module("torch.distributed.nn.functional")
    try:
        store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
        dist.init_process_group(backend, store=store, rank=world.rank, world_size=world.size, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise MachineError(f"the {world.size} processes could not connect at {place}: {_line(error)}") from error
    return PrefixStore("ganzoo", store)


def _stop(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM outside of the training loop; torchrun sends it to all other processes when one has ended.

    It is ignored while this process is already reporting an error.
    """
    if sys.exc_info()[0] is None:
        raise Interrupted("interrupted", number)


def _on_sigterm(handler: Any) -> Any:
    """Set the handler of SIGTERM and return the old one; do nothing for None, or outside of the main thread."""
    if handler is None or threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGTERM, handler)


@contextmanager
def _together() -> Iterator[None]:
    """Wrap a collective operation, and raise MachineError if another process is gone."""
    try:
        yield
    except RuntimeError as error:
        raise MachineError(
            "another process of this run was killed or cannot be reached: nothing was saved after the last checkpoint, "
            f"from which ganzoo resume RUN continues ({_line(error)})"
        ) from error


def _first_error(store: Store, rank: int, exit_code: int, message: str) -> tuple[int, int, str]:
    """Return rank, exit code and message of the first reported error; of this one if the store does not answer."""
    own = (rank, exit_code, message)
    try:
        rank, exit_code, message = json.loads(store.compare_set("error", "", json.dumps(own)))
    except RuntimeError:  # the store has ended, and torchrun with it
        return own
    return rank, exit_code, message


def _line(error: BaseException) -> str:
    """Return torch's message without its source location and the advice that follows."""
    first = str(error).strip().splitlines()[0]
    return re.sub(r"^\[[^]]*\] ", "", first).split(". ")[0]
