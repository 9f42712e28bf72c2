"""What makes forecasts of a window: a linear path, and recurrent nets that learn what it leaves."""

import dataclasses

import numpy as np

from numbarnn.forecasting.linear import Ridge
from numbarnn.forecasting.tables import Source
from numbarnn.model import Model


@dataclasses.dataclass(eq=False)
class Forecast:
    """The outputs of a forecaster, as its targets are learned: ``linear(x) + share * scale * net(x)``, or ``net(x)``.

    ``net`` is the mean of the models' outputs.

    Attributes
    ----------
    models : list of Model
    linear : Ridge or None
    scale : (outputs,) array
        Standard deviation of what the linear path leaves of the training targets.
    share : (outputs,) array
        Of the net's part, by which the squared error on the validation part is least: from 0, where the net knows nothing that
        the linear path does not, to 1.
    """

    models: list[Model]
    linear: Ridge | None = None
    scale: np.ndarray | float = 1.0
    share: np.ndarray | float = 1.0

    def __call__(self, x: np.ndarray, n_threads: int | None = None) -> np.ndarray:
        """Return outputs (windows, outputs) for windows (windows, rows, features)."""
        parts = self.parts(x, n_threads)
        return parts[0] + parts[1]

    def parts(self, x: np.ndarray, n_threads: int | None = None) -> tuple[np.ndarray | float, np.ndarray]:
        """Return what the linear path and the net add to the outputs."""
        outputs = [model.forward(x, n_threads=n_threads)[0].astype(np.float64) for model in self.models]
        net = sum(outputs[1:], outputs[0]) / len(outputs)
        return (0.0, net) if self.linear is None else (self.linear.predict(x), self.share * self.scale * net)

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
        sum r p / sum p^2. Of few windows that is little known: it is shrunk by 1 - 1 / t^2, at least 0, where t is the mean of r p
        in its standard errors, those of windows that do not overlap.
        """
        if self.linear is None:
            return
        targets, products, squares = source.targets, [], 0.0
        for x, y in source.chunks(source.some()):
            linear, net = (_by_target(part, targets) for part in self.parts(x, n_threads))
            products.append((net * (_by_target(y, targets) - linear)).sum(axis=1))
            squares = squares + np.square(net).sum(axis=(0, 1))
        products = np.concatenate(products)
        gains, count = products.sum(axis=0), len(products)
        # (1 / t)^2 of the sum over all windows, of which every horizon-th is new.
        doubt = np.divide(
            products.var(axis=0) * count * targets.horizon, gains**2, out=np.ones_like(gains), where=gains != 0
        )
        share = np.divide(gains, squares, out=np.zeros_like(gains), where=squares > 0)
        self.share = np.tile(np.clip(share, 0.0, 1.0) * np.clip(1.0 - doubt, 0.0, 1.0), targets.horizon)

    def source(self, source: Source) -> Source:
        """Return a source of what the net is to learn."""
        return source if self.linear is None else Remainders(**vars(source), forecast=self)


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
