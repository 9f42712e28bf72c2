"""Estimators: scikit-learn's contract, forms of input, training that goes on, and life without scikit-learn."""

import inspect
import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from conftest import assert_close, assert_same_bits
from processes import run_python

from numbarnn import metrics
from numbarnn.errors import ShapeError
from numbarnn.estimators import SegmentClassifier, SequenceClassifier, SequenceRegressor, TemporalClassifier
from numbarnn.training.trainer import Trainer

FEW = {"epochs": 3, "learning_rate": 0.01, "hidden_size": 4, "random_state": 0, "n_threads": 1, "linear": None}

# What scikit-learn's own checks may find, and why.
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "training goes batch by batch in random order, so a sample of weight "
    "two is not two samples (as for scikit-learn's own SGDRegressor and MLPRegressor)",
}


def task(samples=60, steps=8, features=1, seed=0):
    x = np.random.default_rng(seed).normal(size=(samples, steps, features))
    return x, 100 + 5 * x.sum(axis=(1, 2))


def fitted(x, y, **options):
    return SequenceRegressor(**FEW | options).fit(x, y)


def test_scikit_learns_checks():
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    regressor = SequenceRegressor(epochs=50, learning_rate=0.01, random_state=0, n_threads=1)
    results = checks.check_estimator(regressor, expected_failed_checks=EXPECTED, on_skip=None)
    assert sum(result["status"] == "passed" for result in results) > 40
    assert {result["check_name"] for result in results if result["status"] == "xfail"} <= set(EXPECTED)


def test_learns_in_the_units_of_the_target():
    x, y = task(300)
    regressor = SequenceRegressor("gru", 16, epochs=30, random_state=0).fit(x, y)
    assert regressor.score(x, y) > 0.9
    assert len(regressor.history_) == regressor.n_iter_ == 30
    assert regressor.history_[-1]["loss"] < 0.1
    assert regressor.predict(x).shape == (300,)
    two = fitted(x, np.column_stack([y, -y]))
    assert two.predict(x).shape == (300, 2)


def test_forms_of_input_agree():
    x, y = task(40, 6)
    whole = fitted(x, y)
    assert whole.n_features_in_ == 1
    flat = fitted(x[:, :, 0], y)
    assert flat.n_features_in_ == 6
    assert_same_bits(flat.predict(x[:, :, 0]), whole.predict(x))
    frame = pd.DataFrame(x[:, :, 0], columns=[f"t{i}" for i in range(6)])
    named = fitted(frame, y)
    assert list(named.feature_names_in_) == list(frame.columns)
    assert_same_bits(named.predict(frame), whole.predict(x))
    assert_same_bits(fitted(list(x), y).predict(x), whole.predict(x))


def test_ragged_and_padded_agree():
    x, y = task(30, 7, 2)
    lengths = np.random.default_rng(1).integers(1, 8, 30)
    lengths[0] = 7
    ragged = [sample[:length] for sample, length in zip(x, lengths, strict=True)]
    padded = np.where((np.arange(7) < lengths[:, None])[:, :, None], x, np.nan)
    of_list, of_array = fitted(ragged, y), fitted(padded, y)
    assert_same_bits(of_list.predict(ragged), of_array.predict(padded))
    # A sample alone, as long as it is.
    assert_close(of_list.predict(ragged[3:4]), of_list.predict(ragged)[3:4], 1e-6)
    one = [sample[:, 0] for sample in ragged]
    assert fitted(one, y).predict(one[:5]).shape == (5,)
    short = fitted(x, y)
    assert short.predict(x[:, :3]).shape == (30,)


