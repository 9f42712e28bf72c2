"""numbarnn: `forward`, `loss_and_grad`, `stream().step`, `fit`, and a model that is loaded in a new process."""

import time

import numpy as np

import numbarnn
from comparison import cases
from comparison.engines import Prepared, walk
from numbarnn.training.callbacks import Callback


def _model(case, dense=False):
    inputs, hidden = case.size[:2]
    layers = [getattr(numbarnn, case.cell)(hidden)] + ([numbarnn.Dense(cases.classes(case))] if dense else [])
    model = numbarnn.Model(layers, input_size=inputs, n_threads=case.threads)
    values = cases.weights(case)
    if dense:
        recurrent, above = _prefixes(model)
        values = {f"{recurrent}{name}": value for name, value in values.items()}
        values |= {f"{above}{name}": value for name, value in cases.dense_weights(case).items()}
    return model.load_state_dict(values)


def _prefixes(model):
    """Return what the names of the recurrent and of the dense layer's parameters begin with."""
    names = list(model.params)
    return (
        next(name.removesuffix("weight_ih_l0") for name in names if name.endswith("weight_ih_l0")),
        next(name.removesuffix("weight") for name in names if name.endswith("weight")),
    )


def forward(case):
    """Return the forward pass of a batch, outputs in an array."""
    model, (x, _) = _model(case), cases.batch(case)
    return Prepared(lambda: model.forward(x)[0], lambda y: {"outputs": y})


def _gradients(case, lengths=None):
    model, (x, y) = _model(case), cases.batch(case)

    def call():
        with model.params.writing():
            pass  # as an optimizer does: weights are packed anew, as in every step of training
        return model.loss_and_grad(x, y, "mse", lengths)

    def outputs(result):
        loss, gradients = result
        return {"loss": loss, **{name.rpartition(".")[2]: values for name, values in gradients.items()}}

    return Prepared(call, outputs)


def bptt(case):
    """Return a pass with the gradients of all weights; the squared error is the loss."""
    return _gradients(case)


def ragged(case):
    """Return the same for samples of different lengths."""
    return _gradients(case, cases.lengths(case))


def stream(case):
    """Return the step of a stream."""
    return Prepared(walk(_model(case).stream().step, cases.stream_inputs(case)), lambda y: {"outputs": y}, each=True)


def epoch(case):
    """Return an epoch of `fit` with Adam, batches in the order of the samples."""
    model, (x, y) = _model(case, dense=True), cases.epoch(case)
    options = {"batch_size": case.size[2], "learning_rate": cases.LEARNING_RATE, "shuffle": False, "verbose": 0}
    return Prepared(
        lambda: model.fit(x, y, epochs=1, **options),
        lambda history: {"loss": history["loss"][-1], "weights": model.params.flat.copy()},
    )


class _Reached(Callback):
    def on_epoch_end(self, trainer, record):
        return record["val_loss"] <= cases.TARGET_LOSS


def target(case):
    """Return training with `fit` until the validation loss is reached."""
    x, y = cases.task(case, 1, cases.TARGET_SAMPLES)
    validation = cases.task(case, 2, cases.TARGET_SAMPLES // 4)

    def call():
        model = _model(case, dense=True)
        started = time.perf_counter()
        history = model.fit(
            x, y, epochs=cases.TARGET_EPOCHS, batch_size=case.size[2], learning_rate=cases.TARGET_RATE, shuffle=False,
            validation=validation, callbacks=[_Reached()], verbose=0,
        )  # fmt: skip
        return time.perf_counter() - started, history["val_loss"]

    return Prepared(call, lambda result: {"losses": np.asarray(result[1])}, once=True)


PROGRAM = """
import sys, numpy as np, numbarnn
model = numbarnn.load(sys.argv[1])
y = model.forward(np.linspace(-1, 1, {count}, dtype=np.float32).reshape(1, {steps}, {inputs}))[0]
print(*y[0, -1])
"""


def startup(case):
    """Return a new process that loads a model and predicts."""
    from comparison.startup import new_process

    return new_process(case, PROGRAM, lambda path: _model(case).save(path), "model.safetensors")
