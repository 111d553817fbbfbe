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

    The time of a callback counts as training time. If a callback raises an exception, the run is saved and training
    stops with that exception; a logger that raises one is reported once and not called again.
    """

    def on_log(self, run: Run, line: LogLine) -> None:
        """Handle a new line of `metrics.jsonl`, after every `train.log_every` steps."""

    def on_picture(self, run: Run, path: Path) -> None:
        """Handle a new PNG in the run's `samples/`."""

    def on_evaluation(self, run: Run, line: EvaluationLine) -> None:
        """Handle a new line of `evaluations.jsonl`."""

    def on_checkpoint(self, run: Run, checkpoint: Checkpoint) -> None:
        """Handle a checkpoint that was just saved."""

    def on_end(self, run: Run) -> None:
        """Release resources: training has ended, was interrupted, or failed."""


class CallbackError(Exception):
    """Raised when a user's callback raised `error`."""

    def __init__(self, callback: Callback, error: Exception) -> None:
        self.name = type(callback).__qualname__
        self.error = error
        super().__init__(f"{self.name} raised {type(error).__name__}: {error}")


def require(module: str) -> None:
    """Import a module that a logger needs. Raises MachineError if it is not installed."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MachineError(
            f"this logger needs the package '{error.name}': pip install torch-ganzoo[{module}]"
        ) from None


class Callbacks:
    """The callbacks and loggers of a run that is trained in this process."""

    def __init__(
        self,
        callbacks: Sequence[Callback] = (),
        loggers: Sequence[str] = (),
        say: Callable[[str], object] = lambda text: None,
    ) -> None:
        """Create the loggers by name. Raises UsageError for an unknown name, MachineError for a missing package."""
        self._loggers = {name: registry.loggers[name]() for name in loggers}
        self._all = [*self._loggers.values(), *callbacks]
        self._active = list(self._all)
        self._say = say

    def call(self, event: Callable[[Callback], None]) -> None:
        """Call `event` with each callback. Raises CallbackError for a callback, but not a logger, that fails."""
        for callback in list(self._active):
            try:
                event(callback)
            except Exception as error:  # a user's code may raise anything
                self._active.remove(callback)
                if callback not in self._loggers.values():
                    self._active.clear()  # training stops, and saving must not call the others
                    raise CallbackError(callback, error) from error
                name = next(name for name, logger in self._loggers.items() if logger is callback)
                self._say(f"the logger '{name}' failed and is not used any more: {type(error).__name__}: {error}")

    @contextmanager
    def ending(self, run: Run) -> Iterator[None]:
        """Call `on_end` of each callback and logger at the end, and report those that fail."""
        try:
            yield
        finally:
            for callback in self._all:
                try:
                    callback.on_end(run)
                except Exception as error:
                    self._say(f"{type(callback).__qualname__}.on_end failed: {type(error).__name__}: {error}")
