"""Labelled data for other tools: a generator's images as a data set on disk, with a manifest and a data card.

Images are drawn one block at a time until each class has its share, and each block is written at once, so memory use
does not grow with their number. The labels of a conditional generator are those that it was asked for, and the judge of
its data measures how many are right; the images of an unconditional generator are labelled by the judge. The same call
writes the same bytes.
"""

import contextlib
import hashlib
import heapq
import json
import re
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ganzoo.errors import FileError, UsageError
from ganzoo.files import StrPath, atomic_directory, writing
from ganzoo.runs.resolving import MODELS, resolve
from ganzoo.runtime.generator import CHUNK, Generator
from ganzoo.runtime.images import encode_png
from ganzoo.synthetic.datacard import CARD, MANIFEST, card
from ganzoo.synthetic.manifest import KIND, Filter, Manifest, ModelRecord, Part, TrainedOn

if TYPE_CHECKING:  # torch is only imported for runs, judges and real data
    from ganzoo.data import Dataset
    from ganzoo.evaluation.judge import Judge
    from ganzoo.runs.run import Run

LAYOUTS = ("idx", "png", "npz")
BALANCES = ("uniform", "real")
HELD_BACK = 6  # idx: images in train per image in t10k, as in MNIST
IDX_CLASSES = 256  # in idx, a label is one byte
BLOCK = 4 * CHUNK  # images drawn and judged at once
PATIENCE = 50_000  # draws before a class can be reported as hardly drawn ...
HOPELESS = 0.01  # ... if it has less than this share of its expected images

_NUMBERED = re.compile(r"[0-9]{5,}\.png")  # an image without a label

Block: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.int64]]
Progress: TypeAlias = Callable[[int, int, int], None]  # (kept, wanted, drawn)


def write(
    source: "str | Path | Run",
    out: StrPath,
    n: int,
    *,
    layout: str,
    balance: str | None = None,
    min_confidence: float | None = None,
    seed: int = 0,
    dataset: str | None = None,
    best: bool = False,
    on_draw: Progress = lambda kept, wanted, drawn: None,
) -> dict[str, Any]:
    """Write `n` labelled images of a generator into the directory `out` and return its manifest.

    Args:
        source: a run, its directory, an exported file, or the name of a bundled generator.
        out: a new or empty directory, or one that an earlier call wrote, which is then replaced.
        layout: `idx` (MNIST's files; `n` images in train, a sixth more in t10k), `png` (one folder per class), `npz`.
        balance: the shares of the classes: `uniform` (also None), or `real`, as in the training data.
        min_confidence: keep only images to whose label the judge assigns at least this probability.
        dataset: the real data, for their judge and class counts, if the model does not record them.
        best: use a run's best checkpoint instead of its newest.

    Raises UsageError for a wrong value, if labels are needed and there is no judge, and if the generator hardly draws a
    class; FileError for a model that cannot be read; MachineError if `out` cannot be written.
    """
    _check(n, layout, balance, min_confidence, seed)
    with writing(out):
        _refuse_others(Path(out))
    model = open_model(source, dataset, best=best)
    judge, reason = _find_judge(model)
    plan = _Plan(model, judge, reason, layout, balance, min_confidence, seed)
    weights = plan.weights()
    parts = {name: quotas(count, weights) for name, count in plan.sizes(n).items()}
    draws: dict[str, _Draws] = {}
    with atomic_directory(out) as directory, writing(out):
        start = 0
        for name, shares in parts.items():
            draws[name] = _Draws(plan, shares, start, on_draw)
            plan.writer(directory, name, draws[name])
            start = draws[name].stop
        names = sorted(entry.name for entry in directory.iterdir() if not _NUMBERED.fullmatch(entry.name))
        manifest = _describe(plan, draws, names)
        document = manifest.to_json()
        (directory / MANIFEST).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8", newline="\n")
        (directory / CARD).write_text(card(manifest), encoding="utf-8", newline="\n")
    return document


