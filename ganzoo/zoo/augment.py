"""Augmentations of real and generated images before the discriminator.

They are differentiable, so that the generator learns through them, and the same for both kinds of images, so that the
generator does not learn to draw augmented images (Zhao et al. 2020, arXiv:2006.10738, section 3.2).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, ClassVar

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import pad

from ganzoo.config import Spec, Variant
from ganzoo.registry import augmentations, discriminators, losses
from ganzoo.zoo.batch import Draw
from ganzoo.zoo.terms.base import PlayerName, Turn

Share = Annotated[float, Field(ge=0, le=1)]


class Augmentation:
    """A random change of images before the discriminator.

    Subclass it and register it with `@augmentations.register(name)`. Keyword-only arguments are its settings. It must
    not draw random numbers itself: `noise` declares what the batches draw, once for real and once for generated images.
    An augmentation with state, such as an adaptive strength, must also be an `nn.Module`.
    """

    noise: Mapping[str, Draw] = MappingProxyType({})
    players: ClassVar[tuple[PlayerName, ...]] = ("discriminator",)  # whose turns call `observe` and `after_step`

    def __call__(self, images: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        """Return the changed images, [N, C, H, W] in and out, differentiable with respect to the images."""
        raise NotImplementedError

    def observe(self, turn: Turn) -> None:
        """Read the discriminator's outputs in the turns of `players`, for example to adapt a strength."""

    def after_step(self, player: PlayerName, networks: Mapping[str, nn.Module]) -> None:
        """Update the state after the player's optimiser step, without waiting for the device."""


def _whole_steps(draws: Tensor, reach: Tensor | float) -> Tensor:
    """Convert uniform draws [N] to equally likely integers from -reach to reach (rounded), int64 [N]."""
    steps = reach.round() if isinstance(reach, Tensor) else float(round(reach))
    return (torch.floor(draws * (2 * steps + 1)) - steps).long()


