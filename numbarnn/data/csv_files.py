"""CSV files as DataFrames: what pandas would shift, cut, or take for text is refused, with the line."""

import csv
import itertools
import re
import warnings

from numbarnn.data.dialects import PLAIN, lines_of, restarted
from numbarnn.data.encodings import BOM, DAMAGED, broken, not_this_encoding, shown
from numbarnn.data.times import FIRST

DECIMAL_COMMA = r"[+-]?\d+,\d+([eE][+-]?\d+)?"


def read_csv(path, how=PLAIN, text=()):
    """Return a CSV file as a DataFrame, some columns as text; refuse what pandas would shift, cut, or take for text.

    Rows with more fields than the header are refused, decimal commas that were not announced, and another separator.
    """
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            # False: the first column is a column also where rows have a field too many.
            frame = pd.read_csv(
                restarted(path), index_col=False, low_memory=False, sep=how.separator, decimal=how.decimal,
                encoding=how.encoding, dtype=dict.fromkeys(text, str),
            )  # fmt: skip
        except FileNotFoundError:
            raise FileNotFoundError(f"path: there is no file {shown(path)}") from None
        except IsADirectoryError:
            raise IsADirectoryError(f"path: {shown(path)} is a folder, not a file") from None
        except UnicodeError as error:
            raise not_this_encoding(path, how.encoding, error) from None
        except pd.errors.EmptyDataError:
            raise ValueError(f"{shown(path)} is empty") from None
        except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
            raise ValueError(_too_many_fields(path, how) or f"{shown(path)} cannot be read as CSV: {error}") from None
        except DAMAGED as error:
            raise broken(path, error) from None
        except ValueError as error:  # an archive of several files, a number beyond all limits
            raise ValueError(f"{shown(path)} cannot be read as CSV: {error}") from None
    other = _other_separator(frame.columns, how)
    if other is not None and len(frame) and other in str(frame.iloc[0, 0]):
        raise ValueError(_says_separator(path, how, other))
    frame = frame.rename(columns=lambda name: name.removeprefix(BOM))
    last = frame.columns[-1]
    if last == f"Unnamed: {frame.shape[1] - 1}" and frame[last].isna().all():
        frame = frame.drop(columns=[last])
    for name in frame.columns:
        known = () if pd.api.types.is_numeric_dtype(frame[name]) or name in text else frame[name].dropna()
        if how.thousands is not None and len(known) and all(how.number.fullmatch(str(v).strip()) for v in known):
            frame[name] = (
                frame[name].map(lambda value: how.value(str(value).strip()), na_action="ignore").astype("float64")
            )
            continue
        commas = [value for value in known[:FIRST] if re.fullmatch(DECIMAL_COMMA, str(value).strip())]
        if how.decimal != "," and len(commas) * 2 > min(len(known), FIRST):
            raise ValueError(
                f"column {name!r} of {shown(path)} has values with commas, such as {commas[0]!r}; pass decimal=',' if these "
                "are decimal commas, or thousands=',' if they separate thousands"
            )
        if len(known) and all(isinstance(value, bool) for value in known):
            frame[name] = frame[name].astype("boolean").astype("float64")
    return frame


def _other_separator(columns, how):
    """Return the separator of a header that has one field with it, or None."""
    return (
        next((sep for sep in ";\t|," if sep != how.sep and sep in str(columns[0])), None) if len(columns) == 1 else None
    )


def _says_separator(path, how, other):
    return (
        f"the header of {shown(path)} is one field where {how.sep!r} separates, and has {other!r} in it; if that separates "
        f"columns, pass sep={other!r}"
    )


def _too_many_fields(path, how):
    """Return what is wrong with the first row that has more fields than the header, or None."""
    try:
        (_, header), *rows = _records(path, how)
    except csv.Error:  # a field beyond all limits, such as one whose quotes do not end
        return None
    other = _other_separator(header, how)
    if other is not None:
        return _says_separator(path, how, other)
    long = [(line, fields) for line, fields in rows if len(fields) > len(header)]
    if not long:
        return None
    # A row that would lose values is reported before one whose extra fields are empty.
    line, fields = next((row for row in long if any(map(str.strip, row[1][len(header) :]))), long[0])
    return (
        f"line {line} of {shown(path)} has {len(fields)} fields, the header has {len(header)}; every column needs a name in "
        "the header, and a value with the separator quotes"
    )


def line_of(path, how, row):
    """Return the line of the file on which a row ends."""
    return next(itertools.islice(_records(path, how), row + 1, None))[0]


def _records(path, how):
    """Return an iterator of (line, fields) of the header and the rows, for messages: pandas does not say on which line a row is."""
    return how.fields(lines_of(path, how.encoding))
