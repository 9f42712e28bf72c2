"""Windows: the lecture's tables, a naive loop, other programs' conventions, splits, missing values and times."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import assert_same_bits
from hypothesis import assume, given
from hypothesis import strategies as st

from numbarnn import LSTM, Dense, Model
from numbarnn.data.windowing import make_windows
from numbarnn.errors import ShapeError

TENS = np.arange(10, 100, 10)
TWO = np.column_stack([TENS, TENS + 5])


def hourly(rows, columns=("a", "b"), start="2020-01-01"):
    values = np.arange(rows * len(columns), dtype=float).reshape(rows, len(columns))
    return pd.DataFrame(values, columns=list(columns), index=pd.date_range(start, periods=rows, freq="h"))


def test_lecture_univariate():
    w = make_windows(TENS, lookback=3, delay=2)
    assert w.X.shape == (5, 3, 1)
    expected = [[10, 20, 30], [20, 30, 40], [30, 40, 50], [40, 50, 60], [50, 60, 70]]
    assert np.array_equal(w.X[:, :, 0], expected)
    assert np.array_equal(w.y, [50, 60, 70, 80, 90])


def test_lecture_multivariate():
    w = make_windows(TWO, lookback=3, delay=2, target=0)
    assert w.X.shape == (5, 3, 2)
    assert np.array_equal(w.X[0], [[10, 15], [20, 25], [30, 35]])
    assert np.array_equal(w.X[-1], [[50, 55], [60, 65], [70, 75]])
    assert np.array_equal(w.y, [50, 60, 70, 80, 90])
    every = make_windows(TWO, lookback=3, delay=2)
    assert np.array_equal(every.y, [[50, 55], [60, 65], [70, 75], [80, 85], [90, 95]])


def naive(table, target, lookback, delay, step, stride, horizon):
    """Return inputs, targets and their rows by the definition, one number at a time."""
    x, y, x_rows, y_rows = [], [], [], []
    m = (lookback - 1) // step + 1
    i = 0
    while True:
        end = i * stride + lookback - 1
        if end + delay + horizon - 1 > len(table) - 1:
            break
        x_rows.append([end - k * step for k in range(m - 1, -1, -1)])
        y_rows.append([end + delay + k for k in range(horizon)])
        x.append([table[r] for r in x_rows[-1]])
        y.append([target[r] for r in y_rows[-1]])
        i += 1
    return np.array(x), np.array(y), np.array(x_rows), np.array(y_rows)


SETTINGS = {
    "lookback": st.integers(1, 9), "delay": st.integers(0, 6), "step": st.integers(1, 4), "stride": st.integers(1, 5),
    "horizon": st.integers(1, 4),
}  # fmt: skip


@given(rows=st.integers(1, 40), columns=st.integers(1, 3), fortran=st.booleans(), **SETTINGS)
def test_naive_loop(rows, columns, fortran, **settings):
    assume(rows >= settings["lookback"] + settings["delay"] + settings["horizon"] - 1)
    table = np.arange(rows * columns, dtype=float).reshape(rows, columns)
    table = np.asfortranarray(table) if fortran else table
    w = make_windows(table, target=columns - 1, **settings)
    x, y, x_rows, y_rows = naive(table, table[:, -1], **settings)
    assert len(w) == len(x)
    assert_same_bits(w.X, x)
    assert_same_bits(w.y, y[:, 0] if settings["horizon"] == 1 else y)
    assert np.array_equal(w.x_rows, x_rows)
    assert np.array_equal(w.y_rows, y_rows)
    assert np.shares_memory(w.X, table)
    chosen = np.arange(len(w))[::2]
    gathered = w.gather(chosen)
    assert_same_bits(gathered[0], x[chosen])
    assert_same_bits(gathered[1], y[chosen])
    mask = np.arange(len(w)) % 2 == 0
    for part in (w[chosen], w[mask], w[::2]):
        assert_same_bits(part.X, x[chosen])
        assert_same_bits(part.gather(range(len(part)))[0], x[chosen])
        assert np.array_equal(part.y_rows, y_rows[chosen])


@given(rows=st.integers(12, 60), bad=st.sets(st.integers(0, 59), max_size=4), own=st.booleans(), **SETTINGS)
def test_drop_leaves_what_touches_nothing(rows, bad, own, **settings):
    assume(rows >= settings["lookback"] + settings["delay"] + settings["horizon"] - 1)
    table = np.arange(rows * 2.0).reshape(rows, 2)
    goal = table[:, 1].copy()
    (goal if own else table[:, 1])[[b for b in bad if b < rows]] = np.nan
    target = goal if own else 1
    x, y, _, y_rows = naive(table, goal if own else table[:, 1], **settings)
    good = ~np.isnan(y).any(axis=1) & ~np.isnan(x).any(axis=(1, 2))
    if not good.any():
        with pytest.raises(ValueError, match="touches a missing value"):
            make_windows(table, target=target, missing="drop", **settings)
        return
    w = make_windows(table, target=target, missing="drop", **settings)
    assert w.dropped == np.count_nonzero(~good)
    assert_same_bits(w.X, x[good])
    assert np.array_equal(w.y_rows, y_rows[good])


def test_shapes_of_y():
    frame = hourly(20, ("a", "b", "c"))
    assert make_windows(frame, 3, target="b").y.shape == (17,)
    assert make_windows(frame, 3, target=["b"]).y.shape == (17, 1)
    assert make_windows(frame, 3, target=["b", "a"]).y.shape == (17, 2)
    assert make_windows(frame, 3, target="b", horizon=4).y.shape == (14, 4)
    assert make_windows(frame, 3, horizon=4).y.shape == (14, 4, 3)
    assert make_windows(frame["a"], 3, horizon=4).y.shape == (14, 4)
    w = make_windows(frame, 3, target=["c", "a"])
    assert w.target_names == ("c", "a")
    assert w.feature_names == ("a", "b", "c")
    assert np.array_equal(w.y[0], frame[["c", "a"]].iloc[3])
    own = make_windows(frame, 3, target=frame["a"] * 10)
    assert np.array_equal(own.y, frame["a"].to_numpy()[3:] * 10)
    assert own.target_names == ("a",)


def test_times():
    frame = hourly(30)
    w = make_windows(frame, 5, 3, step=2, horizon=2)
    assert w.x_times.shape == (22, 3)
    assert w.x_times[0, -1] == np.datetime64("2020-01-01T04")
    assert list(w.y_times[0]) == [np.datetime64("2020-01-01T07"), np.datetime64("2020-01-01T08")]
    assert np.array_equal(w.y_times, frame.index.to_numpy()[w.y_rows])
    with pytest.raises(AttributeError, match="no index"):
        _ = make_windows(TENS, 3).x_times
    labelled = make_windows(frame.reset_index(drop=True), 5)
    assert labelled.y_times[0, 0] == 5


@pytest.mark.parametrize("changes", [{"lookback": 9}, {"delay": 5}, {"ends": range(3, 99)}, {"table": TENS[:4]}])
def test_windows_that_leave_the_table_are_refused(changes):
    """A view is made of strides, and would show other memory."""
    w = dataclasses.replace(make_windows(TENS, lookback=3, delay=2), **changes)
    with pytest.raises((ShapeError, IndexError), match=r"rows 0 to|out of bounds"):
        print(w.X, w.y)


def test_windows_in_reverse():
    w = make_windows(TENS, lookback=3, delay=2)
    assert np.array_equal(w[::-1].X, w.X[::-1])
    assert np.array_equal(w[::-2].y, w.y[::-2])
    assert repr(w[::-1])


def test_view_and_cheap():
    """Neither windows nor their X or y hold a copy; only `gather` makes rows contiguous, once."""
    frame = hourly(500)
    w = make_windows(frame, 50, target="b")
    assert np.shares_memory(w.X, frame["a"].to_numpy())
    assert np.shares_memory(w.y, frame["b"].to_numpy())
    assert not w.X.flags.writeable
    parts = w.split((0.5, 0.25, 0.25))
    rows = [part._rows() for part in parts]
    assert rows[0] is rows[1] is rows[2]
    assert np.array_equal(rows[0], frame)


def test_pandas_dtypes():
    frame = pd.DataFrame({"a": pd.array([1, 2, None, 4, 5, 6], dtype="Int64"), "b": [True, False] * 3})
    with pytest.raises(ValueError, match=r"has 1 missing value, the first at row 2 \(2\), column 'a'"):
        make_windows(frame, 2)
    assert np.array_equal(make_windows(frame, 2, missing="drop").X[:, :, 0], [[4, 5]])
    with pytest.raises(TypeError, match="column 'c' of data must be numeric, got"):
        make_windows(frame.assign(c="x"), 2)


@pytest.mark.parametrize(
    "flags", [np.arange(60) % 2 == 0, pd.array(np.arange(60) % 2 == 0, "boolean"), pd.array(np.arange(60), "Int64")]
)
def test_missing_values_beside_other_types(flags):
    """A column of booleans or of a nullable type hides nothing that is missing in another."""
    frame = pd.DataFrame({"t": np.sin(np.arange(60.0)), "open": flags})
    whole = make_windows(frame, 5, target="t")
    assert whole.X.dtype == whole.y.dtype == np.float64
    assert np.array_equal(whole.X[0, :, 1], np.float64(flags[:5]))
    hole = frame.copy()
    hole.loc[30, "t"] = np.nan
    with pytest.raises(ValueError, match=r"has 1 missing value, the first at row 30 \(30\), column 't'"):
        make_windows(hole, 5, target="t")
    assert make_windows(hole, 5, target="t", missing="drop").dropped == 6
    with pytest.raises(ValueError, match=r"has 1 infinite value, the first at row 30 \(30\), column 't'"):
        make_windows(hole.fillna(np.inf), 5, target="t", missing="drop")
    model = Model([LSTM(2, return_sequences=False), Dense(1)], input_size=2, seed=0)
    assert np.isfinite(model.fit(whole, loss="mse", epochs=1, verbose=0)["loss"]).all()


# Other programs' conventions


@pytest.mark.parametrize(("lookback", "delay", "step"), [(1440, 144, 6), (10, 3, 1), (10, 4, 3), (7, 0, 2)])
def test_first_edition_generator(lookback, delay, step):
    """Row i of Chollet's generator: inputs range(i - lookback, i, step), target i + delay."""
    data = np.arange(2000.0)
    m = -(-lookback // step)
    newest = delay + lookback - (m - 1) * step
    assert newest == delay + step or lookback % step
    w = make_windows(data, lookback, newest, step=step)
    # The oldest row of its first sample is row 0, ours may begin later in the same span.
    for i in (lookback, lookback + 1, lookback + 100):
        rows = list(range(i - lookback, i, step))
        found = np.flatnonzero(w.x_rows[:, -1] == rows[-1])
        if found.size:
            assert list(w.x_rows[found[0]]) == rows
            assert w.y_rows[found[0], 0] == i + delay
    assert w.steps == m


def keras_rows(rows, targets, sequence_length, sampling_rate, sequence_stride):
    """Rows of inputs and row of the target by the published rule of timeseries_dataset_from_array."""
    starts = range(0, min(rows - (sequence_length - 1) * sampling_rate, targets), sequence_stride)
    return [([i + k * sampling_rate for k in range(sequence_length)], i) for i in starts]


@pytest.mark.parametrize(("m", "s", "k", "d"), [(120, 6, 1, 6 * (120 + 24 - 1)), (10, 2, 3, 25), (10, 1, 1, 10)])
def test_keras_timeseries_dataset(m, s, k, d):
    rows = 1500
    data = np.arange(float(rows))
    w = make_windows(data, (m - 1) * s + 1, d - (m - 1) * s, step=s, stride=k)
    samples = keras_rows(rows - d, rows - d, m, s, k)  # data[:-d], targets = data[d:]
    assert len(samples) <= len(w)
    for (inputs, target), x, y in zip(samples, w.x_rows, w.y_rows, strict=False):
        assert inputs == list(x)
        assert target + d == y[0]
    assert w.delay == 144 or m != 120


def test_keras_documentations_example():
    """sequence_length 10, stride 3, sampling 2 on 0 ... 98: [0 2 ... 18], [3 5 ... 21], ..., [78 80 ... 96]."""
    rows = [inputs for inputs, _ in keras_rows(99, 99, 10, 2, 3)]
    w = make_windows(np.arange(99), 19, 0, step=2, stride=3)
    assert w.X[:, :, 0].tolist() == rows
    assert rows[0] == list(range(0, 20, 2))
    assert rows[-1] == list(range(78, 98, 2))


# Splits


@given(rows=st.integers(30, 120), keep=st.booleans(), **SETTINGS)
def test_split_does_not_leak(rows, keep, **settings):
    table = np.arange(float(rows))
    w = make_windows(table, **settings)
    cuts = (rows // 2, rows * 3 // 4)
    edges = [0, *cuts, rows]
    ends = np.asarray(w.ends)

    def fits(first, last):
        oldest = ends + settings["delay"] if keep else ends - w.lookback + 1
        return ((oldest >= first) & (ends + settings["delay"] + settings["horizon"] - 1 < last)).any()

    assume(all(fits(*part) for part in itertools.pairwise(edges)))
    parts = w.split(rows=cuts, straddle="keep" if keep else "drop")
    found = set()
    for part, first, last in zip(parts, edges, edges[1:], strict=False):
        assert part.y_rows.min() >= first
        assert part.y_rows.max() < last
        assert part.x_rows.max() < last
        if not keep:
            assert part.x_rows.min() >= first
        found |= set(np.asarray(part.ends).tolist())
    # Nothing but what straddles is left out.
    for end in set(np.asarray(w.ends).tolist()) - found:
        oldest = end - w.lookback + 1 if not keep else end + w.delay
        newest = end + w.delay + w.horizon - 1
        assert any(oldest < cut <= newest for cut in cuts)


def test_split_three_ways_of_cutting():
    frame = hourly(100)
    w = make_windows(frame, 5)
    by_fraction = w.split((0.5, 0.25, 0.25))
    by_row = w.split(rows=(50, 75))
    by_date = w.split(dates=("2020-01-03 02:00", frame.index[75]))
    for a, b, c in zip(by_fraction, by_row, by_date, strict=True):
        assert a.ends == b.ends == c.ends
    assert [len(part) for part in by_row] == [45, 20, 20]
    assert [len(part) for part in w.split((0.5, 0.25, 0.25), straddle="keep")] == [45, 25, 25]
    zoned = make_windows(frame.tz_localize("Europe/Berlin"), 5)
    assert zoned.split(dates=["2020-01-03 02:00"])[1].ends == w.split(rows=[50])[1].ends
    monthly = hourly(24).set_axis(pd.period_range("2020-01", periods=24, freq="M"))
    assert make_windows(monthly, 3).split(dates=["2021-01"])[0].y_rows.max() == 11


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fractions": (0.5, 0.4)}, r"fractions must be positive and add up to 1, got \[0.5, 0.4\]"),
        ({"fractions": (np.nan, np.nan)}, r"fractions\[0\] must be finite, got nan"),
        ({"rows": (50.5,)}, r"rows\[0\] must be an integer, got 50.5"),
        ({"rows": (50, 40)}, r"in order; they would begin at rows \[0, 50, 40\] of 100"),
        ({"rows": (97,)}, r"no window fits into rows 97 to 99: with straddle='drop' one needs 6 rows"),
        ({}, "give one of fractions, rows and dates"),
        ({"rows": (50,), "straddle": "cut"}, "straddle must be 'drop' or 'keep'"),
    ],
)
def test_split_refuses(arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make_windows(hourly(100), 5).split(**arguments)


def test_split_needs_order_and_times():
    with pytest.raises(ValueError, match="not in order of time"):
        make_windows(hourly(50), 5)[::-1].split((0.5, 0.5))
    with pytest.raises(ValueError, match="dates takes times only of data with a DatetimeIndex"):
        make_windows(TENS, 2).split(dates=["2020"])


def test_split_by_dates_in_zones():
    naive = make_windows(hourly(100), 5)
    with pytest.raises(ValueError, match=r"2020-01-03 00:00:00\+00:00, in the zone UTC; the data have times without"):
        naive.split(dates=[pd.Timestamp("2020-01-03", tz="UTC")])
    zoned = make_windows(hourly(100).tz_localize("Europe/Berlin"), 5)
    for date in ("2020-01-03", "2020-01-02 23:00+00:00", pd.Timestamp("2020-01-02 23:00", tz="UTC")):
        assert zoned.split(dates=[date])[1].ends == naive.split(rows=[48])[1].ends


# Missing values and times


def test_missing_is_refused_with_place():
    frame = hourly(20)
    frame.loc[frame.index[7], "b"] = np.nan
    frame.loc[frame.index[9], ["a", "b"]] = np.nan
    with pytest.raises(
        ValueError, match=r"data has 3 missing values, the first at row 7 \(2020-01-01 07:00:00\), column 'b'"
    ):
        make_windows(frame, 3)
    with pytest.raises(ValueError, match=r"target has 1 missing value, the first at row 4"):
        make_windows(TENS, 3, target=np.where(TENS == 50, np.nan, TENS))
    with pytest.raises(ValueError, match=r"data has 1 infinite value, the first at row 3"):
        make_windows([1.0, 2, 3, np.inf, 5], 2, missing="drop")


def test_forward_fill_makes_up_no_target():
    series = pd.Series([np.nan, 1, np.nan, np.nan, 4, 5, 6])
    w = make_windows(series, 2, missing="ffill")
    assert np.array_equal(w.X[:, :, 0], [[1, 1], [1, 4], [4, 5]])
    assert np.array_equal(w.y, [4, 5, 6])
    assert w.dropped == 2
    assert np.isnan(series[2])


def test_irregular_times_name_the_first_row():
    frame = hourly(10)
    late = frame.drop(frame.index[[4, 6]])
    with pytest.raises(
        ValueError, match=r"row 4 of data, 2020-01-01 05:00:00, comes 0 days 02:00:00 after .* 01:00:00 is usual \(2"
    ):
        make_windows(late, 2)
    assert len(make_windows(late, 2, irregular="ignore")) == 6
    twice = pd.concat([frame.iloc[:3], frame.iloc[2:]])
    with pytest.raises(
        ValueError, match=r"row 3 of data, 2020-01-01 02:00:00, has the same time as the row above; drop"
    ):
        make_windows(twice, 2)
    with pytest.raises(
        ValueError, match=r"row 1 of data, 2020-01-01 08:00:00, is earlier than the row above \(9 rows in all\); sort"
    ):
        make_windows(frame[::-1], 2)
    with pytest.raises(ValueError, match=r"no time in row 2 \(NaT\)"):
        make_windows(frame.set_axis(frame.index.where(np.arange(10) != 2)), 2)


def panel(order=None):
    """Return a table of the series 0, 1, 2 and 100, 101, 102, indexed by station and time."""
    parts = {name: hourly(3, ["y"]) + first for name, first in (("A", 0), ("B", 100))}
    table = pd.concat(parts, names=["station", "time"])
    return table if order is None else table.reorder_levels(order)


@pytest.mark.parametrize("order", [None, ["time", "station"]])
@pytest.mark.parametrize("irregular", ["error", "ignore"])
def test_windows_of_several_series_are_refused(order, irregular):
    table = panel(order)
    with pytest.raises(
        ValueError, match=r"data has a MultiIndex of 2 levels.*data.groupby\(level='station'\).*droplevel"
    ):
        make_windows(table, 2, irregular=irregular)
    with pytest.raises(ValueError, match="target has a MultiIndex of 2 levels"):
        make_windows(table.to_numpy(), 2, target=table["y"], irregular=irregular)
    found = [make_windows(part.droplevel("station"), 2) for _, part in table.groupby(level="station")]
    assert [w.X.ravel().tolist() for w in found] == [[0, 1], [100, 101]]
    assert [w.y.ravel().tolist() for w in found] == [[2], [102]]


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ([0, 1, 2, 0, 1, 2], "row 3 of data has the index 0 after 2: rows are not in order of time, or of several series"),
        ([0, 1, 1, 2, 3, 4], "row 2 of data has the index 1 after 1"),
        ([5.0, 4.5, 4.0, 4.5, 3.0, 2.0], "row 3 of data has the index 4.5 after 4.0"),
        (pd.to_timedelta([0, 1, 2, 4, 5, 6], "h"), "row 3 of data, 0 days 04:00:00, comes 0 days 02:00:00 after"),
        (pd.to_timedelta([0, 1, 2, 0, 1, 2], "h"), "row 3 of data, 0 days 00:00:00, is earlier than the row above"),
        (pd.PeriodIndex(["2020-01", "2020-02", "2020-03"] * 2, freq="M"), "row 3 of data, 2020-01, is earlier than"),
    ],
)  # fmt: skip
def test_rows_that_turn_back_are_refused(index, message):
    table = hourly(6).set_axis(pd.Index(index))
    with pytest.raises(ValueError, match=message):
        make_windows(table, 2)
    assert len(make_windows(table, 2, irregular="ignore")) == 4
    assert len(make_windows(table.reset_index(drop=True), 2)) == 4


