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

WIDTH = 11  # of the first column
RECORDED = ("format", "precision", "layout", "weights", "step", "difference")  # by the run


@command("info")
def info(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="An exported file, or mnist, which is bundled with ganzoo.")
    ],
    foreign: Annotated[bool, typer.Option("--foreign", help="It is a generator that ganzoo did not export.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all of its metadata, and the file's, as JSON.")
    ] = False,
) -> None:
    """Show what an exported file takes and draws, and where it came from.

    The file is verified first; it is not run, and no torch is needed.
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
    """What a file contains; None if its format leaves that to the run's record."""
    if foreign:
        from ganzoo.runtime import bundled, onnxfile

        return onnxfile.read(bundled.find(file), foreign=True)
    from ganzoo.runs.resolving import FILES, resolve

    found = resolve(file, FILES, "ganzoo info")
    return found.file_format.inspect(found.path)


def _show_record(file: str, as_json: bool) -> None:
    """Show what the run beside a file recorded of it, for a file that is not opened to be described."""
    from ganzoo.runs.vouching import run_beside

    facts = _facts(file, Path(file).read_bytes())
    run = run_beside(Path(file))
    found = None if run is None else run.find_export(facts["sha256"])
    record = {} if found is None else found.to_json()
    if as_json:
        print_json({**record, "file": facts})
        return
    vouched = "no run beside it recorded it, so ganzoo opens it only with its run (ganzoo verify FILE --run RUN)"
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
    """What there is to say of the generator; what the metadata leaves out is empty, for its keys are optional."""
    from ganzoo.errors import shown
    from ganzoo.runtime.forms import LAYOUTS

    info, document = contents.info, contents.document
    data = contents.section("data") or contents.section("run", "data")
    channels, height, width = info.image_shape
    colours = {1: "grey", 3: "colour", 4: "colour and transparency"}.get(channels, f"{channels} channels")
    images = f"images of {height} x {width} in {colours}"
    latents = f"latents of {info.latent_dim} numbers"
    if info.uniform_codes:
        latents += f", of which the last {info.uniform_codes} uniform in [-1, 1]"
    source = data.get("source")
    encodes = contents.part == "encoder"
    labelled = info.has_classes if encodes else info.conditional
    labels = f", and labels: {_classes(contents)}" if labelled else ""
    return {
        "takes": (images if encodes else latents) + labels,
        "draws": "" if encodes else images,
        "gives": latents if encodes else "",
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
    """How far its images are from those of the run, as the export measured it."""

    difference, levels = parity.get("difference"), parity.get("grey_levels")
    if not _is_number(difference) or not isinstance(levels, int):
        return _pairs(parity)
    mean, count = parity.get("mean_grey_levels"), parity.get("latents")
    middle = f" ({mean:.2g} in the mean)" if _is_number(mean) else ""
    tried = f", over {count:,} latents" if isinstance(count, int) else ""
    return f"at most {difference:.1e} from torch, {levels} grey level{'' if levels == 1 else 's'} of 255{middle}{tried}"


def _cost(figure: Mapping[str, Any]) -> str:
    """What fewer bits cost, as the judge saw it."""
    from ganzoo.errors import shown

    name, images = figure.get("name"), figure.get("images")
    if not isinstance(name, str) or not isinstance(images, int):
        return ""
    return (
        f"{shown(name)}, {images:,} images: {_number(figure.get('torch'))} in torch, {_number(figure.get('file'))} here"
    )


def _evaluation(contents: "Contents") -> str:
    """The figures that `ganzoo evaluate` found of these weights, beside those of real images."""
    from ganzoo.errors import shown

    evaluation = contents.section("evaluation")
    figures = contents.section("evaluation", "figures")
    rows = {name: contents.section("evaluation", "figures", name) for name in figures}
    parts = [f"{name} {_number(row.get('mean'))} (real {_number(row.get('floor'))})" for name, row in rows.items()]
    return shown("; ".join(filter(None, [_pairs(evaluation), ", ".join(parts)])))


def _is_number(value: object) -> TypeGuard[float]:
    """Return whether it can be shown as one: an integer of JSON may be longer than any float."""
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
    """The numbers and words of a section in one line; what is nested is left to --json."""
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
    home = "ganzoo" if Path(file).is_dir() else "ganzoo.runtime"  # which opens files alone
    return f"python -c {shlex.quote(f'from {home} import load; print({call})')}"
