"""What is fast computes what is plain: every fast path is held to the plain one, within stated bounds."""

import copy
import hashlib
import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import (
    BATCH_SIZE,
    ROOT,
    Images,
    game_kind,
    narrow,
    one_of_each,
    tensors_of,
    terms_of,
    train_tiny,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, leaky_relu, relu

import ganzoo
from ganzoo import registry
from ganzoo.compute import rule
from ganzoo.compute.device import torch_settings
from ganzoo.config import Adam, Compute, assemble, read_toml
from ganzoo.errors import MachineError, UsageError
from ganzoo.registry import discriminators, generators
from ganzoo.runs.opening import load_network
from ganzoo.training import tuning
from ganzoo.training.graphs import copy_into
from ganzoo.training.prepare import Training, configure, prepare, with_compute
from ganzoo.training.state import Ema, TrainingState
from ganzoo.training.updates import Updates
from ganzoo.zoo.batch import Batch, Noise
from ganzoo.zoo.build import build_objective
from ganzoo.zoo.networks.common import Dropout
from ganzoo.zoo.networks.fused import ConvPool2d, FusedConv2d, PoolConv2d, UpsampleConv2d, fuse
from ganzoo.zoo.objectives.base import Terms
from ganzoo.zoo.terms.base import Term, Turn
from ganzoo.zoo.terms.gradient import FlatCurvature

INTERPOLATES = 'penalties=[{name="gradient", at="interpolates", target=1.0, weight=10.0, every=2}]'
RESIZE = ["generator=resize-conv", "generator.width=4", "discriminator=resize-conv", "discriminator.width=4"]
POOL = "discriminator.downsampling=pool"
PLAIN = ("train.precision=float32",)  # with it, nothing is fused, compiled or laid out otherwise unless asked for


# two layers as one


def test_the_layers_are_a_resampling_and_a_convolution() -> None:
    """The plain path against the two steps' own names."""
    x = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    up, down = UpsampleConv2d(3, 4), ConvPool2d(3, 4)
    for layer in (up, down):
        fuse(layer, False)
    enlarged = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(up(x), conv2d(enlarged, up.weight, up.bias, padding=1), rtol=0, atol=0)
    torch.testing.assert_close(interpolate(x, scale_factor=2), enlarged, rtol=0, atol=0)
    averaged = PoolConv2d(3, 4)
    fuse(averaged, False)
    means = x[:, :, :4].unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5))
    torch.testing.assert_close(averaged(x)[:, :, :2], conv2d(means, averaged.weight, averaged.bias))
    last = conv2d(x, down.weight, down.bias, padding=1)[:, :, 4:, :2]  # of an odd height: averages of 1 x 2
    torch.testing.assert_close(down(x)[:, :, 2, 0], last.mean((2, 3)))


def outcome(layer: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """The output, and the gradients of a function of it in which every pixel weighs differently."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    layer.zero_grad()
    y = layer(x)
    weights = torch.linspace(-1, 1, y.numel(), dtype=y.dtype) / y.numel() ** 0.5  # so that the sums are around 1
    (y * weights.view_as(y)).sum().backward()
    found = {"y": y.detach(), "x": x.grad, **{name: parameter.grad for name, parameter in layer.named_parameters()}}
    return {name: value for name, value in found.items() if value is not None}


@pytest.mark.slow
@given(
    kind=st.sampled_from([UpsampleConv2d, ConvPool2d, PoolConv2d]),
    channels=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    bias=st.booleans(),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=60)
def test_two_layers_as_one_are_the_two(
    kind: type[FusedConv2d],
    channels: tuple[int, int],
    size: tuple[int, int],
    bias: bool,
    layout: torch.memory_format,
    dtype: torch.dtype,
) -> None:
    """Exactly, but for rounding: in float64 it is 14 digits."""
    torch.manual_seed(0)
    layer = kind(*channels, bias=bias).to(dtype)
    layer.to(memory_format=layout)  # type: ignore[call-overload]  # torch's stubs leave the keyword out
    x = torch.randn(2, channels[0], *size, dtype=dtype).to(memory_format=layout)
    fuse(layer, True)
    one = outcome(layer, x)
    fuse(layer, False)
    two = outcome(layer, x)
    bound = {torch.float32: 1e-5, torch.float64: 1e-14}[dtype]
    torch.testing.assert_close(one, two, rtol=bound, atol=bound)
    assert one.keys() == {"y", "x", "weight", *(["bias"] if bias else [])}


def test_fusing_reaches_every_layer_and_changes_no_weight(tiny_images: Images) -> None:
    kinds = (UpsampleConv2d, ConvPool2d)
    states = []
    for fused in (False, True):
        begun = Begun("dcgan", tiny_images, *RESIZE, POOL, f"train.fused={str(fused).lower()}", *PLAIN)
        layers = [layer for layer in begun.state.objective.modules() if isinstance(layer, kinds)]
        averaged = [layer for layer in begun.state.ema.network.modules() if isinstance(layer, kinds)]
        assert {type(layer) for layer in layers} == set(kinds)
        assert {layer.fused for layer in [*layers, *averaged]} == {fused}
        states.append(begun.state.objective.state_dict())
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)


# updates: what the ways of computing are compared by


class Begun:
    """A training of tiny images that is about to begin: its state, its batches and its updates."""

    def __init__(self, variant: str, images: Images, *changes: str, **options: Any) -> None:
        training = prepared(variant, images, *changes, **options)
        self.config = training.config.with_horizon(10)
        with torch_settings(self.config):
            self.state = TrainingState(self.config, training.device)
            self.updates = Updates(self.state, self.config)
        self.batches = training.batches(self.state.objective)
        self.first = weights_of(self.state)

    def step(self) -> list[Terms]:
        """The terms of one step's updates, the generator's last."""
        critic_steps = self.config.variant.critic_steps
        batches = [self.batches.at(self.state.step * critic_steps + update) for update in range(critic_steps)]
        with torch_settings(self.config):
            terms = [kept(self.updates.discriminator(batch)) for batch in batches]
            terms.append(kept(self.updates.generator(batches[-1])))
        self.state.step += 1
        return terms


def prepared(variant: str, images: Images, *changes: str, **options: Any) -> Training:
    """A small training on one thread, with the choices of how it computes made by the rule."""
    options = {"steps": 1, "batch_size": BATCH_SIZE, "device": "cpu", **options}
    config = configure(
        variant, images, settings=[*narrow(variant), "train.threads=1", "train.augment=none", *changes], **options
    )
    return with_compute(prepare(config, images))


def kept(terms: Terms) -> Terms:
    """The terms, whatever the next update writes to their place."""
    return {name: value.detach().clone() for name, value in terms.items()}


def weights_of(state: TrainingState) -> Tensor:
    """Every parameter of both players as one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in state.objective.parameters()])


