"""NaN and infinity, wherever they come up: training stops at that step, with 5, and saves nothing of it."""

import contextlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from bench import Points, short_and_long, tallied
from conftest import Images, bits_of, tensors_of, train_tiny
from torch import Tensor, nn

import ganzoo
from ganzoo.errors import DivergedError, FileError, MachineError, UsageError
from ganzoo.registry import terms
from ganzoo.runs.run import Run
from ganzoo.training import trainer
from ganzoo.training.rollback import rates
from ganzoo.zoo.terms.base import PlayerName, Term, Turn

VARIANTS = ("gan", "dcgan", "wgan-gp", "cgan", "bigan", "began")
PLACES = ("loss", "gradient", "weight")
VALUES = ("nan", "inf", "-inf")
UPDATE, STEPS = 4, 8  # of the player's updates, and the run's steps


class _Spoil(torch.autograd.Function):
    """Nothing, whose gradient is a value."""

    @staticmethod
    def forward(ctx: object, x: Tensor, value: float) -> Tensor:
        ctx.value = value  # type: ignore[attr-defined]
        return 0 * x

    @staticmethod
    def backward(ctx: object, *gradient: Tensor) -> tuple[Tensor, None]:
        return torch.full_like(gradient[0], ctx.value), None  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class Spoil(Term):
    """Nothing, but at one update of one player: there a value that is not finite, somewhere."""

    place: Literal["loss", "gradient", "weight"]
    value: str
    player: PlayerName
    once: bool = False

    term: str = "spoil"
    players: ClassVar[tuple[PlayerName, ...]] = ("discriminator", "generator")
    taken: ClassVar[list[str]] = []  # the players' steps, of all that are spoilt in turn
    spoilt: ClassVar[list[str]] = []  # the players, where a term is spoilt once

    def __call__(self, turn: Turn) -> Tensor:
        first = next(turn.networks[self.player].parameters()).sum()
        if turn.batch.update != UPDATE or turn.player != self.player or self.place == "weight":
            return 0 * first
        if self.once and self.spoilt:
            return 0 * first
        self.spoilt.append(self.player)
        value = float(self.value)
        return 0 * first + value if self.place == "loss" else _Spoil.apply(first, value)  # type: ignore[no-untyped-call]

    def after_step(self, player: PlayerName, networks: Mapping[str, nn.Module]) -> None:
        self.taken.append(player)
        if self.place == "weight" and player == self.player and self.taken.count(player) == UPDATE + 1:
            with torch.no_grad():
                next(networks[player].parameters()).flatten()[0] = float(self.value)


def diverged(variant: str, images: Images, out: Path, settings: list[str]) -> str:
    """What training says that diverges."""
    try:
        train_tiny(variant, images, out, steps=STEPS, settings=settings)
    except DivergedError as error:
        return str(error)
    raise AssertionError("it trained on")


@short_and_long(8, len(VARIANTS) * len(PLACES) * len(VALUES) * 2)
def test_what_is_not_finite_ends_the_step(
    count: int, tiny_images: Images, registries: None, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    terms.register("spoil")(Spoil)
    cases = [*product(VARIANTS, PLACES, VALUES, ("discriminator", "generator"))]
    with tallied("NaN or infinity in a loss, a gradient or a weight", record_property) as row:
        for index in range(count):
            variant, place, value, player = cases[index * len(cases) // count]
            out = tmp_path / str(index)
            spoil = f'{{name="spoil", place="{place}", value="{value}", player="{player}"}}'
            settings = [f"terms=[{spoil}]", "train.checkpoint_every=1", "train.precision=float32", "critic_steps=1"]
            Spoil.taken.clear()
            with row.case(f"{variant}: {value} in the {player}'s {place}"):
                message = diverged(variant, tiny_images, out, settings)
                assert f"step {UPDATE + 1}" in message, message
                kept = Run.open(out).checkpoints()
                assert [one.step for one in kept] == [UPDATE - 1, UPDATE]
                assert all(value.isfinite().all() for one in kept for value in tensors_of(one).values())


@short_and_long(6, 10_000)
def test_each_point_of_going_back(
    count: int,
    tiny_images: Images,
    registries: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    """A run that is stopped there goes on with rates halved as often as its record says, to the same end."""
    terms.register("spoil")(Spoil)
    spoil = '{name="spoil", place="loss", value="nan", player="discriminator", once=true}'
    settings = [f"terms=[{spoil}]", "train.checkpoint_every=2", "train.on_divergence=rollback"]
    begun = train_tiny("gan", tiny_images, tmp_path / "begun", steps=2, settings=settings)
    points, run, real = Points(tmp_path), tmp_path / "run", trainer._go_back

    def resume(at: int | None) -> Run:
        """Resume; the disk is full at a point of going back."""

        def go_back(session: trainer.Session, reason: str) -> trainer.Session:
            with points.failing(-1 if at is None else at, monkeypatch):
                return real(session, reason)

        with monkeypatch.context() as patch:
            patch.setattr(trainer, "_go_back", go_back)
            return ganzoo.resume(run, steps=STEPS, dataset=tiny_images)

    def begin_again() -> None:
        Spoil.spoilt.clear()
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(begun.path, run)

    begin_again()
    whole, every = bits_of(resume(None)), range(points.seen)
    (back,) = Run.open(run).read_rollbacks()
    ways = [rates(begun.config), back.learning_rates]
    recorded = set()
    with tallied("a failure at each point of going back where training diverged", record_property) as row:
        for at in every[:: max(1, len(every) // count)]:
            begin_again()
            with row.case(f"point {at}"):
                with contextlib.suppress(MachineError):
                    resume(at)
                capfd.readouterr()
                ended = Run.open(run)
                if not ended.latest_checkpoint().final:  # a failure to remove what is left over is no error
                    resume(None)
                assert "exactness" not in capfd.readouterr().err
                backs = len(ended.read_rollbacks())
                assert rates(ended.config) == ways[backs]
                assert (bits_of(ended) == whole) == (backs == 1)
                recorded.add(backs)
    assert recorded == {0, 1}  # before and after the record


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_images_that_are_not_finite_are_refused(value: float, tmp_path: Path) -> None:
    images = np.zeros((20, 8, 8, 1), np.float32)
    images[3, 4, 5] = value
    np.savez(tmp_path / "images.npz", images=images)
    with pytest.raises((FileError, UsageError), match=r"finite|NaN"):
        train_tiny("gan", f"npz:{tmp_path / 'images.npz'}", tmp_path / "run", steps=1, value_range="0..1")
    assert not (tmp_path / "run").exists()
