"""Each room has tests that are fast enough for every edit."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FEWEST = 10


@pytest.mark.slow
def test_each_room_keeps_fast_tests() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--collect-only",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow and not full",
    ]
    plain = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}  # it may ask for other words
    done = subprocess.run(command, cwd=TESTS.parent, env=plain, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    fast = Counter(Path(line.partition("::")[0]).parent.name for line in done.stdout.splitlines() if "::" in line)
    rooms = {path.parent.name for path in TESTS.glob("*/test_*.py")} - {"behaviour"}
    few = {room: fast[room] for room in rooms | {TESTS.name} if fast[room] < FEWEST}
    assert not few
