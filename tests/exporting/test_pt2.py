"""A .pt2 file: it draws what its run draws at any batch size, and is opened only if that run vouches for its bytes."""

import dataclasses
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import generator_kind, invoke, make_images, one_of_each, train_tiny
from torch import Tensor, nn

import ganzoo
from ganzoo.errors import FileError, ModelError, VerificationError
from ganzoo.exporting import parity
from ganzoo.plugin import Exported, generators
from ganzoo.runs.run import Run
from ganzoo.runtime.generator import Generator

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train_tiny("cgan", make_images(), tmp_path_factory.mktemp("formats") / "run", steps=2)


@pytest.fixture(scope="module")
def program(run: Run) -> Exported:
    return ganzoo.export(run, format="pt2")


@pytest.mark.parametrize("variant", one_of_each(generator_kind))
def test_every_kind_of_generator_becomes_a_program_that_draws_the_same(variant: str, tmp_path: Path) -> None:
    run = train_tiny(variant, make_images(size=28), tmp_path / "run", steps=2)
    exported = ganzoo.export(run, format="pt2")
    assert exported.difference <= 1e-4
    ours, theirs = ganzoo.load(exported.path).sample(70), ganzoo.load(run).sample(70)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.full
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [28, 32, 64])
@pytest.mark.parametrize("variant", one_of_each(generator_kind))
def test_every_kind_of_generator_becomes_a_program_at_every_size(
    variant: str, size: int, channels: int, tmp_path: Path
) -> None:
    images, labels = make_images(size=size)
    colour = np.repeat(images[..., None], channels, axis=3)
    run = train_tiny(variant, (colour, labels), tmp_path / "run", steps=2)
    for weights in ("ema", "raw"):
        assert ganzoo.export(run, format="pt2", weights=weights).difference <= 1e-4


def test_a_program_draws_what_its_run_draws_at_any_batch_size(run: Run, program: Exported) -> None:
    ours, theirs = ganzoo.load(program.path), ganzoo.load(run)
    assert ours.info == theirs.info
    for n in (0, 1, 2, 3, 65):
        np.testing.assert_allclose(
            ours.generate(ours.info.latents(1, 0, n), ours.labels_for(n)),
            theirs.generate(theirs.info.latents(1, 0, n), theirs.labels_for(n)),
            atol=1e-4,
        )
    module = torch.export.load(program.path).module()  # as others load it, who know no ganzoo
    labels = () if ours.info.num_classes is None else (torch.arange(5) % 3,)
    assert module(torch.zeros(5, ours.info.latent_dim), *labels).shape == (5, *ours.info.image_shape)


def test_the_same_run_gives_the_same_bytes_and_nothing_of_the_machine(run: Run, program: Exported) -> None:
    data = program.path.read_bytes()
    again = ganzoo.export(run, format="pt2", license="MIT")
    assert ganzoo.export(run, format="pt2").sha256 == program.sha256 != again.sha256
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        texts = [archive.read(name) for name in archive.namelist()]
    for place in (Path(ganzoo.__path__[0]).parent, run.path, Path.home(), Path(torch.__file__).parent):
        assert not any(str(place).encode() in text for text in texts)


def test_the_commands_take_a_program(run: Run, program: Exported, tmp_path: Path) -> None:
    path = str(program.path)
    assert invoke("sample", path, "-n", "3", "--out", str(tmp_path / "out.npz"))[0] == 0
    with np.load(tmp_path / "out.npz") as arrays:
        assert np.array_equal(arrays["images"], ganzoo.load(run).sample(3)[..., 0])
    code, _, err = invoke("verify", path)
    assert (code, "unaltered: its SHA-256" in err, "draws in torch, within" in err) == (0, True, True)
    judged = ["--dataset", "mnist-5k", "--n", "8", "--seeds", "1", "--figures", "classes"]
    assert invoke("evaluate", path, *judged)[0] == 0
    code, out, _ = invoke("info", path)
    assert (code, program.sha256 in out, "exported from the run" in out) == (0, True, True)
    assert json.loads(invoke("info", path, "--json")[1])["file"]["sha256"] == program.sha256
    code, _, err = invoke("benchmark", "runtime", path)
    assert (code, "ganzoo benchmark takes" in err) == (3, True)


def test_a_program_elsewhere_needs_its_run(run: Run, program: Exported, tmp_path: Path) -> None:
    elsewhere = tmp_path / "moved.pt2"
    elsewhere.write_bytes(program.path.read_bytes())
    for arguments in (["sample", str(elsewhere)], ["verify", str(elsewhere)]):
        code, _, err = invoke(*arguments)
        assert (code, err.count("\n")) == (3, 1)
        assert "torch unpickles such a file" in err
        assert "ganzoo verify FILE --run RUN" in err
    assert "needs its run to open it" in invoke("info", str(elsewhere))[1]
    assert invoke("verify", str(elsewhere), "--run", str(run.path))[0] == 0
    assert np.array_equal(ganzoo.load(elsewhere, run=run).sample(2), ganzoo.load(run).sample(2))


