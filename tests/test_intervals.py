"""Prediction intervals: curves and scores, calibration, adaptive levels, losses of distributions in forecasters, draws."""

import math
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from conftest import assert_close

import numbarnn as nr
from numbarnn import io, metrics
from numbarnn.errors import ModelFileError
from numbarnn.forecasting import files
from numbarnn.forecasting.backtests import bounds_of_blocks
from numbarnn.forecasting.intervals import Calibration, Interval, adaptive_scores, scores_of, values_at

FEW = {"epochs": 2, "hidden_size": 4, "n_threads": 1, "lookback": 6, "horizon": 2}


def table(rows=300):
    generator, t = np.random.default_rng(0), np.arange(rows)
    values = {"a": 10 + 3 * np.sin(t / 4), "b": -5 + np.cos(t / 4)}
    return pd.DataFrame(
        {name: wave + generator.normal(0, 0.3, rows) for name, wave in values.items()},
        pd.date_range("2024", periods=rows, freq="h"),
    )


def fitted(data=None, target=None, **options):
    return nr.Forecaster(**FEW | options).fit(table() if data is None else data, target, verbose=0)


LOSSES = {
    "mse": "mse",
    "mae": "mae",
    "gaussian": "gaussian",
    "quantile": nr.losses.Quantile((0.05, 0.5, 0.9)),
    "one quantile": nr.losses.Quantile((0.5,)),
}


@pytest.fixture(scope="module")
def made():
    """One forecaster of two targets for each loss, made when it is first asked for."""
    known = {}

    def get(name):
        if name not in known:
            known[name] = fitted(target=["b", "a"], loss=LOSSES[name])
        return known[name]

    return get


# Curves and scores


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_scores_and_values_of_curves_are_inverse(count):
    generator = np.random.default_rng(count)
    scores = np.sort(generator.normal(size=count))
    knots = np.sort(generator.normal(size=(40, 3, count)), axis=-1)
    values = generator.normal(scale=3, size=(40, 3))
    found = scores_of(knots, scores, values)
    assert_close(values_at(knots, scores, found[..., None])[..., 0], values, 1e-9)
    assert_close(values_at(knots, scores, scores), knots, 1e-12)
    assert (np.diff(values_at(knots, scores, np.linspace(-5, 5, 30)), axis=-1) > 0).all()


def test_a_curve_is_straight_beyond_its_knots():
    knots, scores = np.array([[1.0, 2.0, 4.0]]), np.array([-1.0, 0.0, 1.0])
    assert values_at(knots, scores, [-3.0, -1.0, 0.5, 2.0]).tolist() == [[-1.0, 1.0, 3.0, 6.0]]
    flat = scores_of(np.array([[2.0, 2.0, 2.0]]), scores, np.array([2.0]))  # counts, of which many levels are one
    assert np.isfinite(flat).all()


# Calibration


def test_ranks_of_levels():
    """Of nine scores, a tenth of a chance each lies between two neighbours, and beyond each end."""
    calibration = Calibration.of(np.random.default_rng(0).permutation(9.0 + np.arange(9))[:, None, None])
    assert calibration.at((0.1, 0.25, 0.45, 0.5, 0.55, 0.9)).ravel().tolist() == [9, 10, 12, 13, 14, 17]
    for level in (0.09, 0.91):
        with pytest.raises(ValueError, match=f"the quantile {level} cannot be calibrated by 9 validation windows"):
            calibration.at((level,))


def test_new_scores_lie_within_with_at_least_the_probability():
    generator, level = np.random.default_rng(1), 0.8
    hits = []
    for _ in range(4000):
        scores = generator.exponential(size=(24, 1, 1))
        low, high = Calibration.of(scores[:23]).at(((1 - level) / 2, (1 + level) / 2)).ravel()
        hits.append(low <= scores[23, 0, 0] <= high)
    # floor and ceil leave 2 of 24 values on either side: 20 / 24.
    assert abs(np.mean(hits) - 20 / 24) < 4 * math.sqrt(20 / 24 * 4 / 24 / 4000)


