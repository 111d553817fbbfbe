"""Processes that race for one place: one gets it and the others are refused, or the last one's work is whole."""

import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import begin, short_and_long, tallied
from conftest import bits_of, images_file, narrow, train_tiny

import ganzoo
from ganzoo.files import TEMPORARY_PATTERN
from ganzoo.runs.run import Run

pytestmark = [pytest.mark.skipif(sys.platform == "win32", reason="forks no processes"), pytest.mark.slow]
TRAIN = ["train", "--variant", "gan", "--dataset", "npz:images.npz", "--augment", "none", "--batch-size", "8"]
SETTINGS = ["train.threads=1", "train.precision=float32", *narrow("gan")]
RACES = {  # what all of them do at once, and whether only one may
    "a new run": (
        [*TRAIN, "--steps", "4", "--out", "new", *(word for one in SETTINGS for word in ("--set", one))],
        True,
    ),
    "a run that goes on": (["resume", "begun", "--steps", "40"], True),
    "an exported file": (["export", "whole", "--onnx", "-o", "model.onnx"], False),
    "a picture": (["sample", "whole", "-n", "16", "--out", "images.png"], False),
}


@short_and_long(4, 20)
def test_one_place(count: int, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """`count` rounds, of as many processes as a long form has 32, a short one 3."""
    processes = 32 if count > len(RACES) else 3
    images = ganzoo.data.load(images_file(tmp_path / "images.npz"))
    expected = train_tiny("gan", images, tmp_path / "whole", steps=2)
    longer = ganzoo.resume(shutil.copytree(expected.path, tmp_path / "longer"), steps=40, progress=False)
    with tallied(f"{processes} processes that race for one place", record_property) as row:
        for index in range(count):
            what, (arguments, exclusive) = [*RACES.items()][index % len(RACES)]
            for name in ("new", "begun"):
                shutil.rmtree(tmp_path / name, ignore_errors=True)
            shutil.copytree(expected.path, tmp_path / "begun")
            with row.case(f"{what}, round {index}"):
                commands = [begin(tmp_path, *arguments) for _ in range(processes)]
                codes = Counter(command.wait() for command in commands)
                said = "\n".join({command.err.splitlines()[-1] for command in commands if command.wait()})
                assert codes == ({0: 1, 2: processes - 1} if exclusive else {0: processes}), f"{codes}: {said}"
                assert not [*tmp_path.rglob(TEMPORARY_PATTERN)]
                if what == "a new run":
                    assert Run.open(tmp_path / "new").latest_checkpoint().final
                elif what == "a run that goes on":
                    assert bits_of(Run.open(tmp_path / "begun")) == bits_of(longer)
                else:
                    assert ganzoo.load(tmp_path / "model.onnx").sample(2).shape == (2, 8, 8, 1)
