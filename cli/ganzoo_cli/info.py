"""`ganzoo info`"""

import hashlib
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeGuard

import typer

from .app import command, print_json, write

if TYPE_CHECKING:
    from ganzoo.runtime.onnxfile import Contents

WIDTH = 11  # of the first column, in characters
RECORDED = ("format", "precision", "layout", "weights", "step", "difference")  # shown from the run's record


@command("info")
def info(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="An exported file, or mnist, the generator bundled with ganzoo.")
    ],
    foreign: Annotated[
        bool, typer.Option("--foreign", help="Accept an .onnx generator that ganzoo did not export.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all metadata, and facts about the file, as JSON.")
    ] = False,
) -> None:
    """Show the inputs, the outputs and the origin of an exported file.

    The file is verified first. It is not run, and torch is not needed.
    """
    contents = _inspect(file, foreign)
    if contents is None:
        _show_record(file, as_json)
        return
    facts = {**_facts(file, contents.data), "nodes": contents.nodes, "opset": contents.opset}
    if as_json:
        print_json({**contents.document, "file": facts})
        return
    rows = {
        **_rows(contents),
        "file": f"{facts['bytes'] / 1024:,.0f} KiB, {contents.nodes} nodes, opset {contents.opset}",
    }
    encodes = contents.part == "encoder"
    write(f"{file}: {'an encoder' if encodes else 'a generator'} of the variant '{contents.info.variant}'\n")
    _print_rows({**rows, "SHA-256": facts["sha256"]})
    if encodes:
        call = f"import ganzoo; print(ganzoo.load_encoder({json.dumps(file, ensure_ascii=False)}))"
        write(f"\nnext:\n  python -c {shlex.quote(call)}")
    else:
        write(f"\nnext:\n  {_sample(file, foreign)}\n  {_python(file, foreign)}")


def _inspect(file: str, foreign: bool) -> "Contents | None":
    """Return the contents of a file, or None for a format that only the run's record describes."""
    if foreign:
        from ganzoo.runtime import bundled, onnxfile

        return onnxfile.read(bundled.find(file), foreign=True)
    from ganzoo.runs.resolving import FILES, resolve

    found = resolve(file, FILES, "ganzoo info")
    return found.file_format.inspect(found.path)


def _show_record(file: str, as_json: bool) -> None:
    """Show what the run in the file's directory recorded about the file, without opening the file."""
    from ganzoo.runs.vouching import run_beside

    facts = _facts(file, Path(file).read_bytes())
    run = run_beside(Path(file))
    found = None if run is None else run.find_export(facts["sha256"])
    record = {} if found is None else found.to_json()
    if as_json:
        print_json({**record, "file": facts})
        return
    vouched = "no run in its directory recorded it, so ganzoo needs its run to open it (ganzoo verify FILE --run RUN)"
    write(f"{file}: {vouched if found is None else f'exported from the run {run and run.path}'}\n")
    rows = {key: str(record[key]) for key in RECORDED if record.get(key) is not None}
    _print_rows({**rows, "file": f"{facts['bytes'] / 1024:,.0f} KiB", "SHA-256": facts["sha256"]})


