"""Data sets for others, drawn by a toy whose classes are plain to see and judged by a real judge."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import environment, make_images, train_tiny
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import ganzoo
from ganzoo import data
from ganzoo.data.torchvision_compat import load_torchvision
from ganzoo.errors import FileError, MachineError, UsageError
from ganzoo.evaluation.judge import Judge, fit_judge, to_tensor
from ganzoo.runs.run import Run
from ganzoo.runtime.generator import CHUNK, Generator, GeneratorInfo
from ganzoo.runtime.images import save_npz
from ganzoo.synthetic import writing as synthetic
from ganzoo.synthetic.writing import Model, quotas, spread, write

SIZE, CLASSES = 16, 3
REAL = (120, 60, 20)  # images of each class
DIM = 2 + SIZE * SIZE  # of the latents: which class, how clear, and the noise
Forward = Callable[[NDArray[np.float32], NDArray[np.int64] | None], NDArray[np.float32]]
Place = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Real images of three classes in unequal numbers, beside their judge."""
    images, labels = make_images(SIZE, 3 * max(REAL))
    rows = np.concatenate([np.flatnonzero(labels == label)[:count] for label, count in enumerate(REAL)])
    path = tmp_path_factory.mktemp("real") / "real.npz"
    save_npz(path, images[rows][..., None], labels[rows])
    train = data.load(f"npz:{path}")
    fit_judge("halves", train, train, f"{path}.judge.safetensors", epochs=20)
    return f"npz:{path}"


@pytest.fixture(scope="module")
def judge(source: str) -> Judge:
    judge = synthetic._find_judge(toy_model(source))[0]
    assert judge is not None
    assert judge.accuracy == 1
    return judge


def toy_model(source: str | None, classes: int | None = CLASSES, channels: int = 1, **changes: Any) -> Model:
    """Draws bright halves: of the class asked for, else of classes 0, 1 and 2 in 60, 30 and 10 of 100 draws."""
    fields: dict[str, Any] = {"forward": halves, "class_names": None, **changes}
    info = GeneratorInfo(
        variant="toy",
        latent_dim=DIM,
        image_shape=(channels, SIZE, SIZE),
        num_classes=classes,
        class_names=fields["class_names"],
    )

    def forward(z: NDArray[np.float32], y: NDArray[np.int64] | None) -> NDArray[np.float32]:
        images: NDArray[np.float32] = fields["forward"](z, y)
        return np.repeat(images, channels, axis=1)

    known = {} if source is None else {"source": source}
    return Model(
        generator=Generator(info, forward), name="toy.onnx", sha256="0" * 64, step=7, trained_on=known, data=known
    )


def halves(z: NDArray[np.float32], y: NDArray[np.int64] | None) -> NDArray[np.float32]:
    drawn = np.digitize(z[:, 0], [0.253, 1.282]) if y is None else y
    images = z[:, 2:].reshape(-1, 1, SIZE, SIZE) * 0.1 - 0.75
    half = SIZE // 2
    images[drawn == 0, :, :half] += 1.4
    images[drawn == 1, :, half:] += 1.4
    images[drawn == 2, :, :, :half] += 1.4
    images[z[:, 1] > 1] = 0  # some are plain grey: no class at all
    return images


def deaf(z: NDArray[np.float32], y: NDArray[np.int64] | None) -> NDArray[np.float32]:
    """Asked for class 2 it draws class 0."""
    assert y is not None
    return halves(np.where(np.arange(DIM) == 1, 0, z).astype(np.float32), np.where(y == 2, 0, y))


@pytest.fixture
def place(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """`write` with a toy in the place of a file, into `out` in a new directory."""
    monkeypatch.chdir(tmp_path)

    def written(n: int = 90, layout: str = "npz", *, out: str = "out", model: Any = None, **options: Any) -> Any:
        monkeypatch.setattr(synthetic, "open_model", lambda *_, **__: model or toy_model(source))
        return write("toy.onnx", out, n, layout=layout, **options)

    return written


def arrays(path: str = "out/images.npz") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    with np.load(path) as file:
        return file["images"], file["labels"]


def contents(root: str = "out") -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}


