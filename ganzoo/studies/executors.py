"""Who does a comparison's jobs: this process, several of this machine, or a Ray cluster.

Each yields the path and the error of the jobs that fail. On a signal the running jobs save their runs, and then
`Interrupted` is raised.
"""

import logging
import os
import platform
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict

from ganzoo.errors import Interrupted, MachineError, UsageError, first_line
from ganzoo.training.interruption import interruption

POLL_SECONDS = 0.5  # how often a parent of several processes looks for signals
KILLED = "its process was killed, or another one beside it (out of memory?); the same command tries again"
INTERRUPTED = "interrupted"
KNOCK_SECONDS = 10  # until a cluster counts as not there
RAY_ADDRESS = "RAY_ADDRESS"  # the variable by which Ray itself finds its cluster


class Job(BaseModel):
    """A run to train and judge."""

    model_config = ConfigDict(frozen=True)

    name: str
    path: Path
    variant: str | None = None  # None for a run that was trained elsewhere
    seed: int = 0
    device: str = "auto"
    threads: int | None = None  # None for a share of the machine's
    progress: bool = False


Work: TypeAlias = Callable[[Job], str | None]  # what went wrong, as one line
Failures: TypeAlias = Iterator[tuple[Path, str]]
Say: TypeAlias = Callable[[str], None]


def on_this_machine(work: Work, todo: Sequence[Job], jobs: int | None, directory: Path, say: Say) -> Failures:
    """One job after the other in this process, or `jobs` at a time in processes that share its cores."""
    if jobs in (None, 1):
        yield from _one_by_one(work, todo, say)
    else:
        assert jobs is not None
        with Processes(work, jobs) as processes:
            yield from _side_by_side(processes, todo, jobs, say)


def on_ray(work: Work, todo: Sequence[Job], jobs: int | None, directory: Path, say: Say) -> Failures:
    """At most `jobs` at a time, None for all that there is room for, as tasks of the Ray cluster at RAY_ADDRESS.

    Where that is not set it is a cluster of this machine alone, which ends with the jobs. Every machine must find the
    comparison's `directory` under the same path, and the data.

    Raises: MachineError where Ray is not installed, the cluster is not there, or one of its machines does not see
    `directory`.
    """
    at_a_time = min(jobs or len(todo), len(todo))
    with _connected(), tempfile.NamedTemporaryFile(dir=directory, prefix=".ganzoo-", suffix=".tmp") as token:
        tasks = RayTasks(work, at_a_time, Path(token.name).absolute())
        yield from _side_by_side(tasks, todo, at_a_time, say)


EXECUTORS = {"local": on_this_machine, "ray": on_ray}


def check_executor(executor: str, jobs: int | None) -> None:
    """Raises UsageError for an executor that does not exist, or no jobs at a time."""
    if executor not in EXECUTORS:
        raise UsageError(f"no executor '{executor}': expected {' or '.join(EXECUTORS)}")
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs is {jobs}: expected how many runs are trained at a time, 1 or more")


def _one_by_one(work: Work, todo: Sequence[Job], say: Say) -> Failures:
    for number, job in enumerate(todo, 1):
        say(f"{job.name} ({number} of {len(todo)})")
        error = work(job.model_copy(update={"threads": None, "progress": True}))  # this process keeps its threads
        if error is not None:
            say(f"{job.name} failed: {error}")
            yield job.path, error


class Workers(Protocol):
    """Processes that do jobs, here or elsewhere."""

    def submit(self, job: Job) -> "Future[str | None]": ...

    def outcome(self, future: "Future[str | None]") -> str | None:
        """What went wrong with a job that has ended."""

    def interrupt(self) -> None:
        """Ask all running jobs, once, to save and stop."""


