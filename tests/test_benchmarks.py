"""A result names the clean commit that it was measured at; a benchmark refuses others before it measures anything."""

import json
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
WITHOUT_RESULTS = {"provenance", "peer", "train_judge", "train_pretrained"}
NAMES = sorted({path.stem for path in BENCHMARKS.glob("*.py")} - WITHOUT_RESULTS)
WORDS = {"against": ["CHECKOUT"], "large_data": ["--place", "PLACE"]}  # that a benchmark cannot do without
FACTS = {"command", "machine", "cores", "torch", "commit"}

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(tree: Path, *words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(tree), *identity, *words], capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def provenance(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(sys, "argv", ["benchmarks/some.py", "--seconds", "1"])
    return import_module("provenance")


@pytest.fixture
def tree(provenance: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A clean repository of one commit, which the benchmarks take for theirs."""
    for place in ("ganzoo", "benchmarks/results", "docs/images"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "file").write_text("committed")
    (tmp_path / ".gitignore").write_text("build/\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "Begin")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    return tmp_path


def test_a_clean_commit_is_recorded_with_the_machine_and_the_command(provenance: ModuleType, tree: Path) -> None:
    record = provenance.begin("some")
    record.write({"rows": [1]})
    document = json.loads((tree / "benchmarks" / "results" / "some.json").read_text())
    assert document["commit"] == git(tree, "rev-parse", "HEAD").strip()
    assert document["command"] == "python benchmarks/some.py --seconds 1"
    assert set(document) == FACTS | {"rows"}


@pytest.mark.parametrize("place", ["ganzoo/file", "ganzoo/new.py", "benchmarks/new.py"])
def test_a_changed_or_untracked_file_is_refused_by_its_name(
    provenance: ModuleType, tree: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (tree / place).write_text("changed")
    with pytest.raises(SystemExit) as exit_:
        provenance.begin("some")
    assert exit_.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert place in line
    assert "--trial" in line


@pytest.mark.parametrize("place", ["benchmarks/results/file", "docs/images/new.png", "build/run"])
def test_what_benchmarks_write_and_git_ignores_is_not_a_change(provenance: ModuleType, tree: Path, place: str) -> None:
    (tree / place).parent.mkdir(exist_ok=True)
    (tree / place).write_text("changed")
    assert provenance.begin("some").facts["commit"] == git(tree, "rev-parse", "HEAD").strip()


def test_a_trial_is_written_elsewhere_from_any_tree(provenance: ModuleType, tree: Path, tmp_path: Path) -> None:
    (tree / "ganzoo" / "file").write_text("changed")
    record = provenance.begin("some", tmp_path / "build" / "trial.json")
    record.write({})
    record.write_picture("curve.png", b"picture")
    assert json.loads((tmp_path / "build" / "trial.json").read_text())["commit"].endswith("-dirty")
    assert not (tree / "docs" / "images" / "curve.png").exists()
    with pytest.raises(SystemExit) as exit_:
        provenance.begin("some", tree / "benchmarks" / "results" / "trial.json")
    assert exit_.value.code == 2


def test_a_tree_without_history_is_refused(
    provenance: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    with pytest.raises(SystemExit) as exit_:
        provenance.begin("some")
    assert exit_.value.code == 4
    assert "has no git history" in capsys.readouterr().err


def test_a_folder_of_measurements_belongs_to_one_commit(provenance: ModuleType, tree: Path) -> None:
    folder = tree / "build" / "some"
    provenance.begin("some").claim(folder)
    provenance.begin("some").claim(folder)
    git(tree, "commit", "--quiet", "--allow-empty", "--message", "Go on")
    with pytest.raises(SystemExit):
        provenance.begin("some").claim(folder)
    (folder / "commit.json").unlink()
    provenance.begin("some").claim(folder)  # it is empty
    (folder / "commit.json").unlink()
    (folder / "run").touch()
    with pytest.raises(SystemExit):
        provenance.begin("some").claim(folder)


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_refuses_a_changed_tree_before_it_measures(
    provenance: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tree / "ganzoo" / "file").write_text("changed")
    monkeypatch.setattr(sys, "argv", [f"benchmarks/{name}.py", *WORDS.get(name, [])])
    with pytest.raises(SystemExit) as exit_:
        import_module(name).main()
    assert exit_.value.code == 2
    assert "changed or untracked: ganzoo/file" in capsys.readouterr().err


def records(result: Path) -> list[dict[str, Any]]:
    """Return a result's records: the file is one, or has one per part that can be measured alone."""
    document = json.loads(result.read_text(encoding="utf-8"))
    return [document] if "commit" in document else list(document.values())


RESULTS = sorted((BENCHMARKS / "results").glob("*.json"))


@pytest.mark.parametrize("result", RESULTS, ids=lambda path: path.stem)
def test_each_result_names_its_origin(result: Path) -> None:
    for record in records(result):
        assert record.keys() >= FACTS
        assert re.fullmatch("[0-9a-f]{7,40}", record["commit"]), record["commit"]


@pytest.fixture(scope="session")
def history() -> None:
    """The repository's whole history, if it is at hand."""
    try:
        top, shallow = git(ROOT, "rev-parse", "--show-toplevel", "--is-shallow-repository").splitlines()
    except subprocess.CalledProcessError:
        pytest.skip("no git repository, as in a source archive")
    if Path(top) != ROOT.resolve() or shallow == "true":
        pytest.skip("the git history is not all there: a shallow clone, or files in another repository")


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("result", RESULTS, ids=lambda path: path.stem)
def test_each_result_is_of_a_commit_in_the_history(result: Path) -> None:
    for record in records(result):
        command = ["git", "-C", str(ROOT), "merge-base", "--is-ancestor", record["commit"], "HEAD"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{record['commit']} is not in the history: measure {result.stem} again"