def probabilities(judge: Judge, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    array: NDArray[np.float32] = judge.read(to_tensor(images[..., None])).probabilities.numpy()
    return array


# How many of each class, and in what order


@given(weights=st.lists(st.integers(0, 10_000), min_size=1, max_size=30).filter(any), extra=st.integers(0, 100_000))
def test_quotas_are_the_shares_to_less_than_one_and_leave_no_class_out(weights: list[int], extra: int) -> None:
    n = sum(weight > 0 for weight in weights) + extra
    counts = quotas(n, weights)
    assert counts.sum() == n
    assert ((counts > 0) == (np.array(weights) > 0)).all()
    shares = np.array(weights) * n / sum(weights)
    raised = (shares < 1) & (counts == 1)
    assert (counts[~raised] - shares[~raised] < 1).all()
    if not raised.any():
        assert (np.abs(counts - shares) < 1).all()


def test_quotas_of_equal_weights_differ_by_one_and_too_few_images_are_refused() -> None:
    assert quotas(11, [5, 5, 5, 5]).tolist() == [3, 3, 3, 2]
    assert quotas(10, [60, 30, 10]).tolist() == [6, 3, 1]
    with pytest.raises(UsageError, match="2 images are too few for 3 classes: request at least one per class, -n 3"):
        quotas(2, [1, 0, 1, 1])


@given(classes=st.integers(1, 12), n=st.integers(0, 200), done=st.integers(0, 200))
def test_equal_classes_take_turns_wherever_the_order_is_taken_up(classes: int, n: int, done: int) -> None:
    turns = [index % classes for index in range(n)]
    rest = turns[done:]
    assert list(spread(np.bincount(rest, minlength=classes), done % classes)) == rest


@given(counts=st.lists(st.integers(0, 60), min_size=1, max_size=8), first=st.integers(0, 7))
def test_unequal_classes_are_spread_evenly(counts: list[int], first: int) -> None:
    order = list(spread(np.array(counts), first % len(counts)))
    assert np.bincount(order, minlength=len(counts)).tolist() == counts
    for label, count in enumerate(counts):
        places = np.flatnonzero(np.array(order) == label)
        if count > 1:  # no gap is much longer than the others
            assert np.diff(places).max() <= len(order) / count + len(counts)


# Layouts


def test_torchvision_reads_idx_as_mnist(source: str, place: Place) -> None:
    manifest = place(100, "idx", seed=4)
    images = toy_model(source).generator.sample(116, seed=4)[..., 0]  # as long as the labels go on in turn
    labels = [index % 3 for index in range(100)] + [index % 3 for index in range(16)]
    mnist = load_torchvision().datasets.MNIST
    train, further = mnist("out", train=True), mnist("out", train=False)
    assert (len(train), len(further)) == (100, 16)
    assert torch.cat([train.targets, further.targets]).tolist() == labels
    np.testing.assert_array_equal(train.data.numpy(), images[:100])
    assert manifest["parts"]["train"]["latents"] == [0, 100]
    assert manifest["parts"]["t10k"]["latents"] == [100, 116]
    assert manifest["parts"]["t10k"]["class_counts"] == [6, 5, 5]
    again = toy_model(source).generator.iter_batches(16, labels[100:], 4, 16, start=100)
    np.testing.assert_array_equal(further.data.numpy(), next(again)[..., 0])
    picture, label = train[1]
    assert (picture.size, label) == ((SIZE, SIZE), 1)


def test_few_images_leave_one_of_each_class_to_the_second_part(place: Place) -> None:
    assert place(3, "idx")["parts"]["t10k"]["class_counts"] == [1, 1, 1]


@pytest.mark.parametrize(("n", "channels"), [(1, 1), (CHUNK, 1), (synthetic.BLOCK + 5, 1), (20, 3)])
def test_an_npz_holds_the_sample(n: int, channels: int, source: str, place: Place) -> None:
    model = toy_model(source, channels=channels, classes=3 if n > 1 else None)
    if n == 1:
        model = toy_model(None, classes=None)
    place(n, "npz", model=model, seed=1)
    sample = model.generator.sample(n, seed=1)
    with np.load("out/images.npz") as file:
        np.testing.assert_array_equal(file["images"], sample if channels == 3 else sample[..., 0])
        assert file["images"].flags.c_contiguous
        if n > 1:
            assert file["labels"].dtype == np.int64
            np.testing.assert_array_equal(file["labels"], model.generator.labels_for(n))
        else:
            assert file.files == ["images"]
    read = data.load("npz:out/images.npz")
    assert len(read) == n
    assert read.image_shape == (channels, SIZE, SIZE)


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (None, ["0", "1", "2"]),
        (("cat", "dog", "eel"), ["cat", "dog", "eel"]),
        (("dog", "cat", "eel"), ["0", "1", "2"]),  # a reader would number them in another order
        (("../a", "b", "c"), ["0", "1", "2"]),
        ((".a", "b", "c"), ["0", "1", "2"]),
        (("A", "B", "a"), ["0", "1", "2"]),  # one folder, on some systems
        (("", "b", "c"), ["0", "1", "2"]),
        (("README.md", "b", "c"), ["0", "1", "2"]),
    ],
)
def test_folders_are_read_with_the_labels_that_were_drawn(
    names: tuple[str, ...] | None, folders: list[str], source: str, place: Place
) -> None:
    model = toy_model(source, class_names=names)
    manifest = place(20, "png", model=model)
    assert manifest["folders"] == folders
    read = data.load("folder:out")
    assert read.class_names == tuple(folders)
    assert read.labels is not None
    sample, labels = model.generator.sample(20), np.arange(20) % 3
    for label in range(3):
        np.testing.assert_array_equal(read.images[read.labels == label, 0].numpy(), sample[labels == label][..., 0])
    assert load_torchvision().datasets.ImageFolder("out").targets == sorted(labels.tolist())


