"""A run's section: its networks, its training, its images."""

import shlex
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ganzoo import registry
from ganzoo.config import Spec, describe_setting
from ganzoo.errors import GanzooError
from ganzoo.evaluation.judge import to_tensor
from ganzoo.evaluation.metrics import FIGURES, title_of
from ganzoo.report.architecture import layers_of
from ganzoo.report.document import Block, Picture, Row, Section, Table, Text, integer, slug
from ganzoo.report.figures import (
    DENSITY,
    Panel,
    Series,
    Style,
    animation,
    beside,
    enlarged,
    panels,
    read_picture,
    spaced,
)
from ganzoo.report.sources import Material, Story
from ganzoo.runs.opening import load
from ganzoo.runs.records import EvaluationLine, LogLine
from ganzoo.runtime.generator import generate_images, great_circle
from ganzoo.runtime.images import grid
from ganzoo.zoo.build import BUILDERS, example_inputs

GRIDS = 4  # pictures of a run to show if no epochs are given, besides the last
POINTS = 600  # of a loss curve: more would not be readable
STEPS = 10  # images of an interpolation
PATHS = 6  # interpolations of an unconditional generator
CLASSES = 10  # at most, of a conditional one
DRAWN, NEIGHBOURS = 10, 5
Axis: TypeAlias = Literal["epoch", "seconds"]
AXES: dict[Axis, str] = {"epoch": "epochs", "seconds": "seconds of training"}


def variant_section(story: Story, material: Material, style: Style, epochs: Sequence[int] = ()) -> Section:
    """Return the section on one run; `epochs` are those whose grids are shown, if they exist."""
    name = slug(story.label)
    return Section(
        story.label,
        [
            *_introduction(story),
            *_figures(story),
            Section("Architecture", attempt(lambda: _architecture(story))),
            Section("Losses", _losses(story, style, name)),
            Section("Distance by epoch", _distances(story, style, name)),
            Section("The same latents during training", attempt(lambda: _grids(story, epochs, name))),
            Section("Between two latents", attempt(lambda: _interpolations(story, name))),
            Section("Nearest real images", attempt(lambda: _neighbours(story, material, name))),
        ],
    )


def attempt(make: Callable[[], list[Block]]) -> list[Block]:
    """Return the blocks, or a line with the reason why they are left out."""
    try:
        return make()
    except GanzooError as error:
        return [Text(f"Left out: {error}.")]


def _introduction(story: Story) -> list[Block]:
    config, blocks = story.config, list[Block]()
    variant, train = config.variant, config.train
    if story.variant in registry.variants:
        blocks.append(Text(registry.variants.summary(story.variant)))
    if story.evaluation is not None:
        blocks.append(Text(f"Verdict: {story.evaluation.verdict.sentence}.", note=True))
    terms = "; ".join(map(_spec, variant.terms)) or "none"
    networks = {role: spec for role in BUILDERS if (spec := getattr(variant, role)) is not None}
    blocks.append(
        Text(
            f"{' '.join(f'{role.capitalize()} {_spec(spec)}.' for role, spec in networks.items())} "
            f"Loss {_spec(variant.loss)}. Terms: {terms}. "
            f"{variant.critic_steps} discriminator update{'s' * (variant.critic_steps > 1)} for each generator update."
        )
    )
    shown = config.data.labels_per_class
    labels = f" (labels of {integer(shown)} of each class)" if shown else ""
    spent = f" in {integer(story.metrics[-1].seconds)} s" if story.metrics else ""
    blocks.append(
        Text(
            f"Trained on {config.data.source} for {integer(story.step)} steps, {story.epoch(story.step):.4g} epochs of "
            f"{integer(config.facts.images)} images{labels}{spent}; batches of {config.data.batch_size}, seed "
            f"{train.seed}."
        )
    )
    return blocks


def _spec(spec: Spec) -> str:
    settings = ", ".join(f"{key} {describe_setting(value)}" for key, value in spec.settings.items())
    return f"{spec.name} ({settings})" if settings else spec.name


