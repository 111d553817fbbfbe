"""The metrics that describe a generator: their titles, meanings and computations.

All functions take tensors: features float [N, D] and probabilities float [N, K] that a judge returns, images uint8
[N, C, H, W], labels int64 [N]. The Fréchet distance is computed by torchmetrics.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ganzoo.data.torchvision_compat import load_torchvision

NEIGHBOURS = 5  # k of precision, recall, density and coverage (Naeem et al. 2020)
COVERED = 0.1  # a class is covered if it has at least this part of its share among real images
COPY_RATIO = 1 / 3  # distance of a copy to the nearest training image over that to the next (Yoon et al. 2023)
MEMORY_IMAGES = 2000  # at most: images that are compared with the whole training set, pixel by pixel
PAIR_IMAGES = 500  # at most, per class: images that are compared with each other
RARE = 0.001  # this part of the real images is beyond the limits of real images
FAR, ROUGH, FLAT = 1.5, 1.25, 0.5  # an outlier is beyond such a limit by this factor
ROUNDING = 1e-3  # a smaller squared distance, of pixels in [0, 1], is rounding: the images are the same
_ROWS = 500  # of a matrix of distances, computed at a time


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A metric: its title, which direction is better ("real": like real images), its number format, its meaning."""

    title: str
    better: Literal["lower", "higher", "real"]
    decimals: int
    meaning: str
    percent: bool = False

    @property
    def direction(self) -> str:
        """Which direction is better, for display."""
        return "like real" if self.better == "real" else self.better

    def show(self, value: float) -> str:
        """Return the value for display."""
        return f"{100 * value:.{self.decimals}f} %" if self.percent else f"{value:.{self.decimals}f}"


FIGURES: dict[str, Figure] = {
    "fid": Figure(
        title="FID",
        better="lower",
        decimals=2,
        meaning="Fréchet distance between Gaussians fitted to the judge's features of real and generated images "
        "(Heusel et al. 2017, arXiv:1706.08500, with this judge in place of Inception)",
    ),
    "kid": Figure(
        title="KID",
        better="lower",
        decimals=2,
        meaning="squared maximum mean discrepancy of the features under a cubic kernel, unbiased at any N "
        "(Bińkowski et al. 2018, arXiv:1801.01401)",
    ),
    "entropy": Figure(
        title="class entropy",
        better="real",
        decimals=3,
        meaning="entropy, in nats, of the classes that the judge sees: 0 for one, ln 10 = 2.303 for ten balanced ones",
    ),
    "classes": Figure(
        title="classes covered",
        better="higher",
        decimals=1,
        meaning="classes with at least a tenth of their share among real images",
    ),
    "modes": Figure(
        title="modes",
        better="higher",
        decimals=1,
        meaning="classes with at least one image (Metz et al. 2017, arXiv:1611.02163, section 3.3)",
    ),
    "mode_kl": Figure(
        title="mode KL",
        better="lower",
        decimals=3,
        meaning="Kullback-Leibler divergence, in nats, of the classes' shares from those of real images "
        "(the same paper)",
    ),
    "confidence": Figure(
        title="confidence",
        better="real",
        decimals=3,
        meaning="mean probability of the class that the judge considers likeliest",
    ),
    "precision": Figure(
        title="precision",
        better="higher",
        decimals=3,
        meaning="share of generated images in the neighbourhood of a real one, by k nearest neighbours "
        "(Kynkäänniemi et al. 2019, arXiv:1904.06991)",
    ),
    "recall": Figure(
        title="recall",
        better="higher",
        decimals=3,
        meaning="share of real images in the neighbourhood of a generated one (the same paper)",
    ),
    "density": Figure(
        title="density",
        better="higher",
        decimals=3,
        meaning="number of real neighbourhoods that contain a generated image, divided by k: a precision that "
        "outliers do not inflate (Naeem et al. 2020, arXiv:2002.09797)",
    ),
    "coverage": Figure(
        title="coverage",
        better="higher",
        decimals=3,
        meaning="share of real neighbourhoods that contain a generated image (the same paper)",
    ),
    "outliers": Figure(
        title="outliers",
        better="lower",
        decimals=2,
        percent=True,
        meaning="share of images unlike any real one, such as noise and blank images: in features much farther from "
        "the nearest real image than real images are from each other, or much rougher or flatter",
    ),
    "diversity": Figure(
        title="diversity in a class",
        better="real",
        decimals=2,
        meaning="mean distance, in features, between two images that the judge assigns to one class, averaged over the "
        "classes",
    ),
    "sharpness": Figure(
        title="sharpness",
        better="real",
        decimals=3,
        meaning="root mean square of an image's Laplacian, divided by its contrast: blur lowers it, noise raises it",
    ),
    "memorised": Figure(
        title="memorised",
        better="real",
        decimals=2,
        percent=True,
        meaning="share of images whose distance, in pixels, to the nearest training image is at most a third of that "
        "to the second nearest (the test of Yoon et al. 2023)",
    ),
    "label_accuracy": Figure(
        title="label accuracy",
        better="higher",
        decimals=2,
        percent=True,
        meaning="share of images in which the judge sees the requested label",
    ),
    "cas": Figure(
        title="classification accuracy score",
        better="higher",
        decimals=2,
        percent=True,
        meaning="accuracy on real test images of a classifier trained only on generated images "
        "(Ravuri & Vinyals 2019, arXiv:1905.10887)",
    ),
    "classifier_accuracy": Figure(
        title="classifier accuracy",
        better="higher",
        decimals=2,
        percent=True,
        meaning="accuracy on real test images of the class head of the run's discriminator; the floor is the accuracy "
        "of the judge",
    ),
}


