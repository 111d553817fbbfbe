"""Schedules: their shapes, their horizon, and that every number that may follow one does, resumed or not."""

import math
from pathlib import Path

import pytest
import torch
from conftest import Images, bits_of, train_tiny
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import ganzoo
from ganzoo.config import Adam, Schedule, Spec, Variant, assemble, read_toml, settings_at
from ganzoo.errors import UsageError
from ganzoo.registry import schedules, terms
from ganzoo.runs.run import Run
from ganzoo.training.prepare import configure, prepare, recipe, with_compute
from ganzoo.training.state import Ema, TrainingState
from ganzoo.training.updates import Updates
from ganzoo.zoo.terms.base import Term, Turn

POSITIVE = st.floats(0.001, 1000)


@pytest.mark.parametrize("name", schedules.names())
@given(start=POSITIVE, end=POSITIVE, over=st.integers(1, 1000), step=st.integers(0, 2000))
def test_every_shape_goes_from_its_start_to_its_end_and_stays(
    name: str, start: float, end: float, over: int, step: int
) -> None:
    schedule = Schedule(start, end, shape=name, over=over)
    assert schedule.at(0) == pytest.approx(start)
    assert schedule.at(over) == pytest.approx(end)
    assert schedule.at(over + step) == schedule.at(over)
    low, high = sorted((start, end))
    assert low * (1 - 1e-9) <= schedule.at(step) <= high * (1 + 1e-9)


