"""A run: the directory that training creates and all other commands read.

runs/dcgan-mnist-20260131-142501/
  config.toml      all inputs of the run, resolved
  env.json         versions, device, git revision
  metrics.jsonl    one line per log interval
  evaluations.jsonl, evaluation.json   the metrics during training, and those of the last `ganzoo evaluate`
  rollbacks.jsonl  rollbacks after training diverged, if there were any
  exports/         a record of each exported file, named by the file's SHA-256
  samples/         sample images on fixed latents
  checkpoints/     see checkpoint.py
  README.md        a description of the run, and commands to type next
"""

import hashlib
import html
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
from ganzoo.files import (
    ADVICE,
    TEMPORARY_PATTERN,
    atomic_write,
    check_name,
    locked,
    read_limited,
    refuse_links,
    write_json,
    writing,
)
from ganzoo.markdown import code, escaped, plain
from ganzoo.records import Record, read_lines, read_record
from ganzoo.runs.checkpoint import Checkpoint, best_of, list_checkpoints
from ganzoo.runs.records import EnvironmentRecord, EvaluationLine, EvaluationRecord, ExportRecord, LogLine, Rollback
from ganzoo.runtime.images import png_to_html
from ganzoo.zoo.handing_over import describe_needs

RUNS = Path("runs")
METRICS, EVALUATIONS, EVALUATION = "metrics.jsonl", "evaluations.jsonl", "evaluation.json"
ROLLBACKS = "rollbacks.jsonl"
LARGEST_IMAGE = 10_000_000  # bytes of a sample image that a notebook shows
PACKAGES = ("torch-ganzoo", "torch", "torchvision", "numpy", "onnx", "onnxruntime", "safetensors", "pydantic")


