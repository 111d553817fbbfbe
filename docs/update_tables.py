"""Write the tables in the documents that come from elsewhere: `python docs/update_tables.py` (or `make docs`)."""

import json
import re
from pathlib import Path

from ganzoo.config import Spec, Variant
from ganzoo.registry import variants

ROOT = Path(__file__).parent.parent
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "results.md")


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


TABLES = {"variants": variants_table, "five-minutes": five_minutes_table}


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
