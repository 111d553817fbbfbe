"""Files of data sets that are known by their published hashes: found in the usual folders, else fetched.

torchvision names the mirrors and fetches, but checks only the archives' hashes: an unpacked file that was truncated
would never heal. So the files are hashed here on every load, unpacked.
"""

import gzip
import hashlib
import http.client
import queue
import socket
import tempfile
import threading
import time
import urllib.request
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from ganzoo.data.dataset import Request
from ganzoo.data.torchvision_compat import load_torchvision
from ganzoo.errors import MachineError, UsageError

SYSTEM = Path("/usr/share/datasets")  # where Debian's packages put data sets
MISSING = "missing"

PROBE_SECONDS = 5.0  # until the network counts as absent
STALL_SECONDS = 15.0  # without a byte, until a mirror is given up
FETCH_SECONDS = 600.0  # for all four files, and for the wait while another process fetches them


@dataclass(frozen=True, kw_only=True)
class Family:
    """A data set in MNIST's format: four files, which may be packed by gzip, and where they are looked for."""

    source: str
    title: str  # what people and torchvision call it
    classes: tuple[str, ...]
    files: Mapping[str, str]  # name -> MD5 of the unpacked file

    def raw(self, data_dir: Path) -> Path:
        """Return where fetched files are put."""
        return data_dir / self.title / "raw"

    def places(self, data_dir: Path) -> tuple[Path, ...]:
        """Return the folders in which the files may lie."""
        titled = data_dir / self.title
        return (titled / "raw", titled, data_dir / self.source, data_dir, SYSTEM / self.source)


def get_files(family: Family, request: Request) -> dict[str, Path]:
    """Return where each file of a data set lies; they are fetched if they are not here. Raises MachineError."""
    raw = family.raw(request.data_dir)
    found, faults = find_files(family, family.places(request.data_dir))
    for name, fault in faults.items():
        if fault != MISSING:
            warnings.warn(f"{raw / name} is {fault}: it has to be fetched again", stacklevel=4)
    if faults:
        _fetch(family, family.places(request.data_dir), faults, request.download)
        found, faults = find_files(family, family.places(request.data_dir))
        if faults:
            raise MachineError(_advice(family, raw, faults, "what was fetched has gone again"))
    return found


def refuse_argument(request: Request) -> None:
    """Raise UsageError if the source was given an argument."""
    if request.argument is not None:
        raise UsageError(f"{request.name} takes no argument, but was given '{request.argument}'")


class _NotFetchedError(Exception):
    """Why the files could not be had from any mirror."""


def find_files(family: Family, places: Sequence[Path]) -> tuple[dict[str, Path], dict[str, str]]:
    """Return where each file that is as it should be lies, and what is wrong with the others."""
    found: dict[str, Path] = {}
    faults: dict[str, str] = {}
    for name, expected in family.files.items():
        dotted = name.replace("-idx", ".idx")
        for path in (place / f"{other}{end}" for place in places for other in (name, dotted) for end in ("", ".gz")):
            md5 = _hash(path)
            if md5 == expected:
                found[name] = path
                break
            if md5 is not None and path.parent == places[0]:  # elsewhere it may be a file of another data set
                faults[name] = f"truncated or altered (md5 {md5})"
        if name in found:
            faults.pop(name, None)
        else:
            faults.setdefault(name, MISSING)
    return found, faults


