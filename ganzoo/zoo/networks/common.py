"""Code that the architectures share: the discriminator's output, the pyramid of resolutions, label embeddings."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from ganzoo.errors import UsageError

LABEL_DIM = 32  # size of the label embedding that is concatenated with the latents
MAX_CHANNELS = 512

ImageShape = tuple[int, int, int]  # (C, H, W)


@dataclass(frozen=True, kw_only=True)
class Output:
    """The output of a discriminator with heads: `logits` [N], and the requested heads."""

    logits: Tensor
    classes: Tensor | None = None  # logits of the classes, [N, K]
    codes: Tensor | None = None  # logits of the categorical code, then means of the uniform codes
    features: Tensor | None = None  # [N, D], the input of the last layer
    reconstruction: Tensor | None = None  # [N, C, H, W], of an autoencoder
    others: Mapping[str, Tensor] = field(default_factory=dict)  # heads whose name and size a term defines

    def __getitem__(self, head: str) -> Tensor:
        """Return a head's output. Raises KeyError for a head that was not requested."""
        value = self.others[head] if head in self.others else getattr(self, head, None)
        if not isinstance(value, Tensor):
            raise KeyError(f"the discriminator has no output '{head}': the term must declare it in `heads`")
        return value

    def split(self, count: int) -> tuple["Output", "Output"]:
        """Return the outputs of the first `count` images, and those of the rest."""
        if self.bare:
            return Output(logits=self.logits[:count]), Output(logits=self.logits[count:])
        return map_output(lambda value: value[:count], self), map_output(lambda value: value[count:], self)

    @property
    def bare(self) -> bool:
        """Return whether no heads were requested."""
        heads = (self.classes, self.codes, self.features, self.reconstruction)
        return not self.others and all(head is None for head in heads)


def as_output(answer: Tensor | Output) -> Output:
    """Return a discriminator's output as an `Output` in float32, the precision of losses and terms."""
    if not isinstance(answer, Output):
        return Output(logits=answer.float())
    return map_output(Tensor.float, answer)


def map_output(function: Callable[[Tensor], Tensor], output: Output) -> Output:
    """Return the output with the function applied to each tensor in it."""
    optional = {
        name: function(value)
        for name in ("classes", "codes", "features", "reconstruction")
        if (value := getattr(output, name)) is not None
    }
    others = {name: function(value) for name, value in output.others.items()}
    return Output(logits=function(output.logits), others=others, **optional)


