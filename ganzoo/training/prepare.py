"""Preparation of training: the configuration from arguments, loaded data, and the choice of device and precision."""

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from ganzoo import data
from ganzoo.compute import rule
from ganzoo.compute.device import choose_device, choose_matmul, choose_precision, device_name, float32_by_default
from ganzoo.compute.distributed import ALONE, World
from ganzoo.compute.processors import Reading, free
from ganzoo.config import (
    BUDGETS,
    CHOICES,
    Compute,
    RunConfig,
    Variant,
    assemble,
    list_settings,
    parse_settings,
    read_toml,
    without_horizons,
)
from ganzoo.data import Dataset, Loader
from ganzoo.data.labels import choose_labelled
from ganzoo.data.memory import allowed_memory
from ganzoo.data.summary import summarise
from ganzoo.errors import FileError, MachineError, UsageError
from ganzoo.files import check_name
from ganzoo.registry import nearest, variants
from ganzoo.runs.run import Run
from ganzoo.training.callbacks import match_loggers
from ganzoo.training.edits import leaves
from ganzoo.training.options import FEW_IMAGES, Options, tables_of
from ganzoo.training.rollback import check_rollback
from ganzoo.training.starting import open_start, recipe_of
from ganzoo.zoo.augment import FEW_R1, choose_augmentations, choose_terms
from ganzoo.zoo.batch import Batches
from ganzoo.zoo.build import build_terms
from ganzoo.zoo.handing_over import read_parts
from ganzoo.zoo.objectives.base import Objective

PROVISIONAL = 10**9  # horizon of schedules, in steps, until it is known
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}  # short names
COUNTED = 1000  # with more classes, the configuration does not list the number of images in each class
IN_MEMORY = "array"  # the source of images that are not in a file
FEW_THREADS = 64  # the number of threads that is allowed on any machine
MANY_CLASSES = 1000  # with more classes than this, there must be as many images, as one label may be in the millions


def configure(variant: str | Variant | None = None, dataset: Any = None, **options: Unpack[Options]) -> RunConfig:
    """Return the configuration for the arguments of `ganzoo.train` or `ganzoo train` (see `trainer.train`)."""
    unknown = [name for name in options if name not in Options.__annotations__]
    if unknown:
        raise UsageError(f"no option '{unknown[0]}'{nearest(unknown[0], list(Options.__annotations__))}")
    parts, flags = read_parts(options), tables_of(options)
    augment = options.get("augment")
    if augment is not None and "augmentations" in parts:
        raise UsageError("use augment or augmentations, not both")
    if augment is not None:
        names = [name.strip() for name in augment.split(",")] if isinstance(augment, str) else list(augment)
        flags = _with_augmentations(flags, names)
    log = options.get("log")
    if log is not None:
        flags.setdefault("train", {})["log"] = list(match_loggers(log))
    for given in (dataset, *options.values()):
        for word in given if isinstance(given, list | tuple) else [given]:
            if isinstance(word, str | Path):
                check_name(word)
    if dataset is not None:
        dataset = str(dataset.resolve()) if isinstance(dataset, Path) else dataset
        flags.setdefault("data", {})["source"] = dataset if isinstance(dataset, str) else IN_MEMORY
    train = flags.get("train", {})
    if "precision" in train:
        train["precision"] = PRECISIONS.get(train["precision"], train["precision"])
    file, start = options.get("config"), options.get("start_from")
    table = {} if file is None else read_toml(Path(file))
    if start is not None and file is None:
        inherited = recipe_of(open_start(start), same_data=dataset is None)
        table = inherited if variant is None else {key: inherited[key] for key in ("data", "train")}
    if train.get("deterministic") or train.get("precision") == "float32":  # the plain path overrides a file's choices
        kept = {key: value for key, value in table.get("train", {}).items() if key == "threads" or key not in CHOICES}
        table = {**table, "train": kept}
    settings = list_settings(options.get("settings"))
    repeated = file is not None and _has(table, "run", "schema_version")  # the file of a run is complete
    given = ({"variant": parts}, parse_settings(settings), flags)
    listed, chosen = (
        [_has(layer, *place) for layer in (table, *given)]
        for place in (("variant", "augmentations"), ("train", "augment"))
    )
    if any(listed[1:]) and not any(chosen[1:]):  # a list, even an empty one, overrides a file's choice
        flags = {**flags, "train": {**flags.get("train", {}), "augment": None}}
    elif not repeated and not any(listed + chosen):
        flags = _with_augmentations(flags, ["auto"])
    config = assemble(variant, file=table, parts=parts, settings=settings, flags=flags)
    if file is None:  # a file's logger may be missing here, which is reported when the run starts
        match_loggers(config.train.log)
    return config