def test_refuses():
    x, y = task(20, 5, 2)
    regressor = fitted(x, y)
    holes = np.where(np.arange(5)[:, None] == 2, np.nan, x)
    cases = [
        (lambda: SequenceRegressor().predict(x), "not fitted yet; call fit first"),
        (lambda: regressor.predict(x[:, :, :1]), "X has 1 features, but SequenceRegressor is expecting 2 features"),
        (lambda: regressor.predict(x[:, :, 0]), r"X is \(samples, time steps\), .* fitted to \(samples, time steps, f"),
        (lambda: fitted(x, y[:5]), "y has 5 targets, X has 20 samples"),
        (lambda: fitted(x, np.full(20, np.nan)), "y has 20 NaN"),
        (lambda: fitted(holes, y), r"Input X contains NaN: .* 40 NaN or infinite values.* first at \[0, 2, 0\]"),
        (lambda: fitted(np.full_like(x, np.nan), y), "sample 0 has nothing but NaN"),
        (lambda: fitted([x[0], x[1][:, :1]], y[:2]), r"X\[1\] must be numbers .* \(time steps, 2\) as X\[0\], got float64 \(5, 1"),
        (lambda: fitted([x[0], x[1][:0]], y[:2]), r"X\[1\] has no time steps"),
        (lambda: fitted([[1, 2], [3]], y[:2]), "sequences of different lengths are a list of NumPy arrays"),
        (lambda: fitted(x, y, cell="lstmm"), "cell must be .*lstm.*, got 'lstmm'"),
        (lambda: fitted(x, y, random_state="a"), "random_state must be an integer"),
        (lambda: fitted(pd.Series(y), y), "X is a Series"),
        (lambda: SequenceRegressor(**FEW).fit(x, y, sample_weight=-y), "sample_weight must be finite, not negative"),
        (lambda: SequenceRegressor(**FEW).fit(x, y, sample_weight=y[:3]), r"sample_weight must have shape \(20,\)"),
    ]  # fmt: skip
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    named = fitted(pd.DataFrame({"a": y, "b": y}), y)
    with pytest.raises(ValueError, match=r"(?s)feature names should match .*unseen at fit time:\n- c\n.*missing:\n- b"):
        named.predict(pd.DataFrame({"a": y, "c": y}))


def test_random_state():
    x, y = task()
    first = fitted(x, y).predict(x)
    assert_same_bits(fitted(x, y).predict(x), first)
    assert not np.array_equal(fitted(x, y, random_state=1).predict(x), first)
    assert not np.array_equal(fitted(x, y, random_state=None).predict(x), fitted(x, y, random_state=None).predict(x))
    for kind in (np.random.RandomState, np.random.default_rng):
        assert_same_bits(fitted(x, y, random_state=kind(3)).predict(x), fitted(x, y, random_state=kind(3)).predict(x))


def test_sample_weight_decides():
    """Samples of weight zero might hold anything."""
    x, y = task(80)
    wrong = y.copy()
    wrong[40:] = -1e4
    weight = np.arange(80) < 40
    options = FEW | {"epochs": 60, "batch_size": 80}
    a = SequenceRegressor(**options).fit(x, wrong, sample_weight=weight)
    b = SequenceRegressor(**options).fit(x, np.where(weight, y, 3e3), sample_weight=weight)
    assert_close(a.predict(x), b.predict(x), 1e-5)
    assert a.score(x[:40], y[:40]) > 0.3
    assert_close(metrics.r2(y, a.predict(x), weight), a.score(x, y, weight), 1e-12)


def test_warm_start_and_partial_fit_go_on():
    x, y = task()
    whole = SequenceRegressor(**FEW | {"epochs": 4}).fit(x, y)
    warm = SequenceRegressor(**FEW | {"epochs": 2, "warm_start": True}).fit(x, y)
    assert_same_bits(warm.fit(x, y).predict(x), whole.predict(x))
    assert warm.n_iter_ == 4
    parts = SequenceRegressor(**FEW)
    for _ in range(4):
        parts.partial_fit(x, y)
    assert_same_bits(parts.predict(x), whole.predict(x))
    assert parts.history_["epoch"] == [1, 2, 3, 4]
    cold = SequenceRegressor(**FEW | {"epochs": 2}).fit(x, y)
    assert_same_bits(cold.fit(x, y).predict(x), SequenceRegressor(**FEW | {"epochs": 2}).fit(x, y).predict(x))
    with pytest.raises(ValueError, match="X has 2 features, but SequenceRegressor is expecting 1"):
        warm.fit(np.concatenate([x, x], axis=2), y)
    with pytest.raises(ValueError, match="y has 2 targets, the model was made for 1"):
        parts.partial_fit(x, np.column_stack([y, y]))


