"""Parts that are handed over as objects: classes, functions and ready modules where a name is expected."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from conftest import bits_of, environment, make_images
from torch import Tensor, nn

from ganzoo import Run, Spec, Variant, export, load, registry, resume, train
from ganzoo.errors import UsageError
from ganzoo.training.prepare import configure, prepare
from ganzoo.zoo.build import build_generator
from ganzoo.zoo.losses import Hinge
from ganzoo.zoo.networks.mlp import MLPGenerator
from ganzoo.zoo.objectives.adversarial import Adversarial
from ganzoo.zoo.terms.base import Term, Turn

SHAPE = (1, 8, 8)


class Drawing(nn.Module):
    def __init__(
        self, image_shape: tuple[int, int, int], latent_dim: int, num_classes: int | None, *, width: int = 8
    ) -> None:
        super().__init__()
        self.shape = image_shape
        self.body = nn.Sequential(nn.Linear(latent_dim, width), nn.BatchNorm1d(width), nn.Linear(width, 64), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        images: Tensor = self.body(z)
        return images.view(-1, *self.shape)


class Judging(nn.Module):
    def __init__(self, image_shape: tuple[int, int, int], num_classes: int | None) -> None:
        super().__init__()
        self.body = nn.Linear(64, 1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.body(images.flatten(1))
        return logits.squeeze(1)


class Bent(Drawing):
    """A network with a setting that TOML cannot hold."""

    def __init__(self, *inputs: Any, bend: type[nn.Module] = nn.ReLU) -> None:
        super().__init__(*inputs)


def make_drawing(image_shape: tuple[int, int, int], latent_dim: int, num_classes: int | None) -> nn.Module:
    return Drawing(image_shape, latent_dim, num_classes)


class Silent(nn.Module):
    """A network that lacks its `forward`."""

    def __init__(self, *inputs: Any) -> None:
        super().__init__()


class Far:
    """A loss."""

    g_needs_real: ClassVar[bool] = False

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.square().mean() - real.tanh().mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        return -fake.tanh().mean()


@dataclass(frozen=True, kw_only=True)
class Small(Term):
    """The logits of real images stay small."""

    weight: float = 0.1

    term = "small"
    players = ("discriminator",)

    def __call__(self, turn: Turn) -> Tensor:
        return self.weight * turn.real_output.logits.square().mean()


def optimise(parameters: list[Tensor], capturable: bool, *, lr: float = 0.01) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr)


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A process that has no objects yet; calling it makes another such."""

    def forgotten() -> None:
        monkeypatch.setattr(registry, "_handed_over", {})

    forgotten()
    return forgotten


def begin(out: Path, steps: int = 2, variant: str | Variant = "gan", **parts: Any) -> Run:
    options: Any = {"terms": [], **parts}
    settings = ["train.log_every=1"]
    return train(variant, make_images(), out=out, steps=steps, batch_size=8, threads=1, settings=settings, **options)


FORMS: dict[str, Callable[[], dict[str, Any]]] = {
    "classes": lambda: {"generator": Drawing, "discriminator": Judging},
    "functions": lambda: {"generator": make_drawing, "discriminator": lambda *inputs: Judging(*inputs)},
    "partial": lambda: {"generator": partial(Drawing, width=6)},
    "modules": lambda: {"generator": Drawing(SHAPE, 64, None), "discriminator": Judging(SHAPE, None)},
    "layers": lambda: {"generator": nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Unflatten(1, SHAPE))},
    "other parts": lambda: {"loss": Far, "terms": [Small], "generator_optimizer": optimise},
}


