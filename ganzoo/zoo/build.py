"""Building of networks and objective from a resolved configuration. Raises UsageError for parts that do not fit."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ganzoo import registry
from ganzoo.config import RunConfig, Spec, settings_at
from ganzoo.errors import UsageError
from ganzoo.registry import HANDED_OVER, Registry
from ganzoo.zoo.networks.common import ImageShape, Output, as_output, logits_of
from ganzoo.zoo.objectives.base import Objective, Parts, head_names
from ganzoo.zoo.terms.base import PenaltyTerm, Term, as_term

EXAMPLES = 8  # number of images that a new generator is tested with
INPUTS = {  # arguments of a part before its settings; other kinds of parts have none
    "generator": "image_shape, latent_dim, num_classes, ",
    "discriminator": "image_shape, num_classes, ",
    "encoder": "image_shape, latent_dim, num_classes, ",
    "objective": "parts, ",
}
SLACK = 1e-3  # tolerance beyond [-1, 1], for rounding errors


def build_generator(config: RunConfig) -> nn.Module:
    """Return the generator, with random weights from torch's current seed."""
    spec, variant = config.variant.generator, config.variant
    classes = generator_labels(config)
    network = _make_network(registry.generators, spec, image_shape(config), variant.z_dim, classes)
    return _accept_labels(network, f"generator '{spec.name}'", needed=classes is not None)


def build_discriminator(config: RunConfig, terms: Sequence[Term] | None = None) -> nn.Module:
    """Return the discriminator with the heads that the variant's `terms` need, with weights from the current seed."""
    spec = config.variant.discriminator
    terms = build_terms(config) if terms is None else terms
    network = _make_network(registry.discriminators, spec, image_shape(config), num_classes(config))
    heads = _heads(config, terms)
    if heads:
        for name in heads:
            _check_head(name, heads[name], config, network, terms)
        getattr(network, "build_heads", lambda heads: None)(heads)  # an autoencoder has no heads to build
    if getattr(registry.objectives[config.variant.objective.name], "sees_pairs", False):
        if not getattr(network, "sees_pairs", False):
            raise UsageError(
                f"the objective '{config.variant.objective.name}' needs a discriminator of pairs, and '{spec.name}' "
                f"sees only images: use {_list_parts(registry.discriminators, lambda part: part.sees_pairs)}"
            )
        network.build_pairs(config.variant.z_dim)  # type: ignore[operator]  # declared by sees_pairs
    if getattr(registry.objectives[config.variant.objective.name], "class_logits", False):
        _check_class_logits(config, network, heads)
        network.use_class_logits()  # type: ignore[operator]  # declared by class_logits
    return _accept_labels(network, f"discriminator '{spec.name}'", needed=config.variant.conditional)


def _make(parts: Registry[Callable[..., Any]], spec: Spec, *inputs: Any) -> Any:
    """Return a part made of its inputs and settings. Raises UsageError if its signature does not accept them."""
    part = parts[spec.name]
    try:
        inspect.signature(part).bind(*inputs, **spec.settings)
    except TypeError as error:
        raise UsageError(
            f"the {parts.kind} '{spec.name}' cannot be created: {error}; expected a class or function with the "
            f"signature ({INPUTS.get(parts.kind, '')}*, settings), or an object that is already created"
        ) from None
    return part(*inputs, **spec.settings)


def _make_network(parts: Registry[Callable[..., Any]], spec: Spec, *inputs: Any) -> nn.Module:
    """Return a network on the CPU. Raises UsageError if it is not an `nn.Module` with a `forward`."""
    network = _make(parts, spec, *inputs)
    if not isinstance(network, nn.Module):
        raise UsageError(
            f"the {parts.kind} '{spec.name}' is of type {type(network).__name__}; expected torch.nn.Module"
        )
    if type(network).forward is nn.Module.forward:
        raise UsageError(f"the {parts.kind} '{spec.name}' has no forward: define forward(self, x, labels=None)")
    return network if any(value.is_meta for value in network.parameters()) else network.cpu()


