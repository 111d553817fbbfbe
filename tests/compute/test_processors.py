"""How many processors there are, and how many other programs leave free."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganzoo.compute import processors
from ganzoo.compute.processors import Reading

SPIN = "import sys\nprint('ready', flush=True)\nwhile True: pass"


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Other programs that use so many processors."""
    others = [subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE) for _ in range(count)]
    try:
        for other in others:
            assert other.stdout is not None
            assert other.stdout.readline() == b"ready\n"
        yield
    finally:
        for other in others:
            other.kill()
            other.communicate()


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the system keeps no counters that can be read")
def test_what_others_use_is_not_free() -> None:
    with busy(processors.available()):
        assert processors.free() == 0


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="the system keeps no counters that can be read")
def test_what_this_process_uses_is_its_own() -> None:
    """A reading while it computes counts it; what is left to others is counted all the same."""
    before = processors.read()
    while time.monotonic() < before.time + 0.5:
        pass
    after = processors.read()
    assert after.own > before.own
    assert before.used is not None
    assert after.used is not None
    spared = Reading(time=before.time, own=before.own, used=before.used, group=None)
    blamed = Reading(time=after.time, own=before.own, used=after.used, group=None)  # as if others had done it
    assert processors.free_between(spared, after) >= processors.free_between(spared, blamed)


def reading(seconds: float, own: float, used: float | None = None, group: float | None = None) -> Reading:
    return Reading(time=seconds, own=own, used=used, group=group)


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0.25, 100))
def test_the_number_is_between_none_and_all(own: float, used: float, seconds: float) -> None:
    free = processors.free_between(reading(0, 0, 0), reading(seconds, own, used))
    assert 0 <= free <= processors.available()
    assert processors.free_between(reading(0, 0, 0), reading(seconds, own, own)) == processors.available()
    assert processors.free_between(reading(0, 0), reading(seconds, own)) == processors.available()  # no counters


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000", "a/cpu.max": "max 100000", "cpu.max": "400000 100000"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000"}, 0.5),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("3:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "200000", "cpu/x/cpu.cfs_period_us": "100000"}, 2.0),
        ("3:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, None),
        ("4:memory:/x\n", {"cpu.max": "50000 100000"}, None),
        ("", {}, None),
    ],
)
def test_control_groups_have_quotas(tmp_path: Path, groups: str, files: dict[str, str], quota: float | None) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    assert processors._quota(groups, tmp_path)[0] == quota


def test_a_groups_use_is_read_in_both_versions(tmp_path: Path) -> None:
    (tmp_path / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (tmp_path / "cpuacct.usage").write_text("1500000000\n")
    assert processors._group_seconds(2, tmp_path) == 2.5
    assert processors._group_seconds(1, tmp_path) == 1.5
    assert processors._group_seconds(2, tmp_path / "gone") is None
