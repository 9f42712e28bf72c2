"""Distributions of forecasts: quantiles, the normal distribution, and counts."""

import operator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from numbarnn.checks import brief, check_levels, check_real, naming, to_array, to_list
from numbarnn.core.layout import Layout
from numbarnn.errors import ShapeError
from numbarnn.kernels import equations
from numbarnn.kernels.cpu.losses import count_quantiles
from numbarnn.losses.base import loss
from numbarnn.losses.distribution_loss import DistributionLoss, check_generator, drawn_shape

# Above it NumPy refuses to draw a count; the spread of such counts is 1e-9 of them.
MOST_DRAWN = 1e18


@loss("quantile")
@dataclass(frozen=True)
class Quantile(DistributionLoss):
    """E = mean over the targets and the levels l of max(l (t - q), (l - 1) (t - q)), the pinball loss of predicted quantiles q.

    The model has as many outputs for each target as there are levels. The first is the quantile of the lowest level, and every
    other output y adds log(1 + exp(y)) to the quantile below: q_1 = y_1, q_k = q_(k-1) + log(1 + exp(y_k)). Quantiles never
    cross.

    Targets and their order are those of `DistributionLoss`. Between the levels `quantiles`, `mean` and `sample` interpolate the
    quantile function linearly, and beyond the outermost they go on as straight as between the last two: draws are bounded, and
    the mean is that of the same straight pieces. With one level all are its quantile.

    Parameters
    ----------
    levels : sequence of float
        In (0, 1), strictly increasing.

    Raises
    ------
    TypeError, ValueError
        If `levels` are not such numbers.

    References
    ----------
    R. Koenker, G. Bassett, "Regression quantiles", Econometrica 46 (1978), 33-50.

    Examples
    --------
    >>> import numpy as np
    >>> import numbarnn as nr
    >>> loss = nr.losses.Quantile((0.1, 0.5, 0.9))
    >>> model = nr.Model([nr.GRU(8, return_sequences=False), nr.Dense(loss.size(2))], input_size=2, seed=0)
    >>> x = np.random.default_rng(0).standard_normal((64, 10, 2))
    >>> history = model.fit(x, x[:, -1], epochs=2, loss=loss, verbose=0)
    >>> loss.quantiles(model.predict(x), (0.1, 0.9)).shape
    (64, 2, 2)
    """

    levels: tuple[float, ...] = (0.1, 0.5, 0.9)

    def __post_init__(self):
        levels = check_levels(self.levels, "levels")
        if not levels or any(map(operator.ge, levels, levels[1:])):
            raise ValueError(f"levels must be strictly increasing, and at least one, got {brief(self.levels)}")
        object.__setattr__(self, "levels", levels)

    @property
    def outputs_per_target(self) -> Any:
        """Outputs for each target: one for each level."""
        return len(self.levels)

    @property
    def term(self):
        """The term of `numbarnn.kernels.equations.quantile` for as many levels."""
        return equations.quantile(len(self.levels))

    def _predicted(self, outputs):
        """Return the quantiles of the levels, (..., targets, levels)."""
        values = self.split(outputs)
        return np.concatenate([values[..., :1], np.logaddexp(0, values[..., 1:])], axis=-1).cumsum(axis=-1)

    def _interpolate(self, predicted, at):
        """Return the quantile function of each target at numbers of (0, 1), (..., targets, numbers)."""
        levels = np.array(self.levels)
        if levels.size == 1:
            return np.broadcast_to(predicted, at.shape).copy()
        left = np.searchsorted(levels[1:-1], at, side="right")
        low, high = (np.take_along_axis(predicted, left + k, axis=-1) for k in (0, 1))
        return low + (at - levels[left]) / (levels[left + 1] - levels[left]) * (high - low)

    def mean(self, outputs: Any) -> np.ndarray:
        predicted = self._predicted(outputs)
        ends = self._interpolate(predicted, np.broadcast_to([0.0, 1.0], (*predicted.shape[:-1], 2)))
        values = np.concatenate([ends[..., :1], predicted, ends[..., 1:]], axis=-1)
        return 0.5 * (values[..., 1:] + values[..., :-1]) @ np.diff([0.0, *self.levels, 1.0])

    def quantiles(self, outputs: Any, q: Any) -> np.ndarray:
        predicted, q = self._predicted(outputs), check_levels(q, "q")
        return self._interpolate(predicted, np.broadcast_to(q, (*predicted.shape[:-1], len(q))))

    def sample(self, outputs: Any, generator: Any, count: Any) -> np.ndarray:
        predicted = self._predicted(outputs)
        return self._interpolate(predicted, check_generator(generator).random(drawn_shape(predicted[..., 0], count)))


