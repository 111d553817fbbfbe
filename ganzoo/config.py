"""The configuration of a run, as frozen typed values that round-trip exactly through JSON and TOML.

    Variant      the recipe: networks, objective, loss, terms, augmentations, optimisers
    DataConfig   the images, and the batch size
    TrainConfig  the budget, the seed, the device
    DataFacts    facts that were found when the images were loaded
    Compute      how the run computes on its machine
    RunConfig    all of them together, and their origin

Users set the first three; the facts and the choices for the machine are recorded when a run starts.

`assemble` makes a `RunConfig` from its layers, each of which overrides the previous one: the variant, a TOML file,
`KEY=VALUE` settings, and flags. `RunConfig.resolve` checks every component's settings against its signature and writes
out its defaults, so that a later change of a default does not change an old run.
"""

import inspect
import json
import math
import numbers
import re
import shlex
import tomllib
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticSerializationError

from ganzoo import registry
from ganzoo.errors import FileError, UsageError, shown
from ganzoo.files import read_limited
from ganzoo.registry import Registry, nearest

if TYPE_CHECKING:
    from ganzoo.zoo.losses import Loss

# All schemas stay readable. Schema 1 had `penalties` in place of `terms`; 1 and 2 had the facts about the data in
# [data] and the choices for the machine in [train]; 1 to 3 lacked the settings in `MIGRATIONS`, 1 to 4 those in
# `DATA_MIGRATIONS`.
SCHEMA = 5
BUDGETS = ("steps", "epochs", "minutes")
DEFAULT_MINUTES = 5.0
READING = (
    "image_size",
    "fit",
    "background",
    "skip_broken",
    "channels",
    "bits",
    "value_range",
    "channels_first",
    "folders",
)  # the settings of [data] that determine how images are read

Fraction = Annotated[float, Field(ge=0, lt=1)]
_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Migration:
    """A setting added to a part: new runs use its default, `value` reproduces runs that were written before."""

    before: int  # the first schema with the setting
    role: str  # the part's role in a variant
    name: str
    setting: str
    value: Any


MIGRATIONS = (Migration(before=4, role="discriminator", name="dcgan", setting="smallest", value=7),)
DATA_MIGRATIONS = {5: {"folders": "classes", "bits": 16}}  # by the first schema with these settings


class _Value(BaseModel):
    model_config = _STRICT


class Schedule(_Value):
    """A number that changes from `start` to `end` over the first `over` steps, and then keeps its end value.

    It can replace any number of an optimiser, a term, an augmentation or the weight average:
    `Adam(lr=Schedule(0.002, 0.0, shape="cosine"))`, and in TOML `{ from = 0.002, to = 0.0, shape = "cosine" }`.
    Without `over` the horizon is the run's budget: it is converted to steps when the run starts, and recorded with
    `from_budget = true`.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    start: float = Field(alias="from")
    end: float = Field(alias="to")
    shape: str = "linear"  # a registered name: ganzoo list schedules
    over: PositiveInt | None = None  # steps
    from_budget: bool = False

    def __init__(self, *ends: float, **settings: Any) -> None:
        if len(ends) not in (0, 2):
            raise UsageError(
                f"Schedule{ends}: expected two numbers, and other settings by name: Schedule(0.1, 0.01, over=500)"
            )
        super().__init__(**dict(zip(("start", "end"), ends, strict=False)), **settings)

    def at(self, step: int) -> float:
        """Return the value at a step, counted from 0. Raises UsageError if the horizon is not known."""
        if self.over is None:
            raise UsageError(f"{self.describe()} has no horizon: set over = STEPS, or train the run with a budget")
        value: float = registry.schedules[self.shape](self.start, self.end, min(1.0, step / self.over))
        return value

    def describe(self) -> str:
        """Return a description for messages."""
        return f"the schedule from {self.start:g} to {self.end:g} ({self.shape})"

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> Self:
        """Return the schedule that a table in a component's settings describes. Raises ValidationError."""
        return cls.model_validate_json(json.dumps(dict(table), default=str))

    @staticmethod
    def is_table(value: object) -> bool:
        """Return whether a setting's value is a schedule's table."""
        return isinstance(value, Mapping) and "from" in value


class Spec(_Value):
    """A registered component by name, with its settings: `Spec("dcgan", width=64)`.

    Instead of a name it accepts a class or a function that makes the part, as in `Spec(MyGenerator, width=64)`, or the
    part itself.
    """

    model_config = ConfigDict(extra="allow")

    name: str

    def __init__(self, name: "str | Callable[..., Any] | Loss", **settings: Any) -> None:
        if not isinstance(name, registry.VALUES):  # plain values other than a name are refused below
            name = registry.hand_over(name)
        super().__init__(name=name, **{key: _plain(value) for key, value in settings.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and (self.name, self.settings) == (other.name, other.settings)

    def __hash__(self) -> int:
        return hash((self.name, repr(sorted(self.settings.items()))))

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword arguments for the component."""
        return dict(self.__pydantic_extra__ or {})


class Adam(Spec):
    """The optimiser `adam` with settings `lr`, `betas`, `eps`: `Adam(lr=0.001)` is `Spec("adam", lr=0.001)`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "name": "adam"})


class AdamW(Spec):
    """The optimiser `adamw` with settings `lr`, `betas`, `eps`, `weight_decay`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "name": "adamw"})


class RMSprop(Spec):
    """The optimiser `rmsprop` with settings `lr`, `alpha`, `eps`, `momentum`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "name": "rmsprop"})


