"""Run one unmodified script of eriklindernoren/PyTorch-GAN for a given time, and save images of its generator.

    python benchmarks/peer.py CHECKOUT dcgan --minutes 5 --out DIR

CHECKOUT is a copy of that repository. The script runs with its defaults and is stopped by a timer, which starts when
torch and torchvision are imported and the data are on disk. The generator then draws 10,000 images twice: as the script
does (batch norm with the statistics of each batch), and in evaluation mode. Writes `training-mode.npz`,
`evaluation-mode.npz` and `peer.json` to DIR.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import nn

from ganzoo.data.torchvision_compat import load_torchvision
from ganzoo.runtime.images import save_npz
from ganzoo.runtime.pixels import to_uint8

IMAGES, BATCH = 10_000, 100


class TimeIsUp(BaseException):
    """The time is up. Not an Exception, so that a script does not catch it."""


@contextlib.contextmanager
def workplace(script: str) -> Iterator[Path]:
    """Create a temporary directory with MNIST, in which a script can run and write; yield it, then remove it."""
    with tempfile.TemporaryDirectory() as scratch:
        (place := Path(scratch) / "implementations" / script).mkdir(parents=True)
        (Path(scratch) / "data" / "mnist").mkdir(parents=True)
        raw = Path(os.environ["GANZOO_DATA_DIR"]).resolve() / "MNIST"
        (Path(scratch) / "data" / "mnist" / "MNIST").symlink_to(raw)
        yield place


def train(script: Path, seconds: float) -> dict[str, Any]:
    """Import the script, which trains, stop it when the time is up, and return its variables."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TimeIsUp

    spec = spec_from_file_location(script.stem, script)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.argv, sys.dont_write_bytecode = [script.name], True  # write nothing to the checkout
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    with contextlib.suppress(TimeIsUp), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123
        spec.loader.exec_module(module)
    signal.setitimer(signal.ITIMER_REAL, 0)
    return vars(module)


@torch.no_grad()
def draw(generator: nn.Module, latent_dim: int, conditional: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Return images, uint8 `[N, H, W, 1]`, and the requested labels 0, 1, ..., 9, 0, ...; None if not conditional."""
    labels = torch.arange(IMAGES) % 10
    noise = torch.randn(IMAGES, latent_dim, generator=torch.Generator().manual_seed(0))
    images = []
    for z, y in zip(torch.split(noise, BATCH), torch.split(labels, BATCH), strict=True):
        images.append(generator(z, y) if conditional else generator(z))
    return to_uint8(torch.cat(images).numpy()), labels.numpy() if conditional else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("script", choices=["dcgan", "wgan_gp", "cgan"])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    script = (arguments.checkout / "implementations" / arguments.script / f"{arguments.script}.py").resolve()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    load_torchvision()
    torch.manual_seed(0)
    np.random.seed(0)
    with workplace(arguments.script) as place:
        os.chdir(place)
        began = time.monotonic()
        variables = train(script, 60 * arguments.minutes)
        seconds = time.monotonic() - began
        os.chdir(out)
    options, generator = variables["opt"], variables["generator"]
    steps = variables["epoch"] * len(variables["dataloader"]) + variables["i"]
    conditional = arguments.script == "cgan"
    for mode, training in (("training", True), ("evaluation", False)):
        images, labels = draw(generator.train(training), options.latent_dim, conditional)
        save_npz(out / f"{mode}-mode.npz", images, labels)
    figures = {
        "script": arguments.script,
        "minutes": arguments.minutes,
        "batches": steps,
        "images_per_s": round(steps * options.batch_size / seconds),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    (out / "peer.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