def test_early_stopping():
    x, _ = task(100)
    regressor = fitted(x, np.random.default_rng(0).normal(size=100), epochs=200, patience=2, learning_rate=0.05)
    assert regressor.history_.stopped == "early stopping"
    assert "val_loss" in regressor.history_[0]


def test_pickles_and_goes_on(tmp_path):
    x, y = task()
    regressor = fitted(x, y, warm_start=True)
    copies = [pickle.loads(pickle.dumps(regressor))]
    joblib = pytest.importorskip("joblib")
    joblib.dump(regressor, tmp_path / "r.joblib")
    copies.append(joblib.load(tmp_path / "r.joblib"))
    expected = regressor.predict(x)
    goes_on = regressor.fit(x, y).predict(x)
    for copy in copies:
        assert_same_bits(copy.predict(x), expected)
        assert_same_bits(copy.fit(x, y).predict(x), goes_on)
    assert pickle.loads(pickle.dumps(SequenceRegressor("gru"))).cell == "gru"


def test_pipeline_and_searches():
    base = pytest.importorskip("sklearn.base")
    selection = pytest.importorskip("sklearn.model_selection")
    pipeline = pytest.importorskip("sklearn.pipeline")
    from numbarnn.data import SequenceScaler, make_windows

    series = 50 + 10 * np.sin(np.arange(160) / 4)
    w = make_windows(series, 8)
    pipe = pipeline.Pipeline([("scale", SequenceScaler()), ("net", SequenceRegressor(**FEW | {"epochs": 15}))])
    copy = base.clone(pipe).set_params(net__cell="gru")
    assert copy.get_params()["net__cell"] == "gru"
    split = selection.TimeSeriesSplit(3)
    scores = selection.cross_val_score(pipe, w.X, w.y, cv=split)
    assert scores[-1] > 0.3
    search = selection.GridSearchCV(pipe, {"net__hidden_size": [2, 8]}, cv=split, n_jobs=2, error_score="raise")
    search.fit(w.X, w.y)
    again = selection.GridSearchCV(pipe, {"net__hidden_size": [2, 8]}, cv=split).fit(w.X, w.y)
    assert np.array_equal(search.cv_results_["mean_test_score"], again.cv_results_["mean_test_score"])
    assert search.best_params_ == {"net__hidden_size": 8}


SHARED = {
    "cell": "lstm", "hidden_size": 32, "num_layers": 1, "bidirectional": False, "dropout": 0.0, "recurrent_dropout": 0.0,
    "scale": "auto", "optimizer": "adam", "learning_rate": None, "schedule": None, "average": "auto", "epochs": None,
    "batch_size": 32, "validation": 0.1, "patience": None, "clip_norm": 1.0, "memory_limit": None, "warm_start": False,
    "random_state": None, "dtype": "float32", "n_threads": None, "device": "cpu", "verbose": 0,
}  # fmt: skip
LABELLED = SHARED | {"bidirectional": True, "input_dropout": 0.0, "tokens": None, "embedding_size": 32}


@pytest.mark.parametrize(
    ("kind", "defaults"),
    [
        (SequenceRegressor, SHARED | {"loss": "mse", "linear": "auto"}),
        (SequenceClassifier, LABELLED | {"pooling": "last", "loss": "auto", "class_weight": None, "linear": "auto"}),
        (SegmentClassifier, LABELLED | {"ignore": None, "loss": "auto", "class_weight": None}),
        (TemporalClassifier, LABELLED | {"infeasible": "error"}),
    ],
)
def test_parameters(kind, defaults):
    parameters = inspect.signature(kind).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == defaults == kind().get_params()
    assert [name for name in parameters if parameters[name].kind != inspect.Parameter.KEYWORD_ONLY] == [
        "cell",
        "hidden_size",
    ]
    one = kind("gru", 8, epochs=2)
    assert one != kind("gru", 8, epochs=2)  # as all of scikit-learn's, which are compared by identity
    assert hash(one)
    copy = pytest.importorskip("sklearn.base").clone(one)
    assert copy.get_params() == one.get_params()
    assert repr(copy) == f"{kind.__name__}(cell='gru', epochs=2, hidden_size=8)"
    assert copy.set_params(epochs=3, dtype="float8").epochs == 3  # settings are checked by fit