def title_of(key: str, judge_name: str) -> str:
    """Return a metric's title; distances include the judge's name, `FID-MNIST`, as they are not Inception's."""
    title = FIGURES[key].title
    return f"{title}-{judge_name}" if key in ("fid", "kid") else title


class _Given(nn.Module):
    """The feature network of metrics that get features instead of images."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


# With several processes, one evaluates while the others wait: torchmetrics must not wait for them.
_ALONE: dict[str, Any] = {"sync_on_compute": False}


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Return the Fréchet distance between Gaussians fitted to features [N, D] and [M, D], by torchmetrics."""
    load_torchvision()  # before torchmetrics, which imports it
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric = FrechetInceptionDistance(feature=_Given(real.shape[1]), **_ALONE)
    metric.set_dtype(torch.float64)
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return float(metric.compute().clamp(min=0))


def kernel_distance(real: Tensor, fake: Tensor) -> float:
    """Return the KID of two sets of features [N, D] and [M, D]: the unbiased estimate over all pairs."""
    x, y = real.double(), fake.double()
    return _mean_within(x) + _mean_within(y) - 2 * _kernel_sum(x, y) / (len(x) * len(y))


def _kernel(products: Tensor, dimension: int) -> Tensor:
    return (products / dimension + 1) ** 3


def _kernel_sum(x: Tensor, y: Tensor) -> float:
    return sum(float(_kernel(rows @ y.T, x.shape[1]).sum()) for rows in torch.split(x, _ROWS))


def _mean_within(x: Tensor) -> float:
    """Return the mean of the kernel over all pairs of two different rows."""
    of_itself = float(_kernel(x.square().sum(1), x.shape[1]).sum())
    return (_kernel_sum(x, x) - of_itself) / (len(x) * (len(x) - 1))


def class_shares(labels: Tensor, num_classes: int) -> Tensor:
    """Return the share of the images in each class, float64 [K]."""
    return torch.bincount(labels, minlength=num_classes).double() / len(labels)


def class_entropy(shares: Tensor) -> float:
    """Return the entropy of the classes' shares, in nats."""
    return float(torch.special.entr(shares).sum())


def mode_divergence(shares: Tensor, real_shares: Tensor) -> float:
    """Return KL(shares, real shares), in nats, over the classes that real images have; 0 without such images."""
    known = (shares > 0) & (real_shares > 0)
    drawn = shares[known] / shares[known].sum()
    return max(0.0, float((drawn * (drawn / real_shares[known]).log()).sum()))


def classes_lost(shares: Tensor, real_shares: Tensor) -> list[int]:
    """Return the classes with less than a tenth of their share among real images."""
    return torch.nonzero((shares < COVERED * real_shares) & (real_shares > 0)).flatten().tolist()


