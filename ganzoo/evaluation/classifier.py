"""Classifiers: the case study's feed-forward network, the convolutional one that judges generators, class heads.

The first two have `features`, the activations before the last layer. `fit` trains either on images uint8 [N, C, H, W]
as a data set contains them; all its random numbers depend on its seed alone.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from ganzoo.compute.device import autocast, choose_precision
from ganzoo.config import RunConfig
from ganzoo.data import Dataset, normalize
from ganzoo.errors import UsageError
from ganzoo.seeds import derive
from ganzoo.zoo.networks.common import as_output

MIN_SIZE = 16  # pixels: the convolutions would leave too little of smaller images
FEATURES = 64
ROTATION, SCALE, SHIFT = 12.0, 0.1, 2.0  # of augmentation, at most: degrees, share of the size, pixels
_CHUNK = 100  # images per forward pass in evaluation


class MLPClassifier(nn.Module):
    """The simple feed-forward network of the MNIST case study: two hidden layers."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(image_shape), 128), nn.ReLU(), nn.Linear(128, FEATURES), nn.ReLU()
        )
        self.head = nn.Linear(FEATURES, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits


class CNNClassifier(nn.Module):
    """Four convolutions and a layer of 64 features; about 131,000 weights for MNIST."""

    def __init__(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        if min(image_shape[1:]) < MIN_SIZE:
            raise UsageError(
                f"images of {image_shape[1]}x{image_shape[2]} pixels are too small for the convolutional classifier: "
                f"expected at least {MIN_SIZE}x{MIN_SIZE}"
            )
        layers: list[nn.Module] = []
        for fan_in, fan_out, stride in ((image_shape[0], 32, 1), (32, 32, 2), (32, 64, 1), (64, 64, 2)):
            layers += [nn.Conv2d(fan_in, fan_out, 3, stride, bias=False), nn.BatchNorm2d(fan_out), nn.ReLU()]
        self.features = nn.Sequential(
            *layers,
            nn.AdaptiveAvgPool2d(4),  # images of 28 x 28 are 4 x 4 here; other sizes are pooled to it
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits


class ClassHead(nn.Module):
    """The class head of a trained discriminator as a classifier without labels.

    A conditional discriminator gets the label 0 with each image, so that the head cannot copy the true label.
    """

    def __init__(self, discriminator: nn.Module, config: RunConfig) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.conditional = config.variant.conditional
        self.facts = config.facts

    def knows(self, dataset: Dataset) -> bool:
        """Return whether the images have the shape and the classes that it was trained on."""
        same_shape = dataset.image_shape == self.facts.image_shape
        names = {dataset.class_names, self.facts.class_names} - {None}
        return same_shape and dataset.num_classes == self.facts.num_classes and len(names) <= 1

    def forward(self, images: Tensor) -> Tensor:
        """Return logits float [N, K] of images float32 [N, C, H, W] in [-1, 1]."""
        labels = torch.zeros(len(images), dtype=torch.int64) if self.conditional else None
        return as_output(self.discriminator(images, labels))["classes"]


Classifier = MLPClassifier | CNNClassifier
CLASSIFIERS: dict[str, type[MLPClassifier] | type[CNNClassifier]] = {"mlp": MLPClassifier, "cnn": CNNClassifier}


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """One epoch of a classifier's training; loss and accuracy on the training set are means over its batches."""

    epoch: int
    train_loss: float
    train_accuracy: float
    test_loss: float | None = None
    test_accuracy: float | None = None


def fit(
    network: Classifier,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    seed: int,
    test: tuple[Tensor, Tensor] | None = None,
    batch_size: int = 128,
    lr: float = 0.003,
    augment: bool = False,
    average: float | None = None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> list[Epoch]:
    """Train `network` in place on images uint8 [N, C, H, W] and labels int64 [N], and return its history.

    The optimizer is AdamW; the learning rate rises to `lr` and falls to 0 (one cycle). `augment` slightly rotates,
    scales and shifts each image. `average` is the decay per step of a moving average of the weights, which replaces
    the weights at the end.
    """
    batches = max(1, len(images) // batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), lr, weight_decay=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * batches)
    mean = None if average is None else _make_average(network, average)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs omit the keyword
    device = next(network.parameters()).device
    precision = autocast(device, choose_precision("auto", device))
    history = []
    for epoch in range(1, epochs + 1):
        network.train()
        losses, right = torch.zeros(()), 0
        for x, y in _batches(images, labels, batch_size, derive(seed, "classifier", epoch), augment):
            with precision:
                logits = network(x.contiguous(memory_format=torch.channels_last))
            loss = cross_entropy(logits.float(), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            if mean is not None:
                mean.update_parameters(network)
            losses += loss.detach()
            right += int((logits.argmax(1) == y).sum())
        seen = batches * min(batch_size, len(images))
        tested = (None, None) if test is None else evaluate_classifier(mean.module if mean else network, *test)
        history.append(
            Epoch(
                epoch=epoch,
                train_loss=losses.item() / batches,
                train_accuracy=right / seen,
                test_loss=tested[0],
                test_accuracy=tested[1],
            )
        )
        on_epoch(history[-1])
    if mean is not None:
        network.load_state_dict(mean.module.state_dict())
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    network.eval()
    return history


@torch.no_grad()
def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """Return logits float32 [N, K] of images uint8 [N, C, H, W], in evaluation mode."""
    network.eval()
    return torch.cat([network(normalize(chunk)) for chunk in torch.split(images, _CHUNK)])


def evaluate_classifier(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the mean cross-entropy in nats, and the accuracy in [0, 1]."""
    logits = logits_of(network, images)
    return cross_entropy(logits, labels).item(), (logits.argmax(1) == labels).float().mean().item()


def _make_average(network: Classifier, decay: float) -> "torch.optim.swa_utils.AveragedModel":
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(network, multi_avg_fn=average, use_buffers=True)


def _batches(
    images: Tensor, labels: Tensor, batch_size: int, seed: int, augment: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield an epoch's batches, float [B, C, H, W] in [-1, 1] and int64 [B]; a partial last batch is dropped."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    for start in range(0, max(len(images) - batch_size, 0) + 1, batch_size):
        rows = order[start : start + batch_size]
        x = normalize(images[rows])
        yield moved_slightly(x, generator) if augment else x, labels[rows]


def moved_slightly(x: Tensor, generator: torch.Generator) -> Tensor:
    """Return images, each rotated, scaled and shifted by random amounts; pixels from outside an image are black."""
    turn, stretch, right, down = torch.rand(4, len(x), generator=generator) * 2 - 1
    angle, factor = turn * math.radians(ROTATION), 1 + SCALE * stretch
    height, width = x.shape[2:]
    rows = [
        torch.stack([factor * angle.cos(), -factor * angle.sin(), right * SHIFT * 2 / width], 1),
        torch.stack([factor * angle.sin(), factor * angle.cos(), down * SHIFT * 2 / height], 1),
    ]
    grid = affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return grid_sample(x + 1, grid, align_corners=False) - 1
