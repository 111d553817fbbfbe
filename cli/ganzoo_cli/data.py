"""`ganzoo data`"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganzoo.training.options import READING_OPTIONS

from .app import command, print_json, write
from .flags import given, with_options

if TYPE_CHECKING:
    from ganzoo.data import Dataset
    from ganzoo.data.inspection import Inspection


@command("data", loads="ganzoo.data")
@with_options(READING_OPTIONS)
def data(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="The data set, as in --dataset: mnist-5k, folder:PATH, npz:FILE or others."
        ),
    ],
    out: Annotated[str | None, typer.Option(metavar="FILE.png", help="Write a contact sheet to this file.")] = None,
    data_dir: Annotated[str | None, typer.Option(metavar="DIR", help="The same as for ganzoo train.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    **options: Any,
) -> None:
    """Inspect a data set without training.

    Prints what ganzoo train would report about it, the duplicates, the constant images, and a warning for each likely
    mistake.
    """
    from ganzoo import data
    from ganzoo.config import reading_of
    from ganzoo.data.inspection import inspect
    from ganzoo.data.summary import summarise
    from ganzoo.errors import NoSplitError, UsageError

    if out is not None and not out.endswith(".png"):
        raise UsageError(f"--out {out}: expected the name of a .png file")
    reading = reading_of({"folders": "auto", **given(options)})
    dataset = data.load(source, data_dir=data_dir, **reading)
    try:
        test = data.load(source, split="test", data_dir=data_dir, **reading)
    except NoSplitError:
        test = None
    found = inspect(dataset)
    sheet = None if out is None else _write_sheet(dataset, out)
    if as_json:
        print_json(_document(dataset, test, found))
        return
    for line in [*([dataset.note] if dataset.note else []), *summarise(dataset)]:
        write(line)
    if test is not None:
        write(f"test images: {len(test):,}")
    for line in _describe(found):
        write(line)
    if sheet:
        write(sheet)


def _describe(found: "Inspection") -> list[str]:
    lines = [_count("duplicates", [number for number, _ in found.duplicates], "identical to an earlier image")]
    if found.contradictions:
        lines.append(
            f"warning: duplicates whose label differs from that of the earlier image: {found.contradictions:,}"
        )
    lines.append(_count("constant images", list(found.constant), "all pixels have the same value"))
    return [*lines, *(f"warning: {text}" for text in found.warnings)]


def _count(what: str, numbers: list[int], meaning: str) -> str:
    if not numbers:
        return f"{what}: none"
    shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    return f"{what}: {len(numbers):,}, {meaning} (counted from 0: {shown})"


def _write_sheet(dataset: "Dataset", out: str) -> str:
    from ganzoo.data.inspection import SHEET_COLUMNS, contact_sheet
    from ganzoo.runtime.images import grid, save_png

    images, what = contact_sheet(dataset)
    save_png(out, grid(images, columns=min(SHEET_COLUMNS, len(images))))
    return f"sheet: {out}, {what}"


def _document(dataset: "Dataset", test: "Dataset | None", found: "Inspection") -> dict[str, Any]:
    return {
        "source": dataset.source,
        "images": len(dataset),
        "image_shape": dataset.image_shape,
        "class_names": dataset.class_names,
        "class_counts": dataset.class_counts,
        "sha256": dataset.sha256,
        "notes": [*([dataset.note] if dataset.note else []), *dataset.notes],
        "test_images": None if test is None else len(test),
        "duplicates": [number for number, _ in found.duplicates],
        "contradictions": found.contradictions,
        "constant": found.constant,
        "warnings": found.warnings,
    }