WITHOUT = """
import sys
import numbarnn
assert not {"sklearn", "pandas", "matplotlib"} & set(sys.modules), sorted(sys.modules)
sys.modules["sklearn"] = None
from numbarnn import SequenceRegressor
import numpy as np
x = np.random.default_rng(0).normal(size=(300, 5, 1))
regressor = SequenceRegressor("rnn", 4, epochs=20, random_state=0)
try:
    regressor.predict(x)
except ValueError as error:
    print(error)
print(regressor, regressor.fit(x, x.sum(axis=(1, 2))).score(x, x.sum(axis=(1, 2))) > 0.5, regressor.get_params()["epochs"])
"""


def test_without_scikit_learn(tmp_path):
    import os

    shown = run_python(WITHOUT, cwd=tmp_path, cache=os.environ.get("NUMBA_CACHE_DIR", tmp_path)).stdout
    assert "this SequenceRegressor is not fitted yet" in shown
    assert "SequenceRegressor(cell='rnn', hidden_size=4, epochs=20, random_state=0) True 20" in shown


def test_metrics():
    truth, forecast = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 3, 2])
    assert metrics.mae(truth, forecast) == 0.75
    assert metrics.rmse(truth, forecast) == pytest.approx(np.sqrt(5 / 4))
    assert metrics.naive_scale([1, 3, 2, 6]) == pytest.approx(7 / 3)
    assert metrics.naive_scale([1, 3, 2, 6], 2) == 2
    assert metrics.mase(truth, forecast, 1.5) == 0.5
    assert np.isnan(metrics.mase(truth, forecast, 0.0))
    assert metrics.r2(truth, forecast) == pytest.approx(1 - 5 / 5)
    assert metrics.r2(np.ones(3), np.ones(3)) == 1
    assert metrics.r2(np.ones(3), np.zeros(3)) == 0
    assert np.isnan(metrics.naive_scale([1, 3], 2))
    assert np.isnan(metrics.mase(truth, forecast, metrics.naive_scale([1, 3], 2)))
    assert metrics.mae(3, 4.5) == 1.5
    assert metrics.mae(pd.Series([1, 2], dtype="Int64"), pd.Series([True, False])) == 1


T = np.arange(5.0)
METRICS = {
    "mae": lambda truth, forecast: metrics.mae(truth, forecast),
    "rmse": lambda truth, forecast: metrics.rmse(truth, forecast),
    "mase": lambda truth, forecast: metrics.mase(truth, forecast, 1.0),
    "r2": lambda truth, forecast: metrics.r2(truth, forecast),
    "weighted r2": lambda truth, forecast: metrics.r2(truth, forecast, np.ones(5)),
}


