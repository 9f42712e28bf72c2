"""Windows of Parquet files larger than memory, read by row groups."""

import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from numbarnn.checks import COUNTED, brief, check_choice, check_dtype, check_flag, check_integer, to_list
from numbarnn.data.batches import Batch, digest
from numbarnn.data.parquet_files import Files, pyarrow, to_array, to_integers
from numbarnn.data.windowing import untouched
from numbarnn.data.windows import Windows
from numbarnn.errors import ShapeError


class ParquetSource:
    """Windows of the rows of Parquet files, which may be larger than memory: row groups are read one at a time.

    The samples are those of `numbarnn.data.make_windows`, also where a window has rows of several row groups or files. A sample
    belongs to the row group of its first row. Needs pyarrow (extra ``parquet``).

    An epoch with ``shuffle=True`` takes the row groups in random order, `mix` of them at a time, and the samples of these in random
    order; batches go on from some row groups to the next. It depends on its generator alone, so a checkpoint resumes it to the bit.
    In memory are `mix` row groups, those of the columns that are used.

    Parameters
    ----------
    path : path-like or list of path-like
        Files of the same columns. Their rows, one file after the other, are one table in order of time; times are not looked at.
    features : list of str
        Columns that a window has, numbers or booleans.
    target : str or list of str, optional
        Columns to predict; None: the features. Targets are int64 where all columns have integers or booleans, else of `dtype`.
    lookback, delay, step, stride, horizon : int
        As of `make_windows`.
    id : str, optional
        Column that says which series a row belongs to. Rows of a series must be consecutive: a new series begins wherever the
        value changes, and no sample has rows of two.
    separate : bool
        Whether a new series begins with every file.
    missing : {"error", "drop"}
        Treatment of nulls and NaN. "error": refuse them. "drop": leave out the samples that touch one; to count those that are
        left, everything is read once.
    scaler, target_scaler : fitted transformer, optional
        Such as `SequenceScaler`: ``transform`` takes and returns (rows, columns), those of the features or of the target.
    dtype : {"float32", "float64"}
        Of what is in memory.
    batch_size : int
    shuffle : bool
        See above. False: in the order of the rows.
    mix : int
        Row groups that are mixed.

    Attributes
    ----------
    items : int
        Samples an epoch.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    KeyError
        If a file has no such column.
    ShapeError
        If no series is long enough for a sample.
    FileNotFoundError, IsADirectoryError, TypeError, ValueError
        If there is no such file, it is not a Parquet file, a column is not numeric, or an argument has a wrong type or value.

    Examples
    --------
    ::

        source = ParquetSource(sorted(glob("pump/*.parquet")), ["pressure", "flow"], "flow", lookback=120, delay=6, batch_size=256)
        model.fit(numbarnn.data.Prefetch(source), loss="mse", epochs=1)
    """

    unit = "samples"

    def __init__(
        self,
        path: Any,
        features: Sequence[str],
        target: Any = None,
        *,
        lookback: int,
        delay: int = 1,
        step: int = 1,
        stride: int = 1,
        horizon: int = 1,
        id: str | None = None,
        separate: bool = False,
        missing: str = "error",
        scaler: Any = None,
        target_scaler: Any = None,
        dtype: str = "float32",
        batch_size: int = 32,
        shuffle: bool = True,
        mix: int = 4,
    ):
        options = {"lookback": lookback, "delay": delay, "step": step, "stride": stride, "horizon": horizon}
        self.window = {n: check_integer(value, n, int(n != "delay"), COUNTED) for n, value in options.items()}
        self.batch_size = check_integer(batch_size, "batch_size", 1, math.inf)
        self.mix = check_integer(mix, "mix", 1, math.inf)
        check_choice(missing, "missing", ("error", "drop"))
        for name, value in (("separate", separate), ("shuffle", shuffle)):
            check_flag("ParquetSource", name, value)
        for name, value in (("scaler", scaler), ("target_scaler", target_scaler)):
            if value is not None and not hasattr(value, "transform"):
                raise TypeError(f"{name} must have transform, as numbarnn.data.SequenceScaler, got {brief(value)}")
        self.missing, self.shuffle, self.dtype = missing, bool(shuffle), check_dtype(dtype)
        self.scaler, self.target_scaler = scaler, target_scaler
        paths = [path] if isinstance(path, (str, os.PathLike)) else to_list(path, "path", "paths")
        self.features = _names(features, "features")
        self.targets = (
            self.features if target is None else _names([target] if isinstance(target, str) else target, "target")
        )
        self._files = Files(paths)
        if id is not None and not isinstance(id, str):
            raise TypeError(f"id must be the name of a column, got {brief(id)}")
        roles = {id: "id"} | dict.fromkeys(self.targets, "target") | dict.fromkeys(self.features, "features")
        roles.pop(None, None)
        self.integers = self._files.check_columns(roles, self.targets)
        self.integers &= target_scaler is None
        self._starts = self._files.series(id, separate)
        self._samples: list[int] | None = None  # of each row group, those with missing values apart
        self._checked = False
        if self._count() == 0:
            rows = int(np.diff(self._starts).max(initial=0))
            order = "" if id is None else f"; rows of a series must be consecutive: sort them by {id!r} first"
            raise ShapeError(
                f"path has {rows} rows of the longest series; lookback {lookback}, delay {delay} and horizon {horizon} need at "
                f"least {self._span}{order}"
            )

    # Samples

    @property
    def _span(self):
        """Rows from the first one of a sample to its last target."""
        return self.window["lookback"] + self.window["delay"] + self.window["horizon"] - 1

    def _firsts(self, first, last):
        """Return the first rows of the samples that begin in the rows [first, last), missing values or not."""
        stride, found = self.window["stride"], [np.zeros(0, np.int64)]
        near = int(np.searchsorted(self._starts, first, side="right")) - 1
        for at in range(near, len(self._starts) - 1):
            start, end = int(self._starts[at]), int(self._starts[at + 1])
            if start >= last:
                break
            low = start + max(0, -(-(first - start) // stride)) * stride
            found.append(np.arange(low, min(last, end - self._span + 1), stride))
        return np.concatenate(found)

    def _count(self):
        """Return the number of all samples, missing values or not."""
        lengths = np.diff(self._starts)
        return int(np.maximum(0, (lengths - self._span) // self.window["stride"] + 1).sum())

    @property
    def items(self) -> int:
        """Samples an epoch."""
        if self.missing == "error":
            return self._count()
        if self._samples is None:
            self._samples = [len(self._read(group)) for group in self._files.groups]
        return sum(self._samples)

    def __len__(self) -> int:
        return -(-self.items // self.batch_size)

    def __repr__(self) -> str:
        return f"<ParquetSource of {self._files.rows} rows in {len(self._files.groups)} row groups>"

    def _read(self, group) -> Windows:
        """Return the samples of a row group; raise ValueError for missing and infinite values."""
        tables = self._tables(group)
        x = to_array(tables, self.features, self.dtype if self.scaler is None else np.float64)
        if self.integers:
            y, nulls = to_integers(tables, self.targets)
        else:
            y, nulls = to_array(tables, self.targets, self.dtype if self.target_scaler is None else np.float64), None
        ends = self._firsts(group.first, group.last) - group.first + self.window["lookback"] - 1
        bad = self._bad(x, tables, self.features, group), self._bad(y, tables, self.targets, group, nulls)
        x, y = _scaled(self.scaler, x, bad[0], "scaler"), _scaled(self.target_scaler, y, bad[1], "target_scaler")
        if any(rows is not None for rows in bad):
            options = {name: self.window[name] for name in ("lookback", "delay", "step", "horizon")}
            ends = ends[untouched(ends, *bad, **options)]
        names = tuple(self.features), tuple(self.targets)
        x, y = (values if values.dtype.kind == "i" else values.astype(self.dtype, copy=False) for values in (x, y))
        return Windows(
            np.ascontiguousarray(x), y, ends, **self.window, index=None, feature_names=names[0], target_names=names[1]
        )

    def _tables(self, group):
        """Return the columns of a row group and of the rows after it that its samples reach, as Arrow tables."""
        columns = list(dict.fromkeys([*self.features, *self.targets]))
        groups = self._files.groups
        tables = [self._files.file(group).read_row_group(group.number, columns=columns)]
        lacking = min(self._span - 1, self._files.rows - group.last)
        for other in groups[groups.index(group) + 1 :]:
            if lacking <= 0:
                break
            for batch in self._files.file(other).iter_batches(lacking, [other.number], columns):
                tables.append(pyarrow().Table.from_batches([batch]).slice(0, lacking))
                lacking -= len(tables[-1])
                if lacking == 0:
                    break
        return tables

    def _bad(self, values, tables, names, group, nulls=None):
        """Return which rows have missing values, None where there are none; raise ValueError for those that are refused."""
        finite = np.isfinite(values) if nulls is None else ~nulls
        if finite.all():
            return None
        wrong = ~finite if self.missing == "error" else np.isinf(values)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            owner = next(g for g in reversed(self._files.groups) if g.first <= group.first + row)
            at = group.first + row - next(g.first for g in self._files.groups if g.path == owner.path)
            what, advice = "a missing value", "pass missing='drop', or clean the data first"
            if np.isinf(values[row, column]):
                what, advice = "an infinite value", "clean the data first"
                if np.isfinite(to_array(tables, [names[column]], np.float64)[row, 0]):
                    what, advice = f"a value that is infinite in {self.dtype.name}", "pass dtype='float64'"
            raise ValueError(f"column {names[column]!r} of {owner.path!r} has {what} in row {at}; {advice}")
        return ~finite.all(axis=1)

    # A source

    def check(self) -> None:
        """Read everything once, row group by row group.

        Raises
        ------
        ShapeError
            If every sample touches a missing value.
        ValueError
            If there are missing values under ``missing="error"``, or infinite values, also such as are infinite in `dtype`.
        """
        if not self._checked:
            self._samples = [len(self._read(group)) for group in self._files.groups]
            if not any(self._samples):
                raise ShapeError(f"every one of {self._count()} samples touches a missing value; clean the data first")
            self._checked = True

    def fingerprint(self) -> dict[str, Any]:
        """Return what determines the batches: footers of the files (sizes and statistics of all row groups), and settings."""
        scalers = {}
        for name in ("scaler", "target_scaler"):
            own, columns = getattr(self, name), self.features if name == "scaler" else self.targets
            known = None if own is None else {"type": type(own).__name__, "transform": _probed(own, len(columns))}
            scalers[name] = known
        names = ("features", "targets", "missing", "batch_size", "shuffle", "mix")
        options = {name: getattr(self, name) for name in names}
        series = digest("series", self._starts)
        return {
            "files": self._files.code,
            "series": series,
            "dtype": self.dtype.name,
            **self.window,
            **options,
            **scalers,
        }

    def batches(self, generator: np.random.Generator) -> Iterator[Batch]:
        """Yield one epoch.

        Parameters
        ----------
        generator : numpy.random.Generator
            Draws the orders.

        Yields
        ------
        Batch
        """
        groups = self._files.groups
        order = generator.permutation(len(groups)) if self.shuffle else np.arange(len(groups))
        size, rest = (self.mix if self.shuffle else 1), None
        for first in range(0, len(order), size):
            pool = [self._read(groups[index]) for index in order[first : first + size]]
            count = sum(map(len, pool))
            samples = generator.permutation(count) if self.shuffle else np.arange(count)
            at = 0
            while at < count:
                lacking = self.batch_size - (0 if rest is None else len(rest[0]))
                part = _gathered(pool, samples[at : at + lacking])
                at += lacking
                rest = part if rest is None else tuple(np.concatenate(pair) for pair in zip(rest, part, strict=True))
                if len(rest[0]) == self.batch_size:
                    yield Batch(*rest)
                    rest = None
            del pool  # before the next is read
        if rest is not None:
            yield Batch(*rest)


def _scaled(scaler, values, bad, name):
    """Return values (rows, columns) under a scaler, None or one that sees no row with missing values; those rows are 0."""
    given = values if bad is None else values[~bad]
    if scaler is None or not len(given):
        return values
    found = np.asarray(scaler.transform(given))
    if found.shape != given.shape:
        raise ShapeError(f"{name}.transform must return shape {given.shape}, got {found.shape}")
    if bad is None:
        return found
    scaled = np.zeros(values.shape, found.dtype)  # no sample touches the rows that stay so
    scaled[~bad] = found
    return scaled


def _probed(scaler, columns):
    """Return what a scaler does, whatever it is made of, by what becomes of some rows."""
    rows = np.outer([0, 1, -1, 0.5, 3, -20, 1e3], np.ones(columns)) * np.linspace(1, 2, columns)
    code = hashlib.sha256()
    with np.errstate(all="ignore"):
        for row in rows:
            try:
                found = np.asarray(scaler.transform(row[None]), np.float64).tobytes()
            except ValueError as error:  # of one that takes positive values alone
                found = type(error).__name__.encode()
            code.update(found)
    return code.hexdigest()[:16]


def _gathered(pool, samples):
    """Return x and y of samples of several windows, which count on from one to the next."""
    if len(pool) == 1:
        return pool[0].gather(samples)
    edges = np.cumsum([0, *map(len, pool)])
    x = np.empty((len(samples), *pool[0].shape[1:]), pool[0].dtype)
    y = None
    for windows, low, high in zip(pool, edges[:-1], edges[1:], strict=True):
        own = np.flatnonzero((samples >= low) & (samples < high))
        values, targets = windows.gather(samples[own] - low)
        y = np.empty((len(samples), targets.shape[1]), targets.dtype) if y is None else y
        x[own], y[own] = values, targets
    return x, y


def _names(columns, name):
    """Return names of columns as a list; raise TypeError or ValueError unless they are some, each once."""
    found = to_list(columns, name, "names of columns")
    for index, column in enumerate(found):
        if not isinstance(column, str):
            raise TypeError(f"{name}[{index}] must be the name of a column, got {brief(column)}")
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{name} must name at least one column, and each once, got {brief(found)}")
    return found
