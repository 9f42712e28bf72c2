"""Models to torch modules."""

from numbarnn.interop.refusal import check_model, package, refuse_if
from numbarnn.model import Model


def to_torch(model: Model):
    """Return a torch module that computes what a model computes.

    Parameters
    ----------
    model : Model
        Of RNN ("tanh", "relu"), LSTM and GRU layers in either direction or both, Dense, Embedding, OneHot, Activation, Dropout
        and Pool.

    Returns
    -------
    torch.nn.Module
        Its ``forward(x, state=None, lengths=None)`` takes and returns tensors as `Model.forward` does arrays: (samples, time
        steps, features) first, then states by layer. Parameters have the model's names. It trains as any module.

    Raises
    ------
    InteropError
        If a layer has no counterpart in torch; `reasons` lists all of them.
    ModuleNotFoundError
        If torch is not installed.

    Examples
    --------
    >>> module = to_torch(Model([LSTM(32), Dense(3)], 5))  # doctest: +SKIP
    >>> outputs, state = module(torch.zeros(8, 20, 5))  # doctest: +SKIP
    """
    check_model(model)
    package("torch", "to_torch", "torch")
    from numbarnn.interop.torch.module import RecurrentModule, reasons_against

    refuse_if(reasons_against(model), "torch")
    return RecurrentModule(model)