@pytest.mark.parametrize("measure", METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("name", ["truth", "forecast"])
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (np.where(T >= 3, np.nan, T), ValueError, r"{name} has 2 NaN or infinite values, the first at \[3\]; leave out"),
        (np.where(T == 1, -np.inf, T), ValueError, r"{name} has 1 NaN or infinite value, the first at \[1\]"),
        (pd.Series([0, 1, None, 3, 4], dtype="Int64"), ValueError, r"{name} has 1 NaN or infinite value.* the first at \[2\]"),
        (np.ma.array(T, mask=[1, 0, 1, 0, 0]), TypeError, "{name} is a masked array with 2 masked values; leave out"),
        (T + 0j, TypeError, "{name} must be numeric, got dtype complex128"),
        (T.astype(str), TypeError, "{name} must be numeric, got dtype <U"),
        (T.astype("M8[s]"), TypeError, r"{name} must be numeric, got dtype datetime64\[s\]"),
        (T.astype("m8[s]"), TypeError, r"{name} must be numeric, got dtype timedelta64\[s\]"),
        (np.array(["a", *T[1:]], object), TypeError, "{name} must be numeric, got .a. of type str"),
        ([[0.0], [1.0, 2.0]], ShapeError, "{name} must be an array, or rows of one length"),
        (T[:4], ShapeError, r"must have the shape of"),
        (T[:, None], ShapeError, "must have the shape of"),
    ],
)  # fmt: skip
def test_metrics_refuse(measure, name, wrong, error, message):
    arguments = {"truth": T, "forecast": T + 0.1} | {name: wrong}
    with pytest.raises(error, match=message.format(name=name)):
        measure(**arguments)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: metrics.mae([], []), ShapeError, r"truth must have at least one value"),
        (lambda: metrics.r2(1.0, 2.0), ShapeError, "must have an axis of samples"),
        (lambda: metrics.naive_scale(np.where(T == 2, np.nan, T)), ValueError, r"series has 1 NaN or infinite value.* at \[2\]"),
        (lambda: metrics.naive_scale(np.ma.masked_equal(T, 2)), TypeError, "series is a masked array with 1 masked value"),
        (lambda: metrics.naive_scale(T.astype(str)), TypeError, "series must be numeric"),
        (lambda: metrics.naive_scale(1.0), ShapeError, "series must have an axis of rows"),
        (lambda: metrics.naive_scale(T, 0), ValueError, "season must be an integer >= 1, got 0"),
        (lambda: metrics.naive_scale(T, -1), ValueError, "season must be an integer >= 1, got -1"),
        (lambda: metrics.naive_scale(T, 1.0), TypeError, "season must be an integer, got 1.0"),
        (lambda: metrics.naive_scale(T, True), TypeError, "season must be an integer, got True"),
        (lambda: metrics.mase(T, T, -1.0), ValueError, "scale must be one finite number >= 0, got -1.0"),
        (lambda: metrics.mase(T, T, np.inf), ValueError, "scale must be one finite number >= 0, got inf"),
        (lambda: metrics.mase(T, T, [1.0]), ValueError, r"scale must be one finite number >= 0, got \[1.0\]"),
        (lambda: metrics.mase(T, T, "1"), TypeError, "scale must be numeric"),
        (lambda: metrics.r2(T, T, np.where(T == 4, np.nan, 1)), ValueError, r"sample_weight has 1 NaN.* at \[4\]"),
        (lambda: metrics.r2(T, T, T - 1), ValueError, r"sample_weight must not be negative, sample_weight\[0\] is -1.0"),
        (lambda: metrics.r2(T, T, 0 * T), ValueError, "sample_weight is 0 for every sample; one must be positive"),
        (lambda: metrics.r2(T, T, T[:3]), ShapeError, r"sample_weight must have shape \(5,\), .*, got \(3,\)"),
        (lambda: metrics.r2(T, T, np.ma.masked_equal(T, 4)), TypeError, "sample_weight is a masked array with 1 masked value"),
        (lambda: metrics.r2(T, T, T + 0j), TypeError, "sample_weight must be numeric, got dtype complex128"),
    ],
)  # fmt: skip
def test_arguments_of_metrics_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("kind", ["Float64", "Int64", "boolean"])
def test_missing_values_of_nullable_types_are_found(kind):
    """In X, where NaN at the end is padding, and in y."""
    x, _ = task(30, 4)
    values = np.abs(x[:, :, 0]) > 0.5
    frame, target = pd.DataFrame(values).astype(kind), pd.Series(np.arange(30) % 2 == 0).astype(kind)
    found = fitted(frame, target)
    assert_same_bits(
        found.predict(frame), fitted(values.astype(float), target.to_numpy(float)).predict(values.astype(float))
    )
    hole = frame.copy()
    hole.iloc[4, 1] = pd.NA
    with pytest.raises(
        ValueError, match=r"Input X contains NaN: X has 1 NaN or infinite value.* the first at \[4, 1, 0\]"
    ):
        found.predict(hole)
    with pytest.raises(
        ValueError, match=r"Input X contains NaN: X\[0\] has 1 NaN or infinite value.* the first at \[4, 1\]"
    ):
        fitted([hole, frame], [0.0, 1.0])
    target[5] = pd.NA
    with pytest.raises(ValueError, match=r"y has 1 NaN or infinite value, the first at \[5\]"):
        fitted(frame, target)


