"""`ganzoo evaluate`, and evaluation while a run trains: through the command, on tiny runs and sets of images."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import BATCH_SIZE, Call, Images, bits_of, make_images, train_tiny
from numpy.typing import NDArray
from torch import Tensor, nn

import ganzoo
from ganzoo import data
from ganzoo.compute import rule
from ganzoo.config import flag_of
from ganzoo.errors import FileError, UsageError
from ganzoo.evaluation import evaluator, monitor
from ganzoo.evaluation.evaluator import QUICK, evaluate, train_judge
from ganzoo.evaluation.judge import EPOCHS, Reading, fit_judge, judge_path
from ganzoo.evaluation.metrics import FIGURES
from ganzoo.evaluation.reference import load_splits
from ganzoo.exporting import exporter
from ganzoo.registry import generators
from ganzoo.runs.opening import load_network
from ganzoo.runs.records import EvaluationLine, JudgeRecord
from ganzoo.runs.run import Run
from ganzoo.runtime.images import save_directory, save_png
from ganzoo.training import trainer
from ganzoo.training.options import READING_OPTIONS, notes
from ganzoo.zoo.networks.common import as_output

CHEAP = ("classes", "confidence", "sharpness", "memorised", "label_accuracy")  # need no torchmetrics


NO_CLASSIFIER = "only a run whose discriminator has a class head can classify"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A labelled set of three classes with its judge, an unlabelled one, and a conditional run of the first."""
    path = tmp_path_factory.mktemp("place")
    images, labels = make_images(16, 150)
    np.savez(path / "halves.npz", images=images, labels=labels)
    np.savez(path / "plain.npz", images=images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_judge, "__kwdefaults__", {**(fit_judge.__kwdefaults__ or {}), "epochs": 3})
        beside = path / "halves.npz.judge.safetensors"  # where former versions put it
        train_judge(load_splits(f"npz:{path / 'halves.npz'}"), lambda text: None, beside)
    train_tiny("cgan", f"npz:{path / 'halves.npz'}", path / "run", steps=3)
    return path


@pytest.fixture(autouse=True)
def surroundings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's cache somewhere else, one for all tests; the networks of these tests are too small for many steps."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "evaluation-cache"))
    monkeypatch.delenv("GANZOO_DATA_DIR", raising=False)
    monkeypatch.setattr(evaluator, "CAS_STEPS", 5)


@pytest.fixture
def call(place: Path, monkeypatch: pytest.MonkeyPatch, call: Call) -> Call:
    monkeypatch.chdir(place)
    return call


# of what


@pytest.mark.slow
def test_a_run_in_every_figure(place: Path, call: Call) -> None:
    code, out, err = call("evaluate", "run", "--n", "60", "--seeds", "2", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert set(found["figures"]) == set(FIGURES) - {"classifier_accuracy"}
    assert (found["schema"], found["source"], found["variant"], found["step"]) == (1, "run", "cgan", 3)
    assert (found["n"], found["asked"], found["seeds"]) == (60, 60, [0, 1])
    assert found["unavailable"] == {"classifier_accuracy": NO_CLASSIFIER}
    assert found["data"]["source"] == f"npz:{place / 'halves.npz'}"
    assert found["judge"]["name"] == "halves"
    for key, figure in found["figures"].items():
        assert figure["mean"] == pytest.approx(np.mean(figure["values"])), key
        assert figure["deviation"] == pytest.approx(np.std(figure["values"], ddof=1)), key
        assert len(figure["values"]) == 2
    assert found["verdict"]["word"] not in ("excellent", "good", "far from real")  # three steps
    assert found["verdict"]["sentence"].startswith(found["verdict"]["word"])
    assert found["notes"][0].endswith("although generators are trained on them too")
    assert Run.open(place / "run").evaluation() == found
    assert err.splitlines() == ["draw 1 of 2: 60 images", "draw 2 of 2: 60 images", "floors: 60 real images"]


def test_the_table_is_for_people(call: Call) -> None:
    code, out, err = call("evaluate", "run", "--n", "50", "--seeds", "1", "--figures", "fid,label_accuracy,memorised")
    assert code == 0, err
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0].split() == ["metric", "generated", "real", "better"]
    assert [line.split("  ")[0] for line in lines[1:4]] == ["FID-halves", "label accuracy", "memorised"]
    assert lines[2].endswith("higher")
    assert "1 x 50 images compared with 30 test images of npz:" in lines[4]
    assert lines[5].startswith("judge: halves, ")
    assert lines[-1].startswith("verdict: ")


