"""The figures, against closed forms, brute force, and what their meaning demands."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from ganzoo.evaluation import metrics
from ganzoo.evaluation.metrics import FIGURES, title_of

Values = NDArray[np.float64]


def normal(count: int, features: int, seed: int = 0) -> Tensor:
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed))


def whitened(count: int, features: int, seed: int = 0) -> Tensor:
    """float64 [count, features] with the sample mean 0 and the sample covariance I, exactly."""
    x = normal(count, features, seed).double()
    x = x - x.mean(0)
    factor: Tensor = torch.linalg.cholesky(x.T.cov())
    white: Tensor = torch.linalg.solve_triangular(factor, x.T, upper=False)
    return white.T


# distances


@pytest.mark.parametrize("shift", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("stretch", [1.0, 2.5])
def test_the_frechet_distance_of_gaussians(shift: float, stretch: float) -> None:
    """|m|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2): for I and s^2 I it is |m|^2 + d (1 - s)^2."""
    real, fake = whitened(500, 4), stretch * whitened(400, 4, seed=1)
    fake[:, 2] += shift
    distance = metrics.frechet_distance(real, fake)
    assert distance == pytest.approx(shift**2 + 4 * (1 - stretch) ** 2, abs=1e-6)
    assert metrics.frechet_distance(fake, real) == pytest.approx(distance, abs=1e-6)


def test_the_frechet_distance_sees_correlation() -> None:
    """For I against the covariance [[1, r], [r, 1]]: 4 - 2 (sqrt(1 + r) + sqrt(1 - r))."""
    real, r = whitened(300, 2), 0.6
    factor = torch.linalg.cholesky(torch.tensor([[1, r], [r, 1]], dtype=torch.float64))
    fake = whitened(300, 2, seed=1) @ factor.T
    expected = 4 - 2 * (math.sqrt(1 + r) + math.sqrt(1 - r))
    assert metrics.frechet_distance(real, fake) == pytest.approx(expected, abs=1e-6)


def test_identical_sets_are_at_no_distance() -> None:
    features = normal(200, 8)
    assert metrics.frechet_distance(features, features) == pytest.approx(0, abs=1e-4)
    assert metrics.frechet_distance(features, features[torch.randperm(200)]) == pytest.approx(0, abs=1e-4)


def test_a_single_point_against_a_cloud_is_at_the_clouds_spread() -> None:
    """A constant generator: the distance is the trace of the real covariance."""
    assert metrics.frechet_distance(whitened(200, 6), torch.zeros(50, 6)) == pytest.approx(6, abs=1e-4)


def kernel_distance_of(real: Values, fake: Values) -> float:
    """The unbiased estimate of all of both sets under (x . y / d + 1)^3 (Binkowski et al. 2018, eq. 4)."""

    def kernel(x: Values, y: Values) -> Values:
        return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)

    def within(x: Values) -> float:
        gram = kernel(x, x)
        return float((gram.sum() - np.trace(gram)) / (len(x) * (len(x) - 1)))

    return within(real) + within(fake) - 2 * float(kernel(real, fake).mean())


def test_the_kernel_distance_is_its_definition() -> None:
    """Over all pairs of sets of two sizes, more than are multiplied at a time."""
    real, fake = normal(metrics._ROWS + 60, 5).double(), 1.5 * normal(metrics._ROWS + 9, 5, seed=1).double() + 0.3
    assert metrics.kernel_distance(real, fake) == pytest.approx(kernel_distance_of(real.numpy(), fake.numpy()))


@pytest.mark.slow
def test_the_kernel_distance_of_one_distribution_is_about_nothing() -> None:
    draws = [metrics.kernel_distance(normal(400, 8, seed), normal(400, 8, seed + 100)) for seed in range(10)]
    far = metrics.kernel_distance(normal(400, 8), normal(400, 8, 1) + 0.5)
    assert abs(np.mean(draws)) < far / 20
    assert min(draws) < 0 < max(draws)  # unbiased, so on both sides


# classes


def test_entropy_and_shares() -> None:
    labels = torch.tensor([0, 0, 1, 3])
    shares = metrics.class_shares(labels, 4)
    assert shares.tolist() == [0.5, 0.25, 0, 0.25]
    assert metrics.class_entropy(shares) == pytest.approx(1.5 * math.log(2))
    assert metrics.class_entropy(metrics.class_shares(torch.zeros(7, dtype=torch.int64), 10)) == 0
    balanced = metrics.class_shares(torch.arange(50), 50)
    assert metrics.class_entropy(balanced) == pytest.approx(math.log(50))


def test_a_class_is_lost_below_a_tenth_of_its_real_share() -> None:
    real = torch.tensor([0.5, 0.3, 0.2, 0.0], dtype=torch.float64)
    shares = torch.tensor([0.051, 0.029, 0.92, 0.0], dtype=torch.float64)
    assert metrics.classes_lost(shares, real) == [1]  # and no class is lost that real images have none of
    assert metrics.classes_lost(torch.tensor([0, 0, 1, 0.0]), real) == [0, 1]
    assert metrics.classes_lost(real, real) == []


# neighbourhoods


def neighbour_figures_of(real: Values, fake: Values, k: int) -> dict[str, float]:
    """By every pair, as the papers write it."""

    def distances(x: Values, y: Values) -> Values:
        return np.asarray(np.linalg.norm(x[:, None] - y[None], axis=2))

    def radii(x: Values) -> Values:
        return np.asarray(np.sort(distances(x, x), axis=1)[:, k])  # the first is the point itself

    near = distances(real, fake) <= radii(real)[:, None]
    return {
        "precision": near.any(0).mean(),
        "recall": (distances(real, fake) <= radii(fake)[None]).any(1).mean(),
        "density": near.sum() / (k * len(fake)),
        "coverage": near.any(1).mean(),
    }


@settings(max_examples=40)
@given(
    real=st.integers(7, 40),
    fake=st.integers(7, 40),
    k=st.integers(1, 5),
    shift=st.floats(0, 3),
    seed=st.integers(0, 99),
)
def test_neighbourhoods_are_their_definitions(real: int, fake: int, k: int, shift: float, seed: int) -> None:
    ours, theirs = normal(real, 3, seed).double(), normal(fake, 3, seed + 100).double() + shift
    found = metrics.neighbour_figures(ours, theirs, k)
    assert found == pytest.approx(neighbour_figures_of(ours.numpy(), theirs.numpy(), k))


def test_more_rows_than_are_compared_at_a_time() -> None:
    real, fake = normal(metrics._ROWS + 37, 2).double(), normal(metrics._ROWS + 11, 2, 1).double() + 0.5
    assert metrics.neighbour_figures(real, fake, 3) == pytest.approx(
        neighbour_figures_of(real.numpy(), fake.numpy(), 3)
    )


def test_neighbourhoods_of_clusters_made_by_hand() -> None:
    """Two clusters of real images, and a generator that knows one of them and draws some nonsense."""
    left, right = 0.01 * normal(20, 2), 0.01 * normal(20, 2, 1) + 10
    nonsense = torch.tensor([[5.0, -90.0]]).repeat(5, 1) + 0.01 * normal(5, 2, 2)
    found = metrics.neighbour_figures(torch.cat([left, right]), torch.cat([left, nonsense]), k=3)
    assert found["precision"] == pytest.approx(20 / 25)
    assert found["coverage"] == pytest.approx(1 / 2)
    assert found["recall"] == pytest.approx(1 / 2)
    assert metrics.neighbour_figures(left, left)["coverage"] == 1


def test_few_images_have_few_neighbours() -> None:
    found = metrics.neighbour_figures(normal(2, 3), normal(2, 3, 1))
    assert all(math.isfinite(value) for value in found.values())


# diversity


def test_diversity_is_the_mean_distance_within_classes() -> None:
    features = torch.tensor([[0.0, 0], [3, 4], [0, 0], [10, 0], [20, 0], [7, 7]])
    labels = torch.tensor([0, 0, 1, 1, 1, 2])  # 5; (10 + 20 + 10) / 3; a class of one image has no distance
    assert metrics.diversity(features, labels) == pytest.approx((5 + 40 / 3) / 2)
    assert metrics.diversity(features[:1], labels[:1]) == 0
    assert metrics.diversity(torch.ones(9, 4), torch.zeros(9, dtype=torch.int64)) == 0


def test_diversity_of_normal_features() -> None:
    """The difference of two is sqrt(2) times a normal vector, whose mean length for d = 2 is sqrt(pi / 2)."""
    assert metrics.diversity(normal(500, 2), torch.zeros(500, dtype=torch.int64)) == pytest.approx(
        math.sqrt(math.pi), rel=0.05
    )


# sharpness


def shapes(count: int = 8, size: int = 20) -> Tensor:
    """Dark pictures with bright rectangles: float [count, 1, size, size] in [40, 140]."""
    random = np.random.default_rng(0)
    images = torch.full((count, 1, size, size), 40.0)
    for image in images:
        top, left = random.integers(2, size // 2, 2)
        image[0, top : top + 6, left : left + 5] = 140
    return images


def blurred(images: Tensor, times: int) -> Tensor:
    """Averaged with the neighbours, again and again."""
    kernel = torch.tensor([1.0, 2, 1])[:, None] * torch.tensor([1.0, 2, 1]) / 16
    for _ in range(times):
        images = torch.nn.functional.conv2d(images, kernel[None, None], padding=1)
    return images


def test_sharpness_falls_with_blur_and_rises_with_noise() -> None:
    values = [metrics.sharpness(blurred(shapes(), times).round().byte()) for times in range(5)]
    assert values == sorted(values, reverse=True)
    assert values[4] < values[0] / 2
    noisy = shapes() + 20 * torch.randn(shapes().shape, generator=torch.Generator().manual_seed(0))
    assert metrics.sharpness(noisy.clamp(0, 255).byte()) > values[0]


@given(gain=st.sampled_from([-2, -1, 1, 2]), offset=st.integers(0, 50))
def test_sharpness_does_not_depend_on_contrast_or_brightness(gain: int, offset: int) -> None:
    """Steps of 5 under a whole gain and offset: no rounding."""
    images = ((shapes() - 40) / 2.5).round()  # [0, 40]
    expected = metrics.sharpness(images.byte())
    changed = gain * images + offset + (80 if gain < 0 else 0)
    assert metrics.sharpness(changed.byte()) == pytest.approx(expected, rel=1e-5)


def test_sharpness_in_numbers() -> None:
    """A chessboard: the Laplacian is 8 times the deviation, everywhere. A flat image has none."""
    board = torch.zeros(1, 1, 10, 10, dtype=torch.uint8)
    board[:, :, ::2, ::2] = board[:, :, 1::2, 1::2] = 255
    assert metrics.sharpness(board) == pytest.approx(8, rel=1e-5)
    assert metrics.sharpness(torch.full((3, 3, 8, 8), 9, dtype=torch.uint8)) == 0
    half = torch.cat([board, torch.zeros_like(board)])
    assert metrics.sharpness(half) == pytest.approx(4, rel=1e-5)  # the mean over images
    assert metrics.sharpness(board.repeat(1, 3, 1, 1)) == pytest.approx(8, rel=1e-5)  # of the mean over colours


# outliers


def test_outliers_are_unlike_any_real_image() -> None:
    """Images like the real ones are none; roughness, flatness or distance alone makes an image one."""
    real, features = blurred(shapes(500), 2).round().byte(), normal(500, 4)
    limits = metrics.Limits.of(real, features)
    assert metrics.outliers(blurred(shapes(500), 2).round().byte(), normal(500, 4, 1), limits) <= 0.01

    def share(images: Tensor, features: Tensor) -> float:
        return metrics.outliers(torch.cat([real[:30], images[:10]]), torch.cat([features[:30], features[:10]]), limits)

    noise = torch.randint(0, 256, real.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert share(noise, features) == share(torch.full_like(real, 40), features) == 0.25  # rough; flat
    assert metrics.outliers(real[:40], torch.cat([features[:30], features[:10] + 20]), limits) == 0.25  # far


def test_limits_pass_next_to_all_real_images() -> None:
    """The limits of 1,001 images leave out the one least or greatest image."""
    images = pictures(1001)
    limits = metrics.Limits.of(images, normal(1001, 3))
    rough, spread = metrics.roughness(images).sort().values, metrics.contrast(images).sort().values
    assert (limits.roughness, limits.contrast) == (float(rough[-2]), float(spread[1]))
    distances = torch.cdist(normal(1001, 3), normal(1001, 3)).fill_diagonal_(math.inf).min(1).values.sort().values
    assert limits.distance == pytest.approx(float(distances[-2]), rel=1e-4)
    assert metrics.contrast(torch.tensor([[[[0, 2], [0, 2]]]], dtype=torch.uint8)).tolist() == [1.0]


# memory


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (count, 1, 12, 12), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_the_nearest_are_found_by_pixels() -> None:
    images, others = pictures(700), pictures(30, seed=1)
    distances, rows = metrics.nearest(images, others, 3)
    difference = (images.double().flatten(1)[:, None] - others.double().flatten(1)[None]) / 255
    expected = difference.square().sum(2).sqrt().sort(1)
    torch.testing.assert_close(distances.double(), expected.values[:, :3], atol=1e-4, rtol=1e-4)
    assert torch.equal(rows, expected.indices[:, :3])


def test_copies_are_found_and_others_are_not() -> None:
    train, held_out = pictures(300), pictures(100, seed=1)
    assert metrics.memorised(train[:50], train) == 1
    assert metrics.memorised(held_out, train) == 0
    assert metrics.memorised(torch.cat([train[:30], held_out[:90]]), train) == pytest.approx(1 / 4)
    noise = torch.randn(50, 1, 12, 12, generator=torch.Generator().manual_seed(2))
    slightly, badly = ((train[:50] + sigma * noise).clamp(0, 255).byte() for sigma in (10, 80))
    assert metrics.memorised(slightly, train) == 1
    assert metrics.memorised(badly, train) == 0


def test_a_copy_of_an_image_that_is_there_twice_is_a_copy() -> None:
    train = torch.cat([pictures(20), pictures(20)])
    assert metrics.memorised(train[:20], train) == 1


# what they are called


def test_distances_are_named_after_their_judge() -> None:
    assert (title_of("fid", "MNIST"), title_of("kid", "shapes")) == ("FID-MNIST", "KID-shapes")
    assert title_of("recall", "MNIST") == "recall"


def test_figures_are_shown_as_people_read_them() -> None:
    assert FIGURES["fid"].show(3.14159) == "3.14"
    assert FIGURES["label_accuracy"].show(0.98765) == "98.77 %"
    assert all(figure.meaning and figure.decimals >= 1 for figure in FIGURES.values())


def test_modes_are_compared_with_their_real_shares() -> None:
    real = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    assert metrics.mode_divergence(real, real) == 0
    drawn = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    assert metrics.mode_divergence(drawn, real) == pytest.approx(0.5 * math.log(2))
    strange = torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64)
    assert metrics.mode_divergence(strange, torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)) == pytest.approx(0)
