"""The one conversion of what users pass in: types of columns that differ, nullable types, missing values."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from numbarnn.core.arrays import as_numeric
from numbarnn.errors import ShapeError

NAN = float("nan")


@pytest.mark.parametrize(
    ("data", "dtype", "expected"),
    [
        (pd.DataFrame({"a": [1.5, 2.0], "b": [True, False]}), "float64", [[1.5, 1], [2, 0]]),
        (pd.DataFrame({"a": np.float32([1.5, 2.0]), "b": [True, False]}), "float32", [[1.5, 1], [2, 0]]),
        (pd.DataFrame({"a": [1, 2], "b": [True, False]}), "int64", [[1, 1], [2, 0]]),
        (pd.DataFrame({"a": [1, 2], "b": [0.5, 2]}), "float64", [[1, 0.5], [2, 2]]),
        (pd.DataFrame({"a": [True, False]}), "bool", [[True], [False]]),
        (pd.DataFrame({"a": pd.array([1, None], "Int64"), "b": [2, 3]}), "float64", [[1, 2], [NAN, 3]]),
        (pd.DataFrame({"a": pd.array([1, 4], "Int64"), "b": [2, 3]}), "int64", [[1, 2], [4, 3]]),
        (pd.DataFrame({"a": pd.array([True, None], "boolean"), "b": [0.5, 3]}), "float64", [[1, 0.5], [NAN, 3]]),
        (pd.Series([1.5, None], dtype="Float64"), "float64", [1.5, NAN]),
        (pd.Series([1.5, None], dtype="Float32"), "float32", [1.5, NAN]),
        (pd.Series([True, None], dtype="boolean"), "float64", [1, NAN]),
        (pd.Series([True, False], dtype="boolean"), "bool", [True, False]),
        (pd.Series(pd.arrays.SparseArray([0.0, NAN, 2.0])), "float64", [0, NAN, 2]),
        (pd.array([1, None], dtype="Int64"), "float64", [1, NAN]),
        (pd.Index([3, 4]), "int64", [3, 4]),
        (np.ma.masked_equal([1, 2], 2), "float64", [1, NAN]),
        ([np.ma.masked_equal([1, 2], 2), [3, 4]], "float64", [[1, NAN], [3, 4]]),
        ([pd.Series([1, None], dtype="Int64"), [3, 4]], "float64", [[1, NAN], [3, 4]]),
        ([[True, False], [1, 0.5]], "float64", [[1, 0], [1, 0.5]]),
    ],
)
def test_numbers(data, dtype, expected):
    found = as_numeric(data)
    assert found.dtype == dtype
    assert np.array_equal(found, expected, equal_nan=found.dtype.kind == "f")


def test_arrow():
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"a": pd.array([1.5, None], "double[pyarrow]"), "b": pd.array([True, False], "bool[pyarrow]")})
    assert np.array_equal(as_numeric(frame), [[1.5, 1], [NAN, 0]], equal_nan=True)


def test_nothing_is_copied_that_lies_in_one_block():
    values = np.arange(6.0).reshape(3, 2)
    assert as_numeric(values) is values
    frame = pd.DataFrame(values, copy=False)
    assert np.shares_memory(as_numeric(frame), values)
    assert np.shares_memory(as_numeric(frame[0]), values)


@pytest.mark.parametrize(
    "column",
    [["x", "y"], [1.0, "2"], [1, 1j], pd.to_datetime(["2020", "2021"]), pd.to_timedelta([1, 2]), pd.Categorical([1, 2])],
    ids=["text", "objects", "complex", "times", "spans", "categories"],
)  # fmt: skip
def test_what_is_no_number_is_refused(column):
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": column})
    with pytest.raises(TypeError, match="column 'b' of X must be numeric, got"):
        as_numeric(frame, "X")
    with pytest.raises(TypeError, match="y must be numeric, got"):
        as_numeric(frame["b"], "y")


def test_objects_that_are_numbers():
    """As np.asarray(..., float) takes them, but for text."""
    objects = np.array([True, None, 3, Decimal("0.5"), np.float32(2), pd.NA, NAN], object)
    expected = [1, NAN, 3, 0.5, 2, NAN, NAN]
    for data in (objects, pd.Series(objects), objects.tolist()):
        found = as_numeric(data, "y")
        assert found.dtype == np.float64
        assert np.array_equal(found, expected, equal_nan=True)
    frame = pd.DataFrame({"a": [1, 2], "b": pd.Series([True, None], dtype=object)})
    assert np.array_equal(as_numeric(frame), [[1, 1], [2, NAN]], equal_nan=True)
    row = pd.DataFrame({"name": ["x"], "a": [1.5], "b": [2]}).loc[0, ["a", "b"]]  # of a frame with text: objects
    assert as_numeric(row).tolist() == [1.5, 2]


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ShapeError, match="y must be an array, or rows of one length"):
        as_numeric([[1, 2], [3]], "y")
    assert np.array_equal(as_numeric([1.0, pd.NA], "y"), [1, NAN], equal_nan=True)
