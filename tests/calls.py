"""Public callables with arguments that are right, and values that are wrong for most of them."""

import importlib.util
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from numbarnn import (
    GRU,
    LSTM,
    RNN,
    Activation,
    CharLM,
    Dense,
    Dropout,
    Embedding,
    EmbeddingBag,
    Ensemble,
    Forecaster,
    GroupBy,
    IndRNN,
    LanguageModel,
    MinGRU,
    MinLSTM,
    Model,
    OneHot,
    Pool,
    Recurrent,
    SegmentClassifier,
    SequenceClassifier,
    SequenceRegressor,
    TemporalClassifier,
    Trainer,
    cells,
    decoding,
    diagnostics,
    fit_many,
    freeze,
    load,
    metrics,
    optim,
    predict_many,
    step_function,
    streams_function,
    warmup,
)
from numbarnn.data import (
    ArraySource,
    ByteVocabulary,
    CharVocabulary,
    Differences,
    ParquetSource,
    Prefetch,
    Ragged,
    SequenceScaler,
    TokenStream,
    WordFeatures,
    WordVocabulary,
    calendar_features,
    from_channels_first,
    make_windows,
    read_conll,
    read_ts,
    split_words,
)
from numbarnn.data.readers import read_series
from numbarnn.losses import (
    CTC,
    BinaryCrossEntropy,
    Gaussian,
    Huber,
    NegativeBinomial,
    Quantile,
    SegmentCrossEntropy,
    SoftmaxCrossEntropy,
    make_loss,
)
from numbarnn.training.callbacks import EarlyStopping

NAN = float("nan")


class Letters:
    """What can only be iterated over."""

    def __iter__(self):
        return iter("abc")


BAD = {
    "None": None,
    "True": True,
    "0": 0,
    "-1": -1,
    "0.5": 0.5,
    "nan": NAN,
    "inf": float("inf"),
    "2**70": 2**70,
    "1j": 1j,
    "empty text": "",
    "word": "nonsense",
    "NUL": "a\0b",
    "bytes": b"abc",
    "empty list": [],
    "nested list": [[1], [2, 3]],
    "mixed list": [1, "a", None],
    "dict": {},
    "set": {1},
    "tuple": (1, 2, 3, 4, 5, 6, 7),
    "object": object(),
    "type": int,
    "function": len,
    "iterable": Letters(),
    "empty array": np.zeros(0),
    "rank 4": np.zeros((1, 2, 1, 2)),
    "NaN array": np.full((2, 3), NAN),
    "object array": np.array([object(), None]),
    "dates": np.array(["2020-01-01"], "M8[s]"),
    "uint64": np.array([2**64 - 1], np.uint64),
    "masked": np.ma.masked_array([1.0, 2.0], [True, False]),
    "nullable": pd.Series([1, None], dtype="Int64"),
    "frame": pd.DataFrame({"a": ["x", None]}),
    "NaT": pd.NaT,
}


class Call(NamedTuple):
    """A callable and arguments by keyword that it takes; `fresh` makes anew what a call may change."""

    name: str
    function: Callable
    arguments: dict[str, Any]


def fitting(estimator, settings, x, y):
    """Return a function that makes an estimator of settings, and fits it: settings are checked in `fit`."""
    return lambda **given: estimator(**settings | given).fit(x, y)


def methods(owner, fresh, **calls):
    """Return calls of methods of an object, which `fresh` makes anew for each."""
    return [
        Call(f"{owner}.{name}", lambda name=name, **given: getattr(fresh(), name)(**given), arguments)
        for name, arguments in calls.items()
    ]


