"""Losses of distributions: likelihoods at the edges of what is computed, and means, quantiles and draws."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import naive
import numpy as np
import pytest
from conftest import DTYPES, GRADIENT_TOLERANCE, assert_close, assert_same_bits, normal
from processes import run_python
from test_losses_optim import RAGGED, N, T, evaluate

import numbarnn as nr
from numbarnn import metrics
from numbarnn.errors import ShapeError
from numbarnn.kernels import equations
from numbarnn.losses import DistributionLoss, Gaussian, NegativeBinomial, PointwiseLoss, Quantile

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
LEVELS = (0.01, 0.1, 0.5, 0.9, 0.999)
LOSSES = [Quantile((0.3,)), Quantile((0.05, 0.2, 0.5, 0.7, 0.95)), Gaussian(0.2), NegativeBinomial((3.0, 0.5))]
every = pytest.mark.parametrize("loss", LOSSES, ids=str)


def example(loss, seed=0):
    """Return outputs and a target of two features."""
    outputs = 1.5 * normal(seed, N, T, loss.size(2))
    counts = np.random.default_rng(seed).poisson(3, (N, T, 2)).astype(float)
    return outputs, counts if isinstance(loss, NegativeBinomial) else normal(seed + 1, N, T, 2)


# Gradients and precision


@every
@pytest.mark.parametrize("lengths", [None, RAGGED], ids=["full", "ragged"])
def test_gradient_by_central_differences(loss, lengths):
    (outputs, target), weight = example(loss), np.array([0.5, 2.0, 0.0, 1.0, 3.0])
    gradient = evaluate(loss, outputs, target, lengths, sample_weight=weight)[1]
    expected = naive.central_differences(
        lambda outputs: evaluate(loss, outputs, target, lengths, sample_weight=weight)[0], outputs
    )
    assert_close(gradient, expected, GRADIENT_TOLERANCE)
    single = evaluate(loss, outputs.astype(np.float32), target, lengths, sample_weight=weight)[1]
    assert_close(single, gradient, 2e-6)


@every
@every_dtype
def test_extreme_outputs(loss, dtype):
    """Losses and gradients are finite."""
    values = np.array([-1e4, -90.0, -30.0, 0.0, 30.0, 90.0, 1e4])
    pairs = np.stack(np.meshgrid(values, values), axis=-1).reshape(1, -1, 2).astype(dtype)
    outputs = np.tile(np.resize(pairs, (*pairs.shape[:2], loss.outputs_per_target)), (1, 1, 2))
    for target in (0.0, 1.0, 7.0, 1e4):
        value, gradient, _ = evaluate(loss, outputs, np.full((*outputs.shape[:2], 2), target), reduction="none")
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()


def test_error_of_stirlings_formula():
    for x in (1e-3, 0.3, 1.0, 2.5, 7.9, 8.0, 8.1, 20.0):
        expected = math.lgamma(x) - ((x - 0.5) * math.log(x) - x + 0.5 * math.log(2 * math.pi))
        assert equations.stirling_error(x) == pytest.approx(expected, abs=3e-14)
        h = 1e-4 * x
        slope = (equations.stirling_error(x + h) - equations.stirling_error(x - h)) / (2 * h)
        assert equations.stirling_slope(x) == pytest.approx(slope, rel=2e-7)
    for x in (1e3, 1e6, 1e15):
        assert equations.stirling_error(x) == pytest.approx(1 / (12 * x) - 1 / (360 * x**3), rel=1e-12)
        assert equations.stirling_slope(x) == pytest.approx(-1 / (12 * x**2) + 1 / (120 * x**4), rel=1e-12)
    # digamma(x) at 1, 1/2 and 1/4
    gamma = 0.57721566490153286061
    for x, digamma in ((1.0, -gamma), (0.5, -gamma - 2 * math.log(2)), (0.25, -gamma - math.pi / 2 - 3 * math.log(2))):
        assert equations.stirling_slope(x) + math.log(x) - 1 / (2 * x) == pytest.approx(digamma, rel=1e-14)


COUNTS = np.array([0.0, 1, 5, 100, 1000, 100_000])


@pytest.mark.parametrize("raw_alpha", [-1e4, -30.0, -12.0, -3.0, 1.0, 1e3])
def test_negative_binomial_of_all_sizes(raw_alpha):
    """The sum of large terms that nearly cancel keeps its digits, in float32 too."""
    loss = NegativeBinomial(100.0)
    outputs = np.tile([2.0, raw_alpha], (1, len(COUNTS), 1))
    target = COUNTS[None, :, None]
    value, gradient, _ = evaluate(loss, outputs, target, reduction="none")
    mean = loss.mean(outputs)[0, 0, 0]
    if raw_alpha == -1e4:  # Poisson's, but for alpha z^2 / 2 with the least alpha, 1e-15
        expected = [mean - z * math.log(mean) + math.lgamma(z + 1) for z in COUNTS]
        assert_close(value, expected, 2e-11)
        assert_close(gradient[0, :, 0], (mean - COUNTS) * np.exp(2) / (1 + np.exp(2)) / np.logaddexp(0, 2), 1e-12)
    single, slopes, _ = evaluate(loss, outputs.astype(np.float32), target, reduction="none")
    assert (np.abs(single - value) <= 1e-6 * np.maximum(value, 1)).all()
    assert (np.abs(slopes - gradient) <= 2e-6 * np.maximum(np.abs(gradient), 0.1)).all()


def test_counts_too_large_to_be_drawn_one_by_one():
    """NumPy draws no Poisson count above 9.2e18."""
    drawn = NegativeBinomial().sample(np.array([[1e20, -50.0], [2.0, 0.0]]), np.random.default_rng(0), 50)
    assert np.allclose(drawn[0], 1e20, rtol=1e-6)
    assert (drawn[1] < 100).all()


def test_negative_binomial_equals_scipy():
    stats = pytest.importorskip("scipy.stats")
    outputs = np.random.default_rng(1).uniform(-6, 6, (1, 500, 2))
    target = np.random.default_rng(2).integers(0, 50, (1, 500, 1))
    mean, alpha = np.logaddexp(0, outputs[0].T)
    value = evaluate(NegativeBinomial(), outputs, target, reduction="none")[0]
    assert_close(value, -stats.nbinom.logpmf(target[0, :, 0], 1 / alpha, 1 / (1 + alpha * mean)), 1e-11)
    for scale in (1.0, 300.0):
        loss = NegativeBinomial(scale)
        mean, alpha = scale * np.logaddexp(0, outputs[0, :, :1]), np.logaddexp(0, outputs[0, :, 1:]) / math.sqrt(scale)
        expected = stats.nbinom.ppf(LEVELS, 1 / alpha, 1 / (1 + alpha * mean))
        assert (loss.quantiles(outputs, LEVELS)[0, :, 0] == expected).all()


@every_dtype
def test_gaussian_equals_torch(dtype):
    torch = pytest.importorskip("torch")
    outputs, target = normal(0, N, T, 4, dtype=dtype), normal(1, N, T, 2, dtype=dtype)
    value, gradient, _ = evaluate(Gaussian(0.1), outputs, target)
    theirs = torch.tensor(outputs, requires_grad=True)
    scale = torch.nn.functional.softplus(theirs[..., 1::2]) + 0.1
    loss = torch.nn.GaussianNLLLoss(full=True)(theirs[..., ::2], torch.tensor(target), scale**2)
    loss.backward()
    tolerance = {"float32": 2e-6, "float64": 1e-13}[dtype]
    assert_close(value, loss.item(), tolerance)
    assert_close(gradient, theirs.grad.numpy(), tolerance)


def test_quantile_loss_is_the_pinball_loss():
    loss = Quantile((0.05, 0.2, 0.5, 0.7, 0.95))
    outputs, target = example(loss)
    predicted = loss.quantiles(outputs, loss.levels)
    assert evaluate(loss, outputs, target)[0] == pytest.approx(
        metrics.pinball_loss(target, predicted, loss.levels), rel=1e-14
    )
    assert (np.diff(loss.quantiles(100 * outputs, loss.levels), axis=-1) >= 0).all()  # never cross


@pytest.mark.parametrize(
    ("loss", "draw"),
    [
        (Quantile((0.1, 0.5, 0.8)), lambda generator: generator.exponential(2.0, 4000)),
        (Gaussian(), lambda generator: generator.normal(3.0, 0.5, 4000)),
        (NegativeBinomial(10.0), lambda generator: generator.negative_binomial(2.0, 2.0 / 42.0, 4000)),
    ],
    ids=["quantile", "gaussian", "negative_binomial"],
)
def test_training_finds_the_distribution(loss, draw):
    target = draw(np.random.default_rng(3))
    model = nr.Model([nr.Dense(loss.outputs_per_target)], input_size=1, dtype="float64", seed=0)
    options = {"optimizer": nr.optim.Adam(0.2), "schedule": nr.optim.Cosine(800), "batch_size": 200, "verbose": 0}
    model.fit(np.zeros((4000, 1, 1)), target[:, None, None], loss=loss, epochs=40, **options)
    found = loss.quantiles(model.predict(np.zeros((1, 1, 1))), (0.1, 0.5, 0.8))
    assert_close(found[0, 0, 0], np.quantile(target, (0.1, 0.5, 0.8)), 0.03)


# Answers


def share_below(draws, values):
    return (draws[..., None, :] <= values[..., None]).mean(axis=-1)


@every
def test_answers_of_any_shape(loss):
    outputs, _ = example(loss)
    before, generator = outputs.copy(), np.random.default_rng(0)
    for given in (outputs, outputs[0], outputs[0, 0], outputs.astype(np.float32)):
        assert loss.mean(given).shape == (*given.shape[:-1], 2)
        assert loss.quantiles(given, LEVELS).shape == (*given.shape[:-1], 2, len(LEVELS))
        assert loss.sample(given, generator, 3).shape == (*given.shape[:-1], 2, 3)
    assert_same_bits(outputs, before)
    # Output k of target j is number j K + k.
    each = loss.outputs_per_target
    second = NegativeBinomial(0.5) if isinstance(loss, NegativeBinomial) else loss
    assert_same_bits(second.quantiles(outputs[..., each:], LEVELS), loss.quantiles(outputs, LEVELS)[..., 1:, :])
    assert (np.diff(loss.quantiles(outputs, LEVELS), axis=-1) >= 0).all()
    assert_same_bits(loss.quantiles(outputs, LEVELS[::-1]), loss.quantiles(outputs, LEVELS)[..., ::-1])
    again = [loss.sample(outputs, np.random.default_rng(7), 2) for _ in range(2)]
    assert_same_bits(*again)


@every
def test_draws_are_of_the_distribution(loss):
    outputs = example(loss)[0][0, 0]
    draws, count = loss.sample(outputs, np.random.default_rng(1), 40_000), 40_000
    error = draws.std(axis=-1) / math.sqrt(count)
    assert (np.abs(draws.mean(axis=-1) - loss.mean(outputs)) <= 5 * error + 1e-12).all()
    found = share_below(draws, loss.quantiles(outputs, LEVELS))
    if isinstance(loss, NegativeBinomial):  # the smallest count at which the level is reached
        assert (found >= np.array(LEVELS) - 5 * np.sqrt(0.25 / count)).all()
        assert (
            share_below(draws, loss.quantiles(outputs, LEVELS) - 1) <= np.array(LEVELS) + 5 * np.sqrt(0.25 / count)
        ).all()
    elif loss != Quantile((0.3,)):
        assert np.abs(found - LEVELS).max() <= 5 * np.sqrt(0.25 / count)


def test_answers_of_quantiles():
    loss, outputs = Quantile((0.2, 0.5, 0.6)), np.array([[1.0, 0.5, -1.0]])
    low, middle, high = 1.0, 1 + math.log1p(math.exp(0.5)), 1 + math.log1p(math.exp(0.5)) + math.log1p(math.exp(-1))
    assert_close(loss.quantiles(outputs, loss.levels)[0, 0], [low, middle, high], 1e-15)
    between = loss.quantiles(outputs, (0.1, 0.3, 0.55, 0.9))[0, 0]  # straight pieces, also beyond the outermost
    rise, last = (middle - low) / 0.3, (high - middle) / 0.1
    assert_close(between, [low - 0.1 * rise, low + 0.1 * rise, middle + 0.05 * last, high + 0.3 * last], 1e-14)
    grid = (np.arange(1000) + 0.5) / 1000
    assert_close(loss.mean(outputs)[0, 0], loss.quantiles(outputs, grid).mean(), 1e-9)
    assert Quantile((0.3,)).quantiles([2.0], LEVELS).tolist() == [[2.0] * 5]
    assert Quantile((0.3,)).mean([2.0]).tolist() == [2.0]


def test_answers_of_the_normal_distribution():
    loss, outputs = Gaussian(0.25), np.array([-1.0, 0.0, 2.0, -1e4])
    assert_close(loss.mean(outputs), [-1.0, 2.0], 0.0)
    assert_close(loss.stddev(outputs), [math.log(2) + 0.25, 0.25], 1e-15)
    for j, (mean, scale) in enumerate(((-1.0, math.log(2) + 0.25), (2.0, 0.25))):
        found = [NormalDist(mean, scale).cdf(value) for value in loss.quantiles(outputs, LEVELS)[j]]
        assert_close(found, LEVELS, 1e-12)


def test_quantiles_of_counts():
    """The smallest counts at which the summed probabilities reach the levels."""
    loss = NegativeBinomial((1.0, 40.0, 7.0))
    outputs = np.array([1.0, -2.0, 3.0, 1.0, -1.0, -1e4])
    found = loss.quantiles(outputs, LEVELS)
    for j, scale in enumerate(loss.scale):
        mean, alpha = scale * np.logaddexp(0, outputs[2 * j]), np.logaddexp(0, outputs[2 * j + 1]) / math.sqrt(scale)
        p = [math.exp(-mean) if alpha == 0 else (1 + alpha * mean) ** (-1 / alpha)]
        for k in range(3000):
            p.append(p[-1] * mean * (1 + alpha * k) / ((k + 1) * (1 + alpha * mean)))
        assert found[j].tolist() == [float(np.searchsorted(np.cumsum(p), level)) for level in LEVELS]
        assert loss.mean(outputs)[j] == pytest.approx(mean)


def test_quantiles_of_extreme_counts():
    loss, raw = NegativeBinomial(), (-1e4, -40.0, 0.0, 1e4)
    for outputs in np.stack(np.meshgrid(raw, raw), axis=-1).reshape(-1, 2):
        found = loss.quantiles(outputs, LEVELS)
        assert np.isfinite(found).all()
        assert np.isfinite(loss.sample(outputs, np.random.default_rng(0), 3)).all()
    # Poisson's distribution of a large mean is nearly normal.
    found = NegativeBinomial(1e6).quantiles([5.0, -40.0], LEVELS)[0]
    mean = 1e6 * np.logaddexp(0, 5.0)
    assert_close(found - mean, [math.sqrt(mean) * NormalDist().inv_cdf(level) for level in LEVELS], 2e-3)


# What fits and what does not


def test_outputs_that_do_not_fit():
    x, message = (
        normal(0, 4, 3, 2),
        r"loss 'gaussian' needs 2 outputs a target: make the last layer Dense\(2 \* targets\)",
    )
    for outputs, target, found in (
        (3, normal(1, 4, 3, 1), "the model has 3 outputs; "),
        (1, normal(1, 4, 3, 1), "the model has 1 output; "),
        (2, normal(1, 4, 3, 2), r"must have shape .*\(4, 3, 1\), got \(4, 3, 2\); "),
    ):
        model = nr.Model([nr.Dense(outputs)], 2)
        with pytest.raises(ShapeError, match=found + message):
            model.fit(x, target, loss="gaussian", verbose=0, batch_size=4)
        with pytest.raises(ShapeError, match=found + message):
            model.loss_and_grad(x, target, "gaussian")
    with pytest.raises(ShapeError, match=r"outputs of gaussian must end in 2 values for each target, got shape \(3,\)"):
        Gaussian().mean([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="outputs has 1 NaN or infinite value"):
        Gaussian().mean([1.0, np.nan])
    with pytest.raises(
        ShapeError, match="scale of negative_binomial must be a number, or one for each of 2 targets, got 3"
    ):
        NegativeBinomial((1.0, 2.0, 3.0)).mean(np.zeros(4))
    with pytest.raises(ShapeError, match=r"scale of negative_binomial must be .* each of 2 features"):
        evaluate(NegativeBinomial((1.0, 2.0, 3.0)), np.zeros((1, 1, 4)), np.zeros((1, 1, 2)))


@pytest.mark.parametrize("value", [-1.0, 0.5, np.nan, np.inf])
def test_targets_that_are_not_counts(value):
    target = np.ones((N, T, 2))
    target[1, 2, 1] = value
    with pytest.raises(ValueError, match="target of negative_binomial must be counts, integers >= 0; 1 values are not"):
        evaluate(NegativeBinomial(), np.zeros((N, T, 4)), target)
    evaluate(NegativeBinomial(), np.zeros((N, T, 4)), target, [6, 2, 6, 6, 6])
    if math.isfinite(value):  # of other values sources speak
        model = nr.Model([nr.Dense(4)], 1)
        start = model.params.flat.copy()
        with pytest.raises(ValueError, match="y of negative_binomial must be counts"):  # before training
            model.fit(np.ones((N, T, 1)), target, loss="negative_binomial", batch_size=1, verbose=0)
        assert_same_bits(model.params.flat, start)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Quantile((0.5, 0.5)), ValueError, "levels must be strictly increasing"),
        (lambda: Quantile(()), ValueError, "levels must be strictly increasing, and at least one"),
        (lambda: Quantile((0.0, 0.5)), ValueError, r"levels\[0\] must be in \(0, 1\), got 0.0"),
        (lambda: Quantile(0.5), TypeError, "levels must be a list of numbers"),
        (lambda: Gaussian(0), ValueError, "floor must be positive"),
        (lambda: NegativeBinomial(0), ValueError, "scale must be positive"),
        (lambda: NegativeBinomial((1.0, -1.0)), ValueError, "scale must be positive"),
        (lambda: NegativeBinomial((1.0, "a")), TypeError, r"scale\[1\] must be a number"),
        (lambda: Gaussian().quantiles([0.0, 0.0], (0.5, 1.0)), ValueError, r"q\[1\] must be in \(0, 1\)"),
        (lambda: Gaussian().sample([0.0, 0.0], 0, 3), TypeError, "generator must be a numpy.random.Generator, got 0"),
        (lambda: Gaussian().sample([0.0, 0.0], np.random.default_rng(0), 0), ValueError, "count must be an integer >= 1"),
        (lambda: Gaussian().size(0), ValueError, "targets must be an integer >= 1"),
    ],
)  # fmt: skip
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


# The user's own


@dataclass(frozen=True)
class Logistic(DistributionLoss):
    """Location and log-scale, with an option of each target."""

    name = "logistic"
    outputs_per_target = 2
    shift: float | tuple[float, ...] = 0.0

    @staticmethod
    def term(y, t, shift):
        location, log_scale = y
        one = type(t)(1)
        z = (t - shift - location) * math.exp(-log_scale)
        slope = math.tanh(type(t)(0.5) * z)
        loss = log_scale - z + (one + one) * math.log(one + math.exp(z))
        return loss, (-slope * math.exp(-log_scale), one - slope * z)


def test_a_distribution_of_the_users_own():
    loss, x, y = Logistic((0.5, -1.0)), normal(1, 3, 4, 2), normal(2, 3, 4, 2)
    results = {}
    for device in ("cpu", "cuda"):
        model = nr.Model([nr.RNN(2), nr.Dense(loss.size(2))], 2, "float64", seed=1, device=device)
        results[device] = model.loss_and_grad(x, y, loss, [4, 0, 2])
    assert results["cuda"][0] == pytest.approx(results["cpu"][0], rel=1e-12)
    for key, array in results["cpu"][1].items():
        assert_close(results["cuda"][1][key], array, 1e-12, key)
    outputs, target = example(loss)
    expected = naive.central_differences(lambda outputs: evaluate(loss, outputs, target, RAGGED)[0], outputs)
    assert_close(evaluate(loss, outputs, target, RAGGED)[1], expected, GRADIENT_TOLERANCE)
    for method, arguments in (("mean", ()), ("quantiles", ((0.5,),)), ("sample", (np.random.default_rng(0), 2))):
        with pytest.raises(TypeError, match=f"Logistic has no {method}: give it a method {method}"):
            getattr(loss, method)(outputs, *arguments)


def test_bad_terms_are_refused():
    for base, result in (
        (DistributionLoss, lambda y, t: (y[0] - t, (y[0],))),
        (DistributionLoss, lambda y, t: (y[0] - t, y[0])),
        (DistributionLoss, lambda y, t: y[0] - t),
    ):
        with pytest.raises(TypeError, match=r"Wrong.term must return \(loss, slopes\), a scalar and a tuple of 2, got"):
            type("Wrong", (base,), {"term": staticmethod(result), "outputs_per_target": 2})
    with pytest.raises(TypeError, match="must take an output, its target, and options"):
        type("Wrong", (PointwiseLoss,), {"term": staticmethod(lambda y, t, *options: (y, t))})


# As a program of the user's, on a cache that other processes read.
PROGRAM = """
import numpy as np
import numbarnn as nr
from numbarnn.kernels import cache
compiled = []
cache.on_compile.append(compiled.append)
loss = nr.losses.Quantile((0.1, 0.3, 0.5, 0.7))
value, _ = nr.Model([nr.Dense(4)], 1, seed=0).loss_and_grad(np.ones((2, 3, 1)), np.ones((2, 3)), loss)
print(len(compiled), value)
"""


def test_a_second_process_compiles_nothing(tmp_path):
    first, second = (run_python(PROGRAM, cwd=tmp_path, cache=tmp_path / "cache").stdout.split() for _ in range(2))
    assert int(first[0]) > 0
    assert second == ["0", first[1]]
