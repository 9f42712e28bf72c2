"""Limits of the linear path of estimators: what noise explains, summaries that hardly vary, and those far beyond training."""

import numpy as np
import pytest
from conftest import assert_close

from numbarnn.estimators import linear
from numbarnn.estimators.linear import explains, fit_labels, fit_values, summaries

GENERATOR = np.random.default_rng(0)


def noise_passes(samples, features, kind, sets=100):
    """Return the share of sets of mere noise of which the path would be taken."""
    generator, weight, found = np.random.default_rng(samples + features), np.ones(samples), []
    for _ in range(sets):
        rows = summaries(generator.normal(size=(samples, 6, features)))
        if kind == "values":
            explained = fit_values(rows, generator.normal(size=(samples, 1)), None)[1]
        elif kind == "labels":
            explained = fit_labels(rows, np.eye(2)[generator.integers(0, 2, samples)], None, False)[1]
        else:
            explained = fit_labels(rows, generator.integers(0, 2, (samples, 2)).astype(float), None, True)[1]
        found.append(explains(explained, weight))
    return np.mean(found)


@pytest.mark.parametrize("kind", ["values", "labels", "several labels"])
def test_noise_explains_nothing(kind):
    """The best of many candidates explains some noise by chance, of few samples more: less than 1 in 20 such sets passes."""
    sizes = [(samples, features) for samples in (10, 20, 30, 80) for features in (2, 4)]
    assert np.mean([noise_passes(*size, kind, 60) for size in sizes]) < 0.05
    assert noise_passes(20, 2, kind) < 0.07


def test_what_explains_is_above_chance():
    """The limit falls with the samples, those that count; little of many samples is enough, much of few."""
    weight = np.ones(100)
    limit = linear.LEAST_EXPLAINED + linear.BY_CHANCE / 100
    assert explains(limit + 1e-9, weight)
    assert not explains(limit - 1e-9, weight)
    assert explains(limit + 1e-9, 7 * weight)
    assert not explains(limit + 1e-9, np.where(np.arange(100) < 50, 1.0, 1e-3))
    rows = GENERATOR.normal(size=(16, 5))
    _, explained = fit_values(rows, rows @ np.ones((5, 1)) + 0.2 * GENERATOR.normal(size=(16, 1)), None)
    assert explains(explained, np.ones(16))


def test_summaries_far_beyond_training():
    """A summary that hardly varied has a steep line, on which nothing goes far."""
    rows = GENERATOR.normal(size=(40, 5))
    rows[:, 2] = 1 + 1e-5 * rows[:, 2]
    target = rows.sum(axis=1, keepdims=True) + 1e5 * (rows[:, 2:3] - 1)
    path, _ = fit_values(rows, target, None)
    assert np.abs(path.weight[2]) > 0.5
    assert_close(path.outputs(rows), target, 1e-2)
    far = rows.copy()
    far[:, 2] = 5
    at_limit = rows.copy()
    low, high = rows[:, 2].min(), rows[:, 2].max()
    at_limit[:, 2] = high + (high - low) / 2
    assert_close(path.outputs(far), path.outputs(at_limit), 1e-12)
    assert np.abs(path.outputs(far)).max() < 3 * np.abs(target).max()
    inside = rows.copy()
    inside[:, 2] = high + (high - low) / 4
    assert_close(path.outputs(inside), (inside - path.center) / path.scale @ path.weight + path.bias, 1e-12)


def test_summaries_that_are_constant_beside_their_feature():
    """A spread is small or not beside that of the feature, in whatever units; what rounding leaves has no weight."""
    rows = GENERATOR.normal(size=(40, 5)) + 1
    target = rows @ np.ones((5, 1))
    expected = fit_values(rows, target, None)
    for units in (1e-12, 1e12):
        path, explained = fit_values(units * rows, target, None)
        assert_close(path.outputs(units * rows), expected[0].outputs(rows), 1e-8)
        assert_close(explained, expected[1], 1e-8)
    rounded = rows.copy()
    rounded[:, 4] = 1 + 1e-7 * GENERATOR.normal(size=40)
    path, _ = fit_values(rounded, rows[:, :1] + 1e7 * (rounded[:, 4:] - 1), None)
    assert path.scale[4] == 1
    assert np.abs(path.weight[4] * (rounded[:, 4] - 1)).max() < 1e-6
    constant = np.full((40, 3, 2), 0.1) * np.array([1, 0])  # whose mean and deviation are rounded
    constant[:, :, 1] = GENERATOR.normal(size=(40, 1))
    path, _ = fit_values(summaries(constant), constant[:, 0, 1:], None)
    mean, deviation, last, low, high = path.scale.reshape(5, 2).T[1]
    assert (path.scale.reshape(5, 2)[:, 0] == 1).all()
    assert_close(np.array([mean, last, low, high]), np.full(4, constant[:, 0, 1].std()), 1e-10)
    assert deviation == 1
