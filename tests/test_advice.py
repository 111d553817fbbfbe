"""What the messages advise: each command and option that they name is one that there is."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from conftest import ROOT
from ganzoo_cli.app import COMMANDS, app

SOURCES = sorted([*(ROOT / "ganzoo").rglob("*.py"), *(ROOT / "cli" / "ganzoo_cli").glob("*.py")])
ADVICE = re.compile(r"(?<![\w.])ganzoo ([a-z]+)((?: (?!and\b|or\b|ganzoo\b)[^\s,;:()`'\"]+)*)")
MARKED = ("`", "(")  # what stands before a command, and not before the name of the package
LABEL = re.compile(r"ganzoo [a-z]+( --[a-z]+)?")  # all of a text that names a command and advises nothing
TYPED = re.compile(r"python -(?=[cm] )|(?<!print\()(?<!= )\bganzoo\.[a-z_]+\(|repeat the command with --")


def strings_of(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Each string of a module where it stands, with X in the place of a value."""
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node, "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node, node.value


def texts_of(tree: ast.AST) -> Iterator[str]:
    """Each string of a module, with X in the place of a value."""
    return (text for _, text in strings_of(tree))


def options() -> dict[str, set[str]]:
    """The options of each command."""
    for name in COMMANDS:
        __import__(f"ganzoo_cli.{name}")
    group = typer.main.get_command(app)
    commands = getattr(group, "commands")  # noqa: B009
    return {
        name: {word for parameter in command.params for word in (*parameter.opts, *parameter.secondary_opts)}
        | {"--help"}
        for name, command in commands.items()
    }


def advice() -> list[tuple[Path, str, str, str]]:
    """Each place where a command is named: file, what stands before it, the command, what follows it."""
    found = []
    for path in SOURCES:
        for text in texts_of(ast.parse(path.read_text(encoding="utf-8"))):
            for match in ADVICE.finditer(text):
                found.append((path, text[: match.start()][-5:], match[1], match[2]))
    return found


def test_each_command_that_a_message_names_has_the_options_that_it_names() -> None:
    known, places = options(), advice()
    assert len(places) > 50
    wrong: list[tuple[str, ...]] = []
    for path, before, command, rest in places:
        if command not in known:
            if before.endswith(MARKED):
                wrong.append((path.name, command))
            continue
        used = re.findall(r"(?<![\w-])--?[a-z][a-z-]*", rest)
        wrong += [(path.name, command, option) for option in used if option not in known[command]]
    assert not wrong


def silent(tree: ast.AST) -> set[int]:
    """The strings of a module that no message holds: docstrings, and the help of options."""
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "help"]
    statements = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    values += [value for value in statements if isinstance(value, ast.Constant)]
    return {id(node) for value in values for node in ast.walk(value)}


def advising() -> dict[tuple[str, str], list[int]]:
    """Each text that advises to type something, by its file, with X for a value; and where in it each command begins.

    Commands of ganzoo and calls in Python count, not what is run beside them.
    """
    known, found = options(), {}
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        unsaid = silent(tree)
        for node, text in strings_of(tree):
            commands = [match.start() for match in ADVICE.finditer(text) if match[1] in known]
            commands += [match.start() for match in TYPED.finditer(text)]
            if commands and id(node) not in unsaid and not LABEL.fullmatch(text):
                found[path.relative_to(ROOT).as_posix(), text] = commands
    return found


@pytest.mark.parametrize("word", ["ganzoo", "X"])
def test_the_search_finds_commands_in_formatted_strings(word: str) -> None:
    tree = ast.parse('f"try (ganzoo train --minutes {n}) or {x}: ganzoo resume X --step 3; X train"')
    (text, *_) = texts_of(tree)
    assert [match[1] for match in ADVICE.finditer(text)] == ["train", "resume"]
    assert word in text
