"""Records: the files of this and earlier versions come back as they are, newer ones are read, damaged ones are named.

`tests/golden_records/` was written by ganzoo at ef2e2d4: a run's evaluation and lines, a comparison of two variants and
a run that is not there, a study's data and classifier.
"""

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Call, train_tiny
from hypothesis import given
from hypothesis import strategies as st

from ganzoo.errors import FileError
from ganzoo.records import Record, parse_record, read_lines, read_record
from ganzoo.report.records import (
    ClassifierRecord,
    ComparisonResults,
    CurvePoint,
    Spread,
    StudiedData,
    SyntheticDataRecord,
    SyntheticDataRow,
    VariantSummary,
)
from ganzoo.runs.records import EvaluationLine, EvaluationRecord, JudgeRecord, LogLine
from ganzoo.runs.run import Run

GOLDEN = Path(__file__).parent / "golden_records"
DOCUMENTS: dict[Path, type[Record]] = {
    GOLDEN / "evaluation.json": EvaluationRecord,
    GOLDEN / "evaluation_of_codes.json": EvaluationRecord,
    GOLDEN / "results.json": ComparisonResults,
    GOLDEN / "classifier.json": ClassifierRecord,
    GOLDEN / "data.json": StudiedData,
    GOLDEN / "augmentation.json": SyntheticDataRecord,
}
LINES: dict[str, type[Record]] = {"metrics.jsonl": LogLine, "evaluations.jsonl": EvaluationLine}
documents = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)


