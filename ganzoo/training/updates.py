"""The two players' updates: each a function of a batch that takes one optimiser step and returns the loss terms.

They are the unit that is made fast: compiled, or captured in a CUDA graph. What they compute is the same in every way.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from ganzoo.compute.device import autocast
from ganzoo.config import RunConfig
from ganzoo.errors import MachineError, first_line
from ganzoo.seeds import derive
from ganzoo.training.graphs import Graphs
from ganzoo.training.state import TrainingState
from ganzoo.zoo.batch import Batch, Batches
from ganzoo.zoo.objectives.adversarial import Terms

F = TypeVar("F", bound=Callable[..., Any])


class Updates:
    """The updates of a run's state, as its configuration says: `train.compiled`, `train.graphs`, `train.precision`."""

    def __init__(self, state: TrainingState, config: RunConfig) -> None:
        self.state = state
        self.critic_steps = config.variant.critic_steps
        self.seed = config.train.seed
        self._autocast = autocast(state.device, config.train.precision)
        self._drawn: Tensor | None = None  # the images of a step's last discriminator update, for its generator update
        objective = state.objective
        self._draw, self._d_terms, self._g_terms = objective.draw, objective.d_terms, objective.g_loss
        if config.train.compiled:
            self._draw = _compiled(objective.draw)
            self._d_terms = _compiled(objective.d_terms)
            self._g_terms = _compiled(objective.g_loss)
        self._graphs = Graphs() if config.train.graphs else None

    def step(self, batches: Batches) -> None:
        """The algorithm: `critic_steps` discriminator updates, a generator update on the last batch, the average."""
        state = self.state
        for update in range(state.step * self.critic_steps, (state.step + 1) * self.critic_steps):
            batch = batches.at(update)
            state.logs.add("d", self.discriminator(batch))
        state.logs.add("g", self.generator(batch))
        state.step += 1
        state.average_buffers()
        state.ema.update(state.objective.generator, state.step)

    def discriminator(self, batch: Batch) -> Terms:
        """Draw fakes, minimise the discriminator's terms by one optimiser step."""
        due = self.state.objective.due(batch.update)
        last = (batch.update + 1) % self.critic_steps == 0
        self._seed("discriminator", batch)
        if self._graphs is not None:
            return self._graphs.run(("d", due, last), lambda static: self._discriminator(static, due, last), batch)
        return self._discriminator(batch, due, last)

    def generator(self, batch: Batch) -> Terms:
        """Minimise the generator's terms by one optimiser step, on the fakes of the discriminator's update before.

        The generator has not moved in between, so drawing again would give the same at the price of another pass.
        """
        self._seed("generator", batch)
        if self._graphs is not None:
            due = self.state.objective.due(batch.update)
            return self._graphs.run(("g", due), self._generator, batch)
        return self._generator(batch)

    def _discriminator(self, batch: Batch, due: tuple[str, ...], last: bool) -> Terms:
        with self._autocast:
            with torch.set_grad_enabled(last):  # those of the other critic steps are for the discriminator alone
                self._drawn = self._draw(batch)
            terms = self._d_terms(batch, self._drawn.detach(), due)
        self.state.discriminator.update(self.state.step + 1, terms)
        return _detached(terms)

    def _generator(self, batch: Batch) -> Terms:
        assert self._drawn is not None
        with self.state.discriminator.frozen(), self._autocast:
            terms = self._g_terms(batch, self._drawn)
        self._drawn = None
        self.state.generator.update(self.state.step + 1, terms)
        return _detached(terms)

    def _seed(self, player: str, batch: Batch) -> None:
        """For dropout, another on each process.

        torch.manual_seed would look for every kind of device, which takes a tenth of a millisecond.
        """
        seed = derive(self.seed, player, batch.update) + self.state.world.rank
        torch.default_generator.manual_seed(seed)
        if self.state.device.type != "cpu":
            torch.get_device_module(self.state.device).manual_seed(seed)


def _compiled(function: F) -> F:
    """The function, compiled at its first call. Raises MachineError where that cannot be."""
    compiled = torch.compile(function, fullgraph=True, dynamic=False)

    def call(*arguments: Any) -> Any:
        try:
            return compiled(*arguments)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise MachineError(
                f"the updates cannot be compiled here ({first_line(error)}): --set train.compiled=false does without"
            ) from error

    return call  # type: ignore[return-value]


def _detached(terms: Terms) -> Terms:
    """Without their graph, which a captured update would keep alive."""
    return {name: value.detach() for name, value in terms.items()}
