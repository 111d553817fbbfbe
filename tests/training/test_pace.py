"""A run that becomes much slower reports it once, with what helps."""

import re
from pathlib import Path

import pytest

from ganzoo.compute import processors
from ganzoo.training.pace import SECONDS, Pace


class Clock:
    """A run whose steps take as long as they are told to."""

    def __init__(self, threads: int = 2, *, alone: bool = True) -> None:
        self.pace = Pace(Path("runs/mine"), threads, alone=alone, step=7, seconds=100.0)
        self.step, self.seconds = 7, 100.0

    def run(self, per_step: float, seconds: float) -> list[str]:
        """Steps of that many seconds each, for so many seconds; what is reported."""
        reports = []
        for _ in range(round(seconds / per_step)):
            self.step, self.seconds = self.step + 1, self.seconds + per_step
            reports.append(self.pace.after_step(self.step, self.seconds))
        return [report for report in reports if report is not None]


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other programs use all processors, whatever this machine does."""
    monkeypatch.setattr(processors, "free_between", lambda before, after: 0)


def test_a_steady_run_reports_nothing() -> None:
    clock = Clock()
    assert clock.run(0.1, 5 * SECONDS) == []
    assert clock.run(0.2, 5 * SECONDS) == []


@pytest.mark.usefixtures("taken")
def test_a_run_that_becomes_much_slower_reports_it_once_with_what_helps() -> None:
    clock = Clock()
    assert clock.run(0.1, 3 * SECONDS) == []
    (report,) = clock.run(1.0, 5 * SECONDS)
    assert re.match(r"steps take 10\.0 times as long as the fastest of this run, ", report)
    assert f"other programs leave 0 of {processors.available()} processors free for its 2 threads" in report
    assert "ganzoo resume runs/mine --threads 1 " in report
    assert "\n" not in report


@pytest.mark.usefixtures("taken")
def test_a_run_that_recovered_reports_the_next_slowdown() -> None:
    clock = Clock()
    clock.run(0.1, 2 * SECONDS)
    assert len(clock.run(1.0, 3 * SECONDS)) == 1
    assert clock.run(0.1, 3 * SECONDS) == []
    assert len(clock.run(1.0, 3 * SECONDS)) == 1


@pytest.mark.usefixtures("taken")
def test_one_thread_has_no_fewer() -> None:
    clock = Clock(threads=1)
    clock.run(0.1, 2 * SECONDS)
    (report,) = clock.run(1.0, 3 * SECONDS)
    assert "--threads" not in report
    assert report.endswith("for its 1 thread")


def test_a_run_on_a_gpu_or_in_several_processes_reports_its_pace_alone() -> None:
    clock = Clock(alone=False)
    clock.run(0.1, 2 * SECONDS)
    assert clock.run(1.0, 3 * SECONDS) == ["steps take 10.0 times as long as the fastest of this run"]


def test_a_single_slow_step_is_not_a_slower_run() -> None:
    clock = Clock()
    clock.run(0.1, 2 * SECONDS)
    assert clock.run(5000.0, 5000.0) == []  # the machine slept
    assert clock.run(0.1, 3 * SECONDS) == []
