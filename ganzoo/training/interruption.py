"""Signals while training: the first asks for a stop after the step, a second one ends training at once."""

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
    """The number of the signal that came, if one did."""

    number: int | None = None


@contextmanager
def interruption() -> Iterator[Received]:
    """Note SIGINT, SIGTERM and SIGHUP instead of stopping in the middle of a step; restore former handlers afterwards.

    SIGHUP comes when a terminal closes, and stays ignored under nohup. Only the main thread may handle signals:
    elsewhere this does nothing, and whoever started the thread stops it.
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
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: not set by Python

    def handle(number: int, frame: FrameType | None) -> None:
        received.number = number
        restore()  # so that the next one ends it
        if number == HANGUP:  # which a shell and the system both send
            signal.signal(number, signal.SIG_IGN)

    for number in former:
        signal.signal(number, handle)
    try:
        yield received
    finally:
        restore()
