"""A dense layer: the same affine map at every step."""

from dataclasses import dataclass

import numpy as np

from numbarnn.backends.cpu.batch import Call, Rows
from numbarnn.checks import check_flag, check_number
from numbarnn.core import initializers
from numbarnn.core.layout import Layout
from numbarnn.core.params import ParamSpec
from numbarnn.core.signal import Signal
from numbarnn.kernels.cpu import matmul, tokens
from numbarnn.kernels.cpu.memory import empty, padded
from numbarnn.kernels.cpu.simd import panel_width
from numbarnn.layers.base import Layer, layer


@dataclass
class _Packed:
    places: np.ndarray
    forward: np.ndarray
    bias: np.ndarray
    token_rows: np.ndarray
    backward: np.ndarray


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

    def pack(self, call: Call, params, prefix: str, signal: Signal, backward: bool, old=None) -> _Packed:
        dtype, flat, inputs = call.dtype, params.flat, signal.size
        width = padded(self.size, dtype)
        bias_at = params.offsets[f"{prefix}bias"] if self.bias else -1
        places = np.array([[params.offsets[f"{prefix}weight"], -1, bias_at, -1]], np.int64)
        products = 0 if signal.tokens else inputs
        forward = old.forward if old else empty((products * width,), dtype)
        bias = old.bias if old else empty((width,), dtype)
        own = np.array([[-1, -1, bias_at, -1]], np.int64) if signal.tokens else places
        lanes = panel_width(dtype)
        call.over(
            width // lanes,
            forward.size,
            lambda a, b: matmul.pack_forward(flat, own, self.size, products, 0, forward, bias, a, b),
        )
        token_rows = back = np.zeros(0, dtype)
        if signal.tokens:
            rows = empty((inputs, width), dtype)
            tokens.pack_tokens(flat, places, self.size, inputs, bias, rows, 0, inputs)
            token_rows = rows.reshape(-1)
            token_rows.flags.writeable = (
                False  # as an embedding's, which are the parameters themselves: one compiled kernel
            )
        elif backward:
            back = old.backward if old else empty((padded(inputs, dtype) * self.size,), dtype)
            call.over(
                padded(inputs, dtype) // lanes,
                back.size,
                lambda a, b: matmul.pack_backward(flat, places, 0, self.size, inputs, back, a, b),
            )
        return _Packed(places, forward, bias, token_rows, back)

    def forward(self, call: Call, packed, x: Rows, layout: Layout, state, number: int):
        width = padded(self.size, call.dtype)
        shape = (len(x.values), width)
        y = call.empty(shape) if layout.full else call.zeros(shape)
        rows = layout.flat()
        if x.tokens:
            call.over_samples(
                rows,
                rows.running * width,
                lambda lo, hi: tokens.gather(
                    packed.token_rows, width, x.values, rows.active, rows.samples, y.reshape(-1), width, width, lo, hi
                ),
            )
        else:
            self._affine(call, x, packed.forward, packed.bias, y, rows)
        return Rows(y, self.size, x.sample_major), layout, (), x if call.keep else None

    def backward(
        self, call: Call, packed, tape, dy: Rows, layout: Layout, dfinal, gradient, need_dx: bool, number: int
    ):
        dtype, x, rows = call.dtype, tape, layout.flat()
        width, lanes = padded(self.size, dtype), panel_width(dtype)
        places, inputs = packed.places, x.size
        none = np.zeros(0, dtype)
        x_values, x_row = none, 0
        if x.tokens:
            call.over(
                width // lanes,
                rows.running * width,
                lambda a, b, scratch: tokens.token_gradient(
                    x.values, x.size, dy.values.reshape(-1), 0, width, rows.samples * width, self.size, rows.active,
                    rows.samples, scratch, gradient, places, a, b,
                ),
                scratch=x.size * lanes,
            )  # fmt: skip
            places, inputs = places.copy(), 0
            places[:, 0] = -1
        else:
            x_values, x_row = x.values.reshape(-1), x.values.shape[1]
        height = padded(inputs, dtype)
        sums = call.empty((width * (height + matmul.CHAINS),))
        call.over(
            width // lanes,
            rows.running * width * (inputs + 8),
            lambda a, b, scratch: matmul.weight_gradient(
                call.table, x_values, x_row, inputs, (0, 1), none, 0, 0, 0, (0, 0),
                dy.values.reshape(-1), 0, width, rows.samples * width, self.size, rows.active, rows.samples,
                scratch, sums, gradient, places, a, b,
            ),
            scratch=(height + 2 * lanes) * matmul.SPAN,
        )  # fmt: skip
        if not need_dx or x.tokens:
            return None, ()
        shape = (len(x.values), padded(x.size, dtype))
        dx = call.empty(shape) if layout.full else call.zeros(shape)
        self._affine(call, Rows(dy.values, self.size), packed.backward, np.zeros(shape[1], dtype), dx, rows)
        return Rows(dx, x.size), ()

    def _affine(self, call, x, packed, bias, y, rows):
        call.over_samples(
            rows,
            rows.running * packed.size,
            lambda lo, hi: matmul.affine(
                call.table, x.values.reshape(-1), x.values.shape[1], x.size, packed, bias, y.reshape(-1), y.shape[1],
                rows.active, rows.samples, lo, hi,
            ),
        )  # fmt: skip