@pytest.mark.parametrize("name", LOSSES)
def test_intervals_by_definition(made, name):
    """The bounds are where the curve has the scores that the validation part gives."""
    f, level = made(name), 0.9
    loss, validation = f.loss_, f._state.evaluation.parts["validation"]
    truth = validation.y

    def curve(x):
        """Values at the knots' scores in the units of the targets, (windows, horizon, targets, knots)."""
        made, targets = f._state.forecast, f._state.targets
        outputs = made.models[0].forward(x)[0].astype(float)
        if not isinstance(loss, nr.losses.DistributionLoss):
            knots = center = outputs[..., None]
        elif isinstance(loss, nr.losses.Quantile):
            knots, center = loss.quantiles(outputs, loss.levels), loss.quantiles(outputs, (0.5,))
        else:
            center = loss.mean(outputs)[..., None]
            knots = center + loss.stddev(outputs)[..., None] * np.array([-1.0, 1.0])
        linear = made.linear.predict(x)[..., None]
        scaled = linear + made.scale[:, None] * (knots - (1 - made.share[:, None]) * center)
        values = scaled * targets.scale[:, None] + targets.center[:, None]
        return values.reshape(len(x), 2, 2, -1)

    scores = np.array([0.0])
    if isinstance(loss, nr.losses.Quantile) and len(loss.levels) > 1:
        scores = np.array([NormalDist().inv_cdf(p) for p in loss.levels])
    elif name == "gaussian":
        scores = np.array([-1.0, 1.0])

    def interpolate(x, knots, at):
        """Straight lines through the knots, the outermost of them without an end."""
        if len(knots) == 1:
            return at + x - knots[0]
        k = min(max(int(np.searchsorted(knots, x, side="right")) - 1, 0), len(knots) - 2)
        return at[k] + (x - knots[k]) / (knots[k + 1] - knots[k]) * (at[k + 1] - at[k])

    known = curve(validation.X)
    newest = curve(f._state.preparation.features(f._state.rows.tails[None][0], np.zeros((6, 0)))[None])[0]
    found = f.predict_interval(level)
    assert list(found.columns.names) == ["target", "bound"]
    n = len(truth)
    ranks = math.floor(0.05 * (n + 1)) - 1, math.ceil(0.95 * (n + 1)) - 1
    for h in range(2):
        for k, target in enumerate(("b", "a")):
            values = sorted(float(np.squeeze(interpolate(truth[i, h, k], known[i, h, k], scores))) for i in range(n))
            for rank, side in zip(ranks, ("lower", "upper"), strict=True):
                expected = float(np.squeeze(interpolate(values[rank], scores, newest[h, k])))
                assert found.iloc[h][(target, side)] == pytest.approx(expected, rel=1e-6), (target, side)
    point = pd.DataFrame({target: found[target]["forecast"] for target in ("b", "a")})
    assert np.array_equal(point.to_numpy(), f.predict().to_numpy())
    outer = f.predict(quantiles=(0.05, 0.5, 0.95))
    assert np.array_equal(outer["a"][0.05], found["a"]["lower"])
    assert (np.diff(outer["a"], axis=1) > 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_files_keep_intervals(made, name, tmp_path):
    f = made(name)
    f.save(tmp_path / "f.safetensors")
    loaded, data = nr.load(tmp_path / "f.safetensors"), table(120)
    assert loaded.predict_interval(0.8).equals(f.predict_interval(0.8))
    assert loaded.backtest(data, level=0.8).equals(f.backtest(data, level=0.8))
    assert loaded.evaluate_intervals(0.8, data).equals(f.evaluate_intervals(0.8, data))
    assert loaded.loss_ == f.loss_


@pytest.mark.parametrize("name", ["mse", "gaussian"])
def test_backtests_have_the_intervals(made, name):
    f = made(name)
    back, plain = f.backtest(level=0.8), f.backtest()
    assert list(back.columns) == [
        "origin",
        "ahead",
        *(f"{t}{s}" for t in "ba" for s in ("", " truth", " lower", " upper")),
    ]
    assert back[list(plain.columns)].equals(plain)
    origin = back["origin"].iloc[-1]
    expected = f.predict_interval(0.8, table().loc[:origin])
    rows = back[back["origin"] == origin]
    for side in ("lower", "upper"):
        assert_close(rows[f"a {side}"].to_numpy(), expected["a"][side].to_numpy(), 1e-6)
    found = f.evaluate_intervals((0.8,))
    y, low, high = (back[f"a {side}"].to_numpy() for side in ("truth", "lower", "upper"))
    row = found.loc[("a", 0.8)]
    assert row["coverage"] == pytest.approx(((low <= y) & (y <= high)).mean())
    assert row["width"] == pytest.approx((high - low).mean())
    assert row["interval score"] == pytest.approx(metrics.interval_score(y, low, high, 0.2))
    assert 0 < row["CRPS"] < row["width"]


def test_nothing_of_the_test_part_is_in_an_interval():
    data, other = table(), table()
    other.iloc[260:] *= 2
    a, b = fitted(data, loss="gaussian"), fitted(other, loss="gaussian")
    window = data.iloc[:250]
    assert a.predict_interval(data=window).equals(b.predict_interval(data=window))


def test_adaptive_levels():
    generator = np.random.default_rng(0)
    calibration = Calibration.of(generator.normal(size=(60, 2, 1)))
    scores, level, step, delay = generator.normal(scale=2, size=(50, 2, 1)), 0.8, 0.05, 2
    found = adaptive_scores([calibration] * 50, scores, delay, level, step)
    for h in range(2):
        a, known, bounds = 0.2, calibration.scores[:, h, 0], []
        for window in range(50):
            low = min(max(math.floor(a / 2 * 61), 1), 60)
            high = min(max(math.ceil((1 - a / 2) * 61), 1), 60)
            bounds.append((known[low - 1], known[high - 1]))
            told = window + 1 - (delay + h)
            if told >= 0:
                miss = not bounds[told][0] <= scores[told, h, 0] <= bounds[told][1]
                a = min(max(a + step * (0.2 - miss), 0.0), 1.0)
        assert found[:, h, 0].tolist() == [list(pair) for pair in bounds]
    still = adaptive_scores([calibration] * 50, scores, delay, level, 0.0)
    assert np.array_equal(still, np.broadcast_to(calibration.at((0.1, 0.9)), still.shape))


def test_adaptive_intervals_follow_errors_that_grow():
    data = table(900)
    data["a"] += np.random.default_rng(1).normal(size=900) * np.linspace(0, 1.5, 900)
    f = fitted(data, "a")
    plain, adaptive = (f.evaluate_intervals(0.8, adaptive=step)["coverage"].iloc[0] for step in (None, 0.05))
    assert plain < 0.75
    assert abs(adaptive - 0.8) < 0.05


@pytest.mark.parametrize(("name", "delay"), [("mse", 1), ("gaussian", 3)])
def test_levels_that_follow_updates_are_those_of_backtests(name, delay, tmp_path):
    """Update row by row, or in pieces, and ask for any level and step: the intervals of a backtest over the same rows."""
    data, options = table(400), {"loss": name, "delay": delay, "hidden_size": 3}
    data["a"] += np.random.default_rng(1).normal(size=400) * np.linspace(0, 2, 400)
    f = fitted(data.iloc[:300], "a", **options)
    need, kinds = f._state.preparation.need, [(0.8, 0.1), (0.5, 0.02)]
    backs = [f.backtest(data.iloc[300 - need :], level=level, adaptive=step) for level, step in kinds]
    plain = f.backtest(data.iloc[300 - need :], level=0.8)
    moved = 0
    for row in range(300, 350):
        f.update(data.iloc[row : row + 1])
        for (level, step), back in zip(kinds, backs, strict=True):
            expected = back[back["origin"] == data.index[row]]
            found = f.predict_interval(level, adaptive=step)["a"]
            for side in ("lower", "upper"):
                assert_close(found[side].to_numpy(), expected[f"a {side}"].to_numpy(), 1e-5)
        fixed = f.predict_interval(0.8)["a"]
        same = plain[plain["origin"] == data.index[row]]
        assert_close(fixed["upper"].to_numpy(), same["a upper"].to_numpy(), 1e-5)
        moved += not np.allclose(fixed["upper"], f.predict_interval(0.8, adaptive=0.1)["a"]["upper"])
    assert moved > 30
    f.save(tmp_path / "f.safetensors")
    loaded, other = (
        nr.load(tmp_path / "f.safetensors"),
        fitted(data.iloc[:300], "a", **options).update(data.iloc[300:350]),
    )
    expected = f.predict_interval(0.8, adaptive=0.1)
    for one in (loaded, other, loaded.update(data.iloc[350:360]), f.update(data.iloc[350:360])):
        found = one.predict_interval(0.8, adaptive=0.1)
        assert found.equals(expected) or one is f or found.index[0] > expected.index[0]
    assert loaded.predict_interval(0.8, adaptive=0.1).equals(f.predict_interval(0.8, adaptive=0.1))
    given = f.predict_interval(0.8, data.iloc[300 - need : 360], adaptive=0.1)
    assert_close(given.to_numpy(), f.predict_interval(0.8, adaptive=0.1).to_numpy(), 1e-6)


@pytest.mark.parametrize("missing", ["mask", "drop"])
def test_levels_that_follow_rows_with_missing_values_are_those_of_backtests(missing):
    """Windows of which a target is missing do not count, whether or not others of theirs are known."""
    data = table()[["a"]]
    data.iloc[10::17] = np.nan
    f = fitted(data, cell="rnn", hidden_size=2, epochs=1, missing=missing, horizon=3)
    part = data.iloc[200:]
    back = f.backtest(part, level=0.8, adaptive=0.1)
    for origin in back["origin"].unique()[5::6]:
        found = f.predict_interval(0.8, part.loc[:origin], adaptive=0.1)["a"]
        expected = back[back["origin"] == origin]
        for side in ("lower", "upper"):
            assert_close(found[side].to_numpy(), expected[f"a {side}"].to_numpy(), 1e-5)


def test_levels_that_follow_updates_of_many_series():
    """Every series has its own level, begins when it comes, and one that had no rows since is as it was."""
    data = {"p": table(300), "q": table(300) * 2}
    first = {key: frame.iloc[:260] for key, frame in data.items()}
    f = nr.Forecaster(**FEW | {"horizon": 1}).fit(first, "a", verbose=0)
    before = f.predict_interval(0.8, adaptive=0.2)
    assert before.equals(f.predict_interval(0.8))
    wild = data["p"].iloc[260:280] + 40
    f.update({"p": wild, "new": table(60)})
    found, fixed = f.predict_interval(0.8, adaptive=0.2), f.predict_interval(0.8)
    width = found["a"]["upper"] - found["a"]["lower"]
    still = fixed["a"]["upper"] - fixed["a"]["lower"]
    assert width["p"].iloc[0] > still["p"].iloc[0]
    assert found.loc["q"].equals(before.loc["q"])
    assert "new" in found.index.get_level_values(0)


def test_levels_stay_where_the_truth_is_not_known():
    calibration = Calibration.of(np.random.default_rng(0).normal(size=(60, 1, 1)))
    scores = np.full((9, 1, 1), np.nan)
    found = adaptive_scores([calibration] * 9, scores, 1, 0.8, 0.3)
    assert (found == found[0]).all()
    scores[4] = 99
    found = adaptive_scores([calibration] * 9, scores, 1, 0.8, 0.1)
    assert (found[:5] == found[0]).all()
    assert found[5, 0, 0, 1] > found[4, 0, 0, 1]
    assert (found[5:] == found[5]).all()


def test_levels_of_many_series_are_those_of_each():
    """Series of equal length are followed at once, among others and by themselves."""
    lengths = {"p": 300, "q": 200, "r": 300, "s": 240}
    data = {key: table(rows + 20 * number).iloc[20 * number :] for number, (key, rows) in enumerate(lengths.items())}
    f = fitted(data, "a")
    state, interval = f._state, Interval.of(0.8, 0.1)
    block = state.evaluation.block(f._predictor(), None, "test", state.calibration)
    which = block.panel.series_of(block.ends)
    counts = np.bincount(which)
    assert counts[0] == counts[2] > counts[3] > counts[1] > 0
    expected = np.empty((*block.scores.shape, 2))
    for series in range(4):
        rows = which == series
        one = block.scores[rows]
        expected[rows] = adaptive_scores([state.calibration] * len(one), one, 1, 0.8, 0.1)
    (found,) = bounds_of_blocks([block], interval)
    assert np.array_equal(found, block.at(expected))
    (fixed,) = bounds_of_blocks([block], Interval.of(0.8))
    assert np.array_equal(fixed, block.at(state.calibration.at((0.1, 0.9))[None]))
    assert not np.array_equal(found, fixed)
    for key, part in data.items():
        later = table(320).iloc[300:] + 1
        f.update({key: later.set_axis(pd.date_range(part.index[-1], periods=21, freq="h")[1:])})
    together = f.predict_interval(0.8, adaptive=0.1)
    for key, rows in f._state.rows.recent.items():
        alone = f.predict_interval(0.8, {key: pd.DataFrame(rows[0], rows[1], f.feature_names_)}, adaptive=0.1)
        assert_close(together.loc[[key]].to_numpy(), alone.to_numpy(), 1e-6)


def test_rows_since_fit_in_files_are_checked(tmp_path):
    f = fitted(table(), "a").update(table(310).iloc[300:])
    description, arrays = files.describe(f, f._state)
    assert description["seen"] == [16]
    wrong = {
        "counts": (lambda d, a: d.update(seen=[15]), "rows since fit"),
        "too many": (lambda d, a: d.update(seen=[10**9]), "rows since fit"),
        "others": (lambda d, a: a.update({"seen": a["seen"] + 1}), "do not end with the last rows"),
        "measured": (lambda d, a: a.update({"seen.measured": a["seen.measured"] * np.inf}), "measured rows since fit"),
    }
    for change, message in wrong.values():
        about, values = dict(description), {name: np.array(array) for name, array in arrays.items()}
        change(about, values)
        io.write(tmp_path / "f.safetensors", "forecaster", about, values)
        with pytest.raises(ModelFileError, match=message):
            nr.load(tmp_path / "f.safetensors")


@pytest.mark.parametrize("name", ["mse", "gaussian"])
def test_the_net_runs_once(made, name, monkeypatch):
    """For forecasts, their curves and the share of the linear path together."""
    f, calls = made(name), []
    forward = nr.Model.forward

    def counted(self, x, *given, **named):
        calls.append(len(x))
        return forward(self, x, *given, **named)

    monkeypatch.setattr(nr.Model, "forward", counted)
    windows = f.backtest()["origin"].nunique()
    for call in (
        f.evaluate,
        lambda: f.evaluate_intervals(0.8),
        f.score,
        lambda: f.evaluate(level=0.8),
        lambda: f.backtest(level=0.8),
    ):
        calls.clear()
        call()
        assert calls == [windows]
    for call in (f.predict_interval, f.predict, lambda: f.predict(quantiles=0.5)):
        calls.clear()
        call()
        assert calls == [1]


@pytest.mark.parametrize("name", ["mse", "gaussian"])
def test_evaluate_with_intervals(made, name):
    """Those of the net are `evaluate_intervals`; a baseline's are by its own errors on the validation part."""
    f = made(name)
    found, plain, alone = f.evaluate(level=0.8), f.evaluate(), f.evaluate_intervals(0.8)
    assert found[list(plain.columns)].equals(plain)
    assert list(found.columns)[5:] == list(alone.columns) == ["coverage", "width", "interval score", "pinball", "CRPS"]
    for target in f.target_names_:
        assert found.loc[(target, "net")].iloc[5:].tolist() == alone.loc[(target, 0.8)].tolist()
    data = table()
    values, errors = data["a"].to_numpy(), {}
    for part in ("validation", "test"):
        rows = f._state.evaluation.ends(part)
        errors[part] = np.stack([values[rows + h] - values[rows] for h in (1, 2)], axis=1)
    bounds = Calibration.of(errors["validation"][..., None]).at((0.1, 0.9))[:, 0]
    inside = (bounds[:, 0] <= errors["test"]) & (errors["test"] <= bounds[:, 1])
    row = found.loc[("a", "last value")]
    assert row["coverage"] == pytest.approx(inside.mean())
    assert row["width"] == pytest.approx(np.diff(bounds).mean())
    assert row["CRPS"] < row["MAE"]
    means = f.evaluate(level=0.8, per_target=False)
    assert list(means.columns) == ["MASE", "MAE/sd", "MSE/var", "coverage"]


def test_pinball_of_bounds(made):
    f = made("mse")
    back, row = f.backtest(level=0.8), f.evaluate_intervals(0.8).loc[("a", 0.8)]
    y, low, high = (back[f"a {side}"].to_numpy() for side in ("truth", "lower", "upper"))
    losses = [np.maximum(q * (y - bound), (q - 1) * (y - bound)).mean() for q, bound in ((0.1, low), (0.9, high))]
    assert row["pinball"] == pytest.approx(np.mean(losses))
    assert row["interval score"] == pytest.approx(sum(losses) * 2 / 0.2)


# Pictures


def test_pictures(made):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    from numbarnn import plots
    from numbarnn.errors import ShapeError

    f, levels = made("gaussian"), np.arange(0.2, 0.9, 0.1)
    frame = f.evaluate_intervals(levels)
    assert frame.attrs["windows"] == f.backtest()["origin"].nunique() // 2
    ax = plots.plot_coverage(frame, "a")
    assert ax.get_legend_handles_labels()[1] == [f"95 % by chance, {frame.attrs['windows']} windows"]
    assert_close(ax.lines[1].get_ydata(), frame.loc["a", "coverage"].to_numpy(), 1e-12)
    assert_close(ax.lines[1].get_xdata(), levels, 1e-12)
    two = plots.plot_coverage({"calibrated": frame, "raw": f.evaluate_intervals(levels, calibrated=False)})
    assert two.get_legend_handles_labels()[1][1:] == ["calibrated", "raw"]
    rivals = f.predict_baselines()
    assert rivals.columns.names == ["target", "baseline"]
    assert (rivals["a"]["last value"] == table()["a"].iloc[-1]).all()
    seasonal = f.predict_baselines(table())["a"]["seasonal (24)"]  # more rows than the net looks at
    assert_close(seasonal.to_numpy(), table()["a"].iloc[-24:-22].to_numpy(), 1e-12)
    assert "seasonal (24)" not in rivals["a"]
    ax = plots.plot_prediction(f.predict_interval(0.8), table(), "a", baselines=rivals, last=40)
    names = ["measured", *rivals["a"].columns, "forecast", "80 % interval"]
    assert ax.get_legend_handles_labels()[1] == names
    assert np.array_equal(ax.lines[1].get_ydata(), rivals["a"].iloc[:, 0])
    ax.figure.canvas.draw()
    errors = f.errors_by_horizon(target="a")
    assert errors.attrs["row"] == (1, "hour")
    ax = plots.plot_errors_by_horizon(errors)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("hours ahead", "mean absolute error of a")
    cases = {(15, "minute"): ([1, 2], "minutes"), (1, "month"): ([1, 12], "months"), None: ([1, 5], "rows")}
    cases |= {
        (15, "second"): ([1, 20], "minutes"),
        (1, "hour"): ([1, 480], "days"),
        (10, "minute"): ([1, 144], "hours"),
    }
    for row, (ahead, words) in cases.items():
        own = errors.set_axis(pd.Index(ahead))
        own.attrs["row"] = row
        ax = plots.plot_errors_by_horizon(own)
        assert ax.get_xlabel() == f"{words} ahead"
    assert_close(ax.lines[0].get_xdata(), np.array([1 / 6, 24]), 1e-12)
    with pytest.raises(KeyError, match=r"target 'c' is not among \['a', 'b'\]"):
        plots.plot_coverage(frame, "c")
    for wrong in (errors, {}, {"x": None}):
        with pytest.raises(ShapeError, match=r"Forecaster\.evaluate_intervals"):
            plots.plot_coverage(wrong)
    with pytest.raises(ShapeError, match=r"baselines must be a frame of Forecaster\.predict_baselines"):
        plots.plot_prediction(f.predict(), baselines=f.predict())
    pyplot.close("all")


def test_pictures_of_one_of_many_series():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    from numbarnn import plots

    data = {"p": table(200), "q": table(200) * 2}
    f = nr.Forecaster(**FEW).fit(data, "a", verbose=0)
    panel, back = pd.concat(data, names=["series"]), f.backtest(level=0.5)
    ax = plots.plot_prediction(f.predict_interval(0.5), panel, series="q", baselines=f.predict_baselines(), last=30)
    assert np.array_equal(ax.lines[0].get_ydata(), data["q"]["a"].iloc[-30:])
    ax = plots.plot_forecast(back, series="q", ahead=2)
    assert np.array_equal(ax.lines[0].get_ydata(), back.loc["q"].query("ahead == 2")["a truth"])
    with pytest.raises(KeyError, match=r"series 'x' is not among \['p', 'q'\]"):
        plots.plot_forecast(back, series="x")
    pyplot.close("all")


def test_the_band_of_chance_is_binomial():
    """Of 20 windows at level 0.9, P(hits <= 15) = 0.0432 and P(hits <= 14) = 0.0113 (tables of the distribution)."""
    from numbarnn.plots.forecasts import _binomial_bounds

    assert _binomial_bounds(20, 0.9) == (15 / 20, 1.0)
    assert _binomial_bounds(20, 0.9, 0.08) == (18 / 20, 18 / 20)
    assert _binomial_bounds(20, 0.9, 0.98) == (14 / 20, 1.0)
    assert _binomial_bounds(50_000, 0.5)[0] == pytest.approx(0.5 - 1.96 * math.sqrt(0.25 / 50_000), abs=3e-5)
    assert [_binomial_bounds(7, share) for share in (0, 1)] == [(0, 0), (1, 1)]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (pd.date_range("2024", periods=9, freq="15min"), (15, "minute")),
        (pd.date_range("2024", periods=9, freq="MS"), (1, "month")),
        (pd.period_range("2024", periods=9, freq="Q"), (1, "quarter")),
        (pd.date_range("2024", periods=9, freq="2W-SAT"), (2, "week")),
        (pd.date_range("2024", periods=9, freq="B"), (1, "business day")),
        (pd.RangeIndex(9), None),
        (pd.date_range("2024", periods=9, freq="7ms"), None),
    ],
)
def test_lengths_of_rows(index, expected):
    from numbarnn.data.clock import Clock
    from numbarnn.forecasting.durations import row_length

    assert row_length(Clock.of(index)) == expected


