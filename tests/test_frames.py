"""Tables of other packages than pandas, and what transformers give back."""

import sys

import numpy as np
import pandas as pd
import pytest

from numbarnn import RNN, Dense, Forecaster, Model, SequenceRegressor, metrics
from numbarnn.core.arrays import as_numeric
from numbarnn.core.frames import as_pandas
from numbarnn.data import ArraySource, Differences, SequenceScaler, make_windows

ROWS = 40
COLUMNS = {"t": np.arange(float(ROWS)), "x": np.random.default_rng(0).normal(size=ROWS)}
FRAME = pd.DataFrame(COLUMNS)


@pytest.fixture
def pl():
    pytest.importorskip("narwhals")
    return pytest.importorskip("polars")


def regressor(**options):
    return SequenceRegressor("rnn", 3, epochs=0, random_state=0, **options)


def forecaster(**options):
    return Forecaster(5, cell="rnn", hidden_size=3, epochs=0, **options)


def test_values_and_names_are_those_of_the_frame(pl):
    table = pl.DataFrame({"a": [1, None, 3], "b": [True, None, False], "c": [0.5, 1.0, None]})
    expected = [[1, 1, 0.5], [np.nan, np.nan, 1], [3, 0, np.nan]]
    assert np.array_equal(as_numeric(table), expected, equal_nan=True)
    assert np.array_equal(as_numeric(table["a"]), [1, np.nan, 3], equal_nan=True)
    assert np.array_equal(as_numeric([table["a"], table["c"]]), np.array(expected)[:, [0, 2]].T, equal_nan=True)
    windows = make_windows(pl.DataFrame(COLUMNS), 5, target="x")
    assert windows.feature_names == ("t", "x")
    assert np.array_equal(windows.y, make_windows(FRAME, 5, target="x").y)
    assert np.array_equal(make_windows(FRAME, 5, target=pl.Series(COLUMNS["x"])).y, windows.y)
    dropped = make_windows(pl.DataFrame({"a": [1, None, 3, 4, 5]}), 1, missing="drop", target="a")
    assert (len(dropped), dropped.dropped) == (2, 2)
    assert metrics.accuracy(pl.Series(["a", "b", None]), ["a", "a", "a"]) == 0.5


def test_a_column_of_times_is_no_feature(pl):
    table = pl.DataFrame({"time": pd.date_range("2024-01-01", periods=60, freq="h").to_numpy(), "y": np.arange(60.0)})
    for use in (lambda: make_windows(table, 3), lambda: SequenceScaler().fit(table), lambda: forecaster().fit(table)):
        with pytest.raises(TypeError, match=r"column 'time' of \w+ must be numeric, got dtype datetime64.*the index"):
            use()


def test_names_and_order_are_checked(pl):
    table = pl.DataFrame(COLUMNS)
    swapped = table.select("x", "t")
    net = regressor().fit(table, table["t"])
    assert net.feature_names_in_.tolist() == ["t", "x"]
    for transformer in (SequenceScaler(), Differences()):
        transformer.fit(table)
        for other in (swapped, FRAME[["x", "t"]]):
            with pytest.raises(ValueError, match=r"X has columns \['x', 't'\], .* was fitted to \['t', 'x'\]"):
                transformer.transform(other)
    for other in (swapped, FRAME[["x", "t"]]):
        with pytest.raises(ValueError, match="Feature names must be in the same order"):
            net.predict(other)
    assert np.array_equal(net.predict(table), net.predict(FRAME))
    listed = regressor().fit([table, table], [0.0, 1.0])
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        listed.predict([swapped])


def test_results_have_the_form_of_the_data(pl):
    for transformer in (SequenceScaler("robust"), Differences(3)):
        expected = transformer.fit_transform(FRAME)
        found = transformer.fit_transform(pl.DataFrame(COLUMNS))
        assert isinstance(found, pl.DataFrame)
        assert found.columns == ["t", "x"]
        assert np.array_equal(found.to_numpy(), expected.to_numpy())
        assert isinstance(transformer.inverse_transform(found), pl.DataFrame)
        one = transformer.fit_transform(pl.Series("x", COLUMNS["x"]))
        assert isinstance(one, pl.Series)
        assert one.name == "x"
        assert np.array_equal(one.to_numpy(), expected["x"])


