"""A dense layer: the same affine map at every step."""

from dataclasses import dataclass

from numbarnn.checks import check_flag, check_number
from numbarnn.core import initializers
from numbarnn.core.params import ParamSpec
from numbarnn.core.signal import Signal
from numbarnn.layers.base import Layer, layer


@layer
@dataclass(frozen=True)
class Dense(Layer):
    """y = W x + b at every step, or of one vector a sample.

    Parameters
    ----------
    size : int
        Features of y. As the last layer it gives logits: the softmax belongs to the loss and to `Model.predict_proba`.
    bias : bool
    init : str
        Scheme of `numbarnn.core.initializers`.
    name : str or None
        Prefix of the parameters' names ``weight`` (size, C) and ``bias`` (size,).

    Notes
    -----
    The padding of a batch with lengths is left out of the work; its outputs are zero.

    Raises
    ------
    TypeError, ValueError
        If `size` is not a positive integer, `bias` not True or False, or `init` not a scheme.
    """

    size: int
    bias: bool = True
    init: str = "keras"
    name: str | None = None

    def __post_init__(self):
        check_number("Dense", "size", self.size, 1, 2**28, kind=int)
        check_flag("Dense", "bias", self.bias)
        initializers.scheme(self.init, 1)

    def output(self, signal: Signal) -> Signal:
        return Signal(self.size, sequence=signal.sequence)

    def specs(self, signal: Signal) -> list[ParamSpec]:
        scheme = initializers.scheme(self.init, signal.size)
        specs = [ParamSpec("weight", (self.size, signal.size), scheme.input)]
        return specs + ([ParamSpec("bias", (self.size,), scheme.bias)] if self.bias else [])
