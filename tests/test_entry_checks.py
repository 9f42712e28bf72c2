"""Every public function that hands arrays to compiled code: an array of another layout or dtype gives the result of its plain copy,
or an exception that names the argument, and never garbage.

The values are 0 and 1, which every dtype holds.
"""

import functools
import re

import numba
import numpy as np
import pytest

from numbarnn import (
    GRU,
    LSTM,
    RNN,
    Dense,
    Embedding,
    EmbeddingBag,
    Model,
    SequenceRegressor,
    decoding,
    metrics,
    optim,
    step_function,
)
from numbarnn.data import Batch, SequenceScaler, make_windows
from numbarnn.losses import CTC, SoftmaxCrossEntropy
from numbarnn.optim import blend
from numbarnn.training.steps import Steps

RNG = np.random.default_rng(0)
SHAPE = N, T, C = 3, 4, 2
FLOAT = np.float32


def bits(*shape, dtype=FLOAT):
    return RNG.integers(0, 2, shape).astype(dtype)


# What an array is turned into


def strided(a):
    wide = np.full((*a.shape, 2), 7).astype(a.dtype)
    wide[..., 0] = a
    return wide[..., 0]


def reversed_rows(a):
    return a[::-1].copy()[::-1]


def fortran(a):
    return np.array(a, order="F")


def every_second(a):
    return np.repeat(a, 2, axis=0)[::2]


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def unaligned(a):
    memory = np.zeros(a.nbytes + 1, np.uint8)
    shifted = memory[1:].view(a.dtype).reshape(a.shape)
    shifted[...] = a
    return shifted


def swapped(a):
    return a.astype(a.dtype.newbyteorder())


def of_type(name, a):
    return a.astype(name)


LAYOUTS = {f.__name__: f for f in (strided, reversed_rows, fortran, every_second, read_only, unaligned, swapped)}
DTYPES = {
    name: functools.partial(of_type, name)
    for name in (
        "float64", "float32", "float16", "longdouble", "int64", "int32", "int8", "uint64", "uint8", "bool", "complex64", "O", "U3",
        "datetime64[s]",
    )
}  # fmt: skip
VARIANTS = LAYOUTS | DTYPES


# Entry points: name -> (argument, its array, call of a variant of it that returns arrays)


@functools.cache
def model(kind):
    options = {"n_threads": 1, "seed": 1}
    return {
        "lstm": lambda: Model([LSTM(3), Dense(2)], C, **options),
        "double": lambda: Model([GRU(3, bidirectional=True), Dense(2)], C, dtype="float64", **options),
        "tokens": lambda: Model([Embedding(2, 2), RNN(3), Dense(2)], **options),
        "bags": lambda: Model([EmbeddingBag(2, 2, bag=2), RNN(3), Dense(2)], **options),
    }[kind]()


X, X64, TOKENS, BAGS = (
    bits(*SHAPE),
    bits(*SHAPE, dtype=np.float64),
    bits(N, T, dtype=np.int64),
    bits(N, T, 2, dtype=np.int64),
)
H, CLASSES, VALUES = bits(1, N, 3), bits(N, T, dtype=np.int64), bits(N, T, 2)
WEIGHT = bits(N, T)
WEIGHT[0, 0] = 1
LENGTHS = np.array([1, 0, 1])
LABELS = np.array([[1, 0], [1, 1], [1, 0]])  # without a blank before the end, -1 being no value of an unsigned dtype
FLAT = bits(10)


def flattened(result):
    if isinstance(result, dict):
        return [a for key in sorted(result) for a in flattened(result[key])]
    if isinstance(result, (tuple, list)):
        return [a for part in result for a in flattened(part)]
    if hasattr(result, "params") and hasattr(result, "x"):
        return flattened((result.params, [] if result.x is None else result.x, result.state))
    return [np.array(result)]


def pulled(array=None, dstate=None):
    _, _, pullback = model("lstm").vjp(X)
    return pullback(VALUES if array is None else array, dstate)


