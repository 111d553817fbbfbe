"""A run, a comparison or a study of a stranger's: nothing in it leads out of it, for reading or for writing."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from conftest import Call, Images, train_tiny

import ganzoo
from ganzoo.errors import FileError
from ganzoo.report.records import StudyPlan, read_results
from ganzoo.runs.run import Run
from ganzoo.studies.comparison import claim

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
PLACES = (
    "README.md", "config.toml", "metrics.jsonl", "env.json", ".lock", "samples", "samples/final.png", "checkpoints",
    "checkpoints/step-00000002", "checkpoints/step-00000002/state.json", "exports", "stranger",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tiny_images: Images, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_tiny("gan", tiny_images, tmp_path_factory.mktemp("links") / "run", steps=2)


@pytest.mark.parametrize("place", PLACES)
def test_a_run_with_a_link_is_refused_by_name(place: str, trained: Run, tiny_images: Images, tmp_path: Path) -> None:
    run = Run(Path(shutil.copytree(trained.path, tmp_path / "run")))
    canary = tmp_path / "canary"
    if (run.path / place).is_file():
        (run.path / place).rename(canary)
    else:
        canary.mkdir()
        if (run.path / place).is_dir():
            shutil.move(run.path / place, canary / "moved")
    (run.path / place).symlink_to(canary)
    before = sorted((path, path.stat().st_mtime_ns) for path in canary.rglob("*"))
    for action in (
        lambda: Run.open(run.path),
        lambda: ganzoo.load(run.path),
        lambda: ganzoo.resume(run.path, steps=3, dataset=tiny_images, progress=False),
    ):
        with pytest.raises(FileError, match=f"{place} is a link to"):
            action()
    assert before == sorted((path, path.stat().st_mtime_ns) for path in canary.rglob("*"))


def test_a_run_that_is_reached_by_a_link_opens(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "here").symlink_to(trained.path)
    assert Run.open(tmp_path / "here").latest_checkpoint().step == 2


def test_the_newest_run_is_looked_at_too(
    trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained.path, Path("runs/one"))
    Path("runs/one/README.md").unlink()
    Path("runs/one/README.md").symlink_to("../../out")
    code, _, err = call("sample", "--out", "digits.png")
    assert (code, "README.md is a link to" in err, Path("digits.png").exists()) == (3, True, False)


def test_pipes_and_devices_are_refused(trained: Run, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained.path, tmp_path / "run"))
    (run / "metrics.jsonl").unlink(missing_ok=True)
    os.mkfifo(run / "metrics.jsonl")
    with pytest.raises(FileError, match=r"metrics.jsonl is neither a file nor a directory"):
        Run.open(run)


def test_a_comparison_with_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes(
        (Path(__file__).parent.parent / "golden_records" / "results.json").read_bytes()
    )
    read_results(tmp_path)
    (tmp_path / "report.html").symlink_to("elsewhere")
    with pytest.raises(FileError, match=r"report.html is a link to"):
        read_results(tmp_path)
    (tmp_path / "report.html").unlink()
    (tmp_path / "results.json").rename(tmp_path / "real.json")
    (tmp_path / "results.json").symlink_to("real.json")
    with pytest.raises(FileError, match=r"results.json is a link to"):
        read_results(tmp_path)
    (tmp_path / "results.json").unlink()
    plan = StudyPlan(epochs=(1,))
    claim(tmp_path / "study", plan, "study")
    (tmp_path / "study" / "runs").symlink_to(tmp_path)
    with pytest.raises(FileError, match=r"runs is a link to"):
        claim(tmp_path / "study", plan, "study")
