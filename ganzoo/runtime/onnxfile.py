"""The .onnx file that ganzoo writes and reads: its metadata, its seal, and the checks before it is accepted. No torch.

The metadata is a JSON document under the key `ganzoo`: `schema`, `sha256`, `part` (`generator`, the default, or
`encoder`), `generator` (a `GeneratorInfo`), `layout` (a key of `LAYOUTS`, by default "float") and whatever else the
exporter adds. The seal (`ganzoo.sealing`) shows that a file was altered or cut short, not who made it. So a file is
also checked for hostile content: it must refer to no other file, and use only the standard operators (`onnxgraph`) in
one graph whose sizes are all known and bounded (`onnxsizes`).
"""

import dataclasses
import json
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from onnx import TensorProto

from ganzoo.errors import ModelError, UsageError, first_line, shown
from ganzoo.files import StrPath
from ganzoo.runtime.forms import LAYOUTS
from ganzoo.runtime.generator import GeneratorInfo
from ganzoo.runtime.guard import foreign as others
from ganzoo.runtime.guard import onnxgraph, onnxsizes
from ganzoo.runtime.guard.foreign import Signature
from ganzoo.runtime.guard.onnxgraph import MAX_BYTES, Refused, type_name
from ganzoo.runtime.guard.onnxsizes import BATCHES, Shape, Value
from ganzoo.sealing import BLANK, is_sealed
from ganzoo.sealing import seal as seal

METADATA_KEY = "ganzoo"
SCHEMA = 3  # 1 had only the layout float; 2 had no encoders or codes, and is still written for files without them
PARTS = ("generator", "encoder")
MAX_METADATA = 2**20  # characters: JSON takes many times its size when it is parsed
MAX_LATENT_DIM = 2**16
MAX_IMAGE_VALUES = 2**24  # C x H x W: colour at 2048 x 2048 fits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contents:
    """A verified file: its bytes, its metadata document ({} if it is foreign), its generator's inputs and images."""

    data: bytes
    document: dict[str, Any]
    info: GeneratorInfo
    layout: str  # a key of LAYOUTS
    part: str  # one of PARTS
    signature: Signature
    nodes: int
    opset: int
    cheap: bool  # to compute its constants, see `onnxsizes.is_cheap_to_fold`

    def section(self, *keys: str) -> dict[str, Any]:
        """Return the object at these keys of the document, or an empty one: a sealed document can still be wrong."""
        found: Any = self.document
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    @property
    def trained_on(self) -> dict[str, Any]:
        """Return the data of its run; of a path only the last part, so that a file cannot point at other files."""
        facts = self.section("run", "facts")  # configurations of schema 1 and 2 have them in `data`
        data = {**facts, **self.section("run", "data")}
        source, colon, argument = str(data.get("source", "array")).partition(":")
        return {**data, "source": source + colon + PurePath(argument).name} if data else {}


def metadata(info: GeneratorInfo, extra: Mapping[str, Any] | None = None) -> str:
    """Return the JSON document to store under `METADATA_KEY`, not sealed yet; `extra` adds further keys.

    Raises UsageError for a reserved key.
    """
    generator = dataclasses.asdict(info)
    plain = not (info.code or info.uniform_codes) and (extra or {}).get("part", "generator") == "generator"
    if plain:  # readable by older versions
        del generator["code"], generator["uniform_codes"]
    ours = {"schema": 2 if plain else SCHEMA, "sha256": BLANK, "generator": generator}
    taken = ours.keys() & (extra or {}).keys()
    if taken:
        raise UsageError(f"the metadata key '{min(taken)}' is reserved for ganzoo: choose another name")
    return json.dumps({**ours, **(extra or {})}, allow_nan=False)  # JavaScript reads it too, and does not accept NaN


def read(path: StrPath, *, foreign: bool = False) -> Contents:
    """Read the file at `path` once and verify it. Raises ModelError if anything is wrong with it."""
    return verify(_read_bytes(path), path, foreign=foreign)


def verify(data: bytes, path: StrPath, *, foreign: bool = False) -> Contents:
    """Check the bytes of a file: metadata, seal, and a harmless graph that matches them. `path` is for messages.

    A `foreign` file has no metadata: its inputs and images are read from its graph. Raises ModelError.
    """
    if not data:
        raise ModelError(f"{path} is empty: export or copy it again")
    if len(data) > MAX_BYTES:
        raise _too_large(path, len(data))
    try:
        model = onnxgraph.parse(data)
        return _verify_foreign(model, data, path) if foreign else _verify_ours(model, data, path)
    except onnxgraph.Damaged as damage:
        raise ModelError(
            f"{path} is not an ONNX file, or it is cut short or damaged: export or copy it again"
        ) from damage
    except Refused as refusal:
        advice = "" if foreign else "export it again, and "
        raise ModelError(f"{path} is refused: {refusal}; {advice}use only files that you trust") from refusal
    except UnicodeDecodeError as error:  # protobuf decodes a name when it is read
        raise ModelError(
            f"{path} is refused: it contains a name that is not text; use only files that you trust"
        ) from error