@pytest.mark.slow
def test_the_same_generator_in_an_exported_file_scores_the_same(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, path = Run.open(place / "run"), tmp_path / "g.onnx"
    exporter.export(run, path)
    ours = evaluate(run, n=50, seeds=1, figures=CHEAP)
    with pytest.raises(UsageError, match=r"images that were not found \(npz:halves\.npz\): name them with --dataset"):
        evaluate(path)
    np.savez(tmp_path / "halves.npz", images=make_images(16, 90)[0], labels=make_images(16, 90)[1])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match=r"npz:halves\.npz is not what .* was trained on \(another SHA-256\)"):
        evaluate(path)
    monkeypatch.chdir(place)
    theirs = evaluate(path, n=50, seeds=1, figures=CHEAP)
    assert theirs.subject.variant == "cgan"
    assert {key: theirs.mean(key) for key in CHEAP} == pytest.approx({key: ours.mean(key) for key in CHEAP}, abs=0.05)


def test_the_classes_that_a_code_draws_are_reported_and_no_accuracy(place: Path, tmp_path: Path, call: Call) -> None:
    run = train_tiny("infogan", f"npz:{place / 'halves.npz'}", tmp_path / "run", steps=3)
    code, out, _ = call("evaluate", str(run.path), "--n", "40", "--seeds", "1", "--figures", "classes,label_accuracy")
    assert code == 0
    assert "label accuracy: not available, labels select a code, not a class" in out
    assert "each value of the code 'digit' mostly draws: 0 " in out
    codes = (run.evaluation() or {})["codes"]
    assert [row["value"] for row in codes] == list(range(10))
    assert all(row["class"] in ("0", "1", "2") and 0.3 < row["share"] <= 1 for row in codes)


def test_the_class_head_classifies_the_test_images(place: Path, tmp_path: Path, call: Call) -> None:
    """By the last weights of the discriminator, in evaluation mode, whatever draws there are; beside the judge."""
    settings = ["terms.0.weight=1.0", "discriminator.width=32", "discriminator.dropout=0.2"]
    run = train_tiny("acgan", source(place), tmp_path / "run", steps=100, settings=settings)
    words = ["--n", "40", "--seeds", "2", "--figures", "classes,classifier_accuracy"]
    code, out, _ = call("evaluate", str(run.path), *words)
    assert code == 0
    (line,) = [line.split() for line in out.splitlines() if line.startswith("classifier accuracy")]
    discriminator, _, _ = load_network(run, weights="raw", role="discriminator")
    splits = load_splits(source(place))
    answers = as_output(discriminator(data.normalize(splits.test.images)))["classes"].argmax(1)
    assert splits.test.labels is not None
    right = answers.eq(splits.test.labels).double().mean().item()
    figure = (run.evaluation() or {})["figures"]["classifier_accuracy"]
    assert figure["values"] == pytest.approx([right, right])
    judge = (run.evaluation() or {})["judge"]
    assert (figure["deviation"], figure["floor"]) == (0, pytest.approx(judge["accuracy"], abs=1e-6))
    assert right > 0.8
    assert line[2:] == [f"{100 * right:.2f}", "%", "±", "0.00", "%", f"{100 * figure['floor']:.2f}", "%", "higher"]


def test_what_cannot_classify_the_test_images_is_not_asked_to(place: Path, tmp_path: Path) -> None:
    def unavailable(subject: Any, **options: Any) -> dict[str, str]:
        found = evaluate(subject, n=20, seeds=1, figures=("classes", "classifier_accuracy"), **options)
        assert set(found.values) == {"classes"}
        return found.unavailable

    assert unavailable(place / "run") == {"classifier_accuracy": NO_CLASSIFIER}
    run = train_tiny("acgan", source(place), tmp_path / "run", steps=1)
    assert unavailable(place / "halves.npz", dataset=source(place)) == {"classifier_accuracy": NO_CLASSIFIER}
    larger = unavailable(run, dataset=data.load(source(place), image_size=20))
    assert larger == {"classifier_accuracy": "the run was trained on other classes, or images of another shape"}


