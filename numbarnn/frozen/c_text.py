"""Names, comments and arrays in C."""

import re

import numpy as np

KEYWORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register restrict "
    "return short signed sizeof static struct switch typedef union unsigned void volatile while".split()
)

# Values in a line of an array.
PER_LINE = 8


def identifier(name: str, taken: set[str]) -> str:
    """Return a name as an identifier that is neither a keyword nor taken, and take it."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name).lstrip("_") or "x"
    plain = f"n{plain}" if plain[0].isdigit() else plain
    found, number = plain, 1
    while found in taken or found in KEYWORDS:
        number += 1
        found = f"{plain}_{number}"
    taken.add(found)
    return found


def comment(text: str) -> str:
    """Return a text as a comment, which it cannot end."""
    text = re.sub(r"\?(?=\?)", "? ", text.replace("*/", "* /").replace("/*", "/ *"))  # no trigraphs
    lines = text.rstrip().split("\n")
    return "/* " + "\n   ".join(line.rstrip().rstrip("\\") for line in lines) + " */"


def string(text: str) -> str:
    """Return a string literal."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def hexadecimal(values: np.ndarray) -> list[str]:
    """Return values as hexadecimal constants, which every compiler reads to the bit."""
    # Of the 13 digits that Python writes the last seven are zeros in float32.
    zeros, suffix = ("0000000p", "F") if values.dtype == np.float32 else ("p", "")
    return [value.hex().replace(zeros, "p") + suffix for value in values.ravel().tolist()]


def array(kind: str, name: str, values: list[str]) -> str:
    """Return the definition of a constant array."""
    lines = [", ".join(values[at : at + PER_LINE]) for at in range(0, len(values), PER_LINE)]
    return f"static const {kind} {name}[{len(values)}] = {{\n    " + ",\n    ".join(lines) + "\n};"