def models(folder):
    """Return calls of layers, models, training and single steps."""
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((6, 5, 2)), generator.integers(0, 3, (6, 5))
    lengths, weight = np.array([5, 4, 3, 5, 2, 1]), np.ones((6, 5))
    layers = {
        "hidden_size": 3, "num_layers": 1, "bidirectional": False, "dropout": 0.0, "recurrent_dropout": 0.0,
        "return_sequences": True, "bias": True, "init": "keras", "forget_bias": 1.0, "name": "a", "reverse": False,
        "merge": "concat",
    }  # fmt: skip
    yield Call("RNN", RNN, layers | {"activation": "tanh"})
    yield Call("IndRNN", IndRNN, layers | {"activation": "relu"})
    yield Call("MinGRU", MinGRU, layers)
    yield Call("MinLSTM", MinLSTM, layers)
    yield Call("LSTM", LSTM, layers | {"peepholes": False, "coupled": False, "fix": {"f": 1.0}})
    yield Call("GRU", GRU, layers | {"reset_after": True, "fix": {"z": 1.0}})
    yield Call("Recurrent", Recurrent, layers | {"cell": cells.RNN()})
    yield Call("Activation", Activation, {"activation": "tanh", "name": "a"})
    yield Call("Dense", Dense, {"size": 3, "bias": True, "init": "keras", "name": "a", "activation": "relu"})
    yield Call("Dropout", Dropout, {"rate": 0.5, "name": "a", "same_over_time": True})
    yield Call("Embedding", Embedding, {"size": 3, "features": 2, "init": "normal", "name": "a"})
    yield Call("EmbeddingBag", EmbeddingBag, {"size": 3, "features": 2, "bag": 2, "init": "normal", "name": "a"})
    yield Call("OneHot", OneHot, {"size": 3, "name": "a"})
    yield Call("Pool", Pool, {"kind": "mean", "name": "a"})
    yield Call(
        "Model", Model,
        {"layers": [RNN(3)], "input_size": 2, "dtype": "float64", "seed": 0, "n_threads": 1, "device": "cpu"},
    )  # fmt: skip

    def model():
        return Model([LSTM(4), Dense(3)], input_size=2, dtype="float64", n_threads=1)

    state = model().initial_state(6)
    fit = {
        "x": x, "y": y, "loss": "softmax_cross_entropy", "optimizer": "adam", "learning_rate": 0.1, "epochs": 1,
        "batch_size": 3,
        "lengths": lengths, "sample_weight": weight, "shuffle": True, "validation": (x, y), "patience": 2, "seconds": 5.0,
        "schedule": optim.StepDecay(2), "clip_norm": 1.0, "clip_value": 1.0, "accumulate": 1, "average": 0.9,
        "callbacks": (), "verbose": 0, "seed": 0, "n_threads": 1,
    }  # fmt: skip
    yield from methods(
        "Model", model,
        forward={"x": x, "state": state, "lengths": lengths, "n_threads": 1},
        predict={"x": x, "state": state, "lengths": lengths, "loss": "softmax_cross_entropy", "n_threads": 1},
        predict_proba={"x": x, "state": state, "lengths": lengths, "loss": "softmax_cross_entropy", "n_threads": 1},
        evaluate={
            "x": x, "y": y, "metrics": ["accuracy"], "loss": "softmax_cross_entropy", "batch_size": 3, "lengths": lengths,
            "sample_weight": weight, "n_threads": 1,
        },
        vjp={"x": x, "state": state, "lengths": lengths, "n_threads": 1},
        loss_and_grad={
            "x": x, "target": y, "loss": "softmax_cross_entropy", "lengths": lengths, "state": state, "reduction": "mean",
            "sample_weight": weight, "memory_limit": "1 GB", "n_threads": 1,
        },
        memory={"samples": 2, "steps": 3, "training": True, "loss": "softmax_cross_entropy", "memory_limit": "1 GB"},
        fit=fit,
        initial_state={"samples": 2},
        set_flat={"values": np.zeros(model().params.flat.size)},
        load_state_dict={"values": model().state_dict()},
        step={"x_t": x[:, 0], "state": state},
    )  # fmt: skip

    def pullback(**given):
        outputs, final, back = model().vjp(x)
        return back(**{"doutputs": np.ones_like(outputs), "dstate": final} | given)

    yield Call("vjp's pullback", pullback, {})
    learned = Model([MinGRU(6), Dense(2)], input_size=3, dtype="float64")
    one = {"x_t": np.ones(3), "y_t": np.ones(2)}
    options = {"loss": "mse", "optimizer": "adam", "learning_rate": 0.0, "window": 2}
    yield from methods("Stream", learned.stream, learn=one | options, step={"x_t": np.ones(3), "out": np.zeros(2)})
    yield Call("step_function", step_function, {"model": model(), "state": model().initial_state(1)})
    yield Call("streams_function", streams_function, {"model": model(), "n": 3})

    def streams():
        made = model().streams(5, n_threads=1)
        made.open(3)
        return made

    yield from methods("Model", model, streams={"n": 5, "n_threads": 1})
    yield from methods(
        "Streams", streams,
        open={"count": 2}, close={"rows": [0, 2]}, snapshot={"rows": [0, 2]}, reset={"rows": [0, 2]},
        restore={"rows": [0, 2], "state": model().initial_state(2)},
        step={"x": x[:2, 0], "rows": [0, 2], "out": np.zeros((2, 3))},
    )  # fmt: skip
    source = ArraySource(x, y, batch_size=3)
    yield Call(
        "Trainer", Trainer,
        {
            "model": model(), "loss": "softmax_cross_entropy", "optimizer": "adam", "learning_rate": 0.1,
            "schedule": optim.StepDecay(2),
            "clip_norm": 1.0, "clip_value": 1.0, "tbptt": None, "memory_limit": "1 GB", "accumulate": 1,
            "average": 0.9, "seed": 0, "n_threads": 1, "comm": None,
        },
    )  # fmt: skip
    yield Call("freeze", lambda **given: freeze(path=folder / "net.c", **given), {
        "model": model(), "levels": None, "name": "net"
    })  # fmt: skip
    many = {key: value for key, value in fit.items() if key in {
        "loss", "optimizer", "learning_rate", "epochs", "batch_size", "shuffle", "validation", "patience", "schedule", "clip_norm",
        "clip_value", "average", "n_threads", "verbose",
    }}  # fmt: skip
    yield Call(
        "fit_many", lambda **given: fit_many(**{"models": [model(), model()], **given}),
        {"models": [model()], "sources": (x, y), "seeds": 0, "client": None} | many,
    )  # fmt: skip
    yield Call(
        "predict_many", predict_many,
        {
            "models": [model()], "x": x, "lengths": lengths, "kind": "predict", "loss": "softmax_cross_entropy", "n_threads": 1,
            "client": None,
        },
    )  # fmt: skip
    yield Call("warmup", warmup, {
        "model": model(), "train": True, "loss": "softmax_cross_entropy", "optimizer": "adam"
    })  # fmt: skip
    yield from methods(
        "Trainer",
        lambda: Trainer(model()),
        fit={
            "source": source,
            "epochs": 1,
            "validation": source,
            "patience": 2,
            "seconds": 5.0,
            "callbacks": (),
            "verbose": 0,
        },
        evaluate={"source": source},
    )
    yield Call(
        "EarlyStopping", EarlyStopping, {"patience": 2, "min_delta": 0.0, "monitor": "val_loss", "restore_best": True}
    )
    yield Call("alignment", diagnostics.alignment, {
        "model": model(), "x": x, "labels": [[1], [2], [1, 2], [1], [2], [1]], "lengths": lengths, "state": state, "blank": 0
    })  # fmt: skip
    yield Call("check_gradients", diagnostics.check_gradients, {
        "model": model(), "x": x, "y": y, "loss": "softmax_cross_entropy", "lengths": lengths, "state": state, "entries": 2,
        "tolerance": 1e-5, "seed": 0,
    })  # fmt: skip
    yield Call("diagnose", diagnostics.diagnose, {
        "model": model(), "x": x, "y": y, "loss": "softmax_cross_entropy", "lengths": lengths, "history": model().fit(**fit),
        "samples": 4,
    })  # fmt: skip
    yield Call("gradient_flow", diagnostics.gradient_flow, {
        "model": model(), "x": x, "y": y, "loss": "softmax_cross_entropy", "lengths": lengths, "state": state,
        "sample_weight": weight, "contributions": True,
    })  # fmt: skip
    yield Call("jacobian", diagnostics.jacobian, {
        "model": model(), "x": x, "t": 3, "k": 1, "sample": 0, "layer": "lstm", "level": 0, "reverse": False, "state": state,
    })  # fmt: skip
    yield Call("sensitivity", diagnostics.sensitivity, {"model": model(), "x": x, "t": 3, "output": 1, "state": state})
    yield Call("trace", diagnostics.trace, {"model": model(), "x": x, "state": state, "lengths": lengths})
    plain = Model([RNN(4), Dense(3)], input_size=2, dtype="float64", n_threads=1)
    yield Call("unfold", diagnostics.unfold, {
        "model": plain, "x": x, "steps": 3, "y": y, "sample": 0, "state": plain.initial_state(6)
    })  # fmt: skip


