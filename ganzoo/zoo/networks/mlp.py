"""The multilayer perceptrons of the first GAN (Goodfellow et al. 2014, arXiv:1406.2661), for images of any shape."""

import math
from typing import Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from ganzoo.config import Fraction
from ganzoo.registry import discriminators, encoders, generators
from ganzoo.zoo.networks.common import (
    LABEL_DIM,
    ImageShape,
    LinearHeads,
    Output,
    label_embedding,
    perceptron,
    with_labels,
)


@generators.register("mlp")
class MLPGenerator(nn.Module):
    """z [N, latent_dim] (and labels [N]) -> images [N, C, H, W] in [-1, 1]: `depth` hidden layers of doubling width."""

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int,
        num_classes: int | None,
        *,
        width: PositiveInt = 128,
        depth: PositiveInt = 3,
        norm: Literal["batch"] | None = "batch",
        conditioning: Literal["concat"] = "concat",
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.labels = label_embedding(num_classes, LABEL_DIM)
        sizes = [latent_dim + (LABEL_DIM if self.labels else 0), *(width * 2**i for i in range(depth))]
        self.body = nn.Sequential(
            *perceptron(sizes, norm=norm), nn.Linear(sizes[-1], math.prod(image_shape)), nn.Tanh()
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.body(with_labels(z, self.labels, labels))
        return images.view(-1, *self.image_shape)


@discriminators.register("mlp")
class MLPDiscriminator(LinearHeads):
    """images [N, C, H, W] (and labels [N]) -> logits [N]: `depth` hidden layers, of halving width with `taper`."""

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int | None,
        *,
        width: PositiveInt = 256,
        depth: PositiveInt = 2,
        taper: bool = True,
        dropout: Fraction = 0.0,
        spectral_norm: bool = False,
        minibatch_std: bool = False,
        conditioning: Literal["concat", "projection"] | None = "concat",
    ) -> None:
        super().__init__(spectral_norm=spectral_norm, minibatch_std=minibatch_std)
        hidden = [max(1, width // 2**i) if taper else width for i in range(depth)]
        concat = num_classes is not None and conditioning == "concat"
        self.concat = label_embedding(num_classes, LABEL_DIM) if concat else None
        sizes = [math.prod(image_shape) + (LABEL_DIM if concat else 0), *hidden]
        self.body = nn.Sequential(*perceptron(sizes, dropout=dropout))
        self.build_logits(hidden[-1], num_classes if conditioning == "projection" else None)

    def forward(self, images: Tensor, labels: Tensor | None = None, z: Tensor | None = None) -> Tensor | Output:
        features = self.body(with_labels(images.flatten(1), self.concat, labels))
        return self.answer(features, labels, z, self.projection)


@encoders.register("mlp")
class MLPEncoder(nn.Module):
    """images [N, C, H, W] (and labels [N]) -> latents z [N, latent_dim]: `depth` hidden layers of the same width."""

    def __init__(
        self,
        image_shape: ImageShape,
        latent_dim: int,
        num_classes: int | None,
        *,
        width: PositiveInt = 512,
        depth: PositiveInt = 2,
    ) -> None:
        super().__init__()
        self.labels = label_embedding(num_classes, LABEL_DIM)
        sizes = [math.prod(image_shape) + (LABEL_DIM if self.labels else 0), *[width] * depth]
        self.body = nn.Sequential(*perceptron(sizes), nn.Linear(width, latent_dim))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        z: Tensor = self.body(with_labels(images.flatten(1), self.labels, labels))
        return z
