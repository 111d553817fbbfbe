"""The documents say what is: tables from the registries, links that lead somewhere, commands and code that exist."""

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import environment

ROOT = Path(__file__).parent.parent
USES_CODES = 'codes=[{name="code", kind="categorical", size=3}]'
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def _update_tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("update_tables", ROOT / "docs" / "update_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _blocks(language: str) -> list[str]:
    text = "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [block for name, block in blocks if name == language]


def test_tables_are_what_the_registries_and_results_say() -> None:
    module = _update_tables()
    for document in module.DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        assert module.updated(text) == text, f"{document.name}: run make docs"
    assert "| `wgan-gp` |" in module.variants_table()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8"))
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert not missing


def test_python_blocks_parse_and_use_names_that_exist() -> None:
    import ganzoo

    blocks = _blocks("python")
    assert blocks
    for block in blocks:
        if not block.lstrip().startswith("while"):  # an excerpt
            ast.parse(block)
        for name in re.findall(r"\bganzoo\.(\w+)\(", block):
            assert hasattr(ganzoo, name)


def _files_of(document: str) -> list[str]:
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(_files_of("adding-a-variant.md"))))
def test_each_file_that_adds_a_part_trains(number: int, tmp_path: Path) -> None:
    """As a user's module, in a process of its own: it is imported, and a run uses the part that it registers."""
    source = _files_of("adding-a-variant.md")[number]
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    ((kind, name),) = re.findall(r"^@(\w+)\.register\(\"(.*)\"\)", source, re.MULTILINE)
    setting = {
        "variants": [],
        "losses": [f"loss={name}"],
        "terms": [f'terms=["{name}"]'],
        "objectives": [f"objective={name}"],
        "discriminators": [f"discriminator={name}", 'terms=["mutual-information"]', USES_CODES],
        "augmentations": [f'augmentations=["{name}"]'],
        "formats": [],
    }[kind]
    script = f"""
import mine
import numpy as np
import ganzoo
images = np.random.default_rng(0).integers(0, 256, (16, 8, 8), dtype=np.uint8)
variant = {name if kind == "variants" else "gan"!r}
run = ganzoo.train(variant, images, steps=2, batch_size=8, out="run", settings={[*setting, "train.log_every=1"]!r})
assert len(run.metrics()) == 2
assert np.isfinite([value for line in run.metrics() for value in line.values()]).all()
if {kind == "formats"!r}:
    exported = ganzoo.export(run, format={name!r})
    assert run.find_export(exported.sha256).format == {name!r}
    assert (ganzoo.load(exported.path).sample(5) == ganzoo.load(run).sample(5)).all()
if {kind == "terms"!r}:
    assert all(line["d_{name.replace("-", "_")}"] > 0 for line in run.metrics())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_every_type_that_the_page_imports_is_in_the_contract() -> None:
    from ganzoo import plugin

    imported = set[str]()
    for source in _files_of("adding-a-variant.md"):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ganzoo"):
                assert node.module == "ganzoo.plugin"
                imported.update(alias.name for alias in node.names)
    assert imported <= set(plugin.__all__)


def test_commands_name_options_that_exist() -> None:
    lines = "\n".join(_blocks("")).replace("\\\n", " ").splitlines()
    commands = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("ganzoo ")]
    assert {words[0] for words in commands} == {
        "train",
        "resume",
        "sample",
        "evaluate",
        "compare",
        "study",
        "report",
        "export",
        "info",
        "verify",
        "benchmark",
        "list",
        "new",
    }
    for name in {words[0] for words in commands}:
        command = [sys.executable, "-m", "ganzoo_cli", name, "--help"]
        known = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        used = {word for words in commands if words[0] == name for word in words if word.startswith("-")}
        assert all(re.search(rf"(^|[ ,]){re.escape(option)}\b", known, re.MULTILINE) for option in used), (name, used)


def test_the_limits_are_those_of_the_runtime() -> None:
    from ganzoo.runtime import onnxfile
    from ganzoo.runtime.guard import onnxgraph, onnxsizes

    text = (ROOT / "docs" / "runtime.md").read_text(encoding="utf-8")
    limits = [onnxgraph.MAX_BYTES, onnxgraph.MAX_FIELDS, onnxgraph.MAX_PACKED, onnxfile.MAX_METADATA]
    limits += [onnxgraph.MAX_NODES, onnxgraph.MAX_LIST, onnxgraph.MAX_RANK, onnxfile.MAX_LATENT_DIM]
    limits += [onnxfile.MAX_IMAGE_VALUES, onnxsizes.MAX_VALUES, onnxsizes.MAX_TOTAL]
    table = re.findall(r"^\| [^|]+ \| ([\d,]+)( \w+)? \|$", text, re.MULTILINE)
    assert [number for number, _ in table] == [f"{limit:,}" for limit in limits]
