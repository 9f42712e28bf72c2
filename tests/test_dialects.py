"""CSV files as people write them: separators, decimal points, thousands, encodings, series, times in parts, files that are open."""

import gzip
import io

import numpy as np
import pandas as pd
import pytest

from numbarnn.data import dialects, readers


def written(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "a.csv"
    path.write_text(text, encoding)
    return path


@pytest.mark.parametrize(
    ("text", "expected", "values"),
    [
        ("a,b\n1.5,2\n2,3\n", (",", ".", None), [1.5, 2]),
        ("a;b\n1.5;2\n2;3\n", (";", ".", None), [1.5, 2]),
        ("a\tb\n1,5\t2\n2\t3\n", ("\t", ",", None), [1.5, 2]),
        ("a|b\n1,5|2\n2|3\n", ("|", ",", None), [1.5, 2]),
        ("a b\n1.5  2\n2   3\n", (" ", ".", None), [1.5, 2]),
        ("a;b\n1,5;2\n1.002,25;3\n", (";", ",", "."), [1.5, 1002.25]),
        ("a;b\n1.5;2\n1,002.25;3\n", (";", ".", ","), [1.5, 1002.25]),
        ("a;b\n1,5;2\n1 002,25;3\n", (";", ",", " "), [1.5, 1002.25]),
        ("a;b\n1,5;2\n1\u00a0002,25;3\n", (";", ",", " "), [1.5, 1002.25]),
        ("a;b\n1.5;2\n1'002.25;3\n", (";", ".", "'"), [1.5, 1002.25]),
        ('a,b\n"1,500",2\n"1,002,003",3\n', (",", ".", ","), [1500, 1002003]),
        ("a;b\n1,250;2\n1,5;3\n", (";", ",", None), [1.25, 1.5]),  # the other value says what a comma is
        ("a\n1\n2\n", (",", ".", None), [1, 2]),
        ("a;b\n;2\nn/a;3\n2,5;4\n", (";", ",", None), [np.nan, np.nan, 2.5]),
    ],
)
def test_guesses(tmp_path, text, expected, values):
    how, said = dialects.guessed(written(tmp_path, text))
    assert (how.sep, how.decimal, how.thousands) == expected
    assert len(said) == sum(part != usual for part, usual in zip(expected, (",", ".", None), strict=True))
    frame = readers.read_series(tmp_path / "a.csv", sep=how.sep, decimal=how.decimal, thousands=how.thousands)
    np.testing.assert_array_equal(frame["a"].to_numpy(), values)


def test_what_could_be_either_is_not_guessed(tmp_path):
    path = written(tmp_path, "a;b\n1,234;2\n2,345;3\n")
    assert dialects.guessed(path) == (dialects.Csv(";"), ["separator ';'"])
    with pytest.raises(ValueError, match=r"such as '1,234'; pass decimal=',' .* or thousands=','"):
        readers.read_series(path, sep=";")
    assert readers.read_series(path, sep=";", thousands=",")["a"].tolist() == [1234, 2345]
    assert readers.read_series(path, sep=";", decimal=",")["a"].tolist() == [1.234, 2.345]


def test_what_is_told_is_not_guessed(tmp_path):
    path = written(tmp_path, "a;b\n1,5;2\n", "utf-16")
    assert dialects.guessed(path)[1] == ["encoding utf-16", "separator ';'", "decimal point ','"]
    assert dialects.guessed(path, ";", ",", encoding="utf-16") == (dialects.Csv(";", ",", None, "utf-16"), [])
    with pytest.raises(ValueError, match="is not utf-8 text"):
        dialects.guessed(path, encoding="utf-8")


def test_dates_with_dots_are_no_thousands(tmp_path):
    path = written(tmp_path, "day;a\n01.02.2024;1.234,5\n02.02.2024;2,5\n")
    how, _ = dialects.guessed(path)
    frame = readers.read_series(path, sep=how.sep, decimal=how.decimal, thousands=how.thousands)
    assert frame["a"].tolist() == [1234.5, 2.5]
    assert list(frame.index) == [pd.Timestamp("2024-02-01"), pd.Timestamp("2024-02-02")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"thousands": ",,"}, "thousands must be one character, got ',,'"),
        ({"thousands": "."}, "thousands and decimal must differ, both are '.'"),
        ({"sep": "5"}, "sep must not be a letter, a digit, a sign or a quote, got '5'"),
        ({"decimal": "e"}, "decimal must not be a letter"),
    ],
)
def test_dialects_that_are_none(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        readers.read_series(written(tmp_path, "a,b\n1,2\n"), **options)


# Series, times


SHOPS = "shop,day,load\n007,2024-01-01,1\nb,2024-01-01,2\n007,2024-01-02,3\nb,2024-01-02,4\n"


def test_series(tmp_path):
    frame = readers.read_series(written(tmp_path, SHOPS), id="shop")
    assert frame.index.names == ["shop", "day"]
    assert frame.xs("007")["load"].tolist() == [1, 3]
    assert frame.loc[("b", pd.Timestamp("2024-01-02")), "load"] == 4
    numbers = readers.read_series(written(tmp_path, "key,load\n2,1\n1,2\n2,3\n"), id="key")
    assert list(numbers.index) == [(2, 0), (1, 0), (2, 1)]  # rows of each series are numbered
    with pytest.raises(KeyError, match=r"id must name a column; .* has no 'q', it has key, load"):
        readers.read_series(tmp_path / "a.csv", id="q")
    with pytest.raises(TypeError, match="id must be the name of a column, got 3"):
        readers.read_series(tmp_path / "a.csv", id=3)
    with pytest.raises(ValueError, match=r"row 1 \(line 3 of .*\) has no series in column 'key'"):
        readers.read_series(written(tmp_path, "key,load\n2,1\n,2\n"), id="key")


def test_columns_of_times_are_known_by_name(tmp_path):
    frame = readers.read_series(written(tmp_path, "Year,Month,Day,Hour,x\n2024,1,5,9,1\n2024,1,5,10,2\n"))
    assert frame.to_dict("list") == {"x": [1, 2]}
    assert frame.index.name == "Year Month Day Hour"
    assert frame.index[1] == pd.Timestamp("2024-01-05 10:00")
    series = readers.read_series(written(tmp_path, "k,year,month,x\na,2024,1,1\nb,2024,1,2\n"), id="k")
    assert series.index[1] == ("b", pd.Timestamp("2024-01-01"))
    frame = readers.read_series(written(tmp_path, "date,hour,x\n2024-01-05,9,1\n2024-01-05,10,2\n"), ["date", "hour"])
    assert frame.index[1] == pd.Timestamp("2024-01-05 10:00")
    frame = readers.read_series(written(tmp_path, "x,hour,load\n1,2,3\n2,3,4\n"))  # an hour alone is a column
    assert list(frame.columns) == ["x", "hour", "load"]


def test_an_index_as_pandas_writes_it(tmp_path):
    pd.DataFrame({"x": [1.0, 2.0]}, index=[1821, 1822]).to_csv(tmp_path / "a.csv")
    frame = readers.read_series(tmp_path / "a.csv")
    assert list(frame.columns) == ["x"]
    assert frame.index[0] == pd.Timestamp("1821-01-01")
    pd.DataFrame({"x": [1.0, 2.0, 3.0]}).to_csv(tmp_path / "a.csv")
    frame = readers.read_series(tmp_path / "a.csv")
    assert list(frame.columns) == ["x"]
    assert frame.index.tolist() == [0, 1, 2]


# Files


def test_a_file_that_is_open(tmp_path):
    file = io.BytesIO(SHOPS.encode())
    file.name = "standard input"
    how, _ = dialects.guessed(file)
    assert how == dialects.PLAIN
    assert readers.read_series(file, id="shop").equals(readers.read_series(written(tmp_path, SHOPS), id="shop"))
    broken = io.BytesIO(b"t,x\n2024-01-01,1\nsoon,2\n")
    broken.name = "standard input"
    with pytest.raises(ValueError, match=r"row 1 \(line 3 of standard input\) of column 't', 'soon'"):
        readers.read_series(broken, "t")


def test_compressed_files(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(SHOPS.encode("utf-16")))
    assert dialects.guessed(path)[0].encoding == "utf-16"
    path.write_bytes(gzip.compress(SHOPS.encode() * 1000)[:-30])
    for read in (dialects.guessed, readers.read_series):
        with pytest.raises(ValueError, match=r"a.csv.gz' is not a compressed file, or is cut off or damaged"):
            read(path)
