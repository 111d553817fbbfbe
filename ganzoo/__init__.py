"""Interchangeable GAN variants: one registry, one trainer, one exporter.

    import ganzoo

    run = ganzoo.train("wgan-gp", dataset="mnist", epochs=20, seed=0)
    generator = ganzoo.load(run.path)                   # or "digits.onnx", or "mnist": the same interface
    images = generator.sample(64, labels=None, seed=0)  # uint8 [64, 28, 28, 1]
    ganzoo.export(run.path, "digits.onnx")

Names are loaded when first used: importing ganzoo imports no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganzoo.case_study import study as study
    from ganzoo.comparison import compare as compare
    from ganzoo.config import SGD as SGD
    from ganzoo.config import Adam as Adam
    from ganzoo.config import RunConfig as RunConfig
    from ganzoo.config import Spec as Spec
    from ganzoo.config import Variant as Variant
    from ganzoo.evaluation.evaluator import evaluate as evaluate
    from ganzoo.exporter import export as export
    from ganzoo.exporter import export_web as export_web
    from ganzoo.run import Run as Run
    from ganzoo.sampling import load as load
    from ganzoo.trainer import resume as resume
    from ganzoo.trainer import train as train

    __version__: str

_HOMES = {
    "Adam": "config",
    "RunConfig": "config",
    "SGD": "config",
    "Spec": "config",
    "Variant": "config",
    "compare": "comparison",
    "evaluate": "evaluation.evaluator",
    "export": "exporter",
    "export_web": "exporter",
    "Run": "run",
    "load": "sampling",
    "resume": "trainer",
    "study": "case_study",
    "train": "trainer",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("torch-ganzoo")
    if name not in _HOMES:
        raise AttributeError(f"module 'ganzoo' has no attribute '{name}'")
    try:
        return getattr(importlib.import_module(f"ganzoo.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        from ganzoo.errors import without_package

        raise without_package(f"ganzoo.{name}", error) from None


def __dir__() -> list[str]:
    return sorted(__all__)
