"""Augmentations in front of the discriminator, of real and generated images alike.

Zhao et al. 2020 (arXiv:2006.10738, section 3.2): differentiable, so that the generator learns through them, and the
same for both kinds, so that it does not learn to draw them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn
from torch.nn.functional import pad

from ganzoo.registry import augmentations
from ganzoo.zoo.batch import Draw
from ganzoo.zoo.terms.base import PlayerName, Turn

Share = Annotated[float, Field(ge=0, le=1)]


class Augmentation:
    """A change of images before the discriminator sees them.

    Subclass it and register it with `@augmentations.register(name)`. Keyword-only arguments are its settings. It draws
    nothing itself: `noise` declares what the batches draw, once for real and once for generated images. An augmentation
    with state, such as an adaptive strength, is an `nn.Module` too.
    """

    noise: Mapping[str, Draw] = MappingProxyType({})
    players: ClassVar[tuple[PlayerName, ...]] = ("discriminator",)  # in whose turns it observes and follows up

    def __call__(self, images: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        """Return the changed images, [N, C, H, W] in and out, differentiable by the images."""
        raise NotImplementedError

    def observe(self, turn: Turn) -> None:
        """Read the discriminator's outputs in the turns of `players`, for example to adapt a strength."""

    def after_step(self, player: PlayerName, networks: Mapping[str, nn.Module]) -> None:
        """Change what has to change after the player's optimiser step, without waiting for the device."""


def _whole_steps(draws: Tensor, reach: Tensor | float) -> Tensor:
    """Whole numbers from -reach to reach (rounded), equally likely, int64 [N], of uniform draws [N]."""
    steps = reach.round() if isinstance(reach, Tensor) else float(round(reach))
    return (torch.floor(draws * (2 * steps + 1)) - steps).long()


@augmentations.register("translation")
@dataclass(frozen=True, kw_only=True)
class Translation(Augmentation):
    """Each image is moved by up to `reach` of its size along each axis; what comes in is black."""

    reach: Share = 0.125

    noise = MappingProxyType({"move": Draw("uniform", (2,))})

    def __call__(self, images: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        n, _, height, width = images.shape
        down = _whole_steps(noise["move"][:, 0], self.reach * height)
        right = _whole_steps(noise["move"][:, 1], self.reach * width)
        rows = torch.arange(height, device=images.device) - down.view(n, 1)  # [N, H]: where each row comes from
        columns = torch.arange(width, device=images.device) - right.view(n, 1)
        padded = pad(images, (1, 1, 1, 1), value=-1.0).permute(0, 2, 3, 1)  # a border of black to point at
        rows, columns = (rows + 1).clamp(0, height + 1), (columns + 1).clamp(0, width + 1)
        index = torch.arange(n, device=images.device).view(n, 1, 1)
        return padded[index, rows.view(n, height, 1), columns.view(n, 1, width)].permute(0, 3, 1, 2)


@augmentations.register("instance-noise")
@dataclass(frozen=True, kw_only=True)
class InstanceNoise(Augmentation):
    """Normal noise on every value, of the standard deviation `strength`; a schedule may let it fall to 0.

    Soenderby et al. 2017 (arXiv:1610.04490, section 3.1) and Arjovsky & Bottou 2017 (arXiv:1701.04862, section 3).
    """

    strength: NonNegativeFloat = 0.1

    noise = MappingProxyType({"noise": Draw("normal", "image")})

    def __call__(self, images: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        return images + self.strength * noise["noise"]


@augmentations.register("cut-out")
@dataclass(frozen=True, kw_only=True)
class CutOut(Augmentation):
    """A rectangle of `size` of each image's height and width is black, anywhere, in part beyond the border."""

    size: Share = 0.5

    noise = MappingProxyType({"place": Draw("uniform", (2,))})

    def __call__(self, images: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        n, _, height, width = images.shape
        inside = []
        for axis, length in enumerate((height, width)):
            half = self.size * length / 2
            middle = torch.floor(noise["place"][:, axis] * (length + 1)).view(n, 1)
            place = torch.arange(length, device=images.device) + 0.5
            inside.append((place - middle).abs() < half)
        cut = inside[0].view(n, 1, height, 1) & inside[1].view(n, 1, 1, width)
        return torch.where(cut, -1.0, images)


@augmentations.register("colour")
@dataclass(frozen=True, kw_only=True)
class Colour(Augmentation):
    """Brightness, saturation and contrast of each image change, by up to `strength`; grey has no saturation."""

    strength: NonNegativeFloat = 1.0

    noise = MappingProxyType({"change": Draw("uniform", (3, 1, 1, 1))})

    def __call__(self, images: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        change = self.strength * (noise["change"] - 0.5)  # [N, 3, 1, 1, 1]
        images = images + change[:, 0]
        grey = images.mean(1, keepdim=True)
        images = (images - grey) * (1 + 2 * change[:, 1]) + grey
        mean = images.mean((1, 2, 3), keepdim=True)
        return (images - mean) * (1 + change[:, 2]) + mean
