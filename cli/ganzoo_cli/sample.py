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
LINE_EVERY = 10_000  # images drawn per progress line, if stderr is not a terminal
NUMBERS = re.compile(r"(\d{1,30})(?:-(\d{1,30}))?")  # one class, or a range of classes
MAX_CLASSES = 1_000_000  # maximum length of a range, to save memory: its end is out of range for any variant


@command("sample")
def sample(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|FILE",
            show_default="the newest run under runs/",
            help="Directory of a run, an exported file, or mnist, the generator bundled with ganzoo.",
        ),
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", metavar="N", show_default="64, or one per label", help="Number of images.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="LABELS",
            show_default="all, balanced",
            help="Classes to draw in turn, by number or name, such as 0,1,2 or 0-9 or cat,dog (conditional variants). "
            "N must be a multiple of their number.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed: the same seed draws the same images.")] = 0,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            show_default="samples.png; synthetic/ with --format",
            help="FILE.png for a grid, FILE.npz for arrays, or DIR/ for one PNG per image (and labels.csv); with "
            "--format a directory.",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="idx|png|npz",
            help="Write a labelled data set with a manifest and a data card. idx: MNIST's files (N images in train, "
            "and another N/6 from other latents in t10k); png: one folder per class; npz: one file.",
        ),
    ] = None,
    balance: Annotated[
        str | None,
        typer.Option(
            metavar="uniform|real",
            show_default="uniform",
            help="With --format: the same number of images in each class, or the proportions of the training data.",
        ),
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="With --format: keep only images to whose label the judge assigns a probability of at least P.",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            show_default="the training data",
            help="With --format: the real data, which --balance real and the choice of the judge refer to.",
        ),
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Use the run's best evaluated checkpoint, not the newest.")
    ] = False,
    foreign: Annotated[
        bool,
        typer.Option("--foreign", help="Accept an .onnx generator that ganzoo did not export (see docs/runtime.md)."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Draw images from a run or an exported file: pictures, or with --format a labelled data set.

    An .onnx file needs no torch. With --format, the labels are checked by a judge if torch is installed.
    """
    from ganzoo.errors import UsageError

    _check_options(
        out, labels, layout, {"--balance": balance, "--min-confidence": min_confidence, "--dataset": dataset}
    )
    if foreign and (layout is not None or source is None or Path(source).is_dir()):
        raise UsageError("--foreign needs an .onnx file that ganzoo did not export, and no --format: leave it out")
    model = None if foreign else _resolve(source)
    if best and (model is None or model.kind != "run"):
        raise UsageError("--best needs a run, as an exported file contains only one checkpoint: leave it out")
    if layout is not None and model is not None:
        from ganzoo.synthetic.writing import write

        options: dict[str, Any] = {"balance": balance, "min_confidence": min_confidence, "dataset": dataset}
        out, count = out or "synthetic", DEFAULT_N if n is None else n
        with _progress() as on_draw:
            manifest = write(model.given, out, count, layout=layout, seed=seed, best=best, on_draw=on_draw, **options)
        _report(manifest, out, as_json)
        return
    out = out or "samples.png"
    generator = _load_foreign(source) if model is None else _load(model, best)
    chosen = None if labels is None else _classes(labels, generator)
    count, wanted = _choose_labels(n, labels, chosen)
    drawn = generator.labels_for(count, wanted)
    images = generator.sample(count, labels=wanted, seed=seed)
    _save(out, images, drawn, columns=_columns(chosen, generator))
    if as_json:
        print_json({"out": out, "images": count, "shape": list(images.shape[1:]), "seed": seed})
    else:
        say(f"{count} images: {out}")


def _resolve(source: str | None) -> "Source":
    """Return the named run, exported file or bundled generator, or else the newest run."""
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
        raise UsageError(f"{given[0]} needs --format: add --format idx, png or npz")
    if layout is not None and labels is not None:
        raise UsageError(
            "--labels and --format exclude each other, as --format draws all classes: leave one of them out"
        )
    if layout is not None and suffix in (".png", ".npz"):
        raise UsageError(f"--out {out}: expected a directory, as --format {layout} writes several files")
    if layout is None and suffix not in (".png", ".npz", ""):
        raise UsageError(f"--out {out}: expected a .png file (a grid), an .npz file, or a directory (DIR/)")


@contextmanager
def _progress() -> "Iterator[Callable[[int, int, int], None]]":
    """Yield a callback that reports progress: with a bar on a terminal, else with a line per `LINE_EVERY` images."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing", total=None)
        reported = 0

        def on_draw(kept: int, wanted: int, drawn: int) -> None:
            nonlocal reported
            text = f"{kept:,} of {wanted:,} images kept, {drawn:,} drawn"
            bar.update(task, description=text, completed=kept, total=wanted)
            if bar.disable and drawn - reported >= LINE_EVERY:
                reported = drawn
                say(text)

        yield on_draw


def _report(manifest: dict[str, Any], out: str, as_json: bool) -> None:
    if as_json:
        print_json(manifest)
        return
    accuracy, confidence = manifest["label_accuracy"], manifest["mean_confidence"]
    if accuracy is not None:
        labels = f"label accuracy {accuracy:.2%} by the judge {manifest['judge']['name']}"
    elif confidence is not None:
        labels = f"labelled by the judge {manifest['judge']['name']} with a mean confidence of {confidence:.2%}"
    else:
        reason = manifest["unavailable"]["label_accuracy"]
        labels = f"{'labels not verified' if manifest['labels'] else 'no labels'}: {reason}"
    say(f"{manifest['kept']} images: {out}; {labels}")


def _choose_labels(n: int | None, labels: str | None, classes: list[int] | None) -> tuple[int, list[int] | None]:
    """Return the number of images, and the label of each image, or None. Raises UsageError if the two do not fit."""
    from ganzoo.errors import UsageError

    if classes is None:
        return DEFAULT_N if n is None else n, None
    count = len(classes) if n is None else n
    if count % len(classes):
        raise UsageError(f"-n {count} is not a multiple of {len(classes)}, the number of labels in --labels {labels}")
    return count, classes * (count // len(classes))


def _classes(text: str, generator: "Generator") -> list[int]:
    """Return the class numbers for a text such as `0,2,5-7` or `cat,dog`. Integers are class numbers, words are names.

    If all parts are class names and one of them, read as a number, is out of range, all are read as names.
    """
    from ganzoo.runtime.labels import label_number

    count, names = generator.info.num_classes, generator.info.class_names
    if count is None:
        return [0]  # drawing images raises the error, with the reason
    if names is not None and text in names and not text.isdecimal():
        return [names.index(text)]  # a class name may contain a comma
    parts = [part.strip() for part in text.split(",")]
    if (
        names is not None
        and set(parts) <= set(names)
        and any(part.isdecimal() and int(part) >= count for part in parts)
    ):
        return [names.index(part) for part in parts]
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
    """Return the number of columns of the grid: one per class if there are 2 to 20 classes, else None."""
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
