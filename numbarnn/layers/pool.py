"""From a sequence to one vector."""

from dataclasses import dataclass

import numpy as np

from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.core.layout import Layout
from numbarnn.core.signal import Signal
from numbarnn.errors import ShapeError
from numbarnn.kernels.cpu import pooling
from numbarnn.kernels.cpu.memory import padded
from numbarnn.layers.base import Layer, layer

KINDS = {"mean": pooling.MEAN, "max": pooling.MAX, "last": pooling.LAST}


@layer
@dataclass(frozen=True)
class Pool(Layer):
    """One vector a sample from its valid steps: their mean, the maximum of each feature, or the last step.

    Parameters
    ----------
    kind : {"mean", "max", "last"}
    name : str or None

    Notes
    -----
    A sample of length 0 gives zeros. The gradient of a maximum goes to the first step that has it. Behind a bidirectional layer the
    last step has seen all of the sequence in one direction and one step in the other; ``return_sequences=False`` of the
    recurrent layer gives the end of each direction instead. A pooled model has no single steps (`Model.step`).

    Raises
    ------
    ValueError
        If `kind` is none of the three.
    """

    kind: str = "mean"
    name: str | None = None

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"Pool: kind must be one of {', '.join(KINDS)}, got {self.kind!r}")

    def output(self, signal: Signal) -> Signal:
        if signal.tokens or not signal.sequence:
            raise ShapeError(f"Pool needs a sequence of features, got {signal}")
        return Signal(signal.size, sequence=False)

    def forward(self, call: Call, packed, x: Rows, layout: Layout, state, number: int):
        y = call.empty((layout.samples, padded(x.size, call.dtype)))
        places = np.empty(layout.samples * x.size if self.kind == "max" else 0, np.int64)
        step, sample = x.strides(layout)
        starts = np.arange(layout.samples) * sample
        call.over_samples(
            layout,
            layout.running * x.size,
            lambda lo, hi: pooling.pool(
                x.values.reshape(-1), starts, step, layout.lengths, x.size, KINDS[self.kind], y.reshape(-1), y.shape[1],
                places, lo, hi,
            ),
        )  # fmt: skip
        return Rows(y, x.size), layout.last(), (), places

    def backward(
        self, call: Call, packed, tape, dy: Rows, layout: Layout, dfinal, gradient, need_dx: bool, number: int
    ):
        if not need_dx:
            return None, ()
        dx = Rows(call.zeros((layout.steps * layout.samples, padded(dy.size, call.dtype))), dy.size)
        step, sample = dx.strides(layout)
        starts = np.arange(layout.samples) * sample
        call.over_samples(
            layout,
            layout.running * dy.size,
            lambda lo, hi: pooling.spread(
                dy.values.reshape(-1), dy.values.shape[1], starts, step, layout.lengths, dy.size, KINDS[self.kind], tape,
                dx.values.reshape(-1), lo, hi,
            ),
        )  # fmt: skip
        return dx, ()