class SGD(Spec):
    """The optimiser `sgd` with settings `lr`, `momentum`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "name": "sgd"})


class Code(_Value):
    """A named part of the latents (Chen et al. 2016, arXiv:1606.03657, section 3).

    A `categorical` code of `size` values is passed to the generator as labels; `size` `uniform` codes in [-1, 1] are
    the last columns of z.
    """

    name: str
    kind: Literal["categorical", "uniform"]
    size: PositiveInt


class Variant(_Value):
    """A GAN variant: networks x conditioning x objective x loss x terms x augmentation x schedule."""

    # The kind of variant, for lists: "game", "network", "conditional", "structured" or any other word. Like `defaults`,
    # a resolved configuration does not contain it.
    family: str = Field(default="", exclude=True)
    # What its terms require of the data, for lists: "square images", or "labels" if it is not conditional.
    needs: tuple[str, ...] = Field(default=(), strict=False, exclude=True)
    latent_dim: PositiveInt = 64  # normal columns of z; uniform codes are further columns
    codes: tuple[Code, ...] = Field(default=(), strict=False)
    conditional: bool = False  # whether the networks get labels; how they use them is a setting of each network
    objective: Spec = Spec("adversarial")
    generator: Spec
    discriminator: Spec
    encoder: Spec | None = None
    loss: Spec = Spec("non-saturating")
    terms: tuple[Spec, ...] = Field(default=(), strict=False)
    augmentations: tuple[Spec, ...] = Field(default=(), strict=False)  # before the discriminator, in order
    critic_steps: PositiveInt = 1  # discriminator updates before each generator update
    generator_optimizer: Spec = Adam()
    discriminator_optimizer: Spec = Adam()
    # Values of a recipe outside its own table, such as {"data.batch_size": 128, "train.ema": 0.999}. Files, --set and
    # flags override them; a resolved configuration does not contain them.
    defaults: dict[str, Any] = Field(default_factory=dict, exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _read_penalties(cls, values: Any) -> Any:
        return _terms_for_penalties(values)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values; their old names work too."""
        return super().model_copy(update=None if update is None else _terms_for_penalties(update), deep=deep)

    @property
    def penalties(self) -> tuple[Spec, ...]:
        """The terms, under their name in schema 1."""
        return self.terms

    @property
    def uniform_codes(self) -> int:
        """The number of uniform codes, which are the last columns of z."""
        return sum(code.size for code in self.codes if code.kind == "uniform")

    @property
    def categorical_code(self) -> Code | None:
        """The code that is passed as labels; None if there is none."""
        return next((code for code in self.codes if code.kind == "categorical"), None)

    @property
    def z_dim(self) -> int:
        """The number of columns of z."""
        return self.latent_dim + self.uniform_codes


class DataConfig(_Value):
    """The requested images."""

    source: str = "auto"
    data_dir: str | None = None
    image_size: (
        Annotated[
            Annotated[PositiveInt, Tag("number")]
            | Annotated[str, Field(pattern=r"^[1-9]\d{0,4}x[1-9]\d{0,4}$"), Tag("text")],
            Discriminator(lambda value: "text" if isinstance(value, str) else "number"),
        ]
        | None
    ) = None  # side of a square, or width and height such as "80x60"
    fit: Literal["crop", "pad", "stretch"] = "crop"  # how images of another shape are brought to that size
    background: str = "white"  # behind transparent pixels, and the fill colour of `pad`
    skip_broken: bool = False  # skip image files that cannot be read
    channels: Literal[1, 3, 4] | None = None
    bits: Annotated[int, Field(ge=1, le=16)] | None = None  # of 16-bit grey values; None: as many as the values need
    value_range: Literal["0..1", "-1..1", "0..255"] | None = None  # of float arrays
    channels_first: bool = False  # arrays in files are [N, C, H, W]
    folders: Literal["auto", "classes"] = "auto"  # classes: every folder is a class, train/ and test/ are not splits
    batch_size: PositiveInt = 64
    labels_per_class: PositiveInt | None = None  # known labels in each class, chosen by the run's seed; None: all
    memory: PositiveInt | None = None  # MB for images in memory, more stay on disk; None: half of the free memory

    @field_validator("image_size", mode="before")
    @classmethod
    def _read_number(cls, value: Any) -> Any:
        """Convert text from a command line."""
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    @property
    def reading(self) -> dict[str, Any]:
        """The settings for reading images, as keywords of `ganzoo.data.load`."""
        return self.model_dump(include=set(READING))


class DataFacts(_Value):
    """Facts about the images, which are None before the images are loaded."""

    note: str | None = None  # why these images are used instead of the requested ones
    notes: tuple[str, ...] = Field(default=(), strict=False)  # how the images were changed, and which were skipped
    sha256: str | None = None
    images: PositiveInt | None = None  # number of images
    image_shape: tuple[PositiveInt, PositiveInt, PositiveInt] | None = Field(default=None, strict=False)  # (C, H, W)
    num_classes: PositiveInt | None = None
    class_names: tuple[str, ...] | None = Field(default=None, strict=False)
    class_counts: tuple[NonNegativeInt, ...] | None = Field(default=None, strict=False)  # images of each class


