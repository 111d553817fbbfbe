"""Checkpoints: written whole or not at all, checked when read, and safe to read."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Images, bits_of, tensors_of, train_tiny
from hypothesis import given
from hypothesis import strategies as st

import ganzoo
from ganzoo.config import RunConfig
from ganzoo.errors import DivergedError, FileError, MachineError
from ganzoo.runs import checkpoint
from ganzoo.runs.checkpoint import SCHEMA, Checkpoint, list_checkpoints
from ganzoo.runs.run import Run
from ganzoo.zoo.build import BUILDERS

FILES = [
    "objective.safetensors",
    "ema.safetensors",
    "generator_optimizer.safetensors",
    "discriminator_optimizer.safetensors",
    "state.json",
    "manifest.json",
]
GOLDEN = Path(__file__).parents[1] / "golden" / "gan"
DISTANCES = {1: None, 2: 1.5, 3: 3.0, 4: 2.0, 5: None, 6: 9.0}


def saved(directory: Path, step: int = 1, *, final: bool = False, value: float = 0.5) -> Checkpoint:
    parts = {"ema": {"weight": torch.full((2, 3), value), "count": torch.tensor(step)}, "empty": {}}
    return checkpoint.save(directory, step, parts, {"step": step, "final": final})


@pytest.fixture(scope="module")
def trained(tiny_images: Images, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with checkpoints at steps 2 and 3."""
    out = tmp_path_factory.mktemp("trained") / "run"
    return train_tiny("gan", tiny_images, out, steps=3, settings=["train.checkpoint_every=2"])


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """A copy, to be damaged."""
    return Run(Path(shutil.copytree(trained.path, tmp_path / "run")))


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    weight = torch.arange(24.0).view(2, 3, 2, 2).to(memory_format=torch.channels_last)
    shared = weight[0]
    parts = {"one": {"weight": weight, "shared": shared, "half": shared.bfloat16(), "on": torch.tensor([True])}}
    made = checkpoint.save(tmp_path, 12, parts, {"step": 12, "text": "ü", "none": None, "final": True})
    assert (made.path.name, made.step, made.final) == ("step-00000012", 12, True)
    assert made.state().items() >= {"step": 12, "text": "ü", "none": None, "final": True}.items()
    torch.testing.assert_close(made.tensors("one"), parts["one"], rtol=0, atol=0)
    assert list_checkpoints(tmp_path) == [made]


def test_a_checkpoint_is_safetensors_and_json_and_nothing_that_runs_code(run: Run) -> None:
    for made in run.checkpoints():
        assert sorted(path.name for path in made.path.iterdir()) == sorted(FILES)
        for path in made.path.iterdir():
            data = path.read_bytes()
            if path.suffix == ".json":
                json.loads(data)
            else:
                header = int.from_bytes(data[:8], "little")  # a length, a JSON document, raw numbers
                assert isinstance(json.loads(data[8 : 8 + header]), dict)
    suffixes = {path.suffix for path in run.path.rglob("*") if path.is_file()}
    assert suffixes == {".safetensors", ".json", ".toml", ".md", ".png"}


# damage


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip, empty, Path.unlink])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_with_the_checkpoint_before(
    name: str, damage: Callable[[Path], None], run: Run, tiny_images: Images
) -> None:
    newest = run.latest_checkpoint().path
    damage(newest / name)
    if name == "manifest.json" and damage is truncate:
        return  # its last byte is the end of the last line
    with pytest.raises(FileError) as caught:
        ganzoo.resume(run, steps=5, dataset=tiny_images, progress=False)
    # A flipped bit of the manifest may be one of a hash, and then the file of that hash is the one that does not fit.
    names = FILES if name == "manifest.json" else [name]
    assert any(f"{newest / name} is damaged" in str(caught.value) for name in names)
    assert f"delete {newest} to continue from step-00000002" in str(caught.value)
    shutil.rmtree(newest)
    assert ganzoo.resume(run, steps=5, dataset=tiny_images, progress=False).latest_checkpoint().step == 5


@pytest.mark.parametrize("name", ["ema.safetensors", "state.json", "manifest.json"])
def test_a_damaged_file_is_found_before_anything_is_drawn(name: str, run: Run) -> None:
    truncate(run.latest_checkpoint().path / name)
    if name == "manifest.json":
        empty(run.latest_checkpoint().path / name)
    with pytest.raises(FileError, match=f"{name} is damaged"):
        ganzoo.load(run)


def test_the_only_checkpoint_has_no_other_to_go_on_from(tmp_path: Path) -> None:
    made = saved(tmp_path)
    truncate(made.path / "state.json")
    with pytest.raises(FileError, match=r"state\.json is damaged .*; the run has no other checkpoint"):
        made.state()


