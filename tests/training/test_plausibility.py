"""A user's own networks: simple ones just work, impossible ones are refused, and likely mistakes are warned of."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import make_images
from torch import Tensor, nn

from ganzoo import load, registry, resume, train
from ganzoo.errors import UsageError


class Drawing(nn.Module):
    """A generator whose `forward` takes no labels."""

    end: Any = staticmethod(torch.tanh)

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, num_classes: int | None) -> None:
        super().__init__()
        self.shape = image_shape
        self.body = nn.Linear(latent_dim, 64)

    def forward(self, z: Tensor) -> Tensor:
        images: Tensor = self.end(self.body(z)).view(-1, *self.shape)
        return images


class Judging(nn.Module):
    """A discriminator whose `forward` takes no labels."""

    end: Any = staticmethod(lambda logits: logits)

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int | None) -> None:
        super().__init__()
        self.body = nn.Linear(64, 1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.end(self.body(images.flatten(1))).squeeze(1)
        return logits


class SigmoidDrawing(Drawing):
    end = staticmethod(torch.sigmoid)


class WideDrawing(Drawing):
    end = staticmethod(lambda values: 10 * values)


class SigmoidJudging(Judging):
    end = staticmethod(torch.sigmoid)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, network in (("drawing", Drawing), ("sigmoid", SigmoidDrawing), ("wide", WideDrawing)):
        monkeypatch.setitem(registry.generators._entries, name, network)
    for name, judge in (("judging", Judging), ("sigmoid", SigmoidJudging)):
        monkeypatch.setitem(registry.discriminators._entries, name, judge)


def begin(out: Path, *settings: str, steps: int = 2) -> Any:
    return train(
        "gan",
        make_images(),
        out=out,
        steps=steps,
        batch_size=8,
        threads=1,
        settings=["train.log_every=1", "terms=[]", *settings],
    )


def test_a_forward_without_labels_simply_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = begin(tmp_path / "run", "generator=drawing", "discriminator=judging")
    resume(run, dataset=make_images(), steps=4)
    assert load(run.path).sample(3).shape == (3, 8, 8, 1)
    assert "warning" not in capsys.readouterr().err


def test_a_forward_without_labels_is_refused_in_a_conditional_variant(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"generator 'drawing' needs labels, .* takes 1 argument: define forward\("):
        begin(tmp_path / "run", "conditional=true", "generator=drawing")
    with pytest.raises(UsageError, match="discriminator 'judging' needs labels"):
        begin(tmp_path / "run", "conditional=true", "discriminator=judging")
    assert not (tmp_path / "run").exists()


def test_images_that_leave_their_range_are_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'wide' draws values from -\d.* expected images in \[-1, 1\]: end it with"):
        begin(tmp_path / "run", "generator=wide")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "warnings"),
    [
        (["generator=sigmoid"], ["images of generator 'sigmoid' use no more than half"]),
        (["discriminator=sigmoid"], ["all logits of discriminator 'sigmoid' lie in"]),
        (["discriminator=sigmoid", "loss=least-squares"], []),
        (["generator=sigmoid", "discriminator=sigmoid"], ["images of", "all logits of"]),
    ],
)
def test_likely_mistakes_are_warned_of_once_at_the_first_log_line(
    tmp_path: Path, settings: list[str], warnings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    begin(tmp_path / "run", *settings)
    found = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(found) == len(warnings)
    assert all(text in line for text, line in zip(warnings, found, strict=True))


def test_looking_changes_no_bit(tmp_path: Path) -> None:
    runs = [
        begin(tmp_path / str(every), "generator=sigmoid", f"train.log_every={every}", steps=4) for every in (1, 100)
    ]
    first, second = (run.latest_checkpoint().tensors("objective") for run in runs)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
