"""Generate the tables of the documents from registries and results: `python docs/update_tables.py` (`make docs`)."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

from ganzoo.config import Code, Spec, Variant, describe_setting
from ganzoo.evaluation.judge import PINNED, load_judge
from ganzoo.evaluation.metrics import FIGURES, title_of
from ganzoo.evaluation.verdict import GRADES
from ganzoo.registry import Registry, augmentations, formats, losses, objectives, terms, variants
from ganzoo.runtime.forms import LAYOUTS, PRECISIONS
from ganzoo.runtime.session import read_metadata

ROOT = Path(__file__).parent.parent
MNIST_IMAGES = 60_000
BUSY = 0.1  # share of the processors used by other programs, above which timings are not judged
MEASURED = ("fid", "coverage", "label_accuracy")  # metrics that the tables of variants show
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def variants_table() -> str:
    """Return the table of built-in variants, each with its FID if that was measured."""
    measured = _read_measured()
    heads = "| variant | family | year | networks | loss | terms | description | FID-MNIST |"
    return "\n".join([heads, f"|{'---|' * 8}", *(_row(name, measured.get(name)) for name in _built_in())])


def variant_names_list() -> str:
    """Return the names of the built-in variants, by family."""
    families: dict[str, list[str]] = {}
    for name in _built_in():
        families.setdefault(variants[name]().family, []).append(f"`{name}`")
    return "\n".join(f"- {family}: {', '.join(names)}" for family, names in sorted(families.items()))


def variant_sections() -> str:
    """Return a section for each built-in variant: description, picture, formulas, recipe and measurements."""
    measured = _read_measured()
    return "\n\n".join(_section(name, measured.get(name)) for name in _built_in())


def measured_table() -> str:
    """Return the results of benchmarks/variants.py; the first row is for real images."""
    found = _results("variants")
    floors = {key: value for row in found["variants"] if row["seeds"] for key, value in row["floors"].items()}
    heads = (
        "variant", *(title_of(key, "MNIST") for key in MEASURED), "verdict", "good after, minutes", "images/s",
        "parameters, G + D", "ONNX, KiB", "ms, batch size 1", "ms, batch size 64", "seeds", "revision",
    )  # fmt: skip
    real = ["real images", *(_show(key, floors.get(key)) for key in MEASURED)]
    lines = [_cells(heads), f"|{'---|' * len(heads)}", _cells([*real, *[""] * (len(heads) - len(real))])]
    lines += [_cells(_measured_cells(row)) for row in found["variants"]]
    machines = "; ".join(dict.fromkeys(row["machine"] for row in found["variants"] if row["seeds"]))
    how = f"{found['minutes']:g} minutes of training per run on `{found['dataset']}`; {machines}."
    good = f"Good: FID-MNIST of at most {found['good']:g}; median over the seeds."
    return "\n".join([*lines, "", f"`python benchmarks/variants.py`: {how} {good}"])


def longer_table() -> str:
    """Return the results of benchmarks/variants.py with other budgets, one table each."""
    parts = [_part(found) for found in _further_results() if found["dataset"] == "mnist"]
    return "\n\n".join(parts) or "*No result is recorded: `python benchmarks/variants.py --minutes 30` measures it.*"


def other_data_table() -> str:
    """Return the results of benchmarks/variants.py on other data sets, one table each, with pictures."""
    parts = []
    for found in _further_results():
        if found["dataset"] != "mnist":
            folder = f"images/variants-{found['dataset']}-{found['minutes']:g}"
            places = {row["variant"]: f"{folder}/{row['variant']}.png" for row in found["variants"]}
            pictures = {
                f"`{name}`": f"![What `{name}` draws]({place})"
                for name, place in places.items()
                if (ROOT / "docs" / place).is_file()
            }
            parts.append(_part(found))
            parts.append("\n".join([_cells(pictures), f"|{'---|' * len(pictures)}", _cells(pictures.values())]))
    how = "`python benchmarks/variants.py --dataset fashion-mnist`"
    return "\n\n".join(parts) or f"*No result is recorded: {how} measures it.*"


def _further_results() -> list[dict[str, Any]]:
    """Return the results of benchmarks/variants.py with another budget or data set than the default ones."""
    files = sorted((ROOT / "benchmarks" / "results").glob("variants-*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _part(found: dict[str, Any]) -> str:
    judge = found["judge"]["name"]
    heads = ("variant", "minutes", *(title_of(key, judge) for key in MEASURED), "verdict", "seeds", "revision")
    floors = {key: value for row in found["variants"] if row["seeds"] for key, value in row["floors"].items()}
    real = ["real images", "", *(_show(key, floors.get(key)) for key in MEASURED), "", "", ""]
    lines = [_cells(heads), f"|{'---|' * len(heads)}", _cells(real)]
    for row in found["variants"]:
        name, *cells = _measured_cells(row)
        shown = [*cells[: 1 + len(MEASURED)], *cells[-2:]] if row["seeds"] else cells
        lines.append(_cells([name, f"{found['minutes']:g}", *shown]))
    machines = "; ".join(dict.fromkeys(row["machine"] for row in found["variants"] if row["seeds"]))
    other = "" if found["dataset"] == "mnist" else f" --dataset {found['dataset']}"
    how = f"`python benchmarks/variants.py --minutes {found['minutes']:g}{other}`; {machines}."
    with_settings = [
        f"`{row['variant']}` with {', '.join(f'`{setting}`' for setting in row['settings'])}."
        for row in found["variants"]
        if row["seeds"] and row["settings"]
    ]
    return "\n".join([*lines, "", " ".join([how, *with_settings])])


def aims_table() -> str:
    """Return the targets for the defaults beside the measured values."""
    rows = {row["variant"]: row for row in _results("variants")["variants"] if row["seeds"]}
    conditional = {name: row for name, row in rows.items() if variants[name]().conditional}
    plain = {name: row for name, row in rows.items() if name not in conditional}
    long = _results("variants-30")["variants"]
    best, best_plain, best_long = (
        min(found, key=_mean_distance) for found in (conditional.values(), plain.values(), long)
    )
    figure = {"fid": dict.fromkeys(("mean", "least", "greatest"), _bundled_distance())}
    bundled = {"variant": "mnist", "figures": figure, "seeds": 1, "revision": "in the file"}
    lines = [_cells(("", "metric", "target", "measured", "seeds", "revision")), f"|{'---|' * 6}"]
    for what, row, key, aim in (
        ("`dcgan`, 5 minutes", rows["dcgan"], "fid", 5.0),
        ("best unconditional, 5 minutes", best_plain, "fid", 4.0),
        ("best conditional, 5 minutes", best, "fid", 2.6),
        ("the same", best, "label_accuracy", 0.994),
        ("the same", best, "cas", 0.982),
        ("best unconditional, 30 minutes", best_long, "fid", 2.6),
        ("`wgan-gp`, 5 minutes", rows["wgan-gp"], "fid", 15.0),
        ("bundled generator", bundled, "fid", 2.0),
    ):
        mean = row["figures"][key]["mean"]
        met = mean <= aim if key == "fid" else mean >= aim
        name = f"`{row['variant']}`: {_range(key, row['figures'][key])}"
        reached = [name + ("" if met else ", **missed**"), str(row["seeds"]), row["revision"]]
        lines.append(_cells([what, title_of(key, "MNIST"), _show(key, aim), *reached]))
    return "\n".join(lines)


def _bundled_distance() -> float:
    return float(read_metadata("mnist")["evaluation"]["figures"]["fid"]["mean"])


def _mean_distance(row: dict[str, Any]) -> float:
    return float(row["figures"]["fid"]["mean"])


def _measured_cells(row: dict[str, Any]) -> list[str]:
    if not row["seeds"]:
        return [f"`{row['variant']}`", f"failed: {row['error']}"]
    latency = [f"{row['latency_ms'][batch]:.3g}" for batch in ("1", "64")]
    return [
        f"[`{row['variant']}`](variants.md#{row['variant']})",
        *(_range(key, row["figures"].get(key)) for key in MEASURED),
        row["verdict"],
        "never" if row["minutes_to_good"] is None else f"{row['minutes_to_good']:.2g}",
        f"{row['images_per_s']:,.0f}",
        f"{row['generator_parameters']:,} + {row['discriminator_parameters']:,}",
        f"{row['onnx_bytes'] / 1024:,.0f}",
        *latency,
        f"{row['seeds']}" + (f", {row['failed']} failed" if row["failed"] else ""),
        row["revision"],
    ]


def _cores(facts: dict[str, Any]) -> str:
    return f"{facts['cores']} core{'' if facts['cores'] == 1 else 's'}"


def _cells(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _range(key: str, value: dict[str, float] | None) -> str:
    """Return the mean of a metric, with its minimum and maximum if they differ."""
    if value is None:
        return ""
    mean, least, greatest = (_show(key, value[part]) for part in ("mean", "least", "greatest"))
    return mean if least == greatest else f"{mean} ({least} to {greatest})"


def _read_measured() -> dict[str, dict[str, Any]]:
    """Return the results of benchmarks/variants.py by variant; empty if none are recorded."""
    try:
        return {row["variant"]: row for row in _results("variants")["variants"] if row["seeds"]}
    except FileNotFoundError:
        return {}


def _built_in() -> list[str]:
    return [name for name in variants if variants.owner(name).startswith("ganzoo.")]


def _row(name: str, measured: dict[str, Any] | None) -> str:
    variant, cited = variants[name](), variants.citation(name)
    specs = (variant.generator, variant.discriminator, variant.encoder)
    networks = dict.fromkeys(f"`{spec.name}`" for spec in specs if spec is not None)  # without duplicates, in order
    cells = [
        f"[`{name}`](#{name})",
        variant.family,
        str(cited.year) if cited else "",
        ", ".join(networks) + (", conditional" if variant.conditional else ""),
        f"`{variant.loss.name}`",
        ", ".join(f"`{term.name}`" for term in variant.terms) or "none",
        variants.summary(name).partition("): ")[2] or variants.summary(name),
        _range("fid", measured["figures"].get("fid")) if measured else "",
    ]
    return _cells(cells)


def _section(name: str, measured: dict[str, Any] | None) -> str:
    """Return a variant's section, whose anchor is the variant's name."""
    variant = variants[name]()
    what, *rest = variants.description(name).split("\n\n")
    blocks = [f"### {name}", _with_links(what)]
    picture = Path("images") / "variants" / f"{name}.png"
    if (ROOT / "docs" / picture).exists():
        blocks.append(f"![Digits drawn by the variant {name}]({picture.as_posix()})")
    parts = [(losses, "Loss", variant.loss), *((terms, "Term", spec) for spec in variant.terms)]
    if variant.objective.name != Variant.model_fields["objective"].default.name:
        parts.insert(0, (objectives, "Objective", variant.objective))
    parts += [(augmentations, "Augmentation", spec) for spec in variant.augmentations]
    blocks += [_formula(*part) for part in parts]
    return "\n\n".join([*blocks, _recipe(variant), *map(_with_links, rest), _figures(measured)])


def _formula(registry: Registry[Any], kind: str, spec: Spec) -> str:
    """Return a part's `equation` in GitHub's math syntax, or else the first paragraph of its docstring."""
    part, head = registry[spec.name], f"{kind} {_short(spec)}"
    equation = getattr(part, "equation", None)
    if equation is not None:
        return f"{head}:\n\n```math\n{equation}\n```"
    paragraph = registry.description(spec.name).partition("\n\n")[0].replace("\n", " ")
    return f"{head}: {_with_links(paragraph.rstrip(':.'))}."


def _recipe(variant: Variant) -> str:
    """Return the table of a recipe's networks and its non-default parts and settings."""
    rows = {}
    for key, field in Variant.model_fields.items():
        value = getattr(variant, key)
        if key not in ("family", "defaults", "loss", "terms") and value != field.get_default(call_default_factory=True):
            rows[key] = ", ".join(map(_short, value if isinstance(value, tuple) else (value,)))
    rows |= {path: _short(value) for path, value in variant.defaults.items()}
    return "\n".join(["| recipe | |", "|---|---|", *(f"| `{key}` | {text} |" for key, text in rows.items())])


