"""Many series, one forecaster: forms of data, windows that never cross, scales, series that were not there, files."""

import numpy as np
import pandas as pd
import pytest
from conftest import assert_close

import numbarnn as nr
from numbarnn.errors import ModelFileError, ShapeError

FEW = {"epochs": 2, "hidden_size": 4, "n_threads": 1, "lookback": 6, "horizon": 2}


def series(key, rows=None):
    """Return a table of one series: another length, beginning, level and scale for each."""
    generator = np.random.default_rng(key)
    rows = 90 + 30 * key if rows is None else rows
    t = np.arange(rows)
    y = (10.0**key) * (3 + np.sin(t / 3 + key) + 0.2 * generator.normal(size=rows))
    return pd.DataFrame(
        {"y": y, "x": generator.normal(size=rows), "size": float(key)},
        pd.date_range("2024-01-01", periods=rows, freq="h", name="time") + pd.Timedelta(days=key),
    )


TABLES = {name: series(key) for key, name in enumerate(("a", "b", "c"))}
LONG = pd.concat(TABLES, names=["station"]).reset_index()
FORMS = {
    "dict": (TABLES, {}),
    "MultiIndex": (pd.concat(TABLES, names=["station"]), {}),
    "long": (LONG, {"id": "station", "time": "time"}),
    "long, mixed rows": (LONG.sort_values(["time", "station"]), {"id": "station", "time": "time"}),
    "long, index of times": (LONG.set_index("time"), {"id": "station"}),
    "list": (list(TABLES.values()), {}),
}


def fitted(data=None, target="y", **options):
    return nr.Forecaster(**FEW | options).fit(TABLES if data is None else data, target, verbose=0)


@pytest.fixture(scope="module")
def forecaster():
    return fitted()


@pytest.mark.parametrize("form", FORMS)
def test_forms_are_the_same_to_the_bit(forecaster, form):
    data, options = FORMS[form]
    f = fitted(data, **options)
    assert f.predict().to_numpy().tobytes() == forecaster.predict().to_numpy().tobytes()
    assert f.evaluate().equals(forecaster.evaluate())
    keys = [0, 1, 2] if form == "list" else ["a", "b", "c"]
    found = f.predict()
    assert found.index.names == ["series", "time"]
    assert list(dict.fromkeys(found.index.get_level_values(0))) == keys
    assert found.index.get_level_values("time")[0] == TABLES["a"].index[-1] + pd.Timedelta(hours=1)
    assert f.predict(data).equals(found)
    assert f.update({key: later(name) for key, name in zip(keys, "abc", strict=True)}) is f


def later(name, rows=3):
    """Return rows after those of a series."""
    new = series("abc".index(name), 400).iloc[: len(TABLES[name]) + rows]
    return new.iloc[-rows:]


def test_polars(forecaster):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({column: LONG[column].to_numpy() for column in LONG.columns if column != "station"})
    frame = frame.with_columns(polars.Series("station", LONG["station"].tolist()))
    frame = frame.select(["station", "time", "y", "x", "size"])
    assert fitted(frame, id="station", time="time").predict().equals(forecaster.predict())


def test_columns_of_a_wide_table_are_series():
    wide = pd.DataFrame({name: table["y"].to_numpy()[:90] for name, table in TABLES.items()}, TABLES["a"].index)
    f = nr.Forecaster(**FEW).fit(dict(wide.items()), verbose=0)
    assert list(f.predict().columns) == ["value"]
    assert len(f.predict()) == 6


