"""What goes into a forecaster beside numbers: missing values, irregular times, categories, holidays, wide tables."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from conftest import assert_close

import numbarnn as nr
from numbarnn import io
from numbarnn.data import calendar_features
from numbarnn.errors import ModelFileError, ShapeError

# The net alone, whose every input moves every forecast, unless a test asks for more.
FEW = {"epochs": 2, "hidden_size": 4, "n_threads": 1, "change": None, "linear": None, "lookback": 5, "horizon": 3}
ROWS = 260
HOURS = pd.date_range("2024", periods=ROWS + 60, freq="h", tz="Europe/Berlin", name="time")
GAPS = pd.DatetimeIndex(
    HOURS[0] + pd.to_timedelta(np.random.default_rng(5).exponential(90, ROWS + 60).round().cumsum() + np.arange(ROWS + 60), "min"),
    name="time",
)  # fmt: skip


def table(rows=ROWS, times=HOURS, seed=0):
    """Return a target, a number and two categories, some values missing."""
    generator = np.random.default_rng(seed)
    data = pd.DataFrame(generator.normal(size=(ROWS + 60, 2)), times, ["y", "x"])
    data["city"] = generator.choice(["Bonn", "Rome", "Oslo"], ROWS + 60)
    data["kind"] = pd.Categorical(generator.integers(0, 2, ROWS + 60))
    data["y"] += data["x"].shift(1, fill_value=0.0) + data["y"].shift(1, fill_value=0.0)
    return data.iloc[:rows]


def holed(rows=ROWS, seed=0):
    data = table(rows, seed=seed)[["x", "y"]]  # the target is not the first
    data.iloc[:2, 0] = data.iloc[50:53, 0] = data.iloc[57, 1] = data.iloc[rows - 20, 1] = data.iloc[rows - 2 :, 0] = (
        np.nan
    )
    return data


# Columns of the data, times, and settings.
CATEGORIES = {"categories": ["city", "kind"]}
HOLIDAYS = {"holidays": {"fair": ["2024-01-04", "2024-01-09"], "off": ["2024-01-06", "2024-01-12"]}}
VARIANTS = {
    "mask": (lambda n=ROWS: holed(n), {"missing": "mask", "linear": "all"}),
    "mask, changes": (lambda n=ROWS: holed(n), {"missing": "mask", "difference": 2}),
    "mask, recursive": (lambda n=ROWS: holed(n), {"missing": "mask", "recursive": True}),
    "mask, shared": (lambda n=ROWS: holed(n), {"missing": "mask", "linear": "shared"}),
    "elapsed": (lambda n=ROWS: table(n, GAPS)[["y", "x"]], {"irregular": "elapsed", "calendar": ["hour"]}),
    "elapsed, known": (lambda n=ROWS: table(n, GAPS)[["y", "x"]], {"irregular": "elapsed", "future": ["x"]}),
    "elapsed, recursive": (
        lambda n=ROWS: table(n, GAPS)[["y", "x"]],
        {"irregular": "elapsed", "future": ["x"], "recursive": True} | HOLIDAYS,
    ),
    "categories": (table, CATEGORIES),
    "categories known": (table, CATEGORIES | {"future": ["city", "x"]}),
    "categories recursive": (table, CATEGORIES | {"future": ["kind", "city"], "recursive": True}),
    "holidays": (lambda n=ROWS: table(n)[["y", "x"]], HOLIDAYS),
    "holidays, recursive": (lambda n=ROWS: table(n)[["y"]], HOLIDAYS | {"recursive": True}),
    "all": (lambda n=ROWS: table(n, GAPS), CATEGORIES | HOLIDAYS | {"irregular": "elapsed", "missing": "mask", "future": ["city"]}),
}  # fmt: skip


def fitted(data, target="y", **options):
    return nr.Forecaster(**FEW | options).fit(data, target, verbose=0)


@pytest.fixture(scope="module")
def made():
    """Return forecasters of `VARIANTS`, each fitted once."""
    known = {}

    def get(name):
        if name not in known:
            data, options = VARIANTS[name]
            known[name] = fitted(data(), **options)
        return known[name]

    return get


def known_ahead(f, data, end):
    """Return the argument `future` for a forecast from a row."""
    names = list(f._state.preparation.encoding.future)
    return data[names].iloc[end + 1 :] if names else None


def long(name):
    """Return more rows than were fitted, without the missing values at the end."""
    data = VARIANTS[name][0](ROWS + 60)
    return data.ffill().bfill() if "mask" in name and name != "all" else data


# What holds for all of them


@pytest.mark.parametrize("name", VARIANTS)
def test_predict_backtest_and_stream_are_one(made, name):
    f, data, end = made(name), long(name), ROWS - 1
    old = data.iloc[:ROWS].copy()
    old.loc[:, :] = VARIANTS[name][0]()
    data = pd.concat([old, data.iloc[ROWS:]]).astype(dict(old.dtypes))
    expected = f.predict(future=known_ahead(f, data, end))
    given = f.predict(old, future=known_ahead(f, data, end))
    assert given.equals(expected)
    back = f.backtest(data)
    mine = back[back["origin"] == data.index[end]]
    assert_close(mine["y"].to_numpy(), expected["y"].to_numpy(), 1e-5)
    if f.irregular == "elapsed" and not f._state.preparation.encoding.future:
        assert expected.index.tolist() == [1, 2, 3]
        assert expected.index.name == "ahead"
    else:
        assert expected.index.equals(data.index[end + 1 : end + 4])
    stream, other = f.stream(), nr.Forecaster.from_description(*nr.forecasting.files.describe(f, f._state))
    for row in range(end + 1, end + 4):
        values = data.iloc[row] if row % 2 else data.iloc[row].tolist()
        time = {"time": data.index[row]} if f.irregular == "elapsed" else {}
        found = stream.step(values, known_ahead(f, data, row), **time)
        other.update(data.iloc[[row]])
        assert np.array_equal(found, other.predict(future=known_ahead(f, data, row)))
    assert stream.time == data.index[end + 3]


@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_beyond_is_seen(made, name):
    """What comes after a window, but for what is known up to the last row forecast, changes no bit."""
    f, data, end = made(name), long(name), 200
    expected = f.backtest(data)
    rows = expected["origin"] == data.index[end]
    own, last, generator = f._state.preparation.encoding, end + 3, np.random.default_rng(1)
    other, times = data.copy(), data.index.tz_convert(None).to_numpy(copy=True)
    for column in data.columns:
        first = (last if column in own.future else end) + 1
        column_values = data[column].to_numpy(copy=True)
        column_values[first:] = generator.permutation(column_values[first:])
        other[column] = pd.Series(column_values, data.index, dtype=data[column].dtype)
    if own.usual is not None:
        first = (last if own.future else end) + 1
        times[first:] += np.timedelta64(1000, "h")
        other.index = pd.DatetimeIndex(times, name="time").tz_localize("UTC").tz_convert("Europe/Berlin")
    changed = f.backtest(other)
    assert not changed["y"].equals(expected["y"])
    assert np.array_equal(changed.loc[rows.to_numpy(), "y"], expected.loc[rows, "y"])
    if own.future:
        moved = data.copy()
        swap = {"Bonn": "Rome", "Rome": "Oslo", "Oslo": "Bonn"}
        column = own.future[-1]
        moved.loc[moved.index[last], column] = (
            swap[data[column].iloc[last]] if column == "city" else data[column].iloc[last] + 1
        )
        assert not np.array_equal(f.backtest(moved).loc[rows, "y"], expected.loc[rows, "y"])


@pytest.mark.parametrize("name", ["mask", "elapsed, known", "categories known", "holidays", "all"])
def test_nothing_of_the_test_part_is_learned(made, name):
    """Other values, levels, gaps and times there change no bit of what is learned."""
    f, (make, options) = made(name), VARIANTS[name]
    data, cut = make(), int(0.85 * ROWS + 1e-9)
    other, times = data.copy(), data.index.tz_convert(None).to_numpy(copy=True)
    other.iloc[cut:, :2] = data.iloc[cut:, :2] * 7
    if f.missing == "mask":
        other.iloc[cut + 5 : cut + 9, 1] = np.nan
    if "city" in data:
        other["city"] = other["city"].where(np.arange(ROWS) < cut, "elsewhere")
    if f.irregular == "elapsed":
        times[cut:] += np.arange(1, ROWS - cut + 1) * np.timedelta64(1000, "h")
        other.index = pd.DatetimeIndex(times, name="time").tz_localize("UTC").tz_convert("Europe/Berlin")
    again = fitted(other, **options | {"handle_unknown": "ignore"})
    assert again.model_.params.flat.tobytes() == f.model_.params.flat.tobytes()
    assert again.scaler_.center_.tobytes() == f.scaler_.center_.tobytes()
    assert again._state.preparation.encoding.names == f._state.preparation.encoding.names
    assert again._state.preparation.encoding.usual == f._state.preparation.encoding.usual


@pytest.mark.parametrize("name", VARIANTS)
def test_files(made, name, tmp_path):
    f, data = made(name), long(name)
    f.save(tmp_path / "f")
    loaded, future = nr.load(tmp_path / "f"), known_ahead(f, data, ROWS - 1)
    assert loaded.predict(future=future).equals(f.predict(future=future))
    assert loaded.backtest(data, level=0.5).equals(f.backtest(data, level=0.5))
    loaded.save(tmp_path / "again")
    assert nr.load(tmp_path / "again").predict(future=future).equals(f.predict(future=future))


CHANGES = {
    "levels": (lambda d, a: d["encoding"].update(categories=[["Bonn", "Bonn"], [0, 1]]), "levels must be different strings, int"),
    "types": (lambda d, a: d["encoding"].update(categories=[["Bonn", 1], [0, 1]]), "levels must be different strings, integers"),
    "code": (lambda d, a: d["encoding"].update(categories=[[{"a": 1}], [0, 1]]), ".*"),
    "fewer": (lambda d, a: d["encoding"].update(categories=[["Bonn"]]), "the levels of 2 categories are"),
    "width": (lambda d, a: d["encoding"].update(categories=[["Bonn"], [0, 1]]), "the last rows must|fill must be"),
    "fill": (lambda d, a: a.pop("fill"), ".*"),
    "usual": (lambda d, a: d["encoding"].update(usual=0.0), "the elapsed time must be positive"),
    "no usual": (lambda d, a: d["encoding"].update(usual=None), "irregular='elapsed' and an elapsed time of None"),
    "clock": (lambda d, a: d["clock"].update(regular=True), "a clock of irregular rows|a clock of regular"),
    "every": (lambda d, a: d["clock"].update(every="h"), "irregular rows at the frequency 'h'"),
    "masked": (lambda d, a: d["encoding"].update(masked=["z"]), "missing values of"),
    "series": (lambda d, a: d["encoding"].update(series=["a"]), "and the series"),
    "holidays": (lambda d, a: d["settings"].update(holidays={"fair": ["soon"], "off": []}), "holidays must be dates"),
    "setting": (lambda d, a: d["settings"].update(handle_unknown="x"), "handle_unknown must be"),
    "categories": (lambda d, a: d["settings"].update(categories=["city", "z"]), "categories 'z' is not a column"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_files_whose_parts_do_not_fit(made, tmp_path, name):
    change, message = CHANGES[name]
    made("all").save(tmp_path / "f")
    description, arrays = io.read(tmp_path / "f")
    arrays = {key: values.copy() for key, values in arrays.items()}
    change(description, arrays)
    io.write(tmp_path / "f", "forecaster", description, arrays)
    with pytest.raises(ModelFileError, match=message):
        nr.Forecaster.load(tmp_path / "f")


# Missing values


def test_what_is_missing_by_definition(made):
    """Inputs are the last known value, or the training part's mean where there is none, and whether the value was missing."""
    f, data = made("mask"), holed()
    own = f._state.preparation
    panel = own.panel(data)
    missing, filled = data.isna().to_numpy(), data.ffill()
    mean = filled.iloc[: int(0.7 * ROWS)].mean()
    assert_close(panel.values[:, :2], filled.fillna(mean).to_numpy(), 1e-12)
    assert np.array_equal(panel.values[:, 2:], missing)
    features = own.features(panel.values, own.known_rows(panel.index, panel.values))
    assert np.array_equal(features[:, 2:], missing)
    truth = f.backtest(data)["y truth"]
    assert np.isfinite(truth).all()
    assert data.index[57] not in truth.index
    only_y = data.assign(x=np.where(np.arange(ROWS) < 200, 1.0, data["x"]))
    assert fitted(only_y, missing="mask")._state.preparation.names == [
        "x",
        "y",
        "y missing",
    ]  # x: after the training part alone