def test_the_shapes_are_what_they_are_called() -> None:
    def halfway(shape: str) -> float:
        return Schedule(1.0, 0.25, shape=shape, over=100).at(50)

    assert halfway("linear") == pytest.approx(0.625)
    assert halfway("cosine") == pytest.approx(0.625)
    assert Schedule(1.0, 0.0, shape="cosine", over=100).at(25) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert halfway("exponential") == pytest.approx(0.5)
    assert halfway("constant-then-linear") == 1.0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("generator_optimizer.lr={from=0.1, to=0}", r"generator_optimizer\.lr = 0.*must be greater than 0"),
        ("generator_optimizer.lr={from=-1, to=1}", r"generator_optimizer\.lr = -1.*must be greater than 0"),
        ("generator_optimizer.lr={from=1}", r"generator_optimizer\.lr\.to is missing"),
        ("generator_optimizer.lr={from=1, to=2, over=0}", r"lr\.over = 0: must be greater than 0"),
        ("generator_optimizer.lr={from=1, to=2, shape='sine'}", r"lr: no schedule 'sine'; did you mean 'cosine'"),
        ("generator_optimizer.lr={from=1, to=2, fro=3}", r"no setting 'generator_optimizer\.lr\.fro'"),
        ("generator_optimizer.betas=[{from=0.0, to=1.5}, 0.9]", r"betas\.0 = 1\.5: must be less than 1"),
        (
            "terms=[{name='gradient', at='real', every={from=1, to=16}}]",
            r"every = 1\.0: must be a valid integer",
        ),
        ("terms=[{name='weight-clipping', bound={from=0.0, to=1.0}}]", r"terms\.0\.bound = 0\.0: must be greater"),
        (
            "generator.width={from=1, to=2}",
            r"^generator\.width: a schedule can replace a number in generator_optimizer, discriminator_optimizer, "
            r"terms or augmentations, or train\.ema; not in the generator 'mlp'$",
        ),
        ("objective.top_k={from=1, to=2}", r"objective\.top_k: .*; not in the objective 'adversarial'$"),
        ("train.ema={from=0.5, to=1.0}", r"train\.ema = 1: must be at least 0 and less than 1"),
        ("train.ema={from=0.5, to=0.9, shape='exp'}", r"train\.ema: no schedule 'exp'"),
        ("terms=[{name='weight-clipping', bound={from=1, to=2, shape='exponential', x=1}}]", r"no setting"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_with_its_path(setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        assemble("gan", settings=[setting])


def test_a_schedule_round_trips_and_its_parts_can_be_set() -> None:
    recipe = Variant(
        generator=Spec("mlp"),
        discriminator=Spec("mlp"),
        terms=(Spec("gradient", at="real", weight=Schedule(10, 1, shape="cosine")),),
        generator_optimizer=Adam(lr=Schedule(0.002, 0.001), betas=(0.0, Schedule(0.9, 0.99, over=5))),
    )
    config = assemble(recipe, settings=["generator_optimizer.lr.over=7", "train.ema={from=0.5, to=0.9}"])
    for again in (type(config).from_json(config.to_json()), type(config).from_toml(config.to_toml())):
        assert again == config
        assert again.resolve() == config
    found = config.schedules()
    assert found == {
        "train.ema": Schedule(0.5, 0.9),
        "generator_optimizer.lr": Schedule(0.002, 0.001, over=7),
        "generator_optimizer.betas.1": Schedule(0.9, 0.99, over=5),
        "terms.0.weight": Schedule(10.0, 1.0, shape="cosine"),
    }
    ended = config.with_horizon(100).schedules()
    assert {path: schedule.over for path, schedule in ended.items()} == {
        "train.ema": 100,
        "generator_optimizer.lr": 7,
        "generator_optimizer.betas.1": 5,
        "terms.0.weight": 100,
    }
    assert {path for path, schedule in ended.items() if schedule.from_budget} == {"train.ema", "terms.0.weight"}


SCHEDULED = [
    "discriminator_optimizer.lr={from=0.01, to=0.001}",
    "generator_optimizer.betas=[0.0, {from=0.5, to=0.9, over=6}]",
    'terms=[{name="gradient", at="interpolates", target=1.0, weight={from=8.0, to=2.0, shape="exponential"}}]',
    'augmentations=[{name="translation", reach={from=0.0, to=0.25}}]',
    "train.ema={from=0.5, to=0.9}",
]


@pytest.mark.slow
def test_every_number_follows_its_schedule(tiny_images: Images) -> None:
    config = configure("gan", tiny_images, settings=["train.threads=1", *SCHEDULED], steps=10, batch_size=8)
    training = with_compute(prepare(config.with_horizon(10), tiny_images))
    state = TrainingState(training.config, training.device)
    updates, batches = Updates(state, training.config), training.batches(state.objective)
    for step in range(12):
        updates.step(batches)
        share = min(1.0, step / 10)
        (group,) = state.discriminator.optimizer.param_groups
        assert group["lr"] == pytest.approx(0.01 + share * (0.001 - 0.01))
        (group,) = state.generator.optimizer.param_groups
        assert group["betas"][1] == pytest.approx(0.5 + min(1.0, step / 6) * 0.4)
        penalty = state.objective.added["gradient_interpolates"].penalty  # type: ignore[attr-defined]
        assert penalty.weight.item() == pytest.approx(8 * 0.25**share)
        (moved,) = state.objective.augmentations.values()
        assert moved.reach.item() == pytest.approx(0.25 * share)  # type: ignore[attr-defined]


def test_the_average_follows_its_schedule() -> None:
    network = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(network.weight)
    ema = Ema(network, Schedule(0.5, 0.1, over=4))
    nn.init.ones_(network.weight)
    left = 1.0
    for step in range(1, 9):
        ema.update(network, step)
        left *= min(0.5 - 0.1 * min(step, 4), step / (step + 9))
    torch.testing.assert_close(next(ema.network.parameters()).item(), 1 - left)


def test_a_run_with_schedules_resumes_to_the_bit(tiny_images: Images, tmp_path: Path) -> None:
    horizon = ["train.checkpoint_every=4"]
    settings = [*(text.replace("}", ", over=8}", 1) if "over" not in text else text for text in SCHEDULED), *horizon]
    whole = train_tiny("gan", tiny_images, tmp_path / "whole", steps=10, settings=settings)
    run = train_tiny("gan", tiny_images, tmp_path / "run", steps=4, settings=settings)
    ganzoo.resume(run, dataset=tiny_images, steps=10, progress=False)
    assert bits_of(run) == bits_of(whole)


def test_the_horizon_of_the_budget_is_written_down_and_kept(
    tiny_images: Images, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lr = "generator_optimizer.lr={from=0.01, to=0.001}"
    run = train_tiny("gan", tiny_images, tmp_path / "run", epochs=2, settings=[lr], progress=True)
    assert "schedules end with the budget, taken as 10 steps" in capsys.readouterr().err
    schedule = run.config.schedules()["generator_optimizer.lr"]
    assert (schedule.over, schedule.from_budget) == (10, True)
    ganzoo.resume(run, dataset=tiny_images, steps=15)
    told = capsys.readouterr().err
    assert "generator_optimizer.lr keeps its schedule, which ends at step 10 with the value 0.001" in told
    assert "differs from that of a run that starts with the new budget" in told
    assert Run(run.path).config.schedules()["generator_optimizer.lr"] == schedule
    fixed = train_tiny("gan", tiny_images, tmp_path / "fixed", steps=2, settings=[lr.replace("}", ", over=9}")])
    ganzoo.resume(fixed, dataset=tiny_images, steps=3)
    assert "keeps its schedule" not in capsys.readouterr().err


def test_minutes_become_steps_by_the_rate_at_the_start(tiny_images: Images, tmp_path: Path) -> None:
    lr = "generator_optimizer.lr={from=0.01, to=0.001}"
    run = train_tiny("gan", tiny_images, tmp_path / "run", minutes=0.02, settings=[lr, "train.precision=float32"])
    schedule = run.config.schedules()["generator_optimizer.lr"]
    assert schedule.from_budget
    assert schedule.over is not None
    assert 1 < schedule.over < 1_000_000


def test_a_recipe_sets_the_batch_size_and_the_average_and_flags_win() -> None:
    recipe = Variant(
        generator=Spec("mlp"), discriminator=Spec("mlp"), defaults={"data.batch_size": 32, "train.ema": 0.9}
    )
    config = assemble(recipe)
    assert (config.data.batch_size, config.train.ema) == (32, 0.9)
    config = assemble(recipe, settings=["train.ema=0.8"], flags={"data": {"batch_size": 16}})
    assert (config.data.batch_size, config.train.ema) == (16, 0.8)
    assert "defaults" not in config.to_toml()
    with pytest.raises(UsageError, match="'batch_size' is not a setting of data or train"):
        assemble(Variant(generator=Spec("mlp"), discriminator=Spec("mlp"), defaults={"batch_size": 32}))


def test_a_runs_configuration_with_another_budget_has_another_horizon(tiny_images: Images, tmp_path: Path) -> None:
    lr = "generator_optimizer.lr={from=0.01, to=0.001}"
    fixed = "discriminator_optimizer.lr={from=0.01, to=0.001, over=3}"
    run = train_tiny("gan", tiny_images, tmp_path / "run", steps=4, settings=[lr, fixed])
    file = read_toml(run.path / "config.toml")
    again = assemble(file=file).schedules()
    assert again["generator_optimizer.lr"].over == 4  # the run once more
    longer = assemble(file=file, flags={"train": {"steps": 50}}).schedules()
    assert longer["generator_optimizer.lr"] == Schedule(0.01, 0.001)  # left open: it ends with the new budget
    assert longer["discriminator_optimizer.lr"].over == 3


def test_repetitions_may_differ_in_the_steps_that_their_minutes_became() -> None:
    config = assemble("gan", settings=["generator_optimizer.lr={from=0.01, to=0.001}"])
    assert recipe(config.with_horizon(1000)) == recipe(config.with_horizon(1010))
    assert recipe(config) != recipe(assemble("gan"))


def test_a_schedule_takes_two_numbers_by_place() -> None:
    with pytest.raises(UsageError, match="expected two numbers, and other settings by name"):
        Schedule(0.1, 0.0, "cosine")  # type: ignore[arg-type]
    assert Schedule(start=1.0, end=2.0) == Schedule(1.0, 2.0)


@pytest.mark.usefixtures("registries")
def test_a_schedule_within_a_table_of_settings_is_followed() -> None:
    @terms.register("table")
    class Table(Term):
        """A term with a table of numbers."""

        term = "table"

        def __init__(self, *, weights: dict[str, float]) -> None:
            self.weights = weights

        def __call__(self, turn: Turn) -> None:
            return None

    config = assemble("gan", settings=['terms=[{name="table", weights={a={from=1.0, to=0.0, over=10}, b=2.0}}]'])
    assert config.schedules()["terms.0.weights.a"] == Schedule(1.0, 0.0, over=10)
    assert settings_at(config.variant.terms[0].settings, 5) == {"weights": {"a": 0.5, "b": 2.0}}
