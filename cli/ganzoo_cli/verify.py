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
        str, typer.Argument(metavar="FILE", help="An exported file, or mnist, the generator bundled with ganzoo.")
    ],
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Also compare with torch, on the run that FILE was exported from.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Verify that an exported file is unaltered, within the limits, matches its metadata, and draws the same images.

    Without --run, an .onnx file needs no torch. The exit code is 3 if the file is damaged or rejected, and 6 if it
    draws other images than at export.
    """
    from ganzoo.exporting import parity
    from ganzoo.runs.opening import open_file
    from ganzoo.runs.resolving import FILES, resolve
    from ganzoo.runtime.encoder import Encoder

    found = resolve(file, FILES, "ganzoo verify")
    named = None if run is None else chosen_run(run, "verify --run")
    opened = open_file(found, named)
    original = named or _find_original(opened)
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
        say(f"images: the same as at export, within {difference:.1e}")
    elif original is None:
        say("images: not compared, because the file records no pixels and its checkpoint no longer exists")
    if original is not None:
        parity_now = outcome["parity"]
        say(
            f"images: the same as {original.path} draws in torch, within {parity_now['difference']:.1e}, "
            f"{parity_now['grey_levels']} grey levels ({parity_now['mean_grey_levels']:.2g} on average)"
        )


def _find_original(opened: "Opened") -> "Run | None":
    """Return the run that recorded the file, if the checkpoint that the file was exported from still exists."""
    steps = [] if opened.run is None else [checkpoint.step for checkpoint in opened.run.checkpoints()]
    return opened.run if opened.document.get("step") in steps else None


def _verify_encoder(encoder: "Encoder", opened: "Opened", file: str, original: "Run | None", as_json: bool) -> None:
    """Verify an encoder by its latents, as `verify` does for a generator by its images."""
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
    say(f"latents: the same as at export, within {outcome['difference_from_export']:.1e}")
    if original is not None:
        say(f"latents: the same as {original.path} computes in torch, within {outcome['difference']:.1e}")
