"""Historical averaging (Salimans et al. 2016, arXiv:1606.03498, section 3.3)."""

from collections.abc import Iterator, Mapping

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from ganzoo.registry import terms
from ganzoo.zoo.terms.base import PlayerName, Term, Turn


@terms.register("historical-average")
class HistoricalAverage(Term, nn.Module):
    """Squared distance of each player's weights from the mean of all their previous values, summed over the weights."""

    term = "historical_average"
    players = ("discriminator", "generator")
    equation = r"L \mathrel{+}= w \, \left\|\theta - \frac{1}{t} \sum_{i=1}^t \theta_i\right\|^2"

    def __init__(self, *, weight: NonNegativeFloat = 1e-4, every: PositiveInt = 1) -> None:
        nn.Module.__init__(self)
        self.weight, self.every = weight, every

    def attach(self, networks: Mapping[str, nn.Module], num_classes: int | None) -> None:
        """Initialise each player's average with its first weights."""
        for player in self.players:
            for i, parameter in enumerate(_parameters(player, networks)):
                self.register_buffer(f"{player}_{i}", parameter.detach().clone())
            self.register_buffer(f"{player}_count", torch.ones(()))

    def __call__(self, turn: Turn) -> Tensor:
        pairs = zip(_parameters(turn.player, turn.networks), self._means(turn.player), strict=True)
        return self.weight * torch.stack([(parameter - mean).square().sum() for parameter, mean in pairs]).sum()

    @torch.no_grad()
    def after_step(self, player: PlayerName, networks: Mapping[str, nn.Module]) -> None:
        count = self.get_buffer(f"{player}_count").add_(1)
        for parameter, mean in zip(_parameters(player, networks), self._means(player), strict=True):
            mean.lerp_(parameter, 1 / count)

    def _means(self, player: PlayerName) -> list[Tensor]:
        return [
            buffer for name, buffer in self.named_buffers() if name.startswith(player) and not name.endswith("_count")
        ]


def _parameters(player: PlayerName, networks: Mapping[str, nn.Module]) -> Iterator[nn.Parameter]:
    """Yield the parameters of a player's networks: the discriminator, or all others."""
    for role, network in networks.items():
        if (role == "discriminator") == (player == "discriminator"):
            yield from network.parameters()