def gradients_of(state: TrainingState) -> Tensor:
    """Every gradient that the last updates left, as one vector."""
    return torch.cat([value.grad.flatten() for value in state.objective.parameters() if value.grad is not None])


def difference(one: Tensor, other: Tensor) -> float:
    """The distance of two vectors, relative to the second's length."""
    return float((one - other).norm() / other.norm())


# compiled


def compiler_is_there() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "g++", "clang++"))


@pytest.mark.slow
@pytest.mark.skipif(not compiler_is_there(), reason="compiling needs a C++ compiler, and none is on the path")
def test_compiled_updates_are_the_eager_ones(tiny_images: Images) -> None:
    """Two steps, of which the lazy penalty falls into the first; the third and fourth compile nothing more."""
    import torch._dynamo

    narrower = (INTERPOLATES, "generator.width=2", "discriminator.width=2", *PLAIN)
    eager = Begun("dcgan", tiny_images, *narrower)
    compiled = Begun("dcgan", tiny_images, *narrower, "train.compiled=true")
    for step in range(4):
        with torch._dynamo.config.patch(error_on_recompile=step >= 2):
            ours, plain = compiled.step(), eager.step()
        lazy = {"gradient_interpolates"} if step % 2 == 0 else set()
        assert [set(terms) for terms in ours] == [{"adversarial", *lazy}, {"adversarial"}]
        torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-5)
        assert difference(gradients_of(compiled.state), gradients_of(eager.state)) < 1e-4
        assert difference(weights_of(compiled.state), weights_of(eager.state)) < 1e-5


# the penalty's double backward


class Branches(nn.Module):
    """ReLUs called in every way: as modules and functions, by position and by name, in place with the value read on."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(5, 7), nn.Linear(7, 7), nn.Linear(7, 1)
        self.in_place = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.first(x.flatten(1))
        x = leaky_relu(x, 0.3) + leaky_relu(input=x, negative_slope=0.1) + leaky_relu(x) + relu(x - 0.1)
        h = self.second(x) + 0
        y = self.in_place(h)
        z = torch.relu(self.second(y) + h)  # what was written over is read again
        logits: Tensor = self.head(leaky_relu(z - 0.2, 0.2, True)).squeeze(1)
        return logits


def penalty_gradients(network: nn.Module, x: Tensor, flat: bool) -> list[Tensor]:
    """Of E[(|grad D| - 1)^2] plus E[D^2], by all parameters; written as in the paper, with FlatCurvature or without."""
    x = x.clone().requires_grad_()
    if flat:
        with FlatCurvature():
            logits = network(x)
    else:
        logits = network(x)
    (gradients,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    value = (gradients.flatten(1).norm(dim=1) - 1).square().mean() + logits.square().mean()
    return list(torch.autograd.grad(value, list(network.parameters())))


class Rectified(nn.Module):
    """A discriminator with ReLUs in place of its leaky ones."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        for name, module in list(network.named_modules()):
            if isinstance(module, nn.LeakyReLU):
                parent, _, child = name.rpartition(".")
                setattr(network.get_submodule(parent), child, nn.ReLU())

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        logits: Tensor = self.network(x, labels)
        return logits


@pytest.mark.slow
@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("name", ["mlp", "dcgan", "resize-conv"])
def test_without_curvature_the_penaltys_gradients_are_the_same(name: str, rectified: bool) -> None:
    torch.manual_seed(0)
    network = discriminators[name]((1, 8, 8), None, width=8)
    network = Rectified(network) if rectified else network
    assert any(isinstance(module, nn.ReLU if rectified else nn.LeakyReLU) for module in network.modules())
    x = torch.randn(6, 1, 8, 8)
    flat, plain = (penalty_gradients(network, x, way) for way in (True, False))
    assert sum(bool(gradient.abs().sum() > 0) for gradient in plain) > len(plain) / 2
    torch.testing.assert_close(flat, plain, rtol=1e-5, atol=1e-7)


def test_without_curvature_every_way_to_call_a_relu_is_the_same() -> None:
    torch.manual_seed(0)
    network, x = Branches(), torch.randn(6, 5)
    flat, plain = (penalty_gradients(network, x, way) for way in (True, False))
    torch.testing.assert_close(flat, plain, rtol=1e-5, atol=1e-7)


