"""Parquet files: what their footers say, and columns of row groups as arrays. Needs pyarrow, which is imported when it is used."""

import hashlib
import os
from dataclasses import dataclass

import numpy as np

from numbarnn.checks import check_file


@dataclass(frozen=True)
class Group:
    """A row group: its file, its number there, and its rows [first, last) of the rows of all files."""

    path: str
    number: int
    first: int
    last: int


class Files:
    """Row groups of files whose rows, one file after the other, are one table.

    Attributes
    ----------
    groups : list of Group
        Those that have rows.
    rows : int
    code : str
        Hash of the footers: schema, sizes and statistics of all row groups.

    Raises
    ------
    ImportError, FileNotFoundError, IsADirectoryError, ValueError
        If pyarrow is not installed, or there is no such file, or it is not a Parquet file.
    """

    def __init__(self, paths):
        pq = pyarrow().parquet
        self.metadata, self.groups, rows, code = {}, [], 0, hashlib.sha256()
        self._stamps, seen = {}, set()
        if not paths:
            raise ValueError("path must name at least one file, got an empty list")
        for entry in paths:
            check_file(entry, "path")
            path = os.fspath(entry)
            if os.path.realpath(path) in seen:
                raise ValueError(f"path must name every file once, got {path!r} again")
            seen.add(os.path.realpath(path))
            self._stamps[path] = _stamp(path)
            try:
                found = self.metadata[path] = pq.read_metadata(path)
            except pyarrow().ArrowInvalid as error:
                raise ValueError(f"path: {path!r} is not a Parquet file, or is damaged: {error}") from None
            code.update(_footer(path))
            for number in range(found.num_row_groups):
                count = found.row_group(number).num_rows
                if count:
                    self.groups.append(Group(path, number, rows, rows + count))
                rows += count
        self.rows, self.code = rows, code.hexdigest()[:16]

    def check_columns(self, roles, targets):
        """Raise unless all files have the columns of `roles` (their arguments by name), numeric ones but for "id".

        Returns
        -------
        bool
            Whether all targets are integers or booleans.

        Raises
        ------
        KeyError, TypeError, ValueError
            If a file lacks a column, or has two of its name, or it is not numeric.
        """
        types, integers = pyarrow().types, True
        for path, metadata in self.metadata.items():
            schema = metadata.schema.to_arrow_schema()
            for name, role in roles.items():
                if name not in schema.names:
                    known = ", ".join(map(repr, schema.names[:12])) + (", ..." if len(schema.names) > 12 else "")
                    raise KeyError(f"{role} {name!r} is not a column of {path!r}, which has {known}")
                if schema.names.count(name) > 1:
                    raise ValueError(
                        f"column {name!r} of {path!r} must be one, got {schema.names.count(name)} of this name"
                    )
                kind = schema.field(name).type
                if role == "id" and types.is_nested(kind):
                    raise TypeError(
                        f"column {name!r} of {path!r}, the id, must have one value a row, such as text or a number, got {kind}"
                    )
                whole = types.is_integer(kind) or types.is_boolean(kind)
                if role != "id" and not (whole or types.is_floating(kind) or types.is_decimal(kind)):
                    raise TypeError(
                        f"column {name!r} of {path!r} must be numeric, got {kind}; leave it out or convert it"
                    )
                integers &= whole or name not in targets
        return integers

    def series(self, id, separate):
        """Return the first row of every series, and the number of all rows."""
        starts, before, path = {0}, None, None
        for group in self.groups:
            if separate and group.path != path:
                starts.add(group.first)
            path = group.path
            if id is None:
                continue
            column = self.file(group).read_row_group(group.number, columns=[id]).column(0).combine_chunks()
            kind = column.type
            column = column.cast(kind.value_type) if pyarrow().types.is_dictionary(kind) else column
            nulls = pyarrow().compute.sum(column.is_null(nan_is_null=True)).as_py()
            if nulls:
                raise ValueError(f"column {id!r} of {group.path!r} has {nulls} nulls: rows without a series")
            changes = pyarrow().compute.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
            starts.update((np.flatnonzero(changes) + group.first + 1).tolist())
            if before is not None and column[0].as_py() != before:
                starts.add(group.first)
            before = column[-1].as_py()
        return np.array(sorted(starts | {self.rows}), np.int64)

    def file(self, group):
        """Return the open file of a row group; raise ValueError if it is not as it was when its footer was read."""
        if _stamp(group.path) != self._stamps[group.path]:
            raise ValueError(f"{group.path!r} was written anew since it was opened; make the source again")
        return pyarrow().parquet.ParquetFile(group.path, metadata=self.metadata[group.path])


def to_array(tables, columns, dtype):
    """Return columns of Arrow tables as one array (rows, columns); nulls are NaN."""
    kind = pyarrow().from_numpy_dtype(dtype)
    values = np.empty((sum(map(len, tables)), len(columns)), dtype)
    for column, name in enumerate(columns):
        at = 0
        for table in tables:
            own = table.column(name).cast(kind, safe=False)
            values[at : at + len(own), column] = own.to_numpy()
            at += len(own)
    return values


def to_integers(tables, columns):
    """Return columns of Arrow tables as int64 (rows, columns), nulls being 0, and which are null.

    Raises
    ------
    ValueError
        If a value is beyond int64.
    """
    rows = sum(map(len, tables))
    values, nulls = np.empty((rows, len(columns)), np.int64), np.empty((rows, len(columns)), bool)
    for column, name in enumerate(columns):
        at = 0
        for table in tables:
            try:
                own = table.column(name).cast(pyarrow().int64(), safe=True)
            except pyarrow().ArrowInvalid as error:
                raise ValueError(f"target {name!r} has a value beyond int64: {error}") from None
            part = slice(at, at + len(own))
            values[part, column] = own.fill_null(0).to_numpy()
            nulls[part, column] = own.is_null().to_numpy()
            at += len(own)
    return values, nulls


def _stamp(path):
    """Return what changes where a file is written anew."""
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns


def _footer(path):
    """Return the footer of a Parquet file, which ends with its length and four bytes of signature."""
    with open(path, "rb") as file:
        file.seek(-8, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-8 - length, os.SEEK_END)
        return file.read(length)


def pyarrow():
    """Return pyarrow with the modules that are used."""
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError:
        raise ImportError("Parquet files need pyarrow: pip install 'numbarnn[parquet]'") from None
    return pyarrow