def test_the_class_of_a_code_is_the_one_that_is_read_most_often() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1])
    read = nn.functional.one_hot(torch.tensor([2, 2, 1, 0, 0]), 3).double()
    samples = evaluator.Samples(torch.zeros(5, 1, 2, 2), labels, Reading(torch.zeros(5, 2), read))
    assert evaluator.classes_of_codes(samples, ["a", "b", "c"]) == [
        {"value": 0, "class": "c", "share": pytest.approx(2 / 3)},
        {"value": 1, "class": "a", "share": 1.0},
    ]


def digits(count: int = 120) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Training images of mnist-5k, of every class as many."""
    train = data.load("mnist-5k")
    assert train.labels is not None
    rows = torch.cat([torch.nonzero(train.labels == digit).flatten()[: count // 10] for digit in range(10)])
    return train.images[rows].permute(0, 2, 3, 1).numpy(), train.labels[rows].numpy()


@pytest.mark.slow
def test_images_in_a_file(tmp_path: Path) -> None:
    images, labels = digits()
    np.savez(tmp_path / "copies.npz", images=images, labels=labels)
    found = evaluate(tmp_path / "copies.npz", dataset="mnist-5k", n=100, seeds=3, figures=CHEAP)
    assert (found.n, found.seeds, found.unavailable) == (100, [0, 1, 2], {})
    assert found.mean("label_accuracy") > 0.98
    assert found.verdict.word == "memorising"
    assert evaluate(tmp_path / "copies.npz", dataset="mnist-5k", figures=["classes"]).seeds == [0]  # they are all
    np.savez(tmp_path / "shuffled.npz", images=images, labels=np.roll(labels, 12))
    assert (
        evaluate(tmp_path / "shuffled.npz", dataset="mnist-5k", figures=["label_accuracy"]).verdict.word
        == "label-blind"
    )


@pytest.mark.slow
def test_images_in_a_folder(tmp_path: Path) -> None:
    images, labels = digits()
    save_directory(tmp_path / "flat", images)
    found = evaluate(tmp_path / "flat", dataset="mnist-5k", figures=CHEAP)
    assert found.unavailable == {"label_accuracy": "the images have no labels"}
    assert found.n == 120
    assert "n is 120, not 10000: only 120 images are available to compare" in found.notes
    for digit in (7, 3):  # the folders' names say which classes
        save_directory(tmp_path / "named" / str(digit), images[labels == digit])
    found = evaluate(tmp_path / "named", dataset="mnist-5k", figures=["classes", "label_accuracy"])
    assert found.mean("label_accuracy") > 0.95
    assert found.verdict.sentence.startswith("collapsed: it has lost classes (classes covered 2.0")
    (tmp_path / "named" / "7").rename(tmp_path / "named" / "seven")
    with pytest.raises(UsageError, match=r"has the classes 3, seven: expected some of 0, 1, .*, as in mnist-5k"):
        evaluate(tmp_path / "named", dataset="mnist-5k", figures=["classes"])


@pytest.mark.slow
def test_images_of_another_size_are_made_to_fit(tmp_path: Path) -> None:
    large = np.kron(digits()[0][..., 0], np.ones((2, 2), np.uint8))[..., None].repeat(3, 3)
    np.savez(tmp_path / "large.npz", images=large)
    assert evaluate(tmp_path / "large.npz", dataset="mnist-5k", figures=["classes"]).mean("classes") == 10


def test_no_more_threads_than_processors_are_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = digits(50)
    np.savez(tmp_path / "real.npz", images=images, labels=labels)
    monkeypatch.setattr(rule, "free", lambda: 3)
    before, seen = torch.get_num_threads(), []

    def say(text: str) -> None:
        seen.append(torch.get_num_threads())

    try:
        for given in (1, 2, 4):
            torch.set_num_threads(given)
            evaluate(tmp_path / "real.npz", dataset="mnist-5k", figures=["label_accuracy"], say=say)
            assert torch.get_num_threads() == given
    finally:
        torch.set_num_threads(before)
    assert sorted(set(seen)) == [1, 2]  # a power of two, and not more than torch was given


@pytest.mark.slow
def test_real_images_score_their_floors(tmp_path: Path) -> None:
    images, labels = digits(1000)
    np.savez(tmp_path / "real.npz", images=images, labels=labels)
    keys = tuple(key for key in FIGURES if key not in ("memorised", "cas"))
    found = evaluate(tmp_path / "real.npz", dataset="mnist-5k", figures=keys)
    for key in ("entropy", "confidence", "precision", "recall", "coverage", "diversity", "sharpness", "label_accuracy"):
        assert found.mean(key) == pytest.approx(found.floors[key], rel=0.1), key
    assert found.mean("fid") < 2 * found.floors["fid"]
    assert found.verdict.word == "excellent"


@pytest.mark.slow
def test_in_a_process_of_its_own(place: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "ganzoo_cli", "evaluate", "run", "--n", "40", "--seeds", "1", "--figures"]
    done = subprocess.run(
        [*command, "kid,entropy"], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "KID-halves" in done.stdout
    assert "warning" not in done.stderr.lower()


# what is refused


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "--figures", "fdi"], 2, "no metric 'fdi': expected some of fid, kid,"),
        (["run", "--n", "1"], 2, "n is 1 and seeds 3: expected at least 2 images and 1 draw"),
        (["run", "--seeds", "0"], 2, "expected at least 2 images and 1 draw"),
        (["run", "--best"], 3, "was not evaluated during training (--evaluate-every): it has no best checkpoint"),
        (["nothing"], 3, "nothing"),
        (["halves.npz", "--dataset", "npz:plain.npz"], 2, "yet; to train one, repeat the command with --fit-judge"),
        (["run", "--image-size", "20"], 2, "--image-size sets how the images of --dataset are read: name them with"),
        (
            ["run", "--dataset", "npz:plain.npz", "--channels", "3"],
            2,
            "--channels is not possible with run: real images are read",
        ),
    ],
)
def test_wrong_input_gets_one_line(arguments: list[str], code: int, message: str, call: Call) -> None:
    ended, out, err = call("evaluate", *arguments)
    assert (ended, out) == (code, ""), err
    assert message in err.splitlines()[-1]


def test_the_flags_of_reading_are_those_of_training() -> None:
    for name in READING_OPTIONS:
        note = notes()[name][1]
        assert flag_of(name) == (note.flag or f"--{name.replace('_', '-')}")


def test_how_images_are_read_is_checked_from_python_too() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        evaluate("mnist", colour=1)  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="--folders sets how the images of --dataset are read"):
        evaluate("mnist", folders="classes")


@pytest.mark.slow
def test_a_set_without_labels_is_judged_by_how_images_are_turned(place: Path, call: Call) -> None:
    images = make_images(16, 90)[0]
    images[:, :4, :4] = 255  # an upright that can be seen
    np.savez(place / "upright.npz", images=images)
    code, _, err = call("evaluate", "--dataset", "npz:upright.npz", "--fit-judge")
    assert code == 0, err
    assert "has no labels: its judge learns to recognise rotations of images, not classes" in err
    code, out, err = call("evaluate", "upright.npz", "--dataset", "npz:upright.npz", "--seeds", "1", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert set(document["figures"]) == {
        "fid", "kid", "precision", "recall", "density", "coverage", "outliers", "diversity", "sharpness", "memorised",
    }  # fmt: skip
    for key in ("classes", "entropy", "confidence"):
        assert document["unavailable"][key] == "the judge was fitted without labels and has no classes"
    assert any("distances are coarser" in note for note in document["notes"])
    assert document["verdict"]["word"] in ("memorising", "excellent", "good")  # they are the images themselves
    train_tiny("gan", "npz:upright.npz", place / "watched", steps=4, settings=["train.evaluate_every=2"])
    lines = Run.open(place / "watched").evaluations()
    assert [set(line["figures"]) for line in lines] == [{"fid", "diversity", "sharpness"}] * 2


@pytest.mark.slow
def test_a_judge_that_cannot_tell_anything_apart_is_refused(place: Path, call: Call) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 16, 16), dtype=np.uint8)
    np.savez(place / "noise.npz", images=noise, labels=np.arange(60) % 3)
    code, _, err = call("evaluate", "--dataset", "npz:noise.npz", "--fit-judge", "--judge", "noise.judge")
    assert code == 2
    assert "the judge of npz:" in err.splitlines()[-1]
    assert "is too weak: its test accuracy is " in err.splitlines()[-1]
    assert not (place / "noise.judge").exists()


@pytest.mark.slow
def test_one_image_is_too_few(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", images=digits(10)[0][:1])
    with pytest.raises(UsageError, match="has 1 image: expected at least 2"):
        evaluate(tmp_path / "one.npz", dataset="mnist-5k", figures=["classes"])


def test_a_damaged_judge_ends_with_3(place: Path, call: Call) -> None:
    path = place / "halves.npz.judge.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + b"\x00" + whole[-8:])
    try:
        code, _, err = call("evaluate", "run", "--figures", "classes")
    finally:
        path.write_bytes(whole)
    assert code == 3
    assert "is damaged; to train the judge again, repeat the command with --fit-judge" in err


def test_images_in_memory_are_given_again(tiny_images: Images, tmp_path: Path) -> None:
    run = train_tiny("gan", tiny_images, tmp_path / "run", steps=1)
    with pytest.raises(UsageError, match="was trained on images in memory: pass them as dataset=images to evaluate"):
        evaluate(run)


def test_a_set_that_changed_since_is_not_judged_by(place: Path, tmp_path: Path) -> None:
    images, labels = make_images(16, 90)
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    run = train_tiny("gan", f"npz:{tmp_path / 'set.npz'}", tmp_path / "run", steps=1)
    np.savez(tmp_path / "set.npz", images=255 - images, labels=labels)
    with pytest.raises(FileError, match=r"is not what .*run was trained on \(another SHA-256\)"):
        evaluate(run)


def folder_of_sizes(place: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> str:
    """A folder of images that have to be brought to one size."""
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = place / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_png(path, image[: 16 - number % 3, :, None])
    return f"folder:{place.name}"


READING = ("--image-size", "20x18", "--fit", "pad", "--background", "black")


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        ("train", "--variant", "gan", "--steps", "2", "--evaluate-every", "2"),
        ("compare", "--variants", "gan", "--steps", "2", "--seeds", "1", "--figures", "fid"),
        ("study", "--variants", "gan", "--epochs", "1", "--no-synthetic-data"),
    ],
    ids=lambda command: command[0],
)
def test_the_judge_that_a_command_asks_for_is_fitted_as_its_images_are_read(
    command: tuple[str, ...], call: Call, place: Path
) -> None:
    images, labels = make_images(16, 60)
    images[0] = ord(command[0][0])  # other images than the other commands', whose judge would be found
    whole = (*command, "--dataset", folder_of_sizes(place / f"sizes-{command[0]}", images, labels), *READING)
    code, _, err = call(*whole)
    assert code == 2
    found = re.search(r"yet; to train one, type: (ganzoo evaluate .*)", err)
    assert found is not None, err
    assert found[1].endswith(" ".join(READING))
    code, _, err = call(*shlex.split(found[1])[1:])
    assert code == 0, err
    assert 10 < err.count("\nepoch ") <= EPOCHS + 1
    code, _, err = call(*whole)
    assert code == 0, err


@pytest.mark.slow
def test_a_set_that_is_read_in_two_ways_has_two_judges(call: Call, place: Path) -> None:
    dataset = ("--dataset", folder_of_sizes(place / "two-ways", *make_images(16, 60)))
    runs = {"small": ("--image-size", "16"), "stretched": ("--image-size", "16", "--fit", "stretch")}
    for name, reading in runs.items():
        code, _, err = call("train", "--variant", "cgan", *dataset, *reading, "--steps", "1", "--out", name)
        assert code == 0, err
        code, _, err = call("evaluate", name, "--fit-judge", "--figures", "fid", "--seeds", "1")
        assert code == 0, err
    for name in runs:
        code, _, err = call("evaluate", name, "--figures", "fid", "--seeds", "1")
        assert code == 0, err
        code, _, err = call("export", "--onnx", name, "--out", f"{name}.onnx")
        assert code == 0, err
        code, _, err = call("evaluate", f"{name}.onnx", "--figures", "fid", "--seeds", "1")
        assert code == 0, err
        for model, *others in ((name,), (f"{name}.onnx",), (f"{name}.onnx", *dataset, "--balance", "real")):
            out = f"{model}-{len(others)}-set"
            code, _, err = call("sample", model, *others, "-n", "6", "--format", "npz", "--out", out)
            assert code == 0, err
            assert json.loads(Path(out, "manifest.json").read_text())["judge"] is not None, out
    found = [Run.open(place / name).read_evaluation() for name in runs]
    assert len({evaluation.judge.sha256 for evaluation in found if evaluation}) == 2


@pytest.mark.slow
def test_real_images_are_read_as_the_options_say(call: Call, place: Path) -> None:
    images, labels = make_images(16, 60)
    np.savez(place / "floats.npz", images=images.astype(np.float32) / 255, labels=labels)
    judged = ("evaluate", "halves.npz", "--dataset", "npz:floats.npz", "--figures", "fid", "--fit-judge")
    assert "--range" in call(*judged)[2]
    code, _, err = call(*judged, "--range", "0..1")
    assert code == 0, err


@pytest.mark.slow
def test_fitting_a_judge_says_where_it_lies(call: Call, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(place / "more.npz", images=make_images(16, 60)[0], labels=make_images(16, 60)[1])
    code, out, err = call("evaluate", "--fit-judge", "--dataset", "npz:more.npz")
    assert (code, out) == (0, ""), err
    assert "training the judge of npz:" in err
    source = f"npz:{place / 'more.npz'}"
    assert f"{judge_path(data.load(source).sha256)}: " in err.splitlines()[-1]
    assert "ganzoo/judges/" in err.splitlines()[-1]
    assert not (place / "more.npz.judge.safetensors").exists()
    code, _, err = call("evaluate", "--fit-judge", "--dataset", "npz:more.npz", "--judge", "more.judge")
    assert code == 0, err
    assert (place / "more.judge").is_file()
    code, _, err = call(
        "evaluate", "more.npz", "--dataset", "npz:more.npz", "--judge", "more.judge", "--figures", "fid"
    )
    assert code == 0, err
    code, _, err = call("evaluate", "--fit-judge", "--dataset", "mnist-5k")
    assert (code, err) == (0, "the judge of mnist-5k ships with ganzoo\n")


# on the way

EVENTS = ["train.log_every=3", "train.checkpoint_every=4", "train.sample_epochs=[1]", "train.evaluate_every=5"]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few images, and a distance that takes no time."""
    monkeypatch.setattr(monitor, "N", 30)