def hostile(marker: Path) -> bytes:
    """A pickle that would make a file, where torch would unpickle it."""

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (marker,))

    file = io.BytesIO()
    torch.save(Trap(), file)
    return file.getvalue()


def poisoned(data: bytes, trap: bytes) -> bytes:
    """A program whose sample inputs are a trap."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as after:
        for name in before.namelist():
            after.writestr(name, trap if name.endswith("model.pt") else before.read(name))
    return made.getvalue()


CHANGES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "poisoned": lambda data, trap: poisoned(data, trap),
    "another": lambda data, trap: trap,
    "longer": lambda data, trap: data + b"\0",
    "cut": lambda data, trap: data[: len(data) // 2],
}


@pytest.mark.parametrize("change", CHANGES)
def test_altered_bytes_are_not_unpickled(change: str, run: Run, program: Exported, tmp_path: Path) -> None:
    marker, path = tmp_path / "opened", run.path / "altered.pt2"
    path.write_bytes(CHANGES[change](program.path.read_bytes(), hostile(marker)))
    try:
        with pytest.raises(ModelError, match="did not export it as it is now"):
            ganzoo.load(path)
        with pytest.raises(ModelError, match="is not opened"):
            ganzoo.load(path, run=run)
        assert invoke("info", str(path))[0] == 0
        assert not marker.exists()
    finally:
        path.unlink()


def test_what_is_loaded_are_the_bytes_that_were_hashed(
    run: Run, program: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever swaps the file once it has been read has swapped nothing."""
    path, marker = run.path / "swapped.pt2", tmp_path / "opened"
    path.write_bytes(program.path.read_bytes())
    find, looked_up = Run.find_export, []

    def swap(self: Run, sha256: str) -> Any:
        path.write_bytes(hostile(marker))
        looked_up.append(sha256)
        return find(self, sha256)

    monkeypatch.setattr(Run, "find_export", swap)
    drawn = ganzoo.load(path).sample(2)
    path.unlink()
    assert np.array_equal(drawn, ganzoo.load(run).sample(2))
    assert looked_up == [program.sha256]
    assert not marker.exists()


def test_a_damaged_record_vouches_for_nothing(run: Run, program: Exported) -> None:
    record = run.path / "exports" / f"{program.sha256}.json"
    text = record.read_text()
    for damaged in ("", "{}", "[]", text[:40]):
        record.write_text(damaged)
        with pytest.raises(FileError, match="is damaged"):
            ganzoo.load(program.path)
    record.write_text(text)


def test_a_program_that_differs_is_refused_and_not_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare = parity.compare

    def farther(file: Generator, original: Generator, seed: int) -> parity.Difference:
        return dataclasses.replace(compare(file, original, seed), difference=0.1)

    monkeypatch.setattr(parity, "compare", farther)
    with pytest.raises(VerificationError, match=r"differs from the run's by 1\.0e-01"):
        ganzoo.export(run, tmp_path / "x.pt2", format="pt2")
    assert list(tmp_path.iterdir()) == []


class Deciding(nn.Module):
    """Draws what depends on the value of a latent, by the language's own `if`."""

    def __init__(self, image_shape: tuple[int, int, int], latent_dim: int, num_classes: int | None) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.body = nn.Linear(latent_dim, int(np.prod(image_shape)))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = self.body(z).tanh().view(len(z), *self.image_shape)
        return images if z.sum() > 0 else -images


@pytest.mark.usefixtures("registries")
def test_a_network_that_decides_by_values_is_refused_in_one_line(tmp_path: Path) -> None:
    generators.register("deciding")(Deciding)
    run = train_tiny("gan", make_images(), tmp_path / "run", steps=1, settings=["generator={name='deciding'}"])
    with pytest.raises(VerificationError, match="generator 'deciding' cannot be translated") as refusal:
        ganzoo.export(run, format="pt2")
    assert "\n" not in str(refusal.value)
    assert not (run.path / "exports").exists()


def test_a_strangers_run_vouches_for_nothing(run: Run, program: Exported, tmp_path: Path) -> None:
    """Whoever sends a file can send a run that records it, but cannot sign the record."""
    marker, theirs = tmp_path / "opened", Run.open(shutil.copytree(run.path, tmp_path / "theirs"))
    path = theirs.path / "gan.pt2"
    path.write_bytes(hostile(marker))
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    genuine = run.find_export(program.sha256)
    assert genuine is not None
    for signature in (None, "", "0" * 64, genuine.signature):
        theirs.record_export(genuine.model_copy(update={"sha256": sha256, "signature": signature}))
        for named in (None, theirs):
            with pytest.raises(ModelError, match="is not signed by this user"):
                ganzoo.load(path, run=named)
    assert not marker.exists()


def test_a_program_by_another_name_is_not_opened(run: Run, program: Exported) -> None:
    for name in ("digits.npz", "digits", "digits.onnx"):
        path = run.path / name
        path.write_bytes(program.path.read_bytes())
        code, _, err = invoke("evaluate", str(path))
        assert code == 3, err
        path.unlink()
