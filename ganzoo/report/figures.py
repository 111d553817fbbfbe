"""Plots: curves, bars and matrices by matplotlib, grids and animations by Pillow; each as the bytes of its file.

No global state is used: no pyplot, and matplotlib's settings are not changed.
"""

import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ganzoo.data.decoding import MAX_PIXELS
from ganzoo.errors import FileError, first_line
from ganzoo.files import ADVICE, read_limited
from ganzoo.runtime.images import grid

DENSITY = 2  # pixels of a plot's file per pixel of the page
WIDTH = 9.6  # inches, each 100 pixels of the page
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito 2008
STYLES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (3, 1, 1, 1, 1, 1)))
INK, SOFT, LINE = "#1d2329", "#5b6570", "#d9dee3"
PALETTE = 64  # colours of a plot's file
FRAMES = 40  # of an animation, at most
PICTURE_BYTES = 100_000_000  # of a picture that training drew, at most
GIF_BYTES = 1_400_000  # of an animation, at most, if fewer frames can achieve it
GIF_COLOURS = 32
GIF_WIDTH = 420  # pixels, at most; wider pictures are reduced
LABEL = 28  # characters of a name, at most
PAPER = 255

Array = NDArray[np.uint8]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Style:
    """The look of a series, the same everywhere on a page."""

    colour: str
    line: Any = "-"