@pytest.mark.parametrize("form", FORMS)
def test_a_run_of_objects_resumes_to_the_bit_and_is_sampled_and_exported(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], forget: Callable[[], None]
) -> None:
    parts = FORMS[form]()
    whole = begin(tmp_path / "whole", steps=4, **parts)
    (note,) = [line for line in capsys.readouterr().err.splitlines() if "needs these objects again" in line]
    assert all(f"{role} 'python:" in note for role in parts)
    half = begin(tmp_path / "half", **parts)
    forget()
    resume(half, steps=4, dataset=make_images(), **parts)
    ours, theirs = bits_of(half), bits_of(whole)  # of half there is a checkpoint more
    assert {name: ours[name] for name in theirs} == theirs
    drawn, exported = load(half.path).sample(5), load(export(half).path).sample(5)
    assert abs(exported.astype(int) - drawn.astype(int)).max() <= 1


def test_a_ready_module_begins_with_its_own_weights_and_is_left_alone(tmp_path: Path) -> None:
    module = Drawing(SHAPE, 64, None)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    run = begin(tmp_path / "run", generator=module)
    built = build_generator(run.config)
    trained = run.latest_checkpoint().tensors("objective")
    for name, value in before.items():
        assert torch.equal(module.state_dict()[name], value)
        assert torch.equal(built.state_dict()[name], value)
    assert not torch.equal(trained["generator.body.0.weight"], before["body.0.weight"])
    assert type(module).forward is Drawing.forward


def test_settings_are_those_of_the_signature(tmp_path: Path) -> None:
    assert configure("gan", generator=Drawing, settings=["generator.width=4"]).variant.generator.settings == {
        "width": 4
    }
    assert configure("gan", generator=Spec(Drawing, width=5)).variant.generator.settings == {"width": 5}
    assert configure("gan", generator="dcgan").variant.generator.name == "dcgan"
    recipe = Variant(generator=Spec(Drawing, width=4), discriminator=Spec(Judging), loss=Spec(Far))
    run = begin(tmp_path / "run", variant=recipe)
    assert run.config.variant.generator == Spec(Drawing, width=4)
    with pytest.raises(UsageError, match=r"no setting 'generator.wdth'; did you mean 'width'"):
        configure("gan", generator=Spec(Drawing, wdth=4))
    with pytest.raises(UsageError, match=r"^generator: config.toml cannot store a setting of the generator 'python:"):
        configure("gan", generator=Bent)


def test_two_objects_have_two_names_and_a_registered_one_its_own() -> None:
    first, second = (registry.hand_over(Drawing(SHAPE, 64, None)) for _ in range(2))
    assert first != second
    assert registry.hand_over(Drawing) == registry.hand_over(Drawing) == f"python:{__name__}.Drawing"
    assert registry.generators[registry.hand_over(Drawing)] is Drawing
    assert configure("dcgan", generator=MLPGenerator).variant.generator.name == "mlp"


@pytest.mark.parametrize(
    ("name", "example"),
    [
        ("my_nets.Mine", "generator=my_nets.Mine)"),
        ("__main__.Mine-2", "generator=Mine)"),
        ("my_nets.Mine()-3", "generator=my_nets.Mine(...))"),
        ("my_nets.make.<locals>.Mine", "generator=...)"),
        ("print(1)", "generator=...)"),
    ],
)
def test_a_part_that_is_not_here_is_named_as_it_is_handed_over(name: str, example: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"as in ganzoo.load(RUN, {example}")):
        configure("gan", settings=[f"generator=python:{name}"])


