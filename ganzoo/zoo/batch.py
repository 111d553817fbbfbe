"""The batch of an update: real images, labels, latents and noise, all determined by `(seed, update)`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ganzoo.data import Loader
from ganzoo.errors import UsageError
from ganzoo.seeds import derive


@dataclass(frozen=True)
class Draw:
    """Random numbers that a part requests from the batches, of shape [N, *shape].

    `normal` is N(0, 1), `uniform` is [0, 1), `integers` are int64 from 0 to `below` - 1. The shape "image" stands for
    (C, H, W), "latent" for the number of normal columns of z.
    """

    kind: Literal["normal", "uniform", "integers"]
    shape: tuple[int, ...] | Literal["image", "latent"] = ()
    below: int = 2


NAMED = {"mix": Draw("uniform", (1, 1, 1)), "pixels": Draw("normal", "image")}  # a penalty may request them by name


class Noise(dict[str, Tensor]):
    """The random numbers that parts requested, by name: `noise["angle"]`."""

    @property
    def mix(self) -> Tensor | None:
        """Uniform in [0, 1), [N, 1, 1, 1]: one number per image; None if no part requested it."""
        return self.get("mix")

    @property
    def pixels(self) -> Tensor | None:
        """Standard normal, [N, C, H, W]; None if no part requested it."""
        return self.get("pixels")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The inputs of one update."""

    update: int
    real: Tensor  # float32 [N, C, H, W] in [-1, 1]
    labels: Tensor | None  # int64 [N], of the real images; None if nothing reads them
    z: Tensor  # float32 [N, z_dim]: normal columns, then the uniform codes in [-1, 1]
    fake_labels: Tensor | None  # int64 [N], for the generator: classes, or the values of the categorical code
    noise: Noise
    labelled: tuple[Tensor, Tensor] | None = None  # N labelled real images and their labels; None if nothing reads them


class Batches:
    """The source of the batch of any update. A conditional generator gets the labels of the real images.

    With several processes, each draws all random numbers of the batch and keeps its share, so that n processes together
    use the same numbers as one process.
    """

    def __init__(
        self,
        loader: Loader,
        *,
        latent_dim: int,
        conditional: bool,
        noise: Mapping[str, Draw],
        seed: int,
        labels: bool = False,
        labelled: bool = False,
        uniform_codes: int = 0,
        code_values: int | None = None,
    ) -> None:
        """Create the batches of a run.

        Args:
            labels: whether the real images' labels are needed even if the networks are not conditional.
            labelled: whether each batch also contains labelled images.
        """
        self.loader = loader
        self.latent_dim = latent_dim
        self.conditional = conditional
        self.noise = noise
        self.seed = seed
        self.labels = labels or conditional
        self.labelled = labelled
        self.uniform_codes = uniform_codes
        self.code_values = code_values
        self._generator = torch.Generator(loader.device)

    def at(self, update: int) -> Batch:
        """Return the batch of this update, independent of earlier updates."""
        count, (real, labels) = self.loader.batch_size, self.loader.batch(update)
        z = self._draw_seeded("z", update, torch.randn, count, self.latent_dim)
        if self.uniform_codes:
            codes = self._draw_seeded("codes", update, torch.rand, count, self.uniform_codes)
            z = torch.cat([z, 2 * codes - 1], dim=1)
        fake_labels = labels if self.conditional else None
        if self.code_values is not None:
            fake_labels = self._draw("code", Draw("integers", (), self.code_values), update, count, real.shape[1:])
        return Batch(
            update=update,
            real=real,
            labels=labels if self.labels else None,
            z=z,
            fake_labels=fake_labels,
            noise=Noise(
                {name: self._draw(name, draw, update, count, real.shape[1:]) for name, draw in self.noise.items()}
            ),
            labelled=self.loader.labelled_batch(update) if self.labelled else None,
        )

    def _draw(self, name: str, draw: Draw, update: int, count: int, image_shape: torch.Size) -> Tensor:
        stream = name if name in NAMED else f"noise {name}"
        named = {"image": image_shape, "latent": (self.latent_dim,)}
        shape = (count, *(named[draw.shape] if isinstance(draw.shape, str) else draw.shape))
        if draw.kind == "integers":
            return self._draw_seeded(
                stream, update, lambda *shape, **place: torch.randint(draw.below, shape, **place), *shape
            )
        return self._draw_seeded(stream, update, {"normal": torch.randn, "uniform": torch.rand}[draw.kind], *shape)

    def _draw_seeded(self, stream: str, update: int, draw: Callable[..., Tensor], *shape: int) -> Tensor:
        self._generator.manual_seed(derive(self.seed, stream, update))
        return draw(*shape, generator=self._generator, device=self.loader.device)[self.loader.share]


def draws_of(part: object, whose: str) -> dict[str, Draw]:
    """Return the noise that a part requests by its attribute `noise`: draws by name, or names of `NAMED`.

    Raises UsageError for a name without a draw.
    """
    asked = getattr(part, "noise", {})
    draws = dict(asked) if isinstance(asked, Mapping) else {name: NAMED.get(name) for name in sorted(asked)}
    for name, draw in draws.items():
        if not isinstance(draw, Draw):
            raise UsageError(
                f"{whose} requests the noise '{name}', which is not defined: use one of {', '.join(NAMED)}, or declare "
                f'it as noise = {{"{name}": Draw("uniform", (1,))}}'
            )
        if draw.kind not in ("normal", "uniform", "integers"):
            raise UsageError(
                f"{whose}: the noise '{name}' has kind '{draw.kind}': expected normal, uniform or integers"
            )
    return {name: draw for name, draw in draws.items() if draw is not None}
