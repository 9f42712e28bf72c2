"""Paths of recursive forecasters: rows drawn from the rows before them, from the state that the nets are in."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from conftest import assert_close

import numbarnn as nr
from numbarnn.forecasting.paths import Paths
from numbarnn.kernels import equations

FEW = {
    "lookback": 5, "horizon": 3, "recursive": True, "loss": "gaussian", "cell": "gru", "hidden_size": 4, "epochs": 1, "seed": 0,
    "change": None, "linear": "all", "n_threads": 1,
}  # fmt: skip


def table(rows=200):
    generator, t = np.random.default_rng(0), np.arange(rows)
    values = {"a": 10 + 3 * np.sin(t / 4), "b": -5 + np.cos(t / 4), "plan": (t % 7 == 0).astype(float)}
    noise = {"a": 0.3, "b": 0.2, "plan": 0}
    return pd.DataFrame(
        {name: wave + generator.normal(0, noise[name], rows) for name, wave in values.items()},
        pd.date_range("2024", periods=rows, freq="h"),
    )


def fitted(data=None, **options):
    return nr.Forecaster(**FEW | options).fit(table() if data is None else data, ["b", "a"], verbose=0)


VARIANTS = {
    "plain": {"delay": 2},
    "net alone": {"linear": None},
    "difference": {"difference": 2, "calendar": ("hour",)},
    "relative": {"relative": 3, "linear": "shared"},
    "known ahead": {"future": ["plan"], "relative": 1},
    "quantile": {"loss": nr.losses.Quantile((0.1, 0.5, 0.9)), "cell": "lstm", "num_layers": 2},
    "recentred": {"recenter": True},
    "every second row": {"step": 2, "lookback": 6},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_paths_by_definition(name):
    """One path after the other, the nets from the first row of the window on for every row, the same draws."""
    f, data, count, end = fitted(**VARIANTS[name]), table(), 7, 150
    own, targets, made = f._state.preparation, f._state.targets, f._state.forecast
    ahead, anew = f.delay + f.horizon - 1, f.recenter_ or f.step > 1
    known, window = own.known_rows(data.index, data.to_numpy()), own.window_rows
    rows = np.repeat(data.to_numpy()[None, : end + 1], count, axis=0)
    generator = np.random.default_rng(3)
    for e in range(end, end + ahead):
        outputs, lines = [], []
        for path in rows:
            features = own.features(path, known[: e + 1 + own.reach])
            x = own.recentered(features[None, e - own.lag + window])
            read = x if anew else features[None, end + 1 - f.lookback - own.lag :]
            outputs.append(made.models[0].forward(read)[0][0])
            lines.append(0.0 if made.linear is None else made.linear.predict(x)[0])
        outputs = np.array(outputs, np.float64)
        drawn = made.loss.sample(outputs, generator, 1)[..., 0]
        if made.linear is not None:
            quantile = isinstance(made.loss, nr.losses.Quantile)
            center = made.loss.quantiles(outputs, (0.5,))[..., 0] if quantile else made.loss.mean(outputs)
            drawn = np.array(lines) + made.scale * (drawn - (1 - made.share) * center)
        values = drawn * targets.scale + targets.center
        if own.season:
            values[:, own.columns] += rows[:, e + 1 - own.season][:, own.columns]
        values[:, own.known_columns] = data.to_numpy()[e + 1, own.known_columns]
        rows = np.concatenate([rows, values[:, None]], axis=1)
    expected = rows[:, end + f.delay :, own.columns]
    future = data[["plan"]].iloc[end + 1 :] if "future" in VARIANTS[name] else None
    newest = f._newest(data.iloc[: end + 1], future)
    found = f._predictor().draws(*newest.case, count, np.random.default_rng(3))
    assert_close(found[0], expected, 1e-5)
    assert np.ptp(found[0], axis=0).min() > 0


@pytest.mark.parametrize("name", ["plain", "recentred"])
def test_a_row_of_all_paths_is_one_pass(name, monkeypatch):
    """The window is read once for all paths, and then one row a time; windows that are shifted are read anew."""
    f, seen = fitted(**VARIANTS[name]), []
    forward = nr.Model.forward

    def counted(self, x, *given, **named):
        seen.append(x.shape[:2])
        return forward(self, x, *given, **named)

    monkeypatch.setattr(nr.Model, "forward", counted)
    f.predict(samples=300, seed=0)
    ahead = f.delay + f.horizon - 1
    assert seen == [(1, 5)] + [(300, 5 if name == "recentred" else 1)] * (ahead - 1)


def test_draws_do_not_depend_on_threads_or_pieces():
    f, data = fitted(), table()
    one = f.predict(samples=3000, seed=5)  # more than one piece
    f.n_threads = 2
    assert f.predict(samples=3000, seed=5).equals(one)
    assert not f.predict(samples=3000, seed=6).equals(one)
    assert one["a"].shape == (3, 3000)
    assert one.loc[:, "a"].T.nunique().min() == 3000
    # Windows at once, each with its own paths.
    case = f._state.evaluation._case(data.iloc[:80], "test")[1]
    draws = f._predictor().draws(*case, 40, np.random.default_rng(0))
    assert draws.shape == (len(case[2]), 40, 3, 2)
    truth = f._state.evaluation._case(data.iloc[:80], "test")[2]
    assert abs(np.median(draws, axis=1) - truth).mean() < 3


def test_a_path_of_an_ensemble_is_drawn_from_one_net():
    f = fitted(ensemble=2, linear=None)
    moved = f._state.forecast.models[1].params
    bias = next(name for name in moved if name.endswith(".bias"))
    with moved.writing() as flat:
        moved.views(flat)[bias][::2] += 1000.0  # the means
    draws = f.predict(samples=400, seed=0)["a"].to_numpy()
    far = draws > draws.mean()
    assert 120 < far[0].sum() < 280
    assert (far == far[0]).all()


@dataclass(frozen=True)
class Own(nr.losses.DistributionLoss):
    """A distribution of the user's own: that of "gaussian", drawn uniformly about the mean."""

    floor: float = 1e-3
    outputs_per_target = 2
    term = staticmethod(equations.gaussian)

    def mean(self, outputs):
        return self.split(outputs)[..., 0]

    def quantiles(self, outputs, q):
        return nr.losses.Gaussian().quantiles(outputs, q)

    def sample(self, outputs, generator, count):
        noise = generator.uniform(-1, 1, (*outputs.shape[:-1], outputs.shape[-1] // 2, count))
        return self.mean(outputs)[..., None] + noise


def test_distributions_of_ones_own():
    f = fitted(loss=Own(), linear=None)
    draws, point = f.predict(samples=500, seed=0).to_numpy(), f.predict()
    assert np.ptp(draws[0]) > 0
    assert np.isfinite(f.predict_interval(0.5).to_numpy()).all()
    assert point.shape == (3, 2)


def test_distributions_do_not_try_to_shift_windows():
    """Where the level wanders, and a forecaster of values would choose `recenter`, paths still go on from their state."""
    steps = pd.Series(np.random.default_rng(0).normal(size=900).cumsum())
    options = FEW | {"change": "auto", "horizon": 2}
    f = nr.Forecaster(**options).fit(steps, verbose=0)
    assert not f.recenter_
    assert f._predictor()._paths.carried
    assert nr.Forecaster(**options | {"recenter": True, "change": None}).fit(steps, verbose=0).recenter_


def test_forecasts_of_values_go_on_from_the_state_too():
    f, data = fitted(loss="mse", delay=1, linear=None), table()
    assert isinstance(f._predictor()._paths, Paths)
    first = f.predict(data.iloc[:120])
    model, own = f._state.forecast.models[0], f._state.preparation
    rows = data.to_numpy()[:120]
    for _ in range(3):
        x = own.features(rows, np.zeros((len(rows), 0)))[115:]
        values = model.forward(x[None])[0][0] * f._state.targets.scale + f._state.targets.center
        rows = np.concatenate([rows, values[None]])
    assert_close(first.to_numpy(), rows[120:][:, own.columns], 1e-5)
