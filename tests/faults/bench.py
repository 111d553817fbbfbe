"""What the fault bench shares: rows that count their cases, and commands that start fast, as they are forked.

A row is short in `make test`; marked `faults` it is long, by `make test-faults` alone, which publishes what it counts.
"""

import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from conftest import PATIENCE

PRELOADED = (
    *(f"ganzoo_cli.{name}" for name in ("compare", "evaluate", "export", "info", "resume", "sample", "study", "train")),
    *(
        "ganzoo.evaluation.evaluator",
        "ganzoo.studies.case_study",
        "ganzoo.exporting.exporter",
        "ganzoo.training.trainer",
    ),
    *("matplotlib.figure", "onnxruntime", "PIL.PngImagePlugin", "torch._dynamo"),  # imported when they are needed first
)
SHOWN = 20  # failures that a test tells of


def short_and_long(short: int, long: int) -> pytest.MarkDecorator:
    """Give a row `count` cases: `short` in `make test`, `long` in `make test-faults`."""
    return pytest.mark.parametrize("count", [short, pytest.param(long, marks=pytest.mark.faults)])


class Tally:
    """The cases of one row of the bench: how many there were, and which did not end as they should."""

    def __init__(self) -> None:
        self.cases, self.failures = 0, list[str]()

    @contextmanager
    def case(self, name: str) -> Iterator[None]:
        """Count a case; what goes wrong in it is told of when all are done."""
        self.cases += 1
        try:
            yield
        except Exception as error:
            self.failures.append(f"{name}: {type(error).__name__}: {error}")


@contextmanager
def tallied(fault: str, record_property: Callable[[str, object], None]) -> Iterator[Tally]:
    """Count the cases of a fault, put the counts into the report of the tests, and fail if a case did."""
    tally = Tally()
    try:
        yield tally
    finally:
        for name, value in (("fault", fault), ("cases", tally.cases), ("held", tally.cases - len(tally.failures))):
            record_property(name, value)
    assert tally.cases
    assert not tally.failures, f"{len(tally.failures)} of {tally.cases}\n" + "\n".join(tally.failures[:SHOWN])


@dataclass(frozen=True)
class Command:
    """A command in a process of its own, and the directory that its streams go to."""

    process: BaseProcess
    streams: Path

    @property
    def running(self) -> bool:
        return self.process.is_alive()

    def send(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.running:
            assert self.process.pid is not None
            os.kill(self.process.pid, number)

    def wait(self, seconds: float = PATIENCE) -> int:
        """Return the exit code, negative for a signal that ended it."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            raise AssertionError(f"it hangs: {self.err}")
        assert self.process.exitcode is not None
        return self.process.exitcode

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Wait until something is so, or the command has ended; return whether it was."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if not self.running or time.monotonic() > deadline:
                return condition()
            time.sleep(0.0005)
        return True

    @property
    def out(self) -> str:
        return (self.streams / "stdout").read_text(errors="replace")

    @property
    def err(self) -> str:
        return (self.streams / "stderr").read_text(errors="replace")


@cache
def _server() -> Any:
    """A server that has imported what is large, whose children are commands."""
    context = get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    return context


def _run(
    arguments: tuple[str, ...],
    directory: Path,
    streams: Path,
    prepare: Callable[[], object] | None,
    variables: dict[str, str],
) -> None:
    os.chdir(directory)
    os.environ.update(variables)
    for number, name in ((0, os.devnull), (1, streams / "stdout"), (2, streams / "stderr")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    for heard in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(heard, signal.SIG_DFL)
    sys.argv = ["ganzoo", *arguments]
    if prepare is not None:
        prepare()
    from ganzoo_cli.entry import main

    main()


def begin(
    directory: Path,
    *arguments: str,
    prepare: Callable[[], object] | None = None,
    variables: dict[str, str] | None = None,
) -> Command:
    """Start a command in a directory; `prepare` is a function of a module that the process calls first."""
    streams = directory / ".streams" / str(time.monotonic_ns())
    streams.mkdir(parents=True)
    for name in ("stdout", "stderr"):
        (streams / name).touch()
    process = _server().Process(
        target=_run, args=(arguments, directory, streams, prepare, variables or {}), daemon=True
    )
    process.start()
    return Command(process, streams)


class Points:
    """Every point at which a file below a directory is opened, synced, renamed or removed; one of them fails."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.fails, self.seen, self.active = str(directory), -1, 0, False
        sys.addaudithook(self.hear)  # there for good, and silent outside `failing`

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active or event not in ("open", "os.rename", "os.mkdir", "os.truncate"):
            return
        place, flags = arguments[0], arguments[2] if event == "open" else 0
        read = event == "open" and not (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if isinstance(place, str) and place.startswith(self.directory) and not read:
            self.meet()

    def meet(self) -> None:
        self.seen += 1
        if self.seen - 1 == self.fails:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def failing(self, at: int, patch: pytest.MonkeyPatch) -> Iterator[None]:
        """Let the `at`-th point fail meanwhile; -1 for none."""
        real = os.fsync

        def fsync(descriptor: int) -> None:
            self.meet()
            real(descriptor)

        self.fails, self.seen, self.active = at, 0, True
        try:
            with patch.context() as patched:
                patched.setattr(os, "fsync", fsync)
                yield
        finally:
            self.active = False