@pytest.mark.parametrize("linear", ["all", "shared", None])
def test_that_a_value_is_missing_is_learned(linear):
    """A sensor that fails before every jump: the last value known says nothing, the gap does."""
    generator = np.random.default_rng(0)
    fails = generator.random(900) < 0.3
    y = np.concatenate([[0], 4.0 * fails[:-1]]) + 0.1 * generator.normal(size=900)
    x = pd.DataFrame({"y": y, "x": np.where(fails, np.nan, 1.0)})
    if linear == "shared":
        x = pd.DataFrame({"y": np.where(fails & ~np.roll(fails, 1), np.nan, y)})
    options = {"horizon": 1, "linear": linear, "epochs": 15, "hidden_size": 8}
    errors = {
        missing: fitted(x, missing=missing, **options).evaluate().loc["net", "RMSE"] for missing in ("ffill", "mask")
    }
    assert errors["mask"] < 0.75 * errors["ffill"]


def test_missing_values_known_ahead_and_refused():
    data = holed()
    f = fitted(data, missing="mask", future=["x"])
    future = pd.DataFrame({"x": [1.0, np.nan, np.nan]}, HOURS[ROWS : ROWS + 3])
    found = f.predict(future=future)
    # Filled as before, and seen as missing.
    assert f._state.preparation.known_columns == [0, 2]
    assert not f.predict(future=future.ffill()).equals(found)
    assert not f.predict(future=future.fillna(3.0)).equals(found)
    stream = f.stream()
    assert np.isfinite(stream.step([np.nan, np.nan], future.set_axis(HOURS[ROWS + 1 : ROWS + 4]))).all()
    with pytest.raises(
        ValueError, match=r"future has 2 infinite values, the first at row 1 \(2024-01-11 21:.*, column 'x'"
    ):
        f.predict(future=future.fillna(np.inf))
    with pytest.raises(ValueError, match="missing='drop', 'ffill' or 'mask'"):
        fitted(data)
    with pytest.raises(ValueError, match="column 'x' of data has no value in the training part; leave it out"):
        fitted(data.assign(x=np.where(np.arange(ROWS) < 200, np.nan, 1)), missing="mask")
    categories = table()
    categories.loc[categories.index[7], "city"] = None
    with pytest.raises(
        ValueError, match=r"data has 1 missing value, the first at row 7 \(2024-01-01 07:.*, column 'city'; set"
    ):
        fitted(categories, **CATEGORIES)
    assert "city missing" in fitted(categories, missing="mask", **CATEGORIES)._state.preparation.names
    assert len(fitted(categories, missing="drop", **CATEGORIES).backtest(categories.iloc[:40])) == 3 * (33 - 5)