def source(place: Path) -> str:
    return f"npz:{place / 'halves.npz'}"


CLOCKS = ("seconds", "elapsed")


def lines_of(run: Run) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in CLOCKS} for line in run.evaluations()]


@pytest.mark.usefixtures("quick")
def test_evaluations_on_the_way_change_nothing_and_are_resumed_exactly(place: Path, tmp_path: Path) -> None:
    whole = train_tiny("cgan", source(place), tmp_path / "whole", steps=10, settings=EVENTS)
    assert [line["step"] for line in whole.evaluations()] == [5, 10]
    line = whole.evaluations()[0]
    assert set(line["figures"]) == set(line["floors"]) == set(QUICK)
    assert (line["n"], line["judge"]["name"]) == (30, "halves")
    run = train_tiny("cgan", source(place), tmp_path / "run", steps=5, settings=EVENTS)
    ganzoo.resume(run, steps=10, progress=False)
    assert lines_of(run) == lines_of(whole)
    blind = train_tiny("cgan", source(place), tmp_path / "blind", steps=10, settings=EVENTS[:-1])
    ours, theirs, without = (bits_of(each) for each in (run, whole, blind))
    last = {key for key in theirs if key.startswith("step-00000010/")}
    assert {key: ours[key] for key in [*last, "metrics"]} == {key: theirs[key] for key in [*last, "metrics"]}
    assert {key: without[key] for key in [*last, "metrics"]} == {key: theirs[key] for key in [*last, "metrics"]}