def _hash(path: Path) -> str | None:
    """Return the MD5 of a file's unpacked bytes; None if it is not there. Raises MachineError if it may not be read."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            digest = hashlib.md5(usedforsecurity=False)
            while chunk := file.read(1 << 20):
                digest.update(chunk)
            return digest.hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return "of no gzip file"
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror}") from error


def _fetch(family: Family, places: Sequence[Path], faults: dict[str, str], allowed: bool) -> None:
    """Put the files at fault into the first of the places; what is there is replaced only by what was checked."""
    raw = places[0]
    try:
        if not allowed:
            raise _NotFetchedError("fetching is switched off")
        source = getattr(load_torchvision().datasets, family.title)
        # Asked before the lock is taken: without a network, processes must not wait for one another.
        mirrors = _mirrors_that_answer(source.mirrors, source.resources[0][0])
        raw.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(raw / ".lock", timeout=FETCH_SECONDS):
            faults = find_files(family, places)[1]  # another process may have fetched them while this one waited
            with tempfile.TemporaryDirectory(dir=raw, prefix=".fetch-", ignore_cleanup_errors=True) as folder:
                wanted = [(file, md5) for file, md5 in source.resources if Path(file).stem in faults]
                _download(family, mirrors, wanted, folder)
                for name in faults:
                    Path(folder, name).replace(raw / name)
    except _NotFetchedError as error:
        raise MachineError(_advice(family, raw, faults, str(error))) from error
    except (OSError, NotImplementedError) as error:  # the latter from a file system without locks
        raise MachineError(_advice(family, raw, faults, f"{raw} cannot be written ({error})")) from error


def _advice(family: Family, raw: Path, faults: dict[str, str], reason: str) -> str:
    files = "\n".join(f"  {name}  md5 {family.files[name]}  {fault}" for name, fault in faults.items())
    return (
        f"{family.title} is not complete and could not be fetched: {reason}.\n{files}\n"
        f"Put these files, uncompressed, into {raw} (GANZOO_DATA_DIR sets another folder), or use mnist-5k."
    )


def _mirrors_that_answer(mirrors: list[str], filename: str) -> list[str]:
    """The mirrors, the first that answers in front; raises _NotFetchedError after PROBE_SECONDS.

    Asked in threads that are left behind, as a name look-up can hang and takes no timeout.
    """
    answers: queue.SimpleQueue[tuple[str, Exception | None]] = queue.SimpleQueue()
    headers = {"User-Agent": "pytorch/vision"}  # as torchvision asks: some mirrors refuse Python's own

    def ask(mirror: str) -> None:
        try:
            request = urllib.request.Request(mirror + filename, method="HEAD", headers=headers)
            with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
                answers.put((mirror, None))
        except Exception as error:  # each means that the mirror is of no use
            answers.put((mirror, error))

    for mirror in mirrors:
        threading.Thread(target=ask, args=(mirror,), daemon=True).start()
    reasons = dict.fromkeys(mirrors, f"no answer in {PROBE_SECONDS:.0f} s")
    end = time.monotonic() + PROBE_SECONDS
    for _ in mirrors:
        try:
            mirror, error = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        if error is None:
            return [mirror, *(other for other in mirrors if other != mirror)]
        reasons[mirror] = str(error)
    raise _NotFetchedError("; ".join(f"{mirror}: {reason}" for mirror, reason in reasons.items()))


def _download(family: Family, mirrors: list[str], resources: list[tuple[str, str]], folder: str) -> None:
    """Fetch, unpack and check `resources` (file, MD5 of the archive) in `folder`; raises _NotFetchedError."""
    utils: Any = load_torchvision().datasets.utils

    def fetch() -> None:
        for file, md5 in resources:
            failures = []
            for mirror in mirrors:
                try:
                    utils.download_and_extract_archive(mirror + file, download_root=folder, filename=file, md5=md5)
                    break
                except (OSError, RuntimeError, http.client.HTTPException) as error:
                    failures.append(f"{mirror}{file}: {error}")
            else:
                raise _NotFetchedError("; ".join(failures))

    with _socket_timeout(STALL_SECONDS):
        _within(FETCH_SECONDS, fetch)
    faults = find_files(family, (Path(folder),))[1]
    for file, _ in resources:
        if fault := faults.get(Path(file).stem):
            raise _NotFetchedError(f"{file} as fetched is {fault}")


def _within(seconds: float, function: Callable[[], None]) -> None:
    """Call `function`, but wait no longer than that: it runs in a thread, which is then left behind."""
    outcome: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def call() -> None:
        try:
            function()
        except Exception as error:  # handed to the caller's thread
            outcome.put(error)
        else:
            outcome.put(None)

    threading.Thread(target=call, daemon=True).start()
    try:
        error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise _NotFetchedError(f"not done after {seconds:.0f} s") from None
    if error is not None:
        raise error


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """The limit of every wait for the network inside, as torchvision sets none of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
