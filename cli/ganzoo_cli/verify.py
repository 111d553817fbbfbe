"""`ganzoo verify`"""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import command, print_json, say

if TYPE_CHECKING:
    from ganzoo.runtime.onnxfile import Contents


@command("verify")
def verify(
    file: Annotated[str, typer.Argument(metavar="FILE", help="An .onnx file, or mnist, which is bundled with ganzoo.")],
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Compare with torch too, by the run that it was exported from.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Prove an exported file again: unaltered, within the limits, as its metadata say, drawing what it drew.

    Needs no torch, but for --run. Exit code 3 for a file that is broken or refused, 6 for one that draws other images.
    """
    from ganzoo import runtime
    from ganzoo.exporting import parity
    from ganzoo.runtime import bundled, onnxfile

    contents = onnxfile.read(bundled.find(file))
    if contents.part == "encoder":
        _verify_encoder(contents, file, run, as_json)
        return
    generator, document = runtime.from_contents(contents, file), contents.document
    difference = parity.check_probe(generator, document)
    outcome: dict[str, Any] = {
        "file": file,
        "sha256": document["sha256"],
        "step": document.get("step"),
        "recorded_parity": document.get("parity"),
        "difference_from_export": difference,
    }
    if run is not None:
        from ganzoo.exporting.exporter import prove_again

        outcome["parity"] = dataclasses.asdict(prove_again(generator, document, run))
    if as_json:
        print_json(outcome)
        return
    say(f"unaltered: sealed with SHA-256 {document['sha256']}")
    say("valid and harmless: the graph is checked, within the limits, and fits its metadata")
    if difference is None:
        say("drawing: its metadata record no pixels to compare with")
    else:
        say(f"drawing what it drew when it was exported, within {difference:.1e}")
    if run is not None:
        found = outcome["parity"]
        say(
            f"drawing what {run} draws in torch, within {found['difference']:.1e}, {found['grey_levels']} grey levels "
            f"({found['mean_grey_levels']:.2g} in the mean)"
        )


def _verify_encoder(contents: "Contents", file: str, run: str | None, as_json: bool) -> None:
    """The same of an encoder, by its latents."""
    from ganzoo import runtime
    from ganzoo.exporting import parity

    encoder = runtime.load_encoder(contents.data)
    outcome: dict[str, Any] = {
        "file": file,
        "sha256": contents.document["sha256"],
        "part": "encoder",
        "difference_from_export": parity.check_encoder_probe(encoder, contents.document),
    }
    if run is not None:
        from ganzoo.exporting.exporter import prove_encoder_again

        outcome["difference"] = prove_encoder_again(encoder, contents.document, run)
    if as_json:
        print_json(outcome)
        return
    say(f"unaltered: sealed with SHA-256 {contents.document['sha256']}")
    say("valid and harmless: the graph is checked, within the limits, and fits its metadata")
    say(f"encoding what it encoded when it was exported, within {outcome['difference_from_export']:.1e}")
    if run is not None:
        say(f"encoding what {run} encodes in torch, within {outcome['difference']:.1e}")
