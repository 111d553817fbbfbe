"""Data sets that are larger than the memory allowed: the same images, in an order of their own, read in blocks."""

import math
import os
import shutil
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import bits_of, environment, train_tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import ganzoo
from ganzoo import data
from ganzoo.data.mapped import DecodedImages, ImageFile, Mapped, cache_folder, stamp_of
from ganzoo.data.memory import allowed_memory, group_limits
from ganzoo.data.windows import Windows
from ganzoo.errors import FileError, MachineError, UsageError
from ganzoo.evaluation import reference
from ganzoo.sealing import write_sealed
from ganzoo.training.prepare import configure, lost_exactness, prepare, recipe

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20_000, 8, 8), dtype=np.uint8)  # 1.28 MB, where 1 MB is allowed
RGB = RNG.integers(0, 256, (6_000, 8, 9, 3), dtype=np.uint8)
LABELS = np.arange(20_000) % 3


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder("images")


def write_npz(path: Path, *, compressed: bool = False, **arrays: NDArray[Any]) -> str:
    (np.savez_compressed if compressed else np.savez)(path, **arrays)  # type: ignore[arg-type]
    return f"npz:{path}"


def both(source: str, **options: Any) -> tuple[data.Dataset, data.Dataset]:
    """The set as it is loaded into memory, and as it is mapped."""
    with warnings.catch_warnings(action="ignore"):  # that it is decoded
        resident, mapped = data.load(source, **options), data.load(source, memory=1, **options)
    assert resident.mapped is None
    assert mapped.mapped is not None
    return resident, mapped


def assert_same(resident: data.Dataset, mapped: data.Dataset) -> None:
    assert mapped.sha256 == resident.sha256
    assert torch.equal(mapped.images, resident.images)
    for name in ("num_classes", "class_names", "source"):
        assert getattr(mapped, name) == getattr(resident, name)
    assert (resident.labels is None) == (mapped.labels is None)
    if resident.labels is not None and mapped.labels is not None:
        assert torch.equal(mapped.labels, resident.labels)


# The same images


@pytest.mark.parametrize("images", [GREY, GREY[..., None], RGB], ids=["grey", "one-channel", "rgb"])
def test_an_uncompressed_npz_is_mapped_where_it_lies(tmp_path: Path, cache: Path, images: NDArray[np.uint8]) -> None:
    source = write_npz(tmp_path / "a.npz", labels=LABELS[: len(images)], images=images)
    resident, mapped = both(source)
    assert_same(resident, mapped)
    assert mapped.mapped is not None
    assert mapped.mapped.file.path == (tmp_path / "a.npz").resolve()
    assert mapped.note == f"{images.nbytes / 1e6:.0f} MB of images exceed the memory budget of 1 MB (data.memory): " + (
        "they stay on disk"
    )
    assert resident.note is None
    assert not cache.exists()


@pytest.mark.parametrize(
    ("images", "compressed", "options"),
    [
        (GREY, True, {}),
        (RGB, True, {}),
        (GREY, False, {"channels": 3}),
        (RGB, True, {"channels": 1, "image_size": 16}),
        (RGB, False, {"image_size": 8}),
        (GREY[:9_000], False, {"image_size": 12}),  # it fits until it is made to fit
    ],
)
def test_other_npz_are_decoded_once(
    tmp_path: Path, cache: Path, images: NDArray[np.uint8], compressed: bool, options: dict[str, Any]
) -> None:
    source = write_npz(tmp_path / "a.npz", images=images, compressed=compressed)
    resident, mapped = both(source, **options)
    assert_same(resident, mapped)
    assert mapped.mapped is not None
    assert [mapped.mapped.file.path] == list(cache.glob("*.npy"))
    np.testing.assert_array_equal(np.load(mapped.mapped.file.path), resident.images.numpy())


