"""What one update sees: real images, labels, latents and noise, all a function of `(seed, update)`."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ganzoo.data import Loader
from ganzoo.seeds import derive


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The random numbers of the penalties; None where no penalty asked for them."""

    mix: Tensor | None = None  # [N, 1, 1, 1], uniform in [0, 1): one a sample
    pixels: Tensor | None = None  # [N, C, H, W], standard normal


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One update's part of everything random. `labels` and `fake_labels` are None where unconditional."""

    update: int
    real: Tensor  # float32 [N, C, H, W] in [-1, 1]
    labels: Tensor | None  # int64 [N], of the real images
    z: Tensor  # float32 [N, latent_dim]
    fake_labels: Tensor | None  # int64 [N], asked of the generator
    noise: Noise


class Batches:
    """Makes the batch of any update. What conditional networks are asked to draw are the labels of the real images.

    Of several processes each draws all of the batch's random numbers and keeps its share of them: n processes see
    together what one would see.
    """

    def __init__(self, loader: Loader, *, latent_dim: int, conditional: bool, noise: frozenset[str], seed: int) -> None:
        self.loader = loader
        self.latent_dim = latent_dim
        self.conditional = conditional
        self.noise = noise
        self.seed = seed
        self._generator = torch.Generator(loader.device)

    def at(self, update: int) -> Batch:
        """The batch of this update, whichever updates came before."""
        count, (real, labels) = self.loader.batch_size, self.loader.batch(update)
        if not self.conditional:
            labels = None
        return Batch(
            update=update,
            real=real,
            labels=labels,
            z=self._seeded("z", update, torch.randn, count, self.latent_dim),
            fake_labels=labels,
            noise=Noise(
                mix=self._seeded("mix", update, torch.rand, count, 1, 1, 1) if "mix" in self.noise else None,
                pixels=self._seeded("pixels", update, torch.randn, count, *real.shape[1:])
                if "pixels" in self.noise
                else None,
            ),
        )

    def _seeded(self, stream: str, update: int, draw: Callable[..., Tensor], *shape: int) -> Tensor:
        self._generator.manual_seed(derive(self.seed, stream, update))
        return draw(*shape, generator=self._generator, device=self.loader.device)[self.loader.share]
