"""Signals to the command `ganzoo`: from its first instruction on, one ends the process in a known way.

Until a command begins its work there is nothing to save or to clear away, and SIGINT, SIGTERM or SIGHUP end the process
at once, with 130, 143 or 129. While it works (`heard`) the first of them raises `Interrupted`, so that temporary files
are removed; training notes it and saves (`ganzoo.training.interruption`). A second one ends the process at once.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
Handler = Callable[[int, FrameType | None], Any]


def leave(number: int, frame: FrameType | None) -> None:
    """End the process at once."""
    os._exit(128 + number)


def _interrupt(number: int, frame: FrameType | None) -> None:
    from ganzoo.errors import Interrupted

    handle(leave)
    if number == getattr(signal, "SIGHUP", None):  # which a shell and the system both send
        signal.signal(number, signal.SIG_IGN)
    raise Interrupted("interrupted", number)


def handle(handler: Handler) -> None:
    """Set what the signals do, except those that are ignored, as SIGHUP is under nohup."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


@contextmanager
def heard() -> Iterator[None]:
    """Raise `Interrupted` for a signal meanwhile; only the main thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in SIGNALS}
    handle(_interrupt)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set by Python
