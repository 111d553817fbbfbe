"""Helpers for sources that read a user's files: the requested path, and the warning before a long decoding."""

import math
import warnings
from pathlib import Path

from ganzoo.data.dataset import Request
from ganzoo.data.mapped import DecodedImages, Shape
from ganzoo.data.memory import MB
from ganzoo.errors import FileError, NoSplitError, UsageError
from ganzoo.files import check_regular


def requested_path(request: Request, form: str, *, splits: bool = False) -> Path:
    """Return the absolute path, without links, of the request's argument; `splits` allows the split "test"."""
    if not request.argument:
        raise UsageError(f"{request.name} needs a path: {form}")
    if request.split != "train" and not splits:
        raise NoSplitError(f"{request.name} has no split '{request.split}': all its images are 'train'")
    try:
        path = Path(request.argument).expanduser().resolve(strict=True)
        check_regular(path)
        return path
    except FileError as error:
        raise FileError(f"{error}; expected {form}") from None
    except FileNotFoundError:
        raise FileError(f"{request.argument} does not exist: expected {form}") from None
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, an unknown user, a null byte
        raise FileError(f"{request.argument} cannot be opened ({error}): expected {form}") from error


def announce_decoding(source: str, shape: Shape, cache: DecodedImages) -> None:
    """Warn of a decoding, which can take long."""
    size = math.prod(shape) / MB
    warnings.warn(
        f"{source} does not fit into memory: {size:,.0f} MB are decoded once, into {cache.path}", stacklevel=3
    )
