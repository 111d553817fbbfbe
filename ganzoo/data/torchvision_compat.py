"""Import of torchvision when its compiled operators do not fit torch, such as the CUDA wheel with a CPU torch.

Then `import torchvision` fails with `operator torchvision::nms does not exist`, although its data sets and transforms
need no compiled operators. It suffices to define the two operators that the import needs; calling them still fails.
"""

import importlib
import sys
import threading
from types import ModuleType
from typing import Any

from ganzoo.errors import MachineError

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_lock = threading.Lock()
_library: Any = None  # kept alive: torch removes the definitions when their Library object is deleted


def load_torchvision() -> ModuleType:
    """Import torchvision and return it; define the missing operators only if the import fails without them.

    Raises MachineError if torchvision is not installed, or if the import fails for another reason.
    """
    with _lock:
        try:
            return _import()
        except RuntimeError as error:
            if "torchvision::nms" not in str(error) or _library is not None:
                raise MachineError(f"torchvision does not work with the installed torch: {error}") from error
        _define_operators()
        _forget_partial_import()
        try:
            return _import()
        except RuntimeError as error:
            raise MachineError(f"torchvision does not work with the installed torch: {error}") from error


def _import() -> ModuleType:
    try:
        return importlib.import_module("torchvision")
    except ImportError as error:
        raise MachineError(f"torchvision cannot be imported ({error}): pip install torchvision") from error


def _define_operators() -> None:
    global _library
    import torch.library

    # A fragment, because the namespace may already be open.
    _library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        _library.define(name + _SCHEMA)


def _forget_partial_import() -> None:
    """Remove torchvision's submodules from sys.modules: a failed import removes only the package itself."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