@pytest.mark.parametrize(
    "options", [{}, {"difference": 3}, {"relative": 4}, {"recenter": True, "scale": "all"}], ids=str
)
def test_windows_stay_in_their_series_and_part(options):
    f = fitted(**options)
    need, reach = f._state.preparation.need, 2
    for part, windows in f._state.evaluation.parts.items():
        panel = f._state.evaluation.panel
        ends = np.asarray(windows.ends) + f._state.preparation.lag
        which = panel.series_of(ends)
        assert set(which) == {0, 1, 2}
        assert (ends - need + 1 >= panel.starts[which]).all()
        assert (ends + reach < panel.starts[which + 1]).all()
        for number, table in enumerate(TABLES.values()):
            mine = ends[which == number] - panel.starts[number]
            edges = [0, int(0.7 * len(table) + 1e-9), int(0.85 * len(table) + 1e-9), len(table)]
            first, last = {"train": edges[:2], "validation": edges[1:3], "test": edges[2:]}[part]
            assert mine.min() == max(first + 5, need - 1)
            assert mine.max() == last - 1 - reach
            assert len(mine) == mine.max() - mine.min() + 1


def test_one_series_of_many_is_forecast_alone(forecaster):
    """Nothing of the others is in a forecast: rows, scales, order."""
    whole = forecaster.predict()
    for name, table in TABLES.items():
        alone = forecaster.predict({name: table})
        assert_close(alone.to_numpy(), whole.loc[name].to_numpy(), 1e-6)
    other = TABLES | {"b": TABLES["b"] * 7}
    assert np.array_equal(forecaster.predict(other).loc["a"], whole.loc["a"])
    swapped = forecaster.predict({name: TABLES[name] for name in "cab"})
    assert_close(swapped.loc["b"].to_numpy(), whole.loc["b"].to_numpy(), 1e-6)


def test_nothing_of_the_test_part_is_learned():
    other = {name: table.copy() for name, table in TABLES.items()}
    for table in other.values():
        table.iloc[int(0.85 * len(table)) + 1 :] *= 3
    a, b = fitted(), fitted(other)
    assert a.model_.params.flat.tobytes() == b.model_.params.flat.tobytes()
    assert np.array_equal(a._state.preparation.levels.center, b._state.preparation.levels.center)


def test_scales():
    f = fitted(static=["size"])
    levels = f._state.preparation.levels
    for row, table in enumerate(TABLES.values()):
        train = table.iloc[: int(0.7 * len(table) + 1e-9)]
        assert_close(levels.center[row], [train["y"].mean(), train["x"].mean(), 0], 1e-12)
        assert_close(levels.scale[row], [train["y"].std(ddof=0), train["x"].std(ddof=0), 1], 1e-12)
    # The same net forecasts a series a thousand times as large a thousand times as large.
    larger = {"b": TABLES["b"].assign(y=1000 * TABLES["b"]["y"])}
    g = fitted(TABLES | larger, static=["size"])
    assert_close(g.predict().loc["b"].to_numpy(), 1000 * f.predict().loc["b"].to_numpy(), 1e-5)
    assert fitted(scale="all")._state.preparation.levels.keys is None


def test_a_series_that_was_not_there(forecaster):
    new = series(1, 150)
    found = forecaster.predict({"new": new})
    mean, deviation = new["y"].mean(), new["y"].std(ddof=0)
    assert abs(found["y"] - mean).max() < 4 * deviation
    moved = forecaster.predict({"new": new.assign(y=5 * new["y"] + 100)})
    assert_close(moved["y"].to_numpy(), 5 * found["y"].to_numpy() + 100, 1e-6)
    # In backtests nothing of later rows is seen.
    other = new.copy()
    other.iloc[-20:] *= 3
    early, changed = (forecaster.backtest({"new": table}).iloc[:200] for table in (new, other))
    assert np.array_equal(early["y"], changed["y"])
    f = fitted()
    updated = f.update({"new": new}).predict()
    assert_close(updated.loc["new"].to_numpy(), found.to_numpy(), 1e-6)
    assert len(updated) == 8