def _figures(row: dict[str, Any] | None) -> str:
    """Return a variant's measurements as a sentence."""
    if row is None:
        return "*Not measured yet: `python benchmarks/variants.py` measures it.*"
    figures = [
        f"{title_of(key, 'MNIST')} {_range(key, row['figures'][key])}"
        + (f" (real images {_show(key, row['floors'][key])})" if key in row["floors"] else "")
        for key in (*MEASURED, "classifier_accuracy")
        if key in row["figures"]
    ]
    good = "never" if row["minutes_to_good"] is None else f"after {row['minutes_to_good']:.2g} minutes"
    how = "".join(f" with `--set {setting}`" for setting in row["settings"])
    speed = f"{row['images_per_s']:,.0f} images/s"
    text = f"Measured{how}: {', '.join(figures)}; verdict: {row['verdict']}; good {good}; {speed}."
    if not row["codes"]:
        return text
    codes = ", ".join(f"{code['value']}: {code['class']} ({code['share']:.0%})" for code in row["codes"])
    return f"{text} What each value of the code mostly draws: {codes}."


def _with_links(text: str) -> str:
    """Return a docstring's text with links to the papers that it cites."""
    text = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
    return re.sub(r"doi:(10\.[^\s,;)]+)", r"[doi:\1](https://doi.org/\1)", text)


