"""Measure PyTorch-GAN's scripts after five minutes on full MNIST, with the same judge as ganzoo's variants.

    python benchmarks/peers.py CHECKOUT [--minutes 5] [--out DIR]

Needs MNIST (GANZOO_DATA_DIR), an otherwise idle machine and a checkout of eriklindernoren/PyTorch-GAN, whose `dcgan`,
`wgan_gp` and `cgan` run unmodified (see peer.py). Each is evaluated with 10,000 images, as benchmarks/variants.py
evaluates ganzoo's variants; the better of the script's two ways of drawing counts. Runs of the same commit that are
already in DIR are not repeated. Writes benchmarks/results/peers.json.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from provenance import ROOT, add_trial, begin

import ganzoo
from ganzoo.evaluation.evaluator import N

PEERS = {"dcgan": False, "wgan_gp": False, "cgan": True}  # by script: whether it is conditional
FIGURES = ("fid", "kid", "precision", "recall", "density", "coverage", "classes")
LABEL_FIGURES = ("label_accuracy", "cas")


def peer(checkout: Path, script: str, minutes: float, out: Path) -> dict[str, Any]:
    """Run one script of the checkout, unless its images exist, and evaluate its images."""
    if not (out / "peer.json").exists():
        command = [sys.executable, str(Path(__file__).with_name("peer.py")), str(checkout), script]
        subprocess.run([*command, "--minutes", str(minutes), "--out", str(out)], check=True)
    keys = (*FIGURES, *(LABEL_FIGURES if PEERS[script] else ()))
    judged = {
        mode: ganzoo.evaluate(out / f"{mode}-mode.npz", dataset="mnist", n=N, figures=keys).to_json()
        for mode in ("training", "evaluation")
    }
    better = min(judged, key=lambda mode: judged[mode]["figures"]["fid"]["mean"])
    figures = {key: value["mean"] for key, value in judged[better]["figures"].items()}
    other = {mode: found["figures"]["fid"]["mean"] for mode, found in judged.items()}
    return {**json.loads((out / "peer.json").read_text()), "mode": better, "fid_by_mode": other, "figures": figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, metavar="CHECKOUT")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "peers", metavar="DIR")
    add_trial(parser)
    arguments = parser.parse_args()
    record = begin("peers", arguments.trial)
    record.claim(arguments.out)
    rows = [peer(arguments.checkout, script, arguments.minutes, arguments.out / script) for script in PEERS]
    record.write({"peers": rows})
    for row in rows:
        print(f"{row['script']:<11}{row['minutes']:>3.0f} min  FID-MNIST {row['figures']['fid']:.2f}")


if __name__ == "__main__":
    main()
