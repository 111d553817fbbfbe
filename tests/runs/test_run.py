"""A run's directory: how it is made, opened and found, and the lines and records that it keeps."""

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganzoo.config import RunConfig
from ganzoo.errors import FileError, UsageError
from ganzoo.runs import checkpoint
from ganzoo.runs.records import EvaluationLine, ExportRecord, LogLine
from ganzoo.runs.run import EVALUATIONS, METRICS, RUNS, Run
from ganzoo.runtime.images import encode_png

GOLDEN = Path(__file__).parents[1] / "golden" / "gan"
JUDGE = {"name": "MNIST", "sha256": "0" * 64, "accuracy": 0.99}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of an older version with checkpoints at steps 6 and 12."""
    return Run.open(shutil.copytree(GOLDEN, tmp_path / "run"))


@pytest.fixture
def config(run: Run) -> RunConfig:
    return run.config


def log_line(step: int) -> LogLine:
    return LogLine(step=step, epoch=step / 2, seconds=1.0, images_per_s=10.0, losses={"d_loss": 0.5})


def evaluation_line(step: int) -> EvaluationLine:
    line = {"step": step, "epoch": 1.0, "seconds": 1.0, "figures": {"fid": 12.5}, "judge": JUDGE}
    return EvaluationLine.model_validate(line)


# opening


def test_only_a_directory_with_a_configuration_is_a_run(run: Run, tmp_path: Path) -> None:
    assert Run.open(str(run.path)).path == run.path
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, reason in (
        ("file", "is a file, not a run"),
        ("missing", "does not exist"),
        ("empty", "is not a run: it has no config.toml"),
    ):
        with pytest.raises(FileError, match=f"{name} {reason}; a run is a directory that 'ganzoo train' created"):
            Run.open(tmp_path / name)


def test_the_newest_run_is_the_one_that_was_written_to_last(run: Run, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no runs under .*runs/: train one"):
        Run.newest(tmp_path / "runs")
    for name in ("a", "b", "c"):
        shutil.copytree(run.path, tmp_path / "runs" / name)
        for path in [*(tmp_path / "runs" / name).rglob("*")]:
            os.utime(path, (10.0, 10.0))
    assert Run.newest(tmp_path / "runs").path.name == "c"  # the last by name
    os.utime(tmp_path / "runs/a/checkpoints/step-00000012", (20.0, 20.0))
    assert Run.newest(tmp_path / "runs").path.name == "a"
    os.utime(tmp_path / "runs/b/config.toml", (30.0, 30.0))
    assert Run.newest(tmp_path / "runs").path.name == "b"
    assert Path("runs") == RUNS


def test_a_damaged_configuration_is_named(run: Run) -> None:
    text = (run.path / "config.toml").read_text()
    (run.path / "config.toml").write_text(text.replace("batch_size", "batch_sighs"))
    with pytest.raises(FileError, match=r"config\.toml is damaged: .*batch_sighs"):
        _ = run.config


# making


def test_a_new_run_has_its_folders_its_settings_and_its_environment(config: RunConfig, tmp_path: Path) -> None:
    made = Run.create(config, tmp_path / "deep" / "new", "a device")
    assert made.path == tmp_path / "deep" / "new"
    assert (made.samples.is_dir(), made.checkpoints_directory.is_dir()) == (True, True)
    assert sorted(path.name for path in made.path.iterdir()) == ["checkpoints", "config.toml", "env.json", "samples"]
    assert made.config == config
    environment = made.environment()
    assert environment["device"] == "a device"
    assert environment["packages"].keys() >= {"torch-ganzoo", "torch", "numpy", "onnxruntime"}
    assert environment["packages"]["torch"]
    assert environment.keys() == {"python", "platform", "device", "packages", "git_revision", "started"}
    with pytest.raises(UsageError, match="new exists; a new run needs a new directory"):
        Run.create(config, tmp_path / "deep" / "new", "cpu")


def test_a_run_without_a_name_is_named_for_its_variant_its_data_and_the_time(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ganzoo.runs.run.time.strftime", lambda form: "20260131-142501")
    data = config.data.model_copy(update={"source": "npz:folder/my.digits.npz"})
    names = [Run.create(config.model_copy(update={"data": data}), None, "cpu").path for _ in range(3)]
    first = Path("runs/gan-npz-my.digits-20260131-142501")
    assert names == [first, Path(f"{first}-2"), Path(f"{first}-3")]
    data = data.model_copy(update={"source": "mnist"})
    made = Run.create(config.model_copy(update={"data": data}), None, "cpu").path
    assert made == Path("runs/gan-mnist-20260131-142501")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"[" * 100_000, b'{"packages": 3}', b"\xff"])
def test_a_damaged_environment_is_none(content: bytes, run: Run) -> None:
    (run.path / "env.json").write_bytes(content)
    assert run.environment() == {}
    (run.path / "env.json").unlink()
    assert run.environment() == {}


# checkpoints


def test_checkpoints_are_found_by_age_step_and_distance(run: Run) -> None:
    assert [made.step for made in run.checkpoints()] == [6, 12]
    assert run.latest_checkpoint().step == 12
    assert run.checkpoint_at(6).step == 6
    with pytest.raises(FileError, match=r"no checkpoint of step 7 \(its checkpoints have the steps 6, 12\)"):
        run.checkpoint_at(7)
    with pytest.raises(FileError, match=r"was not evaluated during training \(--evaluate-every\)"):
        run.best_checkpoint()
    for step, fid in ((20, 1.0), (21, 2.0)):
        checkpoint.save(run.checkpoints_directory, step, {}, {"step": step, "fid": fid})
    assert run.best_checkpoint().step == 20
    shutil.rmtree(run.checkpoints_directory)
    with pytest.raises(FileError, match="has no checkpoint yet"):
        run.latest_checkpoint()
    with pytest.raises(FileError, match=r"has no checkpoint of step 6 \(its checkpoints have the steps none\)"):
        run.checkpoint_at(6)


def test_one_process_at_a_time_trains_a_run(run: Run) -> None:
    with run.lock(), pytest.raises(UsageError, match="is being trained by another process"), run.lock():
        pass
    with run.lock():
        pass
    assert not (run.path / ".lock").exists()


# lines and records


def test_lines_are_added_read_and_cut(run: Run) -> None:
    (run.path / METRICS).unlink()
    assert (run.metrics(), run.evaluations(), run.evaluation()) == ([], [], None)
    run.cut_lines(3)
    assert not (run.path / METRICS).exists()
    for step in (1, 2, 3, 4):
        run.append_metrics(log_line(step))
        run.append_evaluation(evaluation_line(step))
    assert run.read_metrics() == [log_line(step) for step in (1, 2, 3, 4)]
    assert run.metrics()[0] == {"step": 1, "epoch": 0.5, "seconds": 1.0, "images_per_s": 10.0, "d_loss": 0.5}
    before = (run.path / METRICS).read_bytes().splitlines()
    assert len(before) == 4
    run.cut_lines(2)
    assert (run.path / METRICS).read_bytes().splitlines() == before[:2]
    assert [line["step"] for line in run.evaluations()] == [1, 2]


def vouching(run: Run, step: int) -> None:
    state = {"step": step, "lines": run.vouch_for_lines()}
    checkpoint.save(run.checkpoints_directory, step, {}, state)


def test_a_checkpoint_vouches_for_the_lines_before_it(run: Run) -> None:
    (run.path / METRICS).unlink()
    assert run.vouch_for_lines() == {}
    vouching(run, 13)
    assert not run.lines_missing()
    run.append_metrics(log_line(14))
    content = (run.path / METRICS).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    assert run.vouch_for_lines() == {METRICS: {"bytes": len(content), "sha256": digest}}
    vouching(run, 15)
    run.append_metrics(log_line(16))
    assert [line["step"] for line in run.metrics()] == [14, 16]
    (run.path / METRICS).write_bytes(content.replace(b"14", b"15"))
    with pytest.raises(FileError, match=r"is damaged or was changed: it differs from the record in step-00000015"):
        run.metrics()
    assert run.evaluations() == []
    (run.path / METRICS).unlink()
    assert (run.metrics(), run.lines_missing()) == ([], True)


def test_lines_are_read_though_the_checkpoint_is_damaged_or_none_is_there(run: Run) -> None:
    before = run.metrics()
    assert before
    run.append_evaluation(evaluation_line(13))
    vouching(run, 13)
    (run.path / EVALUATIONS).write_text("")
    with pytest.raises(FileError, match="was changed"):
        run.evaluations()
    (run.latest_checkpoint().path / "state.json").unlink()
    assert (run.evaluations(), run.metrics()) == ([], before)
    shutil.rmtree(run.checkpoints_directory)
    assert run.metrics() == before


def test_lines_that_cannot_be_read_are_named(run: Run) -> None:
    vouching(run, 13)
    (run.path / METRICS).unlink()
    (run.path / METRICS).mkdir()
    with pytest.raises(FileError, match=rf"{METRICS} cannot be read \(Is a directory\)"):
        run.metrics()


def test_an_export_is_found_by_its_hash_alone(run: Run) -> None:
    record = ExportRecord(format="pt2", path="a.pt2", sha256="ab" * 32, step=1, weights="ema", difference=0.0)
    run.record_export(record)
    assert run.find_export("ab" * 32) == record
    assert run.find_export("cd" * 32) is None
    assert json.loads((run.path / "exports" / f"{'ab' * 32}.json").read_text()) == record.to_json()
    (run.path / "exports" / f"{'ef' * 32}.json").write_text("{}")
    with pytest.raises(FileError, match="is damaged or of another version"):
        run.find_export("ef" * 32)


def shown_images(page: str) -> list[bytes]:
    """The images within HTML."""
    return [base64.b64decode(found) for found in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]


def test_a_notebook_shows_facts_metrics_and_the_newest_image(run: Run) -> None:
    newest, pixels = run.samples / "final.png", np.arange(24, dtype=np.uint8).reshape(4, 6, 1)
    newest.write_bytes(encode_png(pixels))
    os.utime(newest, (2**33, 2**33))
    page = run._repr_html_()
    assert "<th>variant</th><td>gan</td>" in page
    assert "<th>step</th><td>12</td>" in page
    (shown,) = shown_images(page)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(shown))), pixels[..., 0])
    assert 'width="12"' in page
    header = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4) + b"IHDR" + (2**31 - 1).to_bytes(4) * 2 + b"\x08\0\0\0\0"
    for content in (b"GIF89a", newest.read_bytes()[:40], header + zlib.crc32(header[12:]).to_bytes(4)):
        newest.write_bytes(content)
        os.utime(newest, (2**33, 2**33))
        assert shown_images(run._repr_html_()) == []
    shutil.rmtree(run.samples)
    assert shown_images(run._repr_html_()) == []


def test_a_notebook_shows_names_of_others_as_text(run: Run) -> None:
    toml = (run.path / "config.toml").read_text()
    (run.path / "config.toml").write_text(toml.replace('variant = "gan"', 'variant = "<script>alert(1)</script>"'))
    assert "<script" not in run._repr_html_()
    (run.path / "config.toml").write_text("<script>")
    assert "<script" not in run._repr_html_()
    assert "config.toml is not a readable TOML file" in run._repr_html_()


@pytest.mark.parametrize("name", ["a/b", "../a", "/a"])
def test_a_variant_whose_name_is_a_path_names_no_run(
    name: str, config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = config.model_copy(update={"run": config.run.model_copy(update={"variant": name})})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match="is not a valid file name: choose one"):
        Run.create(named, None, "cpu")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_directory_whose_name_is_no_text_is_refused(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the name is not UTF-8; rename it"):
        Run.create(config, tmp_path / os.fsdecode(b"bad\xff"), "cpu")


def test_the_revision_is_that_of_the_working_directory(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert Run.create(config, tmp_path / "a", "cpu").environment()["git_revision"] is None
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "First"], ["tag", "v1"]):
        subprocess.run([*git, *command], check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert Run.create(config, tmp_path / "b", "cpu").environment()["git_revision"] == head
    Path("file").touch()
    subprocess.run(["git", "add", "file"], check=True)
    assert Run.create(config, tmp_path / "c", "cpu").environment()["git_revision"] == f"{head}-dirty"