class TrainConfig(_Value):
    """The settings of training. Exactly one of the three budgets is set.

    "auto" and None leave a choice to the rule of `ganzoo.compute.rule`, or with `tune` to a measurement; `Compute`
    records the choice.
    """

    steps: NonNegativeInt | None = None  # total generator updates
    epochs: PositiveFloat | None = None  # total passes of the real images through the discriminator
    minutes: PositiveFloat | None = None
    seed: NonNegativeInt = 0
    # Largest decay per step of the averaged weights: see `Ema`.
    ema: Annotated[
        Annotated[Fraction, Tag("number")] | Annotated[Schedule, Tag("schedule")],
        Discriminator(lambda value: "schedule" if isinstance(value, Mapping | Schedule) else "number"),
    ] = 0.9995
    start_from: str | None = None  # the run that provided the initial weights
    freeze_discriminator: NonNegativeInt = 0  # number of its first layers that keep their initial weights
    # Whether small data sets get augmentations that the variant does not list; the chosen ones are in the variant.
    augment: Literal["auto"] | None = None
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    deterministic: bool = False  # float32 layer by layer, with torch's deterministic algorithms
    tune: bool = False  # measure a few steps of each way to compute, and use the fastest
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    matmul: Literal["auto", "highest", "high", "medium"] = "auto"
    channels_last: bool | None = None
    fused: bool | None = None
    compiled: bool | None = None
    graphs: bool | None = None
    threads: PositiveInt | None = None
    processors: PositiveInt | None = None  # number of free processors to assume; None: measured
    log_every: PositiveInt = 100  # steps
    checkpoint_every: PositiveInt = 1000  # steps
    sample_epochs: tuple[PositiveInt, ...] | None = Field(default=None, strict=False)  # None: at even intervals
    evaluate_every: PositiveInt | None = None  # steps; evaluation time does not count against a budget of minutes
    evaluate_epochs: tuple[PositiveInt, ...] = Field(default=(), strict=False)
    evaluate_seconds: tuple[PositiveFloat, ...] = Field(default=(), strict=False)  # of training
    target_fid: PositiveFloat | None = None  # training ends if an evaluation and a second one on other latents reach it
    # rollback: return to the last checkpoint, with half the learning rates
    on_divergence: Literal["stop", "rollback"] = "stop"
    log: tuple[str, ...] = Field(default=(), strict=False)  # names of loggers: ganzoo list loggers

    @property
    def plain(self) -> bool:
        """Return whether everything is computed in float32, layer by layer: nothing rewritten, compiled or captured."""
        return self.deterministic or self.precision == "float32"


class Compute(_Value):
    """How a run computes on its machine: chosen when it starts, recorded, and kept when it is resumed."""

    device: Literal["cpu", "cuda", "mps"]
    precision: Literal["float32", "bfloat16"]  # of the networks' forward passes; losses and terms use float32
    matmul: Literal["highest", "high", "medium"]  # of float32 matrices: torch.set_float32_matmul_precision
    channels_last: bool  # memory format of the networks' weights
    fused: bool  # whether two layers are computed exactly as one if possible (zoo/networks/fused.py)
    compiled: bool  # whether updates use torch.compile
    graphs: bool  # whether updates are captured in CUDA graphs
    threads: PositiveInt  # of the CPU
    processors: NonNegativeInt | None = None  # free processors when the run started; None if `threads` was set


# Fields of a `Compute` that a user may set, and that a recorded one repeats; None and "auto" leave the choice open.
CHOICES = ("precision", "matmul", "channels_last", "fused", "compiled", "graphs", "threads")


class RunInfo(_Value):
    """The origin of a configuration."""

    schema_version: int = SCHEMA
    ganzoo: str = version("torch-ganzoo")
    variant: str


_TABLES: dict[str, type[_Value]] = {"data": DataConfig, "train": TrainConfig}
_PARTS: dict[str, Registry[Callable[..., Any]]] = {
    "objective": registry.objectives,
    "generator": registry.generators,
    "discriminator": registry.discriminators,
    "encoder": registry.encoders,
    "loss": registry.losses,
    "generator_optimizer": registry.optimizers,
    "discriminator_optimizer": registry.optimizers,
}
_PART_LISTS = {"terms": registry.terms, "augmentations": registry.augmentations}


