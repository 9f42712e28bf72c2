"""Columns that are known ahead: seen up to the last row that is forecast, and no further."""

import numpy as np
import pandas as pd
import pytest

import numbarnn as nr
from numbarnn.errors import ShapeError

FEW = {"epochs": 2, "hidden_size": 4, "n_threads": 1, "change": None}


def table(rows=260, seed=0):
    """Return a target that follows what was planned, planned values, and a column of its own."""
    generator = np.random.default_rng(seed)
    planned, other = generator.normal(size=(2, rows))
    values = {"y": 5 + 3 * planned + 0.1 * generator.normal(size=rows), "planned": planned, "other": other}
    return pd.DataFrame(values, pd.date_range("2024", periods=rows, freq="h"))


def fitted(data=None, **options):
    settings = FEW | {"lookback": 5, "delay": 2, "horizon": 3, "future": ["planned"]} | options
    return nr.Forecaster(**settings).fit(table() if data is None else data, "y", verbose=0)


VARIANTS = {
    "direct": ({}, [4]),
    "short windows": ({"lookback": 2, "horizon": 4}, [5, 3, 1]),
    "changes": ({"difference": 2, "calendar": ["hour"]}, [4]),
    "recursive": ({"recursive": True}, [1]),
    "recursive changes": ({"recursive": True, "difference": 1, "calendar": ["hour"]}, [1]),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_what_the_net_sees(name):
    """The features of every row are its own, and the planned values of the rows that the shifts say."""
    options, shifts = VARIANTS[name]
    f, data = fitted(**options), table()
    own, raw = f._state.preparation, data.to_numpy()
    assert own.shifts == shifts
    known = own.known_rows(data.index, raw)
    features, lag = own.features(raw, known), own.lag
    assert features.shape == (260 - lag, own.width)
    first = own.width - len(shifts)
    scaled = (raw[:, 1] - f.scaler_.center_[1]) / f.scaler_.scale_[1]
    for r in range(lag, 260):
        expected = [scaled[r + shift] if r + shift < 260 else 0.0 for shift in shifts]
        np.testing.assert_allclose(features[r - lag, first:], expected, rtol=1e-6)
    # Together, the windows' rows and the shifted ones are all rows up to the last that is forecast.
    seen = {r + shift for shift in (0, *shifts) for r in range(1 - f.lookback, 1)}
    assert set(range(1, own.reach + 1)) <= seen
    assert max(seen) == own.reach


@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_beyond_is_seen(name):
    """What comes after the last row that is forecast, and all other columns after the window, change no bit."""
    f, data = fitted(**VARIANTS[name][0]), table()
    end = 200
    last = end + f.delay + f.horizon - 1
    window, future = data.iloc[: end + 1], data[["planned"]].iloc[end + 1 :]
    expected = f.predict(window, future=future)
    back = f.backtest(data)
    assert back.loc[back["origin"] == data.index[end], "y"].to_numpy() == pytest.approx(
        expected["y"].to_numpy(), rel=1e-5
    )
    assert f.predict(window, future=future.iloc[: last - end]).equals(expected)
    other = data.copy()
    other.iloc[end + 1 :, [0, 2]] = np.random.default_rng(1).normal(size=(259 - end, 2))
    other.iloc[last + 1 :, 1] = 1e3
    changed = f.backtest(other)
    rows = back["origin"] == data.index[end]
    assert np.array_equal(changed.loc[rows, "y"], back.loc[rows, "y"])
    moved = future.copy()
    moved.iloc[last - end - 1] += 1
    assert not f.predict(window, future=moved).equals(expected)


@pytest.mark.parametrize("recursive", [False, True])
def test_what_is_planned_is_used(recursive, tmp_path):
    data = table(600)
    f = fitted(data, recursive=recursive, epochs=20)
    found = f.evaluate()
    assert found.loc["net", "MAE"] < 0.15 < 10 * found.loc["net", "MAE"] < found.loc["last value", "MAE"]
    future = pd.DataFrame({"planned": [0.0, 1.0, -1.0, 2.0]}, pd.date_range(data.index[-1], periods=5, freq="h")[1:])
    ahead = f.predict(future=future)
    assert np.abs(ahead["y"].to_numpy() - [8, 2, 11]).max() < 0.5
    assert f.predict(future=[[0.0], [1.0], [-1.0], [2.0]]).equals(ahead)
    interval = f.predict_interval(0.8, future=future)["y"]
    assert (interval["lower"] < ahead["y"]).all()
    f.save(tmp_path / "f.safetensors")
    loaded = nr.load(tmp_path / "f.safetensors")
    assert loaded.predict(future=future).equals(ahead)
    assert loaded.predict_interval(0.8, future=future)["y"].equals(interval)
    stream, row = f.stream(), data.iloc[5]
    assert stream.step(row, future=future["planned"].shift(freq="h").to_frame()).shape == (3, 1)
    with pytest.raises(ValueError, match="future must have the columns known ahead"):
        stream.step(row)
    new = table(601).iloc[600:].set_axis(future.index[:1])
    assert len(loaded.update(new).predict(future=future["planned"].shift(freq="h").to_frame())) == 3


def test_one_name_and_none():
    f = fitted(future="planned")
    assert f.get_params()["future"] == "planned"
    assert f._state.preparation.encoding.future == ("planned",)
    plain = fitted(future=())
    assert plain._state.preparation.width == 3


def test_refused():
    data, f = table(), fitted()
    times = pd.date_range(data.index[-1], periods=6, freq="h")[1:]
    rows = pd.DataFrame({"planned": np.zeros(5)}, times)
    cases = [
        (lambda: f.predict(), ValueError, "future must have the columns known ahead, 'planned', of the 4 rows after the data"),
        (lambda: f.predict(future=rows.iloc[:3]), ShapeError, "future has 3 rows, a forecast needs 4, up to that of 2024-01-11 23"),
        (lambda: f.predict(future=rows.shift(freq="h")), ValueError, "future must have the rows after the data; row 0 is"),
        (lambda: f.predict(future=rows.rename(columns={"planned": "x"})), ValueError, r"future lacks columns \['planned'\]"),
        (lambda: f.predict(future=rows * np.nan), ValueError, "future must be finite; row 0"),
        (lambda: fitted(future=()).predict(future=rows), ValueError, "no columns are known ahead: name them"),
        (lambda: fitted(future=["y"]), ValueError, "future 'y' is a target"),
        (lambda: fitted(future=["z"]), KeyError, "future 'z' is not a column of data, which has 'y', 'planned', 'other'"),
        (lambda: fitted(future=[["planned"]]), TypeError, "future must be names of columns"),
        (lambda: fitted(future=3), TypeError, "future must be a list of names of columns"),
    ]  # fmt: skip
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
