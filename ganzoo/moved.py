"""Old names of modules: importing `ganzoo.penalties` imports `ganzoo.zoo.terms.gradient`.

The package used to be flat, and one module was renamed later. Plug-ins and scripts that import a module by its old name
get the current module.
"""

import importlib
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

ROOMS = {
    "zoo": ("networks", "variants", "losses", "batch", "build"),
    "compute": ("device",),
    "runtime": ("generator", "onnxfile", "bundled", "forms", "pixels", "images"),
    "runtime.guard": ("onnxgraph", "onnxsizes", "onnxfold", "foreign"),
    "runs": ("run", "checkpoint"),
    "evaluation": ("intervals",),
    "training": ("trainer", "prepare", "tuning", "state", "updates", "graphs", "progress", "interruption"),
    "exporting": ("exporter", "lean", "conversion", "parity", "web"),
    "synthetic": ("datacard",),
    "studies": ("comparison", "case_study", "executors", "contestants", "benchmark", "stopwatch"),
}
MOVED = {
    **{f"ganzoo.{module}": f"ganzoo.{room}.{module}" for room, modules in ROOMS.items() for module in modules},
    "ganzoo.augmentation": "ganzoo.studies.synthetic_data",
    "ganzoo.studies.augmentation": "ganzoo.studies.synthetic_data",
    "ganzoo.objective": "ganzoo.zoo.objectives.base",
    "ganzoo.penalties": "ganzoo.zoo.terms.gradient",
    "ganzoo.sampling": "ganzoo.runs.opening",
}


class _Finder(MetaPathFinder, Loader):
    """Finder and loader of modules by their old names, also of modules within a package that has moved."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if _find_current(fullname) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(_find_current(spec.name) or spec.name)
        self._own = module.__spec__  # the import system will replace it
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._own


def _find_current(former: str) -> str | None:
    """Return the current name of a module; None if it never moved."""
    if former in MOVED:
        return MOVED[former]
    package, dot, rest = former.removeprefix("ganzoo.").partition(".")
    now = MOVED.get(f"ganzoo.{package}")
    return f"{now}{dot}{rest}" if former.startswith("ganzoo.") and now else None


FINDER = _Finder()