def test_a_dozen_folders_keep_their_order(place: Place) -> None:
    place(12, "png", model=toy_model(None, classes=12, forward=lambda z, y: halves(z, y % 3)))
    assert sorted(path.name for path in Path("out").iterdir() if path.is_dir()) == [f"{k:02d}" for k in range(12)]


def test_idx_is_refused_where_it_does_not_fit(source: str, place: Place) -> None:
    with pytest.raises(UsageError, match="idx stores grey images, and these have 3 channels: use --format png or npz"):
        place(9, "idx", model=toy_model(source, channels=3))
    with pytest.raises(UsageError, match="idx supports at most 256 classes, not 257"):
        place(300, "idx", model=toy_model(None, classes=257))


# Labels


@pytest.mark.slow
def test_the_judge_measures_how_many_labels_are_right(source: str, judge: Judge, place: Place) -> None:
    manifest = place(300, "idx", model=toy_model(source, forward=deaf))
    assert manifest["labels"] == "generator"
    assert manifest["label_accuracy"] == pytest.approx(2 / 3, abs=0.01)  # over both parts
    assert manifest["label_accuracy_by_class"] == [1, 1, 0]
    assert manifest["judge"] == judge.describe().to_json()
    assert manifest["unavailable"] == {}
    card = Path("out/README.md").read_text()
    assert "**66.86%** of the images are classified as their label by the judge `halves`" in card
    assert "| 2 | 2 | 100 | 16 | 0.00% |" in card


@pytest.mark.slow
def test_label_accuracy_is_that_of_the_images_as_written(judge: Judge, place: Place) -> None:
    manifest = place(400)
    images, labels = arrays()
    seen = probabilities(judge, images)
    assert manifest["label_accuracy"] == pytest.approx((seen.argmax(1) == labels).mean(), abs=1e-5)
    assert manifest["mean_confidence"] == pytest.approx(seen[np.arange(400), labels].mean(), abs=1e-5)
    assert 0.7 < manifest["label_accuracy"] < 1  # some are grey


@pytest.mark.slow
@pytest.mark.parametrize(("balance", "counts"), [(None, [67, 67, 66]), ("uniform", [67, 67, 66]), ("real", REAL)])
@pytest.mark.parametrize("classes", [CLASSES, None], ids=["conditional", "unconditional"])
def test_classes_are_balanced(
    classes: int | None, balance: str | None, counts: Sequence[int], source: str, judge: Judge, place: Place
) -> None:
    manifest = place(200, model=toy_model(source, classes), balance=balance)
    images, labels = arrays()
    assert np.bincount(labels).tolist() == list(counts)
    assert manifest["parts"]["images"]["class_counts"] == list(counts)
    assert manifest["balance"] == (balance or "uniform")
    if classes is None:
        assert (manifest["labels"], manifest["label_accuracy"]) == ("judge", None)
        assert "no others to compare them with" in manifest["unavailable"]["label_accuracy"]
        np.testing.assert_array_equal(probabilities(judge, images).argmax(1), labels)
        assert manifest["drawn"] > manifest["kept"] == 200
        stop = manifest["parts"]["images"]["latents"][1]
        assert stop == manifest["drawn"]
        drawn = toy_model(source, None).generator.sample(stop)[..., 0]
        np.testing.assert_array_equal(images[-1], drawn[-1])  # no more is counted than was needed
    else:
        assert manifest["drawn"] == 200


