"""The benchmark of the runtime: who takes part, what is told of each, and that a failure stops nobody else."""

import importlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_images, train_tiny
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from ganzoo.errors import VerificationError
from ganzoo.exporting import exporter
from ganzoo.registry import generators
from ganzoo.report.benchmark import BenchmarkRecord, Spread
from ganzoo.runs.run import Run
from ganzoo.runtime.forms import LAYOUTS, PRECISIONS, Form
from ganzoo.runtime.generator import GeneratorInfo
from ganzoo.studies import benchmark
from ganzoo.studies.contestants import COMPILED, EAGER, PLAIN, Contestant, choose_forms, every_form, reason
from ganzoo.studies.stopwatch import busy, summarize, times_faster

importlib.import_module("ganzoo_cli.benchmark")  # registers
app = importlib.import_module("ganzoo_cli.app").app
QUICK = ["--seconds", "0", "--repeats", "2", "--threads", "1", "--no-start"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_tiny("cgan", make_images(), tmp_path_factory.mktemp("run") / "run", steps=2)


@pytest.fixture(scope="module")
def file(run: Run) -> Path:
    return exporter.export(run).path


@pytest.fixture
def asked(file: Path, monkeypatch: pytest.MonkeyPatch) -> list[Form]:
    """The forms that were rendered: every one is the same file, which takes no time and is of no other use."""
    forms: list[Form] = []

    def render(run: Run, form: Form, *, judged: bool, rewrite: bool) -> Any:
        forms.append(form)
        return SimpleNamespace(data=file.read_bytes())

    monkeypatch.setattr(exporter, "render", render)
    return forms


def measure(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["benchmark", "runtime", *map(str, arguments)])


def found(*arguments: object) -> dict[str, Any]:
    done = measure(*arguments, *QUICK, "--json")
    assert done.exit_code == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_form_beside_torch(run: Run, tmp_path: Path, asked: list[Form]) -> None:
    out, plot = tmp_path / "found.json", tmp_path / "plot.png"
    result = found(run.path, "--forms", "fp32", "--batches", "1,3", "--no-compile", "--out", out, "--plot", plot)
    assert json.loads(out.read_text()) == result
    with Image.open(plot) as picture:
        assert picture.format == "PNG"
    assert {"threads": 1, "repeats": 2, "batches": [1, 3]}.items() <= result["conditions"].items()
    (model,) = result["models"]
    assert (model["model"], model["variant"], model["references"]) == (str(run.path), "cgan", [EAGER, "fp32"])
    eager, form = model["contestants"]
    assert asked == [Form()]
    assert (form["precision"], form["layout"], form["opset"], form["error"]) == ("fp32", "float", Form().opset, None)
    assert form["bytes"] > 1000
    assert "bytes" not in eager
    record = BenchmarkRecord.model_validate(result)
    assert record.to_json() == result
    assert {key: record[key] for key in result} == result  # as earlier versions returned it
    assert form["nodes"] > 5
    for ours, theirs in zip(form["batches"], eager["batches"], strict=True):
        assert ours["p50_ms"] <= ours["p95_ms"]
        assert ours["images_per_s"] == pytest.approx(1000 * ours["batch"] / ours["p50_ms"])
        ratio = ours["times_faster_than"][EAGER]
        pairs = zip(theirs["medians_ms"], ours["medians_ms"], strict=True)
        ratios = [slow / fast for slow, fast in pairs]
        assert ratio["mean"] == pytest.approx(np.mean(ratios))
        assert (ratio["least"], ratio["greatest"]) == pytest.approx((min(ratios), max(ratios)))


def test_the_tables_rows_take_part_and_so_does_a_further_one(
    run: Run, asked: list[Form], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LAYOUTS, "further", LAYOUTS["float"])
    names = [one["name"] for one in found(run.path, "--batches", "1", "--no-compile")["models"][0]["contestants"]]
    assert names[0] == EAGER
    assert set(names[1:]) == set(PRECISIONS) | {name for name in LAYOUTS if name != "float"} | {PLAIN}
    assert [form.suffix.removeprefix("-") or "fp32" for form in asked] == [*names[1:-1], "fp32"]
    assert names[-1] == PLAIN


@pytest.mark.slow
def test_a_rewritten_graph_beside_the_one_it_was_made_of(tmp_path: Path) -> None:
    run = train_tiny("dcgan", make_images(16), tmp_path / "run", steps=2)
    (model,) = found(run.path, "--forms", f"fp32,{PLAIN}", "--batches", "2", "--no-compile")["models"]
    rewritten, plain = model["contestants"][-2:]
    assert model["references"][-2:] == ["fp32", PLAIN]
    assert (rewritten["nodes"], rewritten["bytes"]) > (plain["nodes"], plain["bytes"])
    assert max(rewritten["difference"], plain["difference"]) < 1e-4
    ratio = rewritten["batches"][0]["times_faster_than"][PLAIN]
    pairs = zip(plain["batches"][0]["medians_ms"], rewritten["batches"][0]["medians_ms"], strict=True)
    assert ratio["mean"] == pytest.approx(np.mean([slow / fast for slow, fast in pairs]))


class Grouped(nn.Module):
    """Its normalisation cannot draw an empty batch in onnxruntime."""

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, num_classes: int | None) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.linear, self.norm = nn.Linear(latent_dim, int(np.prod(image_shape))), nn.GroupNorm(4, image_shape[1])

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        rows = self.linear(z).view(-1, self.image_shape[1], self.image_shape[2])
        images: Tensor = self.norm(rows).tanh().view(-1, *self.image_shape)
        return images


