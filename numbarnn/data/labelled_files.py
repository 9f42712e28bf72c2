"""Readers of files with labelled sequences: UEA's ``.ts``, and columns of words and tags."""

import os
import re
from typing import Any

import numpy as np

from numbarnn.checks import brief, to_list
from numbarnn.data.encodings import read_lines

CONLLU = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
# Rows of CoNLL-U that are not syntactic words: "1-2" spans several, "8.1" is an empty node.
_NO_WORD = re.compile(r"\d+[-.]\d+")


def read_ts(path: str | os.PathLike[str], *, encoding: str = "utf-8") -> Any:
    """Read sequences of the UEA and UCR archives: a line for each, channels separated by colons, values by commas, the label last.

    Parameters
    ----------
    path : path-like
        A ``.ts`` file, also compressed (.gz). Lines that begin with # or % are comments.
    encoding : str

    Returns
    -------
    X : list of (time steps, channels) float64 arrays
        A missing value, "?", is NaN.
    y : (n,) array or None
        Labels as str (``@classLabel true``, which may list all), float64 (``@targetLabel true``), or None where the file has none.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or a folder of that name.
    ValueError
        If the file is not a ``.ts`` file, has time stamps, no samples or another encoding, or a line has the wrong form or
        contradicts the header; the message gives the line.
    """
    header, data = {}, False
    samples, labels = [], []
    for number, line in enumerate(read_lines(path, encoding), 1):
        line = line.strip()
        if not line or line.startswith(("#", "%")):
            continue
        if not data:
            if not line.startswith("@"):
                raise ValueError(
                    f"line {number} of {os.fspath(path)!r} comes before @data and is not a @header: {line[:40]!r}"
                )
            name, value = (*line[1:].split(None, 1), "", "")[:2]
            name = name.lower()
            data = name == "data"
            header[name] = value
            if name == "timestamps" and value.lower() == "true":
                raise ValueError(f"{os.fspath(path)!r} has time stamps, which read_ts does not support")
            continue
        kind = next((k for k in ("classlabel", "targetlabel") if header.get(k, "").lower().startswith("true")), None)
        *channels, label = line.split(":") if kind else (*line.split(":"), None)
        if not channels:
            raise ValueError(
                f"line {number} of {os.fspath(path)!r} has no label: the last field after a colon, {line[:40]!r}"
            )
        try:
            rows = [[float(v) if v.strip() != "?" else np.nan for v in channel.split(",")] for channel in channels]
            label = float(label) if kind == "targetlabel" else label and label.strip()
        except ValueError as error:
            raise ValueError(f"line {number} of {os.fspath(path)!r} has values that are not numeric: {error}") from None
        declared = header[kind].split()[1:] if kind == "classlabel" else []
        if declared and label not in declared:
            shown = ", ".join(map(repr, declared[:10])) + (" ..." if len(declared) > 10 else "")
            raise ValueError(
                f"line {number} of {os.fspath(path)!r} has the label {label!r}, which the header's @classLabel does not declare: "
                f"it has {shown}"
            )
        lengths = {len(row) for row in rows}
        expected = int(header.get("dimensions", header.get("dimension", len(rows) or 1)))
        if len(lengths) != 1 or len(rows) != expected:
            raise ValueError(
                f"line {number} of {os.fspath(path)!r} must have {expected} channels of one length, it has {len(rows)} of lengths "
                f"{sorted(lengths)}"
            )
        if header.get("equallength", "").lower() == "true" and samples and lengths != {len(samples[0])}:
            raise ValueError(
                f"line {number} of {os.fspath(path)!r} has {lengths.pop()} time steps, the first sample has {len(samples[0])}, and "
                "the header says @equalLength true"
            )
        samples.append(np.array(rows).T.copy())
        labels.append(label)
    if not data:
        raise ValueError(f"{os.fspath(path)!r} has no @data: it is not a .ts file")
    if not samples:
        raise ValueError(f"{os.fspath(path)!r} has a header and no samples")
    return samples, np.array(labels) if labels[0] is not None else None


def read_conll(
    path: str | os.PathLike[str], columns: Any = (0, 1), *, separator: str | None = "\t", encoding: str = "utf-8"
) -> Any:
    """Read sentences from a file with a word and its annotations on each line and an empty line after each sentence.

    Parameters
    ----------
    path : path-like
        CoNLL-U or any file of columns, also compressed (.gz).
    columns : tuple of int or str
        Columns to read: indices from 0, negative ones from the end, or, of CoNLL-U, names ("form", "upos").
    separator : str or None
        Separator of columns; None: any white space, as in the files of CoNLL 2003.
    encoding : str

    Returns
    -------
    tuple with one list for each of `columns`, of one list of str for each sentence: ``words, tags = read_conll(path)``

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file, or a folder of that name.
    ValueError
        If a line has another number of columns than the first (the message gives the line), or there are no sentences.

    Notes
    -----
    Lines that begin with # and have another number of columns are comments. Of CoNLL-U, ranges of words ("1-2") and empty nodes
    ("8.1") are left out.
    """
    columns = to_list(columns, "columns", "numbers or names of columns")
    if not columns:
        raise ValueError("columns must name at least one column, it names none")
    for position, column in enumerate(columns):
        if isinstance(column, (bool, np.bool_)) or not isinstance(column, (str, int, np.integer)):
            raise TypeError(f"columns[{position}] must be the number or the name of a column, got {brief(column)}")
    if separator is not None and (not isinstance(separator, str) or not separator):
        raise TypeError(f"separator must be a str, or None for any white space, got {brief(separator)}")
    sentences, sentence, count, indices = [], [], None, None
    for number, line in enumerate(read_lines(path, encoding), 1):
        line = line.rstrip("\r\n")
        fields = line.split(separator)
        if not line.strip():
            if sentence:
                sentences.append(sentence)
                sentence = []
            continue
        if line.startswith("#") and len(fields) != count:
            continue
        if count is None:
            count = len(fields)
            indices = [_column_index(column, count) for column in columns]
        if len(fields) != count:
            raise ValueError(f"line {number} of {os.fspath(path)!r} has {len(fields)} columns, the first has {count}")
        if count == len(CONLLU) and _NO_WORD.fullmatch(fields[0]):
            continue
        sentence.append([fields[i] for i in indices])
    if sentence:
        sentences.append(sentence)
    if not sentences:
        raise ValueError(f"{os.fspath(path)!r} has no sentences")
    return tuple([[row[k] for row in sentence] for sentence in sentences] for k in range(len(indices)))


def _column_index(column, count):
    if isinstance(column, str):
        if count != len(CONLLU) or column not in CONLLU:
            raise ValueError(
                f"columns by name are those of CoNLL-U, {', '.join(CONLLU)}, in a file of {len(CONLLU)} columns; got "
                f"{column!r} and {count} columns"
            )
        return CONLLU.index(column)
    if not -count <= column < count:
        raise ValueError(
            f"columns must be those of the file, {column} is out of range for {count}; is the separator right?"
        )
    return column
