"""An activation: the same function of every element."""

from dataclasses import dataclass

from numbarnn.checks import check_choice
from numbarnn.core.signal import Signal
from numbarnn.errors import ShapeError
from numbarnn.kernels.activation import ACTIVATIONS
from numbarnn.layers.base import Layer, layer


@layer
@dataclass(frozen=True, repr=False)
class Activation(Layer):
    """y = f(x), element by element; there are no parameters.

    ============  ===============================  ======================
    name          f(x)                             f'(x), in terms of y
    ============  ===============================  ======================
    "tanh"        (e^x - e^-x) / (e^x + e^-x)      1 - y^2
    "relu"        max(x, 0)                        1 where y > 0, else 0
    "logistic"    1 / (1 + e^-x)                   y (1 - y)
    "identity"    x                                1
    ============  ===============================  ======================

    Parameters
    ----------
    activation : {"tanh", "relu", "logistic", "identity"}
        "sigmoid" is another name of "logistic".
    name : str or None

    Raises
    ------
    ValueError
        If `activation` is not one of these.

    Notes
    -----
    `Dense`, `RNN` and `IndRNN` have an activation of their own. Losses of classes take logits (`numbarnn.losses`): the model's last
    layer needs none.

    Examples
    --------
    >>> import numpy as np, numbarnn
    >>> model = numbarnn.Model([numbarnn.Activation("relu")], input_size=2)
    >>> model.forward(np.array([[[-1.0, 2.0]]]))[0].tolist()
    [[[0.0, 2.0]]]
    """

    activation: str
    name: str | None = None

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "activation", check_activation("Activation", self.activation))

    def output(self, signal: Signal) -> Signal:
        if signal.tokens:
            raise ShapeError(f"Activation needs features, got {signal}; put it after Embedding or a recurrent layer")
        return signal


def check_activation(owner: str, activation: str) -> str:
    """Return the name of an activation; raise ValueError unless it is one."""
    name = "logistic" if isinstance(activation, str) and activation == "sigmoid" else activation
    try:
        check_choice(name, f"{owner}: activation", ACTIVATIONS)
    except ValueError as error:
        if isinstance(name, str) and name.lower() == "softmax":
            raise ValueError(f"{error}; losses take logits, and Model.predict_proba applies the softmax") from None
        raise
    return name
