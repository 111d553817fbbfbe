"""Imports run one way, and torch is imported only where there are tensors."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT, environment

import ganzoo

PACKAGES = {"ganzoo": ROOT / "ganzoo", "ganzoo_cli": ROOT / "cli" / "ganzoo_cli"}
# A file imports from its own room and from those before it. What stands in no folder is the contract, the first room.
CONTRACT = "contract"
ROOMS = [CONTRACT, "data", "zoo", "compute", "runtime", "runs", "evaluation", "training", "exporting", "synthetic"]
ROOMS += ["report", "studies", "testing"]
FACADES = {
    "ganzoo",
    "ganzoo.plugin",
    "ganzoo.distributed",
}  # and the `__init__` of each room: lazy, of any room's names
TORCH_FREE = ["errors", "lazy", "moved", "seeds", "files", "sealing", "records", "registry", "config", "plugin"]
TORCH_FREE += ["zoo.variants", "zoo.slots", "zoo.measured", "runtime", "runs.records"]
TORCH_FREE += ["exporting.parity", "exporting.conversion", "exporting.lean", "exporting.web"]
TORCH_FREE += ["runs.format", "runs.resolving", "exporting.pagefiles"]
TORCH_FREE += ["training.interruption", "training.progress", "studies.executors"]
TORCH_FREE += ["testing.errors", "testing.pytest_plugin", "testing.scaffold"]


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


def room(module: str) -> str:
    """The folder of `ganzoo/` that a module stands in, or the contract."""
    _, first, *rest = [*module.split("."), ""]
    return first if rest and (ROOT / "ganzoo" / first).is_dir() else CONTRACT


def test_the_walk_sees_every_kind_of_import() -> None:
    assert "ganzoo.runs.checkpoint" in imports("ganzoo.training.trainer")  # from ganzoo.runs import checkpoint
    assert "ganzoo.zoo.build" in imports("ganzoo.runs.opening")  # within a function
    assert "ganzoo.config" not in imports("ganzoo.runs.opening")  # for type checkers
    assert "ganzoo_cli.app" in imports("ganzoo_cli.train")  # relative
    assert {"ganzoo.config", "ganzoo.registry", "pydantic"} <= reach("ganzoo.zoo.variants.gan")
    assert all(members(name) for name in TORCH_FREE)
    assert [room(name) for name in ("ganzoo.seeds", "ganzoo.runtime.guard.foreign", "ganzoo.zoo")] == [
        CONTRACT,
        "runtime",
        "zoo",
    ]


def test_every_file_stands_in_a_room() -> None:
    folders = {path.name for path in (ROOT / "ganzoo").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders <= set(ROOMS)
    assert {room(module) for module in FILES if module.startswith("ganzoo.")} == folders | {CONTRACT}


@pytest.mark.parametrize("module", [name for name in FILES if name.split(".")[0] == "ganzoo" and name not in FACADES])
def test_a_file_imports_from_its_own_room_and_those_above(module: str) -> None:
    allowed = ROOMS[: ROOMS.index(room(module)) + 1]
    below = {name for name in imports(module) if name in FILES and name not in FACADES and room(name) not in allowed}
    assert below == set()


def test_no_module_reaches_itself() -> None:
    assert [module for module in FILES if module in reach(module)] == []


def test_variants_are_data() -> None:
    for module in members("zoo.variants"):
        assert imports(module) <= {"ganzoo.plugin", "ganzoo.config", "ganzoo.registry"}, module


def test_the_library_knows_nothing_of_what_is_built_on_it() -> None:
    for module in FILES:
        above = {name for name in reach(module) if name.split(".")[0] in ("ganzoo_cli", "cli", "benchmarks", "tests")}
        assert above == set() or module.startswith("ganzoo_cli"), module


def test_training_and_exporting_know_nothing_of_each_other() -> None:
    assert "ganzoo.exporting.exporter" not in reach("ganzoo.training.trainer")
    assert "ganzoo.training.trainer" not in reach("ganzoo.exporting.exporter")


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
assert loaded == ["ganzoo", "ganzoo.lazy", "ganzoo.moved"], loaded
import importlib
for name in {names}:
    importlib.import_module(f"ganzoo.{{name}}")
    assert "torch" not in sys.modules, name
ganzoo.Variant, ganzoo.Spec, ganzoo.Adam, ganzoo.RunConfig, ganzoo.__version__, dir(ganzoo)
assert ganzoo.runtime.load and ganzoo.list_variants() == ganzoo.list_parts("variants")
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
