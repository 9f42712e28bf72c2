"""Wrong arguments are refused, with the exception that a caller would expect and a message that says what is allowed."""

import collections
import types

import numpy as np
import pandas as pd
import pytest

from numbarnn import (
    GRU,
    LSTM,
    RNN,
    Dense,
    Dropout,
    Embedding,
    IndRNN,
    MinGRU,
    MinLSTM,
    Model,
    OneHot,
    Recurrent,
    cells,
)
from numbarnn.cells import CELLS, contract, register
from numbarnn.core import initializers
from numbarnn.data import ArraySource, Ragged, WordFeatures, make_windows
from numbarnn.errors import ShapeError, TokenError
from numbarnn.estimators import SegmentClassifier, SequenceClassifier, SequenceRegressor
from numbarnn.kernels.activation import ACTIVATIONS
from numbarnn.losses import SegmentCrossEntropy, SoftmaxCrossEntropy, make_loss
from numbarnn.optim import EMA, SGD, Adam, AdamW, Cosine, RMSprop, StepDecay, WarmUp, make_average, make_optimizer
from numbarnn.training.callbacks import EarlyStopping

NAN, INF = float("nan"), float("inf")
X = np.zeros((3, 4, 2))
TOKENS = np.zeros((3, 4), int)


@pytest.fixture(scope="module")
def m():
    """Models by kind; all take 3 samples of 4 steps."""

    def make(*layers, **options):
        return Model(layers, dtype="float64", n_threads=1, **options)

    return types.SimpleNamespace(
        lstm=make(LSTM(5), Dense(3), input_size=2),
        gru=make(GRU(5, 2, bidirectional=True), input_size=2),
        single=make(RNN(5), input_size=1),
        letters=make(OneHot(6), RNN(5), Dense(6)),
        embedded=make(Embedding(6, 2), RNN(5, return_sequences=False), Dense(6)),
        numbers=make(RNN(5), Dense(2), input_size=2),
    )


def refused(name, call, error, message):
    """One row of a table: the call gets the models `m`."""
    return pytest.param(call, error, message, id=name)


def check(call, error, message, *arguments):
    with pytest.raises(error, match=message) as caught:
        call(*arguments)
    # The very class, or a subclass that the package made for this.
    assert caught.type is error or caught.type.__module__.startswith("numbarnn"), caught.type


def changed(array, index, value):
    array = np.array(array, dtype=np.result_type(array, type(value)))
    array[index] = value
    return array


# Data

DATA = [
    refused("rank-2", lambda m: m.lstm.forward(X[0]),
        ShapeError, r"x must .* with 2 features, got \(4, 2\); add an axis: x\[None\]"),
    refused("rank-2-one-feature", lambda m: m.single.forward(X[:, :, 0]),
        ShapeError, r"got \(3, 4\); add an axis: x\[:, :, None\]"),
    refused("rank-4", lambda m: m.lstm.forward(X[None]), ShapeError, r"got \(1, 3, 4, 2\)"),
    refused("rank-0", lambda m: m.lstm.forward(1.0), ShapeError, r"got \(\)"),
    refused("none", lambda m: m.lstm.forward(None), TypeError, "x must be numeric, got dtype object"),
    refused("feature-count", lambda m: m.lstm.forward(X[:, :, :1]), ShapeError, r"with 2 features, got \(3, 4, 1\)"),
    refused("no-samples", lambda m: m.lstm.forward(X[:0]), ShapeError, r"at least one sample .* got shape \(0, 4, 2\)"),
    refused("no-steps", lambda m: m.lstm.forward(X[:, :0]), ShapeError, r"one time step, got shape \(3, 0, 2\)"),
    refused("no-tokens", lambda m: m.letters.forward(TOKENS[:0]), ShapeError, r"at least one sample"),
    refused("strings", lambda m: m.lstm.forward(X.astype(str)), TypeError, "x must be numeric, got dtype <U"),
    refused("complex", lambda m: m.lstm.forward(X + 1j), TypeError, "x must be numeric, got dtype complex128"),
    refused("objects", lambda m: m.lstm.forward(X.astype(object)), TypeError, "x must be numeric, got dtype object"),
    refused("dates", lambda m: m.lstm.forward(X.astype("M8[s]")), TypeError, "x must be numeric, got dtype datetime64"),
    refused("float-tokens", lambda m: m.letters.forward(TOKENS * 1.0),
        TypeError, "x must be integer tokens, got dtype float64"),
    refused("bool-tokens", lambda m: m.letters.forward(TOKENS > 0),
        TypeError, "x must be integer tokens, got dtype bool"),
    refused("token-rank-1", lambda m: m.letters.forward(TOKENS[0]),
        ShapeError, r"\(samples, time steps\) of tokens, got \(4,\)"),
    refused("token-rank-3", lambda m: m.embedded.forward(TOKENS[None]), ShapeError, r"got \(1, 3, 4\)"),
    refused("negative-token", lambda m: m.letters.forward(changed(TOKENS, (1, 2), -1)),
        TokenError, r"x\[1, 2\] is -1; the vocabulary has 6 tokens, 0 to 5"),
    refused("token-too-large", lambda m: m.embedded.forward(changed(TOKENS, (2, 3), 6)),
        TokenError, r"x\[2, 3\] is 6; the vocabulary has 6"),
    refused("token-beyond-int32", lambda m: m.letters.forward(changed(TOKENS, (0, 0), 2**32)),
        TokenError, r"x\[0, 0\] is 4294967296"),
    refused("token-uint64", lambda m: m.letters.forward(np.full((3, 4), 2**64 - 1, np.uint64)),
        TokenError, "is 18446744073709551615"),
    refused("token-inside-length", lambda m: m.letters.forward(changed(TOKENS, (1, 1), 9), lengths=[4, 2, 4]),
        TokenError, r"x\[1, 1\] is 9"),
    refused("length-too-large", lambda m: m.lstm.forward(X, lengths=[4, 5, 1]),
        ValueError, r"lengths\[1\] is 5; x has 4 time steps"),
    refused("length-negative", lambda m: m.lstm.forward(X, lengths=[4, 4, -1]), ValueError, r"lengths\[2\] is -1"),
    refused("lengths-float", lambda m: m.lstm.forward(X, lengths=[4.0, 2.0, 1.0]),
        TypeError, "lengths must be integers, got dtype float64"),
    refused("lengths-bool", lambda m: m.lstm.forward(X, lengths=[True, True, False]),
        TypeError, "lengths must be integers, got dtype bool"),
    refused("lengths-count", lambda m: m.lstm.forward(X, lengths=[4, 4]),
        ShapeError, r"lengths must have shape \(3,\), one for each sample, got \(2,\)"),
    refused("lengths-rank", lambda m: m.lstm.forward(X, lengths=[[4, 4, 4]]), ShapeError, r"got \(1, 3\)"),
    refused("lengths-scalar", lambda m: m.lstm.forward(X, lengths=4), ShapeError, r"got \(\)"),
    refused("lengths-tokens", lambda m: m.letters.forward(TOKENS, lengths=[4, 5, 1]), ValueError, r"lengths\[1\] is 5"),
    refused("step-rank", lambda m: m.lstm.step(X), ShapeError, r"x_t must have shape \(samples, 2\), got \(3, 4, 2\)"),
    refused("step-features", lambda m: m.lstm.step(X[:, 0, :1]), ShapeError, r"x_t must have shape \(samples, 2\), got \(3, 1\)"),
    refused("step-tokens", lambda m: m.letters.step(TOKENS),
        ShapeError, r"x_t must have shape \(samples,\) tokens, got \(3, 4\)"),
    refused("vjp", lambda m: m.lstm.vjp(X[0]), ShapeError, "x must have shape"),
    refused("predict_proba", lambda m: m.lstm.predict_proba(X[0]), ShapeError, "x must have shape"),
]  # fmt: skip


