"""Hostile files with canaries: nothing in them runs, leads out of its place, hangs or reaches a terminal or a page raw.

A canary is a file that comes to be if what a stranger wrote is run or followed. Each file is read by the library and,
in the long form each and in the short form some, by the real command.
"""

import gzip
import hashlib
import io
import json
import os
import pickle
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import tomli_w
import torch
from bench import begin, short_and_long, tallied
from conftest import Images, images_file, make_images, train_tiny
from handmade import CLASSES, info, lie_outside, model
from PIL import Image
from test_mutants import Unending, limits, soon

import ganzoo
from ganzoo import data, runtime
from ganzoo.config import read_toml
from ganzoo.errors import GanzooError, UsageError, printable
from ganzoo.evaluation.judge import fit_judge, read_judge
from ganzoo.evaluation.reference import load_splits
from ganzoo.exporting import web
from ganzoo.report import write_report
from ganzoo.runs.run import Run
from ganzoo.runtime import onnxfile
from ganzoo.synthetic.writing import write as write_images

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="it makes pipes and devices, and limits memory"),
    pytest.mark.filterwarnings("ignore"),
]
CANARY = "canary"
IN_SHORT, IN_LONG = 10, 60  # cases of each row
COMMANDS = 2  # of these, by the real command too
Action = Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A hostile file that `make` puts into an empty directory, how the library reads it there, and which command."""

    name: str
    make: Action
    read: Action
    command: tuple[str, ...] = ()


def assert_no_canary(root: Path) -> None:
    """Within a folder of unpacked images a name that does not lead out may be in its place."""
    names = (CANARY, f"{CANARY}.png")
    found = [path for path in root.rglob(f"{CANARY}*") if path.name in names and not path.is_symlink()]
    found = [path for path in found if not re.search("/archives/[^/]+/images/", str(path))]
    assert not found, f"{found} came to be"


def assert_held(case: Case, place: Path, root: Path) -> None:
    """Read a hostile file by the library: a documented error, or no harm."""
    try:
        with soon(), suppress(GanzooError):
            case.read(place)
    except AssertionError:
        raise
    except (Exception, Unending) as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    assert_no_canary(root)


def assert_command_held(case: Case, place: Path, root: Path) -> None:
    command = begin(place, *case.command)
    code = command.wait()
    streams = (command.streams / "stdout").read_bytes() + (command.streams / "stderr").read_bytes()
    errors = [line for line in command.err.splitlines() if line.startswith("ganzoo: ")]
    assert code in (0, 2, 3, 4), f"exit code {code}: {command.err[-1000:]}"
    assert b"Traceback" not in streams
    assert b"\x1b" not in streams, "an escape sequence"
    assert printable(command.err) == command.err, "what turns or ends a line"
    assert len(errors) == (code != 0), f"errors: {command.err}"
    assert_no_canary(root)


def hold(cases: list[Case], row: str, count: int, tmp: Path, record: Callable[[str, object], None]) -> None:
    """Try so many of the cases, spread over all of them."""
    chosen = random.Random(row).sample(cases, min(count, len(cases)))
    by_command = [case for case in chosen if case.command][: len(cases) if count > IN_SHORT else COMMANDS]
    with tallied(f"canaries: {row}", record) as tally:
        with limits():
            for case in chosen:
                with tally.case(case.name), made(case, tmp) as place:
                    assert_held(case, place, tmp)
        for case in by_command:
            with tally.case(f"{case.name}, by the command"), made(case, tmp) as place:
                assert_command_held(case, place, tmp)


@contextmanager
def made(case: Case, tmp: Path) -> Iterator[Path]:
    """A directory with what a case puts there."""
    place = tmp / "case" / "place"
    place.mkdir(parents=True)
    case.make(place)
    try:
        yield place
    finally:
        shutil.rmtree(place.parent)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# Pickles


class Bird:
    """Whoever unpickles it makes the canary."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.place / CANARY),)


def object_array(place: Path) -> Any:
    return np.array([Bird(place)] * 3, dtype=object)


def in_npy(place: Path) -> bytes:
    file = io.BytesIO()
    np.save(file, object_array(place), allow_pickle=True)
    return file.getvalue()