def _accept_labels(network: nn.Module, what: str, *, needed: bool) -> nn.Module:
    """Return a network that accepts labels. If its `forward` has no parameter for them, they are ignored.

    Raises UsageError in that case if labels are `needed`.
    """
    parameters = inspect.signature(network.forward).parameters.values()
    places = [parameter for parameter in parameters if parameter.kind in (0, 1)]  # positional
    if len(places) > 1 or any(parameter.kind == parameter.VAR_POSITIONAL for parameter in parameters):
        return network
    if needed:
        raise UsageError(
            f"{what} needs labels, and its forward takes {len(places)} argument: define forward(self, x, labels)"
        )
    network.__class__ = _make_unlabelled(type(network))
    return network


def _make_unlabelled(kind: type[nn.Module]) -> type[nn.Module]:
    """Return a subclass whose `forward` accepts labels and ignores them."""

    def forward(self: nn.Module, inputs: Tensor, labels: Tensor | None = None) -> Any:
        return kind.forward(self, inputs)

    return type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})


def build_encoder(config: RunConfig) -> nn.Module:
    """Return the encoder, with weights from the current seed. Raises UsageError if the variant has no encoder."""
    spec = config.variant.encoder
    if spec is None:
        having = ", ".join(name for name in registry.variants if registry.variants[name]().encoder is not None)
        raise UsageError(f"'{config.run.variant}' has no encoder: train a variant that has one ({having})")
    classes = num_classes(config)
    network = _make_network(registry.encoders, spec, image_shape(config), encoder_columns(config), classes)
    return _accept_labels(network, f"encoder '{spec.name}'", needed=classes is not None)


def encoder_columns(config: RunConfig) -> int:
    """Return the number of columns of an encoder's output: z, and the code's logits if the objective encodes them."""
    code = config.variant.categorical_code
    encodes_code = getattr(registry.objectives[config.variant.objective.name], "encodes_code", False)
    return config.variant.z_dim + (code.size if code is not None and encodes_code else 0)


