"""Every variant trained for the same time on full MNIST: images a second, and a grid to look at.

    python benchmarks/five_minutes.py [--minutes 5] [--variants gan,dcgan] [--out DIR]

Needs MNIST (GANZOO_DATA_DIR). Nothing else should run on the machine. Writes its rows into
`benchmarks/results/five_minutes.json` and one picture a variant to `docs/images/`.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import ganzoo
from ganzoo.registry import variants

ROOT = Path(__file__).parent.parent


def measure(variant: str, minutes: float, directory: Path) -> dict[str, Any]:
    """Train, keep the final picture, and report the rate up to the last log line: all images over all seconds."""
    run = ganzoo.train(variant, dataset="mnist", minutes=minutes, out=directory / variant)
    last, config = run.metrics()[-1], run.config
    (ROOT / "docs" / "images").mkdir(parents=True, exist_ok=True)
    shutil.copy(run.samples / "final.png", ROOT / "docs" / "images" / f"{variant}.png")
    images = last["step"] * config.variant.critic_steps * config.data.batch_size
    return {
        "variant": variant,
        "minutes": minutes,
        "steps": last["step"],
        "epochs": round(last["epoch"], 2),
        "images_per_s": round(images / last["seconds"]),
        "precision": config.train.precision,
        "device": run.environment()["device"],
        "threads": config.train.threads,
        "torch": run.environment()["packages"]["torch"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--variants", default=",".join(variants))
    parser.add_argument("--out", type=Path, default=None, help="keep the runs here")
    arguments = parser.parse_args()
    directory = arguments.out or Path(tempfile.mkdtemp())
    rows = [measure(variant, arguments.minutes, directory) for variant in arguments.variants.split(",")]
    results = ROOT / "benchmarks" / "results" / "five_minutes.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    former = json.loads(results.read_text(encoding="utf-8")) if results.exists() else []
    kept = [row for row in former if row["variant"] not in {row["variant"] for row in rows}]
    merged = sorted([*kept, *rows], key=lambda row: str(row["variant"]))
    results.write_text(json.dumps(merged, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print(f"{row['variant']:<10}{row['images_per_s']:>8,} images/s{row['epochs']:>8} epochs")


if __name__ == "__main__":
    main()
