"""A value that is not finite stops training before the step that it would spoil, and nothing of it is saved."""

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from conftest import Images, narrow, tensors_of, terms_of, train_tiny
from torch import Tensor
from torch.nn.functional import softplus

import ganzoo
from ganzoo.config import assemble
from ganzoo.errors import DivergedError, FileError, Interrupted, UsageError
from ganzoo.registry import losses, optimizers, penalties
from ganzoo.runs.run import Run
from ganzoo.training.prepare import prepare, with_compute
from ganzoo.training.progress import Progress
from ganzoo.training.state import Player, TrainingState
from ganzoo.training.trainer import Session, _go_back
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
    """The first game, whose generator's loss is NaN from a call on, or at that call alone."""

    call: int
    once: bool = False
    number: int = 0  # of a signal that comes with it

    g_needs_real: ClassVar[bool] = False
    calls: ClassVar[list[int]] = []

    def d(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real).mean() + softplus(fake).mean()

    def g(self, real: Tensor | None, fake: Tensor) -> Tensor:
        self.calls.append(0)
        spoilt = len(self.calls) == self.call if self.once else len(self.calls) >= self.call
        if spoilt and self.number:
            signal.raise_signal(self.number)
        return softplus(-fake).mean() * (NAN if spoilt else 1)


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
    with pytest.raises(DivergedError, match=rf"^step 4, discriminator: {what}; lower the learning"):
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
    with pytest.raises(DivergedError, match=r"^step 3, generator: the term 'adversarial' is nan; lower"):
        train_tiny("gan", tiny_images, tmp_path / "run", steps=9, settings=settings)
    assert [made.step for made in Run.open(tmp_path / "run").checkpoints()] == [1, 2]


def test_a_learning_rate_that_is_much_too_high_ends_in_the_same_way(tiny_images: Images, tmp_path: Path) -> None:
    settings = ["discriminator_optimizer.lr=1e30", "train.checkpoint_every=1"]
    with pytest.raises(DivergedError, match=r"^step \d, (discriminator|generator): "):
        train_tiny("gan", tiny_images, tmp_path / "run", steps=9, settings=settings)
    for made in Run.open(tmp_path / "run").checkpoints():
        assert all(value.isfinite().all() for value in tensors_of(made).values())


# going back

BACK = ["train.on_divergence=rollback", "train.log_every=1"]
SCHEDULE = '{from=0.004, to=0.002, shape="linear", over=10}'


def rates(run: Run) -> list[Any]:
    variant = run.config.variant
    return [spec.settings["lr"] for spec in (variant.generator_optimizer, variant.discriminator_optimizer)]


