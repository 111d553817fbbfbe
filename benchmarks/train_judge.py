"""Train a judge that ships with the package, and print what to pin in `PINNED`.

    python benchmarks/train_judge.py [--dataset fashion-mnist]

Needs the data (GANZOO_DATA_DIR). Writes `ganzoo/evaluation/NAME.judge.safetensors`. The seed is fixed; another
processor or torch rounds otherwise and trains a slightly different network, so the file is pinned by its hash, not by
its recipe.
"""

import argparse
import time
from pathlib import Path

import ganzoo.evaluation
from ganzoo import data
from ganzoo.evaluation.classifier import Epoch
from ganzoo.evaluation.judge import EPOCHS, SUFFIX, fit_judge

NAMES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}  # of data sets, and of their judges


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--dataset", choices=NAMES, default="mnist")
    parser.add_argument("--out", type=Path, help="default: where the package has it")
    arguments = parser.parse_args()
    out = arguments.out or Path(ganzoo.evaluation.__path__[0]) / f"{arguments.dataset}{SUFFIX}"
    began = time.monotonic()

    def say(epoch: Epoch) -> None:
        print(
            f"epoch {epoch.epoch:>2}  train {epoch.train_accuracy:.4f}  test {epoch.test_accuracy:.4f}  "
            f"{time.monotonic() - began:.0f} s",
            flush=True,
        )

    train, test = data.load(arguments.dataset), data.load(arguments.dataset, split="test")
    judge = fit_judge(NAMES[arguments.dataset], train, test, out, epochs=arguments.epochs, on_epoch=say)
    print(f"test accuracy {judge.accuracy:.4f}, {out.stat().st_size:,} bytes, SHA-256 {judge.sha256}")


if __name__ == "__main__":
    main()
