"""How soon the variants reach set distances on full MNIST: PyTorch-GAN's after five minutes, and nearer ones.

    python benchmarks/time_to_quality.py [--variants dcgan,gan] [--minutes 2] [--seeds 3] [--out DIR]

Needs MNIST (GANZOO_DATA_DIR) and a machine with nothing else to do. The comparison engine trains each variant once a
seed and judges it at POINTS, closer together in the beginning; judging takes nothing from the training time, which
begins when networks and images are in memory. The time of a distance is that of the first evaluation at or under it:
nothing is interpolated, so it is an upper bound, late by as much as lies between two points.

The distances on the way are those of 10,000 images, as the peers' in `benchmarks/results/quality.json`, so that both
have the same bias. (Data with fewer training images are judged by as many as there are, which makes a distance larger.)
What is in DIR already, of the same commit, is not done again. Writes `benchmarks/results/time_to_quality.json`, and the
curves to `docs/images/time_to_quality.png`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from provenance import ROOT, add_trial, begin

from ganzoo.evaluation.intervals import mean_and_deviation
from ganzoo.report.figures import Panel, Series, Style, panels, styles
from ganzoo.report.records import Spread
from ganzoo.runs.run import Run
from ganzoo.studies.comparison import compare

POINTS = (4, 6, 8, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 450, 600, 900, 1200)  # seconds of training
DISTANCES = (100.0, 50.0, 30.0, 20.0, 15.0)  # FID-MNIST, besides the peers'
PEER_COLOUR = "#8a949e"

Json = dict[str, Any]


def peers() -> list[Json]:
    """Return what PyTorch-GAN's scripts reached, and in how many seconds, the furthest first; [] if not recorded."""
    quality = ROOT / "benchmarks" / "results" / "quality.json"
    found = json.loads(quality.read_text(encoding="utf-8"))["peers"] if quality.exists() else []
    wanted = [
        {"distance": peer["figures"]["fid"], "peer": peer["script"], "peer_seconds": 60 * peer["minutes"]}
        for peer in found
    ]
    return sorted(wanted, key=lambda peer: -peer["distance"])


def row(variant: str, wanted: Json, curves: list[Json]) -> Json:
    """When a variant's runs were first seen at or under a distance."""
    seconds = [
        next((point["seconds"] for point in curve["points"] if point["fid"] <= wanted["distance"]), None)
        for curve in curves
    ]
    reached = [value for value in seconds if value is not None]
    found = {"variant": variant, **wanted, "runs": len(seconds), "reached": len(reached), "seconds_by_seed": seconds}
    found["seconds"] = spread(reached)
    if wanted["peer"] is not None:
        found["times_sooner"] = spread([wanted["peer_seconds"] / value for value in reached])
    return found


def spread(values: list[float]) -> Json | None:
    """Mean and sample standard deviation; None for no values."""
    return Spread.of(values).to_json() if values else None


def figure(curves: list[Json], anchors: list[Json], floor: float) -> bytes:
    """The distance against the seconds, means over the seeds; the peers' as lines that end where they were reached."""
    looks = styles(curve["variant"] for curve in curves)
    ours = [mean_curve(name, [c["points"] for c in curves if c["variant"] == name], looks[name]) for name in looks]
    start = min(float(x) for series in ours for x in series.x)
    theirs = [
        Series(
            label=f"PyTorch-GAN {peer['peer']}",
            x=(start, peer["peer_seconds"]),
            y=(peer["distance"],) * 2,
            style=Style(colour=PEER_COLOUR, line=line),
            width=1.1,
        )
        for peer, line in zip(anchors, ("-", "--", ":"), strict=True)
    ]
    panel = Panel(
        title="FID-MNIST (lower is better)",
        x="seconds of training",
        series=[*ours, *theirs],
        floor=floor,
        log=True,
        log_x=True,
    )
    return panels([panel], height=4.6)


def mean_curve(variant: str, curves: list[list[Json]], style: Style) -> Series:
    """The mean over the seeds at the points that all were judged at, one standard deviation to either side."""
    by_point = [{point["due"]: point["fid"] for point in curve} for curve in curves]
    places = sorted(set.intersection(*map(set, by_point)))
    values = np.array([[found[place] for place in places] for found in by_point])
    means, deviations = zip(*map(mean_and_deviation, values.T), strict=True)
    return Series(label=variant, x=places, y=means, spread=deviations if len(curves) > 1 else None, style=style)


def curve(row: Json, points: tuple[float, ...]) -> Json:
    """A run's distances: seconds as measured, and the point that was due by then."""
    return {
        "variant": row["variant"],
        "seed": row["seed"],
        "images_per_s": row["images_per_s"],
        "points": [
            {"due": max(point for point in points if point <= found["seconds"]), **found}
            for found in ({key: line[key] for key in ("seconds", "step", "fid")} for line in row["curve"])
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", default="dcgan,gan")
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "time_to_quality")
    add_trial(parser)
    arguments = parser.parse_args()
    record = begin("time_to_quality", arguments.trial)
    record.claim(arguments.out)
    anchors = peers()
    end = 60 * arguments.minutes
    points = tuple(point for point in POINTS if point < end)
    compared = compare(
        out=arguments.out,
        variants=arguments.variants.split(","),
        minutes=arguments.minutes,
        seeds=arguments.seeds,
        dataset=arguments.dataset,
        points=points,
        figures=("fid",),
        say=print,
    )
    done = [row for row in compared["rows"] if row["status"] == "done"]
    curves = [curve(row, (*points, end)) for row in done]
    wanted = anchors + [{"distance": distance, "peer": None} for distance in DISTANCES]
    run = Run.open(arguments.out / done[0]["run"])
    results = {
        "threads": run.config.train.threads,
        "dataset": compared["data"]["source"],
        "n": run.evaluations()[-1]["n"],
        "minutes": arguments.minutes,
        "seeds": arguments.seeds,
        "floor": compared["curve_floors"]["fid"],
        "rows": [
            row(variant, distance, [c for c in curves if c["variant"] == variant])
            for distance in wanted
            for variant in dict.fromkeys(c["variant"] for c in curves)
        ],
        "curves": curves,
    }
    record.write(results)
    record.write_picture("time_to_quality.png", figure(curves, anchors, results["floor"]))
    for found in results["rows"]:
        seconds = "never" if found["seconds"] is None else f"{found['seconds']['mean']:.1f} s"
        print(
            f"FID-MNIST {found['distance']:>5.1f}  {found['variant']:<8} {found['reached']}/{found['runs']}  {seconds}"
        )


if __name__ == "__main__":
    main()
