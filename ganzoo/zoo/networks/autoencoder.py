"""A discriminator that is an autoencoder (Zhao et al. 2017, arXiv:1609.03126): it reconstructs real images well."""

import math
from typing import ClassVar, Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from ganzoo.registry import discriminators
from ganzoo.zoo.networks.common import LABEL_DIM, ImageShape, Output, label_embedding, perceptron, with_labels


@discriminators.register("autoencoder")
class Autoencoder(nn.Module):
    """images [N, C, H, W] (and labels [N]) -> logits [N] and the reconstruction, through a code of `code` numbers.

    The head `features` is the code, [N, code].

    A logit is minus the mean absolute error of the image's reconstruction (Berthelot et al. 2017, arXiv:1703.10717,
    eq. 1), so that a larger logit means more real, as in other discriminators. Batch norm, separate for real and
    generated images, prevents it from reconstructing a batch of identical images: without it, generators collapse.
    """

    offers: ClassVar[frozenset[str]] = frozenset({"reconstruction", "features"})

    def __init__(
        self,
        image_shape: ImageShape,
        num_classes: int | None,
        *,
        width: PositiveInt = 256,
        depth: PositiveInt = 2,
        code: PositiveInt = 32,
        norm: Literal["batch"] | None = "batch",
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.labels = label_embedding(num_classes, LABEL_DIM)
        down = [math.prod(image_shape), *[width] * depth, code]
        up = [code + (LABEL_DIM if self.labels else 0), *[width] * depth]
        self.encode = nn.Sequential(nn.Flatten(), *perceptron(down, norm=norm))
        self.decode = nn.Sequential(*perceptron(up, norm=norm), nn.Linear(up[-1], math.prod(image_shape)))

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Output:
        code = self.encode(images)
        decoded = self.decode(with_labels(code, self.labels, labels))
        reconstruction = decoded.view(-1, *self.image_shape)
        error = (images - reconstruction).abs().flatten(1).float().mean(1)
        return Output(logits=-error, reconstruction=reconstruction, features=code)
