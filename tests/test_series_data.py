"""Scaling, differences, calendar, readers and generators of series."""

import gzip
import re

import numpy as np
import pandas as pd
import pytest
from conftest import assert_close
from data_files import data_file

from numbarnn import sklearn_api as contract
from numbarnn.data import Differences, SequenceScaler, calendar_features, datasets, make_windows, readers
from numbarnn.errors import ShapeError


def frame(rows=40, seed=0):
    values = np.random.default_rng(seed).normal([5, -2], [3, 0.5], (rows, 2))
    return pd.DataFrame(values, columns=["a", "b"], index=pd.date_range("2020", periods=rows, freq="h"))


# Scaling


@pytest.mark.parametrize("method", ["standard", "minmax", "robust"])
def test_scaler_against_definition(method):
    data = frame()
    rows = data.to_numpy()
    scaled = SequenceScaler(method).fit_transform(data)
    if method == "standard":
        expected = (rows - rows.mean(0)) / rows.std(0)
    elif method == "minmax":
        expected = (rows - rows.min(0)) / (rows.max(0) - rows.min(0))
    else:
        first, middle, third = np.quantile(rows, [0.25, 0.5, 0.75], axis=0)
        expected = (rows - middle) / (third - first)
    assert isinstance(scaled, pd.DataFrame)
    assert scaled.index.equals(data.index)
    assert_close(scaled.to_numpy(), expected, 1e-14)


@pytest.mark.parametrize("method", ["standard", "minmax", "robust"])
def test_scaler_forms_agree_and_invert(method):
    rows = frame().to_numpy()
    scaler = SequenceScaler(method, feature_range=(-1, 2)).fit(rows)
    scaled = scaler.transform(rows)
    samples = rows.reshape(8, 5, 2)
    assert np.array_equal(SequenceScaler(method, feature_range=(-1, 2)).fit(samples).scale_, scaler.scale_)
    assert np.array_equal(scaler.transform(samples), scaled.reshape(8, 5, 2))
    ragged = [rows[:3], rows[3:20], rows[20:]]
    of_list = SequenceScaler(method, feature_range=(-1, 2)).fit(ragged)
    assert np.array_equal(of_list.center_, scaler.center_)
    parts = of_list.transform(ragged)
    assert [len(part) for part in parts] == [3, 17, 20]
    assert np.array_equal(np.concatenate(parts), scaled)
    padded = np.full((3, 20, 2), np.nan)
    for row, part in enumerate(ragged):
        padded[row, : len(part)] = part
    of_padded = SequenceScaler(method, feature_range=(-1, 2)).fit(padded)
    assert_close(of_padded.center_, scaler.center_, 1e-13)
    assert np.array_equal(np.isnan(of_padded.transform(padded)), np.isnan(padded))
    for form in (rows, samples):
        assert_close(scaler.inverse_transform(scaler.transform(form)), form, 1e-13)
    assert_close(scaler.inverse_transform(scaled[:, 1:], columns=[1]), rows[:, 1:], 1e-13)
    if method == "minmax":
        assert_close(scaled.min(0), np.full(2, -1.0), 1e-12)
        assert_close(scaled.max(0), np.full(2, 2.0), 1e-12)


def test_scaler_series_and_types():
    data = frame()
    scaler = SequenceScaler().fit(data)
    assert list(scaler.feature_names_in_) == ["a", "b"]
    assert list(scaler.get_feature_names_out()) == ["a", "b"]
    back = scaler.inverse_transform(scaler.transform(data)[["b"]], columns=["b"])
    assert_close(back["b"].to_numpy(), data["b"].to_numpy(), 1e-13)
    series = SequenceScaler().fit_transform(data["a"])
    assert series.name == "a"
    assert series.std(ddof=0) == pytest.approx(1)
    assert scaler.transform(data.to_numpy(np.float32)).dtype == np.float32
    assert SequenceScaler().fit_transform(np.array([[3], [5]])).tolist() == [[-1], [1]]
    constant = SequenceScaler().fit(np.full((5, 1), 0.1))
    assert constant.scale_[0] == 1
    steps = [np.arange(3.0), np.arange(5.0)]
    assert [part.shape for part in SequenceScaler().fit_transform(steps)] == [(3,), (5,)]


@pytest.mark.parametrize(
    "columns",
    [
        {"a": pd.array([1, 2, 4, None], "Int64"), "b": pd.array([0.5, 2, None, 3], "Float64")},
        {"a": [1, 2, 4, np.nan], "b": [True, False, True, True]},
        {"a": pd.array([1, 2, 4, None], "Float32"), "b": pd.array([True, False, None, True], "boolean")},
    ],
    ids=["nullable", "flags", "nullable flags"],
)
def test_every_column_of_numbers_is_scaled(columns):
    """`transform` takes what `fit` takes, what is missing stays missing, and the result is plain."""
    data = pd.DataFrame(columns)
    plain = pd.DataFrame({name: pd.Series(values).astype("float64") for name, values in data.items()})
    expected = (plain - plain.mean()) / plain.std(ddof=0)
    scaler = SequenceScaler().fit(data)
    assert_close(scaler.center_, plain.mean().to_numpy(), 1e-7)
    scaled = scaler.transform(data)
    assert {dtype.kind for dtype in scaled.dtypes} == {"f"}
    assert scaled.isna().equals(data.isna())
    assert_close(scaled.fillna(0).to_numpy(), expected.fillna(0).to_numpy(), 1e-6)
    assert scaler.inverse_transform(scaled).isna().equals(data.isna())
    one = SequenceScaler().fit(data["a"]).transform(data["a"])
    assert one.isna().tolist() == [False, False, False, True]
    changes = Differences().fit_transform(data)
    assert_close(changes.fillna(0).to_numpy(), plain.diff().iloc[1:].fillna(0).to_numpy(), 1e-12)