def test_many_series_with_missing_values():
    tables = {key: holed(seed=seed).iloc[seed * 3 :] * 10.0**seed for seed, key in enumerate("abc")}
    f = fitted(tables, missing="mask")
    assert f._state.preparation.names == ["x", "y", "x missing", "y missing"]
    assert_close(f.predict().loc["b"].to_numpy(), f.predict({"b": tables["b"]}).loc["b"].to_numpy(), 1e-6)
    assert np.isfinite(f.predict({"new": tables["c"]}).to_numpy()).all()
    # Values before the first known are 0 in the scale of the series.
    panel = f._state.evaluation.panel
    assert abs(panel.values[0, 0]) < 1e-12
    assert np.isfinite(panel.values).all()


# Irregular times


def test_elapsed_times_by_definition(made):
    f, data = made("elapsed"), table(ROWS, GAPS)[["y", "x"]]
    own = f._state.preparation
    steps = np.diff(data.index.as_unit("s").asi8).astype(float)
    usual = np.median(steps[: int(0.7 * ROWS) - 1])
    panel = own.panel(data)
    assert own.encoding.usual == usual
    assert_close(panel.values[1:, 2], np.log(steps / usual), 1e-12)
    assert own.need == 6
    assert f._state.evaluation.parts["train"].ends[0] == 5  # of the first row, the elapsed time is not known
    assert len(f.backtest(data)) == 3 * (ROWS - 5 - 1 - 2)
    with pytest.raises(ShapeError, match="data has 5 rows; a forecast looks at the last 6"):
        f.predict(data.iloc[-5:])
    seconds = data.set_axis(data.index.as_unit("s"))
    assert f.predict(seconds).equals(f.predict(data))
    elsewhere = data.set_axis(data.index.tz_convert("Asia/Kolkata"))
    assert f.predict(elsewhere).equals(f.predict(data))


