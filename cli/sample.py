"""`ganzoo sample`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .app import chosen_run, command, print_json, say

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ganzoo.generator import Generator

DEFAULT_N = 64
MAX_CLASSES = 1_000_000  # more than any variant has: what is beyond is out of range all the same


@command("sample")
def sample(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN_OR_ONNX", show_default="the newest run under runs/", help="A run's directory or an .onnx file."
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
            help="Classes to draw in turn, such as 0,1,2 or 0-9 (conditional variants); N is a multiple of them.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed draws the same images.")] = 0,
    out: Annotated[
        str,
        typer.Option(metavar="PATH", help="grid.png, samples.npz, or DIR/ for one PNG an image (and labels.csv)."),
    ] = "samples.png",
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Draw images from a run or an exported file.

    An .onnx file is run without torch.
    """
    from ganzoo.sampling import load

    _check_kind(out)
    generator = load(source if source is not None and Path(source).suffix == ".onnx" else chosen_run(source))
    count, wanted = _wanted(n, labels)
    drawn = generator.labels_for(count, wanted)
    images = generator.sample(count, labels=wanted, seed=seed)
    _save(out, images, drawn, columns=_columns(labels, generator))
    if as_json:
        print_json({"out": out, "images": count, "shape": list(images.shape[1:]), "seed": seed})
    else:
        say(f"{count} images: {out}")


def _check_kind(out: str) -> None:
    from ganzoo.errors import UsageError

    if Path(out).suffix not in (".png", ".npz", "") and not out.endswith("/"):
        raise UsageError(f"--out {out}: expected a .png for a grid, an .npz, or a directory, DIR/")


def _wanted(n: int | None, labels: str | None) -> tuple[int, list[int] | None]:
    """How many images, and the label of each."""
    from ganzoo.errors import UsageError

    if labels is None:
        return DEFAULT_N if n is None else n, None
    classes = _classes(labels)
    count = len(classes) if n is None else n
    if count % len(classes):
        raise UsageError(f"-n {count} is not a multiple of the {len(classes)} labels in --labels {labels}")
    return count, classes * (count // len(classes))


def _classes(text: str) -> list[int]:
    """0,2,5-7 -> [0, 2, 5, 6, 7]"""
    from ganzoo.errors import UsageError

    classes: list[int] = []
    try:
        for part in text.split(","):
            first, dash, last = part.strip().partition("-")
            start, stop = int(first), int(last if dash else first)
            classes += range(start, min(stop, start + MAX_CLASSES) + 1)
    except ValueError:
        classes = []
    if not classes:
        raise UsageError(f"--labels {text}: expected classes such as 3, 0,1,2 or 0-9")
    return classes


def _columns(labels: str | None, generator: "Generator") -> int | None:
    """A column a class, where there are classes and they fit."""
    columns = generator.info.num_classes if labels is None else len(_classes(labels))
    return columns if columns and 1 < columns <= 20 else None


def _save(out: str, images: "NDArray[np.uint8]", labels: "NDArray[np.int64] | None", columns: int | None) -> None:
    from ganzoo.images import grid, save_directory, save_npz, save_png

    suffix = "" if out.endswith("/") else Path(out).suffix
    if suffix == ".png":
        save_png(out, grid(images, columns=columns))
    elif suffix == ".npz":
        save_npz(out, images, labels)
    else:
        save_directory(out, images, labels)
