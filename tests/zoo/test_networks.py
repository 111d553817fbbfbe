"""Every registered network, at every shape and with every way of conditioning that it offers."""

import copy
import itertools
import typing
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ganzoo.config import settings_of
from ganzoo.errors import UsageError
from ganzoo.registry import Registry, discriminators, generators
from ganzoo.zoo.networks.common import LinearHeads, Output, as_output, logits_of, minibatch_std, pyramid
from ganzoo.zoo.networks.r3gan import Block
from ganzoo.zoo.networks.resnet import Norm, SelfAttention
from ganzoo.zoo.objectives.base import mixes_samples

SHAPES = [(1, 28, 28), (3, 28, 28), (1, 32, 32), (3, 64, 64), (1, 20, 30), (3, 8, 8), (1, 3, 40), (1, 1, 1)]
LATENT_DIM = 6
CLASSES = 3
N = 4


def choices(annotation: Any) -> list[Any]:
    """The values of a setting that offers a choice: of its literals, and None where it may be."""
    if typing.get_origin(annotation) in (typing.Union, UnionType):
        return [value for part in typing.get_args(annotation) for value in choices(part)]
    if typing.get_origin(annotation) is typing.Literal:
        return list(typing.get_args(annotation))
    return [None] if annotation is NoneType else []


def conditionings(name: str) -> list[Any]:
    """What a discriminator can do with labels."""
    fields = settings_of(discriminators[name]).model_fields
    return choices(fields["conditioning"].annotation) if "conditioning" in fields else []


def cases(registry: Registry[Callable[..., Any]]) -> list[Any]:
    """Every network x every combination of its choices x conditional or not, small."""
    found = []
    for name in registry:
        fields = settings_of(registry[name]).model_fields
        offered = {key: values for key, field in fields.items() if (values := choices(field.annotation))}
        small = {"width": 8} if "width" in fields else {}
        for combination, num_classes in itertools.product(itertools.product(*offered.values()), (None, CLASSES)):
            settings = dict(zip(offered, combination, strict=True))
            if num_classes and settings.get("conditioning") == "batch-norm" and settings["norm"] is None:
                continue  # refused
            label = "-".join([name, *map(str, combination), "conditional" if num_classes else "unconditional"])
            found.append(pytest.param(name, {**small, **settings}, num_classes, id=label))
    return found


MNIST_SHAPE = SHAPES[0]
by_shape = pytest.mark.parametrize(
    "shape",
    [shape if shape == MNIST_SHAPE else pytest.param(shape, marks=pytest.mark.slow) for shape in SHAPES],
    ids=lambda shape: "x".join(map(str, shape)),
)
by_generator = pytest.mark.parametrize(("name", "settings", "num_classes"), cases(generators))
by_discriminator = pytest.mark.parametrize(("name", "settings", "num_classes"), cases(discriminators))
Shape = tuple[int, int, int]


def labels_for(num_classes: int | None) -> Tensor | None:
    return None if num_classes is None else torch.arange(N) % num_classes


def awakened(network: nn.Module) -> nn.Module:
    """The network with weights in place of those zeros that leave a layer out when training begins."""
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if not key.endswith("bias") and not parameter.any():
                parameter.normal_(std=0.02)
    return network


def generator(name: str, settings: dict[str, Any], num_classes: int | None, shape: Shape) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = generators[name](shape, LATENT_DIM, num_classes, **settings)
    return awakened(network)


def discriminator(name: str, settings: dict[str, Any], num_classes: int | None, shape: Shape) -> nn.Module:
    torch.manual_seed(0)
    network: nn.Module = discriminators[name](shape, num_classes, **settings)
    return awakened(network)


def check_gradients(network: nn.Module, output: Tensor) -> None:
    """Finite, and every parameter takes part."""
    weights = torch.linspace(0.3, 1.7, output.numel()).view_as(output)
    (output * weights).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