def test_without_curvature_the_penalty_is_the_closed_form() -> None:
    """Of D(x) = v . lrelu(W x), with slopes s: g = grad D = W' (v s); |g|^2 by W is 2 (v s) g', by v is 2 s (W g)."""
    torch.manual_seed(0)
    weight, v, x = torch.randn(4, 3, requires_grad=True), torch.randn(4, requires_grad=True), torch.randn(1, 3)
    with FlatCurvature():
        points = x.clone().requires_grad_()
        value = (leaky_relu(points @ weight.T, 0.2) @ v).sum()
    (gradient,) = torch.autograd.grad(value, points, create_graph=True)
    found = torch.autograd.grad(gradient.square().sum(), [weight, v])
    with torch.no_grad():
        slopes = torch.where((x @ weight.T)[0] > 0, 1.0, 0.2)
        assert 0 < (slopes == 1).sum() < 4  # both sides of the bend
        by_hand = weight.T @ (v * slopes)
        expected = (2 * torch.outer(v * slopes, by_hand), 2 * slopes * (weight @ by_hand))
    torch.testing.assert_close(gradient[0].detach(), by_hand)
    torch.testing.assert_close(found, expected)


# dropout


def dropped(x: Tensor, p: float, seed: int = 0, kind: type[nn.Dropout] = Dropout) -> Tensor:
    torch.manual_seed(seed)
    y: Tensor = kind(p)(x)
    return y


@pytest.mark.slow
@pytest.mark.parametrize("p", [0.1, 0.4, 0.75])
def test_dropout_drops_torchs_share_and_keeps_the_mean(p: float) -> None:
    """Of a million values the share has a standard deviation of 0.0005 at most; the bound is eight of them."""
    x = torch.ones(1000, 1000)
    ours, torchs = dropped(x, p), dropped(x, p, kind=nn.Dropout)
    for y in (ours, torchs):
        assert (y == 0).float().mean().item() == pytest.approx(p, abs=0.004)
        assert y.mean().item() == pytest.approx(1, abs=0.004 / (1 - p))
        for extreme in (y.max(), y[y > 0].min()):
            assert extreme.item() == pytest.approx(1 / (1 - p), rel=1e-4)
    kept = (ours > 0).float()  # no row, column or neighbour knows of another
    assert (kept.mean(0) - (1 - p)).abs().max() < 0.1
    assert (kept.mean(1) - (1 - p)).abs().max() < 0.1
    for step in range(1, 5):
        both = kept.flatten()[step:] * kept.flatten()[:-step]
        assert both.mean().item() == pytest.approx((1 - p) ** 2, abs=0.004)


def test_dropout_is_the_identity_where_it_should_be() -> None:
    x = torch.randn(5, 7)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


@given(p=st.floats(0.0001, 0.999999), size=st.lists(st.integers(0, 6), min_size=1, max_size=4))
@settings(max_examples=40)
def test_dropouts_mask_is_the_seeds_and_the_gradients(p: float, size: list[int]) -> None:
    """Whatever the shape, and the dtype; another seed is another mask."""
    x = torch.full(size, 3.0, requires_grad=True)
    y = dropped(x, p)
    assert y.shape == x.shape
    assert y.isfinite().all()
    assert torch.equal(y, dropped(x, p))
    halves = dropped(x.detach().bfloat16(), p)
    assert halves.dtype == torch.bfloat16
    assert torch.equal(halves == 0, y == 0)
    y.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    torch.testing.assert_close(3 * x.grad, y.detach())


def test_another_seed_is_another_mask() -> None:
    x = torch.ones(1000)
    assert not torch.equal(dropped(x, 0.5, seed=0), dropped(x, 0.5, seed=1))


# precision and layout


@pytest.mark.parametrize("name", one_of_each(game_kind))
def test_bfloat16_is_float32_but_for_its_rounding(name: str, tiny_images: Images) -> None:
    """bfloat16 keeps 8 bits, 0.4 %, of every product's factors; losses are differences, of logits around 1.

    Adam's first step has the size of the learning rate whatever the gradient's: where that is next to nothing, rounding
    decides its sign, so that the weights' change differs much more than the gradients. Unrelated steps differ by 1.4.
    The gradient of an absolute error, BEGAN's, is a sign too, and that of a small error, InfoGAN's, is small.
    """
    rounded, exact = Begun(name, tiny_images, "train.precision=bfloat16"), Begun(name, tiny_images, *PLAIN)
    ours, plain = rounded.step(), exact.step()
    torch.testing.assert_close(ours, plain, rtol=2**-7, atol=2**-5)
    assert ours != plain
    allowed = {"began": 0.3, "infogan": 0.2}.get(name, 0.08)
    assert difference(gradients_of(rounded.state), gradients_of(exact.state)) < allowed
    moved, plainly = (weights_of(begun.state) - begun.first for begun in (rounded, exact))
    assert difference(moved, plainly) < 0.6


@pytest.mark.parametrize("name", one_of_each(game_kind))
def test_channels_last_is_the_same_arithmetic(name: str, tiny_images: Images) -> None:
    one, other = (
        Begun(name, tiny_images, "train.precision=float32", f"train.channels_last={value}")
        for value in ("true", "false")
    )
    torch.testing.assert_close(one.step(), other.step(), rtol=1e-5, atol=1e-5)
    assert difference(gradients_of(one.state), gradients_of(other.state)) < 1e-4  # sums in another order
    assert difference(weights_of(one.state), weights_of(other.state)) < 1e-4
    convolutions = [value for value in one.state.objective.parameters() if value.ndim == 4 and value.shape[1] > 1]
    assert all(value.is_contiguous(memory_format=torch.channels_last) for value in convolutions)


