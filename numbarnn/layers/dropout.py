"""Dropout between layers."""

from dataclasses import dataclass

from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.checks import check_number
from numbarnn.core.layout import Layout
from numbarnn.core.signal import Signal
from numbarnn.errors import ShapeError
from numbarnn.kernels.cpu.dropout import dropout
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
            raise ShapeError(f"Dropout needs features, got {signal}; put it behind Embedding or a recurrent layer")
        return signal

    def forward(self, call: Call, packed, x: Rows, layout: Layout, state, number: int):
        return self._apply(call, x, layout, number), layout, (), None

    def backward(
        self, call: Call, packed, tape, dy: Rows, layout: Layout, dfinal, gradient, need_dx: bool, number: int
    ):
        return (self._apply(call, dy, layout, number) if need_dx else None), ()

    def _apply(self, call, x, layout, number):
        if not (call.training and self.rate):
            return x
        return drop(call, x, layout, self.rate, number << 8)


def drop(call: Call, x: Rows, layout: Layout, rate: float, stream: int) -> Rows:
    """Return x after dropout with the mask of (call.seed, call.step, stream)."""
    y = call.zeros(x.values.shape)
    call.over_samples(
        layout,
        layout.running * x.size * 20,
        lambda lo, hi: dropout(
            x.values.reshape(-1), x.values.shape[1], y.reshape(-1), y.shape[1], x.size, layout.places, layout.active,
            layout.samples, float(rate), call.seed, call.step, stream, lo, hi,
        ),
    )  # fmt: skip
    return Rows(y, x.size)