def losses(_):
    """Return calls of losses, optimizers and schedules."""
    yield Call("make_loss", make_loss, {"loss": "mse"})
    yield Call("CTC", CTC, {"blank": 0, "infeasible": "error"})
    yield Call("BinaryCrossEntropy", BinaryCrossEntropy, {"pos_weight": 2.0, "weight": 1.0})
    yield Call("Huber", Huber, {"delta": 1.0})
    yield Call("Quantile", Quantile, {"levels": (0.1, 0.9)})
    yield Call("Gaussian", Gaussian, {"floor": 0.1})
    yield Call("NegativeBinomial", NegativeBinomial, {"scale": 2.0})
    for loss in (Quantile(), Gaussian(), NegativeBinomial()):
        name, outputs = type(loss).__name__, np.ones((5, 6))
        yield Call(f"{name}.size", loss.size, {"targets": 2})
        yield Call(f"{name}.mean", loss.mean, {"outputs": outputs})
        yield Call(f"{name}.quantiles", loss.quantiles, {"outputs": outputs, "q": (0.1, 0.9)})
        yield Call(
            f"{name}.sample", loss.sample, {"outputs": outputs, "generator": np.random.default_rng(0), "count": 3}
        )
    yield Call("Gaussian.stddev", Gaussian().stddev, {"outputs": np.ones((5, 6))})
    yield Call("SegmentCrossEntropy", SegmentCrossEntropy, {"class_weight": (1.0, 2.0)})
    yield Call(
        "SoftmaxCrossEntropy", SoftmaxCrossEntropy,
        {"class_weight": (1.0, 2.0), "ignore_index": -100, "label_smoothing": 0.1},
    )  # fmt: skip
    yield Call("SGD", optim.SGD, {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0, "nesterov": True})
    yield Call("Adagrad", optim.Adagrad, {
        "learning_rate": 0.1, "lr_decay": 0.0, "weight_decay": 0.0, "initial_accumulator_value": 0.0, "eps": 1e-8
    })  # fmt: skip
    adam = {"learning_rate": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False}
    yield Call("Adam", optim.Adam, adam)
    yield Call("AdamW", optim.AdamW, adam)
    yield Call("RMSprop", optim.RMSprop, {
        "learning_rate": 0.1, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0.0, "centered": False
    })  # fmt: skip
    yield Call("EMA", optim.EMA, {"decay": 0.9, "final": True})
    yield Call("make_optimizer", optim.make_optimizer, {"optimizer": "adam"})
    yield Call("make_average", optim.make_average, {"average": 0.9})
    yield Call("Cosine", optim.Cosine, {"steps": 3, "low": 0.0})
    yield Call("ExponentialDecay", optim.ExponentialDecay, {"gamma": 0.9, "after": 1})
    yield Call("StepDecay", optim.StepDecay, {"every": 2, "gamma": 0.1})
    yield Call("MultiStep", optim.MultiStep, {"milestones": (2, 3), "gamma": 0.1})
    yield Call("OneCycle", optim.OneCycle, {"steps": 9, "pct_start": 0.3, "div_factor": 25.0, "final_div_factor": 1e4})
    yield Call("ReduceOnPlateau", optim.ReduceOnPlateau, {
        "gamma": 0.1, "patience": 2, "threshold": 1e-4, "cooldown": 0, "low": 0.0, "monitor": "val_loss"
    })  # fmt: skip
    yield Call("WarmUp", optim.WarmUp, {"steps": 2, "then": optim.StepDecay(2)})
    yield Call("norm", optim.norm, {"gradient": np.ones(3)})
    yield Call("clip_by_norm", optim.clip_by_norm, {"gradient": np.ones(3), "limit": 1.0, "length": 1.0})
    yield Call("clip_by_value", optim.clip_by_value, {"gradient": np.ones(3), "limit": 1.0})
    yield Call(
        "blend", optim.blend, {"values": np.ones(3), "others": np.ones(3), "keep": 0.9, "add": 0.1, "n_threads": 1}
    )


