"""Training to step K and resuming to N gives the very bits of training to N, whatever happened in between."""

import random
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from conftest import Images, bits_of, ended, images_file, start_training, tensors_of, train_tiny, wait_until
from torch import Tensor

import ganzoo
from ganzoo.compute import device
from ganzoo.data import Loader, from_arrays
from ganzoo.errors import FileError, UsageError
from ganzoo.registry import losses
from ganzoo.runs.checkpoint import average_part
from ganzoo.runs.run import Run
from ganzoo.training import tuning
from ganzoo.training.prepare import prepare
from ganzoo.zoo.batch import NAMED, Batch, Batches

# Log lines, checkpoints and pictures fall on both sides of where the runs are cut.
EVENTS = ["train.log_every=3", "train.checkpoint_every=4", "train.sample_epochs=[1,2]"]
PERTURBED = 'penalties=[{name="gradient", at="perturbed", target=1.0, every=3}]'
CONVOLUTIONS = ["generator=dcgan", "generator.width=8", "discriminator=dcgan", "discriminator.width=8"]
CASES: dict[str, tuple[str, list[str]]] = {
    **{name: (name, []) for name in ("gan", "wgan", "began", "bigan")},  # tests/zoo/test_variants.py has them all
    "channels-last": ("dcgan", ["train.channels_last=true"]),
    "dropout": ("gan", ["discriminator.dropout=0.3"]),
    "float32": ("dcgan", ["train.precision=float32"]),
    "bfloat16": ("dcgan", ["train.precision=bfloat16"]),
    "momentum": (
        "gan",
        [f"{player}_optimizer={{name='sgd', momentum=0.5}}" for player in ("generator", "discriminator")],
    ),
    "perturbed": ("dcgan", [PERTURBED, "critic_steps=2"]),
    "batch-norm": ("dcgan", ["penalties=[]", "discriminator.norm=batch", "data.image_size=16"]),
    "conditional-convolutions": ("cgan", CONVOLUTIONS),
    "spectral-norm": (
        "dcgan",
        ["penalties=[]", "discriminator.spectral_norm=true", "discriminator.minibatch_std=true"],
    ),
}


@dataclass(frozen=True)
class Whole:
    """A run of ten steps at once."""

    variant: str
    settings: list[str]
    bits: dict[str, Any]


