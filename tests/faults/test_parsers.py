"""Files that were made to be hard to read: one message, never a traceback, and never long."""

import io
import os
import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganzoo import data
from ganzoo.config import parse_settings, read_toml
from ganzoo.errors import FileError, GanzooError, UsageError
from ganzoo.evaluation.judge import read_judge

SOURCES = ("npz", "npy", "csv", "idx", "zip", "tar", "folder", "parquet")
MUTANTS = 150  # of each kind of file
SPECIAL = pytest.mark.skipif(sys.platform == "win32", reason="has other devices")


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 2000,
        "x = " + "[" * 2000 + "]" * 2000,
        "x = " + "{a=" * 2000 + "1" + "}" * 2000,
        ".".join(["a"] * 50_000) + " = 1",
        f"[{'.'.join(['a'] * 50_000)}]",
        "x = {" + " . ".join(["a"] * 50_000) + " = 1}",
        ".".join(['"a"'] * 50_000) + " = 1",
        " . ".join(["'a'"] * 50_000) + " = 1",
        "a" * 1_000_000,
        "\ud800",
    ],
)
def test_toml_that_is_nested_or_not_text_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(FileError, match=r"config.toml is not a readable TOML file"):
        read_toml(file)


def test_paths_and_names_with_dots_are_no_deep_keys(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'[data]\nsource = "folder:{".".join(["a"] * 400)}"\nx = [1.5, 2.5]\n')
    assert read_toml(tmp_path / "config.toml")["data"]["x"] == [1.5, 2.5]


@pytest.mark.parametrize("setting", ["x=" + "[" * 5000, ".".join(["a"] * 5000) + "=1"])
def test_settings_that_are_nested_are_refused_in_one_line(setting: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_settings([setting])
    assert len(str(caught.value)) < 500


@SPECIAL
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("place", ["pipe", "/dev/zero"])
def test_pipes_and_devices_are_refused_as_data(source: str, place: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match=r"is a pipe or a device: save its output to a file"):
        data.load(f"{source}:{place if place.startswith('/') else tmp_path / place}")


@SPECIAL
@pytest.mark.parametrize("read", [read_toml, read_judge])
def test_pipes_and_devices_are_refused_as_settings_and_judges(read: Callable[[Path], Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(FileError, match="is a pipe or a device"):
            read(place)


def array_bytes(header: bytes, body: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (3,",  # ends within a bracket
        b"{'descr': '|u1', 'fortran_order': False, 'shape': 5}",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (2, 4, 4)}",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (10**9, 10**9, 10**9)}",
        b"(" * 9000,
        b"'''",
        b"\xff\xfe",
        b"",
    ],
)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_a_broken_header_of_an_array_is_refused(kind: str, header: bytes, tmp_path: Path) -> None:
    file, content = tmp_path / f"a.{kind}", array_bytes(header, bytes(64))
    if kind == "npz":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("images.npy", content)
    else:
        file.write_bytes(content)
    with pytest.raises(FileError, match=rf"a\.{kind}") as caught:
        data.load(f"{kind}:{file}")
    assert "allow_pickle" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"\x00" * 100, b"PK\x03\x04"])
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_nobody_is_advised_to_unpickle(kind: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(FileError) as caught:
        data.load(f"{kind}:{tmp_path}/a")
    assert "allow_pickle" not in str(caught.value)


def samples() -> dict[str, bytes]:
    """A small file of each kind of array."""
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 4), dtype=np.uint8)
    files = {name: io.BytesIO() for name in ("npy", "npz", "compressed")}
    np.save(files["npy"], images)
    np.savez(files["npz"], images=images, labels=np.arange(6) % 3)
    np.savez_compressed(files["compressed"], images=images, labels=np.arange(6) % 3)
    idx = b"\x00\x00\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (6, 4, 4)) + images.tobytes()
    rows = "\n".join(",".join(map(str, [label % 3, *image.ravel()])) for label, image in enumerate(images))
    csv = f"label,{','.join(f'pixel{i}' for i in range(16))}\n{rows}\n".encode()
    return {**{name: file.getvalue() for name, file in files.items()}, "idx": idx, "csv": csv}


def mutate(content: bytes, chance: random.Random) -> bytes:
    """Return the content with a few bytes changed, cut, doubled or moved."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed)) if changed else 0
        kind = chance.randrange(5)
        if kind == 0 and changed:
            changed[place] = chance.randrange(256)
        elif kind == 1 and changed:
            changed[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            del changed[place:]
        elif kind == 3:
            changed[place:place] = chance.randbytes(chance.randint(1, 16))
        else:
            del changed[place : place + chance.randint(1, 8)]
    return bytes(changed)


@pytest.mark.parametrize("kind", sorted(samples()))
@pytest.mark.filterwarnings("ignore")
def test_mutants_are_read_or_refused(kind: str, tmp_path: Path) -> None:
    content, chance = samples()[kind], random.Random(kind)
    source = "npz" if kind == "compressed" else kind
    file = tmp_path / f"a.{source}"
    messages = []
    for _ in range(MUTANTS):
        file.write_bytes(mutate(content, chance))
        try:
            data.load(f"{source}:{file}")
        except GanzooError as error:
            messages.append(str(error))
    assert messages
    assert not [message for message in messages if "allow_pickle" in message or "\n" in message]
