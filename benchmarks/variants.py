"""Measure all built-in variants with the same training time, on full MNIST or another data set.

    python benchmarks/variants.py [--variants NAME,...] [--again NAME,...] [--runs DIR]
    python benchmarks/variants.py --minutes 30 --variants NAME,...
    python benchmarks/variants.py --dataset fashion-mnist --minutes 2 --seeds 1 --variants NAME,...

An entry is one variant with one seed. Needs the data (GANZOO_DATA_DIR), an otherwise idle machine and, on two cores,
about seven minutes per entry. The comparison engine trains, evaluates and exports one run per variant, and two more
with other seeds for the variants in REPEATED. The minutes count only training, not evaluation. Runs are also evaluated
during training, to find when the digits were good: at the first point with an FID of at most GOOD. This time is an
upper bound.

You can stop it (Ctrl-C) and start it again, on another day or in another checkout. Each finished entry is kept in
benchmarks/results/variants.json with its commit, machine and date. It is measured again only if `--again` names its
variant, or if `--variants` names it and the commit is a different one. An unfinished entry of the same commit is
resumed from its last checkpoint. The runs are kept in DIR, by commit.

After each entry it also writes ganzoo/zoo/measured.json, the summary that ships with the package, and the picture of
the first seed to docs/images/variants/. Entries with another data set or other minutes than MINUTES have separate files
and pictures, such as variants-30.json (with settings from LONG) or variants-fashion-mnist-2.json, and do not change the
summary that ships.
"""

import argparse
import io
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeAlias

from PIL import Image
from provenance import ROOT, Record, add_trial, begin, leave

from ganzoo import data
from ganzoo.errors import GanzooError, UsageError
from ganzoo.evaluation.judge import load_judge
from ganzoo.evaluation.verdict import verdict
from ganzoo.files import read_json, write_json
from ganzoo.registry import variants
from ganzoo.report.records import RESULTS
from ganzoo.runs.run import Run
from ganzoo.studies.comparison import compare
from ganzoo.zoo.build import generator_labels, image_shape

MINUTES, DATASET = 5.0, "mnist"  # of the results that every variant has
GOOD = 20.0  # FID-MNIST at which most digits are easy to read; real images have 1.3
SEEDS = 3  # of the most used variants
REPEATED = (
    "acgan", "cdcgan", "cgan", "dcgan", "gan", "infogan", "lsgan", "projection-gan", "ragan", "sngan", "wgan",
    "wgan-gp",
)  # fmt: skip
SETTINGS = {"sgan": ("data.labels_per_class=10",)}  # settings that show the purpose of a variant
LONG = {  # settings that use the longer time, by the name of the results and the variant
    ("variants-30", "ragan"): (
        *("generator.width=24", "discriminator.width=24", "data.batch_size=128"),
        *(
            f'{player}_optimizer.lr={{from=0.002, to=0.0002, shape="constant-then-linear", over=12000}}'
            for player in ("generator", "discriminator")
        ),
    )
}
CUT = 5  # rows of a picture to keep, or columns if its rows are classes
SUMMARY = "ganzoo/zoo/measured.json"
KEPT = (
    "variant", "seed", "status", "error", "n", "figures", "floors", "steps", "epochs", "seconds",
    "images_per_s", "generator_parameters", "discriminator_parameters", "onnx_bytes", "latency_ms", "curve",
)  # fmt: skip
FIXED = ("settings", "generator_parameters", "discriminator_parameters", "codes", "floors")  # the same for all seeds

Json: TypeAlias = dict[str, Any]


def list_entries(names: Sequence[str], seeds: int | None = None) -> list[tuple[str, int]]:
    """Return the entries of these variants, seed by seed, as the benchmark may be stopped."""
    most = SEEDS if seeds is None else seeds
    return [(name, seed) for seed in range(most) for name in names if seed == 0 or name in REPEATED]


def name_results(minutes: float, dataset: str) -> str:
    """Return the name of the result file for a budget and a data set."""
    other = [] if dataset == DATASET else [re.sub(r"\W+", "-", dataset)]
    return "-".join(["variants", *other, *([] if minutes == MINUTES else [f"{minutes:g}"])])