def _figures(story: Story) -> list[Block]:
    evaluation = story.evaluation
    if evaluation is None:
        place, in_memory = story.run.path, story.config.data.source == "array"
        command = f"ganzoo evaluate {shlex.quote(str(place))}"
        command = f"ganzoo.evaluate({str(place)!r}, dataset=IMAGES)" if in_memory else command
        return [Text(f"Not evaluated after training yet: {command} evaluates it.")]
    rows = []
    for key, figure in FIGURES.items():
        if key in evaluation.figures:
            found = evaluation.figures[key]
            title = title_of(key, evaluation.judge.name)
            spread = found.deviation if len(found.values) > 1 else None
            rows.append([title, shown(key, found.mean, spread), shown(key, found.floor), figure.direction])
    draws = len(evaluation.seeds)
    over = f"mean ± standard deviation over {draws} draws" if draws > 1 else "one draw"
    caption = (
        f"At step {integer(evaluation.step)}: {integer(evaluation.n)} generated images, {over}; the floor is "
        f"what real images score. {' '.join(f'{note}.' for note in evaluation.notes)}"
    )
    left_out = [f"{FIGURES[key].title} ({why})" for key, why in evaluation.unavailable.items() if key in FIGURES]
    blocks: list[Block] = [Table(header=["Metric", "Generated", "Floor", "Better"], rows=rows, caption=caption)]
    return [*blocks, Text(f"Not measured: {'; '.join(left_out)}.")] if left_out else blocks


def shown(key: str, value: float | None, spread: float | None = None) -> str:
    """Return a metric for display, with its deviation."""
    if value is None:
        return "—"
    if spread is None:
        return FIGURES[key].show(value)
    return f"{FIGURES[key].show(value).removesuffix(' %')} ± {FIGURES[key].show(spread)}"


def _architecture(story: Story) -> list[Block]:
    return [
        Row([_layers(role, network, example_inputs(story.config, role, 2)) for role, network in story.networks.items()])
    ]


def _layers(role: str, network: nn.Module, inputs: Sequence[Tensor | None]) -> Table:
    layers = layers_of(network, *inputs)  # 2 samples: batch norm fails with a single one
    rows = [[layer.name, _shape(layer.shape), integer(layer.parameters)] for layer in layers]
    total = sum(layer.parameters for layer in layers)
    numbers = [f"{_shape(tuple(x.shape[1:]))} numbers" for x in inputs if x is not None and x.ndim > 1]
    taken = " and ".join(numbers + ["a label"] * any(x is not None and x.ndim == 1 for x in inputs))
    return Table(
        header=["Layer", "Output", "Parameters"],
        rows=[*rows, ["Total", "", integer(total)]],
        caption=f"The {role}: input of {taken}, {integer(total)} parameters.",
    )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "" if shape is None else " x ".join(map(str, shape)) or "1"


