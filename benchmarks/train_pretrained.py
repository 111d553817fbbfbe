"""Train the conditional MNIST generator that ships with the package, judge it, and export it.

    python benchmarks/train_pretrained.py --out DIR

Needs MNIST (GANZOO_DATA_DIR) and takes about half an hour on two cores. Leaves its run in DIR, where a stopped one goes
on, and writes `ganzoo/runtime/models/mnist.onnx`, with what the judge said of it in its metadata.
"""

import argparse
from pathlib import Path

import ganzoo

STEPS = 150_000
WIDTH = 60  # of the perceptron's first layer: the file stays under a megabyte
MAX_BYTES = 1_000_000
FIGURES = ("fid", "classes", "label_accuracy", "cas")
PLACE = Path(ganzoo.__path__[0]) / "runtime" / "models" / "mnist.onnx"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    if arguments.out.exists():
        run = ganzoo.Run.open(arguments.out)
        if run.latest_checkpoint().step < arguments.steps:
            run = ganzoo.resume(run, steps=arguments.steps)
    else:
        settings = [f"generator.width={WIDTH}", "train.threads=1", "train.checkpoint_every=10000"]
        run = ganzoo.train("cgan", "mnist", out=arguments.out, steps=arguments.steps, seed=0, settings=settings)
    if (run.evaluation() or {}).get("step") != arguments.steps:
        ganzoo.evaluate(run, seeds=1, figures=FIGURES, say=print)
    exported = ganzoo.export(run, PLACE, license="MIT")
    print(f"{exported.path}: {exported.size:,} bytes")
    assert exported.size <= MAX_BYTES


if __name__ == "__main__":
    main()
