"""Grids and files of images, and that a file or directory is replaced whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import ganzoo
from ganzoo.errors import MachineError, UsageError
from ganzoo.files import atomic_directory, atomic_write, writing
from ganzoo.runtime.images import grid, save_directory, save_npz, save_png

ROOT = Path(ganzoo.__path__[0]).parent


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def pictures(n: int = 5, channels: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(1, 256, (n, 3, 4, channels), np.uint8)


def test_a_grid_is_near_square_with_black_between() -> None:
    images = pictures(5)
    image = grid(images)  # 2 rows of 3, the last cell empty
    assert image.shape == (2 * 3 + 2, 3 * 4 + 2 * 2, 1)
    np.testing.assert_array_equal(image[:3, :4], images[0])
    np.testing.assert_array_equal(image[:3, 12:], images[2])
    np.testing.assert_array_equal(image[5:, 6:10], images[4])
    assert not image[3:5].any()
    assert not image[:, 4:6].any()
    assert not image[5:, 12:].any()


@given(
    n=st.integers(1, 20),
    columns=st.none() | st.integers(1, 25),
    padding=st.integers(0, 3),
    channels=st.sampled_from([1, 3]),
)
@settings(deadline=None)
def test_every_image_is_in_its_cell_of_the_grid(n: int, columns: int | None, padding: int, channels: int) -> None:
    images = pictures(n, channels)
    image = grid(images, columns, padding)
    across = (image.shape[1] + padding) // (4 + padding)
    assert columns is None or across == min(n, columns)
    for index, expected in enumerate(images):
        top, left = (index // across) * (3 + padding), (index % across) * (4 + padding)
        np.testing.assert_array_equal(image[top : top + 3, left : left + 4], expected)
    assert int(image.sum()) == int(images.sum())


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((0, 3, 4, 1), np.uint8),
        np.zeros((2, 3, 4, 1), np.float32),
        np.zeros((2, 3, 4), np.uint8),
        np.zeros((2, 3, 4, 2), np.uint8),
        np.zeros((2, 0, 4, 1), np.uint8),
    ],
)
def test_a_grid_takes_images_only(images: Any) -> None:
    with pytest.raises(UsageError):
        grid(images)


@pytest.mark.parametrize("settings", [{"columns": 0}, {"padding": -1}])
def test_a_grid_checks_its_settings(settings: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="expected at least 1 column"):
        grid(pictures(), **settings)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_reads_back(tmp_path: Path, channels: int) -> None:
    path = tmp_path / "made" / "on the way" / "image.png"
    image = pictures(1, channels)[0]
    for _ in range(2):
        save_png(path, image)
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.array(picture).reshape(image.shape), image)
    assert names(path.parent) == ["image.png"]


def test_a_png_is_of_one_image(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected uint8 \[H, W, C\]"):
        save_png(tmp_path / "image.png", pictures())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("channels", "shape"), [(1, (5, 3, 4)), (3, (5, 3, 4, 3))])
def test_an_npz_reads_back(tmp_path: Path, channels: int, shape: tuple[int, ...]) -> None:
    path = tmp_path / "samples.npz"
    images = pictures(5, channels)
    save_npz(path, images)
    with np.load(path) as arrays:
        assert arrays.files == ["images"]
        np.testing.assert_array_equal(arrays["images"], images.reshape(shape))
    save_npz(path, images, np.arange(5, dtype=np.int32))
    with np.load(path) as arrays:
        assert arrays["labels"].dtype == np.int64
        np.testing.assert_array_equal(arrays["labels"], np.arange(5))


@pytest.mark.parametrize("save", [save_npz, save_directory])
@pytest.mark.parametrize("labels", [np.zeros(4, np.int64), np.zeros(5), np.zeros((5, 1), np.int64)])
def test_labels_must_fit_the_images(tmp_path: Path, save: Any, labels: Any) -> None:
    with pytest.raises(UsageError, match=r"expected integers \[5\]"):
        save(tmp_path / "out", pictures(), labels)
    assert not list(tmp_path.iterdir())


def test_a_directory_holds_an_image_a_file_and_the_labels(tmp_path: Path) -> None:
    path = tmp_path / "samples"
    save_directory(path, pictures(3), np.array([7, 0, 2]))
    assert names(path) == ["00000.png", "00001.png", "00002.png", "labels.csv"]
    assert (path / "labels.csv").read_bytes() == b"file,label\n00000.png,7\n00001.png,0\n00002.png,2\n"
    with Image.open(path / "00002.png") as picture:
        np.testing.assert_array_equal(np.array(picture), pictures(3)[2, ..., 0])


def test_a_directory_of_ours_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "samples"
    path.mkdir()
    save_directory(path, pictures(3), np.array([7, 0, 2]))  # an empty one may be taken
    save_directory(path, pictures(1))
    assert names(path) == ["00000.png"]
    assert names(tmp_path) == ["samples"]


@pytest.mark.parametrize("name", ["thesis.tex", "0001.png", "00000.png.bak", ".hidden", "labels.csv/inside.csv"])
def test_a_directory_of_others_is_not_touched(tmp_path: Path, name: str) -> None:
    path = tmp_path / "samples"
    save_directory(path, pictures(1))
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_text("precious")
    with pytest.raises(UsageError, match="which would be lost: choose a new or an empty directory"):
        save_directory(path, pictures(2))
    assert (path / name).read_text() == "precious"
    assert names(tmp_path) == ["samples"]


def test_a_directory_does_not_replace_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(UsageError, match="is not a directory"):
        save_directory(path, pictures(1))
    assert path.read_text() == "precious"


def test_a_directory_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "samples"
    save_directory(path, pictures(1))

    def fail_half_way() -> None:
        with atomic_directory(path) as directory:
            (directory / "half").write_text("done")
            raise KeyError

    with pytest.raises(KeyError):
        fail_half_way()
    assert names(tmp_path) == ["samples"]
    assert names(path) == ["00000.png"]


@pytest.mark.parametrize("save", [save_npz, save_directory])
@pytest.mark.parametrize("below", ["out", "deeper/out"])
def test_a_path_under_a_file_is_the_machines_error(tmp_path: Path, save: Any, below: str) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(MachineError, match=r"cannot write .*out: a part of the path is a file"):
        save(tmp_path / "file" / below, pictures())
    assert (tmp_path / "file").read_text() == "precious"


def test_a_file_does_not_replace_a_directory(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="it is a directory; choose a file name"):
        atomic_write(tmp_path, b"new")
    assert not list(tmp_path.iterdir())


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    atomic_write(tmp_path / ("x" * 255), b"new")
    with pytest.raises(MachineError, match="the name is too long"):
        atomic_write(tmp_path / ("x" * 256), b"new")


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere" / "file")
    for data in (b"old", b"new"):
        atomic_write(link, data)
    assert link.is_symlink()
    assert (tmp_path / "elsewhere" / "file").read_bytes() == b"new"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_the_machines_error() -> None:
    with pytest.raises(MachineError, match="cannot write /dev/full: the disk is full; free some space"):
        atomic_write("/dev/full", b"new" * 100_000)
    assert Path("/dev/full").is_char_device()  # written to, not replaced


LIMITED = """
import pathlib, resource, sys
import numpy as np
from ganzoo.errors import MachineError
from ganzoo.runtime.images import save_directory, save_npz
here = pathlib.Path(sys.argv[1])
noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
for save, name in ((save_npz, "samples.npz"), (save_directory, "samples")):
    try:
        save(here / name, noise)
    except MachineError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the system has no limits on files")
def test_a_write_that_fails_half_way_leaves_the_old_files_and_no_others(tmp_path: Path) -> None:
    save_npz(tmp_path / "samples.npz", pictures(1))
    save_directory(tmp_path / "samples", pictures(1))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.startswith("cannot write") for line in done.stdout.splitlines()] == [True, True]
    assert done.stdout.count("larger than this system allows") == 2
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert names(tmp_path) == ["samples", "samples.npz"]


def test_writing_keeps_what_is_not_the_systems_error() -> None:
    with pytest.raises(KeyError), writing("x"):
        raise KeyError
    with pytest.raises(MachineError, match="cannot write x: strange"), writing("x"):
        raise OSError("strange")