def test_updates_and_streams():
    f, whole = fitted(), {name: pd.concat([table, later(name)]) for name, table in TABLES.items()}
    expected = f.predict(whole)
    stream = f.stream("b")
    for row in later("b").to_numpy():
        found = stream.step(row)
    assert np.array_equal(found, expected.loc["b"])
    f.update({name: later(name) for name in "abc"})
    assert f.predict().equals(expected)
    with pytest.raises(
        ValueError, match=r"new_rows of 'a' begin at 2024-01-04 18:00:00; the next row is that of 2024-01-04 21"
    ):
        f.update({"a": later("a")})
    assert f.predict().equals(expected)  # as it was
    with pytest.raises(KeyError, match=r"series must be one of \['a', 'b', 'c'\], got 'z'"):
        f.stream("z")


@pytest.mark.parametrize(
    "options", [{}, {"loss": "gaussian"}, {"recursive": True}, {"scale": "all", "calendar": ["hour"]}], ids=str
)
def test_files(tmp_path, options):
    f = fitted(**options)
    f.save(tmp_path / "f.safetensors")
    loaded = nr.load(tmp_path / "f.safetensors")
    assert loaded.predict().equals(f.predict())
    assert loaded.predict_interval(0.5).equals(f.predict_interval(0.5))
    assert loaded.backtest(TABLES).equals(f.backtest(TABLES))
    assert loaded.update({"a": later("a")}).predict().equals(f.update({"a": later("a")}).predict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, a: d.update(series=["a", "a", "b"]), "series must be different names"),
        (lambda d, a: d.update(rows=[6, 6]), "3 series of"),
        (lambda d, a: d.update(rows=[6, 6, 7]), "series of 19 rows in all"),
        (lambda d, a: a["levels.scale"].fill(0), "levels must have positive scales"),
        (
            lambda d, a: a.update({"levels.center": np.zeros((2, 3))}),
            r"levels.center must be finite, float64 and have shape",
        ),
    ],
)
def test_files_whose_parts_do_not_fit(forecaster, tmp_path, change, message):
    from numbarnn import io

    forecaster.save(tmp_path / "f")
    description, arrays = io.read(tmp_path / "f")
    arrays = {key: values.copy() for key, values in arrays.items()}
    change(description, arrays)
    io.write(tmp_path / "f", "forecaster", description, arrays)
    with pytest.raises(ModelFileError, match=message):
        nr.Forecaster.load(tmp_path / "f")


def test_backtests_and_errors(forecaster):
    back = forecaster.backtest(level=0.5)
    assert back.index.names == ["series", "time"]
    for name, table in TABLES.items():
        mine = back.loc[name]
        assert np.array_equal(mine["y truth"], table["y"].loc[mine.index])
        assert (mine.index - pd.DatetimeIndex(mine["origin"]) == pd.to_timedelta(mine["ahead"], "h")).all()
    found = forecaster.evaluate()
    assert found.loc["net", "MAE"] == pytest.approx((back["y"] - back["y truth"]).abs().mean())
    deviation = {name: t["y"].iloc[: int(0.7 * len(t) + 1e-9)].std(ddof=0) for name, t in TABLES.items()}
    scaled = (back["y"] - back["y truth"]).abs() / back.index.get_level_values(0).map(deviation).to_numpy()
    assert found.loc["net", "MAE/sd"] == pytest.approx(scaled.mean(), rel=1e-3)
    assert (back["y lower"] < back["y upper"]).all()
    adaptive = forecaster.backtest(level=0.5, adaptive=0.1)
    alone = forecaster.backtest({"c": TABLES["c"].iloc[-40:]}, level=0.5, adaptive=0.1)
    assert adaptive["y"].equals(back["y"])
    assert len(alone) == 2 * (40 - 6 - 1)

    def last(past, ahead):
        return np.repeat(past[:, -1:, :1], len(ahead), axis=1)

    own = forecaster.evaluate(baselines={"mine": last})
    assert_close(own.loc["mine"].to_numpy(), own.loc["last value"].to_numpy(), 1e-9)


