"""Files of data sets with published hashes, found in the usual folders or else fetched.

torchvision knows the mirrors and fetches, but checks only what it fetched: a file that was truncated later would never
be replaced. So the files are hashed here on every load.
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
from ganzoo.files import check_regular

SYSTEM = Path("/usr/share/datasets")  # where Debian's packages install data sets
MISSING = "missing"
MOST_UNPACKED = 2_000_000_000  # limit for the content of a gzip file, in bytes: CelebA's archive has 1.4 GB

PROBE_SECONDS = 5.0  # without an answer, until the network counts as absent
STALL_SECONDS = 15.0  # without data, until a mirror is given up
FETCH_SECONDS = 600.0  # for all files of a set, also when another process fetches them


@dataclass(frozen=True, kw_only=True)
class Published:
    """The files of a data set, their hashes, and the folders to search.

    A file whose name here ends with `.gz` is hashed as it is. Any other file may be compressed with gzip: its content
    is hashed.
    """

    source: str
    title: str  # its common name, also in torchvision
    files: Mapping[str, str]  # name -> MD5
    archive: tuple[str, str] | None = None  # the name and MD5 of an archive that contains them
    folders: tuple[str, ...] = ()  # that its publisher uses
    hint: str = ""  # at the end of the message on missing files

    def raw(self, data_dir: Path) -> Path:
        """Return the folder for fetched files."""
        return data_dir / self.title / "raw"

    def places(self, data_dir: Path) -> tuple[Path, ...]:
        """Return the folders in which to look for the files."""
        titled = data_dir / self.title
        places = (titled / "raw", titled, data_dir / self.source, data_dir, SYSTEM / self.source)
        return (*places, *(place / folder for folder in self.folders for place in places))


def get_files(family: Published, request: Request) -> dict[str, Path]:
    """Return the path of each file of a data set; fetch missing ones. Raises MachineError."""
    raw = family.raw(request.data_dir)
    found, faults = find_files(family, family.places(request.data_dir))
    for name, fault in faults.items():
        if fault != MISSING:
            warnings.warn(f"{name} is {fault}: it must be replaced", stacklevel=4)
    if faults:
        _fetch(family, family.places(request.data_dir), faults, request.download)
        found, faults = find_files(family, family.places(request.data_dir))
        if faults:
            raise MachineError(_advice(family, raw, faults, "the fetched files have disappeared"))
    return found


def refuse_argument(request: Request) -> None:
    """Raise UsageError if the source has an argument."""
    if request.argument is not None:
        raise UsageError(f"{request.name} takes no argument, but was given '{request.argument}'")


class _NotFetchedError(Exception):
    """The reason why no mirror provided the files."""


def find_files(family: Published, places: Sequence[Path]) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the path of each file with the right hash, and what is wrong with the others."""
    found: dict[str, Path] = {}
    faults: dict[str, str] = {}
    own = {places[0], *(place / folder for place in places for folder in family.folders)}
    for name, expected in family.files.items():
        packed = name.endswith(".gz")
        ends = ("",) if packed else ("", ".gz")
        for path in (place / f"{other}{end}" for place in places for other in usual_names(name) for end in ends):
            md5 = _hash(path, unpack=path.suffix == ".gz" and not packed)
            if md5 == expected:
                found[name] = path
                break
            # In another folder it may be a file of another data set.
            if md5 is not None and path.parent in own:
                faults[name] = f"truncated or altered (md5 {md5}) in {path.parent}"
        if name in found:
            faults.pop(name, None)
        else:
            faults.setdefault(name, MISSING)
    return found, faults


def usual_names(name: str) -> tuple[str, ...]:
    """Return the usual names of a file in MNIST's format, such as `train-images.idx3-ubyte`."""
    return tuple(dict.fromkeys((name, name.replace("-idx", ".idx"))))


def _hash(path: Path, *, unpack: bool) -> str | None:
    """Return the MD5 of a file or, with `unpack`, of its content, or why it was not computed; None if it is absent.

    Raises MachineError if it is unreadable, FileError for a pipe or a device.
    """
    try:
        check_regular(path)
        with gzip.open(path) if unpack else path.open("rb") as file:
            digest, size = hashlib.md5(usedforsecurity=False), 0
            while chunk := file.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
                if unpack and size > MOST_UNPACKED:
                    return f"not computed: more than {MOST_UNPACKED:,} bytes"
            return digest.hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return "not computed: not a gzip file"
    except OSError as error:
        raise MachineError(f"{path} cannot be read: {error.strerror}") from error