def zeros(*shape):
    return np.zeros(shape)


STATES = [
    refused("array", lambda m: m.lstm.forward(X, zeros(1, 3, 5)),
        ShapeError, "state must be a tuple with one entry for each of 1 recurrent"),
    refused("empty", lambda m: m.lstm.forward(X, ()), ShapeError, "one entry for each of 1 recurrent"),
    refused("too-many-layers", lambda m: m.lstm.forward(X, m.lstm.initial_state(3) * 2),
        ShapeError, "one entry for each of 1"),
    refused("one-of-two", lambda m: m.lstm.forward(X, ((zeros(1, 3, 5),),)),
        ShapeError, r"state\[0\] must be a tuple of the states \(h, c\) of LSTM"),
    refused("bare-array-of-two", lambda m: m.lstm.forward(X, (zeros(2, 3, 5),)),
        ShapeError, r"states \(h, c\) of LSTM"),
    refused("samples", lambda m: m.lstm.forward(X, m.lstm.initial_state(2)),
        ShapeError, r"state\[0\], h: expected .* = \(1, 3, 5\), got \(1, 2, 5\)"),
    refused("second-state", lambda m: m.lstm.forward(X, ((zeros(1, 3, 5), zeros(1, 3, 4)),)),
        ShapeError, r"state\[0\], c: .* got \(1, 3, 4\)"),
    refused("rank", lambda m: m.lstm.forward(X, ((zeros(3, 5), zeros(3, 5)),)), ShapeError, r"got \(3, 5\)"),
    refused("directions", lambda m: m.gru.forward(X, ((zeros(2, 3, 5),),)),
        ShapeError, r"= \(4, 3, 5\), got \(2, 3, 5\)"),
    refused("step", lambda m: m.lstm.step(X[:, 0], m.lstm.initial_state(1)), ShapeError, r"got \(1, 1, 5\)"),
    refused("doutputs", lambda m: m.lstm.vjp(X)[2](zeros(3, 4, 2)),
        ShapeError, r"doutputs must have the outputs' shape \(3, 4, 3\), got \(3, 4, 2\)"),
    refused("doutputs-last", lambda m: m.embedded.vjp(TOKENS)[2](zeros(3, 1, 6)),
        ShapeError, r"shape \(3, 6\), got \(3, 1, 6\)"),
    refused("dstate", lambda m: m.lstm.vjp(X)[2](zeros(3, 4, 3), m.lstm.initial_state(2)),
        ShapeError, r"got \(1, 2, 5\)"),
    refused("text", lambda m: m.lstm.forward(X, ((zeros(1, 3, 5), zeros(1, 3, 5).astype(str)),)),
        TypeError, r"state\[0\], c: expected a numeric array, got dtype <U32"),
    refused("doutputs-text", lambda m: m.lstm.vjp(X)[2](zeros(3, 4, 3).astype(str)),
        TypeError, "doutputs must be a numeric array, got dtype <U32"),
]  # fmt: skip

CLASSES = np.zeros((3, 4), int)


def learn(**options):
    """Return a call of `loss_and_grad` with good arguments but for the options."""
    return lambda m: m.lstm.loss_and_grad(**{"x": X, "target": CLASSES, **options})


def regress(target):
    return lambda m: m.numbers.loss_and_grad(X, target, "mse")


