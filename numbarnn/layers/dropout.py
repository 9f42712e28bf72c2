"""Dropout between layers."""

from dataclasses import dataclass

from numbarnn.checks import check_number
from numbarnn.core.signal import Signal
from numbarnn.errors import ShapeError
from numbarnn.layers.base import Layer, layer


@layer
@dataclass(frozen=True)
class Dropout(Layer):
    """In training, set every feature to zero with probability `rate` and divide the others by 1 - rate; else do nothing.

    Parameters
    ----------
    rate : float
        In [0, 1).
    name : str or None

    Raises
    ------
    TypeError, ValueError
        If `rate` is not a number in [0, 1).

    References
    ----------
    N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15 (2014) 1929-1958.
    """

    rate: float = 0.5
    name: str | None = None

    def __post_init__(self):
        check_number("Dropout", "rate", self.rate, 0, 1, include_high=False)

    def output(self, signal: Signal) -> Signal:
        if signal.tokens:
            raise ShapeError(f"Dropout needs features, got {signal}; put it after Embedding or a recurrent layer")
        return signal
