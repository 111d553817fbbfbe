"""Standard streams that only report: what cannot be written is dropped, and never ends the work that is reported on."""

import io
import os
from contextlib import suppress
from typing import Any, TextIO


class Reports(io.TextIOBase):
    """A text stream over another one, such as stderr, whose reader may go away or whose disk may be full."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write if that is possible; return the number of characters in either case."""
        if self._stream is not None:
            with suppress(OSError, ValueError):  # ValueError: it was closed
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.flush()

    def isatty(self) -> bool:
        try:
            return self._stream is not None and self._stream.isatty()
        except ValueError:
            return False

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return getattr(self._stream, "errors", None)


def open_missing_streams() -> None:
    """Open the null device in place of standard streams that are closed, as after `2>&-`.

    Without it the next file that is opened takes such a stream's number, and gets what a library prints to it.
    """
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        descriptor = os.dup(descriptor)
    os.close(descriptor)


def silence(stream: Any) -> None:
    """Let a stream end in the null device, so that what it still holds cannot fail when the process ends."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
