"""Traces: every gate, cell state and hidden state by name."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from numbarnn.diagnostics import tape
from numbarnn.network.network import Network

if TYPE_CHECKING:
    import pandas as pd


class Trace(Mapping):
    """The intermediate values of a pass, by name: a mapping of names to arrays (samples, time steps, units), zero past each length.

    Names are those of the parameters: ``lstm.f_l0`` is the forget gate of the first level of layer ``lstm``, ``lstm.c_l0`` its
    cell state and ``lstm.h_l0`` its hidden state, ``gru.z_l1_reverse`` an update gate of the other direction, ``dense.y`` the
    output of a layer without gates (samples, features, where there is one output per sample).

    Parameters
    ----------
    arrays : dict
        Name -> array.
    lengths : (samples,) int64
        Valid steps of each sample; an attribute, too.
    """

    def __init__(self, arrays: dict[str, np.ndarray], lengths: np.ndarray):
        self._arrays, self.lengths = arrays, lengths

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._arrays:
            raise KeyError(f"there is no {name!r}; there are {', '.join(self._arrays)}")
        return self._arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def to_frame(self) -> "pd.DataFrame":
        """Return a tidy `pandas.DataFrame`: columns layer, quantity, sample, step, unit, value, one row for each value.

        Steps past a sample's length are left out; where there is one output per sample, step is the last valid one,
        and -1 of a sample of length 0.
        """
        import pandas as pd

        parts = []
        for name, values in self._arrays.items():
            layer, _, quantity = name.partition(".")
            if values.ndim == 2:
                sample, unit = np.indices(values.shape).reshape(2, -1)
                step = self.lengths[sample] - 1
            else:
                sample, step, unit = np.indices(values.shape).reshape(3, -1)
            part = pd.DataFrame({"sample": sample, "step": step, "unit": unit, "value": values.reshape(-1)})
            part.insert(0, "quantity", quantity)
            part.insert(0, "layer", layer)
            parts.append(part[step < self.lengths[sample]])
        return pd.concat(parts, ignore_index=True)

    def __repr__(self) -> str:
        return "\n".join(f"{name:24} {values.shape}" for name, values in self._arrays.items())


def trace(model: Network, x: Any, state: Any = None, lengths: Any = None) -> Trace:
    """Run a batch and return every gate, cell state and hidden state by name, to the bit as training computes them.

    Parameters
    ----------
    model, x, state, lengths : as in `numbarnn.Model.forward`

    Returns
    -------
    Trace
        Gates by the names of the cell (`numbarnn.cells`): LSTM i, f, g, o and the states h, c; GRU r, z, n and h, and n_h, the
        recurrent product that the reset gate multiplies; arrays in the dtype of the model.

    Raises
    ------
    ShapeError, TokenError, TypeError, ValueError
        As in `numbarnn.Model.forward`.

    Examples
    --------
    >>> import numpy as np, numbarnn
    >>> model = numbarnn.Model([numbarnn.LSTM(4), numbarnn.Dense(2)], input_size=3)
    >>> found = numbarnn.diagnostics.trace(model, np.ones((2, 5, 3)))
    >>> found["lstm.f_l0"].shape
    (2, 5, 4)
    """
    tape.check_model(model)
    done, arrays = tape.run(model, x, state, lengths), {}
    for index, (name, layer) in enumerate(zip(model.names, model.layers, strict=True)):
        for chain in done.chains:
            if chain.layer_index == index:
                arrays |= {chain.name(gate): values for gate, values in chain.saved.items()}
                arrays |= {chain.name(s): values for s, values in zip(layer.state_names, chain.after, strict=True)}
        if not layer.state_names and done.outputs[index] is not None:
            arrays[f"{name}.y"] = done.outputs[index]
    return Trace(arrays, done.lengths)
