"""torchvision beside a torch that its compiled operators do not fit, as the CUDA wheel beside a CPU torch.

There `import torchvision` fails on `operator torchvision::nms does not exist`, although its data sets and transforms
need no compiled operator. Defining the two operators whose absence is fatal is enough; calling them still fails.
"""

import importlib
import sys
import threading
from types import ModuleType
from typing import Any

from ganzoo.errors import MachineError

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_lock = threading.Lock()
_library: Any = None  # kept alive: torch takes the definitions back when their Library object dies


def load_torchvision() -> ModuleType:
    """Import torchvision and return it; where it imports cleanly, nothing else is done.

    Raises MachineError where torchvision is not installed or fails for another reason than the missing operators.
    """
    with _lock:
        try:
            return _import()
        except RuntimeError as error:
            if "torchvision::nms" not in str(error) or _library is not None:
                raise MachineError(f"torchvision does not work beside the installed torch: {error}") from error
        _define_operators()
        _forget_partial_import()
        try:
            return _import()
        except RuntimeError as error:
            raise MachineError(f"torchvision does not work beside the installed torch: {error}") from error


def _import() -> ModuleType:
    try:
        return importlib.import_module("torchvision")
    except ImportError as error:
        raise MachineError(f"torchvision cannot be imported ({error}): pip install torchvision") from error


def _define_operators() -> None:
    global _library
    import torch.library

    # A fragment, as somebody else may have opened the namespace.
    _library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        _library.define(name + _SCHEMA)


def _forget_partial_import() -> None:
    """A failed import drops the package itself from sys.modules, but leaves the submodules it had come to."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
