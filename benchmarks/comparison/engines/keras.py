"""Keras, on JAX where that is installed (compiled, the faster of its backends here), else on torch."""

import importlib.util
import os
import time

import numpy as np

from comparison import cases
from comparison.engines import Prepared
from comparison.engines.processors import hold_to

# Keras' blocks, from torch's: LSTM i f c o as torch, GRU z r h of r z n.
ORDER = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "RNN": (0,)}
NAMES = {"LSTM": "LSTM", "GRU": "GRU", "RNN": "SimpleRNN"}


def _import(case):
    backend = "jax" if importlib.util.find_spec("jax") else "torch"
    os.environ["KERAS_BACKEND"] = backend
    if backend == "jax":
        hold_to(case.threads)
    else:
        import torch

        torch.set_num_threads(case.threads)
    import keras

    return keras


def _weights(case):
    """Return kernel, recurrent kernel and bias as Keras has them."""
    hidden, order, named = case.size[1], list(ORDER[case.cell]), cases.weights(case)

    def blocks(name):
        values = named[name]
        return values.reshape(len(order), hidden, *values.shape[1:])[order].reshape(values.shape)

    biases = [blocks("bias_ih_l0"), blocks("bias_hh_l0")]
    bias = np.stack(biases) if case.cell == "GRU" else biases[0] + biases[1]
    return [blocks("weight_ih_l0").T, blocks("weight_hh_l0").T, bias]


def _model(keras, case, dense=False):
    inputs, hidden, _, steps = case.size
    recurrent = getattr(keras.layers, NAMES[case.cell])(hidden, return_sequences=True)
    above = [keras.layers.Dense(cases.classes(case))] if dense else []
    model = keras.Sequential([keras.Input((steps, inputs)), recurrent, *above])
    recurrent.set_weights(_weights(case))
    if dense:
        values = cases.dense_weights(case)
        above[0].set_weights([values["weight"].T, values["bias"]])
    return model


def forward(case):
    """Return `predict_on_batch`, whose outputs are an array."""
    keras = _import(case)
    model, (x, _) = _model(keras, case), cases.batch(case)
    return Prepared(lambda: model.predict_on_batch(x), lambda y: {"outputs": y})


def _trained(keras, case, rate):
    model = _model(keras, case, dense=True)
    # The other engines' epsilon; Keras' default is 1e-7.
    model.compile(
        keras.optimizers.Adam(rate, epsilon=1e-8), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def epoch(case):
    """Return an epoch of `fit` with Adam, batches in the order of the samples."""
    keras = _import(case)
    model, (x, y) = _trained(keras, case, cases.LEARNING_RATE), cases.epoch(case)
    return Prepared(
        lambda: model.fit(x, y, case.size[2], 1, verbose=0, shuffle=False),
        lambda history: {"loss": history.history["loss"][-1]},
    )


def target(case):
    """Return training with `fit` until the validation loss is reached; the model is compiled before the clock starts."""
    keras = _import(case)
    x, y = cases.task(case, 1, cases.TARGET_SAMPLES)
    validation = cases.task(case, 2, cases.TARGET_SAMPLES // 4)
    model = _trained(keras, case, cases.TARGET_RATE)
    recurrent, above = model.layers
    model.fit(x, y, case.size[2], 1, verbose=0, shuffle=False, validation_data=validation)
    zeros = [np.zeros(value.shape, value.dtype) for value in model.optimizer.variables]

    class Reached(keras.callbacks.Callback):
        """End of the training at the target."""

        def on_epoch_end(self, epoch, logs=None):
            """End it."""
            self.model.stop_training = logs["val_loss"] <= cases.TARGET_LOSS

    def call():
        recurrent.set_weights(_weights(case))
        values = cases.dense_weights(case)
        above.set_weights([values["weight"].T, values["bias"]])
        for variable, zero in zip(model.optimizer.variables, zeros, strict=True):
            if "learning_rate" not in variable.path:
                variable.assign(zero)
        started = time.perf_counter()
        history = model.fit(
            x,
            y,
            case.size[2],
            cases.TARGET_EPOCHS,
            verbose=0,
            shuffle=False,
            validation_data=validation,
            callbacks=[Reached()],
        )
        return time.perf_counter() - started, history.history["val_loss"]

    return Prepared(call, lambda result: {"losses": result[1]}, once=True)
