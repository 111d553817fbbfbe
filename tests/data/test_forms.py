"""Every form that people have images in: each reads as the same images, or is refused for what it is."""

import gzip
import io
import json
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ganzoo import data
from ganzoo.data.arrays import sort_names
from ganzoo.data.idx import read_idx
from ganzoo.data.mapped import cache_folder
from ganzoo.errors import FileError, GanzooError, UsageError
from ganzoo.evaluation.reference import load_splits

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 4, 4), dtype=np.uint8)
GREY[0, 0, :2] = 0, 255
RGB = RNG.integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3
SAME, COLOURED = data.from_arrays(GREY, LABELS), data.from_arrays(RGB, LABELS)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


# Arrays


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.int32, np.int64, np.uint64])
def test_integers_of_any_width_are_taken_as_they_are(dtype: Any) -> None:
    images = (GREY // 2).astype(dtype)
    made = data.from_arrays(images, LABELS)
    np.testing.assert_array_equal(made.images[:, 0], GREY // 2)
    assert made.notes == (f"{np.dtype(dtype)} values converted to uint8 unchanged",)


def test_truth_values_are_black_and_white() -> None:
    made = data.from_arrays(GREY > 100)
    np.testing.assert_array_equal(made.images[:, 0], np.where(GREY > 100, 255, 0))


@pytest.mark.parametrize("value_range", ["0..1", "-1..1", "0..255"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_brought_back_exactly_where_their_range_is_said(value_range: str, dtype: Any) -> None:
    scale, shift = {"0..1": (1 / 255, 0), "-1..1": (1 / 127.5, -1), "0..255": (1, 0)}[value_range]
    made = data.from_arrays((GREY * scale + shift).astype(dtype), LABELS, value_range=value_range)
    assert np.abs(made.images[:, 0].numpy().astype(int) - GREY).max() <= (dtype == np.float16)
    assert made.notes == (f"{np.dtype(dtype)} values from {value_range} converted to 8 bits",)
    with pytest.raises(UsageError, match="expected values in"):
        data.from_arrays(GREY.astype(dtype) * 2 - 300, value_range=value_range)


@given(st.integers(256, 65535), st.one_of(st.none(), st.integers(9, 16)))
def test_deep_integers_have_as_many_bits_as_they_need(greatest: int, bits: int | None) -> None:
    images = np.array([[[0, greatest // 2, greatest]]])
    depth = bits or (16 if greatest > 32767 else greatest.bit_length())
    if greatest >= 2**depth:
        with pytest.raises(UsageError, match=f"expected {greatest.bit_length()} or more"):
            data.from_arrays(images, bits=bits)
        return
    made = data.from_arrays(images, bits=bits).images.flatten().tolist()
    expected = [min(255, int(value * 255 / (2**depth - 1) + 0.5)) for value in images.flatten().tolist()]
    assert made == expected


def test_channels_may_come_first() -> None:
    moved = np.ascontiguousarray(RGB.transpose(0, 3, 1, 2))
    assert data.from_arrays(moved, LABELS, channels_first=True).sha256 == COLOURED.sha256
    assert data.from_arrays(torch.from_numpy(RGB), LABELS, channels_first=False).sha256 == COLOURED.sha256


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (LABELS.astype(np.float32), None),
        (LABELS[:, None], None),
        (np.array(["ant", "bee", "cat"])[LABELS], ("ant", "bee", "cat")),
        (np.array([b"2", b"9", b"10"])[LABELS], ("2", "9", "10")),
        ([["ant", "bee", "cat"][label] for label in LABELS], ("ant", "bee", "cat")),
    ],
)
def test_labels_in_other_forms_are_the_same_labels(labels: Any, names: tuple[str, ...] | None) -> None:
    made = data.from_arrays(GREY, labels)
    assert made.labels is not None
    assert (made.labels.tolist(), made.num_classes, made.class_names) == (LABELS.tolist(), 3, names)


# Files


def keras(place: Path) -> str:
    file = place / "a.npz"
    np.savez(file, x_train=GREY, y_train=LABELS[:, None], x_test=GREY[:5], y_test=LABELS[:5])
    return str(file)


def unnamed(place: Path) -> str:
    np.savez(place / "a.npz", GREY)
    return str(place / "a.npz")


def npy(place: Path) -> str:
    np.save(place / "a.npy", GREY)
    return str(place / "a.npy")


def idx_bytes(array: Any) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return head + bytes(array.astype(np.uint8).tobytes())


def idx(place: Path) -> str:
    (place / "train-images-idx3-ubyte").write_bytes(idx_bytes(GREY))
    (place / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(LABELS)))
    (place / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(GREY[:5])))
    (place / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(LABELS[:5]))
    return str(place / "train-images-idx3-ubyte")


def csv(place: Path) -> str:
    rows = [",".join(map(str, [label, *image.reshape(-1)])) for label, image in zip(LABELS, GREY, strict=True)]
    (place / "a.csv").write_text("\n".join(["label," + ",".join(f"pixel{n}" for n in range(16)), *rows]))
    return str(place / "a.csv")


def csv_plain(place: Path) -> str:
    rows = [",".join(map(str, [*image.reshape(-1)])) for image in GREY]
    (place / "a.csv").write_text("\n".join(rows) + "\n")
    return str(place / "a.csv")


def png(image: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def packed(place: Path) -> str:
    with zipfile.ZipFile(place / "a.zip", "w") as file:
        for number, (image, label) in enumerate(zip(GREY, LABELS, strict=True)):
            file.writestr(f"pictures/{label}/{number:02d}.png", png(image))
    return str(place / "a.zip")


def tarred(place: Path) -> str:
    with tarfile.open(place / "a.tar.gz", "w:gz") as file:
        for number, (image, label) in enumerate(zip(GREY, LABELS, strict=True)):
            info = tarfile.TarInfo(f"{label}/{number:02d}.png")
            info.size = len(content := png(image))
            file.addfile(info, io.BytesIO(content))
    return str(place / "a.tar.gz")


def folder(place: Path) -> str:
    for number, (image, label) in enumerate(zip(GREY, LABELS, strict=True)):
        (place / "in" / str(label)).mkdir(parents=True, exist_ok=True)
        (place / "in" / str(label) / f"{number:02d}.png").write_bytes(png(image))
    return f"{place}/in/"


BY_CLASS = np.argsort(LABELS, kind="stable")  # as folders have them


@pytest.mark.parametrize("write", [keras, unnamed, npy, idx, csv, csv_plain, packed, tarred, folder])
def test_a_bare_path_is_understood_by_what_lies_there(tmp_path: Path, write: Any) -> None:
    made = data.load(write(tmp_path))
    order = BY_CLASS if write in (packed, tarred, folder) else slice(None)
    np.testing.assert_array_equal(made.images[:, 0], GREY[order])
    if write in (unnamed, npy, csv_plain):
        assert made.labels is None
    else:
        assert made.labels is not None
        assert made.labels.tolist() == LABELS[order].tolist()
    assert Path(made.source.partition(":")[2]).is_absolute()
    assert data.load(made.source).sha256 == made.sha256


def test_a_word_is_a_path_if_something_lies_there_and_it_names_no_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path)
    (tmp_path / "in").rename(tmp_path / "photos")
    shutil.copytree(tmp_path / "photos", tmp_path / "synthetic-digits")
    monkeypatch.chdir(tmp_path)
    assert data.load("photos").sha256 == data.load("photos/").sha256 == data.load("synthetic-digits").sha256
    (tmp_path / "photos").rename(tmp_path / "mnist-5k")
    assert len(data.load("mnist-5k")) > len(GREY)  # the name of a source stays one
    with pytest.raises(UsageError, match="no dataset 'photos'"):
        data.load("photos")


@pytest.mark.parametrize("write", [keras, idx])
def test_test_images_beside_training_images_are_a_split(tmp_path: Path, write: Any) -> None:
    test = data.load(write(tmp_path), split="test")
    np.testing.assert_array_equal(test.images[:, 0], GREY[:5])
    assert test.labels is not None
    assert test.labels.tolist() == LABELS[:5].tolist()


@pytest.mark.parametrize("write", [unnamed, npy, csv])
def test_what_has_no_split_says_so(tmp_path: Path, write: Any) -> None:
    with pytest.raises(UsageError, match="no split 'test'"):
        data.load(write(tmp_path), split="test")


def test_a_large_npy_is_mapped_where_it_lies(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (2000, 32, 32), dtype=np.uint8)
    np.save(tmp_path / "a.npy", images)
    made = data.load(f"npy:{tmp_path}/a.npy", memory=1)
    assert made.mapped is not None
    assert made.mapped.file.path == tmp_path / "a.npy"
    assert made.sha256 == data.from_arrays(images).sha256
    first = RNG.integers(0, 256, (700, 3, 32, 32), dtype=np.uint8)
    np.savez(tmp_path / "b.npz", images=first)
    mapped = data.load(f"npz:{tmp_path}/b.npz", memory=1, channels_first=True)
    assert mapped.mapped is not None
    assert mapped.sha256 == data.from_arrays(first, channels_first=True).sha256


def test_arrays_that_are_not_used_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=GREY, labels=LABELS, names=np.array(["x"]))
    assert data.load(f"{tmp_path}/a.npz").notes == ("arrays ignored: names",)


def test_parquet_as_hugging_face_writes_it(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    names = json.dumps({"info": {"features": {"label": {"names": ["a", "b", "c"], "_type": "ClassLabel"}}}})
    for part, count in (("train", 12), ("test", 5)):
        images = [{"bytes": png(image), "path": None} for image in GREY[:count]]
        table = pyarrow.table({"image": images, "label": LABELS[:count]}).replace_schema_metadata(
            {"huggingface": names}
        )
        parquet.write_table(table, tmp_path / f"{part}-00000-of-00001.parquet")
    for source, split, count in ((f"{tmp_path}/", "train", 12), (f"parquet:{tmp_path}", "test", 5)):
        made = data.load(source, split=split)
        np.testing.assert_array_equal(made.images[:, 0], GREY[:count])
        assert made.labels is not None
        assert (made.labels.tolist(), made.class_names) == (LABELS[:count].tolist(), ("a", "b", "c"))


# What is refused


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pt", b"\x80\x02", "is a pickle, which could run any code and is never opened; save .* numpy.savez"),
        ("a.h5", b"\x89HDF", "HDF5"),
        ("a.png", png(GREY[0]), "is a single image: give the folder"),
        ("a.xyz", b"something", "is not recognised as images: expected a folder, or a file of the formats csv, npy"),
        ("a.csv", b"1,2,3,4\n1,2,x,4\n", "cannot be read"),
        ("a.csv", b"1,2,3,4,5,6,7\n", "6 columns beside labels, which is not a square"),
        ("a.csv", b"1,0.5,0.25,1,0\n", r"a.csv: images are float32 with values from 0 to 1: .*--range 0\.\.1"),
        ("a.npy", b"\x93NUMPY", "cannot be read"),
        ("idx3", b"\0\0\x08\x03" + b"\xff" * 12, "states the sizes .* at most"),
        ("idx3", b"\0\0\x08\x03" + b"\xff" * 8 + bytes(4), "states the sizes .* at most"),
        ("idx3", b"\0\0\x08\x03" + b"\0\0\0\2" * 3, "should have 8 bytes of values according to its header, but has 0"),
        ("idx3", b"\0\0\x07\x03", "begins with 00 00 07 03: expected IDX"),
        ("a.zip", b"PK\3\4nothing", "cannot be read"),
        ("a.tar", b"nothing", "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_named_for_what_it_is(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=message):
        data.load(str(tmp_path / name))


def test_a_path_where_nothing_lies_is_refused_and_a_word_is_a_source(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match="absent/ does not exist: expected a folder or file of images"):
        data.load("absent/")
    with pytest.raises(UsageError, match="no dataset 'photos'"):
        data.load("photos")


def test_a_csv_says_where_its_labels_are(tmp_path: Path) -> None:
    assert data.load(csv(tmp_path)).notes[0] == "labels are in the column label"
    (tmp_path / "b.csv").write_text("7,1,2,3,4\\n8,5,6,7,8\\n".replace("\\n", chr(10)))
    made = data.load(str(tmp_path / "b.csv"))
    assert made.labels is not None
    assert (made.labels.tolist(), made.notes[0]) == ([7, 8], "labels are in the column 1")


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train/0000.parquet", "test/0000.parquet"),
        ("a.parquet", "test_0.parquet"),
        ("a.parquet", "Validation-1.parquet"),
    ],
)
def test_parquet_of_test_images_is_never_trained_on(tmp_path: Path, train: str, test: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for name, count in ((train, 4), (test, 2)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        images = [png(image) for image in GREY[:count]]
        labels = ["cat", None, "dog", "cat"][:count] if name == train else ["dog", "dog"]
        parquet.write_table(pyarrow.table({"image": images, "label": labels}), tmp_path / name)
    splits = load_splits(f"parquet:{tmp_path}")
    assert (len(splits.train), len(splits.test)) == (4, 2)
    assert splits.train.labels is not None
    assert splits.test.labels is not None
    assert splits.train.labels.tolist() == [0, -1, 1, 0]
    assert splits.test.labels.tolist() == [1, 1]  # the number that a dog has in training
    assert splits.test.class_names == splits.train.class_names == ("cat", "dog")


def test_test_labels_of_an_npz_have_the_numbers_of_training(tmp_path: Path) -> None:
    words = np.array(["cat", "dog", "eel"])
    np.savez(tmp_path / "a.npz", x_train=GREY, y_train=words[LABELS], x_test=GREY[:2], y_test=words[1:])
    splits = load_splits(f"npz:{tmp_path}/a.npz")
    assert splits.test.labels is not None
    assert (splits.test.labels.tolist(), splits.test.num_classes) == ([1, 2], 3)
    np.savez(tmp_path / "a.npz", x_train=GREY, y_train=words[LABELS], x_test=GREY[:2], y_test=np.array(["cat", "yak"]))
    with pytest.raises(FileError, match=r"classes that the training images lack: .'yak'"):
        load_splits(f"npz:{tmp_path}/a.npz")


def test_a_test_split_that_cannot_be_read_is_no_missing_one(tmp_path: Path) -> None:
    for part, sides in (("train", (4, 4)), ("test", (4, 6))):
        for number, side in enumerate(sides):
            (tmp_path / part).mkdir(exist_ok=True)
            Image.new("L", (side, side)).save(tmp_path / part / f"{number}.png")
    with pytest.raises(UsageError, match="differ in size"):
        load_splits(f"folder:{tmp_path}")


@pytest.mark.parametrize("damage", ["checksum", "cut", "tar", "gz"])
def test_a_damaged_archive_is_refused_and_leaves_nothing(tmp_path: Path, damage: str) -> None:
    if damage in ("checksum", "cut"):
        content = bytearray(Path(packed(tmp_path)).read_bytes())
        at = content.index(b"IDAT")
        content[at + 8] ^= 1
        place = tmp_path / "b.zip"
        place.write_bytes(content if damage == "checksum" else content[: len(content) // 2])
    else:
        content = bytearray(Path(tarred(tmp_path)).read_bytes())
        content = bytearray(gzip.decompress(content)) if damage == "tar" else content
        place = tmp_path / ("b.tar" if damage == "tar" else "b.tar.gz")
        place.write_bytes(content[: 5 * 1024 + 600 if damage == "tar" else len(content) // 2])  # within an image
    with pytest.raises(FileError, match=r"cannot be read|is not recognised"):
        data.load(str(place))
    archives = cache_folder("archives")
    assert not archives.exists() or not [path for path in archives.iterdir() if path.is_dir()]


def test_classes_that_are_the_same_number_have_one_order() -> None:
    assert sort_names({"1", "01", "001", "2"}) == ["001", "01", "1", "2"]


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}, []], object), allow_pickle=True)
    with pytest.raises(FileError, match="never unpickled"):
        data.load(f"npy:{tmp_path}/a.npy")


def test_an_archive_writes_nothing_outside_and_no_links(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as file:
        for name in ("../out.png", "/tmp/ganzoo-out.png", "a/good.png", "a/notes.txt", "a/.hidden.png"):
            info = tarfile.TarInfo(name)
            info.size = len(content := png(GREY[0]))
            file.addfile(info, io.BytesIO(content))
        link = tarfile.TarInfo("a/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    made = data.load(f"tar:{tmp_path}/a.tar")
    assert len(made) == 1
    (note,) = made.notes
    assert set(note.removeprefix("not unpacked: ").split(", ")) == {
        "2 names that lead out of the archive", "1 .txt", "1 hidden files", "1 links or devices",
    }  # fmt: skip
    assert not list(cache_folder("archives").rglob("out.png"))
    assert data.load(f"tar:{tmp_path}/a.tar").notes == made.notes


def test_a_tar_that_is_cut_between_two_images_is_reported(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "whole.tar", "w") as file:
        for name in ("a.png", "b.png"):
            info = tarfile.TarInfo(name)
            info.size = len(content := png(GREY[0]))
            file.addfile(info, io.BytesIO(content))
    second = 512 + -(-len(content) // 512) * 512  # where the second begins
    content = (tmp_path / "whole.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[:second])
    (tmp_path / "cut.tar.gz").write_bytes(gzip.compress(content[:second]))
    assert not data.load(str(tmp_path / "whole.tar")).notes
    for name in ("cut.tar", "cut.tar.gz"):
        made = data.load(str(tmp_path / name))
        assert (len(made), made.notes) == (1, (f"{name} has no end-of-archive mark: it may be damaged or truncated",))


def test_of_an_archive_that_changes_the_newest_images_are_kept(tmp_path: Path) -> None:
    for count in (2, 3):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
            for number in range(count):
                file.writestr(f"{number}.png", png(GREY[0]))
        assert len(data.load(str(tmp_path / "a.zip"))) == count
        (cache_folder("archives") / ".ganzoo-killed.tmp").mkdir()  # which is deleted with the next
    (tmp_path / "a.zip").touch()
    assert len(data.load(str(tmp_path / "a.zip"))) == count
    assert len([path for path in cache_folder("archives").iterdir() if path.is_dir()]) == 1


def test_an_archive_that_hides_its_size_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a.png", png(GREY[0]))
        file.writestr("a.png/b.png", png(GREY[1]))  # a file and a folder of one name
    with pytest.raises(FileError, match="cannot be unpacked under its name"):
        data.load(f"zip:{tmp_path}/a.zip")
    assert not [path for path in cache_folder("archives").iterdir() if path.is_dir()]


@given(st.binary(max_size=40))
def test_no_bytes_are_more_than_a_refused_idx(content: bytes) -> None:
    place = Path(os.environ.get("TMPDIR", "/tmp")) / f"ganzoo-idx-{os.getpid()}"
    place.write_bytes(b"\0\0" + content)
    try:
        read_idx(place)
    except GanzooError:
        pass
    finally:
        place.unlink()


# Objects


class Items:
    """As torch's and Hugging Face's data sets: a length and items."""

    def __init__(self, items: list[Any], **about: Any) -> None:
        self.items = items
        self.__dict__.update(about)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Any:
        return self.items[number]


PICTURES = [Image.fromarray(image) for image in GREY]
PAIRS = [(picture, int(label)) for picture, label in zip(PICTURES, LABELS, strict=True)]
FEATURES = {"label": SimpleNamespace(names=["a", "b", "c", "d"])}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ((PICTURES, LABELS), None),
        ((list(GREY), LABELS.tolist()), None),
        (PAIRS, None),
        (Items(PAIRS, classes=["a", "b", "c"]), ("a", "b", "c")),
        (Items([{"image": picture, "label": label} for picture, label in PAIRS], features=FEATURES), tuple("abcd")),
        (torch.utils.data.TensorDataset(torch.from_numpy(GREY), torch.from_numpy(LABELS)), None),
        (torch.utils.data.DataLoader(Items(PAIRS), batch_size=3), None),  # type: ignore[arg-type]
    ],
    ids=["pictures and labels", "arrays and labels", "pairs", "torchvision", "dictionaries", "tensors", "loader"],
)
def test_objects_that_hold_images_are_converted(given: Any, names: tuple[str, ...] | None) -> None:
    made = data.from_object(given)
    np.testing.assert_array_equal(made.images[:, 0], GREY)
    assert made.labels is not None
    assert (made.labels.tolist(), made.class_names) == (LABELS.tolist(), names)


def test_items_without_a_label_and_classes_in_their_own_order() -> None:
    made = data.from_object([*PAIRS[:-1], (PICTURES[-1], None)])
    assert made.labels is not None
    assert made.labels.tolist() == [*LABELS[:-1].tolist(), -1]
    named = data.from_object(
        Items([(picture, ["dog", "cat"][n % 2]) for n, picture in enumerate(PICTURES)], classes=["dog", "cat"])
    )
    assert named.labels is not None
    assert (named.labels.tolist(), named.class_names) == ([0, 1] * 6, ("dog", "cat"))


def test_pictures_of_a_list_are_treated_as_files_are() -> None:
    made = data.from_object([Image.new("RGBA", (4, 4)), Image.new("L", (8, 4))], image_size=4)
    assert made.image_shape == (3, 4, 4)
    assert set(made.notes) == {
        "transparent pixels blended with the background (1 image)", "cropped to the middle (1 image)",
        "grey repeated to RGB (1 image)",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"images": GREY, "labels": LABELS}, "images are a dictionary with images, labels: give one of these"),
        (Items([(picture, torch.zeros(3)) for picture in PICTURES]), r"label of item 0 has the shape \[3\]"),
        (5, "images are of type int: expected an array, a pair"),
        ([], "images are an empty list"),
        ([PICTURES[0], "text"], "item 1 is of type str and contains no image"),
        ([{"pixels": PICTURES[0]}], "item 0 is of type dict"),
        ([GREY[0], GREY[0][:2]], r"differ in shape, such as \[2, 4\] and \[4, 4\]"),
        ([PICTURES[0], Image.new("L", (8, 4))], "differ in size: image 0 is 4 x 4, image 1 is 8 x 4"),
        (torch.utils.data.TensorDataset(torch.rand(5, 1, 4, 4)), r"--range 0\.\.1 \(value_range='0\.\.1'\)"),
    ],
)
def test_what_holds_no_images_is_refused_with_what_to_write(given: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        data.from_object(given)
