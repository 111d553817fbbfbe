"""What a format of exported files is, and what opening such a file gives. No torch.

The table of formats is the registry `ganzoo.registry.formats`; ganzoo's own are in `ganzoo/exporting/formats/`.
"""

import dataclasses
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ganzoo.errors import UsageError
from ganzoo.runtime.encoder import Encoder
from ganzoo.runtime.forms import Form
from ganzoo.runtime.generator import Generator

if TYPE_CHECKING:  # a format is recognised, and most are loaded, without what training needs
    from ganzoo.runs.run import Run
    from ganzoo.runtime.onnxfile import Contents

# Options that some formats take, with their defaults; an opset of None is the precision's own.
OPTIONS: Mapping[str, Any] = {**dataclasses.asdict(Form()), "opset": None, "noise": None, "ort_web": None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """How far a file's images are from those it should draw."""

    difference: float  # the greatest of images in [-1, 1]
    grey_levels: int  # the greatest of images as uint8
    mean_grey_levels: float
    where: str  # the greatest is


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and where."""

    path: Path
    size: int  # bytes
    sha256: str  # of these bytes
    nodes: int  # of the graph
    precision: str
    layout: str
    opset: int | None  # None if the format has no versions of operators
    weights: str
    step: int
    difference: float  # from torch's images in [-1, 1], at most
    grey_levels: int
    mean_grey_levels: float
    figure: dict[str, Any] | None = None
    format: str = "onnx"

    @classmethod
    def of_bytes(
        cls, path: Path, data: bytes, proof: Difference, *, step: int, weights: str = "ema", nodes: int = 0
    ) -> "Exported":
        """Return what there is to say of a file that holds `data` and draws float32 images, proven by `proof`."""
        form = Form()
        return cls(
            path=path,
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            nodes=nodes,
            precision=form.precision,
            layout=form.layout,
            opset=None,
            weights=weights,
            step=step,
            difference=proof.difference,
            grey_levels=proof.grey_levels,
            mean_grey_levels=proof.mean_grey_levels,
        )

    def record(self) -> dict[str, Any]:
        """Return what the run keeps of an export: JSON values, without the directory that the file was written to."""
        return {**dataclasses.asdict(self), "path": self.path.name}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportedEncoder:
    """The encoder's file: what was written, and where."""

    path: Path
    size: int  # bytes
    nodes: int
    opset: int
    weights: str
    step: int
    difference: float  # of a latent's values, at most


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opened:
    """An exported file, opened."""

    model: Generator | Encoder
    sha256: str  # of the file's bytes
    document: Mapping[str, Any]  # its metadata: `step`, `weights`, `precision`, `parity`, as far as they are known
    trained_on: Mapping[str, Any]  # the settings of the data that it was trained on
    run: "Run | None" = None  # that vouched for it, if its format needs one
    checks: tuple[str, ...] = ()  # what was found true of it while it was opened, each a line for people


class Format(ABC):
    """A kind of file that a run's generator is exported as. A subclass is registered with `@formats.register(name)`.

    The first line of the docstring is its summary in `ganzoo list formats`. It is made without arguments, and its
    module imports nothing heavy: torch and the like are imported by the methods that need them.
    """

    suffix: ClassVar[str] = ""  # of its files, such as ".onnx"; empty for a directory
    options: ClassVar[tuple[str, ...]] = ()  # which of `OPTIONS` it takes
    next: ClassVar[str] = "ganzoo sample {path} --out images.png, ganzoo info {path}, ganzoo verify {path}"  # commands
    vouched: ClassVar[bool] = False  # True if its files are opened only with a run that recorded their SHA-256

    @abstractmethod
    def write(
        self,
        run: "Run",
        path: Path | None,
        *,
        weights: str = "ema",
        best: bool = False,
        license: str | None = None,  # noqa: A002  # as the metadata call it
        **options: Any,
    ) -> Exported:
        """Export a checkpoint of a run to `path`, by default a place in the run, and return what was written.

        Write nothing and raise VerificationError if it does not draw what the run draws
        (`ganzoo.exporting.parity.prove`). `options` are those that the format declares.
        """

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Return True if the file or directory is one of this format, by its content or its suffix. Runs nothing."""

    @abstractmethod
    def load(self, path: Path, run: "Run | None" = None) -> Opened:
        """Open a file that the format recognises. `run` is the run that it was exported from, if the caller knows it.

        Raises FileError for a file that is damaged, refused, or not to be trusted.
        """

    def inspect(self, path: Path) -> "Contents | None":
        """Return what a file contains, verified and not run; None if the format's files do not describe themselves."""
        return None

    def write_encoder(self, run: "Run", path: Path, **options: Any) -> ExportedEncoder | None:
        """Export the run's encoder beside the generator's file `path`; None if the format takes generators alone."""
        return None


def check_options(name: str, row: Format | type[Format], given: Mapping[str, Any]) -> None:
    """Raise UsageError for an option that the format does not take, by its name."""
    for option in given:
        if option not in row.options:
            takes = ", ".join(f"--{_flag(taken)}" for taken in row.options) or "none of them"
            raise UsageError(
                f"--{_flag(option)} is not an option of the format '{name}', which takes {takes}: leave it out, or "
                "choose another format (ganzoo list formats)"
            )


def _flag(option: str) -> str:
    return option.replace("_", "-")
