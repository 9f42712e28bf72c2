"""Forecaster: what it learns from, its times, its baselines, its files, and the command."""

import datetime
import inspect
import pathlib
import re

import numpy as np
import pandas as pd
import pytest
from conftest import assert_close, assert_same_bits
from data_files import data_file

import numbarnn
from numbarnn import Forecaster
from numbarnn.cli.main import main
from numbarnn.data import calendar_features, datasets, readers
from numbarnn.errors import ModelFileError, ShapeError
from numbarnn.forecasting import linear
from numbarnn.sklearn_api import NotFittedError

HOURS = pd.date_range("2020", periods=200, freq="h")
FEW = {"epochs": 2, "hidden_size": 4, "seed": 1, "n_threads": 1}
# The net alone, which sees and forecasts the values.
NET = FEW | {"change": None, "linear": None}


def table(rows=200, freq="h", seed=0, trend=0.0):
    generator = np.random.default_rng(seed)
    t = np.arange(rows)
    a = 10 + 3 * np.sin(t / 4) + trend * t + generator.normal(0, 0.1, rows)
    b = -5 + np.cos(t / 4) + generator.normal(0, 0.1, rows)
    return pd.DataFrame({"a": a, "b": b}, index=pd.date_range("2020-01-01", periods=rows, freq=freq))


def fitted(data, target="a", split=(0.6, 0.2, 0.2), **options):
    settings = NET | {"lookback": 6, "delay": 3, "horizon": 2} | options
    return Forecaster(**settings).fit(data, target, split=split, verbose=0)


VARIANTS = {
    "direct": {},
    "steps": {"step": 2},
    "difference": {"difference": 1},
    "season difference": {"difference": 4, "horizon": 3},
    "relative": {"relative": 5, "horizon": 4},
    "calendar": {"calendar": ("hour",)},
    "recursive": {"recursive": True},
    "recursive difference": {"recursive": True, "difference": 2, "step": 2, "calendar": ("hour", "month")},
    "recursive relative": {"recursive": True, "relative": 3},
    "two targets": {"target": ["b", "a"]},
    "recentred": {"recenter": True, "target": ["b", "a"]},
    "recursive recentred": {"recenter": True, "recursive": True, "step": 2},
    "linear": {"linear": "all", "difference": 4, "calendar": ("hour",)},
    "linear, shared": {"linear": "shared", "target": ["b", "a"], "difference": 1, "horizon": 3},
    "recursive linear": {"linear": "all", "recursive": True, "relative": 2},
    "ensemble": {"linear": "shared", "recenter": True, "ensemble": 2},
    "chosen": {"linear": "auto", "change": "auto", "season": 4},
    "recursive, chosen": {"linear": "auto", "change": "auto", "recursive": True, "season": 4},
}


@pytest.fixture(scope="module")
def made():
    """One fitted forecaster of each variant, made when it is first asked for."""
    known = {}

    def get(name):
        if name not in known:
            known[name] = fitted(table(), **VARIANTS[name])
        return known[name]

    return get


