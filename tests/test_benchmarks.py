"""A result names the clean commit that it was measured at; a benchmark refuses others before it measures anything."""

import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ended, environment, make_images, start_process, wait_until
from PIL import Image

from ganzoo import registry
from ganzoo.compute.processors import available
from ganzoo.errors import UsageError
from ganzoo.evaluation import evaluator
from ganzoo.evaluation.judge import fit_judge
from ganzoo.evaluation.reference import load_splits
from ganzoo.runtime.images import save_npz
from ganzoo.training.prepare import configure
from ganzoo.zoo.measured import Measured

ROOT = Path(__file__).parent.parent
BENCHMARKS = ROOT / "benchmarks"
WITHOUT_RESULTS = {"provenance", "peer", "train_judge", "train_pretrained"}
NAMES = sorted({path.stem for path in BENCHMARKS.glob("*.py")} - WITHOUT_RESULTS)
WORDS = {
    "against": ["CHECKOUT"],
    "peers": ["CHECKOUT"],
    "large_data": ["--place", "PLACE"],
    "speedrun": ["RECIPE.toml", "--track", "mnist-3x-2cores"],
    "search": ["IDEAS.toml"],
}  # that a benchmark cannot do without
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


@pytest.mark.parametrize(
    ("given", "recorded"),
    [
        (["--runs", "/some/place", "--again"], "--runs PATH --again"),
        (["--runs=/some/place"], "--runs=PATH"),
        (["../checkout"], "PATH"),
        (["{tree}/benchmarks/dcgan.toml", "--seeds", "5"], "benchmarks/dcgan.toml --seeds 5"),
        (["benchmarks/dcgan.toml", "--set", "train.ema=0.9"], "benchmarks/dcgan.toml --set train.ema=0.9"),
    ],
)
def test_a_recorded_command_names_no_place_of_one_machine(
    provenance: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], recorded: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["some.py", *(word.format(tree=tree) for word in given)])
    assert provenance.begin("some").facts["command"] == f"python benchmarks/some.py {recorded}"


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
    record.publish("docs/images/curve.png", b"picture")
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
    """Return a result's records: the file is one, or has one per row, or one per part that can be measured alone."""
    document = json.loads(result.read_text(encoding="utf-8"))
    if "commit" in document:
        return [document]
    for key in ("rows", "records"):
        if key in document:
            return list(document[key])
    return list(document.values())


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


# The benchmark of all variants


