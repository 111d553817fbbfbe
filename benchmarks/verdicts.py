"""Measure the verdicts on planted failures and on sound images: detected failures and false alarms.

    python benchmarks/verdicts.py [--dataset mnist-5k] [--draws 25] [--n 1000] [--runs DIR DIR ...]

Training images that are bent, rotated and shifted at random replace the images of a sound generator; failures are
planted in these images. Runs in `--runs` are evaluated too, with different latents for each draw. Each case is drawn
from one half of the training images, used to set the limits of the verdicts, and from the other half, used to check
them; runs are assigned to the halves alternately. Writes `benchmarks/results/verdicts.json`.
"""

import argparse
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from provenance import add_trial, begin
from torch import Tensor
from torch.nn.functional import affine_grid, conv2d, grid_sample, interpolate, max_pool2d, pad

from ganzoo import data
from ganzoo.data import Dataset
from ganzoo.errors import MachineError
from ganzoo.evaluation import verdict as verdicts
from ganzoo.evaluation.evaluator import as_subject, floors, measure, read
from ganzoo.evaluation.judge import load_judge
from ganzoo.evaluation.metrics import FIGURES
from ganzoo.evaluation.reference import Reference, load_splits
from ganzoo.runs.opening import load
from ganzoo.seeds import derive

KEYS = tuple(key for key in FIGURES if key not in ("kid", "cas", "classifier_accuracy"))
HALVES = ("set", "checked")
SOUND = "no failure"  # any grade is correct
GRADES = {"far from real", *(step.word for step in verdicts.GRADES)}
TURN, SHIFT, BEND = 10.0, 1.5, 1.0  # maximum: degrees, pixels, pixels
BLURS = (1.5, 1.0, 0.7, 0.5)  # pixels
UNEVEN = ((0.02, 0.28), (0.03, 0.25))  # minimum and maximum share of a class
KINDS = ("noise", "smooth noise", "blanks")

Drawn = tuple[Tensor, Tensor | None]  # images uint8 [N, C, H, W], and the requested labels


@dataclass(frozen=True)
class Case:
    """Images to evaluate, from `draw(random, n)`, and the expected verdict."""

    name: str
    expected: str
    draw: Callable[[torch.Generator, int], Drawn]