# images drawn once


def test_a_step_draws_the_generators_images_once(tiny_images: Images) -> None:
    """One pass for each critic update; the last one's images, and no others, carry the generator's graph."""
    begun = Begun("wgan-gp", tiny_images, "critic_steps=5", "terms.0.every=1", *PLAIN)
    objective = begun.state.objective
    before = copy.deepcopy(objective.generator)
    drawn: list[Tensor] = []
    judged: list[Tensor] = []  # what each of the discriminator's passes saw
    objective.generator.register_forward_hook(lambda module, args, images: drawn.append(images))
    objective.discriminator.register_forward_hook(lambda module, args, logits: judged.append(args[0].detach()))
    begun.step()
    assert [images.requires_grad for images in drawn] == [False, False, False, False, True]
    assert len(judged) == 5 * 2 + 1  # the game and the penalty, and the generator's game
    for update, images in enumerate(drawn):
        assert torch.equal(judged[2 * update][BATCH_SIZE:], images)
        torch.testing.assert_close(before(begun.batches.at(update).z), images, rtol=0, atol=1e-6)
    assert torch.equal(judged[-1], drawn[-1])


@pytest.mark.parametrize("loss", ["wasserstein", "relativistic-pairing"])
def test_the_generators_loss_is_that_of_images_drawn_anew(loss: str, tiny_images: Images) -> None:
    begun = Begun("wgan-gp", tiny_images, "critic_steps=5", f"loss={loss}", *PLAIN)
    with torch_settings(begun.config):
        for update in range(5):
            batch = begun.batches.at(update)
            begun.updates.discriminator(batch)
        objective = copy.deepcopy(begun.state.objective)
        (expected,) = terms_of(objective, "generator", batch).values()
        expected.backward()  # type: ignore[no-untyped-call]
        (found,) = begun.updates.generator(batch).values()
    assert torch.equal(found, expected)
    for ours, anew in zip(begun.state.objective.generator.parameters(), objective.generator.parameters(), strict=True):
        assert ours.grad is not None
        assert anew.grad is not None
        assert torch.equal(ours.grad, anew.grad)


class Replaying:
    """`Graphs` without CUDA: after four calls of a key the update is not called again, as if a graph were replayed."""

    def __init__(self) -> None:
        self.calls: Counter[Hashable] = Counter()
        self.captured: dict[Hashable, Terms] = {}

    def run(self, key: Hashable, update: Callable[[Batch], Terms], batch: Batch) -> Terms:
        self.calls[key] += 1
        if self.calls[key] <= 4:  # three eager calls, and the one that is captured
            self.captured[key] = update(batch)
        return self.captured[key]


@pytest.mark.parametrize("critic_steps", [1, 3])
@pytest.mark.usefixtures("registries")
def test_updates_are_captured_in_pairs_whatever_is_due(critic_steps: int, tiny_images: Images) -> None:
    """The generator's update goes on with what the discriminator's has drawn: it is not captured at another step."""

    @registry.terms.register("lazy")
    @dataclass(frozen=True, kw_only=True)
    class Lazy(Term):
        every: int = 4
        term = "lazy"
        players = ("generator",)

        def __call__(self, turn: Turn) -> Tensor:
            return turn.fake.logits.mean()

    terms = 'terms=["lazy", {name="gradient", at="real", every=3}]'
    begun = Begun("gan", tiny_images, terms, f"critic_steps={critic_steps}", *PLAIN)
    graphs = Replaying()
    begun.updates._graphs = graphs  # type: ignore[assignment]
    for _ in range(40):
        begun.step()
    last = {key[1:] for key in graphs.calls if key[0] == "d" and key[2] is not None}  # type: ignore[index]
    generators = {key[1:] for key in graphs.calls if key[0] == "g"}  # type: ignore[index]
    assert last == generators
    assert len(generators) >= 2


# the average


def test_the_average_is_the_product_of_its_decays() -> None:
    """Of a generator that stays at 1, from 0, the average is 1 less the product of the decays."""
    generator = nn.Linear(1, 1, bias=False).double()
    nn.init.zeros_(generator.weight)
    ema = Ema(generator, decay=0.9)
    nn.init.ones_(generator.weight)
    left, seen = 1.0, []
    for step in range(1, 121):
        ema.update(generator, step)
        decay = min(0.9, step / (step + 9))  # the full one from step 81 on
        if step <= 80:
            left *= decay
        elif step % 8 == 0:
            left *= decay**8
        (weight,) = ema.network.parameters()
        assert weight.item() == pytest.approx(1 - left, rel=1e-12)
        seen.append(weight.item())
    assert all(len(set(seen[first : first + 8])) == 1 for first in (79, 87, 95))  # constant in between


def test_the_average_of_slow_weights_is_as_good_every_eighth_step() -> None:
    """Of weights that move by 1 a step, it lags behind the average of every step by no more than the eighth's 7."""
    generator = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(generator.weight)
    ema, every = Ema(generator, decay=0.99), 0.0
    for step in range(1, 2001):
        nn.init.constant_(generator.weight, float(step))
        ema.update(generator, step)
        every += (1 - min(0.99, step / (step + 9))) * (step - every)
    (weight,) = ema.network.parameters()
    assert weight.item() == pytest.approx(every, abs=7)
    assert every == pytest.approx(2000 - 99, abs=1)


