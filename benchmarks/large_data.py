"""Compare the speed of training on images that stay on disk with that on images in memory.

    python benchmarks/large_data.py --place DIR [--memory 1000] [--times 20] [--seconds 60] [--repeats 3]

Creates two sets of 32 x 32 RGB images in DIR as uncompressed .npz: one is `--times` as large as `--memory` MB, the
other an eighth of `--memory`. Each variant is trained for `--seconds` on each set, in a process that is limited to
`--memory` MB. Runs follow each other, in an order that alternates between repeats. The limit is a memory control group
(Linux, version 1 or 2) if one can be created; it also counts the kernel's file cache. Otherwise the only limit is
`data.memory`, half of `--memory`, and the result records this. The sets are deleted at the end. Writes
`benchmarks/results/large_data.json`.

The defaults need 21 GB of disk space and about 20 minutes on an otherwise idle machine.
"""

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from provenance import add_trial, begin

SIDE = 32
IMAGE_BYTES = 3 * SIDE * SIDE
MB = 1_000_000
AT_ONCE = 2000  # images written at a time
GROUPS = {  # root of the memory control groups: a group's files for its limit and its peak
    Path("/sys/fs/cgroup/memory"): ("memory.limit_in_bytes", "memory.max_usage_in_bytes"),
    Path("/sys/fs/cgroup"): ("memory.max", "memory.peak"),
}
WARM_UP = 1 / 3  # share of a run that is not measured

TRAIN = """
import json, resource, sys, time
began = time.monotonic()
import ganzoo
variant, source, out, seconds, *settings = sys.argv[1:]
run = ganzoo.train(variant, source, out=out, minutes=float(seconds) / 60, settings=settings, progress=False)
print(json.dumps({
    "total_seconds": time.monotonic() - began,
    "peak_resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    "read_mb": int(open("/proc/self/io").read().split("read_bytes: ")[1].split()[0]) / 1e6,
}))
"""


def write_set(path: Path, megabytes: int) -> int:
    """Write smooth random images of `megabytes` in total, and return their number."""
    random = np.random.default_rng(0)
    coarse = torch.from_numpy(random.random((AT_ONCE, 3, 8, 8), dtype=np.float32))
    smooth = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bilinear")
    pool = (smooth * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    count = megabytes * MB // IMAGE_BYTES
    with path.open("wb") as file:
        with zipfile.ZipFile(file, "w") as archive, archive.open("images.npy", "w", force_zip64=True) as member:
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, SIDE, SIDE, 3)}
            np.lib.format.write_array_header_1_0(member, header)
            for start in range(0, count, AT_ONCE):
                member.write(pool[random.permutation(AT_ONCE)[: count - start]].data)
        file.flush()
        os.fsync(file.fileno())
    return count


