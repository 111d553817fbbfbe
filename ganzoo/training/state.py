"""The state that training changes, and its conversion to and from a checkpoint."""

import copy
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganzoo import registry
from ganzoo.compute.distributed import ALONE, World
from ganzoo.config import RunConfig, Schedule, Spec, settings_at
from ganzoo.errors import DivergedError, FileError, MachineError, UsageError, shown
from ganzoo.runs.checkpoint import Checkpoint, Tensors, average_part
from ganzoo.runs.opening import as_generator
from ganzoo.seeds import derive
from ganzoo.zoo.build import build_objective, scheduled_parts
from ganzoo.zoo.networks.fused import fuse
from ganzoo.zoo.objectives.base import Objective, Terms
from ganzoo.zoo.terms.base import PlayerName

STATISTICS = 4096  # latents for measuring a generator's batch-norm statistics; fewer at the start of training
STATISTICS_PIXELS = 2**18  # pixels per batch of that measurement
LEAST = 8  # images per batch of it, at least


class Player:
    """The parameters that one player owns, their optimiser, and the method that updates them."""

    def __init__(
        self,
        name: PlayerName,
        objective: Objective,
        settings: Spec,
        world: World = ALONE,
        *,
        capturable: bool = False,
    ) -> None:
        self.name = name
        self.parameters = objective.owned_by(name)
        self.others = [value for key, value in objective.named_parameters() if key not in self.parameters]
        self.device = next(iter(self.parameters.values())).device
        self.world = world
        self.defers = self.device.type != "cpu"
        self.nonfinite = torch.zeros((), dtype=torch.bool, device=self.device)  # if it `defers`: a step was skipped
        self.settings = settings.settings
        first = settings_at(self.settings, 0)
        self.scheduled = bool(first)
        if capturable and "lr" in first:
            first["lr"] = torch.tensor(first["lr"], device=self.device)  # a captured step reads it at each replay
        self.optimizer: torch.optim.Optimizer = registry.optimizers[settings.name](
            list(self.parameters.values()), capturable, **{**self.settings, **first}
        )
        for key in first:
            if key not in self.optimizer.param_groups[0]:
                raise UsageError(f"the optimizer '{settings.name}' has no number '{key}' that a schedule can change")
            if capturable and key != "lr":
                raise UsageError(
                    f"{name}_optimizer.{key} follows a schedule, which a CUDA graph cannot capture: "
                    "--set train.graphs=false"
                )
        self._fused = bool(self.optimizer.defaults.get("fused"))

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Turn off gradients of all parameters that this player does not own."""
        for parameter in self.others:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self.others:
                parameter.requires_grad_(True)

    def follow_schedules(self, step: int) -> None:
        """Set the optimiser's scheduled numbers to their values at a step."""
        if not self.scheduled:
            return
        for key, value in settings_at(self.settings, step).items():
            for group in self.optimizer.param_groups:
                if isinstance(group[key], Tensor):
                    group[key].fill_(value)
                else:
                    group[key] = value

    def update(self, step: int, terms: Terms) -> None:
        """Minimise the sum of the terms by one optimiser step, only if the sum and all gradients are finite.

        On a CPU a value that is not finite raises DivergedError with the name of the term or tensor. Other devices are
        not synchronised: if the player `defers`, the device skips the step and sets `nonfinite` for `check`.

        Several processes take the same step with the mean of their gradients; the terms are also replaced by their
        means.
        """
        for parameter in self.parameters.values():
            parameter.grad = None
        total = torch.stack(list(terms.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        gradients = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        if self.world.size > 1:
            self.world.average([*gradients, total.detach(), *(value.detach() for value in terms.values())])
        bad = ~torch.stack([total.detach(), *(gradient.sum() for gradient in gradients)]).sum().isfinite()
        if self.defers:
            self.nonfinite.logical_or_(bad)
            if self._fused:
                self.optimizer.found_inf = bad.float()  # type: ignore[attr-defined]  # read by the fused kernels
            else:  # a step with zero gradients keeps the weights and the optimiser's state finite
                for parameter in self.parameters.values():
                    if parameter.grad is not None:
                        parameter.grad = torch.where(bad, torch.zeros_like(parameter.grad), parameter.grad)
        elif bad:
            raise DivergedError(self._describe_nonfinite(step, terms))
        self.optimizer.step()

    def check(self, step: int) -> None:
        """Raise DivergedError if the device has skipped a step since training started."""
        if self.defers and self.nonfinite:
            raise DivergedError(
                f"{self.name}: a loss or gradient was not finite by step {step}; that step was not taken"
            )

    def _describe_nonfinite(self, step: int, terms: Terms) -> str:
        for name, value in terms.items():
            if not value.isfinite():
                return f"step {step}, {self.name}: the term '{name}' is {value.item()}"
        for name, parameter in self.parameters.items():
            if parameter.grad is not None and not parameter.grad.isfinite().all():
                within = name.removeprefix(f"{self.name}.")
                return f"step {step}, {self.name}: the gradient of '{within}' is not finite"
        return f"step {step}, {self.name}: the sum of the losses or of the gradients is not finite"

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """Return the optimiser's state, each tensor named `<parameter>|<field>`."""
        state = self.optimizer.state
        return {
            f"{name}|{field}": value
            for name, parameter in self.parameters.items()
            for field, value in state.get(parameter, {}).items()
        }

    def restore_optimizer(self, tensors: Tensors) -> None:
        """Load the saved moments with the strides of their parameters, which a fused step requires.

        Raises FileError if a parameter is unknown, or if a moment is missing or has another shape.
        """
        fields = {key.rpartition("|")[2] for key in tensors}
        for key, value in tensors.items():
            name, _, field = key.rpartition("|")
            if name not in self.parameters:
                name = f"{self.name}.{name}"  # in checkpoints of schema 1, names are relative to the network
            parameter = self.parameters.get(name)
            shape = torch.Size() if field == "step" else None if parameter is None else parameter.shape
            if parameter is None or value.shape != shape:
                raise FileError(f"the checkpoint does not fit the networks: {self.name}_optimizer: {shown(key)}")
            like = torch.empty_like(parameter) if value.shape == parameter.shape else value.to(parameter.device)
            self.optimizer.state[parameter][field] = like.detach().copy_(value)
        for name, parameter in self.parameters.items():
            if self.optimizer.state.get(parameter) and set(self.optimizer.state[parameter]) != fields:
                raise FileError(f"the checkpoint does not fit the networks: {self.name}_optimizer: {name}")


class Ema:
    """A moving average of a network: averaged parameters and copied buffers, always in eval mode.

    A generator's batch-norm statistics are measured separately (`measure_statistics`); those of an encoder are copied.

    The decay rises from 0.1 to its full value, so that the initial random weights lose their influence quickly. After
    the first steps the average is updated only at every eighth step, with the decay of eight steps, because an update
    needs as much memory bandwidth as the generator's optimiser.
    """

    EVERY = 8
    FIRST = 80  # first steps, in which the average is updated at every step

    def __init__(self, network: nn.Module, decay: float | Schedule) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Update the average after the `step`-th generator update, counted from 1."""
        steps = 1 if step <= self.FIRST else self.EVERY
        if step % steps:
            return
        most = self.decay.at(step) if isinstance(self.decay, Schedule) else self.decay
        decay = min(most, step / (step + 9)) ** steps
        averaged: list[Tensor] = list(self.network.parameters())
        current: list[Tensor] = list(network.parameters())
        torch._foreach_lerp_(averaged, current, 1 - decay)
        for average, value in zip(self.network.buffers(), network.buffers(), strict=True):
            average.copy_(value)


@torch.no_grad()
def measure_statistics(network: nn.Module, config: RunConfig, device: torch.device, step: int) -> None:
    """Replace the batch-norm statistics of a generator by statistics of its own weights, over STATISTICS latents.

    During the first steps of new weights, the number of latents is at most the number of training images so far, so
    that measuring never takes longer than training.

    Averaged weights have different statistics than the weights of each step, and running statistics come from only a
    few batches. "Standing statistics" (Brock et al. 2019, arXiv:1809.11096): they are a function of the weights, the
    step and the run's seed, so the time of measurement does not matter.
    Labels are drawn at random: a batch of only a few classes would have too small a variance.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return
    generator = as_generator(network, config, device)
    _, height, width = generator.info.image_shape
    trained = STATISTICS if config.train.start_from else step * config.data.batch_size
    count = max(LEAST, min(STATISTICS, trained))
    size = min(count, max(LEAST, STATISTICS_PIXELS // (height * width)))
    random = np.random.default_rng(derive(config.train.seed, "labels of statistics"))
    classes = generator.info.num_classes
    former = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all batches
        norm.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):  # of networks that draw noise
        torch.manual_seed(derive(config.train.seed, "statistics"))
        for start in range(0, count, size):
            z = generator.info.latents(derive(config.train.seed, "statistics"), start, start + size)
            generator.forward(z, None if classes is None else random.integers(0, classes, size))
    for norm, momentum in zip(norms, former, strict=True):
        norm.momentum = momentum
        norm.eval()


class Logs:
    """Sums of loss terms since the last log line, kept on the device and read once per line."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {"d": 0, "g": 0}

    def add(self, player: str, terms: Terms) -> None:
        """Add one update's terms of player "d" or "g", as `d_<term>` or `g_<term>`."""
        self.counts[player] += 1
        for name, value in terms.items():
            key = f"{player}_{name}"
            if key in self.sums:
                self.sums[key] += value.detach()
            else:
                self.sums[key] = value.detach().clone()  # a captured update overwrites its terms at each replay

    def means(self) -> dict[str, float]:
        """Return the mean per update of every term, and of their sum as `d_loss` and `g_loss`.

        A lazy penalty counts as 0 in updates in which it was not due.
        """
        terms = {key: value.item() / max(1, self.counts[key[0]]) for key, value in self.sums.items()}
        losses = {
            f"{player}_loss": sum(value for key, value in terms.items() if key[0] == player) for player in self.counts
        }
        return {**losses, **terms}

    def reset(self) -> None:
        for value in self.sums.values():
            value.zero_()
        self.counts = dict.fromkeys(self.counts, 0)

    def to_json(self) -> dict[str, Any]:
        return {"sums": {key: value.item() for key, value in self.sums.items()}, "counts": self.counts}

    def restore(self, saved: Mapping[str, Any], device: torch.device) -> None:
        self.sums = {
            key: torch.tensor(value, dtype=torch.float32, device=device) for key, value in saved["sums"].items()
        }
        self.counts = {"d": 0, "g": 0, **saved["counts"]}


class TrainingState:
    """The networks, optimisers, averages and counters of a run."""

    def __init__(self, config: RunConfig, device: torch.device, world: World = ALONE) -> None:
        torch.manual_seed(derive(config.train.seed, "weights"))
        layout = torch.channels_last if config.chosen.channels_last else torch.contiguous_format
        objective = build_objective(config).to(device)
        objective.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stubs leave the keyword out
        fuse(objective, config.chosen.fused)
        self.objective = objective
        self.frozen = _freeze(objective, config.train.freeze_discriminator)  # names of discriminator layers
        self.device = device
        self.world = world
        self.discriminator, self.generator = (
            Player(name, objective, settings, world, capturable=config.chosen.graphs)
            for name, settings in _optimizers(config).items()
        )
        self.scheduled = scheduled_parts(config, objective)
        self._averaged = objective.averaged
        self.averages = {role: Ema(network, config.train.ema) for role, network in self._averaged.items()}
        self.logs = Logs()
        self.step = 0
        self.seconds = 0.0
        self._config = config
        self._measured_at: int | None = None  # the step of the averaged generator's statistics

    @property
    def ema(self) -> Ema:
        """The average of the generator."""
        return self.averages["generator"]

    @property
    def averaged_generator(self) -> nn.Module:
        """The averaged generator for sampling, with batch-norm statistics of its own weights."""
        network = self.ema.network
        if self._measured_at != self.step:
            measure_statistics(network, self._config, self.device, self.step)
            self._measured_at = self.step
        return network

    def follow_schedules(self) -> None:
        """Set every scheduled number to its value at the next step."""
        for part in self.scheduled:
            part.apply(self.step, self.device)
        for player in (self.discriminator, self.generator):
            player.follow_schedules(self.step)

    def update_averages(self) -> None:
        """Update the averages with the weights of this step."""
        for role, network in self._averaged.items():
            self.averages[role].update(network, self.step)

    def average_buffers(self) -> None:
        """Replace the buffers of each process, such as batch-norm statistics, by their mean over the processes."""
        if self.world.size > 1:
            self.world.average([buffer for buffer in self.objective.buffers() if buffer.is_floating_point()])

    def check_alike(self) -> None:
        """Raise MachineError if the processes' weights differ in any bit."""
        if self.world.size == 1:
            return
        digest = hashlib.sha256()
        for tensor in self.objective.state_dict().values():
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
        digests = self.world.gather(digest.hexdigest())
        others = [str(rank) for rank, other in enumerate(digests) if other != digests[0]]
        if others:
            raise MachineError(
                f"the weights are no longer the same on all processes by step {self.step} (process {', '.join(others)} "
                "differs from process 0): nothing was saved; to resume, use one kind of processor and one torch version"
            )

    def parts(self) -> dict[str, Tensors]:
        """Return the tensors of a checkpoint, by part."""
        averages = {role: average.network for role, average in self.averages.items()}
        averages["generator"] = self.averaged_generator
        return {
            "objective": self.objective.state_dict(),
            **{average_part(role): network.state_dict() for role, network in averages.items()},
            "generator_optimizer": self.generator.optimizer_tensors(),
            "discriminator_optimizer": self.discriminator.optimizer_tensors(),
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Load a checkpoint. Raises FileError if it is damaged."""
        state = checkpoint.state()
        checkpoint.load("objective", self.objective)
        for role, average in self.averages.items():
            checkpoint.load(average_part(role), average.network)
        self.generator.restore_optimizer(checkpoint.tensors("generator_optimizer"))
        self.discriminator.restore_optimizer(checkpoint.tensors("discriminator_optimizer"))
        self.logs.restore(state["logs"] or self.logs.to_json(), self.device)
        self.step, self.seconds = int(state["step"]), float(state["seconds"])
        self._measured_at = None  # the statistics were those of the previous weights


def _freeze(objective: Objective, count: int) -> list[str]:
    """Freeze the first `count` layers of the discriminator, and return their names.

    A layer is a module that has weights itself, in the order of the network's parameters; heads do not count. Raises
    UsageError if the discriminator does not have more than `count` layers.
    """
    network = objective.discriminator
    places = (name.rpartition(".")[0].partition(".parametrizations")[0] for name, _ in network.named_parameters())
    layers = [place for place in dict.fromkeys(places) if place and not place.startswith("heads.")]
    if count and count >= len(layers):
        raise UsageError(
            f"train.freeze_discriminator is {count}: expected less than {len(layers)}, as the discriminator has "
            f"{len(layers)} layers ({', '.join(layers)})"
        )
    objective.frozen = frozenset(f"discriminator.{name}." for name in layers[:count])
    return layers[:count]


def _optimizers(config: RunConfig) -> dict[PlayerName, Spec]:
    variant = config.variant
    return {"discriminator": variant.discriminator_optimizer, "generator": variant.generator_optimizer}