@by_shape
@by_generator
def test_a_generator_draws_images(name: str, settings: dict[str, Any], num_classes: int | None, shape: Shape) -> None:
    network = generator(name, settings, num_classes, shape)
    labels = labels_for(num_classes)
    z = torch.randn(N, LATENT_DIM)
    images = network(z, labels)
    assert images.shape == (N, *shape)
    assert (images[0] - images[3]).abs().sum() > 0  # each latent an image of its own
    check_gradients(network, images)
    with torch.no_grad():
        extreme = network.eval()(1e4 * z, labels)
        assert extreme.abs().max() <= 1
        assert extreme.isfinite().all()
        one = network(z[:1], None if labels is None else labels[:1])
        torch.testing.assert_close(one, network(z, labels)[:1], atol=1e-5, rtol=1e-4)


@by_shape
@by_discriminator
def test_a_discriminator_answers_a_logit_an_image(
    name: str, settings: dict[str, Any], num_classes: int | None, shape: Shape
) -> None:
    network = discriminator(name, settings, num_classes, shape)
    labels = labels_for(num_classes)
    images = torch.rand(N, *shape) * 2 - 1
    answer: Tensor | Output = network(images, labels)
    logits = logits_of(answer)
    assert logits.shape == (N,)
    assert logits.isfinite().all()
    if min(shape[1:]) > 1:  # of a single pixel a unit may be dead
        check_gradients(network, logits)
    with torch.no_grad():
        logits = logits_of(network.eval()(images, labels))
        assert len(set(logits.tolist())) == N
        one = logits_of(network(images[2:3], None if labels is None else labels[2:3]))
        torch.testing.assert_close(one, logits[2:3], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("name", "settings", "num_classes"), [case for case in cases(generators) if case.values[2]])
def test_a_conditional_generator_reads_its_labels(name: str, settings: dict[str, Any], num_classes: int) -> None:
    network = generator(name, settings, num_classes, (1, 8, 8)).eval()
    z = torch.randn(1, LATENT_DIM)
    with torch.no_grad():
        images = [network(z, torch.tensor([label])) for label in range(num_classes)]
    for first, second in itertools.combinations(images, 2):
        assert (first - second).abs().max() > 1e-4
    with pytest.raises(UsageError, match="this network is conditional: call it with labels"):
        network(z)


@pytest.mark.parametrize(
    ("name", "settings", "num_classes"),
    [case for case in cases(discriminators) if case.values[2] and case.values[1].get("conditioning", "concat")],
)
def test_a_conditional_discriminator_reads_its_labels(name: str, settings: dict[str, Any], num_classes: int) -> None:
    network = discriminator(name, settings, num_classes, (1, 8, 8)).eval()
    image = torch.rand(1, 1, 8, 8)
    with torch.no_grad():
        logits = [logits_of(network(image, torch.tensor([label]))).item() for label in range(num_classes)]
    assert len(set(logits)) == num_classes
    with pytest.raises(UsageError, match="this network is conditional: call it with labels"):
        network(image)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((28, 28), [(28, 28), (14, 14), (7, 7)]),
        ((32, 32), [(32, 32), (16, 16), (8, 8), (4, 4)]),
        ((64, 64), [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)]),
        ((20, 30), [(20, 30), (10, 15), (5, 8), (3, 4)]),
        ((7, 5), [(7, 5)]),
        ((3, 40), [(3, 40), (2, 20)]),
    ],
)
def test_the_pyramid_of_resolutions(size: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    assert pyramid(*size) == expected


def convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


@given(st.integers(1, 100), st.integers(1, 100))
def test_down_to_7_pixels_the_discriminator_is_dcgans_of_former_schemas(height: int, width: int) -> None:
    network = discriminator("dcgan", {"width": 1, "smallest": 7}, None, (1, height, width))
    stages = len(pyramid(height, width)) - 1
    assert [layer.kernel_size for layer in convolutions(network)] == [(4, 4)] * stages
    assert network.get_submodule("head").in_features == (height >> stages) * (width >> stages) << stages


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 9))
def test_dcgans_discriminator_goes_as_deep_as_asked_for(height: int, width: int, smallest: int) -> None:
    network = discriminator("dcgan", {"width": 1, "smallest": smallest}, None, (1, height, width))
    assert len(convolutions(network)) == len(pyramid(height, width, smallest=smallest)) - 1
    assert logits_of(network(torch.zeros(1, 1, height, width))).shape == (1,)


