"""Augmentations in front of the discriminator, of real and generated images alike.

Zhao et al. 2020 (arXiv:2006.10738, section 3.2): differentiable, so that the generator learns through them, and the
same for both kinds, so that it does not learn to draw them.
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
    """Each image is moved by up to `reach` of its size along each axis; what comes in is black, or transparent."""

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

    Sønderby et al. 2017 (arXiv:1610.04490, section 3.1) and Arjovsky & Bottou 2017 (arXiv:1701.04862, section 3).
    """

    strength: NonNegativeFloat = 0.1

    noise = MappingProxyType({"noise": Draw("normal", "image")})

    def __call__(self, images: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        return images + self.strength * noise["noise"]


@augmentations.register("cut-out")
@dataclass(frozen=True, kw_only=True)
class CutOut(Augmentation):
    """A rectangle of `size` of each image's height and width is black, anywhere, in part beyond the border.

    In an image with transparency it is transparent.
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
    """Brightness, saturation and contrast of each image change, by up to `strength`; grey has no saturation.

    Transparency stays as it is.
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
    """Adaptive discriminator augmentation (Karras et al. 2020, arXiv:2006.06676, section 3): as much as is needed.

    Each change is made to an image with the probability `strength`, which rises while the discriminator takes more than
    (1 + target) / 2 of the real images for real, and falls otherwise. Unlike the paper's, images are turned by small
    angles only, for digits and faces have an upright, and they are mirrored only if `flips` says so.

    Args:
        start: the strength that it begins with.
        target: the mean sign of the logits of real images that is aimed at.
        images: how many real images it takes from strength 0 to 1. The paper begins at 0, aims at 0.6 and takes
            500,000, for much longer runs.
        most: the greatest strength; at 1 no image would be seen as it is, and its changes would be learnt.
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
        self.change: Tensor  # of the strength, after the update

    def __call__(self, images: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        chosen, amount = (noise["chosen"] < self.strength.clamp(max=self.most)).float(), noise["amount"]
        with torch.autocast(images.device.type, enabled=False):  # places in bfloat16 would be off by a part of a pixel
            return self._changed(images.float(), chosen, amount)

    def _changed(self, images: Tensor, chosen: Tensor, amount: Tensor) -> Tensor:
        images = resample(images, self._placement(chosen, amount))
        if not self.colour:
            return images
        shape = (len(images), 1, 1, 1)
        colours = images[:, :3] + (0.2 * chosen[:, 6] * amount[:, 6]).view(shape)
        colours = colours * torch.exp2(0.5 * chosen[:, 7] * amount[:, 7]).view(shape)
        grey = colours.mean(1, keepdim=True)
        return _with_alpha((colours - grey) * torch.exp2(chosen[:, 8] * amount[:, 8]).view(shape) + grey, images)

    def _placement(self, chosen: Tensor, amount: Tensor) -> Tensor:
        """Return for each image where its pixels come from, [N, 2, 3]: an affine map of coordinates in [-1, 1]."""
        scale = torch.exp2(0.2 * chosen[:, 0] * amount[:, 0])
        stretch = torch.exp2(0.2 * chosen[:, 1] * amount[:, 1])
        angle = chosen[:, 2] * amount[:, 2] * (math.pi / 12)
        right, down = (0.25 * chosen[:, axis] * amount[:, axis] for axis in (3, 4))  # of 2, an eighth of the image
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
        self.strength.add_(self.change).clamp_(min=0).clamp_(max=self.most)  # a schedule makes a tensor of it


FIXED = ("translation", "cut-out")  # of grey images; others have "colour" too


def choose_augmentations(variant: Variant, channels: int) -> tuple[Spec, ...]:
    """Return the augmentations that suit few images of 1, 3 or 4 channels. None of them mirrors images.

    They adapt (Karras et al. 2020) if the signs of the logits show which images the discriminator takes for real, and
    are of fixed strength otherwise (Zhao et al. 2020). Colours are changed only where there are some.
    """
    coloured = channels > 1
    signed = getattr(losses.declared(variant.loss.name), "signed", False)
    rebuilds = "reconstruction" in getattr(discriminators.declared(variant.discriminator.name), "offers", ())
    if signed and not rebuilds:  # an autoencoder's logits are minus an error, and never positive
        return (Spec("adaptive", colour=coloured),)
    return tuple(map(Spec, (*FIXED, "colour") if coloured else FIXED))


FEW_R1 = 1.0  # the least weight of R1 for few images


def choose_terms(variant: Variant, recipe: Variant) -> tuple[Spec, ...]:
    """Return a variant's terms for few images: those of its recipe, R1 with a weight of at least `FEW_R1`.

    A heavier R1 keeps the discriminator from rising steeply at each of a few images. Terms that are not the recipe's
    stay as they are.
    """
    if len(variant.terms) != len(recipe.terms):
        return variant.terms
    return tuple(
        Spec(term.name, **{**term.settings, "weight": FEW_R1}) if _is_light_r1(term, own) else term
        for term, own in zip(variant.terms, recipe.terms, strict=True)
    )


def _is_light_r1(term: Spec, own: Spec) -> bool:
    """Return whether a term is R1 of the recipe's weight, a number below `FEW_R1`."""
    weight = term.settings.get("weight")
    return (
        (term.name, term.settings.get("at"), term.settings.get("target", 0.0)) == ("gradient", "real", 0.0)
        and isinstance(weight, float)
        and weight < FEW_R1
        and weight == own.settings.get("weight")
    )


def resample(images: Tensor, placement: Tensor) -> Tensor:
    """Return images [N, C, H, W] whose pixels come from where an affine map [N, 2, 3] of coordinates in [-1, 1] points.

    Bilinear; what lies outside is the image mirrored at its border. Made of gathers, for torch's own grid_sample cannot
    be differentiated twice, as gradient penalties ask.
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
    """Return the pixel before each place in [-1, 1], int64, and how far beyond it the place lies, from 0 to 1."""
    place = (place * size + size - 1) / 2  # in pixels
    period = max(1, 2 * (size - 1))  # mirrored at the first and the last pixel
    place = place.abs() % period
    place = torch.minimum(place, period - place).clamp(0, size - 1)
    before = place.floor()
    return before.long(), place - before