@dataclass(frozen=True)
class Run:
    """An existing run directory; `Run.open` checks that it is one."""

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """Open an existing run. Raises FileError if the directory is not a run or contains a link."""
        path = Path(path)
        check_name(path)
        if not (path / "config.toml").is_file():
            no_directory = "is a file, not a run" if path.exists() else "does not exist"
            what = "is not a run: it has no config.toml" if path.is_dir() else no_directory
            raise FileError(f"{path} {what}; a run is a directory that 'ganzoo train' created")
        refuse_links(path)
        return cls(path)

    @classmethod
    def newest(cls, directory: Path = RUNS) -> "Run":
        """Return the run that was written to last. Raises FileError if there is none."""
        found = [config.parent for config in directory.glob("*/config.toml")]
        if not found:
            raise FileError(
                f"no runs under {directory}/: train one (ganzoo train --variant dcgan) or name its directory"
            )
        return cls.open(max(found, key=lambda path: (_last_written(path), path.name)))

    @classmethod
    def create(cls, config: RunConfig, out: str | Path | None, device_name: str) -> "Run":
        """Create the directory of a new run, which must not exist yet. Raises UsageError, MachineError."""
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
        """The resolved configuration. Raises FileError if the file is damaged."""
        try:
            return RunConfig.from_json(json.dumps(read_toml(self.path / "config.toml"), default=str))
        except UsageError as error:
            raise FileError(f"{self.path / 'config.toml'} is damaged: {error}") from None

    def write_config(self, config: RunConfig) -> None:
        """Replace `config.toml`."""
        atomic_write(self.path / "config.toml", config.to_toml().encode())

    def environment(self) -> dict[str, Any]:
        """Return the content of `env.json`; an empty dictionary if it is missing or damaged."""
        try:
            record = read_record(EnvironmentRecord, self.path / "env.json")
        except FileError:
            return {}
        return {} if record is None else record.to_json()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the run against training by other processes. Raises UsageError if another process is training it."""
        with locked(self.path, "is being trained"):
            yield

    def check_present(self) -> None:
        """Raise MachineError if the run's directory was removed or renamed, so that it is not created again."""
        if not (self.path / "config.toml").is_file():
            raise MachineError(
                f"cannot write {self.path}: the run's directory was removed or renamed; if it was renamed, resume it "
                "there from its last checkpoint"
            )

    def sweep(self) -> None:
        """Remove temporary files of processes that were killed while writing; the run must be locked."""
        for folder in (self.path, self.samples, self.checkpoints_directory):
            for stray in folder.glob(TEMPORARY_PATTERN):
                with suppress(OSError):
                    shutil.rmtree(stray) if stray.is_dir() else stray.unlink()

    def checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints, oldest first."""
        return list_checkpoints(self.checkpoints_directory)

    def latest_checkpoint(self) -> Checkpoint:
        """Return the newest checkpoint. Raises FileError if the run has none yet."""
        checkpoints = self.checkpoints()
        if not checkpoints:
            raise FileError(
                f"{self.path} has no checkpoint yet: training has not saved one, or was stopped before the first one"
            )
        return checkpoints[-1]

    def checkpoint_at(self, step: int) -> Checkpoint:
        """Return the checkpoint of a step. Raises FileError if there is none."""
        found = [checkpoint for checkpoint in self.checkpoints() if checkpoint.step == step]
        if not found:
            steps = ", ".join(str(checkpoint.step) for checkpoint in self.checkpoints()) or "none"
            raise FileError(f"{self.path} has no checkpoint of step {step} (its checkpoints have the steps {steps})")
        return found[0]

    def best_checkpoint(self) -> Checkpoint:
        """Return the checkpoint with the smallest FID. Raises FileError if none was evaluated."""
        best = best_of(self.checkpoints())
        if best is None:
            raise FileError(
                f"{self.path} was not evaluated during training (--evaluate-every): it has no best checkpoint"
            )
        return best

    def metrics(self) -> list[dict[str, Any]]:
        """Return the log lines as JSON, oldest first; an incomplete last line (after a crash) is left out."""
        return [line.to_json() for line in self.read_metrics()]

    def evaluations(self) -> list[dict[str, Any]]:
        """Return the evaluations during training as JSON, oldest first."""
        return [line.to_json() for line in self.read_evaluations()]

    def evaluation(self) -> dict[str, Any] | None:
        """Return the last result of `ganzoo evaluate` as JSON, or None. Raises FileError if the file is damaged."""
        record = self.read_evaluation()
        return None if record is None else record.to_json()

    def read_metrics(self) -> list[LogLine]:
        """Return the log lines, oldest first. Raises FileError if the file is damaged or was changed."""
        self._check_lines(METRICS)
        return read_lines(LogLine, self.path / METRICS)

    def read_evaluations(self) -> list[EvaluationLine]:
        """Return the evaluations during training, oldest first. Raises FileError if the file is damaged or changed."""
        self._check_lines(EVALUATIONS)
        return read_lines(EvaluationLine, self.path / EVALUATIONS)

    def read_evaluation(self) -> EvaluationRecord | None:
        """Return the last full evaluation, or None. Raises FileError if the file is damaged."""
        return read_record(EvaluationRecord, self.path / EVALUATION)

    def write_evaluation(self, record: EvaluationRecord) -> None:
        write_json(self.path / EVALUATION, record.to_json())

    def record_export(self, record: ExportRecord) -> None:
        """Store the record of an export by its `sha256`; ganzoo opens files that could run code only with a record."""
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
        """Return the rollbacks of the run, oldest first. Raises FileError if the file is damaged or was changed."""
        self._check_lines(ROLLBACKS)
        return read_lines(Rollback, self.path / ROLLBACKS)

    def append_rollback(self, line: Rollback) -> None:
        self._append(ROLLBACKS, line)

    def unfinished_rollback(self) -> Rollback | None:
        """Return the last rollback if the checkpoint that it led to is the newest and lacks its learning rates."""
        lines, latest = self.read_rollbacks(), self.latest_checkpoint()
        if not lines or lines[-1].to != latest.step:
            return None
        seen = latest.state()["lines"].get(ROLLBACKS, {"bytes": 0})["bytes"]
        return lines[-1] if len(lines) > (self.path / ROLLBACKS).read_bytes()[:seen].count(b"\n") else None

    def cut_lines(self, step: int) -> None:
        """Remove the lines after `step`, which training will write again."""
        files: dict[str, Sequence[LogLine | EvaluationLine | Rollback]] = {
            METRICS: self.read_metrics(),
            EVALUATIONS: self.read_evaluations(),
            ROLLBACKS: self.read_rollbacks(),
        }
        for name, lines in files.items():
            if (self.path / name).exists():
                written = (self.path / name).read_bytes().splitlines(keepends=True)
                pairs = zip(written, lines, strict=False)  # the last line may be incomplete
                kept = [text for text, line in pairs if isinstance(line, Rollback) or line.step <= step]
                atomic_write(self.path / name, b"".join(kept))

    def vouch_for_lines(self) -> dict[str, dict[str, Any]]:
        """Sync the files of lines to disk, and return their sizes and SHA-256 for a checkpoint."""
        contents = {}
        for path in (self.path / METRICS, self.path / EVALUATIONS, self.path / ROLLBACKS):
            if path.exists():
                with writing(path), path.open("rb+") as file:
                    os.fsync(file.fileno())  # or a power cut could leave less than the checkpoint records
                    contents[path.name] = file.read()
        return {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        }

    def lines_missing(self) -> bool:
        """Return whether a file of lines that the newest checkpoint records is missing."""
        return any(not (self.path / name).exists() for name in self.latest_checkpoint().state()["lines"])

    def _check_lines(self, name: str) -> None:
        """Raise FileError if a file of lines exists and its start differs from the newest checkpoint's record."""
        path, checkpoints = self.path / name, self.checkpoints()
        try:
            vouched = checkpoints[-1].state()["lines"].get(name) if checkpoints else None
        except FileError:  # reported when the checkpoint is used
            return
        if vouched is None or not path.exists():
            return
        try:
            content = path.read_bytes()[: vouched["bytes"]]
        except OSError as error:
            raise FileError(f"{path} cannot be read ({error.strerror}); {ADVICE}") from None
        if hashlib.sha256(content).hexdigest() != vouched["sha256"]:
            raise FileError(
                f"{path} is damaged or was changed: it differs from the record in {checkpoints[-1].path.name}; {ADVICE}"
            )

    def _append(self, name: str, line: Record) -> None:
        with writing(self.path / name), (self.path / name).open("ab") as file:
            file.write(_encode(line))

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: what the run is, its last metrics, and its newest sample image."""
        try:
            config, metrics, evaluation = self.config, self.read_metrics(), self.read_evaluation()
        except FileError as error:
            return f"<p>{html.escape(shown(str(error)))}</p>"
        rows = {"run": str(self.path), "variant": config.run.variant, "data": config.data.source}
        if metrics:
            last = metrics[-1]
            rows |= {
                "step": str(last.step),
                "epoch": f"{last.epoch:.2f}",
                "training": f"{last.seconds / 60:.1f} minutes",
            }
            rows |= {name: f"{value:.3f}" for name, value in last.losses.items() if name in ("d_loss", "g_loss")}
        if evaluation is not None:
            rows |= {"verdict": evaluation.verdict.word}
            rows |= {name: f"{spread.mean:.3g}" for name, spread in evaluation.figures.items()}
        table = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(plain(text))}</td></tr>" for name, text in rows.items()
        )
        with suppress(OSError, ValueError):  # no picture, or not one
            newest = max(self.samples.glob("*.png"), key=lambda path: path.stat().st_mtime_ns)
            table += f'<tr><td colspan="2">{png_to_html(read_limited(newest, LARGEST_IMAGE))}</td></tr>'
        return f"<table>{table}</table>"

    def write_readme(self, config: RunConfig, step: int, epoch: float, note: str) -> None:
        """Write a README with a description of the run and the commands to type next."""
        atomic_write(self.path / "README.md", _readme(self.path, config, step, epoch, note).encode())


def file_name(config: RunConfig) -> str:
    """Return the variant's name for a run or an export. Raises UsageError if it is not a valid file name."""
    name = config.run.variant
    if not name or name != shown(name) or name in (".", "..") or set(name) & {"/", "\\"}:
        raise UsageError(f"the variant's name '{shown(name)}' is not a valid file name: choose one with --out")
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
                    f"{out} exists; a new run needs a new directory (to continue a run: ganzoo resume RUN)"
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
    raise UsageError(f"{RUNS}/{name} and 998 numbered names exist; choose a directory with --out")


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
    """Return the git revision of the current directory, with `-dirty` if there are uncommitted changes, or None."""
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
- **Data** {code(data.source)}: {facts.images} images of shape {shape} (C x H x W){labels}, batch size \
{data.batch_size}. {escaped(facts.note or "")}
- **Trained** for {step} steps ({epoch:.2f} epochs), seed {config.train.seed}, on `{compute.device}` in \
{compute.precision}.

