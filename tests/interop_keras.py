"""Writes Keras files, their outputs and what comes back; `test_interop_keras.py` starts this in a process of its own.

Keras chooses what it computes with where it is imported. Argument: folder.
"""

import json
import pathlib
import sys

import keras
import numpy as np
from keras import layers

from numbarnn.errors import InteropError
from numbarnn.interop import from_keras, to_keras

N, T, C, H = 3, 6, 4, 5
GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((N, T, C)).astype("float32")
TOKENS = GENERATOR.integers(1, 9, (N, T))


def chain(*parts, tokens=False, dtype=None):
    start = keras.Input((None,), dtype="int32") if tokens else keras.Input((None, C), dtype=dtype)
    return keras.Sequential([start, *parts])


def functional():
    start = keras.Input((None, C))
    hidden = layers.SimpleRNN(H, name="reader")(layers.Masking(0.0)(start))
    return keras.Model(start, layers.Dense(2, name="answer")(hidden))


def models():
    """Yield name, model and input."""
    for kind, more in (
        ("LSTM", {}),
        ("GRU", {}),
        ("GRU", {"reset_after": False}),
        ("SimpleRNN", {"activation": "relu"}),
    ):
        for mode, sequences, bias in ((None, True, True), ("concat", True, False), ("sum", False, True)):
            part = getattr(layers, kind)(H, return_sequences=sequences, use_bias=bias, **more)
            part = layers.Bidirectional(part, merge_mode=mode) if mode else part
            yield f"{kind} {mode} {''.join(more)}", chain(part, layers.Dense(2, use_bias=bias)), X
    yield "backwards", chain(layers.GRU(3, go_backwards=True), layers.Dense(2, activation="softmax")), X
    yield "parts", chain(
        layers.Embedding(9, 4, mask_zero=True), layers.Bidirectional(layers.LSTM(H, return_sequences=True)),
        layers.LSTM(3, return_sequences=True, dropout=0.1, recurrent_dropout=0.2), layers.SpatialDropout1D(0.2),
        layers.TimeDistributed(layers.Dense(3, activation="tanh")), layers.GlobalAveragePooling1D(), layers.Activation("sigmoid"),
        tokens=True,
    ), TOKENS  # fmt: skip
    yield "functional", functional(), X


class Dense(layers.Dense):
    """A layer of the user's own with the name of one of Keras."""

    def call(self, x, training=None):
        return 2 * super().call(x)


def adapted():
    model = chain(layers.Dense(3))
    model.layers[0].enable_lora(2)
    return model


def masked_otherwise():
    start = keras.Input((None,), dtype="int32")
    return keras.Model(start, layers.LSTM(H)(layers.Embedding(9, 4)(start), mask=keras.ops.not_equal(start, 7)))


def training():
    start = keras.Input((None, C))
    return keras.Model(start, layers.Dropout(0.5)(layers.LSTM(H)(start), training=True))


def refused():
    """Yield name and model."""
    start = keras.Input((None, C))
    hidden = layers.LSTM(C, return_sequences=True)(start)
    yield "two inputs", keras.Model(start, layers.Add()([start, hidden]))
    yield "shared", keras.Model(start, (layer := layers.Dense(C))(layer(start)))
    yield "activation", chain(layers.LSTM(H, recurrent_activation="hard_sigmoid"))
    yield "unknown", chain(layers.LayerNormalization(), layers.Lambda(lambda x: 2 * x), layers.Conv1D(3, 2))
    yield "backwards", chain(layers.GRU(H, go_backwards=True, return_sequences=True))
    yield "softmax within", chain(layers.Dense(3, activation="softmax"), layers.Dense(2))
    yield "half", chain(layers.Dense(3, dtype="mixed_float16"))
    half = layers.LSTM(H, return_sequences=True, dtype="mixed_float16")
    yield (
        "half within",
        chain(layers.Bidirectional(half), layers.TimeDistributed(layers.Dense(3, dtype="mixed_float16"))),
    )
    yield (
        "options",
        chain(
            layers.ReLU(max_value=1.0),
            layers.ReLU(negative_slope=0.1),
            layers.ReLU(threshold=0.5),
            layers.Softmax(axis=1),
        ),
    )
    yield "pooling", chain(layers.GlobalAveragePooling1D(data_format="channels_first"))
    yield "max of masked", chain(layers.Masking(), layers.LSTM(H, return_sequences=True), layers.GlobalMaxPooling1D())
    yield "adapted", adapted()
    yield "own", chain(Dense(3), layers.TimeDistributed(Dense(3)))
    yield "own within", chain(layers.TimeDistributed(Dense(3)))
    yield "own mask", masked_otherwise()
    yield "training", training()
    yield "states", chain(layers.LSTM(H, return_state=True))
    yield "stateful", keras.Sequential([keras.Input(batch_shape=(2, T, C)), layers.LSTM(H, stateful=True)])


def main(folder):
    folder, results, reasons = pathlib.Path(folder), {}, {}
    for number, (name, model, x) in enumerate(models()):
        for variable in model.weights:
            variable.assign(np.asarray(variable.value.detach()) + 0.3 * GENERATOR.standard_normal(variable.shape))
        model.save(folder / f"{number}.keras")
        model.save_weights(folder / f"{number}.weights.h5")
        ours = from_keras(model)
        again = to_keras(ours, folder / f"{number}-again.keras")
        results |= {
            f"{number} name": name, f"{number} x": x, f"{number} y": model(x).detach().numpy(), f"{number} flat": ours.params.flat,
            f"{number} again": again(x).detach().numpy(),
        }  # fmt: skip
    masked = TOKENS * (np.arange(T) < np.array([[6], [2], [4]]))
    parts = chain(layers.Embedding(9, 4, mask_zero=True), layers.LSTM(H), layers.Dense(2), tokens=True)
    parts.save(folder / "masked.keras")
    results |= {"masked x": masked, "masked y": parts(masked).detach().numpy()}
    for name, model in refused():
        try:
            from_keras(model)
            reasons[name] = []
        except InteropError as error:
            reasons[name] = error.reasons
    np.savez(folder / "results.npz", **results)
    (folder / "reasons.json").write_text(json.dumps(reasons))


if __name__ == "__main__":
    main(sys.argv[1])