def test_dcgans_discriminator_halves_to_4_pixels() -> None:
    layers = convolutions(discriminator("dcgan", {}, None, MNIST_SHAPE))
    assert [layer.kernel_size[0] for layer in layers] == [4, 4, 3]
    assert [layer.out_channels for layer in layers] == [32, 64, 128]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 4))
def test_dcgans_further_convolutions_stand_where_pixels_are_few(height: int, width: int, count: int) -> None:
    shape, settings = (1, height, width), {"width": 1, "convolutions": count}
    halving = discriminator("dcgan", settings, None, shape)
    further = [layer for layer in convolutions(halving) if layer.stride == (1, 1)]
    assert len(further) == min(count, max(0, len(pyramid(height, width, smallest=4)) - 2))  # not on the images
    assert [layer.in_channels for layer in further] == sorted(layer.out_channels for layer in further)
    doubling = generator("dcgan", settings, None, shape)
    *further, _ = convolutions(doubling)  # the last one makes the image
    assert len(further) == min(count, len(pyramid(height, width)) - 1)
    assert [layer.in_channels for layer in further] == sorted((layer.out_channels for layer in further), reverse=True)
    assert doubling(torch.zeros(2, LATENT_DIM)).shape == (2, *shape)


@pytest.mark.parametrize("name", [name for name in discriminators if "projection" in conditionings(name)])
def test_the_labels_part_of_projected_logits_starts_at_the_scale_of_a_feature(name: str) -> None:
    """A vector at N(0, 1 / D) times features f is normal with the variance |f|^2 / D, the mean square of f."""
    classes = 2000
    network = discriminator(name, {"width": 8, "conditioning": "projection"}, classes, MNIST_SHAPE)
    network.build_heads({"features": None})  # type: ignore[operator]
    image = torch.rand(1, *MNIST_SHAPE).expand(classes, *MNIST_SHAPE)
    with torch.no_grad():
        output = network.eval()(image, torch.arange(classes))
    scale = output.features[0].square().mean().sqrt()
    assert output.logits.std().item() == pytest.approx(scale.item(), rel=0.1)


# residual networks

EXTRAS = {"attention": True, "spectral_norm": True}


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 9), pytest.param((3, 128, 128), marks=pytest.mark.slow)])
def test_residual_networks_take_attention_and_spectral_norm_at_any_size(shape: Shape) -> None:
    labels = labels_for(CLASSES)
    draws = generator("resnet", {"width": 8, "conditioning": "batch-norm", **EXTRAS}, CLASSES, shape)
    images = draws(torch.randn(N, LATENT_DIM), labels)
    assert images.shape == (N, *shape)
    check_gradients(draws, images)
    judges = discriminator("resnet", {"width": 8, **EXTRAS}, CLASSES, shape)
    check_gradients(judges, logits_of(judges(images.detach(), labels)))


def test_attention_is_left_out_when_training_begins() -> None:
    x = torch.randn(2, 16, 5, 6)
    layer = SelfAttention(16)
    torch.testing.assert_close(layer(x), x, rtol=0, atol=0)
    layer.gamma.data.fill_(0.5)  # where it takes part, it is the paper's sums written out
    flat = x.flatten(2)
    query, key, value, out = (part.weight.flatten(1) for part in (layer.query, layer.key, layer.value, layer.out))
    shares = torch.einsum("nci,ncj->nij", key @ flat, query @ flat).softmax(1)
    expected = out @ torch.einsum("nij,nci->ncj", shares, value @ flat)
    torch.testing.assert_close(layer(x).flatten(2), flat + 0.5 * expected, rtol=1e-4, atol=1e-5)


