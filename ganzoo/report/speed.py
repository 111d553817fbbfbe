"""The plot of a benchmark: images per second by batch size, one panel per model."""

from collections.abc import Sequence

from ganzoo.report.benchmark import BenchmarkRecord, ContestantResult, ModelResult
from ganzoo.report.figures import COLOURS, STYLES, Panel, Series, Style, panels, styles

HEIGHT = 4.6  # inches


def plot(found: BenchmarkRecord) -> bytes:
    """Return a PNG of the results of `ganzoo.studies.benchmark.benchmark_runtime`.

    Torch is black; a form has the colour of its precision and the dashes of its further name; each given file has its
    own colour.
    """
    runs = [model for model in found.models if any(one.kind == "torch" for one in model.contestants)]
    looks = _looks([one for model in runs for one in model.contestants])  # the same in all panels: one legend
    return panels([_panel(model, looks if model in runs else None) for model in found.models], height=HEIGHT)


def _panel(model: ModelResult, looks: dict[str, Style] | None) -> Panel:
    looks = styles(one.name for one in model.contestants) if looks is None else looks
    series = [
        Series(
            label=one.name,
            x=[row.batch for row in one.batches],
            y=[row.images_per_s for row in one.batches],
            style=looks[one.name],
        )
        for one in model.contestants
        if one.batches
    ]
    return Panel(title=f"{model.variant}: images/s", x="images per call", series=series, log=True, log_x=True)


def _looks(contestants: Sequence[ContestantResult]) -> dict[str, Style]:
    torch = dict.fromkeys(one.name for one in contestants if one.kind == "torch")
    forms = [one for one in contestants if one.kind == "file"]
    precisions = list(dict.fromkeys(one.precision for one in forms))
    further = list(dict.fromkeys(_further_name(one) for one in forms))
    return {
        **{name: Style(colour=COLOURS[-1], line=STYLES[i % len(STYLES)]) for i, name in enumerate(torch)},
        **{
            one.name: Style(
                colour=COLOURS[precisions.index(one.precision) % (len(COLOURS) - 1)],
                line=STYLES[further.index(_further_name(one)) % len(STYLES)],
            )
            for one in forms
        },
    }


def _further_name(form: ContestantResult) -> str:
    """Return `uint8` of int8-uint8, `plain` of fp32-plain, and an empty name of int8."""
    return form.name.removeprefix(form.precision or "").removeprefix("-")
