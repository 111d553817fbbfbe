"""Module attributes that are loaded on first use."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy(module: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of `module`, which imports each name from the module that `homes` lists for it.

    If a package is not installed, the error names it and how to install it.
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module '{module}' has no attribute '{name}'")
        try:
            return getattr(importlib.import_module(homes[name]), name)
        except ModuleNotFoundError as error:
            from ganzoo.errors import without_package

            raise without_package(f"{module}.{name}", error) from None

    return load