JUDGE = JudgeRecord(name="halves", sha256="0" * 64, accuracy=1.0)


class Scripted:
    """A monitor that finds what it is told to, and takes as long on the clock."""

    def __init__(self, clock: "Clock", distances: Sequence[float], lost: Sequence[Sequence[str]] = ()) -> None:
        self.clock, self.distances, self.lost = clock, iter(distances), iter(lost)

    def evaluate(self, generator: Any, **place: float) -> EvaluationLine:
        self.clock.now += 1000
        figures, floors = {"fid": next(self.distances), "classes": 3.0}, {"fid": 0.1, "classes": 3.0}
        lost = tuple(next(self.lost, ()))
        line = {**place, "judge": JUDGE, "figures": figures, "floors": floors, "classes_lost": lost}
        return EvaluationLine.model_validate(line)

    def confirm(self, generator: Any, draw: int) -> float:
        assert draw > 0
        return next(self.distances)


class Clock:
    """Time that passes a second a look."""

    now = 0.0

    def monotonic(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Clock]:
    def script(distances: Sequence[float], lost: Sequence[Sequence[str]] = ()) -> Clock:
        clock = Clock()
        found = Scripted(clock, distances, lost)
        monkeypatch.setattr(trainer, "_monitor", lambda training: found)
        monkeypatch.setattr(trainer, "time", clock)
        return clock

    return script