@augmentations.register("translation")
@dataclass(frozen=True, kw_only=True)
class Translation(Augmentation):
    """Shift of each image by up to `reach` of its size along each axis; new pixels are black, or transparent."""

    reach: Share = 0.125

    noise = MappingProxyType({"move": Draw("uniform", (2,))})

    def __call__(self, images: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        n, _, height, width = images.shape
        down = _whole_steps(noise["move"][:, 0], self.reach * height)
        right = _whole_steps(noise["move"][:, 1], self.reach * width)
        rows = torch.arange(height, device=images.device) - down.view(n, 1)  # [N, H]: where each row comes from
        columns = torch.arange(width, device=images.device) - right.view(n, 1)
        padded = pad(images, (1, 1, 1, 1), value=-1.0).permute(0, 2, 3, 1)  # black border, for outside pixels
        rows, columns = (rows + 1).clamp(0, height + 1), (columns + 1).clamp(0, width + 1)
        index = torch.arange(n, device=images.device).view(n, 1, 1)
        return padded[index, rows.view(n, height, 1), columns.view(n, 1, width)].permute(0, 3, 1, 2)


@augmentations.register("instance-noise")
@dataclass(frozen=True, kw_only=True)
class InstanceNoise(Augmentation):
    """Normal noise with standard deviation `strength` on every value; a schedule can reduce it to 0.

    Sønderby et al. 2017 (arXiv:1610.04490, section 3.1) and Arjovsky & Bottou 2017 (arXiv:1701.04862, section 3).
    """

    strength: NonNegativeFloat = 0.1

    noise = MappingProxyType({"noise": Draw("normal", "image")})

    def __call__(self, images: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        return images + self.strength * noise["noise"]


@augmentations.register("cut-out")
@dataclass(frozen=True, kw_only=True)
class CutOut(Augmentation):
    """Black rectangle of `size` times each image's height and width, at a random place, partly beyond the border.

    In images with transparency the rectangle is transparent.
    """

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
    """Change of brightness, saturation and contrast of each image by up to `strength`; grey has no saturation.

    Transparency does not change.
    """

    strength: NonNegativeFloat = 1.0

    noise = MappingProxyType({"change": Draw("uniform", (3, 1, 1, 1))})

    def __call__(self, images: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        change = self.strength * (noise["change"] - 0.5)  # [N, 3, 1, 1, 1]
        colours = images[:, :3] + change[:, 0]
        grey = colours.mean(1, keepdim=True)
        colours = (colours - grey) * (1 + 2 * change[:, 1]) + grey
        mean = colours.mean((1, 2, 3), keepdim=True)
        return _with_alpha((colours - mean) * (1 + change[:, 2]) + mean, images)


def _with_alpha(colours: Tensor, images: Tensor) -> Tensor:
    """Return changed colours [N, 1 or 3, H, W] with the transparency of the images, if they have any."""
    return colours if images.shape[1] < 4 else torch.cat([colours, images[:, 3:]], 1)


@augmentations.register("adaptive", aliases=("ada",))
class Adaptive(Augmentation, nn.Module):
    """Adaptive discriminator augmentation (Karras et al. 2020, arXiv:2006.06676, section 3), only as strong as needed.

    Each change is applied to an image with probability `strength`, which rises while the discriminator classifies more
    than (1 + target) / 2 of the real images as real, and falls otherwise. Unlike in the paper, images are rotated by
    small angles only, because digits and faces are upright, and mirrored only with `flips`.

    Args:
        start: initial strength.
        target: the desired mean sign of the logits of real images.
        images: number of real images for a change of the strength from 0 to 1. The paper has start 0, target 0.6 and
            500,000 images, for much longer runs.
        most: maximum strength; at 1 no image would be unchanged, and the generator would learn the changes.
        flips: whether images may be mirrored.
        colour: whether brightness, contrast and saturation may change.
    """

    noise = MappingProxyType({"chosen": Draw("uniform", (9,)), "amount": Draw("normal", (9,))})

    def __init__(
        self,
        *,
        start: Share = 0.5,
        target: Share = 0.3,
        images: PositiveInt = 20_000,
        most: Share = 0.8,
        flips: bool = False,
        colour: bool = True,
    ) -> None:
        super().__init__()
        self.start, self.target, self.images, self.most = start, target, images, most
        self.flips, self.colour = flips, colour
        self.register_buffer("strength", torch.tensor(float(start)))
        self.register_buffer("change", torch.zeros(()))
        self.strength: Tensor
        self.change: Tensor  # added to the strength after the update

    def __call__(self, images: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        chosen, amount = (noise["chosen"] < self.strength.clamp(max=self.most)).float(), noise["amount"]
        with torch.autocast(images.device.type, enabled=False):  # positions in bfloat16 are off by part of a pixel
            return self._apply_changes(images.float(), chosen, amount)

    def _apply_changes(self, images: Tensor, chosen: Tensor, amount: Tensor) -> Tensor:
        images = resample(images, self._placement(chosen, amount))
        if not self.colour:
            return images
        shape = (len(images), 1, 1, 1)
        colours = images[:, :3] + (0.2 * chosen[:, 6] * amount[:, 6]).view(shape)
        colours = colours * torch.exp2(0.5 * chosen[:, 7] * amount[:, 7]).view(shape)
        grey = colours.mean(1, keepdim=True)
        return _with_alpha((colours - grey) * torch.exp2(chosen[:, 8] * amount[:, 8]).view(shape) + grey, images)

    def _placement(self, chosen: Tensor, amount: Tensor) -> Tensor:
        """Return for each image the source of its pixels, [N, 2, 3]: an affine map of coordinates in [-1, 1]."""
        scale = torch.exp2(0.2 * chosen[:, 0] * amount[:, 0])
        stretch = torch.exp2(0.2 * chosen[:, 1] * amount[:, 1])
        angle = chosen[:, 2] * amount[:, 2] * (math.pi / 12)
        right, down = (0.25 * chosen[:, axis] * amount[:, axis] for axis in (3, 4))  # 0.25 is an eighth of the image
        mirror = 1 - 2 * chosen[:, 5] * (amount[:, 5] > 0) if self.flips else torch.ones_like(scale)
        wide, high = mirror * scale * stretch, scale / stretch
        cos, sin = angle.cos(), angle.sin()
        rows = [torch.stack([wide * cos, -high * sin, right], 1), torch.stack([wide * sin, high * cos, down], 1)]
        return torch.stack(rows, 1)

    @torch.no_grad()
    def observe(self, turn: Turn) -> None:
        logits = turn.real_output.logits
        self.change.copy_((logits.sign().mean() - self.target).sign() * (len(logits) / self.images))

    @torch.no_grad()
    def after_step(self, player: PlayerName, networks: Mapping[str, nn.Module]) -> None:
        self.strength.add_(self.change).clamp_(min=0).clamp_(max=self.most)  # a scheduled `most` is a tensor


FIXED = ("translation", "cut-out")  # for grey images; with colours, "colour" too


def choose_augmentations(variant: Variant, channels: int) -> tuple[Spec, ...]:
    """Return suitable augmentations for few images of 1, 3 or 4 channels. None of them mirrors images.

    They are adaptive (Karras et al. 2020) if the sign of a logit shows whether the discriminator classifies an image
    as real, and otherwise have a fixed strength (Zhao et al. 2020). Colours change only in colour images.
    """
    coloured = channels > 1
    signed = getattr(losses.declared(variant.loss.name), "signed", False)
    rebuilds = "reconstruction" in getattr(discriminators.declared(variant.discriminator.name), "offers", ())
    if signed and not rebuilds:  # an autoencoder's logits are minus an error, and never positive
        return (Spec("adaptive", colour=coloured),)
    return tuple(map(Spec, (*FIXED, "colour") if coloured else FIXED))


FEW_R1 = 1.0  # minimum weight of R1 for few images


def choose_terms(variant: Variant, recipe: Variant) -> tuple[Spec, ...]:
    """Return a variant's terms for few images: those of its recipe, with a weight of at least `FEW_R1` for R1.

    A larger weight of R1 prevents steep slopes of the discriminator at the few real images. Terms that are not the
    recipe's do not change.
    """
    if len(variant.terms) != len(recipe.terms):
        return variant.terms
    return tuple(
        Spec(term.name, **{**term.settings, "weight": FEW_R1}) if _is_light_r1(term, own) else term
        for term, own in zip(variant.terms, recipe.terms, strict=True)
    )


def _is_light_r1(term: Spec, own: Spec) -> bool:
    """Return whether a term is R1 with the recipe's weight, and this weight is a number below `FEW_R1`."""
    weight = term.settings.get("weight")
    return (
        (term.name, term.settings.get("at"), term.settings.get("target", 0.0)) == ("gradient", "real", 0.0)
        and isinstance(weight, float)
        and weight < FEW_R1
        and weight == own.settings.get("weight")
    )


def resample(images: Tensor, placement: Tensor) -> Tensor:
    """Resample images [N, C, H, W] at the positions of an affine map [N, 2, 3] of coordinates in [-1, 1].

    Interpolation is bilinear, and images are mirrored at the border. Implemented with gather, because gradient
    penalties need second derivatives, which torch's grid_sample does not have.
    """
    n, channels, height, width = images.shape
    y, x = (
        torch.arange(size, device=images.device, dtype=images.dtype).mul(2).add(1 - size).div(size)
        for size in (height, width)
    )
    x, y = x.view(1, 1, width), y.view(1, height, 1)
    places = [
        placement[:, axis, 0].view(n, 1, 1) * x
        + placement[:, axis, 1].view(n, 1, 1) * y
        + placement[:, axis, 2].view(n, 1, 1)
        for axis in (0, 1)
    ]  # of columns and of rows, [N, H, W]
    flat, result = images.flatten(2), torch.zeros_like(images)
    column, right = _neighbours(places[0], width)
    row, low = _neighbours(places[1], height)
    for rows, vertical in ((row, 1 - low), ((row + 1).clamp(max=height - 1), low)):
        for columns, horizontal in ((column, 1 - right), ((column + 1).clamp(max=width - 1), right)):
            index = (rows * width + columns).view(n, 1, -1).expand(-1, channels, -1)
            result = result + flat.gather(2, index).view_as(images) * (vertical * horizontal).unsqueeze(1)
    return result


def _neighbours(place: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the pixel before each position in [-1, 1], int64, and the position's distance from it, 0 to 1."""
    place = (place * size + size - 1) / 2  # in pixels
    period = max(1, 2 * (size - 1))  # mirrored at the first and the last pixel
    place = place.abs() % period
    place = torch.minimum(place, period - place).clamp(0, size - 1)
    before = place.floor()
    return before.long(), place - before