def test_masked_values_are_not_scaled_by():
    rows = np.ma.masked_equal([[1.0], [2.0], [3.0], [-9999.0]], -9999)
    scaler = SequenceScaler().fit(rows)
    assert scaler.center_ == 2
    assert np.isnan(scaler.transform(rows)[:, 0]).tolist() == [False, False, False, True]
    assert SequenceScaler().fit([rows, rows]).center_ == 2


def test_scaler_refuses():
    data = frame()
    scaler = SequenceScaler().fit(data)
    with pytest.raises(ValueError, match="this SequenceScaler is not fitted"):
        SequenceScaler().transform(data)
    with pytest.raises(ValueError, match=r"X has columns \['b', 'a'\], this SequenceScaler was fitted to \['a', 'b'\]"):
        scaler.transform(data[["b", "a"]])
    with pytest.raises(ShapeError, match=r"X must have 2 features in its last axis, got shape \(40, 1\)"):
        scaler.transform(data.to_numpy()[:, :1])
    with pytest.raises(ValueError, match="method must be 'standard', 'minmax' or 'robust', got 'z'"):
        SequenceScaler("z").fit(data)
    with pytest.raises(ValueError, match="feature 1 of X has no values"):
        SequenceScaler().fit(data.assign(b=np.nan))
    with pytest.raises(ValueError, match="has 1 infinite"):
        SequenceScaler().fit([[1.0], [np.inf]])
    with pytest.raises(ValueError, match="low < high"):
        SequenceScaler("minmax", (1, 0)).fit(data)
    with pytest.raises(TypeError, match="X must be numeric, got dtype <U1"):
        SequenceScaler().fit([["a"], ["b"]])
    with pytest.raises(KeyError, match="columns must be features that this scaler was fitted to, got 'c'"):
        scaler.inverse_transform(data[["a"]], columns=["c"])


def test_parameters_of_the_contract():
    scaler = SequenceScaler("robust")
    assert scaler.get_params() == {"method": "robust", "feature_range": (0.0, 1.0)}
    assert scaler.set_params(method="minmax") is scaler
    assert repr(scaler) == "SequenceScaler(method='minmax')"
    with pytest.raises(ValueError, match="SequenceScaler has no parameter 'mean'; it has method, feature_range"):
        scaler.set_params(mean=0)


def test_scaler_in_scikit_learn():
    base = pytest.importorskip("sklearn.base")
    pipeline = pytest.importorskip("sklearn.pipeline")
    dummy = pytest.importorskip("sklearn.dummy")
    copy = base.clone(SequenceScaler("robust"))
    assert copy.method == "robust"
    data = frame()
    pipe = pipeline.make_pipeline(SequenceScaler(), dummy.DummyRegressor())
    assert pipe.fit(data, data["a"]).predict(data).shape == (40,)
    from sklearn.exceptions import NotFittedError

    for kind in (NotFittedError, contract.NotFittedError):
        with pytest.raises(kind, match="not fitted yet"):
            SequenceScaler().transform(data)


@pytest.mark.parametrize("lag", [1, 7])
def test_differences(lag):
    data = frame()
    differences = Differences(lag)
    changes = differences.fit_transform(data)
    assert changes.equals(data.diff(lag).iloc[lag:])
    back = differences.inverse_transform(changes, before=data.iloc[:lag].to_numpy())
    assert_close(back.to_numpy(), data.iloc[lag:].to_numpy(), 1e-13)
    assert back.index.equals(changes.index)
    ahead = differences.inverse_transform(np.ones((lag, 2)))
    assert_close(ahead, data.iloc[-lag:].to_numpy() + 1, 1e-13)
    one = Differences(lag).fit_transform(data["a"])
    assert np.array_equal(one, changes["a"])
    with pytest.raises(ShapeError, match=f"X has 1 rows; differences at lag {lag} need more"):
        Differences(lag).fit(data.iloc[:1])
    with pytest.raises(ShapeError, match="before must have shape"):
        differences.inverse_transform(changes, before=np.zeros((lag + 1, 2)))
    with pytest.raises(ValueError, match="lag must be an integer >= 1, got 0"):
        Differences(0).fit(data)
    with pytest.raises(ValueError, match="not fitted yet"):
        Differences().transform(data)
    with pytest.raises(TypeError, match="X must be numeric"):
        Differences().fit(["a", "b"])


def test_differences_of_several_series_are_refused():
    table = pd.concat({"A": frame(3), "B": frame(3)})
    with pytest.raises(
        ValueError, match=r"X has a MultiIndex of 2 levels.*X.groupby\(level=0\), with part.droplevel\(0\)"
    ):
        Differences().fit(table)
    differences = Differences().fit(frame(3))
    with pytest.raises(ValueError, match="X has a MultiIndex"):
        differences.transform(table)
    with pytest.raises(ValueError, match="X has a MultiIndex"):
        differences.inverse_transform(table)