def test_the_best_checkpoint_is_kept_beside_the_last(
    scripted: Callable[..., Clock], tiny_images: Images, tmp_path: Path
) -> None:
    scripted([9.0, 4.0, 6.0, 5.0, 7.0, 8.0])
    settings = ["train.evaluate_every=3", "train.checkpoint_every=2"]
    run = train_tiny("gan", tiny_images, tmp_path / "run", steps=18, settings=settings)
    assert [line["figures"]["fid"] for line in run.evaluations()] == [9, 4, 6, 5, 7, 8]
    assert (run.best_checkpoint().step, run.latest_checkpoint().step) == (6, 18)
    assert [found.step for found in run.checkpoints()] == [6, 16, 18]
    assert (run.best_checkpoint().distance, run.latest_checkpoint().distance) == (4.0, 8.0)
    best, last = (ganzoo.load(run, best=best).sample(4) for best in (True, False))
    assert not np.array_equal(best, last)


def test_training_ends_at_its_target_where_other_latents_confirm_it(
    scripted: Callable[..., Clock], tiny_images: Images, tmp_path: Path
) -> None:
    """4.0 is confirmed by 5.5 only, and training goes on; 3.5 by 5.0, which is the target."""
    scripted([9.0, 4.0, 5.5, 6.0, 3.5, 5.0, 1.0])
    settings = ["train.evaluate_every=3", "train.target_fid=5.0"]
    run = train_tiny("gan", tiny_images, tmp_path / "run", steps=30, settings=settings)
    lines = run.evaluations()
    assert [line["figures"]["fid"] for line in lines] == [9, 4, 6, 3.5]
    assert [line.get("confirmed_fid") for line in lines] == [None, 5.5, None, 5.0]
    assert run.latest_checkpoint().step == 12
    assert run.latest_checkpoint().final
    assert "Trained to its target" in (run.path / "README.md").read_text()
    assert (run.samples / "final.png").exists()
    text = monitor.describe(EvaluationLine.model_validate(lines[-1]))
    assert text == "step 12  FID-halves 3.50 (real 0.10), classes covered 3.0 (real 3.0), on other latents 5.00"