class RunConfig(_Value):
    """All inputs of a run: its result is a function of them."""

    run: RunInfo
    variant: Variant
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    facts: DataFacts = DataFacts()
    compute: Compute | None = None  # None before the run starts

    @model_validator(mode="before")
    @classmethod
    def _read_former_schemas(cls, values: Any) -> Any:
        return _migrate(_with_records_apart(values)) if isinstance(values, Mapping) else values

    @field_validator("variant", mode="after")
    @classmethod
    def _drop_defaults(cls, variant: Variant) -> Variant:
        return variant.model_copy(update={"defaults": {}, "family": "", "needs": ()})  # `assemble` has applied them

    def resolve(self) -> Self:
        """Check every component's settings and write out its defaults. Raises UsageError with the setting's path."""
        variant = self.variant
        _check_codes(variant)
        resolved: dict[str, Any] = {}
        for role, parts in _PARTS.items():
            spec, scheduled = getattr(variant, role), parts is registry.optimizers
            resolved[role] = spec and _resolve(spec, parts, role, scheduled=scheduled)
        for role, parts in _PART_LISTS.items():
            resolved[role] = _resolve_all(getattr(variant, role), parts, role)
        if isinstance(self.train.ema, Schedule):
            _check_shape(self.train.ema, "train.ema")
            for end in (self.train.ema.start, self.train.ema.end):
                if not 0 <= end < 1:
                    raise UsageError(f"train.ema = {end:g}: must be at least 0 and less than 1, at both ends")
        return self.model_copy(update={"variant": variant.model_copy(update=resolved)})

    def schedules(self) -> dict[str, Schedule]:
        """Return every schedule by its path, such as `generator_optimizer.lr`."""
        variant = self.variant
        found = {} if not isinstance(self.train.ema, Schedule) else {"train.ema": self.train.ema}
        specs = {key: getattr(variant, key) for key in ("generator_optimizer", "discriminator_optimizer")}
        for key in ("terms", "augmentations"):
            specs |= {f"{key}.{i}": spec for i, spec in enumerate(getattr(variant, key))}
        for path, spec in specs.items():
            found |= {f"{path}.{key}": schedule for key, schedule in _schedules_in(spec.settings)}
        return found

    def with_horizon(self, steps: int) -> Self:
        """Return a copy in which every schedule without a horizon ends with the budget, at `steps`."""

        def ended(value: Any) -> Any:
            if isinstance(value, Mapping) and "from" in value and "to" in value:
                open_ended = value.get("over") is None
                return {**value, "over": max(1, steps), "from_budget": True} if open_ended else value
            if isinstance(value, Mapping):
                return {key: ended(item) for key, item in value.items()}
            return [ended(item) for item in value] if isinstance(value, list) else value

        if all(schedule.over for schedule in self.schedules().values()):
            return self
        return type(self).from_json(json.dumps(ended(self.model_dump(mode="json"))))

    @property
    def chosen(self) -> Compute:
        """The choices of how the run computes. Raises UsageError if they are not made yet."""
        if self.compute is None:
            raise UsageError("the configuration does not record how to compute: it is not that of a run")
        return self.compute

    def with_data(self, **values: Any) -> Self:
        """Return a copy with other `[data]` values."""
        return self.model_copy(update={"data": self.data.model_copy(update=values)})

    def with_train(self, **values: Any) -> Self:
        """Return a copy with other `[train]` values."""
        return self.model_copy(update={"train": self.train.model_copy(update=values)})

    def with_facts(self, **values: Any) -> Self:
        """Return a copy with other facts about the data."""
        return self.model_copy(update={"facts": self.facts.model_copy(update=values)})

    def with_compute(self, **values: Any) -> Self:
        """Return a copy with other choices of how the run computes."""
        return self.model_copy(update={"compute": self.chosen.model_copy(update=values)})

    def to_json(self) -> str:
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Parse a configuration. Raises UsageError with the invalid setting's path, or if a newer ganzoo wrote it."""
        _refuse_newer(text)
        try:
            config = cls.model_validate_json(text)
        except ValidationError as error:
            raise _usage_error(error, cls) from None
        except TypeError:  # a component's table without its name
            raise UsageError("a component needs a name, as in generator = { name = 'dcgan', width = 32 }") from None
        if config.run.schema_version == SCHEMA:
            return config
        return config.model_copy(update={"run": config.run.model_copy(update={"schema_version": SCHEMA})})

    def to_toml(self) -> str:
        """Return the configuration as TOML, in which None is the string "none"."""
        return tomli_w.dumps(_map_leaves(self.model_dump(mode="json"), lambda leaf: "none" if leaf is None else leaf))

    @classmethod
    def from_toml(cls, text: str) -> Self:
        return cls.from_json(json.dumps(_parse_toml(text)))


