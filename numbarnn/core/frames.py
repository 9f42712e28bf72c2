"""Tables: pandas objects, those of other packages as pandas objects, and results in the form of the data they come from.

Tables of polars and its kin are read through narwhals (extra ``frames``). A package is imported when one of its objects comes in.
"""

import sys

# Packages whose tables narwhals reads, and how users get a pandas object or array of those of others.
READ = ("polars", "modin", "cudf", "narwhals")
REMEDIES = {
    "pyarrow": "pass {name}.to_pandas()",
    "xarray": "pass {name}.to_pandas(), or {name}.to_numpy() with its axes in order",
    "dask": "pass {name}.compute()",
    "pyspark": "pass {name}.toPandas()",
    "ibis": "pass {name}.to_pandas()",
    "duckdb": "pass {name}.df()",
}


def is_pandas(data) -> str | None:
    """Return "frame" or "series" for a pandas object, else None, without importing pandas."""
    pd = sys.modules.get("pandas")
    if pd is None:
        return None
    return "frame" if isinstance(data, pd.DataFrame) else "series" if isinstance(data, pd.Series) else None


def as_pandas(data, name: str = "data"):
    """Return a table or column of another package as a pandas DataFrame or Series, which numbers its rows; other data as they are.

    Raises
    ------
    TypeError
        If it is not read, naming the argument and what to pass instead.
    """
    package = package_of(type(data))
    if package is None:
        return data
    what = f"{name} is a {type(data).__name__} of {package}"
    if package in REMEDIES:
        raise TypeError(f"{what}, which is not supported; {REMEDIES[package].format(name=name)}")
    try:
        import narwhals as nw
    except ImportError:
        raise TypeError(
            f"{what}, which needs narwhals: pip install 'numbarnn[frames]', or pass {name}.to_pandas()"
        ) from None
    try:
        found = nw.from_native(data, eager_only=True, allow_series=True)
    except TypeError:
        collect = f"{name}.collect()" if hasattr(data, "collect") else "a DataFrame or Series"
        raise TypeError(f"{what}, which has no values in memory; pass {collect}") from None
    import pandas as pd

    if isinstance(found, nw.Series):
        return pd.Series(found.to_numpy(), name=found.name or None)
    return pd.DataFrame({column: found[column].to_numpy() for column in found.columns})


def in_form(values, data, rows=slice(None)):
    """Return values in the form of some rows of the table or column they come from: with its names, and its index if it has one.

    Parameters
    ----------
    values : (rows, columns) or (rows,) array
    data : DataFrame, Series, or anything else, for which values stay an array
    rows : slice
        Of the index.
    """
    kind = is_pandas(data)
    if kind == "frame":
        return type(data)(values, index=data.index[rows], columns=data.columns)
    if kind == "series":
        return type(data)(values, index=data.index[rows], name=data.name)
    if package_of(type(data)) is None:
        return values
    import narwhals as nw

    found, backend = nw.from_native(data, eager_only=True, allow_series=True), nw.get_native_namespace(data)
    if isinstance(found, nw.Series):
        result = nw.new_series(found.name, values, backend=backend)
    else:
        result = nw.from_numpy(values, found.columns, backend=backend)
    return result if isinstance(data, type(result)) else result.to_native()


def package_of(kind: type) -> str | None:
    """Return the package of a type of tables that is not of pandas, None for other types."""
    for base in kind.__mro__:
        package = base.__module__.partition(".")[0]
        if package in READ or package in REMEDIES:
            return package
    return None
