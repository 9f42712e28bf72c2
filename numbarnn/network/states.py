"""States of recurrent layers: one entry a layer, each a tuple of (num_layers * directions, samples, hidden_size) arrays."""

from typing import Any

import numpy as np

from numbarnn.checks import to_array
from numbarnn.errors import ShapeError

State = tuple[Any, ...]


def checked_states(state, layers, samples: int, dtype) -> State:
    """Return states of recurrent layers in a dtype, where None inside stands for zeros; raise unless their shapes fit."""
    if not isinstance(state, (tuple, list)) or len(state) != len(layers):
        raise ShapeError(f"state must be a tuple with one entry for each of {len(layers)} recurrent layers")
    checked = []
    for index, (layer, entry) in enumerate(zip(layers, state, strict=True)):
        if isinstance(entry, np.ndarray) and len(layer.state_names) == 1 and entry.ndim == 3:
            entry = (entry,)
        names = ", ".join(layer.state_names)
        if not isinstance(entry, (tuple, list)) or len(entry) != len(layer.state_names):
            raise ShapeError(f"state[{index}] must be a tuple of the states ({names}) of {type(layer).__name__}")
        shape = layer.state_shape(samples)
        arrays = []
        for name, array in zip(layer.state_names, entry, strict=True):
            array = np.zeros(shape, dtype) if array is None else to_array(array, f"state[{index}], {name}")
            if array.dtype.kind not in "fiub":
                raise TypeError(f"state[{index}], {name}: expected a numeric array, got dtype {array.dtype}")
            if array.shape != shape:
                raise ShapeError(
                    f"state[{index}], {name}: expected (num_layers * directions, samples, hidden_size) = {shape}, "
                    f"got {array.shape}"
                )
            arrays.append(np.asarray(array, dtype))
        checked.append(tuple(arrays))
    return tuple(checked)