# Draws, counts


def test_draws():
    f = fitted(loss="gaussian")
    draws = f.predict(samples=4000, seed=1)
    assert draws.columns.names == ["target", "sample"]
    assert draws["a"].shape == (2, 4000)
    assert draws.equals(f.predict(samples=4000, seed=1))
    assert not draws.equals(f.predict(samples=4000, seed=2))
    point, raw = f.predict(), f.evaluate_intervals(0.8, calibrated=False)
    deviation = raw.loc["a", "width"].iloc[0] / (2 * NormalDist().inv_cdf(0.9))
    assert (abs(draws["a"].mean(axis=1) - point["a"]) < 0.1 * deviation).all()
    assert_close(draws["a"].std(axis=1).to_numpy(), np.full(2, deviation), 0.5)


def test_draws_of_recursive_forecasters_are_paths():
    """Later rows are drawn from earlier ones: of a random walk their deviation grows with the root of the rows ahead."""
    steps = np.random.default_rng(0).normal(size=1200).cumsum()
    f = nr.Forecaster(4, horizon=4, recursive=True, relative=1, loss="gaussian", epochs=3, hidden_size=4, n_threads=1)
    draws = f.fit(steps, verbose=0).predict(samples=2000, seed=0)
    deviations = draws.std(axis=1).to_numpy()
    assert_close(deviations / deviations[0], np.sqrt(np.arange(1, 5)), 0.12)
    found = f.evaluate_intervals(0.8)
    assert abs(found["coverage"].iloc[0] - 0.8) < 0.2
    assert f.predict_interval(0.8).equals(f.predict_interval(0.8))