def in_npz(name: str, place: Path) -> bytes:
    file = io.BytesIO()
    arrays: dict[str, Any] = {"images": np.zeros((3, 4, 4), np.uint8), name: object_array(place)}
    np.savez(file, **arrays)
    return file.getvalue()


def in_torch(place: Path, *, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save({"weights": Bird(place)}, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def in_safetensors(place: Path) -> bytes:
    """A pickle where tensors are expected, behind a header that is one."""
    tensors = safetensors.torch.save({"w": torch.zeros(4)})
    return tensors + pickle.dumps(Bird(place))


PICKLES: dict[str, Callable[[Path], bytes]] = {
    "pickle": lambda place: pickle.dumps(Bird(place)),
    "old pickle": lambda place: pickle.dumps(Bird(place), protocol=0),
    "pickle in gzip": lambda place: gzip.compress(pickle.dumps(Bird(place))),
    "npy": in_npy,
    "npz, images": partial(in_npz, "images"),
    "npz, labels": partial(in_npz, "labels"),
    "torch": in_torch,
    "old torch": partial(in_torch, zipped=False),
    "safetensors": in_safetensors,
}


def as_source(kind: str) -> tuple[str, Action, tuple[str, ...]]:
    name = f"file.{kind}"
    return name, lambda place: data.load(f"{kind}:{place / name}").sha256, ("data", f"{kind}:{name}")


def as_model(suffix: str, *command: str) -> tuple[str, Action, tuple[str, ...]]:
    name = f"file{suffix}"
    return name, lambda place: ganzoo.load(place / name), (*command, f"./{name}")


READERS: dict[str, tuple[str, Action, tuple[str, ...]]] = {
    **{f"as {kind}": as_source(kind) for kind in ("npz", "npy", "idx", "csv", "zip", "tar")},
    "as an image": (
        "images/a.png",
        lambda place: data.load(f"folder:{place / 'images'}"),
        ("data", "images"),
    ),
    "as .pt": as_model(".pt", "sample"),
    "as .pt2": as_model(".pt2", "sample"),
    "as .onnx": as_model(".onnx", "info"),
    "as .pkl": as_model(".pkl", "verify"),
    "as a judge": (
        "judge.safetensors",
        lambda place: read_judge(place / "judge.safetensors"),
        ("evaluate", "mnist", "--dataset", "mnist-5k", "--judge", "judge.safetensors", "--n", "10"),
    ),
    "as settings": (
        "file.toml",
        lambda place: read_toml(place / "file.toml"),
        ("train", "--variant", "gan", "--config", "file.toml", "--dry-run"),
    ),
    "as CIFAR-10": (
        "cifar10/data_batch_1",
        lambda place: data.load("cifar10", data_dir=place, download=False),
        ("data", "cifar10", "--data-dir", "."),
    ),
}


def pickles() -> list[Case]:
    def case(form: str, reader: str) -> Case:
        name, read, command = READERS[reader]

        def make(place: Path) -> None:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(PICKLES[form](place))

        own = () if reader == "as CIFAR-10" else command  # which the command would try to fetch
        return Case(name=f"{form} {reader}", make=make, read=read, command=own)

    return [case(form, reader) for form, reader in product(PICKLES, READERS)]


@short_and_long(IN_SHORT, IN_LONG)
def test_pickles_are_never_unpickled(
    count: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    pickle.loads(pickle.dumps(Bird(tmp_path)))
    with pytest.raises(AssertionError, match="came to be"):  # so that a canary that is unpickled is seen
        assert_no_canary(tmp_path)
    (tmp_path / CANARY).rmdir()
    hold(pickles(), "pickles", count, tmp_path, record_property)


# Archives

CLIMBING = (
    f"../{CANARY}.png", f"../../{CANARY}.png", f"a/../../../{CANARY}.png", f"{{place}}/{CANARY}.png",
    f"..\\{CANARY}.png", f"a/..\\..\\..\\{CANARY}.png", f"C:\\{CANARY}.png", f"./../{CANARY}.png",
    f"a/./../../../{CANARY}.png", f"//{{place}}/{CANARY}.png", f"../images/../../{CANARY}.png",
)  # fmt: skip
SPECIAL = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE)


def picture(size: int = 8) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((size, size), np.uint8)).save(file, "png")
    return file.getvalue()


def zip_of(*members: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in [("good.png", picture()), *members]:
            archive.writestr(name, content)
    return file.getvalue()


def tar_of(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for made, content in [(tarfile.TarInfo("good.png"), picture()), *members]:
            made.size = made.size or len(content)
            archive.addfile(made, io.BytesIO(content))
    return file.getvalue()


def climbing_in_zip(name: str, place: Path) -> bytes:
    return zip_of((name.format(place=place), picture()))


def climbing_in_tar(name: str, place: Path, mode: str = "w") -> bytes:
    return tar_of((tarfile.TarInfo(name.format(place=place)), picture()), mode=mode)


def linked_in_zip(place: Path) -> bytes:
    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    return zip_of((link, str(place).encode()), (f"link.png/{CANARY}.png", picture()))


def special_in_tar(kind: bytes, place: Path) -> bytes:
    """A member that is no file, under an image's name, and one that would go through it."""
    made = tarfile.TarInfo("link.png")
    made.type, made.linkname, made.devmajor, made.devminor = kind, str(place.parent), 1, 5
    return tar_of((made, b""), (tarfile.TarInfo(f"link.png/{CANARY}.png"), picture()))


def lying_zip(stated: int) -> bytes:
    """A zip whose directory states another size of a member than it has."""
    whole = bytearray(zip_of(("big.png", bytes(1_000_000))))
    for mark, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = whole.rindex(mark)
        whole[at + offset : at + offset + 4] = struct.pack("<I", stated)
    return bytes(whole)


def large_in_tar(place: Path) -> bytes:
    made = tarfile.TarInfo("big.png")
    made.size = 2**40
    return made.tobuf() + bytes(1024)


def bomb_npz(place: Path) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 64, 64)})
    return zip_of(("images.npy", file.getvalue()))


