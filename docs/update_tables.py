"""Write the tables in the documents that come from elsewhere: `python docs/update_tables.py` (or `make docs`)."""

import json
import re
from pathlib import Path
from typing import Any

from ganzoo.config import Spec, Variant
from ganzoo.evaluation.judge import MNIST_SOURCES, load_judge
from ganzoo.evaluation.metrics import FIGURES, title_of
from ganzoo.registry import variants

ROOT = Path(__file__).parent.parent
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "results.md", ROOT / "docs" / "evaluation.md")


def variants_table() -> str:
    """The built-in variants, from the registry."""
    rows = [
        _row(name, variants[name](), variants.summary(name))
        for name in variants
        if variants.owner(name).startswith("ganzoo.")
    ]
    return "\n".join(["| variant | networks | loss | penalties | what it is |", "|---|---|---|---|---|", *rows])


def five_minutes_table() -> str:
    """What benchmarks/five_minutes.py measured."""
    results = json.loads((ROOT / "benchmarks" / "results" / "five_minutes.json").read_text(encoding="utf-8"))
    rows = [
        f"| `{row['variant']}` | {row['images_per_s']:,} | {row['steps']:,} | {row['epochs']} | {row['precision']} |"
        for row in results
    ]
    return "\n".join(["| variant | images/s | steps | epochs | precision |", "|---|---|---|---|---|", *rows])


def judge_table() -> str:
    """The judge that ships with the package, from its file."""
    judge = load_judge("mnist")
    parameters = sum(parameter.numel() for parameter in judge.network.parameters())
    facts = {
        "name": f"`{judge.name}`, for the sources {' and '.join(f'`{source}`' for source in MNIST_SOURCES)}",
        "test accuracy": f"{judge.accuracy:.2%} of MNIST's 10,000 test images",
        "parameters": f"{parameters:,}",
        "SHA-256": f"`{judge.sha256}`",
    }
    return "\n".join(["| the MNIST judge | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts.items())])


def figures_table() -> str:
    """What is measured, from the table in code."""
    better = {"lower": "lower", "higher": "higher", "real": "like real images"}
    rows = [
        f"| `{key}` | {title_of(key, 'MNIST')} | {better[figure.better]} | {figure.meaning} |"
        for key, figure in FIGURES.items()
    ]
    return "\n".join(["| key | figure | better | what it is |", "|---|---|---|---|", *rows])


def verdicts_table() -> str:
    """What benchmarks/verdicts.py found: every case, and how often it got its word."""
    found = _results("verdicts")
    rows = [
        f"| {row['case']} | {row['expected']} | {row['right']} of {found['draws']} | {_words(row['words'])} |"
        for row in found["rows"]
    ]
    heads = f"| drawn, {found['n']} images of {found['dataset']} | expected | found | verdicts |"
    return "\n".join([heads, "|---|---|---|---|", *rows])


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{word} {count}" for word, count in counts.items())


def _results(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


TABLES = {
    "variants": variants_table,
    "five-minutes": five_minutes_table,
    "verdicts": verdicts_table,
    "judge": judge_table,
    "figures": figures_table,
}


def updated(text: str) -> str:
    """`text` with every table between its marks, `<!-- name -->` and `<!-- /name -->`."""
    for name, table in TABLES.items():
        marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text = marked.sub(lambda match, table=table: f"{match[1]}{table()}\n{match[2]}", text)  # type: ignore[misc]
    return text


def _row(name: str, variant: Variant, summary: str) -> str:
    penalties = ", ".join(_short(penalty) for penalty in variant.penalties) or "none"
    networks = f"`{variant.generator.name}`{', conditional' if variant.conditional else ''}"
    return f"| `{name}` | {networks} | `{variant.loss.name}` | {penalties} | {summary} |"


def _short(spec: Spec) -> str:
    return f"`{spec.name}` ({', '.join(f'{key} {value}' for key, value in spec.settings.items())})"


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(updated(document.read_text(encoding="utf-8")), encoding="utf-8")
