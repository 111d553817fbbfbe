"""The closer look that `ganzoo data` takes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ganzoo import data
from ganzoo.data.inspection import SHEET_COLUMNS, contact_sheet, inspect

NOISE = np.random.default_rng(0).integers(0, 256, (3000, 4, 4), dtype=np.uint8)


def test_random_images_have_nothing_wrong() -> None:
    found = inspect(data.from_arrays(NOISE, np.arange(3000) % 10))
    assert (found.duplicates, found.contradictions, found.constant, found.warnings) == ((), 0, (), ())


def test_duplicates_contradictions_and_constant_images_are_found() -> None:
    images, labels = NOISE.copy(), np.arange(3000) % 10
    images[2500] = images[7] = images[5]  # labels 0, 7 and 5
    images[15], labels[2000] = images[2000], 5  # the same class
    images[9] = 3
    found = inspect(data.from_arrays(images, labels))
    assert found.duplicates == ((7, 5), (2000, 15), (2500, 5))
    assert found.contradictions == 2
    assert found.constant == (9,)


@pytest.mark.parametrize(
    ("images", "labels", "warnings"),
    [
        (NOISE * 0, None, ["every pixel is 0"]),
        (NOISE // 128, None, ["no value is above 1: .* multiplied by 255"]),
        (NOISE // 3, None, ["no value is above 85: the images use less than half"]),
        (NOISE, np.arange(3000) % 10 + 1, ["labels begin at 1, not 0"]),
        (NOISE, np.where(np.arange(3000) < 7, 255, np.arange(3000) % 10), ["label 255 is far .* end at 9: .* its 7"]),
        (NOISE[:30], np.arange(30), ["each class has a single image"]),
        (NOISE, np.zeros(3000, int), []),
        (NOISE, np.arange(3000) % 2 * 9, []),
    ],
)
def test_what_usually_is_a_mistake_is_warned_of(
    images: NDArray[np.uint8], labels: NDArray[np.int64] | None, warnings: list[str]
) -> None:
    found = inspect(data.from_arrays(images, labels)).warnings
    assert len(found) == len(warnings)
    for text, pattern in zip(found, warnings, strict=True):
        assert re.search(pattern, text)


def test_a_contact_sheet_has_a_row_for_each_class() -> None:
    labels = np.arange(40) % 3 * 2  # 0, 2, 4
    labels[4:] = 0
    pixels = np.zeros((40, 4, 4), np.uint8) + (50 + labels).astype(np.uint8)[:, None, None]
    images, what = contact_sheet(data.from_arrays(pixels, labels))
    rows = images[:, 0, 0, 0].reshape(3, SHEET_COLUMNS)
    assert rows[0].tolist() == [50] * 10
    assert rows[1].tolist() == [52] + [0] * 9
    assert rows[2].tolist() == [54] + [0] * 9
    assert what == "one row per class: 0, 2, 4"
    assert contact_sheet(data.from_arrays(NOISE))[0].shape == (200, 4, 4, 1)
    assert contact_sheet(data.from_arrays(NOISE[:3]))[0].shape == (3, 4, 4, 1)
    large = np.full((2, 600, 800, 3), (10, 20, 30), np.uint8)
    (image, _), _ = contact_sheet(data.from_arrays(large))
    assert (image.shape, np.unique(image, axis=None).tolist()) == ((96, 128, 3), [10, 20, 30])


def run(*arguments: str, place: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "ganzoo_cli", "data", *arguments]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_command_prints_what_was_found(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "pets" / split / name).mkdir(parents=True)
            for index in range(3):
                Image.new("L", (8, 8), 200).save(tmp_path / "pets" / split / name / f"{index}.png")
    (tmp_path / "pets" / "train" / "cat" / "notes.txt").touch()
    done = run("folder:pets", "--out", "sheet.png", place=tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        f"data: folder:{tmp_path}/pets: 6 images, 8 x 8 grey; 2 classes: 0 cat (3), 1 dog (3)",
        "data: not read: 1 .txt; train/ is used for training, test/ has the test images",
        "test images: 6",
        "duplicates: 5, identical to an earlier image (counted from 0: 1, 2, 3, 4, 5)",
        "warning: duplicates whose label differs from that of the earlier image: 3",
        "constant images: 6, all pixels have the same value (counted from 0: 0, 1, 2, 3, 4, ...)",
        "sheet: sheet.png, one row per class: cat, dog",
    ]
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (10 * 10 - 2, 2 * 10 - 2)
    document = json.loads(run("folder:pets", "--json", place=tmp_path).stdout)
    assert (document["images"], document["test_images"], document["contradictions"]) == (6, 6, 3)
    refused = run("folder:pets", "--out", "sheet.jpg", place=tmp_path)
    assert (refused.returncode, refused.stderr) == (2, "ganzoo: --out sheet.jpg: expected the name of a .png file\n")