def data(folder):
    """Return calls of sources, windows, transformers, vocabularies and readers."""
    generator = np.random.default_rng(1)
    x, y = generator.standard_normal((6, 5, 2)), generator.integers(0, 3, (6, 5))
    yield Call("ArraySource", ArraySource, {
        "x": x, "y": y, "lengths": [5, 4, 3, 5, 2, 1], "sample_weight": np.ones((6, 5)), "batch_size": 3, "shuffle": "blocks",
        "block": 2,
    })  # fmt: skip
    if importlib.util.find_spec("pyarrow") is not None:
        pd.DataFrame(generator.standard_normal((30, 2)), columns=["a", "b"]).to_parquet(folder / "rows.parquet")
        yield Call("ParquetSource", ParquetSource, {
            "path": folder / "rows.parquet", "features": ["a", "b"], "target": "a", "lookback": 5, "delay": 1, "step": 1,
            "stride": 1, "horizon": 2, "id": None, "separate": False, "missing": "error", "scaler": None, "target_scaler": None,
            "dtype": "float32", "batch_size": 3, "shuffle": True, "mix": 2,
        })  # fmt: skip
    yield Call("Prefetch", Prefetch, {"source": ArraySource(x, y), "batches": 2})
    yield Call(
        "TokenStream",
        TokenStream,
        {"tokens": np.arange(60) % 7, "batch_size": 2, "seq_length": 5, "unit": "characters"},
    )
    yield Call("Ragged.of", Ragged.of, {"values": np.ones((6, 2)), "lengths": [2, 4]})
    hours = pd.date_range("2020-01-01", periods=60, freq="h")
    table = pd.DataFrame(generator.standard_normal((60, 2)), index=hours, columns=["a", "b"])
    windows = {
        "data": table, "lookback": 5, "delay": 1, "target": "a", "step": 1, "stride": 1, "horizon": 2, "missing": "error",
        "irregular": "error",
    }  # fmt: skip
    yield Call("make_windows", make_windows, windows)
    made = make_windows(**windows)
    yield from methods(
        "Windows",
        lambda: made,
        split={"fractions": (0.7, 0.15, 0.15), "straddle": "drop"},
        source={"batch_size": 3, "shuffle": True},
        gather={"samples": [0, 1]},
    )
    yield Call("Windows.split rows", made.split, {"rows": (30, 45), "straddle": "drop"})
    yield Call("Windows.split dates", made.split, {"dates": ("2020-01-02", "2020-01-03"), "straddle": "drop"})
    yield Call(
        "calendar_features", calendar_features, {"index": hours, "features": ("hour",), "holidays": ["2020-01-02"]}
    )
    yield Call("from_channels_first", from_channels_first, {"X": x})
    rows = generator.standard_normal((20, 2))
    yield Call(
        "SequenceScaler",
        lambda **given: SequenceScaler(**given).fit(rows),
        {"method": "minmax", "feature_range": (0.0, 1.0)},
    )
    yield from methods(
        "SequenceScaler", lambda: SequenceScaler().fit(rows), fit={"X": rows}, transform={"X": rows},
        inverse_transform={"X": rows, "columns": [0, 1]}, set_output={"transform": "default"},
    )  # fmt: skip
    yield Call("Differences", lambda **given: Differences(**given).fit(rows), {"lag": 1})
    yield from methods(
        "Differences", lambda: Differences().fit(rows), fit={"X": rows}, transform={"X": rows},
        inverse_transform={"X": rows[1:], "before": rows[:1]},
    )  # fmt: skip
    yield Call("CharVocabulary", CharVocabulary, {"characters": "abc"})
    yield Call("CharVocabulary.of", CharVocabulary.of, {"text": "abc"})
    yield Call("WordVocabulary", WordVocabulary, {"words": ("a", "b")})
    yield Call("WordVocabulary.of", WordVocabulary.of, {"text": "a b a", "max_vocabulary": 2, "min_count": 1})
    for vocabulary in (CharVocabulary("abc "), WordVocabulary.of("a b c"), ByteVocabulary()):
        yield from methods(
            type(vocabulary).__name__, lambda vocabulary=vocabulary: vocabulary, encode={"text": "a b", "unknown": "error"},
            decode={"tokens": [1, 2]}, measure={"text": "a b", "unknown": "error"},
        )  # fmt: skip
    features = {"prefix": 2, "suffix": 2, "shape": True, "lower": True, "min_count": 1}
    yield Call("WordFeatures", WordFeatures, features)
    yield from methods("WordFeatures", lambda: WordFeatures(**features), learn={"words": ["a", "b"]}, of={"word": "a"})
    yield Call("split_words", split_words, {"text": "a b"})
    conll, ts, csv = folder / "a.conll", folder / "a.ts", folder / "a.csv"
    conll.write_text("a\tX\nb\tY\n\n")
    ts.write_text("@classLabel true a b\n@data\n1,2,3:a\n3,2,1:b\n")
    table.to_csv(csv)
    yield Call("read_conll", read_conll, {"path": conll, "columns": (0, 1), "separator": "\t", "encoding": "utf-8"})
    yield Call("read_ts", read_ts, {"path": ts, "encoding": "utf-8"})
    yield Call("read_series", read_series, {
        "path": csv, "time": None, "id": None, "format": None, "sep": ",", "decimal": ".", "thousands": None, "encoding": "utf-8"
    })  # fmt: skip


