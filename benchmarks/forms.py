"""Export and verify each registered variant in each form: nodes, bytes, difference from torch, seconds.

    python benchmarks/forms.py [--variants NAME,...] [--dataset mnist] [--minutes 2]

The variants come from the registry, and the forms from the tables of `ganzoo.runtime.forms`. Each variant is trained
for `--minutes` and evaluated, to show that the exported generators draw digits: the FID is recorded with that of real
images. A form that fails is recorded as a row. The benchmark also measures the effect of `ganzoo.exporting.lean`: the
speedup of the rewritten graph over the one that torch exports, in turns. Writes benchmarks/results/forms.json.

With the defaults it needs MNIST (GANZOO_DATA_DIR), an otherwise idle machine and, on two cores, about four minutes per
variant.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from provenance import add_trial, begin

import ganzoo
from ganzoo.errors import first_line
from ganzoo.exporting import exporter
from ganzoo.registry import variants
from ganzoo.runs.run import Run
from ganzoo.runtime.forms import Form
from ganzoo.studies.benchmark import benchmark_runtime
from ganzoo.studies.contestants import PLAIN, every_form

BATCHES = (1, 64)  # batch sizes at which the graphs are compared


def judge(run: Run) -> dict[str, Any]:
    """Return the steps of a run and its FID, with the FID of real images."""
    evaluation = ganzoo.evaluate(run, figures=("fid",), seeds=1)
    return {
        "steps": run.latest_checkpoint().step,
        "images": evaluation.n,
        "fid": evaluation.mean("fid"),
        "floor": evaluation.floors["fid"],
    }


def row_of(run: Run, name: str, form: Form) -> dict[str, Any]:
    """Export and verify one form of a run; return its row, with the error if it fails."""
    row = {"form": name, "precision": form.precision, "layout": form.layout}
    began = time.monotonic()
    try:
        rendered = exporter.render(run, form, judged=form.layout == Form().layout)  # layouts do not change metrics
    except Exception as error:  # of any kind: continue with the other forms
        return {**row, "error": first_line(error)}
    parity = rendered.parity
    return {
        **row,
        "seconds": time.monotonic() - began,
        "nodes": rendered.nodes,
        "bytes": len(rendered.data),
        "difference": parity.difference,
        "grey_levels": parity.grey_levels,
        "mean_grey_levels": parity.mean_grey_levels,
        "figure": rendered.figure,
    }


def compare_graphs(run: Run) -> dict[str, Any]:
    """Compare the file with torch's graph and the file with the rewritten graph: size, difference and speedup."""
    contestants = {
        one.name: one
        for one in benchmark_runtime(
            [run.path],
            forms=[Form().precision, PLAIN],
            batches=BATCHES,
            seconds=0.3,
            repeats=9,
            compiled=False,
            starts=False,
        )
        .models[0]
        .contestants
    }
    plain, rewritten = contestants[PLAIN], contestants[Form().precision]
    return {
        **{
            stage: {"nodes": one.nodes, "bytes": one.bytes, "difference": one.difference}
            for stage, one in (("plain", plain), ("rewritten", rewritten))
        },
        "times_faster": {str(row.batch): row.times_faster_than[PLAIN].to_json() for row in rewritten.batches},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", help="separated by commas (default: all)")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--minutes", type=float, default=2.0, help="of training, per variant (default: 2)")
    add_trial(parser)
    arguments = parser.parse_args()
    record = begin("forms", arguments.trial)
    names = list(variants) if arguments.variants is None else arguments.variants.split(",")
    rows: list[dict[str, Any]] = []
    for variant in names:
        with tempfile.TemporaryDirectory() as place:
            run = ganzoo.train(
                variant, arguments.dataset, out=Path(place) / "run", minutes=arguments.minutes, progress=False
            )
            rows.append({"variant": variant, **judge(run), "graphs": compare_graphs(run), "forms": []})
            for name, form in every_form().items():
                print(f"{variant}: {name}", file=sys.stderr)
                rows[-1]["forms"].append(row_of(run, name, form))
        record.write({"dataset": arguments.dataset, "minutes": arguments.minutes, "rows": rows})


if __name__ == "__main__":
    main()
