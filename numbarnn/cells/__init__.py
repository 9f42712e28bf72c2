"""Cells: one file is one cell, an immutable record with its options and two scalar functions.

A cell is a `typing.NamedTuple`. Its fields are options (numbers); its class attributes name what the driver must
provide:

==================  ======================================================================================================
gates               row blocks of ``weight_ih`` and ``weight_hh``, in the order of the parameters (torch's)
planes              pre-activations that `forward` receives, in order
input_planes        dict: plane -> gate whose rows of ``weight_ih`` the input product adds to it; planes adjacent
recurrent_planes    dict: plane -> gate whose rows of ``weight_hh`` the recurrent product adds to it; planes adjacent
states              what is carried from step to step; the first is the output, and what the recurrent product sees
saved               values that `forward` keeps for `backward`
units               weights a unit has of its own (IndRNN's u), each of shape (H,)
unit_init           optional: the kind of weights that `numbarnn.initializers` draws ``units`` like; "unit" or "bias"
==================  ======================================================================================================

and two static functions of scalars, `forward` directly above `backward`:

``forward(cell, planes, states, units) -> (next_states, saved)``
    planes, states, units : tuples of scalars, one entry a name.

``backward(cell, saved, states, units, after, gradients) -> (dplanes, dstates, dunits)``
    saved, states, units as above; after : the next states; gradients : dL/d(next states). dstates holds only the
    direct paths to the previous states: what passes through the recurrent product, the driver adds.

They are compiled, so: no arrays, no Python objects, no names but modules' constants and functions (`tanh`, `sigmoid`
from here), and constants in the type of an argument, ``one = type(h)(1)``, since 1.0 would turn float32 into float64.
Called from Python, on NumPy scalars, they compute the same (`tests/` and `register` do). Values other than numbers do
not fit: an option that changes the planes is another cell.

Two phases
----------
Where the recurrent product must see something other than h_{t-1}, as in the GRU with the reset before the product, a
step has two phases: a product of h_{t-1}, then a second product of an *inner* value that is computed from the first.
A cell that has `inner` is such a cell, and says in addition:

==================  ======================================================================================================
inner               the name of the inner value, a tuple of one
inner_planes        dict: plane -> gate whose rows of ``weight_hh`` the second product adds to it; planes adjacent, none
                    of them in `recurrent_planes`, nor their gates
inner_saved         values that `inner_forward` keeps for `inner_backward`
==================  ======================================================================================================

``inner_forward(cell, planes, states, units) -> (inner, inner_saved)``
    planes : what they hold after the first product. `forward` then sees them after the second.

``inner_backward(cell, inner_saved, states, units, dinner) -> (dplanes, dstates, dunits)``
    The driver adds what it returns to what `backward` returned.
"""

import inspect
import operator

import numpy as np

from numbarnn.cells.gru import GRU
from numbarnn.cells.gru_before import ResetBeforeGRU
from numbarnn.cells.indrnn import IndRNN
from numbarnn.cells.lstm import LSTM
from numbarnn.cells.peephole import PeepholeLSTM
from numbarnn.cells.rnn import RNN
from numbarnn.kernels.scalar import sigmoid, tanh

__all__ = ["CELLS", "GRU", "LSTM", "RNN", "IndRNN", "PeepholeLSTM", "ResetBeforeGRU", "register", "sigmoid", "tanh"]

CELLS = {}

_NAMES = ("gates", "planes", "states", "saved", "units")
_ARGUMENTS = {
    "forward": ("cell", "planes", "states", "units"),
    "backward": ("cell", "saved", "states", "units", "after", "gradients"),
}
_INNER_NAMES = ("inner", "inner_saved")
_INNER_ARGUMENTS = {
    "inner_forward": ("cell", "planes", "states", "units"),
    "inner_backward": ("cell", "inner_saved", "states", "units", "dinner"),
}


