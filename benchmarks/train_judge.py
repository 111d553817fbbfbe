"""Train a judge that ships with the package, and print the hash for `PINNED`.

    python benchmarks/train_judge.py [--dataset fashion-mnist]

Needs the data (GANZOO_DATA_DIR). Writes `ganzoo/evaluation/NAME.judge.safetensors`. The seed is fixed, but
rounding depends on the processor and the version of torch. Other machines train slightly different networks, so the
file is pinned by its hash.
"""

import argparse
import time
from pathlib import Path

import ganzoo.evaluation
from ganzoo import data
from ganzoo.evaluation.classifier import Epoch
from ganzoo.evaluation.judge import EPOCHS, SUFFIX, fit_judge

NAMES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}  # of judges, by data set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--dataset", choices=NAMES, default="mnist")
    parser.add_argument("--out", type=Path, help="default: the judge's file in the package")
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
