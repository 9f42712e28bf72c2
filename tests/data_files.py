"""Data sets that are not part of the repository: in the folder NUMBARNN_DATA, else in shared/data beside the checkout."""

import os
import pathlib

import pytest

BESIDE = pathlib.Path(__file__).resolve().parent.parent.parent / "shared" / "data"


def data_file(*parts):
    """Return the path of a file, or skip the test with the reason."""
    folder = pathlib.Path(os.environ.get("NUMBARNN_DATA", BESIDE))
    path = folder.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"there is no {'/'.join(parts)} in {folder}; NUMBARNN_DATA names the folder of the data sets")
    return path
