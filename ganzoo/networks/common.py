"""What the architectures share: the discriminator's output, the pyramid of resolutions, label embeddings."""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from ganzoo.errors import UsageError

ImageShape = tuple[int, int, int]  # (C, H, W)


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a discriminator with heads returns: `logits` [N], and whatever else its variant reads."""

    logits: Tensor
    classes: Tensor | None = None
    codes: Tensor | None = None
    features: Tensor | None = None
    reconstruction: Tensor | None = None


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


def label_embedding(num_classes: int | None, dim: int) -> nn.Embedding | None:
    """Learned label vectors [num_classes, dim], or None for an unconditional network."""
    return None if num_classes is None else nn.Embedding(num_classes, dim)


def embed(embedding: nn.Embedding, labels: Tensor | None) -> Tensor:
    """Embed labels [N] -> [N, dim]; a conditional network called without labels is told so."""
    if labels is None:
        raise UsageError("this network is conditional: call it with labels, int64 [N]")
    vectors: Tensor = embedding(labels)
    return vectors