def _facts(file: str, data: bytes) -> dict[str, Any]:
    return {"path": file, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _print_rows(rows: Mapping[str, Any]) -> None:
    for name, text in rows.items():
        if text:
            write(f"  {name:{WIDTH}}{text}")


def _rows(contents: "Contents") -> dict[str, Any]:
    """Return the rows to show. A row is empty if the metadata, whose keys are optional, do not contain it."""
    from ganzoo.errors import shown
    from ganzoo.runtime.forms import LAYOUTS

    info, document = contents.info, contents.document
    data = contents.section("data") or contents.section("run", "data")
    channels, height, width = info.image_shape
    colours = {1: "grey", 3: "colour", 4: "colour and transparency"}.get(channels, f"{channels} channels")
    images = f"images of {height} x {width} in {colours}"
    latents = f"latents of {info.latent_dim} numbers"
    if info.uniform_codes:
        latents += f", the last {info.uniform_codes} of them uniform in [-1, 1]"
    source = data.get("source")
    encodes = contents.part == "encoder"
    labelled = info.has_classes if encodes else info.conditional
    labels = f", and labels: {_classes(contents)}" if labelled else ""
    return {
        "input": (images if encodes else latents) + labels,
        "output": latents if encodes else images,
        "layout": "" if encodes else f"{contents.layout}: {LAYOUTS[contents.layout].summary.replace('`', '')}",
        "precision": shown(document.get("precision", "")),
        "weights": _weights(document),
        "trained on": source and shown(source) + _images(data),
        "parity": _parity(contents.section("parity")),
        "cost": _cost(contents.section("figure")),
        "evaluation": _evaluation(contents),
        "made with": _made_with(contents),
        "licence": shown(document.get("licence") or document.get("license") or ""),
    }


def _classes(contents: "Contents") -> str:
    from ganzoo.errors import shown

    count, names = contents.info.num_classes or 0, contents.info.class_names
    numbers = f"0 to {count - 1}"
    plain = names is None or list(names) == [str(label) for label in range(count)]
    if contents.info.code is not None:
        return f"{numbers}, the values of the code '{shown(contents.info.code)}'"
    return numbers if plain else f"{numbers} ({shown(', '.join(names or ()))})"


def _weights(document: Mapping[str, Any]) -> str:
    from ganzoo.errors import shown

    step, weights = document.get("step"), document.get("weights")
    parts = [shown(weights)] if isinstance(weights, str) else []
    return ", ".join(parts + ([f"step {step:,}"] if isinstance(step, int) else []))


def _images(data: Mapping[str, Any]) -> str:
    from ganzoo.errors import shown

    count, digest = data.get("images"), data.get("sha256")
    images = f", {count:,} images" if isinstance(count, int) else ""
    return images + (f" (SHA-256 {shown(digest)})" if isinstance(digest, str) else "")


def _parity(parity: Mapping[str, Any]) -> str:
    """Return the difference between the images of the file and of the run, as measured at export."""
    difference, levels = parity.get("difference"), parity.get("grey_levels")
    if not _is_number(difference) or not isinstance(levels, int):
        return _pairs(parity)
    mean, count = parity.get("mean_grey_levels"), parity.get("latents")
    middle = f" ({mean:.2g} on average)" if _is_number(mean) else ""
    tried = f", over {count:,} latents" if isinstance(count, int) else ""
    of = f"{levels} grey level{'' if levels == 1 else 's'} of 255"
    return f"differs from torch by at most {difference:.1e}, {of}{middle}{tried}"


def _cost(figure: Mapping[str, Any]) -> str:
    """Return the metric of the run and of the file, which shows the loss of quality through lower precision."""
    from ganzoo.errors import shown

    name, images = figure.get("name"), figure.get("images")
    if not isinstance(name, str) or not isinstance(images, int):
        return ""
    return (
        f"{shown(name)}, {images:,} images: {_number(figure.get('torch'))} in torch, "
        f"{_number(figure.get('file'))} in this file"
    )


def _evaluation(contents: "Contents") -> str:
    """Return the metrics that `ganzoo evaluate` measured for these weights, beside those of real images."""
    from ganzoo.errors import shown

    evaluation = contents.section("evaluation")
    figures = contents.section("evaluation", "figures")
    rows = {name: contents.section("evaluation", "figures", name) for name in figures}
    parts = [f"{name} {_number(row.get('mean'))} (real {_number(row.get('floor'))})" for name, row in rows.items()]
    return shown("; ".join(filter(None, [_pairs(evaluation), ", ".join(parts)])))


def _is_number(value: object) -> TypeGuard[float]:
    """Return whether a value can be formatted as a float: an integer in JSON may be larger than any float."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**53)


def _number(value: object) -> str:
    return f"{value:.4g}" if _is_number(value) else "?"


def _made_with(contents: "Contents") -> str:
    from ganzoo.errors import shown

    versions = _pairs(contents.section("versions"))
    ganzoo = contents.section("run", "run").get("ganzoo")
    parts = [versions] if versions else [f"ganzoo {shown(ganzoo)}"] if isinstance(ganzoo, str) else []
    schema = contents.document.get("schema")
    return ", ".join([*parts, *([f"metadata schema {schema}"] if schema else [])])


def _pairs(values: Mapping[str, Any]) -> str:
    """Return the numbers and texts of a section as one line, without nested values, which --json prints."""
    from ganzoo.errors import shown

    return shown(
        ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in values.items()
            if isinstance(value, str | int | float)
        )
    )


def _sample(file: str, foreign: bool) -> str:
    picture = shlex.quote(f"{Path(file).stem}.png")
    return f"ganzoo sample {shlex.quote(file)}{' --foreign' if foreign else ''} -n 64 --out {picture}"


def _python(file: str, foreign: bool) -> str:
    call = f"load({json.dumps(file, ensure_ascii=False)}{', foreign=True' if foreign else ''}).sample(10, seed=0).shape"
    home = "ganzoo" if Path(file).is_dir() else "ganzoo.runtime"  # ganzoo.runtime opens files only
    return f"python -c {shlex.quote(f'from {home} import load; print({call})')}"