@pytest.mark.slow
@pytest.mark.parametrize("classes", [CLASSES, None], ids=["conditional", "unconditional"])
def test_only_images_that_the_judge_is_sure_of_are_kept(
    classes: int | None, source: str, judge: Judge, place: Place
) -> None:
    manifest = place(300, "idx", model=toy_model(source, classes), min_confidence=0.9)
    mnist = load_torchvision().datasets.MNIST
    for train, counts in ((True, [100] * 3), (False, [17, 17, 16])):
        part = mnist("out", train=train)
        assert np.bincount(part.targets).tolist() == counts
        seen = probabilities(judge, part.data.numpy())[np.arange(len(part)), part.targets]
        assert (seen > 0.9 - 1e-4).all()
    first, second = (manifest["parts"][name]["latents"] for name in ("train", "t10k"))
    assert first[1] == second[0]  # no image can be in both
    assert manifest["filter"] == {"min_confidence": 0.9}
    assert manifest["drawn"] > manifest["kept"] == 350
    card = Path("out/README.md").read_text()
    assert "0.9 or more. The same judge selected and measured the images" in card
    if classes:
        assert manifest["label_accuracy"] == 1 > manifest["label_accuracy_before_filter"] > 0.7
        assert f"it classifies {manifest['label_accuracy_before_filter']:.2%} of all drawn images" in card


@pytest.mark.slow
@pytest.mark.parametrize("classes", [CLASSES, None], ids=["conditional", "unconditional"])
def test_a_class_that_is_hardly_drawn_is_named(
    classes: int | None, source: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "PATIENCE", 2000)
    model = toy_model(source, classes, forward=lambda z, y: deaf(z, np.digitize(z[:, 0], [0.253]) if y is None else y))
    message = (
        r"the generator hardly draws class 2: 2,\d+ draws produced 0 images with a confidence of 0\.9 or more "
        r"\(0\.000%\), and 10 are needed; train longer or lower --min-confidence"
    )
    with pytest.raises(UsageError, match=message + ("$" if classes else " or use a conditional variant$")):
        place(30, model=model, min_confidence=0.9)
    assert not list(Path().iterdir())


def test_a_rare_class_is_waited_for(source: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "PATIENCE", 100)
    rare = toy_model(source, None, forward=lambda z, y: halves(np.where(np.arange(DIM) == 0, z + 0.5, z), None))
    assert place(300, model=rare)["parts"]["images"]["class_counts"] == [100, 100, 100]


# Where there is no judge


def test_a_conditional_generator_does_without_a_judge(place: Place) -> None:
    manifest = place(9, "idx", model=toy_model(None))
    assert (manifest["labels"], manifest["label_accuracy"], manifest["judge"]) == ("generator", None, None)
    reason = "toy.onnx does not record which images it was trained on: name them with --dataset"
    assert manifest["unavailable"] == {"label_accuracy": reason}
    assert f"not verified: {reason}" in Path("out/README.md").read_text()


def test_a_judge_of_other_classes_judges_nothing(source: str, place: Place) -> None:
    manifest = place(8, model=toy_model(source, 4, forward=lambda z, y: halves(z, y % 3)))
    assert "the judge halves distinguishes other classes" in manifest["unavailable"]["label_accuracy"]


