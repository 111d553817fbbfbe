"""Files and directories replaced atomically: a reader finds the old one or the whole new one, never a part.

What the operating system refuses becomes a `MachineError` of one line that names the path and says what to do.
"""

import contextlib
import errno
import importlib.util
import json
import os
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from ganzoo.errors import FileError, MachineError, UsageError, shown

StrPath: TypeAlias = str | os.PathLike[str]

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
HEIC_SUFFIXES = (".heic", ".heif")  # as cameras of phones write; Pillow reads them by a package of its own
MOST_BYTES = 1_000_000_000  # of a file of JSON
TEMPORARY_PATTERN = ".ganzoo-*.tmp"  # what is being written, beside what it will be
ADVICE = "move it away to go on without it, or write it again"  # on a damaged file

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or choose another place",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another place",
    errno.EFBIG: "the file is larger than this system allows; choose another place or raise the limit",
    errno.EACCES: "permission denied; choose another place or change the permissions",
    errno.EPERM: "the operation is not permitted; choose another place or change the permissions",
    errno.EROFS: "the file system is read-only; choose another place",
    errno.ENOTDIR: "a part of the path is a file, not a directory; choose another path",
    errno.EEXIST: "a part of the path is a file, not a directory; choose another path",
    errno.EISDIR: "it is a directory; choose a file name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
    errno.EMFILE: "too many files are open; raise the limit (ulimit -n)",
    errno.EBUSY: "it is in use; choose another place",
}


def image_suffixes() -> tuple[str, ...]:
    """Return the suffixes of the images that are read here: HEIC if the extra `heic` is installed."""
    return IMAGE_SUFFIXES + (HEIC_SUFFIXES if importlib.util.find_spec("pillow_heif") else ())


@contextlib.contextmanager
def writing(path: StrPath) -> Iterator[None]:
    """Turn an `OSError` met inside into a `MachineError` that says that `path` cannot be written, and why."""
    try:
        yield
    except OSError as error:
        reason = _ADVICE.get(error.errno or 0, error.strerror or str(error))
        raise MachineError(f"cannot write {os.fspath(path)}: {reason}") from error


def atomic_write(path: StrPath, data: bytes) -> None:
    """Replace the file at `path` by `data`, making the directories above it; on failure the old file stays.

    What is there but is not a file (a pipe, /dev/stdout) is written to, not replaced.
    """
    with writing(path):
        if _is_special(path):
            with Path(path).open("wb") as device:
                device.write(data)
            return
    with atomic_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def atomic_file(path: StrPath) -> Iterator[BinaryIO]:
    """A new file to fill, which takes the place of `path` where the block ends well and is removed where not."""
    with writing(path):
        target = _target(path)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary = _sibling(target)
        try:
            with temporary.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_directory(target.parent)


@contextlib.contextmanager
def atomic_directory(path: StrPath) -> Iterator[Path]:
    """A new directory to fill, which takes the place of `path` where the block ends well and is removed where not.

    What was at `path` is lost then: the caller has made sure that it may be.
    """
    with writing(path):
        target = _target(path)
        temporary = _sibling(target)
        temporary.mkdir()
    try:
        yield temporary
        with writing(path):
            _sync_tree(temporary)
            _swap(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)  # after the swap there is nothing of that name


@contextlib.contextmanager
def locked(directory: Path, what: str) -> Iterator[None]:
    """Keep every other process out of a directory meanwhile. Raises UsageError, which says `what`, where one is in."""
    import filelock  # only here: sampling does without it

    lock = filelock.FileLock(directory / ".lock")
    with writing(lock.lock_file):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UsageError(f"{directory} {what} by another process: wait for it, or stop it") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # where an open file cannot be removed it stays, and does no harm
            Path(lock.lock_file).unlink()
        lock.release()


def check_name(name: object) -> None:
    """Raise UsageError for a name or path that is not UTF-8: it could not be written down."""
    try:
        str(name).encode()
    except UnicodeEncodeError:
        raise UsageError(f"{shown(name)}: the name is not UTF-8; rename it") from None


def check_regular(path: Path) -> None:
    """Raise FileError for a pipe or a device, which may never come to an end. Raises OSError as `stat` does."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise FileError(f"{shown(path)} is a pipe or a device: save what it gives in a file, and name that")


def read_limited(path: Path, most: int) -> bytes:
    """Return what is in a file of at most `most` bytes. Raises FileError for others; OSError as `open` does."""
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(min(most, os.fstat(file.fileno()).st_size) + 1)  # which takes that much room at once
        while len(content) <= most and (more := file.read(1_000_000)):  # of a file that states no size
            content += more
    if len(content) > most:
        raise FileError(f"{shown(path)} has more than {most:,} bytes, which such a file never has")
    return content


def refuse_links(directory: Path) -> None:
    """Raise FileError if a directory holds anything but files and directories: nothing in it may lead out of it.

    Otherwise whoever made it could have other files read, overwritten or deleted. The directory itself may be reached
    by a link.
    """
    for folder, folders, files in os.walk(directory):
        for name in [*folders, *files]:
            path = Path(folder, name)
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:  # of a process that is training it meanwhile
                continue
            if stat.S_ISLNK(mode):
                raise FileError(f"{shown(path)} is a link to {shown(path.readlink())}: put there what it leads to")
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise FileError(f"{shown(path)} is neither a file nor a directory: remove it")


def read_json(path: Path, keys: Collection[str] = ()) -> dict[str, Any] | None:
    """The object in a file, with these keys at least; None where there is no such file.

    Raises FileError for one that is damaged.
    """
    try:
        content = read_limited(path, MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileError(f"{path} is damaged ({error}); {ADVICE}") from None
    return parse_json(content, path, keys)


def parse_json(content: bytes, path: Path, keys: Collection[str] = ()) -> dict[str, Any]:
    """The object in the content of the file at `path`, with these keys at least. Raises FileError."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged ({error}); {ADVICE}") from None
    if not isinstance(value, dict):
        raise FileError(f"{path} is damaged (it holds no object); {ADVICE}")
    if missing := set(keys) - set(value):
        raise FileError(f"{path} is damaged or of another version (no '{min(missing)}'); {ADVICE}")
    return value


def write_json(path: StrPath, value: Any) -> None:
    """Replace the file at `path` by `value` as JSON."""
    atomic_write(path, (json.dumps(value, indent=1) + "\n").encode())


def fsync_directory(path: StrPath) -> None:
    """Make the names in the directory `path` survive a power cut, where the system can."""
    if os.name == "nt":  # directories cannot be opened there
        return
    with contextlib.suppress(OSError):  # some network file systems refuse; the data itself is safe
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_special(path: StrPath) -> bool:
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _target(path: StrPath) -> Path:
    """Where `path` leads, so that a symbolic link stays one; the directory above it exists afterwards."""
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _sibling(target: Path) -> Path:
    # Beside the target, for a rename stays in one file system; short, for the target's own name may be near the limit.
    return target.with_name(f".ganzoo-{secrets.token_hex(8)}.tmp")


def _sync_tree(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    fsync_directory(directory)


def _swap(new: Path, target: Path) -> None:
    """Put the directory `new` where `target` is; a directory that is not empty can only be renamed away first."""
    old = _sibling(target)
    replaces = target.exists()
    if replaces:
        target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        if replaces:
            old.rename(target)
        raise
    fsync_directory(target.parent)
    shutil.rmtree(old, ignore_errors=True)
