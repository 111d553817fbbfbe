"""CelebA: found packed or unpacked, cut to squares, its split and its attributes; what is missing is named."""

import hashlib
import io
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganzoo import data
from ganzoo.data import celeba, published
from ganzoo.data.torchvision_compat import load_torchvision
from ganzoo.errors import FileError, MachineError, UsageError

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 218, 178, 3), dtype=np.uint8)
NAMES = [f"{number:06}.jpg" for number in range(1, 7)]


def packed() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        for name, pixels in zip(NAMES, PIXELS, strict=True):
            picture = io.BytesIO()
            Image.fromarray(pixels).save(picture, "PNG")  # without losses
            file.writestr(f"img_align_celeba/{name}", picture.getvalue())
    return held.getvalue()


FILES = {
    celeba.IMAGES: packed(),
    celeba.SPLITS: "".join(f"{name} {part}\n" for name, part in zip(NAMES, "000122", strict=True)).encode(),
    celeba.ATTRIBUTES: "\n".join(
        ["6", "Bald Smiling ", *(f"{name} -1 {'-1' if number % 2 else ' 1'}" for number, name in enumerate(NAMES))]
    ).encode(),
}


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CelebA has six images."""
    hashes = {name: hashlib.md5(content).hexdigest() for name, content in FILES.items()}
    monkeypatch.setattr(celeba, "CELEBA", replace(celeba.CELEBA, files=hashes))
    monkeypatch.setattr(published, "SYSTEM", Path("/nowhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def place(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or FILES:
        (folder / name).write_bytes(FILES[name])
    return folder


@pytest.mark.parametrize("folder", [".", "celeba", "CelebA", "CelebA/raw"])
def test_the_middle_of_each_image_is_taken(folder: str, tmp_path: Path) -> None:
    place(tmp_path / folder)
    train, test = (data.load("celeba", data_dir=tmp_path, split=split, download=False) for split in ("train", "test"))
    assert np.array_equal(train.images.numpy(), PIXELS[:3, 20:198].transpose(0, 3, 1, 2))
    assert np.array_equal(test.images.numpy(), PIXELS[4:, 20:198].transpose(0, 3, 1, 2))
    assert (train.labels, train.source, train.notes) == (None, "celeba", ("cropped to the middle (all images)",))
    assert data.load("celeba", data_dir=tmp_path, image_size=64, channels=1).image_shape == (1, 64, 64)
    assert data.load("celeba", data_dir=tmp_path, image_size="178x218").image_shape == (3, 218, 178)


@pytest.mark.parametrize("packed", [True, False])
def test_it_is_found_as_the_shared_drive_of_its_authors_has_it(packed: bool, tmp_path: Path) -> None:
    place(tmp_path / "CelebA" / "Img", celeba.IMAGES)
    if not packed:
        with zipfile.ZipFile(tmp_path / "CelebA" / "Img" / celeba.IMAGES) as file:
            file.extractall(tmp_path / "CelebA" / "Img")
        (tmp_path / "CelebA" / "Img" / celeba.IMAGES).unlink()
    place(tmp_path / "CelebA" / "Eval", celeba.SPLITS)
    place(tmp_path / "CelebA" / "Anno", celeba.ATTRIBUTES)
    made = data.load("celeba:Smiling", data_dir=tmp_path, download=False)
    assert (len(made), made.class_counts) == (3, (1, 2))


def test_an_attribute_makes_two_classes(tmp_path: Path) -> None:
    place(tmp_path)
    made = data.load("celeba:Smiling", data_dir=tmp_path)
    assert made.labels is not None
    assert (made.labels.tolist(), made.class_names) == ([1, 0, 1], ("not Smiling", "Smiling"))
    assert made.source == "celeba:Smiling"
    assert (data.load(made.source, data_dir=tmp_path, split="test").class_counts) == (1, 1)
    with pytest.raises(UsageError, match="no attribute 'smiling': expected one of Bald, Smiling"):
        data.load("celeba:smiling", data_dir=tmp_path)


@pytest.mark.filterwarnings("ignore:.*does not fit into memory")
def test_images_that_do_not_fit_are_decoded_once_for_all_attributes(tmp_path: Path) -> None:
    place(tmp_path)
    plain, bald = (data.load(source, data_dir=tmp_path, memory=0) for source in ("celeba", "celeba:Bald"))
    assert plain.mapped is not None
    assert bald.mapped is not None
    assert plain.mapped.file.path == bald.mapped.file.path
    assert bald.source == "celeba:Bald"


def test_unpacked_images_are_taken_and_said_not_to_be_hashed(tmp_path: Path) -> None:
    place(tmp_path / "celeba", celeba.SPLITS)
    with zipfile.ZipFile(io.BytesIO(FILES[celeba.IMAGES])) as file:
        file.extractall(tmp_path / "celeba")
    made = data.load("celeba", data_dir=tmp_path)
    assert (len(made), made.notes[0]) == (3, celeba.UNCHECKED)
    (tmp_path / "celeba" / "img_align_celeba" / NAMES[0]).unlink()
    with pytest.raises(FileError, match=r"000001\.jpg"):
        data.load("celeba", data_dir=tmp_path)


def test_what_is_missing_is_named_and_not_fetched(tmp_path: Path) -> None:
    place(tmp_path, celeba.SPLITS)
    with pytest.raises(MachineError) as caught:
        data.load("celeba", data_dir=tmp_path)
    message = str(caught.value)
    assert f"  {celeba.IMAGES}  md5 {celeba.CELEBA.files[celeba.IMAGES]}  missing\n" in message
    assert f"Put these files, as they are, into {tmp_path / 'CelebA' / 'raw'} " in message
    assert "projects/CelebA.html" in message
    assert celeba.ATTRIBUTES not in message
    with pytest.raises(MachineError, match=celeba.ATTRIBUTES):
        data.load("celeba:Smiling", data_dir=tmp_path)


def test_the_hashes_are_those_of_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    published = {name: md5 for _, md5, name in load_torchvision().datasets.CelebA.file_list}
    assert celeba.CELEBA.files.items() <= published.items()
