"""A folder with a page that draws in the browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.errors import UsageError
from ganzoo.exporting.pagefiles import INFO, MODEL
from ganzoo.registry import formats
from ganzoo.runs.format import Exported, Format, Opened

if TYPE_CHECKING:
    from ganzoo.runs.run import Run
    from ganzoo.runtime.onnxfile import Contents


@formats.register("web")
class Web(Format):
    """A page that draws in the browser, offline: a folder for any static server."""

    next = "python -m http.server --bind 127.0.0.1 -d {path}, and open the address that it prints"
    options = ("precision", "opset", "noise", "ort_web", "title", "description")

    def write(self, run: "Run", path: Path | None, **options: Any) -> Exported:
        from ganzoo.exporting.exporter import write_web

        if path is None:
            raise UsageError("a web page needs its own directory: ganzoo export RUN --web DIR")
        return write_web(run, path, **options)

    def recognises(self, path: Path) -> bool:
        return (path / MODEL).is_file() and (path / INFO).is_file()

    def inspect(self, path: Path) -> "Contents | None":
        return formats["onnx"]().inspect(path / MODEL)  # type: ignore[no-any-return]

    def load(self, path: Path, run: "Run | None" = None) -> Opened:
        return formats["onnx"]().load(path / MODEL, run)  # type: ignore[no-any-return]
