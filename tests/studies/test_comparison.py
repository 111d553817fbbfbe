"""The comparison engine: what is trained once stays, what fails is a row, what cannot be compared is refused."""

import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Call, ended, environment, images_file, start_process, train_tiny, wait_until

from ganzoo.config import Adam, Spec, Variant
from ganzoo.errors import FileError, MachineError, UsageError
from ganzoo.evaluation import evaluator
from ganzoo.registry import variants
from ganzoo.report.records import FIGURE_KEYS
from ganzoo.runs.run import Run
from ganzoo.studies import comparison
from ganzoo.studies.case_study import StudyPlan
from ganzoo.studies.comparison import Plan, claim, compare, with_reading
from ganzoo.studies.executors import KILLED, Job, RayTasks, on_ray

QUICK = ("fid", "classes", "label_accuracy")
SMALL = ("train.threads=1", "generator.width=8", "discriminator.width=8")
PLAN: dict[str, Any] = {
    "dataset": "mnist-5k",
    "steps": 6,
    "points": (1,),
    "n": 64,
    "figures": QUICK,
    "settings": SMALL,
}
with_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the package ray")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.delenv("RAY_ADDRESS", raising=False)  # no cluster that this machine may belong to
        yield


@pytest.fixture(scope="module")
def compared(cache: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A comparison of two small variants, and its results."""
    out = tmp_path_factory.mktemp("compared") / "comparison"
    return out, compare(out=out, variants=("gan", "cgan"), seeds=1, **PLAN)


def written(run: Path) -> dict[str, int]:
    return {str(path.relative_to(run)): path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_variants_are_trained_once_and_set_side_by_side(compared: tuple[Path, dict[str, Any]]) -> None:
    out, results = compared
    assert json.loads((out / "results.json").read_text()) == json.loads(json.dumps(results))
    assert [row["name"] for row in results["rows"]] == ["gan-seed0", "cgan-seed0"]
    assert results["judge"]["name"] == "MNIST"
    assert 0 < results["floors"]["fid"] < min(row["figures"]["fid"] for row in results["rows"])
    for row in results["rows"]:
        run = Run.open(out / row["run"])
        assert row["status"] == "done"
        assert row["steps"] == run.latest_checkpoint().step == 6
        averaged = run.latest_checkpoint().tensors("ema")
        weights = sum(tensor.numel() for name, tensor in averaged.items() if name.endswith(("weight", "bias")))
        assert row["generator_parameters"] == weights
        assert row["discriminator_parameters"] > 0
        assert row["onnx_bytes"] == (run.path / f"{row['variant']}.onnx").stat().st_size
        assert set(row["latency_ms"]) == {"1", "64"}
        assert row["curve"][-1]["step"] == 6  # judged at the end of its budget
        assert ("label_accuracy" in row["figures"]) == (row["variant"] == "cgan")

    before = written(out / "runs")
    again = compare(out=out, variants=("gan", "cgan"), seeds=1, **PLAN)
    assert written(out / "runs") == before
    assert [row["figures"] for row in again["rows"]] == [row["figures"] for row in results["rows"]]


@pytest.mark.slow
def test_the_seeds_begin_with_the_first(tmp_path: Path) -> None:
    results = compare(out=tmp_path / "c", variants=("gan",), first_seed=2, seeds=1, **PLAN)
    assert [(row["name"], row["seed"]) for row in results["rows"]] == [("gan-seed2", 2)]
    assert Run.open(tmp_path / "c" / "runs" / "gan-seed2").config.train.seed == 2


@pytest.mark.slow
def test_another_plan_needs_another_directory(compared: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"contains another comparison \(steps differ\)"):
        compare(out=compared[0], variants=("gan", "cgan"), seeds=1, **{**PLAN, "steps": 7})
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "plan.json").write_text("{")
    with pytest.raises(FileError, match="damaged"):
        compare(out=tmp_path / "c", variants=("gan",), seeds=1, **PLAN)


def test_a_directory_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="contains no comparison"):
        compare(out=tmp_path, variants=("gan",), seeds=1, **PLAN)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing to compare"),
        ({"variants": ("gam",)}, "did you mean 'gan'"),
        ({"variants": ("gan", "gan")}, "named twice"),
        ({"variants": ("gan",), "seeds": 0}, "greater than 0"),
        ({"variants": ("gan",), "jobs": 0}, "1 or more"),
        ({"variants": ("gan",), "executor": "cloud"}, "no executor 'cloud': expected local or ray"),
        ({"variants": ("gan",), "n": 1}, "greater than or equal to 2"),
        ({"variants": ("gan",), "figures": ("fod",)}, "no metric 'fod'"),
        ({"variants": ("gan",), "steps": 5, "minutes": 1.0}, "two budgets"),
        ({"variants": ("gan",), "settings": ("generator.widht=8",)}, "widht"),
        ({"variants": ("gan",), "settings": {"generator": {"widht": 8}}}, "widht"),
        ({"variants": ("gan",), "minute": 1.0}, "no option 'minute'; did you mean 'minutes'"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_trained(
    arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        compare(out=tmp_path / "c", **arguments)
    assert not (tmp_path / "c").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("registries")
def test_a_run_that_fails_is_a_row(tmp_path: Path) -> None:
    @variants.register("doomed")
    def doomed() -> Variant:
        return Variant(generator=Spec("mlp"), discriminator=Spec("mlp"), generator_optimizer=Adam(lr=1e30))

    results = compare(out=tmp_path / "c", variants=("doomed", "gan"), seeds=1, **PLAN)
    failed, done = results["rows"]
    assert failed["status"] == "failed"
    assert failed["error"].startswith("step 2, discriminator: the term 'adversarial' is nan; lower the learning rates")
    assert done["status"] == "done"
    assert [(row["runs"], row["failed"]) for row in results["table"]] == [(0, 1), (1, 0)]


@pytest.mark.slow
def test_runs_that_were_trained_elsewhere_take_part(tmp_path: Path) -> None:
    run = train_tiny("gan", "mnist-5k", tmp_path / "mine", steps=4)
    results = compare([run.path], out=tmp_path / "c", n=64, figures=QUICK)
    (row,) = results["rows"]
    assert (row["name"], row["variant"], row["steps"]) == ("mine", "gan", 4)
    assert run.evaluation() is not None


@pytest.mark.slow
def test_a_run_that_classifies_has_its_accuracy_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    """A plan without figures measures all of them; one that lists some measures those alone."""
    monkeypatch.setattr(evaluator, "CAS_STEPS", 5)
    for variant in ("acgan", "gan"):
        train_tiny(variant, "mnist-5k", tmp_path / variant, steps=4)
    (listed,) = compare([tmp_path / "acgan"], out=tmp_path / "listed", n=64, figures=FIGURE_KEYS)["rows"]
    assert set(listed["figures"]) == set(FIGURE_KEYS)
    words = ["compare", str(tmp_path / "acgan"), str(tmp_path / "gan"), "--out", str(tmp_path / "c"), "--n", "64"]
    code, out, err = call(*words)
    assert code == 0, err
    results = json.loads((tmp_path / "c" / "results.json").read_text())
    shares = [row["figures"].get("classifier_accuracy") for row in results["rows"]]
    assert shares[1] is None
    assert f"{100 * shares[0]:.2f} %" in next(line for line in out.splitlines() if line.startswith("acgan"))
    assert "classifier" in out.splitlines()[0]
    assert results["plan"]["figures"] is None


@pytest.mark.parametrize("model", [Plan, StudyPlan])
def test_a_directory_whose_plan_lists_what_all_figures_were_is_gone_on_with(
    model: type[Plan | StudyPlan], tmp_path: Path
) -> None:
    former = {**model().model_dump(mode="json"), "figures": FIGURE_KEYS}
    (tmp_path / "plan.json").write_text(json.dumps(former))
    claim(tmp_path, model(figures=FIGURE_KEYS), "comparison")
    claim(tmp_path, model(), "comparison")
    assert json.loads((tmp_path / "plan.json").read_text())["figures"] is None
    for other in (QUICK, FIGURE_KEYS):
        with pytest.raises(UsageError, match=r"another comparison \(figures differ\)"):
            claim(tmp_path, model(figures=other), "comparison")


def test_a_missing_run_is_a_row(tmp_path: Path) -> None:
    (row,) = compare([tmp_path / "nothing"], out=tmp_path / "c", n=64, figures=QUICK)["rows"]
    assert row["status"] == "failed"
    assert "does not exist" in row["error"]


@pytest.mark.slow
def test_runs_with_different_judges_or_data_are_not_put_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [train_tiny("gan", "mnist-5k", tmp_path / f"seed{seed}", steps=2, seed=seed) for seed in (0, 1)]
    results = compare([run.path for run in runs], out=tmp_path / "c", n=64, figures=QUICK)
    first, second = (row["figures"]["fid"] for row in results["rows"])
    (summary,) = results["table"]
    assert (summary["variant"], summary["runs"], summary["failed"]) == ("gan", 2, 0)
    assert summary["fid"]["mean"] == pytest.approx((first + second) / 2)
    assert summary["fid"]["deviation"] == pytest.approx(abs(first - second) / 2**0.5)
    found = runs[1].read_evaluation()
    assert found is not None
    monkeypatch.setattr(comparison, "_is_judged", lambda run, plan: True)  # else it would be judged anew
    judge, data = found.judge.model_copy(update={"sha256": "0" * 64}), found.data.model_copy(update={"test_sha256": ""})
    for change, message in (({"judge": judge}, "by different judges"), ({"data": data}, "on different data")):
        runs[1].write_evaluation(found.model_copy(update=change))
        with pytest.raises(UsageError, match=message):
            compare([run.path for run in runs], out=tmp_path / "c", n=64, figures=QUICK)


@pytest.mark.slow
def test_several_at_a_time_give_what_one_at_a_time_gives(compared: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    beside = compare(out=tmp_path / "beside", variants=("gan", "cgan"), seeds=1, jobs=2, **PLAN)
    for one, other in zip(compared[1]["rows"], beside["rows"], strict=True):
        assert one["figures"] == other["figures"]


@pytest.mark.slow
def test_the_command_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    out = tmp_path / "c"
    command = [
        sys.executable,
        "-m",
        "ganzoo_cli",
        "compare",
        "--variants",
        "gan",
        "--seeds",
        "1",
        "--out",
        str(out),
    ]
    command += ["--dataset", "mnist-5k", "--steps", "200", "--points", "1", "--n", "64", "--figures", ",".join(QUICK)]
    for setting in (*SMALL, "train.checkpoint_every=20"):
        command += ["--set", setting]
    process = start_process(command)
    wait_until(lambda: any((out / "runs" / "gan-seed0" / "checkpoints").glob("step-*")), process)
    process.send_signal(signal.SIGINT)
    errors = ended(process)
    assert process.returncode == 130, errors
    assert not (out / "results.json").exists()
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert [row["steps"] for row in results["rows"]] == [200]
    assert "from step" in done.stderr  # the first was resumed, not begun again
    assert (out / "index.html").exists()


def test_how_images_are_read_goes_over_settings_and_needs_variants(tmp_path: Path) -> None:
    given = {"variants": ("gan",), "settings": ("data.image_size=32",), "image_size": "64x48", "skip_broken": False}
    assert with_reading(given) == {
        "variants": ("gan",),
        "settings": ("data.image_size=32", 'data.image_size="64x48"'),
    }
    with pytest.raises(UsageError, match=r"^--image-size sets .* name variants to train with --variants$"):
        compare([tmp_path], out=tmp_path / "c", image_size=64)


def test_data_without_a_judge_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    source = images_file(tmp_path / "tiny.npz")
    with pytest.raises(UsageError, match="--fit-judge"):
        compare(out=tmp_path / "c", variants=("gan",), seeds=1, **{**PLAN, "dataset": source})
    assert not (tmp_path / "c").exists()


@pytest.mark.slow
def test_runs_with_different_recipes_are_not_repetitions_of_one(tmp_path: Path) -> None:
    runs = [
        train_tiny("gan", "mnist-5k", tmp_path / name, steps=2, settings=[f"generator_optimizer.lr={lr}"])
        for name, lr in (("slow", 0.001), ("fast", 0.01))
    ]
    results = compare([run.path for run in runs], out=tmp_path / "c", n=64, figures=QUICK)
    assert [(row["variant"], row["runs"]) for row in results["table"]] == [("slow", 1), ("fast", 1)]


@pytest.mark.slow
def test_an_interruption_reaches_every_process_once(tmp_path: Path) -> None:
    out = tmp_path / "c"
    command = [sys.executable, "-m", "ganzoo_cli", "compare", "--variants", "gan,cgan,dcgan", "--seeds", "1"]
    command += ["--dataset", "mnist-5k", "--steps", "20000", "--points", "1", "--n", "64", "--jobs", "2"]
    for setting in SMALL:
        command += ["--set", setting]
    process = start_process([*command, "--out", str(out)])
    runs = [out / "runs" / name for name in ("gan-seed0", "cgan-seed0")]
    wait_until(lambda: all((run / "metrics.jsonl").exists() for run in runs), process)
    process.send_signal(signal.SIGINT)
    errors = ended(process)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "the same command continues" in errors
    for run in runs:
        assert Run.open(run).latest_checkpoint().step < 20000
    assert not (out / "runs" / "dcgan-seed0").exists()


def test_without_ray_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MachineError, match=r"pip install 'torch-ganzoo\[ray\]'"):
        compare(out=tmp_path / "c", variants=("gan",), executor="ray", **PLAN)


@pytest.mark.slow
@with_ray
def test_a_cluster_that_is_not_there_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(MachineError, match=r"cannot connect to Ray at '127.0.0.1:1' \(.*refused\)"):
        compare(out=tmp_path / "c", variants=("gan",), executor="ray", **PLAN)


@pytest.fixture(scope="module")
def ray(cache: None) -> Iterator[None]:
    """A small Ray of this machine for several tests: a connection that is there already is used."""
    module = importlib.import_module("ray")
    module.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    module.shutdown()


@pytest.mark.slow
@with_ray
@pytest.mark.usefixtures("ray")
def test_ray_gives_what_this_machine_gives(compared: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    results = compare(
        [tmp_path / "nothing"], out=tmp_path / "ray", variants=("gan", "cgan"), seeds=1, executor="ray", **PLAN
    )
    *rows, failed = results["rows"]
    assert [(row["name"], row["figures"]) for row in rows] == [
        (row["name"], row["figures"]) for row in compared[1]["rows"]
    ]
    assert (failed["name"], failed["status"]) == ("nothing", "failed")
    assert "does not exist" in failed["error"]


@pytest.mark.slow
@with_ray
@pytest.mark.usefixtures("ray")
def test_a_worker_of_ray_that_dies_fails_its_own_job_only(tmp_path: Path) -> None:
    def dies_of_the_first(job: Job) -> str | None:
        if job.name == "first":
            os.kill(os.getpid(), signal.SIGKILL)
        return None

    todo = [Job(name=name, path=tmp_path / name) for name in ("first", "second")]
    said: list[str] = []
    assert list(on_ray(dies_of_the_first, todo, 1, tmp_path, said.append)) == [(tmp_path / "first", KILLED)]
    assert said == [f"first: {KILLED} (1 of 2)", "second: done (2 of 2)"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@with_ray
@pytest.mark.usefixtures("ray")
def test_storage_that_a_machine_does_not_see_is_an_error(tmp_path: Path) -> None:
    tasks = RayTasks(lambda job: None, 1, tmp_path / "elsewhere" / "token")
    future = tasks.submit(Job(name="first", path=tmp_path / "first"))
    with pytest.raises(MachineError, match=f"cannot see {tmp_path / 'elsewhere'}: use an --out on storage"):
        tasks.outcome(future)


@pytest.mark.slow
@with_ray
def test_an_interruption_has_every_run_on_ray_saved(tmp_path: Path) -> None:
    out = tmp_path / "c"
    command = [sys.executable, "-m", "ganzoo_cli", "compare", "--variants", "gan", "--seeds", "1", "--executor", "ray"]
    command += ["--dataset", "mnist-5k", "--steps", "20000", "--points", "1", "--out", str(out)]
    process = start_process([*command, *(word for setting in SMALL for word in ("--set", setting))])
    run = out / "runs" / "gan-seed0"
    wait_until((run / "metrics.jsonl").exists, process)
    process.send_signal(signal.SIGINT)
    errors = ended(process)
    assert process.returncode == 130, errors
    assert "the same command continues" in errors
    assert "Traceback" not in errors
    last = Run.open(run).latest_checkpoint()
    assert last.step < 20000
    assert f"Interrupted at step {last.step}" in (run / "README.md").read_text()
