"""The contract of cells: the registry, and the checks of a class that is registered (`numbarnn.cells` describes it)."""

import importlib
import inspect
import math
import operator
from typing import TypeVar

import numpy as np

from numbarnn.checks import brief

CELLS = {}
# Cells of the package whose module, given here, is imported where a model names one: nothing else compiles or lists them.
OPTIONAL = dict.fromkeys(
    ("OnnxRNN", "OnnxLSTM", "OnnxPeepholeLSTM", "OnnxGRU", "OnnxResetBeforeGRU"), "numbarnn.cells.onnx"
)

_NAMES = ("gates", "preactivations", "states", "saved", "diagonal")
_ARGUMENTS = {
    "forward": ("cell", "preactivations", "states", "diagonal"),
    "backward": ("cell", "saved", "states", "diagonal", "after", "gradients"),
}
_INNER_NAMES = ("inner", "inner_saved")
_INNER_ARGUMENTS = {
    "inner_forward": ("cell", "preactivations", "states", "diagonal"),
    "inner_backward": ("cell", "inner_saved", "states", "diagonal", "dinner"),
}


_C = TypeVar("_C", bound=type)


def register(cell_class: _C) -> _C:
    """Check a cell class against the contract and enter it into `CELLS` by its class name; usable as a decorator.

    Saved models name their cells; `numbarnn.load` finds them here.

    Parameters
    ----------
    cell_class : type
        A `typing.NamedTuple` class as described in `numbarnn.cells`, whose fields have defaults.

    Returns
    -------
    type
        `cell_class`, unchanged.

    Raises
    ------
    TypeError
        If it is not a NamedTuple class, or lacks a name or function, or a function takes or returns the wrong number of
        values.
    ValueError
        If pre-activations of one product are not adjacent, or another class has the name, of `OPTIONAL` too.
    """
    check(cell_class)
    name = cell_class.__name__
    if OPTIONAL.get(name, cell_class.__module__) != cell_class.__module__:
        raise ValueError(f"the name {name!r} is that of a cell of {OPTIONAL[name]}; give this class another name")
    known = CELLS.get(name)
    if known is not None and (known.__module__, known.__qualname__) != (cell_class.__module__, cell_class.__qualname__):
        raise ValueError(
            f"a cell named {name!r} is registered already, by {known.__module__}; give this class another name"
        )
    CELLS[name] = cell_class
    return cell_class


def cell_record(config: dict):
    """Return the record of ``{"type": class name, **options}``.

    Raises
    ------
    ValueError
        If no cell of that name is registered.
    """
    options = dict(config)
    name = options.pop("type")
    if name in OPTIONAL and name not in CELLS:
        register(getattr(importlib.import_module(OPTIONAL[name]), name))
    if name not in CELLS:
        raise ValueError(
            f"no cell named {name!r} is registered; import the module that defines it and decorate the class with "
            "numbarnn.cells.register"
        )
    return CELLS[name](**options)


def has_inner(cell) -> bool:
    """Return whether a cell has a second recurrent product."""
    return bool(getattr(cell, "inner", ()))


def inner_rows(cell) -> dict:
    """Return pre-activation -> gate of the second product; empty where there is none."""
    return cell.from_inner if has_inner(cell) else {}


def used_hidden_rows(cell) -> dict:
    """Return pre-activation -> gate of all rows of ``weight_hh`` that are used, whatever they are multiplied with."""
    return {**cell.from_hidden, **inner_rows(cell)}


def typed(record):
    """Return a record whose options have the types of their defaults: another type would compile the drivers once more.

    Raises
    ------
    TypeError
        If an option is not a number, or not an integer where its default is one.
    ValueError
        If one is NaN or infinite, an integer of more than 64 bits, or what the function `check_options` of the cell refuses.
    """
    convert = {bool: bool, int: lambda value: int(operator.index(value)), float: float}
    options = {}
    for name, default in record._field_defaults.items():
        value = getattr(record, name)
        try:
            if isinstance(value, str) != isinstance(default, str):  # Python reads numbers in strings
                raise TypeError
            options[name] = convert.get(type(default), lambda value: value)(value)
        except (OverflowError, TypeError, ValueError):
            raise TypeError(
                f"option {name} of {type(record).__name__} must be of its default's type, "
                f"{type(default).__name__}, got {brief(value)}"
            ) from None
        found = options[name]
        whole, real = type(found) is int, isinstance(found, float)
        if (whole and not -(2**63) <= found < 2**63) or (real and not math.isfinite(found)):
            raise ValueError(
                f"option {name} of {type(record).__name__} must be a finite number of 64 bits, got {brief(value)}"
            )
    record = record._replace(**options)
    if hasattr(record, "check_options"):
        record.check_options()
    return record