class LinearHeads(nn.Module):
    """A discriminator whose logits and heads are linear functions of features [N, D].

    A subclass builds its body, then calls `self.build_logits(D, ...)`, and returns `self.answer(features, ...)`. Heads
    and pairs are built later, on demand. A subclass that creates `self.head` itself does not support the settings
    below: its first use with one of them raises UsageError.

    Args:
        spectral_norm: divide each weight by its largest singular value, so that linear layers are 1-Lipschitz (Miyato
            et al. 2018, arXiv:1802.05957, eq. 8). As in the paper, a convolution's weight is divided by the largest
            singular value of its kernel as a matrix, which does not make the convolution 1-Lipschitz.
        minibatch_std: append the feature of `minibatch_std` to the body's features.
    """

    head: nn.Linear
    projection: nn.Embedding | None
    # "linear" stands for a head of any name.
    offers: ClassVar[frozenset[str]] = frozenset({"classes", "codes", "features", "linear"})
    sees_pairs: ClassVar[bool] = True
    mixes_samples: bool = False  # a subclass must set it if its logits depend on other samples of the batch

    def __init__(self, *, spectral_norm: bool = False, minibatch_std: bool = False) -> None:
        super().__init__()
        self.heads = nn.ModuleDict()
        self.asked: frozenset[str] = frozenset()
        self.pair: nn.Module | None = None
        self._spectral_norm = spectral_norm
        self._minibatch_std = minibatch_std
        self._built = False
        if minibatch_std:
            self.mixes_samples = True
        self.softmax_logits = False

    def build_logits(self, features: int, projected: int | None = None) -> None:
        """Build the layers from the body's features to logits, with a projection of `projected` classes if given."""
        self._built = True
        features += self._minibatch_std
        self.projection = projection_embedding(projected, features)
        self.head = nn.Linear(features, 1)
        self._normalise(self)
        if self._spectral_norm and self.projection is not None:
            spectral_norm(self.projection)

    def build_heads(self, sizes: Mapping[str, int | None]) -> None:
        """Build a linear head of each size; a head without a size, such as `features`, has no layer."""
        self._check_built()
        self.asked = frozenset(sizes)
        for name, size in sizes.items():
            if size is not None:
                self.heads[name] = nn.Linear(self.head.in_features, size)
        self._normalise(self.heads)

    def build_pairs(self, z_dim: int) -> None:
        """Build the layers for pairs of image and latent: logits depend on both (`forward(images, labels, z)`)."""
        self._check_built()
        features = self.head.in_features
        self.pair = nn.Sequential(
            nn.Linear(features + z_dim, features), nn.LeakyReLU(0.2), nn.Linear(features, features), nn.LeakyReLU(0.2)
        )
        self._normalise(self.pair)

    def use_class_logits(self) -> None:
        """Compute logits as log(p(real) / p(generated)) of a softmax over the K classes and the class "generated".

        The head `classes` has the first K logits of the softmax, and `head` has minus the last one, so the logits are
        logsumexp(classes) + head (Salimans et al. 2016, arXiv:1606.03498, section 5). Raises UsageError if the head
        `classes` does not exist.
        """
        if "classes" not in self.heads:
            raise UsageError("logits from classes need the head 'classes': build it first")
        self.softmax_logits = True

    def answer(
        self, features: Tensor, labels: Tensor | None, z: Tensor | None, projection: nn.Embedding | None = None
    ) -> Tensor | Output:
        """Return the logits [N], with the requested heads; `projection` adds the labels' part to the logits.

        Raises UsageError if a latent is missing for a pair.
        """
        self._check_built()
        if self._minibatch_std:
            features = torch.cat([features, minibatch_std(features)], dim=1)
        if self.pair is not None:
            if z is None:
                raise UsageError("this discriminator needs pairs: call it with an image and a latent")
            features = self.pair(torch.cat([features, z], dim=1))
        logits: Tensor = self.head(features).squeeze(1)
        if projection is not None:
            logits = logits + projected(projection, labels, features)
        if not self.asked:
            return logits
        outputs = {name: head(features) for name, head in self.heads.items()}
        if self.softmax_logits:
            logits = logits + outputs["classes"].float().logsumexp(1)
        known = {name: outputs.pop(name) for name in ("classes", "codes") if name in outputs}
        return Output(logits=logits, features=features if "features" in self.asked else None, **known, others=outputs)

    def _normalise(self, network: nn.Module) -> None:
        if self._spectral_norm:
            normalise_spectrally(network)

    def _check_built(self) -> None:
        """Raise UsageError for settings that `build_logits` applies, if it was not called."""
        asked = {"spectral_norm": self._spectral_norm, "minibatch_std": self._minibatch_std}
        if not self._built and any(asked.values()):
            raise UsageError(
                f"{type(self).__name__} creates `head` itself, so {' and '.join(filter(asked.get, asked))} would have "
                "no effect: call `self.build_logits(D)` last in its __init__ instead, or do not pass the setting on"
            )


def normalise_spectrally(network: nn.Module) -> None:
    """Divide each layer's weight by its largest singular value (Miyato et al. 2018, arXiv:1802.05957, eq. 8 and 9).

    One step of the power method per forward pass tracks this value (algorithm 1). Its vectors are buffers, so that a
    resumed run has them. Label embeddings are not normalised: they are inputs, and would become too small to matter.
    Averaged weights use the vectors of the trained network, which are copied and not averaged, so that the singular
    value is approximate (within 0.5 % in sagan after 40 steps).
    """
    layers = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    for module in list(network.modules()):
        if isinstance(module, layers) and not is_parametrized(module, "weight"):
            spectral_norm(module)


def minibatch_std(features: Tensor) -> Tensor:
    """Return the variety of images as a feature, [N, D] -> [N, 1], by which the discriminator detects mode collapse.

    The standard deviation of each feature over groups of 4 images, averaged over the features (Karras et al. 2018,
    arXiv:1710.10196, section 3). If 4 does not divide N, groups have 2 images; if N is odd, there is one group.
    """
    count = len(features)
    group = 4 if count % 4 == 0 else 2 if count % 2 == 0 else count  # a group of one image has no deviation
    variances = features.float().view(group, -1, features.shape[1]).var(0, correction=0)  # [N / group, D]
    deviations = (variances + 1e-8).sqrt().mean(1, keepdim=True)  # the root's slope at 0 is not finite
    return deviations.repeat(group, 1).to(features.dtype)


