"""A run: the directory that training makes and everything else reads.

runs/dcgan-mnist-20260131-142501/
  config.toml      everything the run is a function of, resolved
  env.json         versions, device, git revision
  metrics.jsonl    one line each log interval
  evaluations.jsonl, evaluation.json   the figures on the way, and those of the last `ganzoo evaluate`
  rollbacks.jsonl  where training diverged and went back, if it did
  exports/         what was exported from it, a file each, named for the SHA-256 of what was written
  samples/         pictures on fixed latents
  checkpoints/     see checkpoint.py
  README.md        what the run is and what to type next
"""

import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ganzoo.config import RunConfig, Spec, read_toml
from ganzoo.errors import FileError, MachineError, UsageError, shown
from ganzoo.files import ADVICE, TEMPORARY_PATTERN, atomic_write, check_name, locked, refuse_links, write_json, writing
from ganzoo.markdown import code, escaped
from ganzoo.records import Record, read_lines, read_record
from ganzoo.runs.checkpoint import Checkpoint, best_of, list_checkpoints
from ganzoo.runs.records import EnvironmentRecord, EvaluationLine, EvaluationRecord, ExportRecord, LogLine, Rollback
from ganzoo.zoo.handing_over import describe_needs

RUNS = Path("runs")
METRICS, EVALUATIONS, EVALUATION = "metrics.jsonl", "evaluations.jsonl", "evaluation.json"
ROLLBACKS = "rollbacks.jsonl"
PACKAGES = ("torch-ganzoo", "torch", "torchvision", "numpy", "onnx", "onnxruntime", "safetensors", "pydantic")