def test_series_without_a_level_of_times():
    """Year and month may be the times of one series, or a series may be a year."""
    index = pd.MultiIndex.from_product([[2020, 2021], range(1, 13)], names=["year", "month"])
    data = pd.DataFrame({"a": np.arange(24.0)}, index)
    with pytest.raises(
        ValueError, match=r"make one index of its times.*reset_index\(drop=True\).*groupby\(level='year'\)"
    ):
        make_windows(data, 3)
    assert len(make_windows(data.reset_index(drop=True), 3)) == 21
    for _, part in data.groupby(level="year"):
        assert len(make_windows(part.droplevel("year"), 3)) == 9


@pytest.mark.parametrize("labels", [[7, 5, 3, 1, 0, -2], [0, 1, 5, 6, 7, 9], list("abcabc")], ids=str)
def test_labels_of_rows_may_be_any_that_go_on(labels):
    assert len(make_windows(hourly(6).set_axis(labels), 2)) == 4


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2020-01-01", periods=10, freq="MS"),
        pd.date_range("2020-01-31", periods=10, freq="B"),
        pd.period_range("2020-01", periods=10, freq="M"),
        pd.date_range("2020-10-24 20:00", periods=10, freq="h", tz="Europe/Berlin"),
        pd.RangeIndex(10),
    ],
    ids=["months", "business days", "periods", "end of summer time", "numbers"],
)
def test_regular_on_the_calendar(index):
    assert len(make_windows(hourly(10).set_axis(index), 2)) == 8


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"lookback": 0}, ValueError, "lookback must be an integer >= 1, got 0"),
        ({"lookback": 2.0}, TypeError, "lookback must be an integer"),
        ({"delay": -1}, ValueError, "delay must be an integer >= 0"),
        ({"stride": True}, TypeError, "stride must be an integer, got True"),
        ({"lookback": 9}, ShapeError, "data has 9 rows; lookback 9, delay 1 and horizon 1 need at least 10"),
        ({"target": "z"}, KeyError, "target 'z' is not a column of data, which has 0, 1"),
        ({"target": np.zeros(3)}, ShapeError, "target has 3 rows, data has 9"),
        ({"target": []}, ValueError, "at least one column"),
        ({"missing": "fill"}, ValueError, "missing must be 'error', 'drop' or 'ffill'"),
        ({"irregular": "drop"}, ValueError, "irregular must be"),
        (
            {"data": np.zeros((2, 3, 4))},
            ShapeError,
            r"data must have shape \(rows,\) or \(rows, columns\), got \(2, 3, 4\)",
        ),
        ({"data": ["a", "b"]}, TypeError, "data must be numeric"),
        ({"data": np.zeros((0, 2))}, ShapeError, "at least one row"),
    ],
)
def test_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        make_windows(**{"data": TWO, "lookback": 2, **arguments})


