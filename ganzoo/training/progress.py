"""Progress on stderr: a live bar on a terminal, otherwise a line per log interval.

Errors of stderr never end the run.
"""

import sys
import time
from types import TracebackType
from typing import IO, Self, cast

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from ganzoo.errors import printable
from ganzoo.runs.records import LogLine
from ganzoo.streams import Reports


class Progress:
    """A progress display: `with progress:` around the loop, `advance` each step, `log` each log line, `say` a text."""

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self._console = Console(file=cast(IO[str], Reports(sys.stderr)), highlight=False, soft_wrap=True)
        self._bar: RichProgress | None = None
        self._share = (0.0, 0.0)  # at the start, now
        self._started = time.monotonic()
        self._losses = ""

    def __enter__(self) -> Self:
        self._started, self._share = time.monotonic(), (0.0, 0.0)
        if self.enabled and self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
            )
            self._bar = RichProgress(*columns, console=self._console, refresh_per_second=4)
            self._bar.add_task("starting", total=1.0, left="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def say(self, text: str) -> None:
        """Print a line."""
        if self.enabled:
            self._console.print(printable(text), markup=False)

    def advance(self, step: int, total: int | None, epoch: float, share: float) -> None:
        """Update the display after a step; `share` is the spent part of the budget, from 0 to 1."""
        if self._share == (0.0, 0.0):
            self._share = (share, share)
        self._share = (self._share[0], share)
        if self._bar is not None:
            description = f"step {step}{f'/{total}' if total else ''}  epoch {epoch:.2f}{self._losses}"
            self._bar.update(self._bar.task_ids[0], description=description, completed=share, left=self._left())

    def log(self, line: LogLine) -> None:
        """Print a log line, or show its values in the bar."""
        losses = line.losses
        self._losses = (
            f"  {line.images_per_s:,.0f} images/s  d_loss {losses['d_loss']:.3f}  g_loss {losses['g_loss']:.3f}"
        )
        if self._bar is None:
            self.say(f"step {line.step}  epoch {line.epoch:.2f}{self._losses}  {self._left()}")

    def _left(self) -> str:
        """Return the time left, estimated from the speed of this session."""
        start, now = self._share
        if now <= start:
            return ""
        seconds = int((time.monotonic() - self._started) * (1 - now) / (now - start))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d} left"
