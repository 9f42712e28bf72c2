"""Dropout between layers, and the mask of a recurrent layer."""

from numbarnn.backends.recorded.batch import Call, Rows
from numbarnn.kernels.cpu.calls import Ref
from numbarnn.kernels.cpu.dropout import dropout, mask_rows


def prepare(call: Call, layer, params, prefix: str, signal, old=None):
    """Return None: there are no weights."""


def forward(call: Call, layer, weights, x: Rows, layout, state, number: int):
    """Return (output, its layout, final states, tape)."""
    return _apply(call, layer, x, layout, number), layout, (), None


def backward(call: Call, layer, weights, tape, dy: Rows, layout, dfinal, gradient, need_dx: bool, number: int):
    """Write down the way back; return (gradient of x or None, of the initial states)."""
    return (_apply(call, layer, dy, layout, number) if need_dx else None), ()


def _apply(call, layer, x, layout, number):
    return drop(call, x, layout, layer.rate, number << 8, layer.same_over_time) if call.training and layer.rate else x


def drop(call: Call, x: Rows, layout, rate: float, stream: int, same_over_time: bool = False) -> Rows:
    """Return x after dropout with the mask of (seed, step, stream), of every step or of the first for all."""
    y = call.zeros(x.values.shape)
    if same_over_time:
        mask = first_mask(call, x.size, y.shape[1], layout, rate, stream)
        call.run(
            mask_rows, x.values.flat(), y.flat(), mask.flat(), y.shape[1], x.size, layout.active, layout.samples, 0,
            layout.samples,
        )  # fmt: skip
    else:
        _drop_rows(call, x.values, y, x.size, layout, rate, stream)
    return Rows(y, x.size)


def first_mask(call: Call, size: int, row: int, layout, rate: float, stream: int) -> Ref:
    """Return the mask of the first step of each sequence, (samples, row) with `size` columns in use."""
    mask, ones = call.zeros((layout.samples, row)), call.empty((layout.samples, row))
    call.fill(ones, 1.0)
    _drop_rows(call, ones, mask, size, layout.last(), rate, stream)
    return mask


def _drop_rows(call, x, y, size, layout, rate, stream):
    call.run(
        dropout, x.flat(), y.flat(), y.shape[1], size, layout.indices, layout.active, float(rate), call.seed, call.step,
        stream, 0, (0, layout.samples),
    )  # fmt: skip