`config.toml` contains every setting, `metrics.jsonl` the losses, `samples/` sample images, `env.json` the versions.

{needed}What to type next:

```
ganzoo sample {place} -n 64 --out images.png
ganzoo export {place} --onnx
{"" if data.source != "array" else "# in Python: "}{to_go_on(path, data.source, minutes=5)}
```

The same run again, from the start: {code(to_repeat(path, data.source))}
"""


def to_go_on(path: Path, source: str, **options: int) -> str:
    """Return the command that continues a run; for images in memory a Python call, as commands cannot pass images."""
    if source == "array":
        given = "".join(f", {name}={value}" for name, value in options.items())
        return f"ganzoo.resume({str(path)!r}, dataset=IMAGES{given})"
    return f"ganzoo resume {shlex.quote(str(path))}" + "".join(f" --{name} {value}" for name, value in options.items())


def to_repeat(path: Path, source: str) -> str:
    """Return the command that repeats a run from its start, in a new directory."""
    config = str(path / "config.toml")
    if source == "array":
        return f"ganzoo.train(dataset=IMAGES, config={config!r})"
    return f"ganzoo train --config {shlex.quote(config)}"


def _spec(spec: Spec) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in spec.settings.items())
    return f"{code(spec.name)} ({escaped(settings)})"
