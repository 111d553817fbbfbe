"""The interface of formats of exported files, and the result of opening such a file. No torch.

The registry of formats is `ganzoo.registry.formats`; the built-in ones are in `ganzoo/exporting/formats/`.
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

if TYPE_CHECKING:  # formats are recognised, and most are loaded, without the packages that training needs
    from ganzoo.runs.run import Run
    from ganzoo.runtime.onnxfile import Contents

# Options of some formats, with their defaults; an opset of None is chosen by the precision.
OPTIONS: Mapping[str, Any] = {
    **dataclasses.asdict(Form()),
    **dict.fromkeys(("opset", "noise", "ort_web", "title", "description")),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference between a file's images and the expected ones."""

    difference: float  # maximum over images in [-1, 1]
    grey_levels: int  # maximum over uint8 images
    mean_grey_levels: float
    where: str  # the place of the maximum


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """An exported file: its path and properties."""

    path: Path
    size: int  # bytes
    sha256: str  # of these bytes
    nodes: int  # of the graph
    precision: str
    layout: str
    opset: int | None  # None if the format has no operator versions
    weights: str
    step: int
    difference: float  # maximum, from torch's images in [-1, 1]
    grey_levels: int
    mean_grey_levels: float
    figure: dict[str, Any] | None = None
    format: str = "onnx"

    @classmethod
    def of_bytes(
        cls, path: Path, data: bytes, proof: Difference, *, step: int, weights: str = "ema", nodes: int = 0
    ) -> "Exported":
        """Return the properties of a file that contains `data` and draws float32 images, as `proof` shows."""
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
        """Return the run's record of an export: JSON values, without the directory of the file."""
        return {**dataclasses.asdict(self), "path": self.path.name}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportedEncoder:
    """An exported encoder file: its path and properties."""

    path: Path
    size: int  # bytes
    nodes: int
    opset: int
    weights: str
    step: int
    difference: float  # maximum over a latent's values


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opened:
    """An exported file, opened."""

    model: Generator | Encoder
    sha256: str  # of the file's bytes
    document: Mapping[str, Any]  # its metadata: `step`, `weights`, `precision`, `parity`, as far as known
    trained_on: Mapping[str, Any]  # the data settings of its training
    run: "Run | None" = None  # the run that vouched for it, if its format needs one
    checks: tuple[str, ...] = ()  # checks that it passed when it was opened, each as a line for people


class Format(ABC):
    """A format of exported generators. Register a subclass with `@formats.register(name)`.

    The first line of the subclass's docstring is its summary in `ganzoo list formats`. It is created without arguments,
    and its module must be cheap to import: import torch and similar packages in the methods that need them.
    """

    suffix: ClassVar[str] = ""  # of its files, such as ".onnx"; empty for a directory
    options: ClassVar[tuple[str, ...]] = ()  # its options, from `OPTIONS`
    next: ClassVar[str] = "ganzoo sample {path} --out images.png, ganzoo info {path}, ganzoo verify {path}"  # commands
    vouched: ClassVar[bool] = False  # whether a file is opened only with a run that recorded its SHA-256

    @abstractmethod
    def write(
        self,
        run: "Run",
        path: Path | None,
        *,
        weights: str = "ema",
        best: bool = False,
        license: str | None = None,  # noqa: A002  # its name in the metadata
        **options: Any,
    ) -> Exported:
        """Export a checkpoint of a run to `path`, by default within the run, and return what was written.

        Write nothing and raise VerificationError if its images differ from those of the run
        (`ganzoo.exporting.parity.prove`). `options` are those that the format declares.
        """

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Return whether a file or directory has this format, by its content or its suffix, without running it."""

    @abstractmethod
    def load(self, path: Path, run: "Run | None" = None) -> Opened:
        """Open a file that the format recognises. `run` is the run that it was exported from, if known.

        Raises FileError if the file is damaged, refused or not trusted.
        """

    def inspect(self, path: Path) -> "Contents | None":
        """Return the verified contents of a file, without running it; None if the format has no such description."""
        return None

    def write_encoder(self, run: "Run", path: Path, **options: Any) -> ExportedEncoder | None:
        """Export the run's encoder beside the generator's file `path`; None if the format only supports generators."""
        return None


def check_options(name: str, row: Format | type[Format], given: Mapping[str, Any]) -> None:
    """Raise UsageError for an option that the format does not have."""
    for option in given:
        if option not in row.options:
            takes = ", ".join(f"--{_flag(taken)}" for taken in row.options) or "none of them"
            raise UsageError(
                f"--{_flag(option)} is not an option of the format '{name}', which has {takes}: leave it out, or "
                "choose another format (ganzoo list formats)"
            )


def _flag(option: str) -> str:
    return option.replace("_", "-")
