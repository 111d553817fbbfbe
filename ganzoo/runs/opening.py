"""A trained generator or encoder behind one interface: a run through torch, an .onnx file without it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ganzoo.errors import UsageError
from ganzoo.runtime import bundled
from ganzoo.runtime.encoder import Encoder
from ganzoo.runtime.generator import Forward, Generator, GeneratorInfo
from ganzoo.runtime.images import grid
from ganzoo.runtime.pixels import to_uint8

if TYPE_CHECKING:  # torch only where a run is sampled
    import torch

    from ganzoo.config import RunConfig
    from ganzoo.runs.run import Run

WEIGHTS = ("ema", "raw")  # the averaged weights, and the last ones
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


def load_encoder(path: "str | Path | Run", *, best: bool = False) -> Encoder:
    """Return the encoder of a run's newest (or `best`) checkpoint, or of an .onnx file that holds one.

    Raises UsageError for a run of a variant without an encoder, FileError.
    """
    if isinstance(path, str | Path):
        bundled.find(path)
        if bundled.is_model(path):
            from ganzoo import runtime

            return runtime.load_encoder(path)
    import torch

    from ganzoo.runs.run import Run

    run = path if isinstance(path, Run) else Run.open(path)
    network, config, _ = load_network(run, best=best, role="encoder")
    return as_encoder(network, config, torch.device("cpu"))


def load_network(
    run: "Run", *, best: bool = False, weights: str = "ema", step: int | None = None, role: str = "generator"
) -> "tuple[torch.nn.Module, RunConfig, int]":
    """Return the generator (or the network of another role) of a run's newest checkpoint, in eval mode, with its
    configuration and step; or of its best one, or of that of a given step.

    `weights` are the averaged ones (`ema`) or the last ones (`raw`); anything else is a UsageError.
    """
    import torch

    from ganzoo.runs.checkpoint import average_part
    from ganzoo.zoo.build import BUILDERS
    from ganzoo.zoo.networks.fused import fuse

    if weights not in WEIGHTS:
        raise UsageError(f"no weights '{weights}' (one of {', '.join(WEIGHTS)})")
    if step is not None:
        checkpoint = run.checkpoint_at(step)
    else:
        checkpoint = run.best_checkpoint() if best else run.latest_checkpoint()
    config = checkpoint.config()
    with torch.random.fork_rng(devices=[]):  # the first weights are replaced at once: leave the user's generator alone
        network = BUILDERS[role](config)
    part, prefix = (average_part(role), "") if weights == "ema" else ("objective", f"{role}.")
    checkpoint.load(part, network, prefix)
    fuse(network, config.chosen.fused)
    return network.eval().requires_grad_(False), config, int(checkpoint.state()["step"])


def as_generator(network: "torch.nn.Module", config: "RunConfig", device: "torch.device") -> Generator:
    """Return a torch network, in eval mode, as a `Generator`."""
    return Generator(info=generator_info(config), forward=_forward(network, device))


def as_encoder(network: "torch.nn.Module", config: "RunConfig", device: "torch.device") -> Encoder:
    """Return a torch network, in eval mode, as an `Encoder`."""
    return Encoder(info=generator_info(config), forward=_forward(network, device))


def _forward(network: "torch.nn.Module", device: "torch.device") -> Forward:
    import torch

    def forward(x: NDArray[np.float32], labels: NDArray[np.int64] | None) -> NDArray[np.float32]:
        y = None if labels is None else torch.from_numpy(labels).to(device)
        with torch.no_grad():
            answer: NDArray[np.float32] = network(torch.from_numpy(x).to(device), y).float().cpu().numpy()
        return answer

    return forward


def generator_info(config: "RunConfig") -> GeneratorInfo:
    """Return what a user of the generator has to know, from a resolved configuration."""
    from ganzoo.zoo.build import generator_labels, image_shape, num_classes

    code = config.variant.categorical_code
    return GeneratorInfo(
        variant=config.run.variant,
        latent_dim=config.variant.z_dim,
        image_shape=image_shape(config),
        num_classes=generator_labels(config),
        class_names=config.facts.class_names if num_classes(config) else None,
        code=code.name if code else None,
        uniform_codes=config.variant.uniform_codes,
    )


def preview(generator: Generator, seed: int) -> NDArray[np.uint8]:
    """A grid [H, W, C] on fixed latents: one row per class and one column per latent if it takes labels."""
    classes = generator.info.num_classes
    if classes is None:
        return grid(generator.sample(PREVIEW_COLUMNS**2, seed=seed), columns=PREVIEW_COLUMNS)
    rows = min(classes, PREVIEW_ROWS)
    z = np.tile(generator.info.latents(seed, 0, PREVIEW_COLUMNS), (rows, 1))
    images = generator.generate(z, np.arange(rows).repeat(PREVIEW_COLUMNS))
    return grid(to_uint8(images), columns=PREVIEW_COLUMNS)