def forget(path: Path) -> None:
    """Drop a file from the kernel's cache, which the limit would not count."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextlib.contextmanager
def memory_group(megabytes: int) -> Iterator[tuple[Path, Path] | None]:
    """Create a control group with this limit; yield it and the file with its peak, or None if that is not possible."""
    for root, (limit, peak) in GROUPS.items():
        group = root / f"ganzoo-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(megabytes * MB))
        except OSError:
            group.rmdir()
            continue
        try:
            yield group, group / peak
        finally:
            group.rmdir()
        return
    yield None


def train(variant: str, path: Path, place: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train once under the limit; return images/s after the warm-up, and the time, memory and disk reads."""
    forget(path)
    settings = ["train.log_every=5", "train.checkpoint_every=1000000", "train.sample_epochs=[1000000]"]
    settings += [
        "train.precision=bfloat16",
        "train.channels_last=true",
        f"train.threads={os.cpu_count()}",
    ]  # for both sets
    out = place / "run"
    environment = {**os.environ, "XDG_CACHE_HOME": str(place / "cache")}
    with memory_group(arguments.memory) as group:
        if group is None:
            settings.append(f"data.memory={arguments.memory // 2}")
        command = [sys.executable, "-c", TRAIN, variant, f"npz:{path}", str(out), str(arguments.seconds), *settings]
        if group is not None:  # enter the group before any import, so that all memory counts
            command = [
                "sh",
                "-c",
                f'echo $$ > {shlex.quote(str(group[0] / "cgroup.procs"))}; exec "$@"',
                "sh",
                *command,
            ]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        took: dict[str, Any] = json.loads(done.stdout)
        if group is not None:
            took["peak_group_mb"] = int(group[1].read_text()) / MB
    from ganzoo.runs.run import Run

    run = Run.open(out)
    lines = run.metrics()
    first, last = lines[int(len(lines) * WARM_UP)], lines[-1]
    updates = (last["step"] - first["step"]) * run.config.variant.critic_steps
    row = {
        "images_per_s": updates * run.config.data.batch_size / (last["seconds"] - first["seconds"]),
        "start_seconds": took.pop("total_seconds")
        - last["seconds"],  # on the first run including the hash of all images
        "memory_mb_allowed": run.config.data.memory,
        "threads": run.config.train.threads,
        **took,
    }
    shutil.rmtree(out)
    return {key: round(value, 1) if isinstance(value, float) else value for key, value in row.items()}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean speeds, and the ratio of mapped to resident per repeat."""
    speeds = {kind: [row["images_per_s"] for row in rows if row["images"] == kind] for kind in ("resident", "mapped")}
    ratios = [mapped / resident for mapped, resident in zip(speeds["mapped"], speeds["resident"], strict=True)]
    return {
        "resident_images_per_s": round(statistics.mean(speeds["resident"]), 1),
        "mapped_images_per_s": round(statistics.mean(speeds["mapped"]), 1),
        "ratio": round(statistics.mean(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "peak_resident_mb": max(row["peak_resident_mb"] for row in rows if row["images"] == "mapped"),
    }


def measure(place: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    sets = {"resident": place / "small.npz", "mapped": place / "large.npz"}
    began = time.monotonic()
    write_set(sets["resident"], arguments.memory // 8)
    count = write_set(sets["mapped"], arguments.memory * arguments.times)
    print(f"{count:,} images written in {time.monotonic() - began:.0f} s", flush=True)
    rows = []
    for repeat in range(arguments.repeats):
        for variant in arguments.variants.split(","):
            kinds = list(sets)[:: -1 if repeat % 2 else 1]
            for kind in kinds:
                row = {"variant": variant, "images": kind, "repeat": repeat}
                rows.append({**row, **train(variant, sets[kind], place, arguments)})
                print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--place", type=Path, required=True, metavar="DIR", help="directory for the sets, on a local disk"
    )
    parser.add_argument("--memory", type=int, default=1000, metavar="MB", help="memory limit (default: 1000)")
    parser.add_argument(
        "--times", type=int, default=20, help="size of the large set, as a multiple of --memory (default: 20)"
    )
    parser.add_argument("--seconds", type=float, default=60, help="of training, per run (default: 60)")
    parser.add_argument("--repeats", type=int, default=3, help="runs per variant and set (default: 3)")
    parser.add_argument("--variants", default="gan,dcgan")
    add_trial(parser)
    arguments = parser.parse_args()
    record = begin("large_data", arguments.trial)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the sets are deleted
    arguments.place.mkdir(parents=True, exist_ok=True)
    place = arguments.place.resolve() / f"ganzoo-large-data-{os.getpid()}"
    place.mkdir()
    try:
        rows = measure(place, arguments)
    finally:
        shutil.rmtree(place)
    variants = arguments.variants.split(",")
    results = {
        "limit_mb": arguments.memory,
        "limited_by": "memory control group" if "peak_group_mb" in rows[0] else "data.memory alone",
        "images_mb": arguments.memory * arguments.times,
        "image_shape": [3, SIDE, SIDE],
        "summary": {name: summary([row for row in rows if row["variant"] == name]) for name in variants},
        "rows": rows,
    }
    record.write(results)
    for name, found in results["summary"].items():
        print(
            f"{name:<8} mapped / resident {found['ratio']:.3f} ({found['ratio_min']:.3f} to {found['ratio_max']:.3f})"
        )


if __name__ == "__main__":
    main()
