"""Interchangeable GAN variants: one registry, one trainer, one exporter.

    import ganzoo

    run = ganzoo.train("wgan-gp", dataset="mnist", epochs=20, seed=0)
    generator = ganzoo.load(run.path)                   # or "digits.onnx", or "mnist": the same interface
    images = generator.sample(64, labels=None, seed=0)  # uint8 [64, 28, 28, 1]
    ganzoo.export(run.path, "digits.onnx")

Names are loaded on first use: importing ganzoo does not import torch.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from ganzoo.lazy import lazy
from ganzoo.moved import FINDER

if TYPE_CHECKING:
    from ganzoo import data as data
    from ganzoo import plugin as plugin
    from ganzoo import registry as registry
    from ganzoo import runtime as runtime
    from ganzoo import synthetic as synthetic
    from ganzoo.config import SGD as SGD
    from ganzoo.config import Adam as Adam
    from ganzoo.config import AdamW as AdamW
    from ganzoo.config import Code as Code
    from ganzoo.config import RMSprop as RMSprop
    from ganzoo.config import RunConfig as RunConfig
    from ganzoo.config import Schedule as Schedule
    from ganzoo.config import Spec as Spec
    from ganzoo.config import Variant as Variant
    from ganzoo.evaluation.evaluator import evaluate as evaluate
    from ganzoo.exporting.exporter import export as export
    from ganzoo.exporting.exporter import export_encoder as export_encoder
    from ganzoo.exporting.exporter import export_web as export_web
    from ganzoo.registry import list_parts as list_parts
    from ganzoo.registry import list_variants as list_variants
    from ganzoo.runs.opening import load as load
    from ganzoo.runs.opening import load_encoder as load_encoder
    from ganzoo.runs.run import Run as Run
    from ganzoo.studies.case_study import study as study
    from ganzoo.studies.comparison import compare as compare
    from ganzoo.training.callbacks import Callback as Callback
    from ganzoo.training.trainer import resume as resume
    from ganzoo.training.trainer import train as train

    __version__: str

if FINDER not in sys.meta_path:
    sys.meta_path.insert(0, FINDER)  # first, or a module within a moved package would be loaded twice
_HOMES = {
    **dict.fromkeys(("Adam", "AdamW", "Code", "RMSprop", "RunConfig", "SGD"), "ganzoo.config"),
    **dict.fromkeys(("Schedule", "Spec", "Variant"), "ganzoo.config"),
    "Callback": "ganzoo.training.callbacks",
    "compare": "ganzoo.studies.comparison",
    "evaluate": "ganzoo.evaluation.evaluator",
    **dict.fromkeys(("export", "export_encoder", "export_web"), "ganzoo.exporting.exporter"),
    **dict.fromkeys(("list_parts", "list_variants"), "ganzoo.registry"),
    "Run": "ganzoo.runs.run",
    **dict.fromkeys(("load", "load_encoder"), "ganzoo.runs.opening"),
    "study": "ganzoo.studies.case_study",
    **dict.fromkeys(("resume", "train"), "ganzoo.training.trainer"),
}
MODULES = ("data", "plugin", "registry", "runtime", "synthetic")  # available after `import ganzoo`
__all__ = [*_HOMES, "__version__"]
_load = lazy(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("torch-ganzoo")
    if name in MODULES:
        return importlib.import_module(f"ganzoo.{name}")
    return _load(name)


def __dir__() -> list[str]:
    return sorted([*__all__, *MODULES])
