"""Monitoring of a run's speed: if it becomes much slower, mostly because of other programs, a line reports it."""

from pathlib import Path

from ganzoo.compute import processors
from ganzoo.compute.rule import count_threads, round_threads
from ganzoo.runs.run import to_go_on

SECONDS = 10.0  # minimal training time between two measurements
STEPS = 3  # minimal number of steps between two measurements
SLOWER = 3.0  # report steps that take this many times as long as the run's fastest
LOOKS = 2  # slow measurements in a row before a report, because a machine may sleep during one
RECOVERED = 1.5  # below this many times the fastest, the next slowdown is reported again


class Pace:
    """A monitor of the time per step, which reports a run that has become much slower.

    Only a run that is `alone`, in one process on the CPU, can distinguish other programs from itself.
    """

    def __init__(self, path: Path, threads: int, *, alone: bool, step: int, seconds: float, source: str = "") -> None:
        self._path = path
        self._source = source
        self._threads = threads
        self._alone = alone
        self._last = (step, seconds)
        self._reading = processors.read()
        self._best: float | None = None  # seconds per step
        self._slow = 0  # slow measurements in a row
        self._reported = False

    def after_step(self, step: int, seconds: float) -> str | None:
        """Return a report if the last steps took much longer than others in this session, else None.

        `seconds` is the time spent training up to this step.
        """
        steps, spent = step - self._last[0], seconds - self._last[1]
        if steps < STEPS or spent < SECONDS:
            return None
        now, before = spent / steps, self._reading
        self._last, self._reading = (step, seconds), processors.read()
        best = self._best = now if self._best is None else min(self._best, now)
        if now <= RECOVERED * best:
            self._reported = False
        self._slow = self._slow + 1 if now >= SLOWER * best else 0
        if self._reported or self._slow < LOOKS:
            return None
        self._reported = True
        return self._report(now / best, processors.free_between(before, self._reading))

    def _report(self, times: float, free: int) -> str:
        line = f"steps take {times:.1f} times as long as the fastest of this run"
        if not self._alone:
            return line
        there = processors.available()
        line += f", and other programs leave {free} of {there} processors free for its {count_threads(self._threads)}"
        fewer = round_threads(max(1, free))
        if fewer >= self._threads:
            return line
        return (
            f"{line}: fewer threads wait less for each other; Ctrl-C saves the run, and "
            f"{to_go_on(self._path, self._source, threads=fewer)} continues it (with sums that are rounded differently)"
        )