LOSSES = [
    refused("steps", learn(target=CLASSES[:, :3]),
        ShapeError, r"target must have shape \(3, 4\): \(samples, time steps\), got \(3, 3\)"),
    refused("one-hot", learn(target=np.eye(3, dtype=int)[CLASSES]), ShapeError,
        r"got \(3, 4, 3\); these are one-hot: pass the classes, y.argmax"),
    refused("no-probabilities", learn(target=zeros(3, 4, 3)), ValueError, "must be probabilities of 3 classes, .* sum to 0;"),
    refused("one-a-sample", learn(target=CLASSES[:, 0]), ShapeError, r"got \(3,\)"),
    refused("none", learn(target=None), ShapeError, r"got \(\)"),
    refused("floats", learn(target=CLASSES * 1.0), TypeError, "must be integer class numbers, got dtype float64"),
    refused("bools", learn(target=CLASSES > 0), TypeError, "must be integer class numbers, got dtype bool"),
    refused("too-large", learn(target=CLASSES + 3), TokenError, "target has 3; the model has 3 classes, 0 to 2"),
    refused("negative", learn(target=changed(CLASSES, (1, 1), -1)),
        TokenError, "target has -1; .*use -100 for positions that do not count"),
    refused("beyond-int32", learn(target=changed(CLASSES, (1, 1), 2**32)), TokenError, "target has 4294967296"),
    refused("several", learn(target=np.arange(12).reshape(3, 4)), TokenError, r"target has 3, 4, 5, 6, 7 \.\.\.;"),
    refused("last", lambda m: m.embedded.loss_and_grad(TOKENS, CLASSES),
        ShapeError, r"target must have shape \(3,\), got \(3, 4\)"),
    refused("mse-features", regress(zeros(3, 4, 1)),
        ShapeError, r"target must have shape \(3, 4, 2\), got \(3, 4, 1\)"),
    refused("mse-rank", regress(zeros(3, 4)), ShapeError, r"got \(3, 4\)"),
    refused("mse-strings", regress(np.full((3, 4, 2), "a")), TypeError, "target of mse must be numbers, got dtype <U1"),
    refused("mse-complex", regress(np.full((3, 4, 2), 1j)),
        TypeError, "target of mse must be numbers, got dtype complex128"),
    refused("name", learn(loss="hinge"), ValueError, "loss must be one of .*mse.* got 'hinge'"),
    refused("class", learn(loss=SoftmaxCrossEntropy), ValueError, "loss must be one of .* or a loss object"),
    refused("no-loss", lambda m: make_loss(None), ValueError, "loss must be one of .* got None"),
    refused("reduction", learn(reduction="max"), ValueError, "reduction must be 'mean', 'sum' or 'none', got 'max'"),
    refused("no-reduction", learn(reduction=None), ValueError, "reduction must be 'mean', 'sum' or 'none', got None"),
    refused("weight-shape", learn(sample_weight=[1, 1]),
        ShapeError, r"sample_weight must have shape \(3,\) or \(3, 4\), got \(2,\)"),
    refused("weight-features", learn(sample_weight=zeros(3, 4, 1)), ShapeError, r"got \(3, 4, 1\)"),
    refused("weight-negative", learn(sample_weight=[1, -1, 1]),
        ValueError, "sample_weight must be finite and not negative"),
    refused("weight-nan", learn(sample_weight=[1, NAN, 1]), ValueError, "sample_weight must be finite"),
    refused("weight-inf", learn(sample_weight=[1, INF, 1]), ValueError, "sample_weight must be finite"),
    refused("class-weight-count", learn(loss=SoftmaxCrossEntropy((1, 1))),
        ShapeError, "class_weight must name 3 classes, got 2"),
    refused("class-weight-negative", lambda m: SoftmaxCrossEntropy((1, -1, 1)),
        ValueError, r"class_weight\[\d\] must be finite and >= 0"),
    refused("class-weight-nan", lambda m: SoftmaxCrossEntropy((1, NAN, 1)), ValueError, r"class_weight\[1\] must be finite"),
    refused("ignore-index-float", lambda m: SoftmaxCrossEntropy(ignore_index=1.5),
        TypeError, "ignore_index must be an integer"),
    refused("lengths", learn(lengths=[4, 4, 5]), ValueError, r"lengths\[2\] is 5"),
    refused("state", learn(state=()), ShapeError, "state must be a tuple"),
    refused("threads", learn(n_threads=0), ValueError, "n_threads must be an integer >= 1"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), DATA)
def test_data(m, call, error, message):
    check(call, error, message, m)


@pytest.mark.parametrize(("call", "error", "message"), STATES)
def test_states_and_gradients(m, call, error, message):
    check(call, error, message, m)


@pytest.mark.parametrize(("call", "error", "message"), LOSSES)
def test_losses(m, call, error, message):
    check(call, error, message, m)


# Models


def model(*layers, **options):
    return lambda: Model(layers, **{"input_size": 2, **options})