def test_an_unconditional_generators_images_go_unlabelled(tmp_path: Path, place: Place) -> None:
    save_npz(tmp_path / "new.npz", make_images(SIZE, 12)[0][..., None])
    model = toy_model(f"npz:{tmp_path}/new.npz", None)
    manifest = place(12, "png", model=model)
    reason = manifest["unavailable"]["label_accuracy"]
    assert "there is no judge for npz:" in reason
    assert (manifest["labels"], manifest["balance"], manifest["class_names"]) == (None, None, None)
    read = data.load("folder:out")
    assert read.labels is None
    np.testing.assert_array_equal(read.images[:, 0].numpy(), model.generator.sample(12)[..., 0])
    place(5, "png", model=model)  # replaces its own
    assert len(list(Path("out").glob("*.png"))) == 5
    for option, value in {"balance": "uniform", "min_confidence": 0.5, "layout": "idx"}.items():
        with pytest.raises(UsageError, match="needs a judge to classify the images: there is no judge for"):
            place(12, model=model, **{option: value})
    with pytest.raises(UsageError, match="--min-confidence needs a judge"):
        place(12, model=toy_model(None), min_confidence=0.5)


# One call like another


@pytest.mark.slow
@pytest.mark.parametrize("layout", synthetic.LAYOUTS)
def test_the_same_call_writes_the_same_bytes(layout: str, source: str, place: Place) -> None:
    for out, seed in (("out", 0), ("again", 0), ("other", 1)):
        manifest = place(40, layout, out=out, model=toy_model(source, None), seed=seed, min_confidence=0.6)
        assert json.loads(Path(out, "manifest.json").read_text()) == manifest
    assert contents("out") == contents("again")
    assert contents("out").keys() >= {"manifest.json", "README.md"}
    assert contents("out") != contents("other")


def test_the_images_digest_is_the_same_in_every_layout(place: Place) -> None:
    digests = set()
    for layout in ("png", "npz"):
        manifest = place(30, layout, out=layout)
        digests.add(manifest["parts"]["images"]["images_sha256"])
    digests.add(place(30, "idx")["parts"]["train"]["images_sha256"])
    assert digests == {hashlib.sha256(arrays("npz/images.npz")[0].tobytes()).hexdigest()}


def test_only_what_an_earlier_call_wrote_is_replaced(place: Place) -> None:
    Path("out").mkdir()  # an empty directory is as good as none
    for layout in synthetic.LAYOUTS:
        place(9, layout)
    assert {path.name for path in Path("out").iterdir()} == {"README.md", "images.npz", "manifest.json"}
    Path("out/notes.txt").write_text("mine")
    before = contents()
    with pytest.raises(UsageError, match=r"out contains 'notes\.txt', which would be lost"):
        place(9)
    assert contents() == before
    for manifest in ("[]", "{}", "no JSON", '{"kind": "another", "contents": ["images.npz", "notes.txt"]}'):
        Path("out/manifest.json").write_text(manifest)
        with pytest.raises(UsageError, match="which would be lost"):
            place(9)
    Path("file").write_text("")
    with pytest.raises(UsageError, match="file is not a directory"):
        place(9, out="file")
    with pytest.raises(MachineError, match="cannot write file/out: a part of the path is a file"):
        place(9, out="file/out")


def test_a_failure_leaves_what_was_there(source: str, place: Place) -> None:
    place(9)
    before = contents()

    blocks = []

    def failing(z: NDArray[np.float32], y: NDArray[np.int64] | None) -> NDArray[np.float32]:
        blocks.append(len(z))
        return halves(z, y) * np.float32(1 if len(blocks) <= 6 else np.nan)

    broken = toy_model(source, forward=failing)
    with pytest.raises(FileError, match="drew NaN"):
        place(600, "png", model=broken)
    assert len(blocks) == 7
    assert contents() == before
    assert [path.name for path in Path().iterdir()] == ["out"]


