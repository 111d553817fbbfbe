"""The number of processors that this process may use, and how many of them other programs leave free. No torch.

Two readings of the system's counters, some time apart, show the processor time of other programs: that of this process
is subtracted. The number of free processors is rounded, so that a short background task does not change it.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ganzoo.control_groups import ROOT, group_folders, read_groups, read_numbers

SECONDS = 0.25  # minimal time between two readings: the system counts in hundredths of a second


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The counters at one moment, in seconds since an arbitrary start."""

    time: float
    own: float  # processor time of this process, all threads
    used: float | None  # processor time of all programs, on the processors that this process may use
    group: float | None  # processor time of the control group whose quota is the smallest


def available() -> int:
    """Return the number of processors that the affinity and control groups of this process allow."""
    quota, _ = _quota(read_groups(), ROOT)
    return max(1, min(len(_affinity()), int(quota) if quota is not None else len(_affinity())))


def read() -> Reading:
    """Read the counters now."""
    times = os.times()
    _, folder = _quota(read_groups(), ROOT)
    return Reading(
        time=time.monotonic(),
        own=times.user + times.system,
        used=_used(_affinity()),
        group=None if folder is None else _group_seconds(*folder),
    )


def free(since: Reading | None = None) -> int:
    """Return how many processors other programs left free since an earlier reading, from 0 to `available()`.

    Wait until the earlier reading, by default one taken now, is `SECONDS` old. On a system without such counters, all
    available processors count as free.
    """
    before = since or read()
    time.sleep(max(0.0, before.time + SECONDS - time.monotonic()))
    return free_between(before, read())


def free_between(before: Reading, after: Reading) -> int:
    """Return how many processors other programs left free between two readings, from 0 to `available()`."""
    spans: list[tuple[float, float | None, float | None]] = [(len(_affinity()), before.used, after.used)]
    quota, _ = _quota(read_groups(), ROOT)
    if quota is not None:
        spans.append((quota, before.group, after.group))
    own, elapsed = after.own - before.own, max(1e-3, after.time - before.time)
    left = [
        limit - max(0.0, now - then - own) / elapsed
        for limit, then, now in spans
        if then is not None and now is not None
    ]
    return max(0, min([available(), *(round(number) for number in left)]))


def _affinity() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _used(processors: frozenset[int]) -> float | None:
    """Return the time that these processors were in use since the system started, including time stolen by a host."""
    try:
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    ticks = 0
    for line in lines:
        name, *numbers = line.split()
        if name[:3] == "cpu" and name[3:].isdigit() and int(name[3:]) in processors:
            user, nice, system, _, _, *further = map(int, numbers[:8])
            ticks += user + nice + system + sum(further)
    return ticks / os.sysconf("SC_CLK_TCK") if ticks else None


def _quota(groups: str, root: Path) -> tuple[float | None, tuple[int, Path] | None]:
    """Return the smallest processor quota of the control groups and its group; `(None, None)` if there is none."""
    found = list(_quotas(groups, root))
    return min(found, key=lambda entry: entry[0]) if found else (None, None)


def _quotas(groups: str, root: Path) -> Iterator[tuple[float, tuple[int, Path]]]:
    for version, folder in group_folders(groups, root, "cpu"):
        if version == 2:
            numbers = read_numbers(folder / "cpu.max")
        else:
            numbers = [*read_numbers(folder / "cpu.cfs_quota_us"), *read_numbers(folder / "cpu.cfs_period_us")]
        if len(numbers) == 2 and min(numbers) > 0:
            yield numbers[0] / numbers[1], (version, folder)


def _group_seconds(version: int, folder: Path) -> float | None:
    """Return the processor time that a control group has used."""
    if version == 1:
        nanoseconds = read_numbers(folder / "cpuacct.usage")
        return nanoseconds[0] / 1e9 if nanoseconds else None
    try:
        text = (folder / "cpu.stat").read_text(encoding="ascii")
    except OSError:
        return None
    numbers = dict(line.split() for line in text.splitlines() if len(line.split()) == 2)
    return int(numbers["usage_usec"]) / 1e6 if "usage_usec" in numbers else None