def check(cell_class):
    """Raise TypeError or ValueError where a class breaks the contract of this module; see `register`."""
    name = getattr(cell_class, "__name__", repr(cell_class))
    if not (isinstance(cell_class, type) and issubclass(cell_class, tuple) and hasattr(cell_class, "_fields")):
        raise TypeError(f"a cell must be a typing.NamedTuple class, got {brief(cell_class)}")
    two = has_inner(cell_class)
    for attribute in (*_NAMES, *_INNER_NAMES) if two else _NAMES:
        names = getattr(cell_class, attribute, None)
        if not isinstance(names, tuple) or not all(isinstance(n, str) for n in names):
            raise TypeError(f"{name}.{attribute} must be a tuple of names, got {brief(names)}")
    for attribute in ("from_input", "from_hidden", "from_inner") if two else ("from_input", "from_hidden"):
        _check_product(cell_class, attribute)
    if not cell_class.states:
        raise TypeError(f"{name}.states is empty; a cell needs one state, its output")
    if two:
        if len(cell_class.inner) != 1:
            raise ValueError(f"{name}.inner must name one value, got {cell_class.inner}")
        outer, inner = cell_class.from_hidden, cell_class.from_inner
        if not inner or set(outer) & set(inner) or set(outer.values()) & set(inner.values()):
            raise ValueError(
                f"{name}.from_inner must name pre-activations and gates that from_hidden does not, got {inner} beside {outer}"
            )
    if getattr(cell_class, "diagonal_init", "unit") not in ("unit", "bias"):
        raise ValueError(f"{name}.diagonal_init must be 'unit' or 'bias', got {brief(cell_class.diagonal_init)}")
    for function, arguments in (_ARGUMENTS | _INNER_ARGUMENTS if two else _ARGUMENTS).items():
        found = getattr(cell_class, function, None)
        if not inspect.isfunction(found) or tuple(inspect.signature(found).parameters) != arguments:
            raise TypeError(f"{name}.{function} must be a static function of ({', '.join(arguments)})")
    _check_results(cell_class)


def _check_product(cell_class, attribute):
    """Raise where the pre-activations of one product break the contract."""
    name = cell_class.__name__
    rows = getattr(cell_class, attribute, None)
    if not isinstance(rows, dict):
        raise TypeError(f"{name}.{attribute} must be a dict of pre-activation -> gate, got {brief(rows)}")
    unknown = [p for p in rows if p not in cell_class.preactivations] + [
        g for g in rows.values() if g not in cell_class.gates
    ]
    if unknown:
        raise ValueError(f"{name}.{attribute} names {unknown}, which are neither its pre-activations nor its gates")
    if len(set(rows.values())) < len(rows):
        raise ValueError(f"{name}.{attribute} must name every gate once, got {rows}")
    indices = [cell_class.preactivations.index(p) for p in rows]
    if indices and indices != list(range(indices[0], indices[0] + len(indices))):
        raise ValueError(f"{name}.{attribute} must name adjacent pre-activations in their order, got {list(rows)}")


def _check_results(cell_class):
    """Call both functions once on NumPy scalars and compare the lengths of what they return."""
    name = cell_class.__name__
    try:
        cell = cell_class()
    except TypeError as error:
        raise TypeError(f"every option of {name} must have a default: {error}") from None

    def example(names):
        return tuple(np.float64(0.25 + 0.125 * n) for n in range(len(names)))

    preactivations, states, diagonal = (
        example(cell_class.preactivations),
        example(cell_class.states),
        example(cell_class.diagonal),
    )
    after, saved = _tuples(
        f"{name}.forward", cell_class.forward(cell, preactivations, states, diagonal), ("states", "saved"), cell
    )
    gradients = ("preactivations", "states", "diagonal")
    results = cell_class.backward(cell, saved, states, diagonal, after, example(cell_class.states))
    _tuples(f"{name}.backward", results, gradients, cell)
    if has_inner(cell_class):
        inner, inner_saved = _tuples(
            f"{name}.inner_forward",
            cell_class.inner_forward(cell, preactivations, states, diagonal),
            _INNER_NAMES,
            cell,
        )
        results = cell_class.inner_backward(cell, inner_saved, states, diagonal, inner)
        _tuples(f"{name}.inner_backward", results, gradients, cell)


def _tuples(function, results, roles, cell):
    if not isinstance(results, tuple) or len(results) != len(roles) or not all(isinstance(r, tuple) for r in results):
        raise TypeError(f"{function} must return {len(roles)} tuples (for {', '.join(roles)}), got {brief(results)}")
    for role, values in zip(roles, results, strict=True):
        if len(values) != len(getattr(cell, role)):
            raise TypeError(f"{function} must return {len(getattr(cell, role))} values for {role}, got {len(values)}")
    return results