def bomb_idx(place: Path) -> bytes:
    return gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 2**14, 2**10, 900) + bytes(10_000_000))


def bomb_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that states many pixels."""
    chunks = [
        (b"IHDR", struct.pack(">2I5B", width, height, 16, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(1_000_000))),
    ]
    made = [
        struct.pack(">I", len(body)) + kind + body + zlib.crc32(kind + body).to_bytes(4, "big") for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(made)


def put(name: str, content: Callable[[Path], bytes]) -> Action:
    def make(place: Path) -> None:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content(place))

    return make


def archive_case(name: str, kind: str, content: Callable[[Path], bytes]) -> Case:
    file, read, command = as_source(kind)
    return Case(name=f"{name} in {kind}", make=put(file, content), read=read, command=command)


def archives() -> list[Case]:
    climbing = [
        case
        for name in CLIMBING
        for case in (
            archive_case(name, "zip", partial(climbing_in_zip, name)),
            archive_case(name, "tar", partial(climbing_in_tar, name)),
            archive_case(f"{name}, gzip,", "tar", partial(climbing_in_tar, name, mode="w:gz")),
        )
    ]
    special = [archive_case(f"type {kind!r}", "tar", partial(special_in_tar, kind)) for kind in SPECIAL]
    bombs = [
        archive_case("link", "zip", linked_in_zip),
        archive_case("a smaller size", "zip", lambda place: lying_zip(100)),
        archive_case("a larger size", "zip", lambda place: lying_zip(4_000_000_000)),
        archive_case("a terabyte", "tar", large_in_tar),
        archive_case("four petabytes", "npz", bomb_npz),
        Case(
            name="15 GB in an IDX in gzip",
            make=put("file.idx.gz", bomb_idx),
            read=lambda place: data.load(f"idx:{place / 'file.idx.gz'}"),
            command=("data", "idx:file.idx.gz"),
        ),
        *(
            Case(
                name=f"a PNG of {width} x {height}",
                make=put("images/a.png", lambda place, size=(width, height): bomb_png(*size)),  # type: ignore[misc]
                read=lambda place: data.load(f"folder:{place / 'images'}"),
                command=("data", "images"),
            )
            for width, height in ((2**31 - 1, 2**31 - 1), (100_000, 100_000), (8000, 8000), (63_000_000, 1))
        ),
        Case(
            name="climbing in onnxruntime-web's package",
            make=put("file.tgz", partial(climbing_in_tar, CLIMBING[1], mode="w:gz")),
            read=lambda place: web.write(
                place / "page", onnxfile.seal(model().SerializeToString()), ort_web=place / "file.tgz"
            ),
        ),
    ]
    return [*climbing, *special, *bombs]


@short_and_long(IN_SHORT, IN_LONG)
def test_archives_stay_in_their_place(
    count: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    hold(archives(), "archives", count, tmp_path, record_property)


# Links, pipes and devices


def pipe(path: Path) -> None:
    os.mkfifo(path)


def socket_at(path: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # whose path may be longer than a socket's
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def link_out(path: Path) -> None:
    """A link to a file that must be neither read nor written."""
    outside = path.parent / "outside"
    outside.write_bytes(picture())
    outside.chmod(0o400)
    path.symlink_to(outside)


SPECIALS: dict[str, Action] = {
    "a pipe": pipe,
    "a socket": socket_at,
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a link to a tty": lambda path: path.symlink_to("/dev/tty"),
    "a link out": link_out,
    "a link to nothing": lambda path: path.symlink_to(path.parent / CANARY),
    "a link to itself": lambda path: path.symlink_to(path.name),
}
IN_A_RUN = (
    "config.toml", "metrics.jsonl", "evaluations.jsonl", "evaluation.json", "env.json", "README.md", ".lock",
    "samples/final.png", "samples/epoch-1.png", "checkpoints/step-00000002/ema.safetensors",
    "checkpoints/step-00000002/manifest.json", "checkpoints/step-00000009", "exports",
)  # fmt: skip
FILES: dict[str, tuple[str, Action, tuple[str, ...]]] = {  # the file that is special, and how it is read
    **{f"as {kind}": as_source(kind) for kind in ("npz", "npy", "idx", "csv", "zip", "tar")},
    "as an image": ("images/a.png", lambda place: data.load(f"folder:{place / 'images'}"), ("data", "images")),
    "as labels": (
        "a-labels.idx",
        lambda place: data.load(f"idx:{place / 'a-images.idx'}"),
        ("data", "idx:a-images.idx"),
    ),
    "as MNIST": (
        "mnist/train-images-idx3-ubyte",
        lambda place: data.load("mnist", data_dir=place, download=False),
        (),
    ),
    "as MNIST, packed": (
        "mnist/train-images-idx3-ubyte.gz",
        lambda place: data.load("mnist", data_dir=place, download=False),
        (),
    ),
    "as a judge": READERS["as a judge"],
    "as settings": READERS["as settings"],
    "as .onnx": as_model(".onnx", "info"),
    "as .pt2": as_model(".pt2", "sample"),
    "as a page's model": ("page/generator.onnx", lambda place: ganzoo.load(place / "page"), ("info", "page")),
    "as onnxruntime-web": (
        "file.tgz",
        lambda place: web.write(place / "page", onnxfile.seal(model().SerializeToString()), ort_web=place / "file.tgz"),
        (),
    ),
}


def read_run(place: Path) -> None:
    """All that the library reads of a run; what one reader refuses, the next one meets too."""
    for read in (
        lambda: ganzoo.load(place / "run").sample(1),
        lambda: ganzoo.resume(place / "run", steps=3, progress=False),
        lambda: write_report(place / "report", [place / "run"]),
    ):
        with suppress(GanzooError):
            read()


def specials(trained: Path) -> list[Case]:
    def in_run(where: str, kind: str) -> Case:
        def make(place: Path) -> None:
            path = Path(shutil.copytree(trained, place / "run")) / where
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)
            path.parent.mkdir(exist_ok=True)
            SPECIALS[kind](path)

        return Case(name=f"{kind} as {where} of a run", make=make, read=read_run, command=("sample", "run", "-n", "1"))

    def of_data(reader: str, kind: str) -> Case:
        name, read, command = FILES[reader]

        def make(place: Path) -> None:
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if reader == "as labels":
                (place / "a-images.idx").write_bytes(struct.pack(">4B3I", 0, 0, 8, 3, 2, 4, 4) + bytes(32))
            if reader == "as a page's model":
                (place / "page" / "info.json").write_text("{}")
            SPECIALS[kind](path)

        return Case(name=f"{kind} {reader}", make=make, read=read, command=command)

    runs = [in_run(where, kind) for where, kind in product(IN_A_RUN, SPECIALS)]
    return [*runs, *(of_data(reader, kind) for reader, kind in product(FILES, SPECIALS))]


@pytest.fixture(scope="module")
def trained(tiny_images: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("canaries")
    return train_tiny("gan", images_file(place / "images.npz"), place / "run", steps=2).path


@short_and_long(IN_SHORT, IN_LONG)
def test_pipes_links_and_devices_lead_nowhere(
    count: int, trained: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    hold(specials(trained), "links, pipes and devices", count, tmp_path, record_property)


# Weights in other files

LOCATIONS = (f"../{CANARY}", "/etc/passwd", "/dev/zero", "pipe", "link", "file:///etc/passwd", "beside", "")


def external(location: str, place: Path) -> bytes:
    made = model(CLASSES)
    tensor = made.graph.initializer[0]
    lie_outside(tensor)
    tensor.ClearField("raw_data")
    tensor.external_data[0].value = location
    os.mkfifo(place / "pipe")
    (place / "link").symlink_to("/dev/zero")
    (place / "beside").write_bytes(bytes(240))
    return onnxfile.seal(made.SerializeToString())


def weights_elsewhere() -> list[Case]:
    return [
        Case(
            name=f"weights in '{location}', {command}",
            make=put("file.onnx", partial(external, location)),
            read=lambda place: runtime.load(place / "file.onnx").sample(1),
            command=(command, "./file.onnx"),
        )
        for location, command in product(LOCATIONS, ("sample", "info", "verify"))
    ]


@short_and_long(IN_SHORT, IN_LONG)
def test_weights_in_other_files_are_refused(
    count: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    hold(weights_elsewhere(), "weights in other files", count, tmp_path, record_property)


# Names

NAMES = (
    "esc\x1b[31mred\x1b]0;title\x07", "new\nline", "carriage\rreturn", "bidi\u202eevil\u2066", "<script>alert(1)<",
    "<img src=x onerror=alert(1)>", "{{7*7}}", "${7*7}", "[x](javascript:alert(1))", "`code` ```", '"]\nx = 1 #',
    "a | b | c", f"$(touch {CANARY})", f"'; touch {CANARY}; '", "# heading\n- item", "--out=elsewhere",
    "[red]x[/nothing]", "%s%n", "x" * 200, "&lt;script&gt;", "\u2028line", "]]>", "<!-- ",
    "</style", "\\n\\x1b", "~", "*", "\x9b31m",
)  # fmt: skip


class Tags(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def assert_page_is_still(page: str) -> None:
    """A page without scripts, handlers or anything that is fetched."""
    assert "\x1b" not in page
    for tag, attributes in Tags(page).found:
        assert tag not in ("script", "iframe", "object", "embed", "base", "form", "link"), tag
        for name, value in attributes.items():
            assert not name.startswith("on"), f"{tag} {name}"
            if name in ("src", "href"):
                assert (value or "").startswith(("data:image/", "#")), f"{tag} {name}={value}"
    assert "<!--" not in page


def assert_markdown_is_still(text: str) -> None:
    """Markdown without tags, without links to scripts, and without what a terminal obeys."""
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", text), "control characters"
    outside = re.sub(r"(?s)^(```+)\n.*?^\1$", "", text, flags=re.MULTILINE)  # blocks of code
    outside = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", outside.replace("\\`", ""))
    assert not re.search(r"<[a-zA-Z/!]", outside), re.search(r"<[a-zA-Z/!].{0,40}", outside)
    assert not re.search(r"(?<!\\)\]\((?!figures/)", outside), "a link"


def commands_in(readme: str) -> str:
    """The block of commands in a run's README."""
    found = re.search(r"(?s)^(```+)\n(.*?)^\1$", readme, flags=re.MULTILINE)
    assert found is not None
    return found[2]


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a class of each name, and files of that name in it."""
    root = tmp_path_factory.mktemp("names") / "images"
    for number, name in enumerate(NAMES):
        for count in range(2):
            path = root / name / f"{count}{name}"[:200].replace("/", "")
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng([number, count]).integers(0, 256, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(path.with_name(f"{path.name}.png"))
    return root


def texts_of(classes: Path, place: Path) -> Iterator[tuple[str, str]]:
    """Everything that ganzoo writes of a run whose classes bear such names, by its kind."""
    run = train_tiny("cgan", f"folder:{classes}", place / NAMES[13] / "run", steps=2)
    yield "readme", (run.path / "README.md").read_text()
    page = write_report(place / "report", [run.path], title=NAMES[5])
    yield "page", page.read_text()
    yield "markdown", page.with_name("report.md").read_text()
    made = place / "synthetic"
    write_images(run.path, made, len(NAMES), layout="png")
    yield "card", (made / "README.md").read_text()
    assert [path.name for path in made.iterdir() if path.is_dir()]
    assert all(path.resolve().is_relative_to(made.resolve()) for path in made.rglob("*"))


@pytest.mark.slow
def test_names_of_classes_show_as_they_are_and_do_nothing(
    classes: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    checks: dict[str, Callable[[str], None]] = {
        "page": assert_page_is_still, "markdown": assert_markdown_is_still, "card": assert_markdown_is_still,
        "readme": assert_markdown_is_still,
    }  # fmt: skip
    with tallied("canaries: names of classes in what is written", record_property) as tally:
        for kind, text in texts_of(classes, tmp_path):
            with tally.case(kind):
                checks[kind](text)
            if kind == "readme":
                with tally.case("commands of the README"):
                    block = "ganzoo() { :; }\n" + commands_in(text)
                    subprocess.run(["sh", "-c", block], cwd=tmp_path, check=True)
                    assert not (tmp_path / CANARY).exists()


FIELDS: dict[str, Callable[[dict[str, Any], str], object]] = {
    "variant": lambda document, name: document["run"].__setitem__("variant", name),
    "source": lambda document, name: document["data"].__setitem__("source", f"npz:{name}"),
    "class": lambda document, name: document["facts"].__setitem__("class_names", [name, "b", "c"]),
    "note": lambda document, name: document["facts"].__setitem__("note", name),
    "generator": lambda document, name: document["variant"]["generator"].__setitem__("name", name),
    "setting": lambda document, name: document["variant"]["generator"].__setitem__(name, 1),
    "key": lambda document, name: document.__setitem__(name, {}),
}


def in_settings(field: str, name: str, trained: Path) -> Case:
    """A run whose settings, in its file, hold a name."""

    def make(place: Path) -> None:
        run = Run(Path(shutil.copytree(trained, place / "run")))
        document = tomllib.loads((run.path / "config.toml").read_text())
        FIELDS[field](document, name)
        (run.path / "config.toml").write_text(tomli_w.dumps(document))

    def read(place: Path) -> None:
        run = Run.open(place / "run")
        config = run.config
        run.write_readme(config, 2, 1.0, f"A note of {name}.")
        assert_markdown_is_still((run.path / "README.md").read_text())
        page = write_report(place / "report", [run.path])
        assert_page_is_still(page.read_text())
        assert_markdown_is_still(page.with_name("report.md").read_text())

    return Case(
        name=f"{name!r} as {field}", make=make, read=read, command=("train", "--config", "run/config.toml", "--dry-run")
    )


def as_class(name: str) -> Case:
    def make(place: Path) -> None:
        for folder in (name, "b"):
            (place / "images" / folder).mkdir(parents=True)
            (place / "images" / folder / "a.png").write_bytes(picture())

    return Case(
        name=f"{name!r} as a class's folder",
        make=make,
        read=lambda place: data.load(f"folder:{place / 'images'}").class_names,
        command=("data", "images"),
    )


def broken_under(name: str) -> Case:
    return Case(
        name=f"{name!r} as the name of a broken image",
        make=put(f"images/{name[:100]}.png", lambda place: b"broken"),
        read=lambda place: data.load(f"folder:{place / 'images'}"),
        command=("data", "images"),
    )


def in_model(name: str, command: str) -> Case:
    """A sealed generator whose metadata hold a name wherever text may be."""

    def content(place: Path) -> bytes:
        document = json.loads(onnxfile.metadata(info(CLASSES)))
        document["generator"]["class_names"] = [name, "b", "c"]
        document["run"] = {"data": {"source": f"npz:{name}", "sha256": name}, "run": {"ganzoo": name}}
        document |= {"weights": name, "licence": name, "precision": name, "versions": {name: name}, "parity": {name: 1}}
        document["evaluation"] = {"judge": name, "figures": {name: {"mean": 1.0, "floor": 2.0}}}
        document["figure"] = {"name": name, "images": 5}
        return onnxfile.seal(model(CLASSES, json.dumps(document)).SerializeToString())

    return Case(
        name=f"{name!r} in a model, by {command}",
        make=put("file.onnx", content),
        read=lambda place: runtime.load(place / "file.onnx").sample(1, labels=[name]),
        command=(command, "./file.onnx"),
    )


def as_member(name: str) -> Case:
    return archive_case(
        f"{name!r} as a folder", "zip", lambda place: zip_of(*((f"{one}/a.png", picture()) for one in (name, "b")))
    )


def named(trained: Path) -> list[Case]:
    fields = [in_settings(field, name, trained) for field, name in product(FIELDS, NAMES[::2])]
    models = [in_model(name, command) for name, command in product(NAMES[::2], ("info", "sample"))]
    others = [make(name) for name, make in product(NAMES, (as_class, broken_under, as_member))]
    return [*fields, *models, *others]


@short_and_long(IN_SHORT, IN_LONG)
def test_names_do_nothing(
    count: int, trained: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    hold(named(trained), "names", count, tmp_path, record_property)


@pytest.mark.parametrize("name", ["../outside", "{place}/outside", ".."])
def test_a_variants_name_is_no_path_for_what_is_exported(name: str, trained: Path, tmp_path: Path) -> None:
    """Not in a run's file, and not in its checkpoint, with the right hash."""
    run, named = Run(Path(shutil.copytree(trained, tmp_path / "run"))), name.format(place=tmp_path)
    document = tomllib.loads((run.path / "config.toml").read_text())
    document["run"]["variant"] = named
    (run.path / "config.toml").write_text(tomli_w.dumps(document))
    checkpoint = run.latest_checkpoint().path
    state, manifest = (json.loads((checkpoint / f"{kind}.json").read_text()) for kind in ("state", "manifest"))
    state["config"]["run"]["variant"] = named
    (checkpoint / "state.json").write_text(json.dumps(state))
    manifest["sha256"]["state.json"] = hashlib.sha256((checkpoint / "state.json").read_bytes()).hexdigest()
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    for format_name in ("onnx", "pt2"):
        with pytest.raises(UsageError, match="is not a valid file name"):
            ganzoo.export(run, format=format_name)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert ganzoo.export(run, tmp_path / "named.onnx").path.exists()


