"""Resize-convolution (Odena et al. 2016, doi:10.23915/distill.00003): enlarge, then convolve, and no checkerboard.

Beside the network, a term with a head of its own and an objective.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganzoo.plugin import (
    Batch,
    Draw,
    Drawn,
    ImageShape,
    Objective,
    PlayerName,
    Spec,
    Term,
    Terms,
    Turn,
    Variant,
    as_output,
    generators,
    objectives,
    terms,
    variants,
)


@generators.register("resize")
class ResizeGenerator(nn.Module):
    """z [N, latent_dim] (and labels [N]) -> images [N, C, H, W] in [-1, 1], enlarged twice by nearest neighbours."""

    def __init__(self, image_shape: ImageShape, latent_dim: int, num_classes: int | None, *, width: int = 32) -> None:
        super().__init__()
        channels, h, w = image_shape
        self.labels = None if num_classes is None else nn.Embedding(num_classes, latent_dim)
        self.body = nn.Sequential(
            nn.Linear(latent_dim, 4 * width * (h // 4) * (w // 4)),
            nn.Unflatten(1, (4 * width, h // 4, w // 4)),
            nn.ReLU(),
            *enlarge(4 * width, 2 * width, (h // 2, w // 2)),
            *enlarge(2 * width, width, (h, w)),
            nn.Conv2d(width, channels, kernel_size=3, padding=1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.labels is not None:
            z = z * self.labels(labels)
        images: Tensor = self.body(z)
        return images


def enlarge(fan_in: int, fan_out: int, size: tuple[int, int]) -> list[nn.Module]:
    convolution = nn.Conv2d(fan_in, fan_out, kernel_size=3, padding=1, bias=False)
    return [nn.Upsample(size), convolution, nn.BatchNorm2d(fan_out), nn.ReLU()]


@terms.register("mirrored")
@dataclass(frozen=True, kw_only=True)
class Mirrored(Term):
    """The discriminator tells whether a real image is mirrored (after Chen et al. 2019, arXiv:1811.11212)."""

    weight: float = 0.1

    term = "mirrored"
    heads = (("mirrored", 2),)

    @property
    def noise(self) -> dict[str, Draw]:  # type: ignore[override]  # computed, as every instance has the same
        return {"mirror": Draw("integers", (), below=2)}

    def __call__(self, turn: Turn) -> Tensor:
        mirror = turn.batch.noise["mirror"]
        images = torch.where(mirror.view(-1, 1, 1, 1) == 1, turn.batch.real.flip(3), turn.batch.real)
        answer = as_output(turn.discriminator(images, turn.batch.labels))
        return self.weight * cross_entropy(answer["mirrored"], mirror)


@objectives.register("two-sided")
class TwoSided(Objective):
    """Both players see both kinds of images: the generator also minimises what real images gain."""

    def terms(self, player: PlayerName, batch: Batch, drawn: Drawn, due: tuple[str, ...]) -> Terms:
        real, fake = self.judged_both(batch, drawn["fake"])
        first, second = (real, fake) if player == "discriminator" else (fake, real)
        values = {"adversarial": self.loss.d(first.logits, second.logits)}
        return self.add_terms(values, due, player, batch, drawn, real, fake)


@variants.register("resize-gan")
def resize_gan() -> Variant:
    return Variant(
        family="network",
        objective=Spec("two-sided"),
        generator=Spec("resize"),
        discriminator=Spec("dcgan"),
        loss=Spec("hinge"),
        terms=(Spec("gradient", at="real", weight=0.1, every=16), Spec("mirrored")),
    )