def measure(variant: str, seed: int, place: Path, minutes: float, dataset: str) -> Json:
    """Train and evaluate a variant with one seed in `place`, or continue there; return its entry."""
    settings = [*SETTINGS.get(variant, ()), *LONG.get((name_results(minutes, dataset), variant), ())]
    if (place / RESULTS).exists():  # from an entry that is measured again
        place.rename(place.with_name(f"{place.name}-{time.time_ns()}"))
    results = compare(
        out=place,
        variants=[variant],
        first_seed=seed,
        seeds=1,
        minutes=minutes,
        dataset=dataset,
        settings=["train.device=cpu", *settings],
        say=print,
    )
    (row,) = results["rows"]
    entry = {**{key: row[key] for key in KEPT if key in row}, "settings": settings}
    if row["status"] != "done":
        return entry
    run = Run.open(place / row["run"])
    evaluation = run.read_evaluation()
    assert evaluation is not None, "the engine evaluates each run"
    return {**entry, "threads": run.config.chosen.threads, "codes": [code.to_json() for code in evaluation.codes]}


def count_cores(entry: Json) -> str:
    return f"{entry['cores']} core{'' if entry['cores'] == 1 else 's'}"


def draw_picture(run: Run) -> bytes:
    """Return a part of the run's last picture as PNG: `CUT` columns if each row is a class or code, else `CUT` rows."""
    picture = Image.open(run.samples / "final.png")
    _, height, width = image_shape(run.config)
    of_labels = generator_labels(run.config) is not None
    right = CUT * (width + 2) - 2 if of_labels else picture.width  # 2 pixels between images
    lower = picture.height if of_labels else CUT * (height + 2) - 2
    buffer = io.BytesIO()
    picture.crop((0, 0, min(right, picture.width), min(lower, picture.height))).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def summarise(entries: Sequence[Json]) -> Json:
    """Return a variant's row: each number over the finished seeds, or the error if there are none."""
    done = [entry for entry in entries if entry["status"] == "done"]
    row = {"variant": entries[0]["variant"], "seeds": len(done), "failed": len(entries) - len(done)}
    if not done:
        return {**row, "error": entries[0]["error"]}
    shared = [key for key in done[0]["figures"] if all(key in entry["figures"] for entry in done)]  # some are older
    return {
        **row,
        "figures": {key: spread([entry["figures"][key] for entry in done]) for key in shared},
        **{key: fmean(entry[key] for entry in done) for key in ("images_per_s", "epochs", "onnx_bytes")},
        **{key: done[0][key] for key in FIXED},
        "latency_ms": {batch: fmean(entry["latency_ms"][batch] for entry in done) for batch in done[0]["latency_ms"]},
        "minutes_to_good": minutes_to_good([entry["curve"] for entry in done]),
        "verdict": join_words([verdict(entry["figures"], entry["floors"]).word for entry in done]),
        "revision": join(entry["commit"][:7] for entry in done),
        "machine": join(f"{count_cores(entry)} of {entry['machine']}, torch {entry['torch']}" for entry in done),
    }


def recipe_of(entry: Json) -> list[Any]:
    """Return the network sizes and settings of an entry, in which entries of previous recipes differ."""
    return [entry.get(key) for key in ("generator_parameters", "discriminator_parameters", "settings")]


def spread(values: Sequence[float]) -> Json:
    """Return the mean, minimum and maximum of values."""
    return {"mean": fmean(values), "least": min(values), "greatest": max(values)}


def minutes_to_good(curves: Sequence[Sequence[Json]]) -> float | None:
    """Return the minutes until the FID was first at most GOOD: the median over the seeds, None for never."""
    first = [min((point["seconds"] for point in curve if point["fid"] <= GOOD), default=inf) for curve in curves]
    middle = median(first)
    return None if middle == inf else middle / 60


def join(words: Iterable[str]) -> str:
    """Join words without duplicates, in order."""
    return ", ".join(dict.fromkeys(words))


def join_words(words: Sequence[str]) -> str:
    """Return the verdict of all seeds, or each verdict with its count if they differ."""
    counts = Counter(words).most_common()
    return words[0] if len(counts) == 1 else ", ".join(f"{word} {count}" for word, count in counts)


def package_summary(table: Sequence[Json], conditions: Json) -> Json:
    """Return the summary that ships with the package: the means of the measured variants."""
    done = [row for row in table if row["seeds"]]
    about = {"machine": join(row["machine"] for row in done), **conditions}
    return {"about": about, "variants": {row["variant"]: package_row(row) for row in done}}


def package_row(row: Json) -> Json:
    """Return a variant's means, with None for metrics that it does not have."""
    figures = {key: row["figures"].get(key, {}).get("mean") for key in ("fid", "coverage", "label_accuracy")}
    costs = ("images_per_s", "generator_parameters", "discriminator_parameters")
    return {**figures, **{key: row[key] for key in (*costs, "minutes_to_good", "verdict", "revision")}}