def test_counts():
    rate = 4 + 3 * np.sin(np.arange(800) / 4)
    counts = pd.Series(np.random.default_rng(0).poisson(rate), pd.date_range("2024", periods=800, freq="h"), name="n")
    f = nr.Forecaster(12, loss="negative_binomial", epochs=8, hidden_size=8, n_threads=1).fit(counts, verbose=0)
    assert (f.difference_, f.relative_, f.recenter_, f._state.forecast.linear) == (None, None, False, None)
    assert f.loss_.scale == (pytest.approx(counts[12:560].mean()),)
    draws = f.predict(samples=50, seed=0).to_numpy()
    assert (draws == np.floor(draws)).all()
    assert draws.min() >= 0
    found = f.evaluate()
    assert found.loc["net", "MAE"] < 0.9 * found.loc["last value", "MAE"]
    for options, message in (
        ({"difference": 1}, "which have no difference"),
        ({"recenter": True}, "which have no recenter"),
        ({"linear": "all"}, "set linear=None"),
    ):
        with pytest.raises(ValueError, match=message):
            nr.Forecaster(12, loss="negative_binomial", **options).fit(counts)
    with pytest.raises(ValueError, match="must be counts"):
        nr.Forecaster(12, loss="negative_binomial").fit(counts + 0.5, verbose=0)


