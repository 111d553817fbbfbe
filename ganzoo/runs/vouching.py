"""Which run vouches for a file: the one that recorded the SHA-256 of its bytes when this user exported it.

torch unpickles files of some formats, and a pickle runs whatever code is in it. So ganzoo opens such a file only if a
run has a record of these very bytes, signed with a key that is made once for each user and never leaves the machine. A
run that a stranger made vouches for nothing: its records are not signed with that key.
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
    """Return the signature of a file's SHA-256 by this user's key. Raises MachineError if the key cannot be kept."""
    return hmac.new(_key(), sha256.encode(), "sha256").hexdigest()


def _key() -> bytes:
    """Return this user's key, which is made when it is first needed."""
    import platformdirs  # which the runtime does without

    path = Path(platformdirs.user_data_dir("ganzoo")) / "export.key"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
        return path.read_bytes()


def read_vouched(path: Path, run: "Run | None" = None) -> "tuple[bytes, ExportRecord, Run]":
    """Return the bytes of a file, what the run recorded of them, and that run. The file is read once.

    The run is the one that is given, else the directory that the file lies in. Raises ModelError if it has no record of
    these very bytes that this user's key has signed.
    """
    data = _read(path)
    sha256 = hashlib.sha256(data).hexdigest()
    run = run or run_beside(path)
    record = None if run is None else run.find_export(sha256)
    signed = record is not None and hmac.compare_digest((record.signature or "").encode(), sign(sha256).encode())
    if run is None or record is None or not signed:
        where = f"{path.parent} is not a run" if run is None else f"the run {run.path} did not export it as it is now"
        if record is not None:
            where = f"it was not exported here and by this user, whatever the run {run and run.path} records"
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