def _fetch(family: Published, places: Sequence[Path], faults: dict[str, str], allowed: bool) -> None:
    """Fetch the files at fault into the first of the places; only checked files replace existing ones."""
    raw = places[0]
    try:
        archive = _find_archive(family, places)
        # Ask before locking: without a network, processes must not wait for one another.
        mirrors, resources = ([], []) if archive else _ask_mirrors(family, allowed)
        raw.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(raw / ".lock", timeout=FETCH_SECONDS):
            faults = find_files(family, places)[1]  # another process may have fetched them while this one waited
            with tempfile.TemporaryDirectory(dir=raw, prefix=".fetch-", ignore_cleanup_errors=True) as folder:
                if archive and faults:
                    load_torchvision().datasets.utils.extract_archive(str(archive), folder)
                elif faults:
                    wanted = {name.removesuffix(".gz") for name in faults}
                    needed = [item for item in resources if family.archive or Path(item[0]).stem in wanted]
                    _download(mirrors, needed, folder)
                for path in _check_fetched(family, folder, faults):
                    path.replace(raw / path.name)
    except _NotFetchedError as error:
        raise MachineError(_advice(family, raw, faults, str(error))) from error
    except (OSError, NotImplementedError) as error:  # NotImplementedError: a file system without locks
        raise MachineError(_advice(family, raw, faults, f"{raw} cannot be written ({error})")) from error


def _find_archive(family: Published, places: Sequence[Path]) -> Path | None:
    """Return the path of the archive with the files, if one with the right hash is there."""
    if family.archive is None:
        return None
    name, expected = family.archive
    for path in (place / name for place in places):
        md5 = _hash(path, unpack=False)
        if md5 == expected:
            return path
        if md5 is not None:
            warnings.warn(f"{path} is truncated or altered (md5 {md5}): expected md5 {expected}", stacklevel=5)
    return None


def _ask_mirrors(family: Published, allowed: bool) -> tuple[list[str], list[tuple[str, str]]]:
    """Return torchvision's mirrors, the first to answer in front, and their files with MD5s."""
    if not allowed:
        raise _NotFetchedError("fetching is switched off")
    source: Any = getattr(load_torchvision().datasets, family.title)
    if family.archive is not None:
        mirrors, resources = [source.url.removesuffix(family.archive[0])], [family.archive]
    elif hasattr(source, "mirrors"):
        mirrors, resources = source.mirrors, source.resources
    else:
        raise _NotFetchedError("there is no mirror for automatic downloads")
    return _mirrors_that_answer(mirrors, resources[0][0]), resources


def _check_fetched(family: Published, folder: str, faults: dict[str, str]) -> list[Path]:
    """Return the paths of the files at fault in the folder of fetched files. Raises _NotFetchedError."""
    places = [Path(folder), *(Path(folder, name) for name in family.folders)]
    found, still = find_files(family, places)
    for name in faults:
        if name in still:
            raise _NotFetchedError(f"{name} as fetched is {still[name]}")
    return [found[name] for name in faults]


def _advice(family: Published, raw: Path, faults: dict[str, str], reason: str) -> str:
    files = "\n".join(f"  {name}  md5 {family.files[name]}  {fault}" for name, fault in faults.items())
    how = "as they are" if any(Path(name).suffix in (".gz", ".zip") for name in family.files) else "uncompressed"
    archive = ", or {} (md5 {}) in their place".format(*family.archive) if family.archive else ""
    return (
        f"{family.title} is not complete and could not be fetched: {reason}.\n{files}\n"
        f"Put these files, {how}, into {raw} (GANZOO_DATA_DIR sets another folder){archive}{family.hint}."
    )


def _mirrors_that_answer(mirrors: list[str], filename: str) -> list[str]:
    """Return the mirrors, the first to answer in front. Raises _NotFetchedError after PROBE_SECONDS.

    Threads ask them and are not joined, because a name look-up can hang and has no timeout.
    """
    answers: queue.SimpleQueue[tuple[str, Exception | None]] = queue.SimpleQueue()
    headers = {"User-Agent": "pytorch/vision"}  # as in torchvision: some mirrors refuse Python's default

    def ask(mirror: str) -> None:
        try:
            request = urllib.request.Request(mirror + filename, method="HEAD", headers=headers)
            with urllib.request.urlopen(request, timeout=PROBE_SECONDS):
                answers.put((mirror, None))
        except Exception as error:  # the mirror cannot be used
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
        if not isinstance(getattr(error, "reason", error), TimeoutError):
            reasons[mirror] = str(error)
    raise _NotFetchedError("; ".join(f"{mirror}: {reason}" for mirror, reason in reasons.items()))


def _download(mirrors: list[str], resources: list[tuple[str, str]], folder: str) -> None:
    """Fetch `resources` (file, MD5) into `folder` and unpack them there. Raises _NotFetchedError."""
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
        _call_within(FETCH_SECONDS, fetch)


def _call_within(seconds: float, function: Callable[[], None]) -> None:
    """Call `function` in a thread; after `seconds`, stop waiting for it and raise _NotFetchedError."""
    outcome: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()

    def call() -> None:
        try:
            function()
        except Exception as error:  # raised again in the caller's thread
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
    """Limit every wait for the network in the block, because torchvision sets no timeout."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
