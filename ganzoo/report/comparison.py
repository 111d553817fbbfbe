"""The comparison of variants, made from the results of `ganzoo compare` or from runs in the same form."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ganzoo.evaluation.intervals import mean_and_deviation
from ganzoo.evaluation.metrics import FIGURES, title_of
from ganzoo.report.document import Block, Items, Picture, Row, Section, Table, Text, integer, slug
from ganzoo.report.figures import DENSITY, Panel, Series, Style, panels, read_picture, styles
from ganzoo.report.records import ComparisonResults, ComparisonRow
from ganzoo.report.variant import AXES, Axis, attempt, shown

Done: TypeAlias = dict[str, list[ComparisonRow]]  # by variant, the rows of finished runs
CURVES = {"fid": "(lower is better)", "label_accuracy": ""}


def comparison_section(results: ComparisonResults, base: Path) -> Section:
    """Return a comparison of variants; the rows' runs are relative to `base`, the directory of the results."""
    done = {
        variant: [row for row in results.rows if row.variant == variant and row.done] for variant in looks_of(results)
    }
    rows = [row for own in done.values() for row in own]
    return Section(
        "Comparison",
        [
            *_plan(results, rows),
            _overview(results, done),
            *_curves(results, done),
            *attempt(lambda: _pictures(done, base)),
            *_all_figures(results, done),
            *_verdicts(rows),
        ],
    )


def looks_of(results: ComparisonResults) -> dict[str, Style]:
    """Return each variant's colour and dashes, the same in all plots."""
    return styles(row.variant for row in results.rows if row.variant)


def _plan(results: ComparisonResults, done: Sequence[ComparisonRow]) -> list[Block]:
    plan, parts = results.plan, []
    if plan is not None and plan.variants:
        parts.append(f"{len(plan.variants)} variants, {plan.seeds} seeds each, on {plan.dataset}")
        budgets = {"minutes of training": plan.minutes, "epochs": plan.epochs, "steps": plan.steps}
        parts += [f"{amount:g} {unit} per run" for unit, amount in budgets.items() if amount]
    numbers = sorted({row.n for row in done if row.n})
    parts += [f"{' or '.join(map(integer, numbers))} images for each metric"] if numbers else []
    return [Text("; ".join(parts) + ".")] if parts else []


def _overview(results: ComparisonResults, done: Done) -> Table:
    """Return a table of quality and cost: one row per variant, one for real images, one per failed run."""
    rows = [row for own in done.values() for row in own]
    quality = [key for key in CURVES if any(key in row.figures for row in rows)]
    batches = sorted({size for row in rows for size in row.latency_ms}, key=lambda size: (len(size), size))
    titles = [title_of(key, _judge(results)) for key in quality]
    header = [
        "Variant",
        "Runs",
        *titles,
        "Images/s",
        "Parameters",
        "ONNX, KiB",
        *(f"ms for {size}" for size in batches),
    ]
    table = []
    for variant, own in done.items():
        total = sum(row.variant == variant for row in results.rows)
        runs = str(total) if len(own) == total else f"{len(own)} of {total}"
        table.append([variant, runs, *(_figure(own, key) for key in quality), *_costs(own, batches)])
    if any(key in results.floors for key in quality):
        real = ["real images (floor)", "—", *(shown(key, results.floors.get(key)) for key in quality)]
        table.append([*real, *["—"] * (len(header) - len(real))])
    table += [[row.name, row.status, row.error or "—"] for row in results.rows if not row.done]
    latency = " ms for N: the exported file's time to draw N images, on the machine that ran the comparison."
    caption = (
        "Mean ± standard deviation over the seeds, if there are several. Images/s: real images per second "
        f"through the discriminator in training. Parameters: those of the generator.{latency if batches else ''}"
    )
    return Table(header=header, rows=table, caption=caption)


def _costs(rows: Sequence[ComparisonRow], batches: Sequence[str]) -> list[str]:
    speed = _mean([row.images_per_s for row in rows])
    weights = _mean([row.generator_parameters for row in rows])
    size = _mean([row.onnx_bytes for row in rows])
    latencies = [_mean([row.latency_ms.get(batch) for row in rows]) for batch in batches]
    shown_latencies = ["—" if mean is None else f"{mean:.3g}" for mean in latencies]
    return [integer(speed), integer(weights), integer(None if size is None else size / 1024), *shown_latencies]


