"""Mode seeking (Mao et al. 2019, arXiv:1903.05628, eq. 2)."""

from dataclasses import dataclass
from types import MappingProxyType

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from ganzoo.registry import terms
from ganzoo.zoo.batch import Draw
from ganzoo.zoo.terms.base import Term, Turn


@terms.register("mode-seeking")
@dataclass(frozen=True, kw_only=True)
class ModeSeeking(Term):
    """Ratio of the distances of two images and of their latents, for the same label, which the generator maximises.

    Distances are mean absolute differences. The generator draws a second image per label; as in the authors' code, the
    inverse of the ratio is minimised.
    """

    weight: NonNegativeFloat = 0.1
    every: PositiveInt = 1

    term = "mode_seeking"
    players = ("generator",)
    noise = MappingProxyType({"second z": Draw("normal", "latent")})
    mixes_samples = True
    equation = r"L_G \mathrel{+}= w \, \frac{E|z_1 - z_2|}{E|G(z_1) - G(z_2)|}"

    def __call__(self, turn: Turn) -> Tensor:
        z, second = turn.batch.z, turn.batch.noise["second z"]
        second = torch.cat([second, z[:, second.shape[1] :]], dim=1)  # uniform codes do not change
        images: Tensor = turn.networks["generator"](second, turn.batch.fake_labels).float()
        ratio = (turn.drawn["fake"] - images).abs().mean() / (z - second).abs().mean()
        value: Tensor = self.weight / (ratio + 1e-5)
        return value