@pytest.fixture
def variants(provenance: ModuleType) -> ModuleType:
    return import_module("variants")


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small images of three classes, in a file beside their judge."""
    path = tmp_path_factory.mktemp("judged") / "halves.npz"
    images, labels = make_images(16, 96)
    save_npz(path, images[..., None], labels)
    splits = load_splits(f"npz:{path}")
    fit_judge("halves", splits.train, splits.test, f"{path}.judge.safetensors", epochs=1)
    return path


def entry(seed: int, curve: dict[float, float], **changes: Any) -> dict[str, Any]:
    """An entry with FID-MNIST by seconds of training; the distance at the end is the last of the curve."""
    facts = {"cores": 2, "machine": "AMD", "torch": "2.13", "commit": "a" * 40}
    numbers = {"images_per_s": 100.0 * (1 + seed), "epochs": 1.0, "onnx_bytes": 10, "latency_ms": {"1": 1.0 + seed}}
    return {
        "variant": "gan",
        "seed": seed,
        "status": "done",
        "figures": {"fid": list(curve.values())[-1], "coverage": 0.9},
        "curve": [{"seconds": seconds, "fid": fid} for seconds, fid in curve.items()],
        "generator_parameters": 7,
        "discriminator_parameters": 5,
        "settings": [],
        "codes": [],
        "floors": {"fid": 1.3, "coverage": 0.95, "classes": 10.0},
        **numbers,
        **facts,
        **changes,
    }


def test_the_first_seed_of_all_comes_before_the_others_of_the_most_used(variants: ModuleType) -> None:
    assert variants.list_entries(["began", "gan"]) == [("began", 0), ("gan", 0), ("gan", 1), ("gan", 2)]
    assert variants.list_entries(["began", "gan"], seeds=1) == [("began", 0), ("gan", 0)]
    assert {*variants.REPEATED, *variants.SETTINGS} <= set(registry.variants.names())


def test_other_budgets_and_data_sets_have_files_of_their_own(variants: ModuleType) -> None:
    asked = [(5.0, "mnist"), (30.0, "mnist"), (2.0, "fashion-mnist"), (5.0, "celeba:Smiling")]
    names = ["variants", "variants-30", "variants-fashion-mnist-2", "variants-celeba-Smiling"]
    assert [variants.name_results(*one) for one in asked] == names
    for (name, variant), settings in variants.LONG.items():
        assert name in names
        configure(variant, settings=settings)


def test_a_variants_row_is_over_its_seeds(variants: ModuleType) -> None:
    entries = [
        entry(0, {30.0: 50.0, 60.0: 20.0, 90.0: 25.0}),  # good at 60 s, and worse again
        entry(1, {30.0: 19.0, 60.0: 10.0}, commit="b" * 40),
        entry(2, {30.0: 90.0, 60.0: 40.0}, figures={"fid": 40.0, "coverage": 0.8, "classes": 9.0}),
    ]
    row = variants.summarise(entries)
    assert row["figures"]["fid"] == {"mean": 25.0, "least": 10.0, "greatest": 40.0}
    assert row["minutes_to_good"] == 1.0  # of 1, 0.5 and never the one in the middle
    assert variants.minutes_to_good([one["curve"] for one in entries[1:]]) is None
    assert (row["images_per_s"], row["latency_ms"]) == (200.0, {"1": 2.0})
    assert row["verdict"] == "far from real 1, good 1, collapsed 1"
    assert row["revision"] == "aaaaaaa, bbbbbbb"
    conditions = {"minutes": 5.0, "dataset": "mnist", "good": 20.0}
    packaged = Measured.model_validate(variants.package_summary([row], conditions))  # what `ganzoo list` reads
    assert packaged.about.machine == "2 cores of AMD, torch 2.13"
    assert packaged.variants["gan"].to_json().items() >= {"fid": 25.0, "revision": "aaaaaaa, bbbbbbb"}.items()
    assert packaged.variants["gan"].label_accuracy is None


def test_a_variant_that_failed_is_a_row_and_not_in_the_package(variants: ModuleType) -> None:
    row = variants.summarise([{"variant": "gan", "seed": 0, "status": "failed", "error": "step 2: nan"}])
    assert row == {"variant": "gan", "seeds": 0, "failed": 1, "error": "step 2: nan"}
    assert variants.package_summary([row], {})["variants"] == {}


def test_what_is_measured_is_measured_again_only_on_request(
    variants: ModuleType, provenance: ModuleType, tree: Path, judged: Path
) -> None:
    record, source = provenance.begin("variants"), f"npz:{judged}"
    results = variants.Results(record, 5.0, source)
    results.add(entry(0, {1.0: 2.0}))
    results.add({"variant": "dcgan", "seed": 0, "status": "failed", "error": "nan"})
    results = variants.Results(record, 5.0, source)
    here = {"named": False, "again": False}
    assert not results.is_due("gan", 0, **here)
    assert not results.is_due("gan", 0, **{**here, "named": True})
    assert results.is_due("gan", 0, **{**here, "again": True})
    assert results.is_due("gan", 1, **here)
    assert results.is_due("dcgan", 0, **here)

    git(tree, "commit", "--quiet", "--allow-empty", "--message", "Go on")
    later = variants.Results(provenance.begin("variants"), 5.0, source)
    assert not later.is_due("gan", 0, **here)
    assert later.is_due("gan", 0, **{**here, "named": True})
    with pytest.raises(UsageError, match="entries with another value of minutes"):
        variants.Results(record, 6.0, source)


@pytest.mark.slow
def test_variants_are_trained_and_written_where_they_are_read(
    variants: ModuleType, tree: Path, judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tree / "build" / "cache"))
    monkeypatch.setattr(evaluator, "CAS_STEPS", 1)
    monkeypatch.setattr(variants, "REPEATED", ("cgan",))
    monkeypatch.setattr(variants, "SEEDS", 2)
    monkeypatch.setattr(variants, "MINUTES", 0.005)
    monkeypatch.setattr(variants, "DATASET", f"npz:{judged}")
    monkeypatch.setattr(variants, "SETTINGS", {"gan": ("generator.width=4",)})
    words = ["--variants", "gan,cgan", "--minutes", "0.005", "--dataset", f"npz:{judged}"]
    monkeypatch.setattr(sys, "argv", ["benchmarks/variants.py", *words, "--runs", str(tree / "build" / "variants")])
    variants.main()
    result = tree / "benchmarks" / "results" / "variants.json"
    document = json.loads(result.read_text())
    rows = document["rows"]
    assert [(row["variant"], row["seed"], row["status"]) for row in rows] == [
        ("cgan", 0, "done"),
        ("cgan", 1, "done"),
        ("gan", 0, "done"),
    ]
    for row in records(result):
        assert row.keys() >= FACTS | {"date"}
        assert row["commit"] == git(tree, "rev-parse", "HEAD").strip()
        assert row["discriminator_parameters"] > 0
        assert set(row["latency_ms"]) == {"1", "64"}
    assert ["label_accuracy" in row["figures"] for row in rows] == [True, True, False]
    assert [row["settings"] for row in rows] == [[], [], ["generator.width=4"]]
    assert rows[2]["generator_parameters"] < rows[0]["generator_parameters"] / 10
    packaged = json.loads((tree / variants.SUMMARY).read_text())
    assert packaged["about"]["minutes"] == 0.005
    assert packaged["variants"].keys() == {"gan", "cgan"}
    for name, size in {"gan": (10 * 18 - 2, 5 * 18 - 2), "cgan": (5 * 18 - 2, 3 * 18 - 2)}.items():
        with Image.open(tree / "docs" / "images" / "variants" / f"{name}.png") as picture:
            assert picture.size == size

    before = result.read_bytes()
    variants.main()
    assert result.read_bytes() == before
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--variants", "gan", "--again", "gan"])
    variants.main()
    again = {(row["variant"], row["seed"]): row for row in json.loads(result.read_text())["rows"]}
    assert again["gan", 0] != rows[2]
    assert again["cgan", 1] == rows[1]

    kept = result.read_bytes(), (tree / variants.SUMMARY).read_bytes()
    monkeypatch.setattr(variants, "MINUTES", 5.0)
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--variants", "gan"])
    variants.main()
    assert [row["variant"] for row in records(result.with_name("variants-0.005.json"))] == ["gan"]
    assert kept == (result.read_bytes(), (tree / variants.SUMMARY).read_bytes())


@pytest.mark.full
def test_what_was_finished_is_kept_where_it_is_stopped(tmp_path: Path, judged: Path) -> None:
    result = tmp_path / "trial.json"
    command = [sys.executable, str(BENCHMARKS / "variants.py"), "--variants", "began,bigan", "--minutes", "0.005"]
    command += ["--dataset", f"npz:{judged}", "--trial", str(result), "--runs", str(tmp_path / "runs")]
    process = start_process(command)
    wait_until(result.exists, process)
    process.send_signal(signal.SIGINT)
    errors = ended(process)
    assert process.returncode == 130, errors
    assert "run the same command again to continue" in errors
    assert "Traceback" not in errors
    (first,) = records(result)
    assert first["variant"] == "began"
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [row["variant"] for row in records(result)] == ["began", "bigan"]
    assert records(result)[0] == first


RECIPE = """
[run]
variant = "gan"
[variant.generator]
name = "mlp"
width = 4
[variant.discriminator]
name = "mlp"
width = 4
[data]
batch_size = 8
[train]
steps = 6
evaluate_every = 2
"""


SEARCH = """
variant = "gan"
dataset = "npz:{judged}"
rungs = [0.01, 0.02]
keep = 0.5
[ideas]
"as it is" = ["generator.width=8"]
"wide / deep" = ["generator.width=16"]
"wrong" = ["generator.width=none"]
"""


@pytest.mark.slow
def test_a_search_goes_on_with_the_better_half_and_names_what_failed(
    provenance: ModuleType,
    tree: Path,
    judged: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tree / "build" / "small.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(SEARCH.format(judged=judged))
    words = [str(file), "--runs", str(tree / "build" / "runs")]
    monkeypatch.setattr(sys, "argv", ["benchmarks/search.py", *words])
    import_module("search").main()
    document = json.loads((tree / "benchmarks" / "results" / "search-small.json").read_text())
    assert document.keys() >= FACTS
    rows = {(row["idea"], row["minutes"]): row for row in document["rows"]}
    assert {idea for idea, minutes in rows if minutes == 0.01} == {"as it is", "wide / deep", "wrong"}
    assert {idea for idea, minutes in rows if minutes == 0.02} == {"as it is", "wide / deep"}  # half of three is two
    assert "generator.width" in rows["wrong", 0.01]["error"]
    for idea in ("as it is", "wide / deep"):
        assert rows[idea, 0.02]["steps"] > rows[idea, 0.01]["steps"] > 0
        assert 0 < rows[idea, 0.02]["fid"] < float("inf")
    capsys.readouterr()
    import_module("search").main()
    said = capsys.readouterr().out
    assert "2 ideas, 0 of them to measure" in said
    assert "3 ideas, 1 of them to measure" in said  # what failed is tried again
    file.write_text(SEARCH.replace("[0.01, 0.02]", "[0.02, 0.01]"))
    with pytest.raises(SystemExit):
        import_module("search").main()
    assert "expected ideas, ascending rungs" in capsys.readouterr().err


@pytest.mark.slow
def test_a_race_ends_at_its_target_and_is_recorded(
    provenance: ModuleType,
    tree: Path,
    judged: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    speedrun = import_module("speedrun")
    monkeypatch.setattr(speedrun, "SEEDS", 2)
    track = speedrun.Track(multiple=1e9, cores=available(), data=f"npz:{judged}")
    tracks = {"easy": track, "hard": replace(track, multiple=1e-9)}
    monkeypatch.setattr(speedrun, "TRACKS", tracks)
    recipe = tree / "build" / "quick.toml"
    recipe.parent.mkdir(exist_ok=True)
    recipe.write_text(RECIPE)

    def run(recipe: Path, track: str, seeds: int = 2) -> None:
        words = [str(recipe), "--track", track, "--seeds", str(seeds), "--runs", str(tree / "build" / "runs")]
        monkeypatch.setattr(sys, "argv", ["benchmarks/speedrun.py", *words])
        speedrun.main()

    run(recipe, "easy")
    (entry,) = json.loads((tree / "benchmarks" / "results" / "speedrun.json").read_text())["records"]
    assert entry.keys() >= FACTS | {"date"}
    assert [(race["seed"], race["step"]) for race in entry["races"]] == [(0, 2), (1, 2)]  # the first evaluation
    times = [race["seconds"] for race in entry["races"]]
    assert entry["seconds"]["mean"] == pytest.approx(sum(times) / 2, abs=0.1)
    assert all(race["evaluated_at"] <= race["seconds"] for race in entry["races"])
    labelled = tree / "build" / "labelled.toml"
    labelled.write_text(RECIPE.replace("[variant.generator]", "[variant]\nconditional = true\n[variant.generator]"))
    for broken, message in (
        ((recipe, "hard"), "seed 0 has FID"),
        ((labelled, "easy"), "uses labels"),
        ((tree / "none.toml", "easy"), "seed 0: training ended with exit code"),
        ((recipe, "easy", 1), "at least 2 seeds"),
    ):
        with pytest.raises(SystemExit) as left:
            run(*broken)
        assert left.value.code == 2
        assert message in capsys.readouterr().err