MODELS = [
    refused("no-layers", model(), ValueError, "layers must be a list of at least one layer"),
    refused("no-layer", model(LSTM(3), 5), TypeError, r"layers\[1\] must be a numbarnn layer, got 5"),
    refused("class", model(LSTM), TypeError, r"layers\[0\] must be a numbarnn layer"),
    refused("no-input-size", model(LSTM(3), input_size=None), ShapeError, "input_size.* must be given"),
    *[
        refused(f"input-size-{n!r}", model(LSTM(3), input_size=n), error, "input_size must be an integer")
        for n, error in ((0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError), ("3", TypeError))
    ],
    refused("vocabulary", model(OneHot(5), input_size=4),
        ShapeError, "input_size must be left out or 5, the vocabulary"),
    refused("dtype-float16", model(LSTM(3), dtype="float16"),
        ValueError, "dtype must be float32 or float64, got 'float16'"),
    refused("dtype-int", model(LSTM(3), dtype=int), ValueError, "dtype must be float32 or float64"),
    refused("dtype-name", model(LSTM(3), dtype="single precision"), ValueError, "single precision"),
    *[
        refused(f"seed-{s!r}", model(LSTM(3), seed=s), ValueError, r"seed must be an integer from 0 to 2\*\*63 - 1, got ")
        for s in (-1, 1.5, True, None, "1", 2**63, NAN)
    ],
    *[
        refused(f"threads-{n!r}", model(LSTM(3), n_threads=n), error, "n_threads must be an integer")
        for n, error in ((0, ValueError), (-2, ValueError), (1.5, TypeError), (True, TypeError), ("2", TypeError))
    ],
    refused("after-last", model(LSTM(3, return_sequences=False), GRU(3)),
        ShapeError, r"GRU needs a sequence, got \(samples, 3\); .*return_sequences=False"),
    refused("embedding-second", model(Dense(5), Embedding(5, 2)),
        ShapeError, "Embedding takes integer tokens.*must be the first layer"),
    refused("one-hot-second", model(Dense(5), OneHot(5)), ShapeError, "OneHot takes integer tokens"),
    refused("vocabularies", model(OneHot(5), Embedding(6, 2), input_size=None),
        ShapeError, "Embedding has a vocabulary of 6, its input one of 5"),
    refused("dropped-tokens", model(OneHot(5), Dropout(0.5), input_size=None),
        ShapeError, "Dropout needs features, got .*tokens below 5"),
    # Its outputs would be the tokens themselves, and no loss takes them.
    refused("tokens-only", model(OneHot(5), input_size=None), ShapeError, "OneHot"),
    refused("same-names", model(LSTM(3, name="a"), GRU(3, name="a")), ValueError, "layers of the same name: a"),
    refused("name-and-number", model(Dense(3), Dense(3), Dense(3, name="dense_2")),
        ValueError, "layers of the same name: dense_2"),
    *[
        refused(f"name-{n!r}", lambda n=n: LSTM(3, name=n), error, "LSTM: name must ")
        for n, error in (("", ValueError), ("a.b", ValueError), (5, TypeError))
    ],
    refused("load-nan", lambda: model(Dense(1, bias=False))().load_state_dict({"weight": [[1, NAN]]}),
        ValueError, "dense.weight: 1 value not finite in float32"),
    refused("load-inf", lambda: model(Dense(1, bias=False))().load_state_dict({"weight": [[1, INF]]}),
        ValueError, "dense.weight: 1 value"),
    refused("load-shape", lambda: model(Dense(1, bias=False))().load_state_dict({"weight": [1, 2]}),
        ShapeError, r"dense.weight: expected shape \(1, 2\), got \(2,\)"),
    refused("load-nothing", lambda: model(Dense(1))().load_state_dict({}),
        KeyError, "missing .*dense.weight.*dense.bias"),
    refused("load-unknown", lambda: model(Dense(1, bias=False))().load_state_dict({"weight": [[1, 2]], "gain": [1]}),
        KeyError, "unknown .*dense.gain"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), MODELS)
def test_models(call, error, message):
    check(call, error, message)


# Options of layers

NO_SIZES = ((0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError), ("8", TypeError), (None, TypeError))
NO_RATES = (
    (-0.1, ValueError),
    (1.0, ValueError),
    (NAN, ValueError),
    (INF, ValueError),
    ("0.5", TypeError),
    (None, TypeError),
    (True, TypeError),
)
NO_INITS = (
    "glorot",
    "",
    None,
    5,
    "uniform",
    "uniform()",
    "uniform(a)",
    "uniform(1",
    "uniform(+-)",
    "uniform(-1)",
    "uniform(1e999)",
)
STACKS = {
    "RNN": RNN,
    "LSTM": LSTM,
    "GRU": GRU,
    "IndRNN": IndRNN,
    "MinGRU": MinGRU,
    "MinLSTM": MinLSTM,
    "Recurrent": lambda *args, **options: Recurrent(*args, cell=cells.LSTM(), **options),
}
OPTIONS = []
for name, make in STACKS.items():
    rows = [("hidden_size", value, error) for value, error in NO_SIZES]
    rows += [("num_layers", value, error) for value, error in NO_SIZES]
    rows += [(rate, value, error) for rate in ("dropout", "recurrent_dropout") for value, error in NO_RATES]
    rows += [
        (flag, value, TypeError) for flag in ("bidirectional", "return_sequences") for value in (1, 0, "yes", None)
    ]
    rows += [("bias", value, ValueError) for value in ("double", None, 2, 1)]
    rows += [("init", value, ValueError) for value in NO_INITS]
    rows += [("forget_bias", "1", TypeError), ("forget_bias", True, TypeError), ("forget_bias", NAN, ValueError)]
    for option, value, error in rows:
        options = {"hidden_size": 3, option: value}
        OPTIONS.append(
            refused(f"{name}-{option}-{value!r}", lambda make=make, o=options: make(**o), error, f"{option} must be ")
        )
for name, make, sizes in (
    ("Dense", lambda size=3, **options: Dense(size, **options), ("size",)),
    ("OneHot", OneHot, ("size",)),
    ("Embedding", lambda size=3, features=2, **options: Embedding(size, features, **options), ("size", "features")),
):
    rows = [(size, value, error) for size in sizes for value, error in NO_SIZES]
    rows += [("init", value, ValueError) for value in NO_INITS] if name != "OneHot" else []
    rows += [("bias", value, TypeError) for value in (1, "single", None)] if name == "Dense" else []
    for option, value, error in rows:
        OPTIONS.append(
            refused(
                f"{name}-{option}-{value!r}",
                lambda make=make, o={option: value}: make(**o),
                error,
                f"{option} must be ",
            )
        )
