"""Models, layer by layer, to Keras' layers."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from numbarnn.interop.gates import suffixes
from numbarnn.interop.keras.arrays import theirs
from numbarnn.interop.keras.names import ACTIVATIONS, POOLING
from numbarnn.interop.refusal import named_layers
from numbarnn.layers import GRU, LSTM, RNN, Activation, Dense, Dropout, Embedding, OneHot, Pool, Recurrent

NAMES = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
POOLS = {ours: theirs for theirs, ours in POOLING.items()}
IDENTITY = 4096  # vocabulary up to which one-hot vectors become the rows of an identity matrix


def reasons_against(model) -> Iterator[str]:
    """Yield what of a model Keras has no counterpart of."""
    for index, (where, layer) in enumerate(named_layers(model)):
        if type(layer) in (RNN, LSTM, GRU):
            for option in ("peepholes", "coupled", "fix"):
                if getattr(layer, option, None):
                    yield f"{where} has {option}={getattr(layer, option)!r}"
            if layer.reverse and (layer.return_sequences or layer.num_layers > 1):
                yield f"{where} has reverse=True and gives all steps, which Keras gives from the last to the first"
        elif type(layer) not in WRITERS:
            yield f"{where} has no counterpart in Keras"
        elif isinstance(layer, OneHot) and layer.size > IDENTITY:
            yield f"{where} has a vocabulary of more than {IDENTITY}"
        elif isinstance(layer, Pool) and layer.kind == "last" and not _is_causal(model.layers[:index]):
            yield f"{where} takes the last step of a layer that reads in both directions"
    counts = Counter(own for name, layer in zip(model.names, model.layers, strict=True) for own in _names(name, layer))
    for name, count in counts.items():
        if count > 1:
            yield f"{count} layers would be called {name!r} in Keras, which has a layer for each level; rename one"


def _names(name, layer) -> list[str]:
    """Return the names of the Keras layers of a layer."""
    if isinstance(layer, Pool) and layer.kind == "last":
        return []
    if not isinstance(layer, Recurrent):
        return [name]
    own = _level_names(name, layer)
    return [*own, *(f"{one}_dropout" for one in own[:-1] if layer.dropout)]


def _level_names(name, layer) -> list[str]:
    """Return the names of the levels of a recurrent layer."""
    return [name] if layer.num_layers == 1 else [f"{name}_l{level}" for level in range(layer.num_layers)]


def _is_causal(layers) -> bool:
    """Return whether the last layer is recurrent, and reads forward."""
    return bool(layers) and isinstance(layers[-1], Recurrent) and layers[-1].causal


def sequential(keras, model):
    """Return the Keras model."""
    first, dtype = model.signals[0], model.dtype.name
    shape = (None,) if first.tokens else (None, first.size)
    start = keras.Input(shape, dtype="int32" if first.tokens else dtype)
    layers = list(model.layers)
    for index, layer in enumerate(layers):
        if isinstance(layer, Pool) and layer.kind == "last":
            layers[index - 1] = replace(layers[index - 1], return_sequences=False)
    pairs = []
    for name, layer in zip(model.names, layers, strict=True):
        params = {key.partition(".")[2]: array for key, array in model.params.items() if key.startswith(f"{name}.")}
        pairs += WRITERS[type(layer)](keras.layers, layer, params, {"name": name, "dtype": dtype})
    result = keras.Sequential([start, *(part for part, _ in pairs)])
    for part, arrays in pairs:
        if arrays:
            part.set_weights(arrays)
    return result


# What each layer becomes: functions (keras.layers, layer, parameters, name and dtype) that return Keras' layers and their arrays.


def _dense(kinds, layer, params, common) -> list:
    part = kinds.Dense(layer.size, NAMES[layer.activation or "identity"], layer.bias, **common)
    return [(part, [params["weight"].T, *([params["bias"]] if layer.bias else [])])]


def _embedding(kinds, layer, params, common) -> list:
    return [(kinds.Embedding(layer.size, layer.features, **common), [params["weight"]])]


def _one_hot(kinds, layer, params, common) -> list:
    part = kinds.Embedding(layer.size, layer.size, trainable=False, **common)
    return [(part, [np.eye(layer.size, dtype=common["dtype"])])]


def _activation(kinds, layer, params, common) -> list:
    return [(kinds.Activation(NAMES[layer.activation], **common), [])]


def _dropout(kinds, layer, params, common) -> list:
    return [(kinds.Dropout(layer.rate, (None, 1, None) if layer.same_over_time else None, **common), [])]


def _pool(kinds, layer, params, common) -> list:
    return [] if layer.kind == "last" else [(getattr(kinds, POOLS[layer.kind])(**common), [])]


def _recurrent(kinds, layer, params, common) -> list:
    found = []
    for level, name in enumerate(_level_names(common["name"], layer)):
        last = level + 1 == layer.num_layers
        found.append(_level(kinds, layer, level, params, common | {"name": name}))
        if layer.dropout and not last:
            found.append((kinds.Dropout(layer.dropout, **common | {"name": f"{name}_dropout"}), []))
    return found


def _level(kinds, layer, level, params, common) -> tuple:
    """Return the Keras layer of one level, and its arrays."""
    kind = {RNN: "SimpleRNN"}.get(type(layer), type(layer).__name__)
    options = {
        "use_bias": bool(layer.bias),
        "return_sequences": layer.return_sequences or level + 1 < layer.num_layers,
        "recurrent_dropout": layer.recurrent_dropout,
    }
    options |= {"activation": NAMES[layer.activation]} if kind == "SimpleRNN" else {}
    options |= {"reset_after": layer.reset_after} if kind == "GRU" else {}
    options |= {"go_backwards": True} if layer.reverse else {}
    ends = suffixes(layer.bidirectional, layer.reverse, level)
    arrays = [array for suffix in ends for array in theirs(layer, params, suffix)]
    make = getattr(kinds, kind)
    if layer.bidirectional:
        inner = make(layer.hidden_size, dtype=common["dtype"], **options)
        return kinds.Bidirectional(inner, merge_mode=layer.merge, **common), arrays
    return make(layer.hidden_size, **common, **options), arrays


WRITERS = {
    RNN: _recurrent, LSTM: _recurrent, GRU: _recurrent, Dense: _dense, Embedding: _embedding, OneHot: _one_hot,
    Activation: _activation, Dropout: _dropout, Pool: _pool,
}  # fmt: skip