class Wrong(nn.Module):
    """A network whose constructor takes nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return x


def no_inputs() -> nn.Module:
    return Wrong()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"generator": 3},
            "^generator: 3 cannot be a part: expected a name, a class or function that makes the part, or",
        ),
        ({"discriminator": dict}, "^discriminator: .* cannot be a part"),
        (
            {"generator": no_inputs},
            r"too many positional arguments; expected .* \(image_shape, latent_dim, num_classes, ",
        ),
        ({"generator": lambda *inputs: "images"}, "is of type str; expected torch.nn.Module"),
        ({"generator": Silent}, "has no forward: define forward"),
        ({"discriminator": Silent()}, "has no forward: define forward"),
        ({"loss": lambda real, fake: real}, "missing a required argument: 'real'; expected a class or function"),
        ({"objective": partial(Adversarial, top_k=0.5)}, "expected a subclass of Objective, with its settings as in"),
        ({"loss": lambda: 3}, r"has no attribute d: expected an object with d\(real, fake\)"),
        ({"terms": Small}, r"^terms: expected a list, as in terms=\[MyPart\]"),
        ({"terms": [lambda: 3]}, "a int is not a term"),
        ({"generator": "mpl"}, "no generator 'mpl'; did you mean 'mlp'"),
    ],
)
def test_what_cannot_be_a_part_is_refused_before_training(parts: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        begin(tmp_path / "run", **parts)
    assert not (tmp_path / "run").exists()


def test_a_ready_loss_is_a_part_and_says_what_its_logits_mean(tmp_path: Path) -> None:
    run = begin(tmp_path / "run", loss=Far())
    assert run.config.variant.loss.name.endswith(".Far()")
    assert Spec(Hinge()).name.endswith(".Hinge()")
    images = make_images(8)
    for loss, expected in ((Hinge(), ["adaptive"]), (Far(), ["translation", "cut-out"])):
        training = prepare(configure("gan", images, loss=loss, steps=1), images)
        assert [spec.name for spec in training.config.variant.augmentations] == expected


def test_only_what_a_run_needs_is_taken_again(tmp_path: Path) -> None:
    run = begin(tmp_path / "run", generator=Drawing)
    again: Any
    for again, message in (
        ({"discriminator": Judging}, "discriminator: 1 given, and the run needs 0 again"),
        ({"generatr": Drawing}, "no part 'generatr'; did you mean 'generator'"),
        ({"generator": "mlp"}, "generator: 'mlp' cannot be a part"),
    ):
        with pytest.raises(UsageError, match=message):
            load(run.path, **again)
    with pytest.raises(UsageError, match="is a file that needs no parts: leave out generator="):
        load(export(run).path, generator=Drawing)


@pytest.mark.slow
def test_another_process_is_given_the_object_again(tmp_path: Path) -> None:
    """Nothing that a run names is imported: `import mine` is the user's own."""
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    training = "import mine, ganzoo; ganzoo.train('gan', mine.images, out='run', steps=1, generator=mine.Mine)"
    told = run_python(tmp_path, "-c", training)
    needs = "needs these objects again: generator 'python:mine.Mine'; call ganzoo.load and ganzoo.resume with generator"
    assert f"{needs}=..." in told.stderr

    (tmp_path / "mine.py").write_text(f"print('imported')\n{MINE}", encoding="utf-8")
    refused = run_python(tmp_path, "-m", "ganzoo_cli", "sample", "run")
    assert (refused.returncode, refused.stdout) == (3, "")
    assert "the generator 'python:mine.Mine' was handed over in Python" in refused.stderr
    assert "as in ganzoo.load(RUN, generator=mine.Mine)" in refused.stderr
    assert refused.stderr.count("\n") == 1
    loading = "images = ganzoo.load('run', generator=mine.Mine).sample(2); ganzoo.export('run'); print(images.shape)"
    loaded = run_python(tmp_path, "-c", f"import mine, ganzoo; {loading}")
    assert loaded.stdout == "imported\n(2, 8, 8, 1)\n"
    assert run_python(tmp_path, "-m", "ganzoo_cli", "sample", "run/gan.onnx", "--out", "a.png").returncode == 0


MINE = """
import numpy
from torch import nn


class Mine(nn.Module):
    def __init__(self, image_shape, latent_dim, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(latent_dim, 64), nn.Tanh(), nn.Unflatten(1, image_shape))

    def forward(self, z):
        return self.body(z)


images = numpy.random.default_rng(0).integers(0, 256, (64, 8, 8), dtype=numpy.uint8)
"""


def run_python(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=place, env=environment(place), capture_output=True, text=True, check=False
    )
