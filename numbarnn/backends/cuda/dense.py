"""All layers but the recurrent ones on a device."""

import numpy as np

from numbarnn.backends.cuda.batch import Call, Geometry, Rows
from numbarnn.kernels.cuda import dropout as dropouts
from numbarnn.kernels.cuda import layout as moves
from numbarnn.kernels.cuda import pooling, tokens
from numbarnn.kernels.cuda.layout import grid_of
from numbarnn.kernels.cuda.matmul import column_sums, product
from numbarnn.kernels.cuda.memory import Buffer, upload
from numbarnn.layers.pool import KINDS


class Dense:
    """y = W x + b."""

    @staticmethod
    def prepare(layer, params, prefix, signal):
        place = params.offsets[f"{prefix}weight"]
        return place, params.offsets[f"{prefix}bias"] if layer.bias else None, upload(np.array([place], np.int64))

    @staticmethod
    def forward(call: Call, layer, plan, flat: Buffer, x: Rows, geometry: Geometry, state, number: int):
        weight, bias, places = plan
        y = call.empty(x.count * layer.size)
        biases = call.zeros(layer.size) if bias is None else flat.part(bias, layer.size)
        if x.tokens:
            table = call.empty(x.size * layer.size)
            tokens.pack_tokens(flat, places, layer.size, x.size, biases, table)
            tokens.gather(table, layer.size, x.values, y, layer.size, x.count, *geometry.ended)
        else:
            shape = x.count, layer.size, x.size
            product(
                call.arena, x.values, (x.size, 1), flat.part(weight), (1, x.size), y, layer.size, shape, bias=biases
            )
            if not geometry.full:
                moves.clear_rows(
                    *grid_of(geometry.samples, layer.size),
                    geometry.lengths,
                    y,
                    geometry.steps,
                    geometry.samples,
                    layer.size,
                )
        return Rows(y, layer.size, x.count), geometry, None, x

    @staticmethod
    def backward(call, layer, plan, flat, x, dy, geometry, dfinal, gradient, need_dx, number):
        weight, bias, _ = plan
        if x.tokens:
            tokens.token_gradient(
                x.values, x.size, dy.values, layer.size, layer.size, x.count, gradient, weight, 1, x.size
            )
        else:
            product(
                call.arena, dy.values, (1, layer.size), x.values, (x.size, 1), gradient.part(weight), x.size,
                (layer.size, x.size, x.count),
            )  # fmt: skip
        if bias is not None:
            column_sums(call.arena, dy.values, layer.size, x.count, layer.size, result=gradient.part(bias, layer.size))
        if not need_dx or x.tokens:
            return None, None
        dx = call.empty(x.count * x.size)
        product(
            call.arena,
            dy.values,
            (layer.size, 1),
            flat.part(weight),
            (x.size, 1),
            dx,
            x.size,
            (x.count, x.size, layer.size),
        )
        return Rows(dx, x.size, x.count), None


class OneHot:
    """Tokens as they are."""

    @staticmethod
    def prepare(layer, params, prefix, signal):
        return None

    @staticmethod
    def forward(call, layer, plan, flat, x, geometry, state, number):
        return x, geometry, None, None

    @staticmethod
    def backward(call, layer, plan, flat, tape, dy, geometry, dfinal, gradient, need_dx, number):
        return None, None


class Embedding:
    """A row of a table for every token, or the sum of those of a bag."""

    @staticmethod
    def prepare(layer, params, prefix, signal):
        return params.offsets[f"{prefix}weight"]

    @staticmethod
    def forward(call, layer, place, flat, x, geometry, state, number):
        y = call.empty(x.count * layer.features)
        table, rows = flat.part(place, layer.size * layer.features), (x.count, *geometry.ended)
        if x.bag:
            tokens.gather_bags(table, layer.features, x.values, x.bag, y, layer.features, *rows)
        else:
            tokens.gather(table, layer.features, x.values, y, layer.features, *rows)
        return Rows(y, layer.features, x.count), geometry, None, x

    @staticmethod
    def backward(call, layer, place, flat, x, dy, geometry, dfinal, gradient, need_dx, number):
        columns = layer.features
        strides = columns, 1
        if x.bag:
            tokens.bag_gradient(
                x.values, x.bag, layer.size, dy.values, columns, columns, x.count, gradient, place, *strides
            )
        else:
            tokens.token_gradient(x.values, layer.size, dy.values, columns, columns, x.count, gradient, place, *strides)
        return None, None


class Dropout:
    """Dropout between layers."""

    @staticmethod
    def prepare(layer, params, prefix, signal):
        return None

    @staticmethod
    def forward(call, layer, plan, flat, x, geometry, state, number):
        return _dropped(call, layer, x, geometry, number), geometry, None, None

    @staticmethod
    def backward(call, layer, plan, flat, tape, dy, geometry, dfinal, gradient, need_dx, number):
        return (_dropped(call, layer, dy, geometry, number) if need_dx else None), None


def _dropped(call, layer, x, geometry, number):
    return drop(call, x, geometry, layer.rate, number << 8) if call.training and layer.rate else x


def drop(call: Call, x: Rows, geometry: Geometry, rate: float, stream: int) -> Rows:
    """Return x after dropout with the mask of (call.seed, call.step, stream), the CPU's."""
    y = call.empty(x.values.size)
    dropouts.dropout(
        x.values, x.size, y, x.size, x.size, geometry.order, geometry.steps, geometry.samples, geometry.active, rate, call.seed,
        call.step, stream,
    )  # fmt: skip
    return Rows(y, x.size, x.count)


class Pool:
    """One vector a sample."""

    @staticmethod
    def prepare(layer, params, prefix, signal):
        return None

    @staticmethod
    def forward(call, layer, plan, flat, x, geometry, state, number):
        y = call.empty(geometry.samples * x.size)
        places = call.empty(geometry.samples * x.size if layer.kind == "max" else 0, np.int64)
        pooling.pool(x.values, x.size, geometry.samples, geometry.lengths, x.size, KINDS[layer.kind], y, x.size, places)
        return Rows(y, x.size, geometry.samples), geometry.last(call.arena), None, places

    @staticmethod
    def backward(call, layer, plan, flat, places, dy, geometry, dfinal, gradient, need_dx, number):
        if not need_dx:
            return None, None
        dx = call.empty(geometry.rows * dy.size)
        pooling.spread(
            dy.values,
            dy.size,
            geometry.steps,
            geometry.samples,
            geometry.lengths,
            dy.size,
            KINDS[layer.kind],
            places,
            dx,
            dy.size,
        )
        return Rows(dx, dy.size, geometry.rows), None
