"""The updates of the two players: functions of a batch that do one optimiser step and return the loss terms.

Each update can be compiled or captured in a CUDA graph, which does not change what it computes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, get_args

import torch
from torch import Tensor

from ganzoo.compute.device import NO_KERNEL, autocast
from ganzoo.config import RunConfig
from ganzoo.errors import MachineError, first_line
from ganzoo.seeds import derive
from ganzoo.training.graphs import Graphs
from ganzoo.training.state import Player, TrainingState
from ganzoo.zoo.batch import Batch, Batches
from ganzoo.zoo.objectives.base import Terms
from ganzoo.zoo.terms.base import Drawn, PlayerName

F = TypeVar("F", bound=Callable[..., Any])


class Updates:
    """The updates of a run's state: compiled, captured and in the precision that its `Compute` records."""

    def __init__(self, state: TrainingState, config: RunConfig) -> None:
        self.state = state
        self.critic_steps = config.variant.critic_steps
        self.seed = config.train.seed
        self._autocast = autocast(state.device, config.chosen.precision)
        self._drawn: Drawn | None = None  # from a step's last discriminator update, for its generator update
        objective = state.objective
        self._draw = objective.draw
        self._terms = {player: partial(objective.terms, player) for player in get_args(PlayerName)}
        if config.chosen.compiled:
            self._draw = _compile(self._draw)
            self._terms = {player: _compile(terms) for player, terms in self._terms.items()}
        self._graphs = Graphs() if config.chosen.graphs else None

    def step(self, batches: Batches) -> None:
        """Do `critic_steps` discriminator updates, a generator update on the last batch, and update the average."""
        state = self.state
        state.follow_schedules()
        with _advice_on_bfloat16():
            for update in range(state.step * self.critic_steps, (state.step + 1) * self.critic_steps):
                batch = batches.at(update)
                state.logs.add("d", self.discriminator(batch))
            state.logs.add("g", self.generator(batch))
        state.step += 1
        state.average_buffers()
        state.update_averages()

    def discriminator(self, batch: Batch) -> Terms:
        """Draw fake images, and minimise the discriminator's terms by one optimiser step."""
        due = self._due("discriminator", batch)
        last = (batch.update + 1) % self.critic_steps == 0
        self._seed("discriminator", batch)
        if self._graphs is not None:
            key = (
                "d",
                due,
                self._due("generator", batch) if last else None,
            )  # includes the key of the generator's update, which continues this graph
            return self._graphs.run(key, lambda static: self._discriminator(static, due, last), batch)
        return self._discriminator(batch, due, last)

    def generator(self, batch: Batch) -> Terms:
        """Minimise the generator's terms by one optimiser step, on the fake images of the last discriminator update.

        The generator has not changed since then, so drawing again would cost a forward pass for the same images.
        """
        self._seed("generator", batch)
        due = self._due("generator", batch)
        if self._graphs is not None:
            others = self._due("discriminator", batch)
            return self._graphs.run(("g", others, due), lambda static: self._generator(static, due), batch)
        return self._generator(batch, due)

    def _due(self, player: PlayerName, batch: Batch) -> tuple[str, ...]:
        """Return the player's terms that are due; a term counts the updates of its player."""
        own = batch.update if player == "discriminator" else batch.update // self.critic_steps
        return self.state.objective.due(player, own)

    def _discriminator(self, batch: Batch, due: tuple[str, ...], last: bool) -> Terms:
        with self._autocast:
            with torch.set_grad_enabled(last):  # only the last fake images are used by the generator's update
                self._drawn = self._draw(batch)
            with self.state.discriminator.alone():
                terms = self._terms["discriminator"](batch, _detach(self._drawn), due)
        return self._step(self.state.discriminator, terms)

    def _generator(self, batch: Batch, due: tuple[str, ...]) -> Terms:
        assert self._drawn is not None
        with self.state.generator.alone(), self._autocast:
            terms = self._terms["generator"](batch, self._drawn, due)
        self._drawn = None
        return self._step(self.state.generator, terms)

    def _step(self, player: Player, terms: Terms) -> Terms:
        player.update(self.state.step + 1, terms)
        self.state.objective.after_step(player.name)
        return _detach(terms)

    def _seed(self, player: str, batch: Batch) -> None:
        """Seed dropout and other noise, with a different seed on each process.

        torch.manual_seed would check every kind of device, which takes a tenth of a millisecond.
        """
        seed = derive(self.seed, player, batch.update) + self.state.world.rank
        torch.default_generator.manual_seed(seed)
        if self.state.device.type != "cpu":
            torch.get_device_module(self.state.device).manual_seed(seed)


def _compile(function: F) -> F:
    """Return the function, which is compiled at its first call. Raises MachineError if that fails."""
    compiled = torch.compile(function, fullgraph=True, dynamic=False)

    def call(*arguments: Any) -> Any:
        try:
            return compiled(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise MachineError(
                f"the updates cannot be compiled here ({first_line(error)}): use --set train.compiled=false"
            ) from error

    return call  # type: ignore[return-value]


@contextmanager
def _advice_on_bfloat16() -> Iterator[None]:
    """Raise MachineError with advice if torch cannot compute an operator in bfloat16."""
    try:
        yield
    except RuntimeError as error:
        if NO_KERNEL not in str(error):
            raise
        raise MachineError(
            f"torch cannot compute these networks in bfloat16 here ({first_line(error)}): train with --precision fp32"
        ) from error


def _detach(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without their autograd graph, which a captured update would keep alive."""
    return {name: value.detach() for name, value in values.items()}
