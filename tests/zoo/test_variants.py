"""Every registered variant trains; networks, losses and penalties combine freely. Registering a variant tests it."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from conftest import Images, game_kind, narrow, one_of_each, tensors_of, train_tiny
from PIL import Image

from ganzoo.config import assemble
from ganzoo.registry import losses, variants
from ganzoo.runs.run import Run
from ganzoo.testing import RULES, check_variant
from ganzoo.training.prepare import prepare, with_compute
from ganzoo.training.state import TrainingState

GRADIENT = 'penalties=[{name="gradient", at="interpolates", target=1.0, weight=10.0}]'
CONVOLUTIONS = ["generator=dcgan", "generator.width=8", "discriminator=dcgan", "discriminator.width=8"]


def check_trained(run: Run, steps: int) -> None:
    """Finite losses at every step, finite weights, a picture."""
    lines = run.metrics()
    assert [line["step"] for line in lines] == list(range(1, steps + 1))
    for line in lines:
        assert {"d_loss", "g_loss", "d_adversarial", "g_adversarial"} <= line.keys()
        assert all(math.isfinite(value) for value in line.values())
        parts = sum(value for key, value in line.items() if key.startswith("d_") and key != "d_loss")
        assert line["d_loss"] == pytest.approx(parts, rel=1e-4, abs=1e-5)
    assert all(value.isfinite().all() for value in tensors_of(run.latest_checkpoint()).values())
    with Image.open(run.samples / "final.png") as picture:
        assert min(picture.size) > 8


SLOW_RULES = ("export", "settings")


@pytest.mark.parametrize("name", variants.names())
def test_each_variant_keeps_the_rules(name: str) -> None:
    check_variant(name, rules=[rule for rule in RULES if rule not in SLOW_RULES])


KINDS = one_of_each(game_kind)


@pytest.mark.parametrize("rule", SLOW_RULES)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in KINDS else pytest.mark.full) for name in variants]
)
def test_each_variant_keeps_the_slow_rules(name: str, rule: str) -> None:
    check_variant(name, rules=[rule])


@pytest.mark.slow
@pytest.mark.parametrize("name", variants.names())
def test_the_average_begins_at_the_first_weights_and_follows(name: str, tiny_images: Images) -> None:
    """Averaged weights are new ones by the decay 1/10 after the first step; buffers are copies."""
    settings = [*narrow(name), "train.threads=1", "train.steps=1"]
    config = assemble(name, settings=settings, flags={"data": {"source": "array", "batch_size": 8}})
    state = TrainingState(with_compute(prepare(config.with_horizon(1), tiny_images)).config, torch.device("cpu"))
    first = {key: value.clone() for key, value in state.ema.network.state_dict().items()}
    assert all(torch.equal(value, first[key]) for key, value in state.objective.generator.state_dict().items())
    with torch.no_grad():
        for value in state.objective.generator.state_dict().values():
            value.add_(1)
    state.ema.update(state.objective.generator, 1)
    parameters = dict(state.ema.network.named_parameters())
    for key, value in state.ema.network.state_dict().items():
        expected = first[key] + (0.9 if key in parameters else 1)
        torch.testing.assert_close(value, expected.to(value.dtype))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("cgan", CONVOLUTIONS),
        ("cgan", ["discriminator.conditioning=projection"]),
        ("dcgan", ["conditional=true", "discriminator.conditioning=concat"]),
        ("dcgan", ["loss=wasserstein", GRADIENT]),
        ("dcgan", ["generator=mlp", "generator.width=8"]),
        ("dcgan", ["critic_steps=3", "data.channels=3", "data.image_size=9"]),
        ("gan", ["generator.norm=none", "discriminator.dropout=0.2"]),
    ],
)
def test_parts_combine(name: str, settings: Sequence[str], tiny_images: Images, tmp_path: Path) -> None:
    settings = ["train.log_every=1", *settings]
    check_trained(train_tiny(name, tiny_images, tmp_path / "run", steps=2, settings=settings), 2)


def test_a_gradient_penalty_and_batch_norm_train_but_warn(tiny_images: Images, tmp_path: Path) -> None:
    settings = ["loss=wasserstein", GRADIENT, "discriminator.norm=batch", "data.image_size=16", "train.log_every=1"]
    with pytest.warns(UserWarning, match="computed per sample, but with batch norm"):
        run = train_tiny("dcgan", tiny_images, tmp_path / "run", steps=2, settings=settings)
    check_trained(run, 2)


@pytest.mark.slow
@pytest.mark.parametrize("loss", losses.names())
def test_every_loss_trains_the_convolutional_networks(loss: str, tiny_images: Images, tmp_path: Path) -> None:
    settings = [f"loss={loss}", "train.log_every=1"]
    check_trained(train_tiny("dcgan", tiny_images, tmp_path / "run", steps=1, settings=settings), 1)