def test_refused():
    data = table()
    f, two = fitted(data), nr.Forecaster(**FEW).fit(data, split=(0.7, 0.3), verbose=0)
    cases = [
        (lambda: f.predict_interval(1), ValueError, r"level must be in \(0, 1\), such as 0.9, got 1"),
        (lambda: f.predict_interval(0.999), ValueError, r"cannot be calibrated by 38 validation windows"),
        (lambda: two.predict_interval(), ValueError, "give split three parts"),
        (lambda: two.evaluate_intervals(), ValueError, "give split three parts"),
        (lambda: f.predict(quantiles=(0.5, 2)), ValueError, r"quantiles\[1\] must be in \(0, 1\), got 2"),
        (lambda: f.predict(quantiles=()), ValueError, "quantiles must have at least one number"),
        (lambda: f.predict(quantiles=0.5, samples=3), ValueError, "give quantiles or samples, not both"),
        (lambda: f.predict(samples=3), TypeError, "samples needs a loss of distributions, such as 'gaussian'"),
        (lambda: f.evaluate_intervals(calibrated=False), TypeError, "the loss 'mse' has no distribution"),
        (lambda: f.backtest(level=0.8, adaptive=1.5), ValueError, r"adaptive must be in \[0, 1\), such as 0.01, got 1.5"),
        (lambda: f.backtest(adaptive=0.1), ValueError, "adaptive needs level"),
        (lambda: f.predict_interval(0.8, adaptive=1), ValueError, r"adaptive must be in \[0, 1\), such as 0.01, got 1"),
        (lambda: f.evaluate(level=0), ValueError, r"level must be in \(0, 1\), such as 0.9, got 0"),
        (lambda: two.evaluate(level=0.8), ValueError, "give split three parts"),
        (lambda: fitted(loss="ctc"), ValueError, "loss must be one of values, such as 'mse'"),
        (lambda: fitted(loss="binary_cross_entropy"), ValueError, "loss must be one of values, such as 'mse'"),
        (lambda: fitted(loss="x"), ValueError, "loss must be one of"),
        (lambda: nr.Forecaster(**FEW).predict_interval(), nr.sklearn_api.NotFittedError, "not fitted yet"),
    ]  # fmt: skip
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
    clash = data.rename(columns={"b": "a lower"})
    with pytest.raises(ValueError, match="the target 'a lower' has the name of another column"):
        fitted(clash).backtest(level=0.8)