def test_indexes_must_agree():
    frame = hourly(10)
    with pytest.raises(ValueError, match="different indexes; align"):
        make_windows(frame, 2, target=frame["a"].shift(freq="h"))


# As data for others


def test_index_one_and_iterate():
    w = make_windows(TENS, 3, 2)
    x, y = w[-1]
    assert np.array_equal(x[:, 0], [50, 60, 70])
    assert y == 90
    assert len(list(w)) == 5
    with pytest.raises(IndexError, match="sample 5 of 5"):
        w[5]
    with pytest.raises(TypeError, match="chosen by an integer"):
        w["a"]
    assert np.array_equal(np.asarray(w), w.X)
    assert len(w[:0].X) == 0
    assert "X (5, 3, 1), y (5,); lookback=3, delay=2" in repr(w)


def test_scikit_learn_splits_and_selects():
    selection = pytest.importorskip("sklearn.model_selection")
    linear = pytest.importorskip("sklearn.dummy")
    w = make_windows(np.arange(60.0), 3)
    sizes = [(len(w[train]), len(w[test])) for train, test in selection.TimeSeriesSplit(3).split(w)]
    assert sizes == [(15, 14), (29, 14), (43, 14)]
    train, test = next(iter(selection.TimeSeriesSplit(3).split(w)))
    assert w[train].y_rows.max() < w[test].y_rows.min()
    scores = selection.cross_val_score(linear.DummyRegressor(), w, w.y, cv=selection.TimeSeriesSplit(3))
    assert scores.shape == (3,)


