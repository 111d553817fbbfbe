"""What every version wrote is read, and what a newer one writes is refused by both versions' names."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import begin, tallied
from conftest import ROOT, images_file, train_tiny

import ganzoo
from ganzoo.config import SCHEMA
from ganzoo.errors import FileError, GanzooError
from ganzoo.records import read_record
from ganzoo.report.records import ComparisonResults
from ganzoo.runs import checkpoint
from ganzoo.runs.records import EvaluationRecord
from ganzoo.runs.run import Run
from ganzoo.runtime import onnxfile

RUNS = sorted(path for folder in ROOT.glob("tests/golden*") for path in folder.iterdir() if path.is_dir())
COMMANDS: dict[str, list[str]] = {  # for a run and the file that was exported from it
    "draw from the run": ["sample", "RUN", "-n", "4", "--out", "images.png"],
    "draw from the file": ["sample", "FILE", "-n", "4", "--out", "images.png"],
    "export again": ["export", "RUN", "--onnx", "-o", "again.onnx"],
    "show the file": ["info", "FILE"],
    "verify the file": ["verify", "FILE", "--run", "RUN"],
    "report": ["report", "RUN", "--out", "pages"],
}


@pytest.mark.faults
def test_every_version_and_every_command(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    assert {path.parent.name for path in RUNS} == {"golden", *(f"golden-{schema}" for schema in range(2, SCHEMA + 1))}
    with tallied("runs and files of every schema, with every command", record_property) as row:
        for original in RUNS:
            for what, arguments in COMMANDS.items():
                place = tmp_path / f"{original.parent.name}-{original.name}-{what.replace(' ', '-')}"
                run = Path(shutil.copytree(original, place / "run"))
                names = {"RUN": str(run), "FILE": str(run / f"{original.name}.onnx")}
                with row.case(f"{original.parent.name}/{original.name}: {what}"):
                    command = begin(place, *(names.get(word, word) for word in arguments))
                    assert command.wait() == 0, command.err


def rewritten(path: Path, change: Callable[[Any], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def newer_config(run: Run) -> None:
    path = run.path / "config.toml"
    path.write_text(re.sub(r"schema_version = \d+", f"schema_version = {SCHEMA + 1}", path.read_text()))


def newer_state(run: Run) -> None:
    """The configuration in a checkpoint, with the right hash."""
    path = run.latest_checkpoint().path
    rewritten(path / "state.json", lambda state: state["config"]["run"].update(schema_version=SCHEMA + 1))
    digest = hashlib.sha256((path / "state.json").read_bytes()).hexdigest()
    rewritten(path / "manifest.json", lambda manifest: manifest["sha256"].update({"state.json": digest}))


def newer_manifest(run: Run) -> None:
    rewritten(
        run.latest_checkpoint().path / "manifest.json", lambda manifest: manifest.update(schema=checkpoint.SCHEMA + 1)
    )


@pytest.mark.parametrize(
    ("change", "written", "known"),
    [
        (newer_config, SCHEMA + 1, SCHEMA),
        (newer_state, SCHEMA + 1, SCHEMA),
        (newer_manifest, checkpoint.SCHEMA + 1, checkpoint.SCHEMA),
    ],
)
def test_a_run_of_a_newer_version_names_both(
    change: Callable[[Run], None], written: int, known: int, tmp_path: Path
) -> None:
    run = train_tiny("gan", images_file(tmp_path / "images.npz"), tmp_path / "run", steps=1)
    change(run)
    with pytest.raises(FileError, match=rf"schema {written}\b.*reads up to {known}\b.*upgrade"):
        ganzoo.resume(run, steps=2, progress=False)


def test_a_file_of_a_newer_version_names_both(tmp_path: Path) -> None:
    run = train_tiny("gan", images_file(tmp_path / "images.npz"), tmp_path / "run", steps=1)
    path = ganzoo.export(run, tmp_path / "model.onnx").path
    data = path.read_bytes()
    written = re.search(rb'"schema": ?(\d+)', data)
    assert written is not None
    newer = data.replace(written[0], written[0][:-1] + b"9")
    path.write_bytes(newer)
    with pytest.raises(FileError, match=rf"schema 9\b.*reads up to {onnxfile.SCHEMA}\b.*upgrade"):
        ganzoo.load(path)


@pytest.mark.parametrize(("kind", "name"), [(EvaluationRecord, "evaluation"), (ComparisonResults, "results")])
def test_a_record_of_a_newer_version_names_both(kind: Any, name: str, tmp_path: Path) -> None:
    path = Path(shutil.copy(ROOT / f"tests/golden_records/{name}.json", tmp_path))
    key = "schema" if "schema" in json.loads(path.read_text()) else "schema_version"
    rewritten(path, lambda document: document.update({key: 2}))
    with pytest.raises(GanzooError, match=r"schema 2\b.*reads up to 1\b.*upgrade"):
        read_record(kind, path)
