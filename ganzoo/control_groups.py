"""Limits that control groups (of a container, a service or a batch job) set for a process; on Linux only."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def read_groups() -> str:
    """Return the text of /proc/self/cgroup; an empty string if there is no such file."""
    try:
        return Path("/proc/self/cgroup").read_text(encoding="utf-8")
    except OSError:
        return ""


def group_folders(groups: str, root: Path, controller: str) -> Iterator[tuple[int, Path]]:
    """Yield the version (1 or 2) and the folder of each control group in `groups`, and of its parent groups.

    `groups` is the text of /proc/self/cgroup, `root` the mount point of control groups, `controller` is "memory" or
    "cpu"; version 1 has a separate folder for each. In a container a group's own folder may be invisible while its
    parents are visible.
    """
    for line in groups.splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            version, base = 2, root
        elif controller in controllers.split(","):
            version, base = 1, root / controller
        else:
            continue
        place = base / name.strip("/")
        for folder in (place, *place.parents):
            if not folder.is_relative_to(base):
                break
            yield version, folder


def read_numbers(path: Path) -> list[int]:
    """Return the integers at the start of a group's file; an empty list if it is missing or contains "max"."""
    try:
        words = path.read_text(encoding="utf-8").split()
    except OSError:
        return []
    numbers = []
    for word in words:
        if not word.lstrip("-").isdigit():
            break
        numbers.append(int(word))
    return numbers