MOST_BYTES = 16_000_000  # maximal size of a configuration file
DEEPEST = 50  # maximal parts of a key
_TOO_DEEP, _TOO_LONG = "nested too deeply", "a number has too many digits"
_STRING = re.compile(r""""(?:\\.|[^"\\\n])*"|'[^'\n]*'""")
_DEEP_KEY = re.compile(rf"(?<![\w-])[\w-]+(?:[ \t]*\.[ \t]*[\w-]+){{{DEEPEST}}}")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a configuration file, such as a run's `config.toml`. Raises FileError."""
    try:
        document = _parse_toml(read_limited(path, MOST_BYTES).decode("utf-8"))
    except FileNotFoundError:
        raise FileError(f"no configuration file {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FileError(f"{path} is not a readable TOML file: {error}") from None
    if (written := _schema_of(document)) > SCHEMA:
        raise FileError(f"{path} has schema {written}, this ganzoo reads up to {SCHEMA}: upgrade ganzoo to use it")
    return document


def assemble(
    variant: str | Variant | None = None,
    *,
    file: Mapping[str, Any] | None = None,
    parts: Mapping[str, Any] | None = None,
    settings: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> RunConfig:
    """Return one configuration from its layers, each of which overrides the previous one.

    They are the variant, a file's tables, parts by role (tables, as in a file's `[variant]`), settings `KEY=VALUE` and
    flags (tables, as in a file).

    Raises UsageError if a value is unknown, of the wrong type or out of range, or if a layer has two budgets.
    """
    file = _migrate(_without_facts(file or {}))
    name = variant if isinstance(variant, str) else "custom" if variant else _table(file, "run").get("variant")
    if not isinstance(name, str):
        raise UsageError("no variant: name one with --variant (ganzoo list variants)")
    if isinstance(variant, str):
        name = variant = registry.variants.match(variant)
    elif name in registry.variants:
        name = registry.variants.canonical(name)
    complete = variant is None and "generator" in _table(file, "variant")
    merged = _base(variant or name, complete=complete)
    records = ("run", "facts", "compute")
    layers: list[Mapping[str, Any]] = [{key: value for key, value in file.items() if key not in records}]
    layers += [{"variant": parts} if parts else {}, parse_settings(settings), flags or {}]
    for layer in layers:
        if isinstance(layer.get("variant"), Mapping):
            layer = {**layer, "variant": _terms_for_penalties(layer["variant"])}
        _clear_budget(merged, layer)
        merged = _merge(merged, layer)
    train = merged.get("train", {})
    if isinstance(train, Mapping) and all(train.get(budget) is None for budget in BUDGETS):
        merged["train"] = {**train, "minutes": DEFAULT_MINUTES}
    if _budget_of(merged) != _budget_of(file):  # a new budget: schedules end with it, not with the file's
        merged = without_horizons(merged)
    _check_keys(merged)
    config = RunConfig.from_json(json.dumps({**merged, "run": {"variant": name}}, default=str)).resolve()
    return _repeat_choices(config, file, layers[1:])


def _check_keys(tables: Mapping[str, Any]) -> None:
    """Raise UsageError, with the full names, for a setting without the part or table that it belongs to, as `lr`."""
    settings = _table(tables, "variant")
    for key in sorted(settings.keys() - Variant.model_fields.keys()):
        specs = [(role, parts, settings.get(role)) for role, parts in _PARTS.items()]
        for role, parts in _PART_LISTS.items():
            listed = settings.get(role)
            items = enumerate(listed) if isinstance(listed, list | tuple) else ()
            specs += [(f"{role}.{number}", parts, spec) for number, spec in items]
        places = [f"{table}.{key}" for table, model in _TABLES.items() if key in model.model_fields]
        for path, parts, spec in specs:
            name = spec.get("name") if isinstance(spec, Mapping) else None
            if isinstance(name, str) and name in parts and key in settings_of(parts[name]).model_fields:
                places.append(f"{path}.{key}")
        if places:
            raise UsageError(f"no setting '{key}'; did you mean {' or '.join(places)}?")


def _repeat_choices(config: RunConfig, file: Mapping[str, Any], above: Sequence[Mapping[str, Any]]) -> RunConfig:
    """Make a run compute as the file's run did, unless layers above the file change the work or the way to compute."""
    recorded, train = _table(file, "compute"), config.train
    asked = {key: value for layer in above for key, value in _table(layer, "train").items() if value is not None}
    other_work = any("variant" in layer or "batch_size" in _table(layer, "data") for layer in above)
    other_variant = config.run.variant != _table(file, "run").get("variant")
    if not recorded or other_work or other_variant or asked.get("tune") or asked.get("device"):
        return config
    document = config.model_dump(mode="json")
    if asked.get("processors") or (train.plain and not _is_plain(_table(file, "train"))):
        document["train"]["threads"] = train.threads or (None if asked.get("processors") else recorded.get("threads"))
        return RunConfig.from_json(json.dumps(document))
    wishes = {key: getattr(train, key) for key in CHOICES if not _is_open(getattr(train, key))}
    counted = {"processors": None} if "threads" in wishes else {}
    return RunConfig.from_json(json.dumps({**document, "compute": {**recorded, **wishes, **counted}}))


def _is_plain(train: Mapping[str, Any]) -> bool:
    return bool(train.get("deterministic")) or train.get("precision") == "float32"


def _is_open(wish: Any) -> bool:
    return wish is None or wish == "auto"


def _budget_of(tables: Mapping[str, Any]) -> list[Any]:
    train = _table(tables, "train")
    return [train.get(budget) for budget in BUDGETS]


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return `KEY=VALUE` settings as nested tables. VALUE is TOML, else a string; the last value of a key wins."""
    tables: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path) or len(path) > DEEPEST:
            raise UsageError(f"--set {shown(setting)}: expected KEY=VALUE, as in --set generator.width=32")
        if path[0] not in ("variant", "data", "train"):
            path = ["variant", *path]
        value: Any = _parse_value(text.strip())
        for part in reversed(path):
            value = {part: value}
        tables = _merge(tables, value)
    return tables


def list_settings(settings: Sequence[str] | Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return settings as `KEY=VALUE`, from such a list or from a mapping: `{"loss": "hinge", "generator.width": 32}`.

    The values of a mapping are numbers, strings, None, lists, mappings, `Spec` and `Schedule`. Raises UsageError for a
    None within another value.
    """
    if settings is None or not isinstance(settings, Mapping):
        return tuple(settings or ())
    return tuple(f"{key}={'none' if value is None else _to_toml(value, key)}" for key, value in settings.items())


def _to_toml(value: Any, path: str) -> str:
    """Return the value of a setting as `parse_settings` reads it."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if Schedule.is_table(value):
        value = {key: item for key, item in value.items() if item is not None}
    if isinstance(value, Mapping):
        items = (f"{_to_toml(str(key), path)} = {_to_toml(item, f'{path}.{key}')}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_to_toml(item, f"{path}.{number}") for number, item in enumerate(value)) + "]"
    if value is None:
        raise UsageError(f"{path} is None: give it as a setting of its own, {{'{path}': None}}")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, numbers.Real):  # also numpy's
        return str(int(value) if isinstance(value, numbers.Integral) else float(value))
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
    raise UsageError(
        f"{path} is of type {type(value).__name__}: expected numbers, strings, None, lists, dictionaries, Spec or "
        "Schedule; pass a part as an argument of its own, such as generator=MyGenerator"
    )


@cache  # making a model takes a millisecond, and a configuration needs ten
def settings_of(component: Callable[..., Any]) -> type[BaseModel]:
    """Return a component's settings, which are its keyword-only arguments, as a pydantic model."""
    parameters = inspect.signature(component).parameters.values()
    settings = [parameter for parameter in parameters if parameter.kind is inspect.Parameter.KEYWORD_ONLY]
    function = component.func if isinstance(component, partial) else component
    function = function.__init__ if inspect.isclass(function) else function
    hints = typing.get_type_hints(function, include_extras=True) if settings else {}
    fields: dict[str, Any] = {
        parameter.name: (
            hints.get(parameter.name, Any),
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in settings
    }
    return create_model("Settings", __config__=_STRICT, **fields)


def _resolve_all(specs: Sequence[Spec], parts: Registry[Callable[..., Any]], path: str) -> tuple[Spec, ...]:
    return tuple(_resolve(spec, parts, f"{path}.{i}", scheduled=True) for i, spec in enumerate(specs))


def _resolve(spec: Spec, parts: Registry[Callable[..., Any]], path: str, *, scheduled: bool = False) -> Spec:
    """Check a component's settings and write out its defaults; check the start and the end value of a schedule."""
    model, whose = settings_of(parts[spec.name]), f"{parts.kind} '{spec.name}'"
    schedules = dict(_schedules_in(spec.settings, path))
    if schedules and not scheduled:
        raise UsageError(
            f"{path}.{min(schedules)}: a schedule can replace a number in generator_optimizer, "
            f"discriminator_optimizer, terms or augmentations, or train.ema; not in the {whose}"
        )
    ends = []
    for end in ("start", "end") if schedules else ("start",):
        plain = _map_schedules(spec.settings, attrgetter(end))
        try:
            settings = model.model_validate_json(json.dumps(plain, default=str))
        except ValidationError as error:
            raise _usage_error(error, model, path, whose=whose) from None
        ends.append({key: getattr(settings, key) for key in type(settings).model_fields})
    for key, schedule in schedules.items():
        _check_shape(schedule, f"{path}.{key}")
    resolved = {key: _with_schedules(value, spec.settings.get(key)) for key, value in ends[0].items()}
    complete = Spec(parts.canonical(spec.name), **resolved)
    try:
        complete.model_dump_json()
    except PydanticSerializationError as error:
        raise UsageError(
            f"{path}: config.toml cannot store a setting of the {whose} ({error}): expected numbers, strings and "
            "lists; hand over a function that sets it"
        ) from None
    return complete


def _schedules_in(value: Any, path: str = "", key: str = "") -> Iterator[tuple[str, Schedule]]:
    """Yield the schedules in a component's settings, with their keys. Raises UsageError for an invalid schedule."""
    if Schedule.is_table(value):
        try:
            yield key, Schedule.parse(value)
        except ValidationError as error:
            raise _usage_error(error, Schedule, f"{path}.{key}" if path else key) from None
    elif isinstance(value, Mapping | tuple):
        for inner, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _schedules_in(item, path, f"{key}.{inner}" if key else str(inner))


def _map_schedules(value: Any, function: Callable[[Schedule], Any]) -> Any:
    """Return the value with the function applied to each schedule in it."""
    if Schedule.is_table(value):
        return function(Schedule.parse(value))
    if isinstance(value, Mapping):
        return {key: _map_schedules(item, function) for key, item in value.items()}
    return tuple(_map_schedules(item, function) for item in value) if isinstance(value, tuple) else value


def _with_schedules(checked: Any, given: Any) -> Any:
    """Return the checked settings with each schedule put back and its defaults written out."""
    if Schedule.is_table(given):
        return Schedule.parse(given).model_dump(mode="json")
    if isinstance(given, Mapping) and isinstance(checked, Mapping):
        return {key: _with_schedules(item, given.get(key)) for key, item in checked.items()}
    if isinstance(given, tuple) and isinstance(checked, tuple) and len(given) == len(checked):
        return tuple(map(_with_schedules, checked, given))
    return checked


def reading_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return how the images of a record were read, as keywords of `ganzoo.data.load`. Raises UsageError.

    Missing settings, as in records of older versions, get the values that those versions used.
    """
    former = {key: value for settings in DATA_MIGRATIONS.values() for key, value in settings.items()}
    found = {key: record[key] for key in READING if key in record}
    try:
        return DataConfig(**(found if "folders" in found else {**former, **found})).reading
    except ValidationError as error:
        raise _usage_error(error, DataConfig, "data") from None


def flag_of(name: str) -> str:
    """Return the flag of a setting for reading images, such as --image-size."""
    return "--range" if name == "value_range" else f"--{name.replace('_', '-')}"


def reading_flags(reading: Mapping[str, Any]) -> str:
    """Return the settings for reading images as flags, each with a leading space; defaults are left out."""
    words = []
    for name in READING:
        value = reading.get(name)
        if value in (None, DataConfig.model_fields[name].default):
            continue
        words += [flag_of(name)] if value is True else [flag_of(name), shlex.quote(str(value))]
    return "".join(f" {word}" for word in words)


def settings_at(settings: Mapping[str, Any], step: int) -> dict[str, Any]:
    """Return the settings that have a schedule, with their values at a step."""
    scheduled = {key: value for key, value in settings.items() if any(_schedules_in(value))}
    return {key: _map_schedules(value, lambda schedule: schedule.at(step)) for key, value in scheduled.items()}


def describe_setting(value: object) -> str:
    """Return a setting as text for people: a schedule in words, a sequence in parentheses, None as "none"."""
    if isinstance(value, Mapping) and Schedule.is_table(value):
        schedule = Schedule.parse(value)
        steps = "the budget" if schedule.over is None else f"{schedule.over:,} steps"
        return f"from {schedule.start:g} to {schedule.end:g}, {schedule.shape} over {steps}"
    if isinstance(value, tuple):
        return f"({', '.join(map(str, value))})"
    return "none" if value is None else str(value)


def without_horizons(value: Any) -> Any:
    """Return a configuration's tables without the horizons that came from the budget."""
    if isinstance(value, Mapping):
        kept = ("over", "from_budget") if Schedule.is_table(value) and value.get("from_budget") else ()
        return {key: without_horizons(item) for key, item in value.items() if key not in kept}
    return [without_horizons(item) for item in value] if isinstance(value, list | tuple) else value


def _check_shape(schedule: Schedule, path: str) -> None:
    try:
        registry.schedules[schedule.shape](schedule.start, schedule.end, 0.5)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _check_codes(variant: Variant) -> None:
    names = [code.name for code in variant.codes]
    if len(set(names)) < len(names):
        raise UsageError(f"codes = {', '.join(names)}: each needs a different name")
    categorical = [code.name for code in variant.codes if code.kind == "categorical"]
    if len(categorical) > 1:
        raise UsageError(
            f"codes: {' and '.join(categorical)} are both categorical, but labels select one code: make one of them "
            "uniform, or use one code for all their combinations"
        )
    if categorical and variant.conditional:
        raise UsageError(
            f"codes: '{categorical[0]}' would be passed as labels, as the classes of a conditional variant are: "
            "use uniform codes, or --set conditional=false"
        )


def _terms_for_penalties(variant: Any) -> Any:
    """Rename `penalties`, the name of the terms in schema 1."""
    if not isinstance(variant, Mapping) or "penalties" not in variant:
        return variant
    if "terms" in variant:
        raise UsageError("terms and penalties at once: penalties is the old name of terms; use terms")
    return {("terms" if key == "penalties" else key): value for key, value in variant.items()}


def _base(variant: str | Variant, *, complete: bool) -> dict[str, Any]:
    """Return the lowest layer; a `complete` file needs no registered variant (its plug-in may be missing)."""
    if isinstance(variant, str) and complete and variant not in registry.variants:
        return {"variant": {}}
    recipe: Variant = registry.variants[variant]() if isinstance(variant, str) else variant
    base: dict[str, Any] = {"variant": recipe.model_dump(mode="json")}
    for path, value in recipe.defaults.items():
        table, _, key = path.partition(".")
        if table not in ("data", "train") or not key:
            raise UsageError(f"defaults: '{path}' is not a setting of data or train, such as data.batch_size")
        base.setdefault(table, {})[key] = _plain(value)
    return base


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return a table of a document, or an empty one if it is missing or invalid (validation reports that later)."""
    value = document.get(key)
    return value if isinstance(value, Mapping) else {}


def _without_facts(file: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a file's tables without the facts about its data, which are determined again."""
    data = file.get("data")
    if not isinstance(data, Mapping):
        return file
    return {**file, "data": {key: value for key, value in data.items() if key not in DataFacts.model_fields}}


def _with_records_apart(tables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a configuration's tables with facts and choices in separate tables, which schemas 1 and 2 lacked."""
    if _schema_of(tables) > 2:
        return tables
    data, train = _table(tables, "data"), _table(tables, "train")
    facts = {key: data[key] for key in DataFacts.model_fields if key in data}
    chosen = {key: train.get(key) for key in Compute.model_fields if key != "processors"}
    complete = not any(_is_open(value) for value in chosen.values())  # of a run that was started
    return {**_without_facts(tables), "facts": facts, "compute": chosen if complete else None}


def _migrate(tables: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a configuration's tables with the settings that were added to its parts since it was written."""
    schema, variant = _schema_of(tables), dict(_table(tables, "variant"))
    for before, settings in DATA_MIGRATIONS.items():
        if schema < before:
            tables = {**tables, "data": {**settings, **_table(tables, "data")}}
    for migration in MIGRATIONS:
        part = _table(variant, migration.role)
        if schema < migration.before and part.get("name") == migration.name:
            variant[migration.role] = {migration.setting: migration.value, **part}
    return {**tables, "variant": variant} if variant else tables


def _schema_of(tables: Mapping[str, Any]) -> int:
    """Return the schema of a configuration; the current one if it was written by hand."""
    schema = _table(tables, "run").get("schema_version", SCHEMA)
    return schema if isinstance(schema, int) else SCHEMA


def _refuse_newer(text: str | bytes) -> None:
    """Raise UsageError with both schemas if a newer ganzoo wrote the configuration."""
    try:
        tables = json.loads(text)
    except (ValueError, RecursionError):
        return
    if isinstance(tables, dict) and (written := _schema_of(tables)) > SCHEMA:
        raise UsageError(f"the configuration has schema {written}, this ganzoo reads up to {SCHEMA}: upgrade ganzoo")


def _clear_budget(merged: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Remove the budget of the layers below if `layer` has one, in any of the three units."""
    train = layer.get("train")
    budgets = [key for key in BUDGETS if isinstance(train, Mapping) and train.get(key) is not None]
    if len(budgets) > 1:
        raise UsageError(f"two budgets at once: {' and '.join(budgets)}; give one of --epochs, --steps, --minutes")
    if budgets and isinstance(merged.get("train"), dict):
        merged["train"] = {key: value for key, value in merged["train"].items() if key not in BUDGETS}


def _merge(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `layer` into `base`, table by table; a table that names a component replaces the one below."""
    merged = dict(base)
    for key, value in layer.items():
        below = merged.get(key)
        if key in _COMPONENTS and isinstance(value, str):
            value = {"name": value}
        if key in _LISTS and isinstance(value, Mapping) and isinstance(below, list | tuple):
            value = _merge_items(key, below, value)
        if key in _LISTS and isinstance(value, list):
            value = [{"name": item} if isinstance(item, str) else item for item in value]
        if isinstance(value, Mapping) and "name" not in value and not Schedule.is_table(value):
            value = _merge(below if isinstance(below, Mapping) else {}, value)
        merged[key] = value
    return merged


def _merge_items(key: str, below: Sequence[Any], values: Mapping[str, Any]) -> list[Any]:
    """Return a list with changed settings of some items, as in `terms.0.weight=0.5`."""
    items = list(below)
    for index, value in values.items():
        if index not in map(str, range(len(items))) or not isinstance(value, Mapping):
            raise UsageError(
                f"no setting '{key}.{shown(index)}': expected {key}.N.SETTING with N from 0 to {len(items) - 1}, "
                "or the list"
            )
        items[int(index)] = _merge(items[int(index)], value)
    return items


_COMPONENTS = [key for key, field in Variant.model_fields.items() if field.annotation in (Spec, Spec | None)]
_LISTS = [key for key, field in Variant.model_fields.items() if field.annotation == tuple[Spec, ...]]
_TAGS = ("number", "schedule", "text")  # added by pydantic to the location of an error


def _parse_toml(text: str) -> dict[str, Any]:
    """Parse TOML. Raises TOMLDecodeError.

    That includes very deep nesting, for which parsing takes quadratic time, and whole numbers of thousands of digits.
    """
    if _DEEP_KEY.search(_STRING.sub("quoted", text)):  # a part of a key may be quoted, and a value may have dots
        raise tomllib.TOMLDecodeError("a key has too many parts")
    try:
        document: dict[str, Any] = _map_leaves(tomllib.loads(text), lambda leaf: None if leaf == "none" else leaf)
        repr(document)  # fails for a hexadecimal number that no message could show
    except RecursionError:
        raise tomllib.TOMLDecodeError(_TOO_DEEP) from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:
        raise tomllib.TOMLDecodeError(_TOO_LONG) from None
    return document


def _parse_value(text: str) -> Any:
    try:
        return _parse_toml(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        if str(error) in (_TOO_DEEP, _TOO_LONG):
            raise UsageError(f"{shown(text)}: {error}") from None
        return None if text == "none" else text


def _map_leaves(value: Any, function: Callable[[Any], Any]) -> Any:
    """Apply a function to the values of tables, not to items of lists: a class in a list may be named "none"."""
    if isinstance(value, dict):
        return {key: _map_leaves(item, function) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_leaves(item, function) if isinstance(item, dict | list) else item for item in value]
    return function(value)


def _plain(value: Any) -> Any:
    """Convert schedules to tables, and lists to tuples at all levels: JSON and TOML have only lists."""
    if isinstance(value, Schedule):
        return value.model_dump(mode="json")
    return tuple(_plain(item) for item in value) if isinstance(value, list | tuple) else value


def _usage_error(error: ValidationError, model: type[BaseModel], prefix: str = "", whose: str = "") -> UsageError:
    """Return the first of pydantic's errors as one line that begins with the setting's path."""
    first = error.errors()[0]
    location = [str(part) for part in first["loc"] if part not in _TAGS]
    path = ".".join([prefix, *location] if prefix else location).removeprefix("variant.")
    if first["type"] == "extra_forbidden":
        names = _field_names(model, location[:-1])
        known = f" ({whose or 'this table'} takes {', '.join(names)})" if names else ""
        return UsageError(f"no setting '{path}'{nearest(location[-1], names)}{known}")
    if first["type"] == "missing":
        return UsageError(f"{path} is missing{f': {whose} needs it' if whose else ''}")
    value = first["input"]
    shown = json.dumps(value) if not isinstance(value, float) or math.isfinite(value) else str(value)
    return UsageError(f"{path} = {shown}: {first['msg'].replace('Input should be', 'must be')}")


def _field_names(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """Return the names of the settings at a location in nested models."""
    for part in location:
        field = model.model_fields.get(part)
        kind = None if field is None else field.annotation
        if not inspect.isclass(kind) or not issubclass(kind, BaseModel):
            return []
        model = kind
    return sorted(model.model_fields)