def streamed(array):
    stream = model("lstm").stream()
    return [stream.step(array).copy(), stream.snapshot(), stream.step(array).copy()]


def streamed_out(array):
    stream = model("lstm").stream()
    stream.step(X[0, 0], out=array)
    return array


def restored(array):
    stream = model("lstm").stream()
    stream.restore(((array, H[:, :1]),))
    return stream.step(X[0, 0])


def compiled(x=None, y=None, state=None):
    step, weights, own = step_function(model("lstm"))
    state, y = own if state is None else state, np.zeros(2, FLOAT) if y is None else y
    step(weights, X[0, 0] if x is None else x, state, y)
    return np.array(y), np.array(state)


def trained(kind="lstm", loss="softmax_cross_entropy", **arrays):
    net = model(kind).copy()
    steps = Steps(net, loss, "sgd", n_threads=1)
    batch = {"x": X if kind == "lstm" else TOKENS, "y": CLASSES} | arrays
    value = steps.train_batch(Batch(**batch))
    return value, net.params.flat.copy()


def updated(name, **arrays):
    own = {"weights": np.zeros(10, FLOAT), "gradient": FLAT.copy(), "moment": np.zeros(10, FLOAT)} | arrays
    adam = optim.OPTIMIZERS[name]()
    moments = [own["moment"], *(np.zeros(10, FLOAT) for _ in range(adam.arrays - 1))]
    adam.update(own["weights"], own["gradient"], moments, 1, 0.1)
    return [own["weights"], *moments]


def in_place(function, *arguments):
    def call(array):
        function(array, *arguments)
        return array

    return call


def blended(array):
    values = FLAT.copy()
    blend(values, array, 0.5, 0.25)
    return values


def set_flat(array):
    net = model("lstm").copy()
    net.set_flat(array)
    return net.params.flat.copy()


def load_state(array):
    net = model("lstm").copy()
    values = net.state_dict()
    values["dense.bias"] = array
    return net.load_state_dict(values).params.flat.copy()


def fitted(x=None, y=None, weight=None):
    options = {"hidden_size": 2, "epochs": 1, "n_threads": 1, "random_state": 0}
    found = SequenceRegressor(**options).fit(
        X if x is None else x, VALUES[:, 0] if y is None else y, sample_weight=weight
    )
    return found.predict(X)


def windowed(array):
    windows = make_windows(array, lookback=3, delay=1, target=0)
    return windows.X, windows.y


TABLE = bits(12, 2)
LOGITS = bits(N, T, 3)
MODEL = functools.partial(model, "lstm")

