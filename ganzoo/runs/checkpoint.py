"""Checkpoints: tensors in safetensors, the rest in JSON, written atomically, hashed, and never pickled.

    checkpoints/step-00001000/
      generator.safetensors, ema.safetensors, ...   one file per part
      state.json                                    step, seconds, logs, the run's configuration
      manifest.json                                 schema version and the SHA-256 of every other file

A directory with the name of a checkpoint is complete: it is written under a temporary name, synced, then renamed.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ganzoo.config import RunConfig
from ganzoo.errors import DivergedError, FileError, UsageError
from ganzoo.files import TEMPORARY_PATTERN, atomic_directory, writing
from ganzoo.records import parse_record
from ganzoo.runs.records import CheckpointState

SCHEMA = 3  # 1 had optimiser parameter names relative to their network; 2 had a configuration of schema 2
KEEP = 2  # newest checkpoints to keep

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint's directory."""

    path: Path

    @property
    def step(self) -> int:
        return int(self.path.name.removeprefix("step-"))

    @property
    def final(self) -> bool:
        """Return whether it was saved at the end of a budget; False if it is too damaged to read."""
        try:
            return bool(self.state()["final"])
        except (FileError, KeyError):
            return False

    @property
    def distance(self) -> float | None:
        """The FID measured when it was saved; None if there was no evaluation, or it is too damaged to read."""
        try:
            return self.state().get("fid")
        except FileError:
            return None

    def state(self) -> dict[str, Any]:
        """Return everything except the tensors. Raises FileError if a file is missing, damaged or of a newer schema."""
        record = parse_record(CheckpointState, self._read_verified("state.json"), str(self.path / "state.json"))
        if record.step != self.step:
            raise FileError(
                f"{self.path} contains step {record.step}, but its name is that of step {self.step}: rename it to "
                f"{name_of(record.step)}, or delete it"
            )
        return record.model_dump(mode="json")

    def tensors(self, part: str) -> dict[str, Tensor]:
        """Return the tensors of a part, on the CPU. Raises FileError as `state` does."""
        try:
            return safetensors.torch.load(self._read_verified(f"{part}.safetensors"))
        except SafetensorError as error:
            raise self._damage_error(f"{part}.safetensors", str(error)) from None

    def config(self) -> RunConfig:
        """Return its configuration. Raises FileError as `state` does, and if parts have other settings now."""
        try:
            return RunConfig.from_json(json.dumps(self.state()["config"])).resolve()
        except UsageError as error:
            raise FileError(f"{self.path} cannot be used with the installed ganzoo and plug-ins: {error}") from None

    def load(self, part: str, network: nn.Module, prefix: str = "") -> None:
        """Load the tensors of a part whose names begin with `prefix` into `network`.

        Raises FileError as `state` does, and if the network has changed since the checkpoint was saved.
        """
        tensors = {
            name.removeprefix(prefix): value for name, value in self.tensors(part).items() if name.startswith(prefix)
        }
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise FileError(
                f"{self.path} does not fit the installed networks, which have changed since: {part}: {reason}"
            ) from None

    def _read_verified(self, name: str) -> bytes:
        digest = self._digests().get(name)
        try:
            data = (self.path / name).read_bytes()
        except OSError as error:
            raise self._damage_error(name, error.strerror or str(error)) from None
        if hashlib.sha256(data).hexdigest() != digest:
            raise self._damage_error(name, "its SHA-256 differs from the recorded one")
        return data

    def _digests(self) -> dict[str, str]:
        try:
            manifest = json.loads((self.path / "manifest.json").read_bytes())
            schema, digests = int(manifest["schema"]), dict(manifest["sha256"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise self._damage_error("manifest.json", str(error)) from None
        if schema > SCHEMA:
            raise FileError(
                f"{self.path} has checkpoint schema {schema}, this ganzoo reads up to {SCHEMA}: upgrade ganzoo"
            )
        return digests

    def _damage_error(self, name: str, why: str) -> FileError:
        others = [other for other in list_checkpoints(self.path.parent) if other.path != self.path]
        advice = (
            f"delete {self.path} to continue from {others[-1].path.name}"
            if others
            else "the run has no other checkpoint"
        )
        return FileError(f"{self.path / name} is damaged ({why}); {advice}")


def average_part(role: str) -> str:
    """Return the part with the averaged weights of the network of this role."""
    return "ema" if role == "generator" else f"ema_{role}"


def name_of(step: int) -> str:
    """Return the name of the directory of a step's checkpoint."""
    return f"step-{step:08d}"


def list_checkpoints(directory: Path) -> list[Checkpoint]:
    """Return the checkpoints in a directory, oldest first, without incomplete ones."""
    found = [path for path in directory.glob("step-*") if path.name.removeprefix("step-").isdecimal()]
    return sorted((Checkpoint(path) for path in found), key=lambda checkpoint: checkpoint.step)


def best_of(checkpoints: Sequence[Checkpoint]) -> Checkpoint | None:
    """Return the checkpoint with the smallest FID; None if none was evaluated."""
    evaluated = {distance: checkpoint for checkpoint in checkpoints if (distance := checkpoint.distance) is not None}
    return evaluated[min(evaluated)] if evaluated else None


def save(directory: Path, step: int, parts: Mapping[str, Tensors], state: Mapping[str, Any]) -> Checkpoint:
    """Write a checkpoint; on any failure, existing files are unchanged.

    Raises DivergedError if a tensor is not finite, MachineError if the disk is full or not writable.
    """
    _check_finite(step, parts)
    files = {
        f"{part}.safetensors": safetensors.torch.save(_copy_contiguous(tensors)) for part, tensors in parts.items()
    }
    files["state.json"] = _json(state)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    files["manifest.json"] = _json({"schema": SCHEMA, "sha256": digests})
    path = directory / name_of(step)
    with atomic_directory(path) as temporary, writing(path):
        for name, data in files.items():
            (temporary / name).write_bytes(data)
    return Checkpoint(path)


def prune(directory: Path) -> None:
    """Remove all checkpoints except the newest two, the newest final one and the best."""
    checkpoints = list_checkpoints(directory)
    finals = [checkpoint for checkpoint in checkpoints if checkpoint.final]
    kept = {*checkpoints[-KEEP:], *finals[-1:], best_of(checkpoints)}
    for checkpoint in checkpoints:
        if checkpoint not in kept:
            shutil.rmtree(checkpoint.path, ignore_errors=True)


def restore(directory: Path) -> None:
    """Rename a complete checkpoint that still has a temporary name, because a process was killed before renaming it."""
    for stray in directory.glob(TEMPORARY_PATTERN):
        made = Checkpoint(stray)
        with suppress(FileError):
            state = parse_record(CheckpointState, made._read_verified("state.json"), str(stray))
            for name in made._digests():
                made._read_verified(name)
            target = directory / name_of(state.step)
            if not target.exists():
                stray.rename(target)


def _check_finite(step: int, parts: Mapping[str, Tensors]) -> None:
    for part, tensors in parts.items():
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise DivergedError(f"step {step}, {part}: {name} is not finite; nothing was saved")


def _copy_contiguous(tensors: Tensors) -> dict[str, Tensor]:
    """Return contiguous copies: safetensors accepts neither channels_last tensors nor two that share memory."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