def test_each_class_has_a_scale_and_a_shift_of_its_own() -> None:
    layer = Norm(2, "batch", 3)
    with torch.no_grad():
        layer.scales.weight.copy_(torch.tensor([[1.0, 2], [3, 4], [5, 6]]))  # type: ignore[union-attr]
        layer.shifts.weight.copy_(torch.tensor([[0.0, 1], [2, 3], [4, 5]]))  # type: ignore[union-attr]
    x, labels = torch.randn(6, 2, 3, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    normal = nn.functional.batch_norm(x, None, None, training=True)
    y = layer(x, labels)
    torch.testing.assert_close(
        y[2], normal[2] * torch.tensor([5.0, 6]).view(2, 1, 1) + torch.tensor([4.0, 5]).view(2, 1, 1)
    )
    torch.testing.assert_close(
        y[5], normal[5] * torch.tensor([1.0, 2]).view(2, 1, 1) + torch.tensor([0.0, 1]).view(2, 1, 1)
    )


def test_scales_for_each_class_need_batch_norm() -> None:
    settings = {"conditioning": "batch-norm", "norm": None}
    with pytest.raises(UsageError, match=r"needs generator\.norm=batch"):
        generator("resnet", settings, CLASSES, MNIST_SHAPE)
    assert generator("resnet", {**settings, "width": 2}, None, MNIST_SHAPE)  # without classes nothing is asked for


# R3GAN's networks


@pytest.mark.parametrize("shape", [(3, 28, 28), pytest.param((3, 128, 128), marks=pytest.mark.slow)])
@pytest.mark.parametrize("blocks", [1, 2])
def test_at_first_a_block_changes_nothing_whatever_their_number(shape: Shape, blocks: int) -> None:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"width": 8, "blocks": blocks}
    network, x = discriminators["r3gan"](shape, None, **settings), torch.randn(N, *shape)
    count = sum(isinstance(module, Block) for module in network.modules())
    assert count == blocks * len(pyramid(*shape[1:], smallest=4))
    with torch.no_grad():
        for block in network.body:
            y = block(x)
            assert not isinstance(block, Block) or torch.equal(x, y)
            x = y
    images = generators["r3gan"](shape, LATENT_DIM, None, **settings)(torch.randn(64, LATENT_DIM))
    assert 0.2 < images.std() < 2  # neither all grey, nor all black and white


def test_while_it_is_trained_a_generator_without_norm_keeps_a_slope_beyond_black_and_white() -> None:
    network = generator("r3gan", {"width": 4}, None, (1, 8, 8))
    z = 100 * torch.randn(N, LATENT_DIM)
    images = network(z)
    assert images.abs().max() > 1
    check_gradients(network, images)
    torch.testing.assert_close(network.eval()(z), images.clamp(-1, 1))


def test_a_blocks_convolutions_start_at_fixups_scale() -> None:
    torch.manual_seed(0)
    block = Block(64, expansion=2, group_size=16, blocks=16)
    assert (block.mix.groups, block.mix.weight.shape) == (8, (128, 16, 3, 3))
    x = torch.randn(8, 64, 9, 9)
    for layer in (block.widen, block.mix):
        with torch.no_grad():
            y = nn.functional.leaky_relu(layer(x), 0.2)[:, :, 1:-1, 1:-1]
        assert (y.square().mean() / x.square().mean()).sqrt().item() == pytest.approx(16**-0.25, rel=0.1)
        x = nn.functional.pad(y, (1, 1, 1, 1), mode="circular")


@given(st.integers(1, 24), st.integers(1, 4), st.integers(1, 20))
def test_groups_divide_the_channels_of_any_width(channels: int, expansion: int, group_size: int) -> None:
    block = Block(channels, expansion=expansion, group_size=group_size, blocks=1)
    assert block.mix.weight.shape[1] <= group_size
    assert block(torch.zeros(1, channels, 2, 2)).shape == (1, channels, 2, 2)


# what every discriminator with linear heads can have


def with_heads(name: str, **settings: Any) -> Any:
    """A small discriminator that projects labels where it can, with a head of classes and pairs."""
    conditioning = {"conditioning": "projection"} if "projection" in conditionings(name) else {}
    network = discriminator(name, {"width": 8, **conditioning, **settings}, CLASSES, MNIST_SHAPE)
    assert isinstance(network, LinearHeads)
    network.build_heads({"classes": CLASSES, "features": None})
    network.build_pairs(LATENT_DIM)
    return network