@pytest.mark.slow
@pytest.mark.usefixtures("registries")
def test_a_graph_that_draws_no_empty_batch_is_measured(tmp_path: Path) -> None:
    generators.register("grouped")(Grouped)
    run = train_tiny("gan", make_images(), tmp_path / "run", steps=2, settings=["generator=grouped"])
    (model,) = found(run.path, "--forms", f"fp32,{PLAIN}", "--batches", "2", "--no-compile")["models"]
    assert [(one["error"], len(one["batches"])) for one in model["contestants"][-2:]] == [(None, 1), (None, 1)]


def test_forms_are_named_for_what_is_not_usual_about_them() -> None:
    forms = every_form()
    assert len(forms) == len(PRECISIONS) * len(LAYOUTS)
    assert (forms["fp32"], forms["rgb"]) == (Form(), Form(layout="rgb"))
    assert list(choose_forms(["int8-uint8", "fp32", "fp32"])) == ["int8-uint8", "fp32"]
    assert PLAIN not in forms


def test_a_form_that_fails_is_a_row(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def render(run: Run, form: Form, *, judged: bool, rewrite: bool) -> Any:
        if form.precision == "int8":
            raise VerificationError("the exported generator differs\nby a lot")
        return SimpleNamespace(data=b"no file" if form.precision == "fp16" else file.read_bytes())

    monkeypatch.setattr(exporter, "render", render)
    monkeypatch.setattr(torch, "compile", lambda network, **options: 1 / 0)
    done = measure(run.path, "--forms", "int8,fp16,fp32", "--batches", "1,2", *QUICK)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "int8: failed: export: the exported generator differs" in lines
    assert f"{COMPILED}: failed: batch 1: division by zero" in lines
    assert any(line.startswith("fp16: failed: export: ") and "is not an ONNX file" in line for line in lines)
    assert sum(line.startswith("fp32 ") for line in lines) == 3  # the file, and two batch sizes


@pytest.mark.usefixtures("asked")
def test_the_compiled_network_must_draw_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda network, **options: lambda z, labels: network(z, labels) + 1)
    compiled = found(run.path, "--forms", "fp32", "--batches", "1")["models"][0]["contestants"][1]
    assert (compiled["name"], compiled["batches"]) == (COMPILED, [])
    assert "draws other images: they differ by 1.0e+00" in compiled["error"]


