"""What the fault bench shares: rows that count their cases, and commands that start fast, as they are forked.

A row is short in `make test`; marked `faults` it is long, by `make test-faults` alone, which publishes what it counts.
"""

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