def places(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON document."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield (*at, key)
        yield from places(value, (*at, key))


def inner(document: Any, at: tuple[Any, ...]) -> Any:
    for key in at:
        document = document[key]
    return document


# What was written


@documents
def test_a_document_of_an_earlier_version_comes_back_as_it_is(path: Path) -> None:
    record = read_record(DOCUMENTS[path], path)
    assert record is not None
    assert record.to_json() == json.loads(path.read_text())
    assert parse_record(DOCUMENTS[path], json.dumps(record.to_json()).encode(), "again") == record


@pytest.mark.parametrize("name", LINES)
def test_lines_of_an_earlier_version_come_back_as_they_are(name: str) -> None:
    lines = read_lines(LINES[name], GOLDEN / name)
    assert [json.dumps(line.to_json()) for line in lines] == (GOLDEN / name).read_text().splitlines()


def extended(value: Any) -> Any:
    """A record with one more key, in it and in each record within it."""
    if isinstance(value, Record):
        fields = {
            name: extended(getattr(value, name)) for name in value.model_fields_set & type(value).model_fields.keys()
        }
        return value.model_copy(update={**fields, "new": {"of": ["a", "later", "version"]}})
    if isinstance(value, tuple):
        return tuple(map(extended, value))
    return {key: extended(item) for key, item in value.items()} if isinstance(value, dict) else value


@documents
def test_what_a_newer_version_adds_is_kept_and_ignored(path: Path) -> None:
    record = read_record(DOCUMENTS[path], path)
    newer = extended(record).to_json()
    assert json.dumps(newer).count('"new"') >= 1
    read = parse_record(DOCUMENTS[path], json.dumps(newer).encode(), "newer")
    assert read.to_json() == newer
    assert read == extended(record)


def test_a_field_that_an_earlier_version_lacked_has_its_default(tmp_path: Path) -> None:
    document = json.loads((GOLDEN / "evaluation.json").read_text())
    for key in ("schema", "source", "variant", "notes"):
        del document[key]
    (tmp_path / "evaluation.json").write_text(json.dumps(document))
    record = read_record(EvaluationRecord, tmp_path / "evaluation.json")
    assert record is not None
    assert (record.schema_version, record.notes, record.codes) == (1, (), ())
    assert record.to_json() == document


def test_what_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_record(EvaluationRecord, tmp_path / "evaluation.json") is None
    assert read_lines(LogLine, tmp_path / "metrics.jsonl") == []


def test_a_last_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    whole = (GOLDEN / "metrics.jsonl").read_bytes()
    for length in range(len(whole) - 20, len(whole)):
        (tmp_path / "metrics.jsonl").write_bytes(whole[:length])
        assert read_lines(LogLine, tmp_path / "metrics.jsonl") == read_lines(LogLine, GOLDEN / "metrics.jsonl")[:-1]


# Any record

numbers = st.floats(allow_nan=False, allow_infinity=False)
naturals = st.integers(0, 2**53)
names = st.text(max_size=8)
judges = st.builds(JudgeRecord, name=names, sha256=names, accuracy=numbers)
spreads = st.builds(Spread, mean=numbers, deviation=numbers)
figures = st.dictionaries(st.sampled_from(["fid", "cas", "classes"]), numbers)
place: dict[str, Any] = {"step": naturals, "epoch": numbers, "seconds": numbers}
losses = st.dictionaries(st.from_regex(r"[dg]_\w+", fullmatch=True), numbers)
summaries = st.dictionaries(st.sampled_from(["fid", "images_per_s", "latency_ms_1"]), spreads)
records = st.one_of(
    st.builds(LogLine, **place, images_per_s=numbers, losses=losses),
    st.builds(EvaluationLine, **place, n=st.none() | naturals, judge=judges, figures=figures, floors=figures),
    st.builds(CurvePoint, **place, figures=figures),
    st.builds(VariantSummary, variant=names, runs=naturals, failed=naturals, spreads=summaries),
    st.builds(
        SyntheticDataRow,
        per_class=naturals,
        seed=naturals,
        real_only=st.none() | numbers,
        with_generated=st.none() | numbers,
    ),
)


@given(records)
def test_any_record_comes_back_from_its_json(record: Record) -> None:
    again = parse_record(type(record), json.dumps(record.to_json()).encode(), "a file")
    assert again == record
    assert again.to_json() == record.to_json()


def test_a_record_does_not_change() -> None:
    judge = JudgeRecord(name="a", sha256="b", accuracy=1)
    with pytest.raises(ValueError, match="frozen"):
        judge.name = "c"  # type: ignore[misc]


# What is damaged


@documents
def test_a_wrong_type_at_any_place_names_the_file_and_the_field(path: Path) -> None:
    document = json.loads(path.read_text())
    for at in places(document):
        if "settings" in at or "recipe" in at:  # of any form
            continue
        damaged = copy.deepcopy(document)
        inner(damaged, at[:-1])[at[-1]] = ["an array", {}]
        with pytest.raises(FileError) as caught:
            parse_record(DOCUMENTS[path], json.dumps(damaged).encode(), str(path))
        start, _, reason = str(caught.value).partition(" is damaged or of another version (")
        named, wanted = reason.partition(": ")[0].split("."), list(map(str, at))
        assert start == str(path)
        assert [part for part in named if part in wanted][: len(wanted)] == wanted, reason
        assert "\n" not in reason


@pytest.mark.parametrize("content", [b"", b"\xff", b"{", b"[]", b"null", b"7", b"[" * 9999, b'{"step": 1e999}'])
@documents
def test_what_is_no_record_at_all_is_an_error_of_one_line(path: Path, content: bytes) -> None:
    with pytest.raises(FileError, match=r"^a file is damaged or of another version \([^\n]+\); move it away"):
        parse_record(DOCUMENTS[path], content, "a file")


def test_a_newer_schema_is_not_taken_for_this_one(tmp_path: Path) -> None:
    document = json.loads((GOLDEN / "evaluation.json").read_text()) | {"schema": 2}
    (tmp_path / "evaluation.json").write_text(json.dumps(document))
    with pytest.raises(FileError, match=r"evaluation\.json has schema 2, this ganzoo reads up to 1: upgrade"):
        read_record(EvaluationRecord, tmp_path / "evaluation.json")


def test_what_a_file_says_cannot_reach_the_terminal(tmp_path: Path) -> None:
    content = json.dumps({"figures": {"\x1b[2J" + 999 * "x": 1}}).encode()
    with pytest.raises(FileError) as caught:
        parse_record(EvaluationRecord, content, "a file")
    assert str(caught.value).isprintable()


# Through the command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short run with an evaluation of an earlier version."""
    run = train_tiny("gan", "mnist-5k", tmp_path_factory.mktemp("records") / "run", steps=6)
    for name in ("evaluation.json", "evaluations.jsonl", "metrics.jsonl"):
        shutil.copy(GOLDEN / name, run.path / name)
    return run


DAMAGES: dict[str, tuple[Callable[[dict[str, Any]], bytes], str]] = {
    "not JSON": (lambda document: b"{", "Invalid JSON"),
    "a field is missing": (lambda document: json.dumps({**document, "n": None}).encode(), "n: "),
    "a wrong type": (lambda document: json.dumps({**document, "judge": [1]}).encode(), "judge: "),
}


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("command", [["report", "{run}"], ["export", "{run}", "--onnx"], ["compare", "{run}"]])
def test_a_command_names_the_damaged_file_and_field(
    run: Run, command: list[str], damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run.path, tmp_path / "run")
    change, field = DAMAGES[damage]
    path = tmp_path / "run" / "evaluation.json"
    path.write_bytes(change(json.loads(path.read_text())))
    code, out, err = call(*(word.format(run="run") for word in command))
    if command[0] == "compare":  # where it is a row
        assert (code, err.count("Traceback")) == (0, 0)
        assert f"run/evaluation.json is damaged or of another version ({field}" in out
    else:
        assert code == 3, err
        assert err.startswith(f"ganzoo: run/evaluation.json is damaged or of another version ({field}"), err
        assert "Traceback" not in err
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("name", "line", "field"),
    [
        ("metrics.jsonl", '{"step": 1, "epoch": 1, "seconds": 1, "images_per_s": 1, "g_loss": "x"}', "losses.g_loss: "),
        ("metrics.jsonl", '{"step": "1"}', "step: "),
        ("evaluations.jsonl", '{"step": 1, "epoch": 1, "seconds": 1, "figures": {}}', "judge: "),
        ("evaluations.jsonl", "[1]", "Input should be an object"),
    ],
)
def test_a_damaged_line_is_named(
    run: Run, name: str, line: str, field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(run.path, tmp_path / "run")
    with (tmp_path / "run" / name).open("a") as file:
        file.write(line + "\n")
    number = len((GOLDEN / name).read_text().splitlines()) + 1
    code, _, err = call("report", "run")
    assert code == 3, err
    assert f"run/{name}, line {number}, is damaged or of another version ({field}" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_the_records_of_an_earlier_version_are_reported_on(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = call("report", str(run.path), "--out", "page")
    assert code == 0, err
    document = json.loads((GOLDEN / "evaluation.json").read_text())
    assert document["verdict"]["sentence"] in (tmp_path / "page" / "report.md").read_text().replace("\\", "")
