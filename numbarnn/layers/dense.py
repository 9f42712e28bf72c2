"""A dense layer: the same affine map at every step, and an activation of its result."""

from dataclasses import dataclass, field

from numbarnn.checks import check_flag, check_number
from numbarnn.core import initializers
from numbarnn.core.params import ParamSpec
from numbarnn.core.signal import Signal
from numbarnn.layers.activation import check_activation
from numbarnn.layers.base import Layer, layer


@layer
@dataclass(frozen=True, repr=False)
class Dense(Layer):
    """y = f(W x + b) at every step, or of one vector a sample; f is the identity without an activation.

    Parameters
    ----------
    size : int
        Features of y. As the last layer it gives logits: the softmax belongs to the loss and to `Model.predict_proba`.
    bias : bool
    init : str
        Scheme of `numbarnn.core.initializers`.
    name : str or None
        Prefix of the parameters' names ``weight`` (size, C) and ``bias`` (size,).
    activation : {"tanh", "relu", "logistic", "identity"} or None
        f, as in `Activation`; None: none.

    Notes
    -----
    The padding of a batch with lengths is left out of the work; its outputs are zero.

    Raises
    ------
    TypeError, ValueError
        If `size` is not a positive integer, `bias` not True or False, `init` not a scheme, or `activation` not one of
        the four.

    Examples
    --------
    A net of two layers, such as the right-hand side of a differential equation:

    >>> import numpy as np, numbarnn
    >>> model = numbarnn.Model([numbarnn.Dense(16, activation="tanh"), numbarnn.Dense(2)], input_size=2)
    >>> model.step(np.zeros((1, 2)))[0].shape
    (1, 2)
    """

    size: int
    bias: bool = True
    init: str = "keras"
    name: str | None = None
    activation: str | None = field(default=None, kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        check_number("Dense", "size", self.size, 1, 2**28, kind=int)
        check_flag("Dense", "bias", self.bias)
        initializers.scheme(self.init, 1)
        if self.activation is not None:
            object.__setattr__(self, "activation", check_activation("Dense", self.activation))

    def output(self, signal: Signal) -> Signal:
        return Signal(self.size, sequence=signal.sequence)

    def specs(self, signal: Signal) -> list[ParamSpec]:
        scheme = initializers.scheme(self.init, signal.size)
        specs = [ParamSpec("weight", (self.size, signal.size), scheme.input)]
        return specs + ([ParamSpec("bias", (self.size,), scheme.bias)] if self.bias else [])