def scores(_):
    """Return calls of metrics and decoding."""
    truth, guess = [0, 1, 1, 2], [0, 1, 2, 2]
    weight = [1.0, 1.0, 2.0, 1.0]
    yield Call("accuracy", metrics.accuracy, {"truth": truth, "predicted": guess, "sample_weight": weight, "ignore": 2})
    for name in ("confusion", "f1"):
        yield Call(name, getattr(metrics, name), {
            "truth": truth, "predicted": guess, "labels": [0, 1, 2], "sample_weight": weight, "ignore": 2
        })  # fmt: skip
    for name in ("label_error_rate", "label_errors", "sequence_error"):
        yield Call(name, getattr(metrics, name), {"truth": [[0, 1], [2]], "predicted": [[0], [2]]})
    for name in ("mae", "rmse"):
        yield Call(name, getattr(metrics, name), {"truth": [1.0, 2.0], "forecast": [1.0, 3.0]})
    ends = {"truth": [1.0, 2.0], "lower": [0.0, 1.0], "upper": [2.0, 3.0]}
    levels = {"truth": [1.0, 2.0], "predicted_quantiles": [[0.0, 1.0], [2.0, 3.0]], "quantiles": (0.1, 0.9)}
    yield Call("pinball_loss", metrics.pinball_loss, levels)
    yield Call("crps_from_quantiles", metrics.crps_from_quantiles, levels)
    yield Call("crps_from_samples", metrics.crps_from_samples, {"truth": [1.0, 2.0], "samples": np.ones((2, 3))})
    yield Call("crps_gaussian", metrics.crps_gaussian, {"truth": [1.0, 2.0], "mean": [1.0, 2.0], "scale": [1.0, 2.0]})
    yield Call("interval_coverage", metrics.interval_coverage, ends)
    yield Call("interval_width", metrics.interval_width, {name: ends[name] for name in ("lower", "upper")})
    yield Call("interval_score", metrics.interval_score, {**ends, "alpha": 0.1})
    yield Call("mase", metrics.mase, {"truth": [1.0, 2.0], "forecast": [1.0, 3.0], "scale": 1.0})
    yield Call("r2", metrics.r2, {"truth": [1.0, 2.0], "forecast": [1.0, 3.0], "sample_weight": [1.0, 1.0]})
    yield Call("naive_scale", metrics.naive_scale, {"series": [1.0, 2.0, 4.0], "season": 1})
    logits = np.random.default_rng(2).standard_normal((2, 5, 4))
    lengths, labels = [5, 4], [[1, 2], [3]]
    yield Call("best_path", decoding.best_path, {"logits": logits, "lengths": lengths, "blank": 0})
    yield Call("collapse", decoding.collapse, {"path": [0, 1, 1], "blank": 0})
    yield Call("beam_search", decoding.beam_search, {
        "logits": logits, "lengths": lengths, "blank": 0, "beam_width": 3, "n_best": 2
    })  # fmt: skip
    for name in ("align", "occupancy"):
        yield Call(name, getattr(decoding, name), {"logits": logits, "labels": labels, "lengths": lengths, "blank": 0})


