"""What a run is made of, as frozen typed values that round-trip exactly through JSON and TOML.

    Variant      the recipe: networks, loss, penalties, optimisers
    DataConfig   which images, how many at a time
    TrainConfig  how long, from which seed, on what
    RunConfig    the three together, and where they came from

`assemble` makes a `RunConfig` from its four layers, each over the one before: the variant, a TOML file, `KEY=VALUE`
settings, and flags. `RunConfig.resolve` checks every component's settings against its signature and writes its defaults
out, so that a later change of a default does not change an old run.
"""

import inspect
import json
import math
import tomllib
import typing
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    create_model,
)

from ganzoo import registry
from ganzoo.errors import FileError, UsageError
from ganzoo.registry import Registry, nearest

SCHEMA = 1
BUDGETS = ("steps", "epochs", "minutes")
DEFAULT_MINUTES = 5.0

Fraction = Annotated[float, Field(ge=0, lt=1)]
_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Value(BaseModel):
    model_config = _STRICT


class Spec(_Value):
    """A registered component by name, with its settings: `Spec("dcgan", width=64)`."""

    model_config = ConfigDict(extra="allow")

    name: str

    def __init__(self, name: str, **settings: Any) -> None:
        super().__init__(name=name, **{key: _tuples(value) for key, value in settings.items()})

    @property
    def settings(self) -> dict[str, Any]:
        """The keyword arguments for the component."""
        return dict(self.__pydantic_extra__ or {})


