"""Where a result comes from: what every file in benchmarks/results/ begins with."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from ganzoo.compute.device import device_name


def provenance(device: torch.device | str = "cpu", *, hidden: Path | None = None) -> dict[str, Any]:
    """The command, without the one path that is this machine's own, the machine, torch and the revision."""
    words = ["PATH" if hidden is not None and word == str(hidden) else word for word in sys.argv[1:]]
    return {
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words]),
        "machine": device_name(torch.device(device)),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "commit": commit(),
    }


def commit() -> str:
    """The revision, `-dirty` where there were uncommitted changes."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
