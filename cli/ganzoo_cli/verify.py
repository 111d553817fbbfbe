"""`ganzoo verify`"""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import chosen_run, command, print_json, say

if TYPE_CHECKING:
    from ganzoo.runs.format import Opened
    from ganzoo.runs.run import Run
    from ganzoo.runtime.encoder import Encoder


@command("verify", loads="ganzoo.exporting.parity")
def verify(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="An exported file, or mnist, which is bundled with ganzoo.")
    ],
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Compare with torch too, by the run that it was exported from.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Prove an exported file again: unaltered, within the limits, as its metadata say, drawing what it drew.

    An .onnx file needs no torch, but for --run. Exit code 3 for a file that is broken or refused, 6 for one
    that draws other images.
    """
    from ganzoo.exporting import parity
    from ganzoo.runs.opening import open_file
    from ganzoo.runs.resolving import FILES, resolve
    from ganzoo.runtime.encoder import Encoder

    found = resolve(file, FILES, "ganzoo verify")
    named = None if run is None else chosen_run(run, "verify --run")
    opened = open_file(found, named)
    original = named or _still_there(opened)
    if isinstance(opened.model, Encoder):
        _verify_encoder(opened.model, opened, file, original, as_json)
        return
    generator, document = opened.model, opened.document
    difference = parity.check_probe(generator, document)
    outcome: dict[str, Any] = {
        "file": file,
        "sha256": document["sha256"],
        "step": document.get("step"),
        "recorded_parity": document.get("parity"),
        "difference_from_export": difference,
    }
    if original is not None:
        from ganzoo.exporting.exporter import prove_again

        outcome["parity"] = dataclasses.asdict(prove_again(generator, document, original))
    if as_json:
        print_json(outcome)
        return
    for check in opened.checks:
        say(check)
    if difference is not None:
        say(f"drawing what it drew when it was exported, within {difference:.1e}")
    elif original is None:
        say("drawing: not compared, as it records no pixels and the checkpoint that it was exported from is gone")
    if original is not None:
        found_apart = outcome["parity"]
        say(
            f"drawing what {original.path} draws in torch, within {found_apart['difference']:.1e}, "
            f"{found_apart['grey_levels']} grey levels ({found_apart['mean_grey_levels']:.2g} in the mean)"
        )


def _still_there(opened: "Opened") -> "Run | None":
    """The run that vouched for a file, while it keeps the checkpoint that the file was exported from."""
    steps = [] if opened.run is None else [checkpoint.step for checkpoint in opened.run.checkpoints()]
    return opened.run if opened.document.get("step") in steps else None


def _verify_encoder(encoder: "Encoder", opened: "Opened", file: str, original: "Run | None", as_json: bool) -> None:
    """The same of an encoder, by its latents."""
    from ganzoo.exporting import parity

    outcome: dict[str, Any] = {
        "file": file,
        "sha256": opened.document["sha256"],
        "part": "encoder",
        "difference_from_export": parity.check_encoder_probe(encoder, opened.document),
    }
    if original is not None:
        from ganzoo.exporting.exporter import prove_encoder_again

        outcome["difference"] = prove_encoder_again(encoder, opened.document, original)
    if as_json:
        print_json(outcome)
        return
    for check in opened.checks:
        say(check)
    say(f"encoding what it encoded when it was exported, within {outcome['difference_from_export']:.1e}")
    if original is not None:
        say(f"encoding what {original.path} encodes in torch, within {outcome['difference']:.1e}")