ENTRIES = {
    "forward": ("x", X, lambda a: MODEL().forward(a)),
    "forward-double": ("x", X64, lambda a: model("double").forward(a)),
    "forward-tokens": ("x", TOKENS, lambda a: model("tokens").forward(a)),
    "forward-bags": ("x", BAGS, lambda a: model("bags").forward(a)),
    "forward-state": ("state", H, lambda a: MODEL().forward(X, ((a, H),))),
    "forward-lengths": ("lengths", LENGTHS, lambda a: MODEL().forward(X, lengths=a)),
    "predict_proba": ("x", X, lambda a: MODEL().predict_proba(a)),
    "predict_proba-lengths": ("lengths", LENGTHS, lambda a: MODEL().predict_proba(X, lengths=a)),
    "step": ("x", X[:, 0].copy(), lambda a: MODEL().step(a)),
    "step-one": ("x", X[:1, 0].copy(), lambda a: MODEL().step(a)),
    "step-tokens": ("x", TOKENS[:, 0].copy(), lambda a: model("tokens").step(a)),
    "step-one-token": ("x", TOKENS[:1, 0].copy(), lambda a: model("tokens").step(a)),
    "step-state": ("state", H[:, :1].copy(), lambda a: MODEL().step(X[:1, 0], ((H[:, :1], a),))),
    "loss_and_grad": ("x", X, lambda a: MODEL().loss_and_grad(a, CLASSES)),
    "loss_and_grad-classes": ("target", CLASSES, lambda a: MODEL().loss_and_grad(X, a)),
    "loss_and_grad-values": ("target", VALUES, lambda a: MODEL().loss_and_grad(X, a, "mse")),
    "loss_and_grad-questions": ("target", VALUES, lambda a: MODEL().loss_and_grad(X, a, "binary_cross_entropy")),
    "loss_and_grad-labels": ("target", LABELS[:, :1].copy(), lambda a: MODEL().loss_and_grad(X, a, CTC())),
    "loss_and_grad-weight": ("sample_weight", WEIGHT, lambda a: MODEL().loss_and_grad(X, CLASSES, sample_weight=a)),
    "loss_and_grad-class-weight": (
        "class_weight", np.ones(2), lambda a: MODEL().loss_and_grad(X, CLASSES, SoftmaxCrossEntropy(class_weight=a)),
    ),
    "vjp": ("x", X, lambda a: MODEL().vjp(a)[2](VALUES)),
    "pullback": ("doutputs", VALUES, lambda a: pulled(a)),
    "pullback-state": ("state", H, lambda a: pulled(dstate=((a, H),))),
    "stream": ("x_t", X[0, 0].copy(), streamed),
    "stream-out": ("out", np.zeros(2, FLOAT), streamed_out),
    "stream-restore": ("state", H[:, :1].copy(), restored),
    "compiled-step-x": ("x", X[0, 0].copy(), lambda a: compiled(x=a)),
    "compiled-step-y": ("y", np.zeros(2, FLOAT), lambda a: compiled(y=a)),
    "compiled-step-state": ("state", np.zeros(step_function(MODEL())[2].size, FLOAT), lambda a: compiled(state=a)),
    "train_batch": ("x", X, lambda a: trained(x=a)),
    "train_batch-tokens": ("x", TOKENS, lambda a: trained("tokens", x=a)),
    "train_batch-classes": ("y", CLASSES, lambda a: trained(y=a)),
    "train_batch-values": ("y", VALUES, lambda a: trained(loss="mse", y=a)),
    "train_batch-weight": ("sample_weight", WEIGHT, lambda a: trained(sample_weight=a)),
    "train_batch-lengths": ("lengths", LENGTHS, lambda a: trained(lengths=a)),
    "set_flat": ("", bits(MODEL().params.flat.size), set_flat),
    "load_state_dict": ("dense.bias", bits(2), load_state),
    **{
        f"{name}-{argument}": (pattern, array, lambda a, n=name, k=argument: updated(n, **{k: a}))
        for name in optim.OPTIMIZERS
        for argument, pattern, array in (
            ("weights", "weights|gradient", np.zeros(10, FLOAT)),
            ("gradient", "gradient", FLAT),
            ("moment", "arrays", np.zeros(10, FLOAT)),
        )
    },
    "blend": ("values|others", FLAT, in_place(blend, FLAT, 0.5, 0.25)),
    "blend-others": ("others", FLAT, lambda a: blended(a)),
    "norm": ("gradient", FLAT, optim.norm),
    "clip_by_norm": ("gradient", FLAT, in_place(optim.clip_by_norm, 0.5)),
    "clip_by_value": ("gradient", FLAT, in_place(optim.clip_by_value, 0.5)),
    "best_path": ("logits", LOGITS, decoding.best_path),
    "best_path-lengths": ("lengths", LENGTHS, lambda a: decoding.best_path(LOGITS, a)),
    "beam_search": ("logits", LOGITS, lambda a: decoding.beam_search(a, n_best=2, n_threads=1)),
    "beam_search-lengths": ("lengths", LENGTHS, lambda a: decoding.beam_search(LOGITS, a, n_threads=1)),
    "align": ("logits", LOGITS, lambda a: decoding.align(a, LABELS[:, :1])),
    "align-labels": ("labels", LABELS[:, :1].copy(), lambda a: decoding.align(LOGITS, a)),
    "occupancy": ("logits", LOGITS, lambda a: decoding.occupancy(a, LABELS[:, :1])),
    "occupancy-labels": ("labels", LABELS[:, :1].copy(), lambda a: decoding.occupancy(LOGITS, a)),
    "collapse": ("path", CLASSES[0].copy(), decoding.collapse),
    "mae": ("forecast", VALUES, lambda a: metrics.mae(VALUES * 0.5, a)),
    "rmse": ("forecast", VALUES, lambda a: metrics.rmse(VALUES * 0.5, a)),
    "r2": ("truth", VALUES[0], lambda a: metrics.r2(a, VALUES[1])),
    "r2-weight": ("sample_weight", np.ones(T), lambda a: metrics.r2(VALUES[0], VALUES[1], a)),
    "naive_scale": ("series", VALUES[0], metrics.naive_scale),
    "accuracy": ("truth", CLASSES, lambda a: metrics.accuracy(a, CLASSES[::-1])),
    "confusion": ("truth", CLASSES, lambda a: metrics.confusion(a, CLASSES[::-1]).to_numpy()),
    "f1": ("truth", CLASSES, lambda a: metrics.f1(a, CLASSES[::-1]).to_numpy()),
    "accuracy-weight": ("sample_weight", WEIGHT, lambda a: metrics.accuracy(CLASSES, CLASSES[::-1], a)),
    "label_errors": ("truth", CLASSES, lambda a: metrics.label_errors(a, CLASSES[::-1])),
    "make_windows": ("", TABLE, windowed),
    "scaler": ("", TABLE, lambda a: SequenceScaler().fit(a).transform(TABLE)),
    "estimator": ("X", X, lambda a: fitted(x=a)),
    "estimator-target": ("y", VALUES[:, 0].copy(), lambda a: fitted(y=a)),
    "estimator-weight": ("sample_weight", np.ones(N), lambda a: fitted(weight=a)),
}  # fmt: skip