def test_progress_is_told(place: Place) -> None:
    told: list[tuple[int, int, int]] = []
    place(600, on_draw=lambda *numbers: told.append(numbers))
    assert told == [(256, 600, 256), (512, 600, 512), (600, 600, 600)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "jpg"}, "no format 'jpg': expected idx, png, npz"),
        ({"balance": "fair"}, "no balance 'fair': expected uniform or real"),
        ({"min_confidence": 0.0}, "the minimum confidence is 0: expected a probability above 0, up to 1"),
        ({"min_confidence": 1.5}, r"is 1\.5"),
        ({"min_confidence": float("nan")}, "is nan"),
        ({"n": 0}, "n is 0: expected an integer from 1 up"),
        ({"n": 2}, "2 images are too few for 3 classes"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_values_are_refused(options: dict[str, Any], message: str, place: Place) -> None:
    with pytest.raises(UsageError, match=message):
        place(**options)
    assert not list(Path().iterdir())


# Runs and exported files, through the command


@pytest.fixture(scope="module")
def trained(source: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = train_tiny("cgan", source, tmp_path_factory.mktemp("runs") / "cgan", steps=3)
    ganzoo.export(run)
    return run


def called(*arguments: str, cwd: Path, without_torch: bool = False) -> "subprocess.CompletedProcess[str]":
    block = "import sys; sys.modules['torch'] = None; " if without_torch else ""
    script = f"{block}from ganzoo_cli.app import main; main()"
    command = [sys.executable, "-c", script, "sample", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_run_and_its_file_give_one_data_set(trained: Run, source: str, tmp_path: Path) -> None:
    onnx = trained.path / "cgan.onnx"
    for model, out in ((trained.path, "run"), (onnx, "onnx")):
        options = ["-n", "30", "--format", "npz", "--balance", "real", "--dataset", source, "--out", out, "--json"]
        done = called(str(model), *options, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == json.loads((tmp_path / out / "manifest.json").read_text())
    (ours, labels), (theirs, others) = (arrays(f"{tmp_path}/{out}/images.npz") for out in ("run", "onnx"))
    assert np.bincount(labels).tolist() == [18, 9, 3]
    np.testing.assert_array_equal(labels, others)
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    run, file = (json.loads((tmp_path / out / "manifest.json").read_text()) for out in ("run", "onnx"))
    assert run["label_accuracy"] == pytest.approx(file["label_accuracy"], abs=0.1)
    weights = trained.latest_checkpoint().path / "ema.safetensors"
    for manifest, path, name in ((run, weights, "cgan"), (file, onnx, "cgan.onnx")):
        model = manifest["model"]
        assert (model["name"], model["variant"], model["step"]) == (name, "cgan", 3)
        assert model["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert model["trained_on"]["source"] == "npz:real.npz"  # no path leaves the machine
    assert str(tmp_path) not in json.dumps([run, file])


@pytest.mark.slow
def test_a_run_leads_to_its_data(trained: Run, place: Place, source: str) -> None:
    model = synthetic.open_model(trained)
    assert (model.data_source, model.name) == (source, "cgan")
    assert synthetic._real_counts(model, CLASSES) == list(REAL)
    other = synthetic.open_model(trained, "mnist-5k")
    assert other.data_source == "mnist-5k"
    with pytest.raises(UsageError, match="mnist-5k has no labels of these 3 classes: leave out --balance real"):
        synthetic._real_counts(other, CLASSES)
    changed = synthetic.Model(**{**vars(model), "data": {**model.data, "sha256": "0" * 64}})
    with pytest.raises(FileError, match="is not what cgan was trained on"):
        synthetic._real_counts(changed, CLASSES)


@pytest.mark.slow
def test_a_file_is_sampled_into_a_data_set_without_torch(trained: Run, tmp_path: Path) -> None:
    done = called(str(trained.path / "cgan.onnx"), "-n", "12", "--format", "idx", cwd=tmp_path, without_torch=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == [
        "15 images: synthetic; labels not verified: the judge needs the package 'torch', which is not installed"
    ]
    assert done.stdout == ""
    images = load_torchvision().datasets.MNIST(tmp_path / "synthetic", train=True).data.numpy()
    np.testing.assert_array_equal(images, ganzoo.load(trained.path / "cgan.onnx").sample(12)[..., 0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--balance", "real"], "--balance needs --format: add --format idx, png or npz"),
        (["--min-confidence", "0.5"], "--min-confidence needs --format"),
        (["--dataset", "mnist"], "--dataset needs --format"),
        (["--format", "idx", "--labels", "0"], "--labels and --format exclude each other"),
        (["--format", "npz", "--out", "x.npz"], "--out x.npz: expected a directory"),
        (["--format", "jpg"], "no format 'jpg'"),
        (["--best"], "--best needs a run"),
        (["--format", "idx", "-n", "1"], "1 images are too few for 3 classes"),
    ],
)
def test_the_command_refuses(options: list[str], message: str, trained: Run, tmp_path: Path) -> None:
    done = called(str(trained.path / "cgan.onnx"), *options, cwd=tmp_path, without_torch=True)
    assert done.returncode == 2
    assert done.stderr.startswith("ganzoo: ")
    assert message in done.stderr
    assert not list(tmp_path.iterdir())