@pytest.fixture(scope="module", params=CASES)
def whole(request: pytest.FixtureRequest, tiny_images: Images, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    variant, settings = CASES[request.param]
    out = tmp_path_factory.mktemp("whole") / "run"
    run = train_tiny(variant, tiny_images, out, steps=10, horizon=10, settings=[*EVENTS, *settings])
    return Whole(variant, settings, bits_of(run))


def resumed(run: Run, images: Images, **budget: Any) -> Run:
    return ganzoo.resume(run, dataset=images, progress=False, **budget)


def test_five_and_five_steps_are_ten(whole: Whole, tiny_images: Images, tmp_path: Path) -> None:
    run = train_tiny(
        whole.variant, tiny_images, tmp_path / "run", steps=5, horizon=10, settings=[*EVENTS, *whole.settings]
    )
    assert run.latest_checkpoint().step == 5
    resumed(run, tiny_images, steps=10)
    bits = bits_of(run)
    parts = {key.split("/")[1] for key in bits if key.count("/") == 2}
    roles = {"generator"} | ({"encoder"} if whole.bits["config"].variant.encoder else set())
    averages = {average_part(role) for role in roles}
    assert parts == {"objective", *averages, "generator_optimizer", "discriminator_optimizer"}
    assert {"final.png", "epoch-0001.png", "epoch-0002.png", "step-00000008/state"} <= bits.keys()
    assert [line["step"] for line in bits["metrics"]] == [3, 6, 9]
    assert bits == whole.bits


def test_three_sittings_are_one(whole: Whole, tiny_images: Images, tmp_path: Path) -> None:
    run = train_tiny(
        whole.variant, tiny_images, tmp_path / "run", steps=3, horizon=10, settings=[*EVENTS, *whole.settings]
    )
    resumed(run, tiny_images, steps=7)
    resumed(run, tiny_images, steps=10)
    assert bits_of(run) == whole.bits


def reference(images: Images, out: Path, **options: Any) -> Run:
    """A run to compare others with."""
    return train_tiny("wgan-gp", images, out, settings=[*EVENTS, "critic_steps=5"], **options)


def test_from_nothing_but_the_first_weights(tiny_images: Images, tmp_path: Path) -> None:
    run = resumed(reference(tiny_images, tmp_path / "run", steps=0), tiny_images, steps=6)
    assert bits_of(run) == bits_of(reference(tiny_images, tmp_path / "whole", steps=6))


def test_a_former_checkpoint_goes_on_just_as_well(tiny_images: Images, tmp_path: Path) -> None:
    """The newest was lost: what was logged after the one before is written again."""
    run = reference(tiny_images, tmp_path / "run", steps=10)
    bits = bits_of(run)
    shutil.rmtree(run.latest_checkpoint().path)
    assert run.latest_checkpoint().step == 8
    assert bits_of(resumed(run, tiny_images)) == bits  # without a new budget: what is left of the old one


@pytest.mark.usefixtures("supervised")
@pytest.mark.parametrize("labels_per_class", [None, 2])
def test_labelled_batches_go_on_where_they_were(
    labels_per_class: int | None, tiny_images: Images, tmp_path: Path
) -> None:
    settings = [*EVENTS, 'terms=["supervised"]', "critic_steps=2"]

    def train(name: str, steps: int, seed: int = 0) -> Run:
        options: dict[str, Any] = {"labels_per_class": labels_per_class, "seed": seed}
        return train_tiny("gan", tiny_images, tmp_path / name, steps=steps, settings=settings, **options)

    whole = train("whole", 7)
    assert bits_of(resumed(train("run", 3), tiny_images, steps=7)) == bits_of(whole)
    assert whole.config.data.labels_per_class == labels_per_class
    assert whole.metrics()[-1]["d_supervised"] > 0
    shown, others = (prepare(train(f"{seed}", 0, seed).config, tiny_images).loader.labelled for seed in (0, 1))
    assert (shown is None, others is None) == (labels_per_class is None, labels_per_class is None)
    if shown is not None and others is not None:
        assert not torch.equal(shown, others)  # another seed hides others


def test_another_seed_is_another_run(tiny_images: Images, tmp_path: Path) -> None:
    one, other = (reference(tiny_images, tmp_path / str(seed), steps=1, seed=seed) for seed in (0, 1))
    ours, theirs = tensors_of(one.latest_checkpoint()), tensors_of(other.latest_checkpoint())
    assert not any(torch.equal(ours[key], theirs[key]) for key in ours if ours[key].ndim > 1)


# what an update sees


def batches(images: Images, *, conditional: bool, noise: frozenset[str], seed: int = 0) -> Batches:
    loader = Loader(from_arrays(*images), 8, "cpu", seed)
    draws = {name: NAMED[name] for name in noise}
    return Batches(loader, latent_dim=5, conditional=conditional, noise=draws, seed=seed)


def values_of(batch: Batch) -> dict[str, Tensor]:
    found = {"real": batch.real, "z": batch.z, "mix": batch.noise.mix, "pixels": batch.noise.pixels}
    return {name: value for name, value in found.items() if value is not None}


def test_a_batch_is_a_function_of_seed_and_update(tiny_images: Images) -> None:
    both = frozenset({"mix", "pixels"})
    made = batches(tiny_images, conditional=True, noise=both)
    forwards = [made.at(update) for update in range(7)]
    backwards = [batches(tiny_images, conditional=True, noise=both).at(update) for update in reversed(range(7))]
    for one, same in zip(forwards, reversed(backwards), strict=True):
        torch.testing.assert_close(values_of(one), values_of(same), rtol=0, atol=0)
        assert one.labels is not None
        assert one.labels is one.fake_labels
    other_seed = batches(tiny_images, conditional=True, noise=both, seed=1).at(0)
    for name in ("real", "z", "mix", "pixels"):
        different = [values_of(batch)[name] for batch in [*forwards, other_seed]]
        digests = {tuple(value.flatten().tolist()) for value in different}
        assert len(digests) == 8, name  # no two updates, and no two seeds, share theirs


def test_a_batch_has_what_was_asked_for_and_no_more(tiny_images: Images) -> None:
    batch = batches(tiny_images, conditional=False, noise=frozenset()).at(3)
    assert values_of(batch).keys() == {"real", "z"}
    assert batch.labels is batch.fake_labels is None
    assert batch.update == 3
    batch = batches(tiny_images, conditional=True, noise=frozenset({"mix"})).at(3)
    assert values_of(batch).keys() == {"real", "z", "mix"}
    assert batch.noise.mix is not None
    assert (batch.z.shape, batch.z.dtype, batch.noise.mix.shape) == ((8, 5), torch.float32, (8, 1, 1, 1))
    images, labels = tiny_images
    assert batch.labels is not None
    for real, label in zip(batch.real, batch.labels, strict=True):  # each image has kept its own label
        (row,) = np.flatnonzero((images == ((real[0] + 1) * 127.5).round().byte().numpy()).all((1, 2)))
        assert labels[row] == label


def test_noise_has_the_distribution_that_the_papers_ask_for(tiny_images: Images) -> None:
    made = batches(tiny_images, conditional=False, noise=frozenset({"mix", "pixels"}))
    drawn = [values_of(made.at(update)) for update in range(200)]
    z, mix, pixels = (torch.cat([values[name].flatten() for values in drawn]) for name in ("z", "mix", "pixels"))
    for normal in (z, pixels):
        torch.testing.assert_close(
            torch.stack([normal.mean(), normal.std()]), torch.tensor([0.0, 1]), atol=0.05, rtol=0
        )
    assert mix.min() >= 0
    assert mix.max() < 1
    torch.testing.assert_close(torch.stack([mix.mean(), mix.var()]), torch.tensor([1 / 2, 1 / 12]), atol=0.02, rtol=0)


# what a process may have set


def globals_of_torch() -> dict[str, Any]:
    return {
        "generator": torch.get_rng_state().tolist(),
        "matmul": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "deterministic": torch.get_deterministic_debug_mode(),
        "cudnn": torch.backends.cudnn.benchmark,
        "handlers": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[index]
        "python": random.getstate(),
    }


@contextmanager
def unusual() -> Iterator[None]:
    """A process with settings of its own."""
    threads, matmul = torch.get_num_threads(), torch.get_float32_matmul_precision()
    handler = signal.signal(signal.SIGTERM, lambda number, frame: None)
    deterministic, benchmark = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    torch.set_deterministic_debug_mode("warn")
    torch.backends.cudnn.benchmark = True
    torch.set_num_threads(threads + 1)
    torch.set_float32_matmul_precision("high")
    torch.set_default_dtype(torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(1234)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)
            torch.set_float32_matmul_precision(matmul)
            torch.set_num_threads(threads)
            torch.set_deterministic_debug_mode(deterministic)
            torch.backends.cudnn.benchmark = benchmark
            signal.signal(signal.SIGTERM, handler)


def test_what_is_global_neither_matters_nor_changes(tiny_images: Images, tmp_path: Path) -> None:
    expected = bits_of(reference(tiny_images, tmp_path / "plain", steps=10))
    with unusual():
        before = globals_of_torch()
        run = reference(tiny_images, tmp_path / "unusual", steps=5)
        assert globals_of_torch() == before
        torch.manual_seed(99)
        resumed(run, tiny_images, steps=10)
    assert bits_of(run) == expected


@pytest.mark.parametrize("options", [{"deterministic": True}, {"steps": tuning.STEPS, "tune": True}])
def test_neither_the_plain_path_nor_measuring_changes_what_is_global(
    options: dict[str, Any], tiny_images: Images, tmp_path: Path
) -> None:
    settings = ["train.threads=none", "train.log_every=1000"]
    with unusual():
        before = globals_of_torch()
        train_tiny("dcgan", tiny_images, tmp_path / "run", settings=settings, **{"steps": 2, **options})
        assert globals_of_torch() == before


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Notes what torch is set to while it is called, and may fail."""

    fails: bool = False

    g_needs_real: ClassVar[bool] = False
    seen: ClassVar[list[Any]] = []

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        if self.fails:
            raise LookupError("in the middle of a step")
        self.seen.append((torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()))
        return fake.mean() - real.mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -fake.mean()


@pytest.fixture
def observed(registries: None) -> Iterator[list[Any]]:
    losses.register("observed")(Observed)
    yield Observed.seen
    Observed.seen.clear()


def test_a_resumed_run_takes_as_many_threads_as_before(
    observed: list[Any], tiny_images: Images, tmp_path: Path
) -> None:
    """The number of threads changes the last bits of sums."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        settings = ["loss=observed", "train.threads=2"]
        run = train_tiny("gan", tiny_images, tmp_path / "run", steps=1, settings=settings)
        assert run.config.chosen.threads == 2
        torch.set_num_threads(1)
        with torch.no_grad():
            resumed(run, tiny_images, steps=2)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
    assert observed == [(2, torch.float32, True)] * 2


@pytest.mark.usefixtures("observed")
def test_a_run_that_fails_leaves_torch_as_it_was(tiny_images: Images, tmp_path: Path) -> None:
    settings = ['loss={name="observed", fails=true}']
    with unusual():
        before = globals_of_torch()
        with pytest.raises(LookupError, match="in the middle of a step"):
            train_tiny("gan", tiny_images, tmp_path / "run", steps=1, settings=settings)
        assert globals_of_torch() == before


def in_a_thread(function: Callable[[], None]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def without_gradients(function: Callable[[], None]) -> None:
    with torch.no_grad():
        function()


def in_inference_mode(function: Callable[[], None]) -> None:
    with torch.inference_mode():
        function()
        assert torch.is_inference_mode_enabled()


@pytest.mark.parametrize("where", [in_a_thread, without_gradients, in_inference_mode])
def test_where_it_is_called_from_does_not_matter(
    where: Callable[[Callable[[], None]], None], tiny_images: Images, tmp_path: Path
) -> None:
    def both() -> None:
        resumed(reference(tiny_images, tmp_path / "run", steps=5), tiny_images, steps=10)

    where(both)
    expected = bits_of(reference(tiny_images, tmp_path / "plain", steps=10))
    assert bits_of(Run.open(tmp_path / "run")) == expected


def test_the_self_test_of_the_precision_runs_anywhere() -> None:
    with torch.inference_mode():
        inside = device._bfloat16_is_right(torch.device("cpu"))
    assert inside == device._bfloat16_is_right(torch.device("cpu"))


# budgets


@pytest.mark.parametrize(
    ("variant", "epochs", "steps"), [("gan", 2, 10), ("gan", 0.5, 3), ("gan", 0.4, 2), ("wgan", 1, 3)]
)
def test_epochs_are_passes_of_the_real_images(
    variant: str, epochs: float, steps: int, tiny_images: Images, tmp_path: Path
) -> None:
    run = train_tiny(variant, tiny_images, tmp_path / "run", epochs=epochs)
    assert run.latest_checkpoint().step == steps
    resumed(run, tiny_images, epochs=3)
    assert run.latest_checkpoint().step == {"gan": 15, "wgan": 8}[variant]
    train = run.config.train
    assert (train.steps, train.epochs, train.minutes) == (None, 3.0, None)


def test_minutes_are_that_much_more_time(tiny_images: Images, tmp_path: Path) -> None:
    run = train_tiny("gan", tiny_images, tmp_path / "run", minutes=0.003)
    first = run.latest_checkpoint()
    assert first.state()["seconds"] > 0.003 * 60 - 0.001  # the loop ends where the time is over, and not before
    with pytest.raises(UsageError, match=r"0\.003 minutes are spent: --minutes adds more"):
        resumed(run, tiny_images)
    seconds = first.state()["seconds"]
    resumed(run, tiny_images, minutes=0.002)
    total = run.config.train.minutes or 0
    assert total == round(0.002 + seconds / 60, 4)
    assert run.latest_checkpoint().state()["seconds"] > total * 60 - 0.001
    assert run.latest_checkpoint().step >= first.step
    resumed(run, tiny_images, steps=run.latest_checkpoint().step + 2)  # a budget of another kind replaces it
    assert (run.config.train.minutes, run.latest_checkpoint().state()["final"]) == (None, True)


def files_of(run: Run) -> dict[str, bytes]:
    return {str(path.relative_to(run.path)): path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def test_what_cannot_be_resumed_is_left_as_it_was(tiny_images: Images, tmp_path: Path) -> None:
    run = reference(tiny_images, tmp_path / "run", steps=2)
    before = files_of(run)
    images, labels = tiny_images
    inverted = 255 - images
    for budget in ({}, {"steps": 2}, {"steps": 1}, {"epochs": 2.0}, {"epochs": 0.1}):
        with pytest.raises(UsageError, match=r"the run has done 2 steps \(2.00 epochs\)"):
            resumed(run, tiny_images, **budget)
    with pytest.raises(UsageError, match="two budgets at once: epochs and steps"):
        resumed(run, tiny_images, steps=3, epochs=9)
    with pytest.raises(UsageError, match=r"train\.steps = -1"):
        resumed(run, tiny_images, steps=-1)
    for other in ((inverted, labels), (images, labels[::-1].copy()), (images[:-1], labels[:-1])):
        with pytest.raises(FileError, match="is not the data that the run was trained on"):
            resumed(run, other, steps=3)
    with pytest.raises(UsageError, match=r"images in memory, which are not in a file: pass them"):
        ganzoo.resume(run, steps=3, progress=False)
    assert files_of(run) == before


def test_a_directory_without_a_checkpoint_is_no_run_to_resume(tiny_images: Images, tmp_path: Path) -> None:
    run = reference(tiny_images, tmp_path / "run", steps=1)
    shutil.rmtree(run.latest_checkpoint().path)
    with pytest.raises(FileError, match="has no checkpoint yet"):
        resumed(run, tiny_images, steps=2)
    with pytest.raises(FileError, match="does not exist"):
        ganzoo.resume(tmp_path / "nothing")


def test_a_new_run_needs_a_directory_of_its_own(tiny_images: Images, tmp_path: Path) -> None:
    run = reference(tiny_images, tmp_path / "run", steps=1)
    before = files_of(run)
    with pytest.raises(UsageError, match=r"run exists; a new run needs a new directory.*ganzoo resume"):
        reference(tiny_images, tmp_path / "run", steps=1)
    assert files_of(run) == before


# power cuts


@pytest.mark.skipif(sys.platform == "win32", reason="has no SIGKILL")
def test_a_run_that_was_killed_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    source, out = images_file(tmp_path / "images.npz"), tmp_path / "run"
    settings = ["train.checkpoint_every=5", "train.log_every=3", "train.sample_epochs=[1,2]"]
    settings += ["train.precision=bfloat16"]  # as `start_training` has it
    process = start_training(out, source, settings)
    checkpoints = out / "checkpoints"
    wait_until(lambda: len(list(checkpoints.glob("step-*"))) >= 2, process)
    process.send_signal(signal.SIGKILL)
    ended(process)
    assert process.returncode == -signal.SIGKILL
    run = Run.open(out)
    stray = checkpoints / f".ganzoo-{'0' * 16}.tmp"  # what a kill in the middle of a checkpoint leaves
    stray.mkdir()
    (stray / "ema.safetensors").write_bytes(b"half")
    with (out / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"step": 999999, "epo')  # and in the middle of a log line
    total = run.latest_checkpoint().step + 4
    ganzoo.resume(run, steps=total, progress=False)
    assert not stray.exists()
    assert not list(checkpoints.glob(".*"))
    expected = train_tiny("gan", source, tmp_path / "whole", steps=total, settings=settings)
    assert bits_of(run) == bits_of(expected)


def test_a_data_set_in_memory_may_have_a_name_of_its_own(tiny_images: Images, tmp_path: Path) -> None:
    named = from_arrays(*tiny_images, source="threes")
    run = train_tiny("gan", named, tmp_path / "run", steps=1)
    assert resumed(run, named, steps=2).latest_checkpoint().step == 2  # type: ignore[arg-type]


def test_a_run_is_trained_by_one_process_at_a_time(tiny_images: Images, tmp_path: Path) -> None:
    run = train_tiny("gan", tiny_images, tmp_path / "run", steps=1)
    with run.lock(), pytest.raises(UsageError, match="is being trained by another process"):
        resumed(run, tiny_images, steps=2)
    assert resumed(run, tiny_images, steps=2).latest_checkpoint().step == 2


def test_batches_of_one_are_refused_where_batch_norm_is(tiny_images: Images, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.batch_size = 1: batch norm needs at least 2 images"):
        train_tiny("gan", tiny_images, tmp_path / "run", steps=1, batch_size=1)
    assert not (tmp_path / "run").exists()
    train_tiny("gan", tiny_images, tmp_path / "run", steps=1, batch_size=1, settings=["generator.norm=none"])
