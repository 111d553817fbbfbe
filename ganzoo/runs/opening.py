"""Trained generators and encoders with one interface: from a run through torch, or from an exported file."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from ganzoo.errors import MachineError, ModelError, UsageError, is_out_of_memory
from ganzoo.runs.format import Opened
from ganzoo.runs.resolving import MODELS, Source, resolve
from ganzoo.runtime.encoder import Encoder
from ganzoo.runtime.generator import Forward, Generator, GeneratorInfo, generate_images
from ganzoo.runtime.images import grid

if TYPE_CHECKING:  # torch is imported only for runs
    import torch

    from ganzoo.config import RunConfig
    from ganzoo.runs.checkpoint import Checkpoint
    from ganzoo.runs.run import Run
    from ganzoo.zoo.handing_over import VariantParts

WEIGHTS = ("ema", "raw")  # the averaged weights, and those of the last step
PREVIEW_COLUMNS = 10
PREVIEW_ROWS = 32  # at most
LARGE = 2**26  # bytes; the shapes of larger networks are compared with the checkpoint before they are built


def load(
    path: "str | Path | Run",
    *,
    best: bool = False,
    run: "str | Path | Run | None" = None,
    **parts: "Unpack[VariantParts]",
) -> Generator:
    """Return the generator of a run's newest (or `best`, see `Run.best_checkpoint`) checkpoint, or of an exported file.

    A word such as `mnist` names a generator that is bundled with ganzoo (`./mnist` is a path). `run` is the run that a
    file was exported from: a .pt2 file outside of its run is opened only with it. `parts` are the parts that were
    passed to `ganzoo.train` as objects, such as `generator=MyGenerator`; this process keeps them.

    Raises FileError, also if the run needs a part that this process does not have; UsageError for a part that the run
    does not need.
    """
    source = resolve(path, MODELS, "ganzoo.load")
    if source.kind != "run":
        _refuse_parts(source, parts)
        return open_generator(source, run)
    import torch

    network, config, _ = load_network(_open_run(source, parts), best=best)
    return as_generator(network, config, torch.device("cpu"))


def load_encoder(path: "str | Path | Run", *, best: bool = False, **parts: "Unpack[VariantParts]") -> Encoder:
    """Return the encoder of a run's newest (or `best`) checkpoint, or of an exported .onnx file.

    `parts` are those of `load`. Raises UsageError for a run of a variant without an encoder, FileError.
    """
    source = resolve(path, MODELS, "ganzoo.load_encoder")
    if source.kind != "run":
        _refuse_parts(source, parts)
        opened = open_file(source)
        if not isinstance(opened.model, Encoder):
            raise ModelError(f"{source.given} contains a generator, not an encoder: open it with ganzoo.load")
        return opened.model
    import torch

    network, config, _ = load_network(_open_run(source, parts), best=best, role="encoder")
    return as_encoder(network, config, torch.device("cpu"))


def _open_run(source: Source, parts: Mapping[str, Any]) -> "Run":
    """Open a run, and register the parts that it needs."""
    from ganzoo.runs.run import Run
    from ganzoo.zoo.handing_over import take_again

    opened = Run.open(source.path)
    take_again(opened.config.variant, parts)
    return opened


def _refuse_parts(source: Source, parts: Mapping[str, Any]) -> None:
    if given := [role for role, part in parts.items() if part is not None]:
        raise UsageError(f"{source.given} is a file that needs no parts: leave out {given[0]}=")


def open_file(source: Source, run: "str | Path | Run | None" = None) -> Opened:
    """Open an exported or bundled file by its format. `run` is the run that it was exported from, if known.

    Raises FileError.
    """
    if run is not None:
        from ganzoo.runs.run import Run

        run = run if isinstance(run, Run) else Run.open(run)
    return source.file_format.load(source.path, run)


def open_generator(source: Source, run: "str | Path | Run | None" = None) -> Generator:
    """Open a file as `open_file` does, and return its generator. Raises ModelError if the file contains an encoder."""
    return generator_of(open_file(source, run), source.given)


def generator_of(opened: Opened, given: str) -> Generator:
    """Return the generator of an opened file. Raises ModelError if the file contains an encoder."""
    if not isinstance(opened.model, Generator):
        raise ModelError(f"{given} contains an encoder, not a generator: open it with ganzoo.load_encoder")
    return opened.model


def load_network(
    run: "Run", *, best: bool = False, weights: str = "ema", step: int | None = None, role: str = "generator"
) -> "tuple[torch.nn.Module, RunConfig, int]":
    """Return the generator (or the network of another role) of a run's newest checkpoint, in eval mode, with its
    configuration and step; or of its `best` checkpoint, or of the checkpoint of a `step`.

    `weights` are the averaged ones (`ema`) or those of the last step (`raw`). Raises UsageError for anything else.
    """
    import torch

    from ganzoo.runs.checkpoint import average_part
    from ganzoo.zoo.build import BUILDERS, Latents, encoder_columns
    from ganzoo.zoo.networks.fused import fuse

    if weights not in WEIGHTS:
        raise UsageError(f"no weights '{weights}' (one of {', '.join(WEIGHTS)})")
    if step is not None:
        checkpoint = run.checkpoint_at(step)
    else:
        checkpoint = run.best_checkpoint() if best else run.latest_checkpoint()
    config = checkpoint.config()
    part, prefix = (average_part(role), "") if weights == "ema" else ("objective", f"{role}.")
    try:
        with torch.random.fork_rng(devices=[]):  # the initial weights are discarded: keep the user's random state
            _check_size(checkpoint, config, role, part, prefix)
            network = BUILDERS[role](config)
    except (RuntimeError, TypeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise MachineError(
            f"not enough memory for the networks of {run.path}: train narrower ones, or use a machine with more memory"
        ) from error
    checkpoint.load(part, network, prefix)
    fuse(network, config.compute is None or config.compute.fused)  # early runs were fused without a record of it
    if role == "encoder" and encoder_columns(config) > config.variant.z_dim:
        network = Latents(network, config.variant.z_dim)
    return network.eval().requires_grad_(False), config, int(checkpoint.state()["step"])


def _check_size(checkpoint: "Checkpoint", config: "RunConfig", role: str, part: str, prefix: str) -> None:
    """Raise FileError, before memory is allocated, if a large network does not have the shapes in the checkpoint."""
    import torch

    from ganzoo.zoo.build import BUILDERS

    try:
        with torch.device("meta"):
            outline = BUILDERS[role](config)
    except Exception:  # a user's network may need real tensors
        return
    if sum(value.nbytes for value in outline.state_dict().values()) > LARGE:
        with warnings.catch_warnings(action="ignore"):  # torch warns that meta tensors are not copied
            checkpoint.load(part, outline, prefix)


def as_generator(
    network: "Callable[..., torch.Tensor]", config: "RunConfig", device: "torch.device | str" = "cpu"
) -> Generator:
    """Return a torch network in eval mode, or a callable like it, as a `Generator`."""
    return Generator(info=generator_info(config), forward=_forward(network, device))


def as_encoder(network: "torch.nn.Module", config: "RunConfig", device: "torch.device") -> Encoder:
    """Return a torch network in eval mode as an `Encoder`."""
    return Encoder(info=generator_info(config), forward=_forward(network, device))


def _forward(network: "Callable[..., torch.Tensor]", device: "torch.device | str") -> Forward:
    import torch

    def forward(x: NDArray[np.float32], labels: NDArray[np.int64] | None) -> NDArray[np.float32]:
        y = None if labels is None else torch.from_numpy(labels).to(device)
        with torch.no_grad():
            answer: NDArray[np.float32] = network(torch.from_numpy(x).to(device), y).float().cpu().numpy()
        return answer

    return forward


def generator_info(config: "RunConfig") -> GeneratorInfo:
    """Return the description of the generator from a resolved configuration."""
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
    """Return a sample grid [H, W, C] on fixed latents; with labels, one row per class and one column per latent."""
    classes = generator.info.num_classes
    if classes is None:
        return grid(generator.sample(PREVIEW_COLUMNS**2, seed=seed), columns=PREVIEW_COLUMNS)
    rows = min(classes, PREVIEW_ROWS)
    z = np.tile(generator.info.latents(seed, 0, PREVIEW_COLUMNS), (rows, 1))
    return grid(generate_images(generator, z, np.arange(rows).repeat(PREVIEW_COLUMNS)), columns=PREVIEW_COLUMNS)
