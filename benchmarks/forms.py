"""Every registered variant, exported and verified in every form: nodes, bytes, how far from torch, seconds.

    python benchmarks/forms.py [--variants NAME,...] [--dataset mnist] [--minutes 2]

The variants come from the registry, the forms from the tables of `ganzoo.runtime.forms`. Each variant is trained for
some minutes and judged, so that the files are those of generators that draw digits: the Fréchet distance is recorded
beside its floor. A form that fails is a row. Beside the forms stands what the rewriting of `ganzoo.exporting.lean` is
worth: the graph as torch's exporter leaves it, and as the file has it. Writes benchmarks/results/forms.json.

With the defaults it needs MNIST (GANZOO_DATA_DIR) and, on two cores, about four minutes per variant.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import onnx
from provenance import add_trial, begin

import ganzoo
from ganzoo.errors import first_line
from ganzoo.exporting import exporter
from ganzoo.exporting.lean import lean
from ganzoo.registry import variants
from ganzoo.runs.opening import load_network
from ganzoo.runs.run import Run
from ganzoo.runtime.forms import Form
from ganzoo.studies.contestants import every_form
from ganzoo.zoo.networks.fused import fuse


def judge(run: Run) -> dict[str, Any]:
    """Return how long a run was trained and how near its images are to real ones, as the judge sees it."""
    evaluation = ganzoo.evaluate(run, figures=("fid",), seeds=1)
    return {
        "steps": run.latest_checkpoint().step,
        "images": evaluation.n,
        "fid": evaluation.mean("fid"),
        "floor": evaluation.floors["fid"],
    }


def row_of(run: Run, name: str, form: Form) -> dict[str, Any]:
    """One form of a run; where it fails, why."""
    row = {"form": name, "precision": form.precision, "layout": form.layout}
    began = time.monotonic()
    try:
        rendered = exporter.render(run, form, judged=form.layout == Form().layout)  # layouts change no figure
    except Exception as error:  # of whatever kind: the others go on
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


def graphs_of(run: Run) -> dict[str, Any]:
    """The graph before and after it is rewritten; its bytes without the metadata, stack traces and the like."""
    network, config, _ = load_network(run)
    fuse(network, False)
    translated = exporter.translate(network, config, Form().opset)
    rewritten = lean(translated)
    return {
        stage: {"nodes": len(model.graph.node), "bytes": _bytes(model)}
        for stage, model in (("translated", translated), ("lean", rewritten))
    }


def _bytes(model: onnx.ModelProto) -> int:
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    exporter.strip(plain)
    return len(plain.SerializeToString())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", help="all by default")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--minutes", type=float, default=2.0, help="of training, per variant")
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
            rows.append({"variant": variant, **judge(run), "graphs": graphs_of(run), "forms": []})
            for name, form in every_form().items():
                print(f"{variant}: {name}", file=sys.stderr)
                rows[-1]["forms"].append(row_of(run, name, form))
        record.write({"dataset": arguments.dataset, "minutes": arguments.minutes, "rows": rows})


if __name__ == "__main__":
    main()
