"""A value that is not finite stops training before the step that it would spoil, and nothing of it is saved."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import pytest
import torch
from conftest import Images, narrow, tensors_of, terms_of, train_tiny
from torch import Tensor
from torch.nn.functional import softplus

import ganzoo
from ganzoo.config import assemble
from ganzoo.errors import DivergedError
from ganzoo.registry import losses, penalties
from ganzoo.runs.run import Run
from ganzoo.training.prepare import prepare, with_compute
from ganzoo.training.progress import Progress
from ganzoo.training.state import Player, TrainingState
from ganzoo.training.trainer import Session
from ganzoo.zoo.batch import Batch
from ganzoo.zoo.networks.common import logits_of
from ganzoo.zoo.objectives.base import Terms
from ganzoo.zoo.terms.base import Discriminator

NAN = float("nan")


@dataclass(frozen=True, kw_only=True)
class Boom:
    """Nothing, but at one update: there a NaN, or a 0 whose gradient is one."""

    update: int
    how: Literal["value", "gradient"]

    per_sample: ClassVar[bool] = False
    term: ClassVar[str] = "boom"
    every: ClassVar[int] = 1
    noise: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, discriminator: Discriminator, batch: Batch, fake: Tensor) -> Tensor:
        nothing = 0 * logits_of(discriminator(batch.real, batch.labels)).sum()
        if batch.update != self.update:
            return nothing
        return nothing * NAN if self.how == "value" else nothing.square().sqrt()


@dataclass(frozen=True, kw_only=True)
class BoomForG:
    """The first game, whose generator's loss is NaN from a call on."""

    call: int

    g_needs_real: ClassVar[bool] = False
    calls: ClassVar[list[int]] = []

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real).mean() + softplus(fake).mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        self.calls.append(0)
        return softplus(-fake).mean() * (NAN if len(self.calls) >= self.call else 1)


@pytest.fixture(autouse=True)
def booms(registries: None) -> Iterator[None]:
    penalties.register("boom")(Boom)
    losses.register("boom")(BoomForG)
    yield
    BoomForG.calls.clear()


def boom(update: int, how: str) -> list[str]:
    return [f'penalties=[{{name="boom", update={update}, how="{how}"}}]', "train.checkpoint_every=1"]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["gan", "wgan-gp"])
@pytest.mark.parametrize(
    ("how", "what"),
    [("value", "the term 'boom' is nan"), ("gradient", r"the gradient of 'body\.\d\.weight' is not finite")],
)
def test_the_discriminators_step_is_not_taken(
    variant: str, how: str, what: str, tiny_images: Images, tmp_path: Path
) -> None:
    """And the weights of the last good step are those of a run that had no mishap."""
    critic_steps = 5 if variant == "wgan-gp" else 1
    more = [f"critic_steps={critic_steps}"]
    update = 3 * critic_steps + critic_steps // 2
    with pytest.raises(DivergedError, match=rf"^step 4, discriminator: {what}$"):
        train_tiny(variant, tiny_images, tmp_path / "run", steps=9, settings=[*boom(update, how), *more])
    run = Run.open(tmp_path / "run")
    assert [made.step for made in run.checkpoints()] == [2, 3]
    good = train_tiny(variant, tiny_images, tmp_path / "good", steps=3, settings=[*boom(10**6, how), *more])
    expected = tensors_of(good.latest_checkpoint())
    torch.testing.assert_close(tensors_of(run.latest_checkpoint()), expected, rtol=0, atol=0)
    assert ganzoo.load(run).sample(2).shape == (2, 8, 8, 1)
    with pytest.raises(DivergedError, match="step 4, discriminator"):
        ganzoo.resume(run, dataset=tiny_images, progress=False)


def test_the_generators_step_is_not_taken(tiny_images: Images, tmp_path: Path) -> None:
    settings = ['loss={name="boom", call=3}', "train.checkpoint_every=1"]
    with pytest.raises(DivergedError, match=r"^step 3, generator: the term 'adversarial' is nan$"):
        train_tiny("gan", tiny_images, tmp_path / "run", steps=9, settings=settings)
    assert [made.step for made in Run.open(tmp_path / "run").checkpoints()] == [1, 2]


def test_a_learning_rate_that_is_much_too_high_ends_in_the_same_way(tiny_images: Images, tmp_path: Path) -> None:
    settings = ["discriminator_optimizer.lr=1e30", "train.checkpoint_every=1"]
    with pytest.raises(DivergedError, match=r"^step \d, (discriminator|generator): "):
        train_tiny("gan", tiny_images, tmp_path / "run", steps=9, settings=settings)
    for made in Run.open(tmp_path / "run").checkpoints():
        assert all(value.isfinite().all() for value in tensors_of(made).values())


# one player


def training(images: Images, settings: list[str]) -> tuple[Session, Batch]:
    """A session that has not begun, and its first batch."""
    flags = {"data": {"source": "array", "batch_size": 8}, "train": {"steps": 5}}
    prepared = with_compute(prepare(assemble("gan", settings=[*narrow("gan"), *settings], flags=flags), images))
    state = TrainingState(prepared.config, prepared.device)
    session = Session(Run(Path()), prepared, state, Progress(enabled=False), None)
    return session, session.batches.at(0)


def everything_of(player: Player) -> dict[str, Tensor]:
    tensors = {**player.parameters, **player.optimizer_tensors()}
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def spoilt(terms: Terms, how: str) -> Terms:
    """The same terms and one more that is NaN, or whose gradient is."""
    (value,) = terms.values()
    return {"adversarial": value, "boom": value * NAN if how == "value" else (0 * value).square().sqrt()}


@pytest.mark.parametrize("how", ["value", "gradient"])
@pytest.mark.parametrize("defers", [False, True])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "{name='sgd', momentum=0.5}"])
def test_a_step_on_what_is_not_finite_changes_nothing(
    how: str, defers: bool, optimizer: str, tiny_images: Images
) -> None:
    """Neither weights nor moments nor the count of steps, be it refused at once or skipped by the fused optimiser."""
    session, batch = training(tiny_images, ["penalties=[]", f"discriminator_optimizer={optimizer}"])
    objective, player = session.state.objective, session.state.discriminator
    player.defers = defers  # as on a device that is not waited for
    drawn = objective.draw(batch)
    player.update(1, terms_of(objective, "discriminator", batch, drawn))
    player.check(1)
    before = everything_of(player)
    if defers:
        player.update(2, spoilt(terms_of(objective, "discriminator", batch, drawn), how))
    else:
        with pytest.raises(DivergedError, match="step 2, discriminator"):
            player.update(2, spoilt(terms_of(objective, "discriminator", batch, drawn), how))
    torch.testing.assert_close(everything_of(player), before, rtol=0, atol=0)

    player.update(3, terms_of(objective, "discriminator", batch, drawn))  # what is finite still is a step
    after = everything_of(player)
    weights = [name for name, value in before.items() if value.ndim > 1]
    assert weights
    assert not any(torch.equal(before[name], after[name]) for name in weights)
    if defers:
        with pytest.raises(DivergedError, match=r"discriminator: a loss or gradient was not finite by step 3"):
            player.check(3)


def test_a_skipped_step_is_told_before_anything_is_saved(tiny_images: Images, tmp_path: Path) -> None:
    session, batch = training(tiny_images, boom(0, "value"))
    session.run = Run(tmp_path)
    session.state.discriminator.defers = True
    session.updates.discriminator(batch)
    with pytest.raises(DivergedError, match="discriminator: a loss or gradient was not finite"):
        session.save(final=False)
    assert list(tmp_path.iterdir()) == []
