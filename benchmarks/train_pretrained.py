"""Train the conditional MNIST generator that ships with the package, judge it, and export it.

    python benchmarks/train_pretrained.py --out DIR

Needs MNIST (GANZOO_DATA_DIR) and takes about an hour on one core. Leaves its run in DIR, where a stopped one goes on,
and writes `ganzoo/runtime/models/mnist.onnx`, with what the judge said of it in its metadata.
"""

import argparse
from pathlib import Path

import ganzoo

VARIANT = "projection-gan"
STEPS = 50_000
SETTINGS = (
    "latent_dim=24",  # the file stays under a megabyte
    "discriminator.width=24",
    'generator_optimizer.lr={from=0.001, to=0.00002, shape="constant-then-linear"}',
    'discriminator_optimizer.lr={from=0.002, to=0.00004, shape="constant-then-linear"}',
    "train.ema=0.9999",
    "train.threads=1",
    "train.checkpoint_every=10000",
)
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
        run = ganzoo.train(VARIANT, "mnist", out=arguments.out, steps=arguments.steps, seed=0, settings=SETTINGS)
    if (run.evaluation() or {}).get("step") != arguments.steps:
        ganzoo.evaluate(run, seeds=1, figures=FIGURES, say=print)
    exported = ganzoo.export(run, PLACE, license="MIT")
    print(f"{exported.path}: {exported.size:,} bytes")
    assert exported.size <= MAX_BYTES


if __name__ == "__main__":
    main()
