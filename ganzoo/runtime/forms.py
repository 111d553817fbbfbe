"""The forms of an exported generator: a table of layouts and a table of precisions. Light to import.

The command's choices, the checks, the documentation and the benchmark are made from these tables. A new precision is
one row and its function in `ganzoo.exporting.conversion`; a new layout is one row.

    layout      data type and axis order of the file's `images`: floats, or bytes that can be displayed
    precision   the arithmetic of the file, and how far its images may differ from torch's
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ganzoo.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ImageShape: TypeAlias = tuple[int, int, int]  # (C, H, W)

OPSETS = range(17, 24)  # versions of the standard operators
NOISES = ("constant", "none")  # how to fix noise that a network draws itself: one draw of it, or its mean


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Data type and axis order of a file's output `images` [N, ...], for images (C, H, W)."""

    summary: str
    dtype: Literal["float32", "uint8"]
    axes: Literal["NCHW", "NHWC"]
    rgb: bool = False  # whether grey is repeated to three channels

    @property
    def floats(self) -> bool:
        return self.dtype == "float32"

    def shape(self, image: ImageShape) -> tuple[int, ...]:
        """Return the shape of one image in the file."""
        channels, height, width = 3 if self.rgb else image[0], *image[1:]
        return (channels, height, width) if self.axes == "NCHW" else (height, width, channels)

    def to_bytes(self, images: "NDArray[Any]", channels: int) -> "NDArray[np.uint8]":
        """Return a file's images as uint8 [N, H, W, C]. Raises UsageError for floats that are not finite."""
        from ganzoo.runtime.pixels import to_uint8

        if self.floats:
            return to_uint8(images)
        return images if self.axes == "NHWC" else images[:, :channels].transpose(0, 2, 3, 1).copy()

    def to_floats(self, images: "NDArray[Any]", channels: int) -> "NDArray[np.float32]":
        """Return a file's images as float32 [N, C, H, W] in [-1, 1]."""
        from ganzoo.runtime.pixels import to_float

        return images if self.floats else to_float(self.to_bytes(images, channels))


LAYOUTS = {
    "float": Layout(summary="float32 `[B, C, H, W]` in [-1, 1]", dtype="float32", axes="NCHW"),
    "uint8": Layout(summary="uint8 `[B, H, W, C]`, ready for an image library", dtype="uint8", axes="NHWC"),
    "uint8-nchw": Layout(summary="uint8 `[B, C, H, W]`", dtype="uint8", axes="NCHW"),
    "rgb": Layout(
        summary="uint8 `[B, 3, H, W]`, grey repeated, for grey and RGB: what torch-fidelity's `--input1 FILE` takes",
        dtype="uint8",
        axes="NCHW",
        rgb=True,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The arithmetic of a file, and how far its images may differ from torch's: an export beyond that is refused."""

    summary: str
    convert: str  # the function of `ganzoo.exporting.conversion` that converts float32 to it
    difference: float  # greatest allowed, of any value of images in [-1, 1]
    greatest: int  # allowed difference of any pixel, in grey levels of 255
    mean: float  # allowed mean difference over all pixels, in grey levels of 255
    repeat: float  # by how much another machine's images may differ from the exporting one's, in [-1, 1]
    opset: int = 18  # the default


PRECISIONS = {
    "fp32": Precision(
        summary="float32 throughout", convert="as_it_is", difference=1e-4, greatest=1, mean=1, repeat=1e-4
    ),
    "fp16": Precision(
        summary="float16 weights and arithmetic, for GPUs and the web; half the size",
        convert="half",
        difference=0.125,
        greatest=16,
        mean=0.25,
        repeat=0.0625,
    ),
    "fp16-weights": Precision(
        summary="float16 weights, which are made float32 when the file is opened; half the size and as fast as fp32",
        convert="half_weights",
        difference=0.03,
        greatest=4,
        mean=0.1,
        repeat=1e-4,
    ),
    "int8": Precision(
        summary="8-bit weights and activations, calibrated on the generator's own latents; a third of the size or less",
        convert="eight_bits",
        difference=2,
        greatest=255,
        mean=4,
        repeat=0.25,
        opset=21,  # onnx's ReferenceEvaluator has no DequantizeLinear of 18
    ),
}


@dataclass(frozen=True, init=False)
class Form:
    """The form of a file: a row of each table, and the version of the operators."""

    precision: str
    layout: str
    opset: int

    def __init__(self, *, precision: str = "fp32", layout: str = "float", opset: int | None = None) -> None:
        """Use the precision's opset if none is given. Raises UsageError for names that are not in the tables."""
        for kind, name, table in (("precision", precision, PRECISIONS), ("layout", layout, LAYOUTS)):
            if name not in table:
                from ganzoo.registry import nearest  # imported only for an error

                raise UsageError(f"no {kind} '{name}'{nearest(name, list(table))} (one of {', '.join(table)})")
        if opset is None:
            opset = PRECISIONS[precision].opset
        if opset not in OPSETS:
            raise UsageError(f"opset {opset}: expected one from {OPSETS.start} to {OPSETS.stop - 1}")
        for field, value in (("precision", precision), ("layout", layout), ("opset", opset)):
            object.__setattr__(self, field, value)  # it is frozen

    @property
    def suffix(self) -> str:
        """Return the part of a file name that names what differs from the default form, such as `-int8-uint8`."""
        return "".join(f"-{part}" for part in (self.precision, self.layout) if part not in ("fp32", "float"))