def test_elapsed_time_is_learned():
    """What is measured depends on the gap before alone."""
    gaps = np.random.default_rng(0).choice([1, 10], 900)
    frame = pd.DataFrame({"y": np.where(gaps == 1, 1.0, -1.0), "flat": 1.0}, np.cumsum(gaps))
    options = {"irregular": "elapsed", "horizon": 1, "epochs": 10, "future": ["flat"]}
    f = fitted(frame, linear="auto", **options)
    assert f.evaluate().loc["net", "MAE"] < 0.1  # the gap before the row ahead is known
    ahead = pd.DataFrame({"flat": [1.0]}, [frame.index[-1] + 10])
    assert f.predict(future=ahead).index.tolist() == [frame.index[-1] + 10]
    assert f.predict(future=ahead)["y"].iloc[0] < -0.8
    assert f.predict(future=ahead.set_axis([frame.index[-1] + 1]))["y"].iloc[0] > 0.8


@pytest.mark.parametrize("kind", ["numbers", "periods", "many"])
def test_other_irregular_indexes(kind, tmp_path):
    data = table()[["y"]]
    gone = np.random.default_rng(2).random(ROWS) < 0.3
    index = pd.RangeIndex(ROWS) if kind == "numbers" else pd.period_range("2024", periods=ROWS, freq="D")
    data = data.set_axis(index)[~gone]
    if kind == "many":
        data = {
            "a": data.set_axis(data.index.to_timestamp()),
            "b": data.iloc[20:].set_axis(data.index[20:].to_timestamp()),
        }
    f = fitted(data, irregular="elapsed")
    f.save(tmp_path / "f")
    loaded = nr.load(tmp_path / "f")
    assert loaded.predict().equals(f.predict())
    assert loaded.backtest(data).equals(f.backtest(data))
    last = (data["a"] if kind == "many" else data).index[-1]
    stream = loaded.stream("a" if kind == "many" else None)
    stream.step([1.0], time=last + (pd.Timedelta("9D") if kind == "many" else 9))
    assert stream.time == last + (pd.Timedelta("9D") if kind == "many" else 9)
    if kind == "many":
        assert f.predict().index.names == ["series", "ahead"]


def test_irregular_times_refused(made):
    f, known, data = made("elapsed"), made("elapsed, known"), table(ROWS, GAPS)[["y", "x"]]
    after = pd.DataFrame({"x": [1.0, 2.0, 3.0]}, GAPS[ROWS : ROWS + 3])
    cases = [
        (lambda: fitted(data), ValueError, r"row \d+ of data, .* irregular='elapsed'"),
        (lambda: fitted(data.iloc[::-1], irregular="elapsed"), ValueError, "is earlier than the row above"),
        (lambda: fitted(data.set_axis(range(ROWS, 0, -1)), irregular="elapsed"), ValueError, "it must rise from row to row"),
        (lambda: fitted(data.iloc[[0, 1, 1, 2]], irregular="elapsed"), ValueError, "has the same time as the row above"),
        (lambda: fitted(data, irregular="ignore"), ValueError, "irregular must be 'error' or 'elapsed', got 'ignore'"),
        (lambda: fitted(data, irregular="elapsed", recursive=True), ValueError, "recursive=True needs the times of rows ahead"),
        (lambda: fitted(data, irregular="elapsed", **HOLIDAYS), ValueError, "holidays needs the times of rows ahead"),
        (lambda: f.update(data.iloc[-1:]), ValueError, "the new rows must begin after the last row, that of"),
        (lambda: f.update([[1.0, 2.0]]), TypeError, "new_rows must have an index: the times of irregular rows"),
        (lambda: f.stream().step([1.0, 2.0]), TypeError, "time must be that of the row, which comes after 2024-.*, got None"),
        (lambda: f.stream().step([1.0, 2.0], time=3), TypeError, "time must be that of the row"),
        (lambda: f.stream().step([1.0, 2.0], time="soon"), ValueError, "time must be that of the row"),
        (lambda: f.stream().step([1.0, 2.0], time=data.index[-1]), ValueError, "time must be after the last row"),
        (lambda: f.stream().step([1.0, 2.0], time="2030-01-01"), ValueError, "time has times without a zone"),
        (lambda: made("holidays").stream().step([1.0, 2.0], time=HOURS[-1]), ValueError, "time was given, but rows are regular"),
        (lambda: known.predict(), ValueError, "future must have the columns known ahead, 'x', of the 3 rows after the data"),
        (lambda: known.predict(future=after.iloc[:2]), ShapeError, "future has 2 rows, a forecast needs 3$"),
        (lambda: known.predict(future=after.to_numpy()), ValueError, "future must have an index: the times of rows ahead"),
        (lambda: known.predict(future=after.set_axis(GAPS[:3])), ValueError, "future must begin after the last row"),
        (lambda: known.predict(future=after.iloc[[0, 2, 1]]), ValueError, "row 2 of future, .* is earlier than the row above"),
    ]  # fmt: skip
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()