def test_calendar_features():
    index = pd.DatetimeIndex(["2020-01-01 00:00", "2020-01-01 06:00", "2020-07-01 18:00", "2020-12-31 23:59:59"])
    found = calendar_features(index, ("hour", "dayofweek", "dayofyear", "month"))
    assert list(found.columns[:2]) == ["hour_sin", "hour_cos"]
    assert_close(found["hour_sin"].to_numpy()[:3], np.array([0.0, 1, -1]), 1e-12)
    assert found["dayofyear_cos"].iloc[3] == pytest.approx(1, abs=1e-9)
    assert found["dayofyear_sin"].iloc[3] == pytest.approx(0, abs=1e-6)
    assert found["month_cos"].iloc[2] == pytest.approx(-1)
    wednesday = 2 / 7 * 2 * np.pi
    assert found["dayofweek_sin"].iloc[0] == pytest.approx(np.sin(wednesday))
    assert_close(np.hypot(found["month_sin"], found["month_cos"]).to_numpy(), np.ones(4), 1e-14)
    by_month = calendar_features(pd.period_range("2020-01", periods=3, freq="M"), "month")
    assert by_month.shape == (3, 2)
    with pytest.raises(TypeError, match=r"index must be a DatetimeIndex or PeriodIndex, .*got RangeIndex"):
        calendar_features(pd.RangeIndex(3))
    with pytest.raises(ValueError, match=r"features.0. must be .*, got 'minute'"):
        calendar_features(index, ["minute"])


# Readers

# The first rows of the file as published.
JENA = """"Date Time","p (mbar)","T (degC)","Tpot (K)","Tdew (degC)","rh (%)","VPmax (mbar)",\
"VPact (mbar)","VPdef (mbar)","sh (g/kg)","H2OC (mmol/mol)","rho (g/m**3)","wv (m/s)","max. wv (m/s)","wd (deg)"
01.01.2009 00:10:00,996.52,-8.02,265.40,-8.90,93.30,3.33,3.11,0.22,1.94,3.12,1307.75,1.03,1.75,152.30
01.01.2009 00:20:00,996.57,-8.41,265.01,-9.28,93.40,3.23,3.02,0.21,1.89,3.03,1309.80,0.72,1.50,136.10
01.01.2009 00:30:00,996.53,-8.51,264.91,-9.31,93.90,3.21,3.01,0.20,1.88,3.02,1310.24,0.19,0.63,171.60
01.01.2009 00:40:00,996.51,-8.31,265.12,-9.07,94.20,3.26,3.07,0.19,1.92,3.08,1309.19,0.34,0.50,198.00
01.01.2009 00:50:00,996.51,-8.27,265.15,-9.04,94.10,3.27,3.08,0.19,1.92,3.09,1309.00,0.32,0.63,214.30
"""


def test_jena(tmp_path):
    path = tmp_path / "jena.csv"
    path.write_text(JENA)
    data = readers.read_jena(path)
    assert data.shape == (5, 14)
    assert data.index[0] == pd.Timestamp("2009-01-01 00:10")
    assert data["T (degC)"].tolist() == [-8.02, -8.41, -8.51, -8.31, -8.27]
    assert (data.dtypes == np.float64).all()
    w = make_windows(data, 2, 2, target="T (degC)")
    assert np.shares_memory(w.X, data["T (degC)"].to_numpy())
    assert w.y.tolist() == [-8.31, -8.27]
    path.write_text(JENA.replace("0.19,0.63,171.60", "-9999.00,-9999.0,171.60"))
    data = readers.read_jena(path)
    assert data["wv (m/s)"].isna().tolist() == [False, False, True, False, False]
    assert data["max. wv (m/s)"].isna().sum() == 1
    with pytest.raises(
        ValueError, match=r"has 2 missing values, the first at row 2 \(2009-01-01 00:30:00\), column 'wv \(m/s\)'"
    ):
        make_windows(data, 2)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="is not the Jena climate file"):
        readers.read_jena(path)


def test_beijing_naive_forecast():
    """Temperature 24 h before: mean absolute errors of each part's own windows, and of all its rows."""
    path = data_file("beijing_pm25", "pollution.csv.gz")
    data = readers.read_beijing(path)
    assert len(data) == 43_824
    for lookback, published in ((120, [2.488, 2.691]), (1, [2.487, 2.679])):
        parts = make_windows(data["TEMP"], lookback, 24).split((0.5, 0.25, 0.25))
        assert [round(np.abs(part.y - part.X[:, -1, 0]).mean(), 3) for part in parts[1:]] == published


def test_read_series(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("label,when,x\na,2020-01-01 00:00,1\nb,2020-01-01 01:00,2\n")
    data = readers.read_series(path)
    assert data.index.name == "when"
    assert list(data.columns) == ["label", "x"]
    path.write_text(JENA)
    assert readers.read_series(path).index[4] == pd.Timestamp("2009-01-01 00:50")
    path.write_text("Date,n\n1949-01,112\n1949-02,118\n")
    assert readers.read_series(path).index[1] == pd.Timestamp("1949-02-01")
    path.write_text("x,y\n1,2\n3,4\n")
    assert isinstance(readers.read_series(path).index, pd.RangeIndex)
    with pytest.raises(KeyError, match=r"time must name a column; .* has no 'z', it has x, y"):
        readers.read_series(path, time="z")
    path.write_text("t,x\n2020-01-01,1\nsoon,2\n")
    with pytest.raises(ValueError, match=r"row 1 \(line 3 of .*\) of column 't', 'soon', cannot be read as a time"):
        readers.read_series(path, time="t")
    with pytest.raises(ValueError, match="is not the Beijing file"):
        readers.read_beijing(path)


def written(tmp_path, text, name="a.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        "time,load,temp\n2024-01-01,1,100,\n2024-01-02,2,200,\n",
        "time,load,temp\n2024-01-01,1,100,\n2024-01-02,2,200\n",
        "time,load,temp,\n2024-01-01,1,100,\n2024-01-02,2,200,\n",
    ],
    ids=["rows", "some rows", "header and rows"],
)
def test_a_trailing_comma_is_no_column(tmp_path, text):
    data = readers.read_series(written(tmp_path, text))
    assert data.to_dict("list") == {"load": [1, 2], "temp": [100, 200]}
    assert data.index.equals(pd.date_range("2024-01-01", periods=2).rename("time"))


