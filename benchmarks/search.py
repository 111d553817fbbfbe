"""Search settings that improve a variant in the same time, by successive halving.

    python benchmarks/search.py benchmarks/search/wgan-gp.toml [--runs DIR] [--jobs 2]

The file lists the variant, the ideas (settings, as after `--set`), and the rungs (minutes of training on one thread).
After each rung, the best share of the ideas (`keep`) continues training. Two ideas train at a time, each on one thread;
five minutes on two threads correspond to about eight on one. Each idea is evaluated with 10,000 images after each rung.
Needs MNIST (GANZOO_DATA_DIR) and an otherwise idle machine.

You can stop the search and start it again: recorded rows are not measured again at the same commit. The result is
benchmarks/results/search-NAME.json with a row per idea and rung, each with its commit. Rows of other commits are kept,
but not compared. A search uses one seed; confirm its result with `benchmarks/variants.py`.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from provenance import ROOT, Record, add_trial, begin, leave

from ganzoo.errors import GanzooError, MachineError, UsageError
from ganzoo.files import read_json
from ganzoo.runs.run import Run

FIGURES = ("fid", "coverage", "density")
ENOUGH = 0.001  # minutes; a shorter remaining time is not trained
IMAGES = 10_000  # generated for each evaluation

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Search:
    """Definition of a search: a variant, settings by the name of an idea, and the rungs."""

    variant: str
    ideas: Mapping[str, Sequence[str]]
    rungs: Sequence[float]  # minutes on one thread, ascending
    keep: float  # the share of the ideas that continues after a rung
    dataset: str = "mnist"
    seed: int = 0

    @classmethod
    def read(cls, path: Path) -> "Search":
        """Read a search from a file. Raises UsageError if the file does not exist or is not valid."""
        try:
            found = cls(**tomllib.loads(path.read_text(encoding="utf-8")))
        except (OSError, tomllib.TOMLDecodeError, TypeError) as error:
            raise UsageError(f"{path}: {error}") from None
        if not found.ideas or list(found.rungs) != sorted(set(found.rungs)) or not 0 < found.keep < 1:
            raise UsageError(f"{path}: expected ideas, ascending rungs, and keep between 0 and 1")
        return found


class Results:
    """The measured rows, by idea and rung."""

    def __init__(self, record: Record, search: Search) -> None:
        self.record, self.search = record, search
        recorded = (read_json(record.path) if record.path.is_file() else None) or {}
        rows = [{"commit": recorded.get("commit"), **row} for row in recorded.get("rows", ()) if "error" not in row]
        now = record.facts["commit"]
        self.others = [row for row in rows if row["commit"] != now]
        self.rows = {(row["idea"], row["minutes"]): row for row in rows if row["commit"] == now}

    def add(self, row: Json) -> None:
        """Add a row, and write all rows."""
        self.rows[row["idea"], row["minutes"]] = {**row, "commit": self.record.facts["commit"]}
        rows = [*self.others, *self.rows.values()]
        rows.sort(key=lambda row: (row["minutes"], row.get("fid") or math.inf))
        about = {"variant": self.search.variant, "dataset": self.search.dataset, "seed": self.search.seed}
        self.record.write({**about, "threads": 1, "images": IMAGES, "rows": rows})

    def best(self, ideas: Sequence[str], minutes: float) -> list[str]:
        """Return the ideas that continue after a rung, the best first and failed ones last."""
        ranked = sorted(ideas, key=lambda idea: self.rows[idea, minutes].get("fid") or math.inf)
        return ranked[: max(1, math.ceil(len(ranked) * self.search.keep))]


def call(*words: str) -> Json:
    """Run a command of ganzoo on one thread, and return its JSON output. Raises MachineError if it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "ganzoo_cli", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise MachineError((done.stderr.strip().splitlines() or [f"ended with exit code {done.returncode}"])[-1])
    answer: Json = json.loads(done.stdout)
    return answer


def measure(search: Search, minutes: float, place: Path, idea: str) -> Json:
    """Train an idea up to `minutes`, evaluate it, and return its row."""
    run, settings = place / idea.replace(" ", "-").replace("/", "-"), list(search.ideas[idea])
    row: Json = {"idea": idea, "settings": settings, "minutes": minutes}
    try:
        if not (run / "config.toml").exists():
            words = ["--variant", search.variant, "--dataset", search.dataset, "--seed", str(search.seed)]
            sets = [word for setting in ("train.device=cpu", *settings) for word in ("--set", setting)]
            trained = call("train", *words, *sets, "--threads", "1", "--minutes", str(minutes), "--out", str(run))
        else:
            latest = Run.open(run).latest_checkpoint()
            trained = {"step": latest.step}
            left = minutes - float(latest.state()["seconds"]) / 60
            if left > ENOUGH:
                trained = call("resume", str(run), "--minutes", str(left))
        judged = call("evaluate", str(run), "--n", str(IMAGES), "--seeds", "1", "--figures", ",".join(FIGURES))
        figures = {key: value["mean"] for key, value in judged["figures"].items()}
        return {**row, "steps": trained["step"], **figures}
    except GanzooError as error:
        return {**row, "error": str(error)}


def search_all(record: Record, search: Search, place: Path, jobs: int) -> None:
    """Measure all rungs, each with the best ideas of the previous one."""
    results, ideas = Results(record, search), list(search.ideas)
    for minutes in search.rungs:
        due = [idea for idea in ideas if (idea, minutes) not in results.rows]
        print(f"{minutes:g} minutes: {len(ideas)} ideas, {len(due)} of them to measure", flush=True)
        with ThreadPoolExecutor(jobs) as pool:
            for row in pool.map(partial(measure, search, minutes, place), due):
                results.add(row)
                print(f"  {row.get('fid', math.nan):8.2f}  {row['idea']}  {row.get('error', '')}", flush=True)
        if all("fid" not in results.rows[idea, minutes] for idea in ideas):
            raise UsageError("all ideas failed: see the errors above")
        ideas = results.best(ideas, minutes)
    print(f"best: {ideas[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a TOML file with the search")
    parser.add_argument("--runs", type=Path, default=ROOT / "build" / "search", metavar="DIR")
    parser.add_argument("--jobs", type=int, default=2, help="ideas that train at a time (default: 2)")
    add_trial(parser)
    arguments = parser.parse_args()
    record = begin(f"search-{arguments.file.stem}", arguments.trial)
    try:
        search = Search.read(arguments.file)
        place = arguments.runs / record.facts["commit"] / arguments.file.stem
        search_all(record, search, place, arguments.jobs)
    except (GanzooError, KeyboardInterrupt) as error:
        leave(error)


if __name__ == "__main__":
    main()