@pytest.mark.parametrize("horizon", [1, 3])
def test_source_of_fit(horizon):
    """Training on windows is training on their arrays, batch by batch, to the bit."""
    series = np.sin(np.arange(200) / 5)
    w = make_windows(series, 10, horizon=horizon)
    batches = list(w.source(32).batches(np.random.default_rng(0)))
    assert sum(len(batch.x) for batch in batches) == len(w) == w.source().items
    assert len(w.source(32)) == len(batches)
    order = np.random.default_rng(0).permutation(len(w))
    assert_same_bits(np.concatenate([batch.x for batch in batches]), w.X[order])

    def fit(*data, **options):
        model = Model([LSTM(4, return_sequences=False), Dense(horizon)], input_size=1, dtype="float64", seed=1)
        model.fit(*data, loss="mse", epochs=2, verbose=0, **options)
        return model.params.flat

    whole = fit(w.X, w.y, batch_size=64)
    assert_same_bits(fit(w.source(64)), whole)
    assert_same_bits(fit(w), fit(w.X, w.y))
    with pytest.raises(ValueError, match="batch_size must be an integer >= 1"):
        w.source(0)
    with pytest.raises(ShapeError, match="no windows"):
        w[:0].source()


def test_gather_takes_samples_that_are_there():
    windows = make_windows(np.arange(30.0), 4, 2)
    train, test = windows.split((0.5, 0.5))
    for part in (windows, train, test, windows[[1, 3, 4]]):
        n = len(part)
        for numbers in ([0, n - 1], [-1, -n], np.array([1], np.uint64)):
            x, y = part.gather(numbers)
            assert_same_bits(x, np.array(part.X)[np.asarray(numbers)])
            assert_same_bits(y[:, 0], part.y[np.asarray(numbers)])
        for wrong in (n, -n - 1):
            with pytest.raises(IndexError, match=f"samples must be indices of {n} windows, got {wrong}"):
                part.gather([0, wrong])
        with pytest.raises(TypeError, match="samples must be given by an array of their indices"):
            part.gather(np.ones(n, bool))