def estimators(_):
    """Return calls of estimators: their settings, which `fit` checks, and their methods."""
    generator = np.random.default_rng(3)
    x = [generator.standard_normal((5, 2)) for _ in range(8)]
    y, values = list("abababab"), generator.standard_normal((8, 5, 2))
    settings = {"hidden_size": 3, "epochs": 1, "random_state": 0, "n_threads": 1, "verbose": 0}
    shared = {
        "cell": "lstm", "hidden_size": 3, "num_layers": 1, "bidirectional": False, "dropout": 0.0, "recurrent_dropout": 0.0,
        "scale": "auto", "optimizer": "adam", "learning_rate": 0.01, "schedule": optim.StepDecay(2), "average": 0.9, "epochs": 1,
        "batch_size": 4, "memory_limit": "1 GB",
        "validation": 0.2, "patience": 2, "clip_norm": 1.0, "warm_start": False, "random_state": 0, "dtype": "float32",
        "n_threads": 1, "device": "cpu", "verbose": 0,
    }  # fmt: skip
    labelled = shared | {"input_dropout": 0.0}
    steps = [list("ababa") for _ in range(8)]
    weight = np.ones(8)
    kinds = {
        SequenceRegressor: (shared | {"loss": "mse", "linear": "auto"}, values, np.ones(8)),
        SequenceClassifier: (
            labelled | {"pooling": "last", "loss": "auto", "class_weight": "balanced", "linear": "auto"},
            x,
            y,
        ),
        SegmentClassifier: (labelled | {"ignore": "c", "loss": "auto", "class_weight": "balanced"}, x, steps),
        TemporalClassifier: (labelled | {"infeasible": "error"}, x, [list("ab")] * 8),
    }
    for kind, (options, inputs, targets) in kinds.items():
        name, learned = kind.__name__, {"X": inputs, "y": targets}
        yield Call(name, fitting(kind, settings, inputs, targets), options)
        weighted = learned | {"sample_weight": weight}
        yield from methods(name, lambda kind=kind: kind(**settings), fit=weighted)
        fitted = kind(**settings).fit(inputs, targets)
        calls = {"score": learned if kind is TemporalClassifier else weighted}
        if kind is SequenceRegressor:
            calls |= {"partial_fit": weighted, "predict": {"X": inputs}}
        else:
            of_samples = {"X": np.concatenate(x), "lengths": [5] * 8}
            calls |= {"predict": of_samples, "predict_proba": of_samples}
            yield from methods(name, lambda kind=kind: kind(**settings), partial_fit=weighted | {"classes": list("ab")})
        if kind is TemporalClassifier:
            calls |= {"decode": of_samples | {"beam_width": 3, "n_best": 2}, "align": learned, "occupancy": learned}
        yield from methods(name, lambda fitted=fitted: fitted, **calls)
        if not fitted.bidirectional:
            yield from methods("EstimatorStream", fitted.stream, step={"row": [0.5, 0.5]})
    several = np.tile([[0, 1], [1, 1]], (4, 1))
    yield from methods("SequenceClassifier", lambda: SequenceClassifier(**settings), fit={"X": x, "y": several})
    nets = {"few": SequenceRegressor(**settings, linear=None), "labels": SequenceClassifier(**settings, linear=None)}
    one = {"X": values, "y": np.arange(8.0), "sample_weight": weight}
    groups, labelled = {"groups": list("aabbaabb")}, {"X": x, "y": y}
    yield Call("Ensemble", fitting(Ensemble, {"estimator": nets["few"], "n": 2}, values, np.ones(8)), {
        "estimator": nets["few"], "n": 1, "random_state": 0
    })  # fmt: skip
    yield from methods("Ensemble", lambda: Ensemble(nets["few"], 2), fit=one)
    ensembles = {
        name: Ensemble(net, 2, random_state=0).fit(values, y if name == "labels" else np.ones(8))
        for name, net in nets.items()
    }
    yield from methods("Ensemble", lambda: ensembles["few"], predict={"X": values, "return_std": True}, score=one)
    yield from methods(
        "Ensemble", lambda: ensembles["labels"], predict_proba={"X": x}, votes={"X": x}, score=labelled, predict={"X": x}
    )  # fmt: skip
    yield Call(
        "GroupBy", lambda **given: GroupBy(**{"estimator": nets["few"]} | given).fit(values, np.ones(8), **groups),
        {"estimator": nets["few"]},
    )  # fmt: skip
    rows = pd.DataFrame(values[:, :, 0], columns=list("vwxyz")).assign(sensor=groups["groups"])
    yield Call("GroupBy", lambda **given: GroupBy(nets["few"], **given).fit(rows, np.ones(8)), {"by": "sensor"})
    yield from methods("GroupBy", lambda: GroupBy(nets["few"]), fit=one | groups)
    fitted = GroupBy(nets["labels"]).fit(x, y, **groups)
    asked = {"X": x} | groups
    yield from methods(
        "GroupBy", lambda: fitted, predict=asked, predict_proba=asked, scores=labelled | groups, score=labelled | groups
    )  # fmt: skip
    spread = SequenceRegressor(**settings, loss="gaussian").fit(values, np.ones(8))
    yield from methods("SequenceRegressor", lambda: spread, predict={"X": values, "quantiles": 0.5})