def test_the_name_of_a_judge_does_nothing(tmp_path: Path) -> None:
    """A judge bears a name of anybody's, in a file whose seal fits: it is shown in a table."""
    images, labels = make_images(16)
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    splits = load_splits(f"npz:{tmp_path / 'images.npz'}")
    fit_judge(NAMES[0] + "[/red]", splits.train, splits.test, tmp_path / "judge.safetensors", epochs=1)
    arguments = ("npz:images.npz", "--dataset", "npz:images.npz", "--judge", "judge.safetensors")
    command = begin(tmp_path, "evaluate", *arguments, "--n", "20", "--figures", "fid")
    assert command.wait() == 0, command.err
    assert "[/red]" in command.out
    assert "\x1b" not in command.out + command.err


PACKAGE = Path(ganzoo.__path__[0]).parent / "build" / f"onnxruntime-web-{web.ORT_WEB}.tgz"


@pytest.mark.skipif(not PACKAGE.exists(), reason="needs onnxruntime-web: make web-runtime")
def test_a_page_writes_no_name_as_markup(tmp_path: Path) -> None:
    """What a model says is in its metadata alone, which the page's script only sets as text."""
    document = json.loads(onnxfile.metadata(info(CLASSES)))
    document["generator"]["class_names"] = list(NAMES[3:6])
    made = web.write(
        tmp_path / "page", onnxfile.seal(model(CLASSES, json.dumps(document)).SerializeToString()), ort_web=PACKAGE
    )
    for path in made.iterdir():
        if path.suffix in (".html", ".css", ".js") and not path.name.startswith("ort"):
            assert "alert(1)" not in path.read_text()
    script = (made / "page.js").read_text() + (made / "latents.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc", script)
    assert json.loads((made / "info.json").read_bytes())["generator"]["class_names"] == list(NAMES[3:6])
