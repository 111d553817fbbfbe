"""Generators of every kind that a bigger zoo brings: each is exported in every precision, or refused for a reason."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from conftest import distribution, environment
from torch import Tensor, nn
from torch.nn import functional as f
from torch.nn.utils import parametrizations, parametrize

import ganzoo
from ganzoo import runtime
from ganzoo.config import Spec, Variant
from ganzoo.errors import MachineError, UsageError, VerificationError
from ganzoo.exporting import trial
from ganzoo.exporting.exporter import export, export_encoder, prove_again
from ganzoo.exporting.preparing import FixedNoise, fold
from ganzoo.registry import encoders, generators
from ganzoo.runs.opening import load_network
from ganzoo.runs.run import Run
from ganzoo.runtime.forms import PRECISIONS

CHANNELS = 8


class Kind(nn.Module):
    """Latents to features [N, 8, 4, 4], what `middle` makes of them, and a transposed convolution to 8 x 8 pixels."""

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, num_classes: int | None) -> None:
        super().__init__()
        self.start = nn.Sequential(nn.Linear(latent_dim, CHANNELS * 16), nn.Unflatten(1, (CHANNELS, 4, 4)))
        self.end = nn.Sequential(nn.ConvTranspose2d(CHANNELS, image_shape[0], 4, 2, 1), nn.Tanh())
        self.build(latent_dim, num_classes or 1)

    def build(self, latent_dim: int, classes: int) -> None:
        """Add the layers that it is about."""

    def middle(self, x: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        return x

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.end(self.middle(self.start(z), z, labels))
        return images


class Layer(Kind):
    """One layer, made by `make`, on the features."""

    make: Callable[[], nn.Module]

    def build(self, latent_dim: int, classes: int) -> None:
        self.layer = type(self).make()

    def middle(self, x: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        features: Tensor = self.layer(x)
        return features


class Tokens(Layer):
    """One layer on the pixels as a sequence [N, 16, 8], added."""

    def middle(self, x: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        answer = self.attend(x.flatten(2).transpose(1, 2))
        return x + answer.transpose(1, 2).reshape(-1, CHANNELS, 4, 4)

    def attend(self, tokens: Tensor) -> Tensor:
        answer = self.layer(tokens)
        values: Tensor = answer[0] if isinstance(answer, tuple) else answer
        return values


class Attention(Tokens):
    def attend(self, tokens: Tensor) -> Tensor:
        answer: Tensor = self.layer(tokens, tokens, tokens, need_weights=False)[0]
        return answer


class SelfAttention(Kind):
    """SAGAN's, with keys and values of half the resolution."""

    def build(self, latent_dim: int, classes: int) -> None:
        self.query, self.key, self.value = (nn.Conv2d(CHANNELS, width, 1) for width in (2, 2, CHANNELS))

    def middle(self, x: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        key, value = (f.max_pool2d(layer(x), 2).flatten(2) for layer in (self.key, self.value))
        weights = torch.bmm(self.query(x).flatten(2).transpose(1, 2), key).softmax(-1)
        return x + torch.bmm(value, weights.transpose(1, 2)).view(-1, CHANNELS, 4, 4)


class Modulated(Kind):
    """StyleGAN2's convolution, by scaling the activations."""

    def build(self, latent_dim: int, classes: int) -> None:
        self.style, self.weight = nn.Linear(latent_dim, CHANNELS), nn.Parameter(torch.randn(CHANNELS, CHANNELS, 3, 3))

    def middle(self, x: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        style = self.style(z) + 1
        scale = (style.square() @ self.weight.square().sum((2, 3)).T + 1e-8).rsqrt()
        answer: Tensor = f.conv2d(x * style[:, :, None, None], self.weight, padding=1) * scale[:, :, None, None]
        return answer


class GroupedOverTheBatch(Modulated):
    """The same, by scaling the weights: one group for each image."""

    def middle(self, x: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        n, style = x.shape[0], self.style(z) + 1
        weight = self.weight * style[:, None, :, None, None]
        weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
        answer = f.conv2d(x.reshape(1, -1, 4, 4), weight.flatten(0, 1), padding=1, groups=n)
        return answer.view(n, CHANNELS, 4, 4)


class ConditionalNorm(Kind):
    def build(self, latent_dim: int, classes: int) -> None:
        self.norm, self.scales = nn.BatchNorm2d(CHANNELS, affine=False), nn.Embedding(classes, 2 * CHANNELS)

    def middle(self, x: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        gain, bias = self.scales(labels)[..., None, None].chunk(2, 1)
        return f.relu(self.norm(x) * (1 + gain) + bias)


class AdaptiveNorm(Kind):
    """StyleGAN's, of latents that are brought to one length."""

    def build(self, latent_dim: int, classes: int) -> None:
        self.norm, self.style = nn.InstanceNorm2d(CHANNELS), nn.Linear(latent_dim, 2 * CHANNELS)

    def middle(self, x: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        style = self.style(z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt())
        gain, bias = style[..., None, None].chunk(2, 1)
        answer: Tensor = self.norm(x) * (1 + gain) + bias
        return answer


class Residual(Kind):
    def build(self, latent_dim: int, classes: int) -> None:
        self.one, self.two = (nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1) for _ in range(2))

    def middle(self, x: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        answer: Tensor = x + self.two(f.relu(self.one(f.relu(x))))
        return answer


def conv(width: int = CHANNELS, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(CHANNELS, width, 3, padding=1, **options)


def layered(make: Callable[[], nn.Module], base: type[Layer] = Layer) -> type[Kind]:
    return type("Layered", (base,), {"make": staticmethod(make)})


EXPORTED: dict[str, type[Kind]] = {
    "group-norm": layered(lambda: nn.GroupNorm(4, CHANNELS)),
    "instance-norm": layered(lambda: nn.InstanceNorm2d(CHANNELS, affine=True)),
    "layer-norm": layered(lambda: nn.LayerNorm([CHANNELS, 4, 4])),
    "conditional-norm": ConditionalNorm,
    "adaptive-norm": AdaptiveNorm,
    "gru": layered(lambda: nn.GRU(CHANNELS, CHANNELS, batch_first=True), Tokens),
    "rnn": layered(lambda: nn.RNN(CHANNELS, CHANNELS, batch_first=True), Tokens),
    "attention": layered(lambda: nn.MultiheadAttention(CHANNELS, 2, batch_first=True), Attention),
    "transformer": layered(lambda: nn.TransformerEncoderLayer(CHANNELS, 2, 16, batch_first=True), Tokens),
    "self-attention": SelfAttention,
    "modulated": Modulated,
    "orthogonal": layered(lambda: parametrizations.orthogonal(conv())),
    "spectral-norm": layered(lambda: parametrizations.spectral_norm(conv())),
    "weight-norm": layered(lambda: parametrizations.weight_norm(conv())),
    "old-spectral-norm": layered(lambda: nn.utils.spectral_norm(conv())),
    "pixel-shuffle": layered(lambda: nn.Sequential(conv(4 * CHANNELS), nn.PixelShuffle(2), conv(stride=2))),
    "bilinear": layered(lambda: nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), conv(stride=2))),
    "residual": Residual,
}
FAULTS = {  # kinds that could not be exported once, in this precision
    "orthogonal": "fp32",
    "group-norm": "fp32",
    "gru": "fp32",
    "rnn": "fp16",
    "transformer": "fp16",
    "layer-norm": "int8",
    "adaptive-norm": "int8",
}
EMPTY = {"group-norm": False, "gru": False, "orthogonal": True}  # of float32 files: drawn by the graph itself


def train(name: str, kind: type[Kind], out: Path) -> Run:
    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), dtype=np.uint8)
    generators.register(name)(kind)
    variant = Variant(
        generator=Spec(name), discriminator=Spec("mlp", width=8), latent_dim=16, conditional=kind is ConditionalNorm
    )
    return ganzoo.train(variant, (images, np.arange(32) % 3), out=out, steps=1, batch_size=8, progress=False)


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize(
    ("name", "precision"),
    [case if case[0] == "orthogonal" else pytest.param(*case, marks=pytest.mark.slow) for case in FAULTS.items()],
)
def test_what_was_refused_once_is_exported(name: str, precision: str, tmp_path: Path) -> None:
    assert_exported(name, [precision], tmp_path)


@pytest.mark.full
@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("name", EXPORTED)
def test_every_kind_is_exported_in_every_precision(name: str, tmp_path: Path) -> None:
    assert_exported(name, list(PRECISIONS), tmp_path)


def assert_exported(name: str, precisions: Sequence[str], place: Path) -> None:
    run = train(name, EXPORTED[name], place / "run")
    original = ganzoo.load(run)
    z = original.info.latents(5, 0, 20)
    expected = original.generate(z, original.labels_for(20))
    assert expected.std() > 0.01
    for precision in precisions:
        exported = export(run, place / f"{precision}.onnx", precision=precision)
        file, document = runtime.load(exported.path), runtime.read_metadata(exported.path)
        drawn = file.generate(z, file.labels_for(20))
        assert np.abs(drawn - expected).max() <= PRECISIONS[precision].difference
        assert file.sample(0).shape == (0, 8, 8, 1)  # whatever the graph can do
        if precision == "fp32" and name in EMPTY:
            assert document["parity"]["empty"] is EMPTY[name]
            assert prove_again(file, document, run).difference == exported.difference


# Parametrisations


def test_parametrisations_are_computed_on_a_copy() -> None:
    network = nn.Sequential(parametrizations.orthogonal(conv()), parametrizations.weight_norm(conv())).eval()
    x = torch.randn(2, CHANNELS, 4, 4)
    expected = network(x)
    folded = fold(network)
    assert not any(parametrize.is_parametrized(module) for module in folded.modules())
    assert all(parametrize.is_parametrized(module) for module in network)
    torch.testing.assert_close(folded(x), expected)
    torch.testing.assert_close(network(x), expected)
    plain = nn.Sequential(conv())
    assert fold(plain) is plain


class Encoder(nn.Module):
    """An orthogonal layer, with noise on top."""

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, num_classes: int | None) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Flatten(), parametrizations.orthogonal(nn.Linear(64, latent_dim)))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        z: Tensor = self.layer(x)
        return z + 0.1 * torch.randn_like(z)


