"""Recursive forecasts: paths that go on from windows row after row, all of them at once."""

import dataclasses

import numpy as np

from numbarnn.forecasting.net import Forecast
from numbarnn.forecasting.preparation import Preparation
from numbarnn.forecasting.targets import Targets


@dataclasses.dataclass(eq=False)
class Paths:
    """Paths of all columns from windows of a table, each row forecast, or drawn, from the rows before it.

    The nets read a window once, and go on from the state that they are in, as those of DeepAR do: one pass of a net takes a row
    of every path. The linear path sees its window slide along. Where one window does not continue the other (`recenter` shifts
    all rows of a window, `step` > 1 skips rows, and some layers read a sequence from its end), nets read the window of every row
    anew, which takes as many times as long as it has rows.

    Attributes
    ----------
    own : Preparation
    targets : Targets
        All columns of the next row.
    forecast : Forecast
    ahead : int
        Rows of a path.
    n_threads : int or None

    References
    ----------
    D. Salinas, V. Flunkert, J. Gasthaus, T. Januschowski, "DeepAR: Probabilistic forecasting with autoregressive recurrent
    networks", International Journal of Forecasting 36 (2020), section 3.2.
    """

    own: Preparation
    targets: Targets
    forecast: Forecast
    ahead: int
    n_threads: int | None

    @property
    def carried(self) -> bool:
        """Whether nets go on from their state."""
        layers = [layer for model in self.forecast.models for layer in model.recurrent_layers]
        return self.own.step == 1 and not self.own.recenter and all(layer.causal for layer in layers)

    def walk(self, raw, features, known, ends, of, generator: np.random.Generator | None = None):
        """Return paths (paths, ahead, columns), and what the linear path and the nets add to the outputs of their first rows.

        Parameters
        ----------
        raw, features, known : rows of a table, what nets see of them, and their `Preparation.known_rows`
        ends : (windows,) integers
        of : (paths,) integers
            The window that each path goes on from.
        generator : numpy.random.Generator, optional
            Rows are drawn; the whole path of an ensemble from one of its nets. None: rows are what is forecast, of an ensemble the
            mean.
        """
        own, targets, forecast, count = self.own, self.targets, self.forecast, len(of)
        back, span, season = max(own.lag + 1, own.season), 1 - int(own.window_rows[0]), own.season
        # What was measured, then what is forecast; what nets see of the same rows; what is known of these and of the next.
        path = np.zeros((count, back + self.ahead, raw.shape[1]))
        path[:, :back] = raw[ends[:, None] + np.arange(1 - back, 1)][of]
        x = np.empty((count, span + self.ahead - 1, features.shape[1]), features.dtype)
        x[:, :span] = features[ends[:, None] - own.lag + np.arange(1 - span, 1)][of]
        known = known[ends[:, None] + np.arange(-own.lag, self.ahead + 1)]
        calendar, constant = known.shape[-1] - len(own.known_columns), own.encoding.constant

        nets = _Nets(forecast, of, generator, self.n_threads)
        outputs, first = nets.begin(own.inputs(features, ends)), None
        for t in range(self.ahead):
            window = x[:, t : t + span : own.step]
            window = own.recentered(window.copy()) if own.recenter else window
            if t:
                outputs = nets.go_on(x[:, t + span - 1, None]) if self.carried else nets.read(window)
            linear = None if forecast.linear is None else forecast.linear.predict(window)
            if generator is None:
                parts = forecast.parts(outputs, linear)
                first = parts if first is None else first
                values = parts[0] + parts[1]
            else:
                values = forecast.draw(outputs[0], linear, generator)
            values = values * targets.scale + targets.center
            if season:
                values[:, own.columns] += path[:, back + t - season][:, own.columns]
            path[:, back + t, targets.columns] = values
            path[:, back + t, constant] = path[:, back - 1, constant]
            path[:, back + t, own.known_columns] = known[of, own.lag + 1 + t, calendar:]
            if t + 1 < self.ahead:
                told = known[:, t + 1 : t + own.lag + 2 + own.reach][of]
                x[:, span + t] = own.features(path[:, back + t - own.lag : back + t + 1], told)[:, 0]
        return path[:, back:], first


class _Nets:
    """The nets of a forecast on their way along paths."""

    def __init__(self, forecast, of, generator, n_threads):
        models, self.n_threads = forecast.models, n_threads
        self.of, self.drawn = of, generator is not None
        chosen = np.zeros(len(of), np.int64)
        if self.drawn and len(models) > 1:
            chosen = generator.integers(len(models), size=len(of))
        every = [np.flatnonzero(chosen == j) if self.drawn else slice(None) for j in range(len(models))]
        # Each net with the paths that it is asked for.
        self.runs = [
            (model, rows) for model, rows in zip(models, every, strict=True) if not (self.drawn and not len(rows))
        ]
        self.states = []

    def begin(self, windows):
        """Return the outputs after windows."""
        found = []
        for model, rows in self.runs:
            outputs, state = model.forward(windows, n_threads=self.n_threads)
            of = self.of[rows]
            self.states.append(tuple(tuple(array[:, of] for array in layer) for layer in state))
            found.append(outputs[of])
        return self._outputs(found)

    def go_on(self, x):
        """Return the outputs after the next row (paths, 1, features) of every path."""
        found = []
        for j, (model, rows) in enumerate(self.runs):
            outputs, self.states[j] = model.forward(x[rows], self.states[j], n_threads=self.n_threads)
            found.append(outputs)
        return self._outputs(found)

    def read(self, windows):
        """Return the outputs after windows, one of every path."""
        return self._outputs([model.forward(windows[rows], n_threads=self.n_threads)[0] for model, rows in self.runs])

    def _outputs(self, found):
        """Return the outputs of every net, or one array with those of the net of each path."""
        if not self.drawn or len(found) == 1:
            return [outputs.astype(np.float64) for outputs in found]
        outputs = np.empty((len(self.of), found[0].shape[1]))
        for (_, rows), values in zip(self.runs, found, strict=True):
            outputs[rows] = values
        return [outputs]