def _figure(rows: Sequence[ComparisonRow], key: str) -> str:
    """Return a metric's mean and deviation over a variant's runs."""
    values = [row.figures[key] for row in rows if key in row.figures]
    if not values:
        return shown(key, None)
    mean, deviation = mean_and_deviation(values)
    return shown(key, mean, deviation if len(values) > 1 else None)


def _mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the known values, None if there are none."""
    known = [value for value in values if value is not None]
    return mean_and_deviation(known)[0] if known else None


def _judge(results: ComparisonResults) -> str:
    return "" if results.judge is None else results.judge.name


def _curves(results: ComparisonResults, done: Done) -> list[Block]:
    looks, floors, blocks = looks_of(results), results.curve_floors or results.floors, list[Block]()
    for key, which in CURVES.items():
        if not any(key in point.figures for own in done.values() for row in own for point in row.curve):
            continue
        title = title_of(key, _judge(results))
        wanted = [
            Panel(
                title=f"{title} {which}".strip(),
                x=unit,
                series=[line for name, own in done.items() for line in _series(name, own, looks[name], x, key)],
                floor=floors.get(key),
                log=key == "fid",
                percent=FIGURES[key].percent,
            )
            for x, unit in reversed(AXES.items())
        ]
        blocks.append(
            Picture(
                name=f"comparison-{key}",
                data=panels(wanted, height=4.2),
                alt=f"{title} of each variant by seconds and by epoch, the floor as a dashed line",
                caption="Means over the seeds; the bands are ± one standard deviation.",
                density=DENSITY,
            )
        )
    return blocks


def _series(variant: str, rows: Sequence[ComparisonRow], style: Style, x: Axis, key: str) -> list[Series]:
    """Return the mean curve over the seeds with the spread; a curve per seed if their ranges do not overlap."""
    points = [[(getattr(point, x), point.figures[key]) for point in row.curve if key in point.figures] for row in rows]
    curves = [np.array(own, float) for own in points if own]
    places = _common(curves)
    if len(curves) > 1 and len(places):
        values = np.stack([np.interp(places, curve[:, 0], curve[:, 1]) for curve in curves])
        means, deviations = zip(*map(mean_and_deviation, values.T), strict=True)
        return [Series(label=variant, x=places, y=means, spread=deviations, style=style)]
    return [
        Series(label="_" if index else variant, x=curve[:, 0], y=curve[:, 1], style=style)
        for index, curve in enumerate(curves)
    ]


def _common(curves: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the x values of all curves' points that are within the range of every curve."""
    if not curves:
        return np.empty(0)
    first, last = max(curve[0, 0] for curve in curves), min(curve[-1, 0] for curve in curves)
    places: NDArray[Any] = np.unique(np.concatenate([curve[:, 0] for curve in curves]))
    common: NDArray[Any] = places[(places >= first) & (places <= last)]
    return common


def _pictures(done: Done, base: Path) -> list[Block]:
    """Return the images that the first run of each variant draws at the end of training."""
    pictures = []
    for variant, own in done.items():
        path = base / own[0].run / "samples" / "final.png" if own else None
        if path is not None and path.is_file():
            alt = f"Images that {variant} draws at the end of its training"
            name = f"comparison-{slug(variant)}"
            pictures.append(Picture(name=name, data=read_picture(path), alt=alt, caption=variant))
    return [Row(pictures)] if pictures else []


def _all_figures(results: ComparisonResults, done: Done) -> list[Block]:
    """Return a table of all metrics, with a column per variant."""
    rows = []
    for key, figure in FIGURES.items():
        cells = [_figure(own, key) for own in done.values()]
        if set(cells) - {"—"}:
            floor = shown(key, results.floors.get(key))
            rows.append([title_of(key, _judge(results)), *cells, floor, figure.direction])
    caption = "All metrics, mean ± standard deviation over the seeds."
    return [Table(header=["Metric", *done, "Floor", "Better"], rows=rows, caption=caption)] if rows else []


def _verdicts(done: Sequence[ComparisonRow]) -> list[Block]:
    runs: dict[str, list[str]] = {}
    for row in done:
        if row.verdict is not None:
            runs.setdefault(row.verdict.sentence, []).append(row.name)
    return [Items([f"{', '.join(names)}: {sentence}." for sentence, names in runs.items()])] if runs else []