def peers_table() -> str:
    """Return the results of benchmarks/peers.py for PyTorch-GAN's scripts."""
    found = _results("peers")
    lines = ["| script | minutes | FID-MNIST | label accuracy | images/s |", "|---|---|---|---|---|"]
    for row in found["peers"]:
        fid, accuracy = (_show(key, row["figures"].get(key)) for key in ("fid", "label_accuracy"))
        lines.append(f"| `{row['script']}` | {row['minutes']:g} | {fid} | {accuracy} | {row['images_per_s']:,} |")
    return _with_source(lines, found)


def grades_table() -> str:
    """Return the limits of each grade, for generators without a failure."""
    lines = [
        "| grade | FID relative to real images | coverage relative to real images | density relative to real images |",
        "|---|---|---|---|",
    ]
    for step in GRADES:
        lines.append(f"| {step.word} | at most {step.fid:g} | at least {step.coverage:g} | at least {step.density:g} |")
    return "\n".join([*lines, "| far from real | otherwise | | |"])


def verdicts_table() -> str:
    """Return the results of benchmarks/verdicts.py: each case, and how often it got the expected verdict."""
    found = _results("verdicts")
    cases: dict[str, dict[str, Any]] = {row["case"]: {} for row in found["rows"]}
    for row in found["rows"]:
        cases[row["case"]][row["half"]] = row
    lines = [
        f"| {found['n']} images of {found['dataset']} | expected verdict | correct, first half | correct, second half "
        "| verdicts |",
        "|---|---|---|---|---|",
    ]
    for case, halves in cases.items():
        right = [
            f"{halves[half]['right']} of {found['draws']}" if half in halves else "" for half in ("set", "checked")
        ]
        words: Counter[str] = Counter()
        for row in halves.values():
            words.update(row["words"])
        lines.append(f"| {case} | {next(iter(halves.values()))['expected']} | {' | '.join(right)} | {_words(words)} |")
    return _with_source(lines, found)


