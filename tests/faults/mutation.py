"""Mutation testing of what guards runs and files: `python tests/faults/mutation.py [FILE ...] --sample 100 --seed 0`.

A mutant is one change of a file, in a copy of the tree under `build/`. It survives if no test of that file fails. Text
for people (strings with spaces, and parts of messages) is not changed, and neither are annotations.
"""

import argparse
import ast
import copy
import importlib
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COPY = ROOT / "build" / "mutants"
SECONDS = 240  # until a mutant counts as one that hangs, which is noticed
MEMORY = 2**34  # bytes of address space: without its guard a file may ask for any number
# What is large and does not import a file that is changed, so that each mutant begins with it.
PRELOADED = ["torch", "onnx", "onnxruntime", "hypothesis.strategies", "safetensors.torch", "ganzoo.zoo.build"]
PRELOADED += ["ganzoo.zoo.variants", "ganzoo.evaluation.metrics", "ganzoo.runtime.forms"]
TRAINS = "damaged_file or damaged_older or runs_code or newer_schema or any_other or at_the_end or cannot_be_written"
QUICK = ["tests/runs/test_checkpoint.py", "tests/runs/test_run.py", "-k", f"not ({TRAINS})"]
RUNS = [QUICK, ["tests/runs/test_checkpoint.py", "tests/faults/test_lines.py", "tests/faults/test_last_duties.py"]]
GUARD = [
    ["tests/runtime/test_guard.py", "tests/runtime/test_foreign.py"],
    ["tests/behaviour/test_hostile.py", "-k", "not command"],
]
TESTS = {  # by file: the tests that run first, and those that run if a mutant survives them
    **{f"ganzoo/runs/{name}.py": RUNS for name in ("checkpoint", "run")},
    "ganzoo/runs/resolving.py": [["tests/runs/test_resolving.py"], ["tests/behaviour/test_sources.py"]],
    **{f"ganzoo/runtime/guard/{name}.py": GUARD for name in ("onnxgraph", "onnxsizes", "foreign", "onnxfold")},
}
OTHER: dict[type, type] = {
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.BitOr: ast.BitAnd},
}

ANNOTATIONS = ("returns", "annotation")


def with_fields(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    vars(changed).update(fields)
    return changed


def replacements(node: ast.AST) -> Iterator[ast.AST]:
    """What a node may be replaced by."""
    match node:
        case ast.Compare(ops=[operator]):
            yield with_fields(node, ops=[OTHER[type(operator)]()])
        case ast.BoolOp(op=operator) | ast.BinOp(op=operator) if type(operator) in OTHER:
            yield with_fields(node, op=OTHER[type(operator)]())
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=str(value)) if value and " " not in value:
            yield ast.Constant(f"x{value}")
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield ast.Return(ast.Constant(None))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield operand
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.If(test=ast.Call() | ast.Name() as test) | ast.IfExp(test=ast.Call() | ast.Name() as test):
            yield with_fields(node, test=ast.UnaryOp(ast.Not(), test))


class Mutation(ast.NodeTransformer):
    """Counts what can be changed in a file, and changes the one with the number `chosen`."""

    def __init__(self, chosen: int | None = None) -> None:
        self.chosen, self.told = chosen, list[str]()

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.JoinedStr | ast.arg) or ast.unparse(node).startswith("if TYPE_CHECKING"):
            return node
        for changed in replacements(node):
            old, new = (ast.unparse(part).partition("\n")[0] for part in (node, changed))
            self.told.append(f"{getattr(node, 'lineno', 0)}: {old} -> {new}")
            if self.chosen == len(self.told) - 1:
                return changed
        hidden: dict[str, object] = {name: vars(node).pop(name) for name in ANNOTATIONS if name in vars(node)}
        self.generic_visit(node)
        vars(node).update(hidden)
        return node


def run_tests(tests: Sequence[str]) -> bool:
    """Whether tests of the copy pass, in a process that is forked from this one, where what is large is imported."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(COPY)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        options = ["-x", "-p", "no:xdist", "-p", "no:cacheprovider", "-m", "not slow and not full and not faults"]
        os._exit(int(pytest.main([*options, *tests])))
    deadline = time.monotonic() + SECONDS
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
        time.sleep(0.05)
    return ended[1] == 0


def survives(name: str, stages: int, chosen: int | None = None) -> bool:
    """Whether no test of a file fails while it is changed."""
    source = (ROOT / name).read_text(encoding="utf-8")
    changed = ast.fix_missing_locations(Mutation(chosen).visit(ast.parse(source)))
    (COPY / name).write_text(ast.unparse(changed), encoding="utf-8")
    passes = all(run_tests(tests) for tests in TESTS[name][:stages])
    (COPY / name).write_text(source, encoding="utf-8")
    return passes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", default=list(TESTS))
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="run the first tests alone: fewer are noticed, sooner")
    asked = parser.parse_args()
    stages = 1 if asked.quick else 2
    shutil.rmtree(COPY, ignore_errors=True)
    for part in ("ganzoo", "cli", "tests", "docs"):
        shutil.copytree(ROOT / part, COPY / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", COPY)
    sys.path[:0] = [str(COPY), str(COPY / "cli")]
    for module in PRELOADED:
        importlib.import_module(module)
    for name in asked.files:
        if not survives(name, stages):
            raise SystemExit(f"{name}: its tests fail without any change")
        every = Mutation()
        every.visit(ast.parse((ROOT / name).read_text(encoding="utf-8")))
        numbers = range(len(every.told))
        chosen = sorted(random.Random(asked.seed).sample(numbers, min(asked.sample, len(numbers))))
        noticed = 0
        for done, number in enumerate(chosen, 1):
            if survives(name, stages, number):
                print(f"survived: {name}:{every.told[number]}")
            else:
                noticed += 1
            print(f"{name}: {noticed} of {done} noticed, of {len(numbers)} in all", flush=True)


if __name__ == "__main__":
    main()