# Categories


def test_categories_by_definition(made):
    f, data = made("categories known"), table()
    own = f._state.preparation
    panel = own.panel(data)
    levels = [("city", "Bonn"), ("city", "Oslo"), ("city", "Rome"), ("kind", 0), ("kind", 1)]
    expected = np.stack([data[column] == level for column, level in levels], axis=1)
    assert own.names == ["y", "x", *(f"{column}={level}" for column, level in levels)]
    assert np.array_equal(panel.values[:, 2:], expected)
    features = own.features(panel.values, own.known_rows(panel.index, panel.values))
    assert np.array_equal(features[:, 2:7], expected)
    assert own.known_columns == [2, 3, 4, 1]
    assert own.shifts == [3]
    assert np.array_equal(features[:-3, 7:10], expected[3:, :3])
    assert f.feature_names_ == ["y", "x", "city", "kind"]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.astype({"city": "category"}),
        lambda c: c.astype({"city": "string", "kind": "int8"}),
        lambda c: c.assign(kind=c["kind"].astype(float)),  # as a column with missing values is
        lambda c: c.assign(city=pd.Categorical(c["city"], ["Rome", "Oslo", "Bonn", "unused"])),
    ],
)
def test_types_of_categories_are_the_same_to_the_bit(made, change):
    f, data = made("categories"), table()
    again = fitted(change(data), **CATEGORIES)
    assert again.predict().equals(f.predict())
    assert again.predict(data).equals(f.predict(change(data)))


def test_other_forms_of_categories():
    data = table()[["y", "city"]].assign(late=np.arange(ROWS) % 5 == 0)
    f = fitted(data, categories=["late", "city"])
    assert f._state.preparation.names == ["y", "late=False", "late=True", "city=Bonn", "city=Oslo", "city=Rome"]
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({column: data[column].tolist() for column in data})
    assert np.array_equal(fitted(frame, categories=["late", "city"]).predict(), f.predict())
    array = np.stack([data["y"], np.arange(ROWS) % 3], axis=1)
    g = fitted(array, target=0, categories=[1])
    assert g._state.preparation.names == [0, "1=0", "1=1", "1=2"]
    assert np.isfinite(g.update([[1.0, 2]]).predict().to_numpy()).all()
    mixed = np.array([[0.5, "a"], [1.5, "b"]] * 60, object)
    assert fitted(mixed, target=0, categories=[1])._state.preparation.names == [0, "1=a", "1=b"]


def test_a_category_is_used():
    generator = np.random.default_rng(0)
    city = generator.choice(["a", "b", "c"], 900)
    ahead = pd.Series(city).map({"a": -3.0, "b": 0.0, "c": 5.0}).to_numpy()
    data = pd.DataFrame({"y": ahead + 0.1 * generator.normal(size=900), "city": city})
    f = fitted(data, categories=["city"], future=["city"], horizon=1, epochs=10, linear="all")
    assert f.evaluate().loc["net", "MAE"] < 0.3
    found = [f.predict(future=pd.DataFrame({"city": [level]}, [900]))["y"].iloc[0] for level in "abc"]
    assert_close(np.array(found), np.array([-3, 0, 5]), 0.2)


def test_unknown_levels(made):
    data, f = table(), made("categories")
    later = data.iloc[-20:].copy()
    later.iloc[3, 2] = "Wien"
    message = r"data has the level 'Wien' in row 3 \(2024-01-11 .*, column 'city', .* it had \['Bonn', 'Oslo', 'Rome'\]; handle_"
    with pytest.raises(ValueError, match=message):
        f.predict(later)
    with pytest.raises(ValueError, match="row has the level 'Wien'"):
        f.stream().step([1.0, 2.0, "Wien", 1])
    with pytest.raises(ValueError, match="data has the level 'Wien' in row 259"):
        fitted(data.assign(city=data["city"].where(np.arange(ROWS) < 259, "Wien")), **CATEGORIES)
    g = fitted(data, handle_unknown="ignore", **CATEGORIES)
    values = g._state.preparation.panel(later).values
    assert values[3, 2:5].tolist() == [0, 0, 0]
    assert values[4, 2:5].sum() == 1
    assert np.isfinite(g.predict(later).to_numpy()).all()