def test_a_target_that_is_never_looked_at_is_refused(tiny_images: Images, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"target_fid .* --evaluate-every"):
        train_tiny("gan", tiny_images, tmp_path / "run", steps=30, settings=["train.target_fid=5.0"])
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("quick")
def test_a_run_is_timed_from_its_data_on(place: Path, tmp_path: Path) -> None:
    """Without evaluations; what a resumed run took in all is not known."""
    run = train_tiny("cgan", source(place), tmp_path / "run", steps=5, settings=EVENTS)
    (line,) = run.evaluations()
    assert line["seconds"] < line["elapsed"]
    ganzoo.resume(run, steps=10, progress=False)
    assert run.evaluations()[-1].get("elapsed") is None


def test_evaluating_takes_nothing_from_the_time_for_training(
    scripted: Callable[..., Clock], tiny_images: Images, tmp_path: Path
) -> None:
    """Evaluations take 1000 s each on a clock where all else takes a second."""
    scripted([3.0, 2.0, 1.0, 4.0, 5.0] * 9)
    settings = ["train.evaluate_every=2", "train.log_every=2"]
    run = train_tiny("gan", tiny_images, tmp_path / "run", minutes=2, settings=settings)
    assert run.latest_checkpoint().step > 6
    seconds = [found.state()["seconds"] for found in run.checkpoints()]  # the best was saved while it was evaluated
    seconds += [line["seconds"] for line in [*run.evaluations(), *run.metrics()]]
    assert max(seconds) < 200
    assert seconds[len(run.checkpoints()) - 1] >= 120


