"""The documents say what is: tables from the registries, links that lead somewhere, commands and code that exist."""

import ast
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from conftest import environment

from ganzoo.config import Spec
from ganzoo.registry import losses, variants

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


def test_each_built_in_variant_has_a_section() -> None:
    module, text = _update_tables(), (ROOT / "docs" / "variants.md").read_text(encoding="utf-8")
    sections = {part.partition("\n")[0]: part for part in text.split("\n### ")[1:]}
    assert list(sections) == module._built_in()
    for name, section in sections.items():
        variant = variants[name]()
        assert f"| [`{name}`](#{name}) |" in text  # GitHub's anchor of a heading is its text
        for spec in (variant.generator, variant.loss, *variant.terms):
            assert f"`{spec.name}`" in section
        cited = variants.citation(name)
        if cited is not None and (cited.paper or "").startswith("arXiv:"):
            assert f"https://arxiv.org/abs/{str(cited.paper).removeprefix('arXiv:')}" in section


MEASURED = {
    "minutes": 5.0,
    "dataset": "mnist",
    "judge": {"name": "MNIST"},
    "good": 20.0,
    "variants": [
        {"variant": "doomed", "seeds": 0, "failed": 1, "error": "step 2: nan"},
        {
            "variant": "infogan",
            "seeds": 2,
            "failed": 1,
            "figures": {
                "fid": {"mean": 12.0, "least": 11.0, "greatest": 13.0},
                "coverage": {"mean": 0.8, "least": 0.8, "greatest": 0.8},
                "classifier_accuracy": {"mean": 0.98765, "least": 0.98765, "greatest": 0.98765},
            },
            "floors": {"fid": 1.3, "coverage": 0.946},
            "images_per_s": 9000.4,
            "epochs": 40.0,
            "onnx_bytes": 1024 * 1200,
            "generator_parameters": 300_000,
            "discriminator_parameters": 100_000,
            "settings": ["data.labels_per_class=10"],
            "codes": [{"value": 0, "class": "seven", "share": 0.9}],
            "latency_ms": {"1": 0.0612, "64": 0.479},
            "minutes_to_good": None,
            "verdict": "good",
            "revision": "abc1234",
            "machine": "2 cores of AMD, torch 2.13",
        },
    ],
}


def test_what_was_measured_is_shown_beside_each_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = _update_tables()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    assert module._table("measured").startswith("*No result is recorded: `python benchmarks/variants.py`")
    for place, data in (
        ("benchmarks/results/variants.json", json.dumps(MEASURED).encode()),
        ("docs/images/variants/infogan.png", b"PNG"),
    ):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_bytes(data)
    table = module.measured_table()
    assert "| real images | 1.30 | 0.946 |" in table
    assert "| `doomed` | failed: step 2: nan |" in table
    assert "| 12.00 (11.00 to 13.00) | 0.800 |  | good | never | 9,000 | 300,000 + 100,000 | 1,200 |" in table
    assert "| 0.0612 | 0.479 | 2, 1 failed | abc1234 |" in table
    assert module.longer_table().startswith("*No result is recorded")
    (tmp_path / "benchmarks/results/variants-30.json").write_text(json.dumps({**MEASURED, "minutes": 30}))
    assert "| 30 | 12.00 (11.00 to 13.00) | 0.800 |  | good | 2, 1 failed | abc1234 |" in module.longer_table()
    assert "`infogan` with `data.labels_per_class=10`." in module.longer_table()
    assert "| `doomed` | 30 | failed: step 2: nan |\n" in module.longer_table()
    clothes = {**MEASURED, "dataset": "fashion-mnist", "judge": {"name": "Fashion-MNIST"}, "minutes": 2}
    assert module.other_data_table().startswith("*No result is recorded")
    (tmp_path / "benchmarks/results/variants-fashion-mnist-2.json").write_text(json.dumps(clothes))
    (tmp_path / "docs/images/variants-fashion-mnist-2").mkdir()
    (tmp_path / "docs/images/variants-fashion-mnist-2/infogan.png").write_bytes(b"PNG")
    assert "| FID-Fashion-MNIST |" in module.other_data_table()
    assert "![What `infogan` draws](images/variants-fashion-mnist-2/infogan.png)" in module.other_data_table()
    assert "Fashion" not in module.longer_table()
    sections = {part.partition("\n")[0]: part for part in module.variant_sections().split("### ")}
    assert "![Digits drawn by the variant infogan](images/variants/infogan.png)" in sections["infogan"]
    measured = "Measured with `--set data.labels_per_class=10`: FID-MNIST 12.00 (11.00 to 13.00) (real images 1.30)"
    assert measured in sections["infogan"]
    assert "classifier accuracy 98.77 %" in sections["infogan"]
    assert "What each value of the code mostly draws: 0: seven (90%)." in sections["infogan"]
    assert "Not measured yet" in sections["gan"]
    assert "images/variants" not in sections["gan"]


def test_few_images_have_a_row_for_each_data_set_and_a_cell_for_each_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = _update_tables()
    monkeypatch.setattr(module, "ROOT", tmp_path)
    assert module._table("few_images").startswith("*No result is recorded: `python benchmarks/few_images.py`")
    cases = [("faces-lfw", "none", [], 90.0), ("faces-lfw", "default", ["adaptive"], 40.0)]
    cases += [("100 images of mnist", "none", [], 70.0)]  # stopped before the other way
    rows = [
        {
            "data": data,
            "way": way,
            "augmentations": names,
            "seed": seed,
            "step": 9,
            "fid": fid + seed,
            "coverage": 0.5,
            "memorised": 0.25,
            "machine": "AMD",
            "cores": 2,
            "torch": "2",
            "commit": "abcdefgh" if way == "none" else "12345678",
        }
        for data, way, names, fid in cases
        for seed in (0, 1)
    ]
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "few_images.json").write_text(json.dumps({"rows": rows}))
    table = module.few_images_table()
    assert "| data: FID, coverage, memorised | none | default | seeds |" in table
    assert "| faces-lfw | 90.5, 0.50, 25.0% | 40.5, 0.50, 25.0% | 2 |" in table
    assert "| 100 images of mnist | 70.5, 0.50, 25.0% |  | 2 |" in table
    assert "Means over the seeds; default: adaptive. 2 cores of AMD, torch 2; revisions abcdefg, 1234567." in table


@pytest.mark.usefixtures("registries")
def test_an_equation_is_shown_in_place_of_the_docstring() -> None:
    module = _update_tables()

    @losses.register("square")
    class Square:
        """The square (arXiv:1234.56789, eq. 1),
        of two lines:

        and more."""

    described = module._formula(losses, "Loss", Spec("square", weight=0.5))
    assert described == (
        "Loss `square` (weight 0.5): The square ([arXiv:1234.56789](https://arxiv.org/abs/1234.56789), eq. 1), "
        "of two lines."
    )
    Square.equation = r"\mathbb{E}[D(x)^2]"  # type: ignore[attr-defined]
    described = module._formula(losses, "Loss", Spec("square"))
    assert described == "Loss `square`:\n\n```math\n\\mathbb{E}[D(x)^2]\n```"


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
        "data",
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
