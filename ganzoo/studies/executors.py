"""Executors of a comparison's jobs: this process, several processes of this machine, or a Ray cluster.

Each yields the path and the error of each job that fails. On a signal, the running jobs save their runs, and then
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

POLL_SECONDS = 0.5  # how often the parent of several processes checks for signals
KILLED = "its process or one beside it was killed (out of memory?); the same command tries again"
INTERRUPTED = "interrupted"
KNOCK_SECONDS = 10  # to wait for a connection to a cluster
RAY_ADDRESS = "RAY_ADDRESS"  # the environment variable by which Ray finds its cluster


class Job(BaseModel):
    """A run to train and evaluate."""

    model_config = ConfigDict(frozen=True)

    name: str
    path: Path
    variant: str | None = None  # None for a run that was trained elsewhere
    seed: int = 0
    device: str = "auto"
    threads: int | None = None  # None for an equal share of the machine's
    progress: bool = False


Work: TypeAlias = Callable[[Job], str | None]  # returns an error as one line, else None
Failures: TypeAlias = Iterator[tuple[Path, str]]
Say: TypeAlias = Callable[[str], None]


def on_this_machine(work: Work, todo: Sequence[Job], jobs: int | None, directory: Path, say: Say) -> Failures:
    """Run one job after the other in this process, or `jobs` at a time in processes that share its cores."""
    if jobs in (None, 1):
        yield from _one_by_one(work, todo, say)
    else:
        assert jobs is not None
        with Processes(work, jobs) as processes:
            yield from _side_by_side(processes, todo, jobs, say)


def on_ray(work: Work, todo: Sequence[Job], jobs: int | None, directory: Path, say: Say) -> Failures:
    """Run at most `jobs` at a time, None for as many as fit, as tasks of the Ray cluster at RAY_ADDRESS.

    If RAY_ADDRESS is not set, a cluster of this machine alone is started, and stopped after the jobs. Every machine
    must find the comparison's `directory` under the same path, and the data.

    Raises: MachineError if Ray is not installed, the cluster does not answer, or one of its machines cannot see
    `directory`.
    """
    at_a_time = min(jobs or len(todo), len(todo))
    with _connect(), tempfile.NamedTemporaryFile(dir=directory, prefix=".ganzoo-", suffix=".tmp") as token:
        tasks = RayTasks(work, at_a_time, Path(token.name).absolute())
        yield from _side_by_side(tasks, todo, at_a_time, say)


EXECUTORS = {"local": on_this_machine, "ray": on_ray}


def check_executor(executor: str, jobs: int | None) -> None:
    """Raise UsageError for an executor that does not exist, or fewer than one job at a time."""
    if executor not in EXECUTORS:
        raise UsageError(f"no executor '{executor}': expected {' or '.join(EXECUTORS)}")
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs is {jobs}: expected the number of runs to train at the same time, 1 or more")


def _one_by_one(work: Work, todo: Sequence[Job], say: Say) -> Failures:
    for number, job in enumerate(todo, 1):
        say(f"{job.name} ({number} of {len(todo)})")
        error = work(job.model_copy(update={"threads": None, "progress": True}))  # this process keeps its threads
        if error is not None:
            say(f"{job.name} failed: {error}")
            yield job.path, error


class Workers(Protocol):
    """Processes that run jobs, on this machine or others."""

    def submit(self, job: Job) -> "Future[str | None]": ...

    def outcome(self, future: "Future[str | None]") -> str | None:
        """Return the error of a job that has ended, None if there was none."""

    def interrupt(self) -> None:
        """Ask all running jobs, once, to save and stop."""


def _side_by_side(workers: Workers, todo: Sequence[Job], jobs: int, say: Say) -> Failures:
    """Run at most `jobs` at a time; a signal is passed on to them once, so that each saves its run."""
    with interruption() as received:
        left, pending = list(todo), dict[Future[str | None], Job]()
        while left or pending:
            while left and len(pending) < jobs:  # no more: a job in a pool's queue cannot be cancelled
                job = left.pop(0)
                try:
                    pending[workers.submit(job)] = job
                except BrokenProcessPool:  # a process was killed
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
                raise Interrupted("interrupted, saved; the same command continues from here", received.number)


class Processes:
    """Workers on this machine, which share its cores."""

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
    """Ignore the terminal's signals in a worker: the process that started it passes them on to jobs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()


class RayTasks:
    """Workers of the connected Ray cluster; Ray chooses a machine with free resources for each job."""

    def __init__(self, work: Work, at_a_time: int, token: Path) -> None:
        """Use `token`, a file in the comparison's directory: a worker that cannot see it has no shared storage."""
        import ray

        cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        # The same number for each job, at most that of the smallest machine: runs must be comparable.
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
        except exceptions.RayError:  # a worker or its machine was lost
            return KILLED

    def interrupt(self) -> None:
        import ray

        for task in self._begun:  # no effect on tasks that have ended
            ray.cancel(task, force=False)  # arrives as a SIGINT


def _perform_there(work: Work, job: Job, token: Path) -> str | None:
    """Run a job in a worker of Ray. Raises MachineError if the worker cannot see the comparison's directory."""
    if not token.exists():
        raise MachineError(
            f"{platform.node()}, a machine of the Ray cluster, cannot see {token.parent}: use an --out on storage "
            "that all its machines share under the same path"
        )
    return work(job)


@contextmanager
def _connect() -> Iterator[None]:
    """Connect to Ray inside the block; an existing connection is used, and stays open."""
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
    """Raise OSError if nothing listens at HOST:PORT: Ray itself would retry for many minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
