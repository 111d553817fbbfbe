"""What the architectures share: the discriminator's output, the pyramid of resolutions, label embeddings."""

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

LABEL_DIM = 32  # of the vector that stands for a label beside the latents
MAX_CHANNELS = 512

ImageShape = tuple[int, int, int]  # (C, H, W)


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a discriminator with heads returns: `logits` [N], and the heads that were asked for."""

    logits: Tensor
    classes: Tensor | None = None  # logits of the classes, [N, K]
    codes: Tensor | None = None  # of the latent codes: the categorical one's logits, then the uniform ones' means
    features: Tensor | None = None  # [N, D], from which the logits are computed
    reconstruction: Tensor | None = None  # [N, C, H, W], of an autoencoder
    others: Mapping[str, Tensor] = field(default_factory=dict)  # heads that a term has named and sized

    def __getitem__(self, head: str) -> Tensor:
        """Return a head's output. Raises KeyError for one that was not asked for."""
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
        """True if no heads were asked for."""
        heads = (self.classes, self.codes, self.features, self.reconstruction)
        return not self.others and all(head is None for head in heads)


def as_output(answer: Tensor | Output) -> Output:
    """Return a discriminator's answer as an `Output` in float32: losses and terms are computed in it."""
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
    """A discriminator whose logits are a linear function of features [N, D], and that builds heads on them.

    A subclass builds its body, then calls `self.build_logits(D, ...)`, and returns `self.answer(features, ...)`. Heads
    and pairs are built after it, on demand, and cost nothing otherwise. In a subclass that makes `self.head` itself
    the settings would do nothing: its first use with one raises UsageError.

    Args:
        spectral_norm: divide each weight by its largest singular value, so that no linear layer stretches what it is
            given (Miyato et al. 2018, arXiv:1802.05957, eq. 8). A convolution's weight is divided by that of its kernel
            reshaped to a matrix, as in the paper, which is not the convolution's own: that may stretch.
        minibatch_std: add the feature of `minibatch_std` to the body's.
    """

    head: nn.Linear
    projection: nn.Embedding | None
    offers: ClassVar[frozenset[str]] = frozenset({"classes", "codes", "features", "linear"})  # linear: of any name
    sees_pairs: ClassVar[bool] = True
    mixes_samples: bool = False  # a subclass whose logits depend on other samples of the batch by itself sets it

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
        """Build what makes logits of the body's features, with the part of `projected` classes if there are any."""
        self._built = True
        features += self._minibatch_std
        self.projection = projection_embedding(projected, features)
        self.head = nn.Linear(features, 1)
        self._normalise(self)
        if self._spectral_norm and self.projection is not None:
            spectral_norm(self.projection)

    def build_heads(self, sizes: Mapping[str, int | None]) -> None:
        """Build a linear head of each size; `features` has none."""
        self._check_built()
        self.asked = frozenset(sizes)
        for name, size in sizes.items():
            if size is not None:
                self.heads[name] = nn.Linear(self.head.in_features, size)
        self._normalise(self.heads)

    def build_pairs(self, z_dim: int) -> None:
        """Take pairs of an image and a latent: the logits become a function of both (`forward(images, labels, z)`)."""
        self._check_built()
        features = self.head.in_features
        self.pair = nn.Sequential(
            nn.Linear(features + z_dim, features), nn.LeakyReLU(0.2), nn.Linear(features, features), nn.LeakyReLU(0.2)
        )
        self._normalise(self.pair)

    def use_class_logits(self) -> None:
        """Have the logits be log p(real) / p(generated) of a softmax over the classes and one more, generated images.

        The head `classes` has the K first of its logits, and `head` minus the last one's: the logits are
        logsumexp(classes) + head (Salimans et al. 2016, arXiv:1606.03498, section 5). Raises UsageError without that
        head.
        """
        if "classes" not in self.heads:
            raise UsageError("logits from classes need the head 'classes': build it first")
        self.softmax_logits = True

    def answer(
        self, features: Tensor, labels: Tensor | None, z: Tensor | None, projection: nn.Embedding | None = None
    ) -> Tensor | Output:
        """Return the logits [N], with the heads that were asked for; `projection` adds the labels' part to them."""
        self._check_built()
        if self._minibatch_std:
            features = torch.cat([features, minibatch_std(features)], dim=1)
        if self.pair is not None:
            if z is None:
                raise UsageError("this discriminator sees pairs: call it with an image and a latent")
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
        """Raise UsageError for settings that only `build_logits` gives effect to, if it was not called."""
        asked = {"spectral_norm": self._spectral_norm, "minibatch_std": self._minibatch_std}
        if not self._built and any(asked.values()):
            raise UsageError(
                f"{type(self).__name__} makes its own `head`, so that {' and '.join(filter(asked.get, asked))} would "
                "do nothing: call `self.build_logits(D)` last in its __init__ instead, or do not pass the setting on"
            )