def moved(images: Tensor, random: torch.Generator) -> Tensor:
    """Return the images, each rotated, shifted and bent by random amounts, without loss of sharpness."""
    count, _, height, width = images.shape
    angle, right, down = torch.rand(3, count, generator=random) * 2 - 1
    angle = angle * math.radians(TURN)
    rows = [
        torch.stack([angle.cos(), -angle.sin(), right * SHIFT * 2 / width], 1),
        torch.stack([angle.sin(), angle.cos(), down * SHIFT * 2 / height], 1),
    ]
    grid = affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    bend = (torch.rand(count, 2, 4, 4, generator=random) * 2 - 1) * BEND * 2 / width
    grid = grid + interpolate(bend, (height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return to_uint8(grid_sample(images.float(), grid, mode="bicubic", align_corners=False))


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Return the images blurred with a Gaussian of `sigma` pixels."""
    x = torch.arange(-4.0, 5.0)
    kernel = torch.exp(-x.square() / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).repeat(images.shape[1], 1, 1, 1)
    groups = images.shape[1]
    across = conv2d(images.float(), kernel, padding="same", groups=groups)
    return to_uint8(conv2d(across, kernel.mT, padding="same", groups=groups))


def noisy(images: Tensor, sigma: float, random: torch.Generator) -> Tensor:
    """Return the images with Gaussian noise of `sigma`; white is 1."""
    return to_uint8(images + 255 * sigma * torch.randn(images.shape, generator=random))


def to_uint8(images: Tensor) -> Tensor:
    return images.round().clamp(0, 255).byte()


def eroded(images: Tensor, width: int) -> Tensor:
    """Return the images with strokes eroded by a square of `width` pixels."""
    before, after = (width - 1) // 2, width // 2
    padded = pad(-images.float(), (before, after, before, after), value=0.0)
    return to_uint8(-max_pool2d(padded, width, 1))


def planted(train: Dataset) -> list[Case]:
    """Return the cases: sound images, and each failure in several degrees."""
    assert train.labels is not None
    labels, classes = train.labels, train.num_classes or 1

    def rows(random: torch.Generator, n: int, among: Tensor | None = None) -> Tensor:
        """Choose rows of the training images; with repetition if `among` is given or `n` exceeds their number."""
        if among is None and n <= len(train):
            return torch.randperm(len(train), generator=random)[:n]
        among = torch.arange(len(train)) if among is None else among
        return among[torch.randint(len(among), (n,), generator=random)]

    def sound(random: torch.Generator, n: int, among: Tensor | None = None) -> tuple[Tensor, Tensor]:
        chosen = rows(random, n, among)
        return moved(train.images[chosen], random), labels[chosen]

    def some(random: torch.Generator, n: int, number: int) -> Drawn:
        """Draw only `number` of the classes."""
        kept = torch.randperm(classes, generator=random)[:number]
        return sound(random, n, torch.nonzero(torch.isin(labels, kept)).flatten())[0], None

    def uneven(random: torch.Generator, n: int, least: float, greatest: float) -> Drawn:
        """Draw classes with shares from `least` to `greatest`, in a geometric sequence."""
        shares = torch.logspace(math.log2(least), math.log2(greatest), classes, base=2)
        shares = shares[torch.randperm(classes, generator=random)]
        return sound(random, n, torch.multinomial(shares[labels], n, replacement=True, generator=random))[0], None

    def few(random: torch.Generator, n: int, number: int) -> Drawn:
        """Draw from only `number` images per class, with repetition."""
        order = torch.randperm(len(train), generator=random)
        chosen = torch.cat([order[labels[order] == label][:number] for label in range(classes)])
        images = moved(train.images[chosen], random)
        again = torch.randint(len(chosen), (n,), generator=random)
        return images[again], labels[chosen][again]

    def constant(random: torch.Generator, n: int) -> Drawn:
        return sound(random, 1)[0].repeat(n, 1, 1, 1), None

    def shuffled(random: torch.Generator, n: int, share: float) -> Drawn:
        images, asked = sound(random, n)
        part = round(share * n)
        asked[:part] = asked[torch.randperm(part, generator=random)]
        return images, asked

    def copies(random: torch.Generator, n: int, share: float = 1, noise: float = 0) -> Drawn:
        chosen = rows(random, n)
        part = round(share * n)
        images = moved(train.images[chosen], random)
        images[:part] = noisy(train.images[chosen[:part]], noise, random)
        return images, labels[chosen]

    def among(random: torch.Generator, n: int, share: float, kind: str) -> Drawn:
        """Replace a share of the images by uniform noise, smooth noise or blanks; the labels stay the same."""
        images, asked = sound(random, n)
        shape = (round(share * n), *train.image_shape)
        if kind == "noise":
            images[: shape[0]] = torch.randint(0, 256, shape, generator=random, dtype=torch.uint8)
        elif kind == "smooth noise":
            coarse = torch.rand(*shape[:2], 7, 7, generator=random) * 255
            images[: shape[0]] = to_uint8(interpolate(coarse, shape[2:], mode="bicubic"))
        else:
            images[: shape[0]] = 0
        return images, asked

    def changed(random: torch.Generator, n: int, change: Callable[[Tensor], Tensor]) -> Drawn:
        return change(sound(random, n)[0]), None

    def pixel_noise(random: torch.Generator, n: int, sigma: float) -> Drawn:
        return noisy(sound(random, n)[0], sigma, random), None

    def halves(random: torch.Generator, n: int) -> Drawn:
        """Join the left half of one digit and the right half of another."""
        one, other = sound(random, n)[0], sound(random, n)[0]
        middle = train.image_shape[1] // 2
        return torch.cat([one[:, :, :middle], other[:, :, middle:]], 2), None

    return [
        Case("sound images", SOUND, sound),
        Case("one image", "collapsed", constant),
        *(Case(f"{k} of {classes} classes", "collapsed", partial(some, number=k)) for k in (1, 5, classes - 1)),
        *(Case(f"{k} images per class", "collapsed", partial(few, number=k)) for k in (1, 2, 5, 20)),
        *(
            Case(f"classes of {a:.0%} to {b:.0%}", "unbalanced", partial(uneven, least=a, greatest=b))
            for a, b in UNEVEN
        ),
        *(Case(f"{s:.0%} of the labels shuffled", "label-blind", partial(shuffled, share=s)) for s in (1, 0.5, 0.3)),
        *(Case(f"training images, noise {s}", "memorising", partial(copies, noise=s)) for s in (0, 0.02, 0.05, 0.1)),
        *(Case(f"{s:.0%} training images", "memorising", partial(copies, share=s)) for s in (0.5, 0.2)),
        *(Case(f"blur of {s} pixels", "blurred", partial(changed, change=partial(blurred, sigma=s))) for s in BLURS),
        *(Case(f"{s:.0%} {k}", "noisy", partial(among, share=s, kind=k)) for k in KINDS for s in (0.42, 0.1, 0.03)),
        *(Case(k, "noisy", partial(among, share=1, kind=k)) for k in KINDS[:2]),
        Case("blanks", "collapsed", partial(among, share=1, kind="blanks")),
        *(Case(f"pixel noise {s}", "noisy", partial(pixel_noise, sigma=s)) for s in (0.3, 0.2)),
        Case("pixel noise 0.1", "far from real", partial(pixel_noise, sigma=0.1)),
        *(Case(f"strokes eroded by {k}", "noisy", partial(changed, change=partial(eroded, width=k))) for k in (3, 2)),
        Case("halves of two digits", "malformed", halves),
    ]


def others(dataset: str) -> list[Case]:
    """Return a case of MNIST's test images, sound and not copies of mnist-5k; empty if MNIST is not available."""
    if dataset != "mnist-5k":
        return []
    try:
        unseen = data.load("mnist", split="test", download=False)
    except MachineError:
        return []

    def draw(random: torch.Generator, n: int) -> Drawn:
        chosen = torch.randperm(len(unseen), generator=random)[:n]
        return unseen.images[chosen], None if unseen.labels is None else unseen.labels[chosen]

    return [Case("unseen images of MNIST", "excellent", draw)]


def trained(path: Path) -> Case:
    """Return the case of a run's generator, with different latents for each draw."""
    subject = as_subject(load(path), path.name)

    def draw(random: torch.Generator, n: int) -> Drawn:
        images, labels = subject.draw(int(torch.randint(2**31, (1,), generator=random)), n)
        return images, labels if subject.conditional else None

    return Case(f"run {path.name}", SOUND, draw)


def half_of(train: Dataset, half: int) -> Dataset:
    """Return every second image, starting with the first (`half` 0) or the second (1)."""
    assert train.labels is not None
    return replace(train, images=train.images[half::2], labels=train.labels[half::2])


def judged(case: Case, half: str, reference: Reference, draws: int, n: int) -> dict[str, Any]:
    """Return the number of draws of a case per verdict, and the range of each metric."""
    words: Counter[str] = Counter()
    figures: list[dict[str, float]] = []
    for draw in range(draws):
        random = torch.Generator().manual_seed(derive(draw, f"{case.name}/{half}"))
        samples = read(case.draw(random, n), reference)
        keys = [key for key in KEYS if key != "label_accuracy" or samples.labels is not None]
        figures.append(measure(samples, reference, keys))
        words[verdicts.verdict(figures[-1], floors(reference, n, [0], keys)).word] += 1
    expected = GRADES if case.expected == SOUND else {case.expected}
    return {
        "case": case.name,
        "half": half,
        "expected": case.expected,
        "right": sum(words[word] for word in expected),
        "words": dict(words.most_common()),
        "figures": {
            key: [round(value, 4) for value in (min(values), fmean(values), max(values))]
            for key in figures[0]
            if (values := [found[key] for found in figures])
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist-5k")
    parser.add_argument("--draws", type=int, default=25, help="draws per case and half (default: 25)")
    parser.add_argument("--n", type=int, default=1000, help="images per draw (default: 1000)")
    parser.add_argument("--runs", type=Path, nargs="*", default=[], help="runs that are expected to have no failure")
    parser.add_argument("--only", default="", help="evaluate only cases whose name contains this")
    add_trial(parser)
    arguments = parser.parse_args()
    record = begin("verdicts", arguments.trial)
    splits = load_splits(arguments.dataset)
    reference = Reference(load_judge(splits.train.source, sha256=splits.sha256), splits)
    both = zip(*(planted(half_of(splits.train, half)) for half in range(len(HALVES))), strict=True)
    cases = [(case, half) for pair in both for case, half in zip(pair, HALVES, strict=True)]
    cases += [(case, HALVES[1]) for case in others(splits.train.source)]
    cases += [(trained(path), HALVES[i % 2]) for i, path in enumerate(arguments.runs)]
    rows = []
    for case, half in cases:
        if arguments.only in case.name:
            rows.append(judged(case, half, reference, arguments.draws, arguments.n))
            shown = ", ".join(f"{word} {count}" for word, count in rows[-1]["words"].items())
            found = f"{rows[-1]['right']:>3} of {arguments.draws}"
            print(f"{case.name:<30}{half:<9}{case.expected:<12}{found}   {shown}", flush=True)
    limits = {name.lower(): value for name, value in vars(verdicts).items() if isinstance(value, float)}
    record.write(
        {
            "dataset": splits.train.source,
            "judge": reference.judge.describe().to_json(),
            "n": arguments.n,
            "draws": arguments.draws,
            "thresholds": limits | {step.word: asdict(step) for step in verdicts.GRADES},
            "floors": floors(reference, arguments.n, [0], KEYS),
            "rows": rows,
        }
    )


if __name__ == "__main__":
    main()
