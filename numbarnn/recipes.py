"""Models by name, as estimators and forecasters build them: recurrent layers and a dense one."""

import dataclasses

from numbarnn.cells import CELLS
from numbarnn.layers import Dense, Recurrent
from numbarnn.layers.base import LAYERS
from numbarnn.model import Model
from numbarnn.optim import Optimizer, make_optimizer


def recurrent_names() -> dict[str, type]:
    """Return the layers that have a cell of their own, by class name in lower case."""
    found = {name.lower(): cls for name, cls in LAYERS.items() if issubclass(cls, Recurrent) and cls is not Recurrent}
    return dict(sorted(found.items()))


def recurrent(cell: str, hidden_size: int, **options) -> Recurrent:
    """Return recurrent layers of a cell given by name: a layer class in lower case ("lstm"), or a registered cell.

    Raises
    ------
    ValueError
        If there is no such cell.
    """
    layers = recurrent_names()
    if isinstance(cell, str) and cell.lower() in layers:
        return layers[cell.lower()](hidden_size, **options)
    if cell in CELLS:
        return Recurrent(hidden_size, cell=CELLS[cell](), **options)
    raise ValueError(f"cell must be one of {', '.join([*layers, *CELLS])}, got {cell!r}")


def last_step_model(
    inputs: int, outputs: int, cell: str, hidden_size: int, *, seed, dtype, n_threads, device="cpu", **options
) -> Model:
    """Return a model that reads a sequence and gives `outputs` numbers after its last step."""
    layer = recurrent(cell, hidden_size, return_sequences=False, **options)
    return Model([layer, Dense(outputs)], inputs, dtype, seed, n_threads, device)


def optimizer_with(optimizer, learning_rate) -> Optimizer:
    """Return an optimizer by name or as given, with another learning rate unless that is None."""
    optimizer = make_optimizer(optimizer)
    return optimizer if learning_rate is None else dataclasses.replace(optimizer, learning_rate=learning_rate)