def normalise_spectrally(network: nn.Module) -> None:
    """Divide each layer's weight by its largest singular value (Miyato et al. 2018, arXiv:1802.05957, eq. 8 and 9).

    A step of the power method for each pass follows that value (algorithm 1); its vectors are buffers, so that a
    resumed run has them. Vectors for labels are left as they are: they are inputs, and would be made too small to see.
    Averaged weights are divided with the vectors of the trained network, which are copied and not averaged, so the
    value is not exactly theirs (within 0.5 % of it in sagan after 40 steps).
    """
    layers = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    for module in list(network.modules()):
        if isinstance(module, layers) and not is_parametrized(module, "weight"):
            spectral_norm(module)


def minibatch_std(features: Tensor) -> Tensor:
    """[N, D] -> [N, 1]: how much images differ from one another, so that a generator of one image is found out.

    The standard deviation of each feature over groups of 4 images, averaged over the features (Karras et al. 2018,
    arXiv:1710.10196, section 3). An even number of images that 4 does not divide is in groups of 2, an odd one in one.
    """
    count = len(features)
    group = 4 if count % 4 == 0 else 2 if count % 2 == 0 else count  # a group of one would differ from nothing
    variances = features.float().view(group, -1, features.shape[1]).var(0, correction=0)  # [N / group, D]
    deviations = (variances + 1e-8).sqrt().mean(1, keepdim=True)  # the root's slope at 0 is not finite
    return deviations.repeat(group, 1).to(features.dtype)


class Dropout(nn.Dropout):
    """`nn.Dropout` whose mask is drawn 16 bits a value on a CPU: torch draws value by value, which takes longer."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0 or x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        dropped = min(round(self.p * 2**16), 2**16 - 1)  # of 65,536 equally likely values, never all
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.int16)[: x.numel()].view(x.shape) >= dropped - 2**15
        return x * kept.to(x.dtype).mul_(1 / (1 - dropped / 2**16))


def logits_of(output: Tensor | Output) -> Tensor:
    """The logits, float32 [N], of a discriminator's answer, be it a bare tensor or an `Output`."""
    logits = output.logits if isinstance(output, Output) else output
    return logits.float()  # losses are computed in float32, whatever the networks' passes were


def pyramid(height: int, width: int, *, smallest: int = 7) -> list[tuple[int, int]]:
    """Resolutions from the images' own down to at most `smallest`, each half of the one before, rounded up.

    Images much longer than high stop where their shorter side, rounded down, is a single pixel.

    28 -> 28, 14, 7; 32 -> 32, 16, 8, 4; 64 -> 64, 32, 16, 8, 4.
    """
    sizes = [(height, width)]
    while max(sizes[-1]) > smallest and min(height, width) >> len(sizes):
        sizes.append((math.ceil(sizes[-1][0] / 2), math.ceil(sizes[-1][1] / 2)))
    return sizes


def channels_at(width: int, stage: int) -> int:
    """Channels after so many halvings of the images' resolution: twice as many for each, up to 512."""
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
    """Learned label vectors [num_classes, dim], or None for an unconditional network."""
    return None if num_classes is None else nn.Embedding(num_classes, dim)


def projection_embedding(num_classes: int | None, dim: int) -> nn.Embedding | None:
    """Learned vectors that features [N, dim] are projected on, or None for an unconditional network.

    They start at N(0, 1 / dim), so that the label's part of the logits starts at the scale of one feature. With
    vectors at N(0, 1) it would be sqrt(dim) times as large, and drown the rest.
    """
    embedding = label_embedding(num_classes, dim)
    if embedding is not None:
        with torch.no_grad():
            embedding.weight.mul_(dim**-0.5)
    return embedding


def embed(embedding: nn.Embedding, labels: Tensor | None) -> Tensor:
    """Embed labels [N] -> [N, dim]; a conditional network called without labels is told so."""
    if labels is None:
        raise UsageError("this network is conditional: call it with labels, int64 [N]")
    vectors: Tensor = embedding(labels)
    return vectors


def with_labels(x: Tensor, embedding: nn.Embedding | None, labels: Tensor | None) -> Tensor:
    """[N, D] -> [N, D + E], the labels' vectors beside the values; unchanged in an unconditional network."""
    return x if embedding is None else torch.cat([x, embed(embedding, labels)], dim=1)


def label_plane(image_shape: ImageShape, num_classes: int | None, conditioning: str | None) -> nn.Embedding | None:
    """Make learned planes for labels [num_classes, H * W] if the conditioning is `concat`, else None."""
    return label_embedding(num_classes if conditioning == "concat" else None, math.prod(image_shape[1:]))


def with_plane(images: Tensor, embedding: nn.Embedding | None, labels: Tensor | None) -> Tensor:
    """[N, C, H, W] -> [N, C + 1, H, W], a plane for the label beside the colours; unchanged likewise."""
    if embedding is None:
        return images
    return torch.cat([images, embed(embedding, labels).view(-1, 1, *images.shape[2:])], dim=1)


def projected(embedding: nn.Embedding, labels: Tensor | None, features: Tensor) -> Tensor:
    """The label's part [N] of the logits, of features [N, D] (Miyato & Koyama 2018, arXiv:1802.05637, eq. 3)."""
    return (embed(embedding, labels) * features).sum(1)
