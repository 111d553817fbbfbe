"""The limits that control groups (of a container, a service or a batch job) set to a process. Linux; elsewhere none."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def read_groups() -> str:
    """Return the text of /proc/self/cgroup; an empty string where there is none."""
    try:
        return Path("/proc/self/cgroup").read_text(encoding="utf-8")
    except OSError:
        return ""


def group_folders(groups: str, root: Path, controller: str) -> Iterator[tuple[int, Path]]:
    """Yield the version (1 or 2) and the folder of each control group in `groups`, and of those above it.

    `groups` is a /proc/self/cgroup, `root` the place where control groups are mounted, `controller` is "memory" or
    "cpu", which version 1 keeps in a folder of its own. In a container a group's own folder may not be visible, while
    those above it are.
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
    """Return the whole numbers that a group's file begins with; none if it is not there or says "max"."""
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