def called(network: Any, n: int = N) -> Output:
    """What it answers about images all different."""
    images = torch.rand(n, *MNIST_SHAPE, generator=torch.Generator().manual_seed(1))
    return as_output(network(images, torch.arange(n) % CLASSES, torch.ones(n, LATENT_DIM)))


LINEAR = [name for name in discriminators if hasattr(discriminators[name], "build_logits")]
by_linear = pytest.mark.parametrize("name", LINEAR)


@by_linear
def test_spectral_norm_leaves_each_weight_a_largest_singular_value_of_one(name: str) -> None:
    network = with_heads(name, spectral_norm=True)
    plain = with_heads(name)
    matrices = [key for key, value in plain.named_parameters() if key.endswith("weight") and value.ndim > 1]
    weights = {key: network.get_submodule(key.removesuffix(".weight")) for key in matrices}
    assert {"head.weight", "heads.classes.weight", "pair.0.weight"} <= weights.keys()
    with torch.no_grad():
        for key, module in weights.items():
            for _ in range(200):
                weight = module.weight
            values = torch.linalg.svdvals(weight.flatten(1))
            assert values[0].item() == pytest.approx(1, abs=1e-2), key
            original = module.parametrizations.weight.original
            torch.testing.assert_close(
                weight * torch.linalg.svdvals(original.flatten(1))[0], original, rtol=1e-2, atol=1e-4
            )