def test_series_as_categories(tmp_path):
    tables = {key: table(seed=seed)[["y", "x"]].iloc[seed * 7 :] for seed, key in enumerate(("b", "a", 3))}
    f = fitted(tables, static=["series"])
    assert f._state.preparation.names == ["y", "x", "series=b", "series=a", "series=3"]
    panel = f._state.evaluation.panel
    assert np.array_equal(panel.values[:, 2:], np.repeat(np.eye(3), np.diff(panel.starts), axis=0))
    long = pd.concat(tables, names=["shop"]).reset_index()
    for options in ({"static": ["series"]}, {"static": ["shop"]}):
        g = fitted(long, id="shop", time="time", **options)
        assert g.predict().equals(f.predict())
        g.save(tmp_path / "g")
        assert nr.load(tmp_path / "g").predict().equals(f.predict())
    r = fitted(tables, static=["series"], recursive=True)
    assert_close(r.predict().loc["a"].to_numpy(), r.predict({"a": tables["a"]}).loc["a"].to_numpy(), 1e-6)
    with pytest.raises(
        ValueError, match=r"data of 'new' is a series that the training part did not have: it had \['b', 'a', 3\]"
    ):
        f.predict({"new": tables["a"]})
    assert len(fitted(tables, static=["series"], handle_unknown="ignore").predict({"new": tables["a"]})) == 3
    static = {key: frame.assign(kind=f"kind {key}") for key, frame in tables.items()}
    s = fitted(static, static=["kind"], categories=["kind"], recursive=True)
    assert s._state.preparation.encoding.constant == [2, 3, 4]
    changing = {key: frame.assign(kind=np.where(np.arange(len(frame)) < 9, "a", "b")) for key, frame in tables.items()}
    with pytest.raises(ValueError, match="static 'kind' changes within data of 'b'"):
        fitted(changing, static=["kind"], categories=["kind"])


def test_categories_refused():
    data = table()
    cases = [
        (lambda: fitted(data[["y", "x"]], categories=["z"]), KeyError, "categories 'z' is not a column of data"),
        (lambda: fitted(data, ["y", "city"], **CATEGORIES), ValueError, "categories 'city' is a target"),
        (lambda: fitted(data, None, **CATEGORIES), ValueError, "categories 'city' is a target; name the targets of fit"),
        (lambda: fitted(data), TypeError, "column 'city' of data must be numeric"),
        (lambda: fitted(data, categories=["x", "city", "kind"]), TypeError, "column 'x' must have strings, integers or booleans"),
        (lambda: fitted(data.assign(city=HOURS[:ROWS]), **CATEGORIES), TypeError, "column 'city' must have strings, integers or"),
        (lambda: fitted(data.assign(city=["a", 1] * 130), **CATEGORIES), TypeError, "'city' has levels of the types int, str"),
        (lambda: fitted(data.assign(city=None), missing="drop", **CATEGORIES), ValueError, "'city' has no value in the training"),
        (lambda: fitted(data, recursive=True, **CATEGORIES), ValueError, "the category 'city' is not known ahead; name it in"),
        (lambda: fitted(data, handle_unknown="x"), ValueError, "handle_unknown must be 'error' or 'ignore', got 'x'"),
        (lambda: fitted(data, categories=3), TypeError, "categories must be a list of names of columns"),
        (lambda: fitted(data, categories=[["city"]]), TypeError, "categories must be names of columns"),
        (lambda: fitted(data[["y", "x"]], static=["series"]), KeyError, "static 'series' is not a column"),
        (lambda: fitted(pd.concat([data, data["city"]], axis=1), **CATEGORIES), ShapeError, "several columns 'city'"),
    ]  # fmt: skip
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()


# Holidays


@pytest.mark.parametrize("zone", [None, "Europe/Berlin", "Asia/Tokyo"])
def test_holidays_are_dates_of_the_zone(zone):
    times = pd.date_range("2024-12-24", periods=72, freq="h", tz=zone)
    found = calendar_features(times, [], ["2024-12-25"])
    assert found["holiday"].to_numpy().nonzero()[0].tolist() == list(range(24, 48))
    named = calendar_features(times, ["hour"], {"a": [pd.Timestamp("2024-12-24")], "b": [np.datetime64("2024-12-26")]})
    assert named.columns.tolist() == ["hour_sin", "hour_cos", "a", "b"]
    assert named["a"].sum() == named["b"].sum() == 24
    days = calendar_features(pd.period_range("2024-12-24", periods=3, freq="D"), (), ["2024-12-25"])
    assert days["holiday"].tolist() == [0, 1, 0]


def test_holidays_are_known_ahead():
    """The level of the day ahead depends on nothing that was measured."""
    days = pd.date_range("2020", periods=800, freq="D")
    off = days[np.random.default_rng(0).choice(900, 250, replace=False).clip(max=799)].unique()
    y = pd.Series(days.isin(off) * 4.0 + 0.1 * np.random.default_rng(1).normal(size=800), days, name="y")
    off = [*off, pd.Timestamp("2022-03-12")]
    f = fitted(y, None, holidays=off, horizon=2, epochs=10, linear="all")
    assert f.evaluate().loc["net", "MAE"] < 0.3
    assert days[-1] == pd.Timestamp("2022-03-10")
    assert_close(f.predict()["y"].to_numpy(), np.array([0.0, 4.0]), 0.3)
    assert f._state.preparation.known_columns == [1]


