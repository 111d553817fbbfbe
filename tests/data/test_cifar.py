"""CIFAR-10: batches are hashed, then read without running what a pickle may hold; found unpacked or packed."""

import hashlib
import io
import pickle
import struct
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ganzoo import data
from ganzoo.data import cifar, published
from ganzoo.data.torchvision_compat import load_torchvision
from ganzoo.errors import FileError, MachineError

RNG = np.random.default_rng(0)
PIXELS = {name: RNG.integers(0, 256, (4, 3072), dtype=np.uint8) for name in cifar.CIFAR10.files}


def batch(pixels: np.ndarray[tuple[int, int], np.dtype[np.uint8]], labels: list[int]) -> bytes:
    """A batch as Python 2 and the numpy of its time pickled it (protocol 2)."""

    def string(text: str) -> bytes:
        return b"U" + bytes([len(text)]) + text.encode()

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + string("b") + b"\x87R(K\x01"
        b"K" + bytes([len(pixels)]) + b"M" + struct.pack("<H", pixels.shape[1]) + b"\x86"
        b"cnumpy\ndtype\n" + string("u1") + b"K\x00K\x01\x87R(K\x03" + string("|") + b"NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", pixels.size) + pixels.tobytes() + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    names = b"](" + string("a.png") * len(labels) + b"e"
    return (b"\x80\x02}(" + string("batch_label") + string("training batch 1 of 5") + string("labels") + numbers) + (
        string("data") + array + string("filenames") + names + b"u."
    )


FILES = {name: batch(pixels, [0, 9, number, 3]) for number, (name, pixels) in enumerate(PIXELS.items())}


def packed() -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as file:
        for name, content in FILES.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return held.getvalue()


ARCHIVE = packed()


def plant(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    """CIFAR-10 is made of these files."""
    hashes = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    archive = ("cifar-10-python.tar.gz", hashlib.md5(ARCHIVE).hexdigest())
    monkeypatch.setattr(cifar, "CIFAR10", replace(cifar.CIFAR10, files=hashes, archive=archive))
    monkeypatch.setattr(published, "SYSTEM", Path("/nowhere"))


def assert_whole(root: Path) -> None:
    train, test = (data.load("cifar10", data_dir=root, split=split, download=False) for split in ("train", "test"))
    assert train.labels is not None
    assert test.labels is not None
    assert train.labels.tolist() == [label for number in range(5) for label in (0, 9, number, 3)]
    assert (test.labels.tolist(), test.image_shape, test.source) == ([0, 9, 5, 3], (3, 32, 32), "cifar10")
    assert np.array_equal(train.images[4].numpy(), PIXELS["data_batch_2"][0].reshape(3, 32, 32))
    assert (train.class_names or ())[9] == "truck"


@pytest.mark.parametrize("folder", [".", "cifar-10-batches-py", "cifar10/cifar-10-batches-py", "CIFAR10/raw"])
def test_batches_are_found_where_they_usually_lie(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, FILES)
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        (tmp_path / folder / name).write_bytes(content)
    assert_whole(tmp_path)


@pytest.mark.parametrize("folder", [".", "cifar10", "CIFAR10/raw"])
def test_the_archive_is_unpacked_where_it_lies(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, FILES)
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    archive = tmp_path / folder / "cifar-10-python.tar.gz"
    archive.write_bytes(ARCHIVE[:-1])
    with pytest.warns(UserWarning, match=r"tar.gz is truncated or altered"), pytest.raises(MachineError):
        data.load("cifar10", data_dir=tmp_path, download=False)
    archive.write_bytes(ARCHIVE)
    assert_whole(tmp_path)
    assert sorted(path.name for path in (tmp_path / "CIFAR10" / "raw").glob("*batch*")) == sorted(FILES)


def test_what_is_missing_or_altered_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, FILES)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (folder / "test_batch").write_bytes(FILES["test_batch"][:-1])
    (folder / "data_batch_3").unlink()
    with pytest.warns(UserWarning, match="test_batch is truncated or altered"), pytest.raises(MachineError) as caught:
        data.load("cifar10", data_dir=tmp_path, download=False)
    message = str(caught.value)
    assert f"data_batch_3  md5 {cifar.CIFAR10.files['data_batch_3']}  missing" in message
    assert f"in {folder}" in message
    assert "data_batch_1" not in message
    assert f"or cifar-10-python.tar.gz (md5 {hashlib.md5(ARCHIVE).hexdigest()}) in their place" in message


class Hostile:
    """A pickle of it runs a command when it is loaded."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("touched"),))


def test_a_batch_runs_nothing_even_with_the_right_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, {**FILES, "test_batch": pickle.dumps(Hostile())})
    monkeypatch.chdir(tmp_path)
    for name, content in FILES.items():
        Path(name).write_bytes(content)
    Path("test_batch").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(FileError, match="test_batch is not read: it asks for "):
        data.load("cifar10", data_dir=tmp_path, split="test", download=False)
    assert not Path("touched").exists()


def test_the_hashes_are_those_of_torchvision() -> None:
    source = load_torchvision().datasets.CIFAR10
    assert list(map(list, cifar.CIFAR10.files.items())) == source.train_list + source.test_list
    assert cifar.CIFAR10.archive == (source.filename, source.tgz_md5)
    assert (cifar.CIFAR10.folders[0], source.url.rpartition("/")[2]) == (source.base_folder, source.filename)