def test_the_averages_buffers_are_copied() -> None:
    generator = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    ema = Ema(generator, decay=0.9)
    for step in range(1, 97):
        generator(torch.randn(4, 2))
        ema.update(generator, step)
    for average, value in zip(ema.network.buffers(), generator.buffers(), strict=True):
        assert torch.equal(average, value)


# graphs


def batch_of(seed: int, **changes: Any) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(10, (4,), generator=draw)
    return replace(
        Batch(
            update=seed,
            real=torch.randn(4, 1, 2, 2, generator=draw),
            labels=labels,
            z=torch.randn(4, 3, generator=draw),
            fake_labels=labels,
            noise=Noise(mix=torch.rand(4, 1, 1, 1, generator=draw)),
            labelled=(torch.randn(4, 1, 2, 2, generator=draw), torch.randint(10, (4,), generator=draw)),
        ),
        **changes,
    )


def tensors_in(batch: Batch) -> dict[str, Tensor | None]:
    noise = {"mix": batch.noise.mix, "pixels": batch.noise.pixels}
    labelled = dict(zip(("labelled images", "their labels"), batch.labelled or (), strict=False))
    own = {"real": batch.real, "labels": batch.labels, "z": batch.z, "fake_labels": batch.fake_labels}
    return {**own, **noise, **labelled}


@pytest.mark.parametrize("changes", [{}, {"labels": None, "fake_labels": None, "noise": Noise(), "labelled": None}])
def test_a_batch_is_copied_into_the_memory_of_another(changes: dict[str, Any]) -> None:
    first, second = batch_of(1, **changes), batch_of(2, **changes)
    own = copy.deepcopy(first)
    torch.testing.assert_close(tensors_in(own), tensors_in(first), rtol=0, atol=0)
    places = {name: tensor.data_ptr() for name, tensor in tensors_in(own).items() if tensor is not None}
    assert not set(places.values()) & {tensor.data_ptr() for tensor in tensors_in(first).values() if tensor is not None}
    copy_into(own, second)
    assert places == {name: tensor.data_ptr() for name, tensor in tensors_in(own).items() if tensor is not None}
    torch.testing.assert_close(tensors_in(own), tensors_in(second), rtol=0, atol=0)
    torch.testing.assert_close(tensors_in(first), tensors_in(batch_of(1, **changes)), rtol=0, atol=0)  # left alone


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need CUDA")
@pytest.mark.parametrize("variant", ["wgan-gp", "cgan", "dcgan"])
def test_captured_updates_are_the_eager_ones(variant: str, tiny_images: Images) -> None:
    """Over warm-up, capture and replay of both kinds of update, with and without the lazy penalty."""
    lazy = (
        ("critic_steps=5",)
        if variant == "wgan-gp"
        else ('penalties=[{name="gradient", at="real", weight=0.1, every=2}]',)
    )
    chosen = ("train.precision=float32", "train.matmul=highest", *lazy)
    eager = Begun(variant, tiny_images, *chosen, device="cuda")
    captured = Begun(variant, tiny_images, *chosen, "train.graphs=true", device="cuda")
    for _ in range(16):
        torch.testing.assert_close(captured.step(), eager.step(), rtol=1e-2, atol=1e-2)
    moved = weights_of(eager.state) - eager.first
    assert difference(weights_of(captured.state) - captured.first, moved) < 0.05  # sums on CUDA have no fixed order


# what the rule chooses

RULES = {  # settings -> precision, channels_last, fused; of a processor with bfloat16
    (): ("bfloat16", True, True),
    ("train.precision=float32",): ("float32", False, False),
    ("train.precision=float32", "train.channels_last=true"): ("float32", True, False),
    ("train.channels_last=false", "train.fused=false"): ("bfloat16", False, False),
    ("generator=mlp", "discriminator=mlp"): ("bfloat16", False, True),
}


@pytest.mark.parametrize("settings", RULES, ids=str)
def test_the_rule_and_what_goes_before_it(settings: tuple[str, ...], tiny_images: Images) -> None:
    precision, channels_last, fused = RULES[settings]
    if precision == "bfloat16":
        settings = (*settings, "train.precision=bfloat16")  # whatever this processor has
    training = prepared("dcgan", tiny_images, *settings)
    assert training.config.chosen == Compute(
        device="cpu",
        precision=precision,
        matmul=training.config.chosen.matmul,
        channels_last=channels_last,
        fused=fused,
        compiled=False,
        graphs=False,
        threads=1,
        processors=None,  # nobody needed to know
    )


class Determined(nn.Module):
    """Computes a determinant, which torch has in float32 alone."""

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, num_classes: int | None) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.layer = nn.Linear(latent_dim, image_shape[1] * image_shape[2])

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        image = self.layer(z).view(-1, *self.image_shape)
        return torch.tanh(image + image.det()[..., None, None])


@pytest.mark.usefixtures("registries")
def test_an_operator_without_bfloat16_is_computed_in_float32(tiny_images: Images, tmp_path: Path) -> None:
    generators.register("determined")(Determined)
    determined = "generator={name='determined'}"
    for changes, expected in ([determined], False), ([], True):
        config = prepared("gan", tiny_images, *changes).config
        assert rule.computes_in_bfloat16(config, build_objective(config)) is expected
    run = train_tiny("gan", tiny_images, tmp_path / "auto", settings=[determined], steps=1)
    assert run.config.chosen.precision == "float32"
    with pytest.raises(MachineError, match=r"not implemented for 'BFloat16'\): train with --precision fp32"):
        train_tiny("gan", tiny_images, tmp_path / "asked", settings=[determined], steps=1, precision="bf16")


