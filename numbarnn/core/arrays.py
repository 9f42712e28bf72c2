"""Numeric arrays from what users pass in: the one conversion of tables, masked arrays and lists.

pandas is not imported here before a pandas object comes in.
"""

import sys
from decimal import Decimal
from numbers import Real

import numpy as np

from numbarnn.checks import brief, to_array
from numbarnn.core.frames import as_pandas, is_pandas, package_of


def as_numeric(data, name: str = "data") -> np.ndarray:
    """Return data as a numeric array (integers, floating-point values or booleans); missing values are NaN.

    Columns of different types become the type that NumPy promotes them to, so that booleans beside float64 are float64. pandas' NA
    and the masked values of a masked array are NaN, in float64 unless the data are of a smaller floating-point type.

    Parameters
    ----------
    data : array-like, Series, DataFrame, Index or pandas array, a table of another package (`as_pandas`), or a list of these
    name : str
        Of the argument, for messages.

    Returns
    -------
    array
        A view of the data where they are in one block of one NumPy type.

    Raises
    ------
    ShapeError
        If a list has rows of different lengths.
    TypeError
        If a value is not numeric, naming the column.
    """
    data, pd = as_pandas(data, name), sys.modules.get("pandas")
    if pd is not None and isinstance(data, (pd.Index, pd.api.extensions.ExtensionArray)):
        data = pd.Series(data)
    if is_pandas(data):
        return _of_pandas(data, name)
    if isinstance(data, (list, tuple)) and any(map(_hides_missing, {type(item) for item in data})):
        data = [as_numeric(item, f"{name}[{i}]") for i, item in enumerate(data)]
    values = to_array(data, name)
    if values.dtype == object:
        return _of_objects(values, name)
    _check_numeric(values.dtype, name)
    if np.ma.is_masked(data):
        values = np.where(np.ma.getmaskarray(data), np.nan, values)
    return values


def as_array(data, name: str = "data") -> np.ndarray:
    """Return data of any dtype as an array: tables (but categories) and masked arrays as `as_numeric` does, others as NumPy does.

    Raises
    ------
    ShapeError, TypeError
        As of `as_numeric`.
    """
    if type(data) is np.ndarray:
        return data
    data = as_pandas(data, name)
    if _hides_missing(type(data)) and str(getattr(data, "dtype", None)) != "category":
        return as_numeric(data, name)
    if isinstance(data, (list, tuple)) and any(map(_hides_missing, {type(item) for item in data})):
        data = [as_array(item, f"{name}[{i}]") for i, item in enumerate(data)]
    return to_array(data, name)


def in_dtype(array, dtype) -> np.ndarray:
    """Return an array in a floating-point dtype; values beyond its range are infinite, without NumPy's warning."""
    with np.errstate(over="ignore"):
        return np.asarray(array, dtype)


def _hides_missing(kind):
    """Return whether NumPy would lose the missing values of items of a type, or their dtype."""
    pd = sys.modules.get("pandas")
    if issubclass(kind, np.ma.MaskedArray) or package_of(kind) is not None:
        return True
    return pd is not None and issubclass(kind, (pd.Series, pd.DataFrame, pd.Index, pd.api.extensions.ExtensionArray))


def _of_pandas(data, name):
    if data.ndim == 1:
        dtypes, whats = [data.dtype], [name]
    else:
        dtypes, whats = list(data.dtypes), [f"column {column!r} of {name}" for column in data.columns]
    if object in dtypes:
        parts = [data] if data.ndim == 1 else [data.iloc[:, column] for column in range(len(dtypes))]
        parts = [
            _of_objects(part.to_numpy(), what) if part.dtype == object else _of_pandas(part, what)
            for part, what in zip(parts, whats, strict=True)
        ]
        return parts[0] if data.ndim == 1 else np.stack(parts, axis=1)
    for dtype, what in zip(dtypes, whats, strict=True):
        _check_numeric(dtype, what)
    if not dtypes or (len(set(dtypes)) == 1 and isinstance(dtypes[0], np.dtype)):
        return data.to_numpy()
    # pandas' nullable and Arrow's types name the NumPy type of their values, sparse ones call it the subtype.
    plain = [np.dtype(getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype))) for dtype in dtypes]
    common = np.result_type(*plain)
    if common.kind == "f":
        return data.to_numpy(dtype=common, na_value=np.nan)
    if data.isna().to_numpy().any():
        return data.to_numpy(dtype=np.float64, na_value=np.nan)
    return data.to_numpy(dtype=common)


def _of_objects(values, what):
    """Return an array of Python's numbers (None, NaN or NA where one is missing) as float64; raise TypeError for anything else."""
    pd = sys.modules.get("pandas")
    missing = [value is None or (pd is not None and value is pd.NA) for value in values.flat]
    for value, absent in zip(values.flat, missing, strict=True):
        if not absent and not isinstance(value, (Real, Decimal, np.bool_)):
            raise TypeError(
                f"{what} must be numeric, got {brief(value)} of type {type(value).__name__} in an array of objects; convert it "
                "(pandas.to_numeric, pandas.get_dummies) or leave it out"
            )
    found = [np.nan if absent else float(value) for value, absent in zip(values.flat, missing, strict=True)]
    return np.array(found, np.float64).reshape(values.shape)


def _check_numeric(dtype, what):
    kind = getattr(dtype, "kind", "O")
    if kind not in "fiub":
        convert = (
            "make it the index of a pandas DataFrame (set_index)"
            if kind == "M"
            else "convert it (pandas.to_numeric, pandas.get_dummies)"
        )
        raise TypeError(f"{what} must be numeric, got dtype {dtype}; {convert} or leave it out")