def test_fields_that_are_missing_are_nan(tmp_path):
    data = readers.read_series(written(tmp_path, "time,a,b\n2024-01-01,1,2\n2024-01-02,3\n2024-01-03,5,6\n"))
    assert data["a"].tolist() == [1, 3, 5]
    assert data["b"].isna().tolist() == [False, True, False]
    with pytest.raises(
        ValueError, match=r"data has 1 missing value, the first at row 1 \(2024-01-02 00:00:00\), column 'b'"
    ):
        make_windows(data, 1)


@pytest.mark.parametrize(
    ("rows", "line", "fields"),
    [
        ("2024-01-01,1\n2024-01-02,2,3\n", 3, 3),
        ("2024-01-01,1,2\n2024-01-02,2,3\n", 2, 3),
        ("2024-01-01,1,\n\n2024-01-02,2,3\n", 4, 3),
        ('2024-01-01,"1\n",\n2024-01-02,2,3\n', 4, 3),
        ("2024-01-01,1,,\n2024-01-02,2,,\n", 2, 4),
        ("2024-01-01,1\n2024-01-02,2,\n", 3, 3),
        ("2024-01-01,1,5\n2024-01-02,2,50\n", 2, 3),
    ],
    ids=["one row", "all rows", "blank line", "line break in quotes", "two commas", "a later comma", "decimal commas"],
)
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_more_fields_than_the_header_are_refused(tmp_path, rows, line, fields, name):
    path = tmp_path / name
    with gzip.open(path, "wt") if name.endswith("gz") else open(path, "w") as file:
        file.write("time,load\n" + rows)
    with pytest.raises(
        ValueError, match=f"line {line} of .*{name}' has {fields} fields, the header has 2; every column"
    ):
        readers.read_series(path)


def test_every_reader_refuses_more_fields_than_the_header(tmp_path):
    path = written(tmp_path, JENA.replace("152.30", "152.30,7"))
    with pytest.raises(ValueError, match=r"line 2 of .* has 16 fields, the header has 15"):
        readers.read_jena(path)
    path = written(tmp_path, "year,month,day,hour,TEMP\n2010,1,1,0,-11\n2010,1,1,1,-12,3\n")
    with pytest.raises(ValueError, match=r"line 3 of .* has 6 fields, the header has 5"):
        readers.read_beijing(path)


def test_files_that_are_no_table(tmp_path):
    for text, message in (
        ("", "a.csv' is empty"),
        ("a,b\n", "a.csv' has a header and no rows"),
        ('a,b\n1,"2\n', "a.csv' cannot be read as CSV: .*EOF inside string"),
    ):
        with pytest.raises(ValueError, match=message):
            readers.read_series(written(tmp_path, text))


def test_flags_with_missing_values_are_numbers(tmp_path):
    data = readers.read_series(
        written(tmp_path, "time,open,load\n2024-01-01,True,1\n2024-01-02,,2\n2024-01-03,False,3\n")
    )
    assert data["open"].dtype == np.float64
    assert data["open"].isna().tolist() == [False, True, False]
    assert data["open"].dropna().tolist() == [1, 0]


DAYS = pd.date_range("2024-01-05", periods=40, freq="D", unit="us")


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m-%d", "%Y/%m/%d", "%Y-%m-%dT%H:%M:%S", "%d.%m.%Y", "%d.%m.%Y %H:%M", "%m/%d/%Y", "%m/%d/%Y %H:%M", "%d/%m/%Y",
        "%m/%d/%Y %I:%M:%S %p", "%d-%m-%Y", "%m-%d-%Y %H:%M:%S", "%d %b %Y", "%d-%b-%Y %H:%M", '"%b %d, %Y"', "%B %d %Y", "%Y%m%d",
    ],
)  # fmt: skip
def test_times_of_one_reading(tmp_path, form, named):
    rows = "".join(f"{day},{n}\n" for n, day in enumerate(DAYS.strftime(form)))
    data = readers.read_series(written(tmp_path, f"when,load\n{rows}"), "when" if named else None)
    assert list(data.columns) == ["load"]
    assert data.index.name == "when"
    assert (data.index == DAYS).all()


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("1871 1872 1873", ["1871-01-01", "1872-01-01", "1873-01-01"]),
        ("1871.0 1872.0 1873.0", ["1871-01-01", "1872-01-01", "1873-01-01"]),
        ("202411 202412 202501", ["2024-11-01", "2024-12-01", "2025-01-01"]),
        ("20240302 20240301 20240229", ["2024-03-02", "2024-03-01", "2024-02-29"]),
        ("2024-03 2024-04 2024-05", ["2024-03-01", "2024-04-01", "2024-05-01"]),
        ("2024-03-31T01:00+01:00 2024-03-31T03:00+02:00", ["2024-03-31T00:00Z", "2024-03-31T01:00Z"]),
        ("2024-03-31T01:00+01:00 2024-03-31T02:00+01:00", ["2024-03-31T00:00Z", "2024-03-31T01:00Z"]),
        ("2024-03-31T01:00Z 2024-03-31T02:00Z", ["2024-03-31T01:00Z", "2024-03-31T02:00Z"]),
        ("03/03/2024", ["2024-03-03"]),
    ],
    ids=str,
)
def test_numbers_and_offsets_that_are_times(tmp_path, column, expected):
    text = "year,load\n" + "".join(f"{value},1\n" for value in column.split())
    for time in (None, "year"):
        index = readers.read_series(written(tmp_path, text), time).index
        assert isinstance(index, pd.DatetimeIndex)
        assert (index == pd.DatetimeIndex(expected)).all()


