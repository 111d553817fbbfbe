"""The rules that a variant must follow: `check_variant` checks them on small images, as ganzoo's own tests do."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path

import numpy as np
import torch

from ganzoo import registry
from ganzoo.config import RunConfig
from ganzoo.errors import UsageError, first_line
from ganzoo.exporting.exporter import export, export_encoder
from ganzoo.runs.opening import load
from ganzoo.runs.run import Run
from ganzoo.testing.effects import dead_settings
from ganzoo.testing.errors import ConformanceError
from ganzoo.testing.trials import Trials, bits_of
from ganzoo.training.trainer import resume
from ganzoo.zoo.build import build_objective, build_terms, example_inputs

STEPS = 4
IMAGES = 9


def check_variant(
    name: str, *, image_size: int = 8, settings: Sequence[str] = (), rules: Iterable[str] | None = None
) -> None:
    """Check that a registered variant follows the rules that every built-in variant follows.

    Args:
        name: the registered name.
        image_size: height and width of the generated test images.
        settings: `KEY=VALUE`, as after `--set`; for example to reduce the size of networks that have no `width`.
        rules: names of `RULES`, to check only these.

    Raises ConformanceError for the first broken rule, with what was found, what was expected and what to do; UsageError
    for an unknown variant, rule or setting.
    """
    chosen = list(RULES if rules is None else rules)
    if unknown := [rule for rule in chosen if rule not in RULES]:
        raise UsageError(f"no rule '{unknown[0]}': expected some of {', '.join(RULES)}")
    trials = Trials(image_size)
    with tempfile.TemporaryDirectory() as directory:
        subject = Subject(registry.variants.canonical(name), trials, trials.configure(name, settings), Path(directory))
        for rule in chosen:
            try:
                RULES[rule](subject)
            except Exception as error:
                kind = "" if isinstance(error, ConformanceError) else f"{type(error).__name__}: "
                found, expected = f"{kind}{first_line(error)}", " ".join((RULES[rule].__doc__ or "").split())
                raise ConformanceError(
                    f"the variant '{subject.name}' breaks the rule '{rule}': {found}\nExpected: {expected}"
                ) from error


@dataclass(frozen=True)
class Subject:
    """A variant under test, with what the rules share."""

    name: str
    trials: Trials
    config: RunConfig
    directory: Path

    @cached_property
    def run(self) -> Run:
        """Return a run of four steps."""
        return self.trials.run(self.config, STEPS, self.directory / "whole")


def _document(subject: Subject) -> None:
    """The first line of the recipe's docstring, or of its module's, describes the variant and cites its paper, as in
    `DCGAN (Radford et al. 2016, arXiv:1511.06434): convolutions`, or `(own, 2026)`; the recipe names its `family`, and
    what its terms need from the data: `labels` (unless the variant is conditional) and `square images`.
    """
    summary, cited = registry.variants.summary(subject.name), registry.variants.citation(subject.name)
    if cited is None or (cited.paper is None and cited.authors != "own"):
        raise ConformanceError(f"the first line of its docstring cites no paper: '{summary}'")
    recipe, terms = registry.variants[subject.name](), build_terms(subject.config)
    labels = not recipe.conditional and any(term.needs_labels or term.needs_labelled for term in terms)
    found = {"labels": labels, "square images": any(term.needs_square for term in terms)}
    needs = tuple(need for need, needed in found.items() if needed)
    if recipe.needs != needs:
        raise ConformanceError(f"its terms need other data than it declares: set Variant(needs={needs!r})")
    if not recipe.family:
        raise ConformanceError("it names no family: set Variant(family=...), such as 'game', 'network' or 'structured'")


def _configure(subject: Subject) -> None:
    """The configuration is unchanged after it was written and read, as TOML and as JSON: settings are numbers, strings,
    booleans and lists of them.
    """
    config = subject.config
    for form, read in (
        ("TOML", RunConfig.from_toml(config.to_toml())),
        ("JSON", RunConfig.from_json(config.to_json())),
    ):
        if read != config:
            raise ConformanceError(f"read from {form}, it is different: {read.variant} instead of {config.variant}")


def _draw(subject: Subject) -> None:
    """The generator returns images [N, C, H, W] in [-1, 1] and the discriminator returns logits [N], for grey and RGB
    images, with labels and without; what does not fit together raises a UsageError.
    """
    for channels, conditional in product((1, 3), (False, True)):
        as_it_is = channels == 1 and conditional == subject.config.variant.conditional
        variant = subject.config.variant.model_copy(update={"conditional": conditional})
        config = subject.config.model_copy(update={"variant": variant})
        try:
            config = Trials(subject.trials.image_size, channels).prepare(config, 1).config
            objective = build_objective(config).eval()
        except UsageError:
            if as_it_is:
                raise
            continue
        inputs = example_inputs(config, "generator", IMAGES)
        with torch.no_grad():
            images = objective.generator(torch.randn(IMAGES, config.variant.z_dim), *inputs[1:])
        if not images.abs().max() <= 1:
            raise ConformanceError(
                f"its images have values up to {images.abs().max():.3g}: end the generator with a tanh, or clamp"
            )


def _train(subject: Subject) -> None:
    """After a few steps all weights are finite, and every weight that a player owns has changed: a weight that never
    changes is not used, or the loss does not depend on it.
    """
    before, after = (subject.trials.train(subject.config, steps) for steps in (0, STEPS))
    for player, previous in ((after.generator, before.generator), (after.discriminator, before.discriminator)):
        for name, parameter in player.parameters.items():
            if not parameter.isfinite().all():
                raise ConformanceError(f"'{name}' is not finite after {STEPS} steps")
            used = parameter.ndim < 2 and parameter.grad is not None  # a bias may have the gradient 0
            if torch.equal(parameter, previous.parameters[name]) and not used:
                raise ConformanceError(f"{STEPS} steps of the {player.name} do not change '{name}'")


def _resume(subject: Subject) -> None:
    """Two steps, then two more after resuming, give the same bits as four steps: weights, averages, optimisers, state
    and metrics. State must be in buffers (`register_buffer`), and random numbers must come from the batch (`noise`).
    """
    run = subject.trials.run(subject.config, STEPS // 2, subject.directory / "halves")
    resume(run, steps=STEPS, dataset=subject.trials.dataset, progress=False)
    whole, halves = bits_of(subject.run), bits_of(run)
    if different := [key for key in whole if whole[key] != halves.get(key)]:
        raise ConformanceError(f"{len(different)} of the run's values have different bits, such as {different[0]}")


def _export(subject: Subject) -> None:
    """The run can be exported to an .onnx file that passes verification and draws the run's images without torch:
    networks use only what torch can export, and draw no random numbers.
    """
    path = export(subject.run, subject.directory / "generator.onnx").path
    if subject.config.variant.encoder is not None:
        export_encoder(subject.run, subject.directory / "encoder.onnx")
    ours, theirs = (load(model).sample(IMAGES, seed=1).astype(np.int16) for model in (subject.run, path))
    if np.abs(ours - theirs).max() > 1:
        raise ConformanceError("the file's images differ from the run's")


def _set(subject: Subject) -> None:
    """Each setting of the variant and of its parts, changed alone, changes the weights after a few steps, in this
    variant or in another one that can use the part.
    """
    if dead := dead_settings(subject.trials, subject.config):
        raise ConformanceError("; ".join(dead))


RULES = {
    "documentation": _document,
    "configuration": _configure,
    "shapes": _draw,
    "training": _train,
    "resume": _resume,
    "export": _export,
    "settings": _set,
}