class Dropout(nn.Dropout):
    """`nn.Dropout` with a faster mask on a CPU: 16 random bits per value, where torch draws value by value."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        dropped = min(round(self.p * 2**16), 2**16 - 1)  # of 65,536 equally likely values, never all
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - 2**15
        return x * kept.to(x.dtype).mul_(1 / (1 - dropped / 2**16))


def logits_of(output: Tensor | Output) -> Tensor:
    """Return the logits, float32 [N], of a discriminator's output, a tensor or an `Output`."""
    logits = output.logits if isinstance(output, Output) else output
    return logits.float()  # losses are computed in float32, also if the networks use another precision


def pyramid(height: int, width: int, *, smallest: int = 7) -> list[tuple[int, int]]:
    """Return the resolutions from the images' down to at most `smallest`, each half of the previous one, rounded up.

    For elongated images the pyramid ends when their shorter side, rounded down, is a single pixel.

    28 -> 28, 14, 7; 32 -> 32, 16, 8, 4; 64 -> 64, 32, 16, 8, 4.
    """
    sizes = [(height, width)]
    while max(sizes[-1]) > smallest and min(height, width) >> len(sizes):
        sizes.append((math.ceil(sizes[-1][0] / 2), math.ceil(sizes[-1][1] / 2)))
    return sizes


def channels_at(width: int, stage: int) -> int:
    """Return the number of channels after `stage` halvings of the resolution: doubled at each, up to 512."""
    return min(width << stage, max(width, MAX_CHANNELS))


def perceptron(sizes: Sequence[int], *, norm: str | None = None, dropout: float = 0.0) -> list[nn.Module]:
    """Return hidden layers of these sizes: linear, batch norm if there is a `norm`, leaky ReLU, dropout."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers.append(nn.Linear(fan_in, fan_out, bias=norm is None))
        if norm is not None:
            layers.append(nn.BatchNorm1d(fan_out))
        layers.append(nn.LeakyReLU(0.2))
        if dropout:
            layers.append(Dropout(dropout))
    return layers


def label_embedding(num_classes: int | None, dim: int) -> nn.Embedding | None:
    """Return learned label vectors [num_classes, dim], or None for an unconditional network."""
    return None if num_classes is None else nn.Embedding(num_classes, dim)


def projection_embedding(num_classes: int | None, dim: int) -> nn.Embedding | None:
    """Return learned vectors for the projection of features [N, dim], or None for an unconditional network.

    They are initialised with N(0, 1 / dim), so that the label's part of the logits has the scale of one feature. With
    N(0, 1) it would be sqrt(dim) times as large, and dominate the logits.
    """
    embedding = label_embedding(num_classes, dim)
    if embedding is not None:
        with torch.no_grad():
            embedding.weight.mul_(dim**-0.5)
    return embedding


def embed(embedding: nn.Embedding, labels: Tensor | None) -> Tensor:
    """Embed labels, [N] -> [N, dim]. Raises UsageError if the labels are missing."""
    if labels is None:
        raise UsageError("this network is conditional: call it with labels, int64 [N]")
    vectors: Tensor = embedding(labels)
    return vectors


def with_labels(x: Tensor, embedding: nn.Embedding | None, labels: Tensor | None) -> Tensor:
    """Append the labels' vectors, [N, D] -> [N, D + E]; in an unconditional network, return `x`."""
    return x if embedding is None else torch.cat([x, embed(embedding, labels)], dim=1)


def label_plane(image_shape: ImageShape, num_classes: int | None, conditioning: str | None) -> nn.Embedding | None:
    """Return learned planes for labels [num_classes, H * W] if the conditioning is `concat`, else None."""
    return label_embedding(num_classes if conditioning == "concat" else None, math.prod(image_shape[1:]))


def with_plane(images: Tensor, embedding: nn.Embedding | None, labels: Tensor | None) -> Tensor:
    """Append the label's plane, [N, C, H, W] -> [N, C + 1, H, W]; without an embedding, return `images`."""
    if embedding is None:
        return images
    return torch.cat([images, embed(embedding, labels).view(-1, 1, *images.shape[2:])], dim=1)


def projected(embedding: nn.Embedding, labels: Tensor | None, features: Tensor) -> Tensor:
    """Return the label's part [N] of the logits for features [N, D] (Miyato & Koyama 2018, arXiv:1802.05637, eq. 3)."""
    return (embed(embedding, labels) * features).sum(1)
