"""Seals: bytes that contain their own SHA-256, computed with its 64 digits set to zeros.

The digits are the value of a key `sha256` in JSON somewhere in the bytes: the metadata of an .onnx file, the header of
a safetensors file, or a JSON file. A seal shows that a file was altered or truncated, not who made it. No torch.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ganzoo.errors import FileError, UsageError
from ganzoo.files import ADVICE, MOST_BYTES, atomic_write, parse_json, read_limited

BLANK = "0" * 64  # the placeholder of the digest
_KEYS = (b'"sha256": "', b'"sha256":"')  # as written by Python's json and by safetensors


def seal(data: bytes) -> bytes:
    """Return the bytes with their digest in place of `BLANK`. Raises UsageError unless `BLANK` occurs once."""
    at = _position(data, BLANK)
    if at is None:
        raise UsageError(
            f'there is no place for the digest: the data must contain "sha256": "{BLANK[:3]}..." with 64 zeros, once'
        )
    return data[:at] + hashlib.sha256(data).hexdigest().encode() + data[at + len(BLANK) :]


def is_sealed(data: bytes, digest: object) -> bool:
    """Return whether `digest` is in the bytes as their seal, and is correct."""
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        return False
    at = _position(data, digest)
    if at is None:
        return False
    view = memoryview(data)  # avoids a copy of a large file
    found = hashlib.sha256(view[:at])
    found.update(BLANK.encode())
    found.update(view[at + len(BLANK) :])
    return found.hexdigest() == digest


def write_sealed(path: Path, value: Mapping[str, Any]) -> None:
    """Replace the file at `path` by `value` as JSON with a seal. Raises MachineError."""
    atomic_write(path, seal((json.dumps({"sha256": BLANK, **value}, indent=1) + "\n").encode()))


def read_sealed(path: Path, keys: Collection[str] = ()) -> dict[str, Any] | None:
    """Return the object in a file of `write_sealed`, which must have these keys; None if there is no such file.

    Raises FileError if the file is damaged or was altered.
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
    """Return the position of `digest` as the value of a key; None if there is none or more than one."""
    marks = [(key, key + digest.encode() + b'"') for key in _KEYS]
    if sum(data.count(mark) for _, mark in marks) != 1:
        return None
    return next(data.index(mark) + len(key) for key, mark in marks if mark in data)