def test_collapse_is_said_when_it_happens(
    scripted: Callable[..., Clock], tiny_images: Images, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scripted([5.0] * 5, [[], ["2"], ["2"], ["1", "2"], []])
    train_tiny("gan", tiny_images, tmp_path / "run", steps=5, settings=["train.evaluate_every=1"], progress=True)
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("warning")]
    assert said == [
        "warning: collapse at step 2: the generator draws almost no images of class 2",
        "warning: collapse at step 4: the generator draws almost no images of class 1, 2",
    ]


def test_a_collapse_within_the_classes_is_said_once() -> None:
    """As of a conditional generator that draws one image for each label: no class is lost."""

    def line(step: int, diversity: float) -> EvaluationLine:
        figures, floors = {"diversity": diversity}, {"diversity": 10.0}
        return EvaluationLine(step=step, epoch=step, seconds=step, judge=JUDGE, figures=figures, floors=floors)

    lines = [line(step, diversity) for step, diversity in enumerate([8.0, 2.0, 1.0, 8.0, 2.0])]
    said = [monitor.warning(now, lines[:step]) for step, now in enumerate(lines)]
    collapsed = "warning: collapse at step {}: the images of a class are nearly all alike"
    assert said == [None, collapsed.format(1), None, None, collapsed.format(4)]


class Constant(nn.Module):
    """Draws the bright upper half whatever it is asked for."""

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, num_classes: int | None) -> None:
        super().__init__()
        self.shape = image_shape
        self.brightness = nn.Parameter(torch.tensor(2.0))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        image = torch.full(self.shape, -0.8)
        image[:, : self.shape[1] // 2] = 0.7
        return (image * self.brightness.tanh()).repeat(len(z), 1, 1, 1)


@pytest.mark.usefixtures("quick", "registries")
def test_a_generator_that_draws_one_thing_is_caught(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    generators.register("constant")(Constant)
    settings = ["generator=constant", "discriminator.width=8", "train.threads=1", "train.evaluate_every=2"]
    run = ganzoo.train("gan", source(place), out=tmp_path / "run", steps=2, batch_size=BATCH_SIZE, settings=settings)
    (line,) = run.evaluations()
    assert line["classes_lost"] == ["1", "2"]
    assert line["figures"]["entropy"] == 0
    assert line["figures"]["diversity"] == pytest.approx(0, abs=1e-4)
    assert "warning: collapse at step 2: the generator draws almost no images of class 1, 2" in capfd.readouterr().err
    assert evaluate(run, n=30, seeds=1, figures=["classes", "diversity", "precision"]).verdict.word == "collapsed"


@pytest.mark.usefixtures("quick")
def test_the_best_is_evaluated_where_it_is_asked_for(place: Path, tmp_path: Path, call: Call) -> None:
    settings = ["train.evaluate_every=2", "train.checkpoint_every=1"]
    run = train_tiny("cgan", source(place), tmp_path / "run", steps=6, settings=settings)
    code, out, err = call("evaluate", str(run.path), "--best", "--n", "40", "--figures", "classes", "--json")
    assert code == 0, err
    best = min(run.evaluations(), key=lambda line: float(line["figures"]["fid"]))
    assert json.loads(out)["step"] == best["step"] == run.best_checkpoint().step


def test_epochs_and_seconds_are_cadences_too(
    scripted: Callable[..., Clock], tiny_images: Images, tmp_path: Path
) -> None:
    scripted([5.0] * 9)
    run = train_tiny("gan", tiny_images, tmp_path / "run", steps=12, settings=["train.evaluate_epochs=[1,2]"])
    assert [line["step"] for line in run.evaluations()] == [5, 10, 12]  # and at the end
    scripted([5.0] * 9)
    run = train_tiny("gan", tiny_images, tmp_path / "timed", steps=30, settings=["train.evaluate_seconds=[8,20]"])
    first, second, last = (line["seconds"] for line in run.evaluations())
    assert 8 <= first < 20 <= second < last


@pytest.mark.usefixtures("quick")
def test_without_a_judge_nothing_is_made(tiny_images: Images, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no judge for array yet"):
        train_tiny("gan", tiny_images, tmp_path / "run", steps=2, settings=["train.evaluate_every=1"])
    assert not (tmp_path / "run").exists()