def test_known_ahead():
    f = fitted(future=["x"], linear="all", change=None)
    ahead = {
        name: pd.DataFrame({"x": [0.0, 1.0]}, pd.date_range(t.index[-1], periods=3, freq="h")[1:])
        for name, t in TABLES.items()
    }
    found = f.predict(future=ahead)
    assert len(found) == 6
    moved = f.predict(future=ahead | {"b": ahead["b"] + 1})
    assert np.array_equal(moved.loc["a"], found.loc["a"])
    assert not np.array_equal(moved.loc["b"], found.loc["b"])
    with pytest.raises(ValueError, match=r"future lacks the series \['c'\]"):
        f.predict(future={name: ahead[name] for name in "ab"})


def test_counts_have_one_scale():
    generator = np.random.default_rng(0)
    counts = {name: pd.Series(generator.poisson(mean, 120), name="n") for name, mean in (("a", 2), ("b", 9))}
    f = nr.Forecaster(6, loss="negative_binomial", epochs=2, hidden_size=4, n_threads=1).fit(counts, verbose=0)
    assert f._state.preparation.levels.keys is None
    draws = f.predict(samples=5, seed=0)
    assert (draws.to_numpy() == np.floor(draws.to_numpy())).all()


def test_short_series_are_learned_from_where_they_have_windows():
    data = TABLES | {"short": series(1, 9), "tiny": series(2, 3)}
    f = fitted(data)
    panel = f._state.evaluation.panel
    train = panel.series_of(np.asarray(f._state.evaluation.parts["train"].ends) + f._state.preparation.lag)
    assert 4 not in train
    with pytest.raises(ShapeError, match="data of 'tiny' has 3 rows; a forecast looks at the last 6"):
        f.predict()
    assert len(f.predict({name: data[name] for name in ("a", "short")})) == 4


def test_refused(forecaster):
    hole = TABLES | {"b": TABLES["b"].assign(y=TABLES["b"]["y"].where(TABLES["b"]["x"] < 1.5))}
    gap = TABLES | {"c": TABLES["c"].drop(TABLES["c"].index[9])}
    daily = TABLES | {"b": TABLES["b"].set_axis(pd.date_range("2024", periods=120, freq="D"))}
    cases = [
        (lambda: fitted(hole), ValueError, "data of 'b' has .* missing values?, the first at row"),
        (lambda: fitted(gap), ValueError, "row 9 of data of 'c', .* comes 0 days 02:00:00 after"),
        (lambda: fitted(daily), ValueError, "data of 'b' must continue at the frequency"),
        (lambda: fitted(TABLES | {"b": TABLES["b"][["y"]]}), ValueError, "data of 'b' has the columns"),
        (lambda: fitted({}), ShapeError, "data has no series"),
        (lambda: fitted(LONG, id="place"), KeyError, "id 'place' is not a column of data, which has 'station', 'time'"),
        (lambda: fitted(LONG, id="station", time="when"), KeyError, "time 'when' is not a column of data"),
        (lambda: fitted(LONG.assign(time=LONG["time"].astype(str)), id="station", time="time"), TypeError, "has text"),
        (lambda: fitted(LONG["y"], id="station"), TypeError, "id is 'station', and data no DataFrame"),
        (lambda: fitted(static=["y"]), ValueError, "static 'y' is a target"),
        (lambda: fitted(static=["x"]), ValueError, "static 'x' changes within data of 'a'"),
        (lambda: fitted(static=["z"]), KeyError, "static 'z' is not a column"),
        (lambda: fitted(scale="x"), ValueError, "scale must be 'series' or 'all', got 'x'"),
        (lambda: forecaster.predict(TABLES["a"]), ValueError, "data must be of many series, as the data passed to fit"),
        (lambda: fitted(TABLES, lookback=149), ShapeError, "no series has rows for a window"),
        (
            lambda: fitted(lookback=40),
            ShapeError,
            r"the validation part: with straddle='drop' one needs 42 rows, and the longest has 22. Make .*straddle='keep'$",
        ),
        (lambda: forecaster.stream(), KeyError, "series must be one of"),
    ]  # fmt: skip
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