def forecasts(_):
    """Return calls of the forecaster."""
    generator = np.random.default_rng(4)
    hours = pd.date_range("2020-01-01", periods=80, freq="h")
    table = pd.DataFrame(generator.standard_normal((80, 2)), index=hours, columns=["a", "b"])
    settings = {"lookback": 4, "horizon": 2, "hidden_size": 3, "epochs": 1, "seed": 0, "n_threads": 1}
    options = {
        "lookback": 4, "delay": 1, "horizon": 2, "step": 1, "cell": "gru", "hidden_size": 3, "num_layers": 1, "dropout": 0.0,
        "recurrent_dropout": 0.0, "recursive": False, "loss": "mse", "difference": None, "relative": None, "recenter": False,
        "change": "auto", "linear": "auto", "season": "auto", "calendar": ("hour",), "holidays": ("2020-01-02",),
        "future": ("b",), "static": (), "categories": (), "handle_unknown": "error", "wide": False, "scale": "series",
        "scaling": "standard", "missing": "error", "irregular": "error",
        "optimizer": "adam", "learning_rate": 0.01, "epochs": 1, "batch_size": 16, "patience": 2, "clip_norm": 1.0,
        "memory_limit": "1 GB",
        "schedule": None, "average": None, "ensemble": 1, "dtype": "float32", "seed": 0, "n_threads": 1, "device": "cpu",
    }  # fmt: skip
    yield Call("Forecaster", lambda **given: Forecaster(**given).fit(table, "a", verbose=0), options)
    fitted = Forecaster(**settings).fit(table, "a", verbose=0)
    fit = {"data": table, "target": "a", "split": (0.6, 0.2, 0.2), "straddle": "drop", "callbacks": (), "verbose": 0}
    yield from methods("Forecaster", lambda: Forecaster(**settings), fit=fit)
    later = table.set_axis(pd.date_range(hours[-1] + pd.Timedelta("1h"), periods=80, freq="h"))
    yield from methods(
        "Forecaster", lambda: fitted, predict={"data": table, "quantiles": 0.5},
        evaluate={"data": table, "part": "test", "baselines": None, "per_target": True, "level": 0.5},
        backtest={
            "data": table, "part": "test", "level": 0.5, "adaptive": None, "refit": None, "window": "expanding", "client": None,
            "verbose": 0,
        },
        predict_interval={"level": 0.5, "data": table, "adaptive": 0.1},
        predict_baselines={"data": table, "baselines": None},
        evaluate_intervals={"levels": 0.5, "data": table, "part": "test", "adaptive": None, "calibrated": True},
        errors_by_horizon={"data": table, "part": "test", "target": "a"}, score={"data": table, "part": "test"},
    )  # fmt: skip
    panel = {"data": pd.concat({"p": table, "q": table}, names=["where"])}
    many = Forecaster(**settings).fit(panel["data"], "a", verbose=0)
    yield from methods(
        "Forecaster", lambda: many, predict=panel, stream={"series": "p"}, evaluate=panel, predict_interval={"level": 0.5} | panel
    )  # fmt: skip
    long = panel["data"].reset_index()
    yield Call(
        "Forecaster", lambda **given: Forecaster(**settings, **given).fit(long, "a", verbose=0), {"id": "where", "time": "level_1"}
    )  # fmt: skip
    yield from methods("ForecastStream", fitted.stream, step={"row": [0.5, 0.5]})
    kinds = table.assign(kind=["x", "y"] * 40)
    yield Call(
        "Forecaster", lambda **given: Forecaster(**settings, **given).fit(kinds, "a", verbose=0), {"categories": ["kind"]}
    )  # fmt: skip
    gaps = Forecaster(**settings, irregular="elapsed").fit(table.drop(hours[7]), "a", verbose=0)
    yield from methods("ForecastStream", gaps.stream, step={"row": [0.5, 0.5], "time": hours[-1] + pd.Timedelta("9h")})
    planned = Forecaster(**settings, future=["b"]).fit(table, "a", verbose=0)
    yield from methods(
        "Forecaster", lambda: planned, predict={"future": later}, predict_interval={"level": 0.5, "future": later}
    )
    spread = Forecaster(**settings, loss="gaussian").fit(table, "a", verbose=0)
    yield from methods("Forecaster", lambda: spread, predict={"samples": 2, "seed": 0})
    yield from methods(
        "Forecaster", lambda: Forecaster(**settings).fit(table, "a", verbose=0), update={"new_rows": later}
    )