# The model and its judge


@dataclass(frozen=True, kw_only=True)
class Model:
    """A generator, its identity, and the settings of the data that it was trained on."""

    generator: Generator
    name: str  # of the file or the run's directory
    sha256: str  # of the exported file, or of the averaged weights in the run's checkpoint
    step: int | None
    trained_on: Mapping[str, Any]
    data: Mapping[str, Any]  # the same, or other real data for the judge and the class counts

    @property
    def other_data(self) -> bool:
        """Return whether `data` are other data than the training data."""
        return self.data != self.trained_on

    @property
    def reading(self) -> dict[str, Any]:
        """Return the options for reading the real images, in the shape of the generator's images."""
        from ganzoo.config import reading_of

        channels, height, width = self.generator.info.image_shape
        return {**reading_of(self.data), "image_size": f"{width}x{height}", "channels": channels}

    @property
    def data_source(self) -> str:
        """Return the source of the real data. Raises UsageError if the model does not record it."""
        source = self.data.get("source", "array")
        if source == "array":
            raise UsageError(f"{self.name} does not record which images it was trained on: name them with --dataset")
        return str(source)


def open_model(source: "str | Path | Run", dataset: str | None = None, *, best: bool = False) -> Model:
    """Read a run, an exported file or a bundled generator; `dataset` replaces the data source that it names."""
    from ganzoo.runs.opening import generator_of, open_file

    found = resolve(source, MODELS, "ganzoo sample")
    if found.kind == "run":
        return _open_run(found.path, dataset, best)
    opened = open_file(found)
    return Model(
        generator=generator_of(opened, found.given),
        name=found.path.name,
        sha256=opened.sha256,
        step=opened.document.get("step"),
        trained_on=opened.trained_on,
        data=_replace_source(opened.trained_on, dataset),
    )


def _open_run(path: Path, dataset: str | None, best: bool) -> Model:
    import torch

    from ganzoo.runs.opening import as_generator, load_network
    from ganzoo.runs.run import Run

    run = Run.open(path)
    network, config, step = load_network(run, best=best)
    weights = run.checkpoints_directory / f"step-{step:08d}" / "ema.safetensors"
    data = config.facts.model_dump(mode="json") | config.data.model_dump(mode="json")
    return Model(
        generator=as_generator(network, config, torch.device("cpu")),
        name=run.path.resolve().name,
        sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
        step=step,
        trained_on=data,
        data=_replace_source(data, dataset),
    )


def _replace_source(data: Mapping[str, Any], dataset: str | None) -> Mapping[str, Any]:
    """Return the settings of the data, with the source `dataset` if one is given."""
    return data if dataset is None else {**data, "source": dataset, "sha256": None}


def _find_judge(model: Model) -> "tuple[Judge | None, str | None]":
    """Return the judge of the model's data, or the reason why there is none."""
    try:
        from ganzoo.evaluation.judge import PINNED, load_judge

        source, sha256 = model.data_source, model.data.get("sha256")
        if model.other_data and source not in PINNED:
            found = _load_data(model)
            source, sha256 = found.source, found.sha256
        judge = load_judge(source, model.data.get("data_dir"), sha256=sha256, reading=model.reading)
    except UsageError as error:
        return None, str(error)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("ganzoo"):
            raise
        return None, f"the judge needs the package '{error.name}', which is not installed"
    info = model.generator.info
    if judge.task != "classes":
        return None, f"the judge {judge.name} was fitted without labels and has no classes"
    names = info.class_names or judge.class_names
    if info.has_classes and (info.num_classes != judge.num_classes or names != judge.class_names):
        return None, f"the judge {judge.name} distinguishes other classes than the generator draws"
    return judge, None


def _load_data(model: Model) -> "Dataset":
    """Return the images that the model was trained on, or those named in their place."""
    from ganzoo import data

    return data.load(model.data_source, data_dir=model.data.get("data_dir"), **model.reading)


