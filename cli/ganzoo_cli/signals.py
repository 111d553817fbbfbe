"""Signal handling of the command `ganzoo`, active from its first instruction.

Before a command starts its work there is nothing to save or clean up: SIGINT, SIGTERM or SIGHUP ends the process
immediately, with exit code 130, 143 or 129. During the work (`heard`) the first signal raises `Interrupted`, so that
temporary files are removed; training instead records the signal and saves a checkpoint
(`ganzoo.training.interruption`). A second signal ends the process immediately.
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
    """End the process immediately, with exit code 128 + `number`."""
    os._exit(128 + number)


def _interrupt(number: int, frame: FrameType | None) -> None:
    from ganzoo.errors import Interrupted

    handle(leave)
    if number == getattr(signal, "SIGHUP", None):  # may arrive twice: the shell and the system both send it
        signal.signal(number, signal.SIG_IGN)
    raise Interrupted("interrupted", number)


def handle(handler: Handler) -> None:
    """Set the handler of all signals except ignored ones, such as SIGHUP under nohup."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


@contextmanager
def heard() -> Iterator[None]:
    """Raise `Interrupted` on a signal inside the context. In other threads than the main one, do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.getsignal(number) for number in SIGNALS}
    handle(_interrupt)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set by Python