def _with_augmentations(flags: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the flags' tables with the value of `augment`: names of augmentations, "none", or "auto"."""
    if names == ["auto"]:
        return {**flags, "train": {**flags.get("train", {}), "augment": "auto"}}
    return {**flags, "variant": {"augmentations": [] if names == ["none"] else names}}


def _has(layer: Mapping[str, Any], table: str, key: str) -> bool:
    """Return whether a layer of a configuration has a key in a table, even if its value is None."""
    return isinstance(layer.get(table), Mapping) and key in layer[table]


@dataclass(frozen=True)
class Training:
    """A configuration completed with its data and machine, ready to train."""

    config: RunConfig
    dataset: Dataset
    loader: Loader
    device: torch.device
    world: World = ALONE
    remarks: tuple[str, ...] = ()  # on changes of the configuration for these data

    def batches(self, objective: Objective) -> Batches:
        """Return the batches of its updates, with everything that the objective needs."""
        variant, code = self.config.variant, self.config.variant.categorical_code
        return Batches(
            self.loader,
            latent_dim=variant.latent_dim,
            conditional=variant.conditional,
            noise=objective.noise,
            seed=self.config.train.seed,
            labels=objective.needs_labels,
            labelled=objective.needs_labelled,
            uniform_codes=variant.uniform_codes,
            code_values=None if code is None else code.size,
        )

    @property
    def lines(self) -> list[str]:
        """The lines about the data that are printed when a run starts."""
        labels = self.dataset.labels is not None and not self.reads_labels
        unused = [f"labels are not used: '{self.config.run.variant}' is not conditional"] if labels else []
        notes = [note for note in (self.dataset.note, self.labels_note) if note]
        return [*notes, *summarise(self.dataset, *unused, *self.remarks)]

    @property
    def reads_labels(self) -> bool:
        """Return whether the variant learns from labels: its networks get them, or a term reads them."""
        terms = build_terms(self.config)
        return self.config.variant.conditional or any(term.needs_labels or term.needs_labelled for term in terms)

    @property
    def labels_note(self) -> str | None:
        """A line on hidden labels; None if no labels are hidden."""
        per_class, shown = self.config.data.labels_per_class, self.loader.labelled
        if per_class is None or shown is None:
            return None
        counts = f"{len(shown):,} of {len(self.dataset):,}"
        unread = "" if self.reads_labels else "; no term of this variant uses labels"
        return f"labels: {per_class:,} of each class ({counts}); the other images count as unlabelled{unread}"

    @property
    def total_steps(self) -> int | None:
        """The budget in steps; None if it is in minutes."""
        train = self.config.train
        if train.epochs is None:
            return train.steps
        updates = round(train.epochs * self.loader.batches_per_epoch, 6)  # 0.1 * 30 is a little over 3
        return math.ceil(updates / self.config.variant.critic_steps)

    def epoch(self, step: int) -> float:
        """Return the number of passes of the real images through the discriminator up to this step."""
        return step * self.config.variant.critic_steps / self.loader.batches_per_epoch

    def check_budget(self, step: int, seconds: float) -> None:
        """Raise UsageError if the budget of the run is spent."""
        total, minutes = self.total_steps, self.config.train.minutes
        if total is not None and step >= total:
            raise UsageError(
                f"the run has done {step} steps ({self.epoch(step):.2f} epochs) of {total}: set a larger total with "
                "--steps or --epochs, or additional time with --minutes"
            )
        if minutes is not None and seconds >= 60 * minutes:
            raise UsageError(
                f"the run's {minutes:g} minutes are spent: --minutes adds more, --steps and --epochs are totals"
            )


@float32_by_default()
def prepare(config: RunConfig, images: Any = None, *, resumed: bool = False, world: World = ALONE) -> Training:
    """Load the data (or use `images` in memory) and choose the device.

    Each of several processes loads all the data. Labels are hidden only for training, not for evaluation.

    Raises: UsageError for settings that do not fit the data or the number of processes, FileError if a resumed run was
    trained on other data, MachineError for a device that is not available.
    """
    share = world.share(config.data.batch_size)
    dataset = _dataset(config, images, _memory(config, world))
    remarks: tuple[str, ...] = ()
    if len(dataset) < (asked := config.data.batch_size) and not resumed:
        config = config.with_data(batch_size=max(1, len(dataset) // world.size) * world.size)
        remarks = (f"batch size {config.data.batch_size}, as there are fewer than {asked} images",)
        share = world.share(config.data.batch_size)
    if len(dataset) < FEW_IMAGES and not resumed:
        config, augmented = _augment_few(config, dataset)
        remarks += augmented
    classes = dataset.num_classes or 0
    if not resumed and config.variant.conditional and classes > max(MANY_CLASSES, len(dataset)):
        raise UsageError(
            f"the largest label of {dataset.source} is {classes - 1:,}, but there are {len(dataset):,} images: number "
            "the classes from 0, or --set conditional=false"
        )
    if config.variant.conditional and dataset.labels is None:
        raise UsageError(
            f"'{config.run.variant}' is conditional, but {dataset.source} has no labels: use a folder for each class, "
            "`labels` in an .npz file, or --set conditional=false"
        )
    if resumed and dataset.sha256 != config.facts.sha256:
        raise FileError(
            f"{dataset.source} is not the data that the run was trained on (another SHA-256); the run is unchanged"
        )
    train = config.train
    _check_threads(None if resumed else train.threads)
    former = config.compute.device if resumed and config.compute else train.device
    device = world.device(_device(former, resumed))
    if train.deterministic and train.precision == "bfloat16":
        raise UsageError("train.deterministic computes in float32: leave out --precision bf16")
    check_rollback(config, world.size)
    if train.graphs and not _can_capture(device, world) and not resumed:
        raise UsageError("train.graphs is for CUDA and one process: leave it out, or --set train.graphs=false")
    completed = config.with_data(
        source=dataset.source,
        memory=dataset.mapped.memory if dataset.mapped else config.data.memory,  # the images' order depends on it
    ).with_facts(
        note=dataset.note or config.facts.note,
        sha256=dataset.sha256,
        images=len(dataset),
        image_shape=dataset.image_shape,
        num_classes=dataset.num_classes,
        class_names=dataset.class_names,
        class_counts=dataset.class_counts if (dataset.num_classes or 0) <= COUNTED else None,
        notes=dataset.notes,
    )
    labelled = _find_labelled(config, dataset)
    loader = Loader(dataset, config.data.batch_size, device, config.train.seed, share, labelled)
    return Training(completed, dataset, loader, device, world, remarks)


def _augment_few(config: RunConfig, dataset: Dataset) -> tuple[RunConfig, tuple[str, ...]]:
    """Return the configuration with augmentations and an R1 weight for a small data set, and remarks on them.

    A variant that lists augmentations, or has a term with one, keeps them unchanged.
    """
    variant = config.variant
    if variant.augmentations or any("augmentation" in term.settings for term in variant.terms):
        return config, ()
    few = f"fewer than {FEW_IMAGES:,} images"
    if config.train.augment is None:
        return config, (f"no augmentation, as the settings list none (--augment auto chooses one for {few})",)
    chosen = choose_augmentations(variant, dataset.image_shape[0])
    names = ", ".join(spec.name for spec in chosen)
    remarks = [f"augmented before the discriminator, as there are {few}: {names} (--augment none switches this off)"]
    name = config.run.variant
    terms = choose_terms(variant, variants[name]()) if name in variants else variant.terms
    if terms != variant.terms:
        listed = names.replace(" ", "")
        remarks.append(f"R1 of weight {FEW_R1}, as there are {few} (--augment {listed} keeps the recipe's weight)")
    augmented = variant.model_copy(update={"augmentations": chosen, "terms": terms})
    return config.model_copy(update={"variant": augmented}).resolve(), tuple(remarks)


@float32_by_default()
def with_compute(training: Training, before: Reading | None = None) -> Training:
    """Return the training with its `Compute`, chosen by the rule.

    The free processors are counted since the reading `before`, unless the number of threads or processors is set. All
    processes of a run use the smallest of their counts.
    """
    recorded = training.config.compute  # from the file of a run that is repeated
    if recorded is not None and _can_repeat(recorded, training):
        return keep_compute(training, recorded, None, before)
    train, world = training.config.train, training.world
    processors = None
    if train.threads is None:
        world.gather(None)  # so that no process counts the others while they start
        own = train.processors if train.processors is not None else free(before if world.size == 1 else None)
        processors = min(world.gather(own))
    provisional = training.config.with_horizon(training.total_steps or PROVISIONAL)
    compute = rule.choose(provisional, training.device, processors, world.local_size)
    return replace(training, config=training.config.model_copy(update={"compute": compute}))


def _check_threads(threads: int | None) -> None:
    """Raise UsageError for a number of threads that would only slow down this machine."""
    most = max(FEW_THREADS, 4 * (os.cpu_count() or 1))
    if threads is not None and not 1 <= threads <= most:
        raise UsageError(f"threads is {threads}: expected 1 to {most} on this machine")


def keep_compute(training: Training, former: Compute | None, threads: int | None, before: Reading | None) -> Training:
    """Return a training that computes as `former` did, as far as this machine can; with other `threads` if given."""
    _check_threads(threads)
    if former is None:  # the run is of a version that did not record it
        asked = training.config.with_train(threads=threads or training.config.train.threads)
        return with_compute(replace(training, config=asked), before)
    device = training.device
    compute = former.model_copy(
        update={
            "device": device.type,
            "matmul": choose_matmul(former.matmul, device),
            "graphs": former.graphs and _can_capture(device, training.world),
            "threads": threads or former.threads,
        }
    )
    return replace(training, config=training.config.model_copy(update={"compute": compute}))


def _can_repeat(recorded: Compute, training: Training) -> bool:
    """Return whether this machine can repeat the recorded choice: the same device, and correct bfloat16 if used."""
    device = training.device
    asked = training.config.train.precision != "auto"
    return recorded.device == device.type and (
        asked or recorded.precision == "float32" or choose_precision("auto", device) == "bfloat16"
    )


def _can_capture(device: torch.device, world: World) -> bool:
    """Return whether CUDA graphs can capture updates."""
    return device.type == "cuda" and world.size == 1


def with_budget(config: RunConfig, budget: Mapping[str, float | None], seconds: float) -> RunConfig:
    """Return the configuration of a resumed run with a new total of steps or epochs, or with additional minutes."""
    given = {key: value for key, value in budget.items() if value is not None}
    if len(given) > 1:
        raise UsageError(f"two budgets at once: {' and '.join(given)}; give one of --epochs, --steps, --minutes")
    if not given:
        return config
    if "minutes" in given:
        given["minutes"] = round(given["minutes"] + seconds / 60, 4)
    table = config.model_dump(mode="json")
    table["train"] |= dict.fromkeys(BUDGETS) | given
    return RunConfig.from_json(json.dumps(table))


def recipe(config: RunConfig) -> str:
    """Return the parts of a configuration that are equal in all repetitions of a run, as JSON.

    Settings that were added to parts later have their defaults, unless a plug-in of the run is missing.
    """
    with suppress(UsageError):
        config = config.resolve()
    train = config.train.model_dump(mode="json", include={*BUDGETS, "ema"})
    # Memory and notes may depend on how much memory was free; class_counts follows from the images.
    data = config.data.model_dump(mode="json", exclude={"memory"})
    facts = config.facts.model_dump(mode="json", exclude={"note", "notes", "class_counts"})
    return json.dumps(without_horizons([config.variant.model_dump(mode="json"), data, facts, train]))


def changes(former: RunConfig, config: RunConfig) -> list[str]:
    """Return one line for each setting that has changed."""
    before, after = dict(leaves(former.model_dump(mode="json"))), dict(leaves(config.model_dump(mode="json")))
    keys = sorted((before.keys() | after.keys()) - {"facts.notes", "facts.class_counts"})  # older runs have none
    return [
        f"changed: {key}: {before.get(key)} -> {after.get(key)}" for key in keys if before.get(key) != after.get(key)
    ]


def lost_exactness(run: Run, training: Training, processes: int) -> list[str]:
    """Return a line for each reason why the resumed run is not bit-exact: another processor or torch version than at
    its start, another number of threads or processes, or images in another order.
    """
    lines = []
    if training.dataset.mapped and run.config.data.memory != training.config.data.memory:
        lines.append("exactness is lost: the images no longer fit into memory, which changes their order")
    began = run.environment()
    before = (began.get("device"), began.get("packages", {}).get("torch"))
    now = (device_name(training.device), version("torch"))
    if before != now:
        began_on, now_on = (f"{device} with torch {torch_version}" for device, torch_version in (before, now))
        lines.append(f"exactness is lost: the run started on {began_on}, now it is on {now_on}")
    chosen, recorded = training.config.chosen, run.config.compute
    if recorded is not None and chosen.threads != recorded.threads:
        lines.append(
            f"exactness is lost: the run computed with {recorded.threads} threads, now with {chosen.threads}, so sums "
            "are rounded differently"
        )
    if processes != training.world.size:
        lines.append(f"exactness is lost: the number of processes was {processes}, now it is {training.world.size}")
    return lines


def kept_horizons(former: RunConfig, training: Training) -> list[str]:
    """Return a line for each schedule that ends with an old budget of the run."""
    train, before = training.config.train, former.train
    if [getattr(train, key) for key in BUDGETS] == [getattr(before, key) for key in BUDGETS]:
        return []
    return [
        f"{path} keeps its schedule, which ends at step {schedule.over:,} with the value {schedule.end:g}: the result "
        "differs from that of a run that starts with the new budget"
        for path, schedule in training.config.schedules().items()
        if schedule.from_budget and schedule.over != training.total_steps
    ]


def _memory(config: RunConfig, world: World) -> int | None:
    """Return the memory budget for images in MB; all processes use rank 0's, as the images' order depends on it."""
    if world.size == 1 or config.data.memory is not None:
        return config.data.memory
    return max(1, world.gather(allowed_memory(None))[0] // world.size)


def _dataset(config: RunConfig, images: Any, memory: int | None) -> Dataset:
    settings = config.data
    if images is not None and not isinstance(images, str | Path):
        dataset = data.from_object(images, **settings.reading)
        size, channels = settings.image_size, settings.channels
        return data.fit(dataset, size, channels, mode=settings.fit, background=settings.background)
    if settings.source == IN_MEMORY:
        raise UsageError(
            f"the source '{IN_MEMORY}' means images in memory, which are not in a file: pass them with dataset=images "
            "to ganzoo.train or ganzoo.resume"
        )
    return data.load(
        settings.source,
        data_dir=settings.data_dir,
        memory=memory,
        **settings.reading,
    )


def _find_labelled(config: RunConfig, dataset: Dataset) -> Tensor | None:
    """Return the indices of the images whose labels are not hidden; None if no labels are hidden."""
    per_class = config.data.labels_per_class
    if per_class is not None:
        shown = choose_labelled(dataset, per_class, config.train.seed)
        cause, remedy = f"data.labels_per_class = {per_class}", "leave out --labels-per-class"
    elif dataset.unlabelled and dataset.labels is not None:
        shown = (dataset.labels >= 0).nonzero().squeeze(1)
        cause, remedy = "their label is -1", "leave these images out"
    else:
        return None
    if config.variant.conditional and (hidden := len(dataset) - len(shown)):
        raise UsageError(
            f"'{config.run.variant}' is conditional: its networks need labels, and {hidden:,} images have none "
            f"({cause}): use a variant that is not conditional, such as sgan, or {remedy}"
        )
    return shown


def _device(name: str, resumed: bool) -> torch.device:
    """Return the device; a resumed run uses another one if its device is not available."""
    try:
        return choose_device(name)
    except MachineError:
        if resumed:
            return choose_device("auto")
        raise
