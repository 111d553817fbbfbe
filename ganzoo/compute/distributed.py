"""One run on several processes, as torchrun starts them: each takes its share of every batch, and all step alike.

    with joined() as world:
        run = ganzoo.train("dcgan", out="run", world=world)

The weights are the same on every process because the seed is, and stay so because every optimiser is given the same
mean of the gradients. Process 0 alone writes and speaks.
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

# How long the others wait for one that is busy, such as with an evaluation; one that has ended is noticed at once.
PATIENCE = timedelta(minutes=30)
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among those that train one run; `World()` is a process alone, for which all of this is nothing."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0  # among those of this machine
    local_size: int = 1  # how many of them are on this machine

    @property
    def leads(self) -> bool:
        """Return whether this is the process that writes the run and speaks."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """This process's rows of a batch. Raises UsageError where the processes cannot take equal shares."""
        if batch_size % self.size:
            raise UsageError(
                f"data.batch_size is {batch_size}: expected a multiple of {self.size}, the number of processes, for it "
                "is the batch of all of them together"
            )
        count = batch_size // self.size
        return slice(self.rank * count, (self.rank + 1) * count)

    def device(self, device: torch.device) -> torch.device:
        """This process's own: of several GPUs the one with its local rank. Raises UsageError, MachineError."""
        if self.size == 1 or device.type == "cpu":
            return device
        if device.type != "cuda":
            raise UsageError(f"several processes cannot train on '{device.type}' together: --device cpu, or cuda")
        if self.local_rank >= torch.cuda.device_count():
            raise MachineError(
                f"process {self.rank} has no GPU of its own: this machine has {torch.cuda.device_count()}; start as "
                "many processes (--nproc-per-node), or train on the CPU (--device cpu)"
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
        """Each value's maximum over the processes, on all of them."""
        if self.size == 1:
            return values
        numbers = torch.tensor(values, dtype=torch.float64)
        with _together():
            dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return tuple(numbers.tolist())

    def gather(self, value: T) -> list[T]:
        """Every process's value, in the order of ranks, on all of them; so it also waits for all."""
        found = [value] * self.size
        if self.size > 1:
            with _together():
                dist.all_gather_object(found, value)
        return found


ALONE = World()


@contextmanager
def joined() -> Iterator[World]:
    """The world that torchrun started this process in, its group open meanwhile; `World()` where it did not.

    An error that leaves the block on one process ends all of them: that process raises it, the others `EndedByAnother`,
    at the next thing that they do together. Raises UsageError, MachineError.
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
                warnings.simplefilter("ignore")  # process 0 says the same
            yield world
    except (Exception, KeyboardInterrupt) as error:
        _on_sigterm(signal.SIG_IGN)  # this process is ending, and may say why
        exit_code = getattr(error, "exit_code", 130 if isinstance(error, KeyboardInterrupt) else 1)
        rank, exit_code, message = _first_error(store, world.rank, exit_code, str(error))
        if rank != world.rank:
            raise EndedByAnother(f"process {rank} ended the run: {message}", exit_code) from error
        raise
    finally:
        dist.destroy_process_group()  # after an error this closes the connections, which the others notice
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
    """Open the group: NCCL between GPUs, gloo between CPUs; the store is for what has to be said outside of it."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    # Imported before the group is open: what imports it later, as compiling does, would have the group among default
    # arguments, and its threads would not end with it. One that needs Python at the end of the process aborts it.
    importlib.import_module("torch.distributed.nn.functional")
    try:
        store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
        dist.init_process_group(backend, store=store, rank=world.rank, world_size=world.size, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        place = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise MachineError(f"the {world.size} processes could not meet at {place}: {_line(error)}") from error
    return PrefixStore("ganzoo", store)


def _stop(number: int, frame: FrameType | None) -> None:
    """SIGTERM outside of the training loop; torchrun sends it to all others as soon as one process has ended.

    It must not cut short the account of an error that this process is already giving.
    """
    if sys.exc_info()[0] is None:
        raise Interrupted("interrupted", number)


def _on_sigterm(handler: Any) -> Any:
    """Set what SIGTERM does, and return what it did before; only the main thread may. None leaves it as it is."""
    if handler is None or threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGTERM, handler)


@contextmanager
def _together() -> Iterator[None]:
    """Around a collective operation, which fails where another process is no longer there."""
    try:
        yield
    except RuntimeError as error:
        raise MachineError(
            "another process of this run was killed or cannot be reached: nothing was saved after the last checkpoint, "
            f"from which ganzoo resume RUN goes on ({_line(error)})"
        ) from error


def _first_error(store: Store, rank: int, exit_code: int, message: str) -> tuple[int, int, str]:
    """Rank, exit code and message of the error that was told first; where nobody can be asked, of this one."""
    own = (rank, exit_code, message)
    try:
        rank, exit_code, message = json.loads(store.compare_set("error", "", json.dumps(own)))
    except RuntimeError:  # the store has ended, and torchrun with it
        return own
    return rank, exit_code, message


def _line(error: BaseException) -> str:
    """What torch says, less the line of its source that says it and the advice that follows."""
    first = str(error).strip().splitlines()[0]
    return re.sub(r"^\[[^]]*\] ", "", first).split(". ")[0]
