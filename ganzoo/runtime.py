"""The runtime: a verified .onnx file -> images. numpy, onnxruntime and onnx; never torch."""

import importlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganzoo import onnxfile
from ganzoo.errors import FileError, MachineError, UsageError
from ganzoo.files import StrPath
from ganzoo.forms import LAYOUTS
from ganzoo.generator import Generator

ort: Any = importlib.import_module("onnxruntime")  # without types: mypy would refuse the names it re-exports

PROVIDER = "CPUExecutionProvider"


def load(path: StrPath, threads: int | None = None) -> Generator:
    """The generator in the file that `ganzoo export` wrote at `path`; `threads` is the number of cores if not given.

    A file that is missing, altered, hostile or of a newer version is a `FileError`.
    """
    return _generator(onnxfile.read(path), threads, path)


def load_bytes(data: bytes, threads: int | None = None) -> Generator:
    """As `load`, from the bytes of such a file."""
    name = "the model in memory"
    return _generator(onnxfile.verify(data, name), threads, name)


def read_metadata(path: StrPath) -> dict[str, Any]:
    """The document that the exporter stored in the file at `path`, which is verified as by `load`, but not run."""
    return onnxfile.read(path).document


def _generator(contents: onnxfile.Contents, threads: int | None, path: StrPath) -> Generator:
    threads = _cores() if threads is None else threads
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise UsageError(f"threads is {threads!r}: expected an integer from 1 up")
    session = _session(contents.data, threads, path)

    def forward(z: NDArray[np.float32], y: NDArray[np.int64] | None) -> NDArray[np.float32]:
        return _run(session, {"z": z} if y is None else {"z": z, "labels": y}, path)

    description = f"onnxruntime {ort.__version__}, {PROVIDER}, threads: {threads}"
    return Generator(contents.info, forward, description, LAYOUTS[contents.document.get("layout", "float")])


def _session(data: bytes, threads: int, path: StrPath) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # what goes wrong is raised: print nothing
    # A file whose fifth to eighth bytes are "ORTM" is otherwise read in a format that `onnxfile` did not check.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return ort.InferenceSession(data, options, providers=[PROVIDER])
    except Exception as error:  # onnxruntime's classes are private, with no base of their own
        raise _failure(error, f"onnxruntime cannot load {path}") from error


def _run(session: Any, inputs: dict[str, NDArray[Any]], path: StrPath) -> NDArray[np.float32]:
    try:
        images: NDArray[np.float32] = session.run(["images"], inputs)[0]
    except Exception as error:  # as above
        raise _failure(error, f"onnxruntime failed on {path}, batch {len(inputs['z'])}") from error
    return images


def _failure(error: Exception, what: str) -> Exception:
    lines = str(error).splitlines()
    if isinstance(error, MemoryError) or "Failed to allocate memory" in str(error):
        return MachineError(f"{what}: out of memory; take a smaller batch or fewer threads")
    return FileError(
        f"{what}: {lines[0] if lines else type(error).__name__}; export it again with this version of ganzoo"
    )


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