def test_what_fits_once_it_is_decoded_is_in_memory(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "a.npz", images=GREY)
    with pytest.warns(UserWarning, match=r"decoded once, into .*\.npy"):
        small = data.load(source, memory=1, image_size=4)
    assert small.mapped is None
    assert small.sha256 == data.load(source, image_size=4).sha256


def save_folder(root: Path, count: int, side: int = 64) -> str:
    """A folder of three classes, sorted as folders are."""
    for index in range(count):
        place = root / f"class {index * 3 // count}" / f"{index:04}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (side, side), dtype=np.uint8)
        Image.fromarray(pixels).save(place, compress_level=1)
    return f"folder:{root}"


@pytest.mark.parametrize("options", [{}, {"image_size": 50, "channels": 3}])
def test_a_folder_is_decoded_once(tmp_path: Path, cache: Path, options: dict[str, Any]) -> None:
    source = save_folder(tmp_path / "a", 260)
    assert_same(*both(source, **options))
    (kept,) = cache.glob("*.npy")
    before = kept.stat()
    with warnings.catch_warnings(action="error"):  # nothing is decoded
        again = data.load(source, memory=1, **options)
    assert (again.mapped is not None, kept.stat().st_mtime_ns) == (True, before.st_mtime_ns)
    assert data.load(source, memory=100, **options).mapped is None  # from the cache, into memory
    assert data.load(source, memory=100, **options).sha256 == again.sha256


# Files that are not what they should be


