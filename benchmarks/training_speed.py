"""Measure the speed of training: ganzoo's variants and PyTorch-GAN's unmodified scripts, in turns.

    python benchmarks/training_speed.py [--peer CHECKOUT] [--seconds 20] [--repeats 3] [--device cuda]

Needs MNIST (GANZOO_DATA_DIR) and an otherwise idle machine. Each measurement is a separate process: `ganzoo train` with
benchmarks/same_work/*.toml (the network shapes, batch size, optimiser and update ratio of PyTorch-GAN), `ganzoo train`
with each variant's defaults, and PyTorch-GAN's script as a user would start it. images/s counts real images that the
discriminator reads between the first and the last log line, which excludes start-up. Ratios are computed per repeat.

It also measures the limits of the machine (matrix products, convolutions, memory) and, for a step of each same-work
configuration and of each built-in variant's defaults, the number of operations, the rate and how the time is spent.
`--variants` does not limit the measurement of the defaults' steps. Writes benchmarks/results/training_speed.json.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from peer import workplace
from provenance import ROOT, add_trial, begin
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ganzoo.compute.device import torch_settings
from ganzoo.config import RunConfig
from ganzoo.registry import variants
from ganzoo.runs.run import Run
from ganzoo.studies.stopwatch import turn
from ganzoo.training.prepare import Training, configure, prepare, with_compute
from ganzoo.training.state import TrainingState
from ganzoo.training.updates import Updates

SCRIPTS = {"gan": "gan", "dcgan": "dcgan", "wgan-gp": "wgan_gp", "cgan": "cgan"}
BATCH = 64  # batch size of all scripts
PEER = """
import runpy, sys
from ganzoo.data.torchvision_compat import load_torchvision
load_torchvision()
sys.argv = [sys.argv[1]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
LINE = re.compile(rb"\[Epoch (\d+)/\d+\] \[Batch (\d+)/(\d+)\]")
ARITHMETIC = ("aten::mm", "aten::addmm", "aten::bmm", "aten::convolution", "aten::_convolution", "aten::mkldnn_conv",
              "aten::convolution_backward", "aten::cudnn", "mkldnn::", "aten::slow_conv")  # fmt: skip


def ours(name: str, config: Path | None, seconds: float, settings: list[str]) -> dict[str, Any]:
    """Return the images/s of `ganzoo train` in a separate process; `config` None for the variant's defaults."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "run"
        command = [sys.executable, "-m", "ganzoo_cli", "train", "--dataset", "mnist", "--out", str(out)]
        command += ["--config", str(config)] if config else ["--variant", name]
        command += ["--minutes", str((seconds + 5) / 60), "--set", "train.log_every=10"]
        for setting in settings:
            command += ["--set", setting]
        subprocess.run(command, check=True, capture_output=True)
        run = Run.open(out)
        lines, config_ = run.metrics(), run.config
    first, last = next(line for line in lines if line["seconds"] > 3), lines[-1]
    images = (last["step"] - first["step"]) * config_.variant.critic_steps * config_.data.batch_size
    chosen = config_.chosen.model_dump()
    return {"images_per_s": images / (last["seconds"] - first["seconds"]), "chosen": chosen}


def peer(checkout: Path, script: str, seconds: float) -> float:
    """Return the images/s of a script of the checkout, from the lines that it prints."""
    path = (checkout / "implementations" / script / f"{script}.py").resolve()
    with workplace(script) as place:
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", PEER, str(path)], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        first: tuple[float, int] | None = None
        now = (0.0, 0)
        for line in process.stdout:
            if found := LINE.search(line):
                epoch, batch, batches = map(int, found.groups())
                now = (time.monotonic(), epoch * batches + batch)
                if first is None and now[1] >= 5:
                    first = now
                if first is not None and now[0] - first[0] >= seconds:
                    break
        process.kill()
        process.wait()
    if first is None or now == first:
        raise SystemExit(f"{path} printed no progress: is this a checkout of eriklindernoren/PyTorch-GAN?")
    return BATCH * (now[1] - first[1]) / (now[0] - first[0])


def rate(function: Callable[[], Any], work: float, device: torch.device) -> float:
    """Return the work per second of the fastest of repeated calls within two seconds."""

    def call() -> None:
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return work / min(turn(call, 2))


def limits(device: torch.device) -> dict[str, float]:
    """Return GFLOP/s of matrix products and convolutions in both precisions, and GB/s of copies beyond any cache."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        a, b = (torch.randn(2048, 2048, device=device).to(dtype) for _ in range(2))
        found[f"matrix_{name}"] = rate(lambda a=a, b=b: a @ b, 2 * 2048**3 / 1e9, device)  # type: ignore[misc]
        x = torch.randn(64, 128, 16, 16, device=device).to(dtype).contiguous(memory_format=torch.channels_last)
        w = torch.randn(128, 128, 3, 3, device=device).to(dtype).contiguous(memory_format=torch.channels_last)
        work = 2 * 64 * 128 * 128 * 9 * 16 * 16 / 1e9
        found[f"convolution_{name}"] = rate(lambda x=x, w=w: torch.conv2d(x, w, padding=1), work, device)  # type: ignore[misc]
    source = torch.zeros(64 * 2**20, device=device)
    target = torch.zeros_like(source)
    found["memory"] = rate(lambda: target.copy_(source), 2 * source.numel() * 4 / 1e9, device)
    return found


class Flops(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count of the FLOP of matrix products and convolutions. (Penalty gradients break FlopCounterMode's hooks.)"""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        if count := flop_registry.get(function._overloadpacket):
            self.total += count(*args, **(kwargs or {}), out_val=out)
        return out


class Steps:
    """Training steps as in a run, without writing files."""

    def __init__(self, training: Training, config: RunConfig) -> None:
        state = TrainingState(config, training.device)
        self.updates, self.batches = Updates(state, config), training.batches(state.objective)
        self.device = training.device

    def one(self) -> None:
        self.updates.step(self.batches)
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def many(self, seconds: float) -> float:
        """Return the median seconds per step."""
        return median(turn(self.one, seconds))


def anatomy(name: str, config_file: Path | None, device: str) -> dict[str, Any]:
    """Return the GFLOP of a step and the time it spends (ms: arithmetic, memory, rest), by torch's profiler.

    `config_file` is None for the variant's defaults.
    """
    variant = name if config_file is None else None
    training = with_compute(prepare(configure(variant, config=config_file, steps=100_000, device=device)))
    config = training.config.with_horizon(training.total_steps or 1)
    with torch_settings(config):
        steps = Steps(training, config)
        for _ in range(3):
            steps.one()
        with Flops() as flops:
            steps.one()
        seconds = steps.many(3)
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            for _ in range(10):
                steps.one()
    arithmetic = memory = 0.0
    for event in profiled.key_averages():
        if event.key.startswith(ARITHMETIC):
            arithmetic += event.self_cpu_time_total / 1e4  # us of 10 steps -> ms per step
        elif event.key.startswith("aten::"):
            memory += event.self_cpu_time_total / 1e4
    images = config.variant.critic_steps * config.data.batch_size
    return {
        "variant": name,
        "precision": config.chosen.precision,
        "step_ms": 1000 * seconds,
        "arithmetic_ms": arithmetic,
        "memory_ms": memory,
        "rest_ms": max(0.0, 1000 * seconds - arithmetic - memory),
        "gflop": flops.total / 1e9,
        "mflop_an_image": flops.total / images / 1e6,
        "gflops": flops.total / 1e9 / seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=None, metavar="CHECKOUT")
    parser.add_argument("--seconds", type=float, default=20.0, help="per measurement (default: 20)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--variants", default="gan,dcgan,wgan-gp,cgan")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="settings of ganzoo's runs"
    )
    add_trial(parser)
    arguments = parser.parse_args()
    record = begin("training_speed", arguments.trial, device=arguments.device)
    device, names = torch.device(arguments.device), arguments.variants.split(",")
    settings = [f'train.device="{arguments.device}"', *arguments.settings]
    found: dict[str, Any] = {
        "limits": limits(device),
        "rows": [],
    }
    found["anatomy"] = [anatomy(name, same_work(name), arguments.device) for name in names]
    built_in = [name for name in variants if variants.owner(name).startswith("ganzoo.")]
    found["defaults"] = [anatomy(name, None, arguments.device) for name in built_in]
    for name in names:
        repeats: list[dict[str, Any]] = []
        for _ in range(arguments.repeats):
            repeat: dict[str, Any] = {}
            if arguments.peer is not None:
                repeat["peer"] = peer(arguments.peer, SCRIPTS[name], arguments.seconds)
            same = ours(name, same_work(name), arguments.seconds, settings)
            repeat |= {"same_work": same["images_per_s"], "chosen": same["chosen"]}
            repeat["default"] = ours(name, None, arguments.seconds, settings)["images_per_s"]
            repeats.append(repeat)
            print(name, repeat, flush=True)
        found["rows"].append({"variant": name, "repeats": repeats, **summary(repeats)})
        record.write(found)
    print(json.dumps(found["limits"], indent=1))
    for row in found["anatomy"]:
        print({key: round(value, 2) if isinstance(value, float) else value for key, value in row.items()})
    for row in found["rows"]:
        print({key: value for key, value in row.items() if key != "repeats"})


def same_work(name: str) -> Path:
    return ROOT / "benchmarks" / "same_work" / f"{name}.toml"


def summary(repeats: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean speeds, and the mean, minimum and maximum of the ratio to the peer per repeat."""
    means = {
        f"{key}_images_per_s": round(fmean(repeat[key] for repeat in repeats))
        for key in ("peer", "same_work", "default")
        if key in repeats[0]
    }
    if "peer" not in repeats[0]:
        return means
    ratios = [repeat["same_work"] / repeat["peer"] for repeat in repeats]
    return {**means, "ratio": {"mean": fmean(ratios), "least": min(ratios), "greatest": max(ratios)}}


if __name__ == "__main__":
    main()