def _verify_ours(model: Any, data: bytes, path: StrPath) -> Contents:
    document = _document(model, path)
    _check_seal(data, document, path)
    info, layout, part = _info(document, path), _layout(document, path), _part(document, path)
    onnxgraph.check_harmless(model)
    signature = _check_signature(model.graph, info, layout, part)
    onnxgraph.check_order(model.graph)
    inputs = {signature.input: (TensorProto.FLOAT, signature.input_shape), "labels": (TensorProto.INT64, ())}
    values = onnxsizes.values(model, {value.name: inputs[value.name] for value in model.graph.input})
    _check_output(values[signature.output], signature.output, _declared_output(info, layout, part))
    rows = others.classes(model.graph, "labels", values)
    if signature.labels is not None and rows is not None and rows < (info.num_classes or 0):
        raise Refused(f"its metadata declares {info.num_classes} classes, but its weights have {rows}")
    known = {"document": document, "info": info, "layout": layout, "part": part, "signature": signature}
    return _contents(model, values, data=data, **known)


def _verify_foreign(model: Any, data: bytes, path: StrPath) -> Contents:
    onnxgraph.check_harmless(model)
    signature, kinds = others.signature(model.graph)
    onnxgraph.check_order(model.graph)
    values = onnxsizes.values(model, kinds)
    layout, image_shape = others.images(values[signature.output])
    info = GeneratorInfo(
        variant=Path(path).stem,
        latent_dim=signature.input_shape[0],
        image_shape=image_shape,
        num_classes=None if signature.labels is None else others.known_classes(model.graph, signature.labels, values),
    )
    _check_limits(info)
    known = {"document": {}, "info": info, "layout": layout, "part": "generator", "signature": signature}
    return _contents(model, values, data=data, **known)


def _contents(model: Any, values: Mapping[str, Value], **fields: Any) -> Contents:
    opset = max((entry.version for entry in model.opset_import), default=1)
    cheap = onnxsizes.is_cheap_to_fold(model.graph, values)
    return Contents(nodes=len(model.graph.node), opset=opset, cheap=cheap, **fields)


def _read_bytes(path: StrPath) -> bytes:
    try:
        status = Path(path).stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelError(f"{path} is a directory: name the .onnx file in it")
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{path} is not a file: name an .onnx file")
        if status.st_size > MAX_BYTES:
            raise _too_large(path, status.st_size)
        with Path(path).open("rb") as file:
            return file.read(status.st_size)
    except FileNotFoundError as error:
        raise ModelError(f"no file {path}: check the path, or make it with ganzoo export RUN --onnx") from error
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte
        raise ModelError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _too_large(path: StrPath, size: int) -> ModelError:
    return ModelError(
        f"{path} has {size:,} bytes; the limit is {MAX_BYTES:,} ({MAX_BYTES // 2**20} MiB): use a smaller file"
    )


def _document(model: Any, path: StrPath) -> dict[str, Any]:
    """Return the metadata, if this version can read its schema."""
    entries = [entry.value for entry in model.metadata_props if entry.key == METADATA_KEY]
    if len(entries) != 1:
        raise ModelError(
            f"{path} was not exported by ganzoo, or it is cut short: make one with ganzoo export RUN --onnx, or open a "
            "plain generator as a foreign file (--foreign, foreign=True)"
        )
    try:
        document = json.loads(entries[0]) if len(entries[0]) <= MAX_METADATA else None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: its metadata is not JSON; export or copy it again") from error
    if not isinstance(document, dict):
        document = {}
    schema = document.get("schema")
    if type(schema) is not int or schema < 1:
        raise ModelError(f"{path} is damaged: its metadata names no schema; export or copy it again")
    if schema > SCHEMA:
        raise ModelError(
            f"{path} was exported by a newer ganzoo (schema {schema}; this one reads up to {SCHEMA}): upgrade ganzoo"
        )
    return document