@pytest.mark.parametrize("column", ["0 1 2", "0 10 20", "-3 -2 -1", "999 1000 1001", "100098 100099 100100"])
def test_numbers_of_rows(tmp_path, column):
    """Integers that are not times number the rows where they are named, and are a column where they are not."""
    path = written(tmp_path, "t,load\n" + "".join(f"{value},1\n" for value in column.split()))
    data = readers.read_series(path, "t")
    assert data.index.equals(pd.Index([int(value) for value in column.split()], name="t"))
    assert list(data.columns) == ["load"]
    unnamed = readers.read_series(path)
    assert isinstance(unnamed.index, pd.RangeIndex)
    assert list(unnamed.columns) == ["t", "load"]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("1958.2 1958.3", r"row 0 \(line 2 of .*\) of column 't', 1958.2, cannot be read as a time; write times as"),
        ("1958 1958.3", r"row 1 \(line 3 of .*\) of column 't', 1958.3, cannot be read as a time"),
        ("1704067200 1704070800", r"1704067200, cannot be read as a time; .*unit='s'"),
        ("1704067200000000000 1704067200000000001", "row 0 .*, cannot be read as a time"),
        ("2024001 2024002", r"row 0 .*, 2024001, cannot be read as a time"),
        ("20241230 20241231 20241301", r"row 2 \(line 4 of .*\) of column 't', 20241301, .* of the format '%Y%m%d'"),
        ("True False", "row 0 .* of column 't', True, cannot be read as a time"),
        ("1-01 1-02", "row 0 .* of column 't', '1-01', cannot be read as a time"),
        ("2024-01-01 soon 2024-01-03", r"row 1 .*, 'soon', cannot be read as a time of the format 'ISO8601'"),
        ("13/01/2024 14/01/2024 01/15/2024", r"row 2 .*, '01/15/2024', cannot be read as a time of the format '%d/%m/%Y'"),
        ("1958 NaN", r"row 1 \(line 3 of .*\) of column 't' has no time"),
        ("2024-01-01 NaN", r"row 1 \(line 3 of .*\) of column 't' has no time"),
        ("2024-01-01T00:00Z 2024-01-01T01:00", r"row 1 .*, '2024-01-01T01:00', has an offset from UTC and row 0 has none, or"),
        ("01/02/2024 01/03/2024", r"'%m/%d/%Y' \(row 0 is then 2024-01-02\) or '%d/%m/%Y' \(row 0 is then 2024-02-01\); pass"),
        ("200101 200102", r"'%Y%m' \(row 0 is then 2001-01-01\) or '%y%m%d' \(row 0 is then 2020-01-01\); pass"),
        ("580329 580405", r"'%y%m%d' .*pass the one that is right, such as format='%y%m%d'"),
    ],
    ids=str,
)  # fmt: skip
def test_times_are_not_guessed(tmp_path, column, message):
    path = written(tmp_path, "t,load\n" + "".join(f"{value},1\n" for value in column.split()))
    with pytest.raises(ValueError, match=message):
        readers.read_series(path, "t")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("2024-01-01 soon 2024-01-03", "row 1 .* of column 't', 'soon', cannot be read as a time"),
        ("soon 2024-01-02 2024-01-03", "row 0 .* of column 't', 'soon', cannot be read as a time"),
        ("2024-01-01 NaN 2024-01-03", "row 1 .* of column 't' has no time"),
        ("01/02/2024 01/03/2024", "column 't' can be read as '%m/%d/%Y'"),
        ("20241230 20241231 20241301", "row 2 .* of column 't', 20241301, cannot be read as a time"),
    ],
    ids=str,
)
def test_a_column_of_times_is_not_left_out(tmp_path, column, message):
    """Nobody named it; it is read, as the tests above say, or refused."""
    path = written(tmp_path, "t,load\n" + "".join(f"{value},1\n" for value in column.split()))
    with pytest.raises(ValueError, match=message):
        readers.read_series(path)
    # Another column that can be read has the times.
    rows = zip(column.split(), DAYS.strftime("%Y-%m-%d"), strict=False)
    path = written(tmp_path, "t,day\n" + "".join(f"{value},{day}\n" for value, day in rows))
    assert readers.read_series(path).index.name == "day"


@pytest.mark.parametrize(
    "text", ["date,x\n1958.2,1\n1958.3,2\n", "Year,month,x\n2010,1,1\n2010,1,2\n", "time,x\nnow,1\ntoday,2\n"]
)
def test_a_column_called_time_that_is_not_read_is_told_of(tmp_path, text):
    name = text.partition(",")[0]
    with pytest.warns(
        UserWarning, match=f"rows are numbered from 0 and '{name}' is a column like any other.*time=.?'{name}'"
    ):
        data = readers.read_series(written(tmp_path, text))
    assert name in data.columns


