"""A few training steps on small images, to compare the results of configurations bit by bit."""

import hashlib
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ganzoo.compute.device import torch_settings
from ganzoo.config import RunConfig, Variant, assemble
from ganzoo.data import from_arrays
from ganzoo.errors import GanzooError
from ganzoo.runs.checkpoint import Checkpoint, Tensors
from ganzoo.runs.run import Run
from ganzoo.training.prepare import IN_MEMORY, Training, prepare, with_compute
from ganzoo.training.state import TrainingState
from ganzoo.training.trainer import start
from ganzoo.training.updates import Updates
from ganzoo.zoo.slots import narrow

BATCH_SIZE = 8
BATCHES_PER_EPOCH = 5  # and three more images, which every epoch drops
HORIZON = 4  # steps of schedules without their own horizon
SMALL = ("train.threads=1", "train.device=cpu", "train.log_every=1")
CLOCKS = ("seconds", "images_per_s")


def make_images(
    size: int = 8, count: int = BATCH_SIZE * BATCHES_PER_EPOCH + 3, channels: int = 1
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return images of three classes and their labels: uint8 [N, size, size], or [N, size, size, 3], and int64 [N].

    The bright half is above, below or to the left.
    """
    labels = np.arange(count) % 3
    shape = (count, size, size) if channels == 1 else (count, size, size, channels)
    images = np.random.default_rng(0).integers(0, 60, shape, dtype=np.uint8)
    half = size // 2
    images[labels == 0, :half] += 190
    images[labels == 1, half:] += 190
    images[labels == 2, :, :half] += 190
    return images, labels


class Trials:
    """Trains configurations on the images of `make_images`."""

    def __init__(self, image_size: int = 8, channels: int = 1) -> None:
        self.image_size = image_size
        self.dataset = from_arrays(*make_images(image_size, channels=channels))
        self._digests: dict[tuple[str, int], str | None] = {}

    @cached_property
    def larger(self) -> "Trials":
        """Return trials on images of twice the height and width."""
        return Trials(2 * self.image_size)

    def configure(self, variant: str | Variant, settings: Sequence[str] = ()) -> RunConfig:
        """Return a variant's configuration with small networks and batches, on one thread of the CPU.

        Its schedules end after a few steps for any budget: otherwise training in two parts would give other results.
        """
        flags = {"data": {"source": IN_MEMORY, "batch_size": BATCH_SIZE}}
        config = assemble(variant, settings=[*narrow(variant), *SMALL, *settings], flags=flags)
        return config.with_horizon(HORIZON)

    def prepare(self, config: RunConfig, steps: int) -> Training:
        """Return a training of so many steps that is ready to start."""
        config = config.with_train(steps=steps, minutes=None, epochs=None).with_horizon(steps)
        return with_compute(prepare(config, self.dataset))

    def train(self, config: RunConfig, steps: int) -> TrainingState:
        """Return the state after so many steps. Raises GanzooError."""
        training = self.prepare(config, steps)
        with torch_settings(training.config):
            state = TrainingState(training.config, training.device)
            updates, batches = Updates(state, training.config), training.batches(state.objective)
            for _ in range(steps):
                updates.step(batches)
        return state

    def run(self, config: RunConfig, steps: int, out: Path) -> Run:
        """Train a run of so many steps, written to `out`. Raises GanzooError."""
        return start(self.prepare(config, steps).config, self.dataset, out=out, progress=False)

    def digest(self, config: RunConfig, steps: int) -> str | None:
        """Return a digest of the state after so many training steps; None if ganzoo refuses the configuration.

        Training is in float32 throughout, so that a small change is not rounded away.
        """
        key = (config.to_json(), steps)
        if key not in self._digests:
            with warnings.catch_warnings(), suppress(GanzooError):
                warnings.simplefilter("ignore")  # about parts that do not go well together
                self._digests[key] = _digest(self.train(config.with_train(precision="float32"), steps).parts())
        return self._digests.setdefault(key, None)


def _digest(parts: dict[str, Tensors]) -> str:
    digest = hashlib.sha256()
    for part, tensors in sorted(parts.items()):
        for name, tensor in sorted(tensors.items()):
            digest.update(f"{part}/{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def tensors_of(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Return every tensor of every part, as `part/name`."""
    return {
        f"{file.stem}/{name}": tensor
        for file in sorted(checkpoint.path.glob("*.safetensors"))
        for name, tensor in checkpoint.tensors(file.stem).items()
    }


def bits_of(run: Run) -> dict[str, Any]:
    """Return digests of all that is determined by a run's configuration; wall-clock times are not."""
    bits: dict[str, Any] = {"config": run.config}
    for checkpoint in run.checkpoints():
        for name, tensor in tensors_of(checkpoint).items():
            digest = hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
            bits[f"{checkpoint.path.name}/{name}"] = (tensor.dtype, tuple(tensor.shape), digest)
        state = checkpoint.state()
        bits[f"{checkpoint.path.name}/state"] = (state["step"], state["final"], state["logs"])
    for picture in sorted(run.samples.iterdir()):
        bits[picture.name] = hashlib.sha256(picture.read_bytes()).hexdigest()
    bits["metrics"] = [{key: value for key, value in line.items() if key not in CLOCKS} for line in run.metrics()]
    return bits
