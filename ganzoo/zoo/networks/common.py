"""What the architectures share: the discriminator's output, the pyramid of resolutions, label embeddings."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ganzoo.errors import UsageError

LABEL_DIM = 32  # of the vector that stands for a label beside the latents

ImageShape = tuple[int, int, int]  # (C, H, W)


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a discriminator with heads returns: `logits` [N], and whatever else its variant reads."""

    logits: Tensor
    classes: Tensor | None = None
    codes: Tensor | None = None
    features: Tensor | None = None
    reconstruction: Tensor | None = None


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


def label_embedding(num_classes: int | None, dim: int) -> nn.Embedding | None:
    """Learned label vectors [num_classes, dim], or None for an unconditional network."""
    return None if num_classes is None else nn.Embedding(num_classes, dim)


def embed(embedding: nn.Embedding, labels: Tensor | None) -> Tensor:
    """Embed labels [N] -> [N, dim]; a conditional network called without labels is told so."""
    if labels is None:
        raise UsageError("this network is conditional: call it with labels, int64 [N]")
    vectors: Tensor = embedding(labels)
    return vectors


def with_labels(x: Tensor, embedding: nn.Embedding | None, labels: Tensor | None) -> Tensor:
    """[N, D] -> [N, D + E], the labels' vectors beside the values; unchanged in an unconditional network."""
    return x if embedding is None else torch.cat([x, embed(embedding, labels)], dim=1)


def projected(embedding: nn.Embedding, labels: Tensor | None, features: Tensor) -> Tensor:
    """The label's part [N] of the logits, of features [N, D] (Miyato & Koyama 2018, arXiv:1802.05637, eq. 3)."""
    return (embed(embedding, labels) * features).sum(1)