@pytest.mark.parametrize(
    "column", ["2020 A17 2021 2022", "1001 1002 1003", "10231 99999 20240", "1:30 2:30", "a b", "today now"]
)
def test_codes_are_no_times(tmp_path, column):
    text = "code,load\n" + "".join(f"{value},1\n" for value in column.split())
    assert list(readers.read_series(written(tmp_path, text)).columns) == ["code", "load"]


def test_format_of_times(tmp_path):
    path = written(tmp_path, "t,load\n01/02/2024,1\n01/03/2024,2\n")
    for time in ("t", None):
        assert readers.read_series(path, time, format="%d/%m/%Y").index[1] == pd.Timestamp("2024-03-01")
        assert readers.read_series(path, time, format="%m/%d/%Y").index[1] == pd.Timestamp("2024-01-03")
    path = written(tmp_path, "t,load\n580329,1\n580405,2\n")
    assert readers.read_series(path, "t", format="%y%m%d").index[0].month == 3
    with pytest.raises(
        ValueError, match=r"row 0 .* of column 't', 580329, cannot be read as a time of the format '%d.%m.%Y'"
    ):
        readers.read_series(path, "t", format="%d.%m.%Y")
    with pytest.raises(ValueError, match=r"no column of .* has times of the format '%d.%m.%Y'; pass the one that has"):
        readers.read_series(path, format="%d.%m.%Y")


def test_published_series_of_numeric_times():
    for name, column, first, count in (
        ("nile.csv", "year", "1871-01-01", 100),
        ("sunspots_yearly.csv", "YEAR", "1700-01-01", None),
        ("co2_mauna_loa_weekly.csv", "date", "1958-03-29", None),
    ):
        path = data_file("classic_series", name)
        for time in (column, None):
            data = readers.read_series(path, time)
            assert data.index[0] == pd.Timestamp(first)
            assert count is None or len(data) == count
            assert data.index.is_monotonic_increasing


# Generators


def test_adding():
    x, y, lengths = datasets.adding(500, 30, seed=1)
    assert x.shape == (500, 30, 2)
    assert lengths is None
    assert (x[:, :15, 1].sum(axis=1) == 1).all()
    assert (x[:, 15:, 1].sum(axis=1) == 1).all()
    assert_close(y, (x[:, :, 0] * x[:, :, 1]).sum(axis=1), 1e-15)
    assert np.mean((datasets.adding(100_000, 2)[1] - 1) ** 2) == pytest.approx(1 / 6, abs=0.003)


def test_adding_1997():
    x, y, lengths = datasets.adding_1997(2000, 100, seed=1)
    assert set(lengths) == set(range(100, 111))
    zero_first = 0
    for sample, target, length in zip(x, y, lengths, strict=True):
        markers = sample[:, 1]
        assert markers[0] == markers[length - 1] == -1
        ones = np.flatnonzero(markers == 1)
        assert (sample[length:] == 0).all()
        assert target == pytest.approx(0.5 + sample[ones, 0].sum() / 4)
        zero_first += len(ones) == 1
        assert ones.max() <= 48
        assert ones.min() < 10 or len(ones) == 1
        assert len(ones) in (1, 2)
    assert 100 < zero_first < 300  # one in ten


def test_multiplication():
    x, y, lengths = datasets.multiplication(20_000, 100, seed=1)
    assert set(lengths) == set(range(100, 111))
    assert x[:, :, 0].min() >= 0
    assert x[:, :, 0].max() <= 1
    for sample, target, length in zip(x[:500], y, lengths, strict=False):
        ones = np.flatnonzero(sample[:, 1] == 1)
        assert sample[0, 1] == sample[length - 1, 1] == -1
        assert (sample[length:] == 0).all()
        assert target == pytest.approx(np.prod(sample[ones, 0]))  # of one value where the first step is the other
        assert len(ones) in (1, 2)
        assert ones.max() <= 48
    # One in ten is U, the others U U'.
    assert y.mean() == pytest.approx(0.1 / 2 + 0.9 / 4, abs=0.01)
    assert y.var() == pytest.approx(0.1 / 3 + 0.9 / 9 - 0.275**2, abs=0.003)


def test_long_lag():
    x, y, lengths = datasets.long_lag(400, 7, seed=1)
    assert lengths is None
    assert x.shape == y.shape == (400, 7)
    assert {tuple(row) for row in x} == {(6, 0, 1, 2, 3, 4, 5), (7, 0, 1, 2, 3, 4, 5)}
    assert np.array_equal(y[:, :-1], x[:, 1:])
    assert np.array_equal(y[:, -1], x[:, 0])
    assert 150 < (x[:, 0] == 7).sum() < 250
    with pytest.raises(ValueError, match="lag must be an integer >= 2"):
        datasets.long_lag(4, 1)


@pytest.mark.parametrize(("symbols", "steps"), [(2, [(10, 20), (50, 60)]), (3, [(10, 20), (33, 43), (66, 76)])])
def test_temporal_order(symbols, steps):
    x, y, lengths = datasets.temporal_order(400, symbols, seed=2)
    assert x.shape == (400, 110)
    assert set(y) == set(range(2**symbols))
    for tokens, label, length in zip(x, y, lengths, strict=True):
        text = "".join(datasets.TEMPORAL_ORDER[token] for token in tokens[:length])
        assert text[0] == "E"
        assert text[-1] == "B"
        marked = [t for t, symbol in enumerate(text) if symbol in "XY"]
        assert all(low <= t <= high for t, (low, high) in zip(marked, steps, strict=True))
        assert int("".join("01"[text[t] == "Y"] for t in marked), 2) == label
        assert set(text[1:-1]) <= set("abcdXY")
    with pytest.raises(ValueError, match="symbols must be 2"):
        datasets.temporal_order(3, 4)


