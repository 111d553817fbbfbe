"""Run the long fault tests: kills, signals, streams, disks, changed files, hostile files, races, an hour of work.

    python benchmarks/faults.py [-k EXPRESSION]

Runs the tests in tests/faults with the mark `faults`, two at a time, and records for each row the number of cases and
the number with the expected outcome. Rows that `-k` excludes keep their recorded values. All rows together take about
four hours on two cores. Writes benchmarks/results/faults.json.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from provenance import ROOT, add_trial, begin, leave

from ganzoo.errors import MachineError
from ganzoo.files import read_json


def rows_of(report: Path) -> dict[str, dict[str, Any]]:
    """Return the rows in a JUnit report of tests, by the name of the test."""
    rows = {}
    for case in ElementTree.parse(report).iter("testcase"):
        found = {each.attrib["name"]: each.attrib["value"] for each in case.iter("property")}
        if "fault" in found:
            counts = {name: int(found.pop(name)) for name in ("cases", "held")}
            seconds = round(float(case.attrib["time"]))
            rows[f"{case.attrib['classname']}.{case.attrib['name']}"] = {**found, **counts, "seconds": seconds}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-k", default="", metavar="EXPRESSION", help="run only the tests that match, as pytest -k")
    add_trial(parser)
    arguments = parser.parse_args()
    record = begin("faults", arguments.trial)
    recorded = {} if arguments.trial or not arguments.k else (read_json(record.path) or {}).get("rows", {})
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        options = ["-m", "faults", "-k", arguments.k, f"--junitxml={report}", "-o", "junit_family=xunit1"]
        workers = ["--numprocesses", "2", "--dist", "worksteal"]
        command = [sys.executable, "-m", "pytest", "tests/faults", *options, *workers]
        code = subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False).returncode
        if not report.exists():
            leave(MachineError("the tests ended without a report: see the output of pytest above"))
        origin = {name: value for name, value in record.facts.items() if name != "command"}
        rows = {name: {**row, **origin} for name, row in rows_of(report).items()}
    record.write({"rows": dict(sorted({**recorded, **rows}.items()))})
    print("\n".join(f"{row['fault']}: {row['held']} of {row['cases']}" for row in rows.values()))
    raise SystemExit(code)


if __name__ == "__main__":
    main()