class Adam(_Value):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980): learning rate, decay rates of the two moments, epsilon."""

    name: Literal["adam"] = "adam"
    lr: PositiveFloat = 0.002
    betas: tuple[Fraction, Fraction] = Field(default=(0.0, 0.99), strict=False)
    eps: PositiveFloat = 1e-8


class SGD(_Value):
    """Stochastic gradient descent: learning rate, and the momentum by which former gradients go on counting."""

    name: Literal["sgd"] = "sgd"
    lr: PositiveFloat = 0.01
    momentum: Fraction = 0.0


OPTIMIZERS: dict[str, type[BaseModel]] = {"adam": Adam, "sgd": SGD}


class Variant(_Value):
    """A GAN variant: generator x discriminator x conditioning x loss x penalties x schedule."""

    latent_dim: PositiveInt = 64
    conditional: bool = False  # whether both networks are given labels; how they use them is their own setting
    generator: Spec
    discriminator: Spec
    loss: Spec = Spec("non-saturating")
    penalties: tuple[Spec, ...] = Field(default=(), strict=False)
    critic_steps: PositiveInt = 1  # discriminator updates before each generator update
    generator_optimizer: Adam | SGD = Field(default=Adam(), discriminator="name")
    discriminator_optimizer: Adam | SGD = Field(default=Adam(), discriminator="name")


class DataConfig(_Value):
    """The images. The second half is not set but found out when the data are loaded, and recorded."""

    source: str = "auto"
    data_dir: str | None = None
    image_size: PositiveInt | None = None
    channels: Literal[1, 3] | None = None
    batch_size: PositiveInt = 64
    memory: PositiveInt | None = None  # MB that images may take, else they stay on disk; None: half of what is free

    note: str | None = None  # why these images and not the ones asked for
    sha256: str | None = None
    images: PositiveInt | None = None
    image_shape: tuple[PositiveInt, PositiveInt, PositiveInt] | None = Field(default=None, strict=False)  # (C, H, W)
    num_classes: PositiveInt | None = None
    class_names: tuple[str, ...] | None = Field(default=None, strict=False)


class TrainConfig(_Value):
    """How a run is trained. Exactly one of the three budgets is set. What start-up chooses for "auto" is recorded."""

    steps: NonNegativeInt | None = None  # generator updates in all
    epochs: PositiveFloat | None = None  # passes of the real images through the discriminator in all
    minutes: PositiveFloat | None = None
    seed: NonNegativeInt = 0
    ema: Fraction = 0.9995  # decay a step of the generator's averaged weights, at most: see `Ema`
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    deterministic: bool = False  # the plain path, and torch's deterministic algorithms
    # None and "auto": chosen by measuring when training starts (training/tuning.py).
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of the networks' passes; losses and penalties: float32
    matmul: Literal["auto", "highest", "high", "medium"] = "auto"  # torch.set_float32_matmul_precision
    channels_last: bool | None = None  # memory format of the networks' weights
    fused: bool | None = (
        None  # whether two layers are computed exactly as one where they can be (zoo/networks/fused.py)
    )
    compiled: bool | None = None  # whether updates go through torch.compile
    graphs: bool | None = None  # whether updates are captured in CUDA graphs
    threads: PositiveInt | None = None  # CPU threads
    log_every: PositiveInt = 100  # steps
    checkpoint_every: PositiveInt = 1000  # steps
    sample_epochs: tuple[PositiveInt, ...] | None = Field(default=None, strict=False)  # None for an even cadence
    evaluate_every: PositiveInt | None = None  # steps; evaluating takes nothing from a budget of minutes
    evaluate_epochs: tuple[PositiveInt, ...] = Field(default=(), strict=False)
    evaluate_seconds: tuple[PositiveFloat, ...] = Field(default=(), strict=False)  # of training

    @property
    def plain(self) -> bool:
        """Whether everything is computed in float32, layer by layer: nothing rewritten, compiled or captured."""
        return self.deterministic or self.precision == "float32"


class RunInfo(_Value):
    """Where a configuration came from."""

    schema_version: int = SCHEMA
    ganzoo: str = version("torch-ganzoo")
    variant: str


class RunConfig(_Value):
    """Everything that a run is a function of."""

    run: RunInfo
    variant: Variant
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()

    def resolve(self) -> Self:
        """Check every component's settings and write its defaults out. Raises UsageError with the setting's path."""
        variant = self.variant
        resolved = {
            "generator": _resolve(variant.generator, registry.generators, "generator"),
            "discriminator": _resolve(variant.discriminator, registry.discriminators, "discriminator"),
            "loss": _resolve(variant.loss, registry.losses, "loss"),
            "penalties": tuple(
                _resolve(penalty, registry.penalties, f"penalties.{i}") for i, penalty in enumerate(variant.penalties)
            ),
        }
        return self.model_copy(update={"variant": variant.model_copy(update=resolved)})

    def with_data(self, **facts: Any) -> Self:
        """The same with other `[data]` values."""
        return self.model_copy(update={"data": self.data.model_copy(update=facts)})

    def with_train(self, **choices: Any) -> Self:
        """The same with other `[train]` values."""
        return self.model_copy(update={"train": self.train.model_copy(update=choices)})

    def to_json(self) -> str:
        return self.model_dump_json()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Raises UsageError with the offending setting's path."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise _usage_error(error, cls) from None
        except TypeError:  # a component's table without its name
            raise UsageError("a component needs its name, as in generator = { name = 'dcgan', width = 32 }") from None

    def to_toml(self) -> str:
        """TOML has no null: an absent value is the string "none"."""
        return tomli_w.dumps(_map_leaves(self.model_dump(mode="json"), lambda leaf: "none" if leaf is None else leaf))

    @classmethod
    def from_toml(cls, text: str) -> Self:
        return cls.from_json(json.dumps(_parse_toml(text)))


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a configuration file, such as a run's own `config.toml`. Raises FileError."""
    try:
        document = _parse_toml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileError(f"no configuration file {path}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FileError(f"{path} is not a readable TOML file: {error}") from None
    written = _table(document, "run").get("schema_version", SCHEMA)
    if isinstance(written, int) and written > SCHEMA:
        raise FileError(f"{path} has schema {written}, this ganzoo reads up to {SCHEMA}: upgrade ganzoo to use it")
    return document


def assemble(
    variant: str | Variant | None = None,
    *,
    file: Mapping[str, Any] | None = None,
    settings: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> RunConfig:
    """One configuration from its layers: variant < file's tables < settings `KEY=VALUE` < flags (tables, as in a file).

    Raises UsageError for what is unknown, of the wrong type or out of range, and for two budgets in one layer.
    """
    file = _checked_tables(file or {})
    name = variant if isinstance(variant, str) else "custom" if variant else _table(file, "run").get("variant")
    if not isinstance(name, str):
        raise UsageError("no variant: name one with --variant (ganzoo list variants)")
    complete = variant is None and "generator" in _table(file, "variant")
    merged: dict[str, Any] = {"variant": _base(variant or name, complete=complete)}
    layers: list[Mapping[str, Any]] = [{key: value for key, value in file.items() if key != "run"}]
    layers += [parse_settings(settings), flags or {}]
    for layer in layers:
        _clear_budget(merged, layer)
        merged = _merge(merged, layer)
    train = merged.get("train", {})
    if isinstance(train, Mapping) and all(train.get(budget) is None for budget in BUDGETS):
        merged["train"] = {**train, "minutes": DEFAULT_MINUTES}
    return RunConfig.from_json(json.dumps({**merged, "run": {"variant": name}}, default=str)).resolve()


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """`KEY=VALUE` settings as nested tables. VALUE is TOML, else a string; of one key the last wins."""
    tables: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path):
            raise UsageError(f"--set {setting}: expected KEY=VALUE, as in --set generator.width=32")
        if path[0] not in ("variant", "data", "train"):
            path = ["variant", *path]
        value: Any = _parse_value(text.strip())
        for part in reversed(path):
            value = {part: value}
        tables = _merge(tables, value)
    return tables


def settings_of(component: Callable[..., Any]) -> type[BaseModel]:
    """A component's settings, its keyword-only arguments, as a pydantic model."""
    function = component.__init__ if inspect.isclass(component) else component
    hints = typing.get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {
        parameter.name: (
            hints.get(parameter.name, Any),
            ... if parameter.default is inspect.Parameter.empty else parameter.default,
        )
        for parameter in inspect.signature(component).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return create_model("Settings", __config__=_STRICT, **fields)


def _resolve(spec: Spec, parts: Registry[Callable[..., Any]], path: str) -> Spec:
    model = settings_of(parts[spec.name])
    try:
        settings = model.model_validate_json(json.dumps(spec.settings, default=str))
    except ValidationError as error:
        raise _usage_error(error, model, path, whose=f"{parts.kind} '{spec.name}'") from None
    return Spec(spec.name, **{key: getattr(settings, key) for key in type(settings).model_fields})


def _base(variant: str | Variant, *, complete: bool) -> dict[str, Any]:
    """The lowest layer; a file that is `complete` by itself needs no registered variant (its plug-in may be gone)."""
    if isinstance(variant, str) and complete and variant not in registry.variants:
        return {}
    recipe: Variant = registry.variants[variant]() if isinstance(variant, str) else variant
    return recipe.model_dump(mode="json")


def _table(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table of a document; empty where there is none or something else, which validation refuses later."""
    value = document.get(key)
    return value if isinstance(value, Mapping) else {}


def _checked_tables(file: Mapping[str, Any]) -> Mapping[str, Any]:
    """A file's tables less the facts about its data: those are found out anew."""
    data = file.get("data")
    if not isinstance(data, Mapping):
        return file
    facts = ("note", "sha256", "images", "image_shape", "num_classes", "class_names")
    return {**file, "data": {key: value for key, value in data.items() if key not in facts}}


def _clear_budget(merged: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """A layer's budget replaces that of the layers below, whichever of the three units either is in."""
    train = layer.get("train")
    budgets = [key for key in BUDGETS if isinstance(train, Mapping) and train.get(key) is not None]
    if len(budgets) > 1:
        raise UsageError(f"two budgets at once: {' and '.join(budgets)}; give one of --epochs, --steps, --minutes")
    if budgets and isinstance(merged.get("train"), dict):
        merged["train"] = {key: value for key, value in merged["train"].items() if key not in BUDGETS}


def _merge(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """`layer` over `base`, table by table; a table that names a component replaces the one below it."""
    merged = dict(base)
    for key, value in layer.items():
        below = merged.get(key)
        if key in _COMPONENTS and isinstance(value, str):
            value = {"name": value}
        if key == "penalties" and isinstance(value, list):
            value = [{"name": item} if isinstance(item, str) else item for item in value]
        if isinstance(value, Mapping) and "name" not in value:
            value = _merge(below if isinstance(below, Mapping) else {}, value)
        merged[key] = value
    return merged


_COMPONENTS = [key for key, field in Variant.model_fields.items() if field.annotation in (Spec, Adam | SGD)]
_EITHER = " or ".join(f"'{name}'" for name in OPTIMIZERS)
_OPTIMIZER_NAMES = {(key, name) for key in _COMPONENTS for name in OPTIMIZERS}


def _parse_toml(text: str) -> dict[str, Any]:
    document: dict[str, Any] = _map_leaves(tomllib.loads(text), lambda leaf: None if leaf == "none" else leaf)
    return document


def _parse_value(text: str) -> Any:
    try:
        return _parse_toml(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return None if text == "none" else text


def _map_leaves(value: Any, function: Callable[[Any], Any]) -> Any:
    """Of tables' values, not of lists' items: nothing is absent from a list, and a class may be called "none"."""
    if isinstance(value, dict):
        return {key: _map_leaves(item, function) for key, item in value.items()}
    if isinstance(value, list):
        return [_map_leaves(item, function) if isinstance(item, dict | list) else item for item in value]
    return function(value)


def _tuples(value: Any) -> Any:
    """Lists as tuples, all the way down: JSON and TOML know only the one, and values are frozen."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _usage_error(error: ValidationError, model: type[BaseModel], prefix: str = "", whose: str = "") -> UsageError:
    """The first of pydantic's errors as one line that begins with the setting's path."""
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    # pydantic puts an optimiser's name between its table and its settings
    written = [part for i, part in enumerate(location) if i == 0 or (location[i - 1], part) not in _OPTIMIZER_NAMES]
    path = ".".join([prefix, *written] if prefix else written).removeprefix("variant.")
    if first["type"] == "extra_forbidden":
        names = _field_names(model, location[:-1])
        known = f" ({whose or 'there'} takes {', '.join(names)})" if names else ""
        return UsageError(f"no setting '{path}'{nearest(location[-1], names)}{known}")
    if first["type"] == "missing":
        return UsageError(f"{path} is missing{f': {whose} needs it' if whose else ''}")
    if first["type"] == "union_tag_not_found":
        return UsageError(f"{path}.name is missing: expected {_EITHER}")
    if first["type"] == "union_tag_invalid":
        return UsageError(f"{path}.name = {json.dumps(first['input']['name'])}: must be {_EITHER}")
    value = first["input"]
    shown = json.dumps(value) if not isinstance(value, float) or math.isfinite(value) else str(value)
    return UsageError(f"{path} = {shown}: {first['msg'].replace('Input should be', 'must be')}")


def _field_names(model: type[BaseModel], location: Sequence[str]) -> list[str]:
    """The settings at a place in nested models."""
    for part in location:
        field = model.model_fields.get(part)
        kind = OPTIMIZERS.get(part) if field is None else field.annotation
        if kind == Adam | SGD:
            continue  # the next part says which
        if not inspect.isclass(kind) or not issubclass(kind, BaseModel):
            return []
        model = kind
    return sorted(model.model_fields)