def by_hand(forecaster, data, end):
    """Return the forecast from the window that ends at a row, from the definition, row by row."""
    f = forecaster
    goals = [list(data.columns).index(name) for name in f.target_names_]
    calendar = (
        calendar_features(pd.date_range(data.index[0], periods=len(data) + 20, freq="h"), f.calendar)
        if f.calendar
        else None
    )

    def features(rows, r):
        values = rows[r].copy()
        if f.difference_:
            values[goals] -= rows[r - f.difference_][goals]
        values = (values - f.scaler_.center_) / f.scaler_.scale_
        return np.concatenate([values, [] if calendar is None else calendar.iloc[r]]).astype(np.float32)

    def outputs(x, columns, read):
        """Linear path and net, as they are trained: the mean net scaled by what the linear path leaves."""
        made = f._state.forecast
        nets = np.mean([model.forward(read[None])[0][0].astype(float) for model in made.models], axis=0)
        if made.linear is None:
            return nets
        linear, seen = made.linear, x.astype(float)
        if not linear.shared:
            line = (seen.ravel() - linear.x_mean) @ linear.weights + linear.y_mean
        else:
            deviation = data.to_numpy()[:120].std(axis=0)[columns]
            line = np.zeros((len(nets) // len(columns), len(columns)))
            for j, column in enumerate(columns):
                past = seen[:, column] * f.scaler_.scale_[column] / deviation[j]
                line[:, j] = ((past - linear.x_mean) @ linear.weights + linear.y_mean) * deviation[j]
            line = (line.ravel() - f._state.targets.center) / f._state.targets.scale
        return line + made.share * made.scale * nets

    def net(rows, e, ahead, columns):
        window = [features(rows, e - k * f.step) for k in range((f.lookback - 1) // f.step, -1, -1)]
        window = read = np.array(window)
        if f.recenter_:
            window[:, goals] -= window[-1, goals]
        elif f.step == 1:  # nets read the rows after a window that were forecast, and go on
            read = np.array([features(rows, r) for r in range(end - f.lookback + 1, e + 1)])
        out = outputs(window, list(columns), read)
        out = (out * f._state.targets.scale + f._state.targets.center).reshape(-1, len(columns))
        lag = f.difference_ or f.relative_ or (1 if f.recenter_ else None)
        for k in range(len(out)):
            for j, column in enumerate(columns):
                if lag and column in goals:
                    row = e + ahead + k
                    while row > e:
                        row -= lag
                    out[k, j] += rows[row, column]
        return out

    rows = data.to_numpy()[: end + 1]
    if not f.recursive:
        return net(rows, end, f.delay, goals)
    for e in range(end, end + f.delay + f.horizon - 1):
        rows = np.concatenate([rows, net(rows, e, 1, range(rows.shape[1]))])
    return rows[end + f.delay :, goals]


@pytest.mark.parametrize("name", VARIANTS)
def test_forecasts_by_definition(made, name):
    f, data = made(name), table()
    back = f.backtest()
    for origin in (back["origin"].iloc[0], back["origin"].iloc[-1]):
        end = data.index.get_loc(origin)
        rows = back[back["origin"] == origin]
        expected = by_hand(f, data, end)
        assert_close(rows[f.target_names_].to_numpy(), expected, 1e-6)
        # The same from nothing but the rows up to there, and from no more of them than are needed.
        for first in (0, end + 1 - f._state.preparation.need):
            ahead = f.predict(data.iloc[first : end + 1])
            assert_close(ahead.to_numpy(), expected, 1e-6)
            assert ahead.index.equals(rows.index)
        assert np.array_equal(rows[f"{f.target_names_[0]} truth"], data[f.target_names_[0]].loc[rows.index])
    with pytest.raises(ShapeError, match=f"a forecast looks at the last {f._state.preparation.need}"):
        f.predict(data.iloc[-f._state.preparation.need + 1 :])


@pytest.mark.parametrize("name", VARIANTS)
def test_update_then_predict(made, name):
    data = table()
    f = fitted(data, **VARIANTS[name])
    new = table(207, seed=0).iloc[200:]
    new = new.set_axis(pd.date_range(data.index[-1], periods=8, freq="h")[1:])
    expected = f.predict(pd.concat([data, new]))
    assert f.update(new.iloc[:3]).update(new.iloc[3:4]).update(new.iloc[4:]) is f
    assert f.predict().equals(expected)
    assert expected.index[0] == new.index[-1] + pd.Timedelta(hours=f.delay)
    assert len(f._state.rows.tails[None][0]) == f._state.preparation.need
    assert f.predict(data).equals(made(name).predict())
    with pytest.raises(
        ValueError, match=r"the new rows begin at 2020-01-09 08:00:00; the next row is that of 2020-01-09 15:00"
    ):
        f.update(new)


@pytest.mark.parametrize("name", VARIANTS)
def test_streams_forecast_as_updates_do(made, name):
    f, stream = fitted(table(), **VARIANTS[name]), made(name).stream()
    new = (
        table(206, seed=1).iloc[200:].set_axis(pd.date_range(f._state.rows.tails[None][1][-1], periods=7, freq="h")[1:])
    )
    for row in range(6):
        given = new.iloc[row].to_dict() if row % 2 else new.iloc[row].to_numpy()
        found = stream.step(given)
        assert np.array_equal(found, f.update(new.iloc[row : row + 1]).predict().to_numpy())
        assert stream.time == new.index[row]
    assert made(name)._state.rows.tails[None][1][-1] < stream.time  # the forecaster stays as it was


def test_streams_refuse():
    f = fitted(table())
    stream = f.stream()
    for row, error, message in (
        ([1.0], ShapeError, r"row must have 2 values, those of \['a', 'b'\], got shape \(1,\)"),
        ({"a": 1.0}, ValueError, r"row lacks \['b'\]; the forecaster was fitted to"),
        ([1.0, np.nan], ValueError, "row must be finite; 'b' is not"),
        (["x", "y"], TypeError, "row must be"),
        ([1.0, 1e60], ValueError, "too large for float32"),
    ):
        with pytest.raises(error, match=message):
            stream.step(row)
    row = table().iloc[5]
    assert np.array_equal(stream.step(row), f.stream().step(row))  # refused rows were not taken
    assert np.isfinite(fitted(table(), missing="ffill").stream().step([1.0, np.nan])).all()
    with pytest.raises(NotFittedError):
        Forecaster(6).stream()


@pytest.mark.parametrize("name", VARIANTS)
def test_save_and_load(made, name, tmp_path):
    f = made(name)
    f.save(tmp_path / "f.safetensors")
    loaded = numbarnn.load(tmp_path / "f.safetensors")
    assert isinstance(loaded, Forecaster)
    assert loaded.predict().equals(f.predict())
    data = table(seed=5)
    assert loaded.backtest(data).equals(f.backtest(data))
    expected = f.evaluate(data)
    found = loaded.evaluate(data)
    # Of the regressions, a file has the one that is part of the forecasts.
    linear = None if f.recursive else f._state.forecast.linear
    kept = () if linear is None else ("ridge, own past",) if linear.shared else ("ridge",)
    names = expected.index.get_level_values("forecast")
    assert found.equals(expected[[name in kept or not name.startswith("ridge") for name in names]])
    with pytest.raises(ValueError, match="was loaded has no data; pass some"):
        loaded.evaluate()
    assert Forecaster.load(tmp_path / "f.safetensors").get_params()["lookback"] == 6


def test_load_refuses(tmp_path):
    model = numbarnn.Model([numbarnn.LSTM(2)], input_size=1)
    model.save(tmp_path / "m.safetensors")
    with pytest.raises(ModelFileError, match=r"contains a model, not a forecaster; numbarnn\.load loads any kind"):
        Forecaster.load(tmp_path / "m.safetensors")
    f = fitted(table())
    from numbarnn import io

    io.write(tmp_path / "f.safetensors", "forecaster", {"settings": {"lookback": 3}}, {})
    with pytest.raises(ModelFileError, match="description of the forecaster cannot be understood"):
        Forecaster.load(tmp_path / "f.safetensors")
    for name in (("a", 1.5), True, pd.Timestamp("2024-01-01")):
        f._state.preparation.encoding.columns[0] = name
        with pytest.raises(TypeError, match="column names that are strings or integers, or tuples of these, got"):
            f.save(tmp_path / "f.safetensors")


WRONG = {
    "delay of text": (lambda d, a: d["settings"].update(delay="3"), "delay must be an integer"),
    "huge step": (lambda d, a: d["settings"].update(step=1e308), "step must be an integer"),
    "huge lookback": (lambda d, a: d["settings"].update(lookback=2**40), r"the last \d+ rows for lookback"),
    "huge delay": (lambda d, a: d["settings"].update(delay=2**40), "delay \\+ horizon must be at most"),
    "another delay": (lambda d, a: d["settings"].update(delay=2), "a net that forecasts"),
    "another lookback": (lambda d, a: d["settings"].update(lookback=5), "where a forecast looks at 5"),
    "no cell": (lambda d, a: d["settings"].update(cell="x"), "cell must be"),
    "no method": (lambda d, a: d["settings"].update(scaling="x"), "scaling must be"),
    "no calendar": (lambda d, a: d["settings"].update(calendar=["x"]), r"calendar\[0\] must be"),
    "other calendar": (lambda d, a: d["settings"].update(calendar=["hour", "month"]), "features and 2 outputs are expected"),
    "flag": (lambda d, a: d["settings"].update(recursive=1), "recursive must be True or False"),
    "dtype": (lambda d, a: d["settings"].update(dtype="float64"), "dtype 'float64' and a model of float32"),
    "patience": (lambda d, a: d["settings"].update(patience=-1), "patience must be an integer >= 1"),
    "unknown setting": (lambda d, a: d["settings"].update(colour=1), "unexpected argument 'colour'"),
    "features": (lambda d, a: d.update(features=["a", "a"]), "features must be different names"),
    "levels": (lambda d, a: d.update(features=[["a", ["b"]], []]), "features must be different names"),
    "no levels": (lambda d, a: d.update(targets={"a": 1}), "targets must be different names"),
    "target": (lambda d, a: d.update(targets=["x"]), "'x' is not in list"),
    "no target": (lambda d, a: d.update(targets=[]), "targets must be different names"),
    "aim": (lambda d, a: d["aim"].__setitem__(2, [1]), "a net that forecasts"),
    "errors": (lambda d, a: d.update(mase=[-1.0]), "errors of 1 targets"),
    "season": (lambda d, a: d.update(season=0), "season must be an integer >= 1"),
    "kind of index": (lambda d, a: d["clock"].update(kind="x"), "an index of 'x'"),
    "frequency": (lambda d, a: d["clock"].update(every="-1h"), "does not go forward"),
    "no frequency": (lambda d, a: d["clock"].update(every="often"), "cannot be understood"),
    "zone": (lambda d, a: d["clock"].update(zone="Mars"), "cannot be understood"),
    "a folder of zones": (lambda d, a: d["clock"].update(zone="America"), "cannot be understood"),
    "a file": (lambda d, a: d["clock"].update(zone="dateutil//dev/zero"), "no time zone is"),
    "unit": (lambda d, a: d.update(unit="Y"), "times in the unit 'Y'"),
    "center": (lambda d, a: a["target.center"].fill(np.nan), "finite centers and scales"),
    "scale": (lambda d, a: a.update({"target.scale": np.ones(4)}), "target must have 2 finite centers"),
    "zero": (lambda d, a: a["scaler.scale"].fill(0), "scaler must have positive scales"),
    "rows": (lambda d, a: a.update(tail=a["tail"][:-1]), "5 rows with times"),
    "missing rows": (lambda d, a: a["tail"].fill(np.nan), "missing values"),
    "times": (lambda d, a: a["tail.times"].fill(3), "not in order"),
    "no times": (lambda d, a: a["tail.times"].fill(-(2**63)), "not in order"),
    "beyond time": (lambda d, a: a["tail.times"].__iadd__(2**63 - 1 - a["tail.times"].max()), "cannot be understood"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_files_whose_parts_do_not_fit(tmp_path, name):
    from numbarnn import io

    if "file" not in FITTED:
        FITTED["file"] = fitted(table().tz_localize("Europe/Berlin"), "a", calendar=("hour",), epochs=1)
    FITTED["file"].save(tmp_path / "f")
    description, arrays = io.read(tmp_path / "f")
    arrays = {key: values.copy() for key, values in arrays.items()}
    change, message = WRONG[name]
    change(description, arrays)
    io.write(tmp_path / "f", "forecaster", description, arrays)
    with pytest.raises(ModelFileError, match=message):
        Forecaster.load(tmp_path / "f")


FITTED = {}


@pytest.mark.parametrize("first", ["1300-01-01", "2024-01-01"])
@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_times_keep_their_unit(tmp_path, first, unit):
    if first < "1700" and unit == "ns":
        pytest.skip("nanoseconds begin in 1677")
    data = table().set_axis(pd.date_range(first, periods=len(table()), freq="D", unit=unit))
    f = fitted(data, "a", epochs=1)
    f.save(tmp_path / "f")
    loaded = numbarnn.load(tmp_path / "f")
    assert loaded.predict().equals(f.predict())
    assert loaded.predict().index.dtype == f.predict().index.dtype == data.index.dtype


# Baselines and evaluation


@pytest.mark.parametrize(("delay", "horizon", "season"), [(1, 1, 3), (3, 2, 4), (5, 4, 2), (2, 3, 24)])
def test_baselines_by_definition(delay, horizon, season):
    data = table(90)
    f = fitted(data, ["a", "b"], delay=delay, horizon=horizon, season=season, split=(0.5, 0.2, 0.3))
    back, found = f.backtest(), f.evaluate()
    raw = data.to_numpy()
    guesses = {"last value": [], f"seasonal ({season})": [], "drift": [], "moving mean": []}
    truth = []
    for origin, ahead in zip(back["origin"], back["ahead"], strict=True):
        e = data.index.get_loc(origin)
        truth.append(raw[e + ahead])
        guesses["last value"].append(raw[e])
        guesses["drift"].append(raw[e] + ahead * (raw[e] - raw[e - 5]) / 5)
        guesses["moving mean"].append(raw[e - 5 : e + 1].mean(axis=0))
        row = e + ahead
        while row > e:
            row -= season
        guesses[f"seasonal ({season})"].append(raw[row])
    scale = np.abs(np.diff(raw[:45], axis=0)).mean(axis=0)
    guesses["net"] = back[["a", "b"]].to_numpy()
    assert set(found.index.get_level_values("forecast")) == {*guesses, "ridge"}
    for name, values in guesses.items():
        errors = np.array(truth) - values
        for k, target in enumerate(("a", "b")):
            row = found.loc[target, name]
            assert row["MAE"] == pytest.approx(np.abs(errors[:, k]).mean())
            assert row["RMSE"] == pytest.approx(np.sqrt((errors[:, k] ** 2).mean()))
            assert row["MASE"] == pytest.approx(np.abs(errors[:, k]).mean() / scale[k])
            assert row["MAE/sd"] == pytest.approx(np.abs(errors[:, k]).mean() / raw[:45, k].std())
            assert row["MSE/var"] == pytest.approx((errors[:, k] ** 2).mean() / raw[:45, k].var())
    means = f.evaluate(per_target=False)
    assert list(means.columns) == ["MASE", "MAE/sd", "MSE/var"]
    assert means.loc["net", "MSE/var"] == pytest.approx(found.xs("net", level=1)["MSE/var"].mean())
    by_horizon = f.errors_by_horizon(target="b")
    assert list(by_horizon.index) == list(range(delay, delay + horizon))
    assert by_horizon["net"].mean() == pytest.approx(found.loc[("b", "net"), "MAE"])


def test_ridge_is_the_closed_form():
    data = table(150)
    f = fitted(data, horizon=2, split=(0.5, 0.25, 0.25))
    f.evaluate()
    ridge = f._state.evaluation.linear["all"]
    train = f._state.evaluation.parts["train"]
    x = np.float64(train.X.reshape(len(train), -1))
    y = (train.y.reshape(len(train), -1) - ridge.targets.center) / ridge.targets.scale
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    expected = np.linalg.solve(x.T @ x / len(x) + ridge.penalty * np.eye(x.shape[1]), x.T @ y / len(x))
    assert_close(ridge.weights, expected, 1e-6)
    # No other penalty is better on the validation part.
    validation = f._state.evaluation.parts["validation"]

    def error(penalty):
        w = np.linalg.solve(x.T @ x / len(x) + penalty * np.eye(x.shape[1]), x.T @ y / len(x))
        guess = (validation.X.reshape(len(validation), -1) - ridge.x_mean) @ w + ridge.y_mean
        left = guess * ridge.targets.scale + ridge.targets.center - validation.y.reshape(len(validation), -1)
        return np.square(left).mean() / data["a"][:75].var(ddof=0)

    errors = [error(penalty) for penalty in linear.PENALTIES[:-1]]
    assert linear.PENALTIES[np.argmin(errors)] == ridge.penalty
    assert ridge.error == pytest.approx(min(errors), rel=1e-6)


def test_score():
    f = fitted(table(), ["b", "a"], linear="all")
    back = f.backtest()
    squares = [((back[k] - back[f"{k} truth"]) ** 2).sum() for k in "ba"]
    about = [((back[f"{k} truth"] - back[f"{k} truth"].mean()) ** 2).sum() for k in "ba"]
    assert f.score() == pytest.approx(1 - np.mean(np.divide(squares, about)))
    assert f.score(table(), "test") > 0.5
    with pytest.raises(NotFittedError):
        Forecaster(6).score()


def test_nothing_of_the_other_parts_is_learned():
    data = table()
    other = data.copy()
    other.iloc[160:] = 1e6
    a, b = fitted(data, difference=1), fitted(other, difference=1)
    assert_same_bits(a.model_.params.flat, b.model_.params.flat)
    assert_same_bits(a.scaler_.center_, b.scaler_.center_)
    # The validation part chooses the epoch and nothing else.
    other.iloc[121:] = data.iloc[121:] * 1.5
    c = fitted(other, difference=1)
    assert c.history_["loss"] == a.history_["loss"]
    assert c.history_["val_loss"] != a.history_["val_loss"]


def test_learns_what_no_baseline_knows():
    data = table(1500)
    f = Forecaster(12, 4, hidden_size=12, epochs=15, learning_rate=0.01, n_threads=1, linear=None, change=None)
    found = f.fit(data, "a", verbose=0).evaluate()
    assert found.loc["net", "MAE"] < 0.5 * found.drop(["net", "ridge"])["MAE"].min()
    assert found.loc["net", "MAE"] < 0.2
    assert f.history_[0]["val_loss"] > f.history_[f.history_.best]["val_loss"]


def test_difference_follows_a_trend():
    """A net that sees levels cannot go where it has never been."""
    data = table(600, trend=0.05)
    options = {"hidden_size": 8, "epochs": 15, "learning_rate": 0.01, "split": (0.5, 0.2, 0.3)}
    levels, changes = (
        fitted(data, lookback=12, **options, difference=d).evaluate().loc["net", "MAE"] for d in (None, 1)
    )
    assert changes < 0.3
    assert levels > 3 * changes


# Times, data, settings


@pytest.mark.parametrize(
    ("index", "after", "season"),
    [
        (pd.date_range("2020-01-01", periods=90, freq="MS"), "2027-09-01", 12),
        (pd.date_range("2020-01-01", periods=90, freq="h", tz="Europe/Berlin"), "2020-01-04 20:00+01:00", 24),
        (pd.date_range("2020-01-01", periods=90, freq="10min"), "2020-01-01 15:20", 144),
        (pd.date_range("2020-01-01", periods=90, freq="D"), "2020-04-02", 7),
        (pd.date_range("2020-01-03", periods=90, freq="W-FRI"), "2021-10-08", 52),
        (pd.period_range("2020-01", periods=90, freq="M"), "2027-09", 12),
        (pd.RangeIndex(1700, 1790), 1792, None),
        (pd.Index(np.arange(90) * 5), 92 * 5, None),
    ],
    ids=["months", "zone", "10 minutes", "days", "weeks", "periods", "years", "fives"],
)
def test_times(index, after, season, tmp_path):
    series = pd.Series(np.sin(np.arange(90.0)), index=index, name="x")
    f = Forecaster(4, 3, **NET).fit(series, verbose=0)
    f.save(tmp_path / "f")
    for one in (f, Forecaster.load(tmp_path / "f")):
        ahead = one.predict()
        assert list(ahead.columns) == ["x"]
        label = ahead.index[0]
        assert str(label) == after if isinstance(index, pd.PeriodIndex) else label == type(label)(after)
        assert one._state.evaluation.season == season
    if isinstance(index, pd.DatetimeIndex):
        assert ahead.index.tz == index.tz
    assert f.backtest().index[-1] == index[-1]


def test_arrays():
    data = table().to_numpy()
    f = Forecaster(6, **NET).fit(data, 1, verbose=0)
    assert list(f.predict().index) == [200]
    f.update(data[-2:])
    assert list(f.predict().index) == [202]
    assert f.predict(data).shape == (1, 1)
    one = Forecaster(6, **NET).fit(data[:, 0], verbose=0)
    assert list(one.predict().columns) == [0]
    assert list(one.evaluate().index) == ["net", "last value", "drift", "moving mean", "ridge"]


def test_missing_values():
    data = table()
    data.iloc[50:53, 1] = np.nan
    data.iloc[170, 0] = np.nan
    with pytest.raises(
        ValueError, match=r"data has 4 missing values, the first at row 50 \(2020-01-03 02:00:00\), column 'b'"
    ):
        fitted(data)
    dropped, filled = fitted(data, missing="drop"), fitted(data, missing="ffill")
    for f in (dropped, filled):
        assert np.isfinite(f.evaluate()).all(axis=None)
        assert data.index[170] not in f.backtest().index  # the truth is not known
    assert len(dropped.backtest()) < len(filled.backtest())
    end = data.iloc[:171]
    with pytest.raises(ValueError, match="the last rows have missing values"):
        dropped.predict(end)
    assert np.isfinite(filled.predict(end)).all(axis=None)


def test_splits():
    data = table()
    by_fraction = fitted(data, split=(0.5, 0.25, 0.25))
    for split in ((100, 150), (data.index[100], data.index[150]), ("2020-01-05 04:00", "2020-01-07 06:00")):
        assert fitted(data, split=split).backtest().index.equals(by_fraction.backtest().index)
    two = fitted(data, split=(0.75, 0.25))
    assert "val_loss" not in two.history_[0]
    assert two.evaluate().loc["ridge"].notna().all()
    keep = Forecaster(6, **NET).fit(data, "a", split=[190], straddle="keep", verbose=0)
    assert keep.backtest().index.equals(data.index[190:])
    with pytest.raises(ValueError, match="part must be one that the split made, train, test, got 'validation'"):
        two.evaluate(part="validation")


def test_refused():
    data = table()
    cases = [
        (lambda: Forecaster(6).predict(), NotFittedError, "this Forecaster is not fitted yet"),
        (lambda: fitted(data, "c"), KeyError, "target 'c' is not a column of data, which has 'a', 'b'"),
        (lambda: fitted(data, []), ValueError, "at least one column"),
        (lambda: fitted(data.assign(c="x")), TypeError, "column 'c' of data must be numeric"),
        (lambda: fitted(data.drop(data.index[9])), ValueError, "row 9 of data, .* comes 0 days 02:00:00 after"),
        (lambda: fitted(data, delay=0), ValueError, "delay must be an integer >= 1, got 0"),
        (lambda: fitted(data, lookback=0), ValueError, "lookback must be an integer >= 1, got 0"),
        (lambda: fitted(data, difference=0), ValueError, "difference must be an integer >= 1, got 0"),
        (lambda: fitted(data, difference=1, relative=1), ValueError, "give difference or relative, not both"),
        (lambda: fitted(data, relative=7), ValueError, r"relative must be at most lookback \(6\), got 7"),
        (lambda: fitted(data, difference=120), ShapeError, "difference is 120; the training part has 120 rows, and needs more"),
        (lambda: fitted(data, missing="x"), ValueError, "missing must be"),
        (lambda: fitted(data, change="x"), ValueError, "change must be 'auto' or None, got 'x'"),
        (lambda: fitted(data, linear=3), ValueError, "linear must be 'auto', 'all', 'shared' or None, got 3"),
        (lambda: fitted(data, season="x"), ValueError, "season must be 'auto', got 'x'"),
        (lambda: fitted(data, batch_size=0), ValueError, "batch_size must be an integer >= 1, got 0"),
        (lambda: fitted(data, split=0.7), TypeError, "split must be a list of fractions, such as .*, got 0.7"),
        (lambda: fitted(data, cell="x"), ValueError, "cell must be"),
        (lambda: fitted(data, patience=2, split=(0.5, 0.5)), ValueError, "patience needs a validation part"),
        (lambda: fitted(data, split=(0.5, 0.2)), ValueError, "split must be positive and add up to 1"),
        (lambda: fitted(data, split=(0.25, 0.25, 0.25, 0.25)), ValueError, "two or three parts"),
        (lambda: fitted(data, split=(0.98, 0.01, 0.01)), ValueError, "no window fits into rows 196 to 197"),
        (lambda: fitted(data.reset_index(drop=True), split=["2020", "2021"]), ValueError, "split takes times only of data with"),
        (lambda: fitted(data.set_axis([f"t{i}" for i in range(200)])), TypeError, "the index must be a DatetimeIndex, a P"),
        (lambda: fitted(data.set_axis([*range(199), 500])), ValueError, "rises by 1 and then, at row 199, by 302"),
        (lambda: fitted(data).predict(data[["a"]]), ValueError, r"data lacks columns \['b'\]"),
        (lambda: fitted(data).backtest(part="tests"), ValueError, "part must be 'train', 'validation' or 'test', got 'tests'"),
    ]  # fmt: skip
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
    shuffled = fitted(data).predict(data[["b", "a"]])
    assert shuffled.equals(fitted(data).predict(data))


def test_parameters():
    f = Forecaster(6, cell="gru")
    assert f.get_params()["cell"] == "gru"
    assert repr(f) == "Forecaster(lookback=6, cell='gru')"
    assert f.set_params(horizon=3).horizon == 3
    parameters = inspect.signature(Forecaster).parameters
    positional = [name for name in parameters if parameters[name].kind != inspect.Parameter.KEYWORD_ONLY]
    assert positional == ["lookback", "delay", "horizon"]
    assert {name: parameter.default for name, parameter in parameters.items() if name != "lookback"} == {
        "delay": 1, "horizon": 1, "step": 1, "cell": "lstm", "hidden_size": 32, "num_layers": 1, "dropout": 0.0,
        "recurrent_dropout": 0.0, "recursive": False, "loss": "mse", "difference": None, "relative": None, "recenter": False,
        "change": "auto", "linear": "auto", "season": "auto", "calendar": (), "holidays": (), "future": (),
        "static": (), "categories": (), "handle_unknown": "error", "id": None, "time": None, "wide": False, "scale": "series",
        "scaling": "standard", "missing": "error", "irregular": "error", "optimizer": "adam", "learning_rate": None, "epochs": None,
        "batch_size": 64, "patience": None, "clip_norm": 1.0, "memory_limit": None, "schedule": None, "average": None,
        "ensemble": 1, "dtype": "float32", "seed": 0, "n_threads": None, "device": "cpu",
    }  # fmt: skip
    assert pytest.importorskip("sklearn.base").clone(f).get_params() == f.get_params()


def test_airline_passengers():
    """The last third, one month ahead, against the passengers of a year before."""
    path = data_file("classic_series", "airline_passengers.csv")
    series = readers.read_series(path)["Passengers"]
    f = Forecaster(12, difference=12, hidden_size=16, epochs=60, learning_rate=0.01, batch_size=16, n_threads=1)
    found = f.fit(series, split=(80, 96), straddle="keep", verbose=0).evaluate()
    assert len(f.backtest()) == 48
    assert found.loc["last value", "RMSE"] == pytest.approx(48.04, abs=0.005)
    assert found.loc["seasonal (12)", "RMSE"] == pytest.approx(41.85, abs=0.005)
    assert found.loc["net", "RMSE"] < 25


# Pictures and the command


def test_plots():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.axes import Axes

    from numbarnn import plots

    f = fitted(table(), ["a", "b"])
    back = f.backtest()
    for ax in (
        plots.plot_forecast(back),
        plots.plot_forecast(back, "b", ahead=3, last=10),
        plots.plot_errors_by_horizon(f.errors_by_horizon()),
        plots.plot_history(f.history_),
        plots.plot_scatter(back, "b"),
    ):
        assert isinstance(ax, Axes)
        assert ax.get_xlabel() or ax.get_ylabel()
        ax.figure.canvas.draw()
        pyplot.close(ax.figure)
    wide, one = f.predict_interval(0.8), f.predict_interval(0.8).iloc[:1]
    for ax in (
        plots.plot_forecast(f.backtest(level=0.8), "b"),
        plots.plot_prediction(wide, table(), "b", last=50),
        plots.plot_prediction(one),
        plots.plot_prediction(f.predict(), table()["a"]),
    ):
        assert [text.get_text() for text in ax.get_legend().get_texts()][-1] in ("80 % interval", "forecast")
        ax.figure.canvas.draw()
        pyplot.close(ax.figure)
    for hours, words in ((4, "4 hours"), (72, "3 days"), (24, "24 hours")):
        moved = back[back["ahead"] == 4].assign(origin=lambda b, h=hours: b.index - pd.Timedelta(hours=h))
        labels = [text.get_text() for text in plots.plot_forecast(moved).get_legend().get_texts()]
        assert labels == ["measured", f"forecast, {words} ahead"]
    with pytest.raises(KeyError, match=r"target 'c' is not among \['a', 'b'\]"):
        plots.plot_prediction(wide, target="c")
    with pytest.raises(KeyError, match="past has no column 'a'"):
        plots.plot_prediction(wide, table()[["b"]])
    with pytest.raises(ShapeError, match=r"must be a frame of Forecaster\.predict or"):
        plots.plot_prediction(f.predict(quantiles=0.5))
    own = pyplot.figure().subplots()
    assert plots.plot_history(f.history_, ax=own) is own
    lines = plots.plot_forecast(back, "b", ahead=3, last=10, ax=pyplot.figure().subplots()).lines
    assert np.array_equal(lines[0].get_ydata(), back.loc[back["ahead"] == 3, "b truth"].iloc[-10:])
    pyplot.close("all")
    zoned = plots.plot_forecast(back.tz_localize("Asia/Kolkata"), last=10)
    first = zoned.xaxis.get_major_formatter().format_data_short(zoned.lines[0].get_xdata(orig=False)[0])
    assert first == str(back.index[back["ahead"] == 4][-10])  # as the clocks there show it
    pyplot.close("all")
    with pytest.raises(KeyError, match=r"target 'c' is not among \['a', 'b'\]"):
        plots.plot_forecast(back, "c")
    with pytest.raises(ValueError, match=r"no forecasts 9 rows ahead; there are \[3, 4\]"):
        plots.plot_forecast(back, ahead=9)
    with pytest.raises(ShapeError, match=r"must be a frame of Forecaster.backtest"):
        plots.plot_scatter(table())


def test_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = table(300).assign(place="here")
    data.to_csv("station.csv", index_label="when")
    arguments = "forecast station.csv --target a --lookback 6 --delay 2 --horizon 3 --epochs 2 --hidden-size 4 --quiet --threads 1"
    assert main([*arguments.split(), "--save", "f.safetensors"]) == 0
    shown = capsys.readouterr().out
    assert "Left out, since they are not numeric: place." in shown
    assert re.search(r"net( +[\d.]+){5}\nlast value", shown)
    assert "The forecaster is" in shown
    assert "Wrote forecasts of the test part to station-forecast.csv" in shown
    written = pd.read_csv("station-forecast.csv", index_col="time", parse_dates=True)
    assert list(written.columns) == ["origin", "ahead", "a", "a truth"]
    assert written.index[-1] == data.index[-1]
    f = numbarnn.load("f.safetensors")
    assert_close(written["a"].to_numpy(), f.backtest(data[["a", "b"]])["a"].to_numpy()[-len(written) :], 1e-6)
    assert str(f.predict().index[-1]) in shown
    assert main(["info", "f.safetensors"]) == 0
    assert "forecaster of a from a, b: lookback 6, delay 2, horizon 3, step 1" in capsys.readouterr().out
    for bad, message in (
        (["--target", "z"], "there is no numeric column 'z'; there is a, b"),
        (["--split", "a,b"], "--split must be fractions like"),
        (["--output", "no/x.csv"], "there is no folder 'no' to write 'x.csv' to"),
        (["--columns", "a,z"], "there is no column 'z'; there is a, b, place"),
        (["--lookback", "400"], "data has 300 rows; lookback 400"),
    ):
        assert main(["forecast", "station.csv", "--epochs", "1", "--quiet", *bad]) == 1
        assert message in capsys.readouterr().err
    if pathlib.Path("station-forecast.png").exists():
        assert pathlib.Path("station-forecast.png").read_bytes()[:4] == b"\x89PNG"


def test_command_that_predicts(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = table(230)
    f = fitted(data.iloc[:200])
    f.save("f.safetensors")
    data.assign(place="here").to_csv("new.csv", index_label="when")
    assert main(["predict", "f.safetensors", "new.csv", "-o", "out.csv"]) == 0
    shown, expected = capsys.readouterr().out, f.predict(data)
    assert "Left out, since the forecaster does not know them: place." in shown
    assert str(expected.index[-1]) in shown
    written = pd.read_csv("out.csv", index_col="time", parse_dates=True)
    assert_close(written["a"].to_numpy(), expected["a"].to_numpy(), 1e-12)
    assert main(["predict", "f.safetensors", "new.csv", "--level", "0.8", "-o", "out.csv"]) == 0
    bounds = pd.read_csv("out.csv", index_col="time", parse_dates=True)
    assert list(bounds.columns) == ["a lower", "a", "a upper"]
    interval = f.predict_interval(0.8, data)["a"]
    assert_close(bounds.to_numpy(), interval.to_numpy(), 1e-12)
    capsys.readouterr()
    data[["b"]].to_csv("b.csv", index_label="when")
    data.iloc[:3].to_csv("few.csv", index_label="when")
    for arguments, message in (
        (["f.safetensors", "no.csv"], "no.csv"),
        (["no.safetensors", "new.csv"], "there is no model file 'no.safetensors'"),
        (["f.safetensors", "b.csv"], "b.csv lacks columns ['a']; the forecaster was fitted to a, b"),
        (["f.safetensors", "few.csv"], "data has 3 rows; a forecast looks at the last 6"),
        (["f.safetensors", "new.csv", "--level", "2"], "level must be in (0, 1)"),
        (["f.safetensors", "new.csv", "--future", "new.csv"], "no columns are known ahead"),
    ):
        assert main(["predict", *arguments]) == 1
        shown = capsys.readouterr().err
        assert shown.startswith("numbarnn: ")
        assert message in shown
        assert shown.count("\n") == 1
    planned = fitted(data.iloc[:200], future=["b"])
    planned.save("p.safetensors")
    data.iloc[:200].to_csv("past.csv", index_label="when")
    data.iloc[200:].to_csv("ahead.csv", index_label="when")
    assert main(["predict", "p.safetensors", "past.csv", "--future", "ahead.csv", "-o", "out.csv"]) == 0
    expected = planned.predict(data.iloc[:200], future=data[["b"]].iloc[200:])
    assert_close(pd.read_csv("out.csv")["a"].to_numpy(), expected["a"].to_numpy(), 1e-12)


def test_command_without_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("numbarnn.cli.forecast.weather", lambda: datasets.weather(600))
    assert main("forecast --lookback 24 --epochs 1 --hidden-size 4 --quiet --threads 1".split()) == 0
    shown = capsys.readouterr().out
    assert "synthetic hourly weather series" in shown
    assert "seasonal (24)" in shown


@pytest.mark.parametrize(
    ("fit", "use", "message"),
    [
        (HOURS, pd.date_range("2020", periods=200, freq="2h"), "must continue at the frequency '[hH]'.*row 1 is"),
        (HOURS, pd.RangeIndex(200), "must have an index of times"),
        (pd.RangeIndex(200), HOURS, "must have an index of numbers"),
        (pd.RangeIndex(0, 2000, 10), pd.RangeIndex(200), "must continue by 10"),
        (pd.RangeIndex(200), np.r_[0:100, 150:250], "row 100 is 150, not 100"),
        (pd.RangeIndex(200), np.arange(200.0), "must have an index of numbers"),
        (pd.period_range("2020-01", periods=200, freq="M"), pd.period_range("2020-01", periods=200, freq="D"), "frequency 'M'"),
        (pd.date_range("2020", periods=200, freq="MS"), pd.date_range("2020", periods=200, freq="D"), "frequency 'MS'"),
    ],
)  # fmt: skip
def test_rows_at_another_distance_are_refused(fit, use, message):
    f = fitted(table().set_axis(fit), epochs=1)
    other = table().set_axis(use)
    for method in (f.predict, f.evaluate, f.backtest):
        with pytest.raises(ValueError, match=message):
            method(other)
    assert f.predict(table().set_axis(fit)).equals(f.predict())


BERLIN = pd.date_range("2020-03-25", periods=200, freq="h", tz="Europe/Berlin")  # over the beginning of summer time


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "Europe/Berlin"])
@pytest.mark.parametrize("freq", ["h", "D"])
def test_data_of_another_zone_are_the_same_instants(zone, freq, tmp_path):
    """Hours of the day are those of the fitted zone, in which forecasts come, whichever zone data are in."""
    data = table().set_axis(pd.date_range("2020-03-25", periods=200, freq=freq, tz="Europe/Berlin"))
    first, second = data.iloc[:190], data.iloc[190:]
    f = fitted(first, calendar=["hour", "month"])
    f.save(tmp_path / "f")
    for one in (f, Forecaster.load(tmp_path / "f")):
        other = first.tz_convert(zone)
        assert one.predict(other).equals(f.predict(first))
        assert one.backtest(other).equals(f.backtest(first))
        assert one.evaluate(other).drop("ridge", errors="ignore").equals(f.evaluate(first).drop("ridge"))
        assert one.errors_by_horizon(other)["net"].equals(f.errors_by_horizon(first)["net"])
        assert str(one.predict(other).index.tz) == "Europe/Berlin"
        expected = fitted(first, calendar=["hour", "month"]).update(second).predict()
        assert one.update(second.tz_convert(zone)).predict().equals(expected)
        assert str(one.predict().index.tz) == "Europe/Berlin"


@pytest.mark.parametrize(
    "zone", [datetime.timezone(datetime.timedelta(hours=1), "CET"), "Etc/GMT-1", "+01:00"], ids=str
)
def test_zones_of_one_offset(zone, tmp_path):
    """Their names are kept such that pandas finds them again, without summer time."""
    data = table().set_axis(pd.date_range("2020-03-25", periods=200, freq="h", tz=zone))
    f = fitted(data, calendar=["hour"])
    f.save(tmp_path / "f")
    expected = f.predict()
    assert expected.index[0].isoformat() == "2020-04-02T10:00:00+01:00"
    for one in (f, Forecaster.load(tmp_path / "f")):
        assert one.predict(data.tz_convert("UTC")).equals(expected)
        one.update(data.iloc[:1].set_axis(expected.index[:1].tz_convert("UTC") - pd.Timedelta(hours=2)))
        assert one.predict().index[0].isoformat() == "2020-04-02T11:00:00+01:00"


def test_a_zone_without_a_name_is_refused():
    tz = pytest.importorskip("dateutil.tz")
    zone = tz.gettz("Europe/Berlin")
    if zone is None:
        pytest.skip("this system has no time zones")
    with pytest.raises(
        ValueError, match=r"has no name that pandas knows on every machine.*tz_convert\('Europe/Berlin'\)"
    ):
        fitted(table().set_axis(BERLIN.tz_convert(zone)))


@pytest.mark.parametrize(
    ("fit", "use", "message"),
    [
        (BERLIN, BERLIN.tz_localize(None), "{name} has times without a zone .* in the zone Europe/Berlin; .*{name}.tz_localize"),
        (HOURS, HOURS.tz_localize("UTC"), r"{name} has times in the zone UTC, the data passed .* without .*tz_localize\(None\)"),
    ],
    ids=["naive", "aware"],
)  # fmt: skip
def test_times_without_a_zone_and_with_one_are_not_mixed(fit, use, message):
    f = fitted(table().set_axis(fit), epochs=1)
    other = table().set_axis(use)
    for method in (f.predict, f.evaluate, f.backtest, f.errors_by_horizon):
        with pytest.raises(ValueError, match=message.format(name="data")):
            method(other)
    after = f._state.preparation.clock.after(fit, 2)
    after = after.tz_localize(None) if after.tz is not None else after.tz_localize("UTC")
    with pytest.raises(ValueError, match=message.format(name="new_rows")):
        f.update(table(2).set_axis(after))
    assert f.predict(table().set_axis(fit)).equals(f.predict())


def test_split_by_a_date_of_another_zone():
    data = table().set_axis(BERLIN)
    by_row = fitted(data, split=(120, 160)).backtest()
    dates = [BERLIN[120].tz_convert("UTC"), BERLIN[160].tz_localize(None)]
    assert fitted(data, split=dates).backtest().equals(by_row)
    with pytest.raises(ValueError, match=r"in the zone UTC; the data have times without a zone"):
        fitted(table(), split=[HOURS[120].tz_localize("UTC"), HOURS[160].tz_localize("UTC")])


def test_several_series_are_refused_by_a_forecaster_of_one():
    panel = pd.concat({"A": table(), "B": table()}, names=["station", "time"])
    f = fitted(table(), epochs=1)
    message = "has 2 series; the forecaster was fitted to one: pass one at a time"
    for method in (f.predict, f.evaluate, f.backtest, f.errors_by_horizon):
        with pytest.raises(ValueError, match=f"data {message}"):
            method(panel)
    with pytest.raises(ValueError, match=f"new_rows {message}"):
        f.update(panel)
    for _, part in panel.groupby(level="station"):
        assert f.predict(part.droplevel("station")).equals(f.predict())
    with pytest.raises(ValueError, match="is earlier than the row above; sort by time"):
        f.predict(pd.concat([table(), table()]))


@pytest.mark.parametrize("kind", ["bool", "boolean", "Int64", "Float64"])
def test_every_type_of_numbers(kind):
    """Columns of booleans and of nullable types are numbers beside others, in what is learned and in what comes later."""
    data = table().assign(b=np.arange(200) % 3 == 0)
    plain = data.astype({"b": "float64"})
    typed = data.astype({"b": kind})
    f, expected = fitted(typed.iloc[:190]), fitted(plain.iloc[:190])
    assert_same_bits(f.model_.params.flat, expected.model_.params.flat)
    assert f.evaluate().equals(expected.evaluate())
    assert f.predict(typed).equals(expected.predict(plain))
    assert f.update(typed.iloc[190:]).predict().equals(expected.update(plain.iloc[190:]).predict())
    hole = typed.copy()
    hole.loc[hole.index[50], "a"] = np.nan
    if kind != "bool":
        hole.loc[hole.index[60], "b"] = pd.NA
    count = 1 if kind == "bool" else 2
    with pytest.raises(ValueError, match=rf"data has {count} missing values?, the first at row 50 .* column 'a'"):
        fitted(hole)
    assert np.isfinite(fitted(hole, missing="drop").evaluate()).all(axis=None)


def test_update_refuses_a_gap_between_numbered_rows():
    f = fitted(table().reset_index(drop=True), epochs=1)
    before = f.predict()
    with pytest.raises(ValueError, match=r"row .* is 205, not"):
        f.update(table(3).set_axis([200, 201, 205]))
    assert f.predict().equals(before)


@pytest.mark.parametrize("missing", ["drop", "ffill"])
@pytest.mark.parametrize(
    "options",
    [
        {"difference": 24},
        {"relative": 4, "step": 3},
        {"difference": 2, "step": 4},
        {"difference": 24, "recursive": True},
    ],
    ids=str,
)
def test_what_targets_are_compared_with_is_known(options, missing):
    """It may lie where the window has no row."""
    data = table()
    data.iloc[:3, 0] = data.iloc[50:52, 0] = data.iloc[120, 0] = data.iloc[181, 0] = np.nan
    f = fitted(data, missing=missing, **options)
    assert np.isfinite(f.history_[0]["loss"])
    assert np.isfinite(f.evaluate()).all(axis=None)
    assert np.isfinite(f.backtest()[["a", "a truth"]]).all(axis=None)


def test_command_says_what_is_wrong_with_a_file(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text("time,y\n")
    assert main(["forecast", str(path), "--target", "y"]) == 1
    assert "has a header and no rows" in capsys.readouterr().err
    table().to_csv(path, index_label="time")
    assert main(["forecast", str(path), "--time", "q"]) == 1
    assert "has no 'q', it has time, a, b" in capsys.readouterr().err
    path.write_text("time,a\n" + "".join(f"0{1 + n % 9}/0{1 + n // 9}/2020,{n}\n" for n in range(60)))
    assert main(["forecast", str(path)]) == 1
    assert "column 'time' can be read as '%m/%d/%Y' (row 0 is then 2020-01-01) or" in capsys.readouterr().err
    path.write_text("time,a\n2020-01-01,1\n2020-01-02,2,3\n")
    assert main(["forecast", str(path)]) == 1
    assert "line 3 of" in capsys.readouterr().err


def test_command_reads_times_of_a_given_format(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    days = pd.date_range("2020-01-01", periods=120)
    pd.DataFrame({"a": np.sin(np.arange(120.0))}, index=days.strftime("%d/%m/%y")).to_csv("a.csv", index_label="day")
    arguments = (
        "forecast a.csv --lookback 6 --delay 1 --epochs 1 --hidden-size 4 --quiet --threads 1 --time-format %d/%m/%y"
    )
    assert main(arguments.split()) == 0
    assert "forecasts for 2020-04-" in capsys.readouterr().out


def test_business_days_with_holidays(tmp_path):
    """The frequency of the index decides; its holidays are kept, and are not forecast."""
    days = pd.offsets.CustomBusinessDay(holidays=["2024-03-29", "2024-08-20"])
    data = table(165).set_axis(pd.date_range("2024-01-01", periods=165, freq=days))
    f = fitted(data, lookback=4, horizon=3, delay=1)
    f.save(tmp_path / "f")
    for one in (f, Forecaster.load(tmp_path / "f")):
        assert one.predict().index.equals(pd.DatetimeIndex(["2024-08-21", "2024-08-22", "2024-08-23"]))
        assert one.predict(pd.DataFrame(data.to_numpy(), list(data.index), data.columns)).equals(f.predict())
        with pytest.raises(
            ValueError, match=r"must continue at the frequency 'C', .* row 2 is 2024-08-20.*, not 2024-08-21"
        ):
            one.predict(table(20).set_axis(pd.bdate_range("2024-08-16", periods=20)))


def test_frequencies_that_no_name_tells_are_refused():
    index = pd.date_range("2024-01-01", periods=90, freq=pd.DateOffset(months=2))
    with pytest.raises(
        ValueError, match=r"the index has the frequency <DateOffset.*; give it another, such as data.asfreq\('B'\)"
    ):
        fitted(table(90).set_axis(index))


def test_advice_names_what_there_is():
    gap = table().drop(table().index[9])
    with pytest.raises(
        ValueError, match=r"row 9 .*, or set irregular='elapsed', or number the rows: data.reset_index\(drop=True\)$"
    ):
        fitted(gap)
    fitted(gap.reset_index(drop=True), epochs=0)


def test_columns_of_several_levels(tmp_path):
    names = pd.MultiIndex.from_tuples([("Close", "ABC"), ("Open", "ABC")])
    data, plain = table().set_axis(names, axis=1), fitted(table())
    f = fitted(data, ("Close", "ABC"))
    assert f.target_names_ == [("Close", "ABC")]
    assert f.predict().columns.tolist() == [("Close", "ABC")]
    assert np.array_equal(f.predict(), plain.predict())
    assert np.array_equal(f.predict(data[names[::-1]]), plain.predict())
    assert np.array_equal(f.backtest()["('Close', 'ABC') truth"], plain.backtest()["a truth"])
    assert np.array_equal(f.evaluate(), plain.evaluate())
    assert set(fitted(data, list(names)).evaluate().index.get_level_values(0)) == set(names)
    f.save(tmp_path / "f")
    loaded = Forecaster.load(tmp_path / "f")
    assert (loaded.feature_names_, loaded.target_names_) == (list(names), [("Close", "ABC")])
    assert loaded.predict().equals(f.predict())
    assert loaded.predict(data).equals(f.predict(data))
    later = data.set_axis(data.index + len(data) * data.index.freq)
    assert loaded.update(later).predict().equals(f.update(later).predict())
    f = fitted(table().set_axis(pd.MultiIndex.from_tuples([("a", 1), ("b", 2)]), axis=1), None, epochs=0)
    f.save(tmp_path / "f")
    assert Forecaster.load(tmp_path / "f").target_names_ == [("a", 1), ("b", 2)]


@pytest.mark.parametrize(("names", "target"), [(["origin", "b"], "origin"), (["a", "a truth"], ["a", "a truth"])])
def test_columns_of_results_do_not_collide(names, target):
    f = fitted(table().set_axis(names, axis=1), target, epochs=0)
    assert len(f.predict().columns) == len(f.target_names_)
    with pytest.raises(
        ValueError, match=f"the target '{f.target_names_[-1]}' has the name of another column of the result"
    ):
        f.backtest()


def test_settings_of_other_types(tmp_path):
    f = fitted(table(), dtype=np.float32, calendar="hour", epochs=0)
    f.save(tmp_path / "f")
    loaded = Forecaster.load(tmp_path / "f")
    assert (loaded.dtype, list(loaded.calendar)) == ("float32", ["hour"])
    assert loaded.predict().equals(f.predict())
    with pytest.raises(TypeError, match="Forecaster: recursive must be True or False, got 'x'"):
        fitted(table(), recursive="x")


def test_values_beyond_float32():
    data, f = table(), fitted(table(), epochs=0)
    large = data.copy()
    large.iloc[195, 1] = 1e60
    for call in (
        lambda: f.predict(large),
        lambda: f.update(large[195:].set_axis(HOURS[:5] + (data.index[-1] - HOURS[0]) + HOURS.freq)),
    ):
        with pytest.raises(
            ValueError, match=r"data has values too large for float32 when scaled by the training part, .* column 'b'"
        ):
            call().predict()
    with pytest.raises(ValueError, match="too large for float32"):
        fitted(large)
    with pytest.raises(ValueError, match="feature 1 of X has values too large to be scaled"):
        fitted(data.assign(b=np.linspace(-1e200, 1e200, 200)))


@pytest.mark.parametrize("values", [[3, 2, 1], [2**63, 2**63 + 1], [2**62 + 1, 2**62 + 2]], ids=str)
def test_row_numbers_near_the_largest(values):
    data = table(200).set_axis(pd.Index(np.concatenate([np.arange(200, 3, -1), [3, 2, 1]]).astype(np.uint64)))
    if values == [3, 2, 1]:
        assert fitted(data, epochs=0).predict().index.tolist() == [-2, -3]
        return
    data = table(200).set_axis(pd.Index(values[0] + np.arange(200, dtype=np.uint64)))
    with pytest.raises(ValueError, match=r"the index has integers beyond 2\*\*62; number the rows from 0"):
        fitted(data)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("time,load,°C\n2024-01-01,1,1\n".encode("latin-1"), "", "pass --encoding, such as --encoding 'latin-1'"),
        ("time;load\n2024-01-01;1\n", "--sep ,", "has ';' in it; if that separates columns, pass --sep ';'"),
        ("time\tload\n2024-01-01\t1\n", "--sep ,", "pass --sep '\\t'"),
        ("time;load\n2024-01-01;1,5\n", "--sep ; --decimal .", "values with commas, such as '1,5'; pass --decimal ','"),
        ("Date,Time,load\n01.01.2024,10:00,1\n01.01.2024,11:00,2\n", "", "pass both, --time 'Date' --time 'Time'"),
        ("time,load\n01/02/2024,1\n02/03/2024,2\n", "--time time", "pass the one that is right, such as --time-format '%m/%d/%Y'"),
        ("load\n" + "1\n2\n" * 20, "--calendar hour --lookback 1 --delay 1", "--calendar needs times, and the rows"),
        ("load,x\n" + "1,2\n" * 20 + ",3\n", "--lookback 1 --delay 1", "set --missing 'drop', 'ffill' or 'mask'"),
        ("time,load\n2024-01-01,1\n", "--encoding cow", "there is no encoding 'cow'"),
        ("time,load\n2024-01-01,1\n", "--time-format %Q", "format must be one of pandas.to_datetime, such as"),
        (b"a\n1\n1,2\n\x80\n", "", "is not utf-8 text (invalid start byte); pass --encoding"),
    ],
)  # fmt: skip
def test_command_names_its_own_options(tmp_path, monkeypatch, capsys, text, options, message):
    monkeypatch.chdir(tmp_path)
    pathlib.Path("a.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert main(["forecast", "a.csv", *options.split()]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("numbarnn: ")
    assert error.count("\n") == 1


def test_command_looks_at_the_picture_before_it_trains(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    table().to_csv("a.csv")
    assert main(["forecast", "a.csv", "--plot", "a.xyz"]) == 1
    assert re.match(r"numbarnn: --plot must end in one of \..*\.png, .*, got 'a.xyz'\n$", capsys.readouterr().err)
    quick = "--lookback 3 --delay 1 --hidden-size 2 --epochs 0 --quiet --plot a.svg".split()
    assert main(["forecast", "a.csv", *quick]) == 0  # without a history to draw
    assert pathlib.Path("a.svg").exists()


def test_command_reads_other_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    times = pd.date_range("2020-01-01", periods=120, freq="h")
    values = [f"{np.sin(n):.3f}".replace(".", ",") for n in range(120)]
    lines = [f"{t:%d.%m.%Y};{t:%H:%M};{value}" for t, value in zip(times, values, strict=True)]
    pathlib.Path("a.csv").write_text("\n".join(["Tag;Zeit;Größe", *lines]), "latin-1")
    options = "--sep ; --decimal , --encoding latin-1 --time Tag --time Zeit --target Größe"
    arguments = f"forecast a.csv {options} --lookback 6 --delay 1 --epochs 1 --hidden-size 4 --quiet --threads 1"
    assert main(arguments.split()) == 0
    assert "\n2020-01-06 " in capsys.readouterr().out


def test_command_tells_of_times_in_several_columns(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text("year,month,x\n" + "2010,1,1\n" * 12)  # times that are repeated are none
    assert main(["forecast", str(path), "--calendar", "month", "--lookback", "1", "--delay", "1"]) == 1
    assert "if it has the times, pass --time 'year' --time 'month'\n" in capsys.readouterr().err


def test_a_fit_that_fails_leaves_the_forecaster_as_it_was():
    f = fitted(table())
    expected, names = f.predict(), vars(f).copy()
    other = table(60).rename(columns={"a": "x"})
    for data, target, error in (
        (other, "a", KeyError),
        (other.iloc[:5], "x", ValueError),
        (other * np.nan, "x", ValueError),
    ):
        with pytest.raises(error):
            f.fit(data, target, verbose=0)
    assert vars(f) == names
    assert f.predict().equals(expected)
