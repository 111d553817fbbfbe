"""A trained generator behind one interface, whatever runs it: a run through torch, an .onnx file without it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ganzoo.errors import UsageError
from ganzoo.runtime import bundled
from ganzoo.runtime.generator import Generator, GeneratorInfo
from ganzoo.runtime.images import grid
from ganzoo.runtime.pixels import to_uint8
from ganzoo.seeds import latents

if TYPE_CHECKING:  # torch only where a run is sampled
    import torch

    from ganzoo.config import RunConfig
    from ganzoo.runs.run import Run

WEIGHTS = {"ema": ("ema", ""), "raw": ("objective", "generator.")}  # the part of a checkpoint, the names within
PREVIEW_COLUMNS = 10
PREVIEW_ROWS = 32  # at most


def load(path: "str | Path | Run", *, best: bool = False) -> Generator:
    """The generator of a run's newest (or `best`, see `Run.best_checkpoint`) checkpoint, or of an .onnx file.

    A word such as `mnist` names a generator that is bundled with ganzoo (`./mnist` names a path). Raises FileError.
    """
    if isinstance(path, str | Path):
        bundled.find(path)  # a word that names nothing is told so, with torch and without
        if bundled.is_model(path):
            from ganzoo import runtime

            return runtime.load(path)
    import torch

    from ganzoo.runs.run import Run

    run = path if isinstance(path, Run) else Run.open(path)
    network, config, _ = load_network(run, best=best)
    return as_generator(network, config, torch.device("cpu"))


def load_network(
    run: "Run", *, best: bool = False, weights: str = "ema", step: int | None = None
) -> "tuple[torch.nn.Module, RunConfig, int]":
    """The generator of a run's newest checkpoint, in eval mode, with its configuration and step; or of its best one,
    or of that of a given step.

    `weights` are the averaged ones (`ema`) or the last ones (`raw`); anything else is a UsageError.
    """
    import torch

    from ganzoo.zoo.build import build_generator
    from ganzoo.zoo.networks.fused import fuse

    if weights not in WEIGHTS:
        raise UsageError(f"no weights '{weights}' (one of {', '.join(WEIGHTS)})")
    if step is not None:
        checkpoint = run.checkpoint_at(step)
    else:
        checkpoint = run.best_checkpoint() if best else run.latest_checkpoint()
    config = checkpoint.config()
    with torch.random.fork_rng(devices=[]):  # the first weights are replaced at once: leave the user's generator alone
        network = build_generator(config)
    part, prefix = WEIGHTS[weights]
    checkpoint.load(part, network, prefix)
    fuse(network, config.train.fused is not False)
    return network.eval().requires_grad_(False), config, int(checkpoint.state()["step"])


def as_generator(network: "torch.nn.Module", config: "RunConfig", device: "torch.device") -> Generator:
    """A torch network, in eval mode, as a `Generator`."""
    import torch

    def forward(z: NDArray[np.float32], labels: NDArray[np.int64] | None) -> NDArray[np.float32]:
        y = None if labels is None else torch.from_numpy(labels).to(device)
        with torch.no_grad():
            images: NDArray[np.float32] = network(torch.from_numpy(z).to(device), y).float().cpu().numpy()
        return images

    return Generator(info=generator_info(config), forward=forward)


def generator_info(config: "RunConfig") -> GeneratorInfo:
    """What a user of the generator has to know, from a resolved configuration."""
    from ganzoo.zoo.build import image_shape, num_classes

    classes = num_classes(config)
    return GeneratorInfo(
        variant=config.run.variant,
        latent_dim=config.variant.latent_dim,
        image_shape=image_shape(config),
        num_classes=classes,
        class_names=config.data.class_names if classes else None,
    )


def preview(generator: Generator, seed: int) -> NDArray[np.uint8]:
    """A grid [H, W, C] on fixed latents: where conditional, a row a class and a column a latent."""
    classes = generator.info.num_classes
    if classes is None:
        return grid(generator.sample(PREVIEW_COLUMNS**2, seed=seed), columns=PREVIEW_COLUMNS)
    rows = min(classes, PREVIEW_ROWS)
    z = np.tile(latents(seed, generator.info.latent_dim, 0, PREVIEW_COLUMNS), (rows, 1))
    images = generator.generate(z, np.arange(rows).repeat(PREVIEW_COLUMNS))
    return grid(to_uint8(images), columns=PREVIEW_COLUMNS)