def synthetic_data_table() -> str:
    """Return the results of benchmarks/synthetic_data.py: means, and the 95 % intervals of differences."""
    found = _results("synthetic_data")
    lines = [
        "| real images per class | real only | with generated images | gain | moved only | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for row in found["summary"]:
        gain = row["difference"]
        lines.append(
            f"| {row['per_class']} | {row['real_only']['mean']:.2%} | {row['with_generated']['mean']:.2%} "
            f"| {100 * gain['mean']:+.2f} ± {100 * gain['interval']:.2f} points | {row['moved_only']['mean']:.2%} "
            f"| {row['seeds']} |"
        )
    return _with_source(lines, found)


def faults_table() -> str:
    """Return the results of benchmarks/faults.py: each fault, and the number of cases with the expected outcome."""
    rows = _results("faults")["rows"]
    lines = [_cells(("fault", "cases", "as expected", "revision")), f"|{'---|' * 4}"]
    for fault, alike in _faults(rows.values()).items():
        figures = "".join(f" ({row['figures']})" for row in alike if "figures" in row)
        counts = [f"{sum(row[key] for row in alike):,}" for key in ("cases", "held")]
        lines.append(_cells([fault + figures, *counts, ", ".join(dict.fromkeys(row["commit"][:7] for row in alike))]))
    machines = "; ".join(
        dict.fromkeys(f"{_cores(row)} of {row['machine']}, torch {row['torch']}" for row in rows.values())
    )
    return "\n".join([*lines, "", f"`make test-faults`: {machines}."])


def _faults(rows: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Group the rows by row of the table; all rows of mutants become one, which names the kinds of files."""
    mutants = [row for row in rows if row["fault"].startswith("mutants of ")]
    kinds = "; ".join(sorted(row["fault"].removeprefix("mutants of ") for row in mutants))
    found = {row["fault"]: [row] for row in rows if row not in mutants}
    return {**found, **({f"changed files of {len(mutants)} kinds: {kinds}": mutants} if mutants else {})}


def few_images_table() -> str:
    """Return the results of benchmarks/few_images.py: the metrics of each data set per way of training."""
    found = _results("few_images")
    rows = found["rows"]
    ways = list(dict.fromkeys(row["way"] for row in rows))
    lines = [_cells(("data: FID, coverage, memorised", *ways, "seeds")), f"|{'---|' * (len(ways) + 2)}"]
    for name in dict.fromkeys(row["data"] for row in rows):
        alike = [[row for row in rows if (row["data"], row["way"]) == (name, way)] for way in ways]
        seeds = min(len(one) for one in alike if one)
        lines.append(_cells([name, *map(_few_images_cell, alike), str(seeds)]))
    chosen = dict.fromkeys(", ".join(row["augmentations"]) for row in rows if row["way"] == "default")
    revisions = ", ".join(dict.fromkeys(row["commit"][:7] for row in rows))
    machines = "; ".join(dict.fromkeys(f"{_cores(row)} of {row['machine']}, torch {row['torch']}" for row in rows))
    how = f"Means over the seeds; default: {'; '.join(chosen)}. {machines}; revisions {revisions}."
    return "\n".join([*lines, "", how])


def _few_images_cell(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    fid, coverage, memorised = (fmean(row[key] for row in rows) for key in ("fid", "coverage", "memorised"))
    return f"{fid:.1f}, {coverage:.2f}, {memorised:.1%}"


def speedrun_table() -> str:
    """Return the records of the speedrun, by track, the fastest first."""
    found = _results("speedrun")
    lines = [
        "| track | recipe | seconds (mean ± standard deviation) | seconds of each seed | machine | commit | date |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["records"]:
        spread = f"{row['seconds']['mean']:.1f} ± {row['seconds']['deviation']:.1f}"
        each = ", ".join(f"{one['seconds']:.0f}" for one in row["races"])
        machine = f"{_cores(row)} of {row['machine']}, torch {row['torch']}"
        lines.append(
            f"| {row['track']} | [{row['recipe']}](../benchmarks/speedrun/{row['recipe']}) | {spread} | {each} "
            f"| {machine} | {row['commit'][:7]} | {row['date']} |"
        )
    return "\n".join(lines)


def searches_table() -> str:
    """Return the results of benchmarks/search.py: the FID of each idea after each of its rungs."""
    files = sorted((ROOT / "benchmarks" / "results").glob("search-*.json"))
    if not files:
        raise FileNotFoundError(2, "no search is recorded", "search")
    return "\n\n".join(_search(json.loads(file.read_text(encoding="utf-8"))) for file in files)


def _search(found: dict[str, Any]) -> str:
    rungs = sorted({row["minutes"] for row in found["rows"]})
    ideas: dict[tuple[str, str], dict[float, dict[str, Any]]] = {}  # by name and revision
    for row in found["rows"]:
        ideas.setdefault((row["idea"], row.get("commit", found["commit"])[:7]), {})[row["minutes"]] = row
    heads = [f"`{found['variant']}`, FID-MNIST", *(f"{minutes:g} min" for minutes in rungs), "settings", "revision"]
    lines = [_cells(heads), f"|{'---|' * len(heads)}"]

    def rank(idea: tuple[str, str]) -> list[tuple[bool, float]]:  # ideas with the most rungs first, then by FID
        rows = [ideas[idea].get(minutes, {}).get("fid") for minutes in reversed(rungs)]
        return [(fid is None, fid or 0.0) for fid in rows]

    for idea in sorted(ideas, key=rank):
        rows = [ideas[idea].get(minutes) for minutes in rungs]
        cells = ["" if row is None else f"{row['fid']:.1f}" if "fid" in row else "failed" for row in rows]
        settings = next(iter(ideas[idea].values()))["settings"]
        name, revision = idea
        lines.append(_cells([name, *cells, ", ".join(f"`{setting}`" for setting in settings), revision]))
    return "\n".join(
        [*lines, "", f"`{found['command']}`: {_cores(found)} of {found['machine']}, torch {found['torch']}."]
    )


def speed_table() -> str:
    """Return the results of benchmarks/training_speed.py: ganzoo and PyTorch-GAN at the same work, and the defaults."""
    found = _results("training_speed")
    anatomy = {row["variant"]: row for row in found["anatomy"]}
    lines = [
        "| variant | PyTorch-GAN, images/s | ganzoo at the same work, images/s | ratio (min to max) | s per epoch "
        "| share of the limit | ganzoo's defaults, images/s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        ratio, step = row["ratio"], anatomy[row["variant"]]
        kind = "convolution" if row["variant"] == "dcgan" else "matrix"
        reached = row["same_work_images_per_s"] * step["mflop_an_image"] / 1000 / found["limits"][f"{kind}_bfloat16"]
        lines.append(
            f"| `{row['variant']}` | {row['peer_images_per_s']:,} | {row['same_work_images_per_s']:,} "
            f"| {ratio['mean']:.2f} ({ratio['least']:.2f} to {ratio['greatest']:.2f}) "
            f"| {MNIST_IMAGES / row['same_work_images_per_s']:.1f} | {reached:.0%} | {row['default_images_per_s']:,} |"
        )
    return _with_source(lines, found)


def limits_table() -> str:
    """Return the machine's limits, as measured by benchmarks/training_speed.py."""
    found = _results("training_speed")
    names = {
        "matrix": "matrix product, 2048 x 2048",
        "convolution": "convolution, 128 channels of 16 x 16, 3 x 3, batch 64",
    }
    lines = ["| | float32 | bfloat16 |", "|---|---|---|"]
    for key, name in names.items():
        rates = " | ".join(f"{found['limits'][f'{key}_{dtype}']:.0f} GFLOP/s" for dtype in ("float32", "bfloat16"))
        lines.append(f"| {name} | {rates} |")
    return "\n".join([*lines, f"| copying 256 MB | {found['limits']['memory']:.0f} GB/s | |"])


def anatomy_table() -> str:
    """Return how the time of a step is spent at the same work, by torch's profiler."""
    return _anatomy("anatomy")


def networks_table() -> str:
    """Return how the time of a step is spent with each variant's default networks."""
    return _anatomy("defaults", "share of the limit")


def _anatomy(key: str, *more: str) -> str:
    found = _results("training_speed")
    lines = [_cells(["variant", "MFLOP per image", "ms per step", "arithmetic", "memory", "the rest", *more])]
    lines.append("|---" * (6 + len(more)) + "|")
    for row in found[key]:
        shares = [f"{row[f'{part}_ms'] / row['step_ms']:.0%}" for part in ("arithmetic", "memory", "rest")]
        reached = [f"{row['gflops'] / found['limits']['convolution_bfloat16']:.0%}" for _ in more]
        lines.append(
            _cells([f"`{row['variant']}`", f"{row['mflop_an_image']:.1f}", f"{row['step_ms']:.1f}", *shares, *reached])
        )
    return "\n".join(lines)


def ways_table() -> str:
    """Return the results of benchmarks/ways.py: step times by the rule and in each other way, and the rule's loss."""
    found = _results("ways")
    rows = found["rows"]
    names = list(dict.fromkeys(way["way"] for row in rows for way in row["ways"]))
    lines = [
        f"| ms per step | {' | '.join('`' + row['variant'] + '`' for row in rows)} |",
        f"|---|{'---|' * len(rows)}",
    ]
    for name in names:
        lines.append(f"| {name} | {' | '.join(_way(row, name) for row in rows)} |")
    for key, title in (("tuned", "the choice of `--tune`"), ("fastest", "the fastest way")):
        losses = " | ".join(f"{row[f'loss_against_{key}']['median']:+.1%}" for row in rows)
        lines.append(f"| extra time of the rule over {title} | {losses} |")
    lines.append(f"| fastest way | {' | '.join(row['fastest'] for row in rows)} |")
    return _with_source(lines, found)


def _way(row: dict[str, Any], name: str) -> str:
    for way in row["ways"]:
        if way["way"] == name:
            return f"{way['step_ms']:.1f}" if "step_ms" in way else "failed"
    return "same as the rule" if name == "tuned" else ""


def busy_table() -> str:
    """Return the results of benchmarks/busy.py: steps in a given time, with and without other programs."""
    found = _results("busy")
    rows = {(row["variant"], row["busy"], row["way"]): row for row in found["rows"]}
    columns = list(dict.fromkeys((row["variant"], row["busy"]) for row in found["rows"]))
    heads = [
        f"`{variant}`, {f'{busy} processors busy' if busy else 'all processors free'}" for variant, busy in columns
    ]
    lines = [f"| steps in {found['seconds']:g} s | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for way in dict.fromkeys(row["way"] for row in found["rows"]):
        cells = []
        for variant, busy in columns:
            runs = rows[variant, busy, way]["runs"]
            threads = sorted({run["threads"] for run in runs})
            chosen = f" (threads: {' or '.join(map(str, threads))})" if way == "rule" else ""
            steps = [run["steps"] for run in runs]
            cells.append(f"{rows[variant, busy, way]['steps']:g} ({min(steps)} to {max(steps)}){chosen}")
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return _with_source(lines, found)


def overheads_table() -> str:
    """Return the results of benchmarks/overheads.py: start-up times, memory and overheads of training."""
    found = _results("overheads")
    start, memory = found["start"], found["memory_mb"]
    lines = ["| | |", "|---|---|"]
    lines.append(f"| `ganzoo --help`, `ganzoo train --help` | {start['help']:.2f} s, {start['train_help']:.2f} s |")
    for variant, seconds in start["first_step"].items():
        torch_alone = start["import_torch"]
        lines.append(
            f"| `ganzoo train --variant {variant}` to its first step | {seconds - torch_alone:.1f} s in addition to "
            f"the {torch_alone:.1f} s of `import torch`, including the measurement of the speed |"
        )
    for variant in start["first_step"]:
        lines.append(
            f"| peak memory of `{variant}` on MNIST | {memory[variant]:.0f} MiB, including "
            f"{memory['import_torch']:.0f} MiB for `import torch` and {memory['data']:.0f} MiB for the data |"
        )
    for row in found["shares"]:
        parts = {key: row.get(key, 0.0) for key in ("logs", "progress", "average", "checkpoints")}
        each = ", ".join(f"{name} {share:.1%}" for name, share in parts.items())
        lines.append(f"| overheads of `{row['variant']}` | {sum(parts.values()):.1%} of the training time: {each} |")
    return _with_source(lines, found)


def large_data_table() -> str:
    """Return the results of benchmarks/large_data.py for images that stay on disk."""
    found = _results("large_data")
    lines = [
        "| variant | images/s, in memory | images/s, mapped | ratio mapped / in memory (min to max) "
        "| peak memory, mapped |",
        "|---|---|---|---|---|",
    ]
    for name, row in found["summary"].items():
        ratio = f"{row['ratio']:.2f} ({row['ratio_min']:.2f} to {row['ratio_max']:.2f})"
        speeds = f"{row['resident_images_per_s']:,.0f} | {row['mapped_images_per_s']:,.0f}"
        lines.append(f"| `{name}` | {speeds} | {ratio} | {row['peak_resident_mb']:.0f} MB |")
    text = f"{found['images_mb'] / 1000:g} GB of images; memory limit {found['limit_mb']} MB ({found['limited_by']})."
    return f"{_with_source(lines, found)} {text}"


def scaling_table() -> str:
    """Return the results of benchmarks/scaling.py for two processes on two cores."""
    found = _results("scaling")
    lines = [
        "| variant | batch size | images/s, 1 process with 2 threads | images/s, 2 processes | ratio (min to max) |",
        "|---|---|---|---|---|",
    ]
    for row in found["rows"]:
        one, two = (fmean(pair[i] for pair in row["images_per_s"]) for i in (0, 1))
        ratios = f"{row['median_ratio']:.2f} ({min(row['ratios']):.2f} to {max(row['ratios']):.2f})"
        lines.append(f"| `{row['variant']}` | {row['batch_size']} | {one:,.0f} | {two:,.0f} | {ratios} |")
    return _with_source(lines, found)


def runtime_table() -> str:
    """Return the plot and the results of benchmarks/runtime.py for each form, beside torch."""
    found = _results("runtime")["speed"]
    references = list(dict.fromkeys(name for model in found["models"] for name in model["references"]))
    lines = [
        "![Images per second by batch size](images/runtime.png)",
        "",
        f"| variant | | batch size | p50, ms | p95, ms | images/s "
        f"| {' | '.join(f'speedup over {name}' for name in references)} |",
        f"|---|---|---|---|---|---|{'---|' * len(references)}",
    ]
    for model in found["models"]:
        for one in model["contestants"]:
            for row in one["batches"]:
                ratios = [row["times_faster_than"].get(name) for name in references]
                lines.append(
                    f"| `{model['variant']}` | {one['name']} | {row['batch']} | {row['p50_ms']:.3f} "
                    f"| {row['p95_ms']:.3f} | {row['images_per_s']:,.0f} | {' | '.join(map(_ratio, ratios))} |"
                )
            if one["error"] is not None:
                lines.append(f"| `{model['variant']}` | {one['name']} | {one['error']} |")
    conditions = found["conditions"]
    text = f"{conditions['threads']} threads, {conditions['repeats']} turns of {conditions['seconds']:g} s each"
    others = "" if found["busy"] is None else f"; other programs used {found['busy']:.0%} of the processors"
    return f"{_with_source(lines, found)} {text}, onnxruntime {conditions['versions']['onnxruntime']}{others}."


def runtime_files_table() -> str:
    """Return the files of benchmarks/runtime.py, and the time to the first image in a new process."""
    found = _results("runtime")["speed"]
    lines = [
        "| variant | | KiB | nodes | maximum difference from torch | first image, s "
        "| first image, onnxruntime alone, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for model in found["models"]:
        for one in model["contestants"]:
            start = one["start"] or {}
            cells = [""] * 3
            if "bytes" in one:
                cells = [f"{one['bytes'] / 1024:,.0f}", str(one["nodes"]), f"{one['difference']:.1e}"]
            seconds = [start.get("file") or start.get("torch"), start.get("floor")]
            cells += [f"{value['from_start']:.2f}" if value else "" for value in seconds]
            if any(cells):
                lines.append(f"| `{model['variant']}` | {one['name']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def runtime_targets_table() -> str:
    """Return the targets of the runtime beside the results of benchmarks/runtime.py."""
    found = _results("runtime")
    rows = {
        (one["name"], row["batch"]): row["times_faster_than"]
        for model in found["speed"]["models"]
        if model["variant"] == "dcgan"
        for one in model["contestants"]
        for row in one["batches"]
    }
    lines = ["| | target | measured | |", "|---|---|---|---|"]
    for name, other, batch, aim in (
        ("fp32", "torch eager", 1, 3),
        ("fp32", "torch eager", 64, 1.8),
        ("int8", "fp32", 64, 1.3),
    ):
        ratio = rows.get((name, batch), {}).get(other)
        met = "" if ratio is None else _describe_outcome(ratio["mean"] >= aim, found["speed"])
        what = f"`dcgan`, {name}, batch size {batch}: speedup over {other}"
        lines.append(f"| {what} | at least {aim} | {_ratio(ratio)} | {met} |")
    for row in found["import"]["rows"]:
        met = _describe_outcome(row["ratio"]["mean"] <= 2.5, found["import"])
        lines.append(
            f"| first import to first image, threads: {row['threads']}, relative to onnxruntime alone | at most 2.5 "
            f"| {_ratio(row['ratio'])}: {row['runtime_s']:.2f} s / {row['onnxruntime_s']:.2f} s | {met} |"
        )
    memory = found["memory"]
    lines.append(
        f"| peak memory for {memory['images']:,} images with `iter_batches` | under 500 MB "
        f"| {memory['resident_mb']:.0f} MB | {'met' if memory['resident_mb'] < 500 else '**missed**'} |"
    )
    return "\n".join(lines)


def _describe_outcome(met: bool, found: dict[str, Any]) -> str:
    if (found["busy"] or 0) > BUSY:
        return "not judged: the machine was busy"
    return "met" if met else "**missed**"


def _ratio(value: dict[str, float] | None) -> str:
    return "" if value is None else f"{value['mean']:.2f} ({value['least']:.2f} to {value['greatest']:.2f})"


def layouts_table() -> str:
    """Return the layouts of a file's images, from `LAYOUTS`."""
    return "\n".join(
        ["| `--layout` | `images` |", "|---|---|", *(f"| `{name}` | {row.summary} |" for name, row in LAYOUTS.items())]
    )


def formats_table() -> str:
    """Return the built-in formats, from the registry."""
    rows = []
    for name in formats:
        if formats.owner(name).startswith("ganzoo."):
            options = ", ".join(f"`--{option.replace('_', '-')}`" for option in formats[name]().options)
            rows.append(f"| `{name}` | {options or 'none'} | {formats.summary(name)} |")
    return "\n".join(["| `--format` | additional options | description |", "|---|---|---|", *rows])


def precisions_table() -> str:
    """Return the precisions of a file and their tolerances against torch, from `PRECISIONS`."""
    lines = [
        "| `--precision` | description | maximum difference, in [-1, 1] | maximum, grey levels | mean, grey levels "
        "| maximum on another machine, in [-1, 1] |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in PRECISIONS.items():
        bounds = f"{row.difference:g} | {row.greatest} | {row.mean:g} | {row.repeat:g}"
        lines.append(f"| `{name}` | {row.summary} | {bounds} |")
    return "\n".join(lines)


def other_runtimes_table() -> str:
    """Return the results of benchmarks/other_runtimes.py: the difference of each runtime's images in each form."""
    found = _results("other_runtimes")
    forms = list(dict.fromkeys((row["variant"], row["precision"]) for row in found["rows"]))
    heads = " | ".join(f"`{variant}`, {precision}" for variant, precision in forms)
    lines, notes = [f"| runtime | {heads} |", f"|---|{'---|' * len(forms)}"], []
    for name, version in found["versions"].items():
        rows = {(row["variant"], row["precision"]): row for row in found["rows"] if row["runtime"] == name}
        cells = [_distance(rows[form], notes) for form in forms]
        remark = next((row["remark"] for row in rows.values() if row.get("remark")), "")
        title = " ".join(filter(None, [name, version, f"({remark})" if remark else ""]))
        lines.append(f"| {title} | {' | '.join(cells)} |")
    reasons = [f"{number}. {note}" for number, note in enumerate(notes, 1)]
    return "\n\n".join([_with_source(lines, found), "\n".join(reasons)]) if notes else _with_source(lines, found)


def _distance(row: dict[str, Any], notes: list[str]) -> str:
    """Return a difference, or the number of the note that explains why there is none."""
    error = row.get("error")
    if error is None:
        return f"{row['difference']:.1g}"
    if error == "not installed":
        return error
    if error not in notes:
        notes.append(error)
    return f"no ({notes.index(error) + 1})"


def forms_table() -> str:
    """Return the results of benchmarks/forms.py: a row per variant and precision, and a row per failure."""
    found = _results("forms")
    floor = found["rows"][0]["floor"]
    lines = [
        f"| variant | FID-MNIST (real images {floor:.2f}) | precision | layouts verified | nodes | KiB "
        "| maximum difference | maximum, grey levels | mean, grey levels | Fréchet distance, torch -> file "
        "| seconds per form |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for variant in found["rows"]:
        for precision in dict.fromkeys(row["precision"] for row in variant["forms"]):
            rows = [row for row in variant["forms"] if row["precision"] == precision]
            done = [row for row in rows if "error" not in row]
            verified = f"{len(done)} of {len(rows)}"
            cells = [f"`{variant['variant']}`", f"{variant['fid']:.1f}", f"`{precision}`", verified, *_form_cells(done)]
            lines.append(f"| {' | '.join(cells)} |")
            lines += [f"| | | | `{row['form']}` failed: {row['error']} |" for row in rows if "error" in row]
    trained = f"Each variant was trained for {found['minutes']:g} minutes on `{found['dataset']}`."
    return f"{_with_source(lines, found)} {trained}"


def _form_cells(rows: list[dict[str, Any]]) -> list[str]:
    """Return the cells of one precision: the first layout's size and difference, and all layouts' most grey levels."""
    if not rows:
        return [""] * 7
    first, figure = rows[0], rows[0]["figure"]
    return [
        f"{first['nodes']}",
        f"{first['bytes'] / 1024:,.0f}",
        f"{first['difference']:.2g}",  # the other layouts are bytes, which differ by rounding
        *(f"{max(row[key] for row in rows):.2g}" for key in ("grey_levels", "mean_grey_levels")),
        "" if figure is None else f"{figure['torch']:.2f} -> {figure['file']:.2f}",
        f"{fmean(row['seconds'] for row in rows):.1f}",
    ]


def graphs_table() -> str:
    """Return the effect of rewriting the graph, from benchmarks/forms.py."""
    found = _results("forms")
    batches = list(found["rows"][0]["graphs"]["times_faster"])
    heads = " | ".join(f"speedup, batch size {batch}" for batch in batches)
    lines = [
        f"| variant | {heads} | nodes, plain -> rewritten | KiB | maximum difference from torch |",
        f"|---|{'---|' * len(batches)}---|---|---|",
    ]
    for row in found["rows"]:
        graphs = row["graphs"]
        plain, rewritten = graphs["plain"], graphs["rewritten"]
        times = " | ".join(
            f"{ratio['mean']:.2f} ({ratio['least']:.2f} to {ratio['greatest']:.2f})"
            for ratio in graphs["times_faster"].values()
        )
        sizes = " -> ".join(f"{file['bytes'] / 1024:,.0f}" for file in (plain, rewritten))
        differences = " -> ".join(f"{file['difference']:.1e}" for file in (plain, rewritten))
        lines.append(
            f"| `{row['variant']}` | {times} | {plain['nodes']} -> {rewritten['nodes']} | {sizes} | {differences} |"
        )
    return _with_source(lines, found)


def _with_source(lines: list[str], found: dict[str, Any]) -> str:
    """Return the table with a caption: the command that measured it, the machine and the revision."""
    machine = f"{_cores(found)} of {found['machine']}, torch {found['torch']}, revision {found['commit'][:7]}"
    return "\n".join([*lines, "", f"`{found['command']}`: {machine}."])


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{word} {count}" for word, count in counts.items())


def _results(name: str) -> Any:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def _show(key: str, value: float | None) -> str:
    if value is None:
        return ""
    return FIGURES[key].show(value) if key in FIGURES else f"{value:.4g}"


def judge_table() -> str:
    """Return the judges that ship with the package, from their files."""
    rows = []
    for file in dict.fromkeys(name for name, _ in PINNED.values()):
        judge = load_judge(file)
        sources = ", ".join(f"`{source}`" for source, (name, _) in PINNED.items() if name == file)
        parameters = sum(parameter.numel() for parameter in judge.network.parameters())
        rows.append(f"| `{judge.name}` | {sources} | {judge.accuracy:.2%} | {parameters:,} | `{judge.sha256}` |")
    return "\n".join(["| judge | sources | test accuracy | parameters | SHA-256 |", "|---|---|---|---|---|", *rows])


def figures_table() -> str:
    """Return the metrics, from `FIGURES`."""
    better = {"lower": "lower", "higher": "higher", "real": "like real images"}
    rows = [
        f"| `{key}` | {title_of(key, 'MNIST')} | {better[figure.better]} | {figure.meaning} |"
        for key, figure in FIGURES.items()
    ]
    return "\n".join(["| key | metric | better | description |", "|---|---|---|---|", *rows])


TABLES = {
    "formats": formats_table,
    "variants": variants_table,
    "variant_names": variant_names_list,
    "variant_sections": variant_sections,
    "measured": measured_table,
    "measured_longer": longer_table,
    "other_data": other_data_table,
    "aims": aims_table,
    "peers": peers_table,
    "grades": grades_table,
    "verdicts": verdicts_table,
    "synthetic_data": synthetic_data_table,
    "few_images": few_images_table,
    "faults": faults_table,
    "speed": speed_table,
    "speedrun_records": speedrun_table,
    "searches": searches_table,
    "limits": limits_table,
    "anatomy": anatomy_table,
    "networks": networks_table,
    "ways": ways_table,
    "busy": busy_table,
    "overheads": overheads_table,
    "large_data": large_data_table,
    "scaling": scaling_table,
    "runtime": runtime_table,
    "runtime_files": runtime_files_table,
    "runtime_targets": runtime_targets_table,
    "layouts": layouts_table,
    "precisions": precisions_table,
    "forms": forms_table,
    "other_runtimes": other_runtimes_table,
    "graphs": graphs_table,
    "judge": judge_table,
    "figures": figures_table,
}


def updated(text: str) -> str:
    """Return `text` with each table between its markers, `<!-- name -->` and `<!-- /name -->`, generated again."""

    def write(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        return f"{begin}{_table(name)}\n{end}"

    return re.sub(rf"(<!-- ({'|'.join(TABLES)}) -->\n).*?(<!-- /\2 -->)", write, text, flags=re.DOTALL)


def _table(name: str) -> str:
    """Return a table, or the command that measures it if its benchmark has no recorded result."""
    try:
        return TABLES[name]()
    except FileNotFoundError as missing:
        return f"*No result is recorded: `python benchmarks/{Path(missing.filename).stem}.py` measures it.*"


def _short(value: object) -> str:
    """Format a part with its settings, a code with its size, or a plain value."""
    if isinstance(value, Code):
        return f"`{value.name}` ({value.kind}, {value.size})"
    if not isinstance(value, Spec):
        return f"`{json.dumps(value) if isinstance(value, bool) else value}`"
    settings = ", ".join(f"{key} {describe_setting(item)}" for key, item in value.settings.items())
    return f"`{value.name}` ({settings})" if settings else f"`{value.name}`"


if __name__ == "__main__":
    for document in DOCUMENTS:
        document.write_text(updated(document.read_text(encoding="utf-8")), encoding="utf-8")