def styles(names: Iterable[str]) -> dict[str, Style]:
    """Return colours that colour-blind readers can distinguish; beyond seven names, also other dashes."""
    return {
        name: Style(colour=COLOURS[i % len(COLOURS)], line=STYLES[i // len(COLOURS) % len(STYLES)])
        for i, name in enumerate(dict.fromkeys(names))
    }


@dataclass(frozen=True, kw_only=True)
class Series:
    """Points joined by a line; `spread` is the half-width of the band around it, or of the error bars."""

    label: str
    x: Sequence[float] | NDArray[Any]
    y: Sequence[float] | NDArray[Any]
    style: Style
    spread: Sequence[float] | NDArray[Any] | None = None
    width: float = 1.8
    bars: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes; `floor` is drawn as a dashed line."""

    title: str
    x: str
    series: Sequence[Series]
    floor: float | None = None
    log: bool = False
    log_x: bool = False
    percent: bool = False


def panels(wanted: Sequence[Panel], *, height: float = 3.3) -> bytes:
    """Return a PNG of the panels side by side, with one legend below them."""
    figure = Figure(figsize=(WIDTH if len(wanted) > 1 else WIDTH * 0.7, height), layout="constrained")
    axes = figure.subplots(1, len(wanted), squeeze=False)[0]
    for axis, panel in zip(axes, wanted, strict=True):
        _draw(axis, panel)
    entries: dict[str, Any] = {}  # entries that panels share appear once
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    columns = max(1, min(6 if len(wanted) > 1 else 3, len(entries)))  # as many as the width has room for
    place = figure.legend(
        entries.values(), entries, loc="outside lower center", ncols=columns, fontsize=8.5, handlelength=3
    )
    place.set_frame_on(False)
    return _png(figure)


def _draw(axis: Axes, panel: Panel) -> None:
    for series in panel.series:
        look: dict[str, Any] = {"color": series.style.colour, "linewidth": series.width, "label": _label(series.label)}
        marker = "o" if len(series.x) <= 12 else None
        if series.bars:
            axis.errorbar(series.x, series.y, yerr=series.spread, capsize=4, marker="o", ls=series.style.line, **look)
            continue
        axis.plot(series.x, series.y, linestyle=series.style.line, marker=marker, markersize=4, **look)
        if series.spread is not None:
            y, spread = np.asarray(series.y), np.asarray(series.spread)
            axis.fill_between(series.x, y - spread, y + spread, color=series.style.colour, alpha=0.18, linewidth=0)
    if panel.floor is not None:
        axis.axhline(panel.floor, color=SOFT, linestyle="--", linewidth=1.2, label="floor: real against real")
    _scales(axis, panel)
    _tidy(axis)
    axis.set_title(_label(panel.title), fontsize=10, loc="left", color=INK)
    axis.set_xlabel(panel.x, fontsize=9, color=SOFT)


def _label(text: str) -> str:
    """Return a label from a text of a file: formulas are not interpreted, and long texts are shortened."""
    return (text if len(text) <= LABEL else f"{text[: LABEL - 1]}…").replace("$", r"\$")


def _turn(names: Sequence[str]) -> float:
    """Return the rotation of names in degrees: long names are vertical, so that they do not overlap."""
    return 0 if max(map(len, names), default=0) <= 4 else 90


def _scales(axis: Axes, panel: Panel) -> None:
    if panel.log:
        values = [float(y) for series in panel.series for y in series.y if y > 0]
        values += [panel.floor] if panel.floor is not None and panel.floor > 0 else []
        axis.set_yscale("log", nonpositive="clip")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_locator(NullLocator())
        if values:  # a band that extends below zero is cut at the axis
            axis.set_ylim(min(values) / 1.4, max(values) * 1.4)
    if panel.log_x:
        axis.set_xscale("log")
        points = sorted({float(x) for series in panel.series for x in series.x})
        axis.set_xticks(points, [f"{x:g}" for x in points])
        axis.minorticks_off()
    if panel.percent:
        axis.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=" %"))


def _tidy(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color(SOFT)
    axis.grid(True, color=LINE, linewidth=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=8.5, colors=SOFT, which="both")


def bars(counts: Mapping[str, Sequence[int]], names: Sequence[str]) -> bytes:
    """Return a PNG of the number of images: one group of bars per class, one bar per split."""
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    axis = figure.subplots()
    places, width = np.arange(len(names)), 0.8 / len(counts)
    for index, (label, values) in enumerate(counts.items()):
        axis.bar(places + (index - (len(counts) - 1) / 2) * width, values, width, label=label, color=COLOURS[index])
    _tidy(axis)
    axis.grid(False, axis="x")
    axis.set_xticks(places, map(_label, names), rotation=_turn(names))
    axis.set_ylabel("images", fontsize=9, color=SOFT)
    axis.legend(frameon=False, fontsize=8.5, ncols=len(counts), loc="upper center", bbox_to_anchor=(0.5, 1.22))
    return _png(figure)


def labelled_grid(images: Array, columns: int, names: Sequence[str]) -> bytes:
    """Return a PNG of images uint8 [N, H, W, C] in rows of `columns`, each column under its name."""
    picture = grid(images, columns=columns)
    height, width = picture.shape[:2]
    figure = Figure(figsize=(WIDTH * 0.6, WIDTH * 0.6 * height / width + 0.3), layout="constrained")
    axis = figure.subplots()
    axis.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    cell = images.shape[2] + 2
    axis.set_xticks(
        [cell * column + images.shape[2] / 2 for column in range(columns)],
        map(_label, names),
        rotation=_turn(names),
    )
    axis.xaxis.tick_top()
    axis.tick_params(length=0, labelsize=10, colors=INK)
    axis.set_yticks([])
    axis.spines[:].set_visible(False)
    return _png(figure)


def confusion(matrix: NDArray[Any], names: Sequence[str]) -> bytes:
    """Return a PNG of counts, one row per true class, shaded by their share of the row."""
    side = min(WIDTH, 2 + 0.42 * len(names))
    figure = Figure(figsize=(side, side * 0.92), layout="constrained")
    axis = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= 30:
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if shares[row, column] > 0.5 else INK if count else LINE
            axis.text(column, row, f"{count}", ha="center", va="center", fontsize=8, color=colour)
    axis.set_xticks(range(len(names)), map(_label, names), rotation=_turn(names))
    axis.set_yticks(range(len(names)), map(_label, names))
    axis.set_xlabel("predicted class", fontsize=9, color=SOFT)
    axis.set_ylabel("true class", fontsize=9, color=SOFT)
    axis.tick_params(length=0, labelsize=8.5, colors=INK)
    axis.spines[:].set_visible(False)
    return _png(figure)


def beside(drawn: Array, neighbours: Array, columns: int = 2) -> Array:
    """Return each drawn image [N, H, W, C] beside its neighbours [N, K, H, W, C], in `columns` columns of rows."""
    count, _, height, width, channels = neighbours.shape
    gap = width // 3
    strip = np.full((count, height + 2, (neighbours.shape[1] + 1) * (width + 2) + gap, channels), PAPER, np.uint8)
    strip[:, :height, :width] = drawn
    for index in range(neighbours.shape[1]):
        left = (index + 1) * (width + 2) + gap
        strip[:, :height, left : left + width] = neighbours[:, index]
    rows = math.ceil(count / columns)
    stride = strip.shape[2] + 4 * gap
    page = np.full((rows * strip.shape[1], columns * stride, channels), PAPER, np.uint8)
    for index in range(count):
        top, left = index % rows * strip.shape[1], index // rows * stride
        page[top : top + strip.shape[1], left : left + strip.shape[2]] = strip[index]
    return page[:-2, : -4 * gap - 2]


def enlarged(picture: Array, width: int) -> bytes:
    """Return a PNG of [H, W, C], enlarged by a whole factor to at most about `width` pixels."""
    factor = max(1, width // picture.shape[1])
    return _encode(Image.fromarray(_squeeze(picture).repeat(factor, 0).repeat(factor, 1)))


def read_picture(path: Path) -> bytes:
    """Return the bytes of a picture that training drew. Raises FileError if it is damaged or not a PNG."""
    try:
        content = read_limited(path, PICTURE_BYTES)
        with Image.open(io.BytesIO(content), formats=("PNG",)) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"{picture.width} x {picture.height} pixels")
            picture.load()
    except Exception as error:  # whatever a decoder raises for a damaged or hostile file
        raise FileError(f"{path} is not a picture that training drew ({first_line(error)}); {ADVICE}") from error
    return content


def animation(pictures: Sequence[tuple[int, Path]]) -> bytes:
    """Return a looping GIF of pictures by epoch, each with its epoch below; later ones are further apart."""
    count = min(FRAMES, len(pictures))
    while True:
        data = _gif([_frame(path, f"epoch {epoch}") for epoch, path in spaced(pictures, count)])
        if len(data) <= GIF_BYTES or count <= 8:
            return data
        count = min(count - 1, max(8, int(count * GIF_BYTES / len(data))))


def spaced(items: Sequence[T], count: int) -> list[T]:
    """Return at most `count` items, including the first and the last, with growing distances."""
    if len(items) <= count:
        return list(items)
    return [items[max(i, round(place) - 1)] for i, place in enumerate(np.geomspace(1, len(items), count))]


def _frame(path: Path, caption: str) -> Image.Image:
    with Image.open(io.BytesIO(read_picture(path))) as opened:
        picture: Image.Image = opened
        if picture.mode == "RGBA":  # an animation has no transparency
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        picture = picture.convert("RGB" if picture.mode not in ("1", "L", "I", "I;16") else "L")
    if picture.width > GIF_WIDTH:
        size = (GIF_WIDTH, round(picture.height * GIF_WIDTH / picture.width))
        picture = picture.resize(size, Image.Resampling.BOX)
    frame = Image.new(picture.mode, (picture.width, picture.height + 24), "white")
    frame.paste(picture, (0, 0))
    font = ImageFont.load_default(15)
    ImageDraw.Draw(frame).text((4, picture.height + 3), caption, fill="black", font=font)
    return frame


def _gif(frames: list[Image.Image]) -> bytes:
    buffer = io.BytesIO()
    reduced = [frame.quantize(GIF_COLOURS, dither=Image.Dither.NONE) for frame in frames]
    durations = [250] * (len(frames) - 1) + [2000]
    reduced[0].save(buffer, "GIF", save_all=True, append_images=reduced[1:], duration=durations, loop=0)
    return buffer.getvalue()


def _squeeze(picture: Array) -> Array:
    return picture[..., 0] if picture.shape[-1] == 1 else picture


def _png(figure: Figure) -> bytes:
    """Return a plot as a PNG with few colours, which make a small file."""
    canvas = FigureCanvasAgg(figure)
    figure.set_dpi(100 * DENSITY)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    image = Image.fromarray(pixels[..., :3])
    return _encode(image.quantize(PALETTE, dither=Image.Dither.NONE))


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
