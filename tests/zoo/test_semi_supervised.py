"""The semi-supervised game: K + 1 classes of one softmax, learnt from images with labels and images without."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Images, terms_of, train_tiny
from torch import Tensor

import ganzoo
from ganzoo.config import assemble
from ganzoo.errors import UsageError
from ganzoo.registry import discriminators, generators, losses, terms
from ganzoo.zoo.batch import Batch, Noise
from ganzoo.zoo.build import build_objective
from ganzoo.zoo.networks.common import as_output
from ganzoo.zoo.objectives.base import Parts
from ganzoo.zoo.objectives.semi_supervised import SemiSupervised
from ganzoo.zoo.terms.base import as_term

SHAPE, CLASSES, N = (1, 8, 8), 3, 6


def objective() -> SemiSupervised:
    torch.manual_seed(0)
    discriminator = discriminators["mlp"](SHAPE, None, width=8)
    discriminator.build_heads({"classes": CLASSES})
    discriminator.use_class_logits()
    return SemiSupervised(
        Parts(
            generator=generators["mlp"](SHAPE, 4, None, width=4),
            discriminator=discriminator,
            loss=losses["non-saturating"](),
            terms=[as_term(terms["supervision"](weight=2.0))],
            num_classes=CLASSES,
        )
    )


def batch() -> Batch:
    draw = torch.Generator().manual_seed(1)
    images: Tensor = torch.rand(2 * N, *SHAPE, generator=draw) * 2 - 1
    return Batch(
        update=0,
        real=images[:N],
        labels=None,
        z=torch.randn(N, 4, generator=draw),
        fake_labels=None,
        noise=Noise(),
        labelled=(images[N:], torch.arange(N) % CLASSES),
    )


def test_it_is_the_cross_entropy_of_a_softmax_over_classes_and_one_for_generated_images() -> None:
    """The logits of K + 1 classes, the last one's being minus the linear head: real is any class but the last."""
    made, given = objective(), batch()
    assert given.labelled is not None
    images, labels = given.labelled
    fake = made.draw(given)["fake"].detach()

    def log_shares(images: Tensor) -> Tensor:
        network: Any = made.discriminator
        features = network.body(images.flatten(1))
        logits: Tensor = torch.cat([network.heads["classes"](features), -network.head(features)], dim=1)
        return logits.log_softmax(1)

    real, drawn, labelled = (log_shares(images) for images in (given.real, fake, images))
    values = terms_of(made, "discriminator", given, {"fake": fake})
    adversarial = -real[:, :CLASSES].logsumexp(1).mean() - drawn[:, CLASSES].mean()
    torch.testing.assert_close(values["adversarial"], adversarial)
    of_real = labelled[:, :CLASSES].log_softmax(1)  # p(class | x, real)
    expected = -of_real[torch.arange(N), labels].mean()
    torch.testing.assert_close(values["supervision"], 2 * expected)


def test_images_without_labels_teach_no_class() -> None:
    made, given = objective(), batch()
    values = terms_of(made, "discriminator", replace(given, labels=torch.full((N,), -1)))
    torch.testing.assert_close(values, terms_of(made, "discriminator", given))


def test_a_run_learns_the_classes_from_two_labels_of_each(tiny_images: Images, tmp_path: Path) -> None:
    settings = ["train.log_every=20", "discriminator_optimizer.lr=0.01"]
    run = train_tiny("sgan", tiny_images, tmp_path / "run", steps=60, labels_per_class=2, settings=settings)
    first, *_, last = (line["d_supervision"] for line in run.metrics())
    assert last < first / 2
    assert ganzoo.load(run).sample(3).shape == (3, 8, 8, 1)


@pytest.mark.parametrize("weight", ["weight", "fake_weight", "class_weight"])
def test_a_weight_that_is_nothing_at_first_counts_later(weight: str, tiny_images: Images, tmp_path: Path) -> None:
    """Heads and draws are made for it from the start."""
    weights = {"weight": "0.0", "fake_weight": "0.0", "class_weight": "0.0", weight: "{from=0.0, to=9.0, over=3}"}
    listed = ", ".join(f"{key}={value}" for key, value in weights.items())
    settings = [f"terms=[{{name='supervision'}}, {{name='consistency', {listed}}}]", "train.log_every=1"]
    run = train_tiny("dcgan", tiny_images, tmp_path / "run", steps=4, settings=settings)
    first, *_, last = (line["d_consistency"] for line in run.metrics())
    assert first == 0 < last


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["terms=[]"], "needs a term that trains the head 'classes': --set"),
        (["terms=[{name='consistency', class_weight=1.0}]"], "needs another term that trains the head 'classes'"),
        (["conditional=true", "discriminator.conditioning=none"], "--set conditional=false"),
        (["discriminator=autoencoder", "terms=['feature-matching']"], "head 'classes'"),
    ],
)
def test_what_cannot_work_is_refused(settings: list[str], message: str) -> None:
    config = assemble("sgan", settings=["train.steps=5", "data.source=array", *settings])
    with pytest.raises(UsageError, match=message):
        build_objective(config.with_facts(image_shape=SHAPE, num_classes=CLASSES).with_horizon(5))


def test_a_plain_logit_is_left_alone() -> None:
    network = discriminators["mlp"](SHAPE, None, width=8)
    network.build_heads({"classes": CLASSES})
    images = batch().real
    before = as_output(network(images)).logits
    network.use_class_logits()
    after = as_output(network(images))
    torch.testing.assert_close(after.logits, before + after["classes"].logsumexp(1))
