"""ReACGAN's data-to-data cross-entropy (Kang et al. 2021, arXiv:2111.01118, eq. 8)."""

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import normalize, relu

from ganzoo.registry import terms
from ganzoo.zoo.terms.base import Term, Turn


@terms.register("contrastive-classification")
class ContrastiveClassification(Term, nn.Module):
    """Attraction of images to the proxy of their class, and repulsion from images of other classes, on a hypersphere.

    Real images for the discriminator, which trains the proxies, and generated ones for the generator. With the cosines
    p of an image and the proxy of its class, and s of two images, easy positives (p above `margin`) and easy negatives
    (s below 1 - `margin`) have no gradient.
    """

    term = "contrastive_classification"
    players = ("discriminator", "generator")
    trained_by = ("discriminator",)
    finds_classes = True
    needs_labels = True
    needs_fake_labels = True
    mixes_samples = True
    equation = (
        r"-w \log \frac{e^{\min(0, p - m) / \tau}}"
        r"{e^{\min(0, p - m) / \tau} + \sum_{j: y_j \neq y_i} e^{\max(0, s_j - 1 + m) / \tau}}"
    )

    def __init__(
        self,
        *,
        weight: NonNegativeFloat = 0.5,
        temperature: PositiveFloat = 0.5,
        margin: Annotated[float, Field(ge=0, le=1)] = 0.98,
        embedding: PositiveInt = 64,
        every: PositiveInt = 1,
    ) -> None:
        nn.Module.__init__(self)
        self.weight, self.temperature, self.margin, self.every = weight, temperature, margin, every
        self.size = embedding
        self.heads = (("embedding", embedding),)

    def attach(self, networks: Mapping[str, nn.Module], num_classes: int | None) -> None:
        """Create a proxy for each class."""
        self.proxies = nn.Parameter(torch.randn(num_classes or 0, self.size))

    def __call__(self, turn: Turn) -> Tensor:
        discriminating = turn.player == "discriminator"
        labels = turn.labels if discriminating else turn.fake_labels
        images = normalize((turn.real_output if discriminating else turn.fake)["embedding"], dim=1)
        known = labels >= 0  # -1 is the label of an image without one
        proxies = normalize(self.proxies, dim=1)[labels.clamp(min=0)]
        positive = -relu(self.margin - (images * proxies).sum(1)) / self.temperature  # [N]
        negative = relu(images @ images.T - 1 + self.margin) / self.temperature  # [N, N]
        others = (labels[:, None] != labels) & known[:, None] & known
        negative = negative.masked_fill(~others, -torch.inf)
        losses = torch.cat([positive[:, None], negative], dim=1).logsumexp(1) - positive
        return self.weight * (losses * known).sum() / known.sum().clamp(min=1)