def test_copy_memory():
    x, y, _ = datasets.copy_memory(50, 30, seed=3)
    assert x.shape == y.shape == (50, 50)
    assert ((x[:, :10] >= 1) & (x[:, :10] <= 8)).all()
    assert (x[:, 10:39] == 0).all()
    assert (x[:, 39:] == 9).all()
    assert (y[:, :40] == 0).all()
    assert np.array_equal(y[:, 40:], x[:, :10])


def test_embedded_reber():
    x, y, lengths = datasets.embedded_reber(300, seed=4)
    strings = [
        "".join(datasets.REBER[t] for t in row[:n]) + datasets.REBER[last[n - 1]]
        for row, last, n in zip(x, y, lengths, strict=True)
    ]
    assert min(map(len, strings)) == 9
    # The Reber grammar as a regular expression, from its diagram.
    reber = r"B(?:TS*X(?:XT*V(?:PX(?:T)*V)*(?:PS|V)|S)|PT*V(?:PX(?:T)*V)*(?:PS|V))E"
    pattern = re.compile(f"B([TP]){reber}\\1E")
    assert all(pattern.fullmatch(string) for string in strings)
    allowed = datasets.reber_allowed(x, lengths)
    running = np.arange(x.shape[1]) < lengths[:, None]
    follows = np.take_along_axis(allowed, y[:, :, None].astype(int), axis=2)[:, :, 0]
    assert follows[running].all()
    assert not allowed[~running].any()
    rows = np.arange(len(x))
    assert (allowed[rows, lengths - 2].sum(axis=1) == 1).all()  # the last but one is certain: the second
    assert np.array_equal(y[rows, lengths - 2], x[:, 1])
    assert set(allowed[running].sum(axis=1)) == {1, 2}
    with pytest.raises(ValueError, match="row 0 is 'BB', which leaves the grammar at step 1"):
        datasets.reber_allowed([[0, 0]], [2])


def test_noisy_sine_and_weather():
    clean = datasets.noisy_sine(200, 20, 0.0, amplitude=2, phase=0.5)
    assert_close(clean, 2 * np.sin(2 * np.pi * np.arange(200) / 20 + 0.5), 1e-14)
    assert np.std(datasets.noisy_sine(20_000, 20, 0.3) - datasets.noisy_sine(20_000, 20, 0.0)) == pytest.approx(
        0.3, abs=0.01
    )
    data = datasets.weather(2 * 8766)
    assert list(data.columns) == ["temperature", "pressure", "humidity", "wind"]
    assert not data.isna().any(axis=None)
    by_month = data["temperature"].groupby(data.index.month).mean()
    assert by_month.idxmax() in (7, 8)
    assert by_month.idxmin() in (1, 2)
    assert data["temperature"].groupby(data.index.hour).mean().idxmax() == 15
    assert data["humidity"].between(0, 100).all()
    assert (data["wind"] > 0).all()


@pytest.mark.parametrize(
    "make",
    [datasets.adding, datasets.adding_1997, datasets.multiplication, datasets.long_lag, datasets.temporal_order,
     datasets.copy_memory, datasets.embedded_reber, datasets.noisy_sine, datasets.weather],
)  # fmt: skip
def test_generators_are_seeded(make):
    first, again, other = (make(40, seed=seed) for seed in (5, 5, 6))
    first, again, other = ((r[0] if isinstance(r, tuple) else np.asarray(r)) for r in (first, again, other))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)
    with pytest.raises(ValueError, match="must be an integer >= 1, got 0"):
        make(0)
    with pytest.raises(ValueError, match="seed must be an integer >= 0"):
        make(10, seed=None)


@pytest.mark.parametrize("shape", [(5, 0), (0, 3), (2, 0, 3), (2, 3, 0)])
def test_scaler_of_nothing(shape):
    with pytest.raises(ShapeError, match=r"X must have at least one row and one feature, got shape \("):
        SequenceScaler().fit(np.empty(shape))
    if len(shape) == 2:
        with pytest.raises(ShapeError, match="none of them 0"):
            Differences().fit(np.empty(shape))


def test_differences_know_the_columns_of_fit():
    differences = Differences().fit(frame())
    with pytest.raises(ValueError, match=r"X has columns \['b', 'a'\], this Differences was fitted to \['a', 'b'\]"):
        differences.transform(frame()[["b", "a"]])
    with pytest.raises(ShapeError, match="X has 1 features, this Differences was fitted to 2"):
        differences.transform(frame()["a"])
    assert differences.transform(frame().to_numpy()).shape == (39, 2)
    assert differences.get_feature_names_out().tolist() == ["a", "b"]


def test_a_list_of_frames_is_scaled():
    parts = [frame(5), frame(9)]
    scaler, expected = SequenceScaler().fit(parts), SequenceScaler().fit([part.to_numpy() for part in parts])
    assert np.array_equal(scaler.center_, expected.center_)
    found = scaler.transform(parts)
    assert [type(part) for part in found] == [pd.DataFrame] * 2
    assert np.array_equal(found[1], expected.transform([part.to_numpy() for part in parts])[1])
    for call in (scaler.transform, SequenceScaler().fit):
        with pytest.raises(ValueError, match=r"X\[1\] has columns \['b', 'a'\]"):
            call([frame(5), frame(5)[["b", "a"]]])