@pytest.mark.slow
@pytest.mark.usefixtures("registries")
def test_an_encoder_is_prepared_as_a_generator_is(tmp_path: Path) -> None:
    encoders.register("orthogonal")(Encoder)
    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), dtype=np.uint8)
    settings = ["encoder={name='orthogonal'}", "generator.width=8", "discriminator.width=8"]
    run = ganzoo.train("bigan", images, out=tmp_path / "run", steps=1, batch_size=8, settings=settings, progress=False)
    with pytest.raises(VerificationError, match="the encoder of 'bigan' draws random noise"):
        export_encoder(run)
    path = export_encoder(run, noise="none").path
    network, _, _ = load_network(run, role="encoder")
    x = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        expected = network.layer(x).numpy()  # type: ignore[operator]
    np.testing.assert_allclose(ganzoo.load_encoder(path).encode(x.numpy()), expected, atol=1e-4)


# Noise that a network draws itself


class Noisy(Kind):
    """StyleGAN's noise, in each of the ways to draw it."""

    def middle(self, x: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        n = x.shape[0]
        noise = [
            torch.randn(n, 1, 4, 4),
            torch.randn((1, 1, 4, 4)),
            torch.randn_like(x),
            2 * torch.rand(n, 1, 1, 1) - 1,
        ]
        noise += [
            2 * torch.rand_like(x) - 1,
            torch.normal(0.0, 1.0, (n, 1, 4, 4)),
            torch.normal(torch.zeros_like(x), 1),
        ]
        noise += [x.new_empty(n, 1, 4, 4).normal_(), torch.empty_like(x).uniform_(-1, 1)]
        return f.dropout(x + 0.2 * sum(noise), 0.2, training=True)


class Flipping(Kind):
    """Draws what cannot be fixed."""

    def middle(self, x: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        return x * torch.bernoulli(torch.full_like(x, 0.5))


class Spread(Kind):
    """Draws noise for each of eight parts of each image, in one dimension."""

    def middle(self, x: Tensor, z: Tensor, labels: Tensor | None) -> Tensor:
        return x + torch.randn(x.shape[0] * CHANNELS).view(-1, CHANNELS, 1, 1)


@pytest.fixture
def noisy(registries: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train("noisy", Noisy, tmp_path_factory.mktemp("noisy") / "run")


def generate(network: nn.Module, z: Any) -> Any:
    with torch.no_grad():
        return network(torch.from_numpy(z)).numpy()


def test_noise_of_its_own_is_refused_with_the_ways_out(noisy: Run, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    with pytest.raises(VerificationError, match=r"'noisy' draws random noise.*--noise constant.*--noise none"):
        export(noisy, tmp_path / "x.onnx")
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(UsageError, match=r"no noise 'constnt'; did you mean 'constant'\? \(one of constant, none\)"):
        export(noisy, tmp_path / "x.onnx", noise="constnt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_no_noise_is_the_mean_of_it(noisy: Run, tmp_path: Path) -> None:
    path = export(noisy, tmp_path / "x.onnx", noise="none").path
    file, document = runtime.load(path), runtime.read_metadata(path)
    z = file.info.latents(3, 0, 9)
    network, _, _ = load_network(noisy)
    quiet = nn.Sequential(network.start, network.end)  # type: ignore[arg-type]
    np.testing.assert_allclose(file.generate(z), generate(quiet, z), atol=1e-5)
    assert document["noise"] == "none"
    assert prove_again(file, document, noisy).difference <= 1e-5


@pytest.mark.slow
def test_constant_noise_is_one_draw_for_all_images(noisy: Run, tmp_path: Path) -> None:
    files = [export(noisy, tmp_path / f"{i}.onnx", noise="constant").path for i in range(2)]
    assert files[0].read_bytes() == files[1].read_bytes()
    file, document = runtime.load(files[0]), runtime.read_metadata(files[0])
    z = file.info.latents(3, 0, 9)
    drawn = file.generate(z)
    np.testing.assert_allclose(np.concatenate([file.generate(one[None]) for one in z]), drawn, atol=1e-5)
    network, _, _ = load_network(noisy)
    quiet = generate(nn.Sequential(network.start, network.end), z)  # type: ignore[arg-type]
    assert 0.05 < np.abs(drawn - quiet).mean() < 1
    assert prove_again(file, document, noisy).difference <= 1e-5
    program = export(noisy, tmp_path / "x.pt2", format="pt2", noise="constant")
    np.testing.assert_allclose(ganzoo.load(program.path, run=noisy).generate(z), drawn, atol=1e-5)


def test_fixed_noise_has_the_distribution_that_was_asked_for() -> None:
    class Drawing(nn.Module):
        def forward(self, x: Tensor, labels: Tensor | None = None) -> list[Tensor]:
            size = (x.shape[0], 10_000)
            drawn = [
                torch.randn(size),
                torch.rand(*size),
                torch.normal(3.0, 2.0, size),
                torch.empty(size).uniform_(-2, 4),
            ]
            return [*drawn, f.dropout(torch.ones(size), 0.25)]

    network = FixedNoise(Drawing(), [[torch.zeros(2, 1)], [torch.zeros(3, 1)]], "constant", 0, "it")
    drawn = network(torch.zeros(5, 1))
    moments = [(0, 1), (0.5, 12**-0.5), (3, 2), (1, 3**0.5), (1, (1 / 0.75 - 1) ** 0.5)]
    for value, (mean, deviation) in zip(drawn, moments, strict=True):
        assert value.shape == (5, 10_000)
        assert torch.equal(value[0], value[4])
        assert value.mean().item() == pytest.approx(mean, abs=0.06)
        assert value[0].std().item() == pytest.approx(deviation, rel=0.05)


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize(
    ("kind", "message"), [(Flipping, "draws noise that --noise cannot fix"), (Spread, "of a size that is neither")]
)
def test_other_noise_is_refused(kind: type[Kind], message: str, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match=message):
        export(train("other", kind, tmp_path / "run"), noise="constant")


# What cannot be exported


@pytest.mark.slow
@pytest.mark.usefixtures("registries")
def test_groups_over_the_batch_are_refused_with_the_way_out(tmp_path: Path) -> None:
    run = train("grouped", GroupedOverTheBatch, tmp_path / "run")
    with pytest.raises(VerificationError, match=r"with one group per image.*scale the activations") as caught:
        export(run)
    assert "\n" not in str(caught.value)
    program = export(run, tmp_path / "x.pt2", format="pt2")
    assert program.difference <= 1e-5


def test_the_two_ways_to_modulate_draw_the_same() -> None:
    torch.manual_seed(0)
    scaled, grouped = Modulated((1, 8, 8), 16, None), GroupedOverTheBatch((1, 8, 8), 16, None)
    grouped.load_state_dict(scaled.state_dict())
    z = torch.randn(5, 16)
    torch.testing.assert_close(scaled(z), grouped(z), rtol=1e-4, atol=1e-5)


PLUG_IN = """
import torch
from torch import nn
from ganzoo.plugin import generators

class Generator(nn.Module):
    def __init__(self, image_shape, latent_dim, num_classes):
        super().__init__()
        self.shape, self.layer = image_shape, nn.Linear(latent_dim, 64)

    def forward(self, z, labels=None):
        x = self.layer(z).tanh().view(-1, *self.shape)
        return BODY

generators.register("refused")(Generator)
"""
BODIES = {  # what a forward does -> what the one message says
    "x if x.sum() > 0 else -x": "cannot be translated",
    "x + 0.1 * torch.randn_like(x)": "--noise constant",
    "torch.erfinv(0.9 * x).tanh()": "cannot be translated",
    "x * torch.ones(len(x), 1, 1, 1)": "makes the batch size a constant",
    "x.sub(2).log() if torch.compiler.is_exporting() else x": "NaN or infinity",
}


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize(
    "body", [pytest.param(body, marks=pytest.mark.slow if "if x.sum" in body else pytest.mark.full) for body in BODIES]
)
def test_a_refusal_is_one_line_in_the_terminal(body: str, tmp_path: Path) -> None:
    """torch.onnx, onnxscript and onnxruntime report to stderr in their own ways: none of it reaches the user."""
    source = PLUG_IN.replace("BODY", body)
    distribution(tmp_path / "plugin", "refused-dist", {"refused": "refused_gans"}, {"refused_gans": source})
    exec(source, {"__name__": "refused_gans"})
    images = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), dtype=np.uint8)
    variant = Variant(generator=Spec("refused"), discriminator=Spec("mlp", width=8), latent_dim=16)
    run = ganzoo.train(variant, images, out=tmp_path / "run", steps=1, batch_size=8, progress=False)
    command = [sys.executable, "-m", "ganzoo_cli", "export", str(run.path), "--onnx"]
    places = environment(tmp_path / "plugin")
    done = subprocess.run(command, env=places, capture_output=True, text=True, check=False)
    assert done.returncode == 6
    assert done.stdout == ""
    assert done.stderr.startswith("ganzoo: ")
    assert BODIES[body] in done.stderr
    assert done.stderr.count("\n") == 1


# Tried out in a process of its own


def graph(*operators: str) -> onnx.ModelProto:
    nodes = [onnx.helper.make_node(operator, ["x"], ["y"]) for operator in operators]
    return onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], []))


