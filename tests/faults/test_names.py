"""Names of files, folders and classes may hold anything: none reaches a terminal raw, none is lost in a traceback."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Call, make_images
from PIL import Image

from ganzoo import data
from ganzoo.errors import UsageError, printable, shown
from ganzoo.training.prepare import configure, prepare

ESCAPE = "esc\x1b[31mred\x07\u202e<b>"
BAD = os.fsdecode(b"bad\xff")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="names are text elsewhere")


def folder(root: Path, *classes: str) -> Path:
    for name in classes:
        (root / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.random.default_rng([number, len(name)]).integers(0, 256, (6, 6), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    return root


def commands_in(text: str) -> list[str]:
    return [one for one in text if one in "\x1b\x07\r\u202e" or "\ud800" <= one <= "\udfff"]


def test_what_is_printable_stays() -> None:
    for text in ("tab\tline\nünïcode 数字 <b>", "Screenshot 9.41\u202fAM\u00a0.png", "👩\u200d🔬"):
        assert printable(text) == text
    assert printable(ESCAPE) == "esc?[31mred??<b>"
    assert shown("a\nb\tc\ud800") == "a?b?c?"


@pytest.mark.parametrize("arguments", [["data"], ["train", "--variant", "cgan", "--steps", "1", "--dry-run"]])
def test_no_command_reaches_the_terminal(arguments: list[str], tmp_path: Path, call: Call) -> None:
    source = folder(tmp_path / ESCAPE, ESCAPE, "b")
    named = [str(source)] if arguments[0] == "data" else ["--dataset", str(source)]
    for place in (named, [*named[:-1], f"{source}/nowhere"], [*named[:-1], ESCAPE]):
        _, out, err = call(*arguments, *place)
        assert not commands_in(err)
        assert "\x1b" not in out  # TOML may hold any other character


def test_a_name_that_is_no_text_is_refused_by_one_line(tmp_path: Path, call: Call) -> None:
    inside, outside = folder(tmp_path / "a", BAD, "b"), folder(tmp_path / BAD, "a", "b")
    for source in (inside, outside):
        code, _, err = call("train", "--variant", "gan", "--dataset", str(source), "--out", str(tmp_path / "run"))
        assert code == 2
        place = "" if source == inside else f"{tmp_path}/"
        assert err == f"ganzoo: {place}bad?: the name is not UTF-8; rename it\n"
    images = folder(tmp_path / "whole", "a", "b")
    code, _, err = call("train", "--variant", "gan", "--dataset", str(images), "--out", str(tmp_path / f"{BAD}-run"))
    assert (code, "bad?-run: the name is not UTF-8" in err) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a", BAD, "whole"])


def test_a_label_that_is_far_from_the_others_takes_no_memory() -> None:
    images, labels = make_images()
    far = np.where(np.arange(len(labels)) == 0, 999_999, labels)
    settings = ["train.device=cpu"]
    for variant in ("cgan", "acgan"):
        given = data.from_arrays(images, far)
        config = configure(variant, given, settings=settings, steps=1)
        with pytest.raises(UsageError, match=r"is 999,999, but there are \d+ images: number the classes from 0"):
            prepare(config, given)
    given = data.from_arrays(images, np.where(far == 999_999, 999, far))
    assert prepare(configure("cgan", given, settings=settings, steps=1), given).dataset.num_classes == 1000


@pytest.mark.parametrize("threads", [5000, 10**6])
def test_threads_that_only_slow_a_machine_down_are_refused(threads: int, call: Call) -> None:
    code, _, err = call("train", "--variant", "gan", "--dataset", "mnist-5k", "--steps", "1", "--threads", str(threads))
    assert (code, f"threads is {threads}: expected 1 to" in err) == (2, True)


@pytest.mark.parametrize("width", [10**18, 10**30])
def test_networks_of_impossible_sizes_are_out_of_memory(width: int, tmp_path: Path, call: Call) -> None:
    out = tmp_path / "run"
    for variant in ("gan", "dcgan"):
        settings = ["--set", f"generator.width={width}", "--steps", "1", "--out", str(out)]
        code, _, err = call("train", "--variant", variant, "--dataset", "mnist-5k", *settings)
        assert (code, err.splitlines()[-1].startswith("ganzoo: out of memory"), "Traceback" in err) == (4, True, False)
        assert not out.exists()
