"""Which run vouches for a file: the one that recorded the SHA-256 of its bytes when it was exported.

torch unpickles files of some formats, and a pickle runs whatever code is in it. So ganzoo opens such a file only if a
run says that these are the bytes that it wrote. A run that a stranger made vouches for nothing.
"""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from ganzoo.errors import ModelError

if TYPE_CHECKING:
    from ganzoo.runs.records import ExportRecord
    from ganzoo.runs.run import Run


def read_vouched(path: Path, run: "Run | None" = None) -> "tuple[bytes, ExportRecord, Run]":
    """Return the bytes of a file, what the run recorded of them, and that run. The file is read once.

    The run is the one that is given, else the directory that the file lies in. Raises ModelError if it has no record of
    these very bytes.
    """
    data = _read(path)
    sha256 = hashlib.sha256(data).hexdigest()
    run = run or run_beside(path)
    record = None if run is None else run.find_export(sha256)
    if run is None or record is None:
        where = f"{path.parent} is not a run" if run is None else f"the run {run.path} did not export it as it is now"
        raise ModelError(
            f"{path} is not opened: torch unpickles such a file, which would run any code in it, so a run has to vouch "
            f"for its SHA-256, and {where}; keep it in the directory of the run that it was exported from, name that "
            "run (ganzoo.load(FILE, run=RUN), ganzoo verify FILE --run RUN), or export it again"
        )
    return data, record, run


def run_beside(path: Path) -> "Run | None":
    """Return the run whose directory a file or folder lies in; None if it lies elsewhere."""
    from ganzoo.runs.run import Run

    directory = path.resolve().parent
    return Run.open(directory) if (directory / "config.toml").is_file() else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