def _real_counts(model: Model, classes: int) -> list[int]:
    """Return the number of training images of each class. Raises FileError, or UsageError without labels."""
    found = _load_data(model)
    if model.data.get("sha256") not in (None, found.sha256):
        raise FileError(f"{found.source} is not what {model.name} was trained on (another SHA-256)")
    if found.labels is None or found.num_classes is None or found.num_classes > classes:
        raise UsageError(f"{found.source} has no labels of these {classes} classes: leave out --balance real")
    return [int(count) for count in np.bincount(found.labels[found.labels >= 0].numpy(), minlength=classes)]


# Number and order of the classes


def quotas(n: int, weights: Sequence[int]) -> NDArray[np.int64]:
    """Return `n` divided by weight (largest remainder), int64 [K], with at least 1 per class that has a weight."""
    total, classes = sum(weights), sum(weight > 0 for weight in weights)
    if n < classes:
        raise UsageError(f"{n} images are too few for {classes} classes: request at least one per class, -n {classes}")
    shares = np.array([n * weight // total for weight in weights], np.int64)
    remainders = [-(n * weight % total) for weight in weights]
    shares[np.argsort(remainders, kind="stable")[: n - shares.sum()]] += 1
    for empty in np.flatnonzero((shares == 0) & (np.array(weights) > 0)):
        shares[shares.argmax()] -= 1
        shares[empty] += 1
    return shares


def spread(counts: NDArray[np.int64], first: int = 0) -> Iterator[int]:
    """Yield each class as often as in `counts`, evenly spread; with equal counts: first, first + 1, ..."""

    def turns(place: int, count: int) -> Iterator[tuple[float, int]]:
        return (((turn + 0.5) / count, place) for turn in range(count))

    rotated = np.roll(counts, -first).tolist()
    merged = heapq.merge(*(turns(place, count) for place, count in enumerate(rotated)))
    return ((place + first) % len(counts) for _, place in merged)


@dataclass(frozen=True)
class _Plan:
    """The options of a call, checked against the model and its judge."""

    model: Model
    judge: "Judge | None"
    reason: str | None  # why there is no judge
    layout: str
    balance: str | None
    min_confidence: float | None
    seed: int

    def __post_init__(self) -> None:
        channels = self.model.generator.info.image_shape[0]
        if self.layout == "idx" and channels != 1:
            raise UsageError(f"idx stores grey images, and these have {channels} channels: use --format png or npz")
        if self.layout == "idx" and self.classes is not None and self.classes > IDX_CLASSES:
            raise UsageError(f"idx supports at most {IDX_CLASSES} classes, not {self.classes}: use --format png or npz")
        asked = {"--format idx": self.layout == "idx", "--balance": self.balance is not None}
        needs = [option for option, given in asked.items() if given and self.classes is None]
        needs += ["--min-confidence"] if self.min_confidence is not None and self.judge is None else []
        if needs:
            raise UsageError(f"{needs[0]} needs a judge to classify the images: {self.reason}")

    @property
    def conditional(self) -> bool:
        return self.model.generator.info.has_classes

    @property
    def classes(self) -> int | None:
        """Return the number of classes; None if the images have no labels."""
        if self.judge is not None:
            return self.judge.num_classes
        return self.model.generator.info.num_classes if self.conditional else None

    @property
    def class_names(self) -> list[str] | None:
        names = self.judge.class_names if self.judge is not None else self.model.generator.info.class_names
        return list(names) if names else None if self.classes is None else [str(k) for k in range(self.classes)]

    @property
    def picks(self) -> bool:
        """Return whether drawn images may be discarded."""
        return self.min_confidence is not None or (self.classes is not None and not self.conditional)

    def sizes(self, n: int) -> dict[str, int]:
        """Return the number of images of each part."""
        return {"train": n, "t10k": max(n // HELD_BACK, self.classes or 1)} if self.layout == "idx" else {"images": n}

    def weights(self) -> list[int]:
        """Return the weights of the classes; without labels all images are of one class."""
        classes = self.classes or 1
        return _real_counts(self.model, classes) if self.balance == "real" else [1] * classes

    @property
    def folders(self) -> list[str] | None:
        """Return the folders of the classes for png, sorted, because readers number classes in their order."""
        names = self.class_names
        if names is None:
            return None
        distinct = len({name.casefold() for name in names}) == len(names)
        if names == sorted(names) and distinct and all(_is_plain(name) for name in names):
            return names
        return [f"{index:0{len(str(len(names) - 1))}d}" for index in range(len(names))]

    @property
    def writer(self) -> "Callable[[Path, str, _Draws], None]":
        return {"idx": _write_idx, "png": _write_png, "npz": _write_npz}[self.layout]


# Drawing


class _Draws:
    """Blocks of images with their labels until the quotas are full, and counts and metrics of them."""

    def __init__(self, plan: _Plan, quotas: NDArray[np.int64], start: int, on_draw: Progress) -> None:
        self.plan = plan
        self.quotas = quotas
        self.start = self.stop = start  # of the latents
        self.missing = quotas.copy()
        self.agreed = np.zeros_like(quotas)  # of the kept images, those that the judge classifies as their label
        self.agreed_drawn = 0  # the same of all drawn images
        self.confidence = 0.0  # sum over the kept images
        self._digest = hashlib.sha256()
        self._on_draw = on_draw
        self._next = 0  # the class to draw next

    @property
    def total(self) -> int:
        return int(self.quotas.sum())

    @property
    def drawn(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[Block]:
        while self.missing.any():
            images, labels = self._block()
            self._digest.update(images.data)
            yield images, labels
            self._on_draw(self.total - int(self.missing.sum()), self.total, self.drawn)
            self._check_hope()

    def _block(self) -> Block:
        """Return the kept images of the next block, which may be none."""
        plan, left = self.plan, int(self.missing.sum())
        size = BLOCK if plan.picks else min(BLOCK, left)
        asked = np.fromiter(islice(cycle(spread(self.missing, self._next)), size), np.int64, size)
        images = next(
            plan.model.generator.iter_batches(
                size, asked if plan.conditional else None, plan.seed, size, start=self.stop
            )
        )
        read, labels, confidences = _judge(plan, images, asked)
        kept = self._choose(labels, confidences)
        seen = kept[-1] + 1 if not self.missing.any() else size  # up to the last needed image
        self.stop += seen
        self._next = (int(asked[seen - 1]) + 1) % len(self.missing)
        self.agreed += np.bincount(labels[kept][read[kept] == labels[kept]], minlength=len(self.agreed))
        self.agreed_drawn += int((read[:seen] == labels[:seen]).sum())
        self.confidence += float(confidences[kept].sum(dtype=np.float64))
        return images[kept], labels[kept]

    def _choose(self, labels: NDArray[np.int64], confidences: NDArray[np.float32]) -> list[int]:
        """Return the positions of confident images that are still missing, and count them as no longer missing."""
        kept = []
        for position in np.flatnonzero(confidences >= (self.plan.min_confidence or 0)).tolist():
            if self.missing[labels[position]]:
                self.missing[labels[position]] -= 1
                kept.append(position)
        return kept

    def _check_hope(self) -> None:
        """Raise UsageError if a class needs far more draws than its share."""
        if self.drawn < PATIENCE:
            return
        kept = self.quotas - self.missing
        due = np.minimum(self.quotas, self.drawn * self.quotas / self.total)
        for label in np.flatnonzero((self.missing > 0) & (kept < HOPELESS * due)).tolist():
            name, least = (self.plan.class_names or [])[label], self.plan.min_confidence
            sure = "" if least is None else f" with a confidence of {least:g} or more"
            advice = ["train longer"] + ["lower --min-confidence"] * (least is not None)
            advice += [] if self.plan.conditional else ["use a conditional variant"]
            raise UsageError(
                f"the generator hardly draws class {name}: {self.drawn:,} draws produced {kept[label]} images{sure} "
                f"({kept[label] / self.drawn:.3%}), and {self.quotas[label]} are needed; {' or '.join(advice)}"
            )

    def part(self) -> Part:
        """Return this part's record for the manifest."""
        return Part(
            kept=self.total,
            drawn=self.drawn,
            latents=(self.start, self.stop),
            class_counts=self.quotas.tolist() if self.plan.classes else None,
            images_sha256=self._digest.hexdigest(),
        )


def _judge(
    plan: _Plan, images: NDArray[np.uint8], asked: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return the judge's classes, the images' labels, and the judge's probabilities of these labels; each [N]."""
    if plan.judge is None:
        return asked, asked, np.ones(len(images), np.float32)
    from ganzoo.evaluation.judge import to_tensor

    reading = plan.judge.read(to_tensor(images))
    read: NDArray[np.int64] = reading.labels.numpy()
    labels = asked if plan.conditional else read
    return read, labels, reading.probabilities.numpy()[np.arange(len(labels)), labels]


# Writing


def _write_idx(directory: Path, name: str, draws: _Draws) -> None:
    """Write MNIST's format: big-endian headers, then one byte per pixel and one byte per label."""
    _, height, width = draws.plan.model.generator.info.image_shape
    raw = directory / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    images_path, labels_path = raw / f"{name}-images-idx3-ubyte", raw / f"{name}-labels-idx1-ubyte"
    with images_path.open("wb") as images_file, labels_path.open("wb") as labels_file:
        images_file.write(struct.pack(">4I", 0x803, draws.total, height, width))
        labels_file.write(struct.pack(">2I", 0x801, draws.total))
        for images, labels in draws:
            images_file.write(images.data)
            labels_file.write(labels.astype(np.uint8).data)


def _write_png(directory: Path, name: str, draws: _Draws) -> None:
    """Write one folder per class; without labels, a flat folder."""
    folders = draws.plan.folders
    places = [directory] if folders is None else [directory / folder for folder in folders]
    numbers = [0] * len(places)
    for count, place in zip(draws.quotas.tolist(), places, strict=True):
        if count:
            place.mkdir(exist_ok=True)
    digits = max(5, len(str(draws.total - 1)))
    for images, labels in draws:
        for image, label in zip(images, labels.tolist(), strict=True):
            (places[label] / f"{numbers[label]:0{digits}d}.png").write_bytes(encode_png(image))
            numbers[label] += 1


def _write_npz(directory: Path, name: str, draws: _Draws) -> None:
    """Write the arrays of `images.save_npz`; the labels are in a temporary file until all images are written."""
    channels, height, width = draws.plan.model.generator.info.image_shape
    shape = (draws.total, height, width) if channels == 1 else (draws.total, height, width, channels)
    with (
        zipfile.ZipFile(directory / f"{name}.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        tempfile.TemporaryFile(dir=directory) as waiting,
    ):
        with _open_array(archive, "images", "|u1", shape) as file:
            for images, labels in draws:
                file.write(images.data)
                waiting.write(labels.astype("<i8").data)
        if draws.plan.classes is not None:
            waiting.seek(0)
            with _open_array(archive, "labels", "<i8", (draws.total,)) as file:
                shutil.copyfileobj(waiting, file)


@contextlib.contextmanager
def _open_array(archive: zipfile.ZipFile, name: str, descr: str, shape: tuple[int, ...]) -> Iterator[IO[bytes]]:
    """Open a file in the archive for the values of one array, in C order."""
    entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, so that the bytes do not depend on the time
    entry.compress_type = zipfile.ZIP_DEFLATED
    with archive.open(entry, "w", force_zip64=True) as file:
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        yield file


def _is_plain(name: str) -> bool:
    """Return whether a name is allowed for a folder on any system, and is not the name of one of our files."""
    taken = ("", MANIFEST, CARD.casefold())
    bad = set(name) & set('/\\:*?"<>|')
    return name.isprintable() and name == name.strip(" .") and not bad and name.casefold() not in taken


def _check(n: int, layout: str, balance: str | None, min_confidence: float | None, seed: int) -> None:
    if layout not in LAYOUTS:
        raise UsageError(f"no format '{layout}': expected {', '.join(LAYOUTS)}")
    if balance is not None and balance not in BALANCES:
        raise UsageError(f"no balance '{balance}': expected {' or '.join(BALANCES)}")
    if min_confidence is not None and not 0 < min_confidence <= 1:
        raise UsageError(f"the minimum confidence is {min_confidence:g}: expected a probability above 0, up to 1")
    if n < 1:
        raise UsageError(f"n is {n}: expected an integer from 1 up")
    if seed < 0:
        raise UsageError(f"seed is {seed}: expected an integer from 0 up")


def _refuse_others(path: Path) -> None:
    """Raise UsageError if there is something at `path` that `write` did not write."""
    if not path.is_dir():
        if path.exists():
            raise UsageError(f"{path} is not a directory: choose another path or remove it")
        return
    ours = _contents(path / MANIFEST)
    for entry in sorted(path.iterdir()):
        if entry.name not in ours and not (ours and _NUMBERED.fullmatch(entry.name)):
            raise UsageError(f"{path} contains '{entry.name}', which would be lost: choose a new or an empty directory")


def _contents(path: Path) -> set[str]:
    """Return the files that belong to the manifest at `path`; none if it is not a manifest of ganzoo."""
    try:
        manifest = json.loads(path.read_bytes())
        return {MANIFEST, CARD, *manifest["contents"]} if manifest["kind"] == KIND else set()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


# The manifest


def _describe(plan: _Plan, parts: Mapping[str, _Draws], contents: list[str]) -> Manifest:
    def total(name: str) -> Any:
        return sum(getattr(part, name) for part in parts.values())

    model, judge, labelled = plan.model, plan.judge, plan.classes is not None
    measured = judge is not None and plan.conditional
    reason = plan.reason or "the labels come from the judge, and there are no others to compare them with"
    source, colon, argument = str(model.trained_on.get("source")).partition(":")
    return Manifest(
        ganzoo=version("torch-ganzoo"),
        format=plan.layout,
        contents=contents,
        model=ModelRecord(
            name=model.name,
            sha256=model.sha256,
            variant=model.generator.info.variant,
            step=model.step,
            trained_on=TrainedOn(
                source=source + colon + PurePath(argument).name, sha256=model.trained_on.get("sha256")
            ),
        ),
        seed=plan.seed,
        image_shape=list(model.generator.info.image_shape),
        class_names=plan.class_names,
        folders=plan.folders if plan.layout == "png" else None,
        labels=("generator" if plan.conditional else "judge") if labelled else None,
        balance=(plan.balance or "uniform") if labelled else None,
        filter=None if plan.min_confidence is None else Filter(min_confidence=plan.min_confidence),
        kept=total("total"),
        drawn=total("drawn"),
        judge=None if judge is None else judge.describe().to_json(),
        label_accuracy=_share(total("agreed").sum(), total("total")) if measured else None,
        label_accuracy_by_class=list(map(_share, total("agreed"), total("quotas"))) if measured else None,
        label_accuracy_before_filter=_share(total("agreed_drawn"), total("drawn")) if measured else None,
        mean_confidence=None if judge is None else _share(total("confidence"), total("total")),
        unavailable={} if measured else {"label_accuracy": reason},
        parts={name: part.part() for name, part in parts.items()},
    )


def _share(part: float, whole: int) -> float | None:
    return round(float(part / whole), 5) if whole else None
