"""Vouching for files: a run vouches for a file if it recorded the file's SHA-256 when this user exported it.

torch unpickles files of some formats, and a pickle can run any code. So ganzoo opens such a file only if a run has a
record of exactly these bytes, signed with a key that is created once for each user and never leaves the machine. The
runs of other people cannot vouch for a file, because their records are not signed with that key.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from ganzoo.errors import ModelError
from ganzoo.files import writing

if TYPE_CHECKING:
    from ganzoo.runs.records import ExportRecord
    from ganzoo.runs.run import Run

KEY_BYTES = 32


def sign(sha256: str) -> str:
    """Return the signature of a file's SHA-256 by this user's key. Raises MachineError if the key cannot be stored."""
    return hmac.new(_key(), sha256.encode(), "sha256").hexdigest()


def _key() -> bytes:
    """Return this user's key, which is created on first use."""
    import platformdirs  # imported here because the runtime does not need it

    path = Path(platformdirs.user_data_dir("ganzoo")) / "export.key"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
        return path.read_bytes()


def read_vouched(path: Path, run: "Run | None" = None) -> "tuple[bytes, ExportRecord, Run]":
    """Return the bytes of a file, the run's record of them, and that run. The file is read once.

    The run is `run`, or the directory of the file. Raises ModelError if it has no record of exactly these bytes that is
    signed with this user's key.
    """
    data = _read(path)
    sha256 = hashlib.sha256(data).hexdigest()
    run = run or run_beside(path)
    record = None if run is None else run.find_export(sha256)
    signed = record is not None and hmac.compare_digest((record.signature or "").encode(), sign(sha256).encode())
    if run is None or record is None or not signed:
        where = f"{path.parent} is not a run" if run is None else f"the run {run.path} did not export it as it is now"
        if record is not None:
            where = f"the record in the run {run and run.path} is not signed by this user on this machine"
        raise ModelError(
            f"{path} is not opened: torch unpickles such a file, which would run any code in it, so a run must vouch "
            f"for its SHA-256, but {where}; keep it in the directory of the run that it was exported from, name that "
            "run (ganzoo.load(FILE, run=RUN), ganzoo verify FILE --run RUN), or export it again"
        )
    return data, record, run


def run_beside(path: Path) -> "Run | None":
    """Return the run whose directory contains a file or folder; None if there is none."""
    from ganzoo.runs.run import Run

    directory = path.resolve().parent
    return Run.open(directory) if (directory / "config.toml").is_file() else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror or error}") from error
