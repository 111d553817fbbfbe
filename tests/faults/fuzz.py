"""Coverage-guided fuzzing of ganzoo's own readers: `python tests/faults/fuzz.py TARGET --seconds 60`, or `make fuzz`.

Each target reads bytes that atheris makes up, and starts from real files. It may raise a `GanzooError` of one line and
nothing else. An input that does otherwise is kept under `build/found/`; `--again FILE` reads it once more. What torch,
numpy and onnx do themselves is not instrumented.
"""

import argparse
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
atheris: Any = importlib.import_module("atheris")  # see the Makefile: it is not part of the environment
with atheris.instrument_imports(include=["ganzoo"]):
    import numpy as np
    import safetensors.torch
    from handmade import CLASSES, model, sealed

    from ganzoo import data
    from ganzoo.config import RunConfig, parse_settings, read_toml
    from ganzoo.errors import GanzooError, printable, shown
    from ganzoo.evaluation.classifier import MLPClassifier
    from ganzoo.evaluation.judge import read_judge
    from ganzoo.records import parse_record, read_lines
    from ganzoo.runs.checkpoint import Checkpoint
    from ganzoo.runs.records import CheckpointState, EvaluationLine, EvaluationRecord, ExportRecord, LogLine
    from ganzoo.runs.resolving import MODELS, resolve
    from ganzoo.runtime import onnxfile
    from ganzoo.sealing import BLANK, seal

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
FOUND = ROOT / "build" / "found"
PLACE = Path(tempfile.mkdtemp(prefix="ganzoo-fuzz-"))
Read = Callable[[bytes], object]


def written(name: str, read: Callable[[Path], object]) -> Read:
    """A reader of files as one of bytes."""

    def reads(content: bytes) -> object:
        (PLACE / name).write_bytes(content)
        return read(PLACE / name)

    return reads


def source(kind: str) -> Read:
    return written(f"a.{kind}", lambda path: data.load(f"{kind}:{path}"))


def read_configuration(path: Path) -> object:
    return RunConfig.from_json(json.dumps(read_toml(path), default=str)).resolve()


def read_text(content: bytes) -> object:
    """What is typed: a setting, or the name of a model."""
    text = content.decode("utf-8", "surrogateescape")
    printable(text), shown(text)
    try:
        parse_settings([text])
    except GanzooError as error:
        str(error).encode()
    return resolve(text, MODELS, "ganzoo sample")


def read_manifest(content: bytes) -> object:
    made = Checkpoint(PLACE / "step-00000012")
    made.path.mkdir(exist_ok=True)
    (made.path / "state.json").write_bytes(STATE)
    (made.path / "manifest.json").write_bytes(content)
    return made.config()


def read_records(content: bytes) -> None:
    for record in (CheckpointState, EvaluationRecord, ExportRecord, LogLine, EvaluationLine):
        try:
            parse_record(record, content, "a record")
        except GanzooError:
            continue


def read_sealed_model(content: bytes) -> object:
    return onnxfile.verify(seal(content), "a.onnx")


def arrays() -> dict[str, bytes]:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 3), dtype=np.uint8)
    files = {name: io.BytesIO() for name in ("npy", "npz")}
    np.save(files["npy"], images)
    np.savez(files["npz"], images=images, labels=np.arange(4) % 2)
    idx = b"\x00\x00\x08\x03" + b"".join(n.to_bytes(4, "big") for n in images.shape) + images.tobytes()
    csv = "\n".join(["label,a,b,c,d", *(f"{label},1,2.5,3,255" for label in range(3))]).encode()
    return {**{name: file.getvalue() for name, file in files.items()}, "idx": idx, "csv": csv}


def judge() -> bytes:
    record = {"schema": 1, "name": "toy", "classifier": "mlp", "accuracy": 0.9, "image_shape": [1, 2, 2]}
    record |= {"class_names": ["a", "b"], "dataset_sha256": "0" * 64}
    weights = MLPClassifier((1, 2, 2), 2).state_dict()
    return safetensors.torch.save(weights, {"judge": json.dumps(record), "sha256": BLANK})


STATE = (GOLDEN / "gan" / "checkpoints" / "step-00000012" / "state.json").read_bytes()
LINES = (GOLDEN / "gan" / "metrics.jsonl").read_bytes()
ARRAYS = arrays()
TARGETS: Mapping[str, tuple[Read, list[bytes]]] = {
    **{kind: (source(kind), [ARRAYS[kind]]) for kind in ARRAYS},
    "onnx": (read_sealed_model, [model(number).SerializeToString() for number in (None, CLASSES)]),
    "foreign": (
        lambda content: onnxfile.verify(content, "a.onnx", foreign=True),
        [sealed(), sealed(CLASSES), (GOLDEN / "cgan" / "cgan.onnx").read_bytes()],
    ),
    "judge": (written("judge", lambda path: read_judge(path)), [seal(judge())]),
    "sealed-judge": (lambda content: written("judge", read_judge)(seal(content)), [judge()]),
    "lines": (written("lines", lambda path: [read_lines(kind, path) for kind in (LogLine, EvaluationLine)]), [LINES]),
    "records": (read_records, [STATE, LINES.splitlines()[0]]),
    "manifest": (read_manifest, [(GOLDEN / "gan/checkpoints/step-00000012/manifest.json").read_bytes()]),
    "toml": (written("config.toml", read_configuration), [(GOLDEN / "gan" / "config.toml").read_bytes()]),
    "text": (read_text, [b"generator.width=32", b"runs/a", b"npz:a.npz", b'terms=[{name="gradient"}]', b"mnist"]),
}


def only_expected_errors(read: Read) -> Read:
    def reads(content: bytes) -> None:
        try:
            read(content)
        except GanzooError as error:
            if "\n" in str(error):
                raise RuntimeError("a message of several lines") from error

    return reads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=["all", *TARGETS])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--again", type=Path, help="a file that was found")
    asked = parser.parse_args()
    if asked.target == "all":
        command = [sys.executable, __file__]
        ends = {name: subprocess.run([*command, name, "--seconds", str(asked.seconds)]).returncode for name in TARGETS}
        raise SystemExit(" ".join(name for name, end in ends.items() if end) or None)
    read, corpus = TARGETS[asked.target]
    warnings.simplefilter("ignore")
    if asked.again:
        only_expected_errors(read)(asked.again.read_bytes())
        return
    places = [FOUND, PLACE / "corpus"]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(corpus):
        (places[1] / str(number)).write_bytes(content)
    os.chdir(PLACE)
    limits = [f"-max_total_time={asked.seconds}", "-rss_limit_mb=4096", "-timeout=30", "-verbosity=1"]
    options = [*limits, f"-artifact_prefix={FOUND}/{asked.target}-", f"-max_len={4 * max(map(len, corpus))}"]
    atheris.Setup([sys.argv[0], *options, str(places[1])], only_expected_errors(read))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