OPTIONS += [
    refused(f"Dropout-{rate!r}", lambda rate=rate: Dropout(rate), error, "Dropout: rate must be ")
    for rate, error in NO_RATES
]
OPTIONS += [
    refused(f"{layer.__name__}-activation-{f!r}", lambda layer=layer, f=f: layer(3, activation=f),
        ValueError, "activation must be 'tanh', 'relu', 'logistic' or 'identity', got ")
    for layer in (RNN, IndRNN)
    for f in ("softmax", "Tanh", None, 0)
]  # fmt: skip
OPTIONS += [
    refused("Dropout-same_over_time", lambda: Dropout(0.5, same_over_time=1), TypeError, "same_over_time must be True or False"),
    refused("no-cell", lambda: Recurrent(3), TypeError, "Recurrent: cell must be given"),
    refused("cell-class", lambda: Recurrent(3, cell=cells.LSTM), TypeError, "cell must be a registered cell"),
    refused("cell-name", lambda: Recurrent(3, cell="LSTM"), TypeError, "cell must be a registered cell, got 'LSTM'"),
    refused("cell-not-registered", lambda: Recurrent(3, cell=good_cell()()),
        TypeError, "cell must be a registered cell, .*; decorate its class"),
    *[
        refused(f"no-product-{layer.__name__}", lambda layer=layer: layer(3, recurrent_dropout=0.5),
            ValueError, "recurrent_dropout needs a recurrent product")
        for layer in (IndRNN, MinGRU, MinLSTM)
    ],
    *[
        refused(f"{make.__name__}-fix-{fix!r}", lambda make=make, fix=fix: make(3, fix=fix), error, message)
        for make, fix, error, message in (
            (LSTM, "forget", TypeError, 'LSTM: fix must be a dict of gate -> value, such as {"input": 1.0}, got'),
            (LSTM, {"reset": 1.0}, ValueError, "LSTM: fix must name gates among input, forget, candidate, output or i, f"),
            (GRU, {"forget": 1.0}, ValueError, "GRU: fix must name gates among reset, update, candidate or r, z, n, got"),
            (GRU, {1: 1.0}, ValueError, "GRU: fix must name gates"),
            (LSTM, {"f": 1.0, "forget": 0.0}, ValueError, "LSTM: fix names the forget gate twice"),
            (LSTM, {"f": 1.5}, ValueError, r"LSTM: fix\['f'\] must be in \[0, 1\], got 1.5"),
            (LSTM, {"candidate": -1.5}, ValueError, r"LSTM: fix\['candidate'\] must be in \[-1, 1\], got -1.5"),
            (GRU, {"reset": NAN}, ValueError, r"GRU: fix\['reset'\] must be in \[0, 1\], got nan"),
            (GRU, {"reset": True}, TypeError, r"GRU: fix\['reset'\] must be a number, got True"),
        )
    ],
    refused("coupled-held", lambda: LSTM(3, coupled=True, fix={"forget": 1.0}),
        ValueError, "LSTM: coupled gates leave nothing to fix of the forget gate; fix the input gate at 1 - f"),
    *[
        refused(f"flag-{option}", lambda make=make, option=option: make(3, **{option: 1}),
            TypeError, f"{option} must be True or False, got 1")
        for make, option in ((LSTM, "peepholes"), (LSTM, "coupled"), (GRU, "reset_after"))
    ],
    refused("option-type", lambda: Recurrent(3, cell=cells.RNN(activation=1.5)),
        TypeError, "option activation of RNN must be of its default's type, int, got 1.5"),
    refused("option-text", lambda: Recurrent(3, cell=cells.LSTM(fix_f="open")),
        TypeError, "option fix_f of LSTM must be of its default's type, float, got 'open'"),
    refused("scheme", lambda: initializers.scheme("he", 3),
        ValueError, "init must be 'keras', 'torch', 'orthogonal' or 'uniform\\(a\\)'.* got 'he'"),
    refused("config", lambda: contract.cell_record({"type": "Nothing"}),
        ValueError, "no cell named 'Nothing' is registered; import the module"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), OPTIONS)
def test_options(call, error, message):
    check(call, error, message)


# Optimizers and schedules

OPTIMIZERS = [
    refused("name", lambda: make_optimizer("lion"),
        ValueError, "optimizer must be one of sgd, rmsprop, adagrad, adam, adamw or an optimizer object, got 'lion'"),
    *[
        refused(f"average-{a!r}", lambda a=a: make_average(a), error,
            r"^average must be None, an EMA or its decay in \[0, 1\), got ")
        for a, error in (("auto", TypeError), ([0.9], TypeError), (True, TypeError), (1, ValueError), (NAN, ValueError))
    ],
    refused("none", lambda: make_optimizer(None), ValueError, "optimizer must be one of .* got None"),
    refused("class", lambda: make_optimizer(Adam), ValueError, "optimizer must be one of"),
    *[
        refused(f"rate-{r!r}", lambda r=r: SGD(r), TypeError, "SGD: learning_rate must be a finite number, got ")
        for r in (NAN, INF, "0.1", None, True)
    ],
    refused("rate-negative", lambda: Adam(-0.1), ValueError, "Adam: learning_rate must not be negative, got -0.1"),
    refused("decay", lambda: AdamW(weight_decay=-1), ValueError, "AdamW: weight_decay must not be negative"),
    refused("momentum", lambda: SGD(momentum=1.0), ValueError, "SGD: momentum must be below 1, got 1.0"),
    refused("alpha", lambda: RMSprop(alpha=1), ValueError, "RMSprop: alpha must be below 1"),
    refused("beta1", lambda: Adam(betas=(1.0, 0.9)), ValueError, r"Adam: betas must lie in \[0, 1\), got \(1.0, 0.9\)"),
    refused("beta2", lambda: Adam(betas=(0.9, -0.5)), ValueError, r"Adam: betas must lie in \[0, 1\)"),
    refused("beta3", lambda: Adam(betas=0.9), TypeError, "Adam: betas must be two numbers"),
    refused("beta4", lambda: Adam(betas=(0.9, "x")), TypeError, r"Adam: betas\[1\] must be a number, got 'x'"),
    refused("eps", lambda: RMSprop(eps=-1e-8), ValueError, "RMSprop: eps must not be negative"),
    # They would divide by zero at the first step.
    refused("every", lambda: StepDecay(0), ValueError, "every must be "),
    refused("cosine", lambda: Cosine(0), ValueError, "steps must be "),
    refused("warm-up", lambda: WarmUp(0), ValueError, "steps must be "),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), OPTIMIZERS)
def test_optimizers(call, error, message):
    check(call, error, message)


# Cells