def test_columns_of_inverse_transform_exist():
    scaler = SequenceScaler().fit(frame())
    for wrong in ("c", 2, -1, 0.5):
        with pytest.raises(KeyError, match="columns must be features that this scaler was fitted to"):
            scaler.inverse_transform(np.zeros((3, 1)), columns=[wrong])


@pytest.mark.parametrize(
    ("text", "time", "format", "first"),
    [
        ("date,time,x\n2024-01-05,10:00,1\n2024-01-05,11:00,2\n", ["date", "time"], None, "2024-01-05 10:00"),
        ("date,time,x\n05.01.2024, 10:00 AM,1\n05.01.2024, 11:00 AM,2\n", ("date", "time"), None, "2024-01-05 10:00"),
        ("day,at,x\n20240105,0000,1\n20240105,0100,2\n", ["day", "at"], "%Y%m%d %H%M", "2024-01-05"),
        ("year,month,day,hour,x\n2024,1,5,9,1\n2024,1,5,10,2\n", ["year", "month", "day", "hour"], None, "2024-01-05 09:00"),
        ("x,hour,day,month,year\n1,9,5,1,2024\n2,10,5,1,2024\n", ["hour", "day", "month", "year"], None, "2024-01-05 09:00"),
        ("year,month,x\n2024,1,1\n2024,2,2\n", ["year", "month"], None, "2024-01-01"),
        ("Year,Month,Day,Hour,Minute,x\n2024,1,5,9,0,1\n2024,1,5,9,30,2\n", ["Year", "Month", "Day", "Hour", "Minute"], None,
            "2024-01-05 09:00"),
        ("Date,x\n2024-01-05,1\n2024-01-06,2\n", ["Date"], None, "2024-01-05"),
    ],
)  # fmt: skip
def test_times_in_several_columns(tmp_path, text, time, format, first):
    data = readers.read_series(written(tmp_path, text), time, format=format)
    assert data.to_dict("list") == {"x": [1, 2]}
    assert data.index[0] == pd.Timestamp(first)
    assert data.index[0] < data.index[1]
    assert data.index.name == " ".join(time)


def test_times_in_several_columns_are_refused(tmp_path):
    path = written(tmp_path, "date,time,x\n2024-01-05,10:00,1\n2024-01-05,,2\n")
    with pytest.raises(ValueError, match=r"row 1 .*line 3 of .* of column 'date time' has no time"):
        readers.read_series(path, ["date", "time"])
    with pytest.raises(KeyError, match=r"time must name a column; .* has no 'clock', it has date, time, x"):
        readers.read_series(path, ["date", "clock"])
    path = written(tmp_path, "date,time,x\n2024-01-05,10:00,1\n2024-01-05,11:00,2\n")
    with pytest.raises(ValueError, match=r"column 'date' of .* more than once, .*pass both, time=\['date', 'time'\]"):
        readers.read_series(path)
    path = written(tmp_path, "year,month,day,x\n2024,1,5,1\n2024,2,30,2\n")
    with pytest.raises(ValueError, match=r"row 1 .* of column 'year month day', '2024-02-30', cannot be read"):
        readers.read_series(path, ["year", "month", "day"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
def test_other_ways_of_writing(tmp_path, encoding):
    path, mark = tmp_path / "a.csv", "\ufeff" if encoding == "utf-16-le" else ""
    path.write_text(f"{mark}Zeit;Größe\n05.01.2024;1,5\n06.01.2024;2,25\n", encoding)
    data = readers.read_series(path, sep=";", decimal=",", encoding=encoding.removesuffix("-sig"))
    assert data.to_dict("list") == {"Größe": [1.5, 2.25]}
    assert data.index.name == "Zeit"
    path.write_text(f"{mark}Zeit;x\n05.01.2024;1,5;\n6;7;8\n", encoding)
    with pytest.raises(ValueError, match=r"line 3 of .* has 3 fields, the header has 2"):
        readers.read_series(path, sep=";", encoding=encoding.removesuffix("-sig"))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            "a;b\n1;2\n",
            {},
            "the header of .*a.csv' is one field where ',' separates, and has ';' in it; .* pass sep=';'",
        ),
        ("a;b\n1,5;2\n", {}, "pass sep=';'"),
        ("a\tb\n1\t2\n", {}, r"pass sep='\\t'"),
        ("a,b\n1,2\n", {"sep": ";"}, "pass sep=','"),
        ('a,b\n"1,5",2\n"2,5",3\n', {}, "column 'a' of .* has values with commas, such as '1,5'; pass decimal=','"),
        ("a,b\n1,2\n", {"sep": ",,"}, "sep must be one character, got ',,'"),
        ("a,b\n1,2\n", {"decimal": ","}, "sep and decimal must differ"),
        ("a,b\n1,2\n", {"encoding": None}, "there is no encoding None"),
        ("a,b\n1,2\n", {"encoding": "rot13"}, "there is no encoding 'rot13'"),
        ("a,ü\n1,2\n", {"encoding": "ascii"}, r"is not ascii text \(.*\); pass encoding=, such as encoding='utf-8'"),
    ],
)
def test_another_way_of_writing_is_told_of(tmp_path, text, options, message):
    path = tmp_path / "a.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(ValueError, match=message):
        readers.read_series(path, **options)


def test_a_single_column_may_have_any_name(tmp_path):
    assert readers.read_series(written(tmp_path, "x;y\n1\n2\n"))["x;y"].tolist() == [1, 2]
