"""Records: the JSON that one package writes and another reads, as frozen values with typed fields.

Unknown keys, which a newer version may have written, are kept and otherwise ignored. A key that an older version did
not write has its field's default, and is left out again if the record is written.
"""

import json
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, ValidationError, model_serializer
from pydantic import model_validator as validator

from ganzoo.errors import FileError, shown
from ganzoo.files import ADVICE, MOST_BYTES, read_limited

SCHEMA_KEYS = ("schema", "schema_version")
R = TypeVar("R", bound="Record")


class Record(BaseModel):
    """The base class of all records."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document: every key that was read or set."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class FlatRecord(Record):
    """A record with one dictionary field that is not nested in the JSON: its items are keys of the record itself."""

    FLAT: ClassVar[str]  # the name of that field

    @classmethod
    def is_item(cls, key: str, value: Any) -> bool:
        """Return whether a key of the JSON is an item of the dictionary."""
        raise NotImplementedError

    @validator(mode="before")
    @classmethod
    def _nest(cls, given: Any) -> Any:
        if not isinstance(given, dict) or cls.FLAT in given:  # not an object, or the arguments of a call
            return given
        items = {key: value for key, value in given.items() if cls.is_item(key, value)}
        return {**{key: value for key, value in given.items() if key not in items}, cls.FLAT: items}

    @model_serializer(mode="wrap")
    def _flatten(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        document: dict[str, Any] = handler(self)
        items = document.pop(self.FLAT)
        return {**document, **items}


def read_record(model: type[R], path: Path) -> R | None:
    """Return the record in the file at `path`; None if there is no such file.

    Raises FileError with the file and the field if the file is damaged or is not such a record.
    """
    try:
        content = read_limited(path, MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error.strerror}); {ADVICE}") from None
    return parse_record(model, content, str(path))


def read_lines(model: type[R], path: Path) -> list[R]:
    """Return the records in the lines of the file at `path`; an empty list if there is no such file.

    An incomplete last line (after a crash) is left out. Raises FileError as `read_record` does.
    """
    try:
        lines = read_limited(path, MOST_BYTES).splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise FileError(f"{path} cannot be read ({error.strerror}); {ADVICE}") from None
    whole = [line for line in lines if line.endswith(b"\n")]
    return [parse_record(model, line, f"{path}, line {number},") for number, line in enumerate(whole, 1)]


def parse_record(model: type[R], content: bytes, where: str) -> R:
    """Return the record in the bytes of a file, which messages name `where`. Raises FileError."""
    try:
        return model.model_validate_json(content, strict=True)
    except ValidationError as error:
        _refuse_newer(model, content, where)
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"]))
        reason = shown(f"{field}: {first['msg']}" if field else first["msg"])
        raise FileError(f"{where} is damaged or of another version ({reason}); {ADVICE}") from None


def _refuse_newer(model: type[Record], content: bytes, where: str) -> None:
    """Raise FileError with both versions for a record that a newer ganzoo wrote."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return
    if not isinstance(document, dict):
        return
    known = next((field.default for name, field in model.model_fields.items() if name in SCHEMA_KEYS), None)
    written = next((document[key] for key in SCHEMA_KEYS if key in document), None)
    if isinstance(known, int) and isinstance(written, int) and written > known:
        raise FileError(f"{where} has schema {written}, this ganzoo reads up to {known}: upgrade ganzoo")
