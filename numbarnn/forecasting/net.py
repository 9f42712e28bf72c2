"""What makes forecasts of a window: a linear path, and recurrent nets that learn what it leaves."""

import dataclasses

import numpy as np

from numbarnn.forecasting.intervals import LEVELS, normal_scores
from numbarnn.forecasting.linear import Ridge
from numbarnn.forecasting.targets import Source
from numbarnn.losses import DistributionLoss, Loss, NegativeBinomial, Quantile
from numbarnn.model import Model

# Windows that the choice of an epoch costs (`Forecast.fit_share`).
CHOSEN = 30


@dataclasses.dataclass(eq=False)
class Forecast:
    """The outputs of a forecaster, as its targets are learned: ``linear(x) + share * scale * net(x)``, or ``net(x)``.

    ``net`` is the mean of the models' outputs; under a loss of distributions the mean of each target, or the median of quantiles,
    and the distribution about it, of which ``share`` takes nothing, is scaled and shifted with it.

    Attributes
    ----------
    models : list of Model
    loss : Loss
    linear : Ridge or None
    scale : (outputs,) array
        Standard deviation of what the linear path leaves of the training targets.
    share : (outputs,) array
        Of the net's part, by which the squared error on the validation part is least: from 0, where the net knows nothing that
        the linear path does not, to 1.
    """

    models: list[Model]
    loss: Loss
    linear: Ridge | None = None
    scale: np.ndarray | float = 1.0
    share: np.ndarray | float = 1.0

    @property
    def scores(self) -> np.ndarray:
        """Scores of the knots of a distribution's curve (`numbarnn.forecasting.intervals`)."""
        if not isinstance(self.loss, DistributionLoss):
            return np.zeros(1)
        return normal_scores(self.loss.levels if isinstance(self.loss, Quantile) else LEVELS)

    def run(self, x: np.ndarray, n_threads: int | None = None) -> tuple[list[np.ndarray], np.ndarray | None]:
        """Return the outputs of every net, and of the linear path if there is one, for windows (windows, rows, features)."""
        outputs = [model.forward(x, n_threads=n_threads)[0].astype(np.float64) for model in self.models]
        return outputs, None if self.linear is None else self.linear.predict(x)

    def __call__(self, x: np.ndarray, n_threads: int | None = None) -> np.ndarray:
        """Return outputs (windows, outputs) for windows (windows, rows, features)."""
        linear, net = self.parts(*self.run(x, n_threads))
        return linear + net

    def parts(self, outputs: list[np.ndarray], linear: np.ndarray | None) -> tuple[np.ndarray | float, np.ndarray]:
        """Return what the linear path and the nets add to the forecast of a `run`."""
        net = self._mean([self._center(one) for one in outputs])
        return (0.0, net) if linear is None else (linear, self.share * self.scale * net)

    def knots(self, outputs: list[np.ndarray], linear: np.ndarray | None) -> np.ndarray:
        """Return the curves of the outputs (windows, outputs, knots) of a `run`; of an ensemble, the mean curve."""
        if not isinstance(self.loss, DistributionLoss):
            return sum(self.parts(outputs, linear))[:, :, None]
        levels = self.loss.levels if isinstance(self.loss, Quantile) else LEVELS
        knots = self._mean([self.loss.quantiles(one, levels) for one in outputs])
        return (
            knots if linear is None else self._placed(knots, self._mean([self._center(one) for one in outputs]), linear)
        )

    def draw(self, outputs: np.ndarray, linear: np.ndarray | None, generator: np.random.Generator) -> np.ndarray:
        """Return a draw (windows, outputs) from the distribution of the outputs of a net."""
        drawn = self.loss.sample(outputs, generator, 1)[..., 0]
        if linear is None:
            return drawn
        return self._placed(drawn[:, :, None], self._center(outputs), linear)[..., 0]

    def _placed(self, values, center, linear):
        """Return values (windows, outputs, n) of distributions about `center` where the linear path and the share put them."""
        moved = values - ((1 - self.share) * center)[:, :, None]
        return linear[:, :, None] + self.scale[:, None] * moved

    def _center(self, outputs):
        """Return the one number that is forecast of each target."""
        if isinstance(self.loss, Quantile):
            return self.loss.quantiles(outputs, (0.5,))[..., 0]
        return self.loss.mean(outputs) if isinstance(self.loss, DistributionLoss) else outputs

    def _mean(self, parts):
        return parts[0] if len(parts) == 1 else sum(parts[1:], parts[0]) / len(parts)

    def fit_scale(self, source: Source) -> None:
        """Set the scale by training windows."""
        if self.linear is None:
            return
        left = np.concatenate([y - self.linear.predict(x) for x, y in source.chunks(source.some())])
        scale = _by_target(left, source.targets).std(axis=(0, 1))
        self.scale = np.tile(np.where(scale > 0, scale, 1.0), source.targets.horizon)
        self.share = np.ones_like(self.scale)

    def fit_share(self, source: Source, n_threads: int | None) -> None:
        """Set the share of the net by validation windows.

        With r what the linear path leaves of a target and p the net's part, the squared error is least at the share
        sum r p / sum p^2. Of few windows that is little known: it is shrunk by 1 - c / t^2, at least 0, where t is the mean of r p
        in its standard errors, those of the n windows that do not overlap, and c = 1 + 30 / n: the epoch was chosen by the same
        windows, which flatters a net the more the fewer they are.
        """
        if self.linear is None:
            return
        targets, products, squares = source.targets, [], 0.0
        for x, y in source.chunks(source.some()):
            linear, net = (_by_target(part, targets) for part in self.parts(*self.run(x, n_threads)))
            products.append((net * (_by_target(y, targets) - linear)).sum(axis=1))
            squares = squares + np.square(net).sum(axis=(0, 1))
        products = np.concatenate(products)
        gains, count = products.sum(axis=0), len(products)
        # c / t^2 of the sum over all windows, of which every horizon-th is new.
        factor = 1 + CHOSEN * targets.horizon / count
        spread = factor * products.var(axis=0) * count * targets.horizon
        doubt = np.divide(spread, gains**2, out=np.ones_like(gains), where=gains != 0)
        share = np.divide(gains, squares, out=np.zeros_like(gains), where=squares > 0)
        self.share = np.tile(np.clip(share, 0.0, 1.0) * np.clip(1.0 - doubt, 0.0, 1.0), targets.horizon)

    def source(self, source: Source) -> Source:
        """Return a source of what the net is to learn."""
        return source if self.linear is None else Remainders(**vars(source), forecast=self)


def fitted_loss(loss: Loss, source: Source) -> Loss:
    """Return a loss for the targets of training windows: one of counts that has no scale of its own takes their means."""
    if not (isinstance(loss, NegativeBinomial) and loss.scale == 1.0):
        return loss
    means = source.changes(source.some()).mean(axis=(0, 1))
    return dataclasses.replace(loss, scale=tuple(np.tile(np.where(means > 0, means, 1.0), source.targets.horizon)))


@dataclasses.dataclass(eq=False)
class Remainders(Source):
    """Batches of windows with what a linear path leaves of the targets, scaled."""

    forecast: Forecast = None

    def gather(self, samples):
        """Return x, and the target of the net."""
        x, y = super().gather(samples)
        return x, (y - self.forecast.linear.predict(x)) / self.forecast.scale


def _by_target(values, targets):
    return values.reshape(len(values), targets.horizon, -1)
