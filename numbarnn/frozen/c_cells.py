"""Cells in C: a loop over the units around the cell's own equations, translated from its scalar functions."""

import inspect
import re
from dataclasses import dataclass

import numpy as np

from numbarnn.cells.contract import has_inner
from numbarnn.frozen.c_expressions import UNARY, Expression, kind_of, print_statements
from numbarnn.frozen.c_math import KNOWN, Functions
from numbarnn.frozen.c_text import comment, identifier
from numbarnn.frozen.c_translate import Translator

# Names that the loops have besides those of the cell's values.
_OWN = {"units", "j"}
_PREFIXES = {"preactivations": "a", "states": "s", "diagonal": "w", "inner": "i"}


@dataclass(frozen=True)
class CellFunction:
    """A function of C over all units of a layer.

    Attributes
    ----------
    name : str
    reads : list of (role, index)
        The arrays that it takes, in order: "preactivations", "states", "diagonal" or "inner" of the cell, and which.
    text : str
        Its definition.
    """

    name: str
    reads: list[tuple[str, int]]
    text: str

    def call(self, units: int, arrays: dict[str, list[str]]) -> str:
        """Return a call for arrays by role."""
        return f"{self.name}({', '.join([str(units), *(arrays[role][index] for role, index in self.reads)])});"


@dataclass(frozen=True)
class Cell:
    """The functions of a cell: that of the inner value, if it has a second recurrent product, and that of the next states."""

    inner: CellFunction | None
    forward: CellFunction


def translate_cell(cell, kind: str, name: str, inner_name: str, functions: Functions) -> Cell:
    """Return the functions of a cell's record.

    Parameters
    ----------
    cell : NamedTuple
        A record of `numbarnn.cells`.
    kind : {"float", "double"}
        The type of values.
    name, inner_name : str
        What the functions are called.
    functions : Functions
        Gets those that the equations call.

    Raises
    ------
    TypeError
        If its equations cannot be written in C; the message names the cell and the line.
    """
    inner = _function(cell, kind, inner_name, functions, "inner_forward", "inner") if has_inner(cell) else None
    return Cell(inner, _function(cell, kind, name, functions, "forward", "states"))


def _function(cell, kind, name, functions, equation, result):
    """Return the function that makes the values `result` by one of the cell's functions."""
    leaves, symbols, arrays, taken = {}, {}, {}, set(_OWN)
    for role in ("preactivations", "states", "diagonal", "inner"):
        for index, own in enumerate(getattr(cell, role, ())):
            arrays[role, index] = identifier(f"{_PREFIXES[role]}_{own}", taken)
    for role in ("preactivations", "states", "diagonal"):
        symbols[role] = []
        for index, own in enumerate(getattr(cell, role)):
            # States are overwritten, so they are read before.
            hint = f"{own}_before" if role == "states" else None
            leaf = Expression(f"{arrays[role, index]}[j]", (), kind, hint=hint)
            leaves[leaf.number] = role, index
            symbols[role].append(leaf)
    owner = f"{type(cell).__name__}.{equation}"
    arguments = (tuple(symbols[role]) for role in ("preactivations", "states", "diagonal"))
    found, _ = Translator(KNOWN, owner).call(getattr(type(cell), equation), cell, *arguments)
    found = [_of_kind(value, kind) for value in found]
    lines, texts, calls = print_statements(found, taken)
    functions.need(calls)
    used = _leaves(found)
    written = [(result, index) for index in range(len(found))]
    reads = [key for number, key in leaves.items() if number in used or key in written]
    reads += [key for key in written if key not in reads]
    lines += [f"{arrays[key]}[j] = {text};" for key, text in zip(written, texts, strict=True)]
    declared = [f"{'' if key in written else 'const '}{kind} *restrict {arrays[key]}" for key in reads]
    body = "\n        ".join(lines)
    head = f"static void {name}({', '.join(['size_t units', *declared])})"
    text = f"{comment(_about(cell, equation))}\n{head}\n{{\n    for (size_t j = 0; j < units; j++) {{\n        {body}\n    }}\n}}"
    return CellFunction(name, reads, text)


def _of_kind(value, kind):
    """Return a result in the type of the states."""
    if not isinstance(value, Expression):
        return np.dtype("float32" if kind == "float" else "float64").type(value)
    return value if kind_of(value) == kind else Expression(f"({kind}){{}}", (value,), kind, UNARY)


def _leaves(values):
    """Return the numbers of all expressions that values are made of."""
    found, todo = set(), [value for value in values if isinstance(value, Expression)]
    while todo:
        value = todo.pop()
        if value.number not in found:
            found.add(value.number)
            todo += [operand for operand in value.operands if isinstance(operand, Expression)]
    return found


def _about(cell, equation):
    """Return the equations in a cell's docstring, and its options."""
    text = inspect.getdoc(type(cell)) or ""
    block = re.search(r"::\n\n((?: +.*\n|\n)+)", text + "\n")
    lines = [line for line in (block.group(1) if block else "").rstrip().split("\n") if line]
    first = text.split("\n")[0] or type(cell).__name__
    if equation == "inner_forward":
        first = f"What the second recurrent product of {type(cell).__name__} reads."
    elif type(cell).__name__ not in first:
        first = f"{type(cell).__name__}: {first}"
    options = ", ".join(f"{name} = {value}" for name, value in cell._asdict().items())
    lines = lines if equation == "forward" else []
    return "\n".join([first, *lines, *([f"Options: {options}."] if options and equation == "forward" else [])])
