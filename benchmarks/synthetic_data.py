"""Measure whether generated images help a classifier with few real ones: runs `ganzoo.studies.synthetic_data`.

    python benchmarks/synthetic_data.py [--dataset mnist] [--seeds 5] [--out DIR]

Needs MNIST (GANZOO_DATA_DIR) and, on two cores, about half an hour. Rows of the same commit that are already in DIR are
not measured again. Writes benchmarks/results/synthetic_data.json.
"""

import argparse
from pathlib import Path

from provenance import ROOT, add_trial, begin

from ganzoo.evaluation.reference import load_splits
from ganzoo.files import read_json
from ganzoo.studies.synthetic_data import study_synthetic_data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "synthetic-data", metavar="DIR")
    add_trial(parser)
    arguments = parser.parse_args()
    record = begin("synthetic_data", arguments.trial)
    record.claim(arguments.out)
    splits = load_splits(arguments.dataset)
    path = arguments.out / "synthetic_data.json"
    study_synthetic_data(splits, path, seeds=arguments.seeds, say=print)
    record.write({"dataset": splits.train.source, **(read_json(path) or {})})


if __name__ == "__main__":
    main()