def test_a_damaged_older_checkpoint_does_not_stop_training(run: Run, tiny_images: Images) -> None:
    for name in ("state.json", "manifest.json"):
        empty(run.checkpoints()[0].path / name)
    expected = {"step-00000004", "step-00000005"}
    ganzoo.resume(run, steps=5, dataset=tiny_images, progress=False)
    assert {made.path.name for made in run.checkpoints()} == expected


def manifest(made: Checkpoint) -> tuple[Path, dict[str, Any]]:
    path = made.path / "manifest.json"
    return path, json.loads(path.read_text())


def test_an_altered_manifest_names_the_file_that_no_longer_fits(tmp_path: Path) -> None:
    made = saved(tmp_path)
    path, document = manifest(made)
    for digests in (
        {**document["sha256"], "ema.safetensors": "0" * 64},
        {**document["sha256"], "ema.safetensors": None},
        {key: value for key, value in document["sha256"].items() if key != "ema.safetensors"},
    ):
        path.write_text(json.dumps({**document, "sha256": digests}))
        with pytest.raises(FileError, match=r"ema\.safetensors is damaged"):
            made.tensors("ema")
        assert made.state()["step"] == 1


def test_a_newer_schema_asks_for_an_upgrade(run: Run, tiny_images: Images) -> None:
    path, document = manifest(run.latest_checkpoint())
    path.write_text(json.dumps({**document, "schema": SCHEMA + 1}))
    with pytest.raises(FileError, match=f"checkpoint schema {SCHEMA + 1}, this ganzoo reads up to {SCHEMA}: upgrade"):
        ganzoo.resume(run, steps=5, dataset=tiny_images, progress=False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["schema", "sha256"]), inner),
    max_leaves=6,
)


