"""Seals: bytes that hold the SHA-256 of themselves, taken with its 64 digits as zeros.

The digits are the value of a key `sha256` in JSON that the bytes hold somewhere: the metadata of an .onnx file, the
header of a safetensors file, or a JSON file. A seal shows that a file was altered or cut, not who made it. No torch.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ganzoo.errors import FileError, UsageError
from ganzoo.files import ADVICE, MOST_BYTES, atomic_write, parse_json, read_limited

BLANK = "0" * 64  # what stands for the digest until the bytes are sealed
_KEYS = (b'"sha256": "', b'"sha256":"')  # as Python writes JSON, and as safetensors does


def seal(data: bytes) -> bytes:
    """Return the bytes with their digest in place of `BLANK`: the same length. Raises UsageError if it is not there."""
    at = _position(data, BLANK)
    if at is None:
        raise UsageError(
            f'there is no place for its digest: let it hold "sha256": "{BLANK[:3]}..." with 64 zeros, once'
        )
    return data[:at] + hashlib.sha256(data).hexdigest().encode() + data[at + len(BLANK) :]


def is_sealed(data: bytes, digest: object) -> bool:
    """Return whether `digest` stands in the bytes as their seal, and fits them."""
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        return False
    at = _position(data, digest)
    if at is None:
        return False
    view = memoryview(data)  # no copy of a large file
    found = hashlib.sha256(view[:at])
    found.update(BLANK.encode())
    found.update(view[at + len(BLANK) :])
    return found.hexdigest() == digest


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Replace the file at `path` by `value` as JSON with a seal. Raises MachineError."""
    atomic_write(path, seal((json.dumps({"sha256": BLANK, **value}, indent=1) + "\n").encode()))


def read_sealed(path: Path, keys: Collection[str] = ()) -> dict[str, Any] | None:
    """Return the object in a file that `write_sealed` wrote, with these keys at least; None if there is no such file.

    Raises FileError for one that is damaged or was altered.
    """
    try:
        content = read_limited(path, MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error.strerror}); {ADVICE}") from None
    value = parse_json(content, path, ("sha256", *keys))
    if not is_sealed(content, value["sha256"]):
        raise FileError(f"{path} is damaged or was altered; {ADVICE}")
    return value


def _position(data: bytes, digest: str) -> int | None:
    """Return where `digest` stands as the value of a key; None if that is nowhere or in several places."""
    marks = [(key, key + digest.encode() + b'"') for key in _KEYS]
    if sum(data.count(mark) for _, mark in marks) != 1:
        return None
    return next(data.index(mark) + len(key) for key, mark in marks if mark in data)