@given(st.floats(0, 1e15), st.integers(0, 1000))
def test_threads_are_a_power_of_two_up_to_the_free_processors(work: float, free: int) -> None:
    threads = rule.choose_threads(work, free)
    assert 1 <= threads <= max(1, min(free, torch.get_num_threads()))
    assert threads.bit_count() == 1
    assert rule.choose_threads(0, free) == 1
    assert rule.choose_threads(work, free) <= rule.choose_threads(2 * work, free)


@pytest.mark.parametrize("variant", one_of_each(game_kind))
def test_the_work_is_that_of_the_layers(variant: str) -> None:
    """A batch twice as large is twice the work; a product of a weight with a vector counts twice its size at least."""
    facts = {"image_shape": (1, 28, 28), "num_classes": 10}
    whole, half = (
        assemble(variant, settings=[f"data.batch_size={n}"]).with_facts(**facts).with_horizon(10) for n in (64, 32)
    )
    objective = build_objective(whole)
    assert rule.work_of(whole, objective) == 2 * rule.work_of(half, objective)
    weights = [value.numel() for network in objective.networks.values() for value in layers(network)]
    assert rule.work_of(whole, objective) >= 2 * 64 * sum(weights)


def layers(network: nn.Module) -> list[Tensor]:
    return [module.weight for module in network.modules() if isinstance(module, nn.Linear)]