@by_linear
def test_spectral_norm_takes_a_step_of_the_power_method_for_each_pass_in_training(name: str) -> None:
    network = with_heads(name, spectral_norm=True)
    vectors = {key: value for key, value in network.state_dict().items() if key.endswith("._u") and len(value) > 1}
    before = {key: value.clone() for key, value in vectors.items()}
    called(network.eval())
    torch.testing.assert_close(vectors, before, rtol=0, atol=0)
    heads = network.train().heads["classes"]
    expected = copy.deepcopy(heads)
    expected.weight  # noqa: B018  # a step
    called(network)
    assert any(not torch.equal(vectors[key], before[key]) for key in vectors)
    torch.testing.assert_close(heads.state_dict(), expected.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("extras", [False, True])
@by_linear
def test_a_penalty_differentiates_twice_by_every_weight(name: str, extras: bool) -> None:
    there = {"spectral_norm", "minibatch_std", "attention"} & settings_of(discriminators[name]).model_fields.keys()
    network = awakened(with_heads(name, **dict.fromkeys(there, extras)))
    images = torch.rand(N, *MNIST_SHAPE, requires_grad=True)
    output = as_output(network(images, torch.arange(N) % CLASSES, torch.ones(N, LATENT_DIM)))
    (gradients,) = torch.autograd.grad(output.logits.sum(), images, create_graph=True)
    gradients.square().sum().backward()  # type: ignore[no-untyped-call]
    for key, parameter in network.named_parameters():
        if "bias" not in key and not key.startswith("heads."):  # second derivatives of ReLUs are zero
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
            assert parameter.grad.abs().sum() > 0, key


@given(st.integers(1, 13), st.integers(1, 5))
def test_the_minibatchs_standard_deviation_is_numpys(n: int, dim: int) -> None:
    features = np.random.default_rng(n).normal(size=(n, dim)).astype(np.float32)
    group = 4 if n % 4 == 0 else 2 if n % 2 == 0 else n
    expected = np.empty((n, 1))
    for image in range(n):
        members = [other for other in range(n) if other % (n // group) == image % (n // group)]
        expected[image] = np.sqrt(features[members].var(0) + 1e-8).mean()
    np.testing.assert_allclose(minibatch_std(torch.from_numpy(features)).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("n", range(2, 10))
def test_the_minibatchs_standard_deviation_finds_out_a_generator_of_one_image(n: int) -> None:
    features = torch.randn(n, 5)
    alike, different = minibatch_std(features[:1].expand(n, 5)), minibatch_std(features)
    assert (different > 100 * alike).all()


@by_linear
def test_with_the_minibatchs_standard_deviation_images_are_judged_beside_others(name: str) -> None:
    network, plain = with_heads(name, minibatch_std=True).eval(), with_heads(name).eval()
    assert mixes_samples(network)
    assert network.head.in_features == plain.head.in_features + 1
    with torch.no_grad():
        assert (called(network, 4).logits[:2] - called(network, 2).logits).abs().max() > 1e-6
        torch.testing.assert_close(called(plain, 4).logits[:2], called(plain, 2).logits, rtol=1e-4, atol=1e-5)


class SelfMade(LinearHeads):
    """A plug-in's discriminator, which makes its own `head`."""

    def __init__(self, **settings: bool) -> None:
        super().__init__(**settings)
        self.head = nn.Linear(5, 1)

    def forward(self, features: Tensor) -> Tensor | Output:
        return self.answer(features, None, None)


class MixesAsAClass(SelfMade):
    mixes_samples = True


class MixesAsAnObject(SelfMade):
    def __init__(self) -> None:
        super().__init__()
        self.mixes_samples = True


class MixesAsAClassWithLogits(LinearHeads):
    mixes_samples = True

    def __init__(self) -> None:
        super().__init__()
        self.build_logits(5)

    def forward(self, features: Tensor) -> Tensor | Output:
        return self.answer(features, None, None)


@pytest.mark.parametrize("plug_in", [MixesAsAClass, MixesAsAnObject, MixesAsAClassWithLogits])
def test_a_discriminator_that_mixes_samples_by_itself_is_given_no_further_feature(plug_in: type[Any]) -> None:
    network, features = plug_in(), torch.randn(N, 5)
    assert mixes_samples(network)
    torch.testing.assert_close(network(features), network.head(features).squeeze(1), rtol=0, atol=0)


@pytest.mark.parametrize("setting", ["spectral_norm", "minibatch_std"])
def test_a_head_of_ones_own_is_neither_normalised_nor_given_the_feature(setting: str) -> None:
    network = SelfMade(**{setting: True})
    advice = rf"SelfMade .*{setting}.*`self\.build_logits\(D\)` last in its __init__"
    with pytest.raises(UsageError, match=advice):
        network(torch.randn(N, 5))
    with pytest.raises(UsageError, match=advice):
        network.build_heads({"classes": CLASSES})
    with pytest.raises(UsageError, match=advice):
        network.build_pairs(LATENT_DIM)


@by_linear
def test_logits_from_classes_are_those_of_a_softmax_with_one_class_more(name: str) -> None:
    network = with_heads(name, conditioning=None).eval()
    with torch.no_grad():
        linear = called(network).logits
        network.use_class_logits()
        output = called(network)
    assert output.classes is not None
    shares = torch.cat([output.classes, -linear.unsqueeze(1)], 1).softmax(1)
    torch.testing.assert_close(output.logits, (shares[:, :-1].sum(1) / shares[:, -1]).log(), rtol=1e-4, atol=1e-5)


def test_logits_from_classes_need_classes() -> None:
    network = discriminators["mlp"](MNIST_SHAPE, None)
    with pytest.raises(UsageError, match="need the head 'classes'"):
        network.use_class_logits()


def test_an_autoencoders_features_are_its_code() -> None:
    network = discriminator("autoencoder", {"code": 7}, None, MNIST_SHAPE).eval()
    images = torch.rand(N, *MNIST_SHAPE)
    output = network(images)
    assert output["features"].shape == (N, 7)
    decoded = network.get_submodule("decode")(output["features"])
    torch.testing.assert_close(decoded.view_as(images), output["reconstruction"])


def test_an_unconditional_network_has_no_label_embedding() -> None:
    networks = [generator(name, {}, None, (1, 8, 8)) for name in generators]
    networks += [discriminator(name, {}, None, (1, 8, 8)) for name in discriminators]
    assert not any(isinstance(module, nn.Embedding) for network in networks for module in network.modules())
