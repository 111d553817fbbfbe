"""Encoders: of a run and of an .onnx file, they encode the same, and undo the generator as far as it was learnt."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import Images, train_tiny
from numpy.typing import NDArray

import ganzoo
from ganzoo import runtime
from ganzoo.errors import FileError, ModelError, UsageError, VerificationError
from ganzoo.exporting import parity
from ganzoo.exporting.exporter import export, export_encoder, prove_encoder_again
from ganzoo.runs.run import Run
from ganzoo.runtime.encoder import Encoder
from ganzoo.runtime.generator import GeneratorInfo

INFO = GeneratorInfo(variant="toy", latent_dim=2, image_shape=(1, 3, 4), num_classes=None)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("conditional", "convolutions")]


@pytest.fixture(scope="module", params=["plain", *SLOW])
def run(request: pytest.FixtureRequest, tiny_images: Images, tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings = {
        "plain": [],
        "conditional": ["conditional=true"],
        "convolutions": ["encoder={name='dcgan', width=4}"],
    }[request.param]
    return train_tiny("bigan", tiny_images, tmp_path_factory.mktemp("bigan") / "run", steps=6, settings=settings)


def labels_of(encoder: Encoder, n: int) -> NDArray[np.int64] | None:
    return np.arange(n) % 3 if encoder.info.has_classes else None


@pytest.mark.slow
def test_a_runs_encoder_and_its_files_encode_the_same(run: Run, tiny_images: Images, tmp_path: Path) -> None:
    exported = export_encoder(run, tmp_path / "encoder.onnx")
    images = tiny_images[0]
    encoder, file = ganzoo.load_encoder(run.path), ganzoo.load_encoder(exported.path)
    labels = labels_of(encoder, len(images))
    z = encoder.encode(images, labels)
    assert z.shape == (len(images), 64)
    assert z.dtype == np.float32
    assert z.std() > 0
    np.testing.assert_allclose(file.encode(images, labels), z, atol=1e-4)
    np.testing.assert_allclose(runtime.load_encoder(exported.path.read_bytes()).encode(images, labels), z, atol=1e-4)
    assert exported.difference < 1e-4
    assert exported.size == exported.path.stat().st_size
    document = runtime.read_metadata(exported.path)
    assert prove_encoder_again(file, document, run) < 1e-4
    assert parity.check_encoder_probe(file, document) < 1e-4
    wrong = {"probe": {"values": (np.array(document["probe"]["values"]) + 1).tolist()}}
    with pytest.raises(VerificationError, match="encodes to other latents here than where it was exported"):
        parity.check_encoder_probe(file, wrong)
    with pytest.raises(ModelError, match="record no latents that can be compared"):
        parity.check_encoder_probe(file, {})


@pytest.mark.slow
def test_the_file_says_what_it_is(run: Run, tmp_path: Path) -> None:
    exported = export_encoder(run)
    assert exported.path == run.path / "bigan-encoder.onnx"
    assert exported.path.read_bytes() == export_encoder(run, tmp_path / "again.onnx").path.read_bytes()
    graph = onnx.load(exported.path).graph
    labelled = ["labels"] if run.config.variant.conditional else []
    assert [value.name for value in graph.input] == ["images", *labelled]
    assert [value.name for value in graph.output] == ["z"]
    document = runtime.read_metadata(exported.path)
    assert (document["part"], document["schema"]) == ("encoder", 3)
    with pytest.raises(ModelError, match=r"contains an encoder, not a generator: open it with ganzoo\.load_encoder"):
        ganzoo.load(exported.path)
    with pytest.raises(ModelError, match=r"contains a generator, not an encoder: open it with ganzoo\.load"):
        ganzoo.load_encoder(export(run, tmp_path / "generator.onnx").path)


def test_a_latent_does_not_depend_on_the_images_beside_it(run: Run, tiny_images: Images) -> None:
    encoder, images = ganzoo.load_encoder(run), np.repeat(tiny_images[0], 2, axis=0)
    labels = labels_of(encoder, len(images))
    z = encoder.encode(images, labels)
    assert len(images) > 64
    for few in (1, 7, 65):
        part = encoder.encode(images[:few], None if labels is None else labels[:few])
        assert np.array_equal(part, z[:few])


def test_images_may_be_bytes_or_floats(run: Run, tiny_images: Images) -> None:
    encoder, images = ganzoo.load_encoder(run), tiny_images[0]
    labels = labels_of(encoder, len(images))
    floats = images[:, None].astype(np.float32) / np.float32(127.5) - np.float32(1)
    z = encoder.encode(images, labels)
    assert np.array_equal(encoder.encode(images[..., None], labels), z)
    assert np.array_equal(encoder.encode(floats, labels), z)


def test_a_variant_without_an_encoder_has_none_to_load(tiny_images: Images, tmp_path: Path) -> None:
    run = train_tiny("gan", tiny_images, tmp_path / "run", steps=1)
    with pytest.raises(UsageError, match=r"'gan' has no encoder: train a variant that has one .*bigan"):
        ganzoo.load_encoder(run)
    with pytest.raises(FileError, match="does not exist"):
        ganzoo.load_encoder(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="contains a generator, not an encoder"):
        ganzoo.load_encoder("mnist")


def toy(x: NDArray[np.float32], y: NDArray[np.int64] | None) -> NDArray[np.float32]:
    return x.reshape(len(x), -1)[:, :2]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([1, 2], "images are of the type list: expected uint8"),
        (np.zeros((2, 3, 4), np.int64), r"images are int64 \[2, 3, 4\]: expected uint8 \[N, 3, 4, 1\]"),
        (np.zeros((2, 4, 3, 1), np.uint8), r"images are uint8 \[2, 4, 3, 1\]"),
        (np.zeros((2, 3, 4, 1), np.float32), r"images are float32 .* float32 \[N, 1, 3, 4\]"),
        (np.full((2, 1, 3, 4), np.nan, np.float32), r"outside \[-1, 1\]"),
        (np.full((2, 1, 3, 4), 255, np.float32), r"outside \[-1, 1\]"),
    ],
)
def test_what_is_no_image_is_refused(images: NDArray[np.uint8], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Encoder(INFO, toy).encode(images)


def test_labels_are_for_encoders_that_take_them() -> None:
    images = np.zeros((2, 3, 4), np.uint8)
    with pytest.raises(UsageError, match="takes no labels"):
        Encoder(INFO, toy).encode(images, [0, 1])
    classes = GeneratorInfo(variant="toy", latent_dim=2, image_shape=(1, 3, 4), num_classes=3)
    with pytest.raises(UsageError, match="trained with classes: pass labels"):
        Encoder(classes, toy).encode(images)
    assert Encoder(classes, toy).encode(images, 2).shape == (2, 2)
    with pytest.raises(ModelError, match="encoded to float32"):
        Encoder(INFO, lambda x, y: x[:, 0, 0]).encode(images)


def test_an_encoder_that_differs_is_refused() -> None:
    original = Encoder(INFO, toy)
    assert parity.compare_encoders(Encoder(INFO, toy), original, seed=0) == 0
    with pytest.raises(VerificationError, match=r"latents differ from the run's by 1\.0e-02"):
        parity.compare_encoders(Encoder(INFO, lambda x, y: toy(x, y) + np.float32(0.01)), original, seed=0)