def test_delay_zero_is_the_newest_row_seen():
    w = make_windows(TWO, 3, 0)
    assert len(w) == 7
    assert np.array_equal(w.y, w.X[:, -1])
    assert np.array_equal(w.y_rows[:, 0], w.x_rows[:, -1])


HOLIDAYS = pd.offsets.CustomBusinessDay(holidays=["2024-03-29"])


@pytest.mark.parametrize(
    "freq", [HOLIDAYS, "C", "BMS", pd.DateOffset(months=2), pd.offsets.CustomBusinessDay(weekmask="Sun Mon")]
)
def test_times_with_a_frequency_are_regular(freq):
    index = pd.date_range("2024-03-04", periods=60, freq=freq)
    assert len(make_windows(hourly(60).set_axis(index), 2)) == 58
    with pytest.raises(ValueError, match="is earlier than the row above"):
        make_windows(hourly(60).set_axis(index[::-1]), 2)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (
            pd.bdate_range("2024-01-01", periods=200).delete(50),
            "row 50 of data, 2024-03-12 00:00:00, comes where 2024-03-11 00:00:00 would at the frequency 'B' .*asfreq, .* or pass "
            "irregular='ignore'; holidays: .*CustomBusinessDay",
        ),
        (
            pd.date_range("2020-01-01", periods=30, freq="MS").delete([3, 20]),
            "row 3 of data, 2020-05-01 00:00:00, comes where 2020-04-01 00:00:00 would at the frequency 'MS'",
        ),
        (
            pd.period_range("2020-01", periods=30, freq="M").delete(3),
            r"row 3 of data, 2020-05, comes <2 \* MonthEnds> after the row above",
        ),
    ],
    ids=["holiday", "months", "periods"],
)
def test_a_gap_on_the_calendar_is_named(index, message):
    with pytest.raises(ValueError, match=message):
        make_windows(hourly(len(index)).set_axis(index), 2)


def test_a_target_under_a_name_of_several_levels():
    names = pd.MultiIndex.from_tuples([("Close", "ABC"), ("Open", "ABC")])
    frame = hourly(10, ["a", "b"]).set_axis(names, axis=1)
    one, two = (make_windows(frame, 2, target=target) for target in (("Open", "ABC"), [("Open", "ABC")]))
    assert one.target_names == two.target_names == (("Open", "ABC"),)
    assert np.array_equal(one.y, frame["Open", "ABC"].to_numpy()[2:])
    assert two.y.shape == (8, 1)
    with pytest.raises(KeyError, match=r"target 'Close' is not a column of data, which has \('Close', 'ABC'\)"):
        make_windows(frame, 2, target=("Close", "XYZ"))


def test_a_part_too_short_says_the_way_out():
    w = make_windows(hourly(40), 8, 4)
    with pytest.raises(
        ValueError, match=r"one needs 12 rows .* Make that part larger, .* smaller, or pass straddle='keep'"
    ):
        w.split((0.8, 0.2))
    with pytest.raises(ValueError, match=r"smaller$"):
        make_windows(hourly(40), 8, 4, horizon=3).split((0.95, 0.05), straddle="keep")
