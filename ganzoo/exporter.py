"""A run's generator as one verified .onnx file.

The averaged weights, batch norm folded, with inputs `z` float32 [batch, latent_dim] and, where conditional, `labels`
int64 [batch], and the output `images` float32 [batch, C, H, W] in [-1, 1]. Before the file gets its name it is checked
by onnx, compared with torch on the trained weights at several batch sizes, and sealed with its own SHA-256.
"""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from ganzoo import runtime
from ganzoo.config import RunConfig
from ganzoo.errors import FileError, VerificationError, first_line
from ganzoo.files import atomic_write
from ganzoo.forms import to_uint8
from ganzoo.generator import Generator
from ganzoo.networks.fused import FusedConv2d
from ganzoo.onnxfile import METADATA_KEY, metadata, seal
from ganzoo.run import Run
from ganzoo.sampling import as_generator, generator_info, load_network
from ganzoo.seeds import latents

OPSET = 18
PARITY_BATCHES = (1, 2, 7, 64)
TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written: its place, size in bytes, opset, and the greatest differences from torch that were seen."""

    path: Path
    size: int
    opset: int
    difference: float  # of images in [-1, 1]
    grey_levels: int  # of images as uint8


def export(run: str | Path | Run, path: str | Path | None = None, *, best: bool = False) -> Exported:
    """Export the newest (or `best`, see `Run.best_checkpoint`) checkpoint of a run; `path` is by default in the run.

    Raises FileError for a run that cannot be read, VerificationError for a file that does not draw what the run draws
    (nothing is written then), MachineError for a path that cannot be written.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    network, config, step = load_network(run, best=best)
    target = Path(path) if path is not None else run.path / f"{config.run.variant}.onnx"
    model = _translate(fold_batch_norm(network), config)
    _strip_sources(model)
    about = _metadata(config, step)
    difference, grey_levels = _parity(_sealed(model, config, about), network, config)
    parity = {"batches": list(PARITY_BATCHES), "difference": difference, "grey_levels": grey_levels}
    data = _sealed(model, config, {**about, "parity": parity})
    atomic_write(target, data)
    return Exported(path=target, size=len(data), opset=OPSET, difference=difference, grey_levels=grey_levels)


def fold_batch_norm(network: nn.Module) -> nn.Module:
    """A copy, in eval mode, whose batch norms are folded into the layer before them wherever that is a linear one.

    Layers that have two ways to be computed are the plain torch layer that does it in one.
    """
    folded = copy.deepcopy(network)
    for module in list(folded.modules()):
        for name, child in module.named_children():
            if isinstance(child, FusedConv2d):
                setattr(module, name, child.as_one())
    for module in folded.eval().modules():
        if isinstance(module, nn.Sequential):
            _fold_sequence(module)
    return folded


def _fold_sequence(sequence: nn.Sequential) -> None:
    for i in range(len(sequence) - 1):
        layer, norm = sequence[i], sequence[i + 1]
        if not isinstance(norm, _BatchNorm) or not _foldable(layer, norm):
            continue
        if isinstance(layer, nn.Linear):
            sequence[i], sequence[i + 1] = fuse_linear_bn_eval(layer, norm), nn.Identity()
        elif isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            transposed = isinstance(layer, nn.ConvTranspose2d)
            sequence[i], sequence[i + 1] = fuse_conv_bn_eval(layer, norm, transpose=transposed), nn.Identity()


def _foldable(layer: nn.Module, norm: _BatchNorm) -> bool:
    """Whether torch's fusion is right for the pair; a norm that is not folded stays, and draws the same."""
    if type(layer) not in (nn.Linear, nn.Conv2d, nn.ConvTranspose2d) or layer._forward_pre_hooks:
        return False  # a subclass or a hook may compute the weight, as spectral norm does
    if isinstance(layer, nn.Linear) and layer.out_features != norm.num_features:  # another axis is normalised
        return False
    grouped = isinstance(layer, nn.ConvTranspose2d) and layer.groups > 1
    return norm.affine and norm.running_var is not None and not grouped


def _translate(network: nn.Module, config: RunConfig) -> onnx.ModelProto:
    """The network as an ONNX model, with a batch of any size."""
    info = generator_info(config)
    z = torch.from_numpy(latents(0, info.latent_dim, 0, 2))  # 2: a size of 1 would be taken for a constant
    labels = torch.arange(2) % info.num_classes if info.num_classes else None
    batch = torch.export.Dim("batch", min=1)
    inputs = {"z": z} if labels is None else {"z": z, "labels": labels}
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                tuple(inputs.values()),
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=["images"],
                dynamic_shapes=tuple({0: batch} for _ in inputs),
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = first_line(error.__cause__ or error)
        raise VerificationError(
            f"generator '{config.variant.generator.name}' cannot be translated: {reason}; its forward must be torch "
            "operations alone, the same ones whatever the values and the batch size"
        ) from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    return model


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks to itself through warnings and logs; what matters is checked on the file."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _strip_sources(model: onnx.ModelProto) -> None:
    """Nodes carry stack traces with absolute paths of the machine that exported them: leave nothing but the graph."""
    del model.metadata_props[:]
    model.doc_string = ""
    graph = model.graph
    graph.doc_string = ""
    del graph.metadata_props[:]
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]


def _metadata(config: RunConfig, step: int) -> dict[str, Any]:
    """What the file tells of its run. Of paths only the last part leaves the machine."""
    source, colon, argument = config.data.source.partition(":")
    public = config.with_data(source=source + colon + PurePath(argument).name, data_dir=None)
    return {"step": step, "run": public.model_dump(mode="json")}


def _sealed(model: onnx.ModelProto, config: RunConfig, extra: dict[str, Any]) -> bytes:
    """The bytes of a checked model with its metadata, sealed with their SHA-256."""
    complete = onnx.ModelProto()
    complete.CopyFrom(model)
    onnx.helper.set_model_props(complete, {METADATA_KEY: metadata(generator_info(config), extra)})
    onnx.checker.check_model(complete, full_check=True)
    return seal(complete.SerializeToString())


def _parity(data: bytes, network: nn.Module, config: RunConfig) -> tuple[float, int]:
    """The greatest difference between the file and torch, as floats and in grey levels, over all labels."""
    original = as_generator(network, config, torch.device("cpu"))
    try:
        difference, grey_levels = _differences(runtime.load(data), original, config.train.seed)
    except FileError as error:
        raise VerificationError(f"the exported generator cannot be used: {error}; nothing was written") from error
    if not (difference <= TOLERANCE and grey_levels <= 1):  # also where it is not a number
        raise VerificationError(
            f"the exported generator differs from the run's by {difference:.1e} (at most {TOLERANCE:.0e} expected) and "
            f"{grey_levels} grey levels (at most 1 expected); nothing was written"
        )
    return difference, grey_levels


def _differences(exported: Generator, original: Generator, seed: int) -> tuple[float, int]:
    classes = original.info.num_classes
    difference, grey_levels, start = 0.0, 0, 0
    for size in (*PARITY_BATCHES, classes or 1):
        z = latents(seed, original.info.latent_dim, start, start + size)
        labels = np.arange(start, start + size) % classes if classes else None
        ours, theirs = exported.generate(z, labels), original.generate(z, labels)
        difference = max(difference, float(np.abs(ours - theirs).max()))
        levels = np.abs(to_uint8(ours).astype(np.int16) - to_uint8(theirs).astype(np.int16))
        grey_levels = max(grey_levels, int(levels.max()))
        start += size
    return difference, grey_levels