def large_npz(path: Path, **options: Any) -> bytearray:
    write_npz(path, images=GREY, labels=LABELS, **options)
    return bytearray(path.read_bytes())


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_npz_is_refused(tmp_path: Path, cache: Path, compressed: bool) -> None:
    path = tmp_path / "a.npz"
    whole = large_npz(path, compressed=compressed)
    damaged = [whole[: len(whole) - 1], whole[: len(whole) // 2]]
    for place in (300, len(whole) // 2):
        flipped = bytearray(whole)
        flipped[place] ^= 4
        damaged.append(flipped)
    for content in damaged:
        path.write_bytes(content)
        with warnings.catch_warnings(action="ignore"), pytest.raises(FileError, match=r"a\.npz"):
            data.load(f"npz:{path}", memory=1)
        assert not list(cache.glob("*.npy")) + list(cache.glob("*.tmp"))


def test_a_flipped_bit_in_mapped_images_is_found_by_the_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    content = large_npz(path)
    content[content.index(GREY[10_000].tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(FileError, match="CRC-32"):
        data.load(f"npz:{path}", memory=1)


def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    content = large_npz(path)
    for claim in (b"(90000, 8, 8)", b"(20001, 8, 8)", b"(19999, 8, 8)", b"(9**9**9,8,8)", b"(-2000,-8, 8)"):
        path.write_bytes(content.replace(b"(20000, 8, 8)", claim))
        with pytest.raises(FileError, match=r"a\.npz"):
            data.load(f"npz:{path}", memory=1)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (GREY.astype(np.float32), "float32"),
        (np.asfortranarray(GREY), "ascontiguousarray"),
        (GREY.reshape(20_000, 4, 8, 2), "C 1, 3 or 4"),
        (GREY.reshape(-1, 64), r"\[N, H, W\]"),
    ],
)
def test_large_images_of_another_form_are_refused(tmp_path: Path, images: NDArray[Any], message: str) -> None:
    source = write_npz(tmp_path / "a.npz", images=images)
    with pytest.raises(FileError, match=message):
        data.load(source, memory=1)


@pytest.mark.parametrize("labels", [LABELS[:5], LABELS - 2, np.zeros((20_000, 2), int), np.array([None] * 20_000)])
def test_labels_are_checked_as_ever(tmp_path: Path, labels: NDArray[Any]) -> None:
    source = write_npz(tmp_path / "a.npz", images=GREY, labels=labels)
    with pytest.raises(FileError, match=r"a\.npz"):
        data.load(source, memory=1)


def test_a_folder_with_broken_images_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    source = save_folder(tmp_path / "a", 260)
    for name in ("class 1/0100.png", "class 2/0250.png"):
        (tmp_path / "a" / name).write_bytes(b"no image")
    with warnings.catch_warnings(action="ignore"), pytest.raises(FileError, match=r"2 of 260 images.*0100.*0250"):
        data.load(source, memory=1)
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / "a" / "class 1" / "0100.png")
    (tmp_path / "a" / "class 2" / "0250.png").unlink()
    with warnings.catch_warnings(action="ignore"), pytest.raises(UsageError, match="differ in size"):
        data.load(source, memory=1)
    assert not list(cache.glob("*.npy")) + list(cache.glob("*.tmp"))


# The cache


@pytest.mark.filterwarnings("ignore:.*does not fit into memory")
@pytest.mark.parametrize("place", [0.2, 0.5, 0.999])
@pytest.mark.parametrize("keeps_time", [False, True])
def test_a_flipped_byte_in_the_cache_is_found_and_healed(
    place: float, keeps_time: bool, tmp_path: Path, cache: Path
) -> None:
    source = write_npz(tmp_path / "a.npz", images=GREY, compressed=True)
    first = both(source)[1]
    (kept,) = cache.glob("*.npy")
    times = kept.stat()
    content = bytearray(kept.read_bytes())
    content[int(place * len(content))] ^= 1
    kept.write_bytes(content)
    if keeps_time:  # as a disk does it
        os.utime(kept, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.warns(UserWarning, match=r"\.npy is damaged: decoding the images again"):
        healed = data.load(source, memory=1)
    assert healed.sha256 == first.sha256
    with warnings.catch_warnings(action="error"):
        assert_same(data.load(source, memory=100), data.load(source, memory=1))


def test_a_changed_source_is_decoded_anew(tmp_path: Path, cache: Path) -> None:
    source = write_npz(tmp_path / "a.npz", images=GREY, compressed=True)
    first = both(source)[1]
    (kept,) = cache.glob("*.npy")
    write_npz(tmp_path / "a.npz", images=GREY[::-1], compressed=True)
    assert_same(*both(source))
    (instead,) = cache.glob("*.npy")  # the former version is gone
    assert instead != kept
    assert data.load(source, memory=1).sha256 != first.sha256

    folder = save_folder(tmp_path / "b", 260)
    before = both(folder)[1].sha256
    (tmp_path / "b" / "class 0" / "0000.png").rename(tmp_path / "b" / "class 0" / "9999.png")
    assert both(folder)[1].sha256 != before
    assert len(list(cache.glob("*.npy"))) == 2


def test_the_hash_is_kept_until_the_file_changes(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "a.npz", images=GREY)
    resident, mapped = both(source)
    (kept,) = cache_folder("hashes").iterdir()
    whole = kept.read_text()
    kept.write_text(whole.replace(mapped.sha256, "0" * 64))
    assert data.load(source, memory=1).sha256 == mapped.sha256  # what was altered is not believed
    assert kept.read_text() == whole
    write_sealed(kept, {"images": "kept"})
    assert data.load(source, memory=1).sha256 == "kept"
    kept.write_text("no json")
    assert data.load(source, memory=1).sha256 == resident.sha256
    os.utime(tmp_path / "a.npz", ns=(0, 0))
    assert data.load(source, memory=1).sha256 == resident.sha256
    assert len(list(cache_folder("hashes").iterdir())) == 2


def test_labels_are_part_of_the_hash(tmp_path: Path) -> None:
    source = save_folder(tmp_path / "a", 260)
    before = both(source)[1]
    (tmp_path / "a" / "class 1").rename(tmp_path / "a" / "class 9")  # the same images, and other labels
    after = both(source)[1]
    assert after.labels is not None
    assert after.sha256 != before.sha256


def test_partial_files_are_never_used(cache: Path) -> None:
    decoded = DecodedImages(("source",), ("state",))
    images = GREY[:100, None]

    def broken() -> Iterator[NDArray[np.uint8]]:
        yield images[:50]
        raise FileError("the rest cannot be read")

    with pytest.raises(FileError, match="the rest"):
        decoded.make((100, 1, 8, 8), broken())
    assert not list(cache.glob("*.npy")) + list(cache.glob("*.tmp"))
    (cache / ".ganzoo-0123.tmp").write_bytes(b"of a process that was killed")
    decoded.path.write_bytes(b"\x93NUMPY")
    assert decoded.find() is None
    made = decoded.make((100, 1, 8, 8), iter([images[:50], images[50], images[51:]]))
    assert torch.equal(made.images(), torch.from_numpy(images))
    assert not list(cache.glob("*.tmp"))
    decoded.path.write_bytes(decoded.path.read_bytes()[:-1])
    assert decoded.find() is None
    with pytest.raises(MachineError, match="is not what was written"):  # fewer than were said to come
        decoded.make((100, 1, 8, 8), iter([images[:50]]))


def test_a_disk_without_room_is_said_first(cache: Path) -> None:
    with pytest.raises(MachineError, match=r"1,000,000,000 MB of images.*free some space"):
        DecodedImages(("source",), ("state",)).make((10**9, 1, 1000, 1000), iter(()))
    assert not list(cache.glob("*.npy"))


@pytest.mark.skipif(os.name == "nt", reason="permissions")
def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert_same(*both(write_npz(tmp_path / "a.npz", images=GREY)))  # nothing but a hash to keep
    with pytest.raises(MachineError, match="cannot write"), warnings.catch_warnings(action="ignore"):
        data.load(write_npz(tmp_path / "b.npz", images=GREY, compressed=True), memory=1)


# The order


SIDE, MANY = 32, 2000


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> ImageFile:
    """Images that hold their number in their first two pixels; they are sorted by label."""
    path = tmp_path_factory.mktemp("numbered") / "images"
    images = np.zeros((MANY, 1, SIDE, SIDE), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(MANY) % 256, np.arange(MANY) // 256
    path.write_bytes(b"header" + images.tobytes())
    return ImageFile(path=path, offset=6, shape=(MANY, 1, SIDE, SIDE), stamp=stamp_of(path.stat()))


def loader(file: ImageFile, count: int, batch_size: int, seed: int) -> data.Loader:
    """Of the first images of a file; 1 MB is allowed, so that a window has 81 blocks of 3 images."""
    part = ImageFile(path=file.path, offset=file.offset, shape=(count, *file.shape[1:]), stamp=file.stamp)
    dataset = data.Dataset(
        images=part.images(),
        mapped=Mapped(file=part, memory=1, sha256=""),
        labels=torch.arange(count),
        num_classes=count,
        source="numbered",
    )
    return data.Loader(dataset, batch_size, "cpu", seed)


def numbers(batch: tuple[torch.Tensor, torch.Tensor | None]) -> list[int]:
    images, labels = batch
    assert labels is not None
    assert images.shape[1:] == (1, SIDE, SIDE)
    pixels = ((images[:, 0, 0, :2] + 1) * 127.5).round().long()
    assert torch.equal(pixels[:, 0] + 256 * pixels[:, 1], labels)
    return labels.tolist()


sizes = st.integers(1, MANY).flatmap(lambda count: st.tuples(st.just(count), st.integers(max(1, count // 40), count)))


@pytest.mark.slow
@settings(max_examples=30)
@given(size=sizes, seed=st.integers(0, 2**63), epoch=st.integers(0, 10**6))
def test_an_epoch_shows_every_image_once(numbered: ImageFile, size: tuple[int, int], seed: int, epoch: int) -> None:
    count, batch_size = size
    made = loader(numbered, count, batch_size, seed)
    start = epoch * made.batches_per_epoch
    seen = [n for update in range(made.batches_per_epoch) for n in numbers(made.batch(start + update))]
    assert len(seen) == len(set(seen)) == count - count % batch_size


@pytest.mark.slow
@settings(max_examples=20)
@given(size=sizes, seed=st.integers(0, 2**63), updates=st.lists(st.integers(0, 100), min_size=1, max_size=6))
def test_a_batch_depends_on_seed_and_update_alone(
    numbered: ImageFile, size: tuple[int, int], seed: int, updates: list[int]
) -> None:
    made = loader(numbered, *size, seed)
    for update in updates:
        assert numbers(made.batch(update)) == numbers(loader(numbered, *size, seed).batch(update))


def test_sequence_and_random_access_agree(numbered: ImageFile) -> None:
    made = loader(numbered, MANY, 64, 0)
    forwards = [numbers(made.batch(update)) for update in range(3 * made.batches_per_epoch)]
    backwards = [numbers(made.batch(update)) for update in reversed(range(3 * made.batches_per_epoch))]
    assert forwards == backwards[::-1]
    assert len({tuple(forwards[epoch * made.batches_per_epoch]) for epoch in range(3)}) == 3
    assert numbers(loader(numbered, MANY, 64, 1).batch(0)) != forwards[0]


def test_every_image_is_dropped_at_times(numbered: ImageFile) -> None:
    made = loader(numbered, 700, 300, 0)
    seen = {n for update in range(40 * made.batches_per_epoch) for n in numbers(made.batch(update))}
    assert len(seen) == 700


def test_a_window_is_drawn_from_everywhere(numbered: ImageFile) -> None:
    """Where the images are sorted by class, as in folders, a batch still has all classes in about their share."""
    windows = Windows(Mapped(file=numbered, memory=1, sha256=""), seed=0)
    rows = windows.take(0, 0, 243)[1]
    shares = torch.bincount(rows * 10 // MANY, minlength=10) / 243
    assert (shares > 0.03).all()
    assert (shares < 0.2).all()
    neighbours = (rows[1:] - rows[:-1]).abs() == 1
    assert neighbours.double().mean() < 0.05  # blocks do not stay together


@pytest.mark.parametrize("shown", [None, torch.tensor([0, 6, 19_999])])
def test_labelled_batches_are_those_of_images_in_memory(tmp_path: Path, shown: torch.Tensor | None) -> None:
    source = write_npz(tmp_path / "a.npz", images=GREY, labels=LABELS)
    resident, mapped = (data.Loader(made, 16, "cpu", 3, slice(4, 8), shown) for made in both(source))
    for update in (0, 1, 10**6):
        for one, same in zip(resident.labelled_batch(update), mapped.labelled_batch(update), strict=True):
            assert torch.equal(one, same)
    with (tmp_path / "a.npz").open("r+b") as file:
        file.truncate(900_000)
    with pytest.raises(FileError, match="was changed while"):
        mapped.labelled_batch(2)


def test_the_same_labels_are_hidden_in_memory_and_mapped(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "a.npz", images=GREY, labels=LABELS)
    config = configure("gan", source, steps=1, labels_per_class=7)
    resident, mapped = (prepare(config.with_data(memory=memory)) for memory in (None, 1))
    assert (resident.dataset.mapped, mapped.labels_note) == (None, resident.labels_note)
    assert mapped.dataset.mapped is not None
    note = "labels: 7 of each class (21 of 20,000); the other images count as unlabelled"
    assert mapped.labels_note == f"{note}; no term of this variant uses labels"
    shown, same = resident.loader.labelled, mapped.loader.labelled
    assert shown is not None
    assert same is not None
    assert torch.equal(shown, same)
    labels = mapped.dataset.labels  # what it is evaluated with
    assert labels is not None
    assert labels.bincount().tolist() == np.bincount(LABELS).tolist()


def test_images_are_channel_first_and_contiguous(tmp_path: Path) -> None:
    mapped = both(write_npz(tmp_path / "a.npz", images=RGB))[1]
    images, labels = data.Loader(mapped, 5, "cpu", 0).batch(0)
    assert (images.shape, images.is_contiguous(), labels) == ((5, 3, 8, 9), True, None)
    given_ = {row.tobytes() for row in RGB}
    found = (images.permute(0, 2, 3, 1) * 127.5 + 127.5).round().to(torch.uint8)
    assert all(row.numpy().tobytes() in given_ for row in found.contiguous())
    labelled = write_npz(tmp_path / "b.npz", images=RGB, labels=np.arange(6_000))
    images, labels = data.Loader(both(labelled)[1], 5, "cpu", 0).labelled_batch(0)
    assert (images.shape, images.is_contiguous()) == ((5, 3, 8, 9), True)
    found = (images.permute(0, 2, 3, 1) * 127.5 + 127.5).round().to(torch.uint8)
    assert np.array_equal(found.numpy(), RGB[labels.numpy()])


def test_a_file_that_changes_meanwhile_is_an_error(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "a.npz", images=GREY)
    made = data.Loader(both(source)[1], 64, "cpu", 0)
    made.batch(0)
    with (tmp_path / "a.npz").open("r+b") as file:
        file.truncate(900_000)
    with pytest.raises(FileError, match="was changed while"):
        made.batch(made.batches_per_epoch - 1)
    (tmp_path / "a.npz").unlink()
    with pytest.raises(FileError, match="cannot be read any more"):
        data.Loader(made_again(made), 64, "cpu", 0)


def made_again(made: data.Loader) -> data.Dataset:
    """The data set that a loader was made of."""
    assert isinstance(made._images, Windows)
    file = made._images._file
    return data.Dataset(
        images=torch.zeros(file.shape, dtype=torch.uint8), mapped=Mapped(file=file, memory=1, sha256=""), source="x"
    )


# Training


def train_mapped(source: str, out: Path, variant: str = "gan", **options: Any) -> ganzoo.Run:
    """Ten steps are an epoch and a half, through two thirds of the windows."""
    events = ["train.log_every=3", "train.checkpoint_every=4", "train.sample_epochs=[1]", "data.memory=1"]
    return train_tiny(variant, source, out, settings=events, batch_size=3000, **options)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["gan", "cgan"])
def test_a_resumed_run_is_bit_equal(tmp_path: Path, variant: str) -> None:
    source = write_npz(tmp_path / "a.npz", images=GREY, labels=LABELS, compressed=variant == "cgan")
    with warnings.catch_warnings(action="ignore"):
        whole = train_mapped(source, tmp_path / "whole", variant, steps=10)
    shutil.rmtree(cache_folder("images"), ignore_errors=True)  # decoded again, the images are the same
    with warnings.catch_warnings(action="ignore"):
        run = train_mapped(source, tmp_path / "run", variant, steps=4)
    ganzoo.resume(run, steps=7, progress=False)
    ganzoo.resume(run, steps=10, progress=False)
    assert bits_of(run) == bits_of(whole)
    assert run.config.data.memory == 1


def test_it_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_npz(tmp_path / "a.npz", images=GREY)
    run = train_mapped(source, tmp_path / "run", steps=1, progress=True)
    said = capsys.readouterr().err
    assert said.count("1 MB of images exceed the memory budget of 1 MB (data.memory): they stay on disk") == 1
    assert str(tmp_path) not in str(run.config.facts.note)


def test_a_run_whose_images_no_longer_fit_is_no_longer_exact(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "a.npz", images=GREY)
    run = train_tiny("gan", source, tmp_path / "run", steps=1)
    assert run.config.data.memory is None
    mapped = prepare(run.config.with_data(memory=1), resumed=True)
    (line,) = lost_exactness(run, mapped, 1)
    assert "changes their order" in line
    assert lost_exactness(run, prepare(run.config, resumed=True), 1) == []
    assert recipe(mapped.config) == recipe(run.config)  # repetitions, though memory was short on one of the days


def test_evaluation_looks_at_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resident, mapped = both(write_npz(tmp_path / "a.npz", images=GREY, labels=LABELS))
    assert "sample" not in str(reference.hold_out(mapped).note)
    monkeypatch.setattr(reference, "SAMPLE_BYTES", 64_000)
    splits, again = (reference.hold_out(mapped) for _ in range(2))
    assert (len(splits.train), len(splits.test), splits.sha256) == (800, 200, resident.sha256)
    assert splits.train.mapped is None
    assert (splits.train.sha256, splits.test.sha256) == (again.train.sha256, again.test.sha256)
    assert f"of its 20,000 images a fixed sample of {len(splits.seen):,} is used" in str(splits.note)
    assert reference.hold_out(resident).train.sha256 == splits.train.sha256  # whatever the machine
    rows = {image.numpy().tobytes() for image in splits.seen}
    assert len(rows) == 1000
    assert rows <= {image.tobytes() for image in GREY}


def test_made_to_fit_it_is_in_memory(tmp_path: Path) -> None:
    resident, mapped = both(write_npz(tmp_path / "a.npz", images=GREY))
    assert data.fit(mapped, 8, 1) is mapped
    small = data.fit(mapped, 4, None)
    assert (small.mapped, small.sha256) == (None, data.fit(resident, 4, None).sha256)
    with pytest.raises(UsageError, match="mapped=None"):
        data.Dataset(images=small.images, mapped=mapped.mapped, source="x")


SCRIPT = """
import sys
import torch
from ganzoo import data

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1000

data.Loader(data.from_arrays(torch.zeros(64, 1, 8, 8, dtype=torch.uint8)), 64, "cpu", 0).batch(0)
before = peak()
loader = data.Loader(data.load(sys.argv[1], memory=20), 64, "cpu", 0)
for update in range(loader.batches_per_epoch):
    loader.batch(update)
print(loader.batches_per_epoch, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")
def test_memory_stays_bounded(tmp_path: Path) -> None:
    """200 MB of images are hashed and gone through where 20 MB are allowed."""
    count, side = 50_000, 64
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
    header += repr({"descr": "|u1", "fortran_order": False, "shape": (count, side, side)}).encode().ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("images.npy", "w") as file:
        file.write(header)
        for _ in range(count // 1000):
            file.write(bytes(1000 * side * side))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, f"npz:{tmp_path / 'a.npz'}"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    batches, grown = done.stdout.split()
    assert int(batches) == count // 64
    assert float(grown) < 60  # MB: the windows, labels, buffers and what importing left open


# How much memory is allowed


def test_what_is_allowed() -> None:
    assert allowed_memory(7) == 7
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else math.inf
    assert 1 <= allowed_memory(None) <= free / 2e6


@pytest.mark.parametrize(
    ("groups", "files", "limits"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "500", "a/memory.max": "max", "memory.max": "900"}, [500, 900]),
        ("0::/a/b\n", {"memory.max": "900"}, [900]),  # in a container, a group's own folder is out of sight
        ("3:cpuset:/\n4:memory:/a\n", {"memory/a/memory.limit_in_bytes": "70", "cpuset/memory.max": "1"}, [70]),
        ("4:cpu,memory:/x/y\n0::/\n", {"memory/memory.limit_in_bytes": "80", "memory.max": "90"}, [80, 90]),
        ("4:cpu:/x\n", {"memory.max": "90"}, []),
        ("", {}, []),
    ],
)
def test_control_groups_limit_memory(tmp_path: Path, groups: str, files: dict[str, str], limits: list[int]) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    assert list(group_limits(groups, tmp_path)) == limits