@loss("gaussian")
@dataclass(frozen=True)
class Gaussian(DistributionLoss):
    """E = mean over the targets of log(2 pi) / 2 + log s + ((t - m) / s)^2 / 2: normal negative log-likelihood.

    The outputs of a target are m and y, with the scale s = log(1 + exp(y)) + floor. `torch.nn.GaussianNLLLoss` with ``full=True``
    and the variance s^2. Nothing in it overflows or cancels where the loss itself is a number of the model's dtype. Targets and
    their order are those of `DistributionLoss`.

    Parameters
    ----------
    floor : float
        What the scale stays above, in the units of the targets; positive. The gradient is at most of the order of 1 / floor^2.

    Raises
    ------
    TypeError, ValueError
        If `floor` is not a positive finite number.

    References
    ----------
    D. A. Nix, A. S. Weigend, "Estimating the mean and variance of the target probability distribution", ICNN 1994.
    """

    floor: float = 1e-3

    outputs_per_target = 2
    term = staticmethod(equations.gaussian)

    def __post_init__(self):
        if check_real(self.floor, "floor") <= 0:
            raise ValueError(f"floor must be positive and finite, got {brief(self.floor)}")

    def stddev(self, outputs: Any) -> np.ndarray:
        """Return the standard deviation of each target, the scale s.

        Parameters
        ----------
        outputs : (..., targets * 2) array
            Of a model.

        Returns
        -------
        (..., targets) float64 array

        Raises
        ------
        ShapeError, TypeError, ValueError
            As `split`.
        """
        return np.logaddexp(0, self.split(outputs)[..., 1]) + self.floor

    def mean(self, outputs: Any) -> np.ndarray:
        return self.split(outputs)[..., 0]

    def quantiles(self, outputs: Any, q: Any) -> np.ndarray:
        standard = np.array([NormalDist().inv_cdf(level) for level in check_levels(q, "q")])
        return self.mean(outputs)[..., None] + self.stddev(outputs)[..., None] * standard

    def sample(self, outputs: Any, generator: Any, count: Any) -> np.ndarray:
        mean, scale = self.mean(outputs)[..., None], self.stddev(outputs)[..., None]
        return mean + scale * check_generator(generator).standard_normal(drawn_shape(mean[..., 0], count))


@loss("negative_binomial")
@dataclass(frozen=True)
class NegativeBinomial(DistributionLoss):
    """E = mean over the targets of the negative log-likelihood of counts t, log(t! G(r) / G(t + r)) - r log p - t log(1 - p).

    r = 1 / a, p = 1 / (1 + a m), G is the gamma function; the mean is m and the variance m + a m^2. The outputs y of a target
    give m = scale log(1 + exp(y_1)) and a = log(1 + exp(y_2)) / sqrt(scale). Targets are integers >= 0 (of any dtype), their
    order is that of `DistributionLoss`. Where a nearly vanishes, the distribution is Poisson's; nothing cancels there.

    Parameters
    ----------
    scale : float or sequence of float
        What counts are of the order of, for example their mean in training, so that outputs are of the order of 1; one for all
        targets or one for each; positive. `mean`, `quantiles` and `sample` are counts, whatever the scale.

    Raises
    ------
    TypeError, ValueError
        If `scale` is not a positive finite number or a sequence of them.

    References
    ----------
    D. Salinas, V. Flunkert, J. Gasthaus, T. Januschowski, "DeepAR: Probabilistic forecasting with autoregressive recurrent
    networks", International Journal of Forecasting 36 (2020), 1181-1191: the likelihood of section 3.1 and the scale of section
    3.3.
    """

    scale: float | tuple[float, ...] = 1.0

    outputs_per_target = 2
    term = staticmethod(equations.negative_binomial)

    def __post_init__(self):
        many = to_array(self.scale, "scale").ndim > 0
        scales = to_list(self.scale, "scale", "numbers, one a target") if many else [self.scale]
        scales = tuple(check_real(value, f"scale[{index}]" if many else "scale") for index, value in enumerate(scales))
        if not scales or min(scales) <= 0:
            raise ValueError(f"scale must be positive and finite, got {brief(self.scale)}")
        object.__setattr__(self, "scale", scales if many else scales[0])

    def check(self, source: Any, signal: Any) -> None:
        super().check(source, signal)
        lengths = source.lengths if signal.sequence else None
        layout = Layout.make(source.x.shape[1] if signal.sequence else 1, len(source.x), lengths)
        with naming("y", "target"):
            self.targets(source.y, signal.size, layout, np.float64)

    def targets(self, target: Any, size: int, layout: Layout, dtype: Any) -> np.ndarray:
        rows = super().targets(target, size, layout, dtype)
        values = rows.reshape(layout.steps, layout.samples, -1)
        wrong = ~((values >= 0) & (values == np.floor(values)) & (values < np.inf))
        if not layout.full:
            wrong &= (np.arange(layout.samples) < layout.active[:, None])[:, :, None]
        if wrong.any():
            raise ValueError(
                f"target of {self.name} must be counts, integers >= 0; {np.count_nonzero(wrong)} values are not, the first is "
                f"{values[wrong][0]}"
            )
        return rows

    def _parameters(self, outputs):
        """Return means and dispersions of all targets."""
        values = np.logaddexp(0, self.split(outputs))
        scale = np.array(self.scale)
        if scale.shape not in ((), (1,), values.shape[-2:-1]):
            raise ShapeError(
                f"scale of {self.name} must be a number, or one for each of {values.shape[-2]} targets, got {len(scale)}"
            )
        return scale * values[..., 0], values[..., 1] / np.sqrt(scale)

    def mean(self, outputs: Any) -> np.ndarray:
        return self._parameters(outputs)[0]

    def quantiles(self, outputs: Any, q: Any) -> np.ndarray:
        mean, alpha = self._parameters(outputs)
        q, shape = np.array(check_levels(q, "q")), mean.shape
        found = np.empty((mean.size, len(q)))
        count_quantiles(mean.reshape(-1), alpha.reshape(-1), q, found.reshape(-1))
        return found.reshape(*shape, len(q))

    def sample(self, outputs: Any, generator: Any, count: Any) -> np.ndarray:
        mean, alpha = (values[..., None] for values in self._parameters(outputs))
        shape = drawn_shape(mean[..., 0], count)
        # A count of Poisson's distribution whose mean is drawn from a gamma distribution, of shape 1 / a and mean m.
        alpha = np.maximum(alpha, 1e-15)
        rates = check_generator(generator).gamma(1 / alpha, alpha * mean, shape)
        counts = generator.poisson(np.minimum(rates, MOST_DRAWN)).astype(np.float64)
        return np.where(rates > MOST_DRAWN, np.rint(rates), counts)