class Results:
    """The result file: entries by variant and seed, all with the same budget, data set and judge."""

    def __init__(self, record: Record, minutes: float, dataset: str) -> None:
        """Read the recorded entries. Raises UsageError if their budget, data set or judge is another one."""
        self.record = record
        self.name = name_results(minutes, dataset)
        found = data.load(dataset)
        judge = load_judge(found.source, sha256=found.sha256)
        self.conditions = {"minutes": minutes, "dataset": dataset, "judge": judge.describe().to_json()}
        recorded = (read_json(record.path) if record.path.is_file() else None) or {}
        differ = [key for key, value in self.conditions.items() if recorded and recorded.get(key) != value]
        if differ:
            raise UsageError(
                f"{record.path} has entries with another value of {' and '.join(differ)}: use the same value, or write "
                "to another file with --trial FILE"
            )
        self.entries = {(entry["variant"], entry["seed"]): entry for entry in recorded.get("rows", ())}

    def is_due(self, variant: str, seed: int, *, named: bool, again: bool) -> bool:
        """Return whether to measure an entry: it is missing, or failed, or is requested again."""
        entry = self.entries.get((variant, seed))
        if entry is None or entry["status"] != "done" or again:
            return True
        return named and bool(entry["commit"] != self.record.facts["commit"])

    def add(self, entry: Json) -> None:
        """Add an entry, drop entries of its variant's previous recipe, and write the results."""
        origin = {**self.record.facts, "date": datetime.now(UTC).date().isoformat()}
        if entry["status"] == "done":
            self.entries = {
                key: other
                for key, other in self.entries.items()
                if key[0] != entry["variant"] or recipe_of(other) == recipe_of(entry)
            }
        self.entries[entry["variant"], entry["seed"]] = {**entry, **origin}
        self.write()

    def write(self) -> None:
        """Write the result file and, with the default minutes and data set, the summary that ships."""
        rows = [self.entries[key] for key in sorted(self.entries)]
        names = dict.fromkeys(row["variant"] for row in rows)
        table = [summarise([row for row in rows if row["variant"] == name]) for name in names]
        write_json(self.record.path, {**self.conditions, "good": GOOD, "variants": table, "rows": rows})
        if self.name != "variants":
            return
        about = {key: self.conditions[key] for key in ("minutes", "dataset")}
        summary = package_summary(table, {**about, "good": GOOD})
        self.record.publish(SUMMARY, (json.dumps(summary, indent=1) + "\n").encode())


def measure_all(record: Record, arguments: argparse.Namespace) -> None:
    """Measure the due entries, and write each one when it is finished."""
    named, again = names_in(arguments.variants), names_in(arguments.again)
    results = Results(record, arguments.minutes, arguments.dataset)
    built_in = [name for name in variants if variants.owner(name).startswith("ganzoo.")]
    for variant, seed in list_entries(named or built_in, arguments.seeds):
        name = f"{variant}-seed{seed}"
        if not results.is_due(variant, seed, named=variant in named, again=variant in again):
            print(f"{name} is recorded already, at commit {results.entries[variant, seed]['commit'][:7]}")
            continue
        place = arguments.runs / record.facts["commit"] / results.name / name
        entry = measure(variant, seed, place, arguments.minutes, arguments.dataset)
        if seed == 0 and entry["status"] == "done":
            record.publish(f"docs/images/{results.name}/{variant}.png", draw_picture(Run.open(place / "runs" / name)))
        results.add(entry)
    print(f"{len(results.entries)} entries in {record.path}")


def names_in(words: str | None) -> list[str]:
    """Return the variants that an option names. Raises UsageError if one is not registered."""
    return [] if words is None else [variants.canonical(name) for name in words.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of training, per entry (default: 5)")
    parser.add_argument("--variants", help="measure only these, separated by commas (default: all built-in variants)")
    parser.add_argument("--again", help="measure these again, even if they are recorded")
    parser.add_argument("--dataset", default=DATASET)
    parser.add_argument("--seeds", type=int, help="maximum per variant (default: 3 for the most used variants, else 1)")
    parser.add_argument("--runs", type=Path, default=ROOT / "build" / "variants", metavar="DIR")
    add_trial(parser)
    arguments = parser.parse_args()
    record = begin(name_results(arguments.minutes, arguments.dataset), arguments.trial)
    try:
        measure_all(record, arguments)
    except (GanzooError, KeyboardInterrupt) as error:
        leave(error)


if __name__ == "__main__":
    main()