@given(content=st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()) | st.just(b"[" * 100_000))
def test_any_other_manifest_is_refused(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = Checkpoint(tmp_path_factory.getbasetemp() / "hostile" / "step-00000001")
    made.path.mkdir(parents=True, exist_ok=True)
    (made.path / "state.json").write_text("{}")
    (made.path / "manifest.json").write_bytes(content)
    with pytest.raises(FileError):
        made.state()
    assert not made.final


@pytest.mark.slow
@given(content=st.binary(max_size=100))
def test_tensors_that_are_no_safetensors_are_refused(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Even where the hash is right."""
    made = saved(tmp_path_factory.getbasetemp() / "rehashed")
    path, document = manifest(made)
    (made.path / "ema.safetensors").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps({**document, "sha256": {**document["sha256"], "ema.safetensors": digest}}))
    with pytest.raises(FileError, match=r"ema\.safetensors is damaged"):
        made.tensors("ema")


# keeping


def steps(directory: Path) -> list[int]:
    return [made.step for made in list_checkpoints(directory)]


def test_pruning_keeps_the_last_two_and_the_last_final_one(tmp_path: Path) -> None:
    kept = []
    for step in range(1, 8):
        saved(tmp_path, step, final=step in (2, 3))
        checkpoint.prune(tmp_path)
        kept.append(steps(tmp_path))
    assert kept == [[1], [1, 2], [2, 3], [3, 4], [3, 4, 5], [3, 5, 6], [3, 6, 7]]


def test_a_run_keeps_the_last_two_and_the_one_at_the_end_of_its_budget(tiny_images: Images, tmp_path: Path) -> None:
    run = train_tiny("gan", tiny_images, tmp_path / "run", steps=3, settings=["train.checkpoint_every=1"])
    assert steps(run.checkpoints_directory) == [2, 3]
    ganzoo.resume(run, steps=6, dataset=tiny_images, progress=False)
    assert steps(run.checkpoints_directory) == [5, 6]
    assert [made.final for made in run.checkpoints()] == [False, True]


def test_checkpoints_come_in_the_order_of_their_steps(tmp_path: Path) -> None:
    for name in ("step-100000000", "step-99999999", "step-00000002", "step-x", ".ganzoo-0.tmp", "other"):
        (tmp_path / name).mkdir()
    assert steps(tmp_path) == [2, 99999999, 100000000]


def test_sweeping_removes_what_was_half_written_and_nothing_else(tmp_path: Path) -> None:
    run = Run(tmp_path)
    made = saved(run.checkpoints_directory)
    run.samples.mkdir()
    for folder in (run.path, run.samples, run.checkpoints_directory):
        (folder / ".ganzoo-0123.tmp" / "deeper").mkdir(parents=True)
        (folder / ".ganzoo-4567.tmp").touch()
        (folder / "mine.txt").touch()
    run.sweep()
    assert {path.name for path in run.checkpoints_directory.iterdir()} == {made.path.name, "mine.txt"}
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints", "samples", "mine.txt"}
    assert {path.name for path in run.samples.iterdir()} == {"mine.txt"}


# writing


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nothing_that_is_not_finite_is_saved(value: float, tmp_path: Path) -> None:
    saved(tmp_path, 1)
    with pytest.raises(DivergedError, match="ema: weight is not finite; nothing was saved"):
        saved(tmp_path, 2, value=value)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_saving_the_same_step_again_replaces_it(tmp_path: Path) -> None:
    saved(tmp_path, 1, value=1.0)
    made = saved(tmp_path, 1, value=2.0, final=True)
    assert made.final
    assert made.tensors("ema")["weight"][0, 0] == 2
    assert [path.name for path in tmp_path.iterdir()] == [made.path.name]


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match=r"cannot write .*file/step-00000001.*is a file, not a directory"):
        saved(tmp_path / "file")


@contextmanager
def small_files_only(limit: int) -> Iterator[None]:
    """As on a disk that has no room for more."""
    import resource

    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


@pytest.mark.skipif(sys.platform == "win32", reason="has no RLIMIT_FSIZE")
def test_a_checkpoint_that_cannot_be_written_leaves_the_former_ones(
    run: Run, tiny_images: Images, tmp_path: Path
) -> None:
    before = {made.path.name: tensors_of(made).keys() for made in run.checkpoints()}
    with small_files_only(8192), pytest.raises(MachineError, match=r"cannot write .*step-00000004.*larger than"):
        ganzoo.resume(run, steps=5, dataset=tiny_images, progress=False)
    assert {made.path.name: tensors_of(made).keys() for made in run.checkpoints()} == before
    assert not list(run.checkpoints_directory.glob(".*"))
    ganzoo.resume(run, steps=5, dataset=tiny_images, progress=False)
    settings = ["train.checkpoint_every=2"]
    assert bits_of(run) == bits_of(train_tiny("gan", tiny_images, tmp_path / "whole", steps=5, settings=settings))


# reading


def rewritten(made: Checkpoint, name: str, content: bytes) -> None:
    """Replace a file, and its hash with it."""
    path, document = manifest(made)
    (made.path / name).write_bytes(content)
    document["sha256"][name] = hashlib.sha256(content).hexdigest()
    path.write_text(json.dumps(document))


def test_a_checkpoint_says_what_its_state_says(tmp_path: Path) -> None:
    assert [saved(tmp_path, step, final=final).final for step, final in ((1, True), (2, False))] == [True, False]
    evaluated = checkpoint.save(tmp_path, 3, {}, {"step": 3, "fid": 2.5})
    assert (evaluated.distance, saved(tmp_path, 4).distance) == (2.5, None)
    truncate(evaluated.path / "state.json")
    assert (evaluated.distance, evaluated.final) == (None, False)
    assert evaluated.path.name == checkpoint.name_of(3) == "step-00000003"
    assert [checkpoint.average_part(role) for role in ("generator", "encoder")] == ["ema", "ema_encoder"]


def test_the_least_distance_is_the_best_and_is_kept(tmp_path: Path) -> None:
    assert checkpoint.best_of([]) is None
    made = {step: checkpoint.save(tmp_path, step, {}, {"step": step, "fid": fid}) for step, fid in DISTANCES.items()}
    assert checkpoint.best_of(list(made.values())) == made[2]
    assert checkpoint.best_of([made[1]]) is None
    checkpoint.prune(tmp_path)
    assert steps(tmp_path) == [2, 5, 6]


def test_a_checkpoint_that_was_renamed_is_refused(tmp_path: Path) -> None:
    moved = Checkpoint(saved(tmp_path, 1).path.rename(tmp_path / "step-00000009"))
    with pytest.raises(FileError, match=r"contains step 1, but its name is that of step 9: rename it to step-00000001"):
        moved.state()


@pytest.mark.parametrize("missing", ["ema.safetensors", "state.json", "manifest.json"])
def test_a_missing_file_is_named_with_its_reason(missing: str, tmp_path: Path) -> None:
    saved(tmp_path, 1)
    made = saved(tmp_path, 2)
    (made.path / missing).unlink()
    with pytest.raises(FileError) as caught:
        made.tensors("ema") if missing.startswith("ema") else made.state()
    assert f"{made.path / missing} is damaged (" in str(caught.value)
    assert "No such file or directory" in str(caught.value)
    assert f"; delete {made.path} to continue from step-00000001" in str(caught.value)


def test_an_older_schema_is_read_and_a_newer_one_is_not(tmp_path: Path) -> None:
    made = saved(tmp_path)
    path, document = manifest(made)
    assert document["schema"] == SCHEMA == 3
    for schema in (1, SCHEMA):
        path.write_text(json.dumps({**document, "schema": schema}))
        assert made.state()["step"] == 1
    path.write_text(json.dumps({**document, "schema": SCHEMA + 1}))
    with pytest.raises(FileError, match="this ganzoo reads up to 3: upgrade"):
        made.state()


def test_a_configuration_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    golden = Checkpoint(Path(shutil.copytree(GOLDEN / "checkpoints" / "step-00000012", tmp_path / "step-00000012")))
    assert golden.config().run.variant == "gan"
    state = json.loads((golden.path / "state.json").read_bytes())
    state["config"]["variant"]["loss"]["name"] = "no-such-loss"
    rewritten(golden, "state.json", json.dumps(state).encode())
    with pytest.raises(FileError, match=rf"{golden.path} cannot be used with the installed ganzoo .*no-such-loss"):
        golden.config()


def test_a_large_network_that_does_not_fit_is_refused_before_it_takes_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open(shutil.copytree(GOLDEN, tmp_path / "run"))
    made = run.latest_checkpoint()
    state = json.loads((made.path / "state.json").read_bytes())
    state["config"]["variant"]["generator"]["width"] = 6000
    rewritten(made, "state.json", json.dumps(state).encode())
    real, devices = BUILDERS["generator"], []

    def build(config: RunConfig) -> torch.nn.Module:
        network = real(config)
        devices.append({parameter.device.type for parameter in network.parameters()})
        return network

    monkeypatch.setitem(BUILDERS, "generator", build)
    with pytest.raises(FileError, match=r"does not fit the installed networks, .*: ema: size mismatch"):
        ganzoo.load(run)
    assert devices == [{"meta"}]


def test_tensors_go_into_a_network_by_their_prefix(tmp_path: Path) -> None:
    layer = torch.nn.Linear(2, 1)
    tensors = {f"{prefix}.{name}": value + place for place, prefix in enumerate(("a", "ba")) for name, value in
               layer.state_dict().items()}  # fmt: skip
    made = checkpoint.save(tmp_path, 1, {"both": tensors, "one": layer.state_dict()}, {"step": 1})
    for part, prefix, added in (("both", "a.", 0), ("both", "ba.", 1), ("one", "", 0)):
        other = torch.nn.Linear(2, 1)
        made.load(part, other, prefix)
        torch.testing.assert_close(other.weight, layer.weight + added, rtol=0, atol=0)
    with pytest.raises(FileError) as caught:
        made.load("one", torch.nn.Linear(3, 1))
    assert "the installed networks, which have changed since: one: size mismatch for weight" in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("content", [b"", bytes(8), b"\xff" * 20, b"\x02" + bytes(7) + b"[]"])
def test_a_part_that_is_no_safetensors_is_damaged_though_its_hash_fits(content: bytes, tmp_path: Path) -> None:
    made = saved(tmp_path)
    rewritten(made, "ema.safetensors", content)
    with pytest.raises(FileError, match=r"ema\.safetensors is damaged \(.+\); the run has no other checkpoint"):
        made.tensors("ema")


# restoring


def stray(directory: Path, step: int, name: str = ".ganzoo-0123.tmp") -> Path:
    """A whole checkpoint under a temporary name."""
    return saved(directory, step).path.rename(directory / name)


def test_a_whole_checkpoint_under_a_temporary_name_is_put_back(tmp_path: Path) -> None:
    stray(tmp_path, 3)
    checkpoint.restore(tmp_path)
    assert steps(tmp_path) == [3]
    assert Checkpoint(tmp_path / "step-00000003").state()["step"] == 3
    assert not list(tmp_path.glob(".*"))


def test_one_that_is_there_is_not_replaced(tmp_path: Path) -> None:
    left = stray(tmp_path, 3)
    made = saved(tmp_path, 3, value=7.0)
    checkpoint.restore(tmp_path)
    assert made.tensors("ema")["weight"][0, 0] == 7
    assert left.exists()


@pytest.mark.parametrize("name", ["ema.safetensors", "empty.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", [truncate, Path.unlink])
def test_what_was_half_written_is_not_put_back(name: str, damage: Callable[[Path], None], tmp_path: Path) -> None:
    left = stray(tmp_path, 3, ".ganzoo-0000.tmp")
    damage(left / name)
    if name == "manifest.json":
        left.joinpath(name).write_bytes(b"{")
    stray(tmp_path, 4)
    checkpoint.restore(tmp_path)
    assert steps(tmp_path) == [4]
    assert left.exists()
