"""Configurations: exact round trips, the order of their layers, and errors that name the setting."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ganzoo import registry
from ganzoo.config import (
    BUDGETS,
    DEFAULT_MINUTES,
    MIGRATIONS,
    SCHEMA,
    SGD,
    Adam,
    Compute,
    DataConfig,
    DataFacts,
    Migration,
    RunConfig,
    RunInfo,
    Schedule,
    Spec,
    TrainConfig,
    Variant,
    assemble,
    list_settings,
    parse_settings,
    read_toml,
    settings_of,
)
from ganzoo.errors import FileError, UsageError
from ganzoo.registry import variants
from ganzoo.training.prepare import configure


def gradient(**settings: Any) -> Spec:
    """A resolved gradient penalty."""
    return Spec(
        "gradient",
        **{"at": "real", "target": 0.0, "power": 2.0, "one_sided": False, "weight": 1.0, "every": 1, **settings},
    )


def round_trips(config: RunConfig) -> None:
    for again in (RunConfig.from_json(config.to_json()), RunConfig.from_toml(config.to_toml())):
        assert again == config
        assert again.model_dump() == config.model_dump()  # tuples stay tuples, floats stay floats
        assert json.loads(again.to_json()) == json.loads(config.to_json())  # TOML puts tables last


# round trips


@pytest.mark.parametrize("name", variants.names())
def test_every_variant_round_trips(name: str) -> None:
    config = assemble(name)
    assert config.run == RunInfo(variant=name)
    assert config.run.schema_version == SCHEMA
    round_trips(config)
    assert config.resolve() == config


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


COUNTS = st.integers(1, 10**12)
POSITIVE = st.floats(min_value=0, exclude_min=True, allow_infinity=False)
FRACTIONS = st.floats(0, 1, exclude_max=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: text != "none")
NAMES = st.text(st.characters(exclude_categories=["Cs"]))  # a class may well be called "none"
ADAMS = st.builds(Adam, lr=POSITIVE, betas=st.tuples(FRACTIONS, FRACTIONS), eps=POSITIVE)
OPTIMIZERS = ADAMS | st.builds(SGD, lr=POSITIVE, momentum=FRACTIONS)
PENALTIES = st.builds(
    lambda **settings: Spec("gradient", **settings),
    at=st.sampled_from(["real", "fake", "interpolates", "perturbed"]),
    target=st.floats(0, allow_infinity=False),
    weight=st.floats(0, allow_infinity=False),
    every=COUNTS,
)
DATA = st.builds(
    DataConfig,
    source=TEXT,
    data_dir=optional(TEXT),
    image_size=optional(COUNTS),
    channels=st.sampled_from([None, 1, 3]),
    batch_size=COUNTS,
    labels_per_class=optional(COUNTS),
)
FACTS = st.builds(
    DataFacts,
    sha256=optional(TEXT),
    images=optional(COUNTS),
    image_shape=optional(st.tuples(COUNTS, COUNTS, COUNTS)),
    num_classes=optional(COUNTS),
    class_names=optional(st.lists(NAMES).map(tuple)),
)
COMPUTE = st.builds(
    Compute,
    device=st.sampled_from(["cpu", "cuda", "mps"]),
    precision=st.sampled_from(["float32", "bfloat16"]),
    matmul=st.sampled_from(["highest", "high", "medium"]),
    channels_last=st.booleans(),
    fused=st.booleans(),
    compiled=st.booleans(),
    graphs=st.booleans(),
    threads=COUNTS,
    processors=optional(st.integers(0, 10**6)),
)
TRAIN = st.builds(
    TrainConfig,
    steps=optional(st.integers(0, 10**12)),
    minutes=optional(POSITIVE),
    seed=st.integers(0, 2**70),
    ema=FRACTIONS,
    precision=st.sampled_from(["auto", "float32", "bfloat16"]),
    channels_last=st.none() | st.booleans(),
    threads=optional(COUNTS),
    sample_epochs=optional(st.lists(COUNTS).map(tuple)),
)


@st.composite
def configs(draw: st.DrawFn) -> RunConfig:
    """A registered variant with other numbers."""
    name = draw(st.sampled_from(variants.names()))
    recipe: Variant = variants[name]()
    changed = recipe.model_copy(
        update={
            "latent_dim": draw(COUNTS),
            "conditional": draw(st.booleans()) and not recipe.codes,  # labels ask for the one or the other
            "generator": Spec("dcgan", norm=draw(optional(st.just("batch")))),
            "terms": tuple(draw(st.lists(PENALTIES, max_size=3))),
            "critic_steps": draw(COUNTS),
            "generator_optimizer": draw(OPTIMIZERS),
            "discriminator_optimizer": draw(OPTIMIZERS),
        }
    )
    return RunConfig(
        run=RunInfo(variant=draw(TEXT)),
        variant=changed,
        data=draw(DATA),
        train=draw(TRAIN),
        facts=draw(FACTS),
        compute=draw(optional(COMPUTE)),
    )


@given(configs())
def test_any_values_round_trip_exactly(config: RunConfig) -> None:
    round_trips(config)


@given(configs())
def test_resolving_writes_every_default_out_once(config: RunConfig) -> None:
    resolved = config.resolve()
    assert {"width", "norm"} <= resolved.variant.generator.settings.keys()
    assert resolved.resolve() == resolved
    round_trips(resolved)


@given(st.lists(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.booleans(), TEXT, NAMES)), TEXT)
def test_lists_in_a_components_settings_come_back_as_tuples(values: list[Any], text: str) -> None:
    spec = Spec("mine", values=values, nested=[values, [text]], absent=None)
    assert spec.settings == {"values": tuple(values), "nested": (tuple(values), (text,)), "absent": None}
    variant = Variant(generator=spec, discriminator=Spec("mine"))
    round_trips(RunConfig(run=RunInfo(variant="mine"), variant=variant))


def test_absent_is_none_in_python_and_the_word_none_in_toml() -> None:
    config = assemble("dcgan", settings=["generator.norm=none", "data.data_dir=none"])
    assert config.variant.generator.settings["norm"] is None
    assert config.data.data_dir is None
    document = tomllib.loads(config.to_toml())
    assert document["variant"]["generator"]["norm"] == "none"
    assert document["data"]["image_size"] == "none"
    assert json.loads(config.to_json())["variant"]["generator"]["norm"] is None


def test_a_class_may_be_called_none() -> None:
    """As a folder of images may: in a list nothing is absent, so there it is a name like any other."""
    round_trips(assemble("gan").with_facts(class_names=("none", "one")))


def test_values_are_frozen() -> None:
    config = assemble("gan")
    for value, key in [
        (config, "variant"),
        (config.variant, "latent_dim"),
        (config.variant.generator, "name"),
        (config.variant.generator, "width"),
        (config.variant.generator_optimizer, "lr"),
        (config.train, "seed"),
        (config.data, "batch_size"),
    ]:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(value, key, 1)


# layers


def test_each_layer_goes_over_the_one_before() -> None:
    file = {"variant": {"latent_dim": 2}, "train": {"seed": 2, "ema": 0.2, "log_every": 2}, "data": {"batch_size": 2}}
    settings = ["train.seed=3", "train.ema=0.3", "critic_steps=3", "critic_steps=4"]
    flags = {"train": {"seed": 5}}
    config = assemble("gan", file=file, settings=settings, flags=flags)
    assert config.variant.generator == assemble("gan").variant.generator
    assert (config.variant.latent_dim, config.train.log_every, config.data.batch_size) == (2, 2, 2)
    assert (config.train.ema, config.variant.critic_steps) == (0.3, 4)  # of one key the last setting wins
    assert config.train.seed == 5


def test_a_variant_given_by_name_goes_over_the_files_own() -> None:
    file = {"run": {"variant": "dcgan"}, "variant": {"latent_dim": 7}}
    assert assemble(None, file=file).run.variant == "dcgan"
    config = assemble("gan", file=file)
    assert (config.run.variant, config.variant.generator.name, config.variant.latent_dim) == ("gan", "mlp", 7)


def test_a_variant_may_be_a_value() -> None:
    recipe = Variant(generator=Spec("mlp", width=3), discriminator=Spec("dcgan"), penalties=(gradient(),))
    config = assemble(recipe, settings=["discriminator.width=4"])
    assert config.run.variant == "custom"
    assert config.variant.generator.settings["width"] == 3
    assert config.variant.discriminator.settings["width"] == 4
    assert config.variant.penalties == (gradient(),)


def test_naming_a_component_replaces_its_table_and_a_setting_of_it_merges() -> None:
    merged = assemble("gan", settings=["generator.width=32", "generator.depth=1"]).variant.generator.settings
    assert (merged["width"], merged["depth"]) == (32, 1)
    named = assemble("gan", settings=["generator.depth=1", "generator=mlp"])
    assert named.variant.generator.settings["depth"] == assemble("gan").variant.generator.settings["depth"]
    replaced = assemble("gan", file={"variant": {"generator": {"name": "dcgan", "width": 5}}})
    assert (
        replaced.variant.generator
        == assemble("dcgan", settings=["generator={name='dcgan', width=5}"]).variant.generator
    )
    later = assemble("gan", settings=["generator=dcgan", "generator.width=6"]).variant.generator
    assert (later.name, later.settings["width"]) == ("dcgan", 6)
    assert assemble("gan", settings=["loss=hinge"]).variant.loss == Spec("hinge")
    optimizer = assemble("gan", settings=["generator_optimizer.lr=0.5"]).variant.generator_optimizer
    assert optimizer == assemble("gan").variant.generator_optimizer.model_copy(update={"lr": 0.5})
    assert assemble("gan", settings=["generator_optimizer=adam"]).variant.generator_optimizer == Adam(
        lr=0.002, betas=(0.0, 0.99), eps=1e-8
    )
    for settings in (["generator_optimizer=sgd"], ["generator_optimizer.name=sgd"]):
        assert assemble("gan", settings=settings).variant.generator_optimizer == SGD(lr=0.01, momentum=0.0)
        settings.append("generator_optimizer.momentum=0.5")
        assert assemble("gan", settings=settings).variant.generator_optimizer == SGD(lr=0.01, momentum=0.5)


def test_penalties_are_replaced_as_a_whole() -> None:
    config = assemble("gan", settings=['penalties=[{name="gradient", at="fake", weight=2}]'])
    assert config.variant.penalties == (gradient(at="fake", weight=2.0),)
    assert assemble("gan", settings=["penalties=[]"]).variant.penalties == ()


def test_terms_are_read_by_their_former_name_and_changed_one_by_one() -> None:
    former = Variant(generator=Spec("mlp"), discriminator=Spec("mlp"), penalties=(gradient(),))
    assert former.terms == former.penalties == (gradient(),)
    assert former.model_copy(update={"penalties": ()}).terms == ()
    assert hash(former) == hash(former.model_copy())
    with pytest.raises(UsageError, match="terms and penalties at once"):
        assemble("gan", file={"variant": {"terms": [], "penalties": []}})
    for name in ("terms", "penalties"):
        config = assemble("wgan-gp", settings=[f"{name}.0.weight=5", f"{name}.0.every=2"])
        (term,) = config.variant.terms
        assert term == gradient(at="interpolates", target=1.0, weight=5.0, every=2)
    for setting in ("terms.1.weight=5", "terms.x.weight=5", "terms.0=5"):
        with pytest.raises(UsageError, match=r"no setting 'terms\..': expected terms\.N\.SETTING with N from 0 to 0"):
            assemble("wgan-gp", settings=[setting])


def test_betas_of_mixed_numbers_become_floats() -> None:
    optimizer = assemble("gan", settings=["generator_optimizer.betas=[0, 0.9]"]).variant.generator_optimizer
    betas = optimizer.settings["betas"]
    assert betas == (0.0, 0.9)
    assert {type(beta) for beta in betas} == {float}  # torch refuses a mixture


def test_a_value_is_toml_and_what_is_not_is_a_string() -> None:
    settings = ["train.steps=1_000", "train.ema = 0.5", "a.b=none", "c='none'", "d=[1, none]", "e=", "f=x=y", "g=a b"]
    assert parse_settings(settings) == {
        "train": {"steps": 1000, "ema": 0.5},
        "variant": {"a": {"b": None}, "c": None, "d": "[1, none]", "e": "", "f": "x=y", "g": "a b"},
    }


PLAIN = st.none() | st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.from_regex(r"[a-zé\"\\ ]+"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]+", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(value=PLAIN)
def test_a_mapping_of_settings_reads_as_the_same_values(value: Any) -> None:
    (setting,) = list_settings({"generator.width": value})
    assert parse_settings([setting]) == {"variant": {"generator": {"width": value}}}


def test_a_none_within_a_value_is_refused() -> None:
    with pytest.raises(UsageError, match=r"terms\.0\.every is None: give it as a setting of its own"):
        list_settings({"terms": [{"name": "gradient", "every": None}]})


@pytest.mark.parametrize("value", [object(), Spec, {1, 2}, 1j, np.zeros(2)])
def test_a_value_that_is_no_setting_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match=r"generator\.width is of type .*: expected numbers, strings, None, lists"):
        list_settings({"generator": {"width": value}})


def test_settings_may_be_a_mapping_of_parts_and_numbers() -> None:
    settings = {
        "loss": Spec("hinge"),
        "generator": {"width": np.int64(32)},
        "generator_optimizer.lr": Schedule(0.002, 0.0002, over=500),
        "discriminator_optimizer": Adam(lr=Schedule(0.002, 0.0002)),
        "train.seed": 3,
    }
    config = configure("dcgan", settings=settings)
    assert config.variant.discriminator_optimizer.settings["lr"]["to"] == 0.0002
    assert (config.variant.loss.name, config.variant.generator.settings["width"], config.train.seed) == ("hinge", 32, 3)
    assert config.variant.generator_optimizer.settings["lr"]["over"] == 500


@pytest.mark.parametrize(
    ("setting", "places"),
    [
        ("lr=0.1", "generator_optimizer.lr or discriminator_optimizer.lr"),
        ("width=8", "generator.width or discriminator.width"),
        ("batch_size=8", "data.batch_size"),
        ("seed=8", "train.seed"),
        ("weight=8", "terms.0.weight"),
    ],
)
def test_a_setting_without_its_part_is_answered_with_its_full_names(setting: str, places: str) -> None:
    key = setting.partition("=")[0]
    with pytest.raises(UsageError, match=rf"^no setting '{key}'; did you mean {re.escape(places)}\?$"):
        assemble("dcgan", settings=[setting])


@pytest.mark.parametrize("setting", ["width", "=3", "a..b=3", ".a=3"])
def test_a_setting_without_a_key_or_value_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match="expected KEY=VALUE"):
        assemble("gan", settings=[setting])


# budgets


def test_without_a_budget_a_run_takes_minutes() -> None:
    train = assemble("gan").train
    assert (train.steps, train.epochs, train.minutes) == (None, None, DEFAULT_MINUTES)


@pytest.mark.parametrize("low", BUDGETS)
@pytest.mark.parametrize("high", BUDGETS)
def test_a_higher_layers_budget_replaces_a_lower_ones(low: str, high: str) -> None:
    layers: dict[str, Any]
    for layers in (
        {"file": {"train": {low: 3}}, "settings": [f"train.{high}=7"]},
        {"file": {"train": {low: 3}}, "flags": {"train": {high: 7}}},
        {"settings": [f"train.{low}=3"], "flags": {"train": {high: 7}}},
    ):
        train = assemble("gan", **layers).train
        assert {budget: getattr(train, budget) for budget in BUDGETS} == dict.fromkeys(BUDGETS) | {high: 7}


def test_two_budgets_in_one_layer_are_refused() -> None:
    layers: dict[str, Any]
    for layers in (
        {"file": {"train": {"steps": 3, "epochs": 1.0}}},
        {"settings": ["train.steps=3", "train.epochs=1"]},
        {"flags": {"train": {"steps": 3, "epochs": 1.0}}},
    ):
        with pytest.raises(UsageError, match="two budgets at once: steps and epochs; give one of"):
            assemble("gan", **layers)


def test_assembling_leaves_what_it_was_given_alone() -> None:
    file: dict[str, Any] = {"train": {"seed": 1}, "variant": {"generator": {"width": 3}}}
    flags: dict[str, Any] = {"data": {"batch_size": 4}}
    before = json.dumps([file, flags])
    assemble("gan", file=file, settings=["train.steps=3"], flags=flags)
    assemble("gan", file=file, flags=flags)
    assert json.dumps([file, flags]) == before


# errors


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("generator.widht=3", r"no setting 'generator.widht'; did you mean 'width'\? \(generator 'mlp' takes .*width"),
        ("generatr.width=3", "no setting 'generatr'; did you mean 'generator'?"),
        ("train.sed=3", "no setting 'train.sed'; did you mean 'seed'?"),
        ("data.batchsize=3", "no setting 'data.batchsize'; did you mean 'batch_size'?"),
        ("generator_optimizer.rl=3", "no setting 'generator_optimizer.rl'; did you mean 'lr'?"),
        ("loss=hingee", "no loss 'hingee'; did you mean 'hinge'?"),
        ("loss.weight=1", "no setting 'loss.weight'"),
        ("generator=mpl", "no generator 'mpl'; did you mean 'mlp'?"),
        ("generator.width=wide", 'generator.width = "wide": must be a valid integer'),
        ("generator.width=0", "generator.width = 0: must be greater than 0"),
        ("generator.width=1.5", "generator.width = 1.5: must be a valid integer"),
        ("generator.width=true", "generator.width = true: must be a valid integer"),
        ("generator.width=none", "generator.width = null: must be a valid integer"),
        ("generator.norm=layer", "generator.norm = \"layer\": must be 'batch'"),
        ("generator_optimizer.lr=0", "generator_optimizer.lr = 0: must be greater than 0"),
        ("generator_optimizer.lr=nan", "generator_optimizer.lr = nan: must be a finite number"),
        ("discriminator_optimizer.betas=[0.5, 1.0]", "discriminator_optimizer.betas.1 = 1.0: must be less than 1"),
        ("discriminator_optimizer.name=adm", "no optimizer 'adm'; did you mean 'adam'?"),
        ("discriminator_optimizer={name='sgd', lr=-1}", "discriminator_optimizer.lr = -1: must be greater than 0"),
        (
            "discriminator_optimizer={name='sgd', betas=[0, 0]}",
            "(optimizer 'sgd' takes lr, momentum)",
        ),
        ("penalties=[{name='gradient', at='reel'}]", "terms.0.at = \"reel\": must be 'real', 'fake'"),
        ("penalties=[{name='gradient', at='real'}, 'gradient']", "terms.1.at is missing: term 'gradient'"),
        ("penalties=[{name='gradient', at='real', weight=inf}]", "terms.0.weight = inf: must be a finite"),
        ("penalties=[{name='gradeint'}]", "no term 'gradeint'; did you mean 'gradient'?"),
        ("penalties=[{at='real'}]", "a component needs a name"),
        ("penalties=3", "terms = 3: must be"),
        ("generator=3", "generator = 3: must be"),
        ("generator.name=3", "generator.name = 3: must be a valid string"),
        ("latent_dim=0", "latent_dim = 0: must be greater than 0"),
        ("critic_steps=0", "critic_steps = 0"),
        ("conditional=1", "conditional = 1: must be a valid boolean"),
        ("train.seed=-1", "train.seed = -1: must be greater than or equal to 0"),
        ("train.steps=-1", "train.steps = -1: must be greater than or equal to 0"),
        ("train.epochs=0", "train.epochs = 0: must be greater than 0"),
        ("train.ema=1", "train.ema = 1: must be less than 1"),
        ("train.device=gpu", "train.device = \"gpu\": must be 'auto', 'cpu', 'cuda' or 'mps'"),
        ("data.channels=2", "data.channels = 2: must be 1, 3 or 4"),
        ("train=3", "train = 3: must be an object"),
        ("data=3", "data = 3: must be an object"),
    ],
)
def test_a_wrong_setting_is_named_with_its_path(setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=message if "\\" in message else re.escape(message)):
        assemble("gan", settings=[setting])


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ({"trian": {"seed": 1}}, "no setting 'trian'; did you mean 'train'?"),
        (
            {"variant": {"generator": {"name": "mlp", "depht": 1}}},
            "no setting 'generator.depht'; did you mean 'depth'?",
        ),
        ({"variant": 3}, "variant = 3: must be an object"),
        ({"train": 3}, "train = 3: must be an object"),
        ({"train": {"seed": "0"}}, 'train.seed = "0": must be a valid integer'),
    ],
)
def test_a_files_wrong_setting_is_named_with_its_path(file: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        assemble("gan", file=file)


def test_an_unknown_variant_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match=r"no variant 'dcgna'; did you mean 'dcgan'\? \(ganzoo list variants\)"):
        assemble("dcgna")
    files: list[dict[str, Any]] = [{}, {"run": 3}, {"run": {}}]
    for file in files:
        with pytest.raises(UsageError, match="no variant: name one with --variant"):
            assemble(None, file=file)


# files


def saved(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", variants.names())
def test_a_runs_own_file_repeats_the_run_without_naming_a_variant(tmp_path: Path, name: str) -> None:
    facts: dict[str, Any] = {"sha256": "00", "images": 9, "image_shape": (1, 2, 3), "num_classes": 3}
    config = assemble(name, settings=["train.steps=9", "train.seed=3", "latent_dim=9"])
    path = saved(tmp_path, config.with_facts(**facts, class_names=("a", "none", "c")).to_toml())
    again = assemble(file=read_toml(path))
    assert again == config  # what was found out about the data is found out anew
    changed = assemble(file=read_toml(path), settings=["train.epochs=2", "loss=hinge"])
    assert (changed.train.steps, changed.train.epochs, changed.variant.loss.name) == (None, 2.0, "hinge")


def test_a_file_of_a_variant_whose_plug_in_is_gone_is_enough_by_itself(tmp_path: Path) -> None:
    config = assemble("gan")
    config = config.model_copy(update={"run": RunInfo(variant="of-a-plug-in")})
    assert assemble(file=read_toml(saved(tmp_path, config.to_toml()))) == config


def former(settings: dict[str, Any], schema: int = 3) -> dict[str, Any]:
    """The tables of a run of `dcgan` as a former schema wrote them."""
    tables: dict[str, Any] = json.loads(assemble("dcgan", settings=["train.steps=9"]).to_json())
    tables["run"]["schema_version"] = schema
    tables["variant"]["discriminator"] = {"name": "dcgan", "width": 16, "norm": None, **settings}
    return tables


def test_a_former_configuration_keeps_the_network_that_it_had() -> None:
    tables = former({})
    document = json.dumps(tables)
    for config in (RunConfig.from_json(document).resolve(), assemble(file=tables)):
        assert config.run.schema_version == SCHEMA
        assert config.variant.discriminator.settings["smallest"] == 7
        assert RunConfig.from_json(config.to_json()).variant == config.variant
    assert json.dumps(tables) == document
    narrower = assemble(file=tables, settings=["discriminator.width=8"]).variant.discriminator.settings
    assert (narrower["width"], narrower["smallest"]) == (8, 7)
    for tables in (former({}, SCHEMA), former({"smallest": 4})):
        assert assemble(file=tables).variant.discriminator.settings["smallest"] == 4
    named = assemble(file=former({}), settings=["discriminator=dcgan"])
    anew = assemble("dcgan", settings=["discriminator=dcgan"])
    assert named.variant.discriminator == anew.variant.discriminator


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda migration: f"{migration.name}-{migration.setting}")
def test_a_migration_is_of_a_setting_that_there_is(migration: Migration) -> None:
    part = getattr(registry, f"{migration.role}s")[migration.name]
    assert migration.before <= SCHEMA
    assert settings_of(part).model_validate({migration.setting: migration.value})


def test_a_file_of_a_newer_schema_asks_for_an_upgrade(tmp_path: Path) -> None:
    text = assemble("gan").to_toml().replace(f"schema_version = {SCHEMA}", f"schema_version = {SCHEMA + 1}")
    with pytest.raises(FileError, match=f"has schema {SCHEMA + 1}, this ganzoo reads up to {SCHEMA}: upgrade"):
        read_toml(saved(tmp_path, text))


@pytest.mark.parametrize("content", [b"[train\n", b"a = \xff", b"a = 1\na = 2\n", b"\x00"])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"config\.toml is not a readable TOML file"):
        read_toml(path)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no configuration file .*absent\.toml"):
        read_toml(tmp_path / "absent.toml")
    with pytest.raises(FileError, match="is not a readable TOML file"):
        read_toml(tmp_path)


def test_a_file_whose_run_is_no_table_does_not_break_the_reading(tmp_path: Path) -> None:
    assert read_toml(saved(tmp_path, "run = 3\n")) == {"run": 3}


@pytest.mark.parametrize("number", ["9" * 5000, f"0x{'f' * 5000}", f"[1, {{ a = 0x{'f' * 5000} }}]", "[" * 2000])
def test_numbers_of_thousands_of_digits_are_refused_briefly(number: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a number has too many digits|nested too deeply") as told:
        parse_settings([f"train.batch_size={number}"])
    assert len(str(told.value)) < 300
    (tmp_path / "config.toml").write_text(f"[train]\nbatch_size = {number}\n")
    with pytest.raises(FileError, match=r"a number has too many digits|nested too deeply|not a readable TOML file"):
        read_toml(tmp_path / "config.toml")


@pytest.mark.parametrize("index", ["9" * 5000, "\u00b2", "\u0663", "01", "-1"])
def test_an_item_of_a_list_is_named_by_its_index(index: str) -> None:
    with pytest.raises(UsageError, match=r"expected terms\.N\.SETTING") as told:
        assemble("dcgan", settings=[f"terms.{index}.weight=1"])
    assert len(str(told.value)) < 500