@dataclass(frozen=True)
class Run:
    """An existing run directory; `Run.open` checks that it is one."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """Raises FileError for a directory that is not a run, or holds a link."""
        path = Path(path)
        check_name(path)
        if not (path / "config.toml").is_file():
            no_directory = "is a file, not a run" if path.exists() else "does not exist"
            what = "is not a run: it has no config.toml" if path.is_dir() else no_directory
            raise FileError(f"{path} {what}; a run is a directory that 'ganzoo train' made")
        refuse_links(path)
        return cls(path)

    @classmethod
    def newest(cls, directory: Path = RUNS) -> "Run":
        """The run that was written to last. Raises FileError where there is none."""
        found = [config.parent for config in directory.glob("*/config.toml")]
        if not found:
            raise FileError(
                f"no runs under {directory}/: train one (ganzoo train --variant dcgan) or name its directory"
            )
        return cls.open(max(found, key=lambda path: (_last_written(path), path.name)))

    @classmethod
    def create(cls, config: RunConfig, out: str | Path | None, device_name: str) -> "Run":
        """Make the directory, which must not exist yet. Raises UsageError, MachineError."""
        path = _make_directory(config, None if out is None else Path(out))
        run = cls(path)
        with writing(path):
            run.samples.mkdir()
            run.checkpoints_directory.mkdir()
        atomic_write(path / "env.json", (json.dumps(_environment(device_name), indent=1) + "\n").encode())
        run.write_config(config)
        return run

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def checkpoints_directory(self) -> Path:
        return self.path / "checkpoints"

    @property
    def config(self) -> RunConfig:
        """The resolved configuration. Raises FileError where the file is damaged."""
        try:
            return RunConfig.from_json(json.dumps(read_toml(self.path / "config.toml"), default=str))
        except UsageError as error:
            raise FileError(f"{self.path / 'config.toml'} is damaged: {error}") from None

    def write_config(self, config: RunConfig) -> None:
        """Replace `config.toml`."""
        atomic_write(self.path / "config.toml", config.to_toml().encode())

    def environment(self) -> dict[str, Any]:
        """What `env.json` says; empty where it is missing or damaged."""
        try:
            record = read_record(EnvironmentRecord, self.path / "env.json")
        except FileError:
            return {}
        return {} if record is None else record.to_json()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other process from training this run meanwhile. Raises UsageError where one does already."""
        with locked(self.path, "is being trained"):
            yield

    def check_present(self) -> None:
        """Raise MachineError if the run's directory was removed or renamed: nothing is to be written beside it anew."""
        if not (self.path / "config.toml").is_file():
            raise MachineError(
                f"cannot write {self.path}: the run's directory was removed or renamed; where it is now, it goes on "
                "from its last checkpoint"
            )

    def sweep(self) -> None:
        """Remove what a process that was killed while it wrote left behind; the run must be locked."""
        for folder in (self.path, self.samples, self.checkpoints_directory):
            for stray in folder.glob(TEMPORARY_PATTERN):
                with suppress(OSError):
                    shutil.rmtree(stray) if stray.is_dir() else stray.unlink()

    def checkpoints(self) -> list[Checkpoint]:
        """Oldest first."""
        return list_checkpoints(self.checkpoints_directory)

    def latest_checkpoint(self) -> Checkpoint:
        """Raises FileError for a run that was stopped before it saved one."""
        checkpoints = self.checkpoints()
        if not checkpoints:
            raise FileError(
                f"{self.path} has no checkpoint yet: training has not saved one, or stopped before its first"
            )
        return checkpoints[-1]

    def checkpoint_at(self, step: int) -> Checkpoint:
        """The one of that step. Raises FileError where there is none."""
        found = [checkpoint for checkpoint in self.checkpoints() if checkpoint.step == step]
        if not found:
            steps = ", ".join(str(checkpoint.step) for checkpoint in self.checkpoints()) or "none"
            raise FileError(f"{self.path} has no checkpoint of step {step} (it has those of the steps {steps})")
        return found[0]

    def best_checkpoint(self) -> Checkpoint:
        """The checkpoint with the least distance of those that were evaluated. Raises FileError without one."""
        best = best_of(self.checkpoints())
        if best is None:
            raise FileError(
                f"{self.path} was not evaluated while it trained (--evaluate-every): it has no best checkpoint"
            )
        return best

    def metrics(self) -> list[dict[str, Any]]:
        """Return the log lines as JSON, oldest first; a last line that a crash cut short is left out."""
        return [line.to_json() for line in self.read_metrics()]

    def evaluations(self) -> list[dict[str, Any]]:
        """Return the evaluations on the way as JSON, oldest first."""
        return [line.to_json() for line in self.read_evaluations()]

    def evaluation(self) -> dict[str, Any] | None:
        """Return what `ganzoo evaluate` last found as JSON, if anything. Raises FileError if the file is damaged."""
        record = self.read_evaluation()
        return None if record is None else record.to_json()

    def read_metrics(self) -> list[LogLine]:
        """Return the log lines, oldest first. Raises FileError if the file is damaged or was changed."""
        self._check_lines(METRICS)
        return read_lines(LogLine, self.path / METRICS)

    def read_evaluations(self) -> list[EvaluationLine]:
        """Return the evaluations on the way, oldest first. Raises FileError if the file is damaged or was changed."""
        self._check_lines(EVALUATIONS)
        return read_lines(EvaluationLine, self.path / EVALUATIONS)

    def read_evaluation(self) -> EvaluationRecord | None:
        """Return the last full evaluation, if there was one. Raises FileError if the file is damaged."""
        return read_record(EvaluationRecord, self.path / EVALUATION)

    def write_evaluation(self, record: EvaluationRecord) -> None:
        write_json(self.path / EVALUATION, record.to_json())

    def record_export(self, record: ExportRecord) -> None:
        """Keep what was exported, under its `sha256`. ganzoo opens a file that could run code only by such a record."""
        write_json(self._record_path(record.sha256), record.to_json())

    def find_export(self, sha256: str) -> ExportRecord | None:
        """Return the record of a file with this SHA-256; None if it was not exported from this run.

        Raises FileError for a damaged record.
        """
        return read_record(ExportRecord, self._record_path(sha256))

    def _record_path(self, sha256: str) -> Path:
        return self.path / "exports" / f"{sha256}.json"

    def append_metrics(self, line: LogLine) -> None:
        self._append(METRICS, line)

    def append_evaluation(self, line: EvaluationLine) -> None:
        self._append(EVALUATIONS, line)

    def read_rollbacks(self) -> list[Rollback]:
        """Return how the run went back where it diverged, oldest first. Raises FileError if the file is damaged."""
        self._check_lines(ROLLBACKS)
        return read_lines(Rollback, self.path / ROLLBACKS)

    def append_rollback(self, line: Rollback) -> None:
        self._append(ROLLBACKS, line)

    def unfinished_rollback(self) -> Rollback | None:
        """Return the last rollback if the newest checkpoint was saved before it, and so lacks its learning rates."""
        lines = self.read_rollbacks()
        if not lines:
            return None
        seen = self.latest_checkpoint().state()["lines"].get(ROLLBACKS, {"bytes": 0})["bytes"]
        return lines[-1] if len(lines) > (self.path / ROLLBACKS).read_bytes()[:seen].count(b"\n") else None

    def cut_lines(self, step: int) -> None:
        """Forget the lines after `step`: they are about to be written again."""
        files: dict[str, Sequence[LogLine | EvaluationLine | Rollback]] = {
            METRICS: self.read_metrics(),
            EVALUATIONS: self.read_evaluations(),
            ROLLBACKS: self.read_rollbacks(),
        }
        for name, lines in files.items():
            if (self.path / name).exists():
                written = (self.path / name).read_bytes().splitlines(keepends=True)
                pairs = zip(written, lines, strict=False)  # the last line may have been cut short
                kept = [text for text, line in pairs if isinstance(line, Rollback) or line.step <= step]
                atomic_write(self.path / name, b"".join(kept))

    def vouch_for_lines(self) -> dict[str, dict[str, Any]]:
        """Return the size and the SHA-256 of the files of lines, for a checkpoint to keep, once they are synced."""
        contents = {}
        for path in (self.path / METRICS, self.path / EVALUATIONS, self.path / ROLLBACKS):
            if path.exists():
                with writing(path), path.open("rb+") as file:
                    os.fsync(file.fileno())  # else a power cut could leave less than what is vouched for
                    contents[path.name] = file.read()
        return {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        }

    def lines_missing(self) -> bool:
        """Return whether a file of lines that the newest checkpoint has seen is not there."""
        return any(not (self.path / name).exists() for name in self.latest_checkpoint().state()["lines"])

    def _check_lines(self, name: str) -> None:
        """Raise FileError if a file of lines does not begin as the newest checkpoint has it; it may be missing."""
        path, checkpoints = self.path / name, self.checkpoints()
        try:
            vouched = checkpoints[-1].state()["lines"].get(name) if checkpoints else None
        except FileError:  # which is reported when the checkpoint is used
            return
        if vouched is None or not path.exists():
            return
        try:
            content = path.read_bytes()[: vouched["bytes"]]
        except OSError as error:
            raise FileError(f"{path} cannot be read ({error.strerror}); {ADVICE}") from None
        if hashlib.sha256(content).hexdigest() != vouched["sha256"]:
            raise FileError(
                f"{path} is damaged or was changed: it is not what {checkpoints[-1].path.name} has; {ADVICE}"
            )

    def _append(self, name: str, line: Record) -> None:
        with writing(self.path / name), (self.path / name).open("ab") as file:
            file.write(_encode(line))

    def write_readme(self, config: RunConfig, step: int, epoch: float, note: str) -> None:
        """Say what the run is and what to type next."""
        atomic_write(self.path / "README.md", _readme(self.path, config, step, epoch, note).encode())