def test_holidays_refused():
    data = table()[["y"]]
    cases = [
        (["soon"], ValueError, "holidays must be dates, such as '2024-12-25', got 'soon' in 'holiday'"),
        ([3], TypeError, "holidays must be dates"),
        ([None], TypeError, "holidays must be dates"),
        ([pd.NaT], ValueError, "holidays must be dates"),
        (["2024-01-01 06:00"], ValueError, "give the day alone"),
        ([pd.Timestamp("2024-01-01", tz="UTC")], ValueError, "give the day alone, in the time zone of the data"),
        ("2024-01-01", TypeError, "holidays must be a list of dates"),
        ({"a": "2024-01-01"}, TypeError, r"holidays\['a'\] must be a list of dates"),
        ({3: ["2024-01-01"]}, TypeError, "holidays must have names that are strings, got 3"),
    ]
    for holidays, error, message in cases:
        with pytest.raises(error, match=message):
            fitted(data, holidays=holidays)
        with pytest.raises(error, match=message):
            calendar_features(data.index, (), holidays)
    with pytest.raises(TypeError, match="index must be a DatetimeIndex or PeriodIndex"):
        fitted(data.reset_index(drop=True), holidays=["2024-01-01"])


# Memory, and data that stay the caller's


def test_data_of_the_caller_are_neither_kept_nor_changed():
    for make in (lambda: table()[["y", "x"]], lambda: {key: table(seed=seed)[["y"]] for seed, key in enumerate("ab")}):
        data, untouched = make(), make()
        f = fitted(data, scale="all")
        back = f.backtest()
        for new, old in zip(*(d.values() if isinstance(d, dict) else [d] for d in (data, untouched)), strict=True):
            assert new.equals(old)
            new.iloc[:, :] = 0.0
        assert f.backtest().equals(back)


def test_memory_of_many_series():
    """Values, truth, inputs in float32 and ends of windows in 32 bits: three times the values, and what is made on the way."""
    index = pd.MultiIndex.from_product([range(400), pd.date_range("2024", periods=1000, freq="h")])
    data = pd.Series(np.random.default_rng(0).normal(size=len(index)), index, name="y")
    few = FEW | {"horizon": 1, "epochs": 0}
    nr.Forecaster(**few).fit(data.loc[:1], split=(0.7, 0.3), verbose=0)
    tracemalloc.start()
    try:
        nr.Forecaster(**few).fit(data, split=(0.7, 0.3), verbose=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * 8 * len(data)


# Wide tables

WIDE = pd.DataFrame({key: table(seed=seed)["y"] * 10.0**seed for seed, key in enumerate("abc")})
WIDE.iloc[:9, 1] = WIDE.iloc[-11:, 2] = np.nan
WIDE = WIDE.tz_localize(None)
PARTS = {key: column.dropna() for key, column in WIDE.items()}


@pytest.mark.parametrize(
    "options", [{}, {"scale": "all"}, {"static": ["series"]}, {"holidays": ["2024-01-03"]}], ids=str
)
def test_wide_tables_are_their_columns_to_the_bit(options, tmp_path):
    f, g = fitted(WIDE, None, wide=True, **options), fitted(PARTS, None, **options)
    found = f.predict()
    assert found.equals(g.predict())
    assert found.index.names == ["series", "time"]
    assert found.columns.tolist() == ["value"]
    assert found.loc["c"].index[0] == WIDE.index[-11]
    assert f.evaluate().equals(g.evaluate())
    assert f.backtest(WIDE).equals(g.backtest(PARTS))
    assert f.predict(WIDE).equals(found)
    f.save(tmp_path / "f")
    assert nr.load(tmp_path / "f").predict(WIDE).equals(found)
    new = WIDE.iloc[-2:, :2].shift(2, freq="h")
    assert f.update(new).predict().equals(g.update(dict(new.items())).predict())


def test_wide_tables_of_other_packages():
    expected = fitted(WIDE, None, wide=True).predict()
    array = fitted(WIDE.to_numpy(), None, wide=True)
    assert np.array_equal(array.predict(), expected)
    assert array.update(np.ones((2, 3))).predict().index[0] == (0, ROWS + 2)
    with pytest.raises(ValueError, match="new_rows of 1 begin at 263; the next row is that of 262"):
        array.update([[1.0, np.nan, 1.0], [1.0, 1.0, 1.0]])
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"when": WIDE.index.to_numpy()} | {key: WIDE[key].to_numpy() for key in WIDE})
    f = fitted(frame, None, wide=True, time="when")
    assert np.array_equal(f.predict(), expected)
    assert f.predict().index.get_level_values(1).equals(expected.index.get_level_values(1))


def test_wide_tables_refused():
    hole = WIDE.copy()
    hole.iloc[100, 0] = np.nan
    cases = [
        (lambda: fitted(hole, None, wide=True), ValueError, "data of 'a' has 1 missing value, the first at row 100"),
        (lambda: fitted(PARTS, None, wide=True), TypeError, "data must be one table, as wide=True says"),
        (lambda: fitted([WIDE], None, wide=True), TypeError, "data must be one table"),
        (lambda: fitted(WIDE["a"], None, wide=True), TypeError, "data must be a DataFrame whose columns are series"),
        (lambda: fitted(WIDE.assign(d=np.nan), None, wide=True), ShapeError, "column 'd' of data has no value"),
        (lambda: fitted(WIDE, "a", wide=True), KeyError, "target 'a' is not a column of data, which has 'value'"),
        (lambda: fitted(WIDE, None, wide=True, id="a"), ValueError, "give wide=True or id, not both"),
        (lambda: fitted(WIDE, None, wide=1), TypeError, "Forecaster: wide must be True or False"),
        (lambda: fitted(WIDE.assign(d="x"), None, wide=True), TypeError, "must be numeric"),
        (lambda: fitted(pd.concat([WIDE, WIDE], axis=1), None, wide=True), ShapeError, "several columns 'a'"),
        (lambda: fitted(pd.concat({"p": WIDE}), None, wide=True), ValueError, "data has a MultiIndex"),
    ]  # fmt: skip
    for call, error, message in cases:
        with pytest.raises(error, match=message):
            call()
    assert fitted(hole, None, wide=True, missing="mask")._state.preparation.names == ["value", "value missing"]


