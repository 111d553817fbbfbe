"""The files of lines of a run: what a checkpoint has seen of them cannot change unnoticed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import Images, train_tiny

import ganzoo
from ganzoo.errors import FileError
from ganzoo.runs.records import EvaluationLine
from ganzoo.runs.run import EVALUATIONS, METRICS, Run
from ganzoo.training.trainer import Session


@pytest.fixture(scope="module")
def trained(tiny_images: Images, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of six log lines, stopped at a checkpoint of step 4."""
    settings = ["train.log_every=1", "train.checkpoint_every=4"]
    run = train_tiny("gan", tiny_images, tmp_path_factory.mktemp("lines") / "run", steps=6, settings=settings)
    line = {"step": 6, "epoch": 1.0, "seconds": 1.0, "figures": {"fid": 12.5}}
    judge = {"name": "MNIST", "sha256": "0" * 64, "accuracy": 0.99}
    run.append_evaluation(EvaluationLine.model_validate({**line, "judge": judge}))
    return Run(ganzoo.resume(run, steps=7, dataset=tiny_images, progress=False).path)


def copy(trained: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(trained.path, tmp_path / "run")))


@pytest.mark.parametrize("name", [METRICS, EVALUATIONS])
@pytest.mark.parametrize("change", ["value", "line", "cut"])
def test_a_change_of_what_a_checkpoint_saw_is_noticed(
    name: str, change: str, trained: Run, tiny_images: Images, tmp_path: Path
) -> None:
    run = copy(trained, tmp_path)
    lines = (run.path / name).read_text().splitlines(keepends=True)
    if change == "value":
        lines[0] = json.dumps({**json.loads(lines[0]), "seconds": 0.125}) + "\n"
    elif change == "line":
        lines.insert(0, lines[0].replace('"step": ', '"step": 1'))
    else:
        lines = []
    (run.path / name).write_text("".join(lines))
    with pytest.raises(FileError, match=rf"{name} is damaged or was changed.*move it away"):
        run.metrics() if name == METRICS else run.evaluations()
    with pytest.raises(FileError, match=rf"{name} is damaged or was changed"):
        ganzoo.resume(run, steps=8, dataset=tiny_images, progress=False)
    (run.path / name).unlink()  # the advice
    assert ganzoo.resume(run, steps=8, dataset=tiny_images, progress=False).latest_checkpoint().step == 8


def test_a_file_that_was_moved_away_begins_again_at_once(
    trained: Run, tiny_images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy(trained, tmp_path)
    distance = run.latest_checkpoint().distance
    (run.path / METRICS).unlink()

    real = Session.save

    def save(self: Session, **given: Any) -> None:
        if self.state.step == 8:
            raise RuntimeError("killed")
        real(self, **given)

    monkeypatch.setattr(Session, "save", save)
    with pytest.raises(RuntimeError, match="killed"):
        ganzoo.resume(run, steps=12, dataset=tiny_images, progress=False)
    monkeypatch.setattr(Session, "save", real)
    assert [line["step"] for line in run.metrics()] == [8]
    latest = run.latest_checkpoint()
    assert (latest.step, latest.final, latest.distance) == (7, True, distance)
    assert ganzoo.resume(run, steps=9, dataset=tiny_images, progress=False).latest_checkpoint().final


def test_what_was_added_later_and_a_line_that_was_cut_are_no_change(
    trained: Run, tiny_images: Images, tmp_path: Path
) -> None:
    run = copy(trained, tmp_path)
    before = run.metrics()
    with (run.path / METRICS).open("ab") as file:
        file.write(b'{"step": 9, "epo')
    assert run.metrics() == before
    resumed = ganzoo.resume(run, steps=9, dataset=tiny_images, progress=False)
    assert [line["step"] for line in resumed.metrics()] == list(range(1, 10))


def test_a_run_of_before_has_nothing_to_compare_with(tmp_path: Path) -> None:
    golden = Path(__file__).parent.parent / "golden" / "gan"
    run = Run(Path(shutil.copytree(golden, tmp_path / "run")))
    (run.path / METRICS).write_text((run.path / METRICS).read_text().replace('"seconds": ', '"seconds": 1'))
    assert run.metrics()