def file_name(config: RunConfig) -> str:
    """Return the variant's name, for a run or what is exported from it. Raises UsageError if it cannot be a file's."""
    name = config.run.variant
    if not name or name != shown(name) or name in (".", "..") or set(name) & {"/", "\\"}:
        raise UsageError(f"the variant's name '{shown(name)}' cannot be that of a file: name one (--out)")
    return name


def _encode(line: Record) -> bytes:
    return (json.dumps(line.to_json()) + "\n").encode()


def _last_written(path: Path) -> int:
    return max(entry.stat().st_mtime_ns for entry in [path / "config.toml", *path.glob("checkpoints/step-*")])


def _make_directory(config: RunConfig, out: Path | None) -> Path:
    if out is not None:
        check_name(out)
        with writing(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            try:
                out.mkdir()
            except FileExistsError:
                raise UsageError(
                    f"{out} exists; a new run needs a directory of its own (to go on with a run: ganzoo resume RUN)"
                ) from None
        return out
    source, _, argument = config.data.source.partition(":")
    dataset = f"{source}-{Path(argument).stem}" if argument else source
    name = f"{file_name(config)}-{dataset}-{time.strftime('%Y%m%d-%H%M%S')}"
    for attempt in range(1, 1000):  # two runs may start in one second
        path = RUNS / (name if attempt == 1 else f"{name}-{attempt}")
        with writing(path):
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
        return path
    raise UsageError(f"{RUNS}/{name} exists a thousand times; name a directory with --out")


def _environment(device_name: str) -> dict[str, Any]:
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device_name,
        "packages": versions,
        "git_revision": _git_revision(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _git_revision() -> str | None:
    """The revision of the directory that the run was started in, `-dirty` where it had uncommitted changes."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None if answer.returncode == 0 else None


def _readme(path: Path, config: RunConfig, step: int, epoch: float, note: str) -> str:
    variant, data, facts, compute = config.variant, config.data, config.facts, config.chosen
    place = shlex.quote(str(path))
    shape = "x".join(map(str, facts.image_shape or ()))
    terms = ", ".join(_spec(term) for term in variant.terms) or "none"
    encoder = f"encoder {code(variant.encoder.name)}, " if variant.encoder else ""
    more = {
        "codes": ", ".join(f"{code(one.name)} ({one.kind}, {one.size})" for one in variant.codes),
        "augmentations": ", ".join(map(_spec, variant.augmentations)),
    }
    further = "".join(f"; {name}: {text}" for name, text in more.items() if text)
    needs = describe_needs(variant)
    needed = f"The run contains no code: {needs}.\n\n".replace("'", "`") if needs else ""
    labels = f", labels of {data.labels_per_class} of each class" if data.labels_per_class else ""
    return f"""# {escaped(config.run.variant)} on {escaped(data.source)}

{escaped(note)}

- **Variant** {code(config.run.variant)}: {"conditional, " if variant.conditional else ""}generator \
{code(variant.generator.name)}, discriminator {code(variant.discriminator.name)}, {encoder}objective \
{code(variant.objective.name)}, loss {code(variant.loss.name)}; terms: {terms}{further}.
- **Data** {code(data.source)}: {facts.images} images of shape {shape} (C x H x W){labels}, {data.batch_size} a batch. \
{escaped(facts.note or "")}
- **Trained** for {step} steps ({epoch:.2f} epochs), seed {config.train.seed}, on `{compute.device}` in \
{compute.precision}.

`config.toml` holds every setting, `metrics.jsonl` the losses, `samples/` the pictures, `env.json` the versions.

{needed}What to type next:

```
ganzoo sample {place} -n 64 --out images.png
ganzoo export {place} --onnx
{"" if data.source != "array" else "# in Python: "}{to_go_on(path, data.source, minutes=5)}
```

The same run again, from the start: {code(to_repeat(path, data.source))}
"""


def to_go_on(path: Path, source: str, **options: int) -> str:
    """Return what to type to go on with a run: Python for images in memory, which no command can be given."""
    if source == "array":
        given = "".join(f", {name}={value}" for name, value in options.items())
        return f"ganzoo.resume({str(path)!r}, dataset=IMAGES{given})"
    return f"ganzoo resume {shlex.quote(str(path))}" + "".join(f" --{name} {value}" for name, value in options.items())


def to_repeat(path: Path, source: str) -> str:
    """Return what to type for the same run again, from its start and into a directory of its own."""
    config = str(path / "config.toml")
    if source == "array":
        return f"ganzoo.train(dataset=IMAGES, config={config!r})"
    return f"ganzoo train --config {shlex.quote(config)}"


def _spec(spec: Spec) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in spec.settings.items())
    return f"{code(spec.name)} ({escaped(settings)})"
