"""Standard streams for reports: text that cannot be written is dropped and never ends the work."""

import io
import os
from contextlib import suppress
from typing import Any, TextIO


class Reports(io.TextIOBase):
    """A text stream over another one, such as stderr, whose reader may disappear or whose disk may be full."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write if that is possible; return the number of characters in either case."""
        if self._stream is not None:
            with suppress(OSError, ValueError):  # ValueError: the stream was closed
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
    """Open the null device in place of closed standard streams, as after `2>&-`.

    Otherwise the next file that is opened gets the number of such a stream, and libraries would print into it.
    """
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        descriptor = os.dup(descriptor)
    os.close(descriptor)


def silence(stream: Any) -> None:
    """Redirect a stream to the null device, so that flushing its buffer cannot fail when the process ends."""
    with suppress(OSError, ValueError, AttributeError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