def good_cell(name="Trial", fields=(), defaults=(), without=(), **changes):
    """Return a cell class that keeps the contract of `numbarnn.cells`, but for the changes."""

    def forward(cell, preactivations, states, diagonal):
        return (preactivations[0] + preactivations[1], states[0]), (preactivations[0],)

    def backward(cell, saved, states, diagonal, after, gradients):
        return (gradients[0], gradients[0]), (gradients[1], gradients[1] * 0), (gradients[0] * 0,)

    attributes = {
        "gates": ("a", "b"),
        "preactivations": ("a", "b", "c"),
        "from_input": {"a": "a", "b": "b"},
        "from_hidden": {"b": "b", "c": "a"},
        "states": ("h", "m"),
        "saved": ("a",),
        "diagonal": ("u",),
        "forward": staticmethod(forward),
        "backward": staticmethod(lambda *args: None),
    }

    def three(cell, saved, states, diagonal, after, gradients):
        (dpreactivations, dstates, ddiagonal) = backward(cell, saved, states, diagonal, after, gradients)
        return (*dpreactivations, gradients[0]), dstates, ddiagonal

    attributes["backward"] = staticmethod(three)
    attributes |= changes
    record = collections.namedtuple(name, fields, defaults=defaults)
    return type(name, (record,), {key: value for key, value in attributes.items() if key not in without})


def forward_giving(result):
    def forward(cell, preactivations, states, diagonal):
        return result

    return staticmethod(forward)


def backward_giving(result):
    def backward(cell, saved, states, diagonal, after, gradients):
        return result

    return staticmethod(backward)


def inner_backward_giving(result):
    def backward(cell, inner_saved, states, diagonal, dinner):
        return result

    return staticmethod(backward)


def enter(**changes):
    return lambda: register(good_cell(**changes))


def enter_inner(**changes):
    """Like `enter`, from a good cell whose plane c belongs to a second product."""

    def inner_forward(cell, preactivations, states, diagonal):
        return (states[0],), ()

    def inner_backward(cell, inner_saved, states, diagonal, dinner):
        return (dinner[0],) * 3, (dinner[0],) * 2, (dinner[0],)

    good = {
        "from_hidden": {"b": "b"},
        "from_inner": {"c": "a"},
        "inner": ("s",),
        "inner_saved": (),
        "inner_forward": staticmethod(inner_forward),
        "inner_backward": staticmethod(inner_backward),
    }
    return enter(**(good | changes))


REGISTRATIONS = [
    refused("number", lambda: register(5), TypeError, "a cell must be a typing.NamedTuple class, got 5"),
    refused("record", lambda: register(cells.LSTM()), TypeError, "a cell must be a typing.NamedTuple class"),
    refused("class", lambda: register(dict), TypeError, "a cell must be a typing.NamedTuple class"),
    refused("tuple", lambda: register(tuple), TypeError, "a cell must be a typing.NamedTuple class"),
    *[
        refused(f"no-{n}", enter(without=(n,)), TypeError, f"Trial.{n} must be a tuple of names, got None")
        for n in ("gates", "preactivations", "states", "saved", "diagonal")
    ],
    *[
        refused(f"list-{n}", enter(**{n: ["a"]}), TypeError, f"Trial.{n} must be a tuple of names, got ")
        for n in ("gates", "preactivations", "states", "saved", "diagonal")
    ],
    *[
        refused(f"numbers-{n}", enter(**{n: (1,)}), TypeError, f"Trial.{n} must be a tuple of names, got ")
        for n in ("gates", "preactivations", "states", "saved", "diagonal")
    ],
    refused("string", enter(states="h"), TypeError, "Trial.states must be a tuple of names, got 'h'"),
    *[
        refused(f"no-{n}", enter(without=(n,)), TypeError, f"Trial.{n} must be a dict of pre-activation -> gate, got None")
        for n in ("from_input", "from_hidden")
    ],
    *[
        refused(f"tuple-{n}", enter(**{n: ("a",)}), TypeError, f"Trial.{n} must be a dict of pre-activation -> gate")
        for n in ("from_input", "from_hidden")
    ],
    refused("unknown-plane", enter(from_input={"a": "a", "z": "b"}),
        ValueError, r"Trial.from_input names \['z'\], which are neither"),
    refused("unknown-gate", enter(from_hidden={"b": "z"}), ValueError, r"Trial.from_hidden names \['z'\]"),
    # The second plane's gradient of the gate's rows would take the place of the first's.
    refused("gate-twice", enter(from_input={"a": "a", "b": "a"}), ValueError, "Trial.from_input"),
    refused("gap", enter(from_input={"a": "a", "c": "b"}),
        ValueError, "Trial.from_input must name adjacent pre-activations in their order"),
    refused("order", enter(from_hidden={"c": "a", "b": "b"}),
        ValueError, "Trial.from_hidden must name adjacent pre-activations"),
    refused("no-state", enter(states=()), TypeError, "Trial.states is empty; a cell needs one state"),
    *[
        refused(f"no-{n}", enter(without=(n,)), TypeError, f"Trial.{n} must be a static function of ")
        for n in ("forward", "backward")
    ],
    refused("forward-number", enter(forward=5), TypeError, "Trial.forward must be a static function"),
    refused("forward-names", enter(forward=staticmethod(lambda self, z, h, u: None)),
        TypeError, r"Trial.forward must be a static function of \(cell, preactivations, states, diagonal\)"),
    refused("backward-names", enter(backward=staticmethod(lambda cell, saved: None)),
        TypeError, r"of \(cell, saved, states, diagonal, after, gradients\)"),
    refused("no-default", enter(fields=("rate",)), TypeError, "every option of Trial must have a default"),
    refused("forward-none", enter(forward=forward_giving(None)),
        TypeError, r"Trial.forward must return 2 tuples \(for states, saved\), got None"),
    refused("forward-flat", enter(forward=forward_giving((1.0, 2.0))), TypeError, "Trial.forward must return 2 tuples"),
    refused("forward-states", enter(forward=forward_giving(((1.0,), (1.0,)))),
        TypeError, "Trial.forward must return 2 values for states, got 1"),
    refused("forward-saved", enter(forward=forward_giving(((1.0, 1.0), ()))),
        TypeError, "Trial.forward must return 1 values for saved, got 0"),
    refused("backward-two", enter(backward=backward_giving(((), ()))),
        TypeError, r"Trial.backward must return 3 tuples \(for preactivations, states, diagonal\)"),
    refused("backward-preactivations", enter(backward=backward_giving(((1.0, 1.0), (1.0, 1.0), (1.0,)))),
        TypeError, "must return 3 values for preactivations, got 2"),
    refused("backward-states", enter(backward=backward_giving(((1.0,) * 3, (1.0,), (1.0,)))),
        TypeError, "must return 2 values for states, got 1"),
    refused("backward-diagonal", enter(backward=backward_giving(((1.0,) * 3, (1.0, 1.0), ()))),
        TypeError, "must return 1 values for diagonal, got 0"),
    refused("unit-init", enter(diagonal_init="ones"), ValueError, "Trial.diagonal_init must be 'unit' or 'bias', got 'ones'"),
    refused("inner-text", enter_inner(inner="s"), TypeError, "Trial.inner must be a tuple of names, got 's'"),
    refused("inner-saved", enter_inner(inner_saved=None), TypeError, "Trial.inner_saved must be a tuple of names"),
    refused("inner-two", enter_inner(inner=("s", "t")), ValueError, "Trial.inner must name one value"),
    refused("no-inner-preactivations", enter_inner(from_inner={}),
        ValueError, "Trial.from_inner must name pre-activations and gates that from_hidden does not"),
    refused("inner-plane-twice", enter_inner(from_hidden={"b": "b", "c": "a"}),
        ValueError, "Trial.from_inner must name pre-activations and gates that from_hidden does not"),
    refused("inner-gate-twice", enter_inner(from_inner={"c": "b"}),
        ValueError, "Trial.from_inner must name pre-activations and gates that from_hidden does not"),
    refused("inner-unknown", enter_inner(from_inner={"d": "a"}), ValueError, "names \\['d'\\], which are neither"),
    refused("inner-forward-names", enter_inner(inner_forward=staticmethod(lambda cell: None)),
        TypeError, r"Trial.inner_forward must be a static function of \(cell, preactivations, states, diagonal\)"),
    refused("inner-forward", enter_inner(inner_forward=forward_giving(((1.0, 2.0), ()))),
        TypeError, "Trial.inner_forward must return 1 values for inner, got 2"),
    refused("inner-backward", enter_inner(inner_backward=inner_backward_giving(((1.0,) * 2, (1.0,) * 2, (1.0,)))),
        TypeError, "Trial.inner_backward must return 3 values for preactivations, got 2"),
    refused("name-taken", enter(name="LSTM"),
        ValueError, r"a cell named 'LSTM' is registered already, by numbarnn\.cells\.lstm"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "error", "message"), REGISTRATIONS)
