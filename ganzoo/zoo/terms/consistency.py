"""Consistency regularisation: CR (Zhang et al. 2020, arXiv:1910.12027), bCR (Zhao et al. 2021, arXiv:2002.04724)."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from ganzoo import registry
from ganzoo.zoo.batch import Draw
from ganzoo.zoo.networks.common import logits_of
from ganzoo.zoo.terms.base import Term, Turn


@registry.terms.register("consistency")
@dataclass(frozen=True, kw_only=True)
class Consistency(Term):
    """Logits do not change with an augmentation T of the images: of real ones (CR), and of generated ones too (bCR).

    `augmentation` is the name of a registered one, which is taken with its default settings.
    """

    weight: NonNegativeFloat = 10.0
    fake_weight: NonNegativeFloat = 0.0  # 10 in the paper on bCR
    augmentation: str = "translation"
    every: PositiveInt = 1

    term = "consistency"
    equation = r"L_D \mathrel{+}= w \, E[(D(x) - D(T(x)))^2] + w_f \, E[(D(G(z)) - D(T(G(z))))^2]"

    @cached_property
    def change(self) -> Any:
        """The augmentation."""
        return registry.augmentations[self.augmentation]()

    @property
    def noise(self) -> dict[str, Draw]:  # type: ignore[override]  # it depends on the augmentation
        halves = ("real", "fake") if self.fake_weight else ("real",)
        return {f"consistency {half} {key}": draw for half in halves for key, draw in self.change.noise.items()}

    def __call__(self, turn: Turn) -> Tensor:
        value = self.weight * self._change(turn, "real", turn.batch.real, turn.batch.labels, turn.real_output.logits)
        if self.fake_weight:
            fake, labels = turn.drawn["fake"], turn.batch.fake_labels
            value = value + self.fake_weight * self._change(turn, "fake", fake, labels, turn.fake.logits)
        return value

    @property
    def judges_others(self) -> bool:  # type: ignore[override]
        return self.fake_weight > 0

    def _change(self, turn: Turn, half: str, images: Tensor, labels: Tensor | None, logits: Tensor) -> Tensor:
        """The mean squared change of the logits."""
        draws = {key: turn.batch.noise[f"consistency {half} {key}"] for key in self.change.noise}
        changed = logits_of(turn.discriminator(self.change(images, draws), labels))
        return (logits - changed).square().mean()
