"""`ganzoo sample`"""

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import chosen_run, command, print_json, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from ganzoo.runs.resolving import Source
    from ganzoo.runtime.generator import Generator

DEFAULT_N = 64
LINE_EVERY = 10_000  # images drawn, where there is no terminal
NUMBERS = re.compile(r"(\d{1,30})(?:-(\d{1,30}))?")  # one class, or a range of them
MAX_CLASSES = 1_000_000  # more than any variant has: what is beyond is out of range all the same


@command("sample")
def sample(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|FILE",
            show_default="the newest run under runs/",
            help="A run's directory, an exported file, or mnist, which is bundled with ganzoo.",
        ),
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", metavar="N", show_default="64, or one a label", help="How many images.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="LABELS",
            show_default="all, balanced",
            help="Classes to draw in turn, by number or name, such as 0,1,2 or 0-9 or cat,dog (conditional variants); "
            "N is a multiple of them.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed draws the same images.")] = 0,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            show_default="samples.png; synthetic/ for a data set",
            help="grid.png, samples.npz, or DIR/ for one PNG an image (and labels.csv); with --format a directory.",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="idx|png|npz",
            help="A labelled data set with its manifest and data card: MNIST's files (N in train, a sixth more, of "
            "further latents, in t10k), a folder a class, or one .npz.",
        ),
    ] = None,
    balance: Annotated[
        str | None,
        typer.Option(
            metavar="uniform|real",
            show_default="uniform",
            help="With --format: as many of each class, or as in the training data.",
        ),
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(metavar="P", help="With --format: keep images whose label the judge gives at least P."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE", show_default="as trained", help="With --format: the real data, for judge and balance."
        ),
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="A run's best evaluated checkpoint, not its newest.")] = False,
    foreign: Annotated[
        bool,
        typer.Option("--foreign", help="Take an .onnx generator that ganzoo did not export (see docs/runtime.md)."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Draw images from a run or an exported file: pictures, or with --format a labelled data set for others.

    An .onnx file is run without torch, except by the judge, who measures a data set's labels where torch is there.
    """
    from ganzoo.errors import UsageError

    _check_options(
        out, labels, layout, {"--balance": balance, "--min-confidence": min_confidence, "--dataset": dataset}
    )
    if foreign and (layout is not None or source is None or Path(source).is_dir()):
        raise UsageError("--foreign is for the pictures of an .onnx file that ganzoo did not export: leave it out")
    model = None if foreign else _resolve(source)
    if best and (model is None or model.kind != "run"):
        raise UsageError("--best chooses a checkpoint of a run, and a file is exported from one: leave it out")
    if layout is not None and model is not None:
        from ganzoo.synthetic.writing import write

        options: dict[str, Any] = {"balance": balance, "min_confidence": min_confidence, "dataset": dataset}
        out, count = out or "synthetic", DEFAULT_N if n is None else n
        with _progress() as on_draw:
            manifest = write(model.given, out, count, layout=layout, seed=seed, best=best, on_draw=on_draw, **options)
        _tell(manifest, out, as_json)
        return
    out = out or "samples.png"
    generator = _load_foreign(source) if model is None else _load(model, best)
    chosen = None if labels is None else _classes(labels, generator)
    count, wanted = _wanted(n, labels, chosen)
    drawn = generator.labels_for(count, wanted)
    images = generator.sample(count, labels=wanted, seed=seed)
    _save(out, images, drawn, columns=_columns(chosen, generator))
    if as_json:
        print_json({"out": out, "images": count, "shape": list(images.shape[1:]), "seed": seed})
    else:
        say(f"{count} images: {out}")


def _resolve(source: str | None) -> "Source":
    """The run, the exported file or the bundled generator that is named, else the newest run."""
    from ganzoo.runs.resolving import MODELS, resolve

    return resolve(chosen_run(None, "sample") if source is None else source, MODELS, "ganzoo sample")


def _load(model: "Source", best: bool) -> "Generator":
    from ganzoo.runs.opening import load

    return load(model.given, best=best)


def _load_foreign(source: str | None) -> "Generator":
    from ganzoo import runtime

    assert source is not None
    return runtime.load(source, foreign=True)


def _check_options(out: str | None, labels: str | None, layout: str | None, of_format: dict[str, Any]) -> None:
    from ganzoo.errors import UsageError

    suffix = "" if out is None or out.endswith("/") else Path(out).suffix
    given = [option for option, value in of_format.items() if value is not None]
    if layout is None and given:
        raise UsageError(f"{given[0]} is for a data set: add --format idx, png or npz")
    if layout is not None and labels is not None:
        raise UsageError("--labels does not go with --format, which draws all classes: leave one of them out")
    if layout is not None and suffix in (".png", ".npz"):
        raise UsageError(f"--out {out}: expected a directory, as --format {layout} writes several files")
    if layout is None and suffix not in (".png", ".npz", ""):
        raise UsageError(f"--out {out}: expected a .png for a grid, an .npz, or a directory, DIR/")


@contextmanager
def _progress() -> "Iterator[Callable[[int, int, int], None]]":
    """What tells how far a data set is: a bar on a terminal, else a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing", total=None)
        told = 0

        def on_draw(kept: int, wanted: int, drawn: int) -> None:
            nonlocal told
            text = f"{kept:,} of {wanted:,} images kept, {drawn:,} drawn"
            bar.update(task, description=text, completed=kept, total=wanted)
            if bar.disable and drawn - told >= LINE_EVERY:
                told = drawn
                say(text)

        yield on_draw


def _tell(manifest: dict[str, Any], out: str, as_json: bool) -> None:
    if as_json:
        print_json(manifest)
        return
    accuracy, confidence = manifest["label_accuracy"], manifest["mean_confidence"]
    if accuracy is not None:
        labels = f"{accuracy:.2%} read as their label by the judge {manifest['judge']['name']}"
    elif confidence is not None:
        labels = f"labelled by the judge {manifest['judge']['name']}, with a mean confidence of {confidence:.2%}"
    else:
        labels = (
            f"labels {'not verified' if manifest['labels'] else 'none'}: {manifest['unavailable']['label_accuracy']}"
        )
    say(f"{manifest['kept']} images: {out}; {labels}")


def _wanted(n: int | None, labels: str | None, classes: list[int] | None) -> tuple[int, list[int] | None]:
    """How many images, and the label of each."""
    from ganzoo.errors import UsageError

    if classes is None:
        return DEFAULT_N if n is None else n, None
    count = len(classes) if n is None else n
    if count % len(classes):
        raise UsageError(f"-n {count} is not a multiple of the {len(classes)} labels in --labels {labels}")
    return count, classes * (count // len(classes))


def _classes(text: str, generator: "Generator") -> list[int]:
    """Return the classes that `0,2,5-7` or `cat,dog` stands for: whole numbers are numbers of classes, words names.

    If one of the numbers is out of range and all are names, they are names.
    """
    from ganzoo.runtime.labels import label_number

    count, names = generator.info.num_classes, generator.info.class_names
    if count is None:
        return [0]  # is refused, with the reason, when images are drawn
    if names is not None and text in names and not text.isdecimal():
        return [names.index(text)]  # a name may have a comma in it
    parts = [part.strip() for part in text.split(",")]
    if (
        names is not None
        and set(parts) <= set(names)
        and any(part.isdecimal() and int(part) >= count for part in parts)
    ):
        return [names.index(part) for part in parts]  # as numbers they would be out of range
    classes: list[int] = []
    for part in parts:
        found = NUMBERS.fullmatch(part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
        if last < first:
            classes.append(label_number(part, count, names))
        else:
            classes += range(first, min(last, first + MAX_CLASSES) + 1)
    return classes


def _columns(classes: list[int] | None, generator: "Generator") -> int | None:
    """A column for each class, if there are classes and they fit."""
    columns = generator.info.num_classes if classes is None else len(classes)
    return columns if columns and 1 < columns <= 20 else None


def _save(out: str, images: "NDArray[np.uint8]", labels: "NDArray[np.int64] | None", columns: int | None) -> None:
    from ganzoo.runtime.images import grid, save_directory, save_npz, save_png

    suffix = "" if out.endswith("/") else Path(out).suffix
    if suffix == ".png":
        save_png(out, grid(images, columns=columns))
    elif suffix == ".npz":
        save_npz(out, images, labels)
    else:
        save_directory(out, images, labels)
