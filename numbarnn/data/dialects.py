"""Dialects of CSV files: separators, decimal points, separators of thousands and encodings, known or guessed."""

import codecs
import csv
import gzip
import os
import re
from dataclasses import dataclass

from numbarnn.checks import brief
from numbarnn.data.encodings import DAMAGED, broken, check_encoding, not_this_encoding, shown

SEPARATORS = ",;\t|"
# Rows that a guess looks at.
FIRST = 1000
# Marks of files that are not UTF-8, and their encodings; that of UTF-32 begins with that of UTF-16.
MARKS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
         (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
SPACES = " \u00a0\u202f"
MISSING = {"", "#n/a", "-nan", "<na>", "n/a", "na", "nan", "none", "null"}  # words that pandas takes for missing values
EXPONENT = r"([eE][+-]?\d+)?"


@dataclass(frozen=True)
class Csv:
    """How a CSV file is written.

    Attributes
    ----------
    sep : str
        One character; a space stands for any spaces and tabs between fields.
    decimal : str
    thousands : str or None
        What stands between groups of three digits; a space is also a no-break space.
    encoding : str
    """

    sep: str = ","
    decimal: str = "."
    thousands: str | None = None
    encoding: str = "utf-8"

    def __post_init__(self):
        for name in ("sep", "decimal", "thousands"):
            value = getattr(self, name)
            if value is None and name == "thousands":
                continue
            if not isinstance(value, str) or len(value) != 1:
                raise ValueError(f"{name} must be one character, got {brief(value)}")
            if value.isalnum() or value in '"+-':
                raise ValueError(f"{name} must not be a letter, a digit, a sign or a quote, got {value!r}")
        if self.sep == self.decimal:
            raise ValueError(f"sep and decimal must differ, both are {self.sep!r}")
        if self.thousands == self.decimal:
            raise ValueError(f"thousands and decimal must differ, both are {self.decimal!r}")
        check_encoding(self.encoding)

    @property
    def separator(self) -> str:
        """What pandas takes for the separator."""
        return r"\s+" if self.sep == " " else self.sep

    @property
    def number(self) -> re.Pattern:
        """What numbers are written like, and the groups of three digits are complete."""
        digits = r"\d+"
        if self.thousands is not None:
            mark = f"[{SPACES}]" if self.thousands == " " else re.escape(self.thousands)
            digits = rf"(\d+|\d{{1,3}}({mark}\d{{3}})+)"
        return re.compile(rf"[+-]?{digits}({re.escape(self.decimal)}\d*)?{EXPONENT}")

    def value(self, text: str) -> float:
        """Return the number that a text is."""
        for mark in () if self.thousands is None else SPACES if self.thousands == " " else self.thousands:
            text = text.replace(mark, "")
        return float(text.replace(self.decimal, "."))

    def fields(self, lines):
        """Yield (number of the last line, fields) of the rows of lines that are not empty."""
        if self.sep == " ":
            yield from ((number, line.split()) for number, line in enumerate(lines, 1) if line.strip())
            return
        reader = csv.reader((line + "\n" for line in lines), delimiter=self.sep)
        for fields in reader:
            if len(fields) > 1 or (fields and fields[0].strip()):
                yield reader.line_num, fields


PLAIN = Csv()


def restarted(path):
    """Return a path as it is, and a file that is open at its beginning."""
    if hasattr(path, "seek"):
        path.seek(0)
    return path


def lines_of(path, encoding: str, count: int | None = None) -> list[str]:
    """Return the lines of a file, or the first ones.

    Raises
    ------
    ValueError
        If it has another encoding.
    """
    import pandas as pd

    # With a separator that no text has, pandas opens and decodes the file as it does for the table, and gives whole lines.
    whole = {"sep": "\x01", "names": ["line"], "index_col": False, "quoting": csv.QUOTE_NONE, "skip_blank_lines": False}
    try:
        read = pd.read_csv(restarted(path), dtype=str, na_filter=False, encoding=encoding, nrows=count, **whole)
    except UnicodeError as error:
        raise not_this_encoding(path, encoding, error) from None
    except pd.errors.EmptyDataError:
        return []
    except DAMAGED as error:
        raise broken(path, error) from None
    except ValueError as error:  # what is not text at all, an archive of several files
        raise ValueError(f"{shown(path)} cannot be read as CSV: {error}") from None
    return read["line"].tolist()


def guessed(path, sep=None, decimal=None, thousands=None, encoding=None) -> tuple[Csv, list[str]]:
    """Return the dialect of a file, and in words what of it was guessed and is not the usual.

    Parameters
    ----------
    path : path-like or file
    sep, decimal, thousands, encoding : str, optional
        What is known of it.
    """
    said = []
    if encoding is None:
        encoding = _marked(path) or "utf-8"
        if encoding != "utf-8":
            said.append(f"encoding {encoding}")
    check_encoding(encoding)
    lines = lines_of(path, encoding, FIRST)
    if sep is None:
        sep = _separator(lines)
        if sep != ",":
            said.append(f"separator {'tab' if sep == chr(9) else 'spaces' if sep == ' ' else repr(sep)}")
    if decimal is None and thousands is None:
        decimal, thousands = _marks(lines, sep)
        said += [f"decimal point {decimal!r}"] * (decimal != ".")
        said += [f"separator of thousands {'space' if thousands == ' ' else repr(thousands)}"] * (thousands is not None)
    elif decimal is None:
        decimal = "," if thousands == "." else "."
    return Csv(sep, decimal, thousands, encoding), said


def _marked(path) -> str | None:
    """Return the encoding that the mark at the beginning of a file says."""
    if hasattr(path, "read"):
        first = restarted(path).read(4)
    else:
        try:
            with (gzip.open if os.fspath(path).endswith(".gz") else open)(path, "rb") as file:
                first = file.read(4)
        except DAMAGED as error:
            raise broken(path, error) from None
    return next((encoding for mark, encoding in MARKS if first.startswith(mark)), None)


def _separator(lines):
    """Return the separator by which the rows have the most fields, as many in all rows as in the header."""
    best = 1, ","
    for sep in (*SEPARATORS, " "):
        try:
            rows = [fields for _, fields in Csv(sep).fields(lines[:100])]
        except csv.Error:
            continue
        if not rows:
            break
        count = len(rows[0])
        same = sum(len(fields) in (count, count + (fields[-1] == "")) for fields in rows)
        if count > best[0] and same >= 0.9 * len(rows):
            best = count, sep
        if sep == "|" and best[0] > 1:
            break  # spaces only where nothing else separates
    return best[1]


def _marks(lines, sep):
    """Return decimal point and separator of thousands by which the most columns are numbers; the usual where two would do."""
    rows = [fields for _, fields in Csv(sep).fields(lines)][1:]
    if not rows:
        return ".", None
    count = max(map(len, rows))
    columns = [[row[k].strip() for row in rows if len(row) > k] for k in range(count)]
    columns = [[text for text in column if text.lower() not in MISSING] for column in columns]
    columns = [column for column in columns if column and not _mostly(column, Csv(sep).number)]
    found = {}
    for decimal, thousands in ((",", None), (".", ","), (",", "."), (",", " "), (".", " "), (".", "'"), (",", "'")):
        if decimal == sep:
            continue
        how = Csv(sep, decimal, thousands)
        numeric = [column for column in columns if _mostly(column, how.number)]
        if numeric:
            values = [how.value(text) for column in numeric for text in column if how.number.fullmatch(text)]
            found[decimal, thousands] = len(numeric), values
    if not found:
        return ".", None
    most = max(size for size, _ in found.values())
    best = [(how, values) for how, (size, values) in found.items() if size == most]
    agree = all(values == best[0][1] for _, values in best)
    return best[0][0] if agree else (".", None)


def _mostly(column, pattern):
    """Return whether most texts of a column match; the others may be words for missing values."""
    return sum(pattern.fullmatch(text) is not None for text in column) >= 0.8 * len(column)
