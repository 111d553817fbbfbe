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
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "docs" / "results.md",
    ROOT / "docs" / "evaluation.md",
    ROOT / "docs" / "augmentation.md",
    ROOT / "docs" / "performance.md",
)


def variants_table() -> str:
    """The built-in variants, from the registry."""
    rows = [
        _row(name, variants[name](), variants.summary(name))
        for name in variants
        if variants.owner(name).startswith("ganzoo.")
    ]
    return "\n".join(["| variant | networks | loss | penalties | what it is |", "|---|---|---|---|---|", *rows])


def quality_table() -> str:
    """What benchmarks/quality.py measured of ours, the floor first."""
    rows = [row for row in _results("quality")["ours"] if row["status"] == "done"]
    shown = ("fid", "label_accuracy", "cas", "precision", "coverage")
    floors = {key: next((row["floors"][key] for row in rows if key in row["floors"]), None) for key in shown}
    heads = [title_of(key, "MNIST") for key in shown]
    lines = [
        f"| variant | minutes | threads | {' | '.join(heads)} | images/s | epochs | verdict |",
        f"|---|---|---|{'---|' * len(shown)}---|---|---|",
        f"| real images | | | {' | '.join(_shown(key, floors[key]) for key in shown)} | | | |",
    ]
    for row in rows:
        figures = " | ".join(_shown(key, row["figures"].get(key)) for key in shown)
        lines.append(
            f"| `{row['variant']}` | {row['minutes']:g} | {row['threads']} | {figures} | {row['images_per_s']:,.0f} "
            f"| {row['epochs']:.1f} | {row['verdict']['word']} |"
        )
    return "\n".join(lines)


def peers_table() -> str:
    """What benchmarks/quality.py --peer measured of PyTorch-GAN's scripts."""
    lines = ["| script | minutes | FID-MNIST | label accuracy | images/s |", "|---|---|---|---|---|"]
    for row in _results("quality")["peers"]:
        fid, accuracy = (_shown(key, row["figures"].get(key)) for key in ("fid", "label_accuracy"))
        lines.append(f"| `{row['script']}` | {row['minutes']:g} | {fid} | {accuracy} | {row['images_per_s']:,} |")
    return "\n".join(lines)


def verdicts_table() -> str:
    """What benchmarks/verdicts.py found: every case, and how often it got its word."""
    found = _results("verdicts")
    rows = [
        f"| {row['case']} | {row['expected']} | {row['right']} of {found['draws']} | {_words(row['words'])} |"
        for row in found["rows"]
    ]
    heads = f"| drawn, {found['n']} images of {found['dataset']} | expected | found | verdicts |"
    return "\n".join([heads, "|---|---|---|---|", *rows])


def augmentation_table() -> str:
    """What the case study's augmentation.json found on full MNIST: means and the 95 % intervals of differences."""
    lines = [
        "| real images a class | real only | with generated | gain | moved only | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for row in _results("augmentation")["summary"]:
        gain = row["difference"]
        lines.append(
            f"| {row['per_class']} | {row['real_only']['mean']:.2%} | {row['with_generated']['mean']:.2%} "
            f"| {100 * gain['mean']:+.2f} ± {100 * gain['interval']:.2f} points | {row['moved_only']['mean']:.2%} "
            f"| {row['seeds']} |"
        )
    return "\n".join(lines)


def time_to_quality_table() -> str:
    """What benchmarks/time_to_quality.py measured: seconds to a distance, a column a variant; and how."""
    found = _results("time_to_quality")
    revision = found["revision"][:10] + (" with changes" if found["revision"].endswith("-dirty") else "")
    names = list(dict.fromkeys(row["variant"] for row in found["rows"]))
    lines = [
        f"| FID-MNIST at or under | where it is from | {' | '.join(f'`{name}`' for name in names)} |",
        f"|---|---|{'---|' * len(names)}",
    ]
    for start in range(0, len(found["rows"]), len(names)):
        rows = found["rows"][start : start + len(names)]
        peer = rows[0]["peer"]
        source = "" if peer is None else f"PyTorch-GAN's `{peer}` after {rows[0]['peer_seconds']:g} s"
        lines.append(f"| {rows[0]['distance']:.1f} | {source} | {' | '.join(map(_seconds, rows))} |")
    return "\n".join(
        [
            *lines,
            "",
            f"`{found['command']}`: {found['minutes']:g} minutes of training, {found['seeds']} seeds, source "
            f"`{found['dataset']}`, {found['n']:,} images an evaluation, {found['threads']} threads on "
            f"{found['machine']}, torch {found['torch']}, revision {revision}.",
        ]
    )


def _seconds(row: dict[str, Any]) -> str:
    """8.1 ± 0.2 s, 37.0 ± 0.9 times sooner; of the runs that got there"""
    if row["seconds"] is None:
        return "never"
    parts = [f"{_spread(row['seconds'], row['reached'])} s"]
    if "times_sooner" in row:
        parts.append(f"{_spread(row['times_sooner'], row['reached'])} times sooner")
    if row["reached"] < row["runs"]:
        parts.append(f"{row['reached']} of {row['runs']} runs")
    return ", ".join(parts)


def _spread(value: dict[str, float], runs: int) -> str:
    return f"{value['mean']:.1f} ± {value['deviation']:.1f}" if runs > 1 else f"{value['mean']:.1f}"


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{word} {count}" for word, count in counts.items())


def _results(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def _shown(key: str, value: float | None) -> str:
    return "" if value is None else FIGURES[key].show(value)


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


TABLES = {
    "variants": variants_table,
    "quality": quality_table,
    "peers": peers_table,
    "verdicts": verdicts_table,
    "augmentation": augmentation_table,
    "time_to_quality": time_to_quality_table,
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
