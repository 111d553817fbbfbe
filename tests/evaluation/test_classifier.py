"""The classifiers learn what there is to learn, as a function of their seed, from images of any shape."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from conftest import make_images
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganzoo.config import assemble
from ganzoo.data import Dataset, normalize
from ganzoo.errors import UsageError
from ganzoo.evaluation.classifier import (
    CLASSIFIERS,
    FEATURES,
    ClassHead,
    Classifier,
    CNNClassifier,
    Epoch,
    _batches,
    evaluate_classifier,
    fit,
    logits_of,
    moved_slightly,
)
from ganzoo.zoo.networks.common import Output

SHAPE = (1, 16, 16)


def labelled(count: int = 120) -> tuple[Tensor, Tensor]:
    images, labels = make_images(16, count)
    return torch.from_numpy(images)[:, None], torch.from_numpy(labels)


def made(name: str, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CLASSIFIERS[name](shape, 3)


def trained(name: str, *, seed: int = 0, images: int = 120, **options: object) -> tuple[Classifier, list[Epoch]]:
    network = made(name)
    history = fit(network, *labelled(images), epochs=2, seed=seed, batch_size=16, **options)  # type: ignore[arg-type]
    return network, history


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_it_learns(name: str) -> None:
    images, labels = labelled()
    said: list[Epoch] = []
    network, history = trained(name, test=(images, labels), augment=name == "cnn", on_epoch=said.append)
    loss, accuracy = evaluate_classifier(network, images, labels)
    assert accuracy > 0.95
    assert said == history
    assert [epoch.epoch for epoch in history] == [1, 2]
    assert (history[-1].test_loss, history[-1].test_accuracy) == pytest.approx((loss, accuracy), rel=1e-3)
    assert history[1].train_loss < history[0].train_loss
    assert 0 <= history[0].train_accuracy <= history[1].train_accuracy <= 1
    assert not network.training


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_training_is_a_function_of_its_seed(name: str) -> None:
    before = torch.get_rng_state()
    runs = [trained(name, seed=seed, augment=True, images=48)[0].state_dict() for seed in (3, 3, 4)]
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(runs[0], runs[1], rtol=0, atol=0)
    assert not torch.equal(runs[0]["head.weight"], runs[2]["head.weight"])


@pytest.mark.slow
def test_averaged_weights_take_the_place_of_the_last() -> None:
    plain, averaged = (trained("cnn", average=decay)[0].state_dict() for decay in (None, 0.9))
    assert plain.keys() == averaged.keys()
    assert not torch.equal(plain["head.weight"], averaged["head.weight"])
    still = trained("mlp", average=0.999999, images=32)[0].state_dict()  # a mean that never moves from the start
    assert torch.allclose(still["head.weight"], trained("mlp", average=0.999999, images=16)[0].head.weight, atol=0.02)


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 28, 28), (3, 32, 48)])
def test_features_come_before_the_last_layer(shape: tuple[int, int, int]) -> None:
    x = normalize(torch.randint(0, 256, (5, *shape), dtype=torch.uint8))
    for name in CLASSIFIERS:
        network = made(name, shape=shape).eval()
        features = network.features(x)
        assert features.shape == (5, FEATURES)
        assert features.min() >= 0
        torch.testing.assert_close(network.head(features), network(x))
        assert network(x).shape == (5, 3)


def test_the_judges_network_is_small() -> None:
    count = sum(weight.numel() for weight in CNNClassifier((1, 28, 28), 10).parameters())
    assert count == 131_434


def test_images_too_small_for_convolutions_are_refused() -> None:
    with pytest.raises(UsageError, match=r"images of 8x8 pixels are too small.*at least 16x16"):
        CNNClassifier((1, 8, 8), 3)


def test_evaluating_is_the_mean_over_all_images() -> None:
    images, labels = labelled(50)
    network = made("cnn").train()  # in evaluation mode whatever it was in
    logits = logits_of(network, images)
    loss, accuracy = evaluate_classifier(network, images, labels)
    assert loss == pytest.approx(cross_entropy(logits, labels).item())
    assert accuracy == pytest.approx((logits.argmax(1) == labels).double().mean().item())
    torch.testing.assert_close(logits[:7], logits_of(network, images[:7]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("images", "batch_size", "batches"), [(10, 4, 2), (12, 4, 3), (3, 4, 1)])
def test_an_epoch_has_each_image_once_and_drops_the_rest(images: int, batch_size: int, batches: int) -> None:
    numbered = torch.arange(images, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 16, 16)
    found = list(_batches(numbered, torch.arange(images), batch_size, seed=0, augment=False))
    assert len(found) == batches
    labels = torch.cat([y for _, y in found])
    assert len(set(labels.tolist())) == len(labels)
    for x, y in found:  # each image with its own label
        assert torch.equal((127.5 * x[:, 0, 0, 0] + 127.5).round().long(), y)


def test_moving_moves_a_little_and_fills_with_black() -> None:
    x = torch.full((200, 1, 28, 28), -1.0)
    x[:, :, 10:18, 10:18] = 1
    moved = moved_slightly(x, torch.Generator().manual_seed(0))
    assert moved.min() >= -1 - 1e-5
    assert moved.max() <= 1 + 1e-5
    weights = (moved + 1).squeeze(1) / 2
    middle = (weights.sum(1) * torch.arange(28.0)).sum(1) / weights.sum((1, 2))
    assert 0.5 < (middle - 13.5).abs().max() < 2.2  # at most two pixels to a side
    sizes = weights.sum((1, 2)) / 64
    assert sizes.min() > 0.75
    assert sizes.max() < 1.3  # at most a tenth on each side
    assert len({round(float(value), 3) for value in middle}) > 100  # each image by amounts of its own


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({}, True),
        ({"class_names": None}, True),  # numbers alone
        ({"class_names": ("cat", "cow")}, False),
        ({"num_classes": 3, "class_names": None}, False),
        ({"images": torch.zeros(4, 1, 9, 8, dtype=torch.uint8)}, False),
    ],
)
def test_a_class_head_knows_images_of_its_own_shape_and_classes(changes: dict[str, Any], known: bool) -> None:
    facts = {"image_shape": (1, 8, 8), "num_classes": 2, "class_names": ("cat", "dog")}
    head = ClassHead(nn.Identity(), assemble("acgan", settings=["train.steps=1"]).with_facts(**facts))
    dataset = Dataset(
        images=torch.zeros(4, 1, 8, 8, dtype=torch.uint8),
        labels=torch.tensor([0, 1, 1, 0]),
        num_classes=2,
        class_names=("cat", "dog"),
        source="pets",
    )
    assert head.knows(replace(dataset, **changes)) == known


def test_a_class_head_sees_no_label() -> None:
    """A discriminator that takes labels is given the same one for each image."""

    class Peeks(nn.Module):
        def forward(self, images: Tensor, labels: Tensor | None) -> Output:
            assert labels is not None
            brightness = images.flatten(1).mean(1)
            return Output(logits=brightness, classes=torch.stack([brightness, 0.0 + labels], 1))

    head = ClassHead(Peeks(), assemble("acgan", settings=["train.steps=1"]))
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    assert torch.equal(logits_of(head, images), torch.tensor([[-1.0, 0], [1, 0]]))
    assert evaluate_classifier(head, images, torch.tensor([1, 0]))[1] == 1
