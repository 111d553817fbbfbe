"""The memory budget for the images of a data set: the requested one, or half of the free memory."""

import os
from collections.abc import Iterator
from pathlib import Path

from ganzoo.control_groups import ROOT, group_folders, read_groups, read_numbers

MB = 1_000_000
_UNKNOWN = 4000 * MB  # assumed to be free if the system does not report it


def allowed_memory(memory: int | None) -> int:
    """Return the memory budget in MB: `memory`, or half of the free memory or of a lower control group limit."""
    return memory if memory is not None else max(1, _free() // 2 // MB)


def _free() -> int:
    """Return the free memory, or a lower limit of the control group, in bytes."""
    return min([_available(), *group_limits(read_groups(), ROOT)])


def _available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return _UNKNOWN


def group_limits(groups: str, root: Path) -> Iterator[int]:
    """Yield the limits, in bytes, of the control groups named in `groups` and of those above them."""
    files = {1: "memory.limit_in_bytes", 2: "memory.max"}
    for version, folder in group_folders(groups, root, "memory"):
        yield from read_numbers(folder / files[version])