def _losses(story: Story, style: Style, name: str) -> list[Block]:
    lines = story.metrics
    if not lines:
        return [Text("The run is shorter than its log interval: there are no losses.")]
    wanted = [_loss_panel(lines, player, key, style) for player, key in (("Discriminator", "d"), ("Generator", "g"))]
    each = max(1, -(-len(lines) // POINTS))
    caption = f"Each point is the mean of {each} log lines." if each > 1 else ""
    alt = f"Losses of {story.label}'s discriminator and generator against epochs"
    return [Picture(name=f"{name}-losses", data=panels(wanted), alt=alt, caption=caption, density=DENSITY)]


def _loss_panel(lines: Sequence[LogLine], player: str, prefix: str, style: Style) -> Panel:
    """Return a panel of the whole loss, and of its terms if it has several."""
    keys = list(dict.fromkeys(key for line in lines for key in line.losses if key.startswith(f"{prefix}_")))
    terms = [key for key in keys if key != f"{prefix}_loss"]
    looks = {f"{prefix}_loss": (style, 1.8)}
    if len(terms) > 1:
        greys = ("#5b6570", "#9aa3ab", "#c3c9ce")
        looks |= {key: (Style(colour=greys[i % 3], line="--"), 1.1) for i, key in enumerate(terms)}
    series = [
        Series(
            label=key.removeprefix(f"{prefix}_").replace("_", " "),
            x=_thin([line.epoch for line in lines if key in line.losses]),
            y=_thin([line.losses[key] for line in lines if key in line.losses]),
            style=look,
            width=width,
        )
        for key, (look, width) in looks.items()
    ]
    return Panel(title=f"{player}'s loss", x="epochs", series=series)


def _thin(values: Sequence[float]) -> NDArray[Any]:
    each = max(1, -(-len(values) // POINTS))
    return np.array([np.mean(values[start : start + each]) for start in range(0, len(values), each)])


def _distances(story: Story, style: Style, name: str) -> list[Block]:
    points = [point for point in story.points if "fid" in point.figures]
    if not points:
        return [Text("The run was not evaluated during training (--evaluate-every): there is no curve.")]
    title = title_of("fid", points[-1].judge.name)
    floor = points[-1].floors.get("fid")
    wanted = []
    for x, unit in AXES.items():
        series = _curve(points, x, "fid", title, style)
        wanted.append(Panel(title=f"{title} (lower is better)", x=unit, series=[series], floor=floor, log=True))
    if any("label_accuracy" in point.figures for point in points):
        series = _curve(points, "epoch", "label_accuracy", "label accuracy", style)
        wanted.append(Panel(title="Label accuracy", x="epochs", series=[series], percent=True))
    lost = [f"step {integer(point.step)}: {', '.join(point.classes_lost)}" for point in points if point.classes_lost]
    alt = f"{title} of {story.label} by epoch and by seconds, the floor as a dashed line"
    blocks: list[Block] = [Picture(name=f"{name}-distance", data=panels(wanted), alt=alt, density=DENSITY)]
    return [*blocks, Text(f"Classes lost during training, at {'; '.join(lost)}.")] if lost else blocks


def _curve(points: Sequence[EvaluationLine], x: Axis, key: str, label: str, style: Style) -> Series:
    found = [point for point in points if key in point.figures]
    return Series(
        label=label, x=[getattr(point, x) for point in found], y=[point.figures[key] for point in found], style=style
    )


def _grids(story: Story, epochs: Sequence[int], name: str) -> list[Block]:
    pictures = story.pictures()
    wanted = [picture for picture in pictures if picture[0] in epochs] or spaced(pictures, GRIDS)
    shown_ = [
        Picture(
            name=f"{name}-epoch-{epoch}",
            data=read_picture(path),
            alt=f"Images of {story.label} after epoch {epoch}",
            caption=f"after epoch {epoch}",
        )
        for epoch, path in wanted
    ]
    final = story.run.samples / "final.png"
    last = read_picture(final) if final.is_file() else None
    if last is not None and all(last != picture.data for picture in shown_):
        caption = f"at the end, after {story.epoch(story.step):.4g} epochs"
        alt = f"Images of {story.label} at the end of its training"
        shown_.append(Picture(name=f"{name}-final", data=last, alt=alt, caption=caption))
    if not shown_:
        return [Text("The run has drawn no pictures yet.")]
    variant = story.config.variant
    rows = "One row per class, one column per latent." if variant.conditional else ""
    if variant.categorical_code is not None:
        rows = f"One row per value of the code '{variant.categorical_code.name}', one column per latent."
    blocks: list[Block] = [*([Text(rows)] if rows else []), Row(shown_)]
    if len(pictures) > 1:
        alt = f"Animation of {story.label}'s images from epoch {pictures[0][0]} to epoch {pictures[-1][0]}"
        blocks.append(
            Picture(name=f"{name}-training", data=animation(pictures), alt=alt, caption="The images during training.")
        )
    return blocks


def _interpolations(story: Story, name: str) -> list[Block]:
    generator = load(story.run)
    classes = generator.info.num_classes
    rows = PATHS if classes is None else min(classes, CLASSES)
    ends = generator.info.latents(0, 0, 2 * rows).reshape(rows, 2, -1)
    if classes is not None:
        ends = np.broadcast_to(ends[:1], ends.shape)  # the same path for every class
    codes = generator.info.uniform_codes
    paths = np.stack([great_circle(first, last, STEPS, codes) for first, last in ends])
    labels = None if classes is None else np.arange(rows).repeat(STEPS)
    images = generate_images(generator, paths.reshape(rows * STEPS, -1), labels)
    label = "class" if generator.info.has_classes else "value of the code"
    what = "pair of latents" if classes is None else f"{label}, all between the same two latents"
    return [
        Picture(
            name=f"{name}-interpolations",
            data=enlarged(grid(images, columns=STEPS), width=640),
            alt=f"Images of {story.label}, interpolated between two latents",
            caption=f"Spherical interpolation: one row per {what}.",
        )
    ]


def _neighbours(story: Story, material: Material, name: str) -> list[Block]:
    drawn = load(story.run).sample(DRAWN, seed=0)
    nearest, measure = material.nearest(to_tensor(drawn), story.config, NEIGHBOURS)
    picture = beside(drawn, torch.movedim(nearest, 2, 4).numpy())
    return [
        Picture(
            name=f"{name}-neighbours",
            data=enlarged(picture, width=900),
            alt=f"Images of {story.label}, each beside the training images nearest to it",
            caption=f"{len(drawn)} generated images, each with its {nearest.shape[1]} nearest training images on the "
            f"right, by {measure}.",
        )
    ]
