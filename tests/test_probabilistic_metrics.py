"""Metrics of probabilistic forecasts against closed forms and integrals."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from conftest import normal

from numbarnn import metrics
from numbarnn.errors import ShapeError

TRUTH = normal(0, 30, 4)
LEVELS = (np.arange(4000) + 0.5) / 4000


def crps_by_integration(truth, distribution):
    """Return the integral of (F(y) - [y >= truth])^2 (Gneiting & Raftery 2007, equation 20)."""
    y = np.linspace(-12, 12, 200_001)
    below = np.array([distribution.cdf(value) for value in y])
    return (
        np.trapezoid((below - (y >= truth)) ** 2, y)
        if hasattr(np, "trapezoid")
        else np.trapz((below - (y >= truth)) ** 2, y)
    )


def test_crps_of_the_normal_distribution():
    for truth, mean, scale in ((0.0, 0.0, 1.0), (2.0, 0.5, 0.7), (-4.0, 0.0, 2.0)):
        expected = crps_by_integration(truth, NormalDist(mean, scale))
        assert metrics.crps_gaussian([truth], [mean], [scale]) == pytest.approx(expected, rel=1e-4)
        quantiles = [[NormalDist(mean, scale).inv_cdf(level) for level in LEVELS]]
        assert metrics.crps_from_quantiles([truth], quantiles, LEVELS) == pytest.approx(expected, rel=1e-3)
        assert metrics.crps_from_samples([truth], quantiles) == pytest.approx(expected, rel=1e-3)
    # It is the least in expectation at the distribution that the truth is drawn from.
    draws, ones = np.random.default_rng(1).normal(0, 1, 20_000), np.ones(20_000)
    scores = [metrics.crps_gaussian(draws, 0 * ones, scale * ones) for scale in (0.8, 1.0, 1.25)]
    assert scores[1] == min(scores)


def test_crps_of_samples():
    samples = normal(1, 30, 4, 7)
    pairs = np.abs(samples[..., None] - samples[..., None, :]).mean(axis=(-2, -1))
    expected = np.abs(samples - TRUTH[..., None]).mean(axis=-1) - pairs / 2
    assert metrics.crps_from_samples(TRUTH, samples) == pytest.approx(expected.mean(), rel=1e-13)
    assert metrics.crps_from_samples(TRUTH, samples[..., :1]) == pytest.approx(
        metrics.mae(TRUTH, samples[..., 0]), rel=1e-14
    )


def test_pinball_loss():
    predicted = np.sort(normal(2, 30, 4, 3), axis=-1)
    expected = 0.0
    for level, q in zip((0.1, 0.5, 0.8), np.moveaxis(predicted, -1, 0), strict=True):
        expected += np.where(q <= TRUTH, level * (TRUTH - q), (1 - level) * (q - TRUTH)).mean() / 3
    assert metrics.pinball_loss(TRUTH, predicted, (0.1, 0.5, 0.8)) == pytest.approx(expected, rel=1e-14)
    median = metrics.pinball_loss(TRUTH, predicted[..., 1:2], [0.5])
    assert median == pytest.approx(metrics.mae(TRUTH, predicted[..., 1]) / 2, rel=1e-14)
    assert metrics.crps_from_quantiles(TRUTH, predicted[..., 1:2], [0.5]) == pytest.approx(2 * median, rel=1e-14)
    # A level weighs as much as it has to itself.
    parts = [metrics.pinball_loss(TRUTH, predicted[..., k : k + 1], [level]) for k, level in enumerate((0.1, 0.5, 0.8))]
    found = metrics.crps_from_quantiles(TRUTH, predicted, (0.1, 0.5, 0.8))
    assert found == pytest.approx(2 * np.dot(parts, [0.3, 0.35, 0.35]), rel=1e-14)


def test_intervals():
    lower, upper = TRUTH - 1.0, TRUTH + 2.0
    lower[0], upper[1] = TRUTH[0] + 0.5, TRUTH[1] - 0.25
    assert metrics.interval_coverage(TRUTH, lower, upper) == 28 / 30
    width = (28 * 3 + 1.5 + 0.75) / 30
    assert metrics.interval_width(lower, upper) == pytest.approx(width, rel=1e-14)
    score = width + 2 / 0.2 * (0.5 + 0.25) / 30
    assert metrics.interval_score(TRUTH, lower, upper, 0.2) == pytest.approx(score, rel=1e-14)
    # It is the pinball loss of both ends, over alpha / 2 (equations 42 and 43).
    ends = np.stack([lower, upper], axis=-1)
    pinball = metrics.pinball_loss(TRUTH, ends, (0.1, 0.9))
    assert metrics.interval_score(TRUTH, lower, upper, 0.2) == pytest.approx(2 * pinball / 0.1, rel=1e-13)
    assert metrics.interval_coverage([1.0, 2.0], [1.0, 1.0], [1.0, 2.0]) == 1.0  # ends count
    normal_ends = [NormalDist().inv_cdf(level) * np.ones(50_000) for level in (0.05, 0.95)]
    draws = np.random.default_rng(0).normal(size=50_000)
    assert metrics.interval_coverage(draws, *normal_ends) == pytest.approx(0.9, abs=5 * math.sqrt(0.09 / 50_000))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: metrics.pinball_loss([1.0], [[1.0]], [0.1, 0.9]), ShapeError,
         r"predicted_quantiles must have shape \(1, 2\), got \(1, 1\)"),
        (lambda: metrics.pinball_loss(1.0, [[1.0]], [0.1]), ShapeError,
         r"truth must have shape \(1,\), as predicted_quantiles has, got \(\)"),
        (lambda: metrics.pinball_loss([], np.zeros((0, 1)), [0.1]), ShapeError, "truth must have at least one value"),
        (lambda: metrics.pinball_loss([1.0], [[1.0]], [1.0]), ValueError, r"quantiles\[0\] must be in \(0, 1\)"),
        (lambda: metrics.pinball_loss([1.0], np.zeros((1, 0)), []), ValueError, "quantiles must have at least one"),
        (lambda: metrics.pinball_loss([np.nan], [[1.0]], [0.5]), ValueError, "truth has 1 NaN"),
        (lambda: metrics.crps_from_quantiles([1.0], [[1.0, 2.0]], [0.9, 0.1]), ValueError, "strictly increasing"),
        (lambda: metrics.crps_from_samples([1.0], np.zeros((1, 0))), ShapeError, "samples must have at least one value"),
        (lambda: metrics.crps_from_samples([1.0], np.zeros((2, 3))), ShapeError, r"samples must have shape \(1, 3\)"),
        (lambda: metrics.crps_gaussian([1.0], [1.0], [0.0]), ValueError, "scale must be positive, got 0.0"),
        (lambda: metrics.interval_width([1.0, 2.0], [1.0, 0.0]), ValueError,
         r"upper must not be below lower, but upper\[1\] is 0.0 and lower\[1\] 2.0"),
        (lambda: metrics.interval_width([], []), ShapeError, "lower must have at least one value"),
        (lambda: metrics.interval_score([1.0], [0.0], [2.0], 1.0), ValueError, r"alpha must be in \(0, 1\), got 1.0"),
    ],
)  # fmt: skip
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()