def test_forecasts(pl):
    table, options = pl.DataFrame(COLUMNS), {"target": "x", "verbose": 0}
    net, other = forecaster().fit(table, **options), forecaster().fit(FRAME, **options)
    assert net.predict().equals(other.predict())
    rows = table.tail(2)
    assert net.update(rows).predict().equals(other.update(FRAME.tail(2).set_axis([ROWS, ROWS + 1])).predict())
    assert net.predict().index.tolist() == [ROWS + 2]


def test_set_output(pl):
    for transformer in (SequenceScaler(), Differences()):
        plain = transformer.fit_transform(FRAME)
        assert transformer.set_output(transform=None) is transformer
        named = transformer.set_output(transform="pandas").transform(FRAME)
        assert named.equals(plain)
        assert transformer.set_output(transform="polars").transform(FRAME).columns == ["t", "x"]
        array = transformer.set_output(transform="pandas").fit_transform(FRAME.to_numpy())
        assert array.columns.tolist() == ["x0", "x1"]
        assert np.array_equal(transformer.set_output(transform="default").transform(FRAME.to_numpy()), array)
    with pytest.raises(ValueError, match="transform must be 'default', 'pandas' or 'polars', got 'arrow'"):
        SequenceScaler().set_output(transform="arrow")
    with pytest.raises(ValueError, match="are not a table: they have no transform output 'pandas'"):
        SequenceScaler().set_output(transform="pandas").fit_transform(np.ones((2, 3, 1)))


def test_set_output_in_scikit_learn():
    sklearn = pytest.importorskip("sklearn")
    from sklearn.pipeline import make_pipeline
    from sklearn.utils import get_tags

    pipe = sklearn.base.clone(make_pipeline(SequenceScaler(), Differences()).set_output(transform="pandas"))
    assert pipe.fit_transform(FRAME.to_numpy()).columns.tolist() == ["x0", "x1"]
    with sklearn.config_context(transform_output="pandas"):
        assert isinstance(SequenceScaler().fit_transform(FRAME.to_numpy()), pd.DataFrame)
    for each in (SequenceScaler(), Differences(), forecaster()):
        assert get_tags(each).estimator_type is None
        assert not each.__sklearn_is_fitted__()
    assert get_tags(SequenceScaler()).transformer_tags.preserves_dtype == ["float64", "float32"]


ENTRANCES = {
    "make_windows": lambda data: make_windows(data, 3),
    "target": lambda data: make_windows(FRAME, 3, target=data),
    "scaler": lambda data: SequenceScaler().fit(data),
    "differences": lambda data: Differences().fit(data),
    "regressor": lambda data: regressor().fit(data, [0.0]),
    "y of a regressor": lambda data: regressor().fit(np.ones((1, 2, 1)), data),
    "forecaster": lambda data: forecaster().fit(data),
    "forward": lambda data: Model([RNN(2), Dense(1)], input_size=1).forward(data),
    "source": lambda data: ArraySource(data, data),
    "metrics": lambda data: metrics.mae(data, data),
    "labels": lambda data: metrics.accuracy(data, data),
}


@pytest.mark.parametrize("entrance", ENTRANCES)
@pytest.mark.parametrize("kind", ["xarray.core.dataarray.DataArray", "pyarrow.lib.Table"])
def test_what_is_not_read_is_refused_at_every_entrance(entrance, kind):
    module, _, name = kind.rpartition(".")
    data = type(name, (), {"__module__": module, "__array__": lambda self, *args: np.ones((3, 2, 1))})()
    package = module.partition(".")[0]
    with pytest.raises(TypeError, match=rf"^(\w+) is a {name} of {package}, .* not supported; pass \1\.to_pandas\(\)"):
        ENTRANCES[entrance](data)


def test_without_narwhals(pl, monkeypatch):
    monkeypatch.setitem(sys.modules, "narwhals", None)
    with pytest.raises(
        TypeError, match=r"data is a DataFrame of polars, which needs narwhals: pip install 'numbarnn\[frames\]'"
    ):
        make_windows(pl.DataFrame(COLUMNS), 3)


def test_what_is_not_in_memory_is_refused(pl):
    with pytest.raises(TypeError, match=r"data is a LazyFrame of polars, .* pass data.collect\(\)"):
        as_pandas(pl.LazyFrame(COLUMNS))
