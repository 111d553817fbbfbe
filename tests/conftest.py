"""What the tests share: images that are easy to learn, tiny runs of them, registries that forget what was added."""

import importlib
import os
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings as hypothesis_settings
from numpy.typing import NDArray
from typer.testing import CliRunner

import ganzoo
from ganzoo import registry
from ganzoo.compute.distributed import ALONE, World
from ganzoo.config import Variant
from ganzoo.runs.run import Run
from ganzoo.runtime.images import save_npz
from ganzoo.testing.trials import BATCH_SIZE as BATCH_SIZE
from ganzoo.testing.trials import BATCHES_PER_EPOCH as BATCHES_PER_EPOCH
from ganzoo.testing.trials import bits_of as bits_of
from ganzoo.testing.trials import make_images as make_images
from ganzoo.testing.trials import tensors_of as tensors_of
from ganzoo.training.callbacks import Callback
from ganzoo.training.prepare import configure
from ganzoo.training.trainer import start
from ganzoo.zoo.batch import Batch
from ganzoo.zoo.objectives.base import Objective, Terms
from ganzoo.zoo.slots import narrow as narrow
from ganzoo.zoo.terms.base import Drawn, PlayerName

hypothesis_settings.register_profile("ganzoo", deadline=None)  # a shared machine may be slow at any moment
hypothesis_settings.load_profile("ganzoo")

ROOT = Path(ganzoo.__path__[0]).parent
Call = Callable[..., tuple[int, str, str]]
Images = tuple[NDArray[np.uint8], NDArray[np.int64]]
PATIENCE = 600  # seconds until a process counts as hung, on however slow a machine


@pytest.hookimpl(trylast=True)  # only what was selected counts
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have most slow tests, so that several processes end at about the same time."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow") or item.get_closest_marker("full"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def tiny_images() -> Images:
    return make_images()


# A term that learns from labelled batches: a plug-in's source, as other processes have to import it too.
SUPERVISED = """
from torch.nn.functional import cross_entropy

from ganzoo.plugin import Term, as_output, terms


@terms.register("supervised")
class Supervised(Term):
    '''Cross-entropy of the class head on labelled images.'''

    term = "supervised"
    heads = ("classes",)
    needs_labelled = True

    def __call__(self, turn):
        images, labels = turn.labelled
        return cross_entropy(as_output(turn.discriminator(images, None))["classes"].float(), labels)
"""


@pytest.fixture
def registries() -> Iterator[None]:
    """What is registered meanwhile is forgotten afterwards."""
    kinds = registry.REGISTRIES.values()
    before = [({name: kind[name] for name in kind.names()}, dict(kind._aliases)) for kind in kinds]
    yield
    for kind, (entries, aliases) in zip(kinds, before, strict=True):
        kind._entries, kind._aliases = entries, aliases


@pytest.fixture
def supervised(registries: None) -> None:
    """The term `supervised` is registered meanwhile."""
    exec(SUPERVISED, {"__name__": "supervised"})


def one_of_each(kind: Callable[[Variant], object]) -> list[str]:
    """The first variant of each kind: what depends on nothing else is tested of these, and not of all."""
    return list({repr(kind(registry.variants[name]())): name for name in reversed(registry.variants.names())}.values())


def generator_kind(variant: Variant) -> object:
    """What a generator is, but for its sizes: its network, the ways that it takes, and what its labels are."""
    settings = variant.generator.settings.items()
    ways = [(key, value) for key, value in settings if isinstance(value, bool | str)]
    return variant.generator.name, ways, variant.conditional, [code.kind for code in variant.codes]


def game_kind(variant: Variant) -> object:
    """What two players are: the networks, whether they take labels, and who plays what."""
    networks = generator_kind(variant), variant.discriminator.name, variant.encoder and variant.encoder.name
    return networks, variant.objective.name


def train_tiny(
    variant: str,
    images: Any,
    out: Path,
    *,
    settings: Sequence[str] = (),
    horizon: int | None = None,
    progress: bool = False,
    callbacks: Sequence[Callback] = (),
    asked: Sequence[str] = (),
    world: World = ALONE,
    **options: Any,
) -> Run:
    """A run of a few small steps on one thread; schedules end after `horizon` steps, or with the budget.

    Only what the variant lists is augmented, however few the images are.
    """
    settings = [*narrow(variant), "train.threads=1", "train.augment=none", *settings]
    config = configure(variant, images, settings=settings, **{"batch_size": BATCH_SIZE, **options})
    config = config if horizon is None else config.with_horizon(horizon)
    return start(config, images, out=out, progress=progress, callbacks=callbacks, log=asked, world=world)


def terms_of(objective: Objective, player: PlayerName, batch: Batch, drawn: Drawn | None = None) -> Terms:
    """What a player minimises at a batch, of images that are drawn unless given."""
    drawn = objective.draw(batch) if drawn is None else drawn
    if player == "discriminator":
        drawn = {name: value.detach() for name, value in drawn.items()}
    return objective.terms(player, batch, drawn, objective.due(player, batch.update))


def distribution(place: Path, name: str, entry_points: dict[str, str], modules: dict[str, str]) -> None:
    """A distribution with plug-ins, as a package manager leaves it in a directory of `sys.path`."""
    info = place / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{key} = {module}" for key, module in entry_points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[ganzoo.plugins]", *lines, ""]))
    for module, source in modules.items():
        (place / f"{module}.py").write_text(source)


