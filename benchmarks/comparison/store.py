"""Raw samples on disk: lines of JSON, a header for each run and a line for each row, written as soon as it is measured."""

import json
import os
import pathlib
from typing import Any

from comparison import machine


class Store:
    """Samples of one machine and day, appended to one file; rows count by their last measurement.

    Parameters
    ----------
    path : Path
    about : dict
        `machine.fingerprint` of this run.
    settings : dict
        How rows are measured; only rows with the same are taken over by `measured`.
    """

    def __init__(self, path: pathlib.Path, about: dict, settings: dict):
        self.path, self.header = path, {"run": about, "settings": settings}
        self.started = False

    def measured(self) -> dict[str, dict[str, Any]]:
        """Return the rows that runs with the same machine, software and settings have measured, by key."""
        found: dict[str, dict[str, Any]] = {}
        for header, row in rows_of(self.path):
            if machine.same(header["run"], self.header["run"]) and header["settings"] == self.header["settings"]:
                found[row["key"]] = row
        return found

    def add(self, row: dict) -> None:
        """Append a row; it is on the disk when this returns."""
        lines = [] if self.started else [self.header]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab+") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 1, 0))
            last = file.read(1)
            if last not in (b"", b"\n"):  # a line that a killed run left behind unfinished
                file.write(b"\n")
            file.writelines(json.dumps(line).encode() + b"\n" for line in [*lines, row])
            file.flush()
            os.fsync(file.fileno())
        self.started = True


def rows_of(path: pathlib.Path) -> list[tuple[dict, dict]]:
    """Return the rows of a file with the headers of their runs; lines that are not whole are left out."""
    found, header = [], None
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if "run" in line:
            header = line
        elif header is not None:
            found.append((header, line))
    return found


def last_rows(path: pathlib.Path) -> tuple[dict, list[dict]]:
    """Return the fingerprint of the last run of a file and, of all its runs with that one, the last row of each key."""
    found: dict[str, dict] = {}
    both = rows_of(path)
    about = both[-1][0]["run"] if both else {}
    for header, row in both:
        if machine.same(header["run"], about):
            found.pop(row["key"], None)
            found[row["key"]] = row
    return about, list(found.values())
