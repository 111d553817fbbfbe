"""The .onnx file that ganzoo writes and reads: its metadata, its seal, and what it may hold. No torch.

The metadata is a JSON document under the one key `ganzoo`: `schema`, `sha256`, `generator` (a `GeneratorInfo`) and
whatever else the exporter tells of. The seal is the SHA-256 of the whole file with its own 64 digits taken as zeros; it
shows that a file was altered or cut, not who made it. So a file is also checked for what a hostile one would hold:
it names no other file, and runs nothing but the standard operators in one bounded graph.
"""

import dataclasses
import hashlib
import json
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx

from ganzoo.errors import FileError, UsageError
from ganzoo.files import StrPath
from ganzoo.forms import LAYOUTS, Layout
from ganzoo.generator import GeneratorInfo

METADATA_KEY = "ganzoo"
SCHEMA = 1
BLANK_DIGEST = "0" * 64  # what stands in the metadata for the digest until the file is sealed
MAX_BYTES = 2**31 - 1  # what one protobuf message may have
MAX_LATENT_DIM = 2**16
MAX_IMAGE_VALUES = 2**24  # C x H x W: colour at 2048 x 2048 fits

_DOMAINS = ("", "ai.onnx")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contents:
    """A verified file: its bytes, its metadata document, and what its generator takes and draws."""

    data: bytes
    document: dict[str, Any]
    info: GeneratorInfo


def metadata(info: GeneratorInfo, extra: Mapping[str, Any] | None = None) -> str:
    """The JSON document to store under `METADATA_KEY`, not sealed yet; `extra` adds keys of its own beside ours."""
    ours = {"schema": SCHEMA, "sha256": BLANK_DIGEST, "generator": dataclasses.asdict(info)}
    taken = ours.keys() & (extra or {}).keys()
    if taken:
        raise UsageError(f"the metadata key '{min(taken)}' is ganzoo's own: choose another name")
    return json.dumps({**ours, **(extra or {})}, allow_nan=False)  # JavaScript reads it too, and knows no NaN


def seal(data: bytes) -> bytes:
    """The file with its digest in place of the zeros that `metadata` left: the same length, so protobuf still fits."""
    at = _digest_position(data, BLANK_DIGEST)
    if at is None:
        raise UsageError("the model holds no place for its digest: store metadata(info) under the key 'ganzoo', once")
    return data[:at] + hashlib.sha256(data).hexdigest().encode() + data[at + len(BLANK_DIGEST) :]


def read(path: StrPath) -> Contents:
    """Read the file at `path` once and verify it; whatever is wrong with it is a `FileError`."""
    return verify(_read_bytes(path), path)


def verify(data: bytes, path: StrPath) -> Contents:
    """Check the bytes of a file: metadata, seal, and a graph that is harmless and fits them. `path` is for messages."""
    if len(data) > MAX_BYTES:
        raise FileError(f"{path} is larger than an ONNX file can be ({MAX_BYTES} bytes)")
    try:
        model = onnx.ModelProto.FromString(data)
    except Exception as error:  # protobuf has several of its own
        raise FileError(
            f"{path} is not an ONNX file, or it is cut short or damaged: export or copy it again"
        ) from error
    document = _document(model, path)
    _check_seal(data, document, path)
    info = _info(document, path)
    try:
        _check_harmless(model)
        _check_signature(model.graph, info, LAYOUTS[document.get("layout", "float")])
    except _Refused as refusal:
        raise FileError(
            f"{path} is refused: {refusal}; export it again, and use only files that you trust"
        ) from refusal
    return Contents(data=data, document=document, info=info)


class _Refused(Exception):
    """Why a graph is not taken; `verify` adds the path."""


def _read_bytes(path: StrPath) -> bytes:
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise FileError(f"{path} is a directory: give the .onnx file in it")
        if not stat.S_ISREG(status.st_mode):
            raise FileError(f"{path} is not a file: give an .onnx file")
        if status.st_size > MAX_BYTES:
            raise FileError(f"{path} is larger than an ONNX file can be ({status.st_size} bytes)")
        with Path(path).open("rb") as file:
            data = file.read(status.st_size)
    except FileNotFoundError as error:
        raise FileError(f"no file {path}: check the path, or make it with ganzoo export") from error
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror or error}") from error
    if not data:
        raise FileError(f"{path} is empty: export or copy it again")
    return data


def _document(model: Any, path: StrPath) -> dict[str, Any]:
    """The metadata, of a schema that this version knows."""
    entries = [entry.value for entry in model.metadata_props if entry.key == METADATA_KEY]
    if len(entries) != 1:
        raise FileError(f"{path} was not exported by ganzoo, or it is cut short: make one with ganzoo export")
    try:
        document = json.loads(entries[0])
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged: its metadata is not JSON; export or copy it again") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if type(schema) is not int or schema < 1:
        raise FileError(f"{path} is damaged: its metadata names no schema; export or copy it again")
    if schema > SCHEMA:
        raise FileError(
            f"{path} was exported by a newer ganzoo (schema {schema}; this one reads up to {SCHEMA}): upgrade ganzoo"
        )
    return dict(document)


