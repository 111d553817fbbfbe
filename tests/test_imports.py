"""Imports run one way, and torch is imported only where there are tensors."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT, environment

import ganzoo

PACKAGES = {"ganzoo": ROOT / "ganzoo", "ganzoo_cli": ROOT / "cli"}
# Each may use those before it and none after; a package stands for all its modules.
ORDER = ["errors", "registry", "config", "distributed", "data", "networks", "batch", "losses", "penalties", "objective"]
ORDER += ["build", "checkpoint", "state", "graphs", "updates", "run", "sampling", "prepare", "tuning", "evaluation"]
ORDER += ["trainer", "report"]
TORCH_FREE = ["errors", "seeds", "files", "registry", "config", "plugin", "variants", "interruption", "progress"]
TORCH_FREE += ["forms", "generator", "images", "bundled", "onnxgraph", "onnxfold", "onnxsizes", "foreign", "onnxfile"]
TORCH_FREE += ["runtime", "executors", "web"]


def module_name(package: str, path: Path) -> str:
    parts = path.relative_to(PACKAGES[package]).with_suffix("").parts
    return ".".join([package, *(part for part in parts if part != "__init__")])


FILES = {module_name(package, path): path for package, root in PACKAGES.items() for path in sorted(root.rglob("*.py"))}


class Imports(ast.NodeVisitor):
    """All modules that a file imports, in functions too, but not those for type checkers alone."""

    def __init__(self, module: str, *, is_package: bool) -> None:
        self.package = module if is_package else module.rpartition(".")[0]
        self.found: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) not in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        self.found.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        above = self.package.split(".")
        relative = above[: len(above) - node.level + 1] if node.level else []
        source = ".".join([*relative, *([node.module] if node.module else [])])
        for alias in node.names:
            member = f"{source}.{alias.name}"
            self.found.add(member if member in FILES else source)


@cache
def imports(module: str) -> frozenset[str]:
    visitor = Imports(module, is_package=FILES[module].name == "__init__.py")
    visitor.visit(ast.parse(FILES[module].read_text(encoding="utf-8")))
    return frozenset(visitor.found - {module})


@cache
def reach(module: str) -> frozenset[str]:
    """All that is imported when a module's code has all run."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        for name in imports(waiting.pop()) - found:
            found.add(name)
            if name in FILES:
                waiting.append(name)
    return frozenset(found)


def members(name: str) -> list[str]:
    return [module for module in FILES if f"{module}.".startswith(f"ganzoo.{name}.")]


def test_the_walk_sees_every_kind_of_import() -> None:
    assert "ganzoo.checkpoint" in imports("ganzoo.trainer")  # from ganzoo import checkpoint
    assert "ganzoo.build" in imports("ganzoo.sampling")  # within a function
    assert "ganzoo.config" not in imports("ganzoo.sampling")  # for type checkers
    assert "ganzoo_cli.app" in imports("ganzoo_cli.train")  # relative
    assert {"ganzoo.config", "ganzoo.registry", "pydantic"} <= reach("ganzoo.variants.gan")
    assert all(members(name) for name in [*ORDER, *TORCH_FREE])


@pytest.mark.parametrize("name", ORDER)
def test_imports_run_one_way(name: str) -> None:
    later = {module for other in ORDER[ORDER.index(name) + 1 :] for module in members(other)}
    for module in members(name):
        assert reach(module) & later == set(), module


def test_no_module_reaches_itself() -> None:
    assert [module for module in FILES if module in reach(module)] == []


def test_variants_are_data() -> None:
    for module in members("variants"):
        assert imports(module) <= {"ganzoo.plugin", "ganzoo.config", "ganzoo.registry"}, module


def test_the_library_knows_nothing_of_what_is_built_on_it() -> None:
    for module in FILES:
        above = {name for name in reach(module) if name.split(".")[0] in ("ganzoo_cli", "cli", "benchmarks", "tests")}
        assert above == set() or module.startswith("ganzoo_cli"), module


def test_training_and_exporting_know_nothing_of_each_other() -> None:
    assert "ganzoo.exporter" not in reach("ganzoo.trainer")
    assert "ganzoo.trainer" not in reach("ganzoo.exporter")


@pytest.mark.parametrize("name", TORCH_FREE)
def test_what_has_no_tensors_does_not_reach_torch(name: str) -> None:
    for module in members(name):
        heavy = {found for found in reach(module) if found.split(".")[0] in ("torch", "torchvision", "safetensors")}
        assert heavy == set(), module


def test_no_public_name_is_a_submodules() -> None:
    """Importing the submodule would replace it."""
    assert [name for name in ganzoo.__all__ if f"ganzoo.{name}" in FILES] == []


SCRIPT = """
import sys
import ganzoo
loaded = sorted(name for name in sys.modules if name.startswith("ganzoo"))
assert loaded == ["ganzoo"], loaded
import importlib
for name in {names}:
    importlib.import_module(f"ganzoo.{{name}}")
    assert "torch" not in sys.modules, name
ganzoo.Variant, ganzoo.Spec, ganzoo.Adam, ganzoo.RunConfig, ganzoo.__version__, dir(ganzoo)
from ganzoo.registry import variants
[variants[name]() for name in variants]
assert "torch" not in sys.modules
try:
    ganzoo.no_such_name
except AttributeError as error:
    assert "no_such_name" in str(error)
else:
    raise AssertionError
import ganzoo_cli.app
assert "torch" not in sys.modules
assert callable(ganzoo.train) and "torch" in sys.modules
"""


def test_importing_is_light_until_a_name_needs_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(names=TORCH_FREE)],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
