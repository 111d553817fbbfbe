"""Train, evaluate and export the conditional MNIST generator that ships with the package.

    python benchmarks/train_pretrained.py --out DIR

Needs MNIST (GANZOO_DATA_DIR) and takes about twenty minutes. The run is in DIR; if it was stopped, the same command
continues it. Writes `ganzoo/runtime/models/mnist.onnx`, with the evaluation in its metadata. The previous generator,
`mnist-v1.onnx`, is a perceptron.
"""

import argparse
from pathlib import Path

import ganzoo

VARIANT = "projection-gan"
STEPS = 13_000
SEED = 1
SETTINGS = ("data.batch_size=128", "train.threads=1", "train.checkpoint_every=5000")
PRECISION = "fp16-weights"  # the file stays under a megabyte
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
        run = ganzoo.train(VARIANT, "mnist", out=arguments.out, steps=arguments.steps, seed=SEED, settings=SETTINGS)
    if (run.evaluation() or {}).get("step") != arguments.steps:
        ganzoo.evaluate(run, seeds=1, figures=FIGURES, say=print)
    exported = ganzoo.export(run, PLACE, precision=PRECISION, license="MIT")
    print(f"{exported.path}: {exported.size:,} bytes")
    assert exported.size <= MAX_BYTES


if __name__ == "__main__":
    main()
