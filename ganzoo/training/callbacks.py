"""Callbacks, which are called while a run is trained, and loggers, which are callbacks with a registered name."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ganzoo import registry
from ganzoo.errors import MachineError
from ganzoo.runs.checkpoint import Checkpoint
from ganzoo.runs.records import EvaluationLine, LogLine
from ganzoo.runs.run import Run


class Callback:
    """Code that is called while a run is trained, on rank 0. Override the methods that you need.

    The time of a callback counts as training time. If a callback raises an exception, the step is completed, the run is
    saved, and training stops with that exception. A logger that raises one is reported, and only its `on_end` is still
    called.
    """

    def on_log(self, run: Run, line: LogLine) -> None:
        """Handle a new line of `metrics.jsonl`, after every `train.log_every` steps."""

    def on_picture(self, run: Run, path: Path, step: int) -> None:
        """Handle a new PNG in the run's `samples/`."""

    def on_evaluation(self, run: Run, line: EvaluationLine) -> None:
        """Handle a new line of `evaluations.jsonl`."""

    def on_checkpoint(self, run: Run, checkpoint: Checkpoint) -> None:
        """Handle a checkpoint that was just saved."""

    def on_end(self, run: Run) -> None:
        """Release resources: training has ended, was interrupted, or failed."""


def require(module: str) -> None:
    """Import a module that a logger needs. Raises MachineError if it is not installed."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MachineError(f"it needs the package '{error.name}': pip install torch-ganzoo[{module}]") from None


def match_loggers(names: str | Sequence[str]) -> tuple[str, ...]:
    """Return the listed names of loggers, each once, from a list or `NAME,...`; none for "none". Raises UsageError."""
    words = [word.strip() for word in names.split(",")] if isinstance(names, str) else names
    return () if list(words) == ["none"] else tuple(dict.fromkeys(map(registry.loggers.canonical, words)))


class Callbacks:
    """The callbacks and loggers of a run that is trained in this process."""

    def __init__(self, callbacks: Sequence[Callback] = (), say: Callable[[str], object] = lambda text: None) -> None:
        """Take callbacks; `say` reports a logger that fails."""
        self.failure: Exception | SystemExit | None = None  # the first exception of a callback
        self._say = say
        self._loggers: dict[str, Callback] = {}
        self._callbacks = list(callbacks)
        self._active: list[tuple[str, Callback]] = [("", callback) for callback in callbacks]

    def add_loggers(self, names: Sequence[str], asked: Sequence[str] = ()) -> None:
        """Create loggers by name.

        A plug-in's logger that is only recorded in the run is skipped, unless it is one of those `asked` for: the run
        may be a stranger's, and the logger may send data. Raises MachineError for a logger that was asked for and
        cannot be created; any other is reported and skipped.
        """
        for name in dict.fromkeys([*names, *asked]):
            try:
                if name not in asked and not registry.loggers.owner(name).startswith("ganzoo."):
                    self._say(f"the logger '{name}' is a plug-in's and is not used: ask for it with --log {name}")
                    continue
                logger = registry.loggers[name]()
            except Exception as error:  # a plug-in may raise anything
                if name in asked:
                    raise MachineError(f"the logger '{name}' cannot be used: {error}") from error
                self._say(f"the logger '{name}' cannot be used, and training continues without it: {error}")
                continue
            self._loggers[name] = logger
            self._active.append((name, logger))

    def call(self, event: Callable[[Callback], None]) -> None:
        """Call `event` with each callback and logger.

        The first exception of a callback becomes the `failure`, after which no other callback is called.
        """
        for name, callback in list(self._active):
            try:
                event(callback)
            except (Exception, SystemExit) as error:
                if name:
                    self._active.remove((name, callback))
                    self._say(f"the logger '{name}' failed and is not used any more: {type(error).__name__}: {error}")
                else:
                    self.failure = error
                    self._active = [pair for pair in self._active if pair[0]]
                    break

    @contextmanager
    def ending(self, run: Run) -> Iterator[None]:
        """Call `on_end` of each callback and logger at the end, and report those that fail."""
        try:
            yield
        finally:
            for callback in (*self._loggers.values(), *self._callbacks):
                try:
                    callback.on_end(run)
                except Exception as error:
                    self._say(f"{type(callback).__qualname__}.on_end failed: {type(error).__name__}: {error}")