def test_a_run_that_diverged_once_goes_on_as_one_whose_learning_rates_were_halved_by_hand(
    tiny_images: Images, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rising = ["generator_optimizer.lr=0.006", f"discriminator_optimizer.lr={SCHEDULE}"]
    settings = [*rising, "train.checkpoint_every=2", *BACK]
    spoilt = [*settings, 'loss={name="boom", call=4, once=true}']
    run = train_tiny("gan", tiny_images, tmp_path / "run", steps=7, settings=spoilt, progress=True)
    assert "term 'adversarial' is nan: going back to step 2, with half the learning rates" in capfd.readouterr().err
    (back,) = run.read_rollbacks()
    assert (back.step, back.to, back.learning_rates["generator"]) == (3, 2, rates(run)[0])

    BoomForG.calls.clear()
    hand = train_tiny(
        "gan", tiny_images, tmp_path / "hand", steps=2, settings=[*settings, 'loss={name="boom", call=99}']
    )
    toml = (hand.path / "config.toml").read_text()
    for rate, half in (("to = 0.002", "to = 0.001"), ("from = 0.004", "from = 0.002"), ("lr = 0.006", "lr = 0.003")):
        assert rate in toml
        toml = toml.replace(rate, half)
    (hand.path / "config.toml").write_text(toml)
    ganzoo.resume(hand, steps=7, dataset=tiny_images, progress=False)
    assert rates(run) == rates(hand)
    assert (rates(run)[0], rates(run)[1]["from"], rates(run)[1]["to"]) == (0.003, 0.002, 0.001)
    expected = tensors_of(hand.latest_checkpoint())
    torch.testing.assert_close(tensors_of(run.latest_checkpoint()), expected, rtol=0, atol=0)
    assert [line["step"] for line in run.metrics()] == [1, 2, 3, 4, 5, 6, 7]
    ganzoo.resume(run, steps=8, dataset=tiny_images, progress=True)
    assert "exactness" not in capfd.readouterr().err  # the rates are the run's own


def test_a_run_goes_back_three_times_and_then_stops(tiny_images: Images, tmp_path: Path) -> None:
    settings = [*boom(2, "value"), *BACK, "train.checkpoint_every=2", "discriminator_optimizer.lr=0.008"]
    begin = partial(train_tiny, "gan", tiny_images, tmp_path / "run", steps=9, settings=settings)
    go_on = partial(ganzoo.resume, tmp_path / "run", dataset=tiny_images, progress=False)
    for train in (begin, go_on):  # resumed, it has no more
        with pytest.raises(DivergedError, match=r"step 3, .* is nan; the run went back 3 times, each time with half"):
            train()
        run = Run.open(tmp_path / "run")
        assert [back.learning_rates["discriminator"] for back in run.read_rollbacks()] == [0.004, 0.002, 0.001]
        assert (run.latest_checkpoint().step, rates(run)[1]) == (2, 0.001)


def test_a_run_without_a_checkpoint_begins_anew(tiny_images: Images, tmp_path: Path) -> None:
    spoilt = [*BACK, 'loss={name="boom", call=2, once=true}']
    run = train_tiny("gan", tiny_images, tmp_path / "run", steps=3, settings=spoilt)
    (back,) = run.read_rollbacks()
    assert (back.step, back.to) == (1, 0)
    halves = [
        f"{player}_optimizer.lr={lr}" for player, lr in zip(("generator", "discriminator"), rates(run), strict=True)
    ]
    whole = train_tiny(
        "gan", tiny_images, tmp_path / "whole", steps=3, settings=[*halves, 'loss={name="boom", call=99}']
    )
    expected = tensors_of(whole.latest_checkpoint())
    torch.testing.assert_close(tensors_of(run.latest_checkpoint()), expected, rtol=0, atol=0)


def test_a_signal_in_the_step_that_diverges_is_heard(tiny_images: Images, tmp_path: Path) -> None:
    """The run has gone back by then, and is saved there."""
    settings = ['loss={name="boom", call=4, once=true, number=15}', "train.checkpoint_every=2", *BACK]
    with pytest.raises(Interrupted, match="interrupted at step 2, saved") as caught:
        train_tiny("gan", tiny_images, tmp_path / "run", steps=7, settings=settings)
    assert caught.value.exit_code == 143
    run = Run.open(tmp_path / "run")
    assert (len(run.read_rollbacks()), run.latest_checkpoint().step) == (1, 2)
    assert run.latest_checkpoint().config().variant == run.config.variant


def test_a_damaged_checkpoint_is_not_gone_back_to(tiny_images: Images, tmp_path: Path) -> None:
    """And then nothing was halved, or spent of the three times."""
    settings = [*boom(2, "value"), *BACK, "train.checkpoint_every=2", "train.on_divergence=stop"]
    with pytest.raises(DivergedError):
        train_tiny("gan", tiny_images, tmp_path / "run", steps=9, settings=settings)
    run = Run.open(tmp_path / "run")
    before = run.config
    session, _ = training(tiny_images, [])
    session.run, session.config = (
        run,
        before.model_copy(update={"train": before.train.model_copy(update={"on_divergence": "rollback"})}),
    )
    (run.latest_checkpoint().path / "ema.safetensors").write_bytes(b"damaged")
    with pytest.raises(FileError, match=r"ema\.safetensors is damaged"):
        _go_back(session, "step 3, discriminator: the term 'boom' is nan")
    assert (run.read_rollbacks(), run.config) == ([], before)


def test_a_line_that_was_cut_short_is_no_end_of_going_back(tiny_images: Images, tmp_path: Path) -> None:
    settings = [*boom(2, "value"), *BACK, "train.checkpoint_every=2"]
    with pytest.raises(DivergedError):
        train_tiny("gan", tiny_images, tmp_path / "run", steps=9, settings=settings)
    run = Run.open(tmp_path / "run")
    whole = (run.path / "rollbacks.jsonl").read_bytes()
    (run.path / "rollbacks.jsonl").write_bytes(whole + whole[:20])
    run.cut_lines(2)
    assert (run.path / "rollbacks.jsonl").read_bytes() == whole


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_an_optimiser_without_a_learning_rate_is_refused_at_once(
    player: str, tiny_images: Images, tmp_path: Path
) -> None:
    @optimizers.register("steady")
    def steady(parameters: Any, *, rate: float = 0.001, capturable: bool = False) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=rate)

    try:
        with pytest.raises(UsageError, match=f"{player}_optimizer has no setting lr"):
            train_tiny("gan", tiny_images, tmp_path / "run", steps=1, settings=[f"{player}_optimizer=steady", *BACK])
    finally:
        optimizers._entries.pop("steady")


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
