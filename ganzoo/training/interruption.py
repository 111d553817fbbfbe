"""Signals during training: the first one stops training after the current step, a second one ends it at once."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

HANGUP = getattr(signal, "SIGHUP", None)  # Windows has none


@dataclass
class Received:
    """The number of the signal that arrived; None if there was none."""

    number: int | None = None


@contextmanager
def interruption() -> Iterator[Received]:
    """Record SIGINT, SIGTERM and SIGHUP instead of stopping in the middle of a step; restore old handlers afterwards.

    SIGHUP is sent when a terminal closes, and stays ignored under nohup. Only the main thread can handle signals: in
    other threads this does nothing, and the code that started the thread must stop it.
    """
    received = Received()
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    former = {number: signal.getsignal(number) for number in SIGNALS}
    if former.get(HANGUP) is signal.SIG_IGN:
        del former[HANGUP]

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set from Python

    def handle(number: int, frame: FrameType | None) -> None:
        received.number = number
        restore()  # so that the next signal ends training
        if number == HANGUP:  # both the shell and the system send it
            signal.signal(number, signal.SIG_IGN)

    for number in former:
        signal.signal(number, handle)
    try:
        yield received
    finally:
        restore()
