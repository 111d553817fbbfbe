"""Consistency regularisation: CR (Zhang et al. 2020, arXiv:1910.12027), bCR (Zhao et al. 2021, arXiv:2002.04724)."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn import Module

from ganzoo import registry
from ganzoo.config import settings_of
from ganzoo.errors import UsageError
from ganzoo.zoo.batch import Draw
from ganzoo.zoo.networks.common import Output, as_output
from ganzoo.zoo.terms.base import Term, Turn


@registry.terms.register("consistency")
@dataclass(frozen=True, kw_only=True)
class Consistency(Term):
    """Penalty on the change of logits with an augmentation T: of real images (CR), and of generated ones too (bCR).

    `class_weight` also penalises the change of the class head's probabilities of real images. This needs no labels and
    extends what a few labels teach to the other images (Laine & Aila 2017, arXiv:1610.02242, algorithm 1).
    `augmentation` is the name of a registered augmentation without state, used with its default settings.
    """

    weight: NonNegativeFloat = 10.0
    fake_weight: NonNegativeFloat = 0.0  # 10 in the paper on bCR
    class_weight: NonNegativeFloat = 0.0
    augmentation: str = "translation"
    every: PositiveInt = 1

    term = "consistency"
    untrained_heads = ("classes",)
    equation = (
        r"L_D \mathrel{+}= w \, E[(D(x) - D(T(x)))^2] + w_f \, E[(D(G(z)) - D(T(G(z))))^2]"
        r" + w_c \, E[\lVert p(c | x) - p(c | T(x)) \rVert^2]"
    )

    @cached_property
    def change(self) -> Any:
        """The augmentation. Raises UsageError if it has state or a setting without a default."""
        part = registry.augmentations[self.augmentation]
        if any(field.is_required() for field in settings_of(part).model_fields.values()) or isinstance(part(), Module):
            raise UsageError(
                f"the term 'consistency' needs an augmentation without state and with a default for each setting, not "
                f"'{self.augmentation}': --set terms.N.augmentation=translation"
            )
        return part()

    @property
    def noise(self) -> dict[str, Draw]:  # type: ignore[override]  # it depends on the augmentation
        return {
            f"consistency {half} {key}": draw for half in ("real", "fake") for key, draw in self.change.noise.items()
        }

    @property
    def heads(self) -> tuple[str, ...]:  # type: ignore[override]  # it depends on the weight
        return ("classes",) if _is_active(self.class_weight) else ()

    def __call__(self, turn: Turn) -> Tensor:
        value = self._change(turn, "real", turn.batch.real, turn.batch.labels, turn.real_output)
        if self.judges_others:
            fake, labels = turn.drawn["fake"], turn.batch.fake_labels
            # Run the discriminator again, because both sides need the same draws of the variant's augmentations.
            value = value + self._change(turn, "fake", fake, labels, as_output(turn.discriminator(fake, labels)))
        return value

    @property
    def judges_others(self) -> bool:  # type: ignore[override]
        return _is_active(self.fake_weight)

    def _change(self, turn: Turn, half: str, images: Tensor, labels: Tensor | None, before: Output) -> Tensor:
        """Return the weighted mean squared change of the logits, and of real images' class probabilities."""
        draws = {key: turn.batch.noise[f"consistency {half} {key}"] for key in self.change.noise}
        after = as_output(turn.discriminator(self.change(images, draws), labels))
        real = half == "real"
        value = (self.weight if real else self.fake_weight) * (before.logits - after.logits).square().mean()
        if real and self.heads:
            moved = before["classes"].softmax(1) - after["classes"].softmax(1)
            value = value + self.class_weight * moved.square().sum(1).mean()
        return value


def _is_active(weight: float | Tensor) -> bool:
    """Return whether a weight is greater than 0 or may become so: a tensor follows a schedule."""
    return isinstance(weight, Tensor) or weight > 0