def test_masked_samples_and_weights_are_refused():
    x, y = task(6, 4)
    masked = np.ma.masked_equal(np.where(np.arange(4)[:, None] == 2, -9999.0, x[0]), -9999.0)
    with pytest.raises(TypeError, match=r"X\[1\] is a masked array with 1 masked value"):
        fitted([x[0], masked, *x[2:]], y)
    with pytest.raises(TypeError, match="sample_weight is a masked array with 1 masked value"):
        SequenceRegressor(**FEW).fit(x, y, sample_weight=np.ma.masked_equal(np.arange(6.0), 3))
    with pytest.raises(TypeError, match="sample_weight must be numeric, got dtype complex128"):
        SequenceRegressor(**FEW).fit(x, y, sample_weight=np.ones(6) + 0j)


@pytest.mark.parametrize("dropout", [{"recurrent_dropout": 0.4}, {"dropout": 0.4, "num_layers": 2}], ids=str)
def test_going_on_draws_new_dropout_masks(dropout):
    x, y = task()
    whole = SequenceRegressor(**FEW | dropout | {"epochs": 4}).fit(x, y).predict(x)
    warm = SequenceRegressor(**FEW | dropout | {"epochs": 2, "warm_start": True}).fit(x, y)
    assert_same_bits(pickle.loads(pickle.dumps(warm)).fit(x, y).predict(x), whole)
    parts = SequenceRegressor(**FEW | dropout)
    for _ in range(4):
        parts.partial_fit(x, y)
    assert_same_bits(parts.predict(x), whole)


# Memory

LENGTHS = np.random.default_rng(0).integers(20, 61, 200)
LENGTHS[77] = 20_000


def traced(function):
    """Return the most memory that a function held, in bytes."""
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("kind", "target", "most"),
    [
        (SequenceRegressor, float, 4),
        (SequenceClassifier, lambda length: length % 2, 4),
        (TemporalClassifier, lambda length: "ab"[: 1 + length % 2], 20),  # outputs at every step
        (SegmentClassifier, lambda length: [0, 1] * (length // 2) + [0] * (length % 2), 20),
    ],
)
def test_one_long_sample_among_short_ones_is_not_padding(monkeypatch, kind, target, most):
    """All samples padded to the longest are 177 times the data."""
    x = [np.ones((length, 5), np.float32) for length in LENGTHS]
    y = [target(int(length)) for length in LENGTHS]
    data = 20 * LENGTHS.sum()
    options = FEW | {"epochs": 1, "hidden_size": 32}
    if kind in (TemporalClassifier, SegmentClassifier):
        del options["linear"]
    net = kind(**options)
    short = np.flatnonzero(LENGTHS < 60)
    net.fit([x[i] for i in short], [y[i] for i in short]).predict(x)
    assert traced(lambda: net.predict(x)) < most * data
    prepared = []
    monkeypatch.setattr(Trainer, "fit", lambda self, source, *args, **options: prepared.append(source) or net.history_)
    assert traced(lambda: net.fit(x, y)) < 2.6 * data
    assert prepared[0].x.values.dtype == np.float32
    assert_same_bits(prepared[0].x.lengths, LENGTHS)


def test_held_out_samples_of_different_lengths():
    """They are scored in groups of like lengths, which is the loss of all."""
    x, y = task(60, 8, 2)
    x = [sample[:length] for sample, length in zip(x, np.random.default_rng(1).integers(1, 9, 60), strict=True)]
    regressor = fitted(x, y, patience=3, validation=0.25)
    scaled = (regressor.predict(x[45:]) - y[45:]) / np.std(y[:45])
    assert len(regressor.history_) == 3
    assert_close(min(regressor.history_["val_loss"]), np.mean(scaled**2), 1e-5)