def _check_seal(data: bytes, document: dict[str, Any], path: StrPath) -> None:
    stated = document.get("sha256")
    if stated == BLANK:
        raise ModelError(f"{path} has no digest: its export was not completed; export it again")
    if not is_sealed(data, stated):
        raise ModelError(f"{path} was altered or damaged: its digest does not match; export or copy it again")


def _info(document: dict[str, Any], path: StrPath) -> GeneratorInfo:
    try:
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in document["generator"].items()
        }
        info = GeneratorInfo(**fields)
        if info.variant != shown(info.variant):  # it is printed
            raise UsageError("its variant's name is too long or not printable")
    except (KeyError, AttributeError, TypeError, UsageError) as error:
        reason = shown(first_line(error))
        raise ModelError(f"{path} does not describe its generator ({reason}): export it again") from error
    return info


def _layout(document: dict[str, Any], path: StrPath) -> str:
    layout = document.get("layout", "float")
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise ModelError(
            f"{path} has the layout {shown(repr(layout))}, which this ganzoo does not know ({', '.join(LAYOUTS)}): "
            "upgrade ganzoo, or export it again"
        )
    return layout


def _part(document: dict[str, Any], path: StrPath) -> str:
    part = document.get("part", "generator")
    if not isinstance(part, str) or part not in PARTS:
        raise ModelError(
            f"{path} has the part {shown(repr(part))}, which this ganzoo does not know ({', '.join(PARTS)}): upgrade "
            "ganzoo, or export it again"
        )
    return part


def _check_limits(info: GeneratorInfo) -> None:
    values = info.image_shape[0] * info.image_shape[1] * info.image_shape[2]
    if info.latent_dim > MAX_LATENT_DIM or values > MAX_IMAGE_VALUES:
        raise Refused(
            f"latents of {info.latent_dim} and images of {values} values are beyond "
            f"the limits of {MAX_LATENT_DIM} and {MAX_IMAGE_VALUES}"
        )


def _check_signature(graph: Any, info: GeneratorInfo, layout: str, part: str) -> Signature:
    """Return the inputs z (and labels) and the output images, or an encoder's images (and labels) and z.

    Raises Refused unless they have a free batch size and are those that the metadata declares.
    """
    _check_limits(info)
    encodes = part == "encoder"
    taken: tuple[str, Shape] = ("images", info.image_shape) if encodes else ("z", (info.latent_dim,))
    labelled = info.has_classes if encodes else info.conditional
    inputs: list[_Value] = [(taken[0], TensorProto.FLOAT, [None, *taken[1]])]
    if labelled:
        inputs.append(("labels", TensorProto.INT64, [None]))
    _check_values("inputs", [_value(value) for value in graph.input], inputs)
    kind, shape = _declared_output(info, layout, part)
    made = "z" if encodes else "images"
    outputs: list[_Value] = [(made, kind, [None, *shape])]
    _check_values("outputs", [_value(value) for value in graph.output], outputs)
    return Signature(input=taken[0], input_shape=taken[1], labels="labels" if labelled else None, output=made)


def _check_output(made: Value, name: str, promised: tuple[int, Shape]) -> None:
    """Raise Refused if the graph computes another output than the metadata declares."""
    kind, shape = promised
    if made.kind != kind or made.shape[1:] != shape or made.shape[:1] != BATCHES[-1:]:
        raise Refused(
            f"it outputs {_describe([(name, made.kind, made.shape)])} for a batch of {BATCHES[-1]}, but "
            f"its metadata declares {_describe([(name, kind, [None, *shape])])}"
        )


def _declared_output(info: GeneratorInfo, layout: str, part: str) -> tuple[int, Shape]:
    """Return the element type of the output that the metadata declares, and its shape for one image."""
    if part == "encoder":
        return TensorProto.FLOAT, (info.latent_dim,)
    form = LAYOUTS[layout]
    kinds: dict[str, int] = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8}
    return kinds[form.dtype], form.shape(info.image_shape)


_Value = tuple[str, int, Sequence[int | None]]


def _value(value: Any) -> _Value:
    """Return the name, element type and shape of an input or output; a free size is None."""
    return value.name, value.type.tensor_type.elem_type, others.sizes(value)


def _check_values(what: str, found: list[_Value], expected: list[_Value]) -> None:
    if found != expected:
        raise Refused(f"its {what} are {_describe(found)}, but its metadata declares {_describe(expected)}")


def _describe(values: list[_Value]) -> str:
    return shown(", ".join(f"{name} {type_name(kind)} {_sizes(shape)}" for name, kind, shape in values)) or "none"


def _sizes(shape: Sequence[int | None]) -> str:
    return "[" + ", ".join("N" if size is None else str(size) for size in shape) + "]"