def register(cell_class):
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
        If it is no NamedTuple class, or lacks a name or function, or a function takes or returns the wrong number of
        values.
    ValueError
        If planes of one product are not adjacent, or another class has the name.
    """
    check(cell_class)
    name = cell_class.__name__
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
    if name not in CELLS:
        raise ValueError(
            f"no cell named {name!r} is registered; import the module that defines it and decorate the class with "
            "numbarnn.cells.register"
        )
    return CELLS[name](**options)


def two_phases(cell) -> bool:
    """Return whether a cell has a second product, and so a driver of its own."""
    return bool(getattr(cell, "inner", ()))


def inner_planes(cell) -> dict:
    """Return plane -> gate of the second product; empty where there is none."""
    return cell.inner_planes if two_phases(cell) else {}


def hidden_planes(cell) -> dict:
    """Return plane -> gate of all rows of ``weight_hh`` that are used, whatever they are multiplied with."""
    return {**cell.recurrent_planes, **inner_planes(cell)}


def typed(record):
    """Return a record whose options have the types of their defaults: another type would compile the drivers once more.

    Raises
    ------
    TypeError
        If an option is not a number, or not an integer where its default is one.
    """
    convert = {bool: bool, int: lambda value: int(operator.index(value)), float: float}
    options = {}
    for name, default in record._field_defaults.items():
        value = getattr(record, name)
        try:
            options[name] = convert.get(type(default), lambda value: value)(value)
        except (TypeError, ValueError):
            raise TypeError(
                f"option {name} of {type(record).__name__} must be of its default's type, "
                f"{type(default).__name__}, got {value!r}"
            ) from None
    return record._replace(**options)


def check(cell_class):
    """Raise TypeError or ValueError where a class breaks the contract of this module; see `register`."""
    name = getattr(cell_class, "__name__", repr(cell_class))
    if not (isinstance(cell_class, type) and issubclass(cell_class, tuple) and hasattr(cell_class, "_fields")):
        raise TypeError(f"a cell must be a typing.NamedTuple class, got {cell_class!r}")
    two = two_phases(cell_class)
    for attribute in (*_NAMES, *_INNER_NAMES) if two else _NAMES:
        names = getattr(cell_class, attribute, None)
        if not isinstance(names, tuple) or not all(isinstance(n, str) for n in names):
            raise TypeError(f"{name}.{attribute} must be a tuple of names, got {names!r}")
    for attribute in (
        ("input_planes", "recurrent_planes", "inner_planes") if two else ("input_planes", "recurrent_planes")
    ):
        _check_planes(cell_class, attribute)
    if not cell_class.states:
        raise TypeError(f"{name}.states is empty; a cell needs one state, its output")
    if two:
        if len(cell_class.inner) != 1:
            raise ValueError(f"{name}.inner must name one value, got {cell_class.inner}")
        planes, inner = cell_class.recurrent_planes, cell_class.inner_planes
        if not inner or set(planes) & set(inner) or set(planes.values()) & set(inner.values()):
            raise ValueError(
                f"{name}.inner_planes must name planes and gates that recurrent_planes does not, got {inner} beside {planes}"
            )
    if getattr(cell_class, "unit_init", "unit") not in ("unit", "bias"):
        raise ValueError(f"{name}.unit_init must be 'unit' or 'bias', got {cell_class.unit_init!r}")
    for function, arguments in (_ARGUMENTS | _INNER_ARGUMENTS if two else _ARGUMENTS).items():
        found = getattr(cell_class, function, None)
        if not inspect.isfunction(found) or tuple(inspect.signature(found).parameters) != arguments:
            raise TypeError(f"{name}.{function} must be a static function of ({', '.join(arguments)})")
    _check_results(cell_class)


def _check_planes(cell_class, attribute):
    """Raise where the planes of one product break the contract."""
    name = cell_class.__name__
    planes = getattr(cell_class, attribute, None)
    if not isinstance(planes, dict):
        raise TypeError(f"{name}.{attribute} must be a dict of plane -> gate, got {planes!r}")
    unknown = [p for p in planes if p not in cell_class.planes] + [
        g for g in planes.values() if g not in cell_class.gates
    ]
    if unknown:
        raise ValueError(f"{name}.{attribute} names {unknown}, which are neither its planes nor its gates")
    if len(set(planes.values())) < len(planes):
        raise ValueError(f"{name}.{attribute} must name every gate once, got {planes}")
    places = [cell_class.planes.index(p) for p in planes]
    if places and places != list(range(places[0], places[0] + len(places))):
        raise ValueError(f"{name}.{attribute} must name adjacent planes in their order, got {list(planes)}")


def _check_results(cell_class):
    """Call both functions once on NumPy scalars and compare the lengths of what they return."""
    name = cell_class.__name__
    try:
        cell = cell_class()
    except TypeError as error:
        raise TypeError(f"every option of {name} must have a default: {error}") from None

    def numbers(names):
        return tuple(np.float64(0.25 + 0.125 * n) for n in range(len(names)))

    planes, states, units = numbers(cell_class.planes), numbers(cell_class.states), numbers(cell_class.units)
    after, saved = _tuples(
        f"{name}.forward", cell_class.forward(cell, planes, states, units), ("states", "saved"), cell
    )
    gradients = ("planes", "states", "units")
    results = cell_class.backward(cell, saved, states, units, after, numbers(cell_class.states))
    _tuples(f"{name}.backward", results, gradients, cell)
    if two_phases(cell_class):
        inner, kept = _tuples(
            f"{name}.inner_forward", cell_class.inner_forward(cell, planes, states, units), _INNER_NAMES, cell
        )
        results = cell_class.inner_backward(cell, kept, states, units, inner)
        _tuples(f"{name}.inner_backward", results, gradients, cell)


def _tuples(function, results, roles, cell):
    if not isinstance(results, tuple) or len(results) != len(roles) or not all(isinstance(r, tuple) for r in results):
        raise TypeError(f"{function} must return {len(roles)} tuples (for {', '.join(roles)}), got {results!r}")
    for role, values in zip(roles, results, strict=True):
        if len(values) != len(getattr(cell, role)):
            raise TypeError(f"{function} must return {len(getattr(cell, role))} values for {role}, got {len(values)}")
    return results


for _cell in (RNN, LSTM, PeepholeLSTM, GRU, ResetBeforeGRU, IndRNN):
    register(_cell)
