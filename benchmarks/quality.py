"""What the variants reach in a given time on full MNIST, beside PyTorch-GAN's scripts, all before one judge.

    python benchmarks/quality.py [--peer CHECKOUT] [--out DIR] [--seeds 1] [--best gan]

Needs MNIST (GANZOO_DATA_DIR) and a machine with nothing else to do. Ours are the comparison engine: every variant for 5
minutes, the best unconditional one for 30, `cgan` for 10. With a checkout of eriklindernoren/PyTorch-GAN its `dcgan`,
`wgan_gp` and `cgan` run unmodified for 5 minutes each (see peer.py); of their two ways of drawing the better counts.
What is in DIR already, of the same commit, is not done again. Writes `benchmarks/results/quality.json`, and the
pictures of the runs of 5 minutes to `docs/images/`.
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
from ganzoo.runs.run import Run
from ganzoo.studies.comparison import compare

PEERS = {"dcgan": False, "wgan_gp": False, "cgan": True}  # whether it is conditional
FIGURES = ("fid", "kid", "precision", "recall", "density", "coverage", "classes")
LABEL_FIGURES = ("label_accuracy", "cas")
KEPT = (
    "name", "variant", "seed", "status", "error", "n", "figures", "floors", "verdict", "steps", "epochs", "seconds",
    "images_per_s", "generator_parameters", "onnx_bytes", "latency_ms", "curve",
)  # fmt: skip


def peer(checkout: Path, script: str, minutes: float, out: Path) -> dict[str, Any]:
    """Run one script of the checkout, unless that was done, and judge what it draws."""
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


def ours(out: Path, variants: list[str], minutes: float, seeds: int) -> list[dict[str, Any]]:
    results = compare(out=out, variants=variants, minutes=minutes, seeds=seeds, dataset="mnist", say=print)
    return [
        {"minutes": minutes, "threads": Run.open(out / row["run"]).config.train.threads}
        | {key: row[key] for key in KEPT if key in row}
        for row in results["rows"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=None, metavar="CHECKOUT")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "quality")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--variants", default="gan,dcgan,wgan-gp,cgan", help="for 5 minutes")
    parser.add_argument("--best", default="gan", help="the unconditional variant for 30 minutes")
    parser.add_argument("--short", action="store_true", help="leave out the runs of 10 and 30 minutes")
    add_trial(parser)
    arguments = parser.parse_args()
    record = begin("quality", arguments.trial, hidden=arguments.peer)
    record.claim(arguments.out)
    rows = ours(arguments.out / "five", arguments.variants.split(","), 5, arguments.seeds)
    if not arguments.short:
        rows += ours(arguments.out / "ten", ["cgan"], 10, arguments.seeds)
        rows += ours(arguments.out / "thirty", [arguments.best], 30, arguments.seeds)
    peers = []
    if arguments.peer is not None:
        peers = [peer(arguments.peer, script, 5, arguments.out / "peers" / script) for script in PEERS]
    record.write({"ours": rows, "peers": peers})
    for row in rows:
        if row["minutes"] == 5 and row.get("seed") == 0:
            final = arguments.out / "five" / "runs" / row["name"] / "samples" / "final.png"
            record.write_picture(f"{row['variant']}.png", final.read_bytes())
    for row in rows:
        figures = row.get("figures", {})
        print(f"{row['name']:<16}{row['minutes']:>3} min  FID-MNIST {figures.get('fid', float('nan')):.2f}")
    for row in peers:
        print(f"peer {row['script']:<11}{row['minutes']:>3.0f} min  FID-MNIST {row['figures']['fid']:.2f}")


if __name__ == "__main__":
    main()
