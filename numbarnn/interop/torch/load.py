"""torch's modules and state dicts to models."""

import os
import sys
from collections.abc import Mapping

from numbarnn.checks import brief, check_integer, to_list
from numbarnn.interop.torch.state_dict import model_of_state_dict, read
from numbarnn.model import Model


def from_torch(source, *, layers=None, input_size: int | None = None) -> Model:
    """Return the model of a torch module, or of a state dict and layers.

    Parameters
    ----------
    source : torch.nn.Module, mapping or path-like
        A module: RNN, LSTM, GRU or one of their cells, a `Sequential`, or a module of the user's own whose parts are these with
        Embedding, Linear, Dropout, Tanh, ReLU, Sigmoid, Identity and a last Softmax or LogSoftmax. Its parts are taken in the
        order in which they were assigned, and what its ``forward`` goes on with after the last recurrent part (all steps, the last
        one, their mean or maximum, the final states) is found by running a copy of it and the model on a few batches, with its
        parameters and with random ones: a module whose outputs differ is refused.

        With `layers`: a state dict of tensors or arrays, or the path of a safetensors file with one. Nothing is run then.
    layers : sequence of Layer, optional
        Of a state dict, the layers of the model. Parameters are matched by the layers' names, where these are the first parts of
        the names in the state dict, else in order.
    input_size : int, optional
        Features of a step, where no layer has weights that tell it.

    Returns
    -------
    Model
        Of the parameters' dtype, float32 or float64. It reads (samples, time steps, features) whatever ``batch_first`` is. Softmax
        and LogSoftmax become `Model.predict_proba`: outputs are logits.

    Raises
    ------
    InteropError
        If the source has something that a numbarnn model cannot compute; `reasons` lists all of it.
    FileNotFoundError, IsADirectoryError
        If there is no such file, or a folder of that name.
    TypeError, ValueError
        If an argument has the wrong type or value.

    Examples
    --------
    >>> import numpy as np
    >>> from numbarnn import Dense
    >>> weights = {"out.weight": np.ones((1, 3)), "out.bias": np.array([0.5])}
    >>> from_torch(weights, layers=[Dense(1)]).params["dense.bias"]
    array([0.5])

    >>> import torch  # doctest: +SKIP
    >>> class Tagger(torch.nn.Module):  # doctest: +SKIP
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.rnn = torch.nn.LSTM(5, 32, batch_first=True)
    ...         self.out = torch.nn.Linear(32, 3)
    ...
    ...     def forward(self, x):
    ...         return self.out(self.rnn(x)[0])
    >>> model = from_torch(Tagger())  # doctest: +SKIP
    >>> model = from_torch("tagger.safetensors", layers=[LSTM(32), Dense(3)])  # doctest: +SKIP
    """
    if input_size is not None:
        check_integer(input_size, "input_size", 1, 2**24)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.nn.Module):
        if layers is not None:
            raise ValueError(
                "layers must be left out with a module, whose parts say what they are; with layers=, pass its state_dict()"
            )
        from numbarnn.interop.torch.probe import model_of_module

        return model_of_module(source, input_size)
    if isinstance(source, (str, os.PathLike)):
        source = read(source)
    if not isinstance(source, Mapping):
        raise TypeError(f"source must be a torch module, a state dict or a path of one, got {brief(source)}")
    if layers is None:
        raise ValueError("layers must be given with a state dict, which has weights alone: layers=[LSTM(32), Dense(3)]")
    return model_of_state_dict(source, to_list(layers, "layers", "layers"), input_size)