def environment(*places: Path) -> dict[str, str]:
    """The variables of a process that finds this ganzoo, and what lies in `places`."""
    path = [*map(str, places), str(ROOT), str(ROOT / "cli"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


def images_file(path: Path) -> str:
    """The tiny images as a source for other processes."""
    images, labels = make_images()
    save_npz(path, images[..., None], labels)
    return f"npz:{path}"


def invoke(*arguments: str) -> tuple[int, str, str]:
    """The exit code of a command that runs in this process, its stdout and its stderr."""
    app = importlib.import_module("ganzoo_cli.app")
    for module in app.COMMANDS:
        importlib.import_module(f"ganzoo_cli.{module}")  # importing registers
    result = CliRunner().invoke(app.app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def start_training(out: Path, source: str, settings: Sequence[str], *places: Path) -> subprocess.Popen[str]:
    """`ganzoo train` of the first GAN, longer than any test, in a process of its own."""
    command = [sys.executable, "-m", "ganzoo_cli", "train", "--variant", "gan", "--dataset", source, "--out", str(out)]
    command += ["--steps", "20000", "--batch-size", str(BATCH_SIZE)]
    chosen = ["train.threads=1", "train.precision=bfloat16", "train.augment=none"]  # nothing is left to be chosen
    for setting in [*narrow("gan"), *chosen, *settings]:
        command += ["--set", setting]
    return start_process(command, *places)


def start_process(command: Sequence[str], *places: Path) -> subprocess.Popen[str]:
    """A process that hears SIGINT, and whose stderr can be read."""
    return subprocess.Popen(
        command,
        env=environment(*places),
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background of a shell they ignore SIGINT, and a child would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for what a running process is going to do."""
    began = time.monotonic()
    while not condition():
        if process.poll() is not None or time.monotonic() - began > PATIENCE:
            process.kill()
            raise AssertionError(f"it ended before that, with {process.returncode}: {process.communicate()[1]}")
        time.sleep(0.01)


def ended(process: subprocess.Popen[str]) -> str:
    """What a process wrote on stderr by its end."""
    try:
        return process.communicate(timeout=PATIENCE)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        raise


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """The command's entry point in this process: exit code, stdout, stderr."""
    app = importlib.import_module("ganzoo_cli.app")
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)

    def called(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["ganzoo", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            app.main()
        return int(end.value.code or 0), *capfd.readouterr()

    return called
