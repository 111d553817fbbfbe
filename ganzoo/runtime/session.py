"""The runtime, which draws images with a verified .onnx file. numpy, onnxruntime and onnx; never torch.

    from ganzoo.runtime.session import load

    generator = load("mnist")                                 # or a path, or the bytes of a file
    images = generator.sample(100, labels=None, seed=0)       # uint8 [100, 28, 28, 1]
    for batch in generator.iter_batches(1_000_000): ...       # at constant memory
    frames = generator.interpolate(0, 1, steps=30, labels=7)  # uint8 [30, 28, 28, 1]

Several threads may use one generator at the same time.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganzoo.compute import processors
from ganzoo.errors import MachineError, ModelError, UsageError, first_line, shown
from ganzoo.files import StrPath
from ganzoo.runtime import bundled, onnxfile
from ganzoo.runtime.encoder import Encoder
from ganzoo.runtime.forms import LAYOUTS
from ganzoo.runtime.generator import Forward, Generator

ort: Any = importlib.import_module("onnxruntime")  # untyped: mypy would refuse the names that it re-exports

PROVIDER = "CPUExecutionProvider"
IN_MEMORY = "the model in memory"


def load(
    source: StrPath | bytes,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
    *,
    foreign: bool = False,
) -> Generator:
    """Return the generator in a file that `ganzoo export` wrote: its path or bytes, or the name of a bundled one.

    Args:
        source: `mnist` names the bundled generator, `./mnist` a path.
        providers: onnxruntime's execution providers, in order of preference; by default the CPU.
        threads: the number of threads, by default the number of cores.
        foreign: accept a generator that ganzoo did not export; its inputs (float32 latents [N, D] or [N, D, 1, 1],
            optionally integer labels [N]) and images (float32 [N, C, H, W] in [-1, 1], or uint8) are read from its
            graph.

    Raises ModelError if the file is missing, altered, hostile, of a newer version or not a generator; UsageError for
    invalid threads or providers that are not available; MachineError if memory is short.
    """
    if isinstance(source, bytes):
        return from_contents(onnxfile.verify(source, IN_MEMORY, foreign=foreign), IN_MEMORY, providers, threads)
    contents = onnxfile.read(bundled.find(source), foreign=foreign)
    return from_contents(contents, source, providers, threads)


def from_contents(
    contents: onnxfile.Contents,
    path: StrPath = IN_MEMORY,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
) -> Generator:
    """Return the generator in a verified file, as `load` does; `path` is for messages."""
    if contents.part != "generator":
        raise ModelError(f"{path} contains an {contents.part}, not a generator: open it with ganzoo.load_encoder")
    forward, description = _forward(contents, path, providers, threads)
    return Generator(contents.info, forward, description, LAYOUTS[contents.layout])


def load_encoder(
    source: StrPath | bytes, providers: Sequence[str] | None = None, threads: int | None = None
) -> Encoder:
    """Return the encoder in a file that `ganzoo export` wrote. Arguments and errors are those of `load`."""
    if isinstance(source, bytes):
        path: StrPath = IN_MEMORY
        contents = onnxfile.verify(source, path)
    else:
        path = source
        contents = onnxfile.read(bundled.find(source))
    return encoder_from_contents(contents, path, providers, threads)


def encoder_from_contents(
    contents: onnxfile.Contents,
    path: StrPath = IN_MEMORY,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
) -> Encoder:
    """Return the encoder in a verified file, as `load_encoder` does; `path` is for messages."""
    if contents.part != "encoder":
        raise ModelError(f"{path} contains a {contents.part}, not an encoder: open it with ganzoo.load")
    forward, description = _forward(contents, path, providers, threads)
    return Encoder(contents.info, forward, description)


def _forward(
    contents: onnxfile.Contents, path: StrPath, providers: Sequence[str] | None, threads: int | None
) -> tuple[Forward, str]:
    """Return the function that runs a verified file, and a description of how it runs."""
    threads = cores() if threads is None else threads
    if not isinstance(threads, int) or isinstance(threads, bool) or threads < 1:
        raise UsageError(f"threads is {threads!r}: expected an integer from 1 up")
    session = _session(contents, _providers(providers), threads, path)
    signature = contents.signature

    def forward(x: NDArray[np.float32], y: NDArray[np.int64] | None) -> NDArray[Any]:
        inputs: dict[str, NDArray[Any]] = {signature.input: x.reshape(len(x), *signature.input_shape)}
        if signature.labels is not None and y is not None:
            inputs[signature.labels] = y.astype(signature.label_type, copy=False)
        return _run(session, signature.output, inputs, len(x), path)

    return forward, f"onnxruntime {ort.__version__}, {session.get_providers()[0]}, threads: {threads}"


def read_metadata(source: StrPath) -> dict[str, Any]:
    """Return the metadata document of a file, which is verified as by `load`, but not run."""
    return onnxfile.read(bundled.find(source)).document


def _providers(providers: Sequence[str] | None) -> list[str]:
    """Return the chosen providers. Raises UsageError if this onnxruntime does not have all of them."""
    chosen = [PROVIDER] if providers is None else [providers] if isinstance(providers, str) else list(providers)
    available = ort.get_available_providers()
    unknown = [provider for provider in chosen if provider not in available]
    if unknown or not chosen:
        raise UsageError(
            f"providers are {shown(chosen)}: expected some of {', '.join(available)}, those of this onnxruntime"
        )
    return chosen


def _session(contents: onnxfile.Contents, providers: list[str], threads: int, path: StrPath) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # errors are raised, so print nothing
    # A file whose fifth to eighth bytes are "ORTM" is otherwise read in a format that `onnxfile` did not check.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Values that depend only on weights are computed here, unless that could take much time or memory.
    skipped = [] if contents.cheap else ["ConstantFolding"]
    try:
        return ort.InferenceSession(contents.data, options, providers=providers, disabled_optimizers=skipped)
    except Exception as error:  # onnxruntime's classes are private, without a common base
        raise _make_error(error, f"onnxruntime cannot load {path}") from error


def _run(session: Any, output: str, inputs: dict[str, NDArray[Any]], batch: int, path: StrPath) -> NDArray[Any]:
    try:
        images: NDArray[Any] = session.run([output], inputs)[0]
    except Exception as error:  # as above
        raise _make_error(error, f"onnxruntime failed on {path}, batch {batch}") from error
    return images


def _make_error(error: Exception, what: str) -> Exception:
    if isinstance(error, MemoryError) or "Failed to allocate memory" in str(error):
        return MachineError(f"{what}: out of memory; use a smaller batch or fewer threads")
    return ModelError(f"{what}: {shown(first_line(error))}; export it again with this version of ganzoo")


def cores() -> int:
    """Return the number of processors that this process may use."""
    return processors.available()