def languages(folder):
    """Return calls of language models."""
    text = "the cat sat on the mat. " * 20
    settings = {"hidden_size": 4, "num_layers": 1, "n_threads": 1}
    fit = {"epochs": 1, "batch_size": 4, "seq_length": 10, "verbose": 0}
    options = {
        "cell": "gru", "hidden_size": 4, "num_layers": 1, "dropout": 0.0, "recurrent_dropout": 0.0, "init": "uniform(0.08)",
        "dtype": "float32", "seed": 0, "n_threads": 1, "device": "cpu",
    }  # fmt: skip
    yield Call("CharLM", lambda **given: CharLM(**given).fit(text, **fit), options)
    yield Call("LanguageModel", lambda **given: LanguageModel(**given).fit(text, **fit), options | {
        "unit": "word", "max_vocabulary": 10, "min_count": 1, "embedding_size": 3
    })  # fmt: skip
    fitted = CharLM(**settings).fit(text, **fit)
    sample = {
        "length": 5, "prime": "the", "temperature": 1.0, "top_k": 3, "top_p": 0.9, "stop": ".", "seed": 0, "unknown": "error",
    }  # fmt: skip
    yield from methods("CharLM", lambda: CharLM(**settings), fit={
        "text": text, "epochs": 1, "batch_size": 4, "seq_length": 10, "validation": 0.1, "optimizer": "adam",
        "schedule": optim.StepDecay(2), "clip_value": 1.0, "clip_norm": 1.0, "memory_limit": "1 GB", "patience": 2, "seconds": 5.0,
        "callbacks": (), "verbose": 0,
    })  # fmt: skip
    yield from methods(
        "CharLM", lambda: fitted, sample=sample, sample_many={"count": 2} | sample, score={"text": text, "unknown": "error"},
    )  # fmt: skip
    yield Call("CharLM.stream", lambda **given: list(itertools.islice(fitted.stream(**given), 5)), sample)
    path = folder / "a.model"
    fitted.save(path)
    yield Call("load", load, {"path": path, "device": "cpu", "warm": False})
    yield Call("CharLM.load", CharLM.load, {"path": path, "device": "cpu"})


def every(folder):
    """Return all calls; `folder` is for files."""
    groups = (models, losses, data, scores, estimators, forecasts, languages)
    return [call for group in groups for call in group(folder)]
