"""The script that compares a folder of data sets with their checksums."""

import gzip
import pathlib
import sys

import numpy as np
from data_files import data_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "benchmarks"))
import check_data

sys.path.pop(0)


def test_checksums_are_of_content(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"1,2\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"1,2\n", mtime=5))
    assert check_data.checksum(tmp_path / "a.csv") == check_data.checksum(tmp_path / "a.csv.gz")
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.zeros(2))
    np.savez_compressed(tmp_path / "b.npz", y=np.zeros(2), x=np.arange(3))
    np.savez(tmp_path / "c.npz", x=np.arange(3, dtype=np.int16), y=np.zeros(2))
    found = [check_data.checksum(tmp_path / f"{name}.npz") for name in "abc"]
    assert found[0] == found[1] != found[2]


def test_what_is_missing_or_differs(tmp_path, capsys):
    name, source, expected = check_data.FILES[0]
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text("another text")
    assert check_data.main([str(tmp_path)]) == 1
    first, *others = capsys.readouterr().out.splitlines()
    assert first == f"DIFFERS  {name}   from {source}; sha256 {expected}"
    assert len(others) == len(check_data.FILES) - 1
    assert all(line.startswith("missing  ") for line in others)


def test_the_data_at_hand():
    path = data_file("classic_series", "nile.csv")
    assert check_data.checksum(path) in {expected for _, _, expected in check_data.FILES}
