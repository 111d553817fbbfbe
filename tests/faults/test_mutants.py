"""Mutants of every kind of file that ganzoo reads: each is read as before, noticed or refused, soon and in little room.

A file with a checksum has no other content than before. One without, such as a user's own image, may have another one,
as long as it is valid. Of "refitted" kinds the checksums are made to fit again: what reads them has to bear anything.
"""

import gzip
import hashlib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tarfile
import tomllib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from bench import Tally, begin, short_and_long, tallied
from conftest import Images, images_file, make_images, train_tiny
from handmade import CLASSES, sealed
from PIL import Image

import ganzoo
from ganzoo import data, runtime
from ganzoo.data.mapped import DecodedImages, cache_folder, stamp_of
from ganzoo.errors import FileError, GanzooError, UsageError
from ganzoo.evaluation.judge import fit_judge, read_judge
from ganzoo.report.records import RESULTS, read_results
from ganzoo.runs.opening import load_network
from ganzoo.runs.records import EvaluationLine
from ganzoo.runs.run import EVALUATIONS, METRICS, Run
from ganzoo.runtime import onnxfile
from ganzoo.sealing import BLANK, seal
from ganzoo.studies.comparison import Plan, claim

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="it limits memory as Linux counts it"),
    pytest.mark.filterwarnings("ignore"),
]
SECONDS = 5  # of the processor, that a mutant may take
PATIENCE = 120  # seconds, until it hangs
ROOM = 1_000_000_000  # bytes that may be asked for beyond what the process has
COMMANDS = 100  # one mutant in so many is read by the real command too, and at least LEAST are
LEAST = 1
RECORDS = Path(__file__).parent.parent / "golden_records"
Mutation = Callable[[bytearray, random.Random], None]


class Unending(BaseException):
    """A mutant took too long."""


# What changes


def place_in(content: bytearray, chance: random.Random) -> int:
    """A place, every other time near the beginning, where headers are."""
    return chance.randrange(min(len(content), 400) if chance.random() < 0.5 else len(content)) if content else 0


def flip_bits(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 1, 8))):
        if content:
            content[place_in(content, chance)] ^= 1 << chance.randrange(8)


def set_bytes(content: bytearray, chance: random.Random) -> None:
    start, count = place_in(content, chance), chance.choice((1, 4, 64))
    content[start : start + count] = bytes([chance.choice((0, 255))]) * len(content[start : start + count])


def cut(content: bytearray, chance: random.Random) -> None:
    del content[place_in(content, chance) :]


def grow(content: bytearray, chance: random.Random) -> None:
    content += chance.choice((bytes(64), b"\xff" * 64, chance.randbytes(chance.randint(1, 4096)), b"}\n", b"\n"))


