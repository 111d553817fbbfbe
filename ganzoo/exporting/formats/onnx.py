"""A sealed .onnx file, which draws without torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.registry import formats
from ganzoo.runs.format import Exported, ExportedEncoder, Format, Opened

if TYPE_CHECKING:
    from ganzoo.runs.run import Run
    from ganzoo.runtime.onnxfile import Contents

_VERSION = b"\x08"  # key of the first field of a model, the version of its file format
_KEYS = b"\x12\x1a\x22\x28\x32\x3a\x42\x72\xa2\xca"  # keys of a model's other fields, one of which follows


@formats.register("onnx")
class Onnx(Format):
    """One verified .onnx file, in a precision and a layout, which draws without torch."""

    suffix = ".onnx"
    options = ("precision", "layout", "opset", "noise")

    def write(self, run: "Run", path: Path | None, **options: Any) -> Exported:
        from ganzoo.exporting.exporter import write_onnx

        return write_onnx(run, path, **options)

    def write_encoder(self, run: "Run", path: Path, **options: Any) -> ExportedEncoder | None:
        from ganzoo.exporting.exporter import export_encoder

        if run.config.variant.encoder is None:
            return None
        taken = {key: value for key, value in options.items() if key not in ("precision", "layout")}  # it is float32
        return export_encoder(run, path.with_name(f"{path.stem}-encoder{path.suffix}"), **taken)

    def recognises(self, path: Path) -> bool:
        return path.suffix == self.suffix or _is_model(path)

    def inspect(self, path: Path) -> "Contents":
        from ganzoo.runtime import onnxfile

        return onnxfile.read(path)

    def load(self, path: Path, run: "Run | None" = None) -> Opened:
        import hashlib

        from ganzoo import runtime

        contents = self.inspect(path)
        opens = runtime.encoder_from_contents if contents.part == "encoder" else runtime.from_contents
        return Opened(
            model=opens(contents, path),
            sha256=hashlib.sha256(contents.data).hexdigest(),
            document=contents.document,
            trained_on=contents.trained_on,
            checks=(
                f"unaltered: sealed with SHA-256 {contents.document['sha256']}",
                "valid and harmless: the graph is checked, within the limits, and matches its metadata",
            ),
        )


def _is_model(path: Path) -> bool:
    """Return True for a file that starts as ONNX models do: with a small version, then another field of a model."""
    try:
        with path.open("rb") as file:
            start = file.read(3)
    except OSError:
        return False
    return len(start) == 3 and start[:1] == _VERSION and 0 < start[1] < 128 and start[2] in _KEYS