def neighbour_figures(real: Tensor, fake: Tensor, k: int = NEIGHBOURS) -> dict[str, float]:
    """Return precision, recall, density and coverage of features [N, D] and [M, D], by k nearest neighbours."""
    k = min(k, len(real) - 1, len(fake) - 1)
    real_radii, fake_radii = _radii(real, k), _radii(fake, k)
    inside_real = torch.zeros(len(fake), dtype=torch.long)  # how many real neighbourhoods each fake lies in
    reached, covered = torch.zeros(len(real), dtype=torch.bool), torch.zeros(len(real), dtype=torch.bool)
    for start in range(0, len(real), _ROWS):
        rows = slice(start, start + _ROWS)
        distances = torch.cdist(real[rows], fake)
        near = distances <= real_radii[rows, None]
        inside_real += near.sum(0)
        covered[rows] = near.any(1)
        reached[rows] = (distances <= fake_radii).any(1)
    return {
        "precision": (inside_real > 0).double().mean().item(),
        "recall": reached.double().mean().item(),
        "density": inside_real.double().mean().item() / k,
        "coverage": covered.double().mean().item(),
    }


def _radii(features: Tensor, k: int) -> Tensor:
    """Return [N]: the distance of each row to its k-th nearest other row."""
    parts = [
        torch.cdist(chunk, features).topk(k + 1, largest=False).values[:, -1] for chunk in torch.split(features, _ROWS)
    ]
    return torch.cat(parts)


def diversity(features: Tensor, labels: Tensor) -> float:
    """Return the mean distance between two images of a class, averaged over the classes with at least two."""
    means = []
    for label in torch.unique(labels):
        members = features[labels == label][:PAIR_IMAGES]
        if len(members) > 1:
            means.append(torch.pdist(members).mean())
    return float(torch.stack(means).mean()) if means else 0.0


def sharpness(images: Tensor) -> float:
    """Return the mean roughness of the images."""
    return float(roughness(images).mean())


def roughness(images: Tensor) -> Tensor:
    """Return [N]: the root mean square of each image's Laplacian, divided by its contrast; 0 for a flat image."""
    x = images.float().mean(1)  # [N, H, W]
    laplacian = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:] - 4 * x[:, 1:-1, 1:-1]
    spread = contrast(images)
    edges = laplacian.flatten(1).square().mean(1).sqrt()
    return torch.where(spread > 0, edges / spread.clamp(min=1e-6), 0)


def contrast(images: Tensor) -> Tensor:
    """Return [N]: the standard deviation of each image's pixels, in grey levels of 0 to 255."""
    return images.float().mean(1).flatten(1).std(1, correction=0)


@dataclass(frozen=True, eq=False)
class Limits:
    """Features of real images, and the limits of nearly all of them: distance, roughness and contrast."""

    features: Tensor  # [N, D]
    distance: float  # in features, to the nearest other image
    roughness: float
    contrast: float

    @classmethod
    def of(cls, images: Tensor, features: Tensor) -> "Limits":
        """Return the limits of at least two real images uint8 [N, C, H, W] with features [N, D]."""
        return cls(
            features,
            distance=_quantile(_radii(features, 1), 1 - RARE),
            roughness=_quantile(roughness(images), 1 - RARE),
            contrast=_quantile(contrast(images), RARE),
        )


def _quantile(values: Tensor, share: float) -> float:
    return float(values.kthvalue(1 + round(share * (len(values) - 1))).values)


def outliers(images: Tensor, features: Tensor, real: Limits) -> float:
    """Return the share of images that are much farther from the nearest real one, rougher or flatter than real ones."""
    nearest_real = torch.cat([torch.cdist(rows, real.features).min(1).values for rows in torch.split(features, _ROWS)])
    is_far = nearest_real > FAR * real.distance
    is_rough = roughness(images) > ROUGH * real.roughness
    is_flat = contrast(images) < FLAT * real.contrast
    return (is_far | is_rough | is_flat).double().mean().item()


def nearest(images: Tensor, others: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return distances and rows, [N, count], of the nearest `others`, in pixels, to uint8 images [N, ...]."""
    flat = others.flatten(1).float() / 255
    norms = flat.square().sum(1)
    distances, rows = [], []
    for chunk in torch.split(images.flatten(1), _ROWS):
        x = chunk.float() / 255
        squares = torch.addmm(norms[None], x, flat.T, alpha=-2) + x.square().sum(1, keepdim=True)
        squares[squares < ROUNDING] = 0
        found = squares.topk(count, largest=False)
        distances.append(found.values.sqrt())
        rows.append(found.indices)
    return torch.cat(distances), torch.cat(rows)


def memorised(images: Tensor, train: Tensor) -> float:
    """Return the share of images at most a third as far from the nearest training image as from the next."""
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:MEMORY_IMAGES]
    (first, second), _ = (part.T for part in nearest(images[rows], train, 2))
    return float((first <= COPY_RATIO * second).double().mean())