def test_registrations(call, error, message):
    before = dict(CELLS)
    check(call, error, message)
    assert before == CELLS


def test_the_cell_that_the_table_changes_is_good():
    cell = good_cell(fields=("rate",), defaults=(0.5,))
    try:
        assert register(cell) is cell
        assert CELLS["Trial"] is cell
        assert register(cell) is cell  # once more does no harm
        assert contract.cell_record({"type": "Trial", "rate": 0.25}) == cell(0.25)
    finally:
        CELLS.pop("Trial", None)


def test_every_activation_is_accepted():
    for name in ACTIVATIONS:
        assert (
            RNN(3, activation=name).cell.activation == IndRNN(3, activation=name).cell.activation == ACTIVATIONS[name]
        )


def test_environment_variable(monkeypatch, m):
    for setting in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("NUMBARNN_NUM_THREADS", setting)
        with pytest.raises(ValueError, match=f"NUMBARNN_NUM_THREADS must be a positive integer, got '{setting}'"):
            Model([Dense(3)], input_size=2).forward(X)
    monkeypatch.setenv("NUMBARNN_NUM_THREADS", "3")
    assert Model([Dense(3)], input_size=2).forward(X)[0].shape == (3, 4, 3)


def test_masked_values_are_no_data():
    model = Model([LSTM(3), Dense(2)], input_size=2)
    x, target = np.ma.masked_array(np.ones((2, 3, 2)), mask=np.zeros((2, 3, 2))), np.zeros((2, 3), int)
    model.forward(x)  # nothing is masked
    x[0, 1, 0] = np.ma.masked
    calls = (lambda: model.forward(x), lambda: model.loss_and_grad(x, target), lambda: model.fit(x, target, verbose=0))
    for call in calls:
        with pytest.raises(TypeError, match=r"x is a masked array with 1 masked value; fill them \(x.filled"):
            call()
    with pytest.raises(TypeError, match="y is a masked array"):
        model.fit(x.filled(0), np.ma.masked_array(target, mask=target == 0), verbose=0)
    with pytest.raises(TypeError, match="X is a masked array"):
        SequenceRegressor().fit(x, [1, 2])


def test_masked_rows_of_a_table_are_missing():
    data = np.ma.masked_array(np.arange(10), mask=np.arange(10) == 6)
    with pytest.raises(ValueError, match="data has 1 missing value, the first at row 6"):
        make_windows(data, 3)
    assert list(make_windows(data, 3, missing="drop").y) == [3, 4, 5]


def test_targets_of_pandas_types():
    """Columns of different and of nullable types are numbers, in which missing values are found."""
    model = Model([LSTM(2, return_sequences=False), Dense(2)], input_size=2, seed=0, n_threads=1)
    x = np.ones((3, 4, 2))
    y = pd.DataFrame({"a": pd.array([0.5, 1, 2], "Float64"), "b": [True, False, True]})
    assert np.isfinite(model.fit(x, y, loss="mse", epochs=1, verbose=0)["loss"]).all()
    y.loc[1, "a"] = pd.NA
    with pytest.raises(ValueError, match=r"y has 1 NaN or infinite value, the first at \[1, 0\]"):
        model.fit(x, y, loss="mse", epochs=1, verbose=0)
    with pytest.raises(TypeError, match="column 'a' of y must be numeric"):
        model.fit(x, y.assign(a="x"), loss="mse", epochs=1, verbose=0)
    with pytest.raises(TypeError, match="sample_weight is a masked array with 1 masked value"):
        model.fit(x, y[["b", "b"]].to_numpy(), sample_weight=np.ma.masked_equal([1, 2, 3], 2), loss="mse", verbose=0)