def _digest_position(data: bytes, digest: str) -> int | None:
    """Where `digest` stands in the file, as `metadata` wrote it; None where that is nowhere or in several places."""
    key = b'"sha256": "'
    marker = key + digest.encode() + b'"'
    return data.index(marker) + len(key) if data.count(marker) == 1 else None


def _check_seal(data: bytes, document: dict[str, Any], path: StrPath) -> None:
    stated = document.get("sha256")
    at = _digest_position(data, stated) if isinstance(stated, str) and len(stated) == len(BLANK_DIGEST) else None
    if stated == BLANK_DIGEST:
        raise FileError(f"{path} has no digest: its export did not end; export it again")
    if at is None or stated != _digest(data, at):
        raise FileError(f"{path} was altered or damaged: its digest does not fit it; export or copy it again")


def _digest(data: bytes, at: int) -> str:
    """The SHA-256 of the file with the 64 digits at `at` as zeros."""
    view = memoryview(data)  # no copy of a large file
    digest = hashlib.sha256(view[:at])
    digest.update(BLANK_DIGEST.encode())
    digest.update(view[at + len(BLANK_DIGEST) :])
    return digest.hexdigest()


def _info(document: dict[str, Any], path: StrPath) -> GeneratorInfo:
    try:
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in document["generator"].items()
        }
        return GeneratorInfo(**fields)
    except (KeyError, AttributeError, TypeError, UsageError) as error:
        raise FileError(f"{path} does not describe its generator ({error}): export it again") from error


def _check_harmless(model: Any) -> None:
    """Nothing that reads other files, runs code of others, or loops."""
    if model.functions:
        raise _Refused(f"it defines a function ('{model.functions[0].name}')")
    if model.training_info:
        raise _Refused("it holds training information")
    for opset in model.opset_import:
        _check_domain(opset.domain)
    for message in _messages(model.graph):
        if isinstance(message, onnx.TensorProto):
            _check_tensor(message)
        elif isinstance(message, onnx.NodeProto):
            _check_domain(message.domain)
            if message.op_type == "EPContext":
                raise _Refused("it holds compiled code (EPContext)")
        elif isinstance(message, onnx.GraphProto) and message is not model.graph:
            raise _Refused("it holds a graph within the graph (a loop or a branch)")


def _messages(message: Any) -> Iterator[Any]:
    """`message` and every message inside it, wherever a field may hide one."""
    yield message
    if isinstance(message, onnx.TensorProto):  # values and strings only: do not copy the weights to look
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(item)


def _check_domain(domain: str) -> None:
    if domain not in _DOMAINS:
        raise _Refused(f"it uses operators that are not standard ('{domain}')")


def _check_tensor(tensor: Any) -> None:
    if tensor.data_location != onnx.TensorProto.DEFAULT or tensor.external_data:
        raise _Refused(f"the tensor '{tensor.name}' lies in another file")


def _check_signature(graph: Any, info: GeneratorInfo, layout: Layout) -> None:
    """The inputs z (and labels) and the output images, with a free batch size, as the metadata has them."""
    values = info.image_shape[0] * info.image_shape[1] * info.image_shape[2]
    if info.latent_dim > MAX_LATENT_DIM or values > MAX_IMAGE_VALUES:
        raise _Refused(
            f"latents of {info.latent_dim} and images of {values} values are beyond "
            f"the limits of {MAX_LATENT_DIM} and {MAX_IMAGE_VALUES}"
        )
    inputs: list[_Value] = [("z", onnx.TensorProto.FLOAT, [None, info.latent_dim])]
    if info.conditional:
        inputs.append(("labels", onnx.TensorProto.INT64, [None]))
    _check_values("inputs", [_value(value) for value in graph.input], inputs)
    kind = onnx.TensorProto.FLOAT if layout.floats else onnx.TensorProto.UINT8
    outputs: list[_Value] = [("images", kind, [None, *layout.shape(info.image_shape)])]
    _check_values("outputs", [_value(value) for value in graph.output], outputs)


_Value = tuple[str, int, list[int | None]]


def _value(value: Any) -> _Value:
    """Name, element type and shape of an input or output; a size that is left free is None."""
    tensor = value.type.tensor_type
    shape = [size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim]
    return value.name, tensor.elem_type, shape


def _check_values(what: str, found: list[_Value], expected: list[_Value]) -> None:
    if found != expected:
        raise _Refused(f"its {what} are {_describe(found)} where its metadata promises {_describe(expected)}")


def _describe(values: list[_Value]) -> str:
    return ", ".join(f"{name} {_type_name(kind)} {_sizes(shape)}" for name, kind, shape in values) or "none"


def _type_name(kind: int) -> str:
    names: dict[int, str] = {number: name for name, number in onnx.TensorProto.DataType.items()}
    return names.get(kind, str(kind)).lower()


def _sizes(shape: list[int | None]) -> str:
    return "[" + ", ".join("N" if size is None else str(size) for size in shape) + "]"