def _side_by_side(workers: Workers, todo: Sequence[Job], jobs: int, say: Say) -> Failures:
    """At most `jobs` at a time; a signal is passed on to them once, so that each saves its run."""
    with interruption() as received:
        left, pending = list(todo), dict[Future[str | None], Job]()
        while left or pending:
            while left and len(pending) < jobs:  # no more: a job that waits in a pool's queue cannot be called back
                job = left.pop(0)
                try:
                    pending[workers.submit(job)] = job
                except BrokenProcessPool:  # as of a process that was killed
                    yield job.path, KILLED
            done, _ = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                job = pending.pop(future)
                error = workers.outcome(future)
                say(f"{job.name}: {error or 'done'} ({len(todo) - len(left) - len(pending)} of {len(todo)})")
                if error is not None:
                    yield job.path, error
            if received.number is not None:
                workers.interrupt()
                wait(pending)
                raise Interrupted("interrupted, saved; the same command goes on from here", received.number)


class Processes:
    """Workers of this machine, which share its cores."""

    def __init__(self, work: Work, jobs: int) -> None:
        self._work = work
        self._threads = max(1, (os.cpu_count() or 1) // jobs)
        self._pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_leave_the_terminal)

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True)

    def submit(self, job: Job) -> "Future[str | None]":
        return self._pool.submit(self._work, job.model_copy(update={"threads": job.threads or self._threads}))

    def outcome(self, future: "Future[str | None]") -> str | None:
        try:
            return future.result()
        except Interrupted:
            return INTERRUPTED
        except BrokenProcessPool:
            return KILLED

    def interrupt(self) -> None:
        for process in active_children():
            os.kill(process.pid or 0, signal.SIGINT)


def _leave_the_terminal() -> None:
    """A worker hears signals from the process that started it, not from the terminal too; while idle it needs none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()


class RayTasks:
    """Workers of the Ray cluster that this process is connected to; Ray finds each job a machine with room for it."""

    def __init__(self, work: Work, at_a_time: int, token: Path) -> None:
        """`token` is a file in the comparison's directory: where it is not seen, the storage is not shared."""
        import ray

        cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        # As many for each job, and no more than the smallest machine has: runs are to be comparable.
        self._most = min((count for count in cpus if count), default=1)
        self._threads = max(1, min(sum(cpus) // at_a_time, self._most))
        self._has_gpus = ray.cluster_resources().get("GPU", 0) >= 1
        self._work, self._token = work, token
        self._perform = ray.remote(max_retries=0)(_perform_there)
        self._begun: list[Any] = []

    def submit(self, job: Job) -> "Future[str | None]":
        threads = job.threads or self._threads
        gpus = 1 if self._has_gpus and job.device in ("auto", "cuda") else 0
        task = self._perform.options(name=job.name, num_cpus=min(threads, self._most), num_gpus=gpus)
        there = job.model_copy(update={"threads": threads, "path": job.path.absolute()})
        self._begun.append(task.remote(self._work, there, self._token))
        future: Future[str | None] = self._begun[-1].future()
        return future

    def outcome(self, future: "Future[str | None]") -> str | None:
        from ray import exceptions

        try:
            return future.result()
        except exceptions.TaskCancelledError:
            return INTERRUPTED
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, MachineError):
                raise error.cause from None
            return f"{type(error.cause).__name__}: {first_line(error.cause)}"
        except exceptions.RayError:  # a worker or its machine is gone
            return KILLED

    def interrupt(self) -> None:
        import ray

        for task in self._begun:  # of those that are over it does nothing
            ray.cancel(task, force=False)  # as a SIGINT there


def _perform_there(work: Work, job: Job, token: Path) -> str | None:
    """A job, in a worker of Ray. Raises MachineError where the comparison's directory is not that of the driver."""
    if not token.exists():
        raise MachineError(
            f"{platform.node()}, a machine of the Ray cluster, does not see {token.parent}: give an --out on storage "
            "that all its machines share under the same path"
        )
    return work(job)


@contextmanager
def _connected() -> Iterator[None]:
    """Connected to Ray meanwhile; a connection that was there before is used, and stays."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise MachineError("--executor ray needs the package ray: pip install 'torch-ganzoo[ray]'") from None
    if ray.is_initialized():
        yield
        return
    address = os.environ.get(RAY_ADDRESS) or "local"
    try:
        _knock(address)
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        reason = first_line(error)
        raise MachineError(f"cannot connect to Ray at '{address}' ({reason}): set or unset {RAY_ADDRESS}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at HOST:PORT: Ray itself would go on trying for many minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
