"""How much memory the images of a data set may take: what was allowed, else half of what is free."""

import os
from collections.abc import Iterator
from pathlib import Path

MB = 1_000_000
_UNKNOWN = 4000 * MB  # taken for free where the system does not say


def allowed_memory(memory: int | None) -> int:
    """MB that images may take: `memory`, or half of what is free, and of the control group's limit if that is less."""
    return memory if memory is not None else max(1, _free() // 2 // MB)


def _free() -> int:
    """Bytes."""
    try:
        groups = Path("/proc/self/cgroup").read_text(encoding="utf-8")
    except OSError:  # not Linux
        groups = ""
    return min([_available(), *group_limits(groups, Path("/sys/fs/cgroup"))])


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
    """The limits, bytes, of the control groups named in `groups`, a /proc/self/cgroup, and of those above them.

    `root` is where control groups are mounted: version 2, or version 1 with a folder a controller. In a container a
    group's own folder may not be there to see, while those above it are.
    """
    for line in groups.splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            base, file = root, "memory.max"
        elif "memory" in controllers.split(","):
            base, file = root / "memory", "memory.limit_in_bytes"
        else:
            continue
        place = base / name.strip("/")
        for folder in (place, *place.parents):
            if not folder.is_relative_to(base):
                break
            try:
                yield int((folder / file).read_text(encoding="utf-8"))
            except (OSError, ValueError):  # not there, or "max"
                continue