def block_of(content: bytearray, chance: random.Random) -> slice:
    start = place_in(content, chance)
    return slice(start, start + chance.randint(1, max(1, min(512, len(content) // 3))))


def swap_blocks(content: bytearray, chance: random.Random) -> None:
    first, second = block_of(content, chance), block_of(content, chance)
    moved = content[first]
    content[first] = content[second]
    content[second] = moved


def drop_block(content: bytearray, chance: random.Random) -> None:
    del content[block_of(content, chance)]


def double_block(content: bytearray, chance: random.Random) -> None:
    block = block_of(content, chance)
    content[block.start : block.start] = content[block]


def change_number(content: bytearray, chance: random.Random) -> None:
    """Put another number where digits stand, or the largest one in place of four bytes."""
    numbers = list(re.finditer(rb"\d+", content[:100_000]))
    if numbers and chance.random() < 0.7:
        found = chance.choice(numbers)
        content[found.start() : found.end()] = chance.choice(
            (b"9" * chance.choice((5, 19, 40, 400, 5000)), b"-1", b"0", b"1e999", b"NaN", b"1.5", b"007", b"0x10")
        )
    else:
        start = place_in(content, chance)
        content[start : start + 4] = chance.choice((b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\1\0", b"\0\1\0\0"))


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, set_bytes, cut, grow, swap_blocks, drop_block, double_block, change_number,
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    [], {}, True, False, 0, -1, 1.5, float("nan"), float("inf"), -float("inf"), 10**12, 2**63, 10**30, 10**400, "",
    "x" * 1000, "\0", "\x1b[2J", "../../x", "\ud800", "²", [[[[[]]]]], [1, "a", {}], {"a": {"b": []}},
)  # fmt: skip


def nodes_of(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a document with each of its keys."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [pair for key in keys for pair in [(value, key), *nodes_of(value[key])]]


def restructure(document: Any, chance: random.Random, values: tuple[Any, ...]) -> Any:
    """Replace, remove, wrap or exchange one value of a document."""
    nodes = nodes_of(document)
    if not nodes or chance.random() < 0.05:
        return chance.choice(values)
    holder, key = chance.choice(nodes)
    kind = chance.randrange(5)
    if kind == 0:
        del holder[key]
    elif kind == 1:
        holder[key] = chance.choice(([holder[key]], {"a": holder[key]}, [holder[key], holder[key]]))
    elif kind == 2:
        other, name = chance.choice(nodes)
        holder[key] = json.loads(json.dumps(other[name], default=str))
    elif kind == 3 and isinstance(holder, dict):
        holder["surprise"] = chance.choice(values)
    else:
        holder[key] = chance.choice(values)
    return document


def restructured_json(content: bytes, chance: random.Random) -> bytes:
    if chance.random() < 0.05:
        return b'{"a": ' + b"[" * chance.choice((100, 100_000))
    return json.dumps(restructure(json.loads(content), chance, (*VALUES, None))).encode()


def restructured_lines(content: bytes, chance: random.Random) -> bytes:
    lines = content.splitlines(keepends=True)
    number = chance.randrange(len(lines))
    lines[number] = restructured_json(lines[number], chance) + b"\n"
    return b"".join(lines)


def restructured_toml(content: bytes, chance: random.Random) -> bytes:
    document = restructure(tomllib.loads(content.decode()), chance, VALUES)
    return tomli_w.dumps(document if isinstance(document, dict) else {"a": document}).encode(errors="surrogatepass")


STRUCTURES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "json": restructured_json, "lines": restructured_lines, "toml": restructured_toml,
}  # fmt: skip


# What is read


def as_it_is(mutant: bytes, root: Path) -> bytes:
    return mutant


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file: where it lies in `root`, what is mutated and then finished, how it is read, by which command."""

    root: Path
    place: str
    content: bytes
    read: Callable[[], object]  # what it holds, as a value that can be compared
    command: tuple[str, ...] = ()
    form: str = "bytes"
    vouched: bool = True  # by a checksum: no mutant has another content
    finish: Callable[[bytes, Path], bytes] = as_it_is

    def mutant(self, chance: random.Random) -> bytes:
        structure = STRUCTURES.get(self.form)
        if structure is not None and chance.random() < 0.5:
            return structure(self.content, chance)
        changed = bytearray(self.content)
        for _ in range(chance.choice((1, 1, 2))):
            chance.choice(MUTATIONS)(changed, chance)
        return bytes(changed)

    def put(self, mutant: bytes, root: Path) -> None:
        (root / self.place).write_bytes(self.finish(mutant, root))


def digest(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(repr, parts)).encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Sources:
    """What the kinds are made of: a run of two checkpoints that vouch for its lines, and a directory of one's own."""

    trained: Path
    tmp: Path

    def run(self) -> Path:
        return Path(shutil.copytree(self.trained, self.tmp / "root" / "run")).parent

    def root(self) -> Path:
        root = self.tmp / "root"
        root.mkdir()
        return root


@pytest.fixture(scope="module")
def trained(tiny_images: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mutants")
    settings = ["train.log_every=1", "train.checkpoint_every=2"]
    run = train_tiny("cgan", images_file(place / "images.npz"), place / "run", steps=4, settings=settings)
    line = {"step": 4, "epoch": 1.0, "seconds": 1.0, "figures": {"fid": 12.5}}
    judge = {"name": "MNIST", "sha256": "0" * 64, "accuracy": 0.99}
    run.append_evaluation(EvaluationLine.model_validate({**line, "judge": judge}))
    return ganzoo.resume(run, steps=6, progress=False).path


SAMPLE = ("sample", "run", "-n", "3", "--out", "images.png")


def in_checkpoint(name: str, *, refitted: bool = False) -> Callable[[Sources], Kind]:
    def make(sources: Sources) -> Kind:
        root = sources.run()
        run = Run(root / "run")
        checkpoint = run.latest_checkpoint()
        place = str((checkpoint.path / name).relative_to(root))

        def read() -> object:
            config, state = checkpoint.config(), checkpoint.state()
            network, _, step = load_network(run)
            return digest(config.to_json(), state, step, network.state_dict())

        def fit(mutant: bytes, root: Path) -> bytes:
            manifest = root / Path(place).with_name("manifest.json")
            document = json.loads(manifest.read_bytes())
            document["sha256"][name] = hashlib.sha256(mutant).hexdigest()
            manifest.write_text(json.dumps(document))
            return mutant

        form = "json" if name.endswith(".json") else "bytes"
        content = (root / place).read_bytes()
        return Kind(
            root=root,
            place=place,
            content=content,
            read=read,
            command=SAMPLE,
            form=form,
            vouched=not refitted,
            finish=fit if refitted else as_it_is,
        )

    return make


def config(sources: Sources) -> Kind:
    root, place = sources.run(), "run/config.toml"
    run, content = Run(root / "run"), (root / "run" / "config.toml").read_bytes()
    return Kind(
        root=root,
        place=place,
        content=content,
        read=lambda: run.config.to_json(),
        command=SAMPLE,
        form="toml",
        vouched=False,
    )


def lines_of(name: str) -> Callable[[Sources], Kind]:
    def make(sources: Sources) -> Kind:
        root = sources.run()
        run = Run(root / "run")
        content = (run.path / name).read_bytes()
        count = len(content.splitlines())

        def read() -> object:  # what was appended is none of the checkpoint's concern
            return digest(*(run.metrics() if name == METRICS else run.evaluations())[:count])

        command = ("resume", "run", "--steps", "7")
        return Kind(root=root, place=f"run/{name}", content=content, read=read, command=command, form="lines")

    return make


def plan(sources: Sources) -> Kind:
    root = sources.root()
    given = Plan(runs=("nowhere",))
    claim(root / "comparison", given, "comparison")
    path = root / "comparison" / "plan.json"

    def read() -> object:
        claim(root / "comparison", given, "comparison")
        return "the same plan"

    command = ("compare", "nowhere", "--out", "comparison")
    return Kind(
        root=root, place="comparison/plan.json", content=path.read_bytes(), read=read, command=command, form="json"
    )


def results(sources: Sources) -> Kind:
    root = sources.root()
    content = (RECORDS / RESULTS).read_bytes()

    def read() -> object:
        return digest(read_results(root).to_json())

    return Kind(root=root, place=RESULTS, content=content, read=read, form="json", vouched=False)


def read_images(source: str) -> object:
    """A digest of a data set, after a look whether it is a valid one."""
    dataset = data.load(source)
    images, labels = dataset.images, dataset.labels
    assert (str(images.dtype), images.ndim, images.shape[1] in (1, 3, 4)) == ("torch.uint8", 4, True)
    assert min(images.shape) > 0
    if labels is not None:
        assert len(labels) == len(images)
        assert -1 <= int(labels.min()) <= int(labels.max()) < (dataset.num_classes or 0)
    return dataset.sha256


def own_images(place: str, content: bytes, **more: Any) -> Callable[[Sources], Kind]:
    """A file of the user's own, without a checksum of ganzoo's."""

    def make(sources: Sources) -> Kind:
        root = sources.root()
        whole = {"root": root, "place": place, "content": content, "vouched": False, **more}
        source = f"{place.partition('.')[2].removesuffix('.gz')}:"
        return Kind(read=lambda: read_images(f"{source}{root / place}"), command=("data", source + place), **whole)

    return make


def npz(*, compressed: bool, **arrays: Any) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped(member: bytes, root: Path) -> bytes:
    """An .npz of an array that was altered before it was packed: the archive's checksums fit."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("images.npy", member)
    return file.getvalue()


def packed_zip(compression: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name in ("a/1.png", "a/2.png", "b/1.png"):
            archive.writestr(name, png())
    return file.getvalue()


def packed_tar(mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name in ("a/1.png", "a/2.png", "b/1.png"):
            member = tarfile.TarInfo(name)
            member.size = len(png())
            archive.addfile(member, io.BytesIO(png()))
    return file.getvalue()


def idx() -> bytes:
    images, _ = make_images(count=12)
    return struct.pack(">4B3I", 0, 0, 8, 3, *images.shape) + images.tobytes()


def png(mode: str = "L") -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, "png", compress_level=0)
    return file.getvalue()


def with_checksums(mutant: bytes, root: Path) -> bytes:
    """A PNG whose chunks have the checksums of what is in them now."""
    made, place = bytearray(mutant), 8
    while place + 12 <= len(made):
        end = place + 8 + int.from_bytes(made[place : place + 4], "big")
        made[end : end + 4] = zlib.crc32(made[place + 4 : end]).to_bytes(4, "big") if end + 4 <= len(made) else b""
        place = end + 4
    return bytes(made)


def folder(mode: str, **more: Any) -> Callable[[Sources], Kind]:
    def make(sources: Sources) -> Kind:
        root = sources.root()
        for name in ("a", "b"):
            (root / "images" / name).mkdir(parents=True)
            (root / "images" / name / "1.png").write_bytes(png(mode))
        read = partial(read_images, f"folder:{root / 'images'}")
        command = ("data", "folder:images")
        place = "images/a/1.png"
        return Kind(root=root, place=place, content=png(mode), read=read, command=command, vouched=False, **more)

    return make


def decoded(suffix: str) -> Callable[[Sources], Kind]:
    """The cache of images that were decoded, as a compressed .npz of 1 MB has them made."""

    def make(sources: Sources) -> Kind:
        root, file = sources.root(), sources.tmp / "large.npz"
        file.write_bytes(
            npz(compressed=True, images=np.arange(20_000 * 64, dtype=np.uint32).astype(np.uint8).reshape(-1, 8, 8))
        )
        os.environ["XDG_CACHE_HOME"] = str(root)  # which the fixture `own_cache` takes back
        data.load(f"npz:{file}", memory=1)
        cache = DecodedImages((f"npz:{file}", "images.npy", None, None, "crop", "white", False), stamp_of(file.stat()))
        place = cache.path.with_suffix(suffix)

        def read() -> object:
            found = cache.find()
            if found is None:
                raise FileError("they are decoded again")
            return digest(found.shape, found.checksum(), cache.notes())

        settings = ("--set", "data.memory=1", "--steps", "1", "--dry-run")
        command = ("train", "--variant", "gan", "--dataset", f"npz:{file}", *settings)
        return Kind(
            root=root,
            place=str(place.relative_to(root)),
            content=place.read_bytes(),
            read=read,
            command=command,
            form="json" if suffix == ".json" else "bytes",
        )

    return make


def resealed(mutant: bytes, root: Path) -> bytes:
    try:
        return seal(mutant)
    except UsageError:  # the place of the digest is gone
        return mutant


def blank(content: bytes) -> bytes:
    """Sealed bytes as they were before they were sealed."""
    return re.sub(rb'("sha256":\s?")[0-9a-f]{64}', rb"\g<1>" + BLANK.encode(), content)


def judge(*, refitted: bool = False) -> Callable[[Sources], Kind]:
    def make(sources: Sources) -> Kind:
        root = sources.root()
        np.savez(root / "images.npz", images=make_images(16)[0], labels=make_images(16)[1])
        images = data.load(f"npz:{root / 'images.npz'}")
        path = root / "judge.safetensors"
        fit_judge("tiny", images, images, path, epochs=1)

        def read() -> object:
            found = read_judge(path)
            shown = found.describe(), found.class_names, found.image_shape, found.task
            return digest(*shown, found.network.state_dict()) if not refitted else digest(*shown)

        figures = ("--figures", "fid", "--n", "20", "--seeds", "1")
        command = ("evaluate", "images.npz", "--dataset", "npz:images.npz", "--judge", path.name, *figures)
        content = path.read_bytes()
        return Kind(
            root=root,
            place=path.name,
            content=blank(content) if refitted else content,
            read=read,
            command=command,
            vouched=not refitted,
            finish=resealed if refitted else as_it_is,
        )

    return make


def onnx(command: str, *, refitted: bool = False) -> Callable[[Sources], Kind]:
    def make(sources: Sources) -> Kind:
        root, content = sources.root(), sealed(CLASSES)
        path = root / "generator.onnx"

        def read() -> object:
            if refitted:  # it is looked at and not run: tests/behaviour runs such in processes of their own
                return digest(onnxfile.read(path).info)
            return digest(runtime.load(path).sample(3).tobytes())

        return Kind(
            root=root,
            place=path.name,
            content=blank(content) if refitted else content,
            read=read,
            command=(command, f"./{path.name}"),
            vouched=not refitted,
            finish=resealed if refitted else as_it_is,
        )

    return make


IMAGES, LABELS = make_images(count=12)
KINDS: dict[str, Callable[[Sources], Kind]] = {
    "checkpoint tensors": in_checkpoint("ema.safetensors"),
    "checkpoint tensors, refitted": in_checkpoint("ema.safetensors", refitted=True),
    "manifest.json": in_checkpoint("manifest.json"),
    "state.json": in_checkpoint("state.json"),
    "state.json, refitted": in_checkpoint("state.json", refitted=True),
    "config.toml": config,
    METRICS: lines_of(METRICS),
    EVALUATIONS: lines_of(EVALUATIONS),
    "plan of a comparison": plan,
    "results of a comparison": results,
    "IDX": own_images("a.idx", idx()),
    "IDX in gzip": own_images("a.idx.gz", gzip.compress(idx())),
    "IDX in gzip, refitted": own_images("a.idx.gz", idx(), finish=lambda mutant, root: gzip.compress(mutant, 1)),
    "npz, images and labels": own_images("a.npz", npz(compressed=False, images=IMAGES, labels=LABELS)),
    "npz, images and labels, compressed": own_images("a.npz", npz(compressed=True, images=IMAGES, labels=LABELS)),
    "npz, x_train and y_train": own_images("a.npz", npz(compressed=False, x_train=IMAGES, y_train=LABELS)),
    "npz, x_train and y_train, compressed": own_images("a.npz", npz(compressed=True, x_train=IMAGES, y_train=LABELS)),
    "npz, one array": own_images("a.npz", npz(compressed=False, arr_0=IMAGES)),
    "npz, one array, compressed": own_images("a.npz", npz(compressed=True, arr_0=IMAGES)),
    "npz, refitted": own_images("a.npz", npy(IMAGES), finish=zipped),
    "npy": own_images("a.npy", npy(IMAGES)),
    "zip of images": own_images("a.zip", packed_zip(zipfile.ZIP_STORED)),
    "zip of images, compressed": own_images("a.zip", packed_zip(zipfile.ZIP_DEFLATED)),
    **{
        f"tar of images, {mode or 'plain'}": own_images("a.tar", packed_tar(f"w:{mode}"))
        for mode in ("", "gz", "bz2", "xz")
    },
    "PNG": folder("L"),
    "PNG, refitted": folder("RGBA", finish=with_checksums),
    "decoded images": decoded(".npy"),
    "decoded images' notes": decoded(".json"),
    "judge": judge(),
    "judge, refitted": judge(refitted=True),
    "ONNX": onnx("sample"),
    "ONNX, refitted": onnx("info", refitted=True),
}


# How it ends


@contextmanager
def limits() -> Iterator[None]:
    """Within, nothing takes more room than ROOM, and nothing runs for ever."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)

    def stop(number: int, frame: object) -> None:
        raise Unending(f"longer than {SECONDS} s of the processor, or {PATIENCE} s")

    handlers = {number: signal.signal(number, stop) for number in (signal.SIGALRM, signal.SIGPROF)}
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def soon() -> Iterator[None]:
    timers = {signal.ITIMER_REAL: PATIENCE, signal.ITIMER_PROF: SECONDS}
    for timer, seconds in timers.items():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer in timers:
            signal.setitimer(timer, 0)


def assert_read_or_refused(kind: Kind, before: object) -> bool:
    """Read a mutant; return whether it was refused."""
    try:
        with soon():
            found = kind.read()
    except GanzooError as error:
        message = str(error)
        assert message, "an error that says nothing"
        assert message.count("\n") == 0, f"an error of several lines: {message!r}"
        return True
    except (Exception, Unending) as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    assert found == before or not kind.vouched, "it was read with another content"
    return False


def assert_command_ends(kind: Kind, mutant: bytes, directory: Path) -> None:
    shutil.copytree(kind.root, directory)
    kind.put(mutant, directory)
    command = begin(directory, *kind.command, variables={"XDG_CACHE_HOME": str(directory)})
    code, lines = command.wait(), command.err.splitlines()
    try:
        errors = [line for line in lines if line.startswith("ganzoo: ")]
        assert code in (0, 2, 3, 4), f"exit code {code}: {command.err[-1000:]}"
        assert "Traceback" not in command.err
        assert len(errors) == (code != 0), f"errors: {errors}"
    finally:
        shutil.rmtree(directory)


def read_mutants(kind: Kind, name: str, count: int, tally: Tally) -> int:
    """Read so many mutants in this process; return how many were refused."""
    kind.put(kind.content, kind.root)
    before, refused = kind.read(), 0
    assert kind.read() == before, "its content can be compared"
    with limits():
        for number in range(count):
            mutant = kind.mutant(random.Random(f"{name} {number}"))
            with tally.case(f"mutant {number}"):
                kind.put(mutant, kind.root)
                refused += assert_read_or_refused(kind, before)
    kind.put(kind.content, kind.root)
    return refused


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder("images").is_relative_to(tmp_path)


@short_and_long(20, 10_000)
@pytest.mark.parametrize("name", KINDS)
def test_mutants_are_read_as_before_or_refused(
    name: str,
    count: int,
    trained: Path,
    tmp_path: Path,
    own_cache: None,
    record_property: Callable[[str, object], None],
) -> None:
    kind = KINDS[name](Sources(trained, tmp_path))
    with tallied(f"mutants of {name}", record_property) as tally:
        assert read_mutants(kind, name, count, tally), "no mutant at all was refused"
        for number in range(max(LEAST, count // COMMANDS) if kind.command else 0):
            mutant = kind.mutant(random.Random(f"{name} {number}"))
            with tally.case(f"mutant {number} by the command"):
                assert_command_ends(kind, mutant, tmp_path / "commands" / str(number))