def test_harmless_graphs_are_not_tried_out() -> None:
    assert trial.is_harmless(graph("Gemm", "Add", "Relu", "Conv", "DepthToSpace"))
    assert not trial.is_harmless(graph("Gemm", "GRU"))
    assert not trial.is_harmless(graph("Gemm", "Add", "QuantizeLinear"))  # an 8-bit sum may be broadcast


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What has the other process run some code first, which ends it as onnxruntime or the machine would."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(code: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(f"import os, sys, time\n{code}\n")

    return write


def test_a_crash_of_onnxruntime_is_one_message(begin: Callable[[str], None]) -> None:
    begin("os.abort()")
    with pytest.raises(
        VerificationError, match=r"onnxruntime .* crashes \(SIGABRT\) when it opens or runs the exported"
    ):
        trial.try_out(b"")


def test_a_crash_at_the_empty_batch_is_an_answer(begin: Callable[[str], None]) -> None:
    begin("print('drawn', flush=True)\nos.abort()")
    assert not trial.try_out(b"")


def test_a_file_that_hangs_onnxruntime_is_one_message(
    begin: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin("time.sleep(60)")
    monkeypatch.setattr(trial, "SECONDS", 0.1)
    with pytest.raises(VerificationError, match=r"onnxruntime .* has not finished after 0\.1 s when it opens or runs"):
        trial.try_out(b"")


@pytest.mark.slow
def test_a_file_that_hangs_at_the_empty_batch_is_an_answer(
    begin: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    begin("print('drawn', flush=True)\ntime.sleep(60)")
    monkeypatch.setattr(trial, "SECONDS", 4)
    assert not trial.try_out(b"")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("sys.modules['onnx'] = None", "import of onnx halted"),
        ("print('drawn', flush=True)\nsys.modules['onnx'] = None", "import of onnx halted"),
        ("os.kill(os.getpid(), 9)", "SIGKILL, probably because memory ran out"),
    ],
)
def test_a_process_that_fails_is_not_a_fault_of_the_file(begin: Callable[[str], None], code: str, reason: str) -> None:
    begin(code)
    with pytest.raises(MachineError, match=f"could not try out the exported file in another process.*{reason}"):
        trial.try_out(b"")


def test_a_file_that_is_refused_is_left_to_whoever_opens_it_next() -> None:
    assert not trial.try_out(b"no model")