@pytest.mark.parametrize("kind", [SequenceClassifier, SegmentClassifier])
def test_masked_labels_are_no_labels(kind):
    classifier = kind(hidden_size=2, epochs=1, n_threads=1)
    labels = np.array([0, 1, 1])
    with pytest.raises(TypeError, match="y is a masked array with 1 masked value"):
        classifier.fit(X, np.ma.masked_equal(labels, 0))
    classifier.fit(X, labels)
    with pytest.raises(TypeError, match="y is a masked array with 1 masked value"):
        classifier.score(X, np.ma.masked_equal(labels, 0))


def test_samples_of_pandas_types():
    """Steps of all samples in one table, whose columns have different types."""
    table = pd.DataFrame({"a": [0.5, 1, 2, 3, 4], "b": [True, False, True, False, True]})
    classifier = SequenceClassifier(hidden_size=2, epochs=1, n_threads=1, random_state=0)
    found = classifier.fit(table, [0, 1], offsets=[0, 2, 5]).predict_proba(table, offsets=[0, 2, 5])
    assert np.array_equal(found, classifier.predict_proba(table.to_numpy(float), offsets=[0, 2, 5]))
    table["a"] = pd.array([0.5, None, 2, 3, 4], "Float64")
    with pytest.raises(ValueError, match="Input X contains NaN"):
        classifier.predict(table, offsets=[0, 2, 5])


# Parameters, and values taken for what they are


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (None, ShapeError, r"values must have shape \(3,\), one for every parameter, got \(\)"),
        (5, ShapeError, r"values must have shape \(3,\), one for every parameter, got \(\)"),
        ([1, 2], ShapeError, r"values must have shape \(3,\), one for every parameter, got \(2,\)"),
        ([[1, 2, 3]], ShapeError, r"values must have shape \(3,\), .* got \(1, 3\)"),
        ([1, NAN, 3], ValueError, r"values has 1 NaN or infinite value, the first at \[1\]"),
        (
            [1, 2, 1e39],
            ValueError,
            r"values has 1 NaN or infinite value, the first at \[2\]; parameters are finite float32",
        ),
        (np.zeros(3, "M8[s]"), TypeError, "values must be numeric"),
        (["1", "2", "3"], TypeError, "values must be numeric"),
    ],
    ids=str,
)
def test_parameters_are_set_whole(values, error, message):
    model = Model([Dense(1)], input_size=2)
    before, version = model.params.flat.copy(), model.params.version
    with pytest.raises(error, match=message):
        model.set_flat(values)
    assert np.array_equal(model.params.flat, before)
    assert model.params.version == version
    model.set_flat([1, 2, 3])
    assert model.params.flat.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: EarlyStopping(restore_best="x"), "restore_best"),
        (lambda: EMA(0.9, final=1), "final"),
        (lambda: SGD(momentum=0.9, nesterov="yes"), "nesterov"),
        (lambda: WordFeatures(shape="x"), "shape"),
        (lambda: ArraySource(X, X, shuffle="no"), "shuffle"),
        (lambda: make_windows(np.arange(9.0), 2).source(shuffle=0), "shuffle"),
    ],
)
def test_flags_are_flags(call, name):
    with pytest.raises(TypeError, match=f"{name} must be True or False, got"):
        call()
    assert LSTM(3, bidirectional=np.True_).bidirectional


@pytest.mark.parametrize(
    ("epochs", "error"),
    [
        (2**70, ValueError),
        (-1, ValueError),
        (10**9 + 1, ValueError),
        (1.0, TypeError),
        (True, TypeError),
        ("3", TypeError),
        ("ten", TypeError),
        ([3], TypeError),
    ],
)
def test_epochs_end(m, epochs, error):
    with pytest.raises(error, match="epochs must be a number of epochs, 0 to 1,000,000,000, or None, got"):
        m.lstm.fit(X, TOKENS, epochs=epochs, verbose=0)
    for kind in (SequenceClassifier, SegmentClassifier, SequenceRegressor):
        with pytest.raises(error, match="epochs must be a number of epochs, 0 to 1,000,000,000, or None, got"):
            kind("rnn", 2, epochs=epochs, n_threads=1).fit(X, [0, 1, 0])
    with pytest.raises(ValueError, match="prefix must be at most 1000"):
        WordFeatures(prefix=2**70)


@pytest.mark.parametrize("kind", ["target", "x", "lengths", "values"])
def test_masks_are_refused_where_they_would_be_lost(m, kind):
    masked = np.ma.masked_equal(np.array([[1, 2, 0, 1]] * 3), 2)
    call = {
        "target": lambda: m.lstm.loss_and_grad(X, masked),
        "x": lambda: m.letters.forward(masked),
        "lengths": lambda: m.lstm.forward(X, lengths=masked[0, :3]),
        "values": lambda: Ragged(masked, [0, 3]),
    }[kind]
    with pytest.raises(TypeError, match=f"^{kind} is a masked array with"):
        call()
    listed = [np.ma.masked_equal(np.array([[1.0], [2.0]]), 2.0)] * 2
    assert np.isnan(m.single.forward(listed)[0]).any()


def test_integers_too_large_for_int64_are_not_negative(m):
    large = np.array([[0, 1, 2, 2**64 - 1]] * 3, np.uint64)
    ones = np.full(3, 2**64 - 1, np.uint64)
    for call, message in (
        (lambda: m.lstm.forward(X, lengths=ones), r"lengths\[0\] is 18446744073709551615"),
        (
            lambda: m.lstm.loss_and_grad(X, large, "ctc"),
            "has the value 18446744073709551615, beyond the integers of int64",
        ),
        (lambda: m.lstm.loss_and_grad(X, large), "target has 18446744073709551615"),
        (lambda: m.lstm.loss_and_grad(X, large, SegmentCrossEntropy()), "has the value 18446744073709551615, beyond"),
    ):
        with pytest.raises((ValueError, TokenError), match=message):
            call()