# Labels may be of any type that is hashable, and different types may be equal or not: 1 == 1.0 == True != "1".
LABELS_OF_ANY_TYPE = {"accuracy", "confusion", "f1", "label_errors"}
# Numba's dispatcher takes swapped bytes for native ones before any code of ours runs; in compiled code there are no
# such arrays. Few dtypes, since each is compiled for.
COMPILED_DTYPES = {"float64", "float16", "int8", "complex64", "O"}
DISPATCHED = {"compiled-step-x", "compiled-step-y", "compiled-step-state"}


def alike(found, expected, name):
    """Return whether results are equal: to the bit for another layout, up to rounding for another dtype."""
    if len(found) != len(expected) or any(a.shape != b.shape for a, b in zip(found, expected, strict=True)):
        return False
    if name in LAYOUTS:
        return all(map(np.array_equal, found, expected))
    tolerance = 1e-3 if name == "float16" else 1e-6
    return all(np.allclose(a, b, tolerance, tolerance) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_layouts_and_dtypes(entry):
    argument, array, call = ENTRIES[entry]
    expected = flattened(call(array.copy()))
    wrong = []
    for name, change in VARIANTS.items():
        try:
            variant = change(array)
        except ValueError:  # no such dtype on this machine
            continue
        if entry in LABELS_OF_ANY_TYPE and name in ("U3", "datetime64[s]", "complex64"):
            continue
        if entry in DISPATCHED and (name == "swapped" or name in DTYPES.keys() - COMPILED_DTYPES):
            continue
        before = variant.copy()
        try:
            found = flattened(call(variant))
        except (TypeError, ValueError, numba.TypingError) as error:
            typing = (
                isinstance(error, numba.TypingError) and entry in DISPATCHED
            )  # says "argument 1" where it has no such type
            if not (typing or re.search(argument, str(error))):
                wrong.append(f"{name}: {type(error).__name__} does not name {argument}: {error}")
            elif name in ("strided", "every_second", "read_only") and not np.array_equal(variant, before):
                wrong.append(f"{name}: refused, and yet the array was changed")
            continue
        except Exception as error:
            wrong.append(f"{name}: {type(error).__name__}: {error}")
            continue
        if not alike(found, expected, name):
            wrong.append(f"{name}: another result")
    assert not wrong, "\n" + "\n".join(wrong)
