"""Windows of Parquet files by row groups: the samples of `make_windows`, orders, checks, resumption."""

import itertools
import os

import numpy as np
import pandas as pd
import pytest
from conftest import assert_same_bits
from hypothesis import given
from hypothesis import strategies as st

from numbarnn import GRU, Dense, Model
from numbarnn.data import ParquetSource, Prefetch, SequenceScaler, make_windows
from numbarnn.errors import CheckpointError, ShapeError

pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow")


def frame(rows, seed=0):
    """Return a table of two quantities, a row number, and a flag."""
    values = np.random.default_rng(seed).normal(size=(rows, 2))
    return pd.DataFrame({"a": values[:, 0], "b": values[:, 1], "n": np.arange(rows), "on": values[:, 0] > 0})


def write(path, table, group=7):
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path, row_group_size=group)
    return path


def samples(source, seed=0):
    """Return x and y of an epoch, and the sizes of its batches."""
    batches = list(source.batches(np.random.default_rng(seed)))
    assert len(batches) == len(source)
    x, y = (np.concatenate([getattr(batch, name) for batch in batches]) for name in "xy")
    assert len(x) == len(y) == source.items
    return x, y, [len(batch.x) for batch in batches]


geometry = st.fixed_dictionaries(
    {
        "lookback": st.integers(1, 12),
        "delay": st.integers(0, 4),
        "step": st.integers(1, 3),
        "stride": st.integers(1, 9),
        "horizon": st.integers(1, 3),
    }
)