class Latents(nn.Module):
    """The latents only: the first columns of an encoder's output, [N, columns]."""

    def __init__(self, encoder: nn.Module, columns: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.columns = columns

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        z: Tensor = self.encoder(images, labels)[:, : self.columns]
        return z


BUILDERS = {"generator": build_generator, "discriminator": build_discriminator, "encoder": build_encoder}  # by role


def build_networks(config: RunConfig) -> dict[str, nn.Module]:
    """Return the networks of a variant, by role."""
    return {role: build(config) for role, build in BUILDERS.items() if getattr(config.variant, role) is not None}


def example_inputs(config: RunConfig, role: str, n: int) -> list[Tensor | None]:
    """Return example inputs for a network of this role: zeros, for `n` samples."""
    labels = torch.zeros(n, dtype=torch.int64)
    given = labels if config.variant.conditional else None
    z, images = torch.zeros(n, config.variant.z_dim), torch.zeros(n, *image_shape(config))
    if role == "generator":
        return [z, None if generator_labels(config) is None else labels]
    pairs = role == "discriminator" and getattr(registry.objectives[config.variant.objective.name], "sees_pairs", False)
    return [images, given, z] if pairs else [images, given]


def build_objective(config: RunConfig) -> Objective:
    """Return the networks, the loss, the terms and the augmentations as one objective.

    Raises UsageError if a network has a wrong signature or output shape, or if a part needs something that is missing.
    """
    variant = config.variant
    objective_class = registry.objectives[variant.objective.name]
    if variant.objective.name.startswith(HANDED_OVER) and not inspect.isclass(objective_class):
        raise UsageError(
            f"the objective '{variant.objective.name}' is not a class: expected a subclass of Objective, with its "
            "settings as in Spec(MyObjective, weight=2.0)"
        )
    encodes = getattr(objective_class, "encodes", False)
    if encodes and variant.encoder is None:
        raise UsageError(
            f"the objective '{variant.objective.name}' needs an encoder: add one with --set encoder=NAME "
            f"({', '.join(registry.encoders)})"
        )
    if getattr(objective_class, "encodes_code", False) and variant.categorical_code is None:
        raise UsageError(
            f"the objective '{variant.objective.name}' needs a categorical code, whose values are its clusters: "
            '--set \'codes=[{name="cluster", kind="categorical", size=10}]\''
        )
    if variant.encoder is not None and not encodes:
        raise UsageError(
            f"the encoder '{variant.encoder.name}' is not used by the objective '{variant.objective.name}': use "
            f"{_list_parts(registry.objectives, lambda part: part.encodes)}, or --set encoder=none"
        )
    for path, schedule in config.schedules().items():
        if schedule.over is None:
            raise UsageError(f"{path}: {schedule.describe()} has no horizon: set over = STEPS, or train with a budget")
    terms = build_terms(config)
    _check_terms(terms, config)
    parts = Parts(
        generator=build_generator(config),
        discriminator=build_discriminator(config, terms),
        encoder=build_encoder(config) if encodes else None,
        loss=_build_loss(variant.loss),
        terms=terms,
        augmentations=[_part(registry.augmentations, spec) for spec in variant.augmentations],
        conditional=variant.conditional,
        num_classes=config.facts.num_classes,
        uniform_codes=variant.uniform_codes,
    )
    objective: Objective = _make(registry.objectives, variant.objective, parts)
    _check_shapes(objective, config, terms)
    if config.data.batch_size == 1 and any(isinstance(module, _BatchNorm) for module in objective.modules()):
        raise UsageError("data.batch_size = 1: batch norm needs at least 2 images: remove it with generator.norm=none")
    return objective


def _build_loss(spec: Spec) -> Any:
    loss = _make(registry.losses, spec)
    lacking = [name for name in ("d", "g", "g_needs_real") if not hasattr(loss, name)]
    if lacking and spec.name.startswith(HANDED_OVER):  # a plug-in's objective may need fewer attributes
        raise UsageError(
            f"the loss '{spec.name}' has no attribute {lacking[0]}: expected an object with d(real, fake), g(real, "
            "fake) and g_needs_real"
        )
    return loss


def image_shape(config: RunConfig) -> ImageShape:
    """Return (C, H, W) of the run's images. Raises UsageError if the data are not loaded yet."""
    if config.facts.image_shape is None:
        raise UsageError("the images' shape is not known: the configuration lacks the facts of its data")
    return config.facts.image_shape


def num_classes(config: RunConfig) -> int | None:
    """Return the number of classes of the networks; None for an unconditional variant."""
    return config.facts.num_classes if config.variant.conditional else None


def generator_labels(config: RunConfig) -> int | None:
    """Return the number of labels of the generator: of classes, or of values of the categorical code."""
    code = config.variant.categorical_code
    return num_classes(config) if code is None else code.size


# Numbers that follow a schedule


@dataclass(frozen=True)
class Scheduled:
    """A part of an objective with settings that follow a schedule."""

    part: Any
    settings: dict[str, Any]

    def apply(self, step: int, device: torch.device) -> None:
        """Set the part's attributes to their values at a step, in place, because a CUDA graph reads the same memory."""
        for key, value in settings_at(self.settings, step).items():
            current = getattr(self.part, key)
            if isinstance(current, Tensor) and current.device.type == device.type:
                current.fill_(value)
            else:
                object.__setattr__(self.part, key, torch.tensor(value, dtype=torch.float32, device=device))


def scheduled_parts(config: RunConfig, objective: Objective) -> list[Scheduled]:
    """Return the terms and augmentations with scheduled settings. Raises UsageError if one does not support it."""
    variant = config.variant
    pairs = [
        *zip(variant.terms, objective.added.values(), strict=True),
        *zip(variant.augmentations, objective.augmentations.values(), strict=True),
    ]
    found = []
    for spec, part in pairs:
        part = part.penalty if isinstance(part, PenaltyTerm) else part
        scheduled = settings_at(spec.settings, 0)
        for key in scheduled:
            if not isinstance(getattr(part, key, None), float | Tensor):
                raise UsageError(
                    f"'{spec.name}' does not support a schedule for '{key}': it has no numeric attribute '{key}'"
                )
        if scheduled:
            found.append(Scheduled(part, spec.settings))
    return found


def _part(parts: Registry[Callable[..., Any]], spec: Spec) -> Any:
    """Return a term or an augmentation. A scheduled setting is a tensor with its value at step 0.

    So a part can distinguish a weight that is 0 at the start from a weight that is always 0.
    """
    scheduled = settings_at(spec.settings, 0)
    part = _make(parts, Spec(spec.name, **{**spec.settings, **scheduled}))
    for key, value in scheduled.items():
        if isinstance(getattr(part, key, None), float):
            object.__setattr__(part, key, torch.tensor(value, dtype=torch.float32))
    return part


def build_terms(config: RunConfig) -> list[Term]:
    """Return the variant's terms."""
    return [as_term(_part(registry.terms, spec)) for spec in config.variant.terms]


# Checks


def _heads(config: RunConfig, terms: Sequence[Term]) -> dict[str, int | None]:
    """Return the heads that the terms read, with their sizes; None for a head that is not linear."""
    code = config.variant.categorical_code
    sizes = {
        "classes": config.facts.num_classes,
        "codes": config.variant.uniform_codes + (code.size if code else 0) or None,
    }
    heads: dict[str, int | None] = {}
    for term in terms:
        for head in term.heads:
            name, size = (head, sizes.get(head)) if isinstance(head, str) else head
            if name in sizes and size is None:
                what = (
                    "classes in the data"
                    if name == "classes"
                    else 'codes: --set \'codes=[{name="style", kind="uniform", size=2}]\''
                )
                raise UsageError(f"the term '{term.term}' needs the head '{name}', and there are no {what}")
            if name in heads and heads[name] != size:
                raise UsageError(f"the head '{name}' is requested in two sizes: {heads[name]} and {size}")
            heads[name] = size
    trained = {name for term in terms for name in head_names(term) if name not in term.untrained_heads}
    for term in terms:
        for name in head_names(term):
            if name not in trained:
                others = ", ".join(_trainers(name)) or "none is registered"
                raise UsageError(
                    f"the term '{term.term}' needs another term that trains the head '{name}' ({others}): "
                    "--set 'terms=[...]' with both"
                )
    return heads


def _trainers(head: str) -> list[str]:
    """Return the registered terms that read a head and train it."""
    made = {name: registry.terms[name] for name in registry.terms}
    read = {name: getattr(term, "heads", ()) for name, term in made.items()}
    return [
        name
        for name, heads in read.items()
        if isinstance(heads, tuple) and head in heads and head not in getattr(made[name], "untrained_heads", ())
    ]


def _check_head(name: str, size: int | None, config: RunConfig, network: nn.Module, terms: Sequence[Term]) -> None:
    def builds(part: Any) -> bool:
        offers: frozenset[str] = getattr(part, "offers", frozenset())
        return name in offers or (size is not None and "linear" in offers)

    if builds(network):
        return
    asker = next(term.term for term in terms if name in head_names(term))
    raise UsageError(
        f"the term '{asker}' needs the head '{name}', which the discriminator '{config.variant.discriminator.name}' "
        f"does not build: use {_list_parts(registry.discriminators, builds)}"
    )


def _check_class_logits(config: RunConfig, network: nn.Module, heads: Mapping[str, int | None]) -> None:
    whose = f"the objective '{config.variant.objective.name}'"
    if "classes" not in heads:
        raise UsageError(f"{whose} needs a term that trains the head 'classes': --set 'terms=[\"supervision\"]'")
    if config.variant.conditional:
        raise UsageError(
            f"{whose} predicts the class, which is an input of a conditional variant: --set conditional=false"
        )
    if not hasattr(network, "use_class_logits"):
        raise UsageError(
            f"{whose} needs a discriminator that can compute its logit from its class logits, and "
            f"'{config.variant.discriminator.name}' cannot: use "
            f"{_list_parts(registry.discriminators, lambda part: part.use_class_logits)}"
        )


def _list_parts(parts: Registry[Callable[..., Any]], has: Callable[[Any], bool]) -> str:
    """Return the names of the registered parts for which `has` is true, for an error message."""

    def found() -> Iterable[str]:
        for name in parts:
            try:
                if has(parts[name]):
                    yield name
            except AttributeError:  # the part does not declare the attribute
                continue

    return ", ".join(found()) or "a part of your own (none is registered)"


def _check_terms(terms: Sequence[Term], config: RunConfig) -> None:
    variant = config.variant
    for term in terms:
        if term.needs_loss not in (None, variant.loss.name):
            raise UsageError(
                f"the term '{term.term}' works only with the loss '{term.needs_loss}', and the loss is "
                f"'{variant.loss.name}': --set loss={term.needs_loss}"
            )
        reads_label = variant.conditional and variant.discriminator.settings.get("conditioning") == "concat"
        if reads_label and (term.finds_classes or "classes" in head_names(term)):
            raise UsageError(
                f"the term '{term.term}' lets the discriminator predict the class, which is already its input: "
                "--set discriminator.conditioning=none"
            )
        height, width = image_shape(config)[1:]
        if term.needs_square and height != width:
            raise UsageError(
                f"the term '{term.term}' needs square images, and these are {height} x {width}: "
                "--set data.image_size=N makes them square"
            )
        if (term.needs_labels or term.needs_labelled) and config.facts.num_classes is None:
            raise UsageError(
                f"the term '{term.term}' reads labels, and {config.data.source} has none: use a folder per class, or "
                "`labels` in an .npz file"
            )
        code = variant.categorical_code
        if term.finds_classes and term.needs_fake_labels and code is not None:
            raise UsageError(
                f"the term '{term.term}' reads classes, and the generator's labels are values of the code "
                f"'{code.name}', not classes: --set codes=[]"
            )
        if term.needs_fake_labels and getattr(registry.objectives[variant.objective.name], "class_logits", False):
            raise UsageError(
                f"the term '{term.term}' reads the generator's labels, and with the objective "
                f"'{variant.objective.name}' the generator has none, as only real images have classes: use the term "
                "supervision"
            )
        if term.needs_fake_labels and generator_labels(config) is None:
            raise UsageError(
                f"the term '{term.term}' reads the generator's labels, and the generator of this variant has none: "
                "--set conditional=true"
            )


def check_range(generator: nn.Module, config: RunConfig) -> None:
    """Raise UsageError if the generator's images in evaluation mode leave [-1, 1], for example without a final tanh."""
    z, labels = example_inputs(config, "generator", EXAMPLES)
    assert z is not None, "a generator has latents"
    z = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    device, training = next(generator.parameters()).device, generator.training
    with torch.no_grad():
        images = generator.eval()(z.to(device), None if labels is None else labels.to(device))
    generator.train(training)
    least, most = float(images.min()), float(images.max())
    if not (least >= -1 - SLACK and most <= 1 + SLACK):
        raise UsageError(
            f"generator '{config.variant.generator.name}' draws values from {least:.3g} to {most:.3g}; expected images "
            "in [-1, 1]: end it with torch.nn.Tanh(), or clamp them when it is not training"
        )


@torch.no_grad()
def _check_shapes(objective: Objective, config: RunConfig, terms: Sequence[Term]) -> None:
    """Raise UsageError if a network's output does not have the expected shape."""
    objective.eval()
    variant = config.variant
    images = objective.generator(*example_inputs(config, "generator", 2))
    expected = (2, *image_shape(config))
    if tuple(images.shape) != expected:
        raise UsageError(
            f"generator '{variant.generator.name}' drew images of shape {list(images.shape)} for 2 latents; "
            f"expected {list(expected)}"
        )
    if variant.encoder is not None:
        encoded = objective.get_submodule("encoder")(*example_inputs(config, "encoder", 2))
        columns = encoder_columns(config)
        if not isinstance(encoded, Tensor) or encoded.shape != (2, columns):
            shape = list(encoded.shape) if isinstance(encoded, Tensor) else type(encoded).__name__
            raise UsageError(
                f"encoder '{variant.encoder.name}' returned {shape} for 2 images; expected latents [2, {columns}]"
            )
    answer: Tensor | Output = objective.discriminator(*example_inputs(config, "discriminator", 2))
    if tuple(logits_of(answer).shape) != (2,):
        raise UsageError(
            f"discriminator '{variant.discriminator.name}' returned logits of shape "
            f"{list(logits_of(answer).shape)} for 2 images; expected [2]: one number per image, without another "
            "dimension"
        )
    for name in _heads(config, terms):
        try:
            as_output(answer)[name]
        except KeyError:
            raise UsageError(
                f"discriminator '{variant.discriminator.name}' declares the head '{name}' in `offers`, and its output "
                "does not contain it"
            ) from None
    objective.train()
