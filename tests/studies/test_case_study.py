"""The case study: every part is made once, kept, and shown; a wrong plan is refused before anything is trained."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import Call

from ganzoo.errors import UsageError
from ganzoo.evaluation.reference import load_splits
from ganzoo.report.records import synthetic_data_in
from ganzoo.studies import case_study
from ganzoo.studies.case_study import estimate, study
from ganzoo.studies.comparison import claim

PLAN: dict[str, Any] = {
    "dataset": "mnist-5k",
    "variants": ("gan", "cgan"),
    "epochs": (1, 2),
    "settings": ("train.threads=1", "generator.width=8", "discriminator.width=8"),
    "n": 100,
    "figures": ("fid", "classes"),
    "synthetic_data_sizes": (),
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr(case_study, "TRIAL_SECONDS", 0.5)


def contents(directory: Path) -> dict[str, bytes]:
    """What a study measured; pictures and pages are drawn anew."""
    kept = ("data.json", "classifier.json", "comparison/runs/*/checkpoints/*/*")
    return {str(path): path.read_bytes() for pattern in kept for path in sorted(directory.glob(pattern))}


@pytest.mark.slow
def test_a_study_makes_every_part_and_goes_on_with_what_is_there(tmp_path: Path) -> None:
    said: list[str] = []
    report = study(tmp_path / "study", say=said.append, **PLAN)
    directory = tmp_path / "study"
    assert report == directory / "index.html"
    estimates = [line for line in said if line.startswith("estimate:")]
    assert len(estimates) == 1
    assert re.search(r"gan \d+ (s|min), cgan \d+ (s|min)", estimates[0])

    data = json.loads((directory / "data.json").read_text())
    assert (data["source"], data["train_images"], data["test_images"]) == ("mnist-5k", 4000, 1000)
    assert data["train_counts"] == [400] * 10
    classifier = json.loads((directory / "classifier.json").read_text())
    last = classifier["history"][-1]
    assert last["test_accuracy"] == classifier["test_accuracy"] > 0.85
    confusion = classifier["confusion"]
    assert [sum(row) for row in confusion] == data["test_counts"]
    assert sum(confusion[k][k] for k in range(10)) / 1000 == pytest.approx(classifier["test_accuracy"])
    assert classifier["parameters"] == 28 * 28 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10
    results = json.loads((directory / "comparison" / "results.json").read_text())
    assert [row["status"] for row in results["rows"]] == ["done", "done"]
    for row in results["rows"]:
        samples = directory / "comparison" / row["run"] / "samples"
        assert {"epoch-0001.png", "epoch-0002.png"} <= {path.name for path in samples.iterdir()}
        assert {round(point["epoch"]) for point in row["curve"]} == {1, 2}
    page = report.read_text()
    assert f"{100 * classifier['test_accuracy']:.1f}" in page

    before = contents(directory)
    study(directory, **PLAN)
    assert contents(directory) == before


def test_another_plan_needs_another_directory(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "plan.json").write_text('{"dataset": "mnist-5k", "epochs": [3]}')
    with pytest.raises(UsageError, match="contains another study"):
        study(tmp_path / "study", **PLAN)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="contains no study"):
        study(tmp_path, **PLAN)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minutes": 1.0}, "two budgets"),
        ({"epochs": (0,)}, "of 1 or more"),
        ({"variants": ("gam",)}, "did you mean 'gan'"),
        ({"dataset": "mnist-6k"}, "mnist-5k"),
        ({"variants": ("gan", "gan")}, "each once"),
        ({"seeds": 0}, "greater than 0"),
        ({"seed": 3}, "no option 'seed'; did you mean 'seeds'"),
        ({"jobs": 0}, "1 or more"),
    ],
)
def test_a_wrong_plan_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        study(tmp_path / "study", **{**PLAN, **changes})
    assert not (tmp_path / "study").exists()


def test_minutes_are_estimated_without_a_trial() -> None:
    plan = case_study.StudyPlan(dataset="mnist-5k", epochs=None, minutes=5, variants=("gan", "dcgan"), seeds=2)
    told = estimate(plan, load_splits("mnist-5k"), plan.variants)
    assert told.startswith("estimate: 20 min of training (gan 10 min, dcgan 10 min)")


@pytest.mark.parametrize(
    ("flag", "kept"),
    [
        ("--synthetic-data", True),
        ("--no-synthetic-data", False),
        ("--augmentation", True),  # the former names
        ("--no-augmentation", False),
    ],
)
def test_the_part_on_synthetic_data_is_left_out_by_its_name_and_its_former_one(
    flag: str, kept: bool, call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(case_study, "study", lambda out, **options: asked.update(options) or tmp_path / "index.html")
    assert call("study", flag)[0] == 0
    assert asked["synthetic_data_sizes"] == (None if kept else ())


def test_an_older_study_goes_on_under_its_former_names(tmp_path: Path) -> None:
    plan = case_study.StudyPlan(synthetic_data_sizes=(3,), synthetic_data_seeds=2)
    assert case_study.StudyPlan.model_validate({"augmentation_sizes": (3,), "augmentation_seeds": 2}) == plan
    former = plan.model_dump_json().replace("synthetic_data_", "augmentation_")
    (tmp_path / "plan.json").write_text(former)
    claim(tmp_path, plan, "study")
    assert synthetic_data_in(tmp_path) == "synthetic_data.json"
    (tmp_path / "augmentation.json").touch()
    assert synthetic_data_in(tmp_path) == "augmentation.json"
    (tmp_path / "synthetic_data.json").touch()
    assert synthetic_data_in(tmp_path) == "synthetic_data.json"