def test_files_alone_beside_the_first_and_their_cold_start(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "with a name that is far longer than a terminal is wide by itself.onnx"
    shutil.copy(file, other)
    (model,) = found(file, other, "--batches", "2")["models"]
    first, second = model["contestants"]
    assert (first["name"], second["name"], model["references"]) == (str(file), str(other), [str(file)])
    assert first["batches"][0]["times_faster_than"] == {}
    assert second["batches"][0]["times_faster_than"].keys() == {str(file)}
    done = measure(other, "--batches", "1", "--seconds", "0", "--repeats", "1", "--json")
    start = json.loads(done.stdout)["models"][0]["contestants"][0]["start"]
    assert start.keys() == {"file", "floor"}
    assert all(0 < row["from_import"] < row["from_start"] for row in start.values())
    assert str(other) in measure(other, "--batches", "1", *QUICK).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--forms", "int9"], 2, "no form 'int9'; did you mean 'int8'?"),
        (["--batches", "1,x"], 2, "--batches 1,x: expected integers separated by commas"),
        (["--batches", "0"], 2, "batch 0: expected 1 or more"),
        (["--threads", "0"], 2, "threads: expected 1 or more"),
        (["--repeats", "0"], 2, "repeats: expected 1 or more"),
        (["--seconds", "nan"], 2, "expected at least one batch size, and 0 or more seconds"),
        (["missing.onnx"], 3, "missing.onnx"),
        (["missing"], 3, "missing"),
    ],
)
def test_what_cannot_be_measured_is_told_at_once(file: Path, arguments: list[str], code: int, message: str) -> None:
    done = measure(file, *arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_another_benchmark_is_a_usage_error() -> None:
    done = CliRunner().invoke(app, ["benchmark", "runtme"])
    assert done.exit_code == 2
    assert "no benchmark 'runtme'; did you mean 'runtime'?" in done.stderr


def test_who_fails_at_a_batch_size_keeps_the_rows_before_it(tmp_path: Path) -> None:
    def prepare(inputs: Any) -> Any:
        if len(inputs[0]) == 2:
            raise MemoryError
        return lambda: inputs[0], "its way"

    one = Contestant(name="one", kind="file", prepare=prepare, path=tmp_path)
    info = GeneratorInfo(variant="gan", latent_dim=3, image_shape=(1, 8, 8), num_classes=None)
    contest = benchmark.Contest(model="m", contestants=[one], drawn={"one": info})
    conditions = benchmark.Conditions(batches=(1, 2, 4), threads=1, seconds=0, repeats=1)
    result = benchmark._hold(contest, conditions, False, lambda text: None).contestants[0]
    assert [(row.batch, row.way) for row in result.batches] == [(1, "its way")]
    assert result.error == "batch 2: MemoryError"


def test_latencies_are_of_single_calls_and_ratios_of_one_repeat() -> None:
    row = summarize([[0.001, 0.002, 0.003], [0.004, 0.005]], batch=6)
    assert row.calls == 5
    assert (row.p50_ms, row.p95_ms, row.images_per_s) == pytest.approx((3, 4.8, 2000))
    assert row.medians_ms == pytest.approx((2, 4.5))
    assert times_faster([1, 2], {"a": [3, 2]}) == {"a": Spread(mean=2, least=1, greatest=3)}


def test_a_busy_machine_is_told_of(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {0.5: True, 0.0: False, None: False}
    for share, warns in told.items():
        monkeypatch.setattr(benchmark, "busy", lambda share=share: share)
        done = measure(file, "--batches", "1", *QUICK)
        assert ("warning: other programs use 50% of this machine" in done.stderr) == warns
    assert 0 <= (busy() or 0) <= 1


def test_every_other_goes_first() -> None:
    assert [benchmark._rotate("abc", repeat)[0] for repeat in range(4)] == ["a", "b", "c", "a"]


def test_the_compilers_reason_is_its_cause() -> None:
    outer = type("BackendCompilerFailed", (RuntimeError,), {"__module__": "torch._dynamo.exc"})("backend raised:")
    outer.__cause__ = ValueError("no C++ compiler\nand much more")
    assert reason(outer) == "no C++ compiler"
    assert reason(KeyError()) == "KeyError"