@given(geometry, st.integers(16, 60), st.integers(1, 20), st.integers(1, 9), st.booleans())
def test_samples_are_those_of_make_windows(tmp_path_factory, window, rows, group, batch_size, missing):
    table, folder = frame(rows), tmp_path_factory.mktemp("rows")
    cut = rows // 3
    if missing:
        table.loc[[rows // 2, rows - 1], "a"] = np.nan
    paths = [write(folder / "1", table[:cut], group), write(folder / "2", table[cut:], group)]
    if rows < window["lookback"] + window["delay"] + window["horizon"] - 1:
        return
    options = {"missing": "drop" if missing else "error", "dtype": "float64", "batch_size": batch_size}
    source = ParquetSource(paths, ["a", "b"], ["b", "a"], shuffle=False, **window, **options)
    try:
        expected = make_windows(table, target=["b", "a"], missing=options["missing"], **window)
    except ValueError:  # every window touches a missing value
        assert source.items == 0
        with pytest.raises(ShapeError, match="touches a missing value"):
            source.check()
        return
    x, y, sizes = samples(source)
    assert_same_bits(x, expected.X[..., :2].astype(np.float64))
    assert_same_bits(y, expected.y.reshape(len(expected), -1).astype(np.float64))
    assert sizes == [batch_size] * (len(x) // batch_size) + [len(x) % batch_size] * (len(x) % batch_size > 0)
    source.check()


def test_samples_are_shuffled_in_row_groups(tmp_path):
    path = write(tmp_path / "rows", frame(200), 20)
    options = {"lookback": 5, "target": "n", "dtype": "float64", "batch_size": 9, "mix": 3}
    source = ParquetSource(path, ["n"], **options)
    x, y, _ = samples(source, 4)
    firsts = x[:, 0, 0].astype(int)
    assert_same_bits(x[:, :, 0], firsts[:, None] + np.arange(5.0))
    assert y.dtype == np.int64
    assert np.array_equal(y[:, 0], firsts + 5)
    assert sorted(firsts.tolist()) == list(range(195))
    order, at = np.random.default_rng(4).permutation(10), 0
    for first in range(0, 10, 3):
        own = set(order[first : first + 3].tolist())
        count = sum(15 if group == 9 else 20 for group in own)
        groups = firsts[at : at + count] // 20
        assert set(groups.tolist()) == own
        assert len(own) == 1 or np.count_nonzero(np.diff(groups)) > len(own)  # mixed, not one after the other
        at += count
    assert_same_bits(samples(source, 4)[0], x)
    assert not np.array_equal(samples(source, 5)[0], x)


@pytest.mark.parametrize("categorical", [False, True])
def test_no_sample_has_rows_of_two_series(categorical, tmp_path):
    table = frame(90)
    table["pump"] = np.repeat(["x", "y", "z", "x"], [30, 4, 36, 20])
    if categorical:
        table["pump"] = table["pump"].astype("category")
    source = ParquetSource(write(tmp_path / "rows", table), ["a"], lookback=5, stride=2, id="pump", shuffle=False)
    parts = [table[low:high] for low, high in itertools.pairwise([0, 30, 34, 70, 90]) if high - low > 5]
    expected = np.concatenate([make_windows(part["a"], 5, stride=2).X for part in parts])
    assert_same_bits(samples(source)[0], expected.astype(np.float32))
    paths = [write(tmp_path / str(first), table[first : first + 30]) for first in (0, 30, 60)]
    source = ParquetSource(paths, ["a"], lookback=5, separate=True, shuffle=False)
    expected = np.concatenate([make_windows(table["a"][first : first + 30], 5).X for first in (0, 30, 60)])
    assert_same_bits(samples(source)[0], expected.astype(np.float32))


def test_scalers_and_types(tmp_path):
    table = frame(60) * [9, 1, 1, 1] + [1e7, 0, 0, 0]
    table["small"] = table["b"].astype(np.float16)
    table["whole"] = pd.array([1, None, 3] * 20, dtype="Int64")
    path = write(tmp_path / "rows", table)
    scaler, own = SequenceScaler().fit(table[["a", "b"]].to_numpy()), SequenceScaler().fit(table[["a"]].to_numpy())
    source = ParquetSource(path, ["a", "b"], "a", lookback=4, scaler=scaler, target_scaler=own, shuffle=False)
    scaled = scaler.transform(table[["a", "b"]].to_numpy())
    expected = make_windows(scaled.astype(np.float32), 4, target=0)
    x, y, _ = samples(source)
    assert_same_bits(x, expected.X)
    assert_same_bits(y[:, 0], expected.y)
    source = ParquetSource(path, ["small", "on"], "whole", lookback=1, missing="drop", shuffle=False)
    x, y, _ = samples(source)
    kept = [row for row in range(59) if row % 3 != 0]  # whose next row has a target
    assert_same_bits(x[:, 0, 0], table["small"].to_numpy()[kept].astype(np.float32))
    assert (y.dtype, set(y[:, 0].tolist())) == (np.dtype(np.int64), {1, 3})


def test_a_run_resumes_to_the_bit(tmp_path):
    path = write(tmp_path / "rows", frame(300), 40)

    def source(**options):
        return ParquetSource(path, ["a", "b"], "a", lookback=6, **{"batch_size": 20, "mix": 2} | options)

    def fit(source, epochs, **options):
        model = Model([GRU(4, return_sequences=False), Dense(1)], input_size=2, seed=1)
        model.fit(source, loss="mse", epochs=epochs, validation=source, verbose=0, **options)
        return model.params.flat.copy()

    expected = fit(source(), 2)
    file = tmp_path / "run.ckpt"
    fit(source(), 1, checkpoint=file)
    os.rename(path, tmp_path / "moved")
    path = tmp_path / "moved"
    assert_same_bits(fit(Prefetch(source()), 2, checkpoint=file, resume=True), expected)
    with pytest.raises(CheckpointError, match=r"data\.mix: 2 in the checkpoint, 3 now"):
        fit(source(mix=3), 2, checkpoint=file, resume=True)
    write(path, frame(300, seed=1), 40)
    with pytest.raises(CheckpointError, match=r"data\.files"):
        fit(source(), 2, checkpoint=file, resume=True)


def test_what_cannot_be_trained_on_is_refused(tmp_path):
    table = frame(60)
    table["text"] = "x"
    path = write(tmp_path / "rows", table)

    def source(features=("a",), target=None, **options):
        return ParquetSource(options.pop("path", path), list(features), target, **{"lookback": 5} | options)

    for options, error, message in (
        ({"path": tmp_path / "none"}, FileNotFoundError, "path: there is no file"),
        ({"path": tmp_path}, IsADirectoryError, "path: .* is a folder"),
        ({"path": []}, ValueError, "path must name at least one file"),
        ({"path": [path, path]}, ValueError, "path must name every file once"),
        ({"path": __file__}, ValueError, "is not a Parquet file"),
        (
            {"features": ["c"]},
            KeyError,
            r"features 'c' is not a column of '.*rows', which has 'a', 'b', 'n', 'on', 'text'",
        ),
        ({"id": "c"}, KeyError, r"id 'c' is not a column"),
        ({"id": 3}, TypeError, r"id must be the name of a column, got 3"),
        ({"features": ["a", "text"]}, TypeError, "column 'text' of .* must be numeric, got (large_)?string"),
        ({"features": []}, ValueError, "features must name at least one column"),
        ({"features": ["a", 1]}, TypeError, r"features\[1\] must be the name of a column, got 1"),
        ({"lookback": 60}, ShapeError, "path has 60 rows .* lookback 60, delay 1 and horizon 1 need at least 61"),
        ({"scaler": 1}, TypeError, "scaler must have transform"),
        ({"mix": 0}, ValueError, "mix must be an integer >= 1"),
        ({"shuffle": "blocks"}, TypeError, "shuffle must be True or False"),
        ({"missing": "ffill"}, ValueError, "missing must be 'error' or 'drop'"),
    ):
        with pytest.raises(error, match=message):
            source(**options)
    table.loc[44, "a"] = np.nan
    write(path, table)
    with pytest.raises(ValueError, match=r"column 'a' of '.*rows' has a missing value in row 44; pass missing='drop'"):
        source().check()
    table.loc[44, "a"] = 1e300
    write(path, table)
    with pytest.raises(
        ValueError,
        match=r"column 'a' of '.*rows' has a value that is infinite in float32 in row 44; pass dtype='float64'",
    ):
        source(missing="drop").check()
    source(dtype="float64").check()
    table.loc[44, "a"] = np.inf
    write(path, table)
    with pytest.raises(ValueError, match=r"column 'a' of '.*rows' has an infinite value in row 44; clean"):
        source(missing="drop").check()


def arrow(path, columns, group=7):
    """Write a file of Arrow columns, (name, values) pairs whose names may be equal."""
    names, values = zip(*columns, strict=True)
    pq.write_table(pa.table(list(values), names=list(names)), path, row_group_size=group)
    return path


@pytest.mark.parametrize("missing", ["error", "drop"])
def test_integer_targets_are_exact(tmp_path, missing):
    values = [2**53 + row for row in range(20)]
    values[9] = None if missing == "drop" else 2**63 - 1
    path = arrow(tmp_path / "rows", [("a", pa.array(np.arange(20.0))), ("n", pa.array(values, pa.int64()))])
    _, y, _ = samples(ParquetSource(path, ["a"], "n", lookback=2, missing=missing, shuffle=False))
    assert y[:, 0].tolist() == [value for value in values[2:] if value is not None]
    path = arrow(tmp_path / "more", [("a", np.arange(20.0)), ("n", pa.array([2**63 + 5] * 20, pa.uint64()))])
    with pytest.raises(ValueError, match=r"target 'n' has a value beyond int64"):
        ParquetSource(path, ["a"], "n", lookback=2).check()


def test_fingerprints_know_what_a_scaler_does(tmp_path):
    class Slots:
        """Keeps what it learned where `vars` finds nothing, and refuses negative and missing values."""

        __slots__ = ("factor",)

        def __init__(self, factor):
            self.factor = factor

        def transform(self, values):
            if not (values >= 0).all():
                raise ValueError("negative or missing")
            return values * self.factor

    table = frame(30).abs()
    table.loc[9, "a"] = np.nan
    path = write(tmp_path / "rows", table)

    def source(scaler):
        return ParquetSource(path, ["a", "b"], lookback=2, scaler=scaler, missing="drop", shuffle=False)

    one, again, other = (source(Slots(factor)).fingerprint() for factor in (2, 2, 3))
    assert one == again
    assert one != other
    assert_same_bits(samples(source(Slots(2)))[0], 2 * samples(source(None))[0])  # it sees no missing values


def test_messages_name_the_column_or_file(tmp_path):
    rows = [("a", np.arange(20.0)), ("pump", np.tile([1.0, 2.0], 10)), ("list", pa.array([[1]] * 20))]
    path = arrow(tmp_path / "rows", rows)
    with pytest.raises(ShapeError, match=r"rows of a series must be consecutive: sort them by 'pump' first"):
        ParquetSource(path, ["a"], lookback=3, id="pump")
    with pytest.raises(TypeError, match=r"column 'list' of .*rows', the id, must have one value a row, .* got list"):
        ParquetSource(path, ["a"], lookback=3, id="list")
    with pytest.raises(ValueError, match="path must name every file once"):
        ParquetSource([path, tmp_path / ".." / tmp_path.name / "rows"], ["a"], lookback=3)
    double = arrow(tmp_path / "double", [rows[0], rows[0]])
    with pytest.raises(ValueError, match=r"column 'a' of .*double' must be one, got 2 of this name"):
        ParquetSource(double, ["a"], lookback=3)
    nan = arrow(tmp_path / "nan", [rows[0], ("pump", pa.array([np.nan, *np.ones(19)], from_pandas=False))], 30)
    with pytest.raises(ValueError, match=r"column 'pump' of .*nan' has 1 nulls"):
        ParquetSource(nan, ["a"], lookback=3, id="pump")
    source = ParquetSource(path, ["a"], lookback=3)
    arrow(path, [("a", np.arange(8.0))])
    with pytest.raises(ValueError, match="rows' was written anew since it was opened; make the source again"):
        source.check()
