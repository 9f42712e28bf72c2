"""Keras' layers to layers: what reads each of them."""

from collections.abc import Callable

from numbarnn.interop.keras.arrays import counted
from numbarnn.interop.keras.description import reasons_not_own
from numbarnn.interop.keras.names import POOLING
from numbarnn.interop.keras.part import Part, activation_of
from numbarnn.interop.keras.recurrent import bidirectional, recurrent
from numbarnn.layers import Activation, Dense, Dropout, Embedding, Pool

UNSET = (None, 0.0)


def time_distributed(part: Part) -> None:
    """Append the dense layer of every step."""
    inner = part.config["layer"]
    if inner["class_name"] != "Dense":
        raise ValueError(f"of {inner['class_name']}: Dense is known")
    part.chain.reasons += reasons_not_own(inner, f"the layer of {part.where}")
    part.check(inner["config"])
    _append_dense(part, inner["config"], part.weights("layer"))


def dense(part: Part) -> None:
    """Append a dense layer."""
    _append_dense(part, part.config, part.weights())


def _append_dense(part, config, arrays):
    """Append a dense layer; a last softmax is not a layer here."""
    activation = config.get("activation") or "linear"
    kernel, *bias = counted(arrays, 1 + bool(config["use_bias"]))
    named = {"weight": kernel.T} | ({"bias": bias[0]} if bias else {})
    own = None if activation == "softmax" and part.last else activation_of(activation)
    own = None if own == "identity" else own
    part.append(Dense, config["units"], bool(bias), activation=own, arrays=named)


def embedding(part: Part) -> None:
    """Append a table of vectors."""
    (table,) = counted(part.weights(), 1)
    part.append(Embedding, part.config["input_dim"], part.config["output_dim"], arrays={"weight": table})


def dropout(part: Part) -> None:
    """Append dropout, of every step alike where its noise says so."""
    shape = part.config.get("noise_shape")
    if shape is not None and not (len(shape) == 3 and shape[1] == 1 and shape[0] is None and shape[2] is None):
        raise ValueError(f"noise_shape {shape} is not (None, 1, None)")
    same = part.kind == "SpatialDropout1D" or shape is not None
    part.append(Dropout, float(part.config["rate"]), same_over_time=same)


def pooling(part: Part) -> None:
    """Append a mean or maximum of all steps."""
    part.check_options(keepdims=(None, False), data_format=(None, "channels_last"))
    part.append(Pool, POOLING[part.kind])


def activation(part: Part) -> None:
    """Append an activation; a last softmax is not a layer here."""
    part.check_options(max_value=(None,), negative_slope=UNSET, threshold=UNSET, axis=(None, [-1], -1))
    name = part.config["activation"] if part.kind == "Activation" else part.kind.lower()
    if not (name == "softmax" and part.last):
        part.append(Activation, activation_of(name))


def nothing(part: Part) -> None:
    """Append nothing: masks are lengths here, and an input is not a layer."""


READERS: dict[str, Callable[[Part], None]] = {
    "SimpleRNN": recurrent,
    "LSTM": recurrent,
    "GRU": recurrent,
    "Bidirectional": bidirectional,
    "TimeDistributed": time_distributed,
    "Dense": dense,
    "Embedding": embedding,
    "Dropout": dropout,
    "SpatialDropout1D": dropout,
    "GlobalAveragePooling1D": pooling,
    "GlobalMaxPooling1D": pooling,
    "Activation": activation,
    "ReLU": activation,
    "Softmax": activation,
    "Masking": nothing,
    "InputLayer": nothing,
}