@pytest.mark.parametrize("free", [1, 2])
def test_two_runs_with_as_many_free_processors_are_the_same_bits(
    free: int, tiny_images: Images, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With no flag: whatever is chosen is chosen alike; the number of free processors is passed in."""
    threads = torch.get_num_threads()
    wide = ["generator.width=64", "discriminator.width=64", "train.threads=none", f"train.processors={free}"]
    try:
        torch.set_num_threads(2)  # as on a machine with two processors
        runs = [
            train_tiny("dcgan", tiny_images, tmp_path / name, steps=6, settings=wide, batch_size=32, progress=True)
            for name in ("one", "other")
        ]
    finally:
        torch.set_num_threads(threads)
    assert [run.config.chosen.threads for run in runs] == [free, free]
    one, other = (tensors_of(run.latest_checkpoint()) for run in runs)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    line = f"with {free} thread{'s' if free > 1 else ''}: the number of free processors is set to {free}\n"
    assert capsys.readouterr().err.count(line) == 2


@pytest.mark.parametrize("plain", [{"precision": "fp32"}, {"deterministic": True}])
def test_the_plain_path_is_stored(plain: dict[str, Any], tiny_images: Images, tmp_path: Path) -> None:
    run = train_tiny("dcgan", tiny_images, tmp_path / "run", steps=1, device="cpu", **plain)
    compute = run.config.chosen
    assert (compute.precision, compute.matmul, compute.threads) == ("float32", "highest", 1)
    assert not any([compute.channels_last, compute.fused, compute.compiled, compute.graphs])


def test_a_resumed_run_keeps_to_its_choices(
    tiny_images: Images, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_tiny("dcgan", tiny_images, tmp_path / "run", steps=1, settings=["train.threads=2"])
    stored = run.config.chosen
    ganzoo.resume(run, steps=2, dataset=tiny_images)
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "change" in line or "exact" in line] == ["changed: train.steps: 1 -> 2"]
    assert run.config.chosen == stored
    ganzoo.resume(run, steps=3, dataset=tiny_images, threads=1)
    said = capsys.readouterr().err
    assert "changed: compute.threads: 2 -> 1" in said
    assert "exactness is lost: the run computed with 2 threads, now with 1, so sums are rounded differently" in said
    assert run.config.chosen == stored.model_copy(update={"threads": 1})


# what is measured on request


@pytest.mark.parametrize("plain", [{"precision": "fp32"}, {"deterministic": True}])
def test_the_plain_path_leaves_nothing_to_measure(plain: dict[str, Any], tiny_images: Images) -> None:
    training = prepared("dcgan", tiny_images, steps=tuning.STEPS, **plain)
    config, line = tuning.tune(training)
    assert config == training.config
    assert line.startswith("nothing is left to measure: computing in float32 with 1 thread")


@pytest.mark.parametrize("budget", [{"steps": tuning.STEPS - 1}, {"steps": None, "minutes": 0.1}])
def test_a_short_run_is_not_measured_and_reports_it(budget: dict[str, Any], tiny_images: Images) -> None:
    training = prepared("dcgan", tiny_images, **budget)
    config, line = tuning.tune(training)
    assert config == training.config
    assert line.startswith("too short to measure: computing in ")


def test_measuring_reports_what_it_tried(tiny_images: Images) -> None:
    """On a CPU: the layout of convolutions, the precision if bfloat16 was to be, threads if there are several."""
    training = prepared("dcgan", tiny_images, "train.threads=none", "train.processors=2", steps=tuning.STEPS)
    torch_threads = torch.get_num_threads()
    config, line = tuning.tune(training)
    assert torch.get_num_threads() == torch_threads
    compute, ruled = config.chosen, training.config.chosen
    assert (compute.fused, compute.compiled, compute.graphs) == (True, False, False)
    assert compute.threads <= ruled.threads
    for name in ["not channels_last", *(["float32"] if ruled.precision == "bfloat16" else [])]:
        assert re.search(rf"[(; ]{name} [\d.]+[;)]", line), line
    assert re.match(rf"measured: computing in {compute.precision}.* ms per step \(", line)
    assert config.model_copy(update={"compute": ruled}) == training.config  # and nothing else was chosen


def test_what_was_asked_for_is_not_measured(tiny_images: Images) -> None:
    explicit = ["train.channels_last=true", "train.fused=false", "train.precision=bfloat16", "train.compiled=false"]
    training = prepared("dcgan", tiny_images, *explicit, steps=tuning.STEPS)
    config, line = tuning.tune(training)
    assert config == training.config
    assert line.startswith("nothing is left to measure: ")


class Particular(nn.Module):
    """A generator that is one convolution, and fails or is slow in a memory format that it does not like."""

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int,
        num_classes: int | None,
        *,
        likes_channels_last: bool = False,
        fails: bool = False,
    ) -> None:
        super().__init__()
        self.likes_channels_last, self.fails = likes_channels_last, fails
        self.linear = nn.Linear(latent_dim, 2 * 64)
        self.last = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.training and self.last.weight.is_contiguous() == self.likes_channels_last:
            if self.fails:
                raise LookupError("no layout but one\nand more lines")
            time.sleep(0.1)  # many times what all else takes
        images: Tensor = self.last(self.linear(z).view(-1, 2, 8, 8)).tanh()
        return images


@pytest.mark.slow
@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_faster_choice_is_taken(channels_last: bool, tiny_images: Images) -> None:
    generators.register("particular")(Particular)
    slow = f'generator={{name="particular", likes_channels_last={str(channels_last).lower()}}}'
    training = prepared("dcgan", tiny_images, slow, "train.precision=bfloat16", steps=tuning.STEPS)
    config, line = tuning.tune(training)
    assert config.chosen.channels_last is channels_last
    assert ("bfloat16, channels_last with 1 thread" in line) is channels_last


@pytest.mark.usefixtures("registries")
def test_a_choice_that_fails_is_a_note(tiny_images: Images) -> None:
    generators.register("particular")(Particular)
    failing = 'generator={name="particular", likes_channels_last=true, fails=true}'
    training = prepared("dcgan", tiny_images, failing, steps=tuning.STEPS)
    config, line = tuning.tune(training)
    assert config.chosen.channels_last is True
    assert re.search(r"[(; ]not channels_last failed: no layout but one[;)]", line)


@pytest.mark.slow
def test_tune_is_a_flag_and_its_choice_is_kept(
    tiny_images: Images, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_tiny(
        "dcgan", tiny_images, tmp_path / "run", steps=tuning.STEPS, progress=True, sample_epochs=[1], tune=True
    )
    assert "measured: computing in " in capsys.readouterr().err
    stored = run.config.chosen
    ganzoo.resume(run, steps=tuning.STEPS + 2, dataset=tiny_images)
    assert "measured" not in capsys.readouterr().err
    assert run.config.chosen == stored


# the work of the project that the speed is compared with


WORK = ROOT / "benchmarks" / "same_work"
MLP_GENERATOR = [(256, 128), (512, 256), (1024, 512), (784, 1024)]
PEER: dict[str, tuple[list[tuple[int, ...]], list[tuple[int, ...]]]] = {  # weights of its layers, in order
    "gan": ([(128, 100), *MLP_GENERATOR], [(512, 784), (256, 512), (1, 256)]),
    "wgan-gp": ([(128, 100), *MLP_GENERATOR], [(512, 784), (256, 512), (1, 256)]),
    "dcgan": (
        [(8192, 100), (128, 128, 3, 3), (64, 128, 3, 3), (1, 64, 3, 3)],
        [(16, 1, 3, 3), (32, 16, 3, 3), (64, 32, 3, 3), (128, 64, 3, 3), (1, 512)],
    ),
    "cgan": (  # its labels are vectors of 10, ours of 32
        [(128, 100 + 10), (256, 128), (512, 256), (1024, 512), (1024, 1024)],
        [(512, 1024 + 10), (512, 512), (512, 512), (1, 512)],
    ),
}


def layer_shapes(network: nn.Module, label_dim: int) -> list[tuple[int, ...]]:
    """Shapes of the weights of all layers but batch norms in order, the first one's without its labels' columns."""
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    first, *others = [tuple(weight.shape) for weight in weights]
    return [(first[0], first[1] - label_dim, *first[2:]), *others]


def test_the_benchmarks_files_are_the_ones_that_are_tested() -> None:
    assert {path.stem for path in WORK.glob("*.toml")} == set(PEER)


@pytest.mark.parametrize("name", PEER)
def test_the_benchmarks_networks_are_the_peers(name: str) -> None:
    config = assemble(file=read_toml(WORK / f"{name}.toml"), flags={"train": {"steps": 1}})
    size = config.data.image_size or 28
    objective = build_objective(config.with_facts(image_shape=(1, size, size), num_classes=10))
    labels = (32, 10) if config.variant.conditional else (0, 0)
    for network, shapes in zip((objective.generator, objective.discriminator), PEER[name], strict=True):
        first, *others = shapes
        assert layer_shapes(network, labels[0]) == [(first[0], first[1] - labels[1], *first[2:]), *others]
    assert config.data.batch_size == 64
    for optimizer in (config.variant.generator_optimizer, config.variant.discriminator_optimizer):
        assert optimizer == Adam(lr=0.0002, betas=(0.5, 0.999), eps=1e-8)


# what does not go together


@pytest.mark.parametrize("plain", [{"deterministic": True}, {"precision": "fp32"}])
def test_the_plain_path_is_plain_whatever_a_file_has_chosen(
    plain: dict[str, Any], tiny_images: Images, tmp_path: Path
) -> None:
    fast = ["train.precision=bfloat16", "train.channels_last=true", "train.compiled=false", "train.graphs=false"]
    run = train_tiny("dcgan", tiny_images, tmp_path / "fast", steps=1, settings=fast)
    assert run.config.chosen.fused
    config = configure(dataset=tiny_images, config=run.path / "config.toml", **plain)
    compute = with_compute(prepare(config, tiny_images)).config.chosen
    assert (compute.precision, compute.matmul) == ("float32", "highest")
    assert not any([compute.channels_last, compute.fused, compute.compiled, compute.graphs])


REPEATED: dict[str, tuple[list[str], dict[str, Any]]] = {
    "contrary to the rule": (["train.channels_last=false", "train.fused=false"], {}),
    "deterministic": ([], {"deterministic": True}),
    "fp32": ([], {"precision": "fp32"}),
    "tuned": ([], {"tune": True}),
}


@pytest.mark.parametrize("case", REPEATED)
def test_a_runs_own_file_repeats_its_choices(case: str, tiny_images: Images, tmp_path: Path) -> None:
    """Whatever the rule would choose now, or measuring."""
    settings, options = REPEATED[case]
    run = train_tiny(
        "dcgan", tiny_images, tmp_path / "run", steps=1, settings=[*settings, "train.threads=2"], **options
    )
    file = tmp_path / "config.toml"  # as of a run whose threads were not asked for
    file.write_text(run.config.to_toml().replace('threads = 2\nprocessors = "none"', 'threads = "none"', 1))
    assert read_toml(file)["train"]["threads"] is None
    again = configure(dataset=tiny_images, config=file, steps=1)
    assert with_compute(prepare(again, tiny_images)).config.chosen == run.config.chosen
    other = configure(dataset=tiny_images, config=file, steps=1, threads=1)
    assert with_compute(prepare(other, tiny_images)).config.chosen.threads == 1


def test_other_work_is_computed_by_the_rule(tiny_images: Images, tmp_path: Path) -> None:
    run = train_tiny("gan", tiny_images, tmp_path / "run", steps=1)
    file = run.path / "config.toml"
    for options in ({"settings": ["generator=dcgan"]}, {"batch_size": 16}, {"variant": "dcgan"}, {"tune": True}):
        config = configure(dataset=tiny_images, config=file, steps=1, **options)
        assert config.compute is None
    counted = configure(dataset=tiny_images, config=file, steps=1, settings=["train.processors=1"])
    assert counted.compute is None
    elsewhere = configure(dataset=tiny_images, config=file, steps=1).with_compute(device="cuda")
    assert with_compute(prepare(elsewhere, tiny_images)).config.chosen.device == "cpu"


def test_a_wrong_number_of_threads_is_refused_when_a_run_goes_on(tiny_images: Images, tmp_path: Path) -> None:
    run = train_tiny("gan", tiny_images, tmp_path / "run", steps=1)
    for threads in (0, -1):
        with pytest.raises(UsageError, match=f"threads is {threads}: expected 1 to"):
            ganzoo.resume(run, steps=2, dataset=tiny_images, threads=threads)


def test_a_deterministic_run_has_one_precision(tiny_images: Images) -> None:
    config = configure("gan", tiny_images, steps=1, batch_size=BATCH_SIZE, deterministic=True, precision="bf16")
    with pytest.raises(UsageError, match=r"train\.deterministic computes in float32"):
        prepare(config, tiny_images)


def test_graphs_are_for_cuda_alone(tiny_images: Images, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    captured = "train.graphs=true"
    with pytest.raises(UsageError, match=r"train\.graphs is for CUDA.*--set train\.graphs=false"):
        train_tiny("gan", tiny_images, tmp_path / "new", steps=1, settings=[captured], device="cpu")
    assert not (tmp_path / "new").exists()
    run = train_tiny("gan", tiny_images, tmp_path / "moved", steps=1)  # as a run that comes from a machine with a GPU
    state = run.latest_checkpoint().path / "state.json"
    state.write_text(state.read_text().replace('"graphs": false', '"graphs": true'))
    manifest = json.loads((state.parent / "manifest.json").read_text())
    manifest["sha256"]["state.json"] = hashlib.sha256(state.read_bytes()).hexdigest()
    (state.parent / "manifest.json").write_text(json.dumps(manifest))
    ganzoo.resume(run, steps=2, dataset=tiny_images)
    assert "changed: compute.graphs: True -> False" in capsys.readouterr().err


@pytest.mark.parametrize("fused", [True, False])
def test_a_run_is_drawn_from_as_it_was_trained(fused: bool, tiny_images: Images, tmp_path: Path) -> None:
    settings = [*RESIZE, f"train.fused={str(fused).lower()}", "train.precision=bfloat16"]
    run = train_tiny("dcgan", tiny_images, tmp_path / "run", steps=1, settings=settings)
    network, _, _ = load_network(run)
    assert {layer.fused for layer in network.modules() if isinstance(layer, FusedConv2d)} == {fused}