def test_rows_of_no_series_and_columns_named_twice_are_refused():
    index = pd.MultiIndex.from_arrays([["a"] * 60 + [None] + ["b"] * 60, HOURS[:121]])
    data = pd.DataFrame({"y": np.arange(121.0), "x": 1.0}, index)
    with pytest.raises(ValueError, match=r"data has no series \(level 0 of the index\) in row 60"):
        fitted(data)
    for argument in ("future", "static", "categories"):
        with pytest.raises(ValueError, match=f"{argument} must name each column once, got 'x' twice"):
            fitted(data.drop(index[60]), **{argument: ["x", "x"]})


def test_forecasts_of_irregular_rows_are_drawn_by_rows(made):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    from numbarnn import plots

    ax = plots.plot_prediction(made("elapsed").predict_interval(0.5), table(ROWS, GAPS), last=20)
    past, ahead = (line.get_xdata() for line in ax.get_lines())
    assert past.tolist() == list(range(-19, 1))
    assert list(ahead) == [1, 2, 3]
    assert ax.get_xlabel() == "rows ahead"
    pyplot.close(ax.figure)


QUICK = {"cell": "rnn", "hidden_size": 2, "epochs": 1}


def test_files_of_series_in_several_units_of_time(tmp_path):
    data = {key: WIDE[["a"]].set_axis(WIDE.index.as_unit(unit)) for key, unit in (("p", "us"), ("q", "ns"))}
    f = fitted(data, "a", **QUICK)
    f.update({"new": data["p"].set_axis(WIDE.index.as_unit("s"))})
    f.save(tmp_path / "f")
    loaded = nr.load(tmp_path / "f")
    pd.testing.assert_frame_equal(loaded.predict(), f.predict(), check_index_type=False)
    found, expected = (one.predict_interval(0.5, adaptive=0.1) for one in (loaded, f))
    pd.testing.assert_frame_equal(found, expected, check_index_type=False)


@pytest.mark.parametrize("missing", ["mask", "ffill", "drop"])
def test_a_series_of_a_wide_table_goes_on_after_missing_values(missing):
    data = WIDE[["a", "b"]].iloc[9:121].copy()
    data.iloc[[101, 104, 105], 1] = np.nan
    f = fitted(data.iloc[:100], None, wide=True, missing=missing, **QUICK)
    for first, stop in ((100, 102), (102, 104), (104, 105), (105, 106), (106, 111)):
        f.update(data.iloc[first:stop])
    assert f.predict().loc["b"].index[0] == data.index[110] + pd.Timedelta(hours=1)
    parts = {key: data[key].rename("value") for key in data}
    g = fitted({key: part.iloc[:100] for key, part in parts.items()}, None, missing=missing, **QUICK)
    g.update({key: part.iloc[100:111] for key, part in parts.items()})
    assert f.predict().equals(g.predict())
    with pytest.raises(ShapeError, match="column 'new' of new_rows has no value"):
        f.update(pd.DataFrame({"new": np.nan}, data.index[-1:]))


def test_of_the_row_before_an_irregular_window_only_the_time_is_read():
    data = table(120, GAPS)[["y"]]
    f = fitted(data, missing="drop", irregular="elapsed", **QUICK)
    later = table(160, GAPS)[["y"]].iloc[100:].copy()
    later.iloc[24] = np.nan  # the row before the window that ends at row 29
    found, back = f.predict(later.iloc[:30]), f.backtest(later)
    assert_close(found["y"].to_numpy(), back.loc[back["origin"] == later.index[29], "y"].to_numpy(), 1e-6)
    f = fitted(data.iloc[:100], missing="drop", irregular="elapsed", **QUICK).update(later.iloc[:30])
    assert f.predict().equals(f.predict(later.iloc[:30]))
    step = f.stream().step(later.iloc[30], time=later.index[30])
    assert np.array_equal(step, f.update(later.iloc[[30]]).predict())


@pytest.mark.parametrize("loss", ["mse", "gaussian"])
def test_static_numbers_stay_in_recursive_forecasts(loss):
    data = {key: table(100, seed=key)[["y"]].assign(size=10.0 * key) for key in range(3)}
    f = fitted(data, static=["size"], recursive=True, loss=loss, **QUICK | {"horizon": 8})
    newest, predictor = f._newest(None, None), f._predictor()
    raw, known, ends = newest.case
    features, of = f._state.preparation.features(raw, known), np.arange(len(ends))
    generator = np.random.default_rng(0) if loss == "gaussian" else None
    path, _ = predictor._paths.walk(raw, features, known, ends, of, generator)
    assert np.array_equal(path[:, :, 1], np.repeat(raw[ends, 1:2], 8, axis=1))
    assert f.predict().shape == (24, 1)
