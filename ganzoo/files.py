"""Atomic replacement of files and directories: a reader sees the complete old or the complete new one, never a part.

Errors of the operating system become a `MachineError` with one line that names the path and the remedy.
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
HEIC_SUFFIXES = (".heic", ".heif")  # from phone cameras; Pillow needs an extra package to read them
MOST_BYTES = 1_000_000_000  # maximal size of a JSON file
TEMPORARY_PATTERN = ".ganzoo-*.tmp"  # unfinished files and directories, beside their final place
ADVICE = "move it away to continue without it, or write it again"  # for a damaged file

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
    """Return the suffixes of the image files that can be read; HEIC only if the extra `heic` is installed."""
    return IMAGE_SUFFIXES + (HEIC_SUFFIXES if importlib.util.find_spec("pillow_heif") else ())


@contextlib.contextmanager
def writing(path: StrPath) -> Iterator[None]:
    """Turn an `OSError` in the block into a `MachineError` with the message that `path` cannot be written, and why."""
    try:
        yield
    except OSError as error:
        reason = _ADVICE.get(error.errno or 0, error.strerror or str(error))
        raise MachineError(f"cannot write {os.fspath(path)}: {reason}") from error


def atomic_write(path: StrPath, data: bytes) -> None:
    """Replace the file at `path` by `data` and create its parent directories; on failure the old file stays.

    A pipe or a device such as /dev/stdout is written to, not replaced.
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
    """Yield a new file that replaces `path` if the block succeeds, and is removed if it fails."""
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
    """Yield a new directory that replaces `path` if the block succeeds, and is removed if it fails.

    The previous content of `path` is deleted: the caller must have checked that this is allowed.
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
        shutil.rmtree(temporary, ignore_errors=True)  # does not exist any more after the swap


@contextlib.contextmanager
def locked(directory: Path, what: str) -> Iterator[None]:
    """Lock a directory during the block. Raises UsageError with the text `what` if another process has the lock."""
    import filelock  # imported here because sampling does not need it

    lock = filelock.FileLock(directory / ".lock")
    with writing(lock.lock_file):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UsageError(f"{directory} {what} by another process: wait for it, or stop it") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a system may refuse to remove an open file; the file does no harm
            Path(lock.lock_file).unlink()
        lock.release()


def check_name(name: object) -> None:
    """Raise UsageError for a name or path that is not UTF-8: it could not be written to a configuration."""
    try:
        str(name).encode()
    except UnicodeEncodeError:
        raise UsageError(f"{shown(name)}: the name is not UTF-8; rename it") from None


def check_regular(path: Path) -> None:
    """Raise FileError for a pipe or a device, which may never end. Raises OSError as `stat` does."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise FileError(f"{shown(path)} is a pipe or a device: save its output to a file and use that file")


def read_limited(path: Path, most: int) -> bytes:
    """Return a file's content of at most `most` bytes. Raises FileError if it is larger, OSError as `open` does."""
    check_regular(path)
    with path.open("rb") as file:
        content = file.read(min(most, os.fstat(file.fileno()).st_size) + 1)  # allocates that many bytes at once
        while len(content) <= most and (more := file.read(1_000_000)):  # the file system may report a size of 0
            content += more
    if len(content) > most:
        raise FileError(f"{shown(path)} has more than {most:,} bytes, the most that is allowed for such a file")
    return content


def refuse_links(directory: Path) -> None:
    """Raise FileError if a directory contains anything but files and directories: nothing in it may lead out of it.

    Otherwise a hostile directory could make ganzoo read, overwrite or delete other files. The path of the directory
    itself may be a link.
    """
    for folder, folders, files in os.walk(directory):
        for name in [*folders, *files]:
            path = Path(folder, name)
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:  # another process may be training the run
                continue
            if stat.S_ISLNK(mode):
                raise FileError(f"{shown(path)} is a link to {shown(path.readlink())}: replace it by its target")
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise FileError(f"{shown(path)} is neither a file nor a directory: remove it")


def read_json(path: Path, keys: Collection[str] = ()) -> dict[str, Any] | None:
    """Return the object in a JSON file, which must have these keys; None if there is no such file.

    Raises FileError if the file is damaged.
    """
    try:
        content = read_limited(path, MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileError(f"{path} is damaged ({error}); {ADVICE}") from None
    return parse_json(content, path, keys)


def parse_json(content: bytes, path: Path, keys: Collection[str] = ()) -> dict[str, Any]:
    """Return the object in the content of the file at `path`, which must have these keys. Raises FileError."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged ({error}); {ADVICE}") from None
    if not isinstance(value, dict):
        raise FileError(f"{path} is damaged (it contains no JSON object); {ADVICE}")
    if missing := set(keys) - set(value):
        raise FileError(f"{path} is damaged or of another version ('{min(missing)}' is missing); {ADVICE}")
    return value


def write_json(path: StrPath, value: Any) -> None:
    """Replace the file at `path` by `value` as JSON."""
    atomic_write(path, (json.dumps(value, indent=1) + "\n").encode())


def fsync_directory(path: StrPath) -> None:
    """Make the names in the directory `path` survive a power cut, if the system supports it."""
    if os.name == "nt":  # Windows cannot open directories
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
    """Return the path with links resolved, so that a symbolic link stays one; create its parent directory."""
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _sibling(target: Path) -> Path:
    # Beside the target, because a rename must stay in one file system; short, because names have a maximal length.
    return target.with_name(f".ganzoo-{secrets.token_hex(8)}.tmp")


def _sync_tree(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())
    fsync_directory(directory)


def _swap(new: Path, target: Path) -> None:
    """Replace `target` by the directory `new`; a directory that is not empty must be renamed first."""
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
